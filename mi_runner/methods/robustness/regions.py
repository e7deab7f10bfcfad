"""Regions of the inputs of a part: boxes around examples, and the hull of all of them.

Letters: B examples, R sizes of boxes, D examples with a box, n_0 inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mi_runner.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Regions:
    """Boxes of several sizes around examples.

    Attributes:
        centers: `(D, n_0)`, the examples.
        lows, highs: `(R, D, n_0)`, their boxes, the largest first.
    """

    centers: np.ndarray
    lows: np.ndarray
    highs: np.ndarray

    def __len__(self) -> int:
        return len(self.centers)

    @property
    def outermost(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest box that holds all of them, low and high `(n_0,)`."""
        return self.lows[0].min(0), self.highs[0].max(0)


def spread_of(x: Tensor) -> np.ndarray:
    """Returns the standard deviation of each input `(n_0,)` over examples `(B, n_0)`, with divisor B."""
    return np.asarray(x.double().std(0, correction=0).cpu().numpy())


def boxes_around(examples: np.ndarray, spread: np.ndarray, epsilons: Sequence[float]) -> Regions:
    """Returns the boxes of half-width ε · spread around examples, the largest ε first.

    Args:
        examples: `(D, n_0)`.
        spread: `(n_0,)`, the unit of ε for each input; an input of spread 0 stays fixed.
        epsilons: in any order, each above 0.

    Raises:
        ArgumentError: an ε is not a number above 0, or comes twice.
    """
    for epsilon in epsilons:
        if not 0 < epsilon < np.inf:
            raise ArgumentError("epsilons", f"{epsilon:g}", "give numbers above 0.")
    if len(set(epsilons)) < len(epsilons):
        raise ArgumentError("epsilons", None, "name each size once.")
    widths = np.array(sorted(epsilons, reverse=True)).reshape(-1, 1, 1) * spread
    return Regions(examples, examples - widths, examples + widths)


def hull_of(x: Tensor) -> Regions:
    """Returns the one box from the least to the largest value of each input of examples `(B, n_0)`."""
    values = x.double().cpu().numpy()
    low, high = values.min(0), values.max(0)
    return Regions(0.5 * (low + high)[None], low[None, None], high[None, None])
