"""Paired tests of each two of several alternatives: by hand, against scipy, and by all patterns of signs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import rankdata, t, wilcoxon

from mi_runner.tables.paired import EXACT_RANKS, PairedValues, SignedRanks, compared_pairs
from mi_runner.tables.pairwise import better_by, compared_by

# --- signed ranks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("differences", "total", "p"),
    [
        ([], 0, 1),
        ([0.0, -0.0], 0, 1),
        ([5.0], 1, 1),  # + or −: both are as extreme
        ([-5.0], -1, 1),
        ([1.0, 2.0], 3, Fraction(2, 4)),
        ([-1.0, 2.0], 1, 1),
        ([0.0, 1.0, 0.0, 2.0], 3, Fraction(2, 4)),  # as without zeros
        ([1.0, -1.0], 0, 1),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 21, Fraction(2, 64)),
        ([1e-9, 2.0, 2.0, 2.0, 5.0, 1e300], 21, Fraction(2, 64)),
        ([-1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 19, Fraction(4, 64)),  # negative ranks add up to 0 or 1
        ([2.0, 2.0, -2.0], 2, 1),  # ranks 2, 2, 2: no pattern is less extreme
        ([-3.0, 1.0, 1.0], 0, 1),  # ranks 3, 1½, 1½
    ],
)
def test_signed_ranks_by_hand(differences: Sequence[float], total: float, p: Fraction) -> None:
    assert SignedRanks.of(differences) == SignedRanks(total, float(p))
    assert SignedRanks.of([-each for each in differences]) == SignedRanks(-total, float(p))


def p_of_all_patterns(differences: Sequence[float]) -> float:
    """How many patterns of signs have a sum of signed ranks as far from 0 as the observed one, by trying all."""
    own = np.array([each for each in differences if each])
    ranks = rankdata(np.abs(own))
    patterns = np.array(list(itertools.product((-1, 1), repeat=len(own))))
    return float((np.abs(patterns @ ranks) >= abs((np.sign(own) * ranks).sum())).mean())


@pytest.mark.parametrize("seed", range(30))
def test_with_ties_and_zeros_they_have_the_p_value_of_all_patterns(seed: int) -> None:
    draw = np.random.default_rng(seed)
    differences = draw.integers(-3, 6, size=draw.integers(2, 13)).astype(float).tolist()
    assert any(differences)
    assert SignedRanks.of(differences).p == pytest.approx(p_of_all_patterns(differences), rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 13, 40, EXACT_RANKS])
def test_without_ties_and_zeros_they_are_scipys_exact_test(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.2, size=n)
    found, scipys = SignedRanks.of(differences.tolist()), wilcoxon(differences, method="exact")
    assert found.p == pytest.approx(scipys.pvalue, rel=1e-9)
    assert abs(found.sum) == n * (n + 1) / 2 - 2 * scipys.statistic  # scipy's is the smaller sum of one sign


@pytest.mark.parametrize("decimals", [9, 1])
def test_of_many_they_are_scipys_normal_test_also_with_ties_and_zeros(decimals: int) -> None:
    differences = np.random.default_rng(decimals).normal(0.1, size=3 * EXACT_RANKS).round(decimals)
    assert (decimals == 1) == (0 in differences)
    scipys = wilcoxon(differences, method="asymptotic", correction=False)
    assert SignedRanks.of(differences.tolist()).p == pytest.approx(scipys.pvalue, rel=1e-9)


def test_up_to_the_border_they_are_exact_and_beyond_it_normal() -> None:
    """Zeros don't count. With all differences of one sign the exact p-value is 1e-60, the normal one 1e-34."""
    one_sign = [float(number) for number in range(1, EXACT_RANKS + 1)]
    assert SignedRanks.of([0.0, *one_sign]).p == 2.0 ** (1 - EXACT_RANKS)
    beyond = SignedRanks.of([*one_sign, EXACT_RANKS + 1.0]).p
    assert beyond == pytest.approx(wilcoxon([*one_sign, EXACT_RANKS + 1.0], method="asymptotic").pvalue)
    assert 1e-40 < beyond < 1e-30
    # In the middle the two are near each other.
    near = np.random.default_rng(0).normal(0.1, size=EXACT_RANKS + 1)
    exact, normal = SignedRanks.of(near[1:].tolist()).p, SignedRanks.of(near.tolist()).p
    assert exact == pytest.approx(wilcoxon(near[1:], method="exact").pvalue, rel=1e-9)
    assert normal == pytest.approx(wilcoxon(near, method="asymptotic").pvalue, rel=1e-9)
    assert normal != pytest.approx(wilcoxon(near, method="exact").pvalue, rel=1e-6)


def test_at_the_border_no_digit_is_lost_where_sizes_are_equal() -> None:
    """Counted in whole numbers without end, of patterns with each sum of doubled ranks."""
    sizes = np.random.default_rng(1).integers(1, 9, size=EXACT_RANKS)
    signs = np.where(np.arange(EXACT_RANKS) < 8, -1, 1)
    doubled = [int(rank) for rank in 2 * rankdata(sizes)]
    counts = [1]
    for rank in doubled:
        counts = [a + b for a, b in zip([*counts, *[0] * rank], [*[0] * rank, *counts], strict=True)]
    below = sum(rank for rank, sign in zip(doubled, signs, strict=True) if sign < 0)
    p = Fraction(2 * sum(counts[: below + 1]), 2**EXACT_RANKS)
    assert 0 < p < 1e-20
    assert SignedRanks.of((signs * sizes).tolist()).p == pytest.approx(float(p), rel=1e-12)


def test_one_very_large_difference_hides_nothing() -> None:
    """As one network with a hugely negative cpr: Student's test finds nothing, the signed ranks do."""
    differences = [*np.linspace(0.1, 0.2, 12), 1e6]
    assert PairedValues.of(differences).p == pytest.approx(0.337, abs=1e-3)
    assert SignedRanks.of(differences).p == 2 / 2**13


# --- pairs -----------------------------------------------------------------------------------------------------------


def test_each_pair_is_scipys_test_corrected_for_the_number_of_pairs() -> None:
    """Three pairs: the smallest p-value counts three times, the next twice, and none is smaller than one before it."""
    values = np.random.default_rng(3).normal(size=(3, 9)) + np.array([[0.0], [0.9], [0.5]])
    found = compared_pairs(values.tolist(), digits=9)
    assert [(pair.first, pair.second) for pair in found] == [(0, 1), (0, 2), (1, 2)]
    p = [wilcoxon(values[pair.first], values[pair.second], method="exact").pvalue for pair in found]
    assert [pair.ranks.p for pair in found] == pytest.approx(p, rel=1e-9)
    smallest, middle, largest = sorted(p)
    assert smallest < middle < largest
    steps = dict(zip((smallest, middle, largest), (3 * smallest, 2 * middle, max(largest, 2 * middle)), strict=True))
    assert [pair.p_holm for pair in found] == pytest.approx([min(1, steps[one]) for one in p], rel=1e-9)
    for pair in found:
        difference = values[pair.first] - values[pair.second]
        higher = int((difference > 0).sum())
        assert (pair.n_higher, pair.n_lower) == (higher, 9 - higher)
        ends = t.interval(0.95, 8, difference.mean(), difference.std(ddof=1) / 3)
        own = pair.difference
        assert [own.mean, own.low, own.high] == pytest.approx([difference.mean(), *ends], rel=1e-6)


def test_what_is_equal_but_for_rounding_does_not_differ_and_equal_differences_share_their_rank() -> None:
    equal, same = compared_pairs([[0.1, 0.2], [0.1 + 1e-12, 0.2]], digits=9)[0], [[0.3, 0.4], [0.1, 0.2]]
    assert (equal.ranks, equal.p_holm, equal.n_higher, equal.n_lower) == (SignedRanks(0, 1), 1, 0, 0)
    (pair,) = compared_pairs(same, digits=9)  # 0.3 − 0.1 isn't 0.4 − 0.2 in binary
    assert (pair.ranks, pair.difference) == (SignedRanks(3, 0.5), PairedValues(2, 0.2))
    (pair,) = compared_pairs([[0.3, 0.4, 0.1], [0.1, 0.2, 0.3]], digits=9)
    assert pair.ranks == SignedRanks(2, 1)  # three shared ranks of 2
    one = compared_pairs([[0.3], [0.1]], digits=9)[0]
    assert (one.difference, one.ranks, one.p_holm, one.n_higher) == (PairedValues(1, 0.2), SignedRanks(1, 1), 1, 1)
    assert compared_pairs([[0.3, 0.4]], digits=9) == []


def test_fewer_than_six_units_tell_nothing_apart_however_large_the_difference() -> None:
    values = [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [1.1, 1.2, 1.31, 1.4, 1.5, 1.6]]
    five = compared_pairs([own[:5] for own in values], digits=9)
    assert five[0].p_holm == 2 / 32
    assert compared_by([2, 1], five, 5).tells_none_apart and compared_by([2, 1], five, 5).n == 5
    assert not compared_by([2, 1], compared_pairs(values, digits=9), 6).tells_none_apart


# --- told apart ------------------------------------------------------------------------------------------------------


def test_two_are_told_apart_only_if_the_test_and_the_ranks_agree() -> None:
    """In all of six units the first is higher."""
    (pair,) = pairs = compared_pairs([[1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0]], digits=9)
    assert pair.ranks == SignedRanks(21, 2 / 64)
    found = compared_by([1.0, 2.0], pairs, 6)
    assert found.p == ((1, 2 / 64), (2 / 64, 1)) and found.means == (1, 2) and found.n == 6
    assert (better_by([1.0, 2.0], pair), found.lowest, found.tied_with(0)) == (0, 0, [])
    # The ranks say that the second is better, or that they are equal, perhaps but for rounding.
    for ranks in ([2.0, 1.0], [1.5, 1.5], [1.5, 1.5 + 1e-12]):
        assert better_by(ranks, pair) is None and compared_by(ranks, pairs, 6).p == ((1, 1), (1, 1))
    # The other way round.
    (turned,) = compared_pairs([[0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]], digits=9)
    assert better_by([2.0, 1.0], turned) == 1 and better_by([1.0, 2.0], turned) is None
    (level,) = compared_pairs([[1, 0], [0, 1]], digits=9)
    assert level.ranks.sum == 0 and better_by([1.0, 2.0], level) is None


def test_mean_ranks_can_contradict_signed_ranks() -> None:
    """In one of eight units the first is higher by little, with all others between the two; elsewhere the second is."""
    first, second = [0.5] * 8, [0.49, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2]
    others = [[0.491 + place / 1000] + [-1.0] * 7 for place in range(8)]
    values = np.array([first, second, *others])
    ranks = rankdata(-values, axis=0).mean(1)
    assert ranks[:2].tolist() == [(1 + 7 * 2) / 8, (10 + 7 * 1) / 8]
    pair = compared_pairs(values.tolist(), digits=9)[0]
    assert pair.ranks == SignedRanks(1 - 35, 4 / 256)
    assert better_by(ranks, pair) is None
    told = compared_by(ranks, [replace(pair, p_holm=pair.ranks.p)], 8)
    assert told.lowest == 0 and told.p[0][1] == 1 and 1 in told.tied_with(0)
