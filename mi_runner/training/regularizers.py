"""What training can want of the weights, besides a small loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from mi_runner.errors import ArgumentError, unknown
from mi_runner.training import clusterability
from mi_runner.training.options import TrainingOptions

REGULARIZERS = ("none", "clusterability")


@dataclass(frozen=True)
class Regularizer:
    """A scalar of a model's weights that has a share in the loss.

    Attributes:
        name: the history's column for its value after each epoch.
        measure: the scalar, differentiable.
        factor: `factor · measure(model)` is added to the loss in every step; below 0 training makes the scalar
            larger; 0 only measures.
    """

    name: str
    measure: Callable[[nn.Module], Tensor]
    factor: float


def regularizer(model: nn.Module, options: TrainingOptions, *, vectorised: bool = False) -> Regularizer | None:
    """The regulariser that the options name; None if none.

    Args:
        vectorised: its measure can go through `torch.func`'s transformations.

    Raises:
        ArgumentError: there is no regulariser of this name, the model has no such layer, or the layer has fewer units.
    """
    if options.regularizer not in REGULARIZERS:
        text = unknown("regularizer", options.regularizer, REGULARIZERS)
        raise ArgumentError(f"regularizer={options.regularizer}: {text}")
    if options.regularizer == "none":
        return None
    _, layer = clusterability.linear_layer(model, options.regularizer_layer, option="regularizer_layer")
    partition = clusterability.contiguous(
        layer.out_features, layer.in_features, options.regularizer_clusters, option="regularizer_clusters"
    )
    inside = partition.inside.to(layer.weight)

    share = clusterability.composed_clusterability if vectorised else clusterability.clusterability

    def measure(_: nn.Module) -> Tensor:
        return share(layer.weight, inside)

    return Regularizer("clusterability", measure, -options.regularizer_strength)
