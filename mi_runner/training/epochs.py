"""What the training loops have in common: the order of the batches in an epoch, and what the progress bar says."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from mi_runner.progress import Advance

History = list[dict[str, Any]]
"""A row for each epoch of a training."""


def shuffled_batches(
    n: int, batch_size: int, *, generator: torch.Generator, device: torch.device | None = None
) -> tuple[Tensor, ...]:
    """The indices of n examples in random order, in batches `(B,)` int64; the last batch may be smaller.

    Args:
        generator: draws the order; on the CPU.
        device: where the batches are used.
    """
    return torch.randperm(n, generator=generator).to(device).split(batch_size)


class EpochProgress:
    """Tells a progress bar how far an epoch is, with the loss and the speed since the epoch began.

    Args:
        advance: of the progress bar, which counts examples.
        title: stands before the loss, such as `epoch 1/5`.
        unit: what the speed counts, such as `pairs`.
    """

    def __init__(self, advance: Advance, title: str, *, unit: str = "examples") -> None:
        self.advance, self.title, self.unit = advance, title, unit
        self.n_done = 0
        self.began = time.perf_counter()

    def report(self, n_examples: int, loss: float) -> None:
        """So many examples more are done; `loss` is shown."""
        self.n_done += n_examples
        self.advance(n_examples, f"{self.title}  loss {loss:.4f}  {self.speed:,.0f} {self.unit}/s")

    @property
    def speed(self) -> float:
        """Examples per second since the epoch began."""
        return self.n_done / (time.perf_counter() - self.began)
