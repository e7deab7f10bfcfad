"""In which interval does an output give the wanted answer? In float64, its ends included.

One output is compared before its activation: activations never fall, so the sums that give an answer are an interval,
too. It is found by bisection with torch's own activation, so that ties are decided as torch decides them. Only a
leaky_relu with a negative slope falls somewhere, and is compared after it.

Letters: A questions, B rows, D distinct answers.
"""

from __future__ import annotations

import numpy as np
import torch

from mi_runner.datasets.outputs import Outputs
from mi_runner.graph.chain import Layer


def is_compared_after(layer: Layer, kind: Outputs) -> bool:
    """Returns whether outputs are compared after their activation; of several outputs ties after it count."""
    return _has_classes(kind) or (layer.activation == "leaky_relu" and layer.slope < 0)


def bounds_of(layer: Layer, kind: Outputs, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns between which numbers each answer `(A, B)` lies; of several outputs the wanted class, twice.

    Args:
        layer: of the outputs; the numbers are sums before its activation, unless `is_compared_after`.
    """
    if _has_classes(kind):
        return answers.astype(float), answers.astype(float)
    distinct, place = np.unique(answers, return_inverse=True)
    low, high = _outputs(kind, distinct.astype(float))
    if layer.activation != "identity" and not is_compared_after(layer, kind):
        low, high = _sums(layer, low, high)
    place = place.reshape(answers.shape)
    return low[place], high[place]


def _has_classes(kind: Outputs) -> bool:
    return kind.are_of_classes and not kind.are_of_one


def _outputs(kind: Outputs, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the smallest and the largest output that give each answer, `(D,)`."""
    if kind.are_of_one:
        above = np.nextafter(kind.border, np.inf)
        return np.where(answers == 1, above, -np.inf), np.where(answers == 1, np.inf, kind.border)
    low, high = answers - 0.5, answers + 0.5
    is_odd = answers % 2 != 0  # half to even: both ends belong to an even answer
    return np.where(is_odd, np.nextafter(low, np.inf), low), np.where(is_odd, np.nextafter(high, -np.inf), high)


def _sums(layer: Layer, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the smallest and the largest sums `(D,)` whose activation lies between low and high.

    Where there is none, the smallest is above the largest.
    """

    def first(bound: np.ndarray, is_beyond: bool) -> np.ndarray:
        """Returns the key of the first sum whose activation is at least the bound, or beyond it."""
        below, found = np.full(len(bound), -_MOST - 1), np.full(len(bound), _MOST + 1)  # below: doesn't hold there
        for _ in range(64):  # as many as keys have bits
            middle = (below >> 1) + (found >> 1) + (below & found & 1)
            output = layer.activate(torch.from_numpy(_floats_of(middle))).numpy()
            holds, is_inside = output > bound if is_beyond else output >= bound, middle > below
            found, below = np.where(holds & is_inside, middle, found), np.where(~holds & is_inside, middle, below)
        return found

    return _floats_of(first(low, False)), _floats_of(first(high, True) - 1)


_MOST = int(np.array(np.inf).view(np.int64))
"""The key of infinity; keys of float64 numbers have their order."""


def _floats_of(keys: np.ndarray) -> np.ndarray:
    """Returns the float64 numbers of keys; what is beyond infinity is infinity."""
    magnitude = np.minimum(np.abs(keys), _MOST).view(np.float64)
    return np.where(keys < 0, -magnitude, magnitude)
