"""Blocks of similar examples, for a census: bounds of what each neuron adds, and the answers that these leave open.

A block's answers are decided together where the bounds of z, or of differences of outputs, say enough: all of them are
correct, or none is. Only a block with a boundary between its bounds is decided example by example.

Of one output the bounds are those of z. They are summed in the same order and precision as z, and rounding keeps the
order of numbers. So each example is decided as it would be alone. Of several outputs that are classes they are those of
the differences of the correct output y and each other one, because what both have in common cancels. These bounds are
sums of other numbers than the outputs are, so they decide only beyond a margin that is larger than all rounding errors.

Letters: as in `evaluation` and `class_evaluation`; C blocks, a multiple of sixteen, of which those at the end may have
no example; D quantities, the z of each block, or its differences to the first other output, then those to the second;
a choice of a neuron is a mask m of kept inputs and a mask o of kept outputs; I choices of a prefix.

An example of a block that has fewer than its places stands at the places that are left, too, and isn't counted there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import IDENTITY, SOFTMAX, ZERO
from mi_runner.methods.circuits.kernels.bits import n_bits
from mi_runner.methods.circuits.kernels.class_evaluation import neuron_values, output_with
from mi_runner.methods.circuits.kernels.evaluation import contributions
from mi_runner.methods.circuits.kernels.lanes import LANES, add_all, are_above, extremes_of, sums_between

_ROUNDING = np.float32(2.0**-21)
"""Eight times the largest relative rounding error of a float32 operation; see `_margin`."""

_MORE, _LEAST = np.float32(1.0001), np.float32(1e-37)
"""A bound is above a limit if it is at least the limit times the first, plus the second."""


@compiled(_nrt=False)
def _extremes(terms: Any, starts: Any, smallest: Any, largest: Any, active: int) -> None:
    """Fills `smallest[j, m]` and `largest[j, m]` `(C,)` with the bounds of each block's terms."""
    n_neurons, n_masks, n_places = terms.shape
    for j in range(n_neurons):
        for m in range(n_masks):
            if m & ~active:
                continue
            for c in range(starts.shape[0] - 1):
                first, n = starts[c], starts[c + 1] - starts[c]
                if n == 0:
                    smallest[j, m, c] = largest[j, m, c] = ZERO
                elif n == 1:
                    smallest[j, m, c] = largest[j, m, c] = terms[j, m, first]
                else:
                    at = (j * n_masks + m) * n_places + first
                    smallest[j, m, c], largest[j, m, c] = extremes_of(terms, at, n // LANES)


@compiled()
def _margin(terms: Any, out_weight: Any, out_bias: Any) -> np.float32:
    """Returns more than the rounding errors of a difference of two outputs and of its bound are together.

    Each is a sum of at most J + 1 products, J + 3 operations, and no intermediate result is larger than twice the
    largest sum of absolute values.
    """
    n_outputs, n_neurons = out_weight.shape
    largest, sizes = ZERO, np.zeros(n_neurons, dtype=np.float32)
    for j in range(n_neurons):
        for term in terms[j].flat:
            sizes[j] = max(sizes[j], abs(term))
    for k in range(n_outputs):
        size = abs(out_bias[k])
        for j in range(n_neurons):
            size += abs(out_weight[k, j]) * sizes[j]
        largest = max(largest, size)
    return np.float32(n_neurons + 3) * _ROUNDING * largest


@compiled(_nrt=False)
def _class_limits(targets: Any, n_outputs: int, kind: int, margin: np.float32, limits: Any) -> None:
    """Fills `limits`, beyond which a difference of sums decides which output is larger.

    An activation that never falls may make different sums equal: then the first of two equal outputs is the answer, and
    only the other one can be decided from the sums.
    """
    is_strict, d = kind == IDENTITY or kind >= SOFTMAX, 0
    for other in range(n_outputs - 1):
        for y in targets:
            k = other + (other >= y)
            limits[0, d] = margin * _MORE + _LEAST if is_strict or k > y else np.nan
            limits[2, d] = -margin if is_strict or k < y else -np.inf
            limits[1, d] = limits[3, d] = np.inf
            d += 1


@compiled(_nrt=False)
def _differences(
    smallest: Any, largest: Any, output: Any, targets: Any, masks: Any, own: Any, n_own: int, low: Any, high: Any
) -> None:
    """Fills `low[j, i]` and `high[j, i]` `(D,)` with the bounds of what neuron j adds to each difference.

    Args:
        smallest, largest: `(J, 2ⁿ, C)`, the bounds of the neurons' values.
    """
    out_weight, _, means, _, _ = output
    n_outputs, n_neurons = out_weight.shape
    for j in range(n_neurons):
        for i in range(n_own):
            m, o = masks[own[i]]
            d = 0
            for other in range(n_outputs - 1):
                for c in range(targets.shape[0]):
                    y = targets[c]
                    k = other + (other >= y)
                    kept = left_out = ZERO
                    if o >> y & 1:
                        kept += out_weight[y, j]
                    else:
                        left_out += out_weight[y, j]
                    if o >> k & 1:
                        kept -= out_weight[k, j]
                    else:
                        left_out -= out_weight[k, j]
                    ends = kept * smallest[j, m, c], kept * largest[j, m, c]
                    low[j, i, d] = min(ends[0], ends[1]) + left_out * means[j]
                    high[j, i, d] = max(ends[0], ends[1]) + left_out * means[j]
                    d += 1


@compiled()
def bound(
    values: Any, active: int, hidden: Any, output: Any, blocks: Any, masks: Any, own: Any, n_own: int, terms: Any,
    smallest: Any, largest: Any, low: Any, high: Any, least: Any, most: Any, start: Any, limits: Any,
) -> None:  # fmt: skip
    """Fills what a prefix has in common for all its circuits.

    Args:
        values: `(n, N)`, the values of the neurons behind the last hidden layer.
        masks: `(Q, 2)`, the kept inputs and outputs of each choice of a neuron.
        own: `(I,)`, the choices of this prefix; n_own of them.
        terms: `(J, 2ⁿ, N)`, filled with what each neuron adds to z, or of several outputs with its values.
        smallest, largest: `(J, 2ⁿ, C)`, overwritten.
        low, high: `(J, I, D)`, filled with the bounds of what each neuron adds with each choice.
        least, most: `(J, D)`, filled with the bounds whatever it chooses.
        start: `(·, at least D)`, its first row filled with the quantities without any neuron.
        limits: `(4, D)`, filled. A block's answers are all correct if all its quantities lie between the first two, and
            some may be if the upper bounds are at least the third and the lower ones at most the fourth.
    """
    starts, _, _, _, targets, bounds = blocks
    out_weight, out_bias, out_means, kind, _ = output
    n_outputs, n_neurons = out_weight.shape
    if n_outputs == 1:
        contributions(values, active, hidden, out_weight[0], out_means, terms)
        _extremes(terms, starts, smallest, largest, active)
        for j in range(n_neurons):
            for i in range(n_own):
                m = masks[own[i], 0]
                for d in range(limits.shape[1]):
                    low[j, i, d], high[j, i, d] = smallest[j, m, d], largest[j, m, d]
        for d in range(limits.shape[1]):
            start[0, d] = out_bias[0]
            limits[0, d] = limits[2, d] = bounds[0, d]
            limits[1, d] = limits[3, d] = bounds[1, d]
    else:
        terms[:] = ZERO
        neuron_values(values, active, hidden, out_means, terms)
        _extremes(terms, starts, smallest, largest, active)
        _differences(smallest, largest, output, targets, masks, own, n_own, low, high)
        d = 0
        for other in range(n_outputs - 1):
            for y in targets:
                start[0, d] = out_bias[y] - out_bias[other + (other >= y)]
                d += 1
        _class_limits(targets, n_outputs, kind, _margin(terms, out_weight, out_bias), limits)
    for j in range(n_neurons):
        for d in range(limits.shape[1]):
            least[j, d], most[j, d] = low[j, 0, d], high[j, 0, d]
        for i in range(1, n_own):
            for d in range(limits.shape[1]):
                least[j, d] = min(least[j, d], low[j, i, d])
                most[j, d] = max(most[j, d], high[j, i, d])


# --- blocks that are decided example by example ----------------------------------------------------------------------


@compiled(_nrt=False, inline="always")
def sum_behind(
    terms: Any, chosen: Any, masks: Any, out_weight: Any, out_bias: Any, first: int, end: int, behind: Any
) -> None:
    """Fills `behind[k, :end − first]` with the sums of the outputs k of a block without the last neuron.

    They are summed in the same order as in `evaluation` and `class_evaluation`.

    Args:
        chosen: `(J,)`, the choice of each neuron but the last.
    """
    n_outputs, n_neurons = out_weight.shape
    n_masks, n_places = terms.shape[1:]
    for k in range(n_outputs):
        for e in range(end - first):
            behind[k, e] = out_bias[k]
        for j in range(n_neurons - 1):
            m, o = masks[chosen[j], 0], masks[chosen[j], 1]
            if n_outputs > 1:
                m = m if o >> k & 1 else 0
                for e in range(end - first):
                    behind[k, e] += out_weight[k, j] * terms[j, m, first + e]
            else:
                at, e = (j * n_masks + m) * n_places + first, 0
                while e < end - first:
                    add_all(behind, e, behind, e, terms, at + e)
                    e += LANES


@compiled(_nrt=False, inline="always")
def n_between(behind: Any, terms: Any, at: int, n: int, low: np.float32, high: np.float32) -> np.int64:
    """Returns how many of n examples have a z between low and high, the sum of the e-th of `behind` and of `terms`.

    Args:
        at: where the examples begin in `terms`, as if it were flat.
    """
    found, e = np.uint64(0), 0
    while e + LANES <= n:
        found += n_bits(sums_between(behind, e, terms, at + e, low, high))
        e += LANES
    if e < n:
        found += n_bits(sums_between(behind, e, terms, at + e, low, high) & np.uint64((1 << (n - e)) - 1))
    return np.int64(found)


@compiled(_nrt=False)
def fill_outputs(
    behind: Any, terms: Any, m: int, first: int, end: int, out_weight: Any, kind: int, slope: np.float32, v: int,
    variants: Any,
) -> None:  # fmt: skip
    """Fills `variants[v, k, :end − first]` with output k after its activation, if it has the last neuron with mask m.

    Args:
        behind: `(K, at least end − first)`, the sums without the last neuron.
    """
    last = terms.shape[0] - 1
    for k in range(out_weight.shape[0]):
        output_with(
            behind[k, : end - first], terms[last, m, first:end], out_weight[k, last], kind, slope, variants[v, k]
        )


@compiled(_nrt=False)
def n_of_class(variants: Any, o: int, y: int, n: int) -> np.int64:
    """Returns for how many of n examples output y is the answer: the largest, the first one among equals.

    Args:
        variants: `(2, K, at least n)`; output k is variants[1, k] if o has it, otherwise variants[0, k].
    """
    n_outputs, found = variants.shape[1], np.uint64(0)
    width = variants.shape[2]
    correct_at = ((o >> y & 1) * n_outputs + y) * width
    for e in range(0, n, LANES):
        word = np.uint64(0xFFFF)
        if n - e < LANES:
            word = np.uint64((1 << (n - e)) - 1)
        for k in range(n_outputs):
            if k != y:
                other_at = ((o >> k & 1) * n_outputs + k) * width
                word &= are_above(variants, correct_at + e, variants, other_at + e, k > y)
        found += n_bits(word)
    return np.int64(found)
