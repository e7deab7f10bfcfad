"""Walks through circuits that stay above a level of right answers: the moves of multilevel splitting.

The score of a circuit is its right answers, each as often as its example occurs, plus a closeness in 0..1 that orders
circuits with equally many: the mean of 1 / (1 + distance) over the wrong answers, the distance being how far the only
output is from the values that are right, or how far the right output is below the largest.

A move flips some edges: one, a few, a kept and a left-out one, or each with probability ½ of those into one neuron or
of those of one hidden neuron. All are as likely backwards as forwards, so moves to well-formed circuits that
reach the level, and no others, keep the uniform law among these.

Only neurons behind a flipped edge are computed again, each from all its kept inputs, so that a value depends on the
circuit alone and not on the walk. Every neuron has two rows of values, one of which is the present circuit's.

Letters: as in `sampling`; N circuits, T neurons behind the inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.randomness import below
from mi_runner.methods.circuits.kernels.sampling import (
    BLOCK,
    activate_row,
    add_sources,
    finish_output,
    kept_sources,
    right_in_block,
)

ONE_EDGE, FEW_EDGES, EXCHANGE, INTO_NEURON, OF_NEURON = range(5)
"""Kinds of moves."""

N_KINDS = 5

MOST_FLIPS = 8
"""Edges that a move of a few flips, at most."""

BELOW_ONE = 1.0 - 1e-6
"""A closeness is at most this, so that a score never rounds up to one more right answer."""


@compiled()
def _distance(outputs: Any, e: int, bounds: Any, y: int) -> float:
    """Returns how far the answer of an example is from being right; negative or 0 if it is right, but for ties.

    Args:
        outputs: `(n_L, D)`; of one output before its activation.
        bounds: `(2,)` of one output.
        y: of several outputs the right one.
    """
    if outputs.shape[0] == 1:
        z = outputs[0, e]
        return max(float(bounds[0]) - z, z - float(bounds[1]))
    largest = -np.inf
    for k in range(outputs.shape[0]):
        if k != y:
            largest = max(largest, outputs[k, e])
    return largest - outputs[y, e]


@compiled()
def closeness(outputs: Any, goals: Any) -> float:
    """Returns the mean of 1 / (1 + distance) over the wrong answers, 0 to `BELOW_ONE`; 0 without a wrong one."""
    groups, bounds, classes, sizes = goals
    several = len(classes) > 0
    near = wrong = 0.0
    no_bounds = np.zeros(2, dtype=np.float32)
    for g in range(len(groups) - 1):
        y, ends = (classes[g], no_bounds) if several else (0, bounds[g])
        for e in range(groups[g], groups[g + 1]):
            distance = _distance(outputs, e, ends, y)
            is_wrong = distance > 0
            if several and distance == 0:  # of equal outputs the first is the answer
                for k in range(y):
                    is_wrong |= outputs[k, e] == outputs[y, e]
            if is_wrong:
                wrong += sizes[g]
                near += sizes[g] / (1.0 + distance)
    return BELOW_ONE * near / wrong if wrong > 0 else 0.0


@compiled()
def _add_degrees(edge: int, sign: int, sources: Any, targets: Any, degrees: Any) -> None:
    """Counts one edge more or less of its source and its target."""
    degrees[1, sources[edge]] += sign
    degrees[0, targets[edge]] += sign


@compiled()
def _is_formed(
    flips: Any, n_flips: int, places: Any, degrees: Any, n_inputs: int, n_outputs: int, is_all: bool
) -> bool:
    """Returns whether the neurons at flipped edges have edges in and out or none; of a circuit that was well formed."""
    sources, targets = places
    n_neurons = degrees.shape[1]
    for at in range(n_flips):
        for neuron in (sources[flips[at]], targets[flips[at]]):
            if neuron < n_inputs:
                if is_all and degrees[1, neuron] == 0:
                    return False
            elif neuron >= n_neurons - n_outputs:
                if is_all and degrees[0, neuron] == 0:
                    return False
            elif (degrees[0, neuron] > 0) != (degrees[1, neuron] > 0):
                return False
    return True


@compiled()
def _propose(kind: int, circuit: Any, n_kept: int, places: Any, sizes: Any, random: Any, row: int, flips: Any) -> int:
    """Fills `flips` with the edges that a move of this kind flips; returns how many."""
    sources, targets = places
    n_edges = len(circuit)
    if kind == ONE_EDGE:
        flips[0] = below(random, row, n_edges)
        return 1
    if kind == FEW_EDGES:
        n_flips = 2 + below(random, row, MOST_FLIPS - 1)
        found = 0
        for _ in range(n_flips):
            edge = below(random, row, n_edges)
            is_new = True
            for at in range(found):
                is_new &= flips[at] != edge
            if is_new:
                flips[found] = edge
                found += 1
        return found
    if kind == EXCHANGE:
        if n_kept == n_edges:
            return 0
        for kept in range(2):
            edge = below(random, row, n_edges)
            while circuit[edge] == kept:
                edge = below(random, row, n_edges)
            flips[kept] = edge
        return 2
    first = sizes[0]
    n_neurons = sizes.sum()
    if kind == OF_NEURON and len(sizes) == 2:
        return 0
    last = n_neurons if kind == INTO_NEURON else n_neurons - sizes[-1]
    neuron = first + below(random, row, last - first)
    n_flips = 0
    for edge in range(n_edges):
        is_near = targets[edge] == neuron or (kind == OF_NEURON and sources[edge] == neuron)
        if is_near and below(random, row, 2):
            flips[n_flips] = edge
            n_flips += 1
    return n_flips


@compiled()
def _mark(circuit: Any, flips: Any, n_flips: int, places: Any, changed: Any) -> None:
    """Marks the neurons `(n_0 + T,)` with values that may change: targets of flipped edges, and all behind them."""
    sources, targets = places
    changed[:] = False
    first = len(circuit)
    for at in range(n_flips):
        changed[targets[flips[at]]] = True
        first = min(first, flips[at])
    for edge in range(first, len(circuit)):  # edges are in the order of their layers
        if circuit[edge] and changed[sources[edge]]:
            changed[targets[edge]] = True


@compiled()
def _evaluate(
    circuit: Any, x: Any, layers: Any, goals: Any, least_after: Any, values: Any, slots: Any, changed: Any,
    space: Any, outputs: Any,
) -> float:  # fmt: skip
    """Returns the right answers of a circuit, or −1 as soon as they are too few.

    Args:
        least_after: how many there are at least after each block.
        values: `(2T, D)`, two rows for each neuron; of a changed one the row that isn't present is overwritten.
        slots: `(n_0 + T,)`, which row is present.
        space: sources, weights and flags, overwritten.
        outputs: `(1, n_L, BLOCK)`, overwritten.
    """
    sizes, _, _, biases, kinds, slopes = layers
    sources, weights, flags = space
    n_layers, n_examples = len(kinds), x.shape[1]
    n_right, g = 0.0, 0
    for block, start in enumerate(range(0, n_examples, BLOCK)):
        end = min(start + BLOCK, n_examples)
        edge = before = 0
        neuron = sizes[0]
        for layer in range(n_layers):
            n_in, n_out = sizes[layer], sizes[layer + 1]
            for target in range(n_out):
                if changed[neuron]:
                    n_kept, constant = kept_sources(circuit, edge, n_in, layers, sources, weights)
                    row = 2 * (neuron - sizes[0]) + 1 - slots[neuron]
                    total = values[row, start:end]
                    if n_kept or layer == n_layers - 1:
                        total[:] = biases[neuron - sizes[0]] + constant
                        if layer == 0:
                            add_sources(x, sources, weights, n_kept, start, end, total)
                        else:
                            for at in range(n_kept):
                                source = before + sources[at]
                                slot = slots[source] ^ changed[source]
                                sources[at] = 2 * (source - sizes[0]) + slot
                            add_sources(values, sources, weights, n_kept, start, end, total)
                        if layer < n_layers - 1:
                            activate_row(total, kinds[layer], slopes[layer])
                        elif n_out > 1:
                            finish_output(total, kinds[layer], slopes[layer])
                if layer == n_layers - 1:
                    row = 2 * (neuron - sizes[0]) + (slots[neuron] ^ changed[neuron])
                    outputs[0, target, : end - start] = values[row, start:end]
                edge += n_in
                neuron += 1
            before += n_in
        count, g = right_in_block(outputs, start, end, goals, g, flags)
        n_right += count
        if n_right < least_after[block]:
            return -1.0
    return n_right


@compiled()
def _closeness_of(values: Any, slots: Any, changed: Any, layers: Any, goals: Any, full_outputs: Any) -> float:
    """Returns the closeness of the circuit with the changed neurons' other rows; `full_outputs` is overwritten."""
    sizes = layers[0]
    n_outputs = sizes[-1]
    first = len(slots) - n_outputs
    for k in range(n_outputs):
        row = 2 * (first + k - sizes[0]) + (slots[first + k] ^ changed[first + k])
        full_outputs[k] = values[row]
    return closeness(full_outputs, goals)


@compiled()
def _walk(
    row: int, circuits: Any, scores: Any, x: Any, layers: Any, goals: Any, least_after: Any, places: Any,
    kinds_of_moves: Any, level: float, n_moves: int, is_all: bool, random: Any, flipped: Any,
) -> None:  # fmt: skip
    """Moves one circuit; see `walk`."""
    sizes = layers[0]
    circuit = circuits[row]
    sources, targets = places
    n_edges, n_neurons, n_examples = len(circuit), sizes.sum(), x.shape[1]
    n_outputs = sizes[-1]
    widest = sizes.max()
    values = np.empty((2 * (n_neurons - sizes[0]), n_examples), dtype=np.float32)
    slots, changed = np.zeros(n_neurons, dtype=np.int64), np.zeros(n_neurons, dtype=np.bool_)
    space = (np.empty(widest, np.int64), np.empty(widest, np.float32), np.empty(BLOCK, np.float32))
    outputs = np.empty((1, n_outputs, BLOCK), dtype=np.float32)
    full_outputs = np.empty((n_outputs, n_examples), dtype=np.float32)
    degrees = np.zeros((2, n_neurons), dtype=np.int64)
    flips = np.empty(n_edges, dtype=np.int64)
    n_kept = 0
    for edge in range(n_edges):
        if circuit[edge]:
            _add_degrees(edge, 1, sources, targets, degrees)
            n_kept += 1
    changed[sizes[0] :] = True
    n_right = _evaluate(circuit, x, layers, goals, least_after, values, slots, changed, space, outputs)
    slots[sizes[0] :] = 1
    for _ in range(n_moves):
        kind = kinds_of_moves[below(random, row, len(kinds_of_moves))]
        n_flips = _propose(kind, circuit, n_kept, places, sizes, random, row, flips)
        if not n_flips:
            continue
        added = 0
        for at in range(n_flips):
            edge = flips[at]
            sign = -1 if circuit[edge] else 1
            circuit[edge] = not circuit[edge]
            _add_degrees(edge, sign, sources, targets, degrees)
            added += sign
        is_kept = n_kept + added > 0 and _is_formed(flips, n_flips, places, degrees, sizes[0], n_outputs, is_all)
        n_new = 0.0
        if is_kept:
            _mark(circuit, flips, n_flips, places, changed)
            n_new = _evaluate(circuit, x, layers, goals, least_after, values, slots, changed, space, outputs)
            is_kept = n_new >= 0
            if is_kept and n_new < level:
                is_kept = n_new + _closeness_of(values, slots, changed, layers, goals, full_outputs) >= level
        if is_kept:
            n_right, n_kept = n_new, n_kept + added
            flipped[row, kind] += n_flips
            for neuron in range(n_neurons):
                slots[neuron] ^= changed[neuron]
        else:
            for at in range(n_flips):
                edge = flips[at]
                sign = -1 if circuit[edge] else 1
                circuit[edge] = not circuit[edge]
                _add_degrees(edge, sign, sources, targets, degrees)
    changed[:] = False
    scores[row] = n_right + _closeness_of(values, slots, changed, layers, goals, full_outputs)


@compiled(parallel=True)
def walk(
    circuits: Any, scores: Any, x: Any, layers: Any, goals: Any, least_after: Any, places: Any, kinds_of_moves: Any,
    level: float, n_moves: int, is_all: bool, random: Any, flipped: Any,
) -> None:  # fmt: skip
    """Moves each circuit, and fills the scores.

    Args:
        circuits: `(N, E)` bool, well formed, at or above the level; changed.
        scores: `(N,)` float64.
        x, layers, goals: as for `sampling.count_right`.
        least_after: for each block of `BLOCK` examples the fewest right answers up to its end of a circuit that may
            reach the level. The last one is the level without its fraction.
        places: sources and targets of the edges, `(E,)` int64 each, as numbers of neurons of all layers, inputs first.
        kinds_of_moves: int64, one of these is drawn for each move.
        level: the least score.
        n_moves: moves of each circuit.
        is_all: whether every input and output must be used.
        random: `(N,)` uint64, changed.
        flipped: `(N, N_KINDS)` int64, to which the edges are added that moves of each kind flipped.
    """
    for row in prange(len(circuits)):
        _walk(
            row, circuits, scores, x, layers, goals, least_after, places, kinds_of_moves,
            level, n_moves, is_all, random, flipped,
        )  # fmt: skip
