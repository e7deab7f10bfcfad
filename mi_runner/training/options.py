"""The options of a training, for the loop, the stack, the losses and the model store."""

from __future__ import annotations

from dataclasses import dataclass

from mi_runner.options import option


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained. Beside each field stand its default, its meaning and its range."""

    epochs: int = option(3, "passes over the training set", at_least=0)
    batch_size: int = option(64, "examples per step", at_least=1)
    optimizer: str = option("adam", "the update rule: sgd, adam or adamw")
    learning_rate: float = option(1e-3, "the optimizer's step size", above=0)
    weight_decay: float = option(0.0, "the optimizer's weight decay", at_least=0)
    momentum: float = option(0.0, "sgd's momentum", at_least=0, below=1)
    loss: str = option("auto", "cross_entropy for classes; mse or bce for values; auto: cross_entropy or mse")
    label_smoothing: float = option(0.0, "for cross_entropy; reported losses use it, too", at_least=0, below=1)
    stop_loss: float | None = option(
        None, "training ends after the epoch whose mean training loss is at or below it; None: after epochs", at_least=0
    )
    stop_steps: int | None = option(
        None,
        "training ends after so many steps without a better accuracy on held-out examples; None: after epochs",
        at_least=1,
    )
    stop_examples: int = option(
        10_000, "with stop_steps: so many training examples, the last ones, are held out and not trained on", at_least=1
    )
    keep_best: bool = option(
        False, "with stop_steps: the network gets the weights of the first step with the best accuracy on them"
    )
    random_labels: bool = option(
        False, "train on the training labels in random order, so that nothing of the task is learned: a control"
    )
    keep_epochs: bool = option(
        False,
        "the model store keeps the weights of each epoch, and what training needs to continue from them",
    )
    regularizer: str = option(
        "none",
        "clusterability: rewards squared weights of a layer that lie inside clusters of its units; l1: absolute "
        "weights; orthogonality: ‖WWᵀ − 1‖² of each Linear layer but the last",
    )
    regularizer_strength: float | None = option(
        None,
        "this times its value is added to the loss, for clusterability subtracted; None: 15 for clusterability, "
        "0.001 for the others",
        at_least=0,
    )
    regularizer_layer: str | None = option(None, "the Linear layer of clusterability; None: the middle one")
    regularizer_clusters: int = option(4, "number of clusters of that layer's units", at_least=2)
