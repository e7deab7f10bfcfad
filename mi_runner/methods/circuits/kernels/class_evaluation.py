"""Evaluates every circuit of several outputs that are classes; work that several circuits share is done once.

As in `evaluation`, a circuit is a prefix and a choice for each neuron j of the last hidden layer. Here the choice is a
mask m of the inputs that the neuron keeps and a mask o of the outputs that keep the neuron, both empty or neither. The
answer is the largest output, the first one among equals; so outputs are compared after their activation, whose ties
count. A softmax changes no answer: there the sums before it are compared.

Of the last neuron's choices those with the same m share the outputs: each output is computed with and without the
neuron, and every o takes one of the two.

Letters: as in `evaluation`; K outputs k, o a mask of them, y the correct answer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import LEAKY_RELU, LOG_SOFTMAX, REORDER, SOFTMAX, TANH, ZERO
from mi_runner.methods.circuits.kernels.evaluation import contributions

_ONE = np.float32(1)
_LEAST_TOTAL = np.float32(1e-30)
"""Below such a sum of exponentials they are computed again, from the largest output of the circuit itself."""


@compiled()
def class_edge_bits(j: int, m: int, o: int, n_neurons: int, n_inputs: int, n_outputs: int, offsets: Any) -> np.uint64:
    """Returns the bits of neuron j's kept inputs m and of its kept edges to the outputs o."""
    bits = np.uint64(m) << np.uint64(offsets[0] + j * n_inputs)
    for k in range(n_outputs):
        bits |= np.uint64(o >> k & 1) << np.uint64(offsets[1] + k * n_neurons + j)
    return bits


@compiled()
def neuron_values(values: Any, active: int, hidden: Any, out_means: Any, terms: Any) -> None:
    """Fills `terms[j, m]` `(N,)` with the value of neuron j if it keeps the inputs of mask m.

    `terms[j, 0]` is what left-out edges of the neuron carry, before their weights: its mean, or 0.
    """
    contributions(values, active, hidden, np.ones(terms.shape[0], dtype=np.float32), out_means, terms)


@compiled()
def smooth_output(z: np.float32, kind: int) -> np.float32:
    """Returns an output, tanh or sigmoid of z, by float64: equal outputs must be as equal as torch's."""
    if kind == TANH:
        return np.float32(math.tanh(float(z)))
    return np.float32(1.0 / (1.0 + math.exp(-float(z))))


@compiled()
def output_with(behind: Any, value: Any, weight: np.float32, kind: int, slope: np.float32, found: Any) -> None:
    """Fills `found` `(N,)` with the output behind + weight · value, after an elementwise activation."""
    if kind <= LEAKY_RELU:
        for e in range(value.shape[0]):
            z = behind[e] + weight * value[e]
            found[e] = z if z > ZERO else slope * z
    elif kind >= SOFTMAX:
        for e in range(value.shape[0]):
            found[e] = behind[e] + weight * value[e]
    else:
        for e in range(value.shape[0]):
            found[e] = smooth_output(behind[e] + weight * value[e], kind)


@compiled(fastmath=REORDER)
def _n_not_below(one: Any, other: Any) -> np.float32:
    count = ZERO
    for e in range(one.shape[0]):
        count += np.float32(one[e] >= other[e])
    return count


@compiled(fastmath=REORDER)
def _n_above(one: Any, other: Any) -> np.float32:
    count = ZERO
    for e in range(one.shape[0]):
        count += np.float32(one[e] > other[e])
    return count


@compiled(fastmath=REORDER)
def _total(flags: Any) -> np.float32:
    count = ZERO
    for e in range(flags.shape[0]):
        count += flags[e]
    return count


@compiled()
def n_answered(variants: Any, o: int, y: int, start: int, end: int, flags: Any) -> np.float32:
    """Returns for how many examples start to end output y is the answer: the largest, the first one among equals.

    Args:
        variants: `(2, K, N)`; output k is variants[1, k] if o has it, otherwise variants[0, k].
        flags: `(N,)`, overwritten.
    """
    n_outputs = variants.shape[1]
    largest = variants[o >> y & 1, y, start:end]
    if n_outputs == 2:
        other = variants[o >> (1 - y) & 1, 1 - y, start:end]
        return _n_not_below(largest, other) if y == 0 else _n_above(largest, other)
    is_answer = flags[start:end]
    is_answer[:] = _ONE
    for k in range(n_outputs):
        other = variants[o >> k & 1, k, start:end]
        if k < y:
            for e in range(other.shape[0]):
                is_answer[e] *= np.float32(largest[e] > other[e])
        elif k > y:
            for e in range(other.shape[0]):
                is_answer[e] *= np.float32(largest[e] >= other[e])
    return _total(is_answer)


@compiled()
def _answers(variants: Any, o: int, groups: Any, answers: Any, sizes: Any, flags: Any) -> tuple[float, float]:
    """Returns the number of correct answers of a circuit, and of those equal to the full network's."""
    n_correct = n_agreeing = 0.0
    for g in range(groups.shape[0] - 1):
        count = n_answered(variants, o, answers[g, 0], groups[g], groups[g + 1], flags)
        n_correct += sizes[g] * count
        if answers[g, 1] != answers[g, 0]:
            count = n_answered(variants, o, answers[g, 1], groups[g], groups[g + 1], flags)
        n_agreeing += sizes[g] * count
    return n_correct, n_agreeing


# --- squared differences to the full network's outputs ---------------------------------------------------------------


@compiled(fastmath=REORDER)
def _squared(outputs: Any, full: Any) -> np.float32:
    squares = ZERO
    for e in range(outputs.shape[0]):
        difference = outputs[e] - full[e]
        squares += difference * difference
    return squares


@compiled()
def _squares_of(outputs: Any, groups: Any, sizes: Any, full: Any, squares: Any) -> None:
    """Fills `squares[k]` with the sum over all examples of output k's squared difference to the full network's."""
    for k in range(outputs.shape[0]):
        squares[k] = 0.0
        for g in range(groups.shape[0] - 1):
            group = slice(groups[g], groups[g + 1])
            squares[k] += sizes[g] * _squared(outputs[k, group], full[k, group])


@compiled(fastmath={"contract"})
def _exp(x: float) -> float:
    """Returns e to the power x, x at most 0, up to a relative 1e-8; it compiles to vector instructions."""
    x = -87.0 if x < -87.0 else x
    y = x / 1024.0
    power = 1.0 + y * (
        1.0 + y / 2.0 * (1.0 + y / 3.0 * (1.0 + y / 4.0 * (1.0 + y / 5.0 * (1.0 + y / 6.0 * (1.0 + y / 7.0)))))
    )
    for _ in range(10):
        power *= power
    return power


@compiled()
def _exponentials(variants: Any, shifts: Any, powers: Any) -> None:
    """Fills `powers` `(2, K, N)` with e to the power of each output minus the largest of all 2K, `shifts` `(N,)`."""
    shifts[:] = variants[0, 0]
    for v in range(variants.shape[0]):
        for k in range(variants.shape[1]):
            outputs = variants[v, k]
            for e in range(shifts.shape[0]):
                shifts[e] = outputs[e] if outputs[e] > shifts[e] else shifts[e]
    for v in range(variants.shape[0]):
        for k in range(variants.shape[1]):
            outputs, power = variants[v, k], powers[v, k]
            for e in range(shifts.shape[0]):
                power[e] = np.float32(_exp(float(outputs[e] - shifts[e])))


@compiled()
def _own_total(variants: Any, o: int, e: int, shift: np.float32) -> float:
    total = 0.0
    for k in range(variants.shape[1]):
        total += math.exp(float(variants[o >> k & 1, k, e] - shift))
    return total


@compiled()
def _squares_over_outputs(
    variants: Any, o: int, shifts: Any, powers: Any, kind: int, groups: Any, sizes: Any, full: Any, totals: Any
) -> float:
    """Returns the sum over all examples and outputs of squared differences, of outputs behind a softmax.

    Args:
        totals: `(N,)`, overwritten.
    """
    n_outputs, n_examples = variants.shape[1], totals.shape[0]
    totals[:] = ZERO
    for k in range(n_outputs):
        power = powers[o >> k & 1, k]
        for e in range(n_examples):
            totals[e] += power[e]
    is_plain = kind == SOFTMAX and totals.min() >= _LEAST_TOTAL
    squares = 0.0
    for g in range(groups.shape[0] - 1):
        group = slice(groups[g], groups[g + 1])
        if is_plain:
            for k in range(n_outputs):
                squares += sizes[g] * _squared_shares(powers[o >> k & 1, k, group], totals[group], full[k, group])
            continue
        for e in range(groups[g], groups[g + 1]):
            shift = variants[o & 1, 0, e]
            for k in range(1, n_outputs):
                shift = max(shift, variants[o >> k & 1, k, e])
            total = _own_total(variants, o, e, shift)
            for k in range(n_outputs):
                above = float(variants[o >> k & 1, k, e] - shift)
                output = above - math.log(total) if kind == LOG_SOFTMAX else math.exp(above) / total
                squares += sizes[g] * (output - full[k, e]) ** 2
    return squares


@compiled(fastmath=REORDER, error_model="numpy")
def _squared_shares(power: Any, totals: Any, full: Any) -> np.float32:
    squares = ZERO
    for e in range(power.shape[0]):
        difference = power[e] / totals[e] - full[e]
        squares += difference * difference
    return squares


# --- all circuits, and given ones ------------------------------------------------------------------------------------


@compiled()
def _evaluate_prefix(
    active: int, values: Any, first: int, hidden: Any, output: Any, groups: Any, answers: Any, sizes: Any, full: Any,
    offsets: Any, all_outputs: bool, tails: Any, n_correct: Any, n_agreeing: Any, squares: Any,
) -> None:  # fmt: skip
    """Fills one row for each circuit that has this prefix, from the row `first` on.

    It is a function of its own, because the loop over prefixes, which runs in parallel, takes long to compile.
    """
    out_weight, out_bias, out_means, kind, slope = output
    n_neurons, n_inputs = hidden[0].shape
    n_outputs, n_examples = full.shape
    n_masks, every = 1 << n_inputs, (1 << n_outputs) - 1
    last = n_neurons - 1
    terms = np.empty((n_neurons, n_masks, n_examples), dtype=np.float32)
    neuron_values(values, active, hidden, out_means, terms)
    sums = np.empty((n_neurons, n_outputs, n_examples), dtype=np.float32)  # without neurons j, j + 1, …
    for k in range(n_outputs):
        sums[0, k, :] = out_bias[k]
    variants = np.empty((2, n_outputs, n_examples), dtype=np.float32)
    each = np.empty((2, n_outputs), dtype=np.float64)  # the squares of each output with and without the neuron
    powers = np.empty((2, n_outputs, n_examples if kind >= SOFTMAX else 0), dtype=np.float32)
    shifts = np.empty(n_examples, dtype=np.float32)
    flags = np.empty(n_examples, dtype=np.float32)
    chosen = np.zeros((n_neurons, 2), dtype=np.int64)  # kept inputs and outputs
    union = np.zeros((n_neurons, 2), dtype=np.int64)  # of neurons 0..j−1
    bits = np.zeros(n_neurons, dtype=np.uint64)
    row = first
    j = 0
    chosen[0] = (0, -1)
    while j >= 0:
        if j == last:
            for k in range(n_outputs):
                output_with(sums[j, k], terms[j, 0], out_weight[k, j], kind, slope, variants[0, k])
            if kind < SOFTMAX:
                _squares_of(variants[0], groups, sizes, full, each[0])
            for m in range(n_masks):
                if m & ~active or union[j, 0] | m != active:
                    continue
                if m:
                    for k in range(n_outputs):
                        output_with(sums[j, k], terms[j, m], out_weight[k, j], kind, slope, variants[1, k])
                    if kind < SOFTMAX:
                        _squares_of(variants[1], groups, sizes, full, each[1])
                else:
                    variants[1] = variants[0]
                if kind == SOFTMAX:
                    _exponentials(variants, shifts, powers)
                for o in range(1 if m else 0, every + 1 if m else 1):
                    if all_outputs and union[j, 1] | o != every:
                        continue
                    tails[row] = bits[j] | class_edge_bits(j, m, o, n_neurons, n_inputs, n_outputs, offsets)
                    n_correct[row], n_agreeing[row] = _answers(variants, o, groups, answers, sizes, flags)
                    total = 0.0
                    if kind < SOFTMAX:
                        for k in range(n_outputs):
                            total += each[o >> k & 1, k]
                    else:
                        total = _squares_over_outputs(variants, o, shifts, powers, kind, groups, sizes, full, flags)
                    squares[row] = total / n_outputs
                    row += 1
            j -= 1
            continue
        m, o = next_choice(chosen[j, 0], chosen[j, 1], n_masks, every, active)
        if m < 0:
            j -= 1
            continue
        chosen[j] = (m, o)
        union[j + 1] = (union[j, 0] | m, union[j, 1] | o)
        bits[j + 1] = bits[j] | class_edge_bits(j, m, o, n_neurons, n_inputs, n_outputs, offsets)
        for k in range(n_outputs):
            weight, term = out_weight[k, j], terms[j, m if o >> k & 1 else 0]
            for e in range(n_examples):
                sums[j + 1, k, e] = sums[j, k, e] + weight * term[e]
        j += 1
        chosen[j] = (0, -1)


@compiled(parallel=True)
def evaluate_class_prefixes(
    active: Any,
    values: Any,
    first: Any,
    hidden: Any,
    output: Any,
    groups: Any,
    answers: Any,
    sizes: Any,
    full: Any,
    offsets: Any,
    all_outputs: bool,
    tails: Any,
    n_correct: Any,
    n_agreeing: Any,
    squares: Any,
) -> None:
    """Fills one row for each circuit that has one of these prefixes.

    Args:
        active, values, first, hidden, sizes, offsets: as for `evaluation.evaluate_prefixes`.
        output: weight `(K, J)`, bias `(K,)`, means `(J,)`, activation, slope of the last layer.
        groups: `(G + 1,)` int64: the examples of group g are groups[g] to groups[g + 1].
        answers: `(G, 2)` int64, the correct answer and the full network's answer in each group.
        full: `(K, N)` float32, the full network's outputs.
        all_outputs: whether circuits must keep an edge to every output.
        tails, n_correct, n_agreeing, squares: the rows, as for `evaluation.evaluate_prefixes`; a tail has the edges
            into the last hidden layer and into all outputs. Squares are the mean over the outputs of the sums over the
            examples.
    """
    for p in prange(active.shape[0]):
        _evaluate_prefix(
            active[p], values[p], first[p], hidden, output, groups, answers,
            sizes, full, offsets, all_outputs, tails, n_correct, n_agreeing, squares,
        )  # fmt: skip


@compiled()
def next_choice(m: int, o: int, n_masks: int, every: int, active: int) -> tuple[int, int]:
    """Returns the choice of kept inputs and outputs after this one; −1 where there is none. (0, −1) is before all."""
    if o < 0:
        return 0, 0
    if m and o < every:
        return m, o + 1
    m += 1
    while m < n_masks and m & ~active:
        m += 1
    return (m, 1) if m < n_masks else (-1, -1)


@compiled()
def _evaluate_listed(
    active: int, values: Any, first: int, end: int, tails: Any, hidden: Any, output: Any, groups: Any, answers: Any,
    sizes: Any, full: Any, offsets: Any, n_correct: Any, n_agreeing: Any, squares: Any,
) -> None:  # fmt: skip
    """Fills the rows first to end of circuits with the same prefix."""
    out_weight, out_bias, out_means, kind, slope = output
    n_neurons, n_inputs = hidden[0].shape
    n_outputs, n_examples = full.shape
    n_masks, last = 1 << n_inputs, n_neurons - 1
    terms = np.empty((n_neurons, n_masks, n_examples), dtype=np.float32)
    neuron_values(values, active, hidden, out_means, terms)
    sums = np.empty((n_outputs, n_examples), dtype=np.float32)
    variants = np.empty((2, n_outputs, n_examples), dtype=np.float32)
    each = np.empty(n_outputs, dtype=np.float64)
    powers = np.empty((2, n_outputs, n_examples if kind >= SOFTMAX else 0), dtype=np.float32)
    shifts = np.empty(n_examples, dtype=np.float32)
    flags = np.empty(n_examples, dtype=np.float32)
    for row in range(first, end):
        for k in range(n_outputs):
            sums[k, :] = out_bias[k]
        for j in range(n_neurons):
            m = (tails[row] >> np.uint64(offsets[0] + j * n_inputs)) & np.uint64(n_masks - 1)
            for k in range(n_outputs):
                kept = (tails[row] >> np.uint64(offsets[1] + k * n_neurons + j)) & np.uint64(1)
                weight, term = out_weight[k, j], terms[j, m if kept else np.uint64(0)]
                if j < last:
                    for e in range(n_examples):
                        sums[k, e] += weight * term[e]
                else:
                    output_with(sums[k], term, weight, kind, slope, variants[0, k])
        variants[1] = variants[0]
        n_correct[row], n_agreeing[row] = _answers(variants, 0, groups, answers, sizes, flags)
        total = 0.0
        if kind < SOFTMAX:
            _squares_of(variants[0], groups, sizes, full, each)
            total = each.sum()
        else:
            if kind == SOFTMAX:
                _exponentials(variants, shifts, powers)
            total = _squares_over_outputs(variants, 0, shifts, powers, kind, groups, sizes, full, flags)
        squares[row] = total / n_outputs


@compiled(parallel=True)
def evaluate_class_listed(
    active: Any,
    values: Any,
    first: Any,
    end: Any,
    tails: Any,
    hidden: Any,
    output: Any,
    groups: Any,
    answers: Any,
    sizes: Any,
    full: Any,
    offsets: Any,
    n_correct: Any,
    n_agreeing: Any,
    squares: Any,
) -> None:
    """Fills the rows of the given circuits; sums are computed in the same order as in `evaluate_class_prefixes`.

    Args:
        first, end: `(P,)` int64: the circuits of tails[first[p]] to tails[end[p]] have the prefix p.
        tails: `(K,)` uint64, as for `evaluate_class_prefixes`.
        active, values, hidden, output, groups, answers, sizes, full, offsets, n_correct, n_agreeing, squares: as for
            `evaluate_class_prefixes`.
    """
    for p in prange(active.shape[0]):
        _evaluate_listed(
            active[p], values[p], first[p], end[p], tails, hidden, output, groups, answers,
            sizes, full, offsets, n_correct, n_agreeing, squares,
        )  # fmt: skip
