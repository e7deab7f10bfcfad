"""In which order do criteria put circuits? Compiled loops over ranks, which are whole numbers, so ties are exact.

Letters: K circuits, C criteria, S rankings, P pairs of rankings.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled

BLOCK = 512
"""Circuits that are compared with the front at once, by all threads."""


@compiled()
def _tau(order: Any, one: Any, other: Any) -> float:
    """Returns Kendall's τ-b of two rankings `(K,)`, −1 where a rank is missing; NaN where one is constant.

    Circuits come in the order of the first ranking, those of one rank together. A Fenwick tree over the second counts
    the earlier ones of lower rank. So a pair that is tied in either is counted nowhere.
    """
    tree = np.zeros(other.max() + 2, dtype=np.int64)
    seen = np.zeros(other.max() + 1, dtype=np.int64)
    n, balance, tied_in_one = 0, 0, 0
    start = 0
    while start < len(order) and one[order[start]] >= 0:
        end = start
        while end < len(order) and one[order[end]] == one[order[start]]:
            rank = other[order[end]]
            end += 1
            if rank < 0:
                continue
            below, node = 0, rank
            while node > 0:
                below += tree[node]
                node &= node - 1
            balance += 2 * below + seen[rank] - n  # lower ones minus higher ones
        n_here = 0
        for place in range(start, end):
            rank = other[order[place]]
            if rank < 0:
                continue
            seen[rank] += 1
            n_here += 1
            node = rank + 1
            while node < len(tree):
                tree[node] += 1
                node += node & -node
        n += n_here
        tied_in_one += n_here * (n_here - 1) // 2
        start = end
    pairs, tied_in_other = n * (n - 1) // 2, (seen * (seen - 1) // 2).sum()
    if pairs in (tied_in_one, tied_in_other):
        return math.nan
    return balance / math.sqrt(pairs - tied_in_one) / math.sqrt(pairs - tied_in_other)


@compiled(parallel=True)
def taus(orders: Any, ranks: Any, first: Any, second: Any) -> Any:
    """Returns Kendall's τ-b of pairs of rankings, `(P,)` float64; NaN where one of the two is constant.

    Args:
        orders: `(S, K)`, the circuits of each ranking in ascending order, missing ones last.
        ranks: `(S, K)`, the rank of each circuit, from 0; −1 where it is missing.
        first, second: `(P,)`, the rankings of each pair.
    """
    found = np.empty(len(first), dtype=np.float64)
    for pair in prange(len(first)):
        found[pair] = _tau(orders[first[pair]], ranks[first[pair]], ranks[second[pair]])
    return found


@compiled()
def _is_beaten(row: Any, front: Any, start: int, end: int) -> bool:
    """Returns whether one of the rows `start` to `end` of the front is at least as good everywhere."""
    for other in range(start, end):
        column = 0
        while column < len(row) and front[other, column] >= row[column]:
            column += 1
        if column == len(row):
            return True
    return False


@compiled(parallel=True)
def are_unbeaten(rows: Any) -> Any:
    """Returns which rows no other one beats, `(K,)` bool.

    Args:
        rows: `(K, C)` ranks, all different, with falling sums: a row that beats another has the larger sum.
    """
    unbeaten = np.ones(len(rows), dtype=np.bool_)
    front = np.empty_like(rows)
    n = 0
    for start in range(0, len(rows), BLOCK):
        end = min(len(rows), start + BLOCK)
        n_before = n
        for row in prange(start, end):
            unbeaten[row] = not _is_beaten(rows[row], front, 0, n_before)
        for row in range(start, end):
            if unbeaten[row] and _is_beaten(rows[row], front, n_before, n):
                unbeaten[row] = False
            if unbeaten[row]:
                front[n] = rows[row]
                n += 1
    return unbeaten
