"""An exact count of the valid circuits of a part with one output, where few distinct examples must all be right.

A census adds up each circuit. Here the neurons of the last hidden layer are divided into two halves, and the pairs of a
choice of masks for either half are counted together; see `kernels.halves`. Which pairs give the right answers depends
on the values of the neurons behind that layer. So this is done once for each set of neurons and values that prefixes
have.

A circuit's masks keep every active neuron behind the last hidden layer. By inclusion and exclusion over the sets S of
its active neurons, a prefix has

    Σ_S (−1)^(active neurons that are not in S) · N(S)

valid circuits, where N(S) counts the choices of masks within S. It depends only on the values of the neurons of S, so
prefixes that share these share N(S).

Letters: B examples, D distinct ones, J neurons of the last hidden layer, n neurons behind it, E edges, K sets S, each
with its neurons' values.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import comb
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import get_num_threads

from mi_runner.errors import ArgumentError, RunFailed
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import Means, carried, means_of
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.examples import CircuitExamples, GroupedExamples, check_outputs, group_examples
from mi_runner.methods.circuits.kernels import halves as kernels
from mi_runner.methods.circuits.prefixes import Prefixes, kernel_layers, prefixes_of
from mi_runner.methods.circuits.space import MOST_EDGES, CircuitSpace
from mi_runner.progress import Progress

MOST_DISTINCT = 32
"""Largest number of distinct examples. Each needs an order of the choices and rows of bits."""

MOST_BYTES = 4 * 2**30
"""Largest memory for the sets of neurons and for the choices of both halves."""

MOST_LOOKED_AT = 10**10
"""Largest number of pairs that are looked at because rounding may decide them; 10⁹ take about half a minute."""

PREFIXES_READ = 4096
"""Prefixes that are read at once."""

COUNTED_AT_ONCE = 4096
"""Sets that are counted before they are added up; their counts take about 2 KB each."""

TIMED, SECONDS_TIMED = 8, 2.0
"""An estimate times so many sets, and stops after so many seconds."""

LEAST_SECONDS = 1e-4
"""What a set takes however small it is."""


class NotByHalves(RunFailed):
    """Halves can't count these circuits; a census can."""


@dataclass(frozen=True)
class HalvesCount:
    """Exact counts of the valid circuits of a space.

    Attributes:
        space: the circuits.
        counts: `(n_hidden + 1, n_edges + 1)` int64: valid circuits by active neurons and kept edges.
        edge_counts: `(n_edges,)` int64: valid circuits that keep each edge.
        n_looked_at: pairs of choices that were looked at because rounding may decide them.
    """

    space: CircuitSpace
    counts: np.ndarray
    edge_counts: np.ndarray
    n_looked_at: int

    @property
    def n_valid(self) -> int:
        """Number of valid circuits."""
        return int(self.counts.sum())

    @property
    def n_valid_partial(self) -> int:
        """Number of valid circuits that leave out at least one hidden neuron."""
        return int(self.counts[: self.space.n_hidden].sum())

    @property
    def fewest_edges(self) -> int | None:
        """The number of edges of the smallest valid circuit; None if there is none."""
        (sizes,) = np.nonzero(self.counts.sum(0))
        return int(sizes[0]) if len(sizes) else None

    @property
    def n_cardinal(self) -> int:
        """The number of valid circuits with the fewest edges."""
        fewest = self.fewest_edges
        return 0 if fewest is None else int(self.counts[:, fewest].sum())


def fits_halves(part: Part, examples: CircuitExamples, least_correct: int, *, inputs: str = "all") -> str | None:
    """Returns why halves can't count the valid circuits, as the end of a sentence; None if they can.

    Args:
        least_correct: the fewest right answers of a valid circuit; all distinct examples must be among these.
        inputs: the family of circuits, one of `INPUTS`.
    """
    if part.sizes[-1] != 1 or examples.has_several:
        return "there are several outputs"
    if len(part.sizes) < 3:
        return "there is no hidden layer"
    n_edges = Edges(part.sizes).n
    if n_edges > MOST_EDGES:
        return f"there are {n_edges} edges, more than {MOST_EDGES}"
    grouped = _by_goal(part, examples)
    rarest, n_distinct = int(grouped.sizes.min()), len(grouped.x)
    if not len(examples) - rarest < least_correct <= len(examples):
        return f"a circuit with {least_correct} of {len(examples)} right answers is valid, so not all must be right"
    if n_distinct > MOST_DISTINCT:
        return f"there are {n_distinct} distinct examples, more than {MOST_DISTINCT}"
    needed = _bytes_of(CircuitSpace(part.sizes, inputs), n_distinct)
    if needed > MOST_BYTES:
        return f"they need {needed / 2**30:,.1f} GiB of memory, more than {MOST_BYTES // 2**30}"
    return None


def seconds_of_halves(part: Part, examples: CircuitExamples, *, ablation: str = "zero", inputs: str = "all") -> float:
    """Returns an estimate of the seconds of `count_by_halves`, by the time that some sets of all neurons take.

    The values of the neurons are those of random kept edges. Sets of fewer neurons take about as many times less as one
    half has fewer choices. It takes two seconds at most, or the time of one set.

    Args:
        part, examples: those that `fits_halves` accepts.
    """
    space, means = CircuitSpace(part.sizes, inputs), means_of(part, examples.x, ablation)
    goal = _goal_of(part, examples, means)
    draw, every = torch.Generator().manual_seed(0), (1 << space.sizes[-3]) - 1
    goal.count(_random_values(part, goal.x, means, draw), 0)  # compiles
    taken: list[float] = []
    while len(taken) < TIMED and sum(taken) < SECONDS_TIMED:
        values, began = _random_values(part, goal.x, means, draw), time.thread_time()
        goal.count(values, every)
        taken.append(time.thread_time() - began)
    mean, half = sum(taken) / len(taken), -(-space.sizes[-2] // 2)
    seconds = 0.0
    for size, n_sets in _sets_by_size(space).items():
        seconds += n_sets * max(LEAST_SECONDS, mean * 2.0 ** (half * (size - space.sizes[-3])))
    return seconds / get_num_threads()


def count_by_halves(
    part: Part,
    examples: CircuitExamples,
    *,
    ablation: str = "zero",
    inputs: str = "all",
    progress: Progress | None = None,
) -> HalvesCount:
    """Returns the exact counts of the circuits whose answers are all right.

    A circuit's answers are decided as a census decides them, to the last bit of its outputs.

    Args:
        part: with one output, and at least one hidden layer.
        examples: a circuit is valid if each of its answers is right by their rule.
        ablation: what a left-out edge carries, one of `ABLATIONS`.
        inputs: the family of circuits, one of `INPUTS`.

    Raises:
        ArgumentError: `fits_halves` says why it can't be used, or the last activation falls.
        NotByHalves: rounding may decide more than `MOST_LOOKED_AT` pairs of choices, or outputs may be infinite.
    """
    check_outputs(part, examples)
    problem = fits_halves(part, examples, len(examples), inputs=inputs)
    if problem is not None:
        raise ArgumentError(("part", "examples"), None, f"circuits can't be counted by halves: {problem}.")
    space, means = CircuitSpace(part.sizes, inputs), means_of(part, examples.x, ablation)
    goal, sets, totals = _goal_of(part, examples, means), _Sets(space), _Totals(space)
    for prefixes in prefixes_of(part, space, goal.x, PREFIXES_READ, means):
        sets.add(prefixes)
    active, values = sets.active, sets.values
    n_neurons = np.bitwise_count(active.astype(np.uint64)).astype(np.int64)
    largest_first, work = np.argsort(-n_neurons, kind="stable"), 1 << n_neurons * space.sizes[-2]
    with (progress or Progress()).bar("choices of masks", int(work.sum())) as advance, _threads() as pool:
        for begin in range(0, len(largest_first), COUNTED_AT_ONCE):
            places = largest_first[begin : begin + COUNTED_AT_ONCE]
            counts = []
            for place, count in zip(places, pool.map(goal.count, values[places], active[places]), strict=True):
                counts.append(count)
                advance(int(work[place]))
            totals.add(sets, places, counts)
    return totals.result()


class _OfSet(NamedTuple):
    """The choices of masks within a set of neurons; see `kernels.count_within`."""

    by_kind: np.ndarray
    kept: np.ndarray
    n_looked_at: int


@dataclass(frozen=True)
class _Goal:
    """What a circuit's outputs must be.

    Attributes:
        x: `(D, n_0)`, the distinct inputs.
        intervals: `(2, D)` float32, the smallest and the largest output before its activation.
        layers: as `kernel_layers` returns them.
    """

    x: np.ndarray
    intervals: np.ndarray
    layers: tuple[tuple[Any, ...], tuple[Any, ...]]

    def count(self, values: np.ndarray, active: int) -> _OfSet:
        """Returns the choices of masks with which each output is what it must be.

        Args:
            values: `(n, D)` float32, those of the neurons behind the last hidden layer.
            active: those that masks may keep, as bits.

        Raises:
            NotByHalves: see `count_by_halves`.
        """
        n_neurons, n_inputs = self.layers[0][0].shape
        by_kind = np.zeros((n_neurons + 1, n_neurons * (n_inputs + 1) + 1), dtype=np.int64)
        kept = np.zeros((n_neurons, n_inputs + 1), dtype=np.int64)
        n_looked_at = kernels.count_within(
            values, int(active), *self.layers, self.intervals, MOST_LOOKED_AT, by_kind, kept
        )
        assert n_looked_at != kernels.DISAGREE
        if n_looked_at == kernels.NOT_FINITE:
            raise NotByHalves("halves can't count circuits with outputs that may be infinite, or are no numbers.")
        _refuse_more(n_looked_at)
        return _OfSet(by_kind, kept, n_looked_at)


def _goal_of(part: Part, examples: CircuitExamples, means: Means | None) -> _Goal:
    """Returns what the outputs of a circuit must be so that each of its answers is right."""
    grouped = _by_goal(part, examples)
    intervals = np.repeat(grouped.wanted[:, :2].T, np.diff(grouped.groups), axis=1)
    return _Goal(grouped.x, np.ascontiguousarray(intervals), kernel_layers(part, means, has_several=False))


def _by_goal(part: Part, examples: CircuitExamples) -> GroupedExamples:
    """Returns the distinct examples, with the right answers by their rule of validity in place of the targets."""
    return group_examples(part.layers[-1], replace(examples, target=examples.goal.to(examples.target)))


def _refuse_more(n_looked_at: int) -> None:
    """Raises NotByHalves if rounding may decide too many pairs."""
    if n_looked_at > MOST_LOOKED_AT:
        problem = f"rounding may decide more than {MOST_LOOKED_AT:,} pairs of choices, because many outputs lie at the "
        raise NotByHalves(f"{problem}bounds of an answer: halves can't count these circuits in reasonable time.")


class _Sets:
    """Collects the sets of active neurons with their values, and how they add up to the prefixes' circuits.

    Attributes:
        active: `(K,)` int64.
        values: `(K, n, D)` float32.
        weights: `(K, n_hidden − J + 1, E' + 1)` int32: how often a set is added for prefixes with so many active
            neurons and so many of the E' edges into the layers before the last hidden one, less how often it is
            subtracted.
        edges: `(K, E')` int32, the same for prefixes that keep each edge.
    """

    def __init__(self, space: CircuitSpace) -> None:
        self._space, self._n_before = space, space.offsets[-2]
        n_nodes = space.n_hidden - space.sizes[-2]
        self._ids: list[dict[bytes, int]] = [{} for _ in range(space.sizes[-3])]  # of each neuron's values
        self._found: dict[bytes, int] = {}
        self._active: list[int] = []
        self._values: list[np.ndarray] = []
        self.weights = np.zeros((0, n_nodes + 1, self._n_before + 1), dtype=np.int32)
        self.edges = np.zeros((0, self._n_before), dtype=np.int32)

    @property
    def active(self) -> np.ndarray:
        """The neurons of each set as bits."""
        return np.array(self._active, dtype=np.int64)

    @property
    def values(self) -> np.ndarray:
        """The values of all neurons; those of neurons that aren't in the set play no role."""
        return np.stack(self._values)

    def add(self, prefixes: Prefixes) -> None:
        """Adds the sets of active neurons of these prefixes."""
        values = prefixes.values + np.float32(0)  # −0 becomes 0
        own = [
            [ids.setdefault(row.tobytes(), len(ids)) for ids, row in zip(self._ids, rows, strict=True)]
            for rows in values
        ]
        ids, n_nodes = np.array(own, dtype=np.int32), self._space.n_active(prefixes.bits)
        kept = self._space.edges.rows(prefixes.bits)[:, : self._n_before]
        for active in range(1 << ids.shape[1]):
            rows = np.flatnonzero(prefixes.active & active == active)
            is_active = (active >> np.arange(ids.shape[1]) & 1).astype(bool)
            distinct, first, inverse = np.unique(
                np.where(is_active, ids[rows], -1), axis=0, return_index=True, return_inverse=True
            )
            places = np.empty(len(distinct), dtype=np.int64)
            for i, key in enumerate(distinct):
                place = places[i] = self._found.setdefault(key.tobytes(), len(self._found))
                if place == len(self._active):
                    self._active.append(active)
                    self._values.append(values[rows[first[i]]])
            self._grow()
            sign = 1 - 2 * (
                np.bitwise_count(prefixes.active[rows].astype(np.uint64)).astype(np.int32) - active.bit_count() & 1
            )
            of_row = places[inverse.reshape(-1)]
            np.add.at(self.weights, (of_row, n_nodes[rows], kept[rows].sum(1)), sign)
            np.add.at(self.edges, of_row, sign[:, None] * kept[rows])

    def _grow(self) -> None:
        """Makes room for all sets found, and for as many more."""
        if len(self._found) > len(self.weights):
            more = 2 * len(self._found) - len(self.weights)
            self.weights = np.concatenate([self.weights, np.zeros((more, *self.weights.shape[1:]), dtype=np.int32)])
            self.edges = np.concatenate([self.edges, np.zeros((more, self._n_before), dtype=np.int32)])


class _Totals:
    """Adds up the circuits of sets.

    Sums are modulo 2⁶⁴; each result is exact, because it is below 2⁶³: at most C(64, 32) circuits have so many edges.
    """

    def __init__(self, space: CircuitSpace) -> None:
        n_inputs, n_neurons = space.sizes[-3:-1]
        self._space, self._n_looked_at = space, 0
        self._before = np.zeros(space.offsets[-2], dtype=np.int64)
        self._kept = np.zeros((n_neurons, n_inputs + 1), dtype=np.int64)
        shape = space.n_hidden - n_neurons + 1, space.offsets[-2] + 1, n_neurons + 1, n_neurons * (n_inputs + 1) + 1
        self._by_kind = np.zeros(shape, dtype=np.int64)

    def add(self, sets: _Sets, places: np.ndarray, counts: Sequence[_OfSet]) -> None:
        """Adds the circuits of the sets at these places.

        Raises:
            NotByHalves: see `count_by_halves`.
        """
        weights, by_kind = sets.weights[places].astype(np.int64), np.stack([count.by_kind for count in counts])
        self._by_kind += (weights.reshape(len(places), -1).T @ by_kind.reshape(len(places), -1)).reshape(
            self._by_kind.shape
        )
        self._kept += np.tensordot(weights.sum((1, 2)), np.stack([count.kept for count in counts]), 1)
        self._before += by_kind.sum((1, 2)) @ sets.edges[places].astype(np.int64)
        self._n_looked_at += sum(count.n_looked_at for count in counts)
        _refuse_more(self._n_looked_at)

    def result(self) -> HalvesCount:
        """Returns the circuits of all sets."""
        space = self._space
        counts = np.zeros((space.n_hidden + 1, space.n_edges + 1), dtype=np.int64)
        n_nodes, n_edges = self._by_kind.shape[2:]
        for nodes, edges in np.ndindex(self._by_kind.shape[:2]):
            counts[nodes : nodes + n_nodes, edges : edges + n_edges] += self._by_kind[nodes, edges]
        edge_counts = np.concatenate([self._before, self._kept[:, :-1].reshape(-1), self._kept[:, -1]])
        return HalvesCount(space, counts, edge_counts, self._n_looked_at)


def _random_values(part: Part, x: np.ndarray, means: Means | None, draw: torch.Generator) -> np.ndarray:
    """Returns values `(n, D)` float32 of the neurons behind the last hidden layer, each with random kept edges."""
    values = torch.from_numpy(x).T
    for layer, mean in zip(part.layers[:-2], carried(part, means), strict=False):
        n_out, n_in = layer.weight.shape
        masks = torch.randint(1, 1 << n_in, (n_out, 1), generator=draw)
        kept = (masks >> torch.arange(n_in) & 1).bool()
        left_out = (layer.weight.cpu() * ~kept) @ mean.cpu()
        values = layer.activate((layer.weight.cpu() * kept) @ values + (layer.bias.cpu() + left_out)[:, None])
    return np.ascontiguousarray(values.numpy())


def _sets_by_size(space: CircuitSpace) -> dict[int, int]:
    """Returns how many sets of so many active neurons there are, at most."""
    sizes, n_behind = space.sizes, space.sizes[-3]
    if len(sizes) <= 4:
        values = 1 if len(sizes) == 3 else 2 ** sizes[0] - 1
        return {size: comb(n_behind, size) * values**size for size in range(n_behind + 1)}
    ways = space.ways_to(len(sizes) - 3)
    return {size: sum(n * comb(active, size) for active, n in ways.items()) for size in range(n_behind + 1)}


def _bytes_of(space: CircuitSpace, n_distinct: int) -> int:
    """Returns about how much memory a count needs."""
    n_behind, n_neurons = space.sizes[-3:-1]
    n_before, n_nodes = space.offsets[-2], space.n_hidden - n_neurons
    of_set = 8 * (n_nodes + 1) * (n_before + 1) + 8 * n_before + 4 * n_behind * n_distinct + 200
    of_choice = 60 * n_distinct + 4 * n_neurons + 120
    n_choices = 2 ** (n_behind * (n_neurons // 2)) + 2 ** (n_behind * -(-n_neurons // 2))
    return sum(_sets_by_size(space).values()) * of_set + get_num_threads() * n_choices * of_choice


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Yields as many threads as kernels use; what waits for them is dropped at the end of the block."""
    pool = ThreadPoolExecutor(get_num_threads())
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
