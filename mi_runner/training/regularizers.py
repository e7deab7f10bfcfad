"""Terms of the loss that depend on a model's weights alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mi_runner.errors import ArgumentError, unknown
from mi_runner.training.clusterability import (
    Partition,
    clusterability,
    composed_clusterability,
    contiguous,
    linear_layer,
    refuse_other_units,
)
from mi_runner.training.options import TrainingOptions

REGULARIZERS = ("none", "clusterability", "l1", "orthogonality")

STRENGTHS = {"clusterability": 15.0, "l1": 0.001, "orthogonality": 0.001}
"""The strength of each where the options give none."""


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

    Example:
        >>> from torch import nn
        >>> from mi_runner.clusters import Modularity
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))
        >>> _ = nn.init.ones_(net[2].weight)
        >>> modularity = Modularity(net, n_clusters=2, strength=10)
        >>> modularity.layer, modularity.value().item(), modularity.loss().item()
        ('2', 0.5, -5.0)
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
            raise ArgumentError("strength", strength, "give a number of at least 0.")
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
        """Returns the clusterability of the layer's weights, a differentiable scalar in 0..1."""
        weight = self._linear.weight
        if self._inside.device != weight.device:  # the model has moved
            self._inside = self._inside.to(weight.device)
        return self._share(weight, self._inside)

    def loss(self) -> Tensor:
        """Returns the term to add to the loss, −strength · `value()`; differentiable."""
        return -self.strength * self.value()


def l1(model: nn.Module) -> Tensor:
    """Returns the sum of the absolute weights of all layers, without biases: a differentiable scalar."""
    return torch.stack([weight.abs().sum() for weight in model.parameters() if weight.dim() > 1]).sum()


def orthogonality(model: nn.Module) -> Tensor:
    """Returns how far the hidden layers are from orthogonal ones: the sum of ‖WWᵀ − 1‖² of their weights.

    W is the matrix `(O, I)` of each Linear layer but the last. If it has more rows than columns its rows can't be
    orthogonal, and WᵀW, which is smaller, is compared. The norm is Frobenius'. Differentiable.
    """
    return torch.stack([_from_orthogonal(layer.weight) for layer in hidden_layers(model)]).sum()


def _from_orthogonal(weight: Tensor) -> Tensor:
    gram = weight @ weight.mT if weight.shape[0] <= weight.shape[1] else weight.mT @ weight
    return (gram - torch.eye(len(gram), dtype=weight.dtype, device=weight.device)).square().sum()


def hidden_layers(model: nn.Module) -> list[nn.Linear]:
    """Returns the Linear layers but the last, in the order in which the model names them."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)][:-1]


def regularizer(model: nn.Module, options: TrainingOptions, *, vectorised: bool = False) -> Regularizer | None:
    """Returns the regulariser that the options name; None for `regularizer=none`.

    Args:
        vectorised: `torch.func` can vectorise its measure over many networks.

    Raises:
        ArgumentError: there is no regulariser of this name, the model has no such layer, the layer has fewer units than
            clusters, or there is nothing to measure.
    """
    if options.regularizer not in REGULARIZERS:
        text = unknown("regularizer", options.regularizer, REGULARIZERS)
        raise ArgumentError("regularizer", options.regularizer, text)
    if options.regularizer == "none":
        return None
    strength = STRENGTHS[options.regularizer] if options.regularizer_strength is None else options.regularizer_strength
    if options.regularizer == "l1":
        if not any(weight.dim() > 1 for weight in model.parameters()):
            raise ArgumentError("regularizer", "l1", "the network has no weights.", "Use {regularizer}=none.")
        return Regularizer("l1", l1, strength)
    if options.regularizer == "orthogonality":
        if not hidden_layers(model):
            raise ArgumentError(
                "regularizer",
                "orthogonality",
                "{regularizer}=orthogonality measures the Linear layers but the last, and the network has none.",
                "Use a network with a hidden Linear layer or {regularizer}=none.",
            )
        return Regularizer("orthogonality", orthogonality, strength)
    try:
        path, layer = linear_layer(model, options.regularizer_layer)
        partition = contiguous(layer.out_features, layer.in_features, options.regularizer_clusters)
    except ArgumentError as error:
        raise error.renamed({"layer": "regularizer_layer", "n_clusters": "regularizer_clusters"}) from error
    term = Modularity(model, strength=strength, layer=path, partition=partition, vectorised=vectorised)
    return Regularizer("clusterability", lambda _: term.value(), -term.strength)
