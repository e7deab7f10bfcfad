"""Measures of every circuit, one row for each circuit, computed by the kernel on the CPU.

Letters: B examples, K circuits, P prefixes (see `kernels.evaluation`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import Means, means_of
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.examples import CircuitExamples, GroupedExamples, group_examples
from mi_runner.methods.circuits.kernels import evaluation
from mi_runner.methods.circuits.prefixes import PREFIXES_AT_ONCE, Prefixes, kernel_layers, prefixes_of, rows_of_prefix
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
        circuit: uint64, the kept edges as bits.
        n_correct: examples answered correctly.
        n_agreeing: examples answered as the full network does.
        squares: sum of squared differences to the full network's outputs.
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
    """Yields, in batches, the measures of every well-formed circuit of a part with one output.

    Args:
        ablation: what a left-out edge carries, one of `ABLATIONS`.
        inputs: the family of circuits, one of `INPUTS`.

    Raises:
        ArgumentError: the last activation is leaky_relu with a negative slope, or there is no such choice.
    """
    progress = progress or Progress()
    space, means = CircuitSpace(part.sizes, inputs), means_of(part, examples.x, ablation)
    grouped = group_examples(part.layers[-1], examples)
    with progress.bar("circuits", space.count()) as advance:
        if len(part.layers) == 1:
            for measures in _single_layer(part, examples, space, means):
                yield measures
                advance(len(measures))
            return
        most = max(1, min(PREFIXES_AT_ONCE, ROWS_AT_ONCE // rows_of_prefix(part.sizes[-3], part.sizes[-2])))
        for prefixes in prefixes_of(part, space, grouped.x, most, means):
            measures = _measured(part, space, prefixes, grouped, means)
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
    """Returns the measures of the given well-formed circuits `(K,)` uint64; the order of the rows may be another.

    Args:
        part: with one output and at least one hidden layer.
        ablation: what a left-out edge carries, one of `ABLATIONS`.
        inputs: the family of the circuits, one of `INPUTS`.
    """
    progress = progress or Progress()
    # With one hidden layer the prefix is empty, and one that uses every input serves every circuit.
    space = CircuitSpace(part.sizes, inputs if len(part.layers) > 2 else "all")
    means = means_of(part, examples.x, ablation)
    grouped = group_examples(part.layers[-1], examples)
    prefix = circuits & np.uint64((1 << space.offsets[-2]) - 1)
    order = np.argsort(prefix, kind="stable")
    circuits, prefix = circuits[order], prefix[order]
    measures = CircuitMeasures(circuits, *(np.empty(len(circuits), kind) for kind in (np.int32, np.int32, np.float32)))
    with progress.bar("listed circuits", len(circuits)) as advance:
        for prefixes in prefixes_of(part, space, grouped.x, PREFIXES_AT_ONCE, means):
            first, end = np.searchsorted(prefix, prefixes.bits), np.searchsorted(prefix, prefixes.bits, side="right")
            (some,) = np.nonzero(end > first)
            evaluation.evaluate_listed(
                prefixes.active[some],
                prefixes.values[some],
                first[some],
                end[some],
                circuits,
                *kernel_layers(part, means),
                grouped.groups,
                grouped.bounds,
                grouped.sizes,
                grouped.full,
                np.array(space.offsets[-2:], dtype=np.int64),
                measures.n_correct,
                measures.n_agreeing,
                measures.squares,
            )
            advance(int((end - first).sum()))
    return measures


def measure_one(part: Part, examples: CircuitExamples, circuit: int, *, ablation: str = "zero") -> CircuitMeasures:
    """Returns the measures of one circuit by its definition: one forward pass with masked weights."""
    row = Edges(part.sizes).rows(np.array([circuit], dtype=np.uint64))
    output = outputs_of_circuits(part, row, examples.x, means_of(part, examples.x, ablation))[0, :, 0]
    answer = output.round()
    return CircuitMeasures(
        np.array([circuit], dtype=np.uint64),
        np.array([int((answer == examples.target).sum())], dtype=np.int32),
        np.array([int((answer == examples.full.round()).sum())], dtype=np.int32),
        np.array([float((output - examples.full).double().square().sum())], dtype=np.float32),
    )


def _single_layer(
    part: Part, examples: CircuitExamples, space: CircuitSpace, means: Means | None
) -> Iterator[CircuitMeasures]:
    """Yields the measures of the circuits of a single Linear layer: the full one, or in the family any all but ∅."""
    n_at_once = max(1, NUMBERS_AT_ONCE // len(examples))
    for first in range(space.full if space.inputs == "all" else 1, space.full + 1, n_at_once):
        circuits = np.arange(first, min(first + n_at_once, space.full + 1), dtype=np.uint64)
        outputs = outputs_of_circuits(part, space.edges.rows(circuits), examples.x, means)[:, :, 0]
        answers = outputs.round()
        yield CircuitMeasures(
            circuits,
            (answers == examples.target).sum(1).to(torch.int32).numpy(),
            (answers == examples.full.round()).sum(1).to(torch.int32).numpy(),
            (outputs - examples.full).double().square().sum(1).float().numpy(),
        )


def _measured(
    part: Part, space: CircuitSpace, prefixes: Prefixes, grouped: GroupedExamples, means: Means | None
) -> CircuitMeasures:
    per_size = np.array([rows_of_prefix(size, part.sizes[-2]) for size in range(part.sizes[-3] + 1)])
    counts = per_size[np.bitwise_count(prefixes.active.astype(np.uint64))]
    first = np.concatenate([[0], np.cumsum(counts)])
    total = int(first[-1])
    measures = CircuitMeasures(
        np.empty(total, np.uint64), np.empty(total, np.int32), np.empty(total, np.int32), np.empty(total, np.float32)
    )
    evaluation.evaluate_prefixes(
        prefixes.bits,
        prefixes.active,
        prefixes.values,
        first[:-1].astype(np.int64),
        *kernel_layers(part, means),
        grouped.groups,
        grouped.bounds,
        grouped.sizes,
        grouped.full,
        np.array(space.offsets[-2:], dtype=np.int64),
        measures.circuit,
        measures.n_correct,
        measures.n_agreeing,
        measures.squares,
    )
    return measures
