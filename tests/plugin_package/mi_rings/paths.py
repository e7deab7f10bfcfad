"""The score of the method paths."""

from __future__ import annotations

import torch
from torch import Tensor

from mi_runner.graph.chain import Part


def paths(part: Part, x: Tensor, target: Tensor, ablation: str) -> list[Tensor]:
    """Returns for each edge the sum, over the paths through it, of the product of their absolute weights."""
    weights = [layer.weight.abs() for layer in part.to(x).layers]
    before = [torch.ones(part.sizes[0], dtype=x.dtype)]
    for weight in weights[:-1]:
        before.append(weight @ before[-1])
    behind = [torch.ones(part.sizes[-1], dtype=x.dtype)]
    for weight in weights[:0:-1]:
        behind.append(behind[-1] @ weight)
    return [after[:, None] * weight * into for weight, into, after in zip(weights, before, behind[::-1], strict=True)]
