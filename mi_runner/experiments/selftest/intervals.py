"""Do 95 % intervals contain the truth in 95 % of simulated samples?

Letters: n examples or seeds.
"""

from __future__ import annotations

import math

import numpy as np

from mi_runner.experiments.selftest.records import Check, Compared
from mi_runner.tables.intervals import Spread, clopper_pearson, wilson_interval
from mi_runner.tables.ranges import NOT_NEGATIVE, SHARE, Range

SAMPLES = 2_000


def wilson() -> Compared:
    """Compares the coverage of 50 answers, each correct with probability 0.8, with 0.95."""
    drawn = np.random.default_rng(0).binomial(50, 0.8, SAMPLES).tolist()
    inside = [low <= 0.8 <= high for low, high in map(lambda k: wilson_interval(k, 50), drawn)]
    return Compared(0.95, sum(inside) / SAMPLES, 0.03)


def wilson_by_hand() -> Compared:
    """Compares the lower end for 8 of 10 with the solution of (p − 0.8)² = z² p (1 − p) / 10."""
    z2 = 1.959963984540054**2 / 10
    a, b, c = 1 + z2, -(1.6 + z2), 0.64
    return Compared((-b - math.sqrt(b * b - 4 * a * c)) / (2 * a), wilson_interval(8, 10)[0], 1e-9)


def exact() -> Compared:
    """Compares the probability of at least 8 of 10 answers at the lower end of the exact interval with 0.025."""
    low, _ = clopper_pearson(8, 10)
    return Compared(0.025, sum(math.comb(10, k) * low**k * (1 - low) ** (10 - k) for k in range(8, 11)), 1e-9)


def _coverage(samples: np.ndarray, truth: float, within: Range) -> Compared:
    """Compares the share of samples `(S, n)` whose interval contains the true mean with 0.95."""
    spreads = [Spread.of(sample, within) for sample in samples.tolist()]
    inside = [one.low is not None and one.high is not None and one.low <= truth <= one.high for one in spreads]
    return Compared(0.95, sum(inside) / len(inside), 0.03)


def accuracies() -> Compared:
    return _coverage(np.random.default_rng(0).beta(50, 2, (SAMPLES, 5)), 50 / 52, SHARE)


def losses() -> Compared:
    draw = np.random.default_rng(0)
    return _coverage(draw.lognormal(0, 0.3, (SAMPLES, 5)), math.exp(0.3**2 / 2), NOT_NEGATIVE)


def spread_by_hand() -> Compared:
    """Compares the half width of the interval of 1, 2, 6, a number of any size, with t · sd / √3."""
    found = Spread.of([1.0, 2.0, 6.0], Range())
    assert found.high is not None
    return Compared(4.302652729911275 * math.sqrt(7) / math.sqrt(3), found.high - found.mean, 1e-9)


INTERVALS = (
    Check("wilson", "coverage of Wilson's interval in 2,000 samples of 50 answers", wilson),
    Check("wilson_end", "lower end of Wilson's interval of 8 of 10, from its equation", wilson_by_hand),
    Check("exact_end", "probability of 8 or more of 10 at the lower end of the exact interval", exact),
    Check("accuracies", "coverage of the interval of the mean of five accuracies, 2,000 samples", accuracies),
    Check("losses", "coverage of the interval of the mean of five losses, 2,000 samples", losses),
    Check("student", "half width of Student's interval of 1, 2, 6, by hand", spread_by_hand),
)
