"""Counts the correct answers of every circuit of several outputs that are classes, without a row for each.

As in `census`, a block of similar examples with the same correct answer y is decided together: its answers are all
correct where output y is surely larger than every other one, and none is where it is surely smaller than one of them.
Bounded are the differences of output y and each other one, because what both have in common cancels. These bounds are
sums of other numbers than the outputs are, so they decide only beyond a margin that is larger than all rounding errors;
a block between is decided example by example, with the sums of `class_evaluation`.

Letters: as in `census` and `class_evaluation`; a choice q of a neuron is a mask m of kept inputs and a mask o of kept
outputs, Q choices; D differences: of each block those of output y and the K − 1 others, one after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import IDENTITY, REORDER, SOFTMAX, ZERO
from mi_runner.methods.circuits.kernels.census import extremes, fitting_masks, rank_of, shorten
from mi_runner.methods.circuits.kernels.class_evaluation import (
    class_edge_bits,
    n_answered,
    neuron_values,
    output_with,
)

_ROUNDING = np.float32(2.0**-21)
"""Eight times the largest relative rounding error of a float32 operation; see `_margin`."""


@compiled()
def _margin(terms: Any, out_weight: Any, out_bias: Any) -> np.float32:
    """Returns more than the rounding errors of a difference of two outputs and of its bound are together.

    Each is a sum of at most J + 1 products, J + 3 operations, and no intermediate result is larger than twice the
    largest sum of absolute values.
    """
    n_outputs, n_neurons = out_weight.shape
    largest = ZERO
    for k in range(n_outputs):
        size = abs(out_bias[k])
        for j in range(n_neurons):
            size += abs(out_weight[k, j]) * max(abs(terms[j].max()), abs(terms[j].min()))
        largest = max(largest, size)
    return np.float32(n_neurons + 3) * _ROUNDING * largest


@compiled()
def _thresholds(targets: Any, n_outputs: int, kind: int, margin: np.float32, above: Any, below: Any) -> None:
    """Fills `above` and `below` `(D,)`: beyond these a difference of sums decides which output is larger.

    An activation that never falls may make different sums equal: then the first of two equal outputs is the answer, and
    only the other one can be decided from the sums.
    """
    never = np.float32(np.inf)
    is_strict = kind == IDENTITY or kind >= SOFTMAX
    d = 0
    for y in targets:
        for k in range(n_outputs):
            if k != y:
                above[d] = margin if is_strict or k > y else never
                below[d] = -margin if is_strict or k < y else -never
                d += 1


@compiled()
def _differences(
    smallest: Any, largest: Any, means: Any, out_weight: Any, targets: Any, masks: Any, active: int, low: Any, high: Any
) -> None:
    """Fills `low[j, q]` and `high[j, q]` `(D,)` with the bounds of what neuron j adds to each difference.

    Args:
        smallest, largest: `(J, 2ⁿ, C)`, the bounds of the neurons' values.
        means: `(J,)`, what left-out edges carry, before their weights.
        masks: `(Q, 2)` int64, the kept inputs and outputs of each choice.
    """
    n_outputs, n_neurons = out_weight.shape
    for j in range(n_neurons):
        for q in range(masks.shape[0]):
            m, o = masks[q]
            if m & ~active:
                continue
            d = 0
            for c in range(targets.shape[0]):
                y = targets[c]
                for k in range(n_outputs):
                    if k == y:
                        continue
                    kept = left_out = ZERO
                    if o >> y & 1:
                        kept += out_weight[y, j]
                    else:
                        left_out += out_weight[y, j]
                    if o >> k & 1:
                        kept -= out_weight[k, j]
                    else:
                        left_out -= out_weight[k, j]
                    one, other = kept * smallest[j, m, c], kept * largest[j, m, c]
                    low[j, q, d] = min(one, other) + left_out * means[j]
                    high[j, q, d] = max(one, other) + left_out * means[j]
                    d += 1


@compiled(fastmath=REORDER)
def _decide(
    behind_low: Any, behind_high: Any, low: Any, high: Any, above: Any, below: Any, sizes: Any, n_others: int,
    all_correct: Any, any_correct: Any, correct: Any, unsure: Any,
) -> bool:  # fmt: skip
    """Counts the correct answers in decided blocks for each choice of the last neuron; returns whether any isn't.

    The choices are the inner loop, as in `census`.

    Args:
        behind_low, behind_high: `(D,)`, the bounds of the differences without the last neuron.
        low, high: `(D, Q)`, the bounds of what the last neuron adds.
        all_correct, any_correct: `(Q,)`, overwritten.
        correct: `(Q,)`, filled with the correct answers in blocks in which all answers are correct.
        unsure: `(Q,)`, filled with the number of blocks that must be decided example by example.
    """
    correct[:] = 0
    unsure[:] = 0
    for c in range(sizes.shape[0]):
        all_correct[:] = 1
        any_correct[:] = 1
        for d in range(c * n_others, (c + 1) * n_others):
            for q in range(correct.shape[0]):
                all_correct[q] *= np.float32(behind_low[d] + low[d, q] > above[d])
                any_correct[q] *= np.float32(behind_high[d] + high[d, q] >= below[d])
        for q in range(correct.shape[0]):
            correct[q] += all_correct[q] * sizes[c]
            unsure[q] += any_correct[q] - all_correct[q]
    return unsure.sum() > ZERO


@compiled()
def _look(
    terms: Any, chosen: Any, masks: Any, output: Any, behind: Any, summed: Any, behind_low: Any, behind_high: Any,
    low: Any, high: Any, above: Any, below: Any, blocks: Any, sizes: Any, targets: Any, variants: Any, flags: Any,
) -> int:  # fmt: skip
    """Returns the number of correct answers in the undecided blocks of the circuit with the chosen choices.

    Circuits that differ only in the last neuron share the sums of the other neurons: `behind` `(K, N)` stores them, and
    `summed` `(C,)` says for which blocks it already does. `variants` `(2, K, N)` and `flags` `(N,)` are overwritten.
    """
    out_weight, out_bias, _, kind, slope = output
    n_outputs, n_neurons = out_weight.shape
    n_correct, last, n_others = 0, n_neurons - 1, n_outputs - 1
    q = chosen[last]
    m, o = masks[q]
    for c in range(targets.shape[0]):
        all_correct = any_correct = True
        for d in range(c * n_others, (c + 1) * n_others):
            all_correct &= behind_low[d] + low[d, q] > above[d]
            any_correct &= behind_high[d] + high[d, q] >= below[d]
        if all_correct or not any_correct:
            continue
        block = slice(blocks[c], blocks[c + 1])
        for k in range(n_outputs):
            sums = behind[k, block]
            if not summed[c]:
                sums[:] = out_bias[k]
                for j in range(last):
                    term = terms[j, masks[chosen[j], 0] if masks[chosen[j], 1] >> k & 1 else 0][block]
                    for e in range(sums.shape[0]):
                        sums[e] += out_weight[k, j] * term[e]
            term = terms[last, m if o >> k & 1 else 0][block]
            output_with(sums, term, out_weight[k, last], kind, slope, variants[0, k, block])
        summed[c] = True
        # Equal examples are a block of one row.
        n_equal = int(sizes[c]) // (blocks[c + 1] - blocks[c])
        n_correct += n_equal * int(n_answered(variants, 0, targets[c], blocks[c], blocks[c + 1], flags))
    return n_correct


@compiled()
def _allowed(fitting: Any, needed: int, every: int, choices: Any) -> int:
    """Fills `choices` with the last neuron's choices that complete a circuit, and returns their number.

    Args:
        fitting: a row of `fitting_masks`, the masks of inputs that complete it.
        needed: the outputs that it must keep.
    """
    n = 0
    for i in range(1, fitting[0] + 1):
        m = fitting[i]
        if m == 0:
            if needed == 0:
                choices[n] = 0
                n += 1
            continue
        for o in range(1, every + 1):
            if not needed & ~o:
                choices[n] = 1 + (m - 1) * every + o - 1
                n += 1
    return n


@compiled()
def _count(
    thread: int, prefixes: Any, active: Any, vectors: Any, index: Any, item_prefix: Any, item_heads: Any, hidden: Any,
    output: Any, blocks: Any, sizes: Any, targets: Any, masks: Any, all_outputs: bool, least_correct: int,
    n_before: Any, census: Any, n_valid: Any, valid_rows: Any, offsets: Any, salt: np.uint64, most: int, beyond: Any,
    n_listed: Any, listed: Any,
) -> None:  # fmt: skip
    """Counts the circuits of every T-th item, as thread `thread` of T."""
    out_weight, out_bias, out_means, kind, _ = output
    n_neurons, n_inputs = hidden[0].shape
    n_outputs, n_examples, n_blocks = out_weight.shape[0], vectors.shape[1], targets.shape[0]
    n_masks, n_choices, every = 1 << n_inputs, masks.shape[0], (1 << n_outputs) - 1
    n_others = n_outputs - 1
    n_differences = n_blocks * n_others
    last, n_threads, n_head = n_neurons - 1, census.shape[0], item_heads.shape[1]
    terms = np.zeros((n_neurons, n_masks, n_examples), dtype=np.float32)
    smallest = np.zeros((n_neurons, n_masks, n_blocks), dtype=np.float32)
    largest = np.zeros((n_neurons, n_masks, n_blocks), dtype=np.float32)
    low = np.zeros((n_neurons, n_choices, n_differences), dtype=np.float32)
    high = np.zeros((n_neurons, n_choices, n_differences), dtype=np.float32)
    above, below = np.empty(n_differences, dtype=np.float32), np.empty(n_differences, dtype=np.float32)
    behind_low = np.empty((n_neurons, n_differences), dtype=np.float32)  # bounds of the sums over neurons 0..j−1
    behind_high = np.empty((n_neurons, n_differences), dtype=np.float32)
    all_correct, any_correct = np.empty(n_choices, dtype=np.float32), np.empty(n_choices, dtype=np.float32)
    correct, unsure = np.empty(n_choices, dtype=np.float32), np.empty(n_choices, dtype=np.float32)
    behind = np.empty((n_outputs, n_examples), dtype=np.float32)
    variants = np.empty((2, n_outputs, n_examples), dtype=np.float32)
    flags = np.empty(n_examples, dtype=np.float32)
    summed = np.empty(n_blocks, dtype=np.bool_)
    chosen = np.zeros(n_neurons, dtype=np.int64)
    union = np.zeros((n_neurons, 2), dtype=np.int64)
    nodes, edges = np.zeros(n_neurons, dtype=np.int64), np.zeros(n_neurons, dtype=np.int64)
    bits = np.zeros(n_neurons, dtype=np.uint64)  # the edges of neurons 0..j−1 and of the prefix
    of_choice = np.zeros(n_choices, dtype=np.int64)  # kept edges
    for q in range(n_choices):
        for bit in range(max(n_inputs, n_outputs)):
            of_choice[q] += (masks[q, 0] >> bit & 1) + (masks[q, 1] >> bit & 1)
    fitting = np.empty((n_masks, n_masks + 1), dtype=np.int64)
    choices = np.empty(n_choices, dtype=np.int64)
    last_low = np.empty((n_differences, n_choices), dtype=np.float32)
    last_high = np.empty((n_differences, n_choices), dtype=np.float32)
    p = -1
    for item in range(thread, item_prefix.shape[0], n_threads):
        if item_prefix[item] != p:
            p = item_prefix[item]
            terms[:] = 0
            neuron_values(vectors[index[p]], active[p], hidden, out_means, terms)
            extremes(terms, blocks, smallest, largest, active[p])
            fitting_masks(active[p], fitting)
            _thresholds(targets, n_outputs, kind, _margin(terms, out_weight, out_bias), above, below)
            _differences(smallest, largest, out_means, out_weight, targets, masks, active[p], low, high)
            last_low[:] = low[last].T
            last_high[:] = high[last].T
            d = 0
            for c in range(n_blocks):
                for k in range(n_outputs):
                    if k != targets[c]:
                        behind_low[0, d] = behind_high[0, d] = out_bias[targets[c]] - out_bias[k]
                        d += 1
            nodes[0], edges[0], bits[0] = n_before[p, 0], n_before[p, 1], prefixes[p]
        j = 0
        chosen[0] = item_heads[item, 0] - 1 if n_head else -1
        while j >= 0:
            if j == last:
                needed = every & ~union[j, 1] if all_outputs else 0
                n_allowed = _allowed(fitting[active[p] & ~union[j, 0]], needed, every, choices)
                if n_allowed and _decide(
                    behind_low[j], behind_high[j], last_low, last_high, above, below, sizes, n_others,
                    all_correct, any_correct, correct, unsure,
                ):  # fmt: skip
                    summed[:] = False
                    for q in choices[:n_allowed]:
                        if unsure[q] != ZERO:
                            chosen[j] = q
                            correct[q] += _look(
                                terms, chosen, masks, output, behind, summed, behind_low[j], behind_high[j],
                                last_low, last_high, above, below, blocks, sizes, targets, variants, flags,
                            )  # fmt: skip
                n_found = 0
                for q in choices[:n_allowed]:
                    n_correct = int(correct[q])
                    census[thread, nodes[j] + (q != 0), edges[j] + of_choice[q], n_correct] += 1
                    if n_correct < least_correct:
                        continue
                    n_found += 1
                    valid_rows[thread, j, q] += 1
                    if most > 0:
                        m, o = masks[q]
                        own = class_edge_bits(j, m, o, n_neurons, n_inputs, n_outputs, offsets)
                        rank = rank_of(bits[j] | own, salt)
                        if rank <= beyond[thread]:
                            listed[thread, n_listed[thread]] = rank
                            n_listed[thread] += 1
                            if n_listed[thread] == listed.shape[1]:
                                n_listed[thread], beyond[thread] = shorten(listed[thread], most)
                n_valid[item] += n_found
                for neuron in range(last):
                    valid_rows[thread, neuron, chosen[neuron]] += n_found
                j -= 1
                continue
            q = chosen[j] + 1
            while q < n_choices and masks[q, 0] & ~active[p]:
                q += 1
            if q == n_choices or (j < n_head and q > item_heads[item, j]):
                j -= 1
                continue
            chosen[j] = q
            m, o = masks[q]
            union[j + 1] = (union[j, 0] | m, union[j, 1] | o)
            nodes[j + 1] = nodes[j] + (q != 0)
            edges[j + 1] = edges[j] + of_choice[q]
            bits[j + 1] = bits[j] | class_edge_bits(j, m, o, n_neurons, n_inputs, n_outputs, offsets)
            for d in range(n_differences):
                behind_low[j + 1, d] = behind_low[j, d] + low[j, q, d]
                behind_high[j + 1, d] = behind_high[j, d] + high[j, q, d]
            j += 1
            chosen[j] = item_heads[item, j] - 1 if j < n_head else -1


@compiled(parallel=True)
def census_class_prefixes(
    prefixes: Any,
    active: Any,
    vectors: Any,
    index: Any,
    item_prefix: Any,
    item_heads: Any,
    hidden: Any,
    output: Any,
    blocks: Any,
    sizes: Any,
    targets: Any,
    masks: Any,
    all_outputs: bool,
    least_correct: int,
    n_before: Any,
    census: Any,
    n_valid: Any,
    valid_rows: Any,
    offsets: Any,
    salt: np.uint64,
    most: int,
    beyond: Any,
    n_listed: Any,
    listed: Any,
) -> None:
    """Counts the circuits of these items by active neurons, kept edges and correct answers.

    Args:
        prefixes, active, hidden, output, all_outputs: as for `class_evaluation.evaluate_class_prefixes`.
        item_heads: `(I, neurons)` int64, the choices of the head's neurons.
        targets: `(C,)` int64, the correct answer in each block.
        masks: `(Q, 2)` int64, the kept inputs and outputs of each choice: (0, 0), then those of the first mask of
            inputs, and so on.
        valid_rows: `(T, J, Q)` int64; the function adds how many valid circuits make choice q for neuron j.
        vectors, index, item_prefix, blocks, sizes, least_correct, n_before, census, n_valid, offsets, salt, most,
            beyond, n_listed, listed: as for `census.census_prefixes`.
    """
    for thread in prange(census.shape[0]):
        _count(
            thread, prefixes, active, vectors, index, item_prefix, item_heads, hidden, output, blocks, sizes,
            targets, masks, all_outputs, least_correct, n_before, census, n_valid,
            valid_rows, offsets, salt, most, beyond, n_listed, listed,
        )  # fmt: skip
