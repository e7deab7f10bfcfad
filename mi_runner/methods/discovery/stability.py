"""A method as an estimator: how much its circuits differ when the examples are resampled (Méloux et al. 2025).

Letters: B examples, E edges, R resamples, S sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mi_runner.errors import ArgumentError


@dataclass(frozen=True)
class Stability:
    """How the circuits of R resamples compare; each attribute is an array `(S,)`.

    Attributes:
        n_edges: mean number of edges.
        jaccard: mean overlap of pairs of circuits, intersection over union of their edges; NaN where all are empty.
        n_always: edges in the circuit of every resample.
        n_ever: edges in the circuit of at least one.
    """

    n_edges: np.ndarray
    jaccard: np.ndarray
    n_always: np.ndarray
    n_ever: np.ndarray


def resamples(n_examples: int, n_resamples: int, generator: torch.Generator | None = None) -> Tensor:
    """Returns the rows of examples `(R, B)`, drawn with replacement."""
    return torch.randint(n_examples, (n_resamples, n_examples), generator=generator)


def counts_of(rows: Tensor) -> Tensor:
    """Returns how often each example occurs in each resample, `(R, B)` float64, of rows `(R, B)`."""
    counts = torch.zeros(rows.shape, dtype=torch.float64)
    return counts.scatter_add_(1, rows, torch.ones(rows.shape, dtype=torch.float64))


def stability(circuits: np.ndarray) -> Stability:
    """Returns how the circuits `(R, S, E)` of R resamples compare at each size.

    Raises:
        ArgumentError: there are fewer than two resamples.
    """
    n_resamples = len(circuits)
    if n_resamples < 2:
        raise ArgumentError("circuits", None, f"{n_resamples} resamples:", "give at least two.")
    pairs = np.triu_indices(n_resamples, 1)
    jaccard = np.full(circuits.shape[1], np.nan)
    for size in range(circuits.shape[1]):
        kept = circuits[:, size].astype(np.float32)
        both = (kept @ kept.T)[pairs]
        n_edges = kept.sum(1)
        either = n_edges[pairs[0]] + n_edges[pairs[1]] - both
        if (either > 0).any():
            jaccard[size] = float((both[either > 0] / either[either > 0]).mean())
    return Stability(
        n_edges=circuits.sum(2).mean(0),
        jaccard=jaccard,
        n_always=circuits.all(0).sum(1),
        n_ever=circuits.any(0).sum(1),
    )
