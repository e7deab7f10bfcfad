"""The space of circuits of a chain of layers: its size, and the numbering of its circuits.

A circuit keeps a set of edges between neurons. It is well formed when every hidden neuron has an incoming edge exactly
if it has an outgoing one. In the family *all* every input neuron has an outgoing edge and every output an incoming one.
In the family *any* a circuit may leave inputs and outputs out, but keeps an edge: every edge that it keeps lies on a
path from an input to an output. A hidden neuron with kept edges is active, an output without one is left out.

Letters: L Linear layers, sizes n_0 (inputs), n_1, …, n_L (outputs).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import comb

import numpy as np

from mi_runner.errors import ArgumentError
from mi_runner.methods.circuits.edges import WORD, Edges, bits_of, rows_of

INPUTS = ("all", "any")
"""The families of circuits: every input and output must be used, or a circuit may leave inputs and outputs out.

An only output is always used, because the empty circuit is in neither family.
"""


@dataclass(frozen=True)
class CircuitSpace:
    """The well-formed circuits of a chain of layers: of one output, or of several that are analysed together.

    Attributes:
        sizes: neurons of each layer, inputs first.
        inputs: the family, one of `INPUTS`. The empty circuit is in neither.

    Raises:
        ArgumentError: a size is below 1, or there is no such family.
    """

    sizes: tuple[int, ...]
    inputs: str = "all"

    def __post_init__(self) -> None:
        if self.inputs not in INPUTS:
            raise ArgumentError("inputs", self.inputs, f"there are {' and '.join(INPUTS)}.")
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            problem = "a space has an input layer, an output layer, and positive sizes."
            raise ArgumentError("sizes", self.sizes, problem)

    def in_a_word(self) -> CircuitSpace:
        """Returns this space, if its circuits have at most 64 edges, so that each is one unsigned integer of numpy.

        Raises:
            ArgumentError: they have more.
        """
        if not self.edges.fit_in_a_word:
            named = "-".join(map(str, self.sizes))
            problem = f"layers of {named} neurons have {self.n_edges:,} edges, more than {WORD}."
            raise ArgumentError("sizes", None, problem)
        return self

    @cached_property
    def edges(self) -> Edges:
        """The edges and their order."""
        return Edges(self.sizes)

    @property
    def n_edges(self) -> int:
        """Number of edges of the full circuit."""
        return self.edges.n

    @property
    def n_hidden(self) -> int:
        """Number of hidden neurons."""
        return sum(self.sizes[1:-1])

    @property
    def offsets(self) -> tuple[int, ...]:
        """The bit of the first edge of each Linear layer; see `Edges` for the order of edges."""
        return self.edges.offsets[:-1]

    @property
    def full(self) -> int:
        """The circuit that keeps every edge."""
        return 2**self.n_edges - 1

    def count(self) -> int:
        """Returns the number of well-formed circuits, exactly.

        The sum over the numbers of active neurons of each hidden layer (in the family any also of used inputs and
        outputs) of the products of the ways to choose them and of M(a, b), the number of a×b matrices without an empty
        row or column.
        """
        return _count(self)

    def ways_to(self, layer: int) -> dict[int, int]:
        """Returns, for each number of active neurons of a layer, how many choices of the edges before it lead there.

        Args:
            layer: of neurons, from 0: the inputs.
        """
        ways = self._ways_to_use_inputs()
        for size in self.sizes[1 : layer + 1]:
            ways = ways_into_layer(ways, size)
        return ways

    def count_all_active(self) -> int:
        """Returns the number of well-formed circuits in which every hidden neuron is active, exactly."""
        ways = self._ways_to_use_inputs()
        for size in self.sizes[1:-1]:
            ways = {size: ways_into_layer(ways, size)[size]}
        return self._with_outputs(ways)

    def _ways_to_use_inputs(self) -> dict[int, int]:
        """Returns, for each number of used inputs, in how many ways they can be chosen."""
        n = self.sizes[0]
        return {n: 1} if self.inputs == "all" else {used: comb(n, used) for used in range(1, n + 1)}

    def _with_outputs(self, ways: Mapping[int, int]) -> int:
        """Returns the number of circuits, from the ways to have so many active neurons of the last hidden layer."""
        n = self.sizes[-1]
        of_outputs = ways_into_layer(ways, n)
        return of_outputs[n] if self.inputs == "all" else sum(of_outputs.values())

    def masks(self, circuit: int) -> tuple[np.ndarray, ...]:
        """Returns the kept edges of a circuit, a boolean mask `(out, in)` for each Linear layer."""
        return tuple(self.edges.masks(self.edges.rows(self.edges.bits([circuit]))[0]))

    def circuit(self, masks: Sequence[np.ndarray]) -> int:
        """Returns the circuit with these masks as an integer.

        Raises:
            ArgumentError: a mask's shape isn't that of its layer.
        """
        for layer, (mask, shape) in enumerate(zip(masks, self.edges.shapes, strict=True)):
            if np.shape(mask) != shape:
                problem = f"the mask of layer {layer} has the shape {np.shape(mask)}, the layer {shape}."
                raise ArgumentError("masks", None, problem)
        return int(bits_of(rows_of([np.asarray(mask, dtype=bool)[None] for mask in masks]))[0])

    def is_well_formed(self, circuit: int) -> bool:
        """Returns whether the circuit is a well-formed circuit of this space."""
        return 0 <= circuit <= self.full and bool(self.are_well_formed(self.edges.bits([circuit]))[0])

    def are_well_formed(self, circuits: np.ndarray) -> np.ndarray:
        """Returns whether each of the circuits `(K,)`, bits, is a well-formed circuit of this space, `(K,)` bool."""
        formed = np.ones(len(circuits), dtype=bool)
        reached: list[np.ndarray] | None = [formed] * self.sizes[0] if self.inputs == "all" else None
        for start, (n_out, n_in) in zip(self.offsets, self.edges.shapes, strict=True):
            if reached is not None:
                for neuron in range(n_in):
                    leaving = sum(1 << (start + target * n_in + neuron) for target in range(n_out))
                    formed = formed & (((circuits & leaving) != 0) == reached[neuron])
            entering = [((1 << n_in) - 1) << (start + target * n_in) for target in range(n_out)]
            reached = [(circuits & mask) != 0 for mask in entering]
        assert reached is not None
        used = np.stack(reached)
        return np.asarray(formed & (used.all(0) if self.inputs == "all" else used.any(0)))

    def active(self, circuit: int) -> tuple[int, ...]:
        """Returns the number of active neurons of each hidden layer."""
        return tuple(int(mask.any(1).sum()) for mask in self.masks(circuit)[:-1])

    def n_active(self, circuits: np.ndarray) -> np.ndarray:
        """Returns the number of active hidden neurons of each circuit `(K,)`, bits, `(K,)` int64."""
        counts = np.zeros(len(circuits), dtype=np.int64)
        for mask in self.neuron_masks():
            counts += (circuits & mask) != 0
        return counts

    def neuron_masks(self) -> Iterator[int]:
        """Yields, for each hidden neuron, the bits of the edges into it."""
        for start, (n_out, n_in) in zip(self.offsets[:-1], self.edges.shapes, strict=False):
            for neuron in range(n_out):
                yield ((1 << n_in) - 1) << (start + neuron * n_in)

    def edge_counts(self, circuits: np.ndarray) -> np.ndarray:
        """Returns how many of the circuits `(K,)`, bits, keep each edge, `(n_edges,)` int64."""
        return np.array([np.count_nonzero(circuits & (1 << bit)) for bit in range(self.n_edges)], dtype=np.int64)


@lru_cache(maxsize=64)
def _count(space: CircuitSpace) -> int:
    """Returns `CircuitSpace.count()`, which is asked more than once and takes seconds where layers are wide."""
    ways = space._ways_to_use_inputs()  # active neurons of the layer before → circuits so far
    for size in space.sizes[1:-1]:
        ways = ways_into_layer(ways, size)
    return space._with_outputs(ways)


def ways_into_layer(ways: Mapping[int, int], size: int) -> dict[int, int]:
    """Returns, for a layer of `size` neurons, the ways to have so many of them active, from those of the layer before.

    For a active neurons they are C(size, a) · Σ over b of ways[b] · M(a, b). By inclusion and exclusion M(a, b), the
    number of a×b matrices without an empty row or column, is the a-th difference at k = 0 of (2^k − 1)^b: each of the b
    neurons before leads to some of k neurons. So the sum is the a-th difference of Σ over b of ways[b] · (2^k − 1)^b.

    Args:
        ways: active neurons of the layer before → ways, numbers of any size.
    """
    values = [_ways_to_lead_on(ways, k) for k in range(size + 1)]
    found = {}
    for active in range(1, size + 1):
        values = [after - before for before, after in itertools.pairwise(values)]
        found[active] = comb(size, active) * values[0]
    return found


def _ways_to_lead_on(ways: Mapping[int, int], k: int) -> int:
    """Returns Σ over b of ways[b] · (2^k − 1)^b."""
    total, power = 0, max(ways)
    for b in sorted(ways, reverse=True):
        # One power more is a shift and a subtraction, which takes less time than a product where numbers are long.
        total = (total << k) - total if power - b == 1 else total * (2**k - 1) ** (power - b)
        total, power = total + ways[b], b
    return total * (2**k - 1) ** power
