"""How much a measure differs from seed to seed: mean, standard deviation, 95 % interval of the mean.

Student's interval, mean ± t·sd/√n, can leave the range of a measure: three accuracies gave −0.1 to 1.4. So the interval
is computed on a scale without ends and transformed back. The scale is the logit for a measure with two ends, and the
logarithm for a measure with a lower end; a measure without ends keeps its own scale. The interval is that of the mean
itself: the standard error is multiplied by the scale's slope at the mean (delta method). Transformed values are not
averaged, because they are infinite at the ends.

    d = t·sd/√n · slope      low, high = the mean moved by −d, +d on the scale

If all values are equal, sd is 0 and gives no interval. A share p of the seeds could still differ, and none of the n
runs would show it with a probability of 5 %: (1 − p)ⁿ = 0.05. These seeds could lie anywhere between the ends, so the
mean is between (1 − p)·value + p·low end and (1 − p)·value + p·high end: 0.37 to 1 for three accuracies of 1, 0.74 to 1
for ten. A measure without two ends has no interval in this case.

Share of simulated samples with the true mean inside the interval (tests/test_spread.py draws them again); in brackets
the share for Student's interval:

    seeds                                        3            5            10
    accuracies, Beta(50, 2), mean 0.96      0.95 (0.92)  0.94 (0.92)  0.95 (0.93)
    accuracies, Beta(20, 1), mean 0.95      0.95 (0.89)  0.93 (0.89)  0.93 (0.90)
    accuracies, uniform                     0.96 (0.92)  0.96 (0.93)  0.96 (0.95)
    correct answers of 20, each with 0.95   0.99 (0.95)  0.97 (0.95)  0.96 (0.95)
    losses, log-normal with sigma 0.5       0.94 (0.92)  0.94 (0.92)  0.93 (0.92)
    0.97 or, in a fifth of the runs, 0.5    0.51 (0.48)  0.66 (0.66)  0.87 (0.89)

The last line is not the scale's fault: three runs often contain no failure, and then no interval can include it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean, stdev
from typing import Any

FEW = 3
"""Up to this many values are shown besides their mean and interval."""

UNSEEN = 0.05
"""The allowed probability that equal values hide seeds that differ."""

Z_95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Returns the 95 % Wilson score interval of a proportion (Wilson 1927); (0, 1) if n is 0."""
    if not 0 <= successes <= n:
        raise ValueError(f"successes={successes}: must be 0 to n={n}.")
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    spread = Z_95**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    # At the ends, rounding could put the share itself just outside.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def clopper_pearson(successes: int, n: int) -> tuple[float, float]:
    """Returns the exact 95 % interval of a proportion (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    low = float(betaincinv(successes, n - successes + 1, 0.025)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 0.975)) if successes < n else 1.0
    return low, high


@dataclass(frozen=True)
class Range:
    """The values that a measure can have, from `low` to `high` inclusive; None: no end.

    Raises:
        ValueError: there is an upper end but no lower end.
    """

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is None and self.high is not None:
            raise ValueError(f"high={self.high} needs a lower end, low=...: change the measure's sign.")

    def __contains__(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


SHARE = Range(0.0, 1.0)
DIFFERENCE_OF_SHARES = Range(-1.0, 1.0)
NOT_NEGATIVE = Range(0.0)
ANY = Range()


@dataclass(frozen=True)
class Spread:
    """The values of one measure, one per seed, and their summary.

    Attributes:
        values: at least one.
        sd: the sample's standard deviation; None for one value.
        low, high: the 95 % interval of the mean. None if there is no interval: for one value, for equal values of a
            measure without two ends, and for a number that isn't a measure.
        within: the range that the interval stays in; None for a number that isn't a measure.
    """

    values: tuple[float, ...]
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    within: Range | None

    @classmethod
    def of(cls, values: Iterable[float], within: Range | None) -> Spread:
        """Returns the spread of at least one value. If a value is not finite, the interval is NaN."""
        values = tuple(values)
        finite, n = all(map(math.isfinite, values)), len(values)
        if n == 1:
            return cls(values, values[0], None, None, None, within)
        if not finite:
            interval = None if within is None else (math.nan, math.nan)
            low, high = interval or (None, None)
            return cls(values, sum(values) / n, math.nan, low, high, within)
        equal = min(values) == max(values)
        mean, sd = (values[0], 0.0) if equal else (fmean(values), stdev(values))
        interval = None
        if within is not None and all(value in within for value in values):
            at_an_end = mean in (within.low, within.high)  # by rounding, if the values differ
            interval = _of_equal(mean, n, within) if equal or at_an_end else _around(mean, sd, n, within)
        low, high = interval or (None, None)
        return cls(values, mean, sd, low, high, within)

    @property
    def n(self) -> int:
        """The number of values."""
        return len(self.values)

    def without_interval(self) -> Spread:
        """Returns the same without an interval: for values that aren't of networks of different seeds."""
        return replace(self, low=None, high=None)

    def columns(self) -> dict[str, float | None]:
        """Returns a table's columns n, mean, sd, low, high, min, max."""
        broken = any(math.isnan(value) for value in self.values)
        least, most = (math.nan, math.nan) if broken else (min(self.values), max(self.values))
        ends = {"low": self.low, "high": self.high, "min": least, "max": most}
        return {"n": self.n, "mean": self.mean, "sd": self.sd, **ends}


def _around(mean: float, sd: float, n: int, within: Range) -> tuple[float, float]:
    """Returns Student's interval of differing values, on the scale of their range, which contains them all."""
    half, low, high = t_quantile(n - 1) * sd / math.sqrt(n), within.low, within.high
    if low is None:
        return mean - half, mean + half
    if high is None:
        factor = math.exp(half / (mean - low))
        ends = (mean - low) / factor, (mean - low) * factor
    else:
        factor = math.exp(half / (mean - low) + half / (high - mean))
        odds = (mean - low) / (high - mean)
        less, more = odds / factor, odds * factor
        ends = (high - low) * less / (1 + less), (high - low) * more / (1 + more)
    return min(mean, low + ends[0]), max(mean, low + ends[1])  # rounding could put the mean just outside


def _of_equal(value: float, n: int, within: Range) -> tuple[float, float] | None:
    if within.low is None or within.high is None:
        return None
    unseen = 1 - UNSEEN ** (1 / n)
    return value - unseen * (value - within.low), value + unseen * (within.high - value)


@cache
def t_quantile(freedom: int) -> float:
    """Returns the 97.5 % quantile of Student's t for `freedom` degrees of freedom."""
    from scipy.special import stdtrit  # not scipy.stats, which takes a second to import

    return float(stdtrit(freedom, 0.975))


# --- pairs ---------------------------------------------------------------------------------------------------------


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
        sides.append({seed: _mean(values) for seed, values in by_seed.items()})
    first, second = sides
    both = [seed for seed in first if seed in second]
    return [first[seed] for seed in both], [second[seed] for seed in both]


# --- tables --------------------------------------------------------------------------------------------------------


ALL, NONE = "all", "none"
"""Values of a column that names rows: all rows together; no row. pandas would take an empty name as missing and leave
it out of groups."""


@dataclass(frozen=True)
class Measured:
    """A row of a table for a summary over seeds.

    Attributes:
        network: the measured network; rows of one network with equal names are repeats of one measurement.
        name: the columns that name the row, and their values.
        numbers: measure → its value.
        ranges: measure → the values that it can have.
        start: what the network starts from; those with an equal start are one network. None: not known.
    """

    network: Hashable
    name: Mapping[str, Any]
    numbers: Mapping[str, float]
    ranges: Mapping[str, Range]
    start: str | None = None

    @classmethod
    def of(
        cls,
        network: Hashable,
        name: Mapping[str, Any],
        row: Mapping[str, Any],
        ranges: Mapping[str, Range],
        start: str | None = None,
    ) -> Measured:
        """Returns the measures of a row, without empty values, NaN, which tables write as empty, and words."""
        found = {measure: _number(row.get(measure)) for measure in ranges}
        numbers = {name: value for name, value in found.items() if value is not None and not math.isnan(value)}
        return cls(network, name, numbers, ranges, start)


@dataclass(frozen=True)
class Summed:
    """A row of a summary: the spread of one measure over the rows with this name."""

    name: Mapping[str, Any]
    measure: str
    spread: Spread

    @property
    def row(self) -> dict[str, Any]:
        """The columns of the name, `measure`, and the columns of the spread."""
        return {**self.name, "measure": self.measure, **self.spread.columns()}


def over_seeds(rows: Iterable[Measured]) -> list[Summed]:
    """Returns the spread over networks for each name and measure, in the order of their first rows.

    Rows with equal names are summarised together, wherever they stand; repeats are averaged first. A network without a
    value counts nowhere, so n is the number of those that have one. If several networks of a group have an equal start,
    there is no interval.
    """
    starts: dict[Hashable, str | None] = {}
    groups: dict[tuple[tuple[str, Any], ...], dict[tuple[str, Range], dict[Hashable, list[float]]]] = {}
    for row in rows:
        starts[row.network] = row.start
        group = groups.setdefault(tuple(row.name.items()), {})
        for measure, value in row.numbers.items():
            group.setdefault((measure, row.ranges[measure]), {}).setdefault(row.network, []).append(value)
    found = []
    for name, group in groups.items():
        for (measure, within), by_network in group.items():
            spread = Spread.of(map(_mean, by_network.values()), within)
            if have_twins(starts[network] for network in by_network):
                spread = spread.without_interval()
            found.append(Summed(dict(name), measure, spread))
    return found


def have_twins(starts: Iterable[str | None]) -> bool:
    """Returns whether two networks start from the same weights and data, so that they are one network."""
    known = [start for start in starts if start is not None]
    return len(set(known)) < len(known)


def seeds_summary(
    rows: Iterable[Mapping[str, Any]],
    keys: Sequence[str],
    measures: Mapping[str, Range],
    starts: Mapping[Any, str] | None = None,
) -> list[dict[str, Any]]:
    """Returns n, mean, sd, 95 % interval, min and max over the seeds, for each name and measure of a table's rows.

    The summary of a sweep over these seeds is the same. The interval is of the mean over seeds: it covers another set
    of seeds, not another test set.

    Args:
        rows: with the column `seed`.
        keys: the columns that name a row of one seed.
        measures: the columns to summarise, with the values that they can have.
        starts: seed → what its network starts from. If two are equal, there is no interval.
    """
    of_seed = starts or {}
    measured = (
        Measured.of(row["seed"], {key: row[key] for key in keys}, row, measures, of_seed.get(row["seed"]))
        for row in rows
    )
    return [summed.row for summed in over_seeds(measured)]


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if all(map(math.isfinite, values)) else sum(values) / len(values)


def _number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
