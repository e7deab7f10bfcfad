"""Counts the choices of masks with which every example's sum lies in its interval, by halves of the neurons.

For given values of the neurons behind the last hidden layer, a circuit chooses one mask of kept inputs for each neuron
of that layer. The mask adds a term to each example's output. The choices of the first neurons and those of the others
are two lists of sums. A pair of one of each is counted if on each example bias + sum + sum lies in the interval: for
one choice of the first list, if its partners lie in a box. `matches` counts the points in boxes.

Exactness. The sum of a circuit is defined as the evaluation computes it: in float32, bias first, then neuron by neuron.
The first list has these sums themselves, p. The second list has q, the others' own sum in float32. Boxes take
q ≤ high − p, computed in float64. The two decisions can differ only where |q − (high − p)| is at most

    2⁻²⁴ · (r·|p| + (2r − 1)·T),   T the sum of the absolute terms of the r other neurons,

and not at all where p or T is 0, or where all terms of an example are multiples of a number whose 2²⁴-fold they don't
exceed. The pairs within this bound are looked up one by one and decided as the evaluation does.

Letters: D examples, J neurons, n neurons behind them, Q choices of a neuron, M choices of a half.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import ZERO
from mi_runner.methods.circuits.kernels.bits import n_bits
from mi_runner.methods.circuits.kernels.evaluation import contributions
from mi_runner.methods.circuits.kernels.matches import BLOCK, GROUP, add_block, empty_block, fill_block, ranges_of
from mi_runner.methods.circuits.kernels.ordering import bring_together, sort_numbers

ROUNDING = 1.001 * 2.0**-24
"""Largest relative error of a float32 addition, and a little more for products of such errors."""

ROUNDING_64 = 2.0**-51
"""The same of float64, generously."""


class Choices(NamedTuple):
    """The distinct terms of each neuron: masks with the same kind and the same term are one choice.

    Attributes:
        number: `(J,)` int64, the choices of each neuron.
        terms: `(J, 2ⁿ, D)` float32.
        times: `(J, 2ⁿ)` int64, how many masks each choice stands for.
        kinds: `(J, 2ⁿ)` int64: 0 of a neuron that keeps no input, otherwise n_kinds + kept edges.
        kept: `(J, 2ⁿ, n + 1)` int64, how many of these masks keep each input, and how many keep any.
    """

    number: Any
    terms: Any
    times: Any
    kinds: Any
    kept: Any


class Half(NamedTuple):
    """All choices of some neurons next to each other; the last neuron's choice changes fastest.

    Attributes:
        first, beyond: these neurons.
        sums: `(D, M)` float32.
        sizes: `(D, M)` float64, the sums of absolute terms.
        times: `(M,)` int64, how many tuples of masks each stands for.
        kinds: `(M,)` int64, the sums of the neurons' kinds.
        order: `(D, M)` int32, the choices from the smallest sum on.
        places: `(M, D)` int32, the place of each choice in each order.
    """

    first: int
    beyond: int
    sums: Any
    sizes: Any
    times: Any
    kinds: Any
    order: Any
    places: Any


class Bounds(NamedTuple):
    """The intervals.

    Attributes:
        low, high: `(D,)` float64, of the sums that are exact in float32 on the grid of their multiples.
        exact: `(D,)` bool, whether all sums of the example are exact.
    """

    low: Any
    high: Any
    exact: Any


@compiled()
def _same(first: Any, second: Any) -> bool:
    for e in range(len(first)):
        if first[e] != second[e]:
            return False
    return True


@compiled()
def choices_of(terms: Any, active: int, kind_stride: int) -> Any:
    """Returns the distinct terms of each neuron that keeps only active inputs.

    Args:
        terms: `(J, 2ⁿ, D)` float32, as `contributions` fills them.
    """
    n_neurons, n_masks, n_examples = terms.shape
    n_inputs = 0
    while 1 << n_inputs < n_masks:
        n_inputs += 1
    number = np.zeros(n_neurons, dtype=np.int64)
    found = np.zeros((n_neurons, n_masks, n_examples), dtype=np.float32)
    times, kinds = np.zeros((n_neurons, n_masks), dtype=np.int64), np.zeros((n_neurons, n_masks), dtype=np.int64)
    kept = np.zeros((n_neurons, n_masks, n_inputs + 1), dtype=np.int64)
    for j in range(n_neurons):
        for m in range(n_masks):
            if m & ~active:
                continue
            kind = kind_stride + np.int64(n_bits(np.uint64(m))) + 1 if m else 0
            q = 0
            while q < number[j] and not (kinds[j, q] == kind and _same(found[j, q], terms[j, m])):
                q += 1
            if q == number[j]:
                number[j] += 1
                kinds[j, q] = kind
                for e in range(n_examples):
                    found[j, q, e] = terms[j, m, e] + ZERO  # −0 becomes 0
            times[j, q] += 1
            for i in range(n_inputs):
                kept[j, q, i] += m >> i & 1
            kept[j, q, n_inputs] += m != 0
    return Choices(number, found, times, kinds, kept)


@compiled()
def half_of(choices: Any, first: int, beyond: int, start: Any) -> Any:
    """Returns all choices of the neurons from `first` to before `beyond`, added to `start` `(D,)` float32."""
    n_examples = len(start)
    m = 1
    for j in range(first, beyond):
        m *= choices.number[j]
    sums, sizes = np.empty((n_examples, m), dtype=np.float32), np.zeros((n_examples, m), dtype=np.float64)
    times, kinds = np.ones(m, dtype=np.int64), np.zeros(m, dtype=np.int64)
    order, places = np.empty((n_examples, m), dtype=np.int32), np.empty((m, n_examples), dtype=np.int32)
    for e in range(n_examples):
        sums[e] = start[e]
    stride = m
    for j in range(first, beyond):
        n = choices.number[j]
        stride //= n
        for i in range(m):
            q = i // stride % n
            times[i] *= choices.times[j, q]
            kinds[i] += choices.kinds[j, q]
        for e in range(n_examples):
            for i in range(m):
                q = i // stride % n
                sums[e, i] += choices.terms[j, q, e]
                sizes[e, i] += abs(np.float64(choices.terms[j, q, e]))
    for e in range(n_examples):
        sort_numbers(sums[e], order[e])
        for k in range(m):
            places[order[e, k], e] = k
    return Half(first, beyond, sums, sizes, times, kinds, order, places)


@compiled()
def _lowest_bit(number: float) -> int:
    """Returns the k of the largest 2ᵏ that a float32 is a multiple of; 1,000 for 0."""
    if number == 0:
        return 1000
    fraction, exponent = math.frexp(number)
    digits = np.int64(math.ldexp(fraction, 24))
    while not digits & 1:
        digits >>= 1
        exponent += 1
    return exponent - 24


@compiled()
def bounds_of(choices: Any, bias: np.float32, low: Any, high: Any) -> Any:
    """Returns the intervals, and says on which examples all sums are exact.

    Args:
        low, high: `(D,)` float32.
    """
    n_neurons, _, n_examples = choices.terms.shape
    bounds = Bounds(low.astype(np.float64), high.astype(np.float64), np.zeros(n_examples, dtype=np.bool_))
    for e in range(n_examples):
        largest = abs(np.float64(bias))
        least = _lowest_bit(np.float64(bias))
        for j in range(n_neurons):
            of_neuron = 0.0
            for q in range(choices.number[j]):
                term = np.float64(choices.terms[j, q, e])
                of_neuron = max(of_neuron, abs(term))
                least = min(least, _lowest_bit(term))
            largest += of_neuron
        if largest == 0:
            least = 0
        step = math.ldexp(1.0, least)
        if largest <= math.ldexp(step, 24):
            bounds.exact[e] = True
            bounds.low[e] = np.ceil(bounds.low[e] / step) * step
            bounds.high[e] = np.floor(bounds.high[e] / step) * step
    return bounds


@compiled()
def boxes_of(near: Any, far: Any, bounds: Any) -> Any:
    """Returns the boxes of both halves' choices, `(M, 2D)` int32 of the first and of the second half.

    A choice's box has the places of its partners in the orders of the other half.

    Args:
        near: the half that begins with the bias.
    """
    n_examples, n_near, n_far = len(bounds.low), len(near.times), len(far.times)
    of_near, of_far = np.empty((n_near, 2 * n_examples), dtype=np.int32), np.empty((n_far, 2 * n_examples), dtype=np.int32)
    for e in range(n_examples):
        for side in range(2):
            of_far[:, 2 * e + side] = n_near
            bound = bounds.low[e] if side else bounds.high[e]
            k = n_far
            for i in range(n_near):  # p rises, so the bound of q falls
                choice = near.order[e, i]
                most = bound - np.float64(near.sums[e, choice])
                while k > 0:
                    partner = far.order[e, k - 1]
                    q = np.float64(far.sums[e, partner])
                    if q < most or (side == 0 and q == most):
                        break
                    of_far[partner, 2 * e + side] = i
                    k -= 1
                of_near[choice, 2 * e + side] = k
    return of_near, of_far


@compiled()
def _labelled(half: Any, members: Any, starts: Any) -> int:
    """Sorts a half's choices by kind and by the bits of `times`; a choice is listed once for each bit.

    Args:
        members: filled with the choices.
        starts: `(kinds · 64 + 1,)` int64, filled with the place where each kind and bit begins.

    Returns:
        The number of members; as a first call with an empty `members` says, how many there will be.
    """
    starts[:] = 0
    for i in range(len(half.times)):
        for power in range(63):
            if half.times[i] >> power & 1:
                starts[half.kinds[i] * 64 + power + 1] += 1
    for label in range(len(starts) - 1):
        starts[label + 1] += starts[label]
    if len(members) == 0:
        return starts[-1]
    ends = starts.copy()
    for i in range(len(half.times)):
        for power in range(63):
            if half.times[i] >> power & 1:
                label = half.kinds[i] * 64 + power
                members[ends[label]] = i
                ends[label] += 1
    return starts[-1]


@compiled()
def count_partners(half: Any, boxes: Any, others: Any, totals: Any, by_kind: Any) -> None:
    """Counts the partners of each choice of a half among the other half's choices.

    Args:
        boxes: `(M, 2D)`, those of this half.
        totals: `(M,)` int64, filled with the number of pairs of one tuple of masks of each choice.
        by_kind: `(S,)` int64; all pairs of masks are added at the sums of their kinds.
    """
    n_choices = len(half.times)
    turn = np.arange(n_choices).astype(np.int32)
    bring_together(half.places, turn, GROUP)
    turned = boxes[turn]
    ranges = ranges_of(turned)
    starts = np.zeros(len(by_kind) * 64 + 1, dtype=np.int64)
    members = np.empty(_labelled(others, np.empty(0, dtype=np.int32), starts), dtype=np.int32)
    _labelled(others, members, starts)
    block = empty_block(len(others.times), boxes.shape[1] // 2)
    counts = np.zeros(n_choices, dtype=np.int64)
    for kind in range(len(by_kind)):
        if starts[kind * 64] == starts[kind * 64 + 64]:
            continue
        for power in range(63):
            begin, end = starts[kind * 64 + power], starts[kind * 64 + power + 1]
            bring_together(others.places, members[begin:end], BLOCK)
            for first in range(begin, end, BLOCK):
                points = members[first : min(first + BLOCK, end)]
                fill_block(block, others.places, points)
                add_block(block, len(points), power, turned, ranges, counts)
        for i in range(n_choices):
            if counts[i]:
                choice = turn[i]
                totals[choice] += counts[i]
                by_kind[half.kinds[choice] + kind] += counts[i] * half.times[choice]
                counts[i] = 0


@compiled()
def _margin(bound: float, p: float, size: float, n_other: int) -> float:
    """Returns the largest |q − (bound − p)| with which the two decisions can differ; 0 if they can't."""
    if p == 0 or size == 0:
        return 0.0
    return ROUNDING * (n_other * abs(p) + (2 * n_other - 1) * size) + ROUNDING_64 * (abs(bound) + abs(p))


@compiled()
def _is_close(near: Any, far: Any, bounds: Any, a: int, b: int, e: int, side: int) -> bool:
    """Returns whether the pair of choices must be looked up because of a side of an example's interval."""
    bound = bounds.low[e] if side else bounds.high[e]
    if bounds.exact[e] or not np.isfinite(bound):
        return False
    p = np.float64(near.sums[e, a])
    margin = _margin(bound, p, far.sizes[e, b], far.beyond - far.first)
    return margin > 0 and abs(np.float64(far.sums[e, b]) - (bound - p)) <= margin


@compiled()
def _difference(near: Any, far: Any, choices: Any, bounds: Any, boxes: Any, a: int, b: int) -> int:
    """Returns 1 if the pair is counted and must not be, −1 if it must be and isn't... reversed sign: what to add."""
    is_in_box = is_inside = True
    for e in range(len(bounds.low)):
        place = far.places[b, e]
        is_in_box = is_in_box and boxes[a, 2 * e + 1] <= place and place < boxes[a, 2 * e]
        z = near.sums[e, a]
        stride = len(far.times)
        for j in range(far.first, far.beyond):
            stride //= choices.number[j]
            z = z + choices.terms[j, b // stride % choices.number[j], e]
        is_inside = is_inside and bounds.low[e] <= np.float64(z) and np.float64(z) <= bounds.high[e]
    return np.int64(is_inside) - np.int64(is_in_box)


@compiled()
def correct_close(near: Any, far: Any, choices: Any, bounds: Any, boxes: Any, totals: Any, by_kind: Any, most: int) -> int:
    """Decides the pairs that lie so close to a bound that rounding may decide, and corrects the counts.

    Args:
        boxes: `(M, 2D)`, those of `near`.
        totals: `(M,)` of `near` and of `far`.
        most: the largest number of pairs that are looked up.

    Returns:
        How many were looked up; more than `most`: it gave up.
    """
    of_near, of_far = totals
    n_other, n_looked = far.beyond - far.first, 0
    for e in range(len(bounds.low)):
        largest = far.sizes[e].max()
        for side in range(2):
            bound = bounds.low[e] if side else bounds.high[e]
            if bounds.exact[e] or not np.isfinite(bound):
                continue
            for a in range(len(near.times)):
                p = np.float64(near.sums[e, a])
                margin, middle = _margin(bound, p, largest, n_other), bound - p
                for step in (-1, 1):
                    k = boxes[a, 2 * e + side] + (step - 1) // 2
                    while 0 <= k < len(far.times):
                        b = far.order[e, k]
                        if abs(np.float64(far.sums[e, b]) - middle) > margin:
                            break
                        k += step
                        n_looked += 1
                        if n_looked > most:
                            return n_looked
                        if not _is_close(near, far, bounds, a, b, e, side):
                            continue
                        if _was_before(near, far, bounds, a, b, e, side):
                            continue
                        more = _difference(near, far, choices, bounds, boxes, a, b)
                        of_near[a] += more * far.times[b]
                        of_far[b] += more * near.times[a]
                        by_kind[near.kinds[a] + far.kinds[b]] += more * near.times[a] * far.times[b]
    return n_looked


@compiled()
def _was_before(near: Any, far: Any, bounds: Any, a: int, b: int, e: int, side: int) -> bool:
    """Returns whether the pair was looked up because of another side before this one."""
    for other in range(2 * e + side):
        if _is_close(near, far, bounds, a, b, other >> 1, other & 1):
            return True
    return False


@compiled()
def add_kept(half: Any, choices: Any, totals: Any, kept: Any) -> None:
    """Adds to `kept` `(J, n + 1)` in how many pairs each neuron keeps each input, and any.

    Args:
        totals: `(M,)`, the pairs of one tuple of masks of each choice.
    """
    stride = len(half.times)
    for j in range(half.first, half.beyond):
        n = choices.number[j]
        stride //= n
        of_choice = np.zeros(n, dtype=np.int64)
        for i in range(len(half.times)):
            q = i // stride % n
            of_choice[q] += totals[i] * (half.times[i] // choices.times[j, q])
        for q in range(n):
            kept[j] += of_choice[q] * choices.kept[j, q]


@compiled()
def _middle(number: Any) -> int:
    """Returns before which neuron to divide them, so that the two halves have the fewest choices together."""
    best, fewest = 0, np.inf
    for middle in range(len(number) + 1):
        n = 1.0
        for j in range(middle):
            n *= number[j]
        others = 1.0
        for j in range(middle, len(number)):
            others *= number[j]
        if n + others < fewest:
            best, fewest = middle, n + others
    return best


@compiled()
def count_one(
    values: Any, active: int, hidden: Any, output: Any, bounds: Any, most: int, by_kind: Any, kept: Any
) -> int:
    """Counts the choices of masks of active neurons with which each example's output lies in its interval.

    Args:
        values: `(n, D)` float32, those of the neurons behind the last hidden layer.
        active: the neurons that masks may keep, as bits.
        hidden, output: as for `evaluation.evaluate_prefixes`.
        bounds: `(2, D)` float32, the intervals.
        most: the largest number of pairs that are looked up.
        by_kind: `(J + 1, E + 1)` int64, filled with the choices by active neurons and kept edges.
        kept: `(J, n + 1)` int64, filled with the choices in which each neuron keeps each input, and any.

    Returns:
        How many pairs were looked up; more than `most`: it gave up, −1: a number is not finite.
    """
    out_weight, out_bias, out_means, _, _ = output
    n_neurons, n_inputs = hidden[0].shape
    terms = np.zeros((n_neurons, 1 << n_inputs, values.shape[1]), dtype=np.float32)
    contributions(values, active, hidden, out_weight, out_means, terms)
    choices = choices_of(terms, active, by_kind.shape[1])
    intervals = bounds_of(choices, out_bias, bounds[0], bounds[1])
    middle = _middle(choices.number)
    start = np.zeros(values.shape[1], dtype=np.float32)
    far = half_of(choices, middle, n_neurons, start)
    start[:] = out_bias
    near = half_of(choices, 0, middle, start)
    of_near, of_far = boxes_of(near, far, intervals)
    totals = np.zeros(len(near.times), dtype=np.int64), np.zeros(len(far.times), dtype=np.int64)
    kinds = by_kind.reshape(-1)
    count_partners(near, of_near, far, totals[0], kinds)
    count_partners(far, of_far, near, totals[1], np.zeros(len(kinds), dtype=np.int64))
    n_looked = correct_close(near, far, choices, intervals, of_near, totals, kinds, most)
    add_kept(near, choices, totals[0], kept)
    add_kept(far, choices, totals[1], kept)
    return n_looked


@compiled(parallel=True)
def count_all(
    values: Any, active: Any, hidden: Any, output: Any, bounds: Any, most: int, n_threads: int, by_kind: Any, kept: Any, n_looked: Any
) -> None:
    """Does `count_one` for K values, actives and results; thread t does every n_threads-th."""
    for thread in prange(n_threads):
        for k in range(thread, len(active), n_threads):
            n_looked[k] = count_one(values[k], active[k], hidden, output, bounds, most, by_kind[k], kept[k])
