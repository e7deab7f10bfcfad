"""The options of training: `training.OPTION=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mi_runner.config.options import same
from mi_runner.training.options import TrainingOptions


class Optimizer(Enum):
    sgd = "sgd"
    adam = "adam"
    adamw = "adamw"


class Loss(Enum):
    auto = "auto"
    cross_entropy = "cross_entropy"
    mse = "mse"
    bce = "bce"


class RegularizerChoice(Enum):
    none = "none"
    clusterability = "clusterability"
    l1 = "l1"
    orthogonality = "orthogonality"


@dataclass
class TrainingConfig:
    """How a model is trained."""

    epochs: int = same(TrainingOptions, "epochs")
    batch_size: int = same(TrainingOptions, "batch_size")
    optimizer: Optimizer = same(TrainingOptions, "optimizer", Optimizer, doc="the update rule")
    learning_rate: float = same(TrainingOptions, "learning_rate")
    weight_decay: float = same(TrainingOptions, "weight_decay")
    momentum: float = same(TrainingOptions, "momentum")
    loss: Loss = same(
        TrainingOptions,
        "loss",
        Loss,
        doc="auto: cross_entropy for target=class, mse for target=value; bce: outputs in 0..1",
    )
    label_smoothing: float = same(TrainingOptions, "label_smoothing")
    stop_loss: float | None = same(TrainingOptions, "stop_loss")
    stop_steps: int | None = same(TrainingOptions, "stop_steps")
    stop_examples: int = same(TrainingOptions, "stop_examples")
    keep_best: bool = same(TrainingOptions, "keep_best")
    random_labels: bool = same(TrainingOptions, "random_labels")
    keep_epochs: bool = same(
        TrainingOptions,
        "keep_epochs",
        doc="the model store keeps the weights of each epoch, so that a sweep over training.epochs trains once",
    )
    regularizer: RegularizerChoice = same(TrainingOptions, "regularizer", RegularizerChoice)
    regularizer_strength: float | None = same(TrainingOptions, "regularizer_strength")
    regularizer_layer: str | None = same(TrainingOptions, "regularizer_layer")
    regularizer_clusters: int = same(TrainingOptions, "regularizer_clusters")
