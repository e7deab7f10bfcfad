"""The space of circuits of a chain of layers: its size, and the numbering of its circuits.

A circuit keeps a set of edges between neurons. It is well formed when every hidden neuron has an incoming edge exactly
if it has an outgoing one. In the family *all* every input neuron has an outgoing edge and every output an incoming one.
In the family *any* a circuit may leave inputs and outputs out, but keeps an edge: every edge that it keeps lies on a
path from an input to an output. A hidden neuron with kept edges is active, an output without one is left out.

Letters: L Linear layers, sizes n_0 (inputs), n_1, …, n_L (outputs).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import comb

import numpy as np

from mi_runner.errors import ArgumentError
from mi_runner.methods.circuits.edges import Edges, bits_of, rows_of

INPUTS = ("all", "any")
"""The families of circuits: every input and output must be used, or a circuit may leave inputs and outputs out.

An only output is always used, because the empty circuit is in neither family.
"""

MOST_EDGES = 64
"""A circuit is one unsigned 64-bit integer."""


@cache
def full_matrices(n_rows: int, n_columns: int) -> int:
    """Returns the number of 0/1 matrices of this shape without an empty row or column, by inclusion and exclusion."""
    return sum((-1) ** k * comb(n_columns, k) * (2 ** (n_columns - k) - 1) ** n_rows for k in range(n_columns + 1))


@dataclass(frozen=True)
class CircuitSpace:
    """The well-formed circuits of a chain of layers: of one output, or of several that are analysed together.

    Attributes:
        sizes: neurons of each layer, inputs first.
        inputs: the family, one of `INPUTS`. The empty circuit is in neither.

    Raises:
        ArgumentError: a size is below 1, there are more than 64 edges, or there is no such family.
    """

    sizes: tuple[int, ...]
    inputs: str = "all"

    def __post_init__(self) -> None:
        if self.inputs not in INPUTS:
            raise ArgumentError("inputs", self.inputs, f"there are {' and '.join(INPUTS)}.")
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            problem = "a space has an input layer, an output layer, and positive sizes."
            raise ArgumentError("sizes", self.sizes, problem)
        if self.n_edges > MOST_EDGES:
            named = "-".join(map(str, self.sizes))
            problem = f"layers of {named} neurons have {self.n_edges} edges, more than {MOST_EDGES}."
            raise ArgumentError("sizes", None, problem)

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
        """Returns the number of well-formed circuits.

        The sum over the numbers of active neurons of each hidden layer (in the family any also of used inputs and
        outputs) of the products of the ways to choose them and of M(a, b), the number of a×b matrices without an empty
        row or column.
        """
        ways = self.ways_to(len(self.sizes) - 1)
        return sum(ways[used] for used in self._used_outputs())

    def ways_to(self, layer: int) -> dict[int, int]:
        """Returns, for each number of active neurons of a layer, how many choices of the edges before it lead there.

        Args:
            layer: of neurons, from 0: the inputs.
        """
        ways = self._ways_to_use_inputs()  # active neurons of the layer before → circuits so far
        for size in self.sizes[1 : layer + 1]:
            ways = {
                active: comb(size, active) * sum(n * full_matrices(active, before) for before, n in ways.items())
                for active in range(1, size + 1)
            }
        return ways

    def count_all_active(self) -> int:
        """Returns the number of well-formed circuits in which every hidden neuron is active."""
        ways = self._ways_to_use_inputs()
        for size in self.sizes[1:-1]:
            ways = {size: sum(n * full_matrices(size, before) for before, n in ways.items())}
        n_outputs = self.sizes[-1]
        return sum(
            comb(n_outputs, used) * n * full_matrices(used, before)
            for used in self._used_outputs()
            for before, n in ways.items()
        )

    def _ways_to_use_inputs(self) -> dict[int, int]:
        """Returns, for each number of used inputs, in how many ways they can be chosen."""
        n = self.sizes[0]
        return {n: 1} if self.inputs == "all" else {used: comb(n, used) for used in range(1, n + 1)}

    def _used_outputs(self) -> range:
        """Returns how many outputs a circuit may use."""
        n = self.sizes[-1]
        return range(n, n + 1) if self.inputs == "all" else range(1, n + 1)

    def masks(self, circuit: int) -> tuple[np.ndarray, ...]:
        """Returns the kept edges of a circuit, a boolean mask `(out, in)` for each Linear layer."""
        return tuple(self.edges.masks(self.edges.rows(np.array([circuit], dtype=np.uint64))[0]))

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
        return 0 <= circuit <= self.full and bool(self.are_well_formed(np.array([circuit], dtype=np.uint64))[0])

    def are_well_formed(self, circuits: np.ndarray) -> np.ndarray:
        """Returns whether each of the circuits `(K,)` uint64 is a well-formed circuit of this space, `(K,)` bool."""
        formed = np.ones(len(circuits), dtype=bool)
        reached: list[np.ndarray] | None = [formed] * self.sizes[0] if self.inputs == "all" else None
        for start, (n_out, n_in) in zip(self.offsets, self.edges.shapes, strict=True):
            if reached is not None:
                for neuron in range(n_in):
                    leaving = sum(1 << (start + target * n_in + neuron) for target in range(n_out))
                    formed = formed & (((circuits & np.uint64(leaving)) != 0) == reached[neuron])
            entering = [((1 << n_in) - 1) << (start + target * n_in) for target in range(n_out)]
            reached = [(circuits & np.uint64(mask)) != 0 for mask in entering]
        assert reached is not None
        used = np.stack(reached)
        return np.asarray(formed & (used.all(0) if self.inputs == "all" else used.any(0)))

    def active(self, circuit: int) -> tuple[int, ...]:
        """Returns the number of active neurons of each hidden layer."""
        return tuple(int(mask.any(1).sum()) for mask in self.masks(circuit)[:-1])

    def n_active(self, circuits: np.ndarray) -> np.ndarray:
        """Returns the number of active hidden neurons of each circuit `(K,)` uint64, `(K,)` int64."""
        counts = np.zeros(len(circuits), dtype=np.int64)
        for mask in self.neuron_masks():
            counts += (circuits & np.uint64(mask)) != 0
        return counts

    def neuron_masks(self) -> Iterator[int]:
        """Yields, for each hidden neuron, the bits of the edges into it."""
        for start, (n_out, n_in) in zip(self.offsets[:-1], self.edges.shapes, strict=False):
            for neuron in range(n_out):
                yield ((1 << n_in) - 1) << (start + neuron * n_in)

    def edge_counts(self, circuits: np.ndarray) -> np.ndarray:
        """Returns how many of the circuits `(K,)` uint64 keep each edge, `(n_edges,)` int64."""
        bits = np.arange(self.n_edges, dtype=np.uint64)
        return np.array([np.count_nonzero(circuits >> bit & np.uint64(1)) for bit in bits], dtype=np.int64)
