"""The prefixes of a space's circuits: the edges into all hidden layers but the last, and the values that follow.

Letters: B examples, P prefixes, n neurons behind the last hidden layer (see `kernel`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import torch

from mi_runner.graph.chain import ACTIVATIONS, Layer, Part
from mi_runner.methods.circuits.space import CircuitSpace

PREFIXES_AT_ONCE = 512
"""Prefixes of a batch, at the most: their values take this many times n · B · 4 bytes."""


@dataclass(frozen=True)
class Prefixes:
    """Edges into all hidden layers but the last, and what they make of the inputs.

    Attributes:
        bits: `(P,)` uint64.
        active: `(P,)` int64, active neurons behind the last hidden layer, as bits.
        values: `(P, n, B)` float32.
    """

    bits: np.ndarray
    active: np.ndarray
    values: np.ndarray

    def by_size(self) -> Prefixes:
        """Ordered by the number of their active neurons, so by the number of their circuits, the largest first."""
        order = np.argsort(-np.bitwise_count(self.active.astype(np.uint64)).astype(np.int64), kind="stable")
        return Prefixes(self.bits[order], self.active[order], self.values[order])


_State = tuple[int, int, np.ndarray]
"""Kept edges so far as bits, active neurons of the last layer so far as bits, and their values `(n, B)`."""


def prefixes_of(part: Part, space: CircuitSpace, x: np.ndarray, most: int) -> Iterator[Prefixes]:
    batch: list[_State] = []
    everything = (0, (1 << part.sizes[0]) - 1, np.ascontiguousarray(x.T))
    for prefix in _extended(part, space, [everything], 0):
        batch.append(prefix)
        if len(batch) == most:
            yield _stacked(batch)
            batch = []
    if batch:
        yield _stacked(batch)


def _extended(part: Part, space: CircuitSpace, states: Iterable[_State], layer: int) -> Iterator[_State]:
    """Prefixes that end before the last hidden layer, depth first."""
    if layer == len(part.layers) - 2:
        yield from states
        return
    for bits, active, values in states:
        yield from _extended(part, space, _configurations(part, space, bits, active, values, layer), layer + 1)


def _configurations(
    part: Part, space: CircuitSpace, bits: int, active: int, values: np.ndarray, layer: int
) -> Iterator[_State]:
    """All ways to wire one hidden layer to the active neurons behind it, with the neurons' values `(n, B)`."""
    this, n_in, n_out = part.layers[layer], part.sizes[layer], part.sizes[layer + 1]
    subsets = [mask for mask in range(1 << n_in) if not mask & ~active]
    kept = torch.tensor([[bool(mask >> i & 1) for i in range(n_in)] for mask in subsets])
    inputs = torch.from_numpy(values)
    # (n_out, masks, B): every neuron with every choice of inputs, once
    weights = this.weight.cpu()[:, None, :] * kept[None]
    table = this.activate(weights @ inputs + this.bias.cpu()[:, None, None])
    table[:, 0] = 0.0  # no kept edge: inactive
    neurons = table.numpy()
    start = space.offsets[layer]
    for rows in itertools.product(range(len(subsets)), repeat=n_out):
        union = found = alive = 0
        for neuron, row in enumerate(rows):
            mask = subsets[row]
            union |= mask
            found |= mask << (start + neuron * n_in)
            alive |= bool(mask) << neuron
        if union == active:
            yield bits | found, alive, neurons[range(n_out), rows]


def _stacked(batch: list[_State]) -> Prefixes:
    bits, active, values = zip(*batch, strict=True)
    return Prefixes(np.array(bits, dtype=np.uint64), np.array(active, dtype=np.int64), np.stack(values))


def rows_of_prefix(n_active: int, n_neurons: int) -> int:
    """Ways in which `n_neurons` neurons keep inputs (or none), so that every one of `n_active` inputs is kept once."""
    return sum((-1) ** k * comb(n_active, k) * 2 ** ((n_active - k) * n_neurons) for k in range(n_active + 1))


def kernel_layers(part: Part) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The last hidden layer and the output, as the kernel wants them."""
    hidden, output = part.layers[-2], part.layers[-1]
    return (
        (hidden.weight.cpu().numpy(), hidden.bias.cpu().numpy(), *kernel_activation(hidden)),
        (output.weight.cpu().numpy()[0], np.float32(output.bias[0].item()), *kernel_activation(output)),
    )


def kernel_activation(layer: Layer) -> tuple[int, np.float32]:
    """The kernel's number for the activation, and its slope for negative values."""
    slope = {"identity": 1.0, "relu": 0.0, "leaky_relu": layer.slope}.get(layer.activation, 0.0)
    return ACTIVATIONS.index(layer.activation), np.float32(slope)
