"""What criteria say of each other: against scipy, plain loops over circuits, and cases by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact, kendalltau

from mi_runner.methods.criteria.comparison import (
    front,
    is_picked_alone,
    kendall_tau,
    passes_more_often,
    place_of,
    ranks_of,
    survivors,
    tau_intervals,
    tau_matrix,
)

NULL = math.nan


def of(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def noisy(values: np.ndarray) -> np.ndarray:
    """The same values, with what another order of additions could change."""
    return values * (1 + 1e-14 * np.random.default_rng(1).standard_normal(values.shape))


@st.composite
def tables(draw: st.DrawFn, most: int = 30) -> dict[str, np.ndarray]:
    """Few circuits, few criteria, few different values, so that many are equal."""
    n, n_criteria = draw(st.integers(1, most)), draw(st.integers(1, 4))
    column = st.lists(st.integers(0, 3), min_size=n, max_size=n)
    return {f"c{k}": np.array(draw(column)) / 3 for k in range(n_criteria)}


# --- Kendall's tau ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_values", [2, 5, 1000])
@pytest.mark.parametrize("n", [2, 3, 17, 400])
def test_tau_is_scipy_s(n: int, n_values: int) -> None:
    draw = np.random.default_rng(n + n_values)
    for _ in range(5):
        first, second = draw.integers(0, n_values, (2, n)) / n_values
        expected = kendalltau(first, second).statistic
        found = kendall_tau(first, noisy(second))
        assert found is None if math.isnan(expected) else found == pytest.approx(expected, abs=1e-12)


def test_tau_of_many_circuits_is_scipy_s() -> None:
    draw = np.random.default_rng(0)
    first = draw.integers(0, 300, 20_000) / 300
    second = np.round(first / 2 + draw.random(20_000) / 2, 3)
    assert kendall_tau(first, second) == pytest.approx(kendalltau(first, second).statistic, abs=1e-12)


def test_tau_by_hand() -> None:
    """Of six pairs two are tied in one of both, three agree and one doesn't: 2 / √(5·5)."""
    assert kendall_tau(of(0.1, 0.1, 0.2, 0.3), of(0.1, 0.2, 0.4, 0.2)) == pytest.approx(2 / 5)
    assert kendall_tau(of(0, 1), of(0, 1)) == 1
    assert kendall_tau(of(0, 1), of(1, 0)) == -1


@pytest.mark.parametrize(("first", "second"), [([], []), ([0.5], [0.5]), ([1, 1], [0, 1]), ([0, 1], [NULL, NULL])])
def test_there_is_no_tau_where_one_is_constant(first: list[float], second: list[float]) -> None:
    assert kendall_tau(of(*first), of(*second)) is None


def test_null_values_don_t_count_in_tau() -> None:
    draw = np.random.default_rng(3)
    first, second = draw.integers(0, 9, (2, 60)) / 9
    first[::7], second[::5] = NULL, NULL
    there = ~np.isnan(first) & ~np.isnan(second)
    expected = kendalltau(first[there], second[there]).statistic
    assert kendall_tau(first, second) == pytest.approx(expected, abs=1e-12)


def test_values_that_differ_by_rounding_are_equal() -> None:
    """Also where decimals would be rounded up in one and down in the other."""
    half = 2.0**-13
    _, ranks = ranks_of(of(half + 1e-17, 0.3, half - 1e-17, 0.1 + 0.2, NULL, 0.3 + 1e-9))
    assert ranks.tolist() == [0, 1, 0, 1, -1, 2]


@given(tables())
def test_ranks_order_as_values_do(values: dict[str, np.ndarray]) -> None:
    for one in values.values():
        order, ranks = ranks_of(noisy(one))
        assert ranks.tolist() == np.unique(one, return_inverse=True)[1].tolist()
        assert (np.diff(ranks[order]) >= 0).all()


def test_the_matrix_has_each_pair_once() -> None:
    values = {"a": of(0, 0.5, 1), "b": of(1, 0.5, 0), "c": of(1, 1, 1)}
    assert tau_matrix(values) == {("a", "b"): -1, ("a", "c"): None, ("b", "c"): None}
    assert tau_matrix({"a": of(0, 1)}) == {}


# --- intervals of tau ------------------------------------------------------------------------------------------------


def test_the_interval_is_the_spread_of_the_resamples_around_tau_of_all_circuits() -> None:
    draw = np.random.default_rng(0)
    resampled = {"a": draw.integers(0, 5, (20, 41)) / 5, "b": draw.integers(0, 5, (20, 41)) / 5}
    resampled["c"] = draw.integers(0, 5, (20, 1)) / 5
    of_sample = tau_matrix({name: values[:, 0] for name, values in resampled.items()})
    for shift in (0.0, 0.05):
        whole = {pair: (tau or 0.0) + shift for pair, tau in of_sample.items()}
        found = tau_intervals(resampled, whole)
        for one, other in itertools.combinations("abc", 2):
            columns = (np.broadcast_to(resampled[name], (20, 41)).T for name in (one, other))
            taus = [kendalltau(*both).statistic for both in zip(*columns, strict=True)]
            expected = whole[one, other] + np.quantile(taus, (0.025, 0.975)) - np.median(taus)
            assert found[one, other] == pytest.approx(tuple(expected), abs=1e-12)


def test_ends_of_an_interval_stay_in_their_range() -> None:
    resampled = {"a": np.tile(of(0, 1)[:, None], 9), "b": np.stack([of(0, 1)] * 5 + [of(1, 0)] * 4, axis=1)}
    found = tau_intervals(resampled, {("a", "b"): 0.9})
    assert found == {("a", "b"): pytest.approx((-1.0, 0.9))}  # from 0.9 − 2, at the median


@pytest.mark.parametrize(("n_constant", "is_there"), [(2, True), (3, False)])
def test_there_is_no_interval_where_most_resamples_have_no_tau(n_constant: int, is_there: bool) -> None:
    resampled = {"a": np.tile(of(0, 1)[:, None], 4), "b": np.tile(of(0, 1)[:, None], 4)}
    resampled["b"][:, :n_constant] = 0.5
    found = tau_intervals(resampled, {("a", "b"): 1.0})
    assert found == {("a", "b"): (1.0, 1.0) if is_there else None}


def test_there_is_no_interval_without_a_tau_of_the_circuits() -> None:
    resampled = {"a": of(0, 1)[:, None], "b": of(0, 1)[:, None]}
    assert tau_intervals(resampled, {("a", "b"): None}) == {("a", "b"): None}


# --- survivors -------------------------------------------------------------------------------------------------------


@given(tables(), st.integers(0, 4))
def test_survivors_are_those_of_a_loop_over_circuits(values: dict[str, np.ndarray], thirds: int) -> None:
    threshold = thirds / 3
    values = {("parsimony" if name == "c3" else name): one for name, one in values.items()}
    sets = {name: {k for k, value in enumerate(one) if 3 * value > thirds - 0.5} for name, one in values.items()}
    counted = [name for name in values if name != "parsimony"]
    every = set(range(len(next(iter(values.values())))))
    found = survivors({name: noisy(one) for name, one in values.items()}, threshold)
    assert found.alone == {name: len(passed) for name, passed in sets.items()}
    for one, other in itertools.combinations(values, 2):
        both, either = sets[one] & sets[other], sets[one] | sets[other]
        assert found.pairs[one, other] == len(both)
        assert found.overlaps[one, other] == (len(both) / len(either) if either else None)
    in_all = every.intersection(*(sets[name] for name in counted))
    assert found.are_survivors is not None
    assert (found.of_all, set(np.flatnonzero(found.are_survivors))) == (len(in_all), in_all)
    assert found.with_all == {name: len(in_all & passed) for name, passed in sets.items()}
    for step, name in enumerate(counted):
        assert found.cumulative[name] == len(every.intersection(*(sets[other] for other in counted[: step + 1])))
        others = [sets[other] for other in counted if other != name]
        assert found.without[name] == (len(every.intersection(*others)) if others else None)


def test_a_criterion_that_is_null_for_all_is_no_part_of_all() -> None:
    found = survivors({"shift": of(NULL, NULL), "agreement": of(1, 0.9), "noise": of(NULL, 1)}, 0.99)
    assert (found.counted, found.n_circuits) == (("agreement", "noise"), 2)
    assert found.alone == {"shift": None, "agreement": 1, "noise": 1}
    assert found.pairs == {("shift", "agreement"): None, ("shift", "noise"): None, ("agreement", "noise"): 0}
    assert (found.of_all, found.with_all["shift"]) == (0, None)


def test_there_are_no_survivors_of_all_without_a_criterion_that_counts() -> None:
    for values in ({"parsimony": of(1, 0.5)}, {"shift": of(NULL)}):
        found = survivors(values, 0.99)
        assert found.of_all is found.are_survivors is None


def test_criteria_are_added_in_the_order_asked_for() -> None:
    found = survivors({"a": of(1, 1, 0), "b": of(1, 0, 0)}, 0.99, order=["b"])
    assert list(found.cumulative.items()) == [("b", 1), ("a", 1)]
    assert list(survivors({"a": of(1, 1, 0), "b": of(1, 0, 0)}, 0.99).cumulative.items()) == [("a", 2), ("b", 1)]


# --- the front -------------------------------------------------------------------------------------------------------


def unbeaten(rows: np.ndarray) -> list[bool]:
    return [not any((other >= row).all() and (other > row).any() for other in rows) for row in rows]


@settings(deadline=None)  # the first call compiles
@given(tables())
def test_the_front_is_that_of_a_loop_over_pairs(values: dict[str, np.ndarray]) -> None:
    expected = unbeaten(np.stack([np.round(3 * one) for one in values.values()], axis=1))
    assert front({name: noisy(one) for name, one in values.items()}).tolist() == expected


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6))
def test_the_front_of_more_circuits_than_are_compared_at_once(seed: int) -> None:
    rows = np.random.default_rng(seed).integers(0, 12, (1500, 4))
    assert front({str(k): column / 12 for k, column in enumerate(rows.T)}).tolist() == unbeaten(rows)


def test_null_criteria_decide_nothing_in_the_front() -> None:
    values = {"a": of(1, 0.5, 1), "b": of(0.5, 0.5, 0.5), "shift": of(NULL, NULL, NULL)}
    assert front(values).tolist() == [True, False, True]
    assert front({"shift": values["shift"]}).all()
    assert front({"a": of(1, NULL), "b": of(1, 1)}).tolist() == [True, False]
    assert front({"a": of()}).tolist() == []


# --- the place of one circuit ----------------------------------------------------------------------------------------


def test_the_place_counts_the_better_and_half_of_the_equal_ones() -> None:
    values = of(0.9, 1.0, 0.1 + 0.2, 0.3, 0.3, NULL)
    assert [place_of(values, row) for row in range(6)] == [1 / 5, 0, 3 / 5, 3 / 5, 3 / 5, None]
    assert [is_picked_alone(values, row) for row in range(6)] == [False, True, False, False, False, None]
    assert is_picked_alone(of(1, 1), 0) is False
    assert place_of(of(1.0), 0) is is_picked_alone(of(1.0), 0) is None


@given(tables())
def test_places_are_half_on_average(values: dict[str, np.ndarray]) -> None:
    for one in values.values():
        places = [place_of(one, row) for row in range(len(one))]
        assert places == [None] if len(one) == 1 else np.mean(places) == pytest.approx(0.5)  # type: ignore[arg-type]


# --- chance ----------------------------------------------------------------------------------------------------------


def test_valid_circuits_against_chance_are_a_binomial_test_corrected_by_holm() -> None:
    passed = {"a": (90, 100), "b": (50, 100), "null": None, "none": (0, 0), "sure": (100, 100)}
    by_chance = {"a": (10, 20), "b": (9, 20), "null": (1, 20), "none": (1, 20), "sure": (20, 20)}
    found = passes_more_often(passed, by_chance)
    p = {
        "a": 3 * binomtest(10, 20, 0.9, alternative="less").pvalue,
        "b": min(1.0, 2 * binomtest(9, 20, 0.5, alternative="less").pvalue),
        "sure": 1.0,
    }
    assert found["null"] is found["none"] is None
    for name, expected in p.items():
        one = found[name]
        assert one is not None and one.p == pytest.approx(expected)
        assert one.says_something == (name == "a")
    first = found["a"]
    assert first is not None and (first.share, first.chance_share) == (0.9, 0.5)
    assert (first.chance_low, first.chance_high) == pytest.approx((0.2993, 0.7007), abs=1e-4)  # printed by Wilson's


def test_a_sample_of_valid_circuits_is_compared_by_fisher_s_test() -> None:
    found = passes_more_often({"a": (18, 20)}, {"a": (10, 20)}, is_sample=True)["a"]
    assert found is not None
    assert found.p == pytest.approx(fisher_exact([[18, 2], [10, 10]], alternative="greater").pvalue)


def test_the_test_is_wrong_in_at_most_one_of_twenty_draws_of_chance() -> None:
    """Chance circuits that pass with the share of the valid ones: how often would the test tell them apart?"""
    drawn = np.random.default_rng(0).binomial(200, 0.4, 4000)
    wrong = 0
    for number in np.unique(drawn):
        one = passes_more_often({"a": (40, 100)}, {"a": (int(number), 200)})["a"]
        assert one is not None
        wrong += int((drawn == number).sum()) * one.says_something
    assert 0.02 < wrong / 4000 < 0.06
