"""Paired tests of each two of several alternatives: by hand, and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from mi_runner.tables.paired import PairedValues, compared_pairs
from mi_runner.tables.pairwise import compared_by


def test_each_pair_is_scipys_test_corrected_for_the_number_of_pairs() -> None:
    """Three pairs: the smallest p-value counts three times, the next twice, and none is smaller than one before it."""
    values = np.random.default_rng(3).normal(size=(3, 9)) + np.array([[0.0], [1.5], [1.2]])
    found = compared_pairs(values.tolist(), digits=9)
    assert [(pair.first, pair.second) for pair in found] == [(0, 1), (0, 2), (1, 2)]
    p = [ttest_rel(values[pair.first], values[pair.second]).pvalue for pair in found]
    assert [pair.test.p for pair in found] == pytest.approx(p, rel=1e-6)
    smallest, middle, largest = sorted(p)
    steps = dict(zip((smallest, middle, largest), (3 * smallest, 2 * middle, max(largest, 2 * middle)), strict=True))
    assert [pair.p_holm for pair in found] == pytest.approx([min(1, steps[one]) for one in p], rel=1e-6)
    for pair in found:
        higher = int((values[pair.first] > values[pair.second]).sum())
        assert (pair.n_higher, pair.n_lower) == (higher, 9 - higher)
    # As alternatives that are told apart, or not.
    compared = compared_by(values.tolist(), found)
    assert compared.means == pytest.approx(values.mean(1)) and compared.n == 9
    for pair in found:
        assert compared.p[pair.first][pair.second] == compared.p[pair.second][pair.first] == pair.p_holm
    assert all(compared.p[place][place] == 1 for place in range(3))


def test_what_is_equal_but_for_rounding_has_p_1_and_the_same_difference_everywhere_has_no_test() -> None:
    equal, same = compared_pairs([[0.1, 0.2], [0.1 + 1e-12, 0.2]], digits=9)[0], [[0.3, 0.4], [0.1, 0.2]]
    assert (equal.test, equal.p_holm, equal.n_higher, equal.n_lower) == (PairedValues(2, 0.0, p=1.0), 1.0, 0, 0)
    assert compared_pairs(same, digits=9)[0].test == PairedValues(2, 0.2)  # 0.3 − 0.1 isn't 0.4 − 0.2 in binary
    assert compared_pairs(same, digits=9)[0].p_holm is None
    one = compared_pairs([[0.3], [0.1]], digits=9)[0]
    assert (one.test, one.p_holm, one.n_higher) == (PairedValues(1, 0.2), None, 1)
    assert compared_pairs([[0.3, 0.4]], digits=9) == []


def test_a_pair_without_a_p_value_counts_among_the_pairs() -> None:
    """Of three pairs the first has none, so the smallest of the others still counts three times."""
    values = [[0.3, 0.4, 0.6], [0.1, 0.2, 0.4], [9.0, 5.0, 7.0]]
    without, *others = compared_pairs(values, digits=9)
    assert without.p_holm is None
    low, high = sorted(others, key=lambda pair: pair.test.p or 0)
    assert low.test.p is not None and high.test.p is not None and 0 < low.test.p < 1 / 3
    assert (low.p_holm, high.p_holm) == (3 * low.test.p, max(3 * low.test.p, 2 * high.test.p))


def test_fewer_than_six_units_tell_nothing_apart_however_small_the_p_value() -> None:
    values = [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [1.1, 1.2, 1.31, 1.4, 1.5, 1.6]]
    five = [own[:5] for own in values]
    pairs = compared_pairs(five, digits=9)
    assert pairs[0].p_holm is not None and pairs[0].p_holm < 1e-6
    assert compared_by(five, pairs).tells_none_apart and compared_by(five, pairs).n == 5
    assert not compared_by(values, compared_pairs(values, digits=9)).tells_none_apart
