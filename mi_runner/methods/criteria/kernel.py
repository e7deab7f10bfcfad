"""The answers of many circuits on the same rows, compiled: each value that circuits share is computed once.

Rows are done in blocks that stay in the processor's caches. Of a block, first the values of all states are computed (see
`states`), each from a number and some values before it; then, for each run, its outputs, and what is asked of them.

A sum is that number, then one term after the other in the order of the sources. So circuits whose terms are equal have
equal outputs, bit for bit, and which of them a block begins with decides nothing. Blocks are padded with rows that count
nowhere, because loops of a constant length compile to vector instructions without remainders.

Letters: B rows, a multiple of `BLOCK`; G given values, S states, T their terms; M runs, n_L outputs, A questions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import IDENTITY, LEAKY_RELU, LOG_SOFTMAX, REORDER, SOFTMAX, TANH

BLOCK = 128
"""Rows whose values are computed at once."""

COUNTS, HITS, SQUARES, ROW_SQUARES = range(4)
"""What is asked: in how many rows the answer is the wanted one, in which ones; the squared difference, and of each row."""


@compiled(fastmath={"contract"})
def _add_up(base: float, terms: Any, start: int, end: int, values: Any, sums: Any) -> None:
    """Fills `sums` `(BLOCK,)` with base + Σ weight · value over the terms start to end.

    Args:
        terms: refs `(T,)` int32, rows of `values`, and weights `(T,)`.
    """
    refs, weights = terms
    n = end - start
    if n == 0:
        for b in range(BLOCK):
            sums[b] = base
        return
    w, one = weights[start], values[refs[start]]
    if n == 1:
        for b in range(BLOCK):
            sums[b] = base + w * one[b]
        return
    v, two = weights[start + 1], values[refs[start + 1]]
    if n == 2:
        for b in range(BLOCK):
            sums[b] = base + w * one[b] + v * two[b]
        return
    u, three = weights[start + 2], values[refs[start + 2]]
    for b in range(BLOCK):
        sums[b] = base + w * one[b] + v * two[b] + u * three[b]
    for term in range(start + 3, end):
        w, one = weights[term], values[refs[term]]
        for b in range(BLOCK):
            sums[b] += w * one[b]


@compiled(fastmath={"contract"}, error_model="numpy")
def _activate(values: Any, kind: int, slope: float) -> None:
    """Replaces values `(BLOCK,)` by their activation; a softmax is none of each by itself."""
    if kind == IDENTITY or kind >= SOFTMAX:
        return
    if kind <= LEAKY_RELU:
        for b in range(BLOCK):
            values[b] = values[b] if values[b] > 0 else slope * values[b]
    elif kind == TANH:
        for b in range(BLOCK):
            values[b] = math.tanh(values[b])
    else:
        for b in range(BLOCK):
            values[b] = 1 / (1 + math.exp(-values[b]))


@compiled()
def _fill(given: Any, start: int, states: Any, terms: Any, activations: Any, values: Any) -> None:
    """Fills `values` `(G + S, BLOCK)` with the given values of a block and the states' values.

    Args:
        states: bases `(S,)`; first `(S + 1,)` int64, where each state's terms begin; layers `(S,)` int64.
        activations: kinds, slopes of each layer.
    """
    bases, first, layers = states
    kinds, slopes = activations
    n_given = given.shape[0]
    for g in range(n_given):
        values[g, :] = given[g, start : start + BLOCK]
    for s in range(bases.shape[0]):
        sums = values[n_given + s]
        _add_up(bases[s], terms, first[s], first[s + 1], values, sums)
        _activate(sums, kinds[layers[s]], slopes[layers[s]])


@compiled(fastmath=REORDER)
def _n_between(values: Any, low: Any, high: Any) -> float:
    """Returns how many values lie between low and high."""
    count = 0.0
    for b in range(BLOCK):
        count += np.float64((values[b] >= low[b]) & (values[b] <= high[b]))
    return count


@compiled()
def _largest(outputs: Any, classes: Any) -> None:
    """Fills `classes` `(BLOCK,)` with the number of the largest of the outputs `(n_L, BLOCK)`, the first among equals.

    The first row of the outputs is overwritten.
    """
    classes[:] = 0.0
    best = outputs[0]
    for k in range(1, outputs.shape[0]):
        for b in range(BLOCK):
            if outputs[k, b] > best[b]:
                best[b] = outputs[k, b]
                classes[b] = float(k)


@compiled(error_model="numpy")
def _softmax(outputs: Any, is_log: bool) -> None:
    """Replaces outputs `(n_L, BLOCK)` by their softmax, or its logarithm."""
    for b in range(BLOCK):
        largest, total = outputs[:, b].max(), 0.0
        for k in range(outputs.shape[0]):
            total += math.exp(outputs[k, b] - largest)
        for k in range(outputs.shape[0]):
            z = outputs[k, b] - largest
            outputs[k, b] = z - math.log(total) if is_log else math.exp(z) / total


@compiled(fastmath=REORDER)
def _squared(outputs: Any, full: Any, shares: Any, found: Any) -> float:
    """Fills `found` `(BLOCK,)` with the rows' squared differences, the mean over outputs, and returns their sum."""
    n_outputs = outputs.shape[0]
    for b in range(BLOCK):
        found[b] = 0.0
    for k in range(n_outputs):
        for b in range(BLOCK):
            difference = outputs[k, b] - full[k, b]
            found[b] += difference * difference
    total = 0.0
    for b in range(BLOCK):
        found[b] *= shares[b] / n_outputs
        total += found[b]
    return total


@compiled()
def _outputs(run: int, bases: Any, first: Any, terms: Any, kind: int, slope: float, values: Any, outputs: Any) -> None:
    """Fills `outputs` `(n_L, BLOCK)` with a run's outputs, after an elementwise activation."""
    n_outputs = outputs.shape[0]
    for k in range(n_outputs):
        place = run * n_outputs + k
        _add_up(bases[place], terms, first[place], first[place + 1], values, outputs[k])
        _activate(outputs[k], kind, slope)


@compiled(parallel=True)
def ask(
    what: int,
    given: Any,
    states: Any,
    state_terms: Any,
    activations: Any,
    runs: Any,
    run_terms: Any,
    wanted: Any,
    scratch: Any,
    by_block: Any,
    by_row: Any,
) -> None:
    """Fills what is asked of each run.

    Args:
        what: one of `COUNTS`, `HITS`, `SQUARES`, `ROW_SQUARES`.
        given: `(G, B)` float64, the values that no circuit computes.
        states, state_terms: as `_fill` takes them.
        activations: kinds and slopes of each layer, the outputs' last.
        runs: bases `(M · n_L,)`; first `(M · n_L + 1,)`; questions `(M,)`, which of the wanted answers are asked.
        run_terms: refs and weights of the terms of the runs' outputs.
        wanted: low `(A, B)`, high `(A, B)`: the interval in which one output is the wanted answer; of several outputs
            low is the wanted class. For squares full `(n_L, B)` and shares `(1, B)`, the weight of each row, 0 or 1.
        scratch: `(threads, G + S, BLOCK)`, overwritten.
        by_block: `(B / BLOCK, M)` float64: counts, or sums of squares, of each block.
        by_row: `(M, B)`: hits, or squares.
    """
    bases, first, questions = runs
    low, high = wanted
    kind, slope = activations[0][-1], activations[1][-1]
    n_threads, n_blocks = scratch.shape[0], given.shape[1] // BLOCK
    n_outputs = (first.shape[0] - 1) // max(1, questions.shape[0])
    if what < SQUARES and n_outputs == 1 and kind > LEAKY_RELU:
        kind = IDENTITY  # the sum before the activation is compared
    for thread in prange(n_threads):
        values = scratch[thread]
        outputs, found = np.empty((n_outputs, BLOCK)), np.empty(BLOCK)
        for block in range(thread, n_blocks, n_threads):
            start, end = block * BLOCK, (block + 1) * BLOCK
            _fill(given, start, states, state_terms, activations, values)
            for run in range(questions.shape[0]):
                _outputs(run, bases, first, run_terms, kind, slope, values, outputs)
                if what >= SQUARES:
                    if kind >= SOFTMAX:
                        _softmax(outputs, kind == LOG_SOFTMAX)
                    total = _squared(outputs, low[:, start:end], high[0, start:end], found)
                    if what == SQUARES:
                        by_block[block, run] = total
                    else:
                        by_row[run, start:end] = found
                    continue
                q, checked = questions[run], outputs[0]
                if n_outputs > 1:
                    _largest(outputs, found)
                    checked = found
                if what == COUNTS:
                    by_block[block, run] = _n_between(checked, low[q, start:end], high[q, start:end])
                else:
                    for b in range(BLOCK):
                        is_hit = (checked[b] >= low[q, start + b]) & (checked[b] <= high[q, start + b])
                        by_row[run, start + b] = np.float64(is_hit)
