"""Which answers do many circuits give on the same rows? By tensors.

Letters: B rows, E edges, K circuits, sizes n_0 (inputs), …, n_L (outputs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mi_runner.methods.criteria.task import Task

NUMBERS = 2_000_000
"""Values of a neuron that are computed at once, circuits times rows."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What circuits are run on.

    Attributes:
        x: `(B, n_0)` float64, what enters the part.
        wanted: `(B,)`, the answers that count.
        left_out: what the source of a left-out edge carries, `(n_l,)` or `(B, n_l)` for each layer that edges leave.
    """

    x: Tensor
    wanted: np.ndarray
    left_out: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.x)

    def of(self, rows: slice) -> Rows:
        """Returns some of the rows."""
        left_out = tuple(values if values.dim() == 1 else values[rows] for values in self.left_out)
        return Rows(self.x[rows], self.wanted[rows], left_out)


def clean(task: Task) -> Rows:
    """Returns the test examples, with the full network's answers and what the ablation says."""
    return Rows(task.x, task.answers, task.means)


def values_of(task: Task, kept: Tensor, rows: Rows, replaced: tuple[int, int, Tensor] | None = None) -> list[Tensor]:
    """Returns the values `(K, B, n_l)` of all layers of circuits `(K, E)` bool, the inputs' first.

    Args:
        replaced: the layer and the number of a hidden neuron, and its values `(K, B)` in the place of its own.
    """
    values = [rows.x.expand(len(kept), *rows.x.shape)]
    for index, (layer, mask) in enumerate(zip(task.part.without_softmax.layers, task.edges.masks(kept), strict=True)):
        sums = layer.bias + values[-1] @ (layer.weight * mask).transpose(1, 2)
        sums += torch.atleast_2d(rows.left_out[index]) @ (layer.weight * ~mask).transpose(1, 2)
        values.append(layer.activate(sums))
        if replaced is not None and replaced[0] == index + 1:
            values[-1] = values[-1].clone()
            values[-1][:, :, replaced[1]] = replaced[2]
    return values


def blocks(n: int, width: int) -> Iterator[slice]:
    """Yields the slices of n circuits that are run at once on this many rows."""
    size = max(1, NUMBERS // max(1, width))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


@torch.no_grad()
def hits(task: Task, kept: np.ndarray, rows: Rows) -> np.ndarray:
    """Returns whether each circuit `(K, E)` gives the wanted answer in each row, `(K, B)` bool."""
    found = np.empty((len(kept), len(rows)), dtype=bool)
    for block in blocks(len(kept), len(rows)):
        outputs = values_of(task, torch.from_numpy(kept[block]), rows)[-1]
        found[block] = task.answered(outputs) == rows.wanted
    return found


def counts(task: Task, kept: np.ndarray, rows: Rows) -> np.ndarray:
    """Returns in how many rows each circuit `(K, E)` gives the wanted answer, `(K,)` int64."""
    found = np.empty(len(kept), dtype=np.int64)
    for block in blocks(len(kept), len(rows)):
        found[block] = hits(task, kept[block], rows).sum(1)
    return found


@torch.no_grad()
def squares(task: Task, kept: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Returns the sum over the test examples of the squared difference of each circuit to the full network's outputs.

    Of several outputs it is their mean.

    Args:
        kept: `(K, E)` bool.
        weights: `(N, R)`, of the examples in the sum; None: each counts once.

    Returns:
        `(K,)`, or with weights `(K, R)`.
    """
    last, full = task.part.layers[-1], task.part(task.x)
    weighted = np.ones((len(task.x), 1)) if weights is None else weights.astype(float)
    found = np.empty((len(kept), weighted.shape[1]))
    for block in blocks(len(kept), len(task.x)):
        outputs = values_of(task, torch.from_numpy(kept[block]), clean(task))[-1]
        outputs = outputs if last.is_elementwise else last.activate(outputs)
        found[block] = (outputs - full).square().mean(2).numpy() @ weighted
    return found[:, 0] if weights is None else found


def resampled(task: Task, kept: np.ndarray, rows: Rows, weight_of: Callable[[slice], np.ndarray]) -> np.ndarray:
    """Returns the weighted share of rows in which each circuit gives the wanted answer, `(K, R)`.

    NaN where all weights of a resample are 0.

    Args:
        kept: `(K, E)` bool.
        weight_of: the weights `(…, R)` of some rows.
    """
    return share(lambda block: hits(task, kept, rows.of(block)), weight_of, len(kept), len(rows))


def share(
    hits_in: Callable[[slice], np.ndarray], weight_of: Callable[[slice], np.ndarray], n_circuits: int, n_rows: int
) -> np.ndarray:
    """Returns the weighted share of hits of each circuit, `(K, R)`; NaN where all weights of a resample are 0.

    Args:
        hits_in: the hits `(K, …)` in some rows, bool or in 0..1.
        weight_of: the weights `(…, R)` of some rows.
    """
    above: np.ndarray | float = 0.0
    below: np.ndarray | float = 0.0
    for block in blocks(n_rows, n_circuits):
        weights = weight_of(block).astype(float)
        above = above + hits_in(block).astype(float) @ weights
        below = below + weights.sum(0)
    with np.errstate(invalid="ignore"):
        return np.asarray(above / below)
