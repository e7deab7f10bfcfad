"""What a neuron of the last hidden layer can keep: some inputs and some outputs, or nothing.

Letters: J neurons of the layer, Q choices of each.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb

import numpy as np

from mi_runner.methods.circuits.space import CircuitSpace


@lru_cache(maxsize=16)
def choices_of(space: CircuitSpace) -> np.ndarray:
    """Returns the masks of inputs and of outputs that a neuron of the last hidden layer can keep, `(Q, 2)` int64.

    The first choice is to keep nothing.
    """
    n_in, _, n_out = space.sizes[-3:]
    kept = [(m, o) for m in range(1, 1 << n_in) for o in range(1, 1 << n_out)]
    return np.array([(0, 0), *kept], dtype=np.int64)


@lru_cache(maxsize=16)
def ways_to_choose(space: CircuitSpace) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many choices R neurons have with a active inputs, of which they keep u, and v outputs.

    Those that keep so many nodes and edges, `(R, a, u, v, nodes, edges)` int64, and all, `(R, a, u, v)`. By inclusion
    and exclusion over the inputs and outputs that none of them keeps. Numbers above 2⁶³ are wrong; no census has so
    many circuits below a node.
    """
    n_in, n_neurons, n_out = space.sizes[-3:]
    n_unused = n_out if space.inputs == "all" else 0
    n_edges = n_neurons * (n_in + n_out) + 1
    within = np.zeros((n_neurons + 1, n_in + 1, n_out + 1, n_neurons + 1, n_edges), dtype=np.int64)
    for a in range(n_in + 1):
        for k in range(n_out + 1):
            of_one = np.array([sum(comb(a, i) * comb(k, e - i) for i in range(1, e)) for e in range(a + k + 1)])
            power = np.ones(1, dtype=np.int64)
            for nodes in range(n_neurons + 1):
                for neurons in range(nodes, n_neurons + 1):
                    within[neurons, a, k, nodes, : len(power)] = comb(neurons, nodes) * power
                power = np.convolve(power, of_one)
    found = np.zeros((n_neurons + 1, n_in + 1, n_in + 1, n_unused + 1, n_neurons + 1, n_edges), dtype=np.int64)
    for a in range(n_in + 1):
        for u in range(a + 1):
            for v in range(n_unused + 1):
                for i in range(u + 1):
                    for k in range(v + 1):
                        sign = (-1) ** (i + k) * comb(u, i) * comb(v, k)
                        found[:, a, u, v] += sign * within[:, a - i, n_out - k]
    return found, found.sum((4, 5))
