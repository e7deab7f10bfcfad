"""How much do circuits overlap? The exact distribution over all pairs of them.

The overlap of two circuits is the intersection over the union of their edges (Jaccard). All pairs are counted by the
numbers of edges of both circuits and of those that both keep, in whole numbers; the overlap is the same within a count.

Letters: K, M circuits, R kinds of pairs, B bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mi_runner.methods.circuits.edges import as_bits, n_kept, words_of
from mi_runner.methods.circuits.kernels.pairs import count_pairs, count_pairs_of_words

PAIRS_PER_SECOND = 1.5e9
"""Pairs of circuits that are compared in a second on two cores, for an estimate."""

SLOTS = 16
"""Parts of the work on pairs, which threads take one after the other."""


@dataclass(frozen=True, eq=False)
class PairCounts:
    """Pairs of circuits by their numbers of edges and of common edges; only kinds that occur.

    Attributes:
        first, second: `(R,)` int64, the edges of each circuit, the larger number first where pairs are unordered.
        common: `(R,)` int64, the edges that both keep.
        n: `(R,)` the pairs of this kind: whole numbers, or what is expected of random circuits.

    Example:
        >>> from mi_runner import circuits
        >>> found = circuits.overlaps([0b0011, 0b0111, 0b1100])
        >>> found.n_pairs, found.mean
        (3, 0.3055555555555555)
        >>> found.histogram(2).tolist()
        [2, 1]
    """

    first: np.ndarray
    second: np.ndarray
    common: np.ndarray
    n: np.ndarray

    @property
    def n_pairs(self) -> int | float:
        """The number of pairs."""
        total = self.n.sum()
        return int(total) if self.n.dtype.kind in "iu" else float(total)

    @property
    def union(self) -> np.ndarray:
        """The edges that one or both keep, `(R,)`."""
        return self.first + self.second - self.common

    @property
    def values(self) -> np.ndarray:
        """The overlap of each kind of pairs, `(R,)` float64, 0 to 1."""
        return self.common / self.union

    @property
    def mean(self) -> float | None:
        """The mean overlap; None if there is no pair."""
        return math.fsum(self.n * self.values) / float(self.n_pairs) if self.n_pairs else None

    @property
    def contained(self) -> float | None:
        """The fraction of pairs in which one circuit keeps every edge of the other; None if there is no pair."""
        inside = self.common == np.minimum(self.first, self.second)
        return float(self.n[inside].sum() / self.n_pairs) if self.n_pairs else None

    def histogram(self, n_bins: int) -> np.ndarray:
        """Returns the pairs in each of so many bins of overlap, `(B,)`: bin b has [b/B, (b + 1)/B), the last also 1."""
        bins = np.minimum(self.common * n_bins // self.union, n_bins - 1)
        counts = np.zeros(n_bins, dtype=self.n.dtype)
        np.add.at(counts, bins, self.n)
        return counts


def overlaps(circuits: np.ndarray | Sequence[int], others: np.ndarray | Sequence[int] | None = None) -> PairCounts:
    """Returns all unordered pairs of circuits by their numbers of edges and of common edges; exact.

    Args:
        circuits: `(K,)`, the kept edges as bits, of any number of edges.
        others: `(M,)`; with these a pair has one circuit of each; None: two different ones of `circuits`.

    Example:
        >>> from mi_runner import circuits
        >>> found = circuits.overlaps([0b01, 0b11, 0b11])
        >>> found.values.tolist(), found.n.tolist()
        ([0.5, 1.0], [2, 1])
    """
    first = _by_size(circuits)
    second = first if others is None else _by_size(others)
    if not len(first) or not len(second):
        return PairCounts(*(np.zeros(0, dtype=np.int64) for _ in range(4)))
    sizes, place = np.unique(n_kept(first), return_inverse=True)
    other_sizes, begins = np.unique(n_kept(second), return_index=True)
    ends = np.append(begins, len(second)).astype(np.int64)
    most = int(min(sizes.max(), other_sizes.max()))
    n_words = max(words_of(circuits).shape[1] for circuits in (first, second))
    words = [words_of(circuits, n_words) for circuits in (first, second)]
    one_word = n_words == 1
    counts = (count_pairs if one_word else count_pairs_of_words)(
        words[0][:, 0] if one_word else words[0],
        place.astype(np.int64),
        words[1][:, 0] if one_word else words[1],
        ends,
        len(sizes),
        most,
        others is None,
        SLOTS,
    )
    one, other, common = np.nonzero(counts)
    return PairCounts(sizes[one], other_sizes[other], common.astype(np.int64), counts[one, other, common])


def _by_size(circuits: np.ndarray | Sequence[int]) -> np.ndarray:
    bits = as_bits(circuits)
    return bits[np.argsort(n_kept(bits), kind="stable")]


def overlap(circuits: np.ndarray | Sequence[int]) -> float | None:
    """Returns the mean overlap (Jaccard) over all unordered pairs of circuits; None below two. See `overlaps`.

    Args:
        circuits: `(K,)`, the kept edges as bits, of any number of edges.

    Example:
        >>> from mi_runner import circuits
        >>> circuits.overlap([0b0011, 0b0111])
        0.6666666666666666
    """
    return overlaps(circuits).mean
