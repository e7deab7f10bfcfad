"""The distance of many circuits to the full network's outputs, compiled.

It computes what `MaskedPart` computes by tensors, without the tables of values between the layers: only kept edges are
added, one block of examples after the other.

Letters: B examples, E edges, K circuits, R resamples; an edge's weight w, its source s and its target t.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import IDENTITY, LEAKY_RELU, RELU, TANH

BLOCK = 256
"""Examples whose values stay in the processor's nearest cache."""


@compiled(fastmath={"contract"})
def _activate(values: Any, n: int, kind: int, slope: float) -> None:
    if kind in (RELU, LEAKY_RELU):
        for b in range(n):
            values[b] = values[b] if values[b] > 0 else slope * values[b]
    elif kind == TANH:
        for b in range(n):
            values[b] = math.tanh(values[b])
    elif kind != IDENTITY:
        for b in range(n):
            values[b] = 1 / (1 + math.exp(-values[b]))


@compiled(parallel=True, fastmath={"contract"})
def distances(
    kept: Any,
    resamples: Any,
    sizes: Any,
    weights: Any,
    biases: Any,
    kinds: Any,
    slopes: Any,
    x: Any,
    full: Any,
    shares: Any,
    fixed: Any,
) -> Any:
    """Returns the mean squared difference to the full network's outputs of each closed circuit, `(K,)` float64.

    Args:
        kept: `(K, E)` bool.
        resamples: `(K,)` int64, whose shares and fixed values each circuit takes.
        sizes: `(L + 1,)` int64, neurons of each layer.
        weights: `(E,)`, in the order of the edges.
        biases: of all neurons behind the inputs, one layer after the other.
        kinds, slopes: of each layer, the number of its activation in `ACTIVATIONS` and leaky_relu's slope.
        x: `(n_0, B)`.
        full: `(n_L, B)`.
        shares: `(R, B)`, the weight of each example in the mean.
        fixed: `(R, n)`, what all neurons before the outputs carry where an edge is left out, one layer after the other.
    """
    n_layers, n_examples, n_outputs = len(sizes) - 1, x.shape[1], full.shape[0]
    widest = 0
    for layer in range(1, n_layers + 1):
        widest = max(widest, sizes[layer])
    found = np.empty(len(kept))
    for k in prange(len(kept)):
        r = resamples[k]
        values = np.empty((2, widest, BLOCK))
        total = 0.0
        for start in range(0, n_examples, BLOCK):
            n = min(BLOCK, n_examples - start)
            edge = first_source = first_neuron = 0
            for layer in range(n_layers):
                now, before = layer % 2, (layer + 1) % 2
                for t in range(sizes[layer + 1]):
                    sums = values[now, t]
                    constant = biases[first_neuron + t]
                    for s in range(sizes[layer]):
                        if not kept[k, edge + s]:
                            constant += weights[edge + s] * fixed[r, first_source + s]
                    for b in range(n):
                        sums[b] = constant
                    for s in range(sizes[layer]):
                        if kept[k, edge + s]:
                            w = weights[edge + s]
                            if layer == 0:
                                for b in range(n):
                                    sums[b] += w * x[s, start + b]
                            else:
                                source = values[before, s]
                                for b in range(n):
                                    sums[b] += w * source[b]
                    _activate(sums, n, kinds[layer], slopes[layer])
                    edge += sizes[layer]
                first_source += sizes[layer]
                first_neuron += sizes[layer + 1]
            for output in range(n_outputs):
                last = values[(n_layers - 1) % 2, output]
                for b in range(n):
                    difference = last[b] - full[output, start + b]
                    total += shares[r, start + b] * difference * difference
        found[k] = total / n_outputs
    return found
