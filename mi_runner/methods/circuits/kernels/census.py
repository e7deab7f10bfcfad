"""Counts the correct answers of every circuit, without a row for each.

A census decides a block of similar examples together. The smallest and the largest contribution of each neuron give a
lower and an upper bound of z for the block. Only a block with a rounding boundary between its bounds is decided example
by example. The bounds are summed in the same order and precision as z, and rounding keeps the order of numbers. So each
example is decided as it would be alone.

Letters: as in `evaluation`; C blocks of examples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import REORDER, ZERO
from mi_runner.methods.circuits.kernels.evaluation import between, contributions, edge_bits


@compiled(fastmath={"nnan", "nsz"})  # or the search for the smallest could not be vectorised
def extremes(terms: Any, blocks: Any, smallest: Any, largest: Any, active: int) -> None:
    """Fills `smallest[j, m]` and `largest[j, m]` `(C,)` with the bounds of each block's contributions."""
    for j in range(terms.shape[0]):
        for m in range(terms.shape[1]):
            if m & ~active:
                continue
            for c in range(blocks.shape[0] - 1):
                low = high = terms[j, m, blocks[c]]
                for e in range(blocks[c] + 1, blocks[c + 1]):
                    term = terms[j, m, e]
                    low = term if term < low else low
                    high = term if term > high else high
                smallest[j, m, c] = low
                largest[j, m, c] = high


@compiled(fastmath=REORDER)
def _decide(
    behind_low: Any, behind_high: Any, low: Any, high: Any, bounds: Any, sizes: Any, correct: Any, unsure: Any
) -> bool:
    """Counts the correct answers in decided blocks for each mask of the last neuron; returns whether any is undecided.

    The masks are the inner loop, because a vector register holds about as many.

    Args:
        behind_low, behind_high: `(C,)`, the bounds of the sum without the last neuron.
        low, high: `(C, 2ⁿ)`, the bounds of the last neuron's contribution.
        correct: `(2ⁿ,)`, filled with the correct answers in blocks in which all answers are correct.
        unsure: `(2ⁿ,)`, filled with the number of blocks that must be decided example by example.
    """
    correct[:] = 0
    unsure[:] = 0
    for c in range(sizes.shape[0]):
        for m in range(correct.shape[0]):
            z_low = behind_low[c] + low[c, m]
            z_high = behind_high[c] + high[c, m]
            all_correct = np.float32((z_low >= bounds[0, c]) & (z_high <= bounds[1, c]))
            any_correct = np.float32((z_high >= bounds[0, c]) & (z_low <= bounds[1, c]))
            correct[m] += all_correct * sizes[c]
            unsure[m] += any_correct - all_correct
    return unsure.sum() > ZERO


@compiled()
def _look(
    terms: Any,
    chosen: Any,
    out_bias: np.float32,
    behind: Any,
    summed: Any,
    behind_low: Any,
    behind_high: Any,
    low: Any,
    high: Any,
    blocks: Any,
    bounds: Any,
) -> int:
    """Returns the number of correct answers in the undecided blocks of the circuit with the chosen masks.

    Circuits that differ only in the last neuron share the sums of the other neurons: `behind` `(N,)` stores them, and
    `summed` `(C,)` says for which blocks it already does.
    """
    n_correct = 0
    last = terms.shape[0] - 1
    m = chosen[last]
    for c in range(blocks.shape[0] - 1):
        z_low = behind_low[c] + low[c, m]
        z_high = behind_high[c] + high[c, m]
        if z_low >= bounds[0, c] and z_high <= bounds[1, c]:
            continue
        if z_high < bounds[0, c] or z_low > bounds[1, c]:
            continue
        block = slice(blocks[c], blocks[c + 1])
        sums = behind[block]
        if not summed[c]:
            summed[c] = True
            sums[:] = out_bias
            for j in range(last):
                term = terms[j, chosen[j]][block]
                for e in range(sums.shape[0]):
                    sums[e] += term[e]
        n_correct += int(between(sums, terms[last, m][block], bounds[0, c], bounds[1, c]))
    return n_correct


@compiled()
def fitting_masks(active: int, fitting: Any) -> None:
    """Fills `fitting[need]` with the number of masks of active neurons that contain `need`, then with these masks."""
    fitting[:, 0] = 0
    for m in range(fitting.shape[0]):
        for need in range(fitting.shape[0]):
            if not m & ~active and not need & ~m:
                fitting[need, 0] += 1
                fitting[need, fitting[need, 0]] = m


@compiled()
def _tally(correct: Any, masks: Any, least_correct: int, counts: Any, first: int, of_mask: Any, valid: Any) -> int:
    """Counts circuits that differ only in the last neuron's mask by their correct answers; returns how many are valid.

    Args:
        correct: `(2ⁿ,)`, the correct answers of the circuit with each mask.
        masks: a row of `fitting_masks`.
        counts: a circuit with mask m and r correct answers adds 1 at first + of_mask[m] + r.
        valid: `(2ⁿ,)`; a valid circuit with mask m adds 1 at m.
    """
    n_valid = 0
    for i in range(1, masks[0] + 1):
        m = np.uint64(masks[i])  # numba checks whether a signed index is negative
        n_correct = int(correct[m])
        counts[np.uint64(first + of_mask[m] + n_correct)] += 1
        is_valid = int(n_correct >= least_correct)
        valid[m] += is_valid
        n_valid += is_valid
    return n_valid


@compiled()
def rank_of(circuit: np.uint64, salt: np.uint64) -> np.uint64:
    """Returns the circuit's place in a random order: its bits, mixed by SplitMix64's last step, which is invertible."""
    z = circuit ^ salt
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled()
def shorten(places: Any, most: int) -> tuple[int, int]:
    """Moves the `most` lowest of these distinct places, and a few more, to the front.

    Returns how many were moved, and the highest of them. The boundary is found by bisection, and need not be exact.
    """
    few = most + (len(places) - most) // 2
    low, high = np.uint64(0), places.max()
    n = len(places)
    while n > few:
        middle = low + ((high - low) >> np.uint64(1))
        n_below = 0
        for place in places:
            n_below += place <= middle
        if n_below >= most:
            high, n = middle, n_below
        else:
            low = middle + np.uint64(1)
    to = 0
    for place in places:
        if place <= high:
            places[to] = place
            to += 1
    return n, high


def circuits_of(ranks: np.ndarray, salt: np.uint64) -> np.ndarray:
    """Returns the circuits `(K,)` uint64 at places `(K,)` uint64 of the random order; the inverse of `rank_of`."""
    z = ranks ^ (ranks >> np.uint64(31)) ^ (ranks >> np.uint64(62))
    z = z * np.uint64(0x319642B2D24D8EC3)  # 0x94D0…·0x3196… = 1 modulo 2⁶⁴
    z = z ^ (z >> np.uint64(27)) ^ (z >> np.uint64(54))
    z = z * np.uint64(0x96DE1B173F119089)
    z = z ^ (z >> np.uint64(30)) ^ (z >> np.uint64(60))
    return z ^ salt


@compiled(parallel=True)
def census_prefixes(
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
    bounds: Any,
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

    An item is a prefix and a head: the masks of the first neurons of the last hidden layer. Thread t takes every T-th
    item; what the items of a prefix share is computed once if they follow each other.

    Args:
        prefixes, active, hidden, output: as for `evaluate_prefixes`.
        vectors, index: the values of neuron i are vectors[index[p, i]], as `prefixes.Prefixes` says.
        item_prefix: `(I,)` int64, the prefix of each item.
        item_heads: `(I, neurons)` int64, the masks of the head's neurons, of none for all circuits of the prefix.
        blocks: `(C + 1,)` int64: the examples of block c are blocks[c] to blocks[c + 1]; all have the same
            correct answer.
        sizes: `(C,)` float32: how many examples a block represents; N equal examples are a block of one row.
        bounds: `(2, C)` float32: the answer is correct if z lies between bounds[0, c] and bounds[1, c].
        least_correct: a circuit with at least so many correct answers is valid.
        n_before: `(P, 2)` int64, active neurons and kept edges of each prefix.
        census: `(T, nodes, edges, N + 1)` int64, counts of each of T threads; the function adds to them.
        n_valid: `(I,)` int64, filled with the number of valid circuits of each item.
        valid_rows: `(T, J, 2ⁿ)` int64; the function adds how many valid circuits keep the inputs m of neuron j.
        offsets: `(2,)`, the bits at which the last hidden layer's and the output's edges begin.
        salt: uint64; the random order of the circuits, see `rank_of`.
        most: how many valid circuits are listed: those that come first in the random order.
        beyond: `(T,)` uint64, for each thread the last place that is still listed; lowered when more are found.
        n_listed: `(T,)` int64; how many places each thread has listed.
        listed: `(T, more than most)` uint64, the places, not sorted.
    """
    for thread in prange(census.shape[0]):
        _count(
            thread, prefixes, active, vectors, index, item_prefix, item_heads, hidden, output, blocks, sizes, bounds,
            least_correct, n_before, census, n_valid, valid_rows, offsets, salt, most, beyond, n_listed, listed,
        )  # fmt: skip


@compiled()
def _count(
    thread: int, prefixes: Any, active: Any, vectors: Any, index: Any, item_prefix: Any, item_heads: Any, hidden: Any,
    output: Any, blocks: Any, sizes: Any, bounds: Any, least_correct: int, n_before: Any, census: Any, n_valid: Any,
    valid_rows: Any, offsets: Any, salt: np.uint64, most: int, beyond: Any, n_listed: Any, listed: Any,
) -> None:  # fmt: skip
    """Counts the circuits of every T-th item, as thread `thread` of T."""
    weight = hidden[0]
    out_weight, out_bias, out_means, _, _ = output
    n_neurons, n_inputs = weight.shape
    n_masks = 1 << n_inputs
    n_examples = vectors.shape[1]
    n_blocks = blocks.shape[0] - 1
    n_threads, n_head = census.shape[0], item_heads.shape[1]
    terms = np.empty((n_neurons, n_masks, n_examples), dtype=np.float32)
    smallest = np.zeros((n_neurons, n_masks, n_blocks), dtype=np.float32)
    largest = np.zeros((n_neurons, n_masks, n_blocks), dtype=np.float32)
    low = np.empty((n_neurons, n_blocks), dtype=np.float32)  # bounds of the sums over neurons 0..j−1
    high = np.empty((n_neurons, n_blocks), dtype=np.float32)
    correct = np.empty(n_masks, dtype=np.float32)
    unsure = np.empty(n_masks, dtype=np.float32)
    behind = np.empty(n_examples, dtype=np.float32)
    summed = np.empty(n_blocks, dtype=np.bool_)
    chosen = np.zeros(n_neurons, dtype=np.int64)
    union = np.zeros(n_neurons, dtype=np.int64)
    nodes = np.zeros(n_neurons, dtype=np.int64)
    edges = np.zeros(n_neurons, dtype=np.int64)
    bits = np.zeros(n_neurons, dtype=np.uint64)  # the edges of neurons 0..j−1 and of the prefix
    mask_edges = np.zeros(n_masks, dtype=np.int64)  # with the edge to the output
    for m in range(1, n_masks):
        mask_edges[m] = mask_edges[m & (m - 1)] + 1
    mask_edges[1:] += 1
    n_edges, n_bins = census.shape[2], census.shape[3]
    counts = census[thread].reshape(-1)
    of_mask = np.empty(n_masks, dtype=np.int64)  # the distance to the counts of circuits with this mask
    for m in range(n_masks):
        of_mask[m] = ((m != 0) * n_edges + mask_edges[m]) * n_bins
    fitting = np.empty((n_masks, n_masks + 1), dtype=np.int64)
    last = n_neurons - 1
    last_low, last_high = np.empty((n_blocks, n_masks), np.float32), np.empty((n_blocks, n_masks), np.float32)
    p = -1
    for item in range(thread, item_prefix.shape[0], n_threads):
        if item_prefix[item] != p:
            p = item_prefix[item]
            contributions(vectors[index[p]], active[p], hidden, out_weight, out_means, terms)
            extremes(terms, blocks, smallest, largest, active[p])
            fitting_masks(active[p], fitting)
            last_low[:] = smallest[last].T
            last_high[:] = largest[last].T
            low[0, :] = out_bias
            high[0, :] = out_bias
            nodes[0], edges[0], bits[0] = n_before[p, 0], n_before[p, 1], prefixes[p]
        j = 0
        chosen[0] = item_heads[item, 0] - 1 if n_head else -1
        while j >= 0:
            if j == last:
                masks = fitting[active[p] & ~union[j]]
                if _decide(low[j], high[j], last_low, last_high, bounds, sizes, correct, unsure):
                    summed[:] = False
                    for i in range(1, masks[0] + 1):
                        m = masks[i]
                        if unsure[m] != ZERO:
                            chosen[j] = m
                            correct[m] += _look(
                                terms, chosen, out_bias, behind, summed,
                                low[j], high[j], last_low, last_high, blocks, bounds,
                            )  # fmt: skip
                first = (nodes[j] * n_edges + edges[j]) * n_bins
                n_found = _tally(correct, masks, least_correct, counts, first, of_mask, valid_rows[thread, j])
                if n_found and most > 0:
                    for i in range(1, masks[0] + 1):
                        m = masks[i]
                        if correct[m] < least_correct:
                            continue
                        rank = rank_of(bits[j] | edge_bits(j, m, n_inputs, offsets), salt)
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
            m = chosen[j] + 1
            while m < n_masks and m & ~active[p]:
                m += 1
            if m == n_masks or (j < n_head and m > item_heads[item, j]):
                j -= 1
                continue
            chosen[j] = m
            union[j + 1] = union[j] | m
            nodes[j + 1] = nodes[j] + (m != 0)
            edges[j + 1] = edges[j] + mask_edges[m]
            bits[j + 1] = bits[j] | edge_bits(j, m, n_inputs, offsets)
            for c in range(n_blocks):
                low[j + 1, c] = low[j, c] + smallest[j, m, c]
                high[j + 1, c] = high[j, c] + largest[j, m, c]
            j += 1
            chosen[j] = item_heads[item, j] - 1 if j < n_head else -1
