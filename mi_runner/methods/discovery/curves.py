"""A method's circuits of all sizes judged: regret against the optimum, and MIB's measures (Mueller et al. 2025).

Letters: S sizes k, from 0 to all edges.
"""

from __future__ import annotations

import numpy as np


def recovered(measure: np.ndarray, empty: float, full: float) -> np.ndarray:
    """Returns f(k) = (m(C_k) − m(∅)) / (m(full) − m(∅)), not clipped, `(S,)`; NaN if the empty circuit is as good.

    Args:
        measure: `(S,)`, m of the circuit that a method stands with at size k; that of the empty one gives 0.
        empty, full: m of the empty circuit and of the full one.
    """
    if full == empty:
        return np.full(len(measure), np.nan)
    return (measure - empty) / (full - empty)


def cpr(f: np.ndarray, sizes: np.ndarray) -> float:
    """Returns the circuit performance ratio: the area under f by trapezoids, over the fraction of edges k/K."""
    return _area(f, sizes)


def cmd(f: np.ndarray, sizes: np.ndarray) -> float:
    """Returns the circuit-model distance: the area of |1 − f|."""
    return _area(np.abs(1 - f), sizes)


def _area(values: np.ndarray, sizes: np.ndarray) -> float:
    widths = np.diff(sizes) / sizes[-1]
    return float(((values[1:] + values[:-1]) / 2 * widths).sum())


def percentile(n_smaller: np.ndarray, n_equal: np.ndarray, n_circuits: np.ndarray) -> np.ndarray:
    """Returns (circuits with smaller L + half of the others with equal L) / (circuits − 1): 0 the best, 1 the worst.

    NaN where there is only one circuit.

    Args:
        n_equal: how many others have an equal L, the circuit itself left out.
        n_circuits: circuits of its number of edges, the circuit itself included.
    """
    others = n_circuits - 1.0
    return np.where(others > 0, (n_smaller + n_equal / 2) / np.maximum(others, 1), np.nan)
