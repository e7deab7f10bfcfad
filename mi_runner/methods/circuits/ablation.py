"""What an edge that is left out of a circuit carries: nothing, or its mean.

- *zero*: 0. An inactive neuron outputs 0.
- *mean*: the edge's weight times the mean of its source in the whole network, over the examples that circuits are
  evaluated on. An inactive neuron outputs its mean, for all its outgoing edges are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part

ABLATIONS = ("zero", "mean")

Means = Sequence[Tensor]
"""The mean of each neuron that edges leave, `(n_l,)` for each such layer, inputs first; see `Part.means`."""


def check_ablation(ablation: str) -> None:
    """Raises an ArgumentError if there is no such ablation."""
    if ablation not in ABLATIONS:
        raise ArgumentError("ablation", ablation, f"use {' or '.join(ABLATIONS)}.")


def means_of(part: Part, x: Tensor, ablation: str) -> tuple[Tensor, ...] | None:
    """Returns the means that left-out edges carry; None for zero ablation.

    Args:
        x: `(B, n_0)`, the examples that the means are over.
        ablation: one of `ABLATIONS`.

    Raises:
        ArgumentError: there is no such ablation.
    """
    check_ablation(ablation)
    return part.means(x) if ablation == "mean" else None


def carried(part: Part, means: Means | None) -> tuple[Tensor, ...]:
    """Returns the means, or zeros in their place where left-out edges carry 0."""
    if means is not None:
        return tuple(means)
    return tuple(layer.weight.new_zeros(layer.weight.shape[1]) for layer in part.layers)
