"""The check of its network that every experiment begins with."""

from __future__ import annotations

from typing import Any

from mi_runner.datasets import Dataset
from mi_runner.experiments import Setting
from mi_runner.models import evaluation_checks
from mi_runner.training.loop import multiplications

MOST_MULTIPLICATIONS = 4e9
"""Of the examples that are evaluated several times; a second or so on a CPU."""


def commonest_share(dataset: Dataset) -> float | None:
    """Returns the accuracy on the test set of always predicting its commonest class; None where targets are values."""
    if not dataset.has_classes or not len(dataset.y_test):
        return None
    return float(dataset.y_test.unique(return_counts=True)[1].max()) / len(dataset.y_test)


def check_evaluation(setting: Setting[Any]) -> None:
    """Checks that the network's outputs are finite, the same when computed again, and those of each example alone.

    Raises:
        ArgumentError: they aren't; the text has the numbers, and says what to do.
    """
    dataset = setting.dataset
    for_each = max(1, multiplications(setting.model, dataset.x_test))
    examples = int(min(evaluation_checks.EXAMPLES, max(8, MOST_MULTIPLICATIONS / for_each)))
    evaluation_checks.check_evaluation(setting.model, dataset, dataset.outputs.correct, examples=examples)
