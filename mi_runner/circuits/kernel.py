"""What every circuit answers, with the work that circuits share done once.

A neuron's value depends only on its own kept inputs and on the neurons behind it. So a circuit is split in two: the
*prefix*, its edges into all hidden layers but the last, fixes the values that enter the last hidden layer; the *rows*,
one kept-inputs mask for each neuron j of the last hidden layer, fix what each of them contributes to the output. For
one prefix there are few contributions, n_H · 2^n of them, and every circuit is a sum of n_H of them and a bias. The
sums are built as a tree, so that a circuit costs one addition an example, and what is counted after it.

Letters: P prefixes, H the last hidden layer with J neurons j, n neurons behind it, m a mask of them, N examples,
z the output before its activation.

The code is plain loops because numba compiles them to vector instructions; array expressions would allocate in the
innermost loop.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID = range(5)
"""Activations; the first three are z where z > 0 and slope · z elsewhere."""

ZERO = np.float32(0)  # a plain 0 would make numba compare in float64

# Sums over examples may be reordered, or they could not be vectorised; NaN and infinity keep their meaning.
_REORDER = {"reassoc", "contract", "nsz"}


@njit(cache=True)
def activate(z: float, kind: int, slope: float) -> float:
    """The activation of one number."""
    if kind <= LEAKY_RELU:
        return z if z > ZERO else slope * z
    if kind == TANH:
        return np.float32(math.tanh(z))
    return np.float32(1) / (np.float32(1) + np.float32(math.exp(-z)))


@njit(cache=True, fastmath=_REORDER)
def _contributions(
    values: Any, active: int, weight: Any, bias: Any, out: Any, kind: int, slope: float, terms: Any
) -> None:
    """Fill `terms[j, m]` `(N,)` with what neuron j adds to the output if it keeps the inputs of mask m.

    values `(n, N)`, weight `(J, n)`, bias `(J,)`, out `(J,)` the output's weights; masks that are no subset of `active`
    are left alone.
    """
    n_neurons, n_inputs = weight.shape
    n_examples = values.shape[1]
    for j in range(n_neurons):
        for m in range(1, 1 << n_inputs):
            if m & ~active:
                continue
            low = 0
            while not m >> low & 1:
                low += 1
            rest = m & (m - 1)
            # Before the activation first, because a larger mask's sum begins with a smaller one's.
            for e in range(n_examples):
                before = terms[j, rest, e] if rest else bias[j]
                terms[j, m, e] = before + weight[j, low] * values[low, e]
        for m in range(1, 1 << n_inputs):
            if m & ~active:
                continue
            for e in range(n_examples):
                terms[j, m, e] = out[j] * activate(terms[j, m, e], kind, slope)


@njit(cache=True, fastmath=_REORDER)
def _between(behind: Any, term: Any, low: float, high: float) -> float:
    """How many of z = behind + term lie in low..high."""
    count = np.float32(0)  # exact up to 2²⁴, and as wide as what is counted, so that both share vector registers
    for e in range(behind.shape[0]):
        z = behind[e] + term[e]
        count += np.float32((z >= low) & (z <= high))
    return count


@njit(cache=True, fastmath=_REORDER)
def _between_and_squares(
    behind: Any, term: Any, low: float, high: float, full: Any, kind: int, slope: float
) -> tuple[float, float]:
    """How many of z = behind + term lie in low..high, and the summed squared distance of the activations to `full`."""
    count = np.float32(0)
    squares = np.float32(0)
    if kind <= LEAKY_RELU:
        for e in range(behind.shape[0]):
            z = behind[e] + term[e]
            count += np.float32((z >= low) & (z <= high))
            distance = (z if z > ZERO else slope * z) - full[e]
            squares += distance * distance
    else:
        for e in range(behind.shape[0]):
            z = behind[e] + term[e]
            count += np.float32((z >= low) & (z <= high))
            distance = activate(z, kind, slope) - full[e]
            squares += distance * distance
    return count, squares


@njit(cache=True, parallel=True)
def evaluate_prefixes(
    prefixes: Any,
    active: Any,
    values: Any,
    first: Any,
    hidden: Any,
    output: Any,
    groups: Any,
    bounds: Any,
    full: Any,
    offsets: Any,
    circuits: Any,
    n_right: Any,
    n_equal: Any,
    squares: Any,
) -> None:
    """Fill one row for each circuit with these prefixes.

    Args:
        prefixes: `(P,)` uint64, the kept edges of each prefix as bits.
        active: `(P,)` int64, the active neurons behind the last hidden layer as bits.
        values: `(P, n, N)` float32, their values.
        first: `(P,)` int64, the row at which each prefix' circuits begin.
        hidden: weight `(J, n)`, bias `(J,)`, activation, slope of the last hidden layer.
        output: weight `(J,)`, bias, activation, slope of the output.
        groups: `(G + 1,)` int64: examples are ordered so that those of group g, groups[g] to groups[g + 1], have the
            same right answer and the same answer of the full network.
        bounds: `(G, 4)` float32: z answers rightly from bounds[g, 0] to bounds[g, 1], as the full network from 2 to 3.
        full: `(N,)` float32, the full network's outputs.
        offsets: `(2,)`, the bits at which the last hidden layer's and the output's edges begin.
        circuits, n_right, n_equal, squares: the rows, uint64, int32, int32, float32.
    """
    weight, bias, kind, slope = hidden
    out_weight, out_bias, out_kind, out_slope = output
    n_neurons, n_inputs = weight.shape
    n_examples = full.shape[0]
    for p in prange(prefixes.shape[0]):
        terms = np.empty((n_neurons, 1 << n_inputs, n_examples), dtype=np.float32)
        _contributions(values[p], active[p], weight, bias, out_weight, kind, slope, terms)
        sums = np.empty((n_neurons, n_examples), dtype=np.float32)  # of the contributions of neurons 0..j−1
        sums[0, :] = out_bias
        nothing = np.zeros(n_examples, dtype=np.float32)
        chosen = np.zeros(n_neurons, dtype=np.int64)
        union = np.zeros(n_neurons + 1, dtype=np.int64)
        bits = np.zeros(n_neurons + 1, dtype=np.uint64)
        row = first[p]
        j = 0
        chosen[0] = -1
        while j >= 0:
            m = chosen[j] + 1
            while m < 1 << n_inputs and m & ~active[p]:
                m += 1
            if m == 1 << n_inputs:
                j -= 1
                continue
            chosen[j] = m
            union[j + 1] = union[j] | m
            edge = np.uint64(m) << np.uint64(offsets[0] + j * n_inputs)
            kept = np.uint64(1) << np.uint64(offsets[1] + j) if m else np.uint64(0)
            bits[j + 1] = bits[j] | edge | kept
            if j < n_neurons - 1:
                if m:
                    for e in range(n_examples):
                        sums[j + 1, e] = sums[j, e] + terms[j, m, e]
                else:
                    sums[j + 1, :] = sums[j]
                j += 1
                chosen[j] = -1
            elif union[j + 1] == active[p]:
                term = terms[j, m] if m else nothing
                right = equal = distance = 0.0
                for g in range(groups.shape[0] - 1):
                    part = slice(groups[g], groups[g + 1])
                    count, squared = _between_and_squares(
                        sums[j][part], term[part], bounds[g, 0], bounds[g, 1], full[part], out_kind, out_slope
                    )
                    right += count
                    distance += squared
                    if bounds[g, 0] == bounds[g, 2] and bounds[g, 1] == bounds[g, 3]:
                        equal += count
                    else:
                        equal += _between(sums[j][part], term[part], bounds[g, 2], bounds[g, 3])
                circuits[row] = prefixes[p] | bits[j + 1]
                n_right[row], n_equal[row], squares[row] = right, equal, distance
                row += 1
