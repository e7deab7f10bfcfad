"""How do circuits overlap? All pairs of them, counted by the numbers of edges of both and of the edges that both keep.

Letters: K, M circuits, W words of a circuit, S numbers of edges that occur, E edges, F families of n circuits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.bits import n_bits


@compiled(parallel=True)
def count_pairs(
    first: Any, first_place: Any, second: Any, second_ends: Any, n_first: int, n_edges: int, once: bool, n_slots: int
) -> Any:
    """Returns the pairs of one circuit each by their numbers of edges and of common edges, `(S, S', E + 1)` int64.

    Args:
        first: `(K,)` uint64.
        first_place: `(K,)`, the place of each one's number of edges among the S that occur.
        second: `(M,)` uint64, sorted by their numbers of edges.
        second_ends: `(S' + 1,)`, where each number of edges begins in `second`, and the end.
        n_first: S.
        once: `first` and `second` are the same, and only pairs of a circuit and one before it count.
        n_slots: rows of `first` are dealt to so many slots, which threads take.
    """
    n_second = len(second_ends) - 1
    counts = np.zeros((n_slots, n_first, n_second, n_edges + 1), dtype=np.int64)
    for slot in prange(n_slots):
        # Four counters of each number, because an addition waits for the one before it to the same place.
        counted = np.zeros((4, 65), dtype=np.int64)
        for row in range(slot, len(first), n_slots):
            circuit = first[row]
            for size in range(n_second):
                begin, end = second_ends[size], second_ends[size + 1]
                if once:
                    end = min(end, row)
                if begin >= end:
                    continue
                counted[:] = 0
                place = begin
                while place + 4 <= end:
                    for step in range(4):
                        counted[step, n_bits(circuit & second[place + step])] += 1
                    place += 4
                while place < end:
                    counted[0, n_bits(circuit & second[place])] += 1
                    place += 1
                for common in range(n_edges + 1):
                    for step in range(4):
                        counts[slot, first_place[row], size, common] += counted[step, common]
    return counts.sum(0)


@compiled(parallel=True)
def count_pairs_of_words(
    first: Any, first_place: Any, second: Any, second_ends: Any, n_first: int, n_edges: int, once: bool, n_slots: int
) -> Any:
    """Returns what `count_pairs` returns, of circuits of several words: `first` `(K, W)`, `second` `(M, W)` uint64."""
    n_second = len(second_ends) - 1
    counts = np.zeros((n_slots, n_first, n_second, n_edges + 1), dtype=np.int64)
    for slot in prange(n_slots):
        for row in range(slot, len(first), n_slots):
            for size in range(n_second):
                end = min(second_ends[size + 1], row) if once else second_ends[size + 1]
                for place in range(second_ends[size], end):
                    common = np.uint64(0)
                    for word in range(first.shape[1]):
                        common += n_bits(first[row, word] & second[place, word])
                    counts[slot, first_place[row], size, common] += 1
    return counts.sum(0)


@compiled(parallel=True)
def mean_overlaps(families: Any) -> Any:
    """Returns the mean overlap of the pairs of each family, `(F,)` float64.

    Args:
        families: `(F, n, W)` uint64, n circuits of W words of 64 edges each; n is at least 2.
    """
    n, n_words = families.shape[1:]
    means = np.zeros(len(families), dtype=np.float64)
    for family in prange(len(families)):
        total = 0.0
        for i in range(n):
            for j in range(i):
                common = union = np.uint64(0)
                for word in range(n_words):
                    common += n_bits(families[family, i, word] & families[family, j, word])
                    union += n_bits(families[family, i, word] | families[family, j, word])
                total += float(common) / float(union)
        means[family] = total / (n * (n - 1) / 2)
    return means


_BLOCK = 1 << 11
"""Sets whose numbers a processor keeps near; the steps within a block are done before the next block."""


@compiled(parallel=True)
def add_supersets(containing: Any) -> None:
    """Adds to the numbers of each set those of every set that contains it.

    Args:
        containing: `(2^E, S)` int32, numbers of each set of edges; row c is the set with the bits of c.
    """
    n_sets, n_sizes = containing.shape
    block = min(_BLOCK, n_sets)
    for begin in prange(n_sets // block):
        rows = containing[begin * block : (begin + 1) * block]
        step = 1
        while step < block:
            for start in range(0, block, 2 * step):
                for row in range(start, start + step):
                    for size in range(n_sizes):
                        rows[row, size] += rows[row + step, size]
            step *= 2
    step = block
    while step < n_sets:
        for pair in prange(n_sets // 2 // block):
            without = (pair * block // step) * 2 * step + pair * block % step
            for row in range(without, without + block):
                for size in range(n_sizes):
                    containing[row, size] += containing[row + step, size]
        step *= 2


@compiled(parallel=True)
def sum_products(containing: Any, n_edges: int, n_slots: int) -> Any:
    """Returns the sums over the sets of so many edges of the products of two numbers, `(E + 1, S, S)` float64.

    Args:
        containing: `(2^E, S)` int32.
        n_slots: sets are dealt to so many slots, which threads take.
    """
    n_sets, n_sizes = containing.shape
    sums = np.zeros((n_slots, n_edges + 1, n_sizes, n_sizes), dtype=np.float64)
    for slot in prange(n_slots):
        numbers = np.empty(n_sizes, dtype=np.float64)
        for row in range(slot, n_sets, n_slots):
            n_kept = n_bits(np.uint64(row))
            for size in range(n_sizes):
                numbers[size] = containing[row, size]
            for a in range(n_sizes):
                number = numbers[a]
                if number != 0.0:
                    for b in range(n_sizes):
                        sums[slot, n_kept, a, b] += number * numbers[b]
    return sums.sum(0)
