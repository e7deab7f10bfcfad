"""What do many circuits share? Edges that all keep, circuits without a common edge, edges that hit every circuit.

- *backbone*: the edges that all circuits keep.
- *packing number*: the most circuits of which no two share an edge.
- *blocking number*: the fewest edges such that each circuit keeps at least one of them.

No packing is larger than a blocking set, because each of its circuits takes another edge of the set. The blocking
number is 1 exactly if there is a backbone. All three are the same for the subset-minimal circuits alone, those that
contain no other one. The two numbers are integer programs; where the time limit stops the search they are intervals.

Letters: K circuits, E edges.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mi_runner.errors import ArgumentError
from mi_runner.methods.circuits.edges import as_bits, n_kept, words_of
from mi_runner.methods.circuits.kernels import minimality as kernels

SECONDS = 60.0
"""Default of the longest time for an integer program."""

MOST_BITS = 26
"""Of so many edges all sets are bits of an array, 8 MB, which says fast which circuits contain others."""

MOST_SIMPLIFIED = 2_000
"""Circuits of an integer program that the solver simplifies first; of more that would take longer than the limit."""

ROUNDING = 1e-6
"""How far a solver's bound may be off: a bound within this of a whole number is that number."""


@dataclass(frozen=True)
class Packing:
    """The packing number of some circuits, or its interval.

    Attributes:
        low, high: the packing number is at least and at most this; equal where it is known. 0 without a circuit.
        circuits: `low` of the circuits, as bits, of which no two share an edge.

    Example:
        >>> from mi_runner import circuits
        >>> circuits.packing([0b0011, 0b1100, 0b0110])
        Packing(low=2, high=2, circuits=(3, 12))
    """

    low: int
    high: int
    circuits: tuple[int, ...]


@dataclass(frozen=True)
class Blocking:
    """The blocking number of some circuits, or its interval.

    Attributes:
        low, high: the blocking number is at least and at most this; equal where it is known. 0 without a circuit.
        edges: `high` edges, as bits; every circuit keeps at least one of them.

    Example:
        >>> from mi_runner import circuits
        >>> circuits.blocking([0b0011, 0b1100, 0b0110])
        Blocking(low=2, high=2, edges=6)
    """

    low: int
    high: int
    edges: int


def backbone(circuits: np.ndarray | Sequence[int]) -> int:
    """Returns the edges that all circuits keep, as bits; 0 without a circuit.

    Args:
        circuits: `(K,)`, the kept edges as bits, of any number of edges.

    Example:
        >>> from mi_runner import circuits
        >>> bin(circuits.backbone([0b0111, 0b1101]))
        '0b101'
    """
    words = _words(circuits)
    return int(np.bitwise_and.reduce(words)) if len(words) else 0


def minimal_members(circuits: np.ndarray | Sequence[int]) -> np.ndarray:
    """Returns the distinct circuits that contain no other one, as bits, those with fewer edges first.

    Args:
        circuits: `(K,)`, the kept edges as bits, of any number of edges.
    """
    words = np.unique(_words(circuits))
    sizes = n_kept(words)
    order = np.argsort(sizes, kind="stable")
    words, sizes = words[order], sizes[order]
    if not len(words):
        return words
    n_edges = _n_edges(words)
    if 6 < n_edges <= MOST_BITS:
        bits = np.zeros((1 << n_edges) // 64, dtype=np.uint64)
        kernels.set_bits(bits, words)
        kernels.propagate(bits)
        return words[~kernels.contains_valid(words, bits)]
    in_words = words_of(words)
    return words[~kernels.search_valid(in_words, in_words, np.searchsorted(sizes, sizes))]


def packing(circuits: np.ndarray | Sequence[int], seconds: float = SECONDS, *, are_minimal: bool = False) -> Packing:
    """Returns the most circuits of which no two share an edge: their number, or its interval, and such circuits.

    Args:
        circuits: `(K,)`, the kept edges as bits, of any number of edges.
        seconds: the longest time for the integer program; after it the result is an interval.
        are_minimal: whether none of the circuits contains another one, so that this need not be looked for.

    Raises:
        ArgumentError: a circuit keeps no edge, or `seconds` is below 0.

    Example:
        >>> from mi_runner import circuits
        >>> found = circuits.packing([0b0001, 0b0011, 0b0110, 0b1000])
        >>> found.low, found.high, found.circuits
        (3, 3, (1, 6, 8))
    """
    words = _checked(circuits, seconds, are_minimal)
    if not len(words):
        return Packing(0, 0, ())
    if backbone(words):
        return Packing(1, 1, (int(words[0]),))
    found = _greedy_packing(words)
    high = min(_n_used(words) // int(n_kept(words).min()), _greedy_blocking(words).bit_count())
    end = time.monotonic() + seconds
    for whole in (False, True):  # the linear program takes little time, and its bound is often enough
        if len(found) >= high:
            break
        left = max(0.0, end - time.monotonic())
        solved, bound = _solved(-np.ones(len(words)), _keeps(words).T, at_most=1, seconds=left, whole=whole)
        if solved is not None:
            chosen = tuple(int(word) for word in words[solved])
            if len(chosen) > len(found) and _are_disjoint(chosen):
                found = chosen
        if bound is not None:
            high = min(high, math.floor(-bound + ROUNDING))
    return Packing(len(found), max(len(found), high), tuple(sorted(found)))


def blocking(circuits: np.ndarray | Sequence[int], seconds: float = SECONDS, *, are_minimal: bool = False) -> Blocking:
    """Returns the fewest edges of which each circuit keeps at least one: their number, or its interval, and such edges.

    Args:
        circuits: `(K,)`, the kept edges as bits, of any number of edges.
        seconds: the longest time for the integer program; after it the result is an interval.
        are_minimal: whether none of the circuits contains another one, so that this need not be looked for.

    Raises:
        ArgumentError: a circuit keeps no edge, or `seconds` is below 0.

    Example:
        >>> from mi_runner import circuits
        >>> found = circuits.blocking([0b011, 0b101, 0b110])
        >>> found.low, found.high, found.edges.bit_count()
        (2, 2, 2)
    """
    words = _checked(circuits, seconds, are_minimal)
    if not len(words):
        return Blocking(0, 0, 0)
    common = backbone(words)
    if common:
        return Blocking(1, 1, common & -common)
    found = _greedy_blocking(words)
    low = max(2, len(_greedy_packing(words)))  # without a backbone no edge is in all circuits
    end = time.monotonic() + seconds
    for whole in (False, True):
        if low >= found.bit_count():
            break
        keeps = _keeps(words)
        left = max(0.0, end - time.monotonic())
        solved, bound = _solved(np.ones(keeps.shape[1]), keeps, at_least=1, seconds=left, whole=whole)
        if solved is not None:
            chosen = sum(1 << int(edge) for edge in np.flatnonzero(solved))
            if chosen.bit_count() < found.bit_count() and bool(((words & chosen) != 0).all()):
                found = chosen
        if bound is not None:
            low = max(low, math.ceil(bound - ROUNDING))
    return Blocking(min(low, found.bit_count()), found.bit_count(), found)


def _words(circuits: np.ndarray | Sequence[int]) -> np.ndarray:
    return as_bits(circuits)


def _checked(circuits: np.ndarray | Sequence[int], seconds: float, are_minimal: bool) -> np.ndarray:
    """Returns the minimal circuits, those with fewer edges first; raises an ArgumentError if what is given is wrong."""
    words = _words(circuits)
    if not seconds >= 0:
        raise ArgumentError("seconds", seconds, "give a number of seconds from 0.")
    if not (words != 0).all():
        problem = "a circuit keeps no edge, so no edge can block it."
        raise ArgumentError("circuits", None, problem, "Leave the empty circuit out.")
    if not are_minimal:
        return minimal_members(words)
    return words[np.argsort(n_kept(words), kind="stable")]


def _n_used(words: np.ndarray) -> int:
    """Returns how many edges a circuit keeps at all."""
    return int(np.bitwise_or.reduce(words)).bit_count()


def _keeps(words: np.ndarray) -> np.ndarray:
    """Returns whether each circuit keeps each edge, `(K, E)` float64."""
    return np.stack([(words & (1 << edge)) != 0 for edge in range(_n_edges(words))], axis=1).astype(float)


def _n_edges(words: np.ndarray) -> int:
    """Returns how many edges there are, up to the last that a circuit keeps."""
    return int(words.max()).bit_length()


def _are_disjoint(circuits: Sequence[int]) -> bool:
    union = 0
    for circuit in circuits:
        if union & circuit:
            return False
        union |= circuit
    return True


def _greedy_packing(words: np.ndarray) -> tuple[int, ...]:
    """Returns circuits of which no two share an edge: each time the first one, with the fewest edges, that can join."""
    found = []
    left = words
    while len(left):
        found.append(int(left[0]))
        left = left[(left & left[0]) == 0]
    return tuple(found)


def _greedy_blocking(words: np.ndarray) -> int:
    """Returns edges that hit every circuit, as bits: each time the one that most of those left keep."""
    found = 0
    left = words
    edges = [1 << edge for edge in range(_n_edges(words))]
    while len(left):
        best = edges[np.argmax([np.count_nonzero(left & edge) for edge in edges])]
        found |= best
        left = left[(left & best) == 0]
    return found


def _solved(
    cost: np.ndarray,
    rows: np.ndarray,
    *,
    seconds: float,
    whole: bool,
    at_least: float = -np.inf,
    at_most: float = np.inf,
) -> tuple[np.ndarray | None, float | None]:
    """Returns the chosen columns `(n,)` bool with the least cost, and a lower bound of the cost; None where unknown.

    Args:
        cost: `(n,)` of each column.
        rows: `(m, n)`; the sum of the chosen columns is between `at_least` and `at_most` in every row.
        seconds: the longest time.
        whole: False: parts of a column may be chosen; there is only a bound.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    found: Any = milp(
        cost,
        integrality=np.full(len(cost), int(whole)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(csr_array(rows), at_least, at_most),
        # The solver doesn't look at the clock while it simplifies a large program.
        options={"time_limit": float(seconds), "presolve": not whole or max(rows.shape) <= MOST_SIMPLIFIED},
    )
    if not whole:
        return None, float(found.fun) if found.status == 0 else None
    bound = found.get("mip_dual_bound")
    if bound is None or not math.isfinite(bound):
        bound = None
    return (None if found.x is None else found.x > 0.5), bound
