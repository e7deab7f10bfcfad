"""Estimates from independent populations of multilevel splitting, with intervals from their spread.

The logarithm of a population's estimate is nearly normal, with a mean that is half its variance below the logarithm of
the truth (Bérard, Del Moral and Doucet 2014). So the interval is that of a log-normal distribution's mean (Cox's
method, Zhou and Gao 1997): its centre is the mean logarithm plus half the variance, and it takes Student's quantile for
R − 1 degrees of freedom. Populations that died out count as 0: the share of the others is a factor with a variance of
its own.

Letters: R populations, N circuits of each, E edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mi_runner.methods.circuits.sampling.estimates import edge_estimate
from mi_runner.methods.circuits.sampling.result import EdgeEstimate, Estimate
from mi_runner.tables.intervals import Z_95, t_quantile

ENOUGH = 4
"""Populations that show their variance."""


@dataclass(frozen=True)
class LogEstimate:
    """The natural logarithms of an estimated share and of the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def of_populations(log_shares: np.ndarray, log_variance: float) -> LogEstimate | None:
    """Returns the mean of the populations' estimates, and its interval; None if all populations died out.

    Args:
        log_shares: `(R,)`, the logarithms of the estimates, −infinity where a population died out.
        log_variance: the variance of a logarithm where fewer than `ENOUGH` populations are left to show it.
    """
    alive = log_shares[np.isfinite(log_shares)]
    n, n_alive = len(log_shares), len(alive)
    if not n_alive:
        return None
    value = float(np.logaddexp.reduce(alive)) - math.log(n)
    variance = float(alive.var(ddof=1)) if n_alive >= ENOUGH else log_variance
    died = (n - n_alive) / n
    centre = float(alive.mean()) + variance / 2 + math.log(1 - died)
    freedom = max(1, n_alive - 1)
    error = math.sqrt(variance / n_alive + variance**2 / (2 * freedom) + died / ((1 - died) * n))
    half = t_quantile(freedom) * error
    return LogEstimate(value, min(value, centre - half), max(value, centre + half))


def whole(total: int, log_share: float) -> int:
    """Returns e to the power of `log_share` times a whole number of any size, rounded."""
    doublings = log_share / math.log(2)
    exponent = math.floor(doublings)
    mantissa = Fraction(2 ** (doublings - exponent))
    return round(total * mantissa * Fraction(2) ** exponent)


def count_of(estimate: LogEstimate, total: int, seen: int, most: int) -> Estimate:
    """Returns a share of all circuits as their number.

    Args:
        total: all circuits.
        seen: distinct circuits that are known to be counted.
        most: the circuits that can be counted, exact.
    """
    value, low, high = (
        min(most, max(seen, whole(total, end))) for end in (estimate.value, estimate.low, estimate.high)
    )
    return Estimate(value, low, high)


def edges_of_populations(log_shares: np.ndarray, circuits: list[np.ndarray]) -> tuple[EdgeEstimate, ...]:
    """Returns how many of the valid circuits keep each edge, from populations of which at least one did not die out.

    Args:
        log_shares: `(R,)`, of the populations.
        circuits: `(N, E)` bool of each.
    """
    weights, shares = _weighted(log_shares, circuits)
    means = weights @ shares
    variances = (weights[:, None] ** 2 * (shares - means) ** 2).sum(0) * len(weights) / max(1, len(weights) - 1)
    # Student's quantile in place of the normal one, for the variance is estimated from few populations.
    variances *= (t_quantile(max(1, len(weights) - 1)) / Z_95) ** 2
    varies = (means > 0) & (means < 1) & (variances > 0)
    worth = means[varies] * (1 - means[varies]) / variances[varies]
    n = float(np.median(worth)) if varies.any() else 1 / float((weights**2).sum())
    n = max(1.0, min(n, sum(map(len, circuits))))
    return tuple(
        edge_estimate(mean, variance, n, mean >= 1)
        for mean, variance in zip(means.tolist(), variances.tolist(), strict=True)
    )


def _weighted(log_shares: np.ndarray, values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights of the populations that didn't die out, with the sum 1, and their mean values."""
    alive = np.flatnonzero(np.isfinite(log_shares))
    weights = np.exp(log_shares[alive] - log_shares[alive].max())
    return weights / weights.sum(), np.stack([values[one].mean(0) for one in alive.tolist()])


def part_of_populations(log_shares: np.ndarray, log_variance: float, belongs: list[np.ndarray]) -> LogEstimate | None:
    """Returns the share of all circuits that is valid and belongs to a part; None if no circuit of a population does.

    Args:
        belongs: `(N,)` bool of each population.
    """
    shares = np.array([one.mean() if len(one) else 0.0 for one in belongs])
    with np.errstate(divide="ignore"):
        return of_populations(log_shares + np.log(shares), log_variance)
