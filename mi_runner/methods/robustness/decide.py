"""All circuits in all boxes, compiled: what is proved, refuted and undecided.

What concerns the network alone is known beforehand, for all circuits once: in which boxes its answer never changes, and
points on both sides of where it does. In a box whose network has one answer a circuit has only to keep it.

Letters: K circuits, E edges, R sizes of boxes (largest first, each inside the one before), D examples, n_0 inputs,
P points, L Linear layers, N the widest layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled
from mi_runner.methods.robustness.answers import answer_of, differ, is_clear, run
from mi_runner.methods.robustness.boxes import (
    PROVED,
    REFUTED,
    UNDECIDED,
    decide_alike,
    decide_constant,
    scratch,
)
from mi_runner.methods.robustness.lines import copy, fill_lines

CONSTANT, CHANGES = 1, 2
"""What is known of the network's answer in a box; 0: nothing."""


@compiled()
def fill_circuit(full: Any, carried: Any, kept: Any, weights: Any, biases: Any, used: Any) -> None:
    """Fills the arrays of a circuit.

    Args:
        full: the network; see `networks.Arrays`.
        carried: `(L, N)`, the value of each neuron that a left-out edge carries times its weight.
        kept: `(E,)` bool.
        weights, biases, used: `(L, N, N)`, `(L, N)`, `(L, N)`.
    """
    sizes = full[2]
    edge = 0
    for k in range(sizes.shape[0] - 1):
        for j in range(used.shape[1]):
            used[k, j] = False
    for k in range(sizes.shape[0] - 1):
        for j in range(sizes[k + 1]):
            biases[k, j] = full[1][k, j]
            for i in range(sizes[k]):
                weights[k, j, i] = 0.0
                if kept[edge]:
                    weights[k, j, i] = full[0][k, j, i]
                    if k > 0:
                        used[k - 1, i] = True
                elif carried[k, i] != 0:
                    biases[k, j] += full[0][k, j, i] * carried[k, i]
                edge += 1


@compiled()
def _is_fixed(line: Any) -> bool:
    """Returns whether a neuron's lines say that it has one value in the whole box, where the lines start."""
    return line[0] == 0 and line[2] == 0 and line[1] == line[3]


@compiled()
def fill_same(full: Any, carried: Any, kept: Any, box: Any, lines: Any, is_same: Any) -> None:
    """Fills which neurons and outputs of a circuit are the network's in the whole box: nothing that it lacks matters.

    A left-out edge doesn't matter if its weight is 0, if its source has in the whole box the value that the edge
    carries, or if it enters a neuron that has one value in the whole box with and without it: a ReLU that never fires.

    Args:
        lines: `(2, L, N, 4)`, of the circuit and of the network in this box.
        is_same: `(L + 1, N)` bool.
    """
    weights, sizes = full[0], full[2]
    low, high = box
    n_layers = sizes.shape[0] - 1
    for i in range(sizes[0]):
        is_same[0, i] = True
    edge = 0
    for k in range(n_layers):
        same, now = is_same[k], is_same[k + 1]
        for j in range(sizes[k + 1]):
            now[j] = True
            for i in range(sizes[k]):
                if kept[edge]:
                    now[j] &= same[i] or weights[k, j, i] == 0
                elif weights[k, j, i] != 0:
                    if k == 0:
                        is_fixed, at = low[i] == high[i], low[i]
                    else:
                        is_fixed, at = _is_fixed(lines[1, k - 1, i]), lines[1, k - 1, i, 1]
                    now[j] &= is_fixed and at == carried[k, i]
                edge += 1
            if k < n_layers - 1 and _is_fixed(lines[0, k, j]) and _is_fixed(lines[1, k, j]):
                now[j] |= lines[0, k, j, 1] == lines[1, k, j, 1]


@compiled()
def _is_same(full: Any, carried: Any, kept: Any, box: Any, lines: Any) -> bool:
    """Returns whether a circuit computes the network's outputs in the whole box; see `fill_same`."""
    sizes = full[2]
    n_layers = sizes.shape[0] - 1
    is_same = np.empty((n_layers + 1, full[0].shape[1]), dtype=np.bool_)
    fill_same(full, carried, kept, box, lines, is_same)
    is_everywhere = True
    for j in range(sizes[n_layers]):
        is_everywhere &= is_same[n_layers, j]
    return is_everywhere


@compiled()
def _is_inside(point: Any, low: Any, high: Any) -> bool:
    is_in = True
    for i in range(point.shape[0]):
        is_in &= low[i] <= point[i] <= high[i]
    return is_in


@compiled()
def decide_box(
    task: Any,
    full: Any,
    carried: Any,
    kept: Any,
    circuit: Any,
    box: Any,
    known: int,
    answer: int,
    points: Any,
    limits: Any,
    work: Any,
    witness: Any,
) -> int:
    """Returns whether a circuit answers as its network does in a box.

    Args:
        task: see `boxes.decide_constant`.
        full, circuit: the network's arrays and the circuit's.
        carried, kept: see `fill_circuit`.
        box: low and high, `(n_0,)` each.
        known, answer: of the network in this box.
        points: `(P, n_0)`, at which the networks are compared first.
        limits, work, witness: see `boxes.decide_constant`.
    """
    if known == CONSTANT:
        return decide_constant(task, (circuit, full), False, answer, box, limits, work, witness)
    for p in range(points.shape[0]):
        if differ(task, circuit, full, points[p], work[1][4], work[1][5]):
            copy(points[p], witness, witness.shape[0])
            return REFUTED
    for k in range(full[2].shape[0] - 1):
        for j in range(full[0].shape[1]):
            work[0][0, k, j, 0] = 1.0  # no line is left of a neuron that this circuit doesn't read
    fill_lines(circuit, box[0], box[1], limits[0], work[0][0], work[1])
    fill_lines(full, box[0], box[1], limits[0], work[0][1], work[1])
    if _is_same(full, carried, kept, box, work[0]):
        return PROVED
    return decide_alike(task, (circuit, full), box, limits, work, witness)


@compiled()
def _decide_example(
    task: Any,
    full: Any,
    carried: Any,
    kept: Any,
    circuit: Any,
    d: int,
    boxes: Any,
    of_network: Any,
    limits: Any,
    work: Any,
    found: Any,
    witnesses: Any,
) -> None:
    """Fills what is known of one example in boxes of all sizes, `found` `(R,)`, and witnesses `(R, n_0)`.

    Boxes that are decided already stay so.
    """
    lows, highs = boxes
    known, answers, points, first = of_network
    n_sizes, n_examples = known.shape
    e = 0
    while e < n_sizes:
        if found[e] != UNDECIDED:
            e += 1
            continue
        place = e * n_examples + d
        box = (lows[e, d], highs[e, d])
        own = points[first[place] : first[place + 1]]
        found[e] = decide_box(
            task,
            full,
            carried,
            kept,
            circuit,
            box,
            known[e, d],
            answers[e, d],
            own,
            limits,
            work,
            witnesses[e],
        )
        if found[e] == PROVED:
            for smaller in range(e + 1, n_sizes):
                found[smaller] = PROVED
            return
        if found[e] == REFUTED:
            while e + 1 < n_sizes and _is_inside(witnesses[e], lows[e + 1, d], highs[e + 1, d]):
                found[e + 1] = REFUTED
                copy(witnesses[e], witnesses[e + 1], witnesses.shape[1])
                e += 1
        e += 1


@compiled()
def _prove_groups(
    task: Any, nets: Any, groups: Any, of_groups: Any, limits: Any, work: Any, found: Any, witness: Any
) -> None:
    """Marks examples as proved whose circuit keeps the network's answer in the box that holds a whole group of them.

    Args:
        groups: `(M, 2)`, the first example of each group and its end.
        of_groups: lows and highs of their boxes `(R, M, n_0)`; what is known of the network's answer in them, and that
            answer, `(R, M)` each.
        found: `(R, D)`.
        witness: `(n_0,)`, overwritten.
    """
    lows, highs, known, answers = of_groups
    once = (limits[0], limits[1], 1)
    for e in range(found.shape[0]):
        for m in range(groups.shape[0]):
            if known[e, m] != CONSTANT:
                continue
            is_open = False
            for d in range(groups[m, 0], groups[m, 1]):
                is_open |= found[e, d] == UNDECIDED
            if not is_open:
                continue
            box = (lows[e, m], highs[e, m])
            if decide_constant(task, nets, False, answers[e, m], box, once, work, witness) == PROVED:
                for smaller in range(e, found.shape[0]):
                    for d in range(groups[m, 0], groups[m, 1]):
                        found[smaller, d] = PROVED


@compiled(parallel=True)
def decide_all(
    task: Any,
    full: Any,
    carried: Any,
    kept: Any,
    centers: Any,
    boxes: Any,
    of_network: Any,
    grouped: Any,
    limits: Any,
    agrees: Any,
    found: Any,
    witnesses: Any,
    nearest: Any,
    where: Any,
) -> None:
    """Fills what is known of all circuits in boxes of all sizes around all examples.

    Args:
        task: see `boxes.decide_constant`.
        full: the network; see `networks.Arrays`.
        carried: `(L, N)`, see `fill_circuit`.
        kept: `(K, E)` bool.
        centers: `(D, n_0)`, the examples.
        boxes: lows and highs, each `(R, D, n_0)`.
        of_network: what is known of its answer, and the answer where that is constant, `(R, D)` int64 each; points
            `(P, n_0)`; and where those of each box begin, `(R · D + 1,)`.
        grouped: groups and what belongs to them, see `_prove_groups`.
        limits: see `decide_box`.
        agrees: `(K, D)` bool, filled: whether the answers at the example itself are equal.
        found: `(K, R, D)` int8: `PROVED`, `REFUTED` or `UNDECIDED`; only what is undecided is looked at.
        witnesses: `(K, R, D, n_0)`, filled where a box is refuted; without rows: they aren't asked for.
        nearest: `(K, n_0)`, filled with a witness in the smallest boxes in which one is known.
        where: `(K, 2)` int64, the size and the example of that witness; −1: none is known.
    """
    n_circuits, n_sizes, n_examples = found.shape
    sizes = full[2]
    n_layers, n_widest, n_inputs = sizes.shape[0] - 1, full[0].shape[1], sizes[0]
    n_outputs = sizes[n_layers]
    for c in prange(n_circuits):
        weights, biases = np.zeros((n_layers, n_widest, n_widest)), np.zeros((n_layers, n_widest))
        used = np.zeros((n_layers, n_widest), dtype=np.bool_)
        fill_circuit(full, carried, kept[c], weights, biases, used)
        circuit = (weights, biases, sizes, full[3], full[4], used)
        work = scratch(n_layers, n_widest, n_inputs)
        own, status = np.empty((n_sizes, n_inputs)), np.empty(n_sizes, dtype=np.int64)
        values = np.empty((2, n_widest))
        is_full = True
        for edge in range(kept.shape[1]):
            is_full &= kept[c, edge]
        if not is_full:
            _prove_groups(task, (circuit, full), grouped[0], grouped[1:], limits, work, found[c], own[0])
        for d in range(n_examples):
            is_open = False
            for e in range(n_sizes):
                status[e] = found[c, e, d]
                is_open |= status[e] == UNDECIDED
            if not is_open:
                agrees[c, d] |= status[0] == PROVED
                continue
            run(full, centers[d], values[0], values[1])
            wanted = answer_of(task, values[0], n_outputs)
            is_apart = is_clear(task[0], task[1], values[0], n_outputs, wanted)
            run(circuit, centers[d], values[0], values[1])
            answer = answer_of(task, values[0], n_outputs)
            agrees[c, d] = answer == wanted
            is_apart &= is_clear(task[0], task[1], values[0], n_outputs, answer)
            if is_full:
                for e in range(n_sizes):
                    status[e] = PROVED
            elif answer != wanted and is_apart:
                for e in range(n_sizes):
                    status[e] = REFUTED
                    copy(centers[d], own[e], n_inputs)
            else:
                _decide_example(
                    task,
                    full,
                    carried,
                    kept[c],
                    circuit,
                    d,
                    (boxes[0], boxes[1]),
                    of_network,
                    limits,
                    work,
                    status,
                    own,
                )
            for e in range(n_sizes):
                is_new = found[c, e, d] == UNDECIDED
                found[c, e, d] = status[e]
                if is_new and status[e] == REFUTED:
                    if witnesses.shape[0]:
                        copy(own[e], witnesses[c, e, d], n_inputs)
                    if e > where[c, 0]:
                        where[c, 0], where[c, 1] = e, d
                        copy(own[e], nearest[c], n_inputs)
