"""Methods that a bench must judge as what they are: one that knows the planted edges, and one that knows nothing.

They are named as users name their own, `tests.judged_methods:planted_edges`.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from mi_runner.graph.chain import Part


def planted_edges(part: Part, x: Tensor, target: Tensor, ablation: str) -> list[Tensor]:
    """1 for each planted edge, 0 for the others, from the weights alone.

    Planted is what lies on a path of weights that are not 0 through no twin: a neuron beside which another one has the
    same weights and bias, and the opposite outgoing weights.
    """
    weights = [layer.weight.detach() for layer in part.layers]
    masks = [weight != 0 for weight in weights]
    for layer, (reading, leading) in enumerate(zip(part.layers, weights[1:], strict=False)):
        into = torch.cat([reading.weight.detach(), reading.bias.detach()[:, None]], dim=1)
        for one in range(len(into)):
            is_twin = any(
                torch.equal(into[one], into[other])
                and torch.equal(leading[:, one], -leading[:, other])
                and bool(leading[:, one].any())
                for other in range(len(into))
            )
            if is_twin:
                masks[layer][one] = False
                masks[layer + 1][:, one] = False
    for layer in range(1, len(masks)):
        masks[layer] &= masks[layer - 1].any(1)[None, :]
    for layer in range(len(masks) - 1, 0, -1):
        masks[layer - 1] &= masks[layer].any(0)[:, None]
    return [mask.double() for mask in masks]


def noise(part: Part, x: Tensor, target: Tensor, ablation: str) -> list[Tensor]:
    """Uniform noise, another for each network and ablation, the same whenever it is asked for again."""
    content = b"".join(layer.weight.detach().double().numpy().tobytes() for layer in part.layers)
    digest = hashlib.sha256(content + ablation.encode()).digest()
    draw = np.random.default_rng(list(digest))
    return [torch.from_numpy(draw.random(tuple(layer.weight.shape))) for layer in part.layers]
