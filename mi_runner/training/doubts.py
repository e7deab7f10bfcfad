"""Are a network's outputs what the loss and the accuracy take them for?

What a network's outputs are follows from the data and its last function, or from an option. Where that is wrong the
network runs, and its figures mean something else. What can be seen of that in its outputs is said.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mi_runner.datasets import Dataset
from mi_runner.datasets.outputs import Outputs
from mi_runner.models.batches import outputs_of
from mi_runner.training.options import TrainingOptions

LOOKED_AT = 1000
"""Test examples whose outputs are looked at."""

SHARE = 0.05
"""A share of these examples that is no accident: of numbers that are neither 0 nor 1, or of accuracy gained."""

SUMS_TO_ONE = 1e-4
"""Largest distance from 1 of the sum of probabilities."""


def doubts(
    model: Callable[[Tensor], Tensor],
    dataset: Dataset,
    options: TrainingOptions,
) -> list[str]:
    """Returns a sentence for each doubt, with its numbers and what to type; mostly none.

    Args:
        model: in evaluation mode, with the weights that figures are made of.

    Raises:
        RunFailed: an output isn't finite.
    """
    is_logits, is_logit = dataset.outputs is Outputs.logits, dataset.outputs is Outputs.logit
    if not (is_logits or is_logit or dataset.is_binary):
        return []
    outputs = outputs_of(model, dataset.x_test[:LOOKED_AT])
    if is_logit:
        return _of_one_probability(outputs)
    if is_logits:
        return _of_probabilities(outputs, options)
    return _of_a_logit(outputs[:, 0], dataset.y_test[:LOOKED_AT])


def _of_probabilities(outputs: Tensor, options: TrainingOptions) -> list[str]:
    sums = outputs.double().sum(1)
    are_probabilities = (
        outputs.shape[1] > 1 and bool((outputs >= 0).all()) and bool(((sums - 1).abs() <= SUMS_TO_ONE).all())
    )
    if not are_probabilities or options.loss not in ("auto", "cross_entropy"):
        return []
    return [
        "the network's outputs are probabilities (each row sums to 1), and cross_entropy takes logits: its loss is too "
        "large, and it trains slowly. Leave the softmax at its end out, or type model.outputs=probabilities."
    ]


def _of_one_probability(outputs: Tensor) -> list[str]:
    if not bool(((outputs >= 0) & (outputs <= 1)).all()):
        return []
    low, high = float(outputs.min()), float(outputs.max())
    return [
        f"the network's one output is taken for a logit, whose border is 0, and goes from {low:.3g} to {high:.3g} on "
        f"{len(outputs)} test examples, so every answer is the second class. If it is a probability, type "
        "model.outputs=probabilities."
    ]


def _of_a_logit(outputs: Tensor, targets: Tensor) -> list[str]:
    if bool(((outputs >= 0) & (outputs <= 1)).all()):
        return []  # a sigmoid's: of such outputs rounding is the judgement that is meant, however many are correct
    rounded = outputs.round()
    n, n_other = len(outputs), int(((rounded != 0) & (rounded != 1)).sum())
    by_rounding = float((rounded == targets).double().mean())
    by_sign = float(((outputs > 0) == (targets > 0.5)).double().mean())
    if n_other < SHARE * n and by_sign - by_rounding < SHARE:
        return []
    return [
        f"the network's one output is judged by rounding it, so 0.5 is the border between 0 and 1; it goes from "
        f"{float(outputs.min()):.3g} to {float(outputs.max()):.3g}, {n_other} of {n} test examples round to another "
        f"number, and {by_rounding:.3g} are correct. If it is a logit, whose border is 0, {by_sign:.3g} are: type "
        "model.outputs=logit."
    ]
