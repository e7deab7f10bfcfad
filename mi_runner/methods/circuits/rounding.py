"""Which outputs before the activation round to an answer? An interval of float32 numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mi_runner.graph.chain import Layer


def rounding_interval(layer: Layer, answer: float) -> tuple[float, float]:
    """The float32 numbers z, from the first to the last, whose activation rounds (half to even) to `answer`.

    Activations never fall, so these are an interval; it is found by bisection over all float32 numbers, with torch's
    own activation and rounding, so ties are decided as torch decides them. Empty (infinity, −infinity) without any.

    Raises:
        ValueError: leaky_relu with a negative slope falls.
    """
    if layer.activation == "leaky_relu" and layer.slope < 0:
        raise ValueError(f"leaky_relu with the negative slope {layer.slope} is not monotone.")

    def rounded(key: int) -> float:
        return float(layer.activate(torch.tensor(_float_of(key))).round())

    lowest, highest = _key_of(-3.0e38), _key_of(3.0e38)
    first = _first(lowest, highest, lambda key: rounded(key) >= answer)
    beyond = _first(lowest, highest, lambda key: rounded(key) > answer)
    if first >= beyond:
        return np.inf, -np.inf
    return (
        -np.inf if first == lowest else _float_of(first),
        np.inf if beyond > highest else _float_of(beyond - 1),
    )


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest integer from low on for which a condition that stays true holds; high + 1 if none."""
    high += 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _key_of(number: float) -> int:
    """Integers in the order of the float32 numbers."""
    bits = int(np.float32(number).view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _float_of(key: int) -> float:
    bits = key if key >= 0 else -key | 0x80000000
    return float(np.uint32(bits).view(np.float32))
