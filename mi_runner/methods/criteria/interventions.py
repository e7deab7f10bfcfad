"""Are a circuit's edges enough to keep an answer, and enough to change it, whatever the other edges carry?

Each edge carries its weight times a value of its source: in this run on the base, or in the full network's run on the
source. Nothing is closed: inactive neurons compute, too, and the ablation plays no part.

Letters: K circuits, P pairs (b, s) of a base and a source, whose answers differ.
"""

from __future__ import annotations

import numpy as np

from mi_runner.methods.criteria.runs import Rows, counts, groups_of_pairs, resampled
from mi_runner.methods.criteria.task import Scores, Task, Weights


def sufficiency(task: Task, circuits: np.ndarray) -> Scores:
    """Returns the share of pairs in which each circuit `(K,)` keeps the answer for the base.

    It runs on the base, and each edge that it leaves out carries what it carries in the full network's run on the
    source. NaN where no two answers differ.
    """
    base, _ = task.differing_pairs
    return _patched(task, task.edges.rows(circuits), task.answers[base])


def necessity(task: Task, circuits: np.ndarray) -> Scores:
    """Returns the share of pairs in which the network gives the answer for the source.

    It runs on the base, and each edge of the circuit `(K,)` carries what it carries in the full network's run on the
    source. NaN where no two answers differ.
    """
    _, source = task.differing_pairs
    return _patched(task, ~task.edges.rows(circuits), task.answers[source])


def _patched(task: Task, computed: np.ndarray, wanted: np.ndarray) -> Scores:
    """Returns the share of pairs answered as wanted.

    Args:
        computed: `(K, E)` bool, the edges that carry what they carry in this run.
        wanted: `(P,)`.
    """
    base, source = task.differing_pairs
    if not len(base):
        return Scores.empty(len(computed))
    groups = groups_of_pairs(task, task.differing_pairs)
    run = slice(None) if groups is None else groups.first
    left_out = tuple(values[source[run]] for values in task.part.activations(task.x))
    rows = Rows(task.x[base[run]], wanted[run], left_out, groups)

    def again(some: np.ndarray, weights: Weights) -> np.ndarray:
        def weight_of(some: slice | np.ndarray) -> np.ndarray:
            return weights.examples[base[some]] * weights.examples[source[some]]

        return resampled(task, computed[some], rows, weight_of, weights.n)

    return Scores(counts(task, computed, rows) / rows.n_items, again)
