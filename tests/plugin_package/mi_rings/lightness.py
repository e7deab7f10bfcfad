"""The criterion lightness."""

from __future__ import annotations

import numpy as np

from mi_runner.methods.criteria.task import Task


def lightness(task: Task, circuits: np.ndarray) -> np.ndarray:
    """Returns the share of the absolute weights that each circuit leaves out, `(K,)`, of circuits `(K,)` uint64."""
    weights = np.abs(task.edges.flat([layer.weight for layer in task.part.layers]))
    return 1 - task.edges.rows(circuits) @ (weights / weights.sum())
