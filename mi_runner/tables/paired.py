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


@dataclass(frozen=True)
class ComparedPair:
    """Two of several alternatives that were measured on the same units.

    Attributes:
        first, second: their places.
        test: of the first's values minus the second's.
        p_holm: the test's p-value, corrected for all pairs; None where it has none.
        n_higher, n_lower: units in which the first's value is higher, and lower.
    """

    first: int
    second: int
    test: PairedValues
    p_holm: float | None
    n_higher: int
    n_lower: int


def compared_pairs(values: Sequence[Sequence[float]], *, digits: int) -> list[ComparedPair]:
    """Returns Student's paired test of each two alternatives, corrected for the number of pairs by Holm's method.

    A pair without a p-value counts among them. Of one unit nothing has a p-value, nor do two alternatives that differ
    by the same in all units.

    Args:
        values: of each alternative those of the units, all in the same order.
        digits: behind the point, to which differences are rounded: what is equal but for rounding has no difference.
    """
    pairs = list(combinations(range(len(values)), 2))
    differences = [
        [round(a - b, digits) for a, b in zip(values[one], values[other], strict=True)] for one, other in pairs
    ]
    tests = [PairedValues.of(each) for each in differences]
    corrected = holm([1.0 if test.p is None else test.p for test in tests])
    return [
        ComparedPair(
            first,
            second,
            test,
            None if test.p is None else p,
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
