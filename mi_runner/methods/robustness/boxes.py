"""Whether two networks answer alike everywhere in a box, compiled: bounds, points that refute, and splitting.

A box is proved if lines that bound the networks (see `lines`) leave no point where the answers differ. Where they
leave one, the corner at which they say so is tried, and the middle: a step along the bound's gradient. If neither
refutes, the box is cut in two across the input that contributes most to the distance between the lines. Halves that are
left when the number of boxes is spent make the box undecided.

Letters: N the widest layer, n_0 inputs, n_L outputs, T levels, D boxes on a stack.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mi_runner.machine.compiled import compiled
from mi_runner.methods.robustness.answers import answer_of, differ, is_clear, level_after, run
from mi_runner.methods.robustness.lines import bound_outputs, copy, fill_lines, highest, lowest

UNDECIDED, PROVED, REFUTED = range(3)
"""What is known of a box."""

DEEPEST = 400
"""Most boxes that wait on a stack."""

MOST_CROSSED = 8
"""Most levels between two outputs that are tried in one box; with more the box is cut."""

HALVINGS = 40
"""Steps in which the weight of two linear functions is sought."""


@compiled()
def scratch(n_layers: int, n_widest: int, n_inputs: int) -> Any:
    """Returns the arrays that deciding boxes overwrites: lines of both networks, rows, boxes, points, flows."""
    return (
        np.empty((2, n_layers, n_widest, 4)),
        np.empty((8, n_widest)),
        np.empty((2, DEEPEST, n_inputs)),
        np.empty((4, n_inputs)),
        np.empty((2, n_layers + 1, n_widest)),
    )


@compiled()
def _corner(row: Any, low: Any, high: Any, n: int, upwards: bool, point: Any) -> None:
    """Fills `point` with the corner of a box at which a linear function is largest, or smallest."""
    for i in range(n):
        point[i] = high[i] if (row[i] > 0) == upwards else low[i]


@compiled()
def _add_gaps(net: Any, lines: Any, flows: Any, scores: Any, n: int) -> None:
    """Adds to `scores` `(n_0,)` how much each input moves the distance between the lines of neurons, to the outputs.

    Args:
        flows: `(2, L + 1, N)`, overwritten: how much a neuron moves the outputs, and how much through unstable neurons.
    """
    weights, sizes = net[0], net[2]
    n_layers = sizes.shape[0] - 1
    for k in range(sizes[n_layers]):
        flows[0, n_layers, k], flows[1, n_layers, k] = 1.0, 0.0
    for layer in range(n_layers - 1, -1, -1):
        for j in range(sizes[layer]):
            moved, gaps = 0.0, 0.0
            for m in range(sizes[layer + 1]):
                weight = abs(weights[layer, m, j])
                moved += weight * flows[0, layer + 1, m]
                gaps += weight * flows[1, layer + 1, m]
            if layer > 0 and net[5][layer - 1, j]:
                line = lines[layer - 1, j]
                is_apart = line[0] != line[2] or line[1] != line[3]
                gaps += moved if is_apart else 0.0
            flows[0, layer, j], flows[1, layer, j] = moved, gaps
    for i in range(n):
        scores[i] += flows[1, 0, i]


@compiled()
def _cut(low: Any, high: Any, scores: Any, n: int, waiting: Any, top: int) -> int:
    """Puts the halves of a box on the stack and returns its new height; as it was, if no cut would help."""
    best, across = 0.0, -1
    for i in range(n):
        if (high[i] - low[i]) * scores[i] > best:
            best, across = (high[i] - low[i]) * scores[i], i
    if across < 0:
        return top
    middle = 0.5 * (low[across] + high[across])
    if not low[across] < middle < high[across]:
        return top
    for half in range(2):
        for i in range(n):
            waiting[0, top + half, i] = low[i]
            waiting[1, top + half, i] = high[i]
    waiting[1, top, across] = middle
    waiting[0, top + 1, across] = middle
    return top + 2


@compiled()
def halve(nets: Any, n_nets: int, work: Any, top: int) -> int:
    """Puts the halves of the box in hand on the stack, cut where the lines of the first networks are furthest apart.

    Returns the stack's new height; as it was, if no cut would help.

    Args:
        work: see `scratch`; the box stands in its first two points, the networks' lines are filled.
    """
    lines, rows, waiting, points, flows = work
    n, scores = nets[0][2][0], rows[6]
    for i in range(n):
        scores[i] = 0.0
    for which in range(n_nets):
        _add_gaps(nets[which], lines[which], flows, scores, n)
    return _cut(points[0], points[1], scores, n, waiting, top)


@compiled()
def take(waiting: Any, top: int, n: int, points: Any) -> None:
    """Copies the box on top of the stack to the first two points, and its middle to the third."""
    for i in range(n):
        points[0, i], points[1, i] = waiting[0, top, i], waiting[1, top, i]
        points[2, i] = 0.5 * (points[0, i] + points[1, i])


@compiled()
def _is_witness(task: Any, nets: Any, is_alone: bool, answer: int, point: Any, rows: Any) -> bool:
    """Returns whether a point refutes: the networks differ there, or the only one has another answer, beyond doubt."""
    net = nets[0]
    if not is_alone:
        return differ(task, net, nets[1], point, rows[4], rows[5])
    run(net, point, rows[4], rows[5])
    n_outputs = net[2][net[2].shape[0] - 1]
    found = answer_of(task, rows[4], n_outputs)
    return found != answer and is_clear(task[0], task[1], rows[4], n_outputs, found)


@compiled()
def _keeps(task: Any, nets: Any, is_alone: bool, answer: int, tolerance: float, work: Any, witness: Any) -> int:
    """Returns what is known of a small box without cutting it: whether the network has this answer everywhere.

    Args:
        work: of `scratch`; the box stands in its points.
    """
    lines, rows, _, points, _ = work
    net = nets[0]
    levels, sizes = task[0], net[2]
    n, n_outputs = sizes[0], sizes[sizes.shape[0] - 1]
    low, high, wanted, row, point = points[0], points[1], rows[2], rows[3], points[3]
    is_proved = True
    for k in range(n_outputs if n_outputs > 1 else 2):
        if n_outputs > 1:
            if k == answer:
                continue
            for m in range(n_outputs):
                wanted[m] = 0.0
            wanted[answer], wanted[k] = 1.0, -1.0
            border, upwards = 0.0, False
        else:
            wanted[0], upwards = 1.0, k == 1
            place = answer if upwards else answer - 1
            if place < 0 or place >= levels.shape[0]:
                continue
            border = levels[place, 0]
        start = bound_outputs(net, wanted, upwards, lines[0], row, rows[5])
        if upwards:
            is_far = highest(row, start, low, high, n) < border - tolerance
        else:
            is_far = lowest(row, start, low, high, n) > border + tolerance
        if not is_far:
            is_proved = False
            _corner(row, low, high, n, upwards, point)
            if _is_witness(task, nets, is_alone, answer, point, rows):
                copy(point, witness, n)
                return REFUTED
    return PROVED if is_proved else UNDECIDED


@compiled()
def decide_constant(
    task: Any, nets: Any, is_alone: bool, answer: int, box: Any, limits: Any, work: Any, witness: Any
) -> int:
    """Returns whether a network has one answer everywhere in a box.

    Args:
        task: levels `(T, 3)`, and kind and slope of the last activation; see `answers`.
        nets: the network, and another one that has this answer in the whole box; see `networks.Arrays`.
        is_alone: whether the other one doesn't count; otherwise a witness must differ from it beyond doubt.
        box: low and high, `(n_0,)` each.
        limits: slack, which bounds rounding errors of ranges; tolerance, by which a bound must miss the next answer;
            and the most boxes that are looked at.
        work: see `scratch`.
        witness: `(n_0,)`, filled where the box is refuted.
    """
    slack, tolerance, most = limits
    net = nets[0]
    lines, rows, waiting, points, _ = work
    n = net[2][0]
    copy(box[0], waiting[0, 0], n)
    copy(box[1], waiting[1, 0], n)
    top, n_boxes = 1, 0
    while top:
        if n_boxes >= most or top + 1 >= DEEPEST:
            return UNDECIDED
        top, n_boxes = top - 1, n_boxes + 1
        take(waiting, top, n, points)
        fill_lines(net, points[0], points[1], slack, lines[0], rows)
        found = _keeps(task, nets, is_alone, answer, tolerance, work, witness)
        if found == REFUTED:
            return REFUTED
        if found == PROVED:
            continue
        if _is_witness(task, nets, is_alone, answer, points[2], rows):
            copy(points[2], witness, n)
            return REFUTED
        grown = halve(nets, 1, work, top)
        if grown == top:
            return UNDECIDED
        top = grown
    return PROVED


@compiled()
def _best_of_both(
    first: Any, first_start: float, second: Any, second_start: float, low: Any, high: Any, n: int, row: Any
) -> float:
    """Returns a bound, from above, of the smaller of two linear functions in a box; the least that a mixture gives.

    Args:
        row: `(N,)`, filled with the mixture.
    """
    from_, to, least = 0.0, 1.0, np.inf
    for step in range(HALVINGS):
        weight = (0.0, 1.0)[step] if step < 2 else 0.5 * (from_ + to)
        start, rise = weight * first_start + (1 - weight) * second_start, first_start - second_start
        for i in range(n):
            row[i] = weight * first[i] + (1 - weight) * second[i]
            at = high[i] if row[i] > 0 else low[i]
            start += row[i] * at
            rise += (first[i] - second[i]) * at
        least = min(least, start)
        if step >= 2:
            if rise > 0:
                to = weight
            else:
                from_ = weight
    return least


@compiled()
def _can_differ(
    task: Any,
    nets: Any,
    wanted: Any,
    borders: Any,
    tolerance: float,
    work: Any,
    witness: Any,
) -> int:
    """Returns whether sums of outputs of both networks can exceed their borders at one point of a small box.

    Args:
        nets: the network and the other one.
        wanted: `(2, N)`, weights of the outputs of each.
        borders: of each.
    """
    lines, rows, _, points, _ = work
    net, other = nets
    n = net[2][0]
    low, high = points[0], points[1]
    first, second, row = rows[3], rows[6], rows[7]
    first_start = bound_outputs(net, wanted[0], True, lines[0], first, rows[5]) - borders[0]
    if highest(first, first_start, low, high, n) < -tolerance:
        return PROVED
    second_start = bound_outputs(other, wanted[1], True, lines[1], second, rows[5]) - borders[1]
    if highest(second, second_start, low, high, n) < -tolerance:
        return PROVED
    if _best_of_both(first, first_start, second, second_start, low, high, n, row) < -tolerance:
        return PROVED
    for tried in (first, second, row):
        _corner(tried, low, high, n, True, points[3])
        if differ(task, net, other, points[3], rows[4], rows[5]):
            copy(points[3], witness, n)
            return REFUTED
    return UNDECIDED


@compiled()
def _alike(task: Any, net: Any, other: Any, tolerance: float, work: Any, pair: Any, witness: Any) -> int:
    """Returns what is known of a small box without cutting it: whether two networks answer alike everywhere.

    Args:
        pair: `(2, N)`, overwritten.
    """
    lines, rows, _, points, _ = work
    levels, sizes = task[0], net[2]
    n, n_outputs = sizes[0], sizes[sizes.shape[0] - 1]
    low, high, row = points[0], points[1], rows[3]
    if n_outputs > 1:
        return _classes_alike(task, net, other, tolerance, work, pair, witness)
    ranges = np.empty((2, 2))
    pair[0, 0] = 1.0
    for which in range(2):
        one = net if which == 0 else other
        for upwards in (False, True):
            start = bound_outputs(one, pair[0], upwards, lines[which], row, rows[5])
            ranges[which, int(upwards)] = (
                highest(row, start, low, high, n) if upwards else lowest(row, start, low, high, n)
            )
    from_ = min(ranges[0, 0], ranges[1, 0]) - tolerance
    to = max(ranges[0, 1], ranges[1, 1]) + tolerance
    place, end = level_after(levels, from_), level_after(levels, to)
    if end - place > MOST_CROSSED:
        return UNDECIDED
    is_proved = True
    for level in range(place, end):
        at = levels[level, 0]
        for sign in (1.0, -1.0):  # the network above the level and the other below, and the other way round
            pair[0, 0], pair[1, 0] = sign, -sign
            found = _can_differ(task, (net, other), pair, (sign * at, -sign * at), tolerance, work, witness)
            if found == REFUTED:
                return REFUTED
            is_proved &= found == PROVED
    return PROVED if is_proved else UNDECIDED


@compiled()
def _possible(net: Any, tolerance: float, lines: Any, work: Any, wanted: Any, possible: Any) -> None:
    """Fills `possible` `(n_L,)` with whether a class can be the answer somewhere in a small box."""
    rows, points = work[1], work[3]
    n_outputs = possible.shape[0]
    for k in range(n_outputs):
        possible[k] = True
        for other in range(n_outputs):
            if k == other or not possible[k]:
                continue
            for m in range(n_outputs):
                wanted[m] = 0.0
            wanted[k], wanted[other] = 1.0, -1.0
            start = bound_outputs(net, wanted, True, lines, rows[3], rows[5])
            possible[k] = highest(rows[3], start, points[0], points[1], net[2][0]) >= -tolerance


@compiled()
def _classes_alike(task: Any, net: Any, other: Any, tolerance: float, work: Any, pair: Any, witness: Any) -> int:
    """Returns what `_alike` does, for several outputs that answer a class."""
    lines, sizes = work[0], net[2]
    n_outputs = sizes[sizes.shape[0] - 1]
    here = np.empty(n_outputs, dtype=np.bool_)
    there = np.empty(n_outputs, dtype=np.bool_)
    _possible(net, tolerance, lines[0], work, pair[0], here)
    _possible(other, tolerance, lines[1], work, pair[0], there)
    is_proved = True
    for k in range(n_outputs):
        for m in range(n_outputs):
            if k == m or not here[k] or not there[m]:
                continue
            for output in range(n_outputs):
                pair[0, output], pair[1, output] = 0.0, 0.0
            pair[0, k], pair[0, m] = 1.0, -1.0
            pair[1, k], pair[1, m] = -1.0, 1.0
            found = _can_differ(task, (net, other), pair, (0.0, 0.0), tolerance, work, witness)
            if found == REFUTED:
                return REFUTED
            is_proved &= found == PROVED
    return PROVED if is_proved else UNDECIDED


@compiled()
def decide_alike(task: Any, nets: Any, box: Any, limits: Any, work: Any, witness: Any) -> int:
    """Returns whether two networks answer alike everywhere in a box. Arguments as for `decide_constant`."""
    slack, tolerance, most = limits
    net, other = nets
    lines, rows, waiting, points, _ = work
    n = net[2][0]
    pair = np.empty((2, rows.shape[1]))
    copy(box[0], waiting[0, 0], n)
    copy(box[1], waiting[1, 0], n)
    top, n_boxes = 1, 0
    while top:
        if n_boxes >= most or top + 1 >= DEEPEST:
            return UNDECIDED
        top, n_boxes = top - 1, n_boxes + 1
        take(waiting, top, n, points)
        fill_lines(net, points[0], points[1], slack, lines[0], rows)
        fill_lines(other, points[0], points[1], slack, lines[1], rows)
        found = _alike(task, net, other, tolerance, work, pair, witness)
        if found == REFUTED:
            return REFUTED
        if found == PROVED:
            continue
        if differ(task, net, other, points[2], rows[4], rows[5]):
            copy(points[2], witness, n)
            return REFUTED
        grown = halve(nets, 2, work, top)
        if grown == top:
            return UNDECIDED
        top = grown
    return PROVED
