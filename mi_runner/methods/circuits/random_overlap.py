"""How much do two circuits overlap that are drawn at random? Exact, by counts of the circuits that contain a set.

The overlap of two circuits is the intersection over the union of their edges (Jaccard). Two circuits of k and of m
edges are drawn uniformly and independently from all well-formed circuits of a family; they may coincide.

    Z_s = Σ over sets S of s edges of (circuits of k edges ⊇ S) · (circuits of m edges ⊇ S)
        = Σ over pairs of C(size of the intersection, s)

so the numbers of pairs by the size of their intersection follow by binomial inversion, in whole numbers.

Letters: E edges, K sizes that circuits have.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from math import comb

import numpy as np

from mi_runner.methods.circuits.space import CircuitSpace

MOST_EDGES = 21
"""Of more, the 2^E sets of edges take too much time and memory; 21 take 3 s and 0.5 GB."""


@lru_cache(maxsize=4)
def expected_overlaps(space: CircuitSpace) -> np.ndarray | None:
    """Returns the mean overlap of two random circuits by their numbers of edges, `(E + 1, E + 1)` float64, 0 to 1.

    NaN where there is no circuit of so many edges. None if the family has more than `MOST_EDGES` edges.
    """
    if space.n_edges > MOST_EDGES:
        return None
    sets = np.arange(1 << space.n_edges, dtype=np.uint64)
    circuits = sets[space.are_well_formed(sets)]
    sizes, place = np.unique(np.bitwise_count(circuits), return_inverse=True)
    containing = np.zeros((len(sizes), len(sets)), dtype=np.int32)
    containing[place, circuits] = 1
    for edge in range(space.n_edges):
        halves = containing.reshape(len(sizes), -1, 2, 1 << edge)
        halves[:, :, 0] += halves[:, :, 1]
    numbers = containing[:, 0].astype(object)  # every circuit contains the empty set
    pairs = _pairs_by_intersection(containing, np.bitwise_count(sets), space.n_edges)
    mean = np.zeros((len(sizes), len(sizes)), dtype=object)
    unions = sizes[:, None].astype(int) + sizes[None].astype(int)
    for shared in range(1, space.n_edges + 1):
        mean = mean + pairs[shared] * (shared / np.maximum(1, unions - shared))
    found = np.full((space.n_edges + 1, space.n_edges + 1), np.nan)
    found[np.ix_(sizes, sizes)] = (mean / (numbers[:, None] * numbers[None])).astype(float)
    return found


def _pairs_by_intersection(containing: np.ndarray, n_in_set: np.ndarray, n_edges: int) -> list[np.ndarray]:
    """Returns the pairs of circuits that share so many edges, 0 to E, each `(K, K)` of whole numbers by their sizes.

    Args:
        containing: `(K, 2^E)` int32, circuits of each size that contain a set. float64 has the sums of products
            exactly, because they stay below 2^53: at most C(21, k)² · C(k, k/2) for circuits of k edges.
        n_in_set: `(2^E,)` the edges of each set.
    """
    order = np.argsort(n_in_set, kind="stable")
    ends = np.searchsorted(n_in_set[order], np.arange(n_edges + 2))
    moments = []
    for begin, end in itertools.pairwise(ends):
        of_sets = containing[:, order[begin:end]].astype(np.float64)
        moments.append((of_sets @ of_sets.T).astype(np.int64).astype(object))
    return [
        sum((-1) ** (s - shared) * comb(s, shared) * moments[s] for s in range(shared, n_edges + 1))
        for shared in range(n_edges + 1)
    ]


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
