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

Share of simulated samples with the true mean inside the interval (tests/tables/test_intervals.py draws them again); in
brackets the share for Student's interval:

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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean, stdev

from mi_runner.tables.ranges import Range

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


def mean_of(values: Sequence[float]) -> float:
    """Returns the mean of at least one value; not finite if one isn't."""
    return fmean(values) if all(map(math.isfinite, values)) else sum(values) / len(values)
