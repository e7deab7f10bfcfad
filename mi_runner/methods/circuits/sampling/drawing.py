"""Draws circuits uniformly within strata, exactly; see `strata` for what a circuit is made of.

Letters: K draws, E edges, H hidden layers, C cells.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np

from mi_runner.methods.circuits.edges import rows_of
from mi_runner.methods.circuits.kernels.subsets import draw_subsets
from mi_runner.methods.circuits.sampling.choices import Choice, distinct_states, draw_grouped
from mi_runner.methods.circuits.sampling.matrices import MatrixDraws, Shape
from mi_runner.methods.circuits.sampling.strata import Strata, Ways, strata_of, ways_of


@lru_cache(maxsize=4)
def draws_of(sizes: tuple[int, ...], inputs: str) -> CircuitDraws:
    """Returns the draws of all circuits of a chain, in strata."""
    return CircuitDraws(strata_of(sizes, inputs))


class CircuitDraws:
    """Draws circuits of strata.

    Attributes:
        strata: that circuits are drawn from.
    """

    def __init__(self, strata: Strata) -> None:
        """
        Args:
            strata: that circuits are drawn from.
        """
        self.strata, self._chain = strata, strata.chain
        self._of_strata: dict[int, Choice] = {}
        self._of_shapes: dict[Shape, MatrixDraws] = {}
        self._of_layers: dict[tuple[int, ...], Choice] = {}
        self._of_all: Choice | None = None
        self._ways: Ways | None = None

    def draw(self, stratum: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Returns circuits `(K, E)` bool, independent, each uniform within one of `stratum` `(K,)`.

        What is computed for one draw is kept for later ones.
        """
        circuits = self._drawn(stratum, random)
        while not self.strata.counts_edges and (full := np.flatnonzero(circuits.all(1))).size:
            circuits[full] = self._drawn(stratum[full], random)
        return circuits

    def draw_any(self, n: int, random: np.random.Generator) -> np.ndarray:
        """Returns n independent uniform circuits of all, the full one among them, `(n, E)` bool."""
        if self._of_all is None:
            self._of_all = Choice([*self.strata.sizes, 1])
        stratum = self._of_all.draw(n, random)
        circuits = np.ones((n, self._chain.edges.n), dtype=bool)
        (others,) = np.nonzero(stratum < len(self.strata.sizes))
        circuits[others] = self.draw(stratum[others], random)
        return circuits

    def _drawn(self, stratum: np.ndarray, random: np.random.Generator) -> np.ndarray:
        cells = self._cells(stratum, random)
        if self.strata.counts_edges:
            active, n_edges = self.strata.active[cells], self._edges_of_layers(cells, random)
        else:
            active, n_edges = self._active_numbers(cells, random), None
        chain, n = self._chain, len(cells)
        neurons = [subsets(size, numbers, random) for size, numbers in zip(chain.hidden, active.T, strict=True)]
        outer = [np.ones((n, size), dtype=bool) for size in (chain.sizes[0], chain.sizes[-1])]
        sides = [outer[0], *neurons, outer[1]]
        masks = [
            self._masks(layer, sides[layer], sides[layer + 1], None if n_edges is None else n_edges[layer], random)
            for layer in range(len(chain.sizes) - 1)
        ]
        return rows_of(masks)

    def _cells(self, stratum: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Returns a cell of each stratum, by the cells' numbers of circuits, `(K,)`."""
        begins, numbers = self.strata.begins, self.strata.numbers
        found, place = distinct_states(stratum)
        for one in found.tolist():
            if one not in self._of_strata:
                self._of_strata[one] = Choice(numbers[begins[one] : begins[one + 1]])
        return begins[stratum] + draw_grouped(place, [self._of_strata[one] for one in found.tolist()], random)

    def _edges_of_layers(self, cells: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
        """Returns how many of the edges of each cell lie in each Linear layer, `(K,)` each."""
        found, place = distinct_states(cells)
        active = [tuple(numbers) for numbers in self.strata.active[found].tolist()]
        left, stride = self.strata.n_edges[cells], self._chain.edges.n + 1
        numbers = []
        for layer in range(len(self._chain.sizes) - 2):
            states, state = distinct_states(place * stride + left)
            keys = [divmod(code, stride) for code in states.tolist()]
            choices = [self._choice_of_edges(layer, active[cell], edges) for cell, edges in keys]
            numbers.append(draw_grouped(state, choices, random))
            left = left - numbers[-1]
        return [*numbers, left]

    def _choice_of_edges(self, layer: int, active: tuple[int, ...], left: int) -> Choice:
        """Returns the choice of how many of the edges left lie in this layer, the others behind it."""
        key = (layer, left, *active)
        if key not in self._of_layers:
            matrices, shapes = self.strata.matrices, [shape for shape, _ in self._chain.shapes(active)]
            own, behind = matrices.unpacked(matrices.count(shapes[layer])), 1
            for shape in shapes[layer + 1 :]:
                behind *= matrices.count(shape)
            after = matrices.unpacked(behind)
            weights = [
                own[edges] * after[left - edges] if edges < len(own) and left - edges < len(after) else 0
                for edges in range(left + 1)
            ]
            self._of_layers[key] = Choice(weights)
        return self._of_layers[key]

    def _active_numbers(self, cells: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Returns the active neurons of each hidden layer, `(K, H)`, where edges are not counted."""
        active = self.strata.active[cells]
        if len(self._chain.hidden) < 2:
            return active
        if self._ways is None:
            self._ways = ways_of(self._chain, self.strata.matrices)
        columns = [active[:, 0]]
        for layer in range(len(self._chain.hidden) - 1, 0, -1):
            found, place = distinct_states(columns[0])
            choices = [self._choice_of_active(layer, number, self._ways) for number in found.tolist()]
            columns.insert(0, draw_grouped(place, choices, random))
        return np.column_stack(columns)

    def _choice_of_active(self, layer: int, active: int, ways: Ways) -> Choice:
        """Returns the choice of the active neurons of the hidden layer before, for a number of those of this layer."""
        if (layer, active) not in self._of_layers:
            matrices, size = self.strata.matrices, self._chain.hidden[layer - 1]
            pairs = zip(ways.before[layer - 1], matrices.counts(active, size), strict=True)
            self._of_layers[layer, active] = Choice([before * number for before, number in pairs])
        return self._of_layers[layer, active]

    def _masks(
        self,
        layer: int,
        sources: np.ndarray,
        targets: np.ndarray,
        n_edges: np.ndarray | None,
        random: np.random.Generator,
    ) -> np.ndarray:
        """Returns masks `(K, out, in)` between active neurons `(K, in)` and `(K, out)`, of so many edges `(K,)`."""
        masks = np.zeros((len(sources), targets.shape[1], sources.shape[1]), dtype=bool)
        stride = targets.shape[1] + 1
        kinds, kind = distinct_states(sources.sum(1) * stride + targets.sum(1))
        for one, code in enumerate(kinds.tolist()):
            rows, (n_in, n_out) = np.flatnonzero(kind == one), divmod(code, stride)
            shape, by_target = self._chain.shape(layer, n_in, n_out)
            if shape not in self._of_shapes:
                self._of_shapes[shape] = MatrixDraws(shape, self.strata.matrices)
            drawn = self._of_shapes[shape].draw(None if n_edges is None else n_edges[rows], len(rows), random)
            drawn = drawn if by_target else drawn.transpose(0, 2, 1)
            cells = targets[rows, :, None] & sources[rows, None, :]
            inner = np.zeros_like(cells)
            inner[cells] = np.ascontiguousarray(drawn).reshape(-1)
            masks[rows] = inner
        return masks


def subsets(size: int, numbers: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns uniform subsets of `size` members, one with each of these numbers of them, `(K, size)` bool."""
    chosen = np.empty((len(numbers), size), dtype=bool)
    draw_subsets(random.integers(0, 2**64, len(numbers), dtype=np.uint64), numbers, chosen)
    return chosen


def by_stratum(n_draws: np.ndarray) -> np.ndarray:
    """Returns the stratum of each draw, of `n_draws` `(S,)` draws of each stratum."""
    return np.repeat(np.arange(len(n_draws)), n_draws)


def batches(n_draws: np.ndarray, at_once: int) -> list[np.ndarray]:
    """Returns the strata of the draws in batches, one stratum after the other."""
    of_draws = by_stratum(n_draws)
    starts = range(0, len(of_draws), at_once)
    return [of_draws[start:end] for start, end in itertools.pairwise([*starts, len(of_draws)])]
