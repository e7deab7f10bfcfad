"""The circuits that a method stands with at each size: of a ranking the k highest edges, closed, carried forward.

Letters: E edges, M circuits that a method found, R rankings, S sizes.
"""

from __future__ import annotations

import numpy as np

from mi_runner.methods.circuits.edges import Edges

BYTES_AT_ONCE = 100_000_000
"""Largest table of circuits that is closed at once."""


def ranks(scores: np.ndarray) -> np.ndarray:
    """Returns the rank of each edge, 0 for the highest score; the first edge comes first among equal scores.

    Args:
        scores: `(..., E)`.
    """
    order = np.argsort(-scores, axis=-1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.broadcast_to(np.arange(scores.shape[-1]), order.shape), axis=-1)
    return places


def in_family(scores: np.ndarray, family: np.ndarray | None) -> np.ndarray:
    """Returns scores `(..., E)` that rank the edges that circuits may keep, `(E,)` bool, first; None: every edge."""
    return scores if family is None else np.where(family, scores, -np.inf)


def ranked_circuits(edges: Edges, scores: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns for each size k the circuit `(R, S, E)` of a ranking that has the most edges not above k.

    The circuits of a ranking are its j highest edges, closed, for every j. They grow with j, so j is found by
    bisection.

    Args:
        scores: `(R, E)`.
        sizes: `(S,)`; of a family from 0 to the number of its edges, closed.
    """
    places = ranks(scores)
    found = np.empty((len(scores), len(sizes), edges.n), dtype=bool)
    step = max(1, BYTES_AT_ONCE // max(1, len(sizes) * edges.n))
    for start in range(0, len(scores), step):
        some = places[start : start + step]
        low = np.broadcast_to(sizes, (len(some), len(sizes))).copy()  # the k highest, closed, fit
        high = np.full_like(low, edges.n)
        while (low < high).any():
            middle = (low + high + 1) // 2
            fits = _closed(edges, some, middle).sum(2) <= sizes
            low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
        found[start : start + step] = _closed(edges, some, low)
    return found


def _closed(edges: Edges, places: np.ndarray, n_highest: np.ndarray) -> np.ndarray:
    """Returns the n highest edges of rankings, closed: `(R, S, E)` of places `(R, E)` and numbers `(R, S)`."""
    circuits = places[:, None, :] < n_highest[:, :, None]
    return edges.closed(circuits.reshape(-1, edges.n)).reshape(circuits.shape)


def carried_forward(circuits: np.ndarray, objective: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns for each size k the circuit `(S, E)` with the most edges not above k; the empty one where there is none.

    Args:
        circuits: `(M, E)`, closed.
        objective: `(M,)`; among circuits of as many edges the lowest counts, and the first on ties.
        sizes: `(S,)`.
    """
    n_edges = circuits.sum(1)
    order = np.lexsort((np.arange(len(circuits))[::-1], -objective, n_edges))  # ascending; the best of a size last
    place = np.searchsorted(n_edges[order], sizes, side="right") - 1
    found = np.zeros((len(sizes), circuits.shape[1]), dtype=bool)
    found[place >= 0] = circuits[order[place[place >= 0]]]
    return found
