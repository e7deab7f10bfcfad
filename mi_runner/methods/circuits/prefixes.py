"""The prefixes of a space's circuits: kept edges into all hidden layers but the last, and the neurons' values.

Letters: B examples, P prefixes, n neurons behind the last hidden layer (see `kernels.evaluation`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import torch

from mi_runner.graph.chain import ACTIVATIONS, OVER_OUTPUTS, Layer, Part
from mi_runner.methods.circuits.ablation import Means, carried
from mi_runner.methods.circuits.space import CircuitSpace

PREFIXES_AT_ONCE = 512
"""Largest number of prefixes in a batch; their values take this many times n · B · 4 bytes."""


@dataclass(frozen=True)
class Prefixes:
    """Kept edges into all hidden layers but the last, and the values of the neurons behind the last hidden layer.

    Attributes:
        bits: `(P,)`, the kept edges of each prefix.
        active: `(P,)` int64, active neurons behind the last hidden layer, as bits.
        values: `(P, n, B)` float32.
    """

    bits: np.ndarray
    active: np.ndarray
    values: np.ndarray

    def by_size(self) -> Prefixes:
        """Returns them sorted by active neurons, the most first; this also sorts them by the number of circuits."""
        order = np.argsort(-np.bitwise_count(self.active.astype(np.uint64)).astype(np.int64), kind="stable")
        return Prefixes(self.bits[order], self.active[order], self.values[order])


_State = tuple[int, int, np.ndarray]
"""Kept edges so far as bits, active neurons of the last layer so far as bits, and their values `(n, B)`."""


def prefixes_of(
    part: Part, space: CircuitSpace, x: np.ndarray, most: int, means: Means | None = None
) -> Iterator[Prefixes]:
    """Yields all prefixes in batches of at most `most`.

    In the family any, a prefix also says which inputs are used; those are then treated as the only ones.

    Args:
        x: `(B, n_0)` float32, the inputs of the part.
        means: as `means_of` returns them.
    """
    batch: list[_State] = []
    values, every_input = np.ascontiguousarray(x.T), (1 << part.sizes[0]) - 1
    used = [every_input] if space.inputs == "all" else range(1, every_input + 1)
    for prefix in _extended(part, space, ((0, inputs, values) for inputs in used), 0, means):
        batch.append(prefix)
        if len(batch) == most:
            yield _stacked(space, batch)
            batch = []
    if batch:
        yield _stacked(space, batch)


def _extended(
    part: Part, space: CircuitSpace, states: Iterable[_State], layer: int, means: Means | None
) -> Iterator[_State]:
    """Yields the prefixes that extend these states from `layer` to before the last hidden layer, depth first."""
    if layer == len(part.layers) - 2:
        yield from states
        return
    for bits, active, values in states:
        choices = _configurations(part, space, bits, active, values, layer, means)
        yield from _extended(part, space, choices, layer + 1, means)


def _configurations(
    part: Part, space: CircuitSpace, bits: int, active: int, values: np.ndarray, layer: int, means: Means | None
) -> Iterator[_State]:
    """Yields all choices of kept edges from the active neurons into one hidden layer, with its values `(n, B)`.

    An inactive neuron's value is never read, because its outgoing edges are left out.
    """
    this, n_in, n_out = part.layers[layer], part.sizes[layer], part.sizes[layer + 1]
    # Of a single neuron all keep all, and there may be many of them.
    subsets = [0, active] if n_out == 1 else [mask for mask in range(1 << n_in) if not mask & ~active]
    kept = torch.tensor([[bool(mask >> i & 1) for i in range(n_in)] for mask in subsets])
    inputs = torch.from_numpy(values)
    # (n_out, masks, B): every neuron with every choice of inputs, once
    weight, bias = this.weight.cpu()[:, None, :], this.bias.cpu()[:, None]
    if means is not None:
        bias = bias + (weight * ~kept[None]) @ means[layer].cpu()
    table = this.activate((weight * kept[None]) @ inputs + (bias[:, None] if means is None else bias[:, :, None]))
    table[:, 0] = 0.0  # no kept edge: inactive
    neurons = table.numpy()
    start = space.offsets[layer]
    for rows in itertools.product(range(len(subsets)), repeat=n_out):
        union = edges = alive = 0
        for neuron, row in enumerate(rows):
            mask = subsets[row]
            union |= mask
            edges |= mask << (start + neuron * n_in)
            alive |= bool(mask) << neuron
        if union == active:
            yield bits | edges, alive, neurons[range(n_out), rows]


def _stacked(space: CircuitSpace, batch: list[_State]) -> Prefixes:
    bits, active, values = zip(*batch, strict=True)
    return Prefixes(space.edges.bits(bits), np.array(active, dtype=np.int64), np.stack(values))


def with_tails(space: CircuitSpace, prefixes: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """Returns circuits `(K,)`, bits, from their prefixes `(K,)`, bits, and their tails `(K,)` uint64.

    The tail has the edges into the last hidden layer and into the outputs, the first of them lowest: at most 64, for of
    more all circuits can't be looked at.
    """
    whole: np.ndarray = prefixes | tails.astype(prefixes.dtype) << space.offsets[-2]
    return whole


def tails_of(space: CircuitSpace, circuits: np.ndarray) -> np.ndarray:
    """Returns the tails `(K,)` uint64 of circuits `(K,)`, bits; see `with_tails`."""
    return (circuits >> space.offsets[-2]).astype(np.uint64)


def tail_offsets(space: CircuitSpace) -> np.ndarray:
    """Returns the bits of a tail at which the last hidden layer's and the outputs' edges begin, `(2,)` int64."""
    return np.array(space.offsets[-2:], dtype=np.int64) - space.offsets[-2]


def rows_of_prefix(space: CircuitSpace, n_active: int) -> int:
    """Returns how many circuits have a prefix with so many active neurons behind the last hidden layer.

    Each neuron of that layer keeps some of these active neurons and some outputs, or none of either; together they keep
    each active neuron, and in the family all each output. By inclusion and exclusion over the active neurons and the
    outputs that none of them keeps.
    """
    n_neurons, n_outputs = space.sizes[-2:]

    def within(n_inputs: int, n_used: int) -> int:
        return (1 + (2**n_inputs - 1) * (2**n_used - 1)) ** n_neurons

    def without(left_out: int) -> int:
        n_used = n_outputs - left_out
        return sum((-1) ** k * comb(n_active, k) * within(n_active - k, n_used) for k in range(n_active + 1))

    most = n_outputs if space.inputs == "all" else 0
    return sum((-1) ** left_out * comb(n_outputs, left_out) * without(left_out) for left_out in range(most + 1))


def kernel_layers(part: Part, means: Means | None, *, has_several: bool) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Returns weight, bias, sources' means, activation and slope of the last hidden layer and of the output.

    The means are zeros if left-out edges carry 0.

    Args:
        has_several: whether the kernel takes several outputs: weight `(K, J)` and bias `(K,)`; otherwise those of the
            only output.
    """
    hidden, output = part.layers[-2], part.layers[-1]
    into_hidden, into_output = (mean.cpu().numpy() for mean in carried(part, means)[-2:])
    weight, bias = output.weight.cpu().numpy(), output.bias.cpu().numpy()
    return (
        (hidden.weight.cpu().numpy(), hidden.bias.cpu().numpy(), into_hidden, *kernel_activation(hidden)),
        (*((weight, bias) if has_several else (weight[0], bias[0])), into_output, *kernel_activation(output)),
    )


def kernel_activation(layer: Layer) -> tuple[int, np.float32]:
    """Returns the kernel's number of the activation, and its slope for negative values."""
    slope = {"identity": 1.0, "relu": 0.0, "leaky_relu": layer.slope}.get(layer.activation, 0.0)
    return (*ACTIVATIONS, *OVER_OUTPUTS).index(layer.activation), np.float32(slope)
