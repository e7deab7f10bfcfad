"""Which circuits contain a valid one? Sets of edges as bits: words of a circuit, or one bit for each set of edges.

Letters: K, V circuits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled


@compiled()
def set_bits(words: Any, circuits: Any) -> None:
    """Sets the bit of each circuit: bit c of the array is bit c mod 64 of word c div 64."""
    for circuit in circuits:
        words[circuit >> np.uint64(6)] |= np.uint64(1) << (circuit & np.uint64(63))


@compiled()
def _has_bit(words: Any, circuit: np.uint64) -> bool:
    return (words[circuit >> np.uint64(6)] >> (circuit & np.uint64(63))) & np.uint64(1) != np.uint64(0)


@compiled()
def has_bits(words: Any, circuits: Any) -> Any:
    """Returns whether the bit of each circuit is set."""
    has = np.empty(len(circuits), dtype=np.bool_)
    for row in range(len(circuits)):
        has[row] = _has_bit(words, circuits[row])
    return has


@compiled()
def _is_in(ordered: Any, circuit: np.uint64) -> bool:
    """Returns whether a sorted array has the circuit."""
    place = np.searchsorted(ordered, circuit)
    return bool(place < len(ordered) and ordered[place] == circuit)


@compiled()
def close_bits(circuit: np.uint64, sizes: Any, offsets: Any) -> np.uint64:
    """Returns what `Edges.closed` returns, for one set of edges as bits."""
    n_layers = len(offsets)
    every, one = ~np.uint64(0), np.uint64(1)
    reached = every
    left = np.uint64(0)
    for layer in range(n_layers):
        n_in = sizes[layer]
        row_mask = (every >> np.uint64(64 - n_in)) & reached
        reached = np.uint64(0)
        for to in range(sizes[layer + 1]):
            shift = np.uint64(offsets[layer] + to * n_in)
            row = (circuit >> shift) & row_mask
            left |= row << shift
            reached |= np.uint64(row != np.uint64(0)) << np.uint64(to)
    needed = every  # all outputs
    for layer in range(n_layers - 1, -1, -1):
        n_in = sizes[layer]
        row_mask = every >> np.uint64(64 - n_in)
        used = np.uint64(0)
        for to in range(sizes[layer + 1]):
            shift = np.uint64(offsets[layer] + to * n_in)
            if (needed >> np.uint64(to)) & one:
                used |= (left >> shift) & row_mask
            else:
                left &= ~(row_mask << shift)
        needed = used
    return left


@compiled(parallel=True)
def count_valid_without(circuits: Any, valid: Any, as_bits: bool, sizes: Any, offsets: Any) -> Any:
    """Returns for how many edges of each circuit the circuit without this edge is valid.

    Args:
        valid: all valid circuits as set bits, or sorted.
    """
    counts = np.zeros(len(circuits), dtype=np.int64)
    for row in prange(len(circuits)):
        rest = circuits[row]
        while rest:
            edge = rest & (~rest + np.uint64(1))
            rest ^= edge
            without = close_bits(circuits[row] ^ edge, sizes, offsets)
            counts[row] += _has_bit(valid, without) if as_bits else _is_in(valid, without)
    return counts


_WITHOUT = tuple(
    np.uint64(word)
    for word in (
        *(0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F),
        *(0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF, 0x00000000FFFFFFFF),
    )
)
"""The bits of a word whose number lacks bit 0, 1, …, 5."""


@compiled(parallel=True)
def propagate(words: Any) -> None:
    """Sets the bit of every set of edges that contains a set whose bit is set."""
    for w in prange(len(words)):
        for bit in range(6):
            words[w] |= (words[w] & _WITHOUT[bit]) << np.uint64(1 << bit)
    stride = 1
    while stride < len(words):
        for pair in prange(len(words) // (2 * stride)):
            start = 2 * stride * pair
            for w in range(start, start + stride):
                words[w + stride] |= words[w]
        stride *= 2


@compiled()
def contains_valid(circuits: Any, words: Any) -> Any:
    """Returns whether each circuit contains a valid one, itself excepted; `words` as `propagate` leaves them."""
    contains = np.zeros(len(circuits), dtype=np.bool_)
    for row in range(len(circuits)):
        rest = circuits[row]
        while rest:
            edge = rest & (~rest + np.uint64(1))
            rest ^= edge
            contains[row] |= _has_bit(words, circuits[row] ^ edge)
    return contains


@compiled(parallel=True)
def search_valid(circuits: Any, valid: Any, n_smaller: Any) -> Any:
    """Returns whether each circuit contains one of the first `n_smaller` of `valid`, those with fewer edges.

    Args:
        circuits: `(K, W)` uint64, W words of 64 edges each.
        valid: `(V, W)` uint64.
        n_smaller: `(K,)`.
    """
    n_words = circuits.shape[1]
    contains = np.zeros(len(circuits), dtype=np.bool_)
    for row in prange(len(circuits)):
        for other in range(n_smaller[row]):
            word = 0
            while word < n_words and valid[other, word] & ~circuits[row, word] == np.uint64(0):
                word += 1
            if word == n_words:
                contains[row] = True
                break
    return contains
