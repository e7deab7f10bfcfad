"""Runs a network on many examples in batches. Letters: B batch, N examples, K outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

BATCH = 1000
"""Examples per forward pass in evaluation: enough for fast arithmetic, and few enough for the processor's caches."""


def batches(x: Tensor, size: int = BATCH) -> Iterator[Tensor]:
    """Yields consecutive slices of at most `size` examples."""
    for start in range(0, len(x), size):
        yield x[start : start + size]


@torch.no_grad()
def outputs_of(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Returns the outputs `(N, K)` for inputs `(N, *input)`, computed in batches without gradients."""
    return torch.cat([model(batch) for batch in batches(x)])
