"""Evaluates every circuit; work that several circuits share is done once.

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

from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import LEAKY_RELU, REORDER, ZERO, activate


@compiled(fastmath=REORDER)
def contributions(values: Any, active: int, hidden: Any, out: Any, out_means: Any, terms: Any) -> None:
    """Fills `terms[j, m]` `(N,)` with what neuron j adds to the output if it keeps the inputs of mask m.

    Masks that are no subset of `active` are skipped. A neuron that keeps no input is inactive and adds what its edge to
    the output carries when it is left out.

    Args:
        values: `(n, N)`.
        hidden: as for `evaluate_prefixes`.
        out: `(J,)`, the weights of the output.
        out_means: `(J,)`, the neurons' means, or zeros.
    """
    weight, bias, means, kind, slope = hidden
    n_neurons, n_inputs = weight.shape
    n_examples = values.shape[1]
    for j in range(n_neurons):
        # Before the activation first. The inputs are decided one after the other, the last first: until input i is
        # decided, the sum with the decided inputs m stands at m, which has no bit up to i.
        terms[j, 0, :] = bias[j]
        for i in range(n_inputs - 1, -1, -1):
            left_out = weight[j, i] * means[i]
            for m in range(0, 1 << n_inputs, 2 << i):
                if m & ~active:
                    continue
                if active >> i & 1:
                    for e in range(n_examples):
                        terms[j, m | 1 << i, e] = terms[j, m, e] + weight[j, i] * values[i, e]
                if means[i] != ZERO:
                    for e in range(n_examples):
                        terms[j, m, e] += left_out
        for m in range(1, 1 << n_inputs):
            if m & ~active:
                continue
            for e in range(n_examples):
                terms[j, m, e] = out[j] * activate(terms[j, m, e], kind, slope)
        terms[j, 0, :] = out[j] * out_means[j] if out_means[j] != ZERO else ZERO


@compiled()
def edge_bits(j: int, m: int, n_inputs: int, offsets: Any) -> np.uint64:
    """Returns the bits of neuron j's kept inputs m, and of its edge to the output if m is not empty."""
    into = np.uint64(m) << np.uint64(offsets[0] + j * n_inputs)
    return into | (np.uint64(m != 0) << np.uint64(offsets[1] + j))


@compiled(fastmath=REORDER)
def between(behind: Any, term: Any, low: np.float32, high: np.float32) -> np.float32:
    """Returns how many values z = behind + term lie between low and high."""
    count = np.float32(0)  # exact up to 2²⁴, and as wide as what is counted, so that both share vector registers
    for e in range(behind.shape[0]):
        z = behind[e] + term[e]
        count += np.float32((z >= low) & (z <= high))
    return count


@compiled(fastmath=REORDER)
def between_and_squares(
    behind: Any, term: Any, low: np.float32, high: np.float32, full: Any, kind: int, slope: np.float32
) -> tuple[np.float32, np.float32]:
    """Returns how many values z = behind + term lie between low and high, and the sum of (activation(z) − full)²."""
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


@compiled()
def _answers(
    behind: Any, term: Any, groups: Any, bounds: Any, sizes: Any, full: Any, kind: int, slope: np.float32
) -> tuple[float, float, float]:
    """Returns three measures of the circuit with z = behind + term, over all examples.

    These are the number of correct answers, the number of answers equal to the full network's, and the sum of squared
    differences to the full network's outputs.
    """
    n_correct = n_agreeing = squares = 0.0
    for g in range(groups.shape[0] - 1):
        group = slice(groups[g], groups[g + 1])
        count, squared = between_and_squares(
            behind[group], term[group], bounds[g, 0], bounds[g, 1], full[group], kind, slope
        )
        n_correct += sizes[g] * count
        squares += sizes[g] * squared
        if bounds[g, 0] != bounds[g, 2] or bounds[g, 1] != bounds[g, 3]:
            count = between(behind[group], term[group], bounds[g, 2], bounds[g, 3])
        n_agreeing += sizes[g] * count
    return n_correct, n_agreeing, squares


@compiled(parallel=True)
def evaluate_prefixes(
    active: Any,
    values: Any,
    first: Any,
    hidden: Any,
    output: Any,
    groups: Any,
    bounds: Any,
    sizes: Any,
    full: Any,
    offsets: Any,
    tails: Any,
    n_correct: Any,
    n_agreeing: Any,
    squares: Any,
) -> None:
    """Fills one row for each circuit that has one of these prefixes.

    Args:
        active: `(P,)` int64, the active neurons behind the last hidden layer as bits.
        values: `(P, n, N)` float32, their values.
        first: `(P,)` int64, the row at which the circuits of each prefix begin.
        hidden: weight `(J, n)`, bias `(J,)`, means `(n,)`, activation, slope of the last hidden layer. A left-out edge
            carries its weight times its source's mean; zeros where it carries nothing.
        output: weight `(J,)`, bias, means `(J,)`, activation, slope of the output.
        groups: `(G + 1,)` int64: examples are ordered so that those of group g, groups[g] to groups[g + 1], have the
            same correct answer and the same answer of the full network.
        bounds: `(G, 4)` float32. In group g the answer is correct if z lies between bounds[g, 0] and bounds[g, 1], and
            equal to the full network's if z lies between bounds[g, 2] and bounds[g, 3].
        sizes: `(G,)` float32: how many equal examples each example of a group represents.
        full: `(N,)` float32, the full network's outputs.
        offsets: `(2,)`, the bits of a tail at which the last hidden layer's and the output's edges begin.
        tails, n_correct, n_agreeing, squares: the rows, uint64, int32, int32, float32. A circuit's tail has its edges
            into the last hidden layer and into the output as bits.
    """
    weight = hidden[0]
    out_weight, out_bias, out_means, out_kind, out_slope = output
    n_neurons, n_inputs = weight.shape
    n_examples = full.shape[0]
    for p in prange(active.shape[0]):
        terms = np.empty((n_neurons, 1 << n_inputs, n_examples), dtype=np.float32)
        contributions(values[p], active[p], hidden, out_weight, out_means, terms)
        sums = np.empty((n_neurons, n_examples), dtype=np.float32)  # of the contributions of neurons 0..j−1
        sums[0, :] = out_bias
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
            bits[j + 1] = bits[j] | edge_bits(j, m, n_inputs, offsets)
            if j < n_neurons - 1:
                for e in range(n_examples):
                    sums[j + 1, e] = sums[j, e] + terms[j, m, e]
                j += 1
                chosen[j] = -1
            elif union[j + 1] == active[p]:
                tails[row] = bits[j + 1]
                n_correct[row], n_agreeing[row], squares[row] = _answers(
                    sums[j], terms[j, m], groups, bounds, sizes, full, out_kind, out_slope
                )
                row += 1


@compiled(parallel=True)
def evaluate_listed(
    active: Any,
    values: Any,
    first: Any,
    end: Any,
    tails: Any,
    hidden: Any,
    output: Any,
    groups: Any,
    bounds: Any,
    sizes: Any,
    full: Any,
    offsets: Any,
    n_correct: Any,
    n_agreeing: Any,
    squares: Any,
) -> None:
    """Fills the rows of the given circuits; sums are computed in the same order as in `evaluate_prefixes`.

    Args:
        first, end: `(P,)` int64: the circuits of tails[first[p]] to tails[end[p]] have the prefix p.
        tails: `(K,)` uint64, as for `evaluate_prefixes`.
        active, values, hidden, output, groups, bounds, sizes, full, offsets, n_correct, n_agreeing, squares: as for
            `evaluate_prefixes`.
    """
    weight = hidden[0]
    out_weight, out_bias, out_means, out_kind, out_slope = output
    n_neurons, n_inputs = weight.shape
    n_examples = full.shape[0]
    for p in prange(active.shape[0]):
        terms = np.empty((n_neurons, 1 << n_inputs, n_examples), dtype=np.float32)
        contributions(values[p], active[p], hidden, out_weight, out_means, terms)
        behind = np.empty(n_examples, dtype=np.float32)
        for row in range(first[p], end[p]):
            behind[:] = out_bias
            term = terms[0, 0]
            for j in range(n_neurons):
                m = (tails[row] >> np.uint64(offsets[0] + j * n_inputs)) & np.uint64((1 << n_inputs) - 1)
                term = terms[j, m]
                if j < n_neurons - 1:
                    for e in range(n_examples):
                        behind[e] += term[e]
            n_correct[row], n_agreeing[row], squares[row] = _answers(
                behind, term, groups, bounds, sizes, full, out_kind, out_slope
            )
