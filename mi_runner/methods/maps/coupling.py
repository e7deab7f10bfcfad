"""Additive couplings of two halves of coordinates, with gradients: by compiled kernels, or by torch's own operations.

The kernels are for few units on a processor: many steps on small tensors. Where halves are larger than `FEW` units, on
a GPU, and in another type than float32, torch computes the same.

Letters: B batch, L couplings, d coordinates, m of a half, h hidden units.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FEW = 128
"""Units of a half, and hidden units, up to which a kernel's block stays in the processor's cache."""


def coupled(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, *, inverse: bool) -> Tensor:
    """Returns `(B, d)` after all couplings, or after their inverses, from the last to the first.

    Couplings with even numbers add to the first half, the others to the second.

    Args:
        x: `(B, d)`, d even.
        w1, b1, w2, b2: `(L, h, m)`, `(L, h)`, `(L, m, h)`, `(L, m)`.
    """
    _, h, m = w1.shape
    if x.is_cpu and x.dtype == torch.float32 == w1.dtype and max(h, m) <= FEW:
        result: Tensor = _Coupled.apply(x, w1, b1, w2, b2, inverse)
        return result
    return by_torch(x, w1, b1, w2, b2, inverse=inverse)


def by_torch(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, *, inverse: bool) -> Tensor:
    """Returns what `coupled` does, by torch's own operations."""
    m = w1.shape[2]
    halves = [x[:, :m], x[:, m:]]
    order = range(len(w1))
    for k in reversed(order) if inverse else order:
        target = k % 2
        change = torch.relu(halves[1 - target] @ w1[k].T + b1[k]) @ w2[k].T + b2[k]
        halves[target] = halves[target] - change if inverse else halves[target] + change
    return torch.cat(halves, 1)


class _Coupled(torch.autograd.Function):
    """The couplings by the compiled kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, inverse: bool) -> Tensor:
        from mi_runner.methods.maps import kernel  # imports numba, which takes a second

        x = x.contiguous()
        ctx.save_for_backward(x, w1, b1, w2, b2)
        ctx.inverse = inverse
        out = torch.empty_like(x)
        parameters = [one.detach().numpy() for one in (w1, b1, w2, b2)]
        kernel.couple(x.detach().numpy(), *parameters, inverse, out.numpy())
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_out: Tensor) -> tuple[Tensor | None, ...]:
        from mi_runner.methods.maps import kernel

        x, *parameters = ctx.saved_tensors
        of_x = torch.empty_like(x)
        sums = [torch.zeros(kernel.CHUNKS, *one.shape) for one in parameters]
        arrays = [one.detach().numpy() for one in parameters]
        of_sums = [one.numpy() for one in sums]
        kernel.gradients(x.detach().numpy(), of_out.contiguous().numpy(), *arrays, ctx.inverse, of_x.numpy(), *of_sums)
        return of_x, *(one.sum(0) for one in sums), None
