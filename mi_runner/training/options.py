"""How a network is trained: one value that the loop, the stack, the losses and the model store take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained.

    Attributes:
        epochs: passes over the training set.
        batch_size: examples a step.
        optimizer: sgd, adam or adamw.
        learning_rate: the optimizer's step size.
        weight_decay: the optimizer's weight decay.
        momentum: sgd's momentum; the other optimizers have none.
        loss: cross_entropy for classes, mse or bce for values; auto: cross_entropy or mse, as the targets are.
        label_smoothing: of cross_entropy; also in every loss that is reported.
        stop_loss: training ends after the epoch whose mean training loss is at or below it; None: after `epochs`.
        regularizer: clusterability or none.
        regularizer_strength: the loss loses this much times the regulariser's value.
        regularizer_layer: the Linear layer that the regulariser measures; None: the middle one.
        regularizer_clusters: clusters of that layer's units.
    """

    epochs: int = 3
    batch_size: int = 64
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0
    loss: str = "auto"
    label_smoothing: float = 0.0
    stop_loss: float | None = None
    regularizer: str = "none"
    regularizer_strength: float = 15.0
    regularizer_layer: str | None = None
    regularizer_clusters: int = 4
