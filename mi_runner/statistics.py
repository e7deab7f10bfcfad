"""How much a measure differs from seed to seed: mean, standard deviation, 95 % interval of the mean.

Student's interval, mean ± t·sd/√n, leaves the values that a measure can have: three accuracies gave −0.1 to 1.4. So it
is made on a scale without ends, and taken back: the logit of a measure with two ends, the logarithm of one with a lower
end, as it is of one without. It is the interval of the mean itself, because the scale stretches the standard error by
its slope at the mean (delta method), and does not average stretched values, which are infinite at the ends.

    d = t·sd/√n · slope      low, high = the mean moved by −d, +d on the scale

Where all values are equal, sd is 0 and says nothing: a share p of the seeds could differ and, with a probability of
5 %, be in none of the n runs: (1 − p)ⁿ = 0.05. They could lie anywhere between the ends, so the mean is between
(1 − p)·value + p·low end and (1 − p)·value + p·high end: 0.37 to 1 for three accuracies of 1, 0.74 to 1 for ten. A
measure without two ends has no interval then.

Share of simulated samples whose interval holds the true mean (tests/test_spread.py draws them again), and in brackets
of Student's interval as it is:

    seeds                                        3            5            10
    accuracies, Beta(50, 2), mean 0.96      0.95 (0.92)  0.94 (0.92)  0.95 (0.93)
    accuracies, Beta(20, 1), mean 0.95      0.95 (0.89)  0.93 (0.89)  0.93 (0.90)
    accuracies, uniform                     0.96 (0.92)  0.96 (0.93)  0.96 (0.95)
    right answers of 20, each with 0.95     0.99 (0.95)  0.97 (0.95)  0.96 (0.95)
    losses, log-normal with sigma 0.5       0.94 (0.92)  0.94 (0.92)  0.93 (0.92)
    0.97 or, in a fifth of the runs, 0.5    0.51 (0.48)  0.66 (0.66)  0.87 (0.89)

The last line is no fault of the scale: three runs often have no failure among them, and no interval knows of it then.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev
from typing import Any

FEW = 3
"""So few values are shown themselves beside their mean and interval."""

UNSEEN = 0.05
"""The probability with which equal values may hide that some seeds differ."""

Z_95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion (Wilson 1927); (0, 1) where n is 0."""
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: must be 0 to {n}.")
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    spread = Z_95**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    # At the ends rounding could leave the share itself just outside.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


@dataclass(frozen=True)
class Range:
    """The values that a measure can have, ends included; None where there is no end.

    Raises:
        ValueError: it ends above and not below.
    """

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is None and self.high is not None:
            raise ValueError(f"a range up to {self.high} needs a lower end: turn the measure's sign.")

    def __contains__(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


SHARE = Range(0.0, 1.0)
DIFFERENCE_OF_SHARES = Range(-1.0, 1.0)
NOT_NEGATIVE = Range(0.0)
ANY = Range()


@dataclass(frozen=True)
class Spread:
    """Values of one measure, one of each seed.

    Attributes:
        values: at least one.
        sd: the sample's standard deviation; None for one value.
        low, high: the 95 % interval of the mean; None where there is none: for one value, for equal ones of a measure
            without two ends, and for a number that is no measure.
        within: the range that the interval keeps to; None for a number that is no measure.
    """

    values: tuple[float, ...]
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    within: Range | None

    @classmethod
    def of(cls, values: Iterable[float], within: Range | None) -> Spread:
        """The spread of at least one value; one that is not finite leaves no finite interval."""
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
        """How many values."""
        return len(self.values)

    def columns(self) -> dict[str, float | None]:
        """n, mean, sd, low, high, min, max."""
        broken = any(math.isnan(value) for value in self.values)
        least, most = (math.nan, math.nan) if broken else (min(self.values), max(self.values))
        ends = {"low": self.low, "high": self.high, "min": least, "max": most}
        return {"n": self.n, "mean": self.mean, "sd": self.sd, **ends}


def _around(mean: float, sd: float, n: int, within: Range) -> tuple[float, float]:
    """Student's interval of values that differ, on the scale of their range; they are all within it."""
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
    return min(mean, low + ends[0]), max(mean, low + ends[1])  # rounding could leave the mean just outside


def _of_equal(value: float, n: int, within: Range) -> tuple[float, float] | None:
    if within.low is None or within.high is None:
        return None
    unseen = 1 - UNSEEN ** (1 / n)
    return value - unseen * (value - within.low), value + unseen * (within.high - value)


@cache
def t_quantile(freedom: int) -> float:
    """Student's t: the 97.5 % quantile for so many degrees of freedom."""
    from scipy.special import stdtrit  # not scipy.stats, which takes a second to import

    return float(stdtrit(freedom, 0.975))


# --- tables --------------------------------------------------------------------------------------------------------


ALL, NONE = "all", "none"
"""In a column that names rows: all of what it lists together; nothing of it. An empty one would be a missing value to
pandas, which leaves it out of groups."""


@dataclass(frozen=True)
class Measured:
    """A row of a table, as a summary over seeds takes it.

    Attributes:
        network: which one was measured; rows of one network with equal names are repeats of one measurement.
        name: the columns that name the row, and their values.
        numbers: of each measure.
        ranges: the values that each can have.
    """

    network: Hashable
    name: Mapping[str, Any]
    numbers: Mapping[str, float]
    ranges: Mapping[str, Range]

    @classmethod
    def of(
        cls, network: Hashable, name: Mapping[str, Any], row: Mapping[str, Any], ranges: Mapping[str, Range]
    ) -> Measured:
        """A row's measures; what is empty, or no number, is left out."""
        numbers = {measure: number for measure in ranges if (number := _number(row.get(measure))) is not None}
        return cls(network, name, numbers, ranges)


@dataclass(frozen=True)
class Summed:
    """A row of a summary: one measure of what these names name."""

    name: Mapping[str, Any]
    measure: str
    spread: Spread

    @property
    def row(self) -> dict[str, Any]:
        """The names, `measure`, and the columns of the spread."""
        return {**self.name, "measure": self.measure, **self.spread.columns()}


def over_seeds(rows: Iterable[Measured]) -> list[Summed]:
    """For each name and measure the spread over networks, in the order in which they come first.

    Rows are taken together if their names are equal, whatever their places; repeats are averaged first.
    """
    groups: dict[tuple[tuple[str, Any], ...], dict[tuple[str, Range], dict[Hashable, list[float]]]] = {}
    for row in rows:
        group = groups.setdefault(tuple(row.name.items()), {})
        for measure, number in row.numbers.items():
            group.setdefault((measure, row.ranges[measure]), {}).setdefault(row.network, []).append(number)
    return [
        Summed(dict(name), measure, Spread.of(map(_mean, by_network.values()), within))
        for name, group in groups.items()
        for (measure, within), by_network in group.items()
    ]


def _mean(numbers: Sequence[float]) -> float:
    return fmean(numbers) if all(map(math.isfinite, numbers)) else sum(numbers) / len(numbers)


def _number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
