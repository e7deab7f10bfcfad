"""How much a figure differs from seed to seed: mean, standard deviation, 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev


@dataclass(frozen=True)
class Spread:
    """Values of one measure over seeds.

    Attributes:
        n: how many.
        sd: the sample's standard deviation; None for one value.
        low, high: the 95 % interval of the mean by Student's t; None for one value.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value; a NaN among them makes everything NaN."""
        mean, n = fmean(values), len(values)
        if n == 1:
            return cls(1, mean, None, None, None)
        sd = stdev(values) if all(map(math.isfinite, values)) else math.nan
        half = t_quantile(n - 1) * sd / math.sqrt(n)
        return cls(n, mean, sd, mean - half, mean + half)

    def columns(self) -> dict[str, float | None]:
        """n, mean, sd, low, high."""
        return {"n": self.n, "mean": self.mean, "sd": self.sd, "low": self.low, "high": self.high}


@cache
def t_quantile(freedom: int) -> float:
    """Student's t: the 97.5 % quantile for so many degrees of freedom."""
    from scipy.special import stdtrit  # not scipy.stats, which takes a second to import

    return float(stdtrit(freedom, 0.975))
