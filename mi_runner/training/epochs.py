"""What the training loops have in common: the order of the batches in an epoch, and what the progress bar says."""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
from torch import Tensor, nn

from mi_runner.errors import ArgumentError
from mi_runner.progress import Advance, log

History = list[dict[str, Any]]
"""A row for each epoch of a training."""


def shuffled_batches(
    n: int,
    batch_size: int,
    *,
    generator: torch.Generator,
    device: torch.device | None = None,
    merges_one: bool = False,
) -> tuple[Tensor, ...]:
    """Returns the indices of n examples in random order, in batches `(B,)` int64; the last one may be smaller.

    Args:
        generator: draws the order; on the CPU.
        device: where the batches are used.
        merges_one: a last batch of one example goes to the batch before it, see `merges_last`.
    """
    return in_batches(torch.randperm(n, generator=generator).to(device), batch_size, merges_one=merges_one)


def in_batches(order: Tensor, batch_size: int, *, merges_one: bool = False, dim: int = 0) -> tuple[Tensor, ...]:
    """Splits an order of examples along an axis into batches, as `shuffled_batches`."""
    sizes = batch_sizes(order.shape[dim], batch_size, merges_one=merges_one)
    return order.split(sizes, dim=dim)


def batch_sizes(n: int, batch_size: int, *, merges_one: bool = False) -> list[int]:
    """Returns the number of examples in each batch of an epoch."""
    whole, left = divmod(n, batch_size)
    if merges_one and left == 1 and whole:
        return [batch_size] * (whole - 1) + [batch_size + 1]
    return [batch_size] * whole + ([left] if left else [])


def merges_last(model: nn.Module, x: Tensor, n: int, batch_size: int, *, says: bool = False) -> bool:
    """Returns whether the last batch of an epoch is one example that the network can't be trained on.

    BatchNorm needs two values of each channel. Only such networks train on the example with the batch before; for all
    others an epoch is what it is without this.

    Args:
        x: `(N, *input)` examples, at least two.
        n: examples of an epoch.
        says: whether a line says so.

    Raises:
        ArgumentError: every batch has one example.
    """
    if min(n, batch_size) > 1 and n % batch_size != 1:
        return False
    if _trains_on(model, x[:1]) or not _trains_on(model, x[:2]):  # what fails on two is another mistake
        return False
    if min(n, batch_size) == 1:
        raise ArgumentError(
            "batch_size",
            batch_size,
            "the network can't be trained on one example at a time, as BatchNorm needs two values of each channel.",
            "Use {batch_size}=2 or more.",
        )
    if says:
        log.info(
            f"BatchNorm can't be trained on one example: the last batch has {batch_size + 1}, with the last of {n}"
        )
    return True


@torch.no_grad()
def _trains_on(model: nn.Module, x: Tensor) -> bool:
    """Returns whether a forward pass in training mode is possible; it changes nothing."""
    trained = copy.deepcopy(model).train()
    with torch.random.fork_rng():
        try:
            trained(x.clone())
        except Exception:  # the network's own
            return False
    return True


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
        """Reports that so many examples more are done, and shows `loss`."""
        self.n_done += n_examples
        self.advance(n_examples, f"{self.title}  loss {loss:.4f}  {self.speed:,.0f} {self.unit}/s")

    @property
    def speed(self) -> float:
        """Examples per second since the epoch began."""
        return self.n_done / (time.perf_counter() - self.began)
