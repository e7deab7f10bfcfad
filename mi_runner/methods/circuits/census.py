"""Exact counts of circuits by active neurons, kept edges and correct answers, for spaces too large for a table.

Letters: B examples, D distinct ones, C blocks of them, K circuits, T threads, J neurons of the last hidden layer and Q
choices of each (see `kernels.evaluation` and `kernels.class_census`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import get_num_threads

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import Means, means_of
from mi_runner.methods.circuits.examples import CircuitExamples, GroupedExamples, check_outputs, group_examples
from mi_runner.methods.circuits.kernels import census as kernels
from mi_runner.methods.circuits.kernels import class_census as class_kernels
from mi_runner.methods.circuits.pieces import WHOLE, Dealer, Dealing, Piece, check_piece, choices_of
from mi_runner.methods.circuits.prefixes import Prefixes, kernel_layers, prefixes_of
from mi_runner.methods.circuits.rounding import refuse_falling
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import Progress

BLOCK = 256
"""Largest number of examples in a block that a census decides together."""

COUNTED_AT_ONCE = 400_000_000
"""About how many circuits a batch has, at most; progress is reported after each batch."""

PREFIXES_AT_ONCE = 1 << 14
"""Largest number of prefixes that are enumerated together."""

BYTES_AT_ONCE = 1 << 27
"""Largest memory of their neurons' values, if one prefix takes less."""

ITEMS_OF_THREAD = 64
"""A thread has at least so many items, where there are enough."""


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
    """Returns the counts of all circuits, and the valid circuits or a sample of them: `(K,)` uint64, sorted.

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
        ArgumentError: the last activation is leaky_relu with a negative slope, part and examples don't fit, or there is
            no such piece.
    """
    check_outputs(part, examples)
    check_piece(piece)
    refuse_falling(part.layers[-1])
    space, means = CircuitSpace(part.sizes, inputs), means_of(part, examples.x, ablation)
    blocked, n_threads = _blocked(group_examples(part.layers[-1], examples)), get_num_threads()
    choices, n_circuits = choices_of(space), Dealing(space, piece).n_circuits()
    totals = _Totals(
        np.zeros((n_threads, space.n_hidden + 1, space.n_edges + 1, len(examples) + 1), dtype=np.int64),
        np.zeros((n_threads, part.sizes[-2], len(choices)), dtype=np.int64),
        np.zeros(space.n_edges, dtype=np.int64),
    )
    sample = _Sample(min(most_listed, n_circuits), np.uint64(salt), n_threads)
    with (progress or Progress()).bar("circuits", n_circuits) as advance:
        for work in _works(part, space, means, blocked.x, piece, n_threads):
            _count(part, space, means, blocked, work, choices, least_correct, totals, sample)
            sample.gather()
            advance(work.n_circuits)
    _add_edges(space, totals.rows.sum(0), choices, totals.edge_counts)
    return Census(totals.counts.sum(0), totals.edge_counts), sample.circuits()


def first_in_order(circuits: np.ndarray, salt: int, most: int) -> np.ndarray:
    """Returns those of the distinct circuits `(K,)` uint64 that come first in the random order, sorted by their bits.

    Of the samples of all pieces of a census these are the sample of the whole.

    Args:
        salt: the seed of the order, as for `take_census`.
        most: how many.
    """
    if len(circuits) <= most:
        return np.sort(circuits)
    ranks = kernels.rank_of.py_func(circuits, np.uint64(salt))
    return np.sort(circuits[np.argpartition(ranks, most)[:most]])


@dataclass(frozen=True)
class _Work:
    """Some circuits: those of items, which are a prefix and a head each. See `kernels.census.census_prefixes`.

    Attributes:
        prefixes: of the items.
        item_prefix, item_heads: as for the kernels.
        n_circuits: how many circuits they are together.
    """

    prefixes: Prefixes
    item_prefix: np.ndarray
    item_heads: np.ndarray
    n_circuits: int


def _works(
    part: Part, space: CircuitSpace, means: Means | None, x: np.ndarray, piece: Piece, n_threads: int
) -> Iterator[_Work]:
    """Yields the circuits of a piece in batches of about COUNTED_AT_ONCE."""
    dealing = Dealing(space, piece)
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
            yield _Work(prefixes, item_prefix[items], item_heads[items], int(circuits[items].sum()))


@dataclass(frozen=True)
class _Totals:
    """What a census counts.

    Attributes:
        counts: `(T, n_hidden + 1, n_edges + 1, B + 1)`, the counts of each of T threads.
        rows: `(T, J, Q)`, the valid circuits with each choice of each neuron of the last hidden layer.
        edge_counts: as in `Census`, at first of the edges of prefixes alone.
    """

    counts: np.ndarray
    rows: np.ndarray
    edge_counts: np.ndarray


def _count(
    part: Part,
    space: CircuitSpace,
    means: Means | None,
    blocked: _Blocked,
    work: _Work,
    choices: np.ndarray,
    least_correct: int,
    totals: _Totals,
    sample: _Sample,
) -> None:
    """Adds some circuits to the totals, and lists the valid ones of the sample."""
    prefixes, n_valid = work.prefixes, np.zeros(len(work.item_prefix), dtype=np.int64)
    n_edges = np.bitwise_count(prefixes.bits).astype(np.int64)
    has_several = blocked.wanted.ndim == 1
    kernel = class_kernels.census_class_prefixes if has_several else kernels.census_prefixes
    kernel(
        prefixes.bits,
        prefixes.active,
        prefixes.vectors,
        prefixes.index,
        work.item_prefix,
        work.item_heads,
        *kernel_layers(part, means, has_several=has_several),
        blocked.blocks,
        blocked.sizes,
        blocked.wanted,
        *((choices, space.inputs == "all") if has_several else ()),
        least_correct,
        np.stack([_active_in(space, prefixes.bits, space.offsets[-2]), n_edges], axis=1),
        totals.counts,
        n_valid,
        totals.rows,
        np.array(space.offsets[-2:], dtype=np.int64),
        sample.salt,
        sample.most,
        sample.beyond,
        sample.n_listed,
        sample.listed,
    )
    bits = prefixes.bits[work.item_prefix]
    for bit in range(space.offsets[-2]):
        totals.edge_counts[bit] += n_valid[bits >> np.uint64(bit) & np.uint64(1) == 1].sum()


class _Sample:
    """Collects the valid circuits that come first in a random order; see `kernels.census.census_prefixes`.

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

    def circuits(self) -> np.ndarray:
        """Returns the circuits of the sample `(K,)` uint64, sorted by their bits."""
        self.gather(all_of_them=True)
        return np.sort(kernels.circuits_of(self.first, self.salt))


def _active_in(space: CircuitSpace, bits: np.ndarray, end: int) -> np.ndarray:
    """Returns, for each circuit, the active neurons among those with incoming edges below the bit `end`."""
    masks = [mask for mask in space.neuron_masks() if mask < 1 << end]
    return sum(((bits & np.uint64(mask)) != 0).astype(np.int64) for mask in masks) + np.zeros(len(bits), dtype=np.int64)


def _add_edges(space: CircuitSpace, rows: np.ndarray, choices: np.ndarray, edge_counts: np.ndarray) -> None:
    """Adds to `edge_counts` the valid circuits that keep each edge into and out of the last hidden layer.

    Args:
        rows: `(J, Q)`, valid circuits with each choice of each neuron.
    """
    hidden, output = space.offsets[-2:]
    n_in, n_neurons, n_out = space.sizes[-3:]
    for i in range(n_in):  # the edges from i into each neuron, and from each neuron to k
        edge_counts[hidden + i : output : n_in] += rows[:, choices[:, 0] >> i & 1 == 1].sum(1)
    for k in range(n_out):
        first = output + k * n_neurons
        edge_counts[first : first + n_neurons] += rows[:, choices[:, 1] >> k & 1 == 1].sum(1)


@dataclass(frozen=True)
class _Blocked:
    """Distinct examples, sorted into blocks of similar ones; see `kernels.census` and `kernels.class_census`.

    Attributes:
        x: `(D, n_0)`, the inputs in this order.
        blocks, sizes: as for the kernels. An example that occurs several times is a block of its own.
        wanted: the bounds of the correct answers `(2, C)` float32, or of several outputs the correct classes `(C,)`.
    """

    x: np.ndarray
    blocks: np.ndarray
    sizes: np.ndarray
    wanted: np.ndarray


def _blocked(grouped: GroupedExamples) -> _Blocked:
    """Returns the examples in blocks; examples that occur once share a block with similar ones."""
    x: list[np.ndarray] = []
    sizes: list[float] = []
    wanted: list[np.ndarray] = []
    n_wanted = 1 if grouped.wanted.dtype == np.int64 else 2  # what is said of the correct answer
    for group in range(len(grouped.groups) - 1):
        members = slice(grouped.groups[group], grouped.groups[group + 1])
        rows, size = grouped.x[members], grouped.sizes[group]
        alone = np.arange(len(rows))
        for block in _near(rows, alone) if size == 1 else alone[:, None]:
            x.append(rows[block])
            sizes.append(size * len(block))
            wanted.append(grouped.wanted[group, :n_wanted])
    return _Blocked(
        x=np.ascontiguousarray(np.concatenate(x)),
        blocks=np.concatenate([[0], np.cumsum([len(block) for block in x])]).astype(np.int64),
        sizes=np.array(sizes, dtype=np.float32),
        wanted=np.ascontiguousarray(np.array(wanted).T[0] if n_wanted == 1 else np.array(wanted).T),
    )


def _near(x: np.ndarray, members: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the members in blocks of at most BLOCK, by halving along the input with the largest range."""
    if len(members) <= BLOCK:
        yield members
        return
    widest = np.argmax(np.ptp(x[members], axis=0))
    ordered = members[np.argsort(x[members, widest], kind="stable")]
    yield from _near(x, ordered[: len(ordered) // 2])
    yield from _near(x, ordered[len(ordered) // 2 :])
