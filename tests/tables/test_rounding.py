"""Numbers are rounded where two significant digits of their interval's width end."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mi_runner.tables.rounding import Rounded, alone, rounded


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        # 0.00585 wide: two significant digits of it end at the fourth digit behind the point.
        (0.97771, 0.97458, 0.98043, Rounded("0.9777", "0.9746", "0.9804", None)),
        (0.2951, 0.2862, 0.3041, Rounded("0.295", "0.286", "0.304", "0.009")),
        (0.5, 0.01, 0.99, Rounded("0.50", "0.01", "0.99", "0.49")),
        (-1.25, -2.5, 0.0, Rounded("-1.2", "-2.5", "0.0", None)),
        (1234.4, 1100.0, 1368.8, Rounded("1234", "1100", "1369", None)),
        (0.00001, -0.2, 0.2, Rounded("0.00", "-0.20", "0.20", "0.20")),
        # The width is rounded before its digits are counted: 0.00999 is 0.010.
        (0.5, 0.495005, 0.504995, Rounded("0.500", "0.495", "0.505", "0.005")),
        (1.0, 1.0, 1.0, Rounded("1.000")),  # an exact count has the interval that is the number alone
        (1.0, 0.5, 0.5, Rounded("1.000", "0.5000", "0.5000", None)),
        (0.9, math.nan, 1.0, Rounded("0.9000")),
        (0.9, None, 1.0, Rounded("0.9000")),
        (0.9, -math.inf, 1.0, Rounded("0.9000")),
    ],
)
def test_a_number_with_its_interval(value: float, low: float | None, high: float | None, expected: Rounded) -> None:
    assert rounded(value, low, high) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"), (0.1, "0.1000"), (12.345678, "12.35"), (12345.6, "12346"), (9.99996, "10.00"), (-0.5, "-0.5000"),
        (1.23456e-5, "1.235e-05"), (0.0001234, "0.0001234"), (2e15, "2.000e+15"), (1e14, "100000000000000"),
    ],
)  # fmt: skip
def test_a_number_alone_has_four_significant_digits(value: float, expected: str) -> None:
    assert alone(value) == expected == rounded(value).number


def test_as_many_digits_as_are_asked_for() -> None:
    assert rounded(0.97771, 0.97458, 0.98043, digits=2) == Rounded("0.98", "0.97", "0.98", None)
    assert rounded(0.97771, digits=2) == Rounded("0.98") and rounded(3.0, digits=0) == Rounded("3")
    assert rounded(-0.0001, -0.3, 0.3, digits=1) == Rounded("0.0", "-0.3", "0.3", "0.3")
    # What isn't 0 isn't shown as 0, unless its interval says how much 0 means.
    assert rounded(1e-7, digits=3) == Rounded("1.000e-07") and rounded(0.0, digits=3) == Rounded("0.000")


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_rounding_moves_nothing_by_more_than_a_tenth_of_the_width(value: float, below: float, above: float) -> None:
    low, high = value - below, value + above
    found = rounded(value, low, high)
    assert found.low is not None and found.high is not None
    for text, exact in ((found.number, value), (found.low, low), (found.high, high)):
        assert abs(float(text) - exact) <= max(0.051 * (high - low), 0)  # half of a digit, of at least ten
