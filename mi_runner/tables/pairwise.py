"""Which of several alternatives differ? Each two of them are compared on the same units: examples, or networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mi_runner.tables.paired import ComparedPair

EXACT_UP_TO = 14
"""Up to this many units all sign patterns are tried; of more, some are drawn."""

DRAWN_PATTERNS = 5_000
MOST_NUMBERS = 50_000_000
"""Patterns times pairs that are compared; of more pairs fewer patterns are drawn."""

FEWEST_PATTERNS = 1_000
MOST_STEPS = 8
"""Different values of an alternative, on average, up to which those of units are counted instead of added."""

IN_CACHE = 1_000_000
"""Signs that are compared at once: 8 MB of numbers. More leave the processor's caches, and take three times as long."""

MOST_ALTERNATIVES = 300
"""So many have 44,850 pairs. Of more, none is told apart from another."""

SAME = 1e-9
"""Values whose relative difference is at most this are equal: they were added up in another order."""

ROUNDING = 1e-6

FEWEST_UNITS = 6
"""Of fewer, at least one sign pattern in 16 is as extreme as the observed one, so nothing is told apart."""

LEVEL = 0.05
"""A p-value of at least this doesn't tell two alternatives apart."""


@dataclass(frozen=True)
class Compared:
    """Several alternatives that were measured on the same units (examples, or networks), each pair of them compared.

    Attributes:
        means: of each alternative over the units.
        n: units; 0 where they are the whole population, so that nothing is tested; see `compare_population`.
        p: `p[a][b]`, the p-value that the two are equally good, corrected for all pairs.
    """

    means: tuple[float, ...]
    n: int
    p: tuple[tuple[float, ...], ...]

    def tied_with(self, place: int) -> list[int]:
        """Returns the other alternatives that are not told apart from this one, by their means, the nearest first."""
        others = [other for other, p in enumerate(self.p[place]) if other != place and p >= LEVEL]
        return sorted(others, key=lambda other: abs(self.means[other] - self.means[place]))

    @property
    def lowest(self) -> int:
        """The alternative with the lowest mean, the first of equal ones; not told apart from those `tied_with` it."""
        return min(range(len(self.means)), key=lambda place: self.means[place])

    @property
    def highest(self) -> int:
        """The alternative with the highest mean, the first of equal ones."""
        return max(range(len(self.means)), key=lambda place: self.means[place])

    @property
    def tells_none_apart(self) -> bool:
        """Whether no two alternatives are told apart."""
        return all(p >= LEVEL for row in self.p for p in row)


def compare_all(values: Sequence[Sequence[float]]) -> Compared:
    """Returns a paired test of the means of each two alternatives, corrected for the number of pairs.

    If two alternatives are equally good, the signs of their differences are those of fair coins. The same signs are
    given to the differences of all pairs, so that the correction knows how the pairs depend on each other: the
    step-down procedure of P. Westfall and S. Young, Resampling-based multiple testing (1993), with the statistic
    |Σd| / √Σd² of a pair's differences d, which orders samples as Student's |t| does. Whichever pair is looked at, also
    the lowest and the next, a false difference is found with a probability of at most 5 % among all pairs.
    Fewer than `FEWEST_UNITS` can't tell anything apart.

    Args:
        values: of each alternative those of the units, all in the same order; finite.

    Raises:
        ValueError: the alternatives have different numbers of units, or none.
    """
    import numpy as np

    if len({len(row) for row in values}) != 1 or not len(values[0]):
        raise ValueError("give each alternative the same units, at least one.")
    of = np.asarray(values, dtype=np.float64)
    means = of.mean(1)
    p = np.ones((len(of), len(of)))
    first, second = np.triu_indices(len(of), 1)
    if len(first) and len(of) <= MOST_ALTERNATIVES:
        p[first, second] = p[second, first] = _westfall_young(of, first, second)
    return Compared(tuple(means.tolist()), of.shape[1], tuple(map(tuple, p.tolist())))


def fewest_units(n_alternatives: int) -> int:
    """Returns the fewest units with which signed ranks can tell two of so many alternatives apart.

    The smallest p-value of n units is 2/2^n, and Holm's method multiplies it by the number of pairs.
    """
    n_pairs, n = max(1, math.comb(n_alternatives, 2)), 1
    while n_pairs * 2.0 ** (1 - n) >= LEVEL:
        n += 1
    return n


def compared_by(ranks: Sequence[float], pairs: Sequence[ComparedPair], n: int) -> Compared:
    """Returns which alternatives differ, by a test of each pair that is already made; the lowest rank is the best.

    Two are told apart only if the test and the ranks agree which of them is better; see `better_by`.

    Args:
        ranks: of each alternative its mean rank, 1 the highest value of a unit.
        pairs: of `paired.compared_pairs`.
        n: units.
    """
    p = [[1.0] * len(ranks) for _ in ranks]
    for pair in pairs:
        if better_by(ranks, pair) is not None:
            p[pair.first][pair.second] = p[pair.second][pair.first] = pair.p_holm
    return Compared(tuple(ranks), n, tuple(map(tuple, p)))


def better_by(ranks: Sequence[float], pair: ComparedPair) -> int | None:
    """Returns the alternative of a pair that mean ranks and signed ranks call the better one; None if they don't agree.

    Mean ranks are among all alternatives and signed ranks are of the two alone, so one can contradict the other.

    Args:
        ranks: as in `compared_by`.
    """
    better, worse = (pair.first, pair.second) if pair.ranks.sum > 0 else (pair.second, pair.first)
    is_lower = ranks[worse] - ranks[better] > SAME * ranks[worse]
    return better if pair.ranks.sum and is_lower else None


def compare_population(draws: Sequence[Sequence[float]]) -> Compared:
    """Returns which alternatives differ where their means are over all the units there are, so that none is sampled.

    Only draws of an alternative are: two alternatives are told apart if all draws of one are below all of the other.
    Their p-value is then 0, otherwise 1.

    Args:
        draws: of each alternative the mean of each of its draws; one of an alternative that draws nothing.
    """
    ends = [(min(own), max(own)) for own in draws]

    def differ(one: tuple[float, float], other: tuple[float, float]) -> bool:
        (_, below), (above, _) = sorted((one, other))
        return above - below > SAME * max(abs(above), abs(below))

    p = tuple(tuple(0.0 if differ(one, other) else 1.0 for other in ends) for one in ends)
    return Compared(tuple(fmean(own) for own in draws), 0, p)


def _westfall_young(of: Any, first: Any, second: Any) -> Any:
    """Returns the corrected p-value of each pair.

    Args:
        of: `(M, N)`, values of M alternatives for N units.
        first, second: `(P,)`, the alternatives of each pair.
    """
    import numpy as np

    scale = np.sqrt((of**2).sum(1))
    n = of.shape[1]
    norm = np.concatenate([np.sqrt(((of[row + 1 :] - of[row]) ** 2).sum(1)) for row in range(len(of) - 1)])
    is_equal = norm <= SAME * np.maximum(scale[first], scale[second])
    inverse = np.where(is_equal, 0.0, 1 / np.where(is_equal, 1.0, norm))
    signed_sums = _sums_of_levels(of) or _sums(of, _patterns_in_cache(n, len(first)))

    def statistics(is_minus: Any) -> Any:
        sums = signed_sums(is_minus)
        return np.abs(sums[:, first] - sums[:, second]) * inverse

    observed = statistics(np.zeros((1, n), dtype=bool))[0]
    order = np.argsort(-observed, kind="stable")
    # What rounds to less than the observed value is equal to it, also where that is 0.
    bound = observed[order] * (1 - ROUNDING) - SAME
    reached = np.zeros(len(order))
    n_patterns = 0
    for is_minus in _sign_patterns(n, len(first)):
        found = statistics(is_minus)[:, order]
        found = np.maximum.accumulate(found[:, ::-1], axis=1)[:, ::-1]
        reached += (found >= bound).sum(0)
        n_patterns += len(is_minus)
    corrected = np.empty(len(order))
    corrected[order] = np.maximum.accumulate(reached / n_patterns)
    return np.where(is_equal, 1.0, corrected)


def _sums(of: Any, most: int) -> Callable[[Any], Any]:
    """Returns a function: patterns `(C, N)`, true for a minus, → sums `(C, M)` of each alternative's signed values.

    They are of the values' distances from the alternatives' mean: differences of sums stay, and lose no digits.

    Args:
        of: `(M, N)`.
        most: the largest C.
    """
    import numpy as np

    of = of - of.mean(0)
    total = of.sum(1)
    signs = np.empty((most, of.shape[1]))  # one array for all: a new one costs as much as the sums

    def signed_sums(is_minus: Any) -> Any:
        here = signs[: len(is_minus)]
        np.copyto(here, is_minus)
        return total - 2.0 * (here @ of.T)

    return signed_sums


def _sums_of_levels(of: Any) -> Callable[[Any], Any] | None:
    """Returns the function of `_sums` for values of which there are few, as 0 and 1, or the thirds of three draws.

    A value is the sum of the steps up to it, from 0. So a sum of signed values is one of steps, each times the number
    of units that it is for. These are bits, counted 64 at once on one core, in a tenth of the time. None: the values
    have more than `MOST_STEPS` steps for each alternative.
    """
    import numpy as np

    levels = [np.unique(row) for row in of]
    if sum(map(len, levels)) > MOST_STEPS * len(of):
        return None

    def words(bits: Any) -> Any:
        packed = np.packbits(bits, axis=-1)
        width = [(0, 0)] * (packed.ndim - 1)
        return np.pad(packed, [*width, (0, -packed.shape[-1] % 8)]).view(np.uint64)

    steps = [np.diff(own, prepend=0.0) for own in levels]
    reached = [words(row >= own[:, None]) for row, own in zip(of, levels, strict=True)]
    totals = of.sum(1)

    def signed_sums(is_minus: Any) -> Any:
        minus = words(is_minus)
        sums = np.empty((len(minus), len(of)))
        for place, (sizes, units) in enumerate(zip(steps, reached, strict=True)):
            counts = [np.bitwise_count(minus & of_step).sum(1, dtype=np.int64) for of_step in units]
            sums[:, place] = totals[place] - 2.0 * (np.stack(counts, axis=1) @ sizes)
        return sums

    return signed_sums


def _sign_patterns(n: int, n_pairs: int) -> Iterator[Any]:
    """Yields bool arrays `(C, n)`, true for a minus: all patterns, or some that are drawn; the first has no minus.

    A pattern and its opposite give the same |Σ|, so the first sign is always plus where all are tried.
    """
    import numpy as np

    at_once = _patterns_in_cache(n, n_pairs)
    if n <= EXACT_UP_TO:
        numbers = np.arange(2 ** (n - 1))
        is_minus = (numbers[:, None] >> np.arange(n) & 1).astype(bool)
        yield from (is_minus[start : start + at_once] for start in range(0, len(is_minus), at_once))
        return
    left = max(FEWEST_PATTERNS, min(DRAWN_PATTERNS, MOST_NUMBERS // n_pairs)) - 1
    draw = np.random.default_rng(0)
    yield np.zeros((1, n), dtype=bool)
    while left:
        some = min(at_once, left)
        # The highest bit of a byte is the sign of an int8, and is had ten times faster than a number below 2.
        yield np.frombuffer(draw.bytes(some * n), dtype=np.int8).reshape(some, n) < 0
        left -= some


def _patterns_in_cache(n: int, n_pairs: int) -> int:
    """Returns how many sign patterns are compared at once, a multiple of 4: the signs are drawn by fours."""
    return max(4, IN_CACHE // max(n, n_pairs) // 4 * 4)


def other_shares(counts: Sequence[tuple[int, int]], place: int) -> list[float]:
    """Returns for each share the p-value that it is that at `place`, of different examples; its own is 1.

    Of Fisher's exact test, two-sided, times the number of all pairs (Bonferroni), so that the share at `place` may have
    been chosen because it is the lowest or the highest.

    Args:
        counts: of each share the number of successes, and of examples.
    """
    from scipy.stats import fisher_exact

    n_pairs = len(counts) * (len(counts) - 1) // 2
    own = [counts[place][0], counts[place][1] - counts[place][0]]
    return [
        1.0 if other == place else min(1.0, n_pairs * float(fisher_exact([own, [n_successes, n - n_successes]])[1]))
        for other, (n_successes, n) in enumerate(counts)
    ]
