"""The options of a training, for the loop, the stack, the losses and the model store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained.

    Attributes:
        epochs: passes over the training set.
        batch_size: examples per step.
        optimizer: sgd, adam or adamw.
        learning_rate: the optimizer's step size.
        weight_decay: the optimizer's weight decay.
        momentum: sgd's momentum; the other optimizers have none.
        loss: cross_entropy for classes, mse or bce for values; auto: cross_entropy for classes, mse for values.
        label_smoothing: for cross_entropy; reported losses use it, too.
        stop_loss: training ends after the epoch whose mean training loss is at or below it; None: after `epochs`.
        keep_epochs: the model store keeps the weights of each epoch, and what training needs to continue from them. It
            changes no weights.
        regularizer: none, clusterability, l1 or orthogonality; see `regularizers`.
        regularizer_strength: this times the regulariser's value is added to the loss; subtracted for clusterability.
            None: 15 for clusterability, 0.001 for the others.
        regularizer_layer: the Linear layer that clusterability measures; None: the middle one.
        regularizer_clusters: number of clusters of that layer's units.
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
    keep_epochs: bool = False
    regularizer: str = "none"
    regularizer_strength: float | None = None
    regularizer_layer: str | None = None
    regularizer_clusters: int = 4
