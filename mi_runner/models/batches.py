"""Runs a network on many examples in batches. Letters: B batch, N examples, K outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mi_runner.errors import RunFailed

BATCH = 1000
"""Examples per forward pass in evaluation: enough for fast arithmetic, and few enough for the processor's caches."""


def batches(x: Tensor, size: int = BATCH) -> Iterator[Tensor]:
    """Yields consecutive slices of at most `size` examples."""
    for start in range(0, len(x), size):
        yield x[start : start + size]


@torch.no_grad()
def outputs_of(model: Callable[[Tensor], Tensor], x: Tensor, *, must_be_finite: bool = True) -> Tensor:
    """Returns the outputs `(N, K)` for inputs `(N, *input)`, computed in batches without gradients.

    Args:
        must_be_finite: whether an output that is infinite or NaN is an error: no figure can be made of it.

    Raises:
        RunFailed: an output isn't finite.
    """
    outputs = torch.cat([model(batch) for batch in batches(x)])
    if must_be_finite and (text := not_finite(outputs)):
        raise RunFailed(f"{text}.")
    return outputs


def refuse_not_finite(values: Tensor, what: str) -> None:
    """Checks that values `(N, *site)` of N examples are finite.

    Args:
        what: says in the error what they are.

    Raises:
        RunFailed: one isn't.
    """
    n = int((~values.isfinite().reshape(len(values), -1).all(1)).sum())
    if n:
        raise RunFailed(f"{what} are infinite or NaN for {n:,} of {len(values):,} examples: no figure is made of them.")


def not_finite(outputs: Tensor) -> str:
    """Returns how many examples have outputs `(N, K)` that are infinite or NaN, and what to do; empty for none."""
    broken = ~outputs.isfinite().flatten(1).all(1)
    n = int(broken.sum())
    if not n:
        return ""
    return (
        f"the network's outputs are infinite or NaN for {n:,} of {len(outputs):,} examples, so no figure is made of "
        "them: look at its weights and inputs (a checkpoint of a training that diverged, a division by 0, a log of 0)"
    )
