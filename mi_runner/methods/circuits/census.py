"""Exact counts of circuits by active neurons, kept edges and correct answers, for spaces too large for a table.

Letters: B examples, D distinct ones, C blocks of them, K circuits, T threads, J neurons of the last hidden layer and Q
choices of each (see `kernels.evaluation` and `kernels.blocks`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import Means, means_of
from mi_runner.methods.circuits.blocks import blocked
from mi_runner.methods.circuits.choices import choices_of, ways_to_choose
from mi_runner.methods.circuits.codes import check_codes, circuits_with, codes_of, codes_of_choices
from mi_runner.methods.circuits.edges import n_kept
from mi_runner.methods.circuits.examples import CircuitExamples, check_outputs, group_examples
from mi_runner.methods.circuits.kernels.census import count_items
from mi_runner.methods.circuits.kernels.lanes import LANES
from mi_runner.methods.circuits.kernels.random_order import codes_at, ranks_of
from mi_runner.methods.circuits.pieces import WHOLE, Dealer, Dealing, Piece, check_piece
from mi_runner.methods.circuits.prefixes import Prefixes, kernel_layers, prefixes_of
from mi_runner.methods.circuits.rounding import refuse_falling
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import Progress

COUNTED_AT_ONCE = 400_000_000
"""About how many circuits a batch has, at most; progress is reported after each batch."""

PREFIXES_AT_ONCE = 1 << 14
"""Largest number of prefixes that are enumerated together."""

BYTES_AT_ONCE = 1 << 27
"""Largest memory of their neurons' values, if one prefix takes less."""

ITEMS_OF_THREAD = 64
"""A thread has at least so many items, where there are enough."""

TURNS = 8
"""About how often a thread takes items of a batch; a thread that is slower takes fewer."""

SECONDS_OF_FIRST, SECONDS_OF_EXAMPLE = (0.55e-9, 0.9e-9), (0.01e-9, 0.09e-9)
"""CPU seconds that a circuit takes for each of the first distinct examples, and for each of all; with one output, and
with several. They lie in the middle of networks with relu and 4 to 2,115 distinct examples: one with random weights
takes up to eight times as long, a trained 4-4-4-1 a third, because more of its blocks of examples are sure.
"""

FIRST = 60
"""Of so many distinct examples each is nearly a block of its own."""

FEW_CHOICES = 8
"""A circuit takes more time where a neuron of the last hidden layer has fewer choices: sixteen are decided at once."""

SECONDS_OF_NODE = 0.2e-3
"""Seconds that the choices of edges below a node take, into a hidden layer but the last; one thread makes them."""

MOST_WITH_NODES = 10**18
"""Of more circuits the time of nodes isn't counted, which is long to compute."""

N_CORES = 2
"""The estimate is that of so many cores, on every machine."""

MOST_TIMED = 10**280
"""Of more circuits the time is that of so many, which a float can hold."""


@dataclass(frozen=True)
class Census:
    """Exact counts of all circuits of a space.

    Attributes:
        counts: `(n_hidden + 1, n_edges + 1, B + 1)` int64: circuits by active neurons, kept edges, correct answers.
        edge_counts: `(n_edges,)` int64: valid circuits that keep each edge.
    """

    counts: np.ndarray
    edge_counts: np.ndarray


def take_census(
    part: Part,
    examples: CircuitExamples,
    least_correct: int,
    most_listed: int,
    *,
    ablation: str = "zero",
    inputs: str = "all",
    salt: int = 0,
    piece: Piece = WHOLE,
    progress: Progress | None = None,
) -> tuple[Census, np.ndarray]:
    """Returns the counts of all circuits, and the valid circuits or a sample of them: `(K,)`, bits, sorted.

    The sample is uniform: it has the valid circuits that come first in a random order of all circuits. So it doesn't
    depend on the order of the search or the number of threads. The counts of a piece are those of its circuits; they
    add up to those of all. The sample of all is what comes first in the samples of all pieces, see `first_in_order`.

    Args:
        part: with one output, or with several that answer a class, and at least one hidden layer.
        least_correct: a circuit with at least so many correct answers is valid.
        most_listed: the size of the sample; if there are no more valid circuits, all are listed.
        ablation: what a left-out edge carries, one of `ABLATIONS`.
        inputs: the family of circuits, one of `INPUTS`.
        salt: 0 to 2⁶⁴ − 1, the seed of the random order.
        piece: which circuits are counted, (3, 64) for the third of 64 pieces that take about equally long.

    Raises:
        ArgumentError: the last activation is leaky_relu with a negative slope, part and examples don't fit, there is
            no such piece, or circuits of more than 64 edges have no codes.
    """
    check_outputs(part, examples)
    check_piece(piece)
    refuse_falling(part.layers[-1])
    space, means = CircuitSpace(part.sizes, inputs), means_of(part, examples.x, ablation)
    check_codes(space)
    examples_in_blocks = blocked(group_examples(part.layers[-1], examples))
    dealing, n_threads = Dealing(space, piece), get_num_threads()
    totals = _Totals.zeros(space, len(examples), n_threads)
    sample = _Sample(min(most_listed, dealing.n_circuits()), np.uint64(salt), n_threads)
    choices = choices_of(space)
    given = (
        *kernel_layers(part, means, has_several=True),
        examples_in_blocks.arrays,
        choices,
        ways_to_choose(space),
    )
    order = codes_of_choices(space, choices), sample.salt
    counting = _Counting(space, examples_in_blocks.places, given, least_correct, totals, order, sample)
    with (progress or Progress()).bar("circuits", dealing.n_circuits()) as advance:
        for work in _works(part, space, means, examples_in_blocks.x, dealing, n_threads):
            n_valid = counting.count(work, n_threads)
            totals.add_prefixes(space, work, n_valid)
            sample.gather()
            advance(work.n_circuits)
    return Census(totals.counts.sum(0), totals.edge_counts(space)), sample.circuits(space)


def seconds_of_census(space: CircuitSpace, n_distinct: int, has_several: bool) -> float:
    """Returns about how many seconds `take_census` takes on two cores; the same on every machine.

    Args:
        n_distinct: how many distinct examples there are.
        has_several: whether several outputs answer a class together.
    """
    of_first, of_example = SECONDS_OF_FIRST[has_several], SECONDS_OF_EXAMPLE[has_several]
    of_circuit = of_first * min(n_distinct, FIRST) + of_example * n_distinct
    n_choices = 1 + (2 ** space.sizes[-3] - 1) * (2 ** space.sizes[-1] - 1)
    lanes = LANES / n_choices if n_choices < FEW_CHOICES else 1.0
    return min(space.count(), MOST_TIMED) * of_circuit * lanes / N_CORES + SECONDS_OF_NODE * _nodes(space)


def _nodes(space: CircuitSpace) -> int:
    """Returns how many nodes are looked at one by one: those behind the inputs and above the prefixes."""
    if space.count() > MOST_WITH_NODES:
        return 0
    roots = sum(space.ways_to(0).values()) - 1 if len(space.sizes) > 3 else 0
    return roots + sum(sum(space.ways_to(depth).values()) for depth in range(1, len(space.sizes) - 3))


def first_in_order(space: CircuitSpace, circuits: np.ndarray, salt: int, most: int) -> np.ndarray:
    """Returns those of the distinct circuits `(K,)`, bits, that come first in the random order, sorted by their bits.

    Of the samples of all pieces of a census these are the sample of the whole.

    Args:
        salt: the seed of the order, as for `take_census`.
        most: how many.
    """
    if len(circuits) <= most:
        return np.sort(circuits)
    ranks = ranks_of(codes_of(space, circuits), salt)
    return np.sort(circuits[np.argpartition(ranks, most)[:most]])


@dataclass(frozen=True)
class _Work:
    """Some circuits: those of items, which are a prefix and a head each. See `kernels.census.count_items`.

    Attributes:
        prefixes: of the items.
        item_prefix, item_heads: as for the kernel.
        n_circuits: how many circuits they are together.
    """

    prefixes: Prefixes
    item_prefix: np.ndarray
    item_heads: np.ndarray
    n_circuits: int


def _works(
    part: Part, space: CircuitSpace, means: Means | None, x: np.ndarray, dealing: Dealing, n_threads: int
) -> Iterator[_Work]:
    """Yields the circuits of a piece in batches of about COUNTED_AT_ONCE."""
    dealer, n_neurons = Dealer(dealing), dealing.n_head_neurons(ITEMS_OF_THREAD * n_threads)
    at_once = min(PREFIXES_AT_ONCE, max(1, BYTES_AT_ONCE // (4 * part.sizes[-3] * len(x))))
    for prefixes in prefixes_of(part, space, x, at_once, means, dealer.chosen):
        heads = [dealer.heads(active, n_neurons) for active in prefixes.active.tolist()]
        item_prefix = np.repeat(np.arange(len(prefixes)), [len(head.chosen) for head in heads])
        item_heads = np.concatenate([head.chosen for head in heads])
        # In float64 the numbers of the largest spaces fit; the sums say only where batches end.
        circuits = np.concatenate([np.array(head.circuits, dtype=float)[head.kind] for head in heads])
        order = np.lexsort((-circuits, item_prefix)) if n_neurons else np.argsort(-circuits, kind="stable")
        batch = (np.cumsum(circuits[order]) / COUNTED_AT_ONCE).astype(np.int64)
        for items in np.split(order, np.flatnonzero(np.diff(batch)) + 1):
            chosen = np.ascontiguousarray(item_heads[items])
            yield _Work(prefixes, item_prefix[items], chosen, int(circuits[items].sum()))


@dataclass(frozen=True)
class _Totals:
    """What a census counts.

    Attributes:
        counts: `(T, n_hidden + 1, n_edges + 1, B + 1)`, the counts of each of T threads.
        rows: `(T, J, Q)`, the valid circuits with each choice of each neuron of the last hidden layer.
        before: the valid circuits that keep each edge before this layer.
    """

    counts: np.ndarray
    rows: np.ndarray
    before: np.ndarray

    @staticmethod
    def zeros(space: CircuitSpace, n_examples: int, n_threads: int) -> _Totals:
        """Returns the totals of no circuit."""
        n_choices = len(choices_of(space))
        return _Totals(
            np.zeros((n_threads, space.n_hidden + 1, space.n_edges + 1, n_examples + 1), dtype=np.int64),
            np.zeros((n_threads, space.sizes[-2], n_choices), dtype=np.int64),
            np.zeros(space.offsets[-2], dtype=np.int64),
        )

    def add_prefixes(self, space: CircuitSpace, work: _Work, n_valid: np.ndarray) -> None:
        """Adds the edges of the prefixes of items, each with so many valid circuits `(items,)`."""
        of_prefix = np.zeros(len(work.prefixes), dtype=np.int64)
        np.add.at(of_prefix, work.item_prefix, n_valid)
        self.before[:] += of_prefix @ space.edges.rows(work.prefixes.bits)[:, : len(self.before)]

    def edge_counts(self, space: CircuitSpace) -> np.ndarray:
        """Returns the valid circuits that keep each edge, `(n_edges,)`."""
        n_in, _, n_out = space.sizes[-3:]
        rows, (inputs, outputs) = self.rows.sum(0), choices_of(space).T
        into = np.stack([rows[:, inputs >> i & 1 == 1].sum(1) for i in range(n_in)], axis=1)  # (J, n)
        out = np.stack([rows[:, outputs >> k & 1 == 1].sum(1) for k in range(n_out)])  # (K, J)
        return np.concatenate([self.before, into.reshape(-1), out.reshape(-1)])


@dataclass(frozen=True)
class _Counting:
    """Counts circuits in threads; what it finds is added to the totals and the sample.

    Attributes:
        space: of the circuits.
        places: the example at each place of the blocks.
        given: the layers, the blocks, the choices and the ways to choose, as the kernel takes them.
        least_correct: a circuit with at least so many correct answers is valid.
        order: as for the kernel.
        totals, sample: each thread adds to its own.
    """

    space: CircuitSpace
    places: np.ndarray
    given: tuple[Any, ...]
    least_correct: int
    totals: _Totals
    order: tuple[np.ndarray, np.uint64]
    sample: _Sample

    def count(self, work: _Work, n_threads: int) -> np.ndarray:
        """Counts these circuits, and returns how many of each item are valid, `(items,)` int64."""
        n_valid, prefixes = np.zeros(len(work.item_prefix), dtype=np.int64), self._prefixes(work.prefixes)
        self._count(0, prefixes, work, n_valid, slice(0))  # without items: so it is compiled by one thread
        step = max(1, -(-len(n_valid) // (TURNS * n_threads)))  # a piece may have no item
        left = deque(slice(first, first + step) for first in range(0, len(n_valid), step))

        def take_turns(thread: int) -> None:
            with suppress(IndexError):
                while True:
                    self._count(thread, prefixes, work, n_valid, left.popleft())

        with ThreadPoolExecutor(n_threads) as threads:
            try:
                list(threads.map(take_turns, range(n_threads)))
            except BaseException:
                left.clear()  # so that the threads end soon
                raise
        return n_valid

    def _count(
        self, thread: int, prefixes: tuple[np.ndarray, ...], work: _Work, n_valid: np.ndarray, items: slice
    ) -> None:
        """Counts the circuits of some items as one of the threads."""
        sample = self.sample
        count_items(
            thread,
            prefixes,
            (work.item_prefix[items], work.item_heads[items]),
            *self.given,
            self.space.inputs == "all",
            self.least_correct,
            (self.totals.counts, self.totals.rows, n_valid[items]),
            self.order,
            (sample.most, sample.beyond, sample.n_listed, sample.listed),
        )

    def _prefixes(self, prefixes: Prefixes) -> tuple[np.ndarray, ...]:
        """Returns prefixes as the kernel takes them, with the neurons' values at each place of the blocks."""
        space = self.space
        codes, n_nodes, n_edges = codes_of(space, prefixes.bits), space.n_active(prefixes.bits), n_kept(prefixes.bits)
        vectors = np.ascontiguousarray(prefixes.vectors[:, self.places])
        return codes, prefixes.active, n_nodes, n_edges, vectors, np.ascontiguousarray(prefixes.index)


class _Sample:
    """Collects the valid circuits that come first in a random order; see `kernels.random_order`.

    Attributes:
        most: the size of the sample.
        first: the places in the random order of those collected so far, `(at most most,)` uint64.
        beyond, n_listed, listed: for each thread the last place that still belongs to the sample, and the places that
            it has added.
    """

    def __init__(self, most: int, salt: np.uint64, n_threads: int) -> None:
        self.most, self.salt = most, salt
        self.first = np.empty(0, dtype=np.uint64)
        self.beyond = np.full(n_threads, np.iinfo(np.uint64).max, dtype=np.uint64)
        self.n_listed = np.zeros(n_threads, dtype=np.int64)
        # A quarter more than the sample, so that a thread seldom has to drop places from its full list.
        self.listed = np.empty((n_threads, most + most // 4 + 1), dtype=np.uint64)

    def gather(self, *, all_of_them: bool = False) -> None:
        """Merges the lists of the threads into `first`, if they are long or all are asked for."""
        if not all_of_them and self.n_listed.sum() <= self.most // 4:
            return
        lists = [places[:n] for places, n in zip(self.listed, self.n_listed, strict=True)]
        self.first = np.concatenate([self.first, *lists])
        self.n_listed[:] = 0
        if len(self.first) > self.most > 0:
            self.first = np.partition(self.first, self.most - 1)[: self.most]
            self.beyond[:] = self.first.max()

    def circuits(self, space: CircuitSpace) -> np.ndarray:
        """Returns the circuits of the sample `(K,)`, bits, sorted."""
        self.gather(all_of_them=True)
        return np.sort(circuits_with(space, codes_at(self.first, self.salt)))
