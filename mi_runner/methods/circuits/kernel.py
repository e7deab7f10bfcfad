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

from typing import Any

import numpy as np
from numba import prange

from mi_runner.compiled import compiled

IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID = range(5)
"""Activations; the first three are z where z > 0 and slope · z elsewhere."""

ZERO = np.float32(0)  # a plain 0 would make numba compare in float64

# Sums over examples may be reordered, or they could not be vectorised; NaN and infinity keep their meaning.
_REORDER = {"reassoc", "contract", "nsz"}


# The rational function for tanh in float32 that Eigen has (generic_fast_tanh_float): x·p(x²)/q(x²).
_P = tuple(
    np.float32(number)
    for number in (
        *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
        *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
    )
)
_Q = tuple(
    np.float32(number)
    for number in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)
_TANH_IS_ONE = np.float32(7.90531110763549805)  # from here on, in this function
_HALF = np.float32(0.5)


@compiled(error_model="numpy")  # no look for a division by zero
def _tanh(z: np.float32) -> np.float32:
    """tanh to a few of float32's last digits; unlike math.tanh it becomes vector instructions."""
    z = _TANH_IS_ONE if z > _TANH_IS_ONE else z  # NaN stays
    z = -_TANH_IS_ONE if z < -_TANH_IS_ONE else z
    square = z * z
    above, below = _P[0], _Q[0]
    for number in _P[1:]:
        above = above * square + number
    for number in _Q[1:]:
        below = below * square + number
    return z * above / below


@compiled()
def activate(z: np.float32, kind: int, slope: np.float32) -> np.float32:
    """The activation of one number."""
    if kind <= LEAKY_RELU:
        return z if z > ZERO else slope * z
    if kind == TANH:
        return _tanh(z)
    return _HALF * _tanh(_HALF * z) + _HALF


@compiled(fastmath=_REORDER)
def _contributions(
    values: Any, active: int, weight: Any, bias: Any, out: Any, kind: int, slope: np.float32, terms: Any
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


@compiled()
def _edges_of(j: int, m: int, n_inputs: int, offsets: Any) -> np.uint64:
    """The bits of neuron j's kept inputs m and of its edge to the output, which it has if it keeps any."""
    into = np.uint64(m) << np.uint64(offsets[0] + j * n_inputs)
    return into | (np.uint64(m != 0) << np.uint64(offsets[1] + j))


@compiled(fastmath=_REORDER)
def _between(behind: Any, term: Any, low: np.float32, high: np.float32) -> np.float32:
    """How many of z = behind + term lie in low..high."""
    count = np.float32(0)  # exact up to 2²⁴, and as wide as what is counted, so that both share vector registers
    for e in range(behind.shape[0]):
        z = behind[e] + term[e]
        count += np.float32((z >= low) & (z <= high))
    return count


@compiled(fastmath=_REORDER)
def _between_and_squares(
    behind: Any, term: Any, low: np.float32, high: np.float32, full: Any, kind: int, slope: np.float32
) -> tuple[np.float32, np.float32]:
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


@compiled()
def _answers(
    behind: Any, term: Any, groups: Any, bounds: Any, sizes: Any, full: Any, kind: int, slope: np.float32
) -> tuple[float, float, float]:
    """Right answers, answers as the full network's, and squares, of the circuit with z = behind + term."""
    right = equal = squares = 0.0
    for g in range(groups.shape[0] - 1):
        part = slice(groups[g], groups[g + 1])
        count, squared = _between_and_squares(
            behind[part], term[part], bounds[g, 0], bounds[g, 1], full[part], kind, slope
        )
        right += sizes[g] * count
        squares += sizes[g] * squared
        if bounds[g, 0] != bounds[g, 2] or bounds[g, 1] != bounds[g, 3]:
            count = _between(behind[part], term[part], bounds[g, 2], bounds[g, 3])
        equal += sizes[g] * count
    return right, equal, squares


@compiled(parallel=True)
def evaluate_prefixes(
    prefixes: Any,
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
        sizes: `(G,)` float32: for how many equal examples each example of a group stands.
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
            bits[j + 1] = bits[j] | _edges_of(j, m, n_inputs, offsets)
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
                circuits[row] = prefixes[p] | bits[j + 1]
                n_right[row], n_equal[row], squares[row] = _answers(
                    sums[j], term, groups, bounds, sizes, full, out_kind, out_slope
                )
                row += 1


@compiled(parallel=True)
def evaluate_listed(
    active: Any,
    values: Any,
    first: Any,
    end: Any,
    circuits: Any,
    hidden: Any,
    output: Any,
    groups: Any,
    bounds: Any,
    sizes: Any,
    full: Any,
    offsets: Any,
    n_right: Any,
    n_equal: Any,
    squares: Any,
) -> None:
    """Fill the rows of circuits that are given; their sums are those of `evaluate_prefixes`, term by term.

    Args:
        first, end: `(P,)` int64: circuits[first[p]] to circuits[end[p]] have the prefix p.
        circuits: uint64, the kept edges as bits.
        active, values, hidden, output, groups, bounds, sizes, full, offsets, n_right, n_equal, squares: as for
            `evaluate_prefixes`.
    """
    weight, bias, kind, slope = hidden
    out_weight, out_bias, out_kind, out_slope = output
    n_neurons, n_inputs = weight.shape
    n_examples = full.shape[0]
    for p in prange(active.shape[0]):
        terms = np.empty((n_neurons, 1 << n_inputs, n_examples), dtype=np.float32)
        _contributions(values[p], active[p], weight, bias, out_weight, kind, slope, terms)
        terms[:, 0] = 0  # an inactive neuron adds nothing
        behind = np.empty(n_examples, dtype=np.float32)
        for row in range(first[p], end[p]):
            behind[:] = out_bias
            term = terms[0, 0]
            for j in range(n_neurons):
                m = (circuits[row] >> np.uint64(offsets[0] + j * n_inputs)) & np.uint64((1 << n_inputs) - 1)
                term = terms[j, m]
                if j < n_neurons - 1:
                    for e in range(n_examples):
                        behind[e] += term[e]
            n_right[row], n_equal[row], squares[row] = _answers(
                behind, term, groups, bounds, sizes, full, out_kind, out_slope
            )


# --- census ----------------------------------------------------------------------------------------------------------
#
# Where a row a circuit is too much, the right answers of each are counted and the circuit forgotten. Examples that are
# near each other are then decided together: for a block of them the smallest and largest contribution of each neuron
# bound z from both sides, and only a block whose bounds lie on both sides of a boundary is looked at example by
# example. The bounds are sums in the same order and precision as z itself, and rounding never turns an order round, so
# no example is decided otherwise than it would be alone.


@compiled(fastmath={"nnan", "nsz"})  # or the search for the smallest could not be vectorised
def _extremes(terms: Any, blocks: Any, smallest: Any, largest: Any, active: int) -> None:
    """Fill `smallest[j, m]` and `largest[j, m]` `(C,)` with the bounds of each block's contributions."""
    for j in range(terms.shape[0]):
        for m in range(1, terms.shape[1]):
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


@compiled(fastmath=_REORDER)
def _decide(
    behind_low: Any, behind_high: Any, low: Any, high: Any, bounds: Any, sizes: Any, right: Any, unsure: Any
) -> bool:
    """For each mask m of the last neuron: right answers in blocks that are right as a whole; whether any is unsure.

    behind `(C,)` are the bounds without the last neuron, low and high `(C, 2ⁿ)` its own, right and unsure `(2ⁿ,)` are
    filled. The masks are the inner loop, because they are as many as a vector register holds.
    """
    right[:] = 0
    unsure[:] = 0
    for c in range(sizes.shape[0]):
        for m in range(right.shape[0]):
            z_low = behind_low[c] + low[c, m]
            z_high = behind_high[c] + high[c, m]
            all_right = np.float32((z_low >= bounds[0, c]) & (z_high <= bounds[1, c]))
            any_right = np.float32((z_high >= bounds[0, c]) & (z_low <= bounds[1, c]))
            right[m] += all_right * sizes[c]
            unsure[m] += any_right - all_right
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
    """Right answers in the unsure blocks of the circuit with the chosen masks, example by example.

    Circuits that differ in the last neuron alone share the sums of the others: `behind` `(N,)` holds them for the
    blocks that `summed` `(C,)` names, and is filled for those that are looked at first.
    """
    right = 0
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
        right += int(_between(sums, terms[last, m][block], bounds[0, c], bounds[1, c]))
    return right


@compiled()
def _fitting(active: int, fitting: Any) -> None:
    """Fill `fitting[need]` with the masks of active neurons that the neurons `need` are in: their number, then they."""
    fitting[:, 0] = 0
    for m in range(fitting.shape[0]):
        for need in range(fitting.shape[0]):
            if not m & ~active and not need & ~m:
                fitting[need, 0] += 1
                fitting[need, fitting[need, 0]] = m


@compiled()
def _tally(right: Any, masks: Any, least_right: int, counts: Any, first: int, of_mask: Any, valid: Any) -> int:
    """Count circuits that differ in the last neuron's mask alone by their right answers; how many are valid.

    masks is a row of `_fitting`. counts and valid `(2ⁿ,)` are added to; circuits with mask m and r right answers are
    counted at first + of_mask[m] + r.
    """
    n_found = 0
    for i in range(1, masks[0] + 1):
        m = np.uint64(masks[i])  # unsigned, for of any other index numba asks whether it counts from the end
        n_right = int(right[m])
        counts[np.uint64(first + of_mask[m] + n_right)] += 1
        is_valid = int(n_right >= least_right)
        valid[m] += is_valid
        n_found += is_valid
    return n_found


@compiled()
def _rank(circuit: np.uint64, salt: np.uint64) -> np.uint64:
    """A place in a random order of all circuits: the bits shuffled by SplitMix64's last step, which can be undone."""
    z = circuit ^ salt
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled()
def _shorten(places: Any, most: int) -> tuple[int, int]:
    """Move the first `most` and a few more of these distinct places to the front; their number, and the last of them.

    The boundary is found by bisection, and need not be exact.
    """
    few = most + (len(places) - most) // 2
    low, high = np.uint64(0), places.max()
    n = len(places)
    while n > few:
        middle = low + ((high - low) >> np.uint64(1))
        found = 0
        for place in places:
            found += place <= middle
        if found >= most:
            high, n = middle, found
        else:
            low = middle + np.uint64(1)
    to = 0
    for place in places:
        if place <= high:
            places[to] = place
            to += 1
    return n, high


def circuits_of(ranks: np.ndarray, salt: np.uint64) -> np.ndarray:
    """The circuits whose places in the random order these are, `(K,)` uint64 both."""
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
    values: Any,
    hidden: Any,
    output: Any,
    blocks: Any,
    sizes: Any,
    bounds: Any,
    least_right: int,
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
    """Count the circuits with these prefixes by what they answer.

    Args:
        prefixes, active, values, hidden, output: as for `evaluate_prefixes`.
        blocks: `(C + 1,)` int64: the examples of block c are blocks[c] to blocks[c + 1]; all have one right answer.
        sizes: `(C,)` float32: how many examples a block stands for; one of N equal examples can stand for all.
        bounds: `(2, C)` float32: z answers rightly from bounds[0, c] to bounds[1, c].
        least_right: a circuit with as many right answers is valid.
        n_before: `(P, 2)` int64, active neurons and kept edges of each prefix.
        census: `(T, nodes, edges, N + 1)` int64, one part for each of T threads; counts are added to it.
        n_valid: `(P,)` int64, filled with the number of valid circuits of each prefix.
        valid_rows: `(P, J, 2ⁿ)` int64, filled with how many valid circuits keep the inputs m of neuron j.
        offsets: `(2,)`, the bits at which the last hidden layer's and the output's edges begin.
        salt: uint64; the random order of the circuits, see `_rank`.
        most: how many valid circuits are listed: those that come first in the random order.
        beyond: `(T,)` uint64, for each thread the last place that is still listed; lowered when more are found.
        n_listed: `(T,)` int64; how many places each thread has listed.
        listed: `(T, more than most)` uint64, the places, in no order.
    """
    weight, bias, kind, slope = hidden
    out_weight, out_bias, _, _ = output
    n_neurons, n_inputs = weight.shape
    n_masks = 1 << n_inputs
    n_examples = values.shape[2]
    n_blocks = blocks.shape[0] - 1
    n_threads = census.shape[0]
    for thread in prange(n_threads):
        terms = np.empty((n_neurons, n_masks, n_examples), dtype=np.float32)
        smallest = np.zeros((n_neurons, n_masks, n_blocks), dtype=np.float32)
        largest = np.zeros((n_neurons, n_masks, n_blocks), dtype=np.float32)
        low = np.empty((n_neurons, n_blocks), dtype=np.float32)  # bounds of the sums over neurons 0..j−1
        high = np.empty((n_neurons, n_blocks), dtype=np.float32)
        right = np.empty(n_masks, dtype=np.float32)
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
        of_mask = np.empty(n_masks, dtype=np.int64)  # so much further lie the counts with this mask
        for m in range(n_masks):
            of_mask[m] = ((m != 0) * n_edges + mask_edges[m]) * n_bins
        fitting = np.empty((n_masks, n_masks + 1), dtype=np.int64)
        last = n_neurons - 1
        for p in range(thread, prefixes.shape[0], n_threads):
            _contributions(values[p], active[p], weight, bias, out_weight, kind, slope, terms)
            terms[:, 0] = 0  # an inactive neuron adds nothing
            _extremes(terms, blocks, smallest, largest, active[p])
            _fitting(active[p], fitting)
            last_low = np.ascontiguousarray(smallest[last].T)
            last_high = np.ascontiguousarray(largest[last].T)
            low[0, :] = out_bias
            high[0, :] = out_bias
            nodes[0], edges[0], bits[0] = n_before[p, 0], n_before[p, 1], prefixes[p]
            j = 0
            chosen[0] = -1
            while j >= 0:
                if j == last:
                    masks = fitting[active[p] & ~union[j]]
                    if _decide(low[j], high[j], last_low, last_high, bounds, sizes, right, unsure):
                        summed[:] = False
                        for i in range(1, masks[0] + 1):
                            m = masks[i]
                            if unsure[m] != ZERO:
                                chosen[j] = m
                                right[m] += _look(
                                    terms, chosen, out_bias, behind, summed,
                                    low[j], high[j], last_low, last_high, blocks, bounds,
                                )  # fmt: skip
                    first = (nodes[j] * n_edges + edges[j]) * n_bins
                    n_found = _tally(right, masks, least_right, counts, first, of_mask, valid_rows[p, j])
                    if n_found and most > 0:
                        for i in range(1, masks[0] + 1):
                            m = masks[i]
                            if right[m] < least_right:
                                continue
                            rank = _rank(bits[j] | _edges_of(j, m, n_inputs, offsets), salt)
                            if rank <= beyond[thread]:
                                listed[thread, n_listed[thread]] = rank
                                n_listed[thread] += 1
                                if n_listed[thread] == listed.shape[1]:
                                    n_listed[thread], beyond[thread] = _shorten(listed[thread], most)
                    n_valid[p] += n_found
                    for neuron in range(last):
                        valid_rows[p, neuron, chosen[neuron]] += n_found
                    j -= 1
                    continue
                m = chosen[j] + 1
                while m < n_masks and m & ~active[p]:
                    m += 1
                if m == n_masks:
                    j -= 1
                    continue
                chosen[j] = m
                union[j + 1] = union[j] | m
                nodes[j + 1] = nodes[j] + (m != 0)
                edges[j + 1] = edges[j] + mask_edges[m]
                bits[j + 1] = bits[j] | _edges_of(j, m, n_inputs, offsets)
                for c in range(n_blocks):
                    low[j + 1, c] = low[j, c] + smallest[j, m, c]
                    high[j + 1, c] = high[j, c] + largest[j, m, c]
                j += 1
                chosen[j] = -1
