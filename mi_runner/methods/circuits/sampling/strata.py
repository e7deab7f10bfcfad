"""All well-formed circuits in strata of known size: by kept edges and active neurons, or by active neurons alone.

A circuit is a choice of active neurons in each hidden layer, and for each Linear layer a 0/1 matrix between the active
neurons of its two sides without an empty row or column. In the family any the inputs' columns and the outputs' rows may
be empty. So the number of circuits with given numbers of active neurons and of edges is a product of binomials and of
polynomials in the edges; see `matrices`. A *cell* is such a pair of numbers. Neighbouring cells are merged until there
are at most a few thousand strata. Of wide layers the polynomials are too large: a cell is then a number of active
neurons of the last hidden layer.

Letters: L Linear layers, sizes n_0 (inputs), …, n_L (outputs), H hidden layers, C cells.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb, prod

import numpy as np

from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.sampling.matrices import Matrices, Shape

MOST_EDGES = 1024
"""Edges of the full circuit up to which circuits are counted by their edges."""

MOST_CELLS = 1_000_000
"""Pairs of numbers of active neurons and of edges up to which circuits are counted by both."""

MOST_STRATA = 1500
"""Cells are merged until a stratum has this share of the circuits, unless the next cell belongs to other edges."""

MOST_EDGE_GROUPS = 64
"""Numbers of edges, or ranges of them, that circuits are divided by."""


@dataclass(frozen=True)
class Chain:
    """A chain of layers and the family of its circuits.

    Attributes:
        sizes: neurons of each layer, inputs first.
        inputs: the family, one of `space.INPUTS`.
    """

    sizes: tuple[int, ...]
    inputs: str

    @property
    def hidden(self) -> tuple[int, ...]:
        """The sizes of the hidden layers."""
        return self.sizes[1:-1]

    @cached_property
    def edges(self) -> Edges:
        """The edges and their order."""
        return Edges(self.sizes)

    def shape(self, layer: int, n_in: int, n_out: int) -> tuple[Shape, bool]:
        """Returns the shape of the matrices of a Linear layer, and whether their rows are the targets.

        Args:
            layer: from 0.
            n_in, n_out: active sources and targets; of inputs and outputs all.
        """
        first, last = layer == 0, layer == len(self.sizes) - 2
        if self.inputs == "any" and first and last:
            return Shape(1, n_in * n_out, False), True  # any edges, but at least one
        if self.inputs == "any" and first:
            return Shape(n_out, n_in, False), True
        if self.inputs == "any" and last:
            return Shape(n_in, n_out, False), False
        # Few columns make few states of a draw.
        return Shape(max(n_in, n_out), min(n_in, n_out)), n_out >= n_in

    def shapes(self, active: Sequence[int]) -> list[tuple[Shape, bool]]:
        """Returns `shape` of each Linear layer for these numbers of active hidden neurons."""
        numbers = (self.sizes[0], *active, self.sizes[-1])
        return [self.shape(layer, *pair) for layer, pair in enumerate(itertools.pairwise(numbers))]


@dataclass(frozen=True, eq=False)
class Strata:
    """The well-formed circuits but the full one, in strata.

    Attributes:
        chain: the layers and the family.
        matrices: the counts that draws need.
        active: `(C, H)` int64, the active neurons of each hidden layer in a cell; where edges are not counted `(C, 1)`
            those of the last hidden layer, or `(C, 0)` without one.
        n_edges: `(C,)` int64, the edges in a cell; −1 where they are not counted.
        numbers: the circuits of each cell, without the full one.
        begins: `(S + 1,)` int64, the first cell of each stratum, and the end.
        n_partial: circuits that leave out at least one hidden neuron.
        groups: `(G + 1,)` int64, the first number of edges of each group of `accuracy`, and the end.
        of_groups: the circuits of each group, the full one included.
    """

    chain: Chain
    matrices: Matrices
    active: np.ndarray
    n_edges: np.ndarray
    numbers: list[int]
    begins: np.ndarray
    n_partial: int
    groups: np.ndarray
    of_groups: list[int]

    @cached_property
    def sizes(self) -> list[int]:
        """The circuits of each stratum."""
        return [sum(self.numbers[start:end]) for start, end in itertools.pairwise(self.begins.tolist())]

    @cached_property
    def total(self) -> int:
        """All well-formed circuits, the full one included."""
        return sum(self.numbers) + 1

    @property
    def counts_edges(self) -> bool:
        """Whether cells have numbers of edges."""
        return self.matrices.width > 0

    @cached_property
    def group(self) -> np.ndarray:
        """The group of edges of each stratum, `(S,)`."""
        first = self.begins[:-1]
        if not self.counts_edges:
            return np.zeros(len(first), dtype=np.int64)
        return np.searchsorted(self.groups, self.n_edges[first], side="right") - 1


def strata_of(sizes: tuple[int, ...], inputs: str) -> Strata:
    """Returns all circuits in strata.

    Args:
        sizes: neurons of each layer, inputs first.
        inputs: the family, one of `space.INPUTS`.
    """
    chain = Chain(sizes, inputs)
    n_edges = chain.edges.n
    if n_edges <= MOST_EDGES and prod(chain.hidden) * n_edges <= MOST_CELLS:
        return _by_edges(chain)
    return _by_last_hidden(chain)


def _by_edges(chain: Chain) -> Strata:
    """Returns strata by active neurons and edges."""
    total = chain.edges.n
    matrices = Matrices(total)
    of_edges, n_partial = 0, 0
    cells: list[tuple[int, tuple[int, ...], int, int]] = []
    width = -(-(total + 1) // MOST_EDGE_GROUPS)
    for active, polynomial in _polynomials(chain, matrices):
        of_edges += polynomial
        numbers = matrices.unpacked(polynomial)
        is_partial = active != chain.hidden
        n_partial += sum(numbers) if is_partial else 0
        end = len(numbers) if is_partial else total  # the full circuit is counted apart
        cells += [(k // width, active, k, numbers[k]) for k in range(end) if numbers[k]]
    cells.sort(key=lambda cell: cell[:3])
    by_edges = matrices.unpacked(of_edges)
    starts = range(0, total + 1, width)
    return Strata(
        chain,
        matrices,
        np.array([active for _, active, _, _ in cells], dtype=np.int64).reshape(len(cells), len(chain.hidden)),
        np.array([k for _, _, k, _ in cells], dtype=np.int64),
        [number for _, _, _, number in cells],
        _merged([number for _, _, _, number in cells], [group for group, _, _, _ in cells]),
        n_partial,
        np.array([*starts, total + 1], dtype=np.int64),
        [sum(by_edges[start : start + width]) for start in starts],
    )


def _polynomials(chain: Chain, matrices: Matrices) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yields the numbers of active neurons of the hidden layers, and their circuits as a polynomial in the edges."""
    for active in itertools.product(*(range(1, size + 1) for size in chain.hidden)):
        ways = prod(comb(size, number) for size, number in zip(chain.hidden, active, strict=True))
        yield active, ways * prod(matrices.count(shape) for shape, _ in chain.shapes(active))


def _merged(numbers: Sequence[int], groups: Sequence[int]) -> np.ndarray:
    """Returns the first cell of each stratum, and the end: neighbours of one group, until they are enough."""
    enough = sum(numbers) // MOST_STRATA
    begins, held = [0], 0
    for cell, number in enumerate(numbers):
        if cell and (groups[cell] != groups[cell - 1] or held + number > enough):
            begins.append(cell)
            held = 0
        held += number
    return np.array([*begins, len(numbers)] if numbers else [0], dtype=np.int64)


# --- wide layers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ways:
    """The numbers of circuits of a chain by the active neurons of its hidden layers, edges not counted.

    Attributes:
        before: for each hidden layer, the choices of active neurons and edges up to it, by its active neurons.
        last: the choices of edges into the outputs, by the active neurons of the last hidden layer.
    """

    before: list[list[int]]
    last: list[int]


def ways_of(chain: Chain, matrices: Matrices) -> Ways:
    """Returns the numbers of circuits by active neurons; index 0 of each list is 0: no layer is inactive."""
    sizes = chain.sizes
    before: list[list[int]] = []
    for layer, size in enumerate(chain.hidden):
        own = [comb(size, active) for active in range(size + 1)]
        if layer == 0:
            into = [0, *(matrices.count(chain.shape(0, sizes[0], active)[0]) for active in range(1, size + 1))]
        else:
            into = [0] * (size + 1)
            for source in range(1, sizes[layer] + 1):
                for active, number in enumerate(matrices.counts(source, size)):
                    into[active] += before[-1][source] * number
        before.append([number * ways for number, ways in zip(own, into, strict=True)])
    final = len(sizes) - 2
    last = [0, *(matrices.count(chain.shape(final, a, sizes[-1])[0]) for a in range(1, sizes[-2] + 1))]
    return Ways(before, last)


def _by_last_hidden(chain: Chain) -> Strata:
    """Returns strata by the active neurons of the last hidden layer, edges not counted."""
    matrices = Matrices(None)
    total_edges = chain.edges.n
    if not chain.hidden:
        n = matrices.count(chain.shape(0, *chain.sizes)[0])
        active: np.ndarray = np.zeros((1, 0), dtype=np.int64)
        numbers, all_active = [n - 1], n
    else:
        ways = ways_of(chain, matrices)
        numbers = [number * after for number, after in zip(ways.before[-1], ways.last, strict=True)][1:]
        active = np.arange(1, chain.hidden[-1] + 1, dtype=np.int64)[:, None]
        all_active = prod(matrices.count(shape) for shape, _ in chain.shapes(chain.hidden))
        numbers[-1] -= 1  # the full circuit is counted apart
    total = sum(numbers) + 1
    return Strata(
        chain,
        matrices,
        active,
        np.full(len(numbers), -1, dtype=np.int64),
        numbers,
        _merged(numbers, [0] * len(numbers)),
        total - all_active,
        np.array([1, total_edges + 1], dtype=np.int64),
        [total],
    )
