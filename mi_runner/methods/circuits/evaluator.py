"""The outputs of circuits of a chain of layers of any size, by tensors: the definition that the kernels follow.

Letters: B examples, G groups, K circuits, E edges, sizes n_0 (inputs), …, n_L (outputs).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import Means
from mi_runner.methods.circuits.edges import Edges


def outputs_of_circuits(
    part: Part, circuits: np.ndarray | Tensor, x: Tensor, means: Means | None = None, *, full: Tensor | None = None
) -> Tensor:
    """Returns the outputs `(K, B, n_L)` of circuits on the same examples; gradients pass through.

    A kept edge carries its source's value times the trained weight. A neuron with a kept edge keeps its bias. A hidden
    neuron without one is inactive: in a closed circuit it has no kept edge out either, so that its own value plays no
    role, only what its edges carry where they are left out. The full circuit is the part, bit for bit.

    Its memory is K·B numbers for each neuron of two neighbouring layers.

    Args:
        circuits: `(K, E)` bool, closed; see `Edges.closed`. Or a tensor of gates `(K, E)` in 0..1: an edge carries
            gate · what it carries where it is kept + (1 − gate) · what it carries where it is left out.
        x: `(B, n_0)`, the inputs of the part, in the dtype of its weights. Or `(G, B, n_0)`, each group's own for
            gates: the first K / G circuits are the first group's.
        means: of the neurons that edges leave, as `means_of` returns them, or `(K, n_l)`, each circuit's own: what a
            left-out edge carries is its weight times its source's mean. None: 0.
        full: `(B, n_L)`, the outputs of the full circuit; None: those of the part.
    """
    kept = torch.tensor(circuits, device=x.device) if isinstance(circuits, np.ndarray) else circuits
    values = x.mT
    for index, (layer, mask) in enumerate(zip(part.layers, Edges(part.sizes).masks(kept), strict=True)):
        weight = layer.weight * mask  # (K, out, in)
        bias = layer.bias
        if means is not None:
            left_out, mean = layer.weight - weight, means[index]
            bias = bias + (left_out @ mean if mean.dim() == 1 else torch.einsum("koi,ki->ko", left_out, mean))
        if index == 0:  # one product for all circuits of the same examples
            of_groups = weight.reshape(*x.shape[:-2], -1, weight.shape[2])
            values = (of_groups @ values).reshape(*weight.shape[:2], x.shape[-2])
        else:
            values = torch.bmm(weight, values)
        # In place where nothing is differentiated, because the values are the largest numbers there are.
        add = torch.add if values.requires_grad else Tensor.add_
        values = layer.activate(add(values, bias[..., None]), dim=1)
    outputs = values.transpose(1, 2)
    if kept.dtype == torch.bool and (is_full := kept.all(1)).any():
        outputs = torch.where(is_full[:, None, None], part(x) if full is None else full, outputs)
    return outputs
