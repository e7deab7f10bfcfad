"""One circuit: what it keeps, how it compares with another, and the network with nothing else left."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numba import prange
from torch import nn

from mi_runner.compiled import compiled
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.space import CircuitSpace


@dataclass(frozen=True)
class Circuit:
    """A set of kept edges of one output's part.

    Attributes:
        space: the circuits it is one of.
        bits: the kept edges; `CircuitSpace.offsets` says which bit is which edge.
        output: the number of the output.

    Raises:
        ValueError: the circuit is not well formed.
    """

    space: CircuitSpace
    bits: int
    output: int = 0

    def __post_init__(self) -> None:
        if not self.space.is_well_formed(self.bits):
            raise ValueError(
                f"{self.bits} is no well-formed circuit of {'-'.join(map(str, self.space.sizes))} neurons."
            )

    @property
    def masks(self) -> tuple[np.ndarray, ...]:
        """The kept edges, a boolean mask `(out, in)` for each Linear layer."""
        return self.space.masks(self.bits)

    @property
    def n_edges(self) -> int:
        """Kept edges."""
        return self.bits.bit_count()

    @property
    def n_nodes(self) -> int:
        """Active hidden neurons."""
        return sum(self.space.active(self.bits))

    def contains(self, other: Circuit) -> bool:
        """Whether it keeps every edge that the other keeps."""
        return other.bits & ~self.bits == 0

    def jaccard(self, other: Circuit) -> float:
        """Share of the edges of either that are edges of both."""
        return (self.bits & other.bits).bit_count() / (self.bits | other.bits).bit_count()

    def apply(self, model: nn.Module, part: Part) -> nn.Module:
        """A copy of the model in which the part keeps this circuit's edges alone.

        Edges that are left out have weight zero. An inactive neuron has no outgoing edge, so whatever it computes is
        read by none. Other outputs than the circuit's own are computed from what is left.

        Raises:
            ValueError: the part has other sizes.
        """
        if part.output(self.output).sizes != self.space.sizes:
            raise ValueError(f"the part has the sizes {part.sizes}, the circuit {self.space.sizes}.")
        cut = copy.deepcopy(model)
        with torch.no_grad():
            for layer, mask in zip(part.layers, self.masks, strict=True):
                linear = cut.get_submodule(layer.module)
                assert isinstance(linear, nn.Linear)
                weight = linear.weight
                kept = torch.as_tensor(mask, device=weight.device)
                if layer is part.layers[-1]:
                    weight[self.output] *= kept[0]
                else:
                    weight *= kept
        return cut

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps({"sizes": self.space.sizes, "circuit": self.bits, "output": self.output}) + "\n")

    @staticmethod
    def load(path: Path) -> Circuit:
        """Read what `save` wrote.

        Raises:
            ValueError: the file holds no circuit.
        """
        try:
            content = json.loads(path.read_text())
            return Circuit(CircuitSpace(tuple(content["sizes"])), int(content["circuit"]), int(content["output"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} holds no circuit ({error}).") from error


def edge_counts(space: CircuitSpace, circuits: np.ndarray) -> np.ndarray:
    """How many of the circuits `(K,)` uint64 keep each edge, `(n_edges,)` int64."""
    bits = np.arange(space.n_edges, dtype=np.uint64)
    return np.array([np.count_nonzero(circuits >> bit & np.uint64(1)) for bit in bits], dtype=np.int64)


def n_active(space: CircuitSpace, circuits: np.ndarray) -> np.ndarray:
    """Active hidden neurons of each circuit, `(K,)` int64: those that keep an edge into them."""
    found = np.zeros(len(circuits), dtype=np.int64)
    for mask in neuron_masks(space):
        found += (circuits & np.uint64(mask)) != 0
    return found


def neuron_masks(space: CircuitSpace) -> Iterable[int]:
    """For each hidden neuron the bits of the edges into it."""
    for layer, start in enumerate(space.offsets[:-1]):
        n_in, n_out = space.sizes[layer], space.sizes[layer + 1]
        for neuron in range(n_out):
            yield ((1 << n_in) - 1) << (start + neuron * n_in)


@compiled()
def _n_bits(word: np.uint64) -> np.uint64:
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled(parallel=True)
def compare_pairs(circuits: np.ndarray) -> tuple[int, float]:
    """Over all pairs of circuits `(K,)`: in how many one contains the other, and the sum of Jaccard overlaps."""
    n_contained = np.zeros(len(circuits), dtype=np.int64)
    overlap = np.zeros(len(circuits), dtype=np.float64)
    for i in prange(len(circuits)):
        for j in range(i):
            both = circuits[i] & circuits[j]
            n_contained[i] += both == circuits[i] or both == circuits[j]
            overlap[i] += float(_n_bits(both)) / float(_n_bits(circuits[i] | circuits[j]))
    return n_contained.sum(), overlap.sum()


def pair_shares(
    circuits: np.ndarray, *, most: int | None = None, generator: torch.Generator | None = None
) -> tuple[float, float]:
    """The share of the pairs of circuits `(K,)` uint64 in which one contains the other, and the mean Jaccard overlap.

    Both are NaN where there is no pair.

    Args:
        most: of more circuits, so many are compared, drawn at random; None: all.
        generator: draws them; None: torch's own.
    """
    if most is not None and len(circuits) > most:
        circuits = circuits[torch.randperm(len(circuits), generator=generator)[:most].sort().values.numpy()]
    if len(circuits) < 2:
        return math.nan, math.nan
    n_contained, overlaps = compare_pairs(circuits)
    n_pairs = len(circuits) * (len(circuits) - 1) / 2
    return n_contained / n_pairs, overlaps / n_pairs
