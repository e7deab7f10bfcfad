"""Loss, accuracy with its interval, and confusion of outputs. Letters: B batch, N examples, K outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mi_runner.datasets import Dataset
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError, unknown
from mi_runner.tables.intervals import wilson_interval
from mi_runner.training.options import TrainingOptions

FURTHEST = 2**62
"""Larger absolute values are counted as this value, because int64 ends at 2⁶³."""

LossFunction = Callable[..., Tensor]
"""`loss(outputs, targets, reduction="mean")`: outputs `(B, K)`, targets as in the data set."""


LOSSES = ("auto", "cross_entropy", "mse", "bce")


def loss_function(options: TrainingOptions, dataset: Dataset) -> LossFunction:
    """Returns the loss that the options name, for training and for every table.

    With reduction "mean" the loss is a scalar, with "none" a value per example `(B,)`.

    Raises:
        ArgumentError: no loss has this name, or it doesn't fit the data set's targets.
    """
    name, smoothing = options.loss, options.label_smoothing
    if name not in LOSSES:
        raise ArgumentError("loss", name, unknown("loss", name, LOSSES))
    kind = dataset.outputs
    fitting = "cross_entropy" if kind.are_of_classes else "mse"
    if name == "auto" or (name == "bce" and kind.are_of_one):  # of one output these two are one loss
        name = fitting
    if (name == "cross_entropy") != kind.are_of_classes:
        has, takes = ("classes", "values") if kind.are_of_classes else ("values", "classes")
        problem = f"{{loss}}={name} takes {takes}, but the targets of {dataset.name} are {has}."
        raise ArgumentError("loss", name, problem, f"Use {{loss}}={fitting}.")
    if name == "bce" and not all(bool(((y >= 0) & (y <= 1)).all()) for y in (dataset.y_train, dataset.y_test)):
        raise ArgumentError("loss", name, "{loss}=bce takes targets in 0..1.", "Use {loss}=mse.")
    if smoothing and name != "cross_entropy":
        problem = f"{{label_smoothing}}={smoothing:g} is for cross_entropy; {{loss}}={name} has none."
        raise ArgumentError(("label_smoothing", "loss"), smoothing, problem)

    if name == "cross_entropy":
        return loss_of_classes(kind, smoothing)
    return loss_of_values(functional.mse_loss if name == "mse" else functional.binary_cross_entropy)


def loss_of_classes(kind: Outputs, label_smoothing: float = 0.0) -> LossFunction:
    """Returns the cross-entropy of outputs `(B, K)` of a kind that answers classes, on classes `(B,)`."""

    def cross_entropy(outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        logits = kind.class_logits(outputs)
        return functional.cross_entropy(logits, targets, reduction=reduction, label_smoothing=label_smoothing)

    return cross_entropy


def loss_of_values(pointwise: LossFunction) -> LossFunction:
    """Returns a loss of outputs `(B, K)` on values `(B,)` or `(B, K)`: per example the mean over its values."""

    def loss(outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        outputs = outputs.view_as(targets)
        if reduction == "mean":
            return pointwise(outputs, targets, reduction="mean")
        losses = pointwise(outputs, targets, reduction="none")
        return losses.flatten(1).mean(1) if losses.dim() > 1 else losses

    return loss


@dataclass(frozen=True)
class Score:
    """The number of correct predictions on `n` examples, and the mean loss.

    Attributes:
        finite: whether all outputs are; otherwise there is no figure, and all are NaN, which tables leave empty.
    """

    n: int
    n_correct: int
    loss: float
    finite: bool = True

    @property
    def accuracy(self) -> float:
        """The fraction of correct predictions; NaN if n is 0."""
        return self.n_correct / self.n if self.n and self.finite else math.nan

    def columns(self) -> dict[str, float]:
        """Returns the columns accuracy, accuracy_low, accuracy_high (95 % Wilson interval), loss."""
        if not self.finite:
            return dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "loss"), math.nan)
        low, high = wilson_interval(self.n_correct, self.n)
        return {"accuracy": self.accuracy, "accuracy_low": low, "accuracy_high": high, "loss": self.loss}


def score(outputs: Tensor, targets: Tensor, loss: LossFunction, *, kind: Outputs) -> Score:
    """Returns the score of outputs `(N, K)` of a kind on their targets; the loss is summed in float64."""
    n_correct = int(kind.correct(outputs, targets).sum())
    if not bool(outputs.isfinite().all()):
        return Score(len(targets), n_correct, math.nan, finite=False)
    losses = loss(outputs, targets, reduction="none")
    return Score(len(targets), n_correct, float(losses.double().mean()) if len(targets) else math.nan)


def confusion(outputs: Tensor, targets: Tensor, *, kind: Outputs) -> list[dict[str, int]]:
    """Returns rows `label, predicted, count` for all pairs that occur; values are rounded to integers.

    Targets with several values give no rows.
    """
    if targets.dim() > 1 or not len(targets):
        return []
    predicted = kind.answers(outputs)
    if kind.are_of_classes:
        n_classes = 2 if kind.are_of_one else outputs.shape[-1]
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
