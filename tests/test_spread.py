"""The spread over seeds: by hand, and Student's t from printed tables."""

from __future__ import annotations

import math

import pytest

from mi_runner.spread import Spread, t_quantile


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.30265), (4, 2.77645), (9, 2.26216), (29, 2.04523), (10**6, 1.95997)]
)
def test_the_quantile_of_students_t_is_that_of_printed_tables(freedom: int, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, rel=2e-6)


def test_spreads_by_hand() -> None:
    assert Spread.of([2.5]) == Spread(1, 2.5, None, None, None)
    found = Spread.of([1.0, 3.0])  # sd √2, half 12.706 · √2 / √2
    assert (found.n, found.mean, found.sd) == (2, 2.0, pytest.approx(math.sqrt(2)))
    assert (found.low, found.high) == (pytest.approx(2 - 12.7062, rel=1e-5), pytest.approx(2 + 12.7062, rel=1e-5))
    assert Spread.of([1.0, 1.0, 1.0]) == Spread(3, 1.0, 0.0, 1.0, 1.0)
    broken = Spread.of([1.0, math.nan])
    assert broken.n == 2 and math.isnan(broken.mean) and math.isnan(broken.sd or 0)
