"""Paired tests: two networks on the same examples, or of the same seeds."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev

from mi_runner.tables.intervals import mean_of, t_quantile, wilson_interval


@dataclass(frozen=True)
class PairedAnswers:
    """How many examples two networks answer correctly, both networks on the same examples.

    Attributes:
        both, first, second, neither: which of the two is correct.
    """

    both: int
    first: int
    second: int
    neither: int

    @property
    def n(self) -> int:
        """The number of examples."""
        return self.both + self.first + self.second + self.neither

    @property
    def accuracies(self) -> tuple[float, float]:
        """The accuracies of the first and the second network; NaN without examples."""
        n = self.n or math.nan
        return (self.both + self.first) / n, (self.both + self.second) / n

    @property
    def p(self) -> float:
        """The p-value of McNemar's exact test, two-sided: are the two networks equally often correct?

        Of the examples that only one of them answers correctly, each would be the first's with probability 1/2.
        """
        from scipy.special import bdtr

        different = self.first + self.second
        return min(1.0, 2 * float(bdtr(min(self.first, self.second), different, 0.5))) if different else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the second accuracy minus the first; (−1, 1) without examples.

        Method 10 of R. G. Newcombe, Improved confidence intervals for the difference between binomial proportions based
        on paired data, Statistics in Medicine 17 (1998): Wilson's intervals of both, and their correlation.
        """
        if not self.n:
            return -1.0, 1.0
        first, second = self.accuracies
        low_1, high_1 = wilson_interval(self.both + self.first, self.n)
        low_2, high_2 = wilson_interval(self.both + self.second, self.n)
        below_1, above_1, below_2, above_2 = first - low_1, high_1 - first, second - low_2, high_2 - second
        phi = self._correlation
        difference = second - first
        down = below_2**2 - 2 * phi * below_2 * above_1 + above_1**2
        up = above_2**2 - 2 * phi * above_2 * below_1 + below_1**2
        return difference - math.sqrt(max(0.0, down)), difference + math.sqrt(max(0.0, up))

    @property
    def _correlation(self) -> float:
        """Newcombe's phi, with the correction for a positive one."""
        margins = (self.both + self.first) * (self.second + self.neither)
        margins *= (self.both + self.second) * (self.first + self.neither)
        cross = self.both * self.neither - self.first * self.second
        corrected = cross if cross < 0 else max(0.0, cross - self.n / 2)
        return corrected / math.sqrt(margins) if margins else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected for their number by the step-down method of S. Holm (1979), in the same order."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


@dataclass(frozen=True)
class PairedValues:
    """The differences of a measure between two networks of the same seed, one for each seed.

    Attributes:
        mean: of the differences.
        low, high: the ends of Student's 95 % interval of the mean; None for one difference and for equal ones.
        p: of Student's paired test, two-sided: is the mean 0? None for one difference, and for equal ones, unless 0.
            The interval is Student's own, so that it contains 0 exactly if p is above 0.05.
    """

    n: int
    mean: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @classmethod
    def of(cls, differences: Sequence[float]) -> PairedValues:
        """Returns the test of at least one difference. If one is not finite, there is no test."""
        n = len(differences)
        if not all(map(math.isfinite, differences)):
            return cls(n, math.nan)
        mean = fmean(differences)
        if n == 1:
            return cls(n, mean)
        if min(differences) == max(differences):
            return cls(n, mean, p=1.0 if mean == 0 else None)
        from scipy.special import stdtr

        error = stdev(differences) / math.sqrt(n)
        half = t_quantile(n - 1) * error
        return cls(n, mean, mean - half, mean + half, 2 * float(stdtr(n - 1, -abs(mean) / error)))


EXACT_RANKS = 200
"""Up to this many differences the signed ranks have their exact distribution, beyond it a normal one."""


@dataclass(frozen=True)
class SignedRanks:
    """The test of F. Wilcoxon (1945) of paired differences: do they lie evenly around 0?

    Attributes:
        sum: of the ranks of positive differences minus that of the negative ones, ranked by size; equal sizes share.
        p: two-sided, that each difference is as likely positive as negative; 1 where all are 0.
    """

    sum: float
    p: float

    @classmethod
    def of(cls, differences: Sequence[float]) -> SignedRanks:
        """Returns the test of finite differences. Those that are 0 are left out, as Wilcoxon did."""
        import numpy as np

        nonzero = np.array([each for each in differences if each])
        n = len(nonzero)
        if not n:
            return cls(0.0, 1.0)
        _, place, counts = np.unique(np.abs(nonzero), return_inverse=True, return_counts=True)
        doubled = (2 * counts.cumsum() - counts + 1)[place]  # twice the shared ranks, which are whole or half numbers
        total = float((np.sign(nonzero) * doubled).sum() / 2)
        below = min(int(doubled[nonzero > 0].sum()), int(doubled[nonzero < 0].sum()))
        if n > EXACT_RANKS:
            from scipy.special import ndtr

            return cls(total, 2 * float(ndtr(-abs(total) / math.sqrt(float((doubled**2).sum()) / 4))))
        # Of all patterns of signs, the share with each sum of the ranks of one sign: exact, also with shared ranks.
        share = np.zeros(int(doubled.sum()) + 1)
        share[0] = 1.0
        for rank in doubled.tolist():
            share[rank:] += share[:-rank]
            share /= 2
        return cls(total, min(1.0, 2 * float(share[: below + 1].sum())))


@dataclass(frozen=True)
class ComparedPair:
    """Two of several alternatives that were measured on the same units.

    Attributes:
        first, second: their places.
        difference: the mean of the first's values minus the second's, and its interval.
        ranks: the test of these differences.
        p_holm: the test's p-value, corrected for all pairs.
        n_higher, n_lower: units in which the first's value is higher, and lower.
    """

    first: int
    second: int
    difference: PairedValues
    ranks: SignedRanks
    p_holm: float
    n_higher: int
    n_lower: int


def compared_pairs(values: Sequence[Sequence[float]], *, digits: int) -> list[ComparedPair]:
    """Returns Wilcoxon's test of each two alternatives, corrected for the number of pairs by Holm's method.

    J. Demšar, Statistical comparisons of classifiers over multiple data sets (2006), says why signed ranks: differences
    on different networks have different scales, and one that is very large would hide all others from Student's test.

    Args:
        values: of each alternative those of the units, all in the same order.
        digits: behind the point, to which differences are rounded: what is equal but for rounding has no difference.
    """
    pairs = list(combinations(range(len(values)), 2))
    differences = [
        [round(a - b, digits) for a, b in zip(values[one], values[other], strict=True)] for one, other in pairs
    ]
    tests = [SignedRanks.of(each) for each in differences]
    corrected = holm([test.p for test in tests])
    return [
        ComparedPair(
            first,
            second,
            PairedValues.of(each),
            test,
            p,
            n_higher=sum(value > 0 for value in each),
            n_lower=sum(value < 0 for value in each),
        )
        for (first, second), test, p, each in zip(pairs, tests, corrected, differences, strict=True)
    ]


def paired_means(
    before: Iterable[tuple[Hashable, float | None]], after: Iterable[tuple[Hashable, float | None]]
) -> tuple[list[float], list[float]]:
    """Returns the values of the seeds that both sides have, in the order of the first side.

    Args:
        before, after: (seed, value); several of a seed are repeats of one measurement, which are averaged first. None
            and NaN are no value: that seed's other repeats are averaged, and a seed without any is left out.
    """
    sides: list[dict[Hashable, float]] = []
    for side in (before, after):
        by_seed: dict[Hashable, list[float]] = {}
        for seed, value in side:
            if value is not None and not math.isnan(value):
                by_seed.setdefault(seed, []).append(value)
        sides.append({seed: mean_of(values) for seed, values in by_seed.items()})
    first, second = sides
    both = [seed for seed in first if seed in second]
    return [first[seed] for seed in both], [second[seed] for seed in both]
