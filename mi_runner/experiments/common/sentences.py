"""Words for the answer of a run, `Result.answer`: its numbers, with their 95 % intervals in brackets.

What was chosen as the highest or lowest of several has no interval: an ordinary one is for what was named beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any


def figure(value: float | None) -> str:
    """Returns a number with four significant digits; `unknown` if there is none or it is not finite."""
    if value is None or not math.isfinite(value):
        return "unknown"
    if value == int(value) and abs(value) >= 1e4:
        return f"{int(value):,}"
    return f"{value:.4g}" if value >= 0 else f"−{-value:.4g}"


def measured(row: Mapping[str, Any], measure: str, *, among: int = 1) -> str:
    """Returns a measure of a row with its interval, 0.9726 (0.9692 to 0.9756); without it if the row has none.

    Args:
        among: of how many rows this one was chosen by its value; of several it has no interval.
    """
    if among > 1:
        return figure(row.get(measure))
    low, high = row.get(f"{measure}_low"), row.get(f"{measure}_high")
    return between(row.get(measure), low, high)


def several(rows: Sequence[Mapping[str, Any]], measure: str, of: str, *, among: int = 1) -> str:
    """Returns a measure of a row with its interval; of several rows their mean and range, without an interval.

    Args:
        of: what the rows are, in the plural: draws.
        among: as in `measured`.
    """
    if len(rows) == 1:
        return measured(rows[0], measure, among=among)
    values = [row[measure] for row in rows]
    return f"{figure(fmean(values))}, the mean of {len(rows)} {of} from {figure(min(values))} to {figure(max(values))}"


def between(value: float | None, low: float | None, high: float | None) -> str:
    """Returns a number with its interval; alone if an end is unknown or both are the same."""
    if low is None or high is None or low == high or math.isnan(low) or math.isnan(high):
        return figure(value)
    return f"{figure(value)} ({figure(low)} to {figure(high)})"


def counted(n: int, one: str, more: str = "") -> str:
    """Returns a number with its noun: 1 circuit, 19,162 circuits."""
    return f"{n:,} {one if n == 1 else more or f'{one}s'}"
