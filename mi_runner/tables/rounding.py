"""How many digits of a number say something? Those that its interval leaves, otherwise four.

A number with a 95 % interval is rounded where two significant digits of the interval's width end: 0.97771 with an
interval from 0.97458 to 0.98043, which is 0.00585 wide, is 0.9777 [0.9746, 0.9804].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

OF_WIDTH = 2
"""Significant digits of an interval's width."""

ALONE = 4
"""Significant digits of a number without an interval."""

LARGEST, SMALLEST = 1e15, 1e-4
"""Numbers from the largest on, and below the smallest, are written with a power of ten."""


@dataclass(frozen=True)
class Rounded:
    """A number as it is printed.

    Attributes:
        number: its digits, perhaps with a power of ten, `1.2e-05`.
        low, high: the ends of its interval; None without an interval.
        half: the distance of both ends if they are equally far from the number, as they are printed; otherwise None.
    """

    number: str
    low: str | None = None
    high: str | None = None
    half: str | None = None


def rounded(value: float, low: float | None = None, high: float | None = None, *, digits: int | None = None) -> Rounded:
    """Returns a finite number as it is printed, with its interval if both ends are finite and differ from the number.

    An exact count has an interval that is the count alone.

    Args:
        digits: behind the point; None: as the interval's width says.
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)) or low == value == high:
        text = alone(value) if digits is None else _fixed(value, digits)
        return Rounded(alone(value) if value != 0 and float(text) == 0 else text)
    if digits is None and 0 < max(abs(one) for one in (value, low, high)) < SMALLEST:
        return Rounded(alone(value), alone(low), alone(high))
    if digits is None:
        digits = _behind_the_point(high - low, OF_WIDTH) if high > low else None
    if digits is None:
        return Rounded(alone(value), alone(low), alone(high))
    number, at_low, at_high = (_fixed(one, digits) for one in (value, low, high))
    below, above = (_fixed(abs(float(one) - float(number)), digits) for one in (at_low, at_high))
    half = below if below == above and float(at_low) <= float(number) <= float(at_high) else None
    return Rounded(number, at_low, at_high, half)


def alone(value: float) -> str:
    """Returns a finite number with four significant digits."""
    if value == 0:
        return "0"
    if not SMALLEST <= abs(value) < LARGEST:
        return f"{value:.{ALONE - 1}e}"
    return _fixed(value, _behind_the_point(value, ALONE))


def _fixed(value: float, digits: int) -> str:
    """Returns a number with so many digits behind the point; 0 has no sign."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _behind_the_point(value: float, significant: int) -> int:
    """Returns how many digits behind the point a number has with so many significant ones; at least none."""
    exponent = int(f"{abs(value):.{significant - 1}e}".partition("e")[2])
    return max(0, significant - 1 - exponent)
