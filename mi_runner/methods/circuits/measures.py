"""Measures of every circuit, one row for each circuit, computed by the kernels on the CPU.

One output is a value, or answers two classes; several outputs answer a class together.

Letters: B examples, K circuits, P prefixes (see `kernels.evaluation`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import Means, means_of
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.examples import CircuitExamples, GroupedExamples, check_outputs, group_examples
from mi_runner.methods.circuits.kernels import class_evaluation, evaluation
from mi_runner.methods.circuits.prefixes import (
    PREFIXES_AT_ONCE,
    Prefixes,
    kernel_layers,
    prefixes_of,
    rows_of_prefix,
    tail_offsets,
    tails_of,
    why_long_tails,
    with_tails,
)
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import Progress

NUMBERS_AT_ONCE = 10_000_000
"""Outputs of a batch of circuits of a single Linear layer, circuits times examples."""

ROWS_AT_ONCE = 1_000_000
"""Circuits of a batch of prefixes, at most (one prefix may have more)."""


@dataclass(frozen=True)
class CircuitMeasures:
    """Measures of K circuits; each attribute is an array `(K,)`.

    Attributes:
        circuit: the kept edges as bits; see `edges`.
        n_correct: examples answered correctly.
        n_agreeing: examples answered as the full network does.
        squares: sum of squared differences to the full network's outputs; of several outputs their mean.
    """

    circuit: np.ndarray
    n_correct: np.ndarray
    n_agreeing: np.ndarray
    squares: np.ndarray

    def __len__(self) -> int:
        return len(self.circuit)

    def kept(self, rows: np.ndarray) -> CircuitMeasures:
        """Returns the measures of the circuits in these rows."""
        return CircuitMeasures(self.circuit[rows], self.n_correct[rows], self.n_agreeing[rows], self.squares[rows])

    def right(self, valid_by: str) -> np.ndarray:
        """Returns how many answers of each circuit are right by a rule of validity, `(K,)`.

        Args:
            valid_by: one of `examples.VALID_BY`.
        """
        return self.n_agreeing if valid_by == "agreement" else self.n_correct

    def sorted(self) -> CircuitMeasures:
        """Returns the measures sorted by the circuits' bits."""
        return self.kept(np.argsort(self.circuit))

    @staticmethod
    def joined(batches: list[CircuitMeasures]) -> CircuitMeasures:
        """Returns the measures of all batches in their order."""
        columns = ("circuit", "n_correct", "n_agreeing", "squares")
        return CircuitMeasures(*(np.concatenate([getattr(batch, name) for batch in batches]) for name in columns))


def measure(
    part: Part,
    examples: CircuitExamples,
    *,
    ablation: str = "zero",
    inputs: str = "all",
    progress: Progress | None = None,
) -> Iterator[CircuitMeasures]:
    """Yields, in batches, the measures of every well-formed circuit of a part.

    Args:
        part: with one output, or with several that answer a class.
        ablation: what a left-out edge carries, one of `ABLATIONS`.
        inputs: the family of circuits, one of `INPUTS`.

    Raises:
        ArgumentError: the last activation is leaky_relu with a negative slope, there is no such choice, or circuits of
            several outputs have tails of more than 64 edges (see `prefixes.why_long_tails`).
    """
    check_outputs(part, examples)
    progress = progress or Progress()
    space, means = CircuitSpace(part.sizes, inputs), means_of(part, examples.x, ablation)
    grouped = group_examples(part.layers[-1], examples)
    with progress.bar("circuits", space.count()) as advance:
        if len(part.layers) == 1 or space.count() == 1:
            for measures in _single_layer(part, examples, space, means):
                yield measures
                advance(len(measures))
            return
        if (why := why_long_tails(space)) is not None:
            raise ArgumentError("sizes", None, f"{why}.")
        most = max(1, min(PREFIXES_AT_ONCE, ROWS_AT_ONCE // rows_of_prefix(space, part.sizes[-3])))
        for prefixes in prefixes_of(part, space, grouped.x, most, means):
            measures = _measured(part, space, prefixes, grouped, means, examples.has_several)
            yield measures
            advance(len(measures))


def measure_some(
    part: Part,
    examples: CircuitExamples,
    circuits: np.ndarray,
    *,
    ablation: str = "zero",
    inputs: str = "all",
    progress: Progress | None = None,
) -> CircuitMeasures:
    """Returns the measures of the given well-formed circuits `(K,)`, bits; the order of the rows may be another.

    Args:
        part: with at least one hidden layer.
        ablation: what a left-out edge carries, one of `ABLATIONS`.
        inputs: the family of the circuits, one of `INPUTS`.
    """
    check_outputs(part, examples)
    progress = progress or Progress()
    # With one hidden layer the prefix is empty, and one that uses every input serves every circuit.
    space = CircuitSpace(part.sizes, inputs if len(part.layers) > 2 else "all")
    means = means_of(part, examples.x, ablation)
    grouped = group_examples(part.layers[-1], examples)
    prefix = circuits & ((1 << space.offsets[-2]) - 1)
    order = np.argsort(prefix, kind="stable")
    circuits, prefix = circuits[order], prefix[order]
    tails = tails_of(space, circuits)
    measures = CircuitMeasures(circuits, *(np.empty(len(circuits), kind) for kind in (np.int32, np.int32, np.float32)))
    with progress.bar("listed circuits", len(circuits)) as advance:
        for prefixes in prefixes_of(part, space, grouped.x, PREFIXES_AT_ONCE, means):
            first, end = np.searchsorted(prefix, prefixes.bits), np.searchsorted(prefix, prefixes.bits, side="right")
            (some,) = np.nonzero(end > first)
            kernel = class_evaluation.evaluate_class_listed if examples.has_several else evaluation.evaluate_listed
            kernel(
                prefixes.active[some],
                prefixes.values[some],
                first[some],
                end[some],
                tails,
                *kernel_layers(part, means, has_several=examples.has_several),
                grouped.groups,
                grouped.wanted,
                grouped.sizes,
                grouped.full,
                tail_offsets(space),
                measures.n_correct,
                measures.n_agreeing,
                measures.squares,
            )
            advance(int((end - first).sum()))
    return measures


def measure_one(part: Part, examples: CircuitExamples, circuit: int, *, ablation: str = "zero") -> CircuitMeasures:
    """Returns the measures of one circuit by its definition: one forward pass with masked weights."""
    check_outputs(part, examples)
    return _by_tensors(part, examples, Edges(part.sizes).bits([circuit]), means_of(part, examples.x, ablation))


def measure_by_tensors(
    part: Part,
    examples: CircuitExamples,
    circuits: np.ndarray,
    *,
    ablation: str = "zero",
    progress: Progress | None = None,
) -> Iterator[CircuitMeasures]:
    """Yields, in batches, the measures of circuits `(K,)`, bits, in their order, by passes with masked weights."""
    means = means_of(part, examples.x, ablation)
    n_at_once = max(1, NUMBERS_AT_ONCE // (len(examples) * max(part.sizes) + Edges(part.sizes).n))
    with (progress or Progress()).bar("circuits", len(circuits)) as advance:
        for first in range(0, max(1, len(circuits)), n_at_once):
            yield _by_tensors(part, examples, circuits[first : first + n_at_once], means)
            advance(len(circuits[first : first + n_at_once]))


def _by_tensors(part: Part, examples: CircuitExamples, circuits: np.ndarray, means: Means | None) -> CircuitMeasures:
    """Returns the measures of circuits `(K,)`, bits, by forward passes with masked weights."""
    rows = Edges(part.sizes).rows(circuits)
    before = outputs_of_circuits(part.without_softmax, rows, examples.x, means)
    outputs = before if part.layers[-1].is_elementwise else part.layers[-1].activate(before)
    answers = examples.kind.answers(before)
    full = examples.full.reshape(len(examples), -1)
    return CircuitMeasures(
        circuits,
        (answers == examples.target).sum(1).to(torch.int32).numpy(),
        (answers == examples.full_answers).sum(1).to(torch.int32).numpy(),
        (outputs - full).double().square().mean(2).sum(1).float().numpy(),
    )


def _single_layer(
    part: Part, examples: CircuitExamples, space: CircuitSpace, means: Means | None
) -> Iterator[CircuitMeasures]:
    """Yields the measures of the circuits of a single Linear layer, or of the full circuit where it is the only one.

    Of one output it is the full one, or in the family any all but the empty one.
    """
    n_at_once = max(1, NUMBERS_AT_ONCE // (len(examples) * part.sizes[-1]))
    for first in range(space.full if space.count() == 1 else 1, space.full + 1, n_at_once):
        circuits = space.edges.bits(range(first, min(first + n_at_once, space.full + 1)))
        yield _by_tensors(part, examples, circuits[space.are_well_formed(circuits)], means)


def _measured(
    part: Part,
    space: CircuitSpace,
    prefixes: Prefixes,
    grouped: GroupedExamples,
    means: Means | None,
    has_several: bool,
) -> CircuitMeasures:
    per_size = np.array([rows_of_prefix(space, size) for size in range(part.sizes[-3] + 1)])
    counts = per_size[np.bitwise_count(prefixes.active.astype(np.uint64))]
    first = np.concatenate([[0], np.cumsum(counts)])
    total = int(first[-1])
    tails = np.empty(total, np.uint64)
    n_correct, n_agreeing, squares = (np.empty(total, kind) for kind in (np.int32, np.int32, np.float32))
    kernel = class_evaluation.evaluate_class_prefixes if has_several else evaluation.evaluate_prefixes
    kernel(
        prefixes.active,
        prefixes.values,
        first[:-1].astype(np.int64),
        *kernel_layers(part, means, has_several=has_several),
        grouped.groups,
        grouped.wanted,
        grouped.sizes,
        grouped.full,
        tail_offsets(space),
        *([space.inputs == "all"] if has_several else []),
        tails,
        n_correct,
        n_agreeing,
        squares,
    )
    return CircuitMeasures(with_tails(space, np.repeat(prefixes.bits, counts), tails), n_correct, n_agreeing, squares)
