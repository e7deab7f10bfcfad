"""What training can want of the weights, besides a small loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from mi_runner.config.training_schema import Regularizer as Kind
from mi_runner.config.training_schema import TrainingConfig
from mi_runner.training import clusterability


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


def regularizer(model: nn.Module, config: TrainingConfig, *, vectorised: bool = False) -> Regularizer | None:
    """The regulariser that the config names; None if none.

    Args:
        vectorised: its measure can go through `torch.func`'s transformations.

    Raises:
        ConfigError: the model has no such layer, or the layer not so many units.
    """
    if config.regularizer is Kind.none:
        return None
    _, layer = clusterability.linear_layer(model, config.regularizer_layer, option="training.regularizer_layer")
    partition = clusterability.contiguous(
        layer.out_features, layer.in_features, config.regularizer_clusters, option="training.regularizer_clusters"
    )
    inside = partition.inside.to(layer.weight)

    share = clusterability.composed_clusterability if vectorised else clusterability.clusterability

    def measure(_: nn.Module) -> Tensor:
        return share(layer.weight, inside)

    return Regularizer("clusterability", measure, -config.regularizer_strength)
