"""The outputs before the activation that give an answer: an interval of float32 numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Layer


def rounding_interval(layer: Layer, answer: float, kind: Outputs = Outputs.values) -> tuple[float, float]:
    """Returns the smallest and the largest float32 z for which the answer of the output activation(z) is `answer`.

    Activations never fall, so these z are an interval. It is found by bisection over all float32 numbers with torch's
    own activation and rounding, so ties are decided as torch decides them. If there is no such z, it is
    (infinity, −infinity).

    Args:
        layer: its activation is elementwise.
        answer: an integer; of classes 0 or 1.
        kind: of one output: a value, which is rounded half to even, a logit, or a probability.

    Raises:
        ArgumentError: the activation is leaky_relu with a negative slope, which is not monotone.
    """
    refuse_falling(layer)

    def rounded(key: int) -> float:
        return float(kind.answers(layer.activate(torch.tensor([_float_of(key)]))))

    lowest, highest = _key_of(-3.0e38), _key_of(3.0e38)
    first = _first(lowest, highest, lambda key: rounded(key) >= answer)
    beyond = _first(lowest, highest, lambda key: rounded(key) > answer)
    if first >= beyond:
        return np.inf, -np.inf
    return (
        -np.inf if first == lowest else _float_of(first),
        np.inf if beyond > highest else _float_of(beyond - 1),
    )


def refuse_falling(layer: Layer) -> None:
    """Raises an ArgumentError if the layer's activation falls somewhere."""
    if layer.activation == "leaky_relu" and layer.slope < 0:
        problem = f"leaky_relu with the negative slope {layer.slope} is not monotone."
        raise ArgumentError("layer", None, problem)


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Returns the smallest integer in low..high for which a monotone condition holds; high + 1 if there is none."""
    high += 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _key_of(number: float) -> int:
    """Returns an integer for a float32 number; these integers have the order of the numbers."""
    bits = int(np.float32(number).view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _float_of(key: int) -> float:
    bits = key if key >= 0 else -key | 0x80000000
    return float(np.uint32(bits).view(np.float32))
