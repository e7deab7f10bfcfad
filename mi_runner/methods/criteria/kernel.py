"""The answers of many circuits on the same rows, compiled: each value that circuits share is computed once.

Rows are done in blocks that stay in the processor's caches. Of a block, first the values of all states are computed
(see `states`), each from a number and some values before it; then, for each run, its outputs, and what is asked of it.
In memory, too, all rows lie block by block: a place that is the sum of two numbers could be a negative one, which
counts from the end, and a loop over such places isn't vectorised.

A sum is that number, then one term after the other in the order of the sources. So circuits whose terms are equal
have equal outputs, bit for bit, where answers are asked; sums of squares may be added up in any order. Blocks are
padded with rows that count nowhere, because loops of a constant length compile to vector instructions without
remainders.

Letters: B rows, a multiple of `BLOCK`; G given values, S states, T their terms; M runs, n_L outputs, A questions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import IDENTITY, LEAKY_RELU, LOG_SOFTMAX, REORDER, SOFTMAX, TANH

BLOCK = 256
"""Rows whose values are computed at once."""

COUNTS, HITS, SQUARES, ROW_SQUARES = range(4)
"""What is asked: in how many rows the answer is the wanted one, in which ones; the squared difference, also by row."""


@compiled(fastmath={"contract"})
def _add_up(base: float, refs: Any, weights: Any, start: int, end: int, values: Any, sums: Any, k: int) -> None:
    """Fills `sums[k]` `(BLOCK,)` with base + Σ weight · value over the terms start to end.

    Args:
        refs: `(T,)` int32, rows of `values`.
        weights: `(T,)`.
    """
    for b in range(BLOCK):
        sums[k, b] = base
    for term in range(start, end):
        weight, source = weights[term], refs[term]
        for b in range(BLOCK):
            sums[k, b] += weight * values[source, b]


@compiled()
def _last_three(refs: Any, weights: Any, start: int, end: int) -> tuple[int, int, int, int, float, float, float]:
    """Returns where the last three terms begin, their sources and weights; of fewer, weights of 0 stand behind them."""
    n = end - start
    first = max(start, end - 3)
    w0, w1, w2 = 0.0, 0.0, 0.0
    s0: Any = 0
    s1: Any = 0
    s2: Any = 0
    if n > 0:
        s0, w0 = np.int64(refs[first]), weights[first]
    if n > 1:
        s1, w1 = np.int64(refs[first + 1]), weights[first + 1]
    if n > 2:
        s2, w2 = np.int64(refs[first + 2]), weights[first + 2]
    return first, s0, s1, s2, w0, w1, w2


@compiled(fastmath={"contract"})
def _n_hits(
    base: float,
    refs: Any,
    weights: Any,
    start: int,
    end: int,
    values: Any,
    low: Any,
    high: Any,
    q: int,
    sums: Any,
) -> int:
    """Returns in how many rows of a block base + Σ weight · value lies between low and high, in one pass over them.

    Args:
        low, high: `(A, BLOCK)`; question q counts.
        sums: `(1, BLOCK)`, overwritten.
    """
    first, s0, s1, s2, w0, w1, w2 = _last_three(refs, weights, start, end)
    count: Any = 0  # whole numbers are added up in vector registers though no sum of others may be reordered
    if first == start:
        for b in range(BLOCK):
            z = base + w0 * values[s0, b] + w1 * values[s1, b] + w2 * values[s2, b]
            count += np.int64((z >= low[q, b]) & (z <= high[q, b]))
        return count
    _add_up(base, refs, weights, start, first, values, sums, 0)
    for b in range(BLOCK):
        z = sums[0, b] + w0 * values[s0, b] + w1 * values[s1, b] + w2 * values[s2, b]
        count += np.int64((z >= low[q, b]) & (z <= high[q, b]))
    return count


@compiled(fastmath={"contract"})
def _n_between(
    base: float, refs: Any, weights: Any, start: int, end: int, values: Any, low: float, high: float, sums: Any
) -> int:
    """Returns what `_n_hits` does, where all rows of a block want the same: two numbers fewer are read a row."""
    first, s0, s1, s2, w0, w1, w2 = _last_three(refs, weights, start, end)
    count: Any = 0
    if first == start:
        for b in range(BLOCK):
            z = base + w0 * values[s0, b] + w1 * values[s1, b] + w2 * values[s2, b]
            count += np.int64((z >= low) & (z <= high))
        return count
    _add_up(base, refs, weights, start, first, values, sums, 0)
    for b in range(BLOCK):
        z = sums[0, b] + w0 * values[s0, b] + w1 * values[s1, b] + w2 * values[s2, b]
        count += np.int64((z >= low) & (z <= high))
    return count


@compiled(fastmath=REORDER)
def _square(
    base: float,
    refs: Any,
    weights: Any,
    start: int,
    end: int,
    slope: float,
    values: Any,
    full: Any,
    shares: Any,
    sums: Any,
) -> float:
    """Returns the weighted sum of one output's squared differences to the full network's, in one pass over the rows.

    Args:
        slope: of the activation for negative sums; 1 of none.
        full, shares: `(1, BLOCK)`.
    """
    first, s0, s1, s2, w0, w1, w2 = _last_three(refs, weights, start, end)
    total = 0.0
    if first == start:
        for b in range(BLOCK):
            z = base + w0 * values[s0, b] + w1 * values[s1, b] + w2 * values[s2, b]
            difference = (z if z > 0 else slope * z) - full[0, b]
            total += shares[0, b] * difference * difference
        return total
    _add_up(base, refs, weights, start, first, values, sums, 0)
    for b in range(BLOCK):
        z = sums[0, b] + w0 * values[s0, b] + w1 * values[s1, b] + w2 * values[s2, b]
        difference = (z if z > 0 else slope * z) - full[0, b]
        total += shares[0, b] * difference * difference
    return total


@compiled(fastmath={"contract"}, error_model="numpy")
def _activate(values: Any, k: int, kind: int, slope: float) -> None:
    """Replaces `values[k]` `(BLOCK,)` by their activation; a softmax is none of each by itself."""
    if kind == IDENTITY or kind >= SOFTMAX:
        return
    if kind <= LEAKY_RELU:
        for b in range(BLOCK):
            values[k, b] = values[k, b] if values[k, b] > 0 else slope * values[k, b]
    elif kind == TANH:
        for b in range(BLOCK):
            values[k, b] = math.tanh(values[k, b])
    else:
        for b in range(BLOCK):
            values[k, b] = 1 / (1 + math.exp(-values[k, b]))


@compiled()
def _fill(given: Any, states: Any, terms: Any, activations: Any, values: Any) -> None:
    """Fills `values` `(G + S, BLOCK)` with the given values of a block and the states' values.

    Args:
        given: `(G, BLOCK)`.
        states: bases `(S,)`; first `(S + 1,)` int64, where each state's terms begin; layers `(S,)` int64.
        activations: kinds, slopes of each layer.
    """
    bases, first, layers = states
    (refs, weights), (kinds, slopes) = terms, activations
    n_given = given.shape[0]
    for g in range(n_given):
        for b in range(BLOCK):
            values[g, b] = given[g, b]
    for s in range(bases.shape[0]):
        _add_up(bases[s], refs, weights, first[s], first[s + 1], values, values, n_given + s)
        _activate(values, n_given + s, kinds[layers[s]], slopes[layers[s]])


@compiled()
def _outputs(run: int, runs: Any, terms: Any, kind: int, slope: float, values: Any, outputs: Any) -> None:
    """Fills `outputs` `(n_L, BLOCK)` with a run's outputs, after an elementwise activation."""
    bases, first, _ = runs
    n_outputs = outputs.shape[0]
    for k in range(n_outputs):
        place = run * n_outputs + k
        _add_up(bases[place], terms[0], terms[1], first[place], first[place + 1], values, outputs, k)
        _activate(outputs, k, kind, slope)


@compiled()
def _largest(outputs: Any) -> None:
    """Replaces `outputs[0]` `(BLOCK,)` by the number of the largest of all outputs, the first one among equals."""
    for b in range(BLOCK):
        largest, number = outputs[0, b], 0.0
        for k in range(1, outputs.shape[0]):
            if outputs[k, b] > largest:
                largest, number = outputs[k, b], np.float64(k)
        outputs[0, b] = number


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


@compiled(fastmath={"contract"})
def _squares(outputs: Any, full: Any) -> None:
    """Replaces `outputs[0]` by the squared difference of outputs `(n_L, BLOCK)`, the mean over outputs."""
    n_outputs = outputs.shape[0]
    for b in range(BLOCK):
        total = 0.0
        for k in range(n_outputs):
            difference = outputs[k, b] - full[k, b]
            total += difference * difference
        outputs[0, b] = total / n_outputs


@compiled(fastmath=REORDER)
def _weighted(values: Any, shares: Any) -> float:
    """Returns Σ share · value over a block's rows."""
    total = 0.0
    for b in range(BLOCK):
        total += shares[0, b] * values[0, b]
    return total


@compiled()
def _mark(outputs: Any, low: Any, high: Any, q: int) -> int:
    """Replaces `outputs[0]` by 1 where the answer is the wanted one, and by 0 elsewhere; returns in how many rows."""
    if outputs.shape[0] > 1:
        _largest(outputs)
    count: Any = 0
    for b in range(BLOCK):
        is_hit = (outputs[0, b] >= low[q, b]) & (outputs[0, b] <= high[q, b])
        outputs[0, b] = np.float64(is_hit)
        count += np.int64(is_hit)
    return count


@compiled()
def _difference(outputs: Any, kind: int, full: Any, shares: Any) -> float:
    """Replaces `outputs[0]` by the squared difference to the full network's outputs; returns the weighted sum."""
    if kind >= SOFTMAX:
        _softmax(outputs, kind == LOG_SOFTMAX)
    _squares(outputs, full)
    return _weighted(outputs, shares)


@compiled()
def _count_runs(
    bases: Any,
    first: Any,
    refs: Any,
    weights: Any,
    questions: Any,
    values: Any,
    low: Any,
    high: Any,
    sums: Any,
    found: Any,
) -> None:
    """Fills `found` `(M,)` with the counts of all runs of one output in a block.

    A loop of its own, which takes no tuples: arrays that are taken out of a tuple for each run cost as much as the run.
    """
    is_same = low.shape[0] == 1
    for b in range(BLOCK):
        is_same &= (low[0, b] == low[0, 0]) & (high[0, b] == high[0, 0])
    if is_same:
        from_, to = low[0, 0], high[0, 0]
        for run in range(questions.shape[0]):
            found[run] = _n_between(bases[run], refs, weights, first[run], first[run + 1], values, from_, to, sums)
        return
    for run in range(questions.shape[0]):
        start, end, q = first[run], first[run + 1], questions[run]
        found[run] = _n_hits(bases[run], refs, weights, start, end, values, low, high, q, sums)


@compiled()
def _square_runs(
    bases: Any,
    first: Any,
    refs: Any,
    weights: Any,
    slope: float,
    values: Any,
    full: Any,
    shares: Any,
    sums: Any,
    found: Any,
) -> None:
    """Fills `found` `(M,)` with the sums of squared differences of all runs of one output in a block."""
    for run in range(found.shape[0]):
        start, end = first[run], first[run + 1]
        found[run] = _square(bases[run], refs, weights, start, end, slope, values, full, shares, sums)


@compiled()
def _ask_runs(
    what: int, runs: Any, terms: Any, wanted: Any, block: int, values: Any, outputs: Any, by_block: Any, by_row: Any
) -> None:
    """Fills what is asked of all runs in a block, however many outputs there are."""
    kind, slope = wanted[0], wanted[1]
    low, high = wanted[2][block], wanted[3][block]
    for run in range(runs[2].shape[0]):
        _outputs(run, runs, terms, kind, slope, values, outputs)
        if what <= HITS:
            total = np.float64(_mark(outputs, low, high, runs[2][run]))
        else:
            total = _difference(outputs, kind, low, high)
        if what in (COUNTS, SQUARES):
            by_block[block, run] = total
        else:
            for b in range(BLOCK):
                by_row[run, block, b] = outputs[0, b]


@compiled(parallel=True)
def ask(
    what: int,
    given: Any,
    states: Any,
    state_terms: Any,
    activations: Any,
    runs: Any,
    terms: Any,
    wanted: Any,
    scratch: Any,
    by_block: Any,
    by_row: Any,
) -> None:
    """Fills what is asked of each run.

    Args:
        what: one of `COUNTS`, `HITS`, `SQUARES`, `ROW_SQUARES`.
        given: `(B / BLOCK, G, BLOCK)` float64, the values that no circuit computes, block by block.
        states, state_terms, activations: as `_fill` takes them.
        runs: bases `(M · n_L,)`; first `(M · n_L + 1,)`; questions `(M,)`, which of the wanted answers are asked.
        terms: refs and weights of the terms of the runs' outputs.
        wanted: kind and slope of the activation after which outputs are compared; low and high
            `(B / BLOCK, A, BLOCK)`: the interval in which one output is the wanted answer; of several outputs both are
            the wanted class. For squares full `(B / BLOCK, n_L, BLOCK)` and shares `(B / BLOCK, 1, BLOCK)`, the weight
            of each row.
        scratch: `(threads, G + S, BLOCK)`, overwritten.
        by_block: `(B / BLOCK, M)` float64: counts, or sums of squares, of each block.
        by_row: `(M, B / BLOCK, BLOCK)` float64: hits, or squares.
    """
    kind, slope, low, high = wanted
    bases, first, questions = runs
    refs, weights = terms
    n_threads, n_blocks, n_runs = scratch.shape[0], given.shape[0], questions.shape[0]
    n_outputs = (first.shape[0] - 1) // max(1, n_runs)
    to_square = 1.0 if kind == IDENTITY else slope
    for thread in prange(n_threads):
        values, outputs = scratch[thread], np.empty((max(1, n_outputs), BLOCK))
        for block in range(thread, n_blocks, n_threads):
            _fill(given[block], states, state_terms, activations, values)
            if what == COUNTS and n_outputs == 1 and kind == IDENTITY:
                _count_runs(
                    bases, first, refs, weights, questions, values, low[block], high[block], outputs, by_block[block]
                )
            elif what == SQUARES and n_outputs == 1 and kind <= LEAKY_RELU:
                _square_runs(
                    bases, first, refs, weights, to_square, values, low[block], high[block], outputs, by_block[block]
                )
            else:
                _ask_runs(what, runs, terms, wanted, block, values, outputs, by_block, by_row)
