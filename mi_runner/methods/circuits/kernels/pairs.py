"""How do circuits overlap? All pairs of them."""

from __future__ import annotations

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled


@compiled()
def _n_bits(word: np.uint64) -> np.uint64:
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled(parallel=True)
def compare_pairs(circuits: np.ndarray) -> tuple[int, float]:
    """Returns in how many pairs of circuits `(K,)` one contains the other, and the sum of Jaccard overlaps."""
    n_contained = np.zeros(len(circuits), dtype=np.int64)
    overlap = np.zeros(len(circuits), dtype=np.float64)
    for i in prange(len(circuits)):
        for j in range(i):
            both = circuits[i] & circuits[j]
            n_contained[i] += both == circuits[i] or both == circuits[j]
            overlap[i] += float(_n_bits(both)) / float(_n_bits(circuits[i] | circuits[j]))
    return n_contained.sum(), overlap.sum()
