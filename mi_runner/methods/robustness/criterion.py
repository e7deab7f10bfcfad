"""The criterion `certified`: in how many boxes around the test examples is a circuit proved to answer as its network?

Letters: K circuits, N test examples, R resamples.
"""

from __future__ import annotations

import numpy as np

from mi_runner.methods.criteria.task import Scores, Task, Weights
from mi_runner.methods.robustness.boxes import PROVED
from mi_runner.methods.robustness.certify import Certificates, certify_circuits

EPSILON = 0.1
"""Half of a box's width, in standard deviations of each input."""

SECONDS = 60.0
"""How long linear programs work on what is undecided; boxes that stay so count as not proved."""


def certified(task: Task, circuits: np.ndarray) -> Scores:
    """Returns the share of the test examples in whose box each circuit `(K,)` is proved to answer as the full network.

    Boxes have half-widths of `EPSILON` standard deviations. The number is a lower bound where a box is undecided.
    """

    def again(some: np.ndarray, weights: Weights) -> np.ndarray:
        found = _known(task, circuits[some], lists_all=True)
        assert found.status is not None
        proved = found.status[:, 0] == PROVED
        return np.asarray(proved @ weights.examples / weights.examples.sum(0))

    found = _known(task, circuits, lists_all=False)
    return Scores(found.n_proved[0] / found.n_examples, again)


def _known(task: Task, circuits: np.ndarray, *, lists_all: bool) -> Certificates:
    return certify_circuits(
        task.part,
        circuits,
        task.x,
        [EPSILON],
        kind=task.kind,
        means=task.means,
        seconds=SECONDS,
        lists_all=lists_all,
    )
