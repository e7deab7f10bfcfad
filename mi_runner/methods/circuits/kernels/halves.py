"""Counts the choices of masks with which each example's output lies in its interval, by halves of the neurons.

For given values of the neurons behind the last hidden layer, a circuit chooses one mask of kept inputs for each neuron
of that layer, and each mask adds a term to the output. Masks of a neuron with the same term are one choice. The choices
of the first neurons, with the bias, and those of the others are two lists of sums. A pair of one of each is counted if
on each example the sum of both lies in the interval. So the partners of one choice are the points in a box, which
`matches` counts. `close_pairs` decides where rounding may decide.

Letters: D examples, J neurons, n neurons behind them, M choices of a half, S kinds of circuits.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import ZERO
from mi_runner.methods.circuits.kernels.bits import lowest_one, n_bits
from mi_runner.methods.circuits.kernels.close_pairs import ROUNDING, correct_counts, margin_of
from mi_runner.methods.circuits.kernels.evaluation import contributions
from mi_runner.methods.circuits.kernels.matches import BLOCK, GROUP, add_block, empty_block, fill_block, ranges_of
from mi_runner.methods.circuits.kernels.ordering import bring_together, sort_numbers

LARGEST = 1e38
"""Sums up to here don't overflow in float32."""

NOT_FINITE, DISAGREE = -1, -2
"""What `count_within` returns instead of a number of pairs."""


class Choices(NamedTuple):
    """The choices of each neuron. Masks with as many inputs and the same term on each example are one choice.

    Attributes:
        number: `(J,)` int64, of each neuron.
        terms: `(J, 2ⁿ, D)` float32.
        times: `(J, 2ⁿ)` int64, how many masks each choice stands for.
        kinds: `(J, 2ⁿ)` int64: 0 of a neuron that keeps no input, otherwise a stride + its kept edges.
        kept: `(J, 2ⁿ, n + 1)` int64, how many of these masks keep each input, and how many keep any.
    """

    number: Any
    terms: Any
    times: Any
    kinds: Any
    kept: Any


class Half(NamedTuple):
    """The choices of some neurons next to each other.

    Attributes:
        first, n_neurons: which neurons.
        chosen: `(M, n_neurons)` int32, the choice of each neuron.
        sums: `(D, M)` float32.
        sizes: `(D, M)` float32, the sums of the absolute terms.
        times: `(M,)` int64, how many tuples of masks each stands for.
        kinds: `(M,)` int64, the sums of the neurons' kinds.
        order: `(D, M)` int32, the choices from the smallest sum on.
        ordered: `(D, M)` float32, their sums.
        places: `(M, D)` int32, the place of each choice in each order.
    """

    first: int
    n_neurons: int
    chosen: Any
    sums: Any
    sizes: Any
    times: Any
    kinds: Any
    order: Any
    ordered: Any
    places: Any


class Bounds(NamedTuple):
    """The intervals of the outputs.

    Attributes:
        sides: `(2D,)` float64, the largest and the smallest output of each example.
        exact: `(D,)` bool: on these examples no sum is rounded, and the sides are numbers that sums can be.
        largest: what no absolute sum exceeds; NaN or infinite if a term is.
    """

    sides: Any
    exact: Any
    largest: float


@compiled()
def _find(terms: Any, kinds: Any, n: int, kind: int, term: Any) -> int:
    """Returns which of the first n choices of a neuron has this kind and term; n if none has."""
    for q in range(n):
        is_same = kinds[q] == kind
        for e in range(len(term)):
            is_same &= terms[q, e] == term[e]
        if is_same:
            return q
    return n


@compiled()
def choices_of(terms: Any, active: int, stride: int) -> Any:
    """Returns the choices of each neuron that keeps only active inputs.

    Args:
        terms: `(J, 2ⁿ, D)` float32, as `contributions` fills them.
        stride: of the kinds.
    """
    n_neurons, n_masks, n_examples = terms.shape
    n_inputs = np.int64(n_bits(np.uint64(n_masks - 1)))
    number, distinct = np.zeros(n_neurons, dtype=np.int64), np.zeros(terms.shape, dtype=np.float32)
    times, kinds = np.zeros((n_neurons, n_masks), dtype=np.int64), np.zeros((n_neurons, n_masks), dtype=np.int64)
    kept = np.zeros((n_neurons, n_masks, n_inputs + 1), dtype=np.int64)
    for j in range(n_neurons):
        for m in range(n_masks):
            if m & ~active:
                continue
            kind = stride + np.int64(n_bits(np.uint64(m))) + 1 if m else 0
            q = _find(distinct[j], kinds[j], number[j], kind, terms[j, m])
            if q == number[j]:
                number[j] += 1
                kinds[j, q] = kind
                for e in range(n_examples):
                    distinct[j, q, e] = terms[j, m, e] + ZERO  # −0 becomes 0
            times[j, q] += 1
            for i in range(n_inputs):
                kept[j, q, i] += m >> i & 1
            kept[j, q, n_inputs] += m != 0
    return Choices(number, distinct, times, kinds, kept)


@compiled()
def _lowest_bit(number: float) -> int:
    """Returns the largest k such that a float32 is a multiple of 2ᵏ; 1,000 for 0."""
    if number == 0:
        return 1000
    fraction, exponent = math.frexp(number)
    digits = np.int64(math.ldexp(fraction, 24))
    while not digits & 1:
        digits >>= 1
        exponent += 1
    return exponent - 24


@compiled()
def bounds_of(choices: Any, bias: np.float32, intervals: Any) -> Any:
    """Returns the intervals of the outputs, and on which examples no sum is rounded.

    These are the examples on which all terms are multiples of a step, and no sum exceeds 2²⁴ steps.

    Args:
        intervals: `(2, D)` float32, the smallest and the largest output.
    """
    n_neurons, _, n_examples = choices.terms.shape
    sides, exact = np.empty(2 * n_examples), np.zeros(n_examples, dtype=np.bool_)
    largest = 0.0
    for e in range(n_examples):
        sides[2 * e], sides[2 * e + 1] = intervals[1, e], intervals[0, e]
        size, every = abs(np.float64(bias)), 0.0
        for j in range(n_neurons):
            of_neuron = 0.0
            for q in range(choices.number[j]):
                of_neuron = max(of_neuron, abs(np.float64(choices.terms[j, q, e])))
                every += abs(np.float64(choices.terms[j, q, e]))
            size += of_neuron
        largest = max(largest, size)
        if not np.isfinite(every + size):
            return Bounds(sides, exact, np.inf)
        least = _lowest_bit(np.float64(bias))
        for j in range(n_neurons):
            for q in range(choices.number[j]):
                least = min(least, _lowest_bit(np.float64(choices.terms[j, q, e])))
        step = math.ldexp(1.0, least if size > 0 else 0)
        exact[e] = size <= math.ldexp(step, 24)
        if exact[e]:
            sides[2 * e] = np.floor(sides[2 * e] / step) * step
            sides[2 * e + 1] = np.ceil(sides[2 * e + 1] / step) * step
    return Bounds(sides, exact, largest)


@compiled()
def half_of(choices: Any, first: int, beyond: int, start: np.float32) -> Any:
    """Returns all choices of the neurons from `first` to before `beyond`, their terms added to `start` one by one."""
    n_examples, m = choices.terms.shape[2], 1
    for j in range(first, beyond):
        m *= choices.number[j]
    sums, sizes = np.empty((n_examples, m), dtype=np.float32), np.empty((n_examples, m), dtype=np.float32)
    times, kinds = np.empty(m, dtype=np.int64), np.empty(m, dtype=np.int64)
    chosen = np.zeros((m, beyond - first), dtype=np.int32)
    for e in range(n_examples):
        sums[e, 0], sizes[e, 0] = start, ZERO
    times[0], kinds[0], done = 1, 0, 1
    terms, of_times, of_kinds = choices.terms, choices.times, choices.kinds
    for j in range(first, beyond):
        n = choices.number[j]
        for q in range(n - 1, -1, -1):  # the first choice last, because it overwrites what the others are added to
            for i in range(done):
                to = q * done + i
                times[to], kinds[to] = times[i] * of_times[j, q], kinds[i] + of_kinds[j, q]
                for before in range(j - first):
                    chosen[to, before] = chosen[i, before]
                chosen[to, j - first] = q
            for e in range(n_examples):
                term = terms[j, q, e]
                for i in range(done):
                    sums[e, q * done + i] = sums[e, i] + term
                    sizes[e, q * done + i] = sizes[e, i] + abs(term)
        done *= n
    none, nowhere = np.empty((0, 0), dtype=np.int32), np.empty((0, 0), dtype=np.float32)
    return Half(first, beyond - first, chosen, sums, sizes, times, kinds, none, nowhere, none)


@compiled()
def _with_partners(half: Any, other: Any, bounds: Any, margins: Any) -> Any:
    """Returns a half without the choices that have no partner on some example, whatever else is chosen there."""
    sums, others, sides = half.sums, other.sums, bounds.sides
    n_examples, m = sums.shape
    stays = np.ones(m, dtype=np.bool_)
    for e in range(n_examples):
        low = high = others[e, 0]
        for i in range(1, others.shape[1]):
            low, high = min(low, others[e, i]), max(high, others[e, i])
        # The margins are wider than what float32 rounds here.
        most = np.float32(sides[2 * e] + margins[e] - np.float64(low))
        least = np.float32(sides[2 * e + 1] - margins[e] - np.float64(high))
        for i in range(m):
            stays[i] &= (sums[e, i] <= most) & (sums[e, i] >= least)
    left = np.flatnonzero(stays)
    return half if len(left) == m else _taken(half, left)


@compiled()
def _taken(half: Any, left: Any) -> Any:
    """Returns a half with only some of its choices, and without orders."""
    n_examples, m = len(half.sums), len(left)
    sums, sizes = np.empty((n_examples, m), dtype=np.float32), np.empty((n_examples, m), dtype=np.float32)
    times, kinds = np.empty(m, dtype=np.int64), np.empty(m, dtype=np.int64)
    chosen = np.empty((m, half.n_neurons), dtype=np.int32)
    all_sums, all_sizes, all_times, all_kinds, all_chosen = half.sums, half.sizes, half.times, half.kinds, half.chosen
    for i in range(m):
        times[i], kinds[i] = all_times[left[i]], all_kinds[left[i]]
        for j in range(chosen.shape[1]):
            chosen[i, j] = all_chosen[left[i], j]
    for e in range(n_examples):
        for i in range(m):
            sums[e, i], sizes[e, i] = all_sums[e, left[i]], all_sizes[e, left[i]]
    return Half(half.first, half.n_neurons, chosen, sums, sizes, times, kinds, half.order, half.ordered, half.places)


@compiled()
def narrowed(near: Any, far: Any, bounds: Any) -> Any:
    """Returns both halves without choices that no pair has, as far as a look at each example alone shows.

    It looks again as long as that leaves out a tenth of them.
    """
    margins = np.zeros(len(bounds.exact))
    for side in range(len(bounds.sides)):
        bound, e = bounds.sides[side], side >> 1
        if np.isfinite(bound):
            margin = margin_of(bound, bounds.largest, bounds.largest, 2 * far.n_neurons + 2)
            margins[e] = max(margins[e], margin + ROUNDING * abs(bound))
    before = np.inf
    while len(near.times) and len(far.times) and len(near.times) + len(far.times) < 0.9 * before:
        before = len(near.times) + len(far.times)
        near = _with_partners(near, far, bounds, margins)
        if len(near.times):
            far = _with_partners(far, near, bounds, margins)
    return near, far


@compiled()
def ordered(half: Any) -> Any:
    """Returns a half with its orders."""
    n_examples, m = half.sums.shape
    order, places = np.empty((n_examples, m), dtype=np.int32), np.empty((m, n_examples), dtype=np.int32)
    by_sum = np.empty((n_examples, m), dtype=np.float32)
    sums = half.sums
    for e in range(n_examples):
        sort_numbers(sums[e], order[e])
        for k in range(m):
            places[order[e, k], e] = k
            by_sum[e, k] = sums[e, order[e, k]]
    return Half(
        half.first, half.n_neurons, half.chosen, half.sums, half.sizes, half.times, half.kinds, order, by_sum, places
    )


@compiled()
def without_kinds(half: Any) -> Any:
    """Returns a half of circuits of one kind, 0."""
    sums, sizes, times, kinds = half.sums, half.sizes, half.times, np.zeros_like(half.kinds)
    order, by_sum, places = half.order, half.ordered, half.places
    return Half(half.first, half.n_neurons, half.chosen, sums, sizes, times, kinds, order, by_sum, places)


@compiled()
def boxes_of(near: Any, far: Any, bounds: Any) -> Any:
    """Returns the boxes `(M, 2D)` int32 of the choices of both halves; see `matches`.

    Choices a and b are partners if on each example low ≤ p_a + q_b ≤ high, decided as q_b ≤ high − p_a in float64.

    Args:
        near: the half that begins with the bias.
    """
    n_examples, n_near, n_far = len(bounds.exact), len(near.times), len(far.times)
    of_near = np.empty((n_near, 2 * n_examples), dtype=np.int32)
    of_far = np.empty((n_far, 2 * n_examples), dtype=np.int32)
    sides, p_order, p_ordered, q_order, q_ordered = bounds.sides, near.order, near.ordered, far.order, far.ordered
    for side in range(2 * n_examples):
        e, is_upper, k = side >> 1, side & 1 == 0, n_far
        of_far[:, side] = n_near
        for i in range(n_near):  # p rises, so the bound of q falls
            bound = sides[side] - np.float64(p_ordered[e, i])
            while k > 0:
                q = np.float64(q_ordered[e, k - 1])
                if q < bound or (is_upper and q == bound):
                    break
                k -= 1
                of_far[q_order[e, k], side] = i
            of_near[p_order[e, i], side] = k
    return of_near, of_far


@compiled()
def _by_label(half: Any, starts: Any) -> Any:
    """Returns a half's choices by kind and by the ones of `times`, each choice once for each one, `(L,)` int32.

    Args:
        starts: `(64 · S + 1,)` int64, filled with where the choices of kind s with the one p begin, at 64 · s + p.
    """
    times, kinds = half.times, half.kinds
    starts[:] = 0
    for i in range(len(times)):
        left = np.uint64(times[i])
        while left:
            starts[kinds[i] * 64 + lowest_one(left) + 1] += 1
            left &= left - np.uint64(1)
    for label in range(1, len(starts)):
        starts[label] += starts[label - 1]
    members, ends = np.empty(starts[-1], dtype=np.int32), starts.copy()
    for i in range(len(times)):
        left = np.uint64(times[i])
        while left:
            label = kinds[i] * 64 + lowest_one(left)
            members[ends[label]] = i
            ends[label] += 1
            left &= left - np.uint64(1)
    return members


@compiled()
def count_partners(half: Any, boxes: Any, others: Any, totals: Any, by_kind: Any) -> None:
    """Counts the partners of each choice of a half among those of the other half.

    Args:
        boxes: `(M, 2D)`, those of this half.
        totals: `(M,)` int64, adds the partners of each choice, tuples of masks.
        by_kind: `(S,)` int64, adds the pairs of tuples of masks at the sums of their kinds.
    """
    turn = np.arange(len(half.times)).astype(np.int32)
    bring_together(half.places, turn, np.int64(GROUP))
    turned = boxes[turn]
    ranges = ranges_of(turned)
    starts = np.zeros(len(by_kind) * 64 + 1, dtype=np.int64)
    members = _by_label(others, starts)
    block = empty_block(len(others.times), boxes.shape[1] // 2)
    counts, times, kinds = np.zeros(len(turn), dtype=np.int64), half.times, half.kinds
    for kind in range(len(by_kind)):
        if starts[kind * 64] == starts[kind * 64 + 64]:
            continue
        for power in range(63):
            begin, end = starts[kind * 64 + power], starts[kind * 64 + power + 1]
            bring_together(others.places, members[begin:end], np.int64(BLOCK))
            for first in range(begin, end, BLOCK):
                points = members[first : min(first + BLOCK, end)]
                fill_block(block, others.places, points)
                add_block(block, len(points), power, turned, ranges, counts)
        for i in range(len(turn)):
            if counts[i]:
                choice = turn[i]
                totals[choice] += counts[i]
                by_kind[kinds[choice] + kind] += counts[i] * times[choice]
                counts[i] = 0


@compiled()
def _add_kept(half: Any, choices: Any, totals: Any, kept: Any) -> None:
    """Adds to `kept` `(J, n + 1)` in how many pairs of tuples of masks each neuron keeps each input, and any.

    Args:
        totals: `(M,)`, the partners of each choice.
    """
    chosen, times, of_neurons = half.chosen, half.times, choices.times
    for j in range(half.n_neurons):
        neuron = half.first + j
        of_choice = np.zeros(choices.number[neuron], dtype=np.int64)
        for i in range(len(totals)):
            if totals[i]:
                q = chosen[i, j]
                of_choice[q] += totals[i] * (times[i] // of_neurons[neuron, q])
        for q in range(len(of_choice)):
            kept[neuron] += of_choice[q] * choices.kept[neuron, q]


@compiled()
def middle_of(number: Any) -> int:
    """Returns how many neurons, of so many choices each, make a first half such that both have the fewest choices."""
    best, fewest = 0, np.inf
    for middle in range(len(number) + 1):
        first = second = 1.0
        for j in range(len(number)):
            if j < middle:
                first *= number[j]
            else:
                second *= number[j]
        if first + second < fewest:
            best, fewest = middle, first + second
    return best


@compiled(nogil=True)
def count_within(
    values: Any, active: int, hidden: Any, output: Any, intervals: Any, most: int, by_kind: Any, kept: Any
) -> int:
    """Counts the choices of masks within the active neurons with which each example's output lies in its interval.

    Args:
        values: `(n, D)` float32, those of the neurons behind the last hidden layer.
        active: the neurons that masks may keep, as bits.
        hidden, output: as for `evaluation.evaluate_prefixes`.
        intervals: `(2, D)` float32, the smallest and the largest output.
        most: the largest number of close pairs to look at.
        by_kind: `(J + 1, E + 1)` int64, zeros; filled with the choices by active neurons and kept edges.
        kept: `(J, n + 1)` int64, zeros; filled with the choices in which each neuron keeps each input, and any.

    It holds no lock of the interpreter, so that threads can share the work.

    Returns:
        How many close pairs it looked at; if more than `most`, it gave up. `NOT_FINITE` if an output may be infinite.
        `DISAGREE` if the pairs counted from one half are not those counted from the other, which is never the case.
    """
    out_weight, out_bias, out_means, _, _ = output
    n_neurons, n_inputs = hidden[0].shape
    terms = np.zeros((n_neurons, 1 << n_inputs, values.shape[1]), dtype=np.float32)
    contributions(values, active, hidden, out_weight, out_means, terms)
    choices = choices_of(terms, active, by_kind.shape[1])
    bounds = bounds_of(choices, out_bias, intervals)
    if not bounds.largest <= LARGEST:
        return NOT_FINITE
    middle = middle_of(choices.number)
    near, far = half_of(choices, np.int64(0), middle, out_bias), half_of(choices, middle, n_neurons, ZERO)
    near, far = narrowed(near, far, bounds)
    if len(near.times) == 0 or len(far.times) == 0:
        return 0
    near, far = ordered(near), ordered(far)
    of_near, of_far = boxes_of(near, far, bounds)
    totals = np.zeros(len(near.times), dtype=np.int64), np.zeros(len(far.times), dtype=np.int64)
    kinds = by_kind.reshape(-1)
    count_partners(near, of_near, far, totals[0], kinds)
    count_partners(without_kinds(far), of_far, without_kinds(near), totals[1], np.zeros(1, dtype=np.int64))
    n_looked = correct_counts(near, far, choices.terms, bounds, of_near, most, totals, kinds)
    difference = 0
    for i in range(len(near.times)):
        difference += totals[0][i] * near.times[i]
    for i in range(len(far.times)):
        difference -= totals[1][i] * far.times[i]
    if difference != 0:
        return DISAGREE
    _add_kept(near, choices, totals[0], kept)
    _add_kept(far, choices, totals[1], kept)
    return n_looked
