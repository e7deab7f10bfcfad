"""The options of training: `training.OPTION=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mi_runner.config.options import option


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

    epochs: int = option(3, "passes over the training set", at_least=0)
    batch_size: int = option(64, "examples per step", at_least=1)
    optimizer: Optimizer = option(Optimizer.adam, "the update rule")
    learning_rate: float = option(1e-3, "the optimizer's step size", above=0)
    weight_decay: float = option(0.0, "the optimizer's weight decay", at_least=0)
    momentum: float = option(0.0, "sgd's momentum", at_least=0, below=1)
    loss: Loss = option(Loss.auto, "auto: cross_entropy for target=class, mse for target=value; bce: outputs in 0..1")
    label_smoothing: float = option(0.0, "for cross_entropy; reported losses use it, too", at_least=0, below=1)
    stop_loss: float | None = option(
        None, "training ends after the epoch whose mean training loss is at or below it; null: after epochs", at_least=0
    )
    keep_epochs: bool = option(
        False, "the model store keeps the weights of each epoch, so that a sweep over training.epochs trains once"
    )
    regularizer: RegularizerChoice = option(
        RegularizerChoice.none,
        "clusterability: rewards squared weights of a layer that lie inside clusters of its units; l1: absolute "
        "weights; orthogonality: ‖WWᵀ − 1‖² of each Linear layer but the last",
    )
    regularizer_strength: float | None = option(
        None,
        "this times its value is added to the loss, for clusterability subtracted; null: 15 for clusterability, "
        "0.001 for the others",
        at_least=0,
    )
    regularizer_layer: str | None = option(None, "the Linear layer of clusterability; null: the middle one")
    regularizer_clusters: int = option(4, "number of clusters of that layer's units", at_least=2)
