"""Regions of the inputs of a part: boxes around examples, and the hull of all of them.

Letters: B examples, R sizes of boxes, D examples with a box, n_0 inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from mi_runner.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Regions:
    """Boxes of several sizes around examples.

    Attributes:
        centers: `(D, n_0)`, the examples.
        lows, highs: `(R, D, n_0)`, their boxes, the largest first.
        groups: `(M, 2)`, groups of neighbouring examples that lie near each other: the first one and the end.
    """

    centers: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    groups: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.centers)

    @property
    def together(self) -> Regions:
        """For each group the box that holds those of all its examples."""
        lows, highs = (np.empty((len(self.lows), len(self.groups), self.lows.shape[2])) for _ in range(2))
        for m, (first, end) in enumerate(self.groups):
            lows[:, m], highs[:, m] = self.lows[:, first:end].min(1), self.highs[:, first:end].max(1)
        return Regions(0.5 * (lows[0] + highs[0]), lows, highs)

    @property
    def outermost(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest box that holds all of them, low and high `(n_0,)`."""
        return self.lows[0].min(0), self.highs[0].max(0)


def spread_of(x: Tensor) -> np.ndarray:
    """Returns the standard deviation of each input `(n_0,)` over examples `(B, n_0)`, with divisor B."""
    return np.asarray(x.double().std(0, correction=0).cpu().numpy())


def boxes_around(
    examples: np.ndarray, spread: np.ndarray, epsilons: Sequence[float], groups: np.ndarray | None = None
) -> Regions:
    """Returns the boxes of half-width ε · spread around examples, the largest ε first.

    Args:
        examples: `(D, n_0)`.
        spread: `(n_0,)`, the unit of ε for each input; an input of spread 0 stays fixed.
        epsilons: in any order, each above 0.
        groups: of neighbouring examples, see `nearby`; None: no groups.

    Raises:
        ArgumentError: an ε is not a number above 0, or comes twice.
    """
    for epsilon in epsilons:
        if not 0 < epsilon < np.inf:
            raise ArgumentError("epsilons", f"{epsilon:g}", "give numbers above 0.")
    if len(set(epsilons)) < len(epsilons):
        raise ArgumentError("epsilons", None, "name each size once.")
    widths = np.array(sorted(epsilons, reverse=True)).reshape(-1, 1, 1) * spread
    boxes = Regions(examples, examples - widths, examples + widths)
    return boxes if groups is None else replace(boxes, groups=groups)


GROUPS = (64, 16, 4)
"""Most examples of a group that lie near each other, of coarse groups and of finer ones within them."""


def nearby(examples: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns an order of examples in which near ones are neighbours, and groups of them, coarse ones first.

    Examples are halved at the median of the unit that varies most, again and again (a k-d tree).

    Args:
        examples: `(D, n_0)`.
        scale: `(n_0,)`, the unit of each input; where it is 0, the input doesn't vary.

    Returns:
        The order `(D,)`, and for each group its first place in it and its end, `(M, 2)`.
    """
    values = examples / np.where(scale > 0, scale, 1.0)
    groups: dict[int, list[tuple[int, int]]] = {size: [] for size in GROUPS}
    order: list[int] = []

    def split(rows: np.ndarray, within: int) -> None:
        size = next((size for size in GROUPS if len(rows) <= size < within), None)
        if size is not None:
            groups[size].append((len(order), len(order) + len(rows)))
            within = size
        if len(rows) <= GROUPS[-1]:
            order.extend(rows.tolist())
            return
        widest = int(np.ptp(values[rows], axis=0).argmax())
        ascending = rows[np.argsort(values[rows, widest], kind="stable")]
        split(ascending[: len(rows) // 2], within)
        split(ascending[len(rows) // 2 :], within)

    split(np.arange(len(examples)), 2**62)
    whole = [pair for size in GROUPS for pair in groups[size] if pair[1] - pair[0] > 1]
    return np.array(order, dtype=np.int64), np.array(whole, dtype=np.int64).reshape(-1, 2)


def hull_of(x: Tensor) -> Regions:
    """Returns the one box from the least to the largest value of each input of examples `(B, n_0)`."""
    values = x.double().cpu().numpy()
    low, high = values.min(0), values.max(0)
    return Regions(0.5 * (low + high)[None], low[None, None], high[None, None])
