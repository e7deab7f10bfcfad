"""Does a method find the edges that are known as the truth?

Letters: E edges of the family, S sizes k, K circuits that a method found.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def roc_auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Returns the area under the ROC: the share of pairs of a true and another edge of which the true one is higher.

    An equal pair counts half. NaN where no edge is true, or all are.

    Args:
        scores: `(E,)`, a high one for an edge that the method takes as important.
        truth: `(E,)` bool, the true edges.
    """
    n_true, n_others = int(truth.sum()), int((~truth).sum())
    if not n_true or not n_others:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - n_true * (n_true + 1) / 2) / (n_true * n_others))


def precision_and_recall(circuit: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Returns the share of a circuit's edges that are true, and the share of the true edges that it keeps.

    NaN for the empty circuit, which a method stands with where it found none of the size or smaller.

    Args:
        circuit: `(E,)` bool, the circuit that a method stands with at the number of true edges.
        truth: `(E,)` bool, at least one.
    """
    if not circuit.any():
        return float("nan"), float("nan")
    both = int((circuit & truth).sum())
    return both / int(circuit.sum()), both / int(truth.sum())


def is_found(circuits: np.ndarray, truth: np.ndarray) -> bool:
    """Returns whether the true circuit `(E,)` is among the circuits `(K, E)` that a method found."""
    return bool((circuits == truth).all(1).any())
