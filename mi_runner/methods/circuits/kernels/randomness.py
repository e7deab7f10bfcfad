"""Random whole numbers in compiled loops: SplitMix64 (Steele, Lea and Flood 2014), a stream for each place of a state.

A state is an array of uint64. Each place is the state of a stream of its own, which only one thread uses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mi_runner.machine.compiled import compiled

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_RANGE = np.uint64(1 << 32)


@compiled()
def mixed(z: np.uint64) -> np.uint64:
    """Returns the bits of a word mixed, by the last step of SplitMix64, which is invertible."""
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@compiled()
def next_word(state: Any, stream: int) -> np.uint64:
    """Returns 64 random bits."""
    state[stream] += _STEP
    return mixed(state[stream])


@compiled()
def below(state: Any, stream: int, n: int) -> int:
    """Returns a whole number from 0 to n − 1, each with the same probability; n is 1 to 2³² − 1.

    The high half of a product of 32 random bits and n (Lemire 2019); what would make a number more frequent is refused.
    """
    limit = np.uint64(n)
    product = (next_word(state, stream) >> _HALF) * limit
    if product & _LOW < limit:
        refused = (_RANGE - limit) % limit
        while product & _LOW < refused:
            product = (next_word(state, stream) >> _HALF) * limit
    return int(product >> _HALF)
