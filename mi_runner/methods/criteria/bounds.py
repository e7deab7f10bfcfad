"""In which interval does an output give the wanted answer? In float64, its ends included.

Letters: A questions, B rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mi_runner.datasets.outputs import Outputs
from mi_runner.graph.chain import Layer

CURVED = ("tanh", "sigmoid")
"""Activations of an output that take long: not the output is compared, but the sum before its activation."""


def bounds_of(layer: Layer, kind: Outputs, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns between which numbers an output gives each answer `(A, B)`; of several outputs the wanted class, twice.

    Args:
        layer: of the outputs. Behind one of `CURVED` the numbers are sums before its activation.
    """
    if kind.are_of_classes and not kind.are_of_one:
        return answers.astype(float), answers.astype(float)
    distinct, place = np.unique(answers, return_inverse=True)
    each = [_interval(layer, kind, float(answer)) for answer in distinct]
    low, high = np.array(each, dtype=float).reshape(-1, 2).T[:, place.reshape(answers.shape)]
    return low, high


def _interval(layer: Layer, kind: Outputs, answer: float) -> tuple[float, float]:
    if kind.are_of_one:
        low, high = (np.nextafter(kind.border, np.inf), np.inf) if answer else (-np.inf, kind.border)
    else:  # half to even: the two ends belong to an even answer
        low, high = answer - 0.5, answer + 0.5
        if answer % 2:
            low, high = np.nextafter(low, np.inf), np.nextafter(high, -np.inf)
    if layer.activation not in CURVED:
        return float(low), float(high)

    def output(key: int) -> float:
        return float(layer.activate(torch.tensor([_float_of(key)], dtype=torch.float64)))

    first, beyond = _first(lambda key: output(key) >= low), _first(lambda key: output(key) > high)
    return _float_of(first), _float_of(beyond - 1)


_MOST = int(np.array(np.inf).view(np.int64))
"""The key of infinity; those of numbers have their order."""


def _first(holds: Callable[[int], bool]) -> int:
    """Returns the smallest key of a float64 number for which a monotone condition holds; beyond infinity if none."""
    low, high = -_MOST, _MOST + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _float_of(key: int) -> float:
    number = float(np.array(abs(min(key, _MOST)), dtype=np.int64).view(np.float64))
    return number if key >= 0 else -number
