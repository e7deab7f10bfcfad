"""Counts the correct answers of every circuit, without a row for each.

As in `evaluation`, a circuit is a prefix and a choice for each neuron j of the last hidden layer. The choices are a
tree that is searched depth first. At each node the blocks of examples (see `blocks`) that the neurons so far decide,
whatever the others choose, are settled, and only the others go on. Where every block is settled, all circuits below
the node have the same correct answers: they are counted together. The last neuron's choices are decided sixteen at
once.

What is called for each node is inlined, and compiled without counting references: both took half of the time.

Letters: as in `blocks`; J neurons, Q choices, I those of a prefix, T threads, K outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.bits import n_bits
from mi_runner.methods.circuits.kernels.blocks import bound, fill_outputs, n_between, n_of_class, sum_behind
from mi_runner.methods.circuits.kernels.lanes import (
    LANES,
    add_all,
    add_where,
    at_least,
    bounds_decide,
    contain,
    first_lane,
    limits_decide,
    sum_where,
)
from mi_runner.methods.circuits.kernels.random_order import rank_of, shorten

_EVERY_LANE = np.uint64((1 << LANES) - 1)
_ONE = np.uint64(1)


@compiled(_nrt=False, inline="always")
def _narrow(
    j: int, i: int, low: Any, high: Any, least: Any, most: Any, limits: Any, sizes: Any, alive: Any, settled: Any,
    behind_low: Any, behind_high: Any, around: Any,
) -> bool:  # fmt: skip
    """Marks the blocks that are settled if neuron j makes choice i, whatever the neurons after it choose.

    Depth j is before neuron j. Of depth j + 1 are filled:

    Args:
        alive: `(J + 1, C / 16)` uint64, the blocks that are not settled, as bits.
        settled: the correct answers in those that are.
        behind_low, behind_high: `(J + 1, D)`, the bounds of the quantities so far.
        around: `(2, 16)`, overwritten.

    Returns:
        Whether a block is not settled.
    """
    n_neurons, n_lanes, n_quantities = low.shape
    right, every = settled[j], np.uint64(0)
    for word in range(alive.shape[1]):
        sure = possible = alive[j, word]
        if sure:
            for first in range(word * LANES, n_quantities, sizes.shape[0]):
                of_choice, to = (j * n_lanes + i) * n_quantities + first, (j + 1) * n_quantities + first
                add_all(behind_low, to, behind_low, to - n_quantities, low, of_choice)
                add_all(behind_high, to, behind_high, to - n_quantities, high, of_choice)
                add_all(around, 0, behind_low, to, least, to)
                add_all(around, LANES, behind_high, to, most, to)
                for after in range(j + 2, n_neurons):
                    add_all(around, 0, around, 0, least, after * n_quantities + first)
                    add_all(around, LANES, around, LANES, most, after * n_quantities + first)
                decided = limits_decide(around, limits, first, n_quantities)
                sure &= decided
                possible &= decided >> np.uint64(LANES)
            if sure:
                right += sum_where(sizes, word * LANES, sure)
            possible &= ~sure
            every |= possible
        alive[j + 1, word] = possible
    settled[j + 1] = right
    return every != np.uint64(0)


@compiled(_nrt=False, inline="always")
def _decide(
    last: int, n_lanes: int, sizes: Any, alive: Any, behind_low: Any, behind_high: Any, last_low: Any, last_high: Any,
    limits: Any, fits: Any, correct: Any, open_block: Any, open_lanes: Any,
) -> np.int64:  # fmt: skip
    """Adds the blocks in which all answers are correct to `correct`, and returns how many cases are left to look at.

    Args:
        alive, behind_low, behind_high: the blocks that are not settled, and the bounds of their quantities without the
            last neuron, as `_narrow` fills them.
        last_low, last_high: `(D · I,)`, the bounds of what the last neuron adds with each choice.
        fits: for each sixteen choices those that complete a circuit.
        correct: `(I,)` int32.
        open_block, open_lanes: filled with the cases: a block C · s + c, c of C, that sixteen choices s leave open, and
            which of these do.
    """
    n, n_quantities, n_blocks = np.uint64(0), limits.shape[1], sizes.shape[0]
    for word in range(alive.shape[1]):
        left = alive[last, word]
        while left:
            block = word * LANES + first_lane(left)
            left &= left - _ONE
            for chunk in range(fits.shape[0]):
                sure = possible = _EVERY_LANE
                d = block
                while d < n_quantities:
                    decided = bounds_decide(
                        behind_low, behind_high, last * n_quantities + d,
                        last_low, last_high, d * n_lanes + chunk * LANES, limits, d, n_quantities,
                    )  # fmt: skip
                    sure &= decided
                    possible &= decided >> np.uint64(LANES)
                    d += n_blocks
                add_where(correct, chunk * LANES, sure, sizes[np.uint64(block)])
                open_block[n] = chunk * n_blocks + block
                open_lanes[n] = possible & ~sure & fits[chunk]
                n += np.uint64(open_lanes[n] != np.uint64(0))
    return np.int64(n)


@compiled(_nrt=False, inline="always")
def _look(
    n_open: int, open_block: Any, open_lanes: Any, terms: Any, chosen: Any, own: Any, masks: Any, out_weight: Any,
    out_bias: Any, kind: int, slope: np.float32, starts: Any, n_real: Any, equal: Any, targets: Any, bounds: Any,
    behind: Any, variants: Any, correct: Any,
) -> None:  # fmt: skip
    """Adds the correct answers in the cases that `_decide` leaves open, example by example.

    Args:
        chosen: `(J,)`, the choice of each neuron but the last.
        own: `(I,)`, the last neuron's choices.
        behind, variants: `(K, N)` and `(2, K, N)`, N the largest number of examples of a block; overwritten.
    """
    n_outputs, last, n_blocks = out_weight.shape[0], terms.shape[0] - 1, n_real.shape[0]
    latest_block, latest = -1, -1
    for case in range(n_open):
        block = open_block[case] % n_blocks
        first, end, left = starts[block], starts[block + 1], open_lanes[case]
        if block != latest_block:
            sum_behind(terms, chosen, masks, out_weight, out_bias, first, end, behind)
            if n_outputs > 1:
                fill_outputs(behind, terms, 0, first, end, out_weight, kind, slope, 0, variants)
            latest_block, latest = block, -1
        while left:
            i = open_block[case] // n_blocks * LANES + first_lane(left)
            left &= left - _ONE
            m = masks[own[i], 0]
            if n_outputs == 1:
                at = (last * terms.shape[1] + m) * terms.shape[2] + first
                found = n_between(behind, terms, at, n_real[block], bounds[0, block], bounds[1, block])
            else:
                if latest != m:
                    fill_outputs(behind, terms, m, first, end, out_weight, kind, slope, 1, variants)
                    latest = m
                found = n_of_class(variants, masks[own[i], 1], targets[block], n_real[block])
            correct[i] += np.int32(found * equal[block])


@compiled(_nrt=False, inline="always")
def _list(
    fits: Any, correct: Any, least_correct: int, code: np.uint64, own_codes: Any, own: Any, salt: np.uint64, most: int,
    beyond: Any, n_listed: Any, listed: Any, thread: int,
) -> None:  # fmt: skip
    """Adds to the list the places of valid circuits that belong to the sample.

    Args:
        code: of the circuits' other edges.
        own_codes: `(J, Q)`, what each choice of each neuron adds to it.
    """
    for chunk in range(fits.shape[0]):
        left = fits[chunk] & at_least(correct, chunk * LANES, np.int32(least_correct))
        while left:
            i = chunk * LANES + first_lane(left)
            left &= left - _ONE
            rank = rank_of(code + own_codes[own_codes.shape[0] - 1, own[i]], salt)
            if rank <= beyond[thread]:
                listed[thread, n_listed[thread]] = rank
                n_listed[thread] += 1
                if n_listed[thread] == listed.shape[1]:
                    n_listed[thread], beyond[thread] = shorten(listed[thread], most)


@compiled(_nrt=False)
def _own_choices(masks: Any, active: int, own: Any, packed: Any, n_inputs: int) -> int:
    """Fills `own` with the choices of a prefix with these active neurons, and returns their number.

    `packed` has their inputs and outputs as one mask. What is left of both is filled with the first choice.
    """
    n = 0
    for q in range(masks.shape[0]):
        if not masks[q, 0] & ~active:
            own[n] = q
            n += 1
    own[n:] = own[0]
    for i in range(own.shape[0]):
        packed[i] = masks[own[i], 0] | masks[own[i], 1] << n_inputs
    return n


@compiled(_nrt=False, inline="always")
def _n_ones(mask: int) -> np.int64:
    return np.int64(n_bits(np.uint64(mask)))


@compiled(_nrt=False, inline="always")
def _count_all(
    counts: Any, first: int, n_edges: int, n_bins: int, histogram: Any, n_ways: Any, left: int, n_outputs: int,
    n_active: int, n_unread: int, n_unused: int, is_valid: bool, need: int, n_inputs: int, packed: Any, n_own: int,
    rows: Any,
) -> int:  # fmt: skip
    """Counts all circuits below a node, which have the same correct answers; returns how many of them are valid.

    Args:
        first: where circuits with these correct answers and the edges and nodes so far are counted.
        histogram, n_ways: as `ways` of `count_items`.
        left: how many neurons are left to choose.
        n_outputs, n_active: outputs, active inputs.
        n_unread, n_unused: how many inputs and outputs these neurons must keep.
        need: these, as a mask of inputs and outputs.
        rows: `(J, I)`; valid circuits that make a choice are added to it.
    """
    total = 0
    for node in range(left + 1):
        for edge in range(node * (n_active + n_outputs) + 1):
            n = histogram[left, n_active, n_unread, n_unused, node, edge]
            if n:
                counts[np.uint64(first + (node * n_edges + edge) * n_bins)] += n
                total += n
    if not is_valid:
        return 0
    of_inputs = (1 << n_inputs) - 1
    for i in range(n_own):
        more = need & ~packed[i]
        n = n_ways[left - 1, n_active, _n_ones(more & of_inputs), _n_ones(more >> n_inputs)]
        for neuron in range(rows.shape[0] - left, rows.shape[0]):
            rows[neuron, i] += n
    return total


@compiled(nogil=True)
def count_items(
    thread: int, prefixes: Any, items: Any, hidden: Any, output: Any, blocks: Any, masks: Any, ways: Any,
    all_outputs: bool, least_correct: int, totals: Any, order: Any, sample: Any,
) -> None:  # fmt: skip
    """Counts the circuits of these items by active neurons, kept edges and correct answers.

    An item is a prefix and a head: the choices of the first neurons of the last hidden layer. What the items of a
    prefix share is computed once if they follow each other.

    Args:
        thread: which of the T threads this is; it adds to its own totals and sample alone.
        prefixes: code `(P,)` uint64, see `codes`; active `(P,)` int64, the active
            neurons behind the last hidden layer, as bits; active hidden neurons `(P,)` and kept edges `(P,)` int64;
            vectors `(V, N)` float32 and index `(P, n)` int64: the values of neuron i are vectors[index[p, i]].
        items: prefix `(items,)` int64, and the choices of the head's neurons `(items, neurons)` int64, of none for all
            circuits of the prefix.
        hidden: as for `evaluate_prefixes`.
        output: weight `(K, J)`, bias `(K,)`, means `(J,)`, activation, slope.
        blocks: starts `(C + 1,)` int64, C a multiple of sixteen: block c has the places starts[c] to starts[c + 1],
            multiples of sixteen where it has several; how many of them, from the first, are examples `(C,)` int64; how
            many equal examples each of these represents `(C,)` int64; the product of both `(C,)` int32; of several
            outputs the correct one `(C,)` int64; of one output bounds `(2, C)` float32: an answer is correct if z lies
            between these.
        masks: `(Q, 2)` int64, the kept inputs and outputs of each choice; the first choice is to keep nothing.
        ways: how many choices R neurons have with a active inputs, of which they must keep u, and v outputs: those that
            keep so many nodes and edges `(R, a, u, v, nodes, edges)` int64, and all `(R, a, u, v)` int64.
        all_outputs: whether every output must be kept.
        least_correct: a circuit with at least so many correct answers is valid.
        totals: counts `(T, nodes, edges, B + 1)` int64, and valid circuits with each choice of each neuron `(T, J, Q)`
            int64: the function adds to both. Valid circuits of each item `(items,)` int64, filled.
        order: what each choice of each neuron adds to the prefix's code `(J, Q)` uint64; the sum identifies a circuit;
            salt, see `rank_of`.
        sample: how many valid circuits are listed: those that come first in the random order; for each thread the last
            place that is still listed `(T,)` uint64, lowered when more are found; how many places it has listed `(T,)`
            int64; the places, not sorted `(T, more than most)` uint64.
    """
    codes, active, nodes_before, edges_before, vectors, index = prefixes
    item_prefix, item_heads = items
    starts, n_real, equal, sizes, targets, bounds = blocks
    out_weight, out_bias, _, kind, slope = output
    histogram, n_ways = ways
    census, valid_rows, n_valid = totals
    own_codes, salt = order
    most_listed, beyond, n_listed, listed = sample
    n_outputs, n_neurons = out_weight.shape
    n_inputs, n_places, n_blocks = hidden[0].shape[1], vectors.shape[1], sizes.shape[0]
    n_quantities, n_lanes, last = n_blocks * max(1, n_outputs - 1), -(-masks.shape[0] // LANES) * LANES, n_neurons - 1
    widest = LANES
    for c in range(n_blocks):
        widest = max(widest, starts[c + 1] - starts[c])
    # of a prefix
    terms = np.empty((n_neurons, 1 << n_inputs, n_places + LANES), dtype=np.float32)
    smallest = np.empty((n_neurons, 1 << n_inputs, n_blocks), dtype=np.float32)
    largest = np.empty((n_neurons, 1 << n_inputs, n_blocks), dtype=np.float32)
    low = np.empty((n_neurons, n_lanes, n_quantities), dtype=np.float32)
    high = np.empty((n_neurons, n_lanes, n_quantities), dtype=np.float32)
    last_low, last_high = np.empty(n_quantities * n_lanes, np.float32), np.empty(n_quantities * n_lanes, np.float32)
    least, most = np.empty((n_neurons, n_quantities), np.float32), np.empty((n_neurons, n_quantities), np.float32)
    limits = np.empty((4, n_quantities), dtype=np.float32)
    own, packed = np.empty(n_lanes, dtype=np.int64), np.empty(n_lanes, dtype=np.int64)
    rows = np.zeros((n_neurons, n_lanes), dtype=np.int64)
    step = np.empty(n_lanes, dtype=np.int64)  # how far the counts of a circuit with this choice stand behind
    n_own = 0
    # of a node at depth j, before neuron j
    alive, settled = np.zeros((n_neurons + 1, n_blocks // LANES), np.uint64), np.zeros(n_neurons + 1, np.int32)
    for c in range(n_blocks):
        alive[0, c // LANES] |= np.uint64(n_real[c] > 0) << np.uint64(c % LANES)
    behind_low = np.empty((n_neurons + 1, n_quantities), dtype=np.float32)
    behind_high = np.empty((n_neurons + 1, n_quantities), dtype=np.float32)
    around = np.empty((2, LANES), dtype=np.float32)
    union, place = np.zeros(n_neurons + 1, dtype=np.int64), np.zeros(n_neurons + 1, dtype=np.int64)
    before = np.zeros(n_neurons + 1, dtype=np.int64)  # where the counts of the nodes and edges so far begin
    code, found = np.zeros(n_neurons + 1, dtype=np.uint64), np.zeros(n_neurons + 2, dtype=np.int64)
    head, chosen = np.zeros(n_neurons + 1, dtype=np.int64), np.zeros(n_neurons, dtype=np.int64)
    # of the last neuron
    fits = np.empty(n_lanes // LANES, dtype=np.uint64)
    correct = np.empty(n_lanes, dtype=np.int32)
    n_cases = n_blocks * (n_lanes // LANES) + 1
    open_block, open_lanes = np.empty(n_cases, dtype=np.int64), np.empty(n_cases, dtype=np.uint64)
    behind = np.empty((n_outputs, widest), dtype=np.float32)
    variants = np.empty((2, n_outputs, widest), dtype=np.float32)
    p = -1
    for item in range(item_prefix.shape[0]):
        if item_prefix[item] != p:
            _add_rows(rows, own, n_own, valid_rows, thread)
            p = item_prefix[item]
            n_own = _own_choices(masks, active[p], own, packed, n_inputs)
            bound(
                vectors[index[p]], active[p], hidden, output, blocks, masks, own, n_own, terms, smallest, largest,
                low, high, least, most, behind_low, limits,
            )  # fmt: skip
            for i in range(n_lanes):
                n_kept = _n_ones(masks[own[i], 0]) + _n_ones(masks[own[i], 1])
                step[i] = ((own[i] != 0) * census.shape[2] + n_kept) * census.shape[3]
            for d in range(n_quantities):
                behind_high[0, d] = behind_low[0, d]
                for i in range(n_lanes):
                    last_low[d * n_lanes + i] = low[last, i if i < n_own else 0, d]
                    last_high[d * n_lanes + i] = high[last, i if i < n_own else 0, d]
            before[0] = (nodes_before[p] * census.shape[2] + edges_before[p]) * census.shape[3]
            code[0] = codes[p]
        for j in range(item_heads.shape[1]):
            for i in range(n_own):
                if own[i] == item_heads[item, j]:
                    head[j] = i
        n_valid[item] = _walk(
            thread, active[p], all_outputs, least_correct, masks, own, packed, n_own, n_inputs, head,
            item_heads.shape[1], terms, out_weight, out_bias, kind, slope, starts, n_real, equal, sizes, targets,
            bounds, low, high, last_low, last_high, least, most, limits, alive, settled, behind_low, behind_high,
            around, union, place, before, code, found, chosen, fits, correct, open_block, open_lanes, behind,
            variants, rows, step,
            census, histogram, n_ways, own_codes, salt, most_listed, beyond, n_listed, listed,
        )  # fmt: skip
    _add_rows(rows, own, n_own, valid_rows, thread)


@compiled(_nrt=False)
def _add_rows(rows: Any, own: Any, n_own: int, valid_rows: Any, thread: int) -> None:
    """Adds the valid circuits with each choice of a prefix to those of the thread, and sets them to 0."""
    for j in range(rows.shape[0]):
        for i in range(n_own):
            valid_rows[thread, j, own[i]] += rows[j, i]
            rows[j, i] = 0


@compiled(_nrt=False)
def _walk(
    thread: int, active: int, all_outputs: bool, least_correct: int, masks: Any, own: Any, packed: Any, n_own: int,
    n_inputs: int, head: Any, n_head: int, terms: Any, out_weight: Any, out_bias: Any, kind: int, slope: np.float32,
    starts: Any, n_real: Any, equal: Any, sizes: Any, targets: Any, bounds: Any, low: Any, high: Any, last_low: Any,
    last_high: Any, least: Any, most: Any, limits: Any, alive: Any, settled: Any, behind_low: Any, behind_high: Any,
    around: Any, union: Any, place: Any, before: Any, code: Any, found: Any, chosen: Any, fits: Any, correct: Any,
    open_block: Any, open_lanes: Any, behind: Any, variants: Any, rows: Any, step: Any, census: Any, histogram: Any,
    n_ways: Any, own_codes: Any, salt: np.uint64, most_listed: int, beyond: Any, n_listed: Any, listed: Any,
) -> int:  # fmt: skip
    """Counts the circuits of an item; returns how many of them are valid.

    Args:
        head: the places of the head's choices, n_head, among the prefix's.
    """
    n_outputs, n_neurons = out_weight.shape
    n_lanes, last, never = own.shape[0], n_neurons - 1, n_neurons + 1
    n_edges, n_bins = census.shape[2], census.shape[3]
    counts_at = thread * census.shape[1] * n_edges * n_bins
    counts = census.reshape(-1)
    n_active, required, of_inputs = _n_ones(active), active, (1 << n_inputs) - 1
    if all_outputs:
        required |= ((1 << n_outputs) - 1) << n_inputs
    j, quiet, found[0], found[1] = 0, never, 0, 0
    place[0] = head[0] - 1 if n_head else -1
    while j >= 0:
        if j < quiet:
            quiet = never
        if j == last:
            need = required & ~union[j]
            for chunk in range(fits.shape[0]):
                fits[chunk] = contain(packed, chunk * LANES, need)
                n_left = n_own - chunk * LANES
                if n_left < LANES:
                    fits[chunk] &= np.uint64((1 << max(n_left, 0)) - 1)
            for i in range(n_lanes):
                correct[i] = settled[j]
            if quiet > j:
                n_open = _decide(
                    last, n_lanes, sizes, alive, behind_low, behind_high, last_low, last_high, limits, fits, correct,
                    open_block, open_lanes,
                )  # fmt: skip
                if n_open:
                    _look(
                        n_open, open_block, open_lanes, terms, chosen, own, masks, out_weight, out_bias, kind, slope,
                        starts, n_real, equal, targets, bounds, behind, variants, correct,
                    )  # fmt: skip
                n_found = np.uint64(0)
                for chunk in range(fits.shape[0]):
                    left = fits[chunk]
                    good = left & at_least(correct, chunk * LANES, np.int32(least_correct))
                    add_where(rows, j * n_lanes + chunk * LANES, good, 1)
                    n_found += n_bits(good)
                    while left:
                        i = chunk * LANES + first_lane(left)
                        left &= left - _ONE
                        counts[np.uint64(counts_at + before[j] + step[i] + correct[i])] += 1
                found[j] = np.int64(n_found)
            if most_listed > 0 and (found[j] > 0 or quiet <= j):
                _list(
                    fits, correct, least_correct, code[j], own_codes, own, salt, most_listed, beyond, n_listed, listed,
                    thread,
                )  # fmt: skip
            j -= 1
            continue
        rows[j, max(0, place[j])] += found[j + 1]
        found[j] += found[j + 1]
        i = place[j] + 1
        found[j + 1] = 0
        if i == n_own or (j < n_head and i > head[j]):
            j -= 1
            continue
        place[j], chosen[j] = i, own[i]
        union[j + 1] = union[j] | packed[i]
        before[j + 1] = before[j] + step[i]
        code[j + 1] = code[j] + own_codes[j, own[i]]
        is_open = _narrow(j, i, low, high, least, most, limits, sizes, alive, settled, behind_low, behind_high, around)
        j += 1
        place[j] = head[j] - 1 if j < n_head else -1
        found[j + 1] = 0
        if quiet < j or is_open or j < n_head:
            continue
        need = required & ~union[j]
        found[j] = _count_all(
            counts, counts_at + before[j] + settled[j], n_edges, n_bins, histogram, n_ways, n_neurons - j, n_outputs,
            n_active, _n_ones(need & of_inputs), _n_ones(need >> n_inputs), settled[j] >= least_correct, need, n_inputs,
            packed, n_own, rows,
        )  # fmt: skip
        if found[j] and most_listed > 0:
            quiet = j  # below, circuits are only listed
        else:
            j -= 1
    return found[0]
