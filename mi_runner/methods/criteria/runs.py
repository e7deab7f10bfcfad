"""Which answers do many circuits give on the same rows? Chunks of circuits that share values go through the kernel.

Letters: B rows, E edges, K circuits, M runs, R resamples, sizes n_0 (inputs), …, n_L (outputs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from mi_runner.methods.criteria import kernel
from mi_runner.methods.criteria.bounds import bounds_of, is_compared_after
from mi_runner.methods.criteria.device_runs import ask_on
from mi_runner.methods.criteria.states import CARRIED, States, activations_of
from mi_runner.methods.criteria.task import Task

AT_ONCE = 4096
"""Circuits whose states are found together."""

NUMBERS = 4_000_000
"""Hits or squares that are stored at once, circuits times rows."""


Wanted = tuple[int, float, np.ndarray, np.ndarray]
"""What outputs are compared with, as `kernel.ask` takes it."""

WeightOf = Callable[[slice | np.ndarray], np.ndarray]
"""`(some) → (…, R)`, the weights of some items on the resamples."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Which of many items are equal, so that one row stands for each group of them.

    Attributes:
        first: `(D,)`, an item of each group.
        sizes: `(D,)` int64, how many items are in it.
        order: all items, group by group.
    """

    first: np.ndarray
    sizes: np.ndarray
    order: np.ndarray

    @staticmethod
    def of(labels: np.ndarray) -> Groups | None:
        """Returns the groups of equal labels; None where rows of all items take about as long as one of each group."""
        _, first, place, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
        if not is_quicker(len(first), len(labels)):
            return None
        return Groups(first, sizes.astype(np.int64), np.argsort(place, kind="stable"))

    def summed(self, weight_of: WeightOf, n_resamples: int, block: slice) -> np.ndarray:
        """Returns the weights of some groups, those of their items added up, `(…, R)` float64.

        Args:
            weight_of: the weights `(…, R)` of some items.
        """
        sizes = self.sizes[block]
        end = int(self.sizes[: block.stop].sum())
        items, group = self.order[end - int(sizes.sum()) : end], np.repeat(np.arange(len(sizes)), sizes)
        found = np.zeros((len(sizes), n_resamples))
        for some in blocks(len(items), n_resamples):
            own = group[some]
            starts = np.flatnonzero(np.diff(own, prepend=-1))
            found[own[starts]] += np.add.reduceat(weight_of(items[some]).astype(float), starts, axis=0)
        return found


def groups_of_pairs(task: Task, pairs: tuple[np.ndarray, np.ndarray]) -> Groups | None:
    """Returns the groups of pairs whose bases are equal, and whose sources are; None as `Groups.of`."""
    (first, place), (base, source) = task.distinct, pairs
    return Groups.of(place[base] * len(first) + place[source])


def is_quicker(n_groups: int, n: int) -> bool:
    """Returns whether one row of each group is quicker than rows of all items: the kernel runs whole blocks of rows."""
    return 2 * -(-n_groups // kernel.BLOCK) <= n // kernel.BLOCK


@dataclass(frozen=True, eq=False)
class Rows:
    """What circuits are run on.

    Attributes:
        x: `(B, n_0)` float64, what enters the part.
        wanted: `(B,)`, the answers that count.
        left_out: what the source of a left-out edge carries, `(n_l,)` or `(B, n_l)` for each layer that edges leave.
        groups: the items that each row stands for; None: one.
    """

    x: Tensor
    wanted: np.ndarray
    left_out: tuple[Tensor, ...]
    groups: Groups | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def n_items(self) -> int:
        """How many items the rows stand for."""
        return len(self) if self.groups is None else len(self.groups.order)

    def of(self, rows: slice | np.ndarray) -> Rows:
        """Returns some of the rows, each by itself."""
        left_out = tuple(values if values.dim() == 1 else values[rows] for values in self.left_out)
        return Rows(self.x[rows], self.wanted[rows], left_out)

    @property
    def has_own(self) -> bool:
        """Whether what left-out edges carry differs from row to row."""
        return self.left_out[0].dim() == 2


def clean(task: Task) -> Rows:
    """Returns the test examples, with the full network's answers and what the ablation says; equal ones are one row."""
    first, place = task.distinct
    groups = Groups.of(place)
    rows = slice(None) if groups is None else first
    return Rows(task.x[rows], task.answers[rows], task.means, groups)


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of circuits as the kernel takes them.

    Attributes:
        states: all values but the outputs.
        sources: `(M, n_L, n_in)`: the state of each source of the outputs.
        questions: `(M,)` int64, which wanted answers are asked.
        device: where they run by tensor operations; None: by the kernel.
    """

    states: States
    sources: np.ndarray
    questions: np.ndarray
    device: torch.device | None = None


def counts(task: Task, kept: np.ndarray, rows: Rows) -> np.ndarray:
    """Returns for how many items of the rows each circuit `(K, E)` gives the wanted answer, `(K,)` int64."""
    if rows.groups is not None:
        given, wanted, sizes = _given(rows), _wanted(task, rows), rows.groups.sizes
        at_once = max(1, min(AT_ONCE, NUMBERS // (given.shape[0] * kernel.BLOCK)))
        return _each(
            task, kept, lambda some: ask_counts(plain_runs(task, some, rows), given, wanted, sizes).astype(int), at_once
        )
    rows = rows.of(np.argsort(rows.wanted, kind="stable"))  # blocks in which all want the same are faster
    given, wanted = _given(rows), _wanted(task, rows)
    return _each(task, kept, lambda some: ask(kernel.COUNTS, plain_runs(task, some, rows), given, wanted).astype(int))


def hits(task: Task, kept: np.ndarray, rows: Rows) -> np.ndarray:
    """Returns 1 where a circuit `(K, E)` gives the wanted answer in a row, and otherwise 0, `(K, B)` float64."""
    given, wanted = _given(rows), _wanted(task, rows)

    def hit(some: np.ndarray) -> np.ndarray:
        return ask(kernel.HITS, plain_runs(task, some, rows), given, wanted)[:, : len(rows)]

    return _each(task, kept, hit)


def squares(task: Task, kept: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Returns the sum over the test examples of the squared difference of each circuit to the full network's outputs.

    Of several outputs it is their mean.

    Args:
        kept: `(K, E)` bool.
        weights: `(N, R)`, of the examples in the sum; None: each counts once.

    Returns:
        `(K,)`, or with weights `(K, R)`.
    """
    rows = clean(task)
    full, n, groups = task.part(rows.x).T.numpy(), len(rows), rows.groups
    times = np.ones(n) if groups is None or weights is not None else groups.sizes
    kinds, slopes = activations_of(task.part)
    given = _given(rows)
    compared = (int(kinds[-1]), float(slopes[-1]), in_blocks(full, 0.0), in_blocks(times[None], 0.0))
    weighted = None
    if weights is not None:
        every = slice(0, n)
        weighted = (
            weights.astype(float) if groups is None else groups.summed(weights.__getitem__, weights.shape[1], every)
        )

    def squared(some: np.ndarray) -> np.ndarray:
        runs = plain_runs(task, some, rows)
        if weighted is None:
            return ask(kernel.SQUARES, runs, given, compared)
        return ask(kernel.ROW_SQUARES, runs, given, compared)[:, :n] @ weighted

    return _each(task, kept, squared, AT_ONCE if weights is None else max(1, min(AT_ONCE, NUMBERS // n)))


def _each(
    task: Task, kept: np.ndarray, found: Callable[[np.ndarray], np.ndarray], at_once: int = AT_ONCE
) -> np.ndarray:
    """Returns what is found for each circuit `(K, E)`, in chunks of circuits that share as many states as they can."""
    if not len(kept):
        return found(kept)
    order = similar(task, kept)
    parts = [found(kept[order[start : start + at_once]]) for start in range(0, len(kept), at_once)]
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return np.concatenate(parts)[back]


def similar(task: Task, kept: np.ndarray) -> np.ndarray:
    """Returns an order of circuits `(K, E)` in which those with the same first layers are neighbours, `(K,)`."""
    words = np.packbits(kept, axis=1)
    return np.lexsort(words.T[::-1])


def plain_runs(task: Task, kept: np.ndarray, rows: Rows) -> Runs:
    """Returns the runs of circuits `(K, E)` on rows, one each."""
    sizes, n_given = task.part.sizes, sum(task.part.sizes[:-1]) if rows.has_own else 0
    zeros = tuple(np.zeros(size) for size in sizes[:-1])
    carried = zeros if rows.has_own else tuple(values.numpy() for values in rows.left_out)
    states = States(task.part, carried, sizes[0] + n_given)
    refs = np.broadcast_to(np.arange(sizes[0]), (len(kept), sizes[0]))
    left_out: int | np.ndarray = CARRIED
    first = sizes[0]
    masks = task.edges.masks(kept)
    for layer, mask in enumerate(masks):
        if rows.has_own:  # after x, the given values are those of the left-out edges' sources, layer by layer
            left_out, first = first + np.arange(sizes[layer]), first + sizes[layer]
        sources = np.where(mask, refs[:, None], left_out)
        if layer < len(masks) - 1:
            refs = states.of_layer(layer, sources)
    return Runs(states, sources, np.zeros(len(kept), dtype=np.int64), task.device)


def ask(what: int, runs: Runs, given: np.ndarray, wanted: Wanted) -> np.ndarray:
    """Returns what is asked of runs: counts or sums of squares `(M,)`, or hits or squares of each row `(M, B)`.

    Args:
        what: one of the kernel's constants.
        given: the values that no circuit computes, as `in_blocks` gives them.
        wanted: as `kernel.ask` takes it.
    """
    n_runs, n_blocks = len(runs.questions), len(given)
    states, state_terms = runs.states.arrays()
    bases, first, run_terms = runs.states.outputs(runs.sources)
    if runs.device is not None:
        of_states, of_runs = (*states[:2], *state_terms), (bases, first, *run_terms)
        kinds = activations_of(runs.states.part)
        return ask_on(runs.device, what, given, (of_states, states[2]), kinds, (of_runs, runs.questions), wanted)
    is_by_block = what in (kernel.COUNTS, kernel.SQUARES)
    by_block = np.zeros((n_blocks, n_runs) if is_by_block else (0, 0))
    by_row = np.empty((0, 0, 0) if is_by_block else (n_runs, n_blocks, kernel.BLOCK))
    n_threads = max(1, min(numba.get_num_threads(), n_blocks))
    kernel.ask(
        what,
        given,
        states,
        state_terms,
        activations_of(runs.states.part),
        (bases, first, runs.questions),
        run_terms,
        wanted,
        np.empty((n_threads, runs.states.n, kernel.BLOCK)),
        by_block,
        by_row,
    )
    return by_block.sum(0) if is_by_block else by_row.reshape(n_runs, -1)


def ask_counts(runs: Runs, given: np.ndarray, wanted: Wanted, sizes: np.ndarray | None) -> np.ndarray:
    """Returns for how many items the answers of runs are the wanted ones, `(M,)`.

    Args:
        sizes: `(B,)`, how many items each row stands for; None: one.
    """
    if sizes is None:
        return ask(kernel.COUNTS, runs, given, wanted)
    return ask(kernel.HITS, runs, given, wanted)[:, : len(sizes)] @ sizes.astype(float)


def in_blocks(values: np.ndarray, filled: float) -> np.ndarray:
    """Returns values `(n, B)` block by block, `(B / BLOCK, n, BLOCK)`, with more columns that make the blocks whole."""
    more = np.pad(values, ((0, 0), (0, -values.shape[1] % kernel.BLOCK)), constant_values=filled)
    blocks_of_rows = more.reshape(len(values), -1, kernel.BLOCK).transpose(1, 0, 2)
    return np.ascontiguousarray(blocks_of_rows, dtype=np.float64)


def _given(rows: Rows) -> np.ndarray:
    left_out = rows.left_out if rows.has_own else ()
    return in_blocks(torch.cat([rows.x, *left_out], 1).T.numpy(), 0.0)


def _wanted(task: Task, rows: Rows) -> Wanted:
    return wanted_of(task, rows.wanted[None])


def wanted_of(task: Task, answers: np.ndarray) -> Wanted:
    """Returns the wanted answers `(A, B)` as `kernel.ask` takes them; no output is what rows of the padding want."""
    kind, slope = 0, 0.0
    if is_compared_after(task.part.layers[-1], task.kind):
        kinds, slopes = activations_of(task.part)
        kind, slope = int(kinds[-1]), float(slopes[-1])
    low, high = bounds_of(task.part.layers[-1], task.kind, answers)
    return kind, slope, in_blocks(low, np.inf), in_blocks(high, -np.inf)


def resampled(
    task: Task,
    kept: np.ndarray,
    rows: Rows,
    weight_of: WeightOf,
    n_resamples: int,
    *,
    copies: int = 1,
) -> np.ndarray:
    """Returns the weighted share of items for which each circuit gives the wanted answer, `(K, R)`.

    NaN where all weights of a resample are 0.

    Args:
        kept: `(K, E)` bool.
        weight_of: the weights `(…, R)` of some items.
        copies: the rows are all examples, so many times one after the other; 1 of groups.
    """
    groups = rows.groups
    if groups is not None:
        return share(
            lambda block: hits(task, kept, rows.of(block)),
            lambda block: groups.summed(weight_of, n_resamples, block),
            len(kept),
            len(rows),
        )
    n = len(rows) // copies

    def hit(block: slice) -> np.ndarray:
        places = (np.arange(copies)[:, None] * n + np.arange(n)[block]).reshape(-1)
        return hits(task, kept, rows.of(places)).reshape(len(kept), copies, -1).mean(1)

    return share(hit, weight_of, len(kept) * copies, n)


def share(
    hits_in: Callable[[slice], np.ndarray],
    weight_of: Callable[[slice], np.ndarray],
    width: int,
    n_rows: int,
) -> np.ndarray:
    """Returns the weighted share of hits of each circuit, `(K, R)`; NaN where all weights of a resample are 0.

    Args:
        hits_in: the hits `(K, …)` in some rows, in 0..1.
        weight_of: the weights `(…, R)` of some rows.
        width: hits of a row.
    """
    above: np.ndarray | float = 0.0
    below: np.ndarray | float = 0.0
    for block in blocks(n_rows, width):
        weights = weight_of(block).astype(float)
        above = above + hits_in(block) @ weights
        below = below + weights.sum(0)
    with np.errstate(invalid="ignore"):
        return np.asarray(above / below)


def blocks(n: int, width: int) -> Iterator[slice]:
    """Yields slices of n that together have about `NUMBERS` numbers at most, with this many for each."""
    size = max(1, NUMBERS // max(1, width))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
