"""Circuits of chains of any size, as rows of booleans: which edges are kept.

`CircuitSpace` has a circuit as the bits of one integer; here it is a row of E booleans in the order of these bits. So
it works for chains with more than 64 edges and with several outputs.

Letters: B examples, K circuits, E edges of the chain, sizes n_0 (inputs), …, n_L (outputs).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import Means
from mi_runner.methods.circuits.space import CircuitSpace


def kept_edges(space: CircuitSpace, circuits: np.ndarray) -> np.ndarray:
    """Returns the kept edges `(K, E)` bool of circuits `(K,)` uint64."""
    bits = np.arange(space.n_edges, dtype=np.uint64)
    return (circuits.astype(np.uint64)[:, None] >> bits & np.uint64(1)).astype(bool)


def circuits_of_edges(kept: np.ndarray) -> np.ndarray:
    """Returns the circuits `(K,)` uint64 with these kept edges `(K, E)` bool, E at most 64."""
    bits = np.uint64(1) << np.arange(kept.shape[1], dtype=np.uint64)
    return np.where(kept, bits, np.uint64(0)).sum(1, dtype=np.uint64)


def masks_of(sizes: Sequence[int], kept: np.ndarray) -> list[np.ndarray]:
    """Returns the masks `(K, out, in)` of each Linear layer; `kept` is `(K, E)` bool."""
    masks, start = [], 0
    for n_in, n_out in itertools.pairwise(sizes):
        masks.append(kept[:, start : start + n_in * n_out].reshape(len(kept), n_out, n_in))
        start += n_in * n_out
    return masks


def edges_of(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the kept edges `(K, E)` bool of masks `(K, out, in)`; the inverse of `masks_of`."""
    return np.concatenate([mask.reshape(len(mask), -1) for mask in masks], axis=1).astype(bool)


def closed(sizes: Sequence[int], kept: np.ndarray) -> np.ndarray:
    """Returns the circuits without the edges that lie on no path from an input to an output.

    The result is the largest well-formed circuit within each set of edges; it is empty if no path is left.

    Args:
        sizes: neurons of each layer, inputs first.
        kept: `(K, E)` bool, any sets of edges.
    """
    masks = masks_of(sizes, kept)
    reached: np.ndarray = np.ones((len(kept), sizes[0]), dtype=bool)
    before = []
    for mask in masks:
        before.append(mask & reached[:, None, :])
        reached = before[-1].any(2)
    needed: np.ndarray = np.ones((len(kept), sizes[-1]), dtype=bool)
    behind = []
    for mask in reversed(before):
        behind.append(mask & needed[:, :, None])
        needed = behind[-1].any(1)
    return edges_of(behind[::-1])


def distinct(circuits: np.ndarray, *more: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first position of each distinct row `(D,)`, and for each row the index of its distinct one `(K,)`.

    Args:
        circuits: `(K, E)` bool.
        more: further columns `(K,)` of whole numbers from 0 that belong to a row.
    """
    words = np.packbits(circuits, axis=1)
    padded = np.zeros((len(words), -(-words.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : words.shape[1]] = words
    columns = [*padded.view(np.uint64).T, *(column.astype(np.uint64) for column in more)]
    order = np.lexsort(columns)
    changes = np.zeros(len(order), dtype=bool)
    changes[:1] = True
    for column in columns:
        ordered = column[order]
        changes[1:] |= ordered[1:] != ordered[:-1]
    index = np.empty(len(order), dtype=np.int64)
    index[order] = np.cumsum(changes) - 1
    return order[changes], index


@torch.no_grad()
def outputs_of(part: Part, kept: np.ndarray, x: Tensor, means: Means | None = None) -> Tensor:
    """Returns the outputs `(K, B)` of circuits of a part with one output, `(K, B, n_L)` if it has several.

    It computes what `Part.masked` computes for each circuit, for all circuits at once. Its memory is K·B numbers for
    each neuron of the largest layer.

    Args:
        kept: `(K, E)` bool, closed.
        x: `(B, n_0)`, the inputs of the part.
        means: as for `Part.masked`.
    """
    values = x.expand(len(kept), *x.shape)
    for index, (layer, mask) in enumerate(zip(part.layers, masks_of(part.sizes, kept), strict=True)):
        keeps = torch.from_numpy(np.ascontiguousarray(mask)).to(x.device)
        bias = layer.bias.expand(len(kept), -1)
        if means is not None:
            bias = bias + (layer.weight * ~keeps) @ means[index]
        values = layer.activate(torch.baddbmm(bias[:, None, :], values, (layer.weight * keeps).mT))
        if index < len(part.layers) - 1:
            active = keeps.any(2)[:, None, :]
            values = values * active if means is None else torch.where(active, values, means[index + 1])
    return values.squeeze(2) if values.shape[2] == 1 else values
