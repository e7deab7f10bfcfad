"""A random order of all circuits, in which those that come first are a uniform sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.randomness import mixed


@compiled()
def rank_of(code: np.uint64, salt: np.uint64) -> np.uint64:
    """Returns the place in a random order of the circuit with this code (see `codes`): the code, mixed."""
    return mixed(code ^ salt)


def ranks_of(codes: np.ndarray, salt: int) -> np.ndarray:
    """Returns the places `(K,)` uint64 of codes `(K,)` uint64, as `rank_of` does of one."""
    ranks: np.ndarray = mixed.py_func(codes ^ np.uint64(salt))
    return ranks


@compiled()
def shorten(places: Any, most: int) -> tuple[int, np.uint64]:
    """Moves the `most` lowest of these distinct places, and a few more, to the front.

    Returns how many were moved, and the highest of them. The boundary is found by bisection, and need not be exact.
    """
    few = most + (len(places) - most) // 2
    low, high, n = np.uint64(0), np.uint64(0), len(places)
    for place in places:
        high = max(high, place)
    while n > few:
        middle = low + ((high - low) >> np.uint64(1))
        n_below = 0
        for place in places:
            n_below += place <= middle
        if n_below >= most:
            high, n = middle, n_below
        else:
            low = middle + np.uint64(1)
    to = 0
    for place in places:
        if place <= high:
            places[to] = place
            to += 1
    return n, high


def codes_at(ranks: np.ndarray, salt: np.uint64) -> np.ndarray:
    """Returns the codes `(K,)` uint64 at places `(K,)` uint64 of the random order; the inverse of `rank_of`."""
    z = ranks ^ (ranks >> np.uint64(31)) ^ (ranks >> np.uint64(62))
    z = z * np.uint64(0x319642B2D24D8EC3)  # 0x94D0…·0x3196… = 1 modulo 2⁶⁴
    z = z ^ (z >> np.uint64(27)) ^ (z >> np.uint64(54))
    z = z * np.uint64(0x96DE1B173F119089)
    z = z ^ (z >> np.uint64(30)) ^ (z >> np.uint64(60))
    return z ^ salt
