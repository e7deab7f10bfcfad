"""How much do two circuits overlap that are drawn at random? Exact, by counts of the circuits that contain a set.

The overlap of two circuits is the intersection over the union of their edges (Jaccard). Two circuits of k and of m
edges are drawn uniformly and independently from all well-formed circuits of a family; they may coincide.

    Z_s = Σ over sets S of s edges of (circuits of k edges ⊇ S) · (circuits of m edges ⊇ S)
        = Σ over pairs of C(size of the intersection, s)

so the numbers of pairs by the size of their intersection follow by binomial inversion, in whole numbers.

Letters: E edges, K sizes that circuits have.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np

from mi_runner.methods.circuits.kernels.pairs import add_supersets, sum_products
from mi_runner.methods.circuits.overlaps import SLOTS, PairCounts
from mi_runner.methods.circuits.space import CircuitSpace

MOST_EDGES = 21
"""Of more, the 2^E sets of edges take too much time and memory; 21 take 0.4 s and 0.2 GB."""


@dataclass(frozen=True, eq=False)
class RandomPairs:
    """All ordered pairs of circuits of a family, by their numbers of edges and of common edges, as shares.

    Attributes:
        sizes: `(K,)` int64, the numbers of edges that circuits have.
        shares: `(K, K, E + 1)` float64: of the pairs with these two numbers of edges, those with so many common ones.
        numbers: `(K,)` circuits of each number of edges.
    """

    sizes: np.ndarray
    shares: np.ndarray
    numbers: np.ndarray


@lru_cache(maxsize=4)
def random_pairs(space: CircuitSpace) -> RandomPairs | None:
    """Returns how many edges two random circuits have in common; None if there are more than `MOST_EDGES` edges."""
    if space.n_edges > MOST_EDGES:
        return None
    circuits = well_formed(space)
    sizes, place = np.unique(np.bitwise_count(circuits), return_inverse=True)
    containing = np.zeros((1 << space.n_edges, len(sizes)), dtype=np.int32)
    containing[circuits, place] = 1
    add_supersets(containing)
    numbers = containing[0].astype(object)  # every circuit contains the empty set
    # float64 has these sums exactly, because they stay below 2^53: at most C(21, k)² · C(k, k/2) for k edges.
    moments = sum_products(containing, space.n_edges, SLOTS).astype(np.int64).astype(object)
    of_pairs = numbers[:, None] * numbers[None]
    shares = np.zeros((len(sizes), len(sizes), space.n_edges + 1))
    for common in range(space.n_edges + 1):
        pairs = sum((-1) ** (s - common) * comb(s, common) * moments[s] for s in range(common, space.n_edges + 1))
        shares[:, :, common] = (pairs / of_pairs).astype(float)
    return RandomPairs(sizes.astype(np.int64), shares, numbers.astype(np.int64))


@lru_cache(maxsize=4)
def well_formed(space: CircuitSpace) -> np.ndarray:
    """Returns all circuits of a family of at most `MOST_EDGES` edges, uint64, those with fewer edges first."""
    sets = np.arange(1 << space.n_edges, dtype=np.uint64)
    circuits = sets[space.are_well_formed(sets)]
    return circuits[np.argsort(np.bitwise_count(circuits), kind="stable")]


@lru_cache(maxsize=4)
def expected_overlaps(space: CircuitSpace) -> np.ndarray | None:
    """Returns the mean overlap of two random circuits by their numbers of edges, `(E + 1, E + 1)` float64, 0 to 1.

    NaN where there is no circuit of so many edges. None if the family has more than `MOST_EDGES` edges.
    """
    random = random_pairs(space)
    if random is None:
        return None
    common = np.arange(space.n_edges + 1)
    # No more edges are in common than one of the circuits has; the union of others doesn't matter.
    unions = np.maximum(1, random.sizes[:, None, None] + random.sizes[None, :, None] - common)
    found = np.full((space.n_edges + 1, space.n_edges + 1), np.nan)
    found[np.ix_(random.sizes, random.sizes)] = (random.shares * (common / unions)).sum(2)
    return found


def random_distribution(space: CircuitSpace, sizes: np.ndarray) -> PairCounts | None:
    """Returns the expected pairs of random circuits, one for each unordered pair of circuits of these sizes; exact.

    Args:
        sizes: `(E + 1,)`, the circuits of each number of edges.

    Returns None if there is no pair, or the family has more than `MOST_EDGES` edges.
    """
    random = random_pairs(space)
    if random is None or sizes.sum() < 2:
        return None
    of_size = np.asarray(sizes)[random.sizes].astype(float)
    weights = np.tril(np.outer(of_size, of_size), -1) + np.diag(of_size * (of_size - 1) / 2)
    expected = weights[:, :, None] * random.shares
    first, second, common = np.nonzero(expected)
    n = expected[first, second, common]
    return PairCounts(random.sizes[first], random.sizes[second], common.astype(np.int64), n)


def mean_overlap(space: CircuitSpace, first: np.ndarray, second: np.ndarray | None = None) -> float | None:
    """Returns the mean over pairs of circuits of the overlap that random circuits of their sizes have.

    Args:
        first, second: `(E + 1,)`, the circuits of each number of edges; a pair has one of each. Without `second` the
            pairs are the unordered ones of different circuits of `first`.

    Returns None if there is no pair, or the family has more than `MOST_EDGES` edges.
    """
    expected = expected_overlaps(space)
    weights = np.outer(first, first if second is None else second).astype(float)
    if second is None:
        weights -= np.diag(first.astype(float))
    if expected is None or not weights.sum():
        return None
    return float(np.nansum(np.where(weights > 0, weights * expected, 0.0)) / weights.sum())
