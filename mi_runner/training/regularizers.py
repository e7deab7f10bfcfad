"""Terms of the loss that depend on a model's weights alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from mi_runner.errors import ArgumentError, arguments_named, unknown
from mi_runner.training.clusterability import (
    Partition,
    clusterability,
    composed_clusterability,
    contiguous,
    linear_layer,
    refuse_other_units,
)
from mi_runner.training.options import TrainingOptions

REGULARIZERS = ("none", "clusterability")


@dataclass(frozen=True)
class Regularizer:
    """A scalar of a model's weights that is a term of the loss.

    Attributes:
        name: the history's column for its value after each epoch.
        measure: the scalar, differentiable.
        factor: `factor · measure(model)` is added to the loss in every step; below 0 training makes the scalar
            larger; 0 only measures.
    """

    name: str
    measure: Callable[[nn.Module], Tensor]
    factor: float


class Modularity:
    """The term that trains a layer for clusters (Golechha et al.): −strength · clusterability of its weights.

    Add `loss()` to the loss in every step of a training loop. Both methods read the layer's weights at each call.

    Args:
        model: the network that is trained.
        n_clusters: clusters of the layer's units, in blocks of neighbouring units; not used where `partition` is given.
        strength: how much the term weighs, at least 0.
        layer: the path of a Linear layer; None: the middle one (the earlier of two).
        partition: clusters of your own for this layer.
        vectorised: `torch.func` can vectorise the term over many networks; it is a little slower.

    Attributes:
        layer: the path of the clustered layer.
        partition: its units' clusters.
        strength: as given.

    Raises:
        ArgumentError: there is no such layer, it has fewer units than clusters, the partition has other units than the
            layer, or the strength is below 0.
    """

    def __init__(
        self,
        model: nn.Module,
        n_clusters: int = 4,
        strength: float = 15.0,
        *,
        layer: str | None = None,
        partition: Partition | None = None,
        vectorised: bool = False,
    ) -> None:
        if not strength >= 0:
            raise ArgumentError(f"strength={strength}: give a number of at least 0.")
        self.layer, self._linear = linear_layer(model, layer)
        weight = self._linear.weight
        if partition is None:
            partition = contiguous(self._linear.out_features, self._linear.in_features, n_clusters)
        refuse_other_units(self.layer, weight, partition)
        self.partition = partition
        self.strength = strength
        # Of the weight's dtype and device, so that no step converts it again.
        self._inside = partition.inside.to(weight)
        self._share = composed_clusterability if vectorised else clusterability

    def value(self) -> Tensor:
        """The clusterability of the layer's weights, a scalar in 0..1; differentiable."""
        weight = self._linear.weight
        if self._inside.device != weight.device:  # the model has moved
            self._inside = self._inside.to(weight.device)
        return self._share(weight, self._inside)

    def loss(self) -> Tensor:
        """−strength · `value()`, the term to add to the loss; differentiable."""
        return -self.strength * self.value()


def regularizer(model: nn.Module, options: TrainingOptions, *, vectorised: bool = False) -> Regularizer | None:
    """The regulariser that the options name; None for `regularizer=none`.

    Args:
        vectorised: `torch.func` can vectorise its measure over many networks.

    Raises:
        ArgumentError: there is no regulariser of this name, the model has no such layer, or the layer has fewer units.
    """
    if options.regularizer not in REGULARIZERS:
        text = unknown("regularizer", options.regularizer, REGULARIZERS)
        raise ArgumentError(f"regularizer={options.regularizer}: {text}")
    if options.regularizer == "none":
        return None
    with arguments_named({"layer": "regularizer_layer", "n_clusters": "regularizer_clusters"}):
        path, layer = linear_layer(model, options.regularizer_layer)
        partition = contiguous(layer.out_features, layer.in_features, options.regularizer_clusters)
    term = Modularity(
        model, strength=options.regularizer_strength, layer=path, partition=partition, vectorised=vectorised
    )
    return Regularizer("clusterability", lambda _: term.value(), -term.strength)
