"""What is counted of drawn circuits, stratum by stratum; and the list of valid ones.

Letters: S strata, K circuits, E edges, A intervals of accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mi_runner.methods.circuits.edges import Edges

ACCURACIES = 20
"""Intervals of accuracy, each of 0.05."""


def is_partial(edges: Edges, circuits: np.ndarray) -> np.ndarray:
    """Returns whether each circuit `(K, E)` leaves out at least one hidden neuron, `(K,)` bool."""
    found = np.zeros(len(circuits), dtype=bool)
    for mask in edges.masks(circuits)[:-1]:
        found |= ~np.asarray(mask.any(2)).all(1)
    return found


def accuracy_of(right: np.ndarray, n_examples: int) -> np.ndarray:
    """Returns the interval of accuracy, from 0, of numbers of right answers."""
    return np.minimum(right * ACCURACIES // n_examples, ACCURACIES - 1)


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of drawn circuits, each array int64.

    Attributes:
        drawn: `(S,)`.
        valid, valid_partial: `(S,)`, of these the valid ones, and the valid ones that leave a hidden neuron out.
        with_edge: `(S, E)`, the valid ones that keep each edge.
        accuracy: `(S, A)`, the drawn ones by accuracy.
    """

    drawn: np.ndarray
    valid: np.ndarray
    valid_partial: np.ndarray
    with_edge: np.ndarray
    accuracy: np.ndarray

    @classmethod
    def empty(cls, n_strata: int, n_edges: int) -> Tally:
        """Returns a tally of nothing."""
        numbers = (np.zeros(n_strata, dtype=np.int64) for _ in range(3))
        more = (np.zeros((n_strata, n), dtype=np.int64) for n in (n_edges, ACCURACIES))
        return cls(*numbers, *more)

    def add(self, stratum: np.ndarray, accuracy: np.ndarray) -> None:
        """Adds drawn circuits.

        Args:
            stratum: `(K,)`.
            accuracy: `(K,)` their intervals of accuracy.
        """
        n_strata, n_accuracies = self.accuracy.shape
        counts = np.bincount(stratum * n_accuracies + accuracy, minlength=self.accuracy.size)
        self.accuracy[:] += counts.reshape(n_strata, n_accuracies)
        self.drawn[:] += np.bincount(stratum, minlength=n_strata)

    def add_valid(self, stratum: np.ndarray, circuits: np.ndarray, partial: np.ndarray) -> None:
        """Adds the valid ones of the circuits drawn.

        Args:
            stratum: `(K,)`.
            circuits: `(K, E)` bool.
            partial: `(K,)` whether they leave a hidden neuron out.
        """
        self.valid[:] += np.bincount(stratum, minlength=len(self.valid))
        self.valid_partial[:] += np.bincount(stratum[partial], minlength=len(self.valid))
        for one in np.unique(stratum):
            self.with_edge[one] += np.count_nonzero(circuits[stratum == one], axis=0)


class ValidList:
    """A sample of the valid circuits, in which each is with the same probability, and how many distinct ones were seen.

    A drawn circuit stands for as many circuits as its stratum has for each draw. It is kept with a probability that is
    proportional to this number; the most that any stratum has is kept always, until the list is full. From then on a
    number drawn for each circuit decides, and the bound that it must stay below falls.
    """

    def __init__(self, n_edges: int, most: int, random: np.random.Generator) -> None:
        """
        Args:
            n_edges: of each circuit.
            most: the longest list.
            random: of the numbers that decide.
        """
        self._n_edges, self._most, self._random = n_edges, most, random
        n_words = -(-n_edges // 64)
        self._salts = random.integers(0, 2**64, (2, n_words), dtype=np.uint64) | np.uint64(1)
        self._packed = np.empty((0, -(-n_edges // 8)), dtype=np.uint8)
        self._priority = np.empty(0)
        self._bound = 1.0
        self._seen, self._seen_partial = _Distinct(), _Distinct()

    def add(self, circuits: np.ndarray, partial: np.ndarray, weight: np.ndarray | None) -> None:
        """Adds valid circuits.

        Args:
            circuits: `(K, E)` bool.
            partial: `(K,)` whether they leave a hidden neuron out.
            weight: `(K,)` the circuits that each stands for, as a share of the most; None: it is seen, but not listed.
        """
        packed = np.packbits(circuits, axis=1)
        codes = self._codes(packed)
        self._seen.add(codes)
        self._seen_partial.add(codes[partial])
        if weight is None:
            return
        priority = self._random.random(len(packed)) / np.maximum(weight, 1e-300)
        kept = priority < self._bound
        self._packed = np.concatenate([self._packed, packed[kept]])
        self._priority = np.concatenate([self._priority, priority[kept]])
        if len(self._packed) > 2 * self._most:
            self._shorten()

    def _shorten(self) -> None:
        first = np.argpartition(self._priority, self._most)[: self._most + 1]
        self._bound = float(self._priority[first].max())
        kept = self._priority < self._bound
        self._packed, self._priority = self._packed[kept], self._priority[kept]

    def _codes(self, packed: np.ndarray) -> np.ndarray:
        """Returns 64 bits of each circuit; two different circuits have the same ones about once in 10¹⁹ pairs."""
        padded = np.zeros((len(packed), self._salts.shape[1] * 8), dtype=np.uint8)
        padded[:, : packed.shape[1]] = packed
        mixed = (padded.view(np.uint64) ^ self._salts[0]) * self._salts[1]
        mixed = (mixed ^ (mixed >> np.uint64(32))) * self._salts[1]
        return (mixed ^ (mixed >> np.uint64(29))).sum(1, dtype=np.uint64)

    @property
    def n_seen(self) -> int:
        """How many distinct valid circuits were seen."""
        return self._seen.count()

    @property
    def n_seen_partial(self) -> int:
        """How many of them leave out a hidden neuron."""
        return self._seen_partial.count()

    def rows(self) -> np.ndarray:
        """Returns the distinct circuits of the list, `(K, E)` bool, in the order of their bits."""
        if len(self._packed) > self._most:
            self._shorten()
        distinct = np.unique(self._packed, axis=0) if len(self._packed) else self._packed
        return np.unpackbits(distinct, axis=1, count=self._n_edges).view(bool)


class _Distinct:
    """Counts distinct numbers."""

    def __init__(self) -> None:
        self._numbers: list[np.ndarray] = []

    def add(self, numbers: np.ndarray) -> None:
        self._numbers.append(np.unique(numbers))
        if len(self._numbers) > 64:
            self._numbers = [np.unique(np.concatenate(self._numbers))]

    def count(self) -> int:
        return len(np.unique(np.concatenate(self._numbers))) if self._numbers else 0
