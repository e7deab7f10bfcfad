"""Many examples through a network, some at a time. Letters: B batch, N examples, K outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

BATCH = 1000
"""Examples of a forward pass in evaluation: large enough for the arithmetic, small enough for the caches."""


def batches(x: Tensor, size: int = BATCH) -> Iterator[Tensor]:
    """Consecutive slices of at most `size` examples."""
    for start in range(0, len(x), size):
        yield x[start : start + size]


@torch.no_grad()
def outputs_of(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Outputs `(N, K)` of inputs `(N, *input)`, computed in batches without gradients."""
    return torch.cat([model(part) for part in batches(x)])
