"""Does a circuit answer as the full network: on the test examples, on noisy ones, on other data, and does the rest?

Letters: N test examples, B noisy ones, K circuits, R resamples.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from mi_runner.methods.circuits.edges import bits_of
from mi_runner.methods.criteria.runs import Rows, clean, counts, resampled
from mi_runner.methods.criteria.task import Scores, Task, Weights


def agreement(task: Task, circuits: np.ndarray) -> Scores:
    """Returns the share of the test examples that each circuit `(K,)` answers as the full network does."""
    kept, rows = task.edges.rows(circuits), clean(task)

    def again(some: np.ndarray, weights: Weights) -> np.ndarray:
        return resampled(task, kept[some], rows, lambda block: weights.examples[block], weights.n)

    return Scores(counts(task, kept, rows) / rows.n_items, again)


def noise(task: Task, circuits: np.ndarray, sigma: float) -> Scores:
    """Returns the share of noisy inputs that each circuit `(K,)` answers as the full network answers the same inputs.

    Args:
        sigma: the standard deviation of the noise, in those of each input unit.
    """
    example, draws = task.draws
    kept, rows = task.edges.rows(circuits), _on(task, task.x[example] + sigma * draws)

    def again(some: np.ndarray, weights: Weights) -> np.ndarray:
        copies = len(rows) // len(task.x)
        return resampled(task, kept[some], rows, lambda block: weights.examples[block], weights.n, copies=copies)

    return Scores(counts(task, kept, rows) / len(rows), again)


def shift(task: Task, circuits: np.ndarray) -> Scores:
    """Returns the share of other data that each circuit `(K,)` answers as the full network does; NaN without any."""
    if task.shift is None or not len(task.shift):
        return Scores.empty(len(circuits))
    kept, rows = task.edges.rows(circuits), _on(task, task.shift)

    def again(some: np.ndarray, weights: Weights) -> np.ndarray:
        assert weights.shifted is not None
        shifted = weights.shifted
        return resampled(task, kept[some], rows, lambda block: shifted[block], weights.n)

    return Scores(counts(task, kept, rows) / len(rows), again)


def _on(task: Task, x: Tensor) -> Rows:
    return Rows(x, task.answered(task.part.without_softmax(x)), task.means)


def complement(task: Task, circuits: np.ndarray) -> Scores:
    """Returns how little the edges that each circuit `(K,)` leaves out answer as the full network does.

    These edges are closed first; where nothing is left, they are the empty circuit. With q the share of test examples
    that they answer as the full network does, and p the share of its commonest answer, it is
    1 − max(0, (q − p)/(1 − p)), and 1 where p = 1.
    """
    rows = clean(task)
    left = bits_of(task.edges.closed(task.largest & ~task.edges.rows(circuits)))
    distinct, place = np.unique(left, return_inverse=True)  # many circuits leave the same out
    kept = task.edges.rows(distinct)
    _, answer = np.unique(task.answers, return_inverse=True)

    def again(some: np.ndarray, weights: Weights) -> np.ndarray:
        distinct, back = np.unique(place[some], return_inverse=True)
        q = resampled(task, kept[distinct], rows, lambda block: weights.examples[block], weights.n)
        p = np.array([np.bincount(answer, of).max() / of.sum() for of in weights.examples.T])
        return _beyond(q, p)[back]

    q = counts(task, kept, rows) / rows.n_items
    return Scores(_beyond(q, np.bincount(answer).max() / len(answer))[place], again)


def _beyond(q: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Returns 1 − max(0, (q − p)/(1 − p)); 1 where p is 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(p < 1, 1 - np.maximum(0.0, (q - p) / (1 - p)), 1.0)


def parsimony(task: Task, circuits: np.ndarray) -> Scores:
    """Returns the share of the edges that each circuit `(K,)` leaves out."""
    return Scores(1 - np.bitwise_count(circuits) / task.largest.sum(), are_fixed=True)
