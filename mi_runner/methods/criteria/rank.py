"""Which share of the circuits with as many edges are further from the full network's outputs?

Letters: M circuits of the family, K circuits, R resamples.
"""

from __future__ import annotations

import numpy as np

from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.criteria.family import every_circuit
from mi_runner.methods.criteria.runs import squares
from mi_runner.methods.criteria.task import Scores, Task, Weights
from mi_runner.methods.discovery.curves import percentile

MOST = 5_000_000
"""Circuits of the largest family that is enumerated."""

MOST_RESAMPLED = 200_000
"""Circuits of the largest family whose losses are computed on each resample."""

AT_ONCE = 256
"""Resamples whose losses are stored at once."""

EQUAL = 1e-12
"""Losses that differ by less than this share of the largest of their size are equal: the sums of one circuit may be
added in another order than those of another, and float64 has 16 digits."""


def rank(task: Task, circuits: np.ndarray) -> Scores:
    """Returns 1 − percentile of the loss of each circuit `(K,)` among the family's circuits with as many edges.

    The loss is the mean squared difference to the full network's outputs; circuits need not be valid. It is 1 where no
    other circuit has as many edges, and NaN for a circuit outside the family, and where the family is too large.
    """
    space = CircuitSpace(task.part.sizes, task.inputs)
    if task.family is None and space.count() > MOST:
        return Scores.empty(len(circuits))
    family = np.sort(every_circuit(space) if task.family is None else task.family)
    sizes, of_size = np.bitwise_count(family), np.bitwise_count(circuits)
    is_compared = np.isin(sizes, of_size)
    losses = np.full((len(family), 1), np.nan)
    losses[is_compared, 0] = squares(task, task.edges.rows(family[is_compared]))  # at once, as they share most values

    def ranked(some: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        found = np.full((len(some), 1 if weights is None else weights.shape[1]), np.nan)
        for size in np.unique(of_size[some]):
            (rows,), (same,) = np.nonzero(of_size[some] == size), np.nonzero(sizes == size)
            if len(same):
                place = np.minimum(np.searchsorted(family[same], circuits[some[rows]]), len(same) - 1)
                inside = family[same][place] == circuits[some[rows]]
                of_same = losses[same] if weights is None else squares(task, task.edges.rows(family[same]), weights)
                found[rows[inside]] = _ranks(of_same, place[inside])
        return found

    def again(some: np.ndarray, weights: Weights) -> np.ndarray:
        n = weights.examples.shape[1]
        parts = [weights.examples[:, start : start + AT_ONCE] for start in range(0, n, AT_ONCE)]
        return np.concatenate([ranked(some, part) for part in parts], axis=1)

    values = ranked(np.arange(len(circuits)), None)[:, 0]
    return Scores(values, again if len(family) <= MOST_RESAMPLED else None)


def _ranks(losses: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Returns 1 − percentile of some circuits, `(K, R)`.

    Args:
        losses: `(M, R)`, of all circuits of one size.
        place: `(K,)`, the circuits' rows.
    """
    found = np.empty((len(place), losses.shape[1]))
    for column, loss in enumerate(losses.T):
        ordered, own = np.sort(loss), loss[place]
        tolerance = EQUAL * ordered[-1]
        smaller = np.searchsorted(ordered, own - tolerance)
        beyond = np.searchsorted(ordered, own + tolerance, side="right")
        found[:, column] = 1 - np.nan_to_num(percentile(smaller, beyond - smaller - 1, np.array(len(loss))), nan=0.0)
    return found
