"""Lines that bound what a network computes in a box of its inputs, compiled.

A neuron's activation lies between two lines over the range of its sum (for ReLU: Zhang et al. 2018, CROWN). From the
outputs backwards these lines replace the activations, so that an output lies between two linear functions of the
inputs, whose extremes lie at corners of the box. Where no neuron changes its piece the lines are the network itself.

Nothing here is rounded outward number by number. `slack` bounds all rounding errors of a pass (see
`networks.Compared`), and is added where a range decides.

Letters: L Linear layers; N the widest layer; n_0 inputs, n_l neurons of layer l, n_L outputs.
"""

from __future__ import annotations

import math
from typing import Any

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import IDENTITY, LEAKY_RELU, TANH

NARROW = 1e-9
"""Below this width a curve is bounded by constants: the slope of its chord would be a quotient of rounding errors."""

ROUNDED = 4e-16
"""Relative rounding errors of a curve's line."""


@compiled()
def copy(source: Any, target: Any, n: int) -> None:
    """Copies n numbers. Loops compile in a fraction of the time that numpy's expressions take."""
    for i in range(n):
        target[i] = source[i]


@compiled()
def value(kind: int, slope: float, z: float) -> float:
    """Returns the activation of z, in float64."""
    if kind == IDENTITY:
        return z
    if kind <= LEAKY_RELU:
        return z if z > 0 else slope * z
    if kind == TANH:
        return math.tanh(z)
    return 0.5 * math.tanh(0.5 * z) + 0.5


@compiled()
def _steepness(kind: int, z: float) -> float:
    """Returns the derivative of tanh or sigmoid at z."""
    if kind == TANH:
        return 1 - math.tanh(z) ** 2
    return 0.25 * (1 - math.tanh(0.5 * z) ** 2)


@compiled(error_model="numpy")
def _bent(slope: float, low: float, high: float) -> tuple[float, float, float, float]:
    """Returns the lines of a function that is z above 0 and slope · z below, over a range that holds 0 inside.

    One line is the chord; the other goes through 0, as steep as the wider side of the range.
    """
    steep = (high - slope * low) / (high - low)
    start = high - steep * high
    other = 1.0 if high > -low else slope
    if slope <= 1:  # the function is convex, and lies below its chord
        return other, 0.0, steep, start
    return steep, start, other, 0.0


@compiled(error_model="numpy")
def _curved(kind: int, low: float, high: float) -> tuple[float, float, float, float]:
    """Returns the lines of tanh or sigmoid, which is convex below 0 and concave above."""
    at_low, at_high = value(kind, 0.0, low), value(kind, 0.0, high)
    if high - low < NARROW:
        return 0.0, at_low - ROUNDED, 0.0, at_high + ROUNDED
    chord, middle = (at_high - at_low) / (high - low), 0.5 * (low + high)
    tangent, at_middle = _steepness(kind, middle), value(kind, 0.0, middle)
    flattest = min(_steepness(kind, low), _steepness(kind, high))
    wide = ROUNDED * (1 + abs(low) + abs(high))
    if low >= 0:
        return chord, at_low - chord * low - wide, tangent, at_middle - tangent * middle + wide
    if high <= 0:
        return tangent, at_middle - tangent * middle - wide, chord, at_low - chord * low + wide
    return flattest, at_low - flattest * low - wide, flattest, at_high - flattest * high + wide


@compiled()
def lines_of(kind: int, slope: float, low: float, high: float) -> tuple[float, float, float, float]:
    """Returns two lines between which the activation lies for all z in a range: slope and start below, and above."""
    if kind == IDENTITY:
        return 1.0, 0.0, 1.0, 0.0
    if kind > LEAKY_RELU:
        return _curved(kind, low, high)
    if low >= 0:
        return 1.0, 0.0, 1.0, 0.0
    if high <= 0:
        return slope, 0.0, slope, 0.0
    return _bent(slope, low, high)


@compiled()
def backwards(net: Any, layer: int, row: Any, start: float, upwards: bool, lines: Any, work: Any) -> float:
    """Replaces a sum of a layer's values by a linear function of the inputs that bounds it; returns its start.

    Args:
        net: see `networks.Arrays`.
        layer: whose values are added up; 0: the inputs.
        row: `(N,)`, the weights of the values; replaced by those of the inputs.
        start: what is added to the sum.
        upwards: whether the function lies above the sum; otherwise below.
        lines: `(L, N, 4)`, of the layers' activations, see `lines_of`.
        work: `(N,)`, overwritten.
    """
    weights, biases, sizes = net[0], net[1], net[2]
    for k in range(layer, 0, -1):
        for i in range(sizes[k - 1]):
            work[i] = 0.0
        for j in range(sizes[k]):
            v = row[j]
            if v == 0:
                continue
            side = 2 if (v > 0) == upwards else 0
            start += v * lines[k - 1, j, side + 1]
            v *= lines[k - 1, j, side]
            start += v * biases[k - 1, j]
            for i in range(sizes[k - 1]):
                work[i] += v * weights[k - 1, j, i]
        for i in range(sizes[k - 1]):
            row[i] = work[i]
    return start


@compiled()
def highest(row: Any, start: float, low: Any, high: Any, n: int) -> float:
    """Returns the largest value in a box of a linear function of n inputs."""
    for i in range(n):
        start += row[i] * (high[i] if row[i] > 0 else low[i])
    return start


@compiled()
def lowest(row: Any, start: float, low: Any, high: Any, n: int) -> float:
    """Returns the smallest value in a box of a linear function of n inputs."""
    for i in range(n):
        start += row[i] * (low[i] if row[i] > 0 else high[i])
    return start


@compiled()
def fill_lines(net: Any, low: Any, high: Any, slack: float, lines: Any, rows: Any) -> None:
    """Fills the lines of all hidden neurons that are read, for inputs in a box.

    Args:
        low, high: `(n_0,)`, the box.
        slack: a bound on rounding errors.
        lines: `(L, N, 4)`, see `lines_of`.
        rows: `(2, N)`, overwritten.
    """
    weights, biases, sizes, kinds, slopes, used = net
    row, work = rows[0], rows[1]
    for k in range(1, sizes.shape[0] - 1):
        for j in range(sizes[k]):
            if not used[k - 1, j]:
                continue
            for i in range(sizes[k - 1]):
                row[i] = weights[k - 1, j, i]
            start = backwards(net, k - 1, row, biases[k - 1, j], True, lines, work)
            above = highest(row, start, low, high, sizes[0]) + slack
            if k == 1:  # the sum is linear in the inputs: one function bounds it on both sides
                below = lowest(row, start, low, high, sizes[0]) - slack
            else:
                for i in range(sizes[k - 1]):
                    row[i] = weights[k - 1, j, i]
                start = backwards(net, k - 1, row, biases[k - 1, j], False, lines, work)
                below = lowest(row, start, low, high, sizes[0]) - slack
            found = lines_of(kinds[k - 1], slopes[k - 1], below, above)
            for side in range(4):
                lines[k - 1, j, side] = found[side]


@compiled()
def bound_outputs(net: Any, wanted: Any, upwards: bool, lines: Any, row: Any, work: Any) -> float:
    """Fills a row with a linear function of the inputs that bounds a weighted sum of the outputs; returns its start.

    Args:
        wanted: `(n_L,)`, the weight of each output before the last activation.
        row, work: `(N,)`, overwritten.
    """
    weights, biases, sizes = net[0], net[1], net[2]
    last = sizes.shape[0] - 2
    start = 0.0
    for i in range(sizes[last]):
        row[i] = 0.0
    for k in range(sizes[last + 1]):
        v = wanted[k]
        if v == 0:
            continue
        start += v * biases[last, k]
        for i in range(sizes[last]):
            row[i] += v * weights[last, k, i]
    return backwards(net, last, row, start, upwards, lines, work)
