"""How many groundings does each of many circuits have? Dynamic programming over the joint tables of a layer.

A state of a layer is one threshold for each of its active neurons, and so their joint tables. Given the state of a
layer, the neurons of the next choose their thresholds and local tables independently of each other. `ahead[s]` is the
number of ways in which all that lies behind a layer can be chosen, given its state s.

Letters: K circuits, N neurons behind the inputs, T thresholds of a neuron at most, P moduli.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled


@compiled()
def _power_of_two(exponent: int, modulus: int) -> int:
    power = 1
    for _ in range(exponent):
        power *= 2
        if modulus and power >= modulus:
            power -= modulus
    return power


@compiled()
def _local_tables(table: int, parents: int, patterns: Any, rows: Any, n_patterns: int, modulus: int) -> int:
    """Returns the number of allowed local tables by which a neuron has this table.

    `rows[i]` are the inputs on which its parents have the values `patterns[i]`. Patterns that never occur are free.
    With exactly two parents XOR and XNOR are not allowed.
    """
    could_be_xor = could_be_xnor = parents == 2
    for i in range(n_patterns):
        on = table & rows[i]
        if on != 0 and on != rows[i]:
            return 0
        differ = patterns[i] == 1 or patterns[i] == 2
        if (on != 0) != differ:
            could_be_xor = False
        else:
            could_be_xnor = False
    ways = _power_of_two((1 << parents) - n_patterns, modulus) - int(could_be_xor) - int(could_be_xnor)
    return ways + modulus if ways < 0 else ways


@compiled()
def _count(sizes: Any, first: Any, kept: Any, tables: Any, n_tables: Any, n_rows: int, modulus: int) -> int:
    """Returns the groundings of one circuit; see `count`."""
    n_layers = len(sizes) - 1
    widest = sizes.max()
    ahead = np.ones(n_tables[first[n_layers]], dtype=np.int64)
    chosen = np.zeros(widest, dtype=np.int64)
    n_options = np.zeros(widest, dtype=np.int64)
    most = tables.shape[1]
    option = np.zeros((widest, most), dtype=np.int64)
    ways = np.zeros((widest, most), dtype=np.int64)
    at = np.zeros(widest, dtype=np.int64)
    patterns = np.zeros(n_rows, dtype=np.int64)
    rows = np.zeros(n_rows, dtype=np.int64)
    for layer in range(n_layers - 1, 0, -1):
        n_from, n_to = sizes[layer], sizes[layer + 1]
        n_states = 1
        for i in range(n_from):
            if kept[first[layer] + i]:
                n_states *= n_tables[first[layer] + i]
        behind = ahead
        ahead = np.zeros(n_states, dtype=np.int64)
        for state in range(n_states):
            rest = state
            for i in range(n_from):
                chosen[i] = 0
                if kept[first[layer] + i]:
                    radix = n_tables[first[layer] + i]
                    chosen[i] = tables[first[layer] + i, rest % radix]
                    rest //= radix
            possible = True
            stride = 1
            for j in range(n_to):
                neuron = first[layer + 1] + j
                if not kept[neuron]:
                    n_options[j] = 1
                    option[j, 0] = 0
                    ways[j, 0] = 1
                    continue
                n_patterns = 0
                parents = 0
                for i in range(n_from):
                    parents += kept[neuron] >> i & 1
                for row in range(n_rows):
                    pattern = 0
                    for i in range(n_from):
                        if kept[neuron] >> i & 1:
                            pattern = pattern << 1 | (chosen[i] >> row & 1)
                    place = 0
                    while place < n_patterns and patterns[place] != pattern:
                        place += 1
                    if place == n_patterns:
                        patterns[place] = pattern
                        rows[place] = 0
                        n_patterns += 1
                    rows[place] |= 1 << row
                n_options[j] = 0
                for t in range(n_tables[neuron]):
                    count = _local_tables(tables[neuron, t], parents, patterns, rows, n_patterns, modulus)
                    if count:
                        option[j, n_options[j]] = t * stride
                        ways[j, n_options[j]] = count
                        n_options[j] += 1
                stride *= n_tables[neuron]
                if n_options[j] == 0:
                    possible = False
                    break
            if not possible:
                continue
            at[:] = 0
            total = 0
            while True:
                place = 0
                product = 1
                for j in range(n_to):
                    place += option[j, at[j]]
                    product *= ways[j, at[j]]
                    if modulus:
                        product %= modulus
                product *= behind[place]
                total += product % modulus if modulus else product
                j = 0
                while j < n_to:
                    at[j] += 1
                    if at[j] < n_options[j]:
                        break
                    at[j] = 0
                    j += 1
                if j == n_to:
                    break
            ahead[state] = total % modulus if modulus else total
    total = 0
    for state in range(len(ahead)):
        total += ahead[state]
    return total % modulus if modulus else total


@compiled(parallel=True)
def count(sizes: Any, first: Any, kept: Any, tables: Any, n_tables: Any, n_rows: int, moduli: Any) -> Any:
    """Returns the groundings of each circuit, `(K, P)` int64: modulo each of the moduli, or all if it is 0.

    Args:
        sizes: neurons of each layer, inputs first.
        first: `(L + 1,)`, the first neuron of each layer; that of the inputs is not used.
        kept: `(K, N)` int64: bit i says whether the neuron keeps the edge from neuron i of the layer before.
        tables: `(K, N, T)` int64, the truth table of each threshold.
        n_tables: `(K, N)` int64, the thresholds of each neuron.
        n_rows: inputs of the function, 32 at most.
        moduli: `(P,)` int64: below 2³¹, so that products fit; 0 where no count reaches 2⁶³.
    """
    counts = np.zeros((len(kept), len(moduli)), dtype=np.int64)
    for k in prange(len(kept)):
        for m in range(len(moduli)):
            counts[k, m] = _count(sizes, first, kept[k], tables[k], n_tables[k], n_rows, moduli[m])
    return counts
