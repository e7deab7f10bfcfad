"""Which share of the circuits with as many edges are further from the full network's outputs?

Letters: M circuits of the family, K circuits, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    known = task.once("losses of the family", lambda: _Family.of(space, task))
    family, sizes, losses = known.circuits, known.sizes, known.losses
    of_size = np.bitwise_count(circuits)
    known.add(task, of_size)

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


@dataclass(frozen=True, eq=False)
class _Family:
    """The family of a task, and the losses of its circuits of sizes that some circuits had so far.

    Attributes:
        circuits: `(M,)` uint64, sorted.
        sizes: `(M,)`, how many edges they keep.
        losses: `(M, 1)`.
        are_known: `(M,)`, which losses are computed.
    """

    circuits: np.ndarray
    sizes: np.ndarray
    losses: np.ndarray
    are_known: np.ndarray

    @classmethod
    def of(cls, space: CircuitSpace, task: Task) -> _Family:
        """Returns the family of a task, without losses."""
        circuits = np.sort(every_circuit(space) if task.family is None else task.family)
        n = len(circuits)
        return cls(circuits, np.bitwise_count(circuits), np.full((n, 1), np.nan), np.zeros(n, dtype=bool))

    def add(self, task: Task, sizes: np.ndarray) -> None:
        """Computes the losses of circuits of these sizes, of all at once, as they share most values."""
        missing = np.isin(self.sizes, sizes) & ~self.are_known
        self.losses[missing, 0] = squares(task, task.edges.rows(self.circuits[missing]))
        self.are_known[missing] = True


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
