"""All circuits of one output, or uniform samples of them: the best ones of each size, and percentiles among them.

Letters: E edges, K circuits, N circuits of the space, S sizes from 0 to E.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mi_runner.methods.circuits.edges import bits_of, n_kept
from mi_runner.methods.circuits.measures import CircuitMeasures
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.discovery.curves import percentile
from mi_runner.methods.discovery.masked import MaskedPart
from mi_runner.tables.intervals import clopper_pearson

NEAR_BEST = 16
"""Circuits of a size that are lowest by the table's float32 and compared in the examples' dtype."""

EQUAL = 1e-5
"""Sums of squares in float32 whose relative difference is below this are equal to one that is added up elsewhere."""


@dataclass(frozen=True)
class Best:
    """The best circuits of at most k edges, k from 0 to E; the empty circuit is one of them.

    Attributes:
        mse, accuracy: `(S,)`.
        by_mse, by_accuracy: `(S, E)` bool, the circuits.
    """

    mse: np.ndarray
    accuracy: np.ndarray
    by_mse: np.ndarray
    by_accuracy: np.ndarray


class EveryCircuit:
    """The measures of every circuit of a space, by size.

    Attributes:
        space: the circuits; they may leave inputs out.
        edges: the space's.
        measures: of all circuits, sorted by their bits.
        n_edges: `(N,)`.
    """

    def __init__(self, space: CircuitSpace, measures: CircuitMeasures) -> None:
        self.space, self.edges, self.measures = space, space.edges, measures.sorted()
        self.n_edges = n_kept(self.measures.circuit)
        self._of_size = [np.flatnonzero(self.n_edges == size) for size in range(self.edges.n + 1)]
        self._squares = [np.sort(self.measures.squares[rows]) for rows in self._of_size]

    def rows(self, circuits: np.ndarray) -> np.ndarray:
        """Returns the row of each circuit `(K, E)`, `(K,)`; −1 for the empty one."""
        bits = bits_of(circuits)
        rows = np.searchsorted(self.measures.circuit, bits)
        return np.where(bits == 0, -1, rows)

    def percentiles(self, circuits: np.ndarray) -> np.ndarray:
        """Returns the percentile of the mse of each circuit `(K, E)` among those of as many edges; see `percentile`."""
        found = np.full(len(circuits), np.nan)
        rows = self.rows(circuits)
        for position, row in enumerate(rows.tolist()):
            if row < 0:
                continue
            squares, own = self._squares[self.n_edges[row]], self.measures.squares[row]
            smaller, beyond = np.searchsorted(squares, own), np.searchsorted(squares, own, side="right")
            found[position] = percentile(smaller, beyond - smaller - 1, np.array(len(squares)))
        return found

    def percentile_of_empty(self, squares: float, k: int) -> float:
        """Returns the place of the empty circuit among the circuits of k edges, 0 to 1.

        Where no circuit has k edges, among those of the next smaller number that some have.

        Args:
            squares: the sum of squared differences of the empty circuit. It is added up in another order than those of
                the table, so what is within a relative `EQUAL` of it is equal to it.
            k: at least the edges of one path.
        """
        among = next(squares_of for squares_of in self._squares[k::-1] if len(squares_of))
        smaller, beyond = np.searchsorted(among, (squares * (1 - EQUAL), squares * (1 + EQUAL)))
        return float((smaller + (beyond - smaller) / 2) / len(among))

    def best(self, masked: MaskedPart, found: np.ndarray) -> Best:
        """Returns the best circuits of at most k edges, for k = 0..E.

        The circuits with the lowest squares of each size are measured again in the dtype of `masked`, and so are those
        that the methods found. So none of these is better than the best by rounding.

        Args:
            masked: the part with the ablation that all circuits were measured with.
            found: `(K, E)`, closed.
        """
        edges, squares = self.edges, self.measures.squares
        rows = [
            rows[np.argpartition(squares[rows], min(NEAR_BEST, len(rows)) - 1)[:NEAR_BEST]]
            for rows in self._of_size
            if len(rows)
        ]
        accurate = [
            rows[np.lexsort((squares[rows], -self.measures.n_correct[rows]))[:1]] for rows in self._of_size if len(rows)
        ]
        several = self.edges.rows(self.measures.circuit[np.concatenate([*rows, *accurate])])
        candidates = np.concatenate([edges.empty, several, found])
        measures, n_edges = masked.measures(candidates), candidates.sum(1)
        n_correct = measures.n_correct.copy()
        n_listed = sum(map(len, rows))
        table = self.measures.n_correct[np.concatenate(accurate)]
        at = slice(1 + n_listed, 1 + n_listed + len(table))
        n_correct[at] = np.maximum(n_correct[at], table)  # the table rounds in float32
        by_mse = _first_best(n_edges, measures.mse, edges.n)
        by_accuracy = _first_best(n_edges, -n_correct.astype(float), edges.n)
        return Best(
            mse=measures.mse[by_mse],
            accuracy=n_correct[by_accuracy] / len(masked.full),
            by_mse=candidates[by_mse],
            by_accuracy=candidates[by_accuracy],
        )

    def shares(self, is_valid: np.ndarray) -> np.ndarray:
        """Returns the fraction of the valid circuits that keep each edge, `(E,)`; NaN if no circuit is valid.

        Args:
            is_valid: `(N,)`, for the sorted measures.
        """
        valid = self.measures.circuit[is_valid]
        return self.space.edge_counts(valid) / len(valid) if len(valid) else np.full(self.edges.n, np.nan)

    def of_size(self, size: int) -> np.ndarray:
        """Returns the rows of the circuits of this number of edges."""
        return self._of_size[size]


def _first_best(n_edges: np.ndarray, values: np.ndarray, most: int) -> np.ndarray:
    """Returns for each k = 0..most the first candidate with the lowest value among those of at most k edges."""
    order = np.lexsort((np.arange(len(values)), n_edges, values))
    best = np.empty(most + 1, dtype=np.int64)
    remaining = most
    for candidate in order.tolist():  # the best of all is the best of every k from its size on
        if n_edges[candidate] <= remaining:
            best[n_edges[candidate] : remaining + 1] = candidate
            remaining = int(n_edges[candidate]) - 1
        if remaining < 0:
            break
    return best


class SampledCircuits:
    """Uniform samples of the circuits of each size, drawn when they are asked for.

    Attributes:
        n_samples: circuits of a size.
    """

    def __init__(self, masked: MaskedPart, draw: Callable[[int, int], np.ndarray], n_samples: int) -> None:
        """
        Args:
            masked: the part with the ablation that circuits are judged with.
            draw: `draw(k, n)` returns n circuits of k edges, drawn uniformly, `(n, E)`.
        """
        self.n_samples = n_samples
        self._masked, self._draw = masked, draw
        self._drawn: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def percentiles(self, circuits: np.ndarray, mse: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the percentile of each circuit `(K, E)` and its 95 % Clopper–Pearson interval, `(K,)` each.

        Args:
            mse: `(K,)`, of the circuits, as `MaskedPart.objective` computes it, so that equal circuits are equal.
        """
        found, low, high = (np.full(len(circuits), np.nan) for _ in range(3))
        for position, (circuit, own) in enumerate(zip(circuits, mse.tolist(), strict=True)):
            size = int(circuit.sum())
            if size in (0, len(circuit)):
                continue
            sample, values = self.of_size(size)
            values = values[(sample != circuit).any(1)]
            if len(values):
                found[position], low[position], high[position] = _place(values, own)
        return found, low, high

    def percentile_of_empty(self, k: int) -> tuple[float, float, float]:
        """Returns the place of the empty circuit among sampled circuits of k edges, and its 95 % interval.

        Where no circuit has k edges, among those of the next smaller number that some have.

        Args:
            k: at least the edges of one path.
        """
        own = self._masked.objective(self._masked.edges.empty)[0]
        while True:
            try:
                values = self.of_size(k)[1]
            except ValueError:  # no circuit has so many
                k -= 1
                continue
            return _place(values, own)

    def of_size(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the sampled circuits of a size `(n_samples, E)`, and their mse."""
        if size not in self._drawn:
            sample = self._draw(size, self.n_samples)
            self._drawn[size] = sample, self._masked.objective(sample)
        return self._drawn[size]


def _place(values: np.ndarray, own: float) -> tuple[float, float, float]:
    """Returns the fraction of values below one's own, equal ones half, and its 95 % Clopper–Pearson interval."""
    n_smaller, n_equal = int((values < own).sum()), int((values == own).sum())
    return (
        (n_smaller + n_equal / 2) / len(values),
        clopper_pearson(n_smaller, len(values))[0],
        clopper_pearson(n_smaller + n_equal, len(values))[1],
    )
