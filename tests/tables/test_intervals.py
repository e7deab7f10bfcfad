"""The spread over seeds: by hand, Student's t from printed tables, and how often the interval holds the true mean."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mi_runner.tables.intervals import Spread, t_quantile
from mi_runner.tables.over_seeds import Measured, over_seeds
from mi_runner.tables.ranges import ANY, DIFFERENCE_OF_SHARES, NOT_NEGATIVE, SHARE, Range


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.30265), (4, 2.77645), (9, 2.26216), (29, 2.04523), (10**6, 1.95997)]
)
def test_the_quantile_of_students_t_is_that_of_printed_tables(freedom: int, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, rel=2e-6)


# --- by hand -------------------------------------------------------------------------------------------------------


def test_a_measure_without_ends_has_students_interval() -> None:
    found = Spread.of([1.0, 3.0], ANY)  # sd √2, half 12.706 · √2 / √2
    assert (found.n, found.mean, found.sd) == (2, 2.0, pytest.approx(math.sqrt(2)))
    assert (found.low, found.high) == (pytest.approx(2 - 12.7062, rel=1e-5), pytest.approx(2 + 12.7062, rel=1e-5))


def test_a_share_has_its_interval_on_the_logits_scale() -> None:
    """0.5, 0.7, 0.9: standard error 0.2/√3; the logit's slope at 0.7 is 1/(0.7·0.3); t 4.30265."""
    found = Spread.of([0.5, 0.7, 0.9], SHARE)
    logit, half = math.log(0.7 / 0.3), 4.30265 * 0.2 / math.sqrt(3) / 0.21
    by_hand = [1 / (1 + math.exp(-end)) for end in (logit - half, logit + half)]
    assert (found.low, found.high) == (pytest.approx(by_hand[0], rel=1e-5), pytest.approx(by_hand[1], rel=1e-5))
    # A difference of shares is the same, stretched from 0..1 to −1..1.
    stretched = Spread.of([0.0, 0.4, 0.8], DIFFERENCE_OF_SHARES)
    assert (stretched.low, stretched.high) == pytest.approx([2 * end - 1 for end in by_hand], rel=1e-5)


def test_a_loss_has_its_interval_on_the_logarithms_scale() -> None:
    """1, 2, 3: standard error 1/√3; the logarithm's slope at 2 is 1/2."""
    found = Spread.of([1.0, 2.0, 3.0], NOT_NEGATIVE)
    factor = math.exp(4.30265 / math.sqrt(3) / 2)
    assert (found.low, found.high) == (pytest.approx(2 / factor, rel=1e-5), pytest.approx(2 * factor, rel=1e-5))


def test_one_value_has_no_interval_and_a_number_that_is_no_measure_has_none() -> None:
    assert Spread.of([0.5], SHARE) == Spread((0.5,), 0.5, None, None, None, SHARE)
    assert Spread.of([1.0, 3.0], None).low is Spread.of([1.0, 3.0], None).high is None


@pytest.mark.parametrize(("n", "unseen"), [(2, 0.77639), (3, 0.63160), (10, 0.25887)])  # (1 − p)ⁿ = 0.05
def test_equal_values_don_t_claim_that_no_seed_differs(n: int, unseen: float) -> None:
    perfect, half = Spread.of([1.0] * n, SHARE), Spread.of([0.5] * n, SHARE)
    assert (perfect.sd, perfect.low, perfect.high) == (0, pytest.approx(1 - unseen, rel=1e-4), 1)
    assert (half.low, half.high) == pytest.approx((0.5 - unseen / 2, 0.5 + unseen / 2), rel=1e-4)
    for within in (ANY, NOT_NEGATIVE):
        found = Spread.of([2.0] * n, within)
        assert (found.mean, found.sd, found.low, found.high) == (2, 0, None, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_leaves_no_finite_interval(value: float) -> None:
    found = Spread.of([1.0, value], NOT_NEGATIVE)
    assert found.mean == pytest.approx(value, nan_ok=True)
    assert all(math.isnan(end) for end in (found.sd, found.low, found.high))
    assert math.isnan(Spread.of([math.inf, -math.inf], ANY).mean)
    assert math.isnan(Spread.of([1.0, math.nan, 2.0], ANY).columns()["min"])


def test_a_value_out_of_range_has_no_interval() -> None:
    assert Spread.of([0.5, 1.5], SHARE).low is None
    with pytest.raises(ValueError, match="needs a lower end"):
        Range(None, 0.0)


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.sampled_from([SHARE, NOT_NEGATIVE, ANY, DIFFERENCE_OF_SHARES]),
)
def test_an_interval_is_around_the_mean_and_within_the_range(values: list[float], within: Range) -> None:
    found = Spread.of(values, within)
    if found.low is not None and found.high is not None:
        assert found.low <= found.mean <= found.high
        assert found.low in within and found.high in within
        assert found.low < found.high or not found.sd or found.sd < 1e-15


# --- coverage ------------------------------------------------------------------------------------------------------

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def failing(draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A training that fails in a fifth of the runs."""
    ends = draw.normal(0.97, 0.01, shape), draw.normal(0.5, 0.05, shape)
    return np.where(draw.random(shape) < 0.8, *ends).clip(0, 1)


COVERAGE: dict[str, tuple[Draw, float, Range, tuple[float, float, float]]] = {
    "accuracies, Beta(50, 2)": (lambda draw, shape: draw.beta(50, 2, shape), 50 / 52, SHARE, (0.95, 0.94, 0.95)),
    "accuracies, Beta(20, 1)": (lambda draw, shape: draw.beta(20, 1, shape), 20 / 21, SHARE, (0.95, 0.93, 0.93)),
    "uniform": (lambda draw, shape: draw.random(shape), 0.5, SHARE, (0.96, 0.96, 0.96)),
    "of 20": (lambda draw, shape: draw.binomial(20, 0.95, shape) / 20, 0.95, SHARE, (0.99, 0.97, 0.96)),
    "log-normal": (
        lambda draw, shape: draw.lognormal(0, 0.5, shape),
        math.exp(0.125),
        NOT_NEGATIVE,
        (0.94, 0.94, 0.93),
    ),
    "a fifth fails": (failing, 0.8 * 0.97 + 0.2 * 0.5, SHARE, (0.51, 0.66, 0.87)),
}
"""How values are drawn, their true mean, their range, and the coverage that spread.py says for 3, 5, 10 seeds."""


@pytest.mark.parametrize("name", COVERAGE)
def test_the_interval_holds_the_true_mean_as_often_as_the_docstring_says(name: str) -> None:
    draw, mean, within, said = COVERAGE[name]
    for n, share in zip((3, 5, 10), said, strict=True):
        samples = draw(np.random.default_rng(n), (4000, n)).tolist()
        spreads = [Spread.of(values, within) for values in samples]
        found = sum(spread.low <= mean <= spread.high for spread in spreads) / len(spreads)
        assert found == pytest.approx(share, abs=0.015), (n, found)


# --- tables --------------------------------------------------------------------------------------------------------


def test_rows_of_one_network_are_averaged_before_networks_are_compared() -> None:
    ranges = {"accuracy": SHARE, "loss": NOT_NEGATIVE}
    rows = [
        Measured.of(network, {"target": target}, {"accuracy": text, "n": "10"}, ranges)
        for network, target, text in [
            *((0, "a", "0.2"), (0, "b", "0.9"), (0, "a", "0.4")),
            *((1, "a", 0.5), (1, "c", "wrong"), (1, "b", ""), (1, "c", True)),
        ]
    ]
    found = [one.row for one in over_seeds(rows)]
    assert [(row["target"], row["measure"], row["n"]) for row in found] == [("a", "accuracy", 2), ("b", "accuracy", 1)]
    assert (found[0]["mean"], found[0]["min"], found[0]["max"]) == pytest.approx((0.4, 0.3, 0.5))
