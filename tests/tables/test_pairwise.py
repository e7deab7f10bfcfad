"""The paired test of several alternatives: by hand, against scipy's permutation test, and how often it is wrong."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
from scipy.stats import permutation_test

from mi_runner.tables.paired import PairedAnswers
from mi_runner.tables.pairwise import EXACT_UP_TO, compare_all, compare_population, fewest_units, other_shares


def test_of_six_units_that_all_agree_one_pattern_in_32_is_as_extreme() -> None:
    """All six differences have one sign: of 2⁶ patterns, the two without a change of sign are as extreme."""
    found = compare_all([[1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7]])
    assert found.p[0][1] == found.p[1][0] == 2 / 64
    assert (found.lowest, found.highest, found.tied_with(0), found.n) == (0, 1, [], 6)
    assert found.means == (3.5, 4.5)
    # Five units can't do it: 2 of 32 patterns.
    assert compare_all([[1, 2, 3, 4, 5], [2, 3, 4, 5, 6]]).tells_none_apart


@pytest.mark.parametrize("n", [2, 7, EXACT_UP_TO])
def test_two_alternatives_have_the_exact_p_value_of_scipys_permutation_test(n: int) -> None:
    values = np.random.default_rng(n).normal(size=(2, n))
    values[1] += 0.5
    scipys = permutation_test(
        (values[0] - values[1],),
        lambda differences, axis: np.abs(differences.sum(axis)),
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="greater",
        vectorized=True,
    )
    assert compare_all(values).p[0][1] == pytest.approx(scipys.pvalue, abs=1e-12)


def test_for_two_networks_answers_it_is_mcnemars_exact_test() -> None:
    """Of 13 examples, 3 that only the first answers correctly and 8 that only the second does."""
    first, second = [1] * 4 + [0] * 9, [1] + [0] * 3 + [1] * 8 + [0]
    assert compare_all([first, second]).p[0][1] == pytest.approx(PairedAnswers(1, 3, 8, 1).p)


def test_of_many_units_drawn_patterns_give_students_p_value() -> None:
    values = np.random.default_rng(0).normal(size=(2, 400))
    values[1] += 0.12
    from scipy.stats import ttest_rel

    assert compare_all(values).p[0][1] == pytest.approx(ttest_rel(*values).pvalue, abs=0.01)


def test_the_correction_is_that_of_westfall_and_young_step_by_step() -> None:
    """Three alternatives, eight units: every pattern by itself, the maximum over the pairs that are left."""
    values = np.random.default_rng(5).normal(size=(3, 8)) + np.array([[0.0], [0.9], [1.1]])
    pairs = [(0, 1), (0, 2), (1, 2)]
    differences = {pair: values[pair[0]] - values[pair[1]] for pair in pairs}

    def statistic(pair: tuple[int, int], signs: np.ndarray) -> float:
        own = differences[pair]
        return abs(float((signs * own).sum())) / float(np.sqrt((own**2).sum()))

    patterns = [np.array(signs) for signs in itertools.product((1, -1), repeat=8)]
    observed = {pair: statistic(pair, np.ones(8)) for pair in pairs}
    left = sorted(pairs, key=lambda pair: -observed[pair])
    found, before = compare_all(values), 0.0
    while left:
        pair = left[0]
        larger = [max(statistic(other, signs) for other in left) >= observed[pair] - 1e-9 for signs in patterns]
        before = max(before, sum(larger) / len(patterns))
        assert found.p[pair[0]][pair[1]] == pytest.approx(before)
        left = left[1:]


@pytest.mark.parametrize("n", [12, 203])
def test_counted_steps_and_added_values_give_the_same_p_values(n: int) -> None:
    """Shares of three draws, and the same with a number of its own added to each unit: all differences are the same."""
    draw = np.random.default_rng(n)
    shares = (draw.random((3, 5, n)) < np.linspace(0.3, 0.6, 5)[:, None]).mean(0)
    added = shares + draw.normal(size=n)
    assert len(np.unique(shares)) == 4 and all(len(np.unique(row)) == n for row in added)
    counted, summed = np.array(compare_all(shares).p), np.array(compare_all(added).p)
    assert counted == pytest.approx(summed, abs=1e-12) and len(np.unique(counted)) > 3


def test_alternatives_with_equal_means_have_the_p_value_1() -> None:
    """Every pattern's |Σd| is at least the observed one, which is 0; also where rounding leaves more than 0 of it."""
    rows = ["1111111001", "0011101101", "1100101011", "1101111110", "1011011111"]
    values = [[float(digit) for digit in row] for row in rows]
    for of in (values, np.array(values) + np.random.default_rng(0).normal(size=10)):
        p = np.array(compare_all(of).p)
        are_equal = np.equal.outer(*[np.sum(values, axis=1)] * 2)
        assert are_equal.sum() == 5 + 2 * 4 and (p[are_equal] == 1).all() and (p[~are_equal] < 1).all()


def test_among_equal_alternatives_a_difference_is_found_in_one_of_twenty_samples() -> None:
    """Eight alternatives, twelve units that differ from each other: 28 pairs, and any of them would be false."""
    draw = np.random.default_rng(3)
    n_wrong = sum(
        not compare_all(draw.exponential(size=(8, 12)) + 3 * draw.normal(size=12)).tells_none_apart for _ in range(400)
    )
    assert 5 <= n_wrong <= 32  # 0.05 · 400 = 20, standard deviation 4.4


def test_a_real_difference_among_equal_ones_is_found_and_the_others_tie() -> None:
    draw = np.random.default_rng(4)
    values = draw.normal(size=(5, 200))
    values[2] -= 1
    found = compare_all(values)
    assert found.lowest == 2 and found.tied_with(2) == []
    others = [0, 1, 3, 4]
    assert sorted([found.highest, *found.tied_with(found.highest)]) == others
    distances = [abs(found.means[place] - found.means[found.highest]) for place in found.tied_with(found.highest)]
    assert distances == sorted(distances)


def test_equal_values_tie_also_where_they_were_added_up_otherwise() -> None:
    values = np.random.default_rng(0).random((2, 50))
    values[1] = values[0] * (1 + 1e-12)
    assert compare_all(values).p[0][1] == 1
    assert compare_all(np.zeros((3, 4))).p[0] == (1, 1, 1)
    assert compare_all([[1.0, 2.0]]).tied_with(0) == []


def test_of_a_population_only_draws_are_sampled() -> None:
    """0.5 is below both draws of the second and among those of the third; equal numbers tie."""
    found = compare_population([[0.5], [0.625, 0.75], [0.375, 1.0], [0.5 + 1e-15]])
    assert found.p == ((1, 0, 1, 1), (0, 1, 1, 0), (1, 1, 1, 1), (1, 0, 1, 1))
    assert (found.n, found.means[:3]) == (0, (0.5, 0.6875, 0.6875))
    assert (found.lowest, found.tied_with(0), found.highest) == (0, [3, 2], 1)


def test_units_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="the same units, at least one"):
        compare_all([[1.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match="the same units, at least one"):
        compare_all([[], []])


def test_shares_of_different_examples_have_fishers_p_value_by_hand() -> None:
    """Of 6 examples 1 success, of 5 all of them: the sums of the tables with these margins that are no likelier."""
    table = {first: comb(6, first) * comb(5, 6 - first) for first in range(1, 7)}
    p = sum(ways for ways in table.values() if ways <= table[1]) / comb(11, 6)
    assert other_shares([(1, 6), (5, 5)], 0) == [1, pytest.approx(p)]
    # Three shares are three pairs, so that the lowest may be chosen.
    assert other_shares([(1, 6), (5, 5), (2, 2)], 0)[1] == pytest.approx(3 * p)
    assert other_shares([(3, 6), (3, 6)], 0) == [1, 1]


def test_more_alternatives_take_more_units() -> None:
    """Of one pair 2/2⁶ is below 5 %, of three 3·2/2⁷, of ten 10·2/2⁹, of 78 pairs 78·2/2¹²."""
    assert [fewest_units(n) for n in (1, 2, 3, 5, 13)] == [6, 6, 7, 9, 12]
