"""How well outputs answer: loss, accuracy with its interval, confusion. Letters: B batch, N examples, K outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, unknown
from mi_runner.statistics import wilson_interval
from mi_runner.training.options import TrainingOptions

FURTHEST = 2**62
"""A value beyond this one is counted as this one, because int64 ends at 2⁶³."""

LossFunction = Callable[..., Tensor]
"""`loss(outputs, targets, reduction="mean")`: outputs `(B, K)`, targets as the data set has them."""


LOSSES = ("auto", "cross_entropy", "mse", "bce")


def loss_function(options: TrainingOptions, dataset: Dataset) -> LossFunction:
    """The loss that the options name, for training and for every table.

    With reduction "mean" a scalar, with "none" one number per example `(B,)`.

    Raises:
        ArgumentError: there is no loss of this name, or it doesn't fit the data set's targets.
    """
    name, smoothing = options.loss, options.label_smoothing
    if name not in LOSSES:
        raise ArgumentError(f"loss={name}: {unknown('loss', name, LOSSES)}")
    fitting = "cross_entropy" if dataset.has_classes else "mse"
    if name == "auto":
        name = fitting
    if (name == "cross_entropy") != dataset.has_classes:
        have, takes = ("classes", "values") if dataset.has_classes else ("values", "classes")
        raise ArgumentError(
            f"loss={name} takes {takes}, and the targets of {dataset.name} are {have}. Use loss={fitting}."
        )
    if name == "bce" and not all(bool(((y >= 0) & (y <= 1)).all()) for y in (dataset.y_train, dataset.y_test)):
        raise ArgumentError("loss=bce takes targets in 0..1. Use loss=mse.")
    if smoothing and name != "cross_entropy":
        raise ArgumentError(f"label_smoothing={smoothing:g} is for cross_entropy; loss={name} has none.")

    def cross_entropy(outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        return functional.cross_entropy(outputs, targets, reduction=reduction, label_smoothing=smoothing)

    if name == "cross_entropy":
        return cross_entropy
    return loss_of_values(functional.mse_loss if name == "mse" else functional.binary_cross_entropy)


def loss_of_values(pointwise: LossFunction) -> LossFunction:
    """The loss of outputs `(B, K)` on values `(B,)` or `(B, K)`: of an example, the mean over its values."""

    def loss(outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        outputs = outputs.view_as(targets)
        if reduction == "mean":
            return pointwise(outputs, targets, reduction="mean")
        each = pointwise(outputs, targets, reduction="none")
        return each.flatten(1).mean(1) if each.dim() > 1 else each

    return loss


def predictions(outputs: Tensor, *, classes: bool) -> Tensor:
    """What the outputs `(..., K)` answer.

    For classes `(...)` int64, the index of the largest output, the first of equals. For values the outputs rounded to
    the nearest integer, half to even: `(...)` for one output, `(..., K)` for several.
    """
    if classes:
        return outputs.argmax(-1)
    rounded = outputs.round()
    return rounded.squeeze(-1) if rounded.shape[-1] == 1 else rounded


def correct(outputs: Tensor, targets: Tensor, *, classes: bool) -> Tensor:
    """Whether each example is answered rightly, `(..., N)` bool; with several values, whether all are.

    A value is right if output and target round to the same integer, half to even.

    Args:
        outputs: `(..., N, K)`.
        targets: `(N,)`, or `(N, K)` values.
    """
    if targets.dim() == 2:
        return (outputs.round() == targets.round()).all(-1)
    return predictions(outputs, classes=classes) == (targets if classes else targets.round())


@dataclass(frozen=True)
class Score:
    """How well a network answers `n` examples: how many rightly, at which mean loss."""

    n: int
    n_correct: int
    loss: float

    @property
    def accuracy(self) -> float:
        """Share of right answers; NaN where n is 0."""
        return self.n_correct / self.n if self.n else math.nan

    def columns(self) -> dict[str, float]:
        """accuracy, accuracy_low, accuracy_high (95 % Wilson interval), loss: the columns of every table."""
        low, high = wilson_interval(self.n_correct, self.n)
        return {"accuracy": self.accuracy, "accuracy_low": low, "accuracy_high": high, "loss": self.loss}


def score(outputs: Tensor, targets: Tensor, loss: LossFunction, *, classes: bool) -> Score:
    """The score of outputs `(N, K)` on their targets; the loss is summed in float64."""
    n_correct = int(correct(outputs, targets, classes=classes).sum())
    losses = loss(outputs, targets, reduction="none")
    return Score(len(targets), n_correct, float(losses.double().mean()) if len(targets) else math.nan)


def confusion(outputs: Tensor, targets: Tensor, *, classes: bool) -> list[dict[str, int]]:
    """Rows `label, predicted, count` of all pairs that occur; for values both are rounded to integers.

    With several values in a target there are no pairs to count, and no rows.
    """
    if targets.dim() > 1 or not len(targets):
        return []
    predicted = predictions(outputs, classes=classes)
    if classes:
        n_classes = outputs.shape[-1]
        codes, counts = torch.unique(targets * n_classes + predicted, return_counts=True)
        return [
            {"label": code // n_classes, "predicted": code % n_classes, "count": count}
            for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
        ]
    labels = targets.round()
    pairs = torch.stack([labels, predicted.to(labels.dtype)], dim=1).nan_to_num().clamp(-FURTHEST, FURTHEST)
    rows, counts = torch.unique(pairs.long().cpu(), dim=0, return_counts=True)
    return [
        {"label": label, "predicted": value, "count": count}
        for (label, value), count in zip(rows.tolist(), counts.tolist(), strict=True)
    ]
