"""The prefixes of a space's circuits: kept edges into all hidden layers but the last, and the neurons' values.

They are the leaves of a tree. Its root has no kept edge; a node at depth d has those into the first d hidden layers. In
the family any there is a root for each set of used inputs.

Letters: B examples, P prefixes, S nodes of one depth, V distinct values of neurons, n neurons behind the last hidden
layer (see `kernels.evaluation`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from math import comb
from typing import Any, TypeAlias

import numpy as np
import torch

from mi_runner.graph.chain import ACTIVATIONS, OVER_OUTPUTS, Layer, Part
from mi_runner.methods.circuits.ablation import Means, carried
from mi_runner.methods.circuits.edges import WORD, as_bits, n_kept
from mi_runner.methods.circuits.space import CircuitSpace

PREFIXES_AT_ONCE = 512
"""Largest number of prefixes in a batch; their values take this many times n · B · 4 bytes."""

NODES_AT_ONCE = 1 << 16
"""About how many nodes are looked at together; their kept edges take a few times as many numbers."""


@dataclass(frozen=True)
class Prefixes:
    """Kept edges into all hidden layers but the last, and the values of the neurons behind the last hidden layer.

    Attributes:
        bits: `(P,)`, the kept edges.
        active: `(P,)` int64, active neurons behind the last hidden layer, as bits.
        vectors: `(V, B)` float32, the values that neurons have with one prefix or another.
        index: `(P, n)` int64, for each neuron where its values stand.
    """

    bits: np.ndarray
    active: np.ndarray
    vectors: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def values(self) -> np.ndarray:
        """The neurons' values with each prefix, `(P, n, B)` float32."""
        return self.vectors[self.index]

    @property
    def n_active(self) -> np.ndarray:
        """The number of active neurons behind the last hidden layer, `(P,)` int64."""
        return n_kept(self.active)

    def kept(self, rows: np.ndarray | slice) -> Prefixes:
        """Returns the prefixes in these rows."""
        return Prefixes(self.bits[rows], self.active[rows], self.vectors, self.index[rows])

    @staticmethod
    def joined(parts: list[Prefixes]) -> Prefixes:
        """Returns all prefixes in their order; a value that no prefix has is left out."""
        vectors, index, first = [], [], 0
        for part in parts:
            used, places = np.unique(part.index, return_inverse=True)
            vectors.append(part.vectors[used])
            index.append(first + places.reshape(part.index.shape))
            first += len(used)
        return Prefixes(
            np.concatenate([part.bits for part in parts]),
            np.concatenate([part.active for part in parts]),
            np.concatenate(vectors),
            np.concatenate(index),
        )


Chosen: TypeAlias = Callable[[int, np.ndarray], np.ndarray]
"""`chosen(depth, n_active)` returns which of the next nodes of this depth are kept, `(S,)` bool."""


def prefixes_of(
    part: Part,
    space: CircuitSpace,
    x: np.ndarray,
    most: int,
    means: Means | None = None,
    chosen: Chosen | None = None,
) -> Iterator[Prefixes]:
    """Yields all prefixes in batches of `most`, the last of fewer.

    In the family any, a prefix also says which inputs are used; those are then treated as the only ones.

    Args:
        x: `(B, n_0)` float32, the inputs of the part.
        means: as `means_of` returns them.
        chosen: says which nodes are kept; the prefixes of the others are left out. It is given all nodes below kept
            ones in the order of the search, in blocks. None: all are kept.
    """
    n, every_input = part.sizes[0], (1 << part.sizes[0]) - 1
    first = every_input if space.inputs == "all" else 1
    vectors = np.ascontiguousarray(x.T)

    def roots(at: int) -> Prefixes:
        used = np.array(range(at, min(at + NODES_AT_ONCE, every_input + 1)), dtype=np.int64 if n < WORD else object)
        index = np.tile(np.arange(n), (len(used), 1))
        return Prefixes(space.edges.bits([0] * len(used)), used, vectors, index)

    batch: list[Prefixes] = []
    missing = most
    blocks = (_kept(roots(at), 0, chosen) for at in range(first, every_input + 1, NODES_AT_ONCE))
    for nodes in itertools.chain.from_iterable(_below(part, space, block, 0, means, chosen) for block in blocks):
        while len(nodes):
            batch.append(nodes.kept(slice(missing)))
            nodes, missing = nodes.kept(slice(missing, None)), missing - len(batch[-1])
            if not missing:
                yield Prefixes.joined(batch)
                batch, missing = [], most
    if batch:
        yield Prefixes.joined(batch)


def _kept(nodes: Prefixes, depth: int, chosen: Chosen | None) -> Prefixes:
    return nodes if chosen is None else nodes.kept(chosen(depth, nodes.n_active))


def _below(
    part: Part, space: CircuitSpace, nodes: Prefixes, depth: int, means: Means | None, chosen: Chosen | None
) -> Iterator[Prefixes]:
    """Yields, in blocks, the prefixes below these nodes, depth first."""
    if depth == len(part.layers) - 2:
        yield nodes
        return
    for node in range(len(nodes)):
        for below in _configurations(part, space, nodes.kept(slice(node, node + 1)), depth, means):
            yield from _below(part, space, _kept(below, depth + 1, chosen), depth + 1, means, chosen)


def _configurations(
    part: Part, space: CircuitSpace, node: Prefixes, layer: int, means: Means | None
) -> Iterator[Prefixes]:
    """Yields, in blocks, all choices of kept edges from the active neurons of one node into a hidden layer.

    An inactive neuron's value is never read, because its outgoing edges are left out.
    """
    n_in, n_out, start = part.sizes[layer], part.sizes[layer + 1], space.offsets[layer]
    active = int(node.active[0])
    # A single neuron keeps all, and there may be many of them.
    masks = as_bits([0, active] if n_out == 1 else [mask for mask in range(1 << n_in) if not mask & ~active], n_in)
    vectors = _values(part, node.values[0], masks, layer, means)
    together = next(n for n in range(n_out, 0, -1) if n == 1 or len(masks) ** n <= NODES_AT_ONCE)
    places = np.indices((len(masks),) * together).reshape(together, -1)  # of the masks of the last neurons, (·, S)
    first = n_out - together
    for before in itertools.product(range(len(masks)), repeat=first):
        rows = np.concatenate([np.tile(np.array(before, dtype=np.int64)[:, None], places.shape[1]), places])
        kept = masks[rows]
        (fitting,) = np.nonzero(np.bitwise_or.reduce(kept) == active)
        rows, kept = rows[:, fitting], kept[:, fitting].astype(node.bits.dtype)
        edges, alive = node.bits.repeat(len(fitting)), np.zeros(len(fitting), dtype=np.int64)
        for neuron, mask in enumerate(kept):
            edges |= mask << (start + neuron * n_in)
            alive |= (mask != 0).astype(np.int64) << neuron
        yield Prefixes(edges, alive, vectors, rows.T + np.arange(n_out) * len(masks))


def _values(part: Part, values: np.ndarray, masks: np.ndarray, layer: int, means: Means | None) -> np.ndarray:
    """Returns the values of each neuron of a layer with each of these masks of inputs, `(n_out · masks, B)` float32.

    Args:
        values: `(n_in, B)`.
    """
    this, n_in = part.layers[layer], part.sizes[layer]
    kept = torch.from_numpy(np.stack([(masks & (1 << i)) != 0 for i in range(n_in)], axis=1))
    weight, bias = this.weight.cpu()[:, None, :], this.bias.cpu()[:, None]
    if means is not None:
        bias = bias + (weight * ~kept[None]) @ means[layer].cpu()
    before = (weight * kept[None]) @ torch.from_numpy(values)  # (n_out, masks, B)
    table = this.activate(before + (bias[:, None] if means is None else bias[:, :, None]))
    table[:, 0] = 0.0  # no kept edge: inactive
    return np.ascontiguousarray(table.flatten(0, 1).numpy())


def with_tails(space: CircuitSpace, prefixes: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """Returns circuits `(K,)`, bits, from their prefixes `(K,)`, bits, and their tails `(K,)` uint64.

    The tail has the edges into the last hidden layer and into the outputs, the first of them lowest: at most 64.
    """
    whole: np.ndarray = prefixes | tails.astype(prefixes.dtype) << space.offsets[-2]
    return whole


def tails_of(space: CircuitSpace, circuits: np.ndarray) -> np.ndarray:
    """Returns the tails `(K,)` uint64 of circuits `(K,)`, bits; see `with_tails`.

    Of a longer tail these are the first 64 edges: before one output those into the last hidden layer, where a census
    can be taken, and the others follow from them.
    """
    return (circuits >> space.offsets[-2] & (1 << WORD) - 1).astype(np.uint64)


def why_long_tails(space: CircuitSpace) -> str | None:
    """Returns why circuits have no tails of one word, without a full stop; None if they have.

    Of one output the edges out of the last hidden layer follow from those into it, which fit wherever all circuits can
    be looked at.
    """
    n_in, n_neurons, n_out = space.sizes[-3:]
    if n_out == 1 or (n := n_neurons * (n_in + n_out)) <= WORD:
        return None
    named = "-".join(map(str, space.sizes))
    return (
        f"before several outputs circuits are evaluated one by one where at most {WORD} edges lead into and out of the "
        f"last hidden layer, and layers of {named} neurons have {n} there"
    )


def tail_offsets(space: CircuitSpace) -> np.ndarray:
    """Returns the bits of a tail at which the last hidden layer's and the outputs' edges begin, `(2,)` int64."""
    return np.array(space.offsets[-2:], dtype=np.int64) - space.offsets[-2]


def rows_of_prefix(space: CircuitSpace, n_active: int) -> int:
    """Returns how many circuits have a prefix with so many active neurons behind the last hidden layer.

    Each neuron of that layer keeps some of these active neurons and some outputs, or none of either; together they keep
    each active neuron, and in the family all each output.
    """
    return completions(space, space.sizes[-2], n_active, n_active, space.sizes[-1] if space.inputs == "all" else 0)


@cache
def completions(space: CircuitSpace, n_neurons: int, n_active: int, n_unread: int, n_unused: int) -> int:
    """Returns how many choices of kept edges the last neurons of the last hidden layer have.

    By inclusion and exclusion over the active neurons and the outputs that none of them keeps.

    Args:
        n_neurons: the number of these last neurons.
        n_active: active neurons behind the layer.
        n_unread: how many of these one of the last neurons must keep.
        n_unused: how many outputs one of them must keep.
    """

    def within(n_inputs: int, n_outputs: int) -> int:
        return (1 + (2**n_inputs - 1) * (2**n_outputs - 1)) ** n_neurons

    return sum(
        (-1) ** (unread + unused)
        * comb(n_unread, unread)
        * comb(n_unused, unused)
        * within(n_active - unread, space.sizes[-1] - unused)
        for unread in range(n_unread + 1)
        for unused in range(n_unused + 1)
    )


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
