"""Which circuits of a network's last layers are valid? All are counted; they are listed where they fit into a table.

Letters: B examples, K circuits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.census import take_census
from mi_runner.methods.circuits.circuit import edge_counts, n_active
from mi_runner.methods.circuits.device_measures import measure_on
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.measures import CircuitMeasures, measure, measure_some
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import Progress

MOST_ROWS = 5_000_000
"""Circuits of a table, unless told otherwise."""


@dataclass(frozen=True)
class CircuitSearch:
    """All circuits of one output, counted, and those that are listed.

    Attributes:
        space: the circuits.
        listed: all circuits where they fit into a table, otherwise the valid ones, of too many a random sample; in the
            order of their bits.
        counts: `(n_hidden + 1, n_edges + 1, B + 1)` int64: circuits by active neurons, kept edges, correct answers.
        edge_counts: `(n_edges,)` int64: valid circuits that keep each edge.
        least_correct: correct answers of a valid circuit, at the least; B + 1 where none can be valid.
    """

    space: CircuitSpace
    listed: CircuitMeasures
    counts: np.ndarray
    edge_counts: np.ndarray
    least_correct: int

    @property
    def n_circuits(self) -> int:
        """Circuits, listed or not."""
        return int(self.counts.sum())

    @property
    def n_valid(self) -> int:
        """Valid circuits, listed or not."""
        return int(self.counts[:, :, self.least_correct :].sum())

    @property
    def n_circuits_partial(self) -> int:
        """Circuits that leave out a neuron."""
        return int(self.counts[: self.space.n_hidden].sum())

    @property
    def n_valid_partial(self) -> int:
        """Valid circuits that leave out a neuron."""
        return int(self.counts[: self.space.n_hidden, :, self.least_correct :].sum())

    @property
    def is_valid(self) -> np.ndarray:
        """Whether each listed circuit is valid, `(K,)` bool."""
        return self.listed.n_right >= self.least_correct

    @property
    def valid(self) -> np.ndarray:
        """The listed circuits that are valid, uint64."""
        return self.listed.circuit[self.is_valid]


def search(
    part: Part,
    examples: CircuitExamples,
    *,
    accuracy_threshold: float,
    min_node_sparsity: float = 0.0,
    max_table_rows: int = MOST_ROWS,
    most_listed: int | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> CircuitSearch:
    """Every well-formed circuit of a part with one output, counted; valid ones are above an accuracy.

    At most `max_table_rows` circuits are all measured and listed. Of more, a census counts all and lists valid ones.

    Args:
        part: its weights on the CPU; `part.output(0)` is the part of the first output alone.
        accuracy_threshold: 0 to 1; a circuit is valid if its share of correct answers is larger.
        min_node_sparsity: 0 to 1; circuits that leave out a smaller share of the hidden neurons are not counted. Above
            0 all circuits must fit into a table.
        max_table_rows: circuits that are measured each by itself, at the most.
        most_listed: valid circuits that a census lists, at the most; None: `max_table_rows`.
        generator: draws which valid circuits are listed, where they are too many; None: always the same.
        device: what a table is computed on; a census always runs on the CPU.

    Raises:
        ValueError: the part has several outputs or too many edges, its inputs are not the examples', there is no
            example, an option is out of its range, or the last activation falls.
    """
    space = CircuitSpace(part.sizes)
    n, count = len(examples), space.count()
    if not n or examples.x.shape[1:] != (space.sizes[0],):
        given = f"examples.x of shape {tuple(examples.x.shape)}"
        raise ValueError(f"{given}: give at least one row, of the {space.sizes[0]} activations that enter the part.")
    for name, share in (("accuracy_threshold", accuracy_threshold), ("min_node_sparsity", min_node_sparsity)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name}={share:g}: give a share between 0 and 1.")
    least_correct = next((correct for correct in range(n + 1) if correct / n > accuracy_threshold), n + 1)
    least_left_out = math.ceil(min_node_sparsity * space.n_hidden - 1e-9)
    if count > max_table_rows and space.n_hidden:
        if least_left_out:
            raise ValueError(
                f"min_node_sparsity={min_node_sparsity:g} works where all circuits fit into a table: there are "
                f"{count:,}, and max_table_rows={max_table_rows}."
            )
        salt = int(torch.randint(2**63 - 1, (), generator=generator)) if generator is not None else 0
        most = max_table_rows if most_listed is None else most_listed
        census, circuits = take_census(part, examples, least_correct, most, salt=salt, progress=progress)
        listed = measure_some(part, examples, circuits, progress=progress).sorted()
        return CircuitSearch(space, listed, census.counts, census.edge_counts, least_correct)
    device = torch.device(device)
    if device.type == "cuda" and space.n_hidden:
        batches_of_circuits = measure_on(device, part, examples, progress=progress)
    else:
        batches_of_circuits = measure(part, examples, progress=progress)
    listed = CircuitMeasures.joined(list(batches_of_circuits)).sorted()
    listed = listed.kept(space.n_hidden - n_active(space, listed.circuit) >= least_left_out)
    counts = np.zeros((space.n_hidden + 1, space.n_edges + 1, n + 1), dtype=np.int64)
    np.add.at(counts, (n_active(space, listed.circuit), np.bitwise_count(listed.circuit), listed.n_right), 1)
    valid = listed.circuit[listed.n_right >= least_correct]
    return CircuitSearch(space, listed, counts, edge_counts(space, valid), least_correct)
