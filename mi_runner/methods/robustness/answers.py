"""Answers of networks at points, and whether two differ beyond doubt, compiled.

An answer is a number of levels that one output exceeds, or of several outputs the largest one.

Letters: N the widest layer, n_0 inputs, n_L outputs, T levels.
"""

from __future__ import annotations

import math
from typing import Any

from mi_runner.machine.compiled import compiled
from mi_runner.methods.robustness.lines import value

APART = 1e-9
"""How far both outputs must be from every value at which the answer changes, if a point is to be a witness."""


@compiled()
def run(net: Any, point: Any, values: Any, work: Any) -> None:
    """Fills `values` `(N,)` with the outputs before the last activation at a point `(n_0,)`.

    Args:
        work: `(N,)`, overwritten.
    """
    weights, biases, sizes, kinds, slopes, _ = net
    n_layers = sizes.shape[0] - 1
    for i in range(sizes[0]):
        work[i] = point[i]
    for k in range(n_layers):
        for j in range(sizes[k + 1]):
            total = biases[k, j]
            for i in range(sizes[k]):
                total += weights[k, j, i] * work[i]
            values[j] = total
        if k < n_layers - 1:
            for j in range(sizes[k + 1]):
                work[j] = value(kinds[k], slopes[k], values[j])


@compiled()
def level_after(levels: Any, at: float) -> int:
    """Returns the number of levels before the last activation that lie below a sum."""
    low, high = 0, levels.shape[0]
    while low < high:
        middle = (low + high) // 2
        if levels[middle, 0] < at:
            low = middle + 1
        else:
            high = middle
    return low


@compiled()
def answer_of(task: Any, values: Any, n_outputs: int) -> int:
    """Returns the answer of outputs `(n_L,)` before the last activation: of several the largest after it.

    Args:
        task: levels `(T, 3)` in ascending order, where one output's answer changes: before the last activation, after
            it, and whether the level itself belongs to the answer above; of several outputs they don't count. Then
            kind and slope of the last activation.
    """
    levels, last = task
    kind, slope = int(last[0]), last[1]
    if n_outputs > 1:
        best = 0
        for k in range(1, n_outputs):
            if value(kind, slope, values[k]) > value(kind, slope, values[best]):
                best = k
        return best
    place = level_after(levels, values[0])
    is_on = place < levels.shape[0] and levels[place, 0] == values[0] and levels[place, 2] > 0
    return place + 1 if is_on else place


@compiled()
def is_clear(levels: Any, last: Any, values: Any, n_outputs: int, answer: int) -> bool:
    """Returns whether outputs, after the last activation, are further than `APART` from every other answer.

    A softmax at the end counts as none.

    Args:
        last: kind and slope of the last activation.
        values: `(n_L,)`, before it.
    """
    kind, slope = int(last[0]), last[1]
    if n_outputs > 1:
        largest = value(kind, slope, values[answer])
        for k in range(n_outputs):
            if k != answer and not largest - value(kind, slope, values[k]) > APART:
                return False
        return math.isfinite(largest)
    output = value(kind, slope, values[0])
    if answer > 0 and not output - levels[answer - 1, 1] > APART:
        return False
    if answer < levels.shape[0] and not levels[answer, 1] - output > APART:
        return False
    return math.isfinite(output)


@compiled()
def differ(task: Any, first: Any, second: Any, point: Any, values: Any, work: Any) -> bool:
    """Returns whether two networks answer differently at a point, beyond doubt: it is a witness.

    Args:
        task: levels, and kind and slope of the last activation; see `answer_of`.
        first, second: networks.
        values, work: `(N,)`, overwritten.
    """
    levels, last = task
    n_outputs = first[2][first[2].shape[0] - 1]
    run(first, point, values, work)
    one = answer_of(task, values, n_outputs)
    if not is_clear(levels, last, values, n_outputs, one):
        return False
    run(second, point, values, work)
    other = answer_of(task, values, n_outputs)
    return other != one and is_clear(levels, last, values, n_outputs, other)
