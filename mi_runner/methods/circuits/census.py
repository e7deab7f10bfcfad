"""Exact counts of circuits by active neurons, kept edges and correct answers, for spaces too large for a table.

Letters: B examples, D distinct ones, C blocks of them, K circuits, P prefixes, J neurons of the last hidden layer and Q
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
from mi_runner.methods.circuits.prefixes import PREFIXES_AT_ONCE, Prefixes, kernel_layers, prefixes_of, rows_of_prefix
from mi_runner.methods.circuits.rounding import refuse_falling
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import Progress

BLOCK = 256
"""Largest number of examples in a block that a census decides together."""

COUNTED_AT_ONCE = 400_000_000
"""About how many circuits a batch of prefixes has; progress is reported after each batch."""


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
    progress: Progress | None = None,
) -> tuple[Census, np.ndarray]:
    """Returns the counts of all circuits, and the valid circuits or a sample of them: `(K,)` uint64, sorted.

    The sample is uniform: it has the valid circuits that come first in a random order of all circuits. So it doesn't
    depend on the order of the search or the number of threads.

    Args:
        part: with one output, or with several that answer a class, and at least one hidden layer.
        least_correct: a circuit with at least so many correct answers is valid.
        most_listed: the size of the sample; if there are no more valid circuits, all are listed.
        ablation: what a left-out edge carries, one of `ABLATIONS`.
        inputs: the family of circuits, one of `INPUTS`.
        salt: 0 to 2⁶⁴ − 1, the seed of the random order.

    Raises:
        ArgumentError: the last activation is leaky_relu with a negative slope, or part and examples don't fit.
    """
    check_outputs(part, examples)
    refuse_falling(part.layers[-1])
    progress = progress or Progress()
    space, means = CircuitSpace(part.sizes, inputs), means_of(part, examples.x, ablation)
    blocked, n_threads = _blocked(group_examples(part.layers[-1], examples)), get_num_threads()
    totals = Census(
        np.zeros((n_threads, space.n_hidden + 1, space.n_edges + 1, len(examples) + 1), dtype=np.int64),
        np.zeros(space.n_edges, dtype=np.int64),
    )
    sample = _Sample(min(most_listed, space.count()), np.uint64(salt), n_threads)
    per_size = [rows_of_prefix(space, size) for size in range(part.sizes[-3] + 1)]
    with progress.bar("circuits", space.count()) as advance:
        at_once = max(1, min(PREFIXES_AT_ONCE, COUNTED_AT_ONCE // per_size[-1]) // n_threads) * n_threads
        for prefixes in prefixes_of(part, space, blocked.x, at_once, means):
            _count(part, space, means, blocked, prefixes.by_size(), least_correct, totals, sample)
            sample.gather()
            active = np.bitwise_count(prefixes.active.astype(np.uint64))
            advance(sum(per_size[size] for size in active.tolist()))
    return Census(totals.counts.sum(0), totals.edge_counts), sample.circuits()


def _count(
    part: Part,
    space: CircuitSpace,
    means: Means | None,
    blocked: _Blocked,
    prefixes: Prefixes,
    least_correct: int,
    totals: Census,
    sample: _Sample,
) -> None:
    """Adds the circuits with these prefixes to the totals, and lists the valid ones of the sample.

    Args:
        prefixes: by size; thread t takes every n_threads-th of them.
        totals: their `counts` are those of each thread.
    """
    n_valid = np.zeros(len(prefixes.bits), dtype=np.int64)
    choices = _choices(space)
    valid_rows = np.zeros((len(prefixes.bits), part.sizes[-2], len(choices)), dtype=np.int64)
    n_edges = np.bitwise_count(prefixes.bits).astype(np.int64)
    has_several = blocked.wanted.ndim == 1
    kernel = class_kernels.census_class_prefixes if has_several else kernels.census_prefixes
    kernel(
        prefixes.bits,
        prefixes.active,
        prefixes.values,
        *kernel_layers(part, means, has_several=has_several),
        blocked.blocks,
        blocked.sizes,
        blocked.wanted,
        *((choices, space.inputs == "all") if has_several else ()),
        least_correct,
        np.stack([_active_in(space, prefixes.bits, space.offsets[-2]), n_edges], axis=1),
        totals.counts,
        n_valid,
        valid_rows,
        np.array(space.offsets[-2:], dtype=np.int64),
        sample.salt,
        sample.most,
        sample.beyond,
        sample.n_listed,
        sample.listed,
    )
    _add_edges(space, prefixes, n_valid, valid_rows.sum(0), choices, totals.edge_counts)


def _choices(space: CircuitSpace) -> np.ndarray:
    """Returns the masks of inputs and of outputs that a neuron of the last hidden layer can keep, `(Q, 2)` int64.

    The first choice is to keep nothing.
    """
    n_in, _, n_out = space.sizes[-3:]
    kept = [(m, o) for m in range(1, 1 << n_in) for o in range(1, 1 << n_out)]
    return np.array([(0, 0), *kept], dtype=np.int64)


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


def _add_edges(
    space: CircuitSpace,
    prefixes: Prefixes,
    n_valid: np.ndarray,
    rows: np.ndarray,
    choices: np.ndarray,
    edge_counts: np.ndarray,
) -> None:
    """Adds to `edge_counts`, for each edge, the valid circuits with these prefixes that keep it.

    Args:
        n_valid: `(P,)`, valid circuits with each prefix.
        rows: `(J, Q)`, valid circuits with each choice of each neuron.
    """
    hidden, output = space.offsets[-2:]
    n_in, n_neurons, n_out = space.sizes[-3:]
    for bit in range(hidden):
        edge_counts[bit] += n_valid[prefixes.bits >> np.uint64(bit) & np.uint64(1) == 1].sum()
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
