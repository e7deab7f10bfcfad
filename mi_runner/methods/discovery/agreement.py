"""Do methods that score edges rank them alike? Rank correlations of pairs of methods."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping

import numpy as np


def rank_correlations(scores: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str, float, float]]:
    """Yields each pair of methods with Spearman's and Kendall's (τ-b) rank correlation of their scores `(E,)`.

    NaN where a method gives all edges one score.
    """
    from scipy.stats import kendalltau, spearmanr

    for (name, own), (other, others) in itertools.combinations(scores.items(), 2):
        if len(own) < 2 or np.ptp(own) == 0 or np.ptp(others) == 0:
            yield name, other, float("nan"), float("nan")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield name, other, float(spearmanr(own, others).statistic), float(kendalltau(own, others).statistic)
