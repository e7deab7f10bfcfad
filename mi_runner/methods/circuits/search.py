"""Which circuits of a network's last layers are valid? All are counted, and listed if they fit into a table.

Letters: B examples, K circuits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.census import take_census
from mi_runner.methods.circuits.device_measures import measure_on
from mi_runner.methods.circuits.edges import n_kept
from mi_runner.methods.circuits.examples import CircuitExamples, check_outputs, check_search, check_share
from mi_runner.methods.circuits.measures import CircuitMeasures, measure, measure_by_tensors, measure_some
from mi_runner.methods.circuits.pieces import WHOLE, Piece
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import Progress
from mi_runner.tables.whole_numbers import large

MOST_ROWS = 5_000_000
"""Default of the largest number of circuits in a table."""


@dataclass(frozen=True)
class CircuitSearch:
    """The counts of all circuits of one output, or of several that answer a class, and a list of circuits.

    Attributes:
        space: the circuits; of a search in pieces the counts and the list are those of a piece.
        listed: all circuits if they fit into a table, otherwise the valid ones; a random sample of these if they don't
            fit. Sorted by their bits.
        counts: `(n_hidden + 1, n_edges + 1, B + 1)` int64: circuits by active neurons, kept edges, right answers.
        edge_counts: `(n_edges,)` int64: valid circuits that keep each edge.
        least_correct: the fewest right answers of a valid circuit; B + 1 if no circuit can be valid.
        right: `(K,)`, the right answers of each listed circuit. An answer is right if it is correct, or, where the
            examples say that circuits are valid by agreement, if the full network gives it, too.
        of_family: whether the circuits keep only some edges, as `family.search_family` lists them; all are listed.
    """

    space: CircuitSpace
    listed: CircuitMeasures
    counts: np.ndarray
    edge_counts: np.ndarray
    least_correct: int
    right: np.ndarray
    of_family: bool = False

    @property
    def n_circuits(self) -> int:
        """Number of circuits, listed or not."""
        return int(self.counts.sum())

    @property
    def n_valid(self) -> int:
        """Number of valid circuits, listed or not."""
        return int(self.counts[:, :, self.least_correct :].sum())

    @property
    def n_circuits_partial(self) -> int:
        """Number of circuits that leave out at least one hidden neuron."""
        return int(self.counts[: self.space.n_hidden].sum())

    @property
    def n_valid_partial(self) -> int:
        """Number of valid circuits that leave out at least one hidden neuron."""
        return int(self.counts[: self.space.n_hidden, :, self.least_correct :].sum())

    @property
    def lists_every_valid(self) -> bool:
        """Whether every valid circuit is listed."""
        return len(self.valid) == self.n_valid

    @property
    def fewest_edges(self) -> int | None:
        """The number of edges of the smallest valid circuit, listed or not; None if there is none."""
        (sizes,) = np.nonzero(self.counts[:, :, self.least_correct :].sum((0, 2)))
        return int(sizes[0]) if len(sizes) else None

    @property
    def n_cardinal(self) -> int:
        """The number of valid circuits, listed or not, with the fewest edges."""
        fewest = self.fewest_edges
        return 0 if fewest is None else int(self.counts[:, fewest, self.least_correct :].sum())

    @property
    def is_valid(self) -> np.ndarray:
        """Whether each listed circuit is valid, `(K,)` bool."""
        return self.right >= self.least_correct

    @property
    def valid(self) -> np.ndarray:
        """The listed circuits that are valid, `(K,)`, bits."""
        return self.listed.circuit[self.is_valid]


def search_circuits(
    part: Part,
    examples: CircuitExamples,
    *,
    accuracy_threshold: float,
    ablation: str = "zero",
    inputs: str = "all",
    min_node_sparsity: float = 0.0,
    max_table_rows: int = MOST_ROWS,
    most_listed: int | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> CircuitSearch:
    """Returns the counts of all well-formed circuits of a part, and a list of circuits.

    The part has one output, whose answer is a rounded value or one of two classes, or several, whose answer is the
    class of the largest. A circuit is valid if its accuracy is above the threshold. Up to `max_table_rows` circuits are
    all measured and listed. If there are more, a census counts all and lists valid ones.

    Args:
        part: its weights on the CPU; `part.output(0)` is the part of the first output alone.
        examples: their `x` are the activations that enter the part.
        accuracy_threshold: 0 to 1; a circuit is valid if its fraction of right answers is larger; where `examples` say
            that circuits are valid relative to the network, if its accuracy is at least this share of the network's.
        ablation: what a left-out edge carries, one of `ABLATIONS`.
        inputs: the family of circuits, one of `INPUTS`.
        min_node_sparsity: 0 to 1; circuits that leave out a smaller fraction of the hidden neurons are not counted.
            Above 0 all circuits must fit into a table.
        max_table_rows: the largest number of circuits that are all measured and listed.
        most_listed: the largest number of valid circuits that a census lists; None: `max_table_rows`.
        generator: draws which valid circuits are listed if there are too many; None: always the same.
        device: the device that computes a table of one output; of several outputs it is computed on the CPU, and so is
            a census.

    Raises:
        ArgumentError: the part has other outputs than the examples, its inputs are not the examples', there is no
            example, an option is out of its range, the last activation falls, or a part without hidden layers has more
            circuits than fit into a table.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner import circuits
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> with torch.no_grad():
        ...     for parameter in net.parameters():
        ...         _ = parameter.fill_(1.0) if parameter.ndim == 2 else parameter.zero_()
        >>> x = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
        >>> graph = ModelGraph.trace(net, x)
        >>> part = find_part(graph, None)
        >>> entering, outputs = circuits.entering_activations(graph, part, x)
        >>> examples = circuits.CircuitExamples(entering, outputs[:, 0], outputs[:, 0])
        >>> found = circuits.search(part, examples, accuracy_threshold=0.9)
        >>> found.n_circuits, found.n_valid
        (9, 3)
    """
    space, device = CircuitSpace(part.sizes, inputs), torch.device(device)
    _check(space, examples, accuracy_threshold, min_node_sparsity)
    check_outputs(part, examples)
    least_correct = examples.fewest_right(accuracy_threshold)
    if space.count() <= max_table_rows:
        measured = _measured(part, examples, space, ablation, device, progress)
        return in_a_table(measured, examples, space, least_correct, min_node_sparsity)
    if not space.n_hidden:
        n = large(space.count())
        problem = f"a part without hidden layers has {n} circuits, more than {max_table_rows:,}, and a census takes a "
        remedy = f"Type {n.replace(',', '')} or analyse more layers."
        raise ArgumentError("max_table_rows", None, f"{problem}hidden layer.", remedy)
    if _least_left_out(space, min_node_sparsity):
        raise ArgumentError(
            ("min_node_sparsity", "max_table_rows"),
            min_node_sparsity,
            f"{{min_node_sparsity}}={min_node_sparsity:g} works where all circuits fit into a table: there are "
            f"{large(space.count())}, and {{max_table_rows}}={max_table_rows}.",
        )
    most = max_table_rows if most_listed is None else most_listed
    return count_circuits(
        part,
        examples,
        accuracy_threshold=accuracy_threshold,
        ablation=ablation,
        inputs=inputs,
        most_listed=most,
        generator=generator,
        progress=progress,
    )


def count_circuits(
    part: Part,
    examples: CircuitExamples,
    *,
    accuracy_threshold: float,
    ablation: str = "zero",
    inputs: str = "all",
    most_listed: int = MOST_ROWS,
    generator: torch.Generator | None = None,
    piece: Piece = WHOLE,
    progress: Progress | None = None,
) -> CircuitSearch:
    """Returns the counts of all well-formed circuits of a part by a census, and a list of valid ones.

    A space can be counted in pieces, on several machines: the counts of all pieces add up to those of the space, and
    `first_in_order` returns its listed circuits from theirs.

    Args:
        part, examples, accuracy_threshold, ablation, inputs: as for `search_circuits`; the part has a hidden layer.
        most_listed: the largest number of valid circuits that are listed.
        generator: draws which valid circuits are listed if there are too many, the same ones for all pieces that get
            the same draw; None: always the same.
        piece: which circuits are counted: (3, 64) for the third of 64 pieces that take about equally long.

    Raises:
        ArgumentError: as for `search_circuits`, or there is no hidden layer or no such piece, or circuits of more
            than 64 edges have no codes (see `codes`).
    """
    space = CircuitSpace(part.sizes, inputs)
    _check(space, examples, accuracy_threshold, 0.0)
    check_outputs(part, examples)
    if not space.n_hidden:
        raise ArgumentError("part", None, "a census takes a hidden layer:", "give a part of more layers.")
    least_correct, salt = examples.fewest_right(accuracy_threshold), salt_of(generator)
    goal = replace(examples, target=examples.goal.to(examples.target))  # what a census counts
    choices = {"ablation": ablation, "inputs": inputs}
    census, circuits = take_census(
        part, goal, least_correct, most_listed, salt=salt, piece=piece, progress=progress, **choices
    )
    listed = measure_some(part, examples, circuits, progress=progress, **choices).sorted()
    right = listed.right(examples.valid_by)
    return CircuitSearch(space, listed, census.counts, census.edge_counts, least_correct, right)


def salt_of(generator: torch.Generator | None) -> int:
    """Returns the seed of the random order in which a census lists valid circuits; it draws one number."""
    return 0 if generator is None else int(torch.randint(2**63 - 1, (), generator=generator))


def _check(space: CircuitSpace, examples: CircuitExamples, accuracy_threshold: float, min_node_sparsity: float) -> None:
    """Checks what a search is given; raises an ArgumentError if it doesn't fit."""
    check_search(space.sizes[0], examples, accuracy_threshold)
    check_share("min_node_sparsity", min_node_sparsity)


def _measured(
    part: Part,
    examples: CircuitExamples,
    space: CircuitSpace,
    ablation: str,
    device: torch.device,
    progress: Progress | None,
) -> CircuitMeasures:
    """Returns the measures of all circuits."""
    if device.type == "cuda" and space.n_hidden and space.count() > 1 and not examples.has_several:
        batches = measure_on(device, part, examples, ablation=ablation, inputs=space.inputs, progress=progress)
    else:
        batches = measure(part, examples, ablation=ablation, inputs=space.inputs, progress=progress)
    return CircuitMeasures.joined(list(batches))


def _least_left_out(space: CircuitSpace, min_node_sparsity: float) -> int:
    """Returns how many hidden neurons a circuit leaves out, at least."""
    return math.ceil(min_node_sparsity * space.n_hidden - 1e-9)


def in_a_table(
    measured: CircuitMeasures,
    examples: CircuitExamples,
    space: CircuitSpace,
    least_correct: int,
    min_node_sparsity: float = 0.0,
) -> CircuitSearch:
    """Returns measured circuits that leave out enough hidden neurons, sorted and counted.

    Args:
        measured: all circuits that are looked at.
        least_correct: the fewest right answers of a valid circuit.
        min_node_sparsity: as for `search_circuits`.
    """
    least_left_out = _least_left_out(space, min_node_sparsity)
    listed = measured.sorted()
    listed = listed.kept(space.n_hidden - space.n_active(listed.circuit) >= least_left_out)
    right = listed.right(examples.valid_by)
    counts = np.zeros((space.n_hidden + 1, space.n_edges + 1, len(examples) + 1), dtype=np.int64)
    np.add.at(counts, (space.n_active(listed.circuit), n_kept(listed.circuit), right), 1)
    edge_counts = space.edge_counts(listed.circuit[right >= least_correct])
    return CircuitSearch(space, listed, counts, edge_counts, least_correct, right)


def judged(
    result: CircuitSearch,
    part: Part,
    examples: CircuitExamples,
    *,
    ablation: str = "zero",
    progress: Progress | None = None,
) -> CircuitMeasures:
    """Returns the measures of the listed circuits, in their order, on other examples than those of the search.

    Args:
        result: of `search_circuits` with this part.
        examples: the means that left-out edges carry are those over these examples.
        ablation: what a left-out edge carries, one of `ABLATIONS`.
    """
    space, circuits = result.space, result.listed.circuit
    if result.of_family:
        batches = list(measure_by_tensors(part, examples, circuits, ablation=ablation, progress=progress))
        return CircuitMeasures.joined(batches)
    if len(circuits) == space.count():
        batches = list(measure(part, examples, ablation=ablation, inputs=space.inputs, progress=progress))
        return CircuitMeasures.joined(batches).sorted()
    return measure_some(part, examples, circuits, ablation=ablation, inputs=space.inputs, progress=progress).sorted()
