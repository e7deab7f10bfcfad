"""A part of a network, and the same function with its hidden units in another order and mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from mi_runner.graph.chain import Part


def permuted(part: Part, orders: Sequence[Sequence[int]], signs: Sequence[Sequence[float]] | None = None) -> Part:
    """The same function with its hidden units in another order: new unit i is old unit orders[l][i].

    Args:
        signs: for each layer of neurons and each new unit −1 if it is the old one's mirror image, otherwise 1.
    """
    turned = [torch.ones(len(order)) for order in orders] if signs is None else [torch.tensor(one) for one in signs]
    layers = []
    for number, layer in enumerate(part.layers):
        before, after = orders[number], orders[number + 1]
        weight = layer.weight[list(after)][:, list(before)] * turned[number] * turned[number + 1][:, None]
        layers.append(replace(layer, weight=weight, bias=layer.bias[list(after)] * turned[number + 1]))
    return replace(part, layers=tuple(layers))
