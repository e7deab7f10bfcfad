"""Draws uniform subsets: active neurons of a layer, and the ones of a row of a 0/1 matrix.

There are many short calls, for which threads would take longer to start than to work.

Letters: K draws, n members that a subset can have.
"""

from __future__ import annotations

from typing import Any

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.randomness import below


@compiled()
def draw_subsets(state: Any, sizes: Any, chosen: Any) -> None:
    """Fills `chosen` `(K, n)` bool with uniform subsets of `sizes` `(K,)` members each.

    Args:
        state: `(K,)` uint64, of the random numbers.
    """
    for row in range(len(sizes)):
        needed, left = sizes[row], chosen.shape[1]
        for member in range(chosen.shape[1]):
            chosen[row, member] = below(state, row, left) < needed
            needed -= chosen[row, member]
            left -= 1


@compiled()
def draw_rows(state: Any, uncovered: Any, n_new: Any, n_old: Any, chosen: Any) -> None:
    """Fills `chosen` `(K, n)` bool with uniform subsets that have `n_new` uncovered and `n_old` covered members.

    The members chosen are covered from then on.

    Args:
        state: `(K,)` uint64, of the random numbers.
        uncovered: `(K, n)` bool, changed.
        n_new, n_old: `(K,)` int64.
    """
    for row in range(len(n_new)):
        left_new = 0
        for member in range(chosen.shape[1]):
            left_new += uncovered[row, member]
        left_old = chosen.shape[1] - left_new
        new, old = n_new[row], n_old[row]
        for member in range(chosen.shape[1]):
            if uncovered[row, member]:
                chosen[row, member] = below(state, row, left_new) < new
                new -= chosen[row, member]
                left_new -= 1
                uncovered[row, member] = not chosen[row, member]
            else:
                chosen[row, member] = below(state, row, left_old) < old
                old -= chosen[row, member]
                left_old -= 1
