"""Counts the right answers of any circuits of a chain of layers, one circuit after the other, block by block.

A block of examples stays in the processor's cache while a circuit's kept edges are added up, layer by layer. Nothing is
shared between circuits, so they can be any: drawn ones have little in common.

Letters: K circuits, E edges, D distinct examples, G groups of them, sizes n_0 (inputs), …, n_L (outputs).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import LEAKY_RELU, REORDER, SOFTMAX, ZERO, activate
from mi_runner.methods.circuits.kernels.class_evaluation import n_answered, smooth_output

BLOCK = 512
"""Examples of a block: those of two layers of 32 neurons take 128 kB."""

CIRCUITS_AT_ONCE = 64
"""Circuits that a thread takes at a time."""


@compiled(fastmath=REORDER)
def add_sources(values: Any, sources: Any, weights: Any, n_sources: int, start: int, end: int, total: Any) -> None:
    """Adds weight · value of some sources to `total` `(N,)`, four at a time.

    Args:
        values: `(n, D)`; those of the examples start to end are read.
        sources: the first `n_sources` are rows of `values`.
        weights: as many, one for each source.
    """
    n = end - start
    at = 0
    while at + 4 <= n_sources:
        first, second = values[sources[at], start:end], values[sources[at + 1], start:end]
        third, fourth = values[sources[at + 2], start:end], values[sources[at + 3], start:end]
        w, x, y, z = weights[at], weights[at + 1], weights[at + 2], weights[at + 3]
        for e in range(n):
            total[e] += w * first[e] + x * second[e] + y * third[e] + z * fourth[e]
        at += 4
    while at < n_sources:
        first, w = values[sources[at], start:end], weights[at]
        for e in range(n):
            total[e] += w * first[e]
        at += 1


@compiled()
def kept_sources(circuit: Any, edge: int, n_in: int, layers: Any, sources: Any, weights: Any) -> tuple[int, np.float32]:
    """Fills `sources` and `weights` with those of a target's kept edges; returns how many, and what left-out ones add.

    Args:
        edge: the target's first edge.
        layers: as for `count_right`.
    """
    _, edge_weights, left_out, _, _, _ = layers
    n_kept, constant = 0, ZERO
    for source in range(n_in):
        if circuit[edge + source]:
            sources[n_kept], weights[n_kept] = source, edge_weights[edge + source]
            n_kept += 1
        else:
            constant += left_out[edge + source]
    return n_kept, constant


@compiled()
def activate_row(total: Any, kind: int, slope: np.float32) -> None:
    """Replaces sums `(N,)` of a hidden neuron by its values."""
    if kind <= LEAKY_RELU:
        for e in range(total.shape[0]):
            total[e] = total[e] if total[e] > ZERO else slope * total[e]
    else:
        for e in range(total.shape[0]):
            total[e] = activate(total[e], kind, slope)


@compiled()
def finish_output(total: Any, kind: int, slope: np.float32) -> None:
    """Replaces sums `(N,)` of one of several outputs by what is compared: its value, or before a softmax the sum."""
    if kind <= LEAKY_RELU:
        for e in range(total.shape[0]):
            total[e] = total[e] if total[e] > ZERO else slope * total[e]
    elif kind < SOFTMAX:
        for e in range(total.shape[0]):
            total[e] = smooth_output(total[e], kind)


@compiled(fastmath=REORDER)
def between(values: Any, low: np.float32, high: np.float32) -> np.float32:
    """Returns how many values lie between low and high."""
    count = ZERO
    for e in range(values.shape[0]):
        count += np.float32((values[e] >= low) & (values[e] <= high))
    return count


@compiled()
def right_in_block(outputs: Any, start: int, end: int, goals: Any, g: int, flags: Any) -> tuple[float, int]:
    """Returns how many of the examples start to end have the right answer, each as often as it occurs, and a group.

    Args:
        outputs: `(1, n_L, N)`, of these examples.
        goals: groups, bounds, classes and sizes, as for `count_right`.
        g: the group of the first example.

    The group is that of example `end`.
    """
    groups, bounds, classes, sizes = goals
    n_right = 0.0
    at = start
    while at < end:
        until = min(end, groups[g + 1])
        if len(classes):
            count = n_answered(outputs, 0, classes[g], at - start, until - start, flags)
        else:
            count = between(outputs[0, 0, at - start : until - start], bounds[g, 0], bounds[g, 1])
        n_right += sizes[g] * count
        at = until
        g += until == groups[g + 1]
    return n_right, g


@compiled()
def _count(circuit: Any, x: Any, layers: Any, goals: Any, values: Any, sources: Any, weights: Any, flags: Any) -> float:
    """Returns the right answers of one circuit.

    Args:
        circuit: `(E,)` bool.
        values: `(2, n, BLOCK)` float32, overwritten; so are sources and weights `(n,)`, and flags `(BLOCK,)`.
    """
    sizes, _, _, biases, kinds, slopes = layers
    n_layers, n_examples = len(kinds), x.shape[1]
    n_right, g = 0.0, 0
    for start in range(0, n_examples, BLOCK):
        end = min(start + BLOCK, n_examples)
        n = end - start
        edge = neuron = 0
        for layer in range(n_layers):
            n_in, n_out, into = sizes[layer], sizes[layer + 1], values[layer % 2]
            for target in range(n_out):
                n_kept, constant = kept_sources(circuit, edge, n_in, layers, sources, weights)
                total = into[target, :n]
                if n_kept or layer == n_layers - 1:
                    total[:] = biases[neuron] + constant
                    if layer == 0:
                        add_sources(x, sources, weights, n_kept, start, end, total)
                    else:
                        add_sources(values[1 - layer % 2], sources, weights, n_kept, 0, n, total)
                    if layer < n_layers - 1:
                        activate_row(total, kinds[layer], slopes[layer])
                    elif n_out > 1:
                        finish_output(total, kinds[layer], slopes[layer])
                edge += n_in
                neuron += 1
        last = (n_layers - 1) % 2
        outputs = values[last : last + 1, : sizes[n_layers], :n]
        count, g = right_in_block(outputs, start, end, goals, g, flags)
        n_right += count
    return n_right


@compiled(parallel=True)
def count_right(circuits: Any, x: Any, layers: Any, goals: Any, n_right: Any) -> None:
    """Fills the number of right answers of each circuit.

    Args:
        circuits: `(K, E)` bool, closed.
        x: `(n_0, D)` float32, the distinct examples in groups.
        layers: of all Linear layers, one after the other: sizes `(L + 1,)` int64; `(E,)` the weights in the order of
            `Edges`; `(E,)` what each edge adds where it is left out; the biases of all targets; activations `(L,)`
            int64, and slopes `(L,)`. Numbers are float32.
        goals: groups `(G + 1,)` int64, as for `evaluation.evaluate_prefixes`; bounds `(G, 2)` float32: the answer is
            right if the only output before its activation lies between them; classes `(G,)` int64: of several outputs
            the right answer, otherwise empty; sizes `(G,)` float32, how often each example of a group occurs.
        n_right: `(K,)` int64.
    """
    n_chunks = (len(circuits) + CIRCUITS_AT_ONCE - 1) // CIRCUITS_AT_ONCE
    widest = layers[0].max()
    for chunk in prange(n_chunks):
        values = np.empty((2, widest, BLOCK), dtype=np.float32)
        sources, weights = np.empty(widest, dtype=np.int64), np.empty(widest, dtype=np.float32)
        flags = np.empty(BLOCK, dtype=np.float32)
        for row in range(chunk * CIRCUITS_AT_ONCE, min((chunk + 1) * CIRCUITS_AT_ONCE, len(circuits))):
            n_right[row] = np.int64(_count(circuits[row], x, layers, goals, values, sources, weights, flags))
