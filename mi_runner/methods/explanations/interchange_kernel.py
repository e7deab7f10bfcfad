"""Does an alignment hold jointly? The network run under every choice of a source for each node.

Letters: B inputs, L layers, W neurons of the widest layer, H hidden neurons.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mi_runner.machine.compiled import compiled

HOLDS, FAILS, TIES = 1, 0, 2
"""What a test says; `TIES`: an output was exactly the border before anything failed."""

IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID = range(5)


@compiled()
def _activate(value: float, kind: int, slope: float) -> float:
    if kind == IDENTITY or (kind <= LEAKY_RELU and value > 0):
        return value
    if kind <= LEAKY_RELU:
        return slope * value
    return math.tanh(value) if kind == TANH else 1 / (1 + math.exp(-value))


@compiled()
def holds_jointly(
    sizes: Any,
    weights: Any,
    biases: Any,
    kinds: Any,
    slopes: Any,
    inputs: Any,
    values: Any,
    owner: Any,
    tables: Any,
    left: Any,
    right: Any,
    root: Any,
    border: float,
) -> int:
    """Returns whether network and algorithm answer alike on each base, for each choice of a source for each node.

    Args:
        sizes: `(L + 1,)`, neurons of each layer, inputs first.
        weights, biases, kinds, slopes: `(L, W, W)`, `(L, W)`, `(L,)`, `(L,)` of the layers.
        inputs: `(B, n)`.
        values: `(B, H)` of the hidden neurons in a run without interventions.
        owner: `(H,)`, the node that sets each hidden neuron; −1 for none.
        tables: the truth table of each node.
        left, right: of the root's children: the node or −1, and the truth table of a variable.
        root: the truth table of the root's gate over its children, the left one the more significant; and whether the
            answer is its complement.
        border: the network answers 1 where its output is above it.
    """
    n_layers, n_rows, n_nodes = len(sizes) - 1, len(inputs), len(tables)
    sources = np.zeros(n_nodes, dtype=np.int64)
    now = np.zeros(weights.shape[1])
    after = np.zeros(weights.shape[1])
    while True:
        for base in range(n_rows):
            for i in range(sizes[0]):
                now[i] = inputs[base, i]
            first = 0
            for layer in range(n_layers):
                for j in range(sizes[layer + 1]):
                    if layer < n_layers - 1 and owner[first + j] >= 0:
                        after[j] = values[sources[owner[first + j]], first + j]
                        continue
                    total = 0.0
                    for i in range(sizes[layer]):
                        total += weights[layer, j, i] * now[i]
                    after[j] = _activate(total + biases[layer, j], kinds[layer], slopes[layer])
                first += sizes[layer + 1]
                now, after = after, now
            if now[0] == border:
                return TIES
            a = left[1] >> base if left[0] < 0 else tables[left[0]] >> sources[left[0]]
            b = right[1] >> base if right[0] < 0 else tables[right[0]] >> sources[right[0]]
            expected = (root[0] >> (2 * (a & 1) + (b & 1)) & 1) ^ root[1]
            if (now[0] > border) != (expected == 1):
                return FAILS
        node = 0
        while node < n_nodes:
            sources[node] += 1
            if sources[node] < n_rows:
                break
            sources[node] = 0
            node += 1
        if node == n_nodes:
            return HOLDS
