"""Circuits of chains of any size, as rows of booleans: which edges are kept.

`CircuitSpace` has a circuit as the bits of one integer; here it is a row of E booleans in the order of these bits. So
it works for chains with more than 64 edges and with several outputs.

Letters: B examples, K circuits, E edges of the chain, sizes n_0 (inputs), …, n_L (outputs).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import Means
from mi_runner.methods.circuits.edges import Edges


@torch.no_grad()
def outputs_of(part: Part, kept: np.ndarray, x: Tensor, means: Means | None = None) -> Tensor:
    """Returns the outputs `(K, B)` of circuits of a part with one output, `(K, B, n_L)` if it has several.

    It computes what `Part.masked` computes for each circuit, for all circuits at once. Its memory is K·B numbers for
    each neuron of the largest layer.

    Args:
        kept: `(K, E)` bool, closed.
        x: `(B, n_0)`, the inputs of the part.
        means: as for `Part.masked`.
    """
    values = x.expand(len(kept), *x.shape)
    for index, (layer, mask) in enumerate(zip(part.layers, Edges(part.sizes).masks(kept), strict=True)):
        keeps = torch.from_numpy(np.ascontiguousarray(mask)).to(x.device)
        bias = layer.bias.expand(len(kept), -1)
        if means is not None:
            bias = bias + (layer.weight * ~keeps) @ means[index]
        values = layer.activate(torch.baddbmm(bias[:, None, :], values, (layer.weight * keeps).mT))
        if index < len(part.layers) - 1:
            active = keeps.any(2)[:, None, :]
            values = values * active if means is None else torch.where(active, values, means[index + 1])
    return values.squeeze(2) if values.shape[2] == 1 else values
