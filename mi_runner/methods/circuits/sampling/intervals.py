"""95 % intervals of sums of weighted counts: how many circuits are valid if some of the drawn ones are?

The estimate is a sum of counts, each times its weight (the circuits that a draw stands for). Where the counts are few a
normal interval fails. Fay and Feuer (1997) take gamma distributions with the estimate's mean and variance: one of the
estimate itself for the lower end, and one with a further event of weight w for the upper end. The interval here is
the mid-p version (Fay and Kim 2017), the quantiles of an equal mixture of both, which covers the truth in about 95 %
instead of at least that. Of equal weights it is the mid-p interval of a Poisson count; without an event it reaches
from 0 to 3.0 · w. Where more than half is counted, the rest is estimated instead.

Letters: A any shape of arrays.
"""

from __future__ import annotations

import numpy as np

TAIL = 0.025
"""The probability beyond each end."""

STEPS = 50
"""Halvings of the logarithm of the range that an end lies in."""


def interval_of_sum(value: np.ndarray, variance: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of the intervals of sums of weighted counts, `(A)` each.

    Args:
        value: `(A)`, the sums, 0 or more.
        variance: `(A)`, their estimated variances.
        weight: `(A)`, of one more event, above 0.
    """
    value, variance, weight = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in (value, variance, weight)))
    return _quantile(TAIL, value, variance, weight), _quantile(1 - TAIL, value, variance, weight)


def interval_of_share(share: np.ndarray, variance: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of the intervals of estimated shares `(A)`, 0 to 1; of those above ½ by what is not counted."""
    share = np.clip(share, 0.0, 1.0)
    is_more = share > 0.5
    low, high = interval_of_sum(np.where(is_more, 1 - share, share), variance, weight)
    low, high = np.where(is_more, 1 - high, low), np.where(is_more, 1 - low, high)
    return np.clip(low, 0.0, share), np.clip(high, share, 1.0)


def _quantile(probability: float, value: np.ndarray, variance: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns the quantile of the mixture, by bisection of the logarithm."""
    from scipy.special import gammainc  # not scipy.stats, which takes a second to import

    more, more_variance = value + weight, variance + weight**2
    # A sum of 0 is a point at 0, and one without variance a point at its value.
    spread = np.where((value > 0) & (variance > 0), variance, 1.0)
    safe = np.where(value > 0, value, 1.0)

    def probability_up_to(x: np.ndarray) -> np.ndarray:
        own = np.where((value > 0) & (variance > 0), gammainc(safe**2 / spread, x * safe / spread), x >= value)
        return (own + gammainc(more**2 / more_variance, x * more / more_variance)) / 2

    high = np.log(more + 12 * np.sqrt(more_variance) + 12 * weight)
    low = high - 60.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        is_below = probability_up_to(np.exp(middle)) < probability
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return np.where(probability_up_to(np.zeros_like(value)) >= probability, 0.0, np.exp(high))
