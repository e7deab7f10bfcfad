"""All explanations of one output: its valid circuits with their groundings, its algorithms with their alignments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mi_runner.datasets.algorithms import Algorithm, algorithms, check_size
from mi_runner.datasets.outputs import Outputs
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.family import count_family, search_family
from mi_runner.methods.circuits.search import MOST_ROWS, CircuitSearch, search_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.explanations import sampling
from mi_runner.methods.explanations.alignments import Alignments, Interchange
from mi_runner.methods.explanations.boolean import BooleanNetwork, table_of
from mi_runner.methods.explanations.groundings import count_groundings
from mi_runner.methods.explanations.sampling import Total
from mi_runner.progress import Progress
from mi_runner.tables.whole_numbers import large

MOST_CIRCUITS = 2 * 10**10
"""Largest space of circuits that is counted."""

SAMPLE = 3_000
"""Valid circuits that are grounded where a space is too large for a table."""


@dataclass(frozen=True)
class Explanations:
    """What `explain` counts.

    Attributes:
        network: the output's chain.
        examples: the inputs and the function's values.
        circuits: the search; all circuits are listed if they fit into a table, otherwise a uniform sample of the valid.
        groundings: the number of groundings of each valid circuit that is listed, exactly, in the order of
            `circuits.valid`.
        total: the groundings of all valid circuits, exactly if these are listed, otherwise an estimate by `sampling`.
        aligned: every algorithm for the function with its minimal alignments; empty for a constant function.
    """

    network: BooleanNetwork
    examples: CircuitExamples
    circuits: CircuitSearch
    groundings: list[int]
    total: Total
    aligned: list[tuple[Algorithm, Alignments]]

    @property
    def is_partial(self) -> np.ndarray:
        """Whether each valid circuit that is listed leaves out a neuron, `(K,)` bool."""
        return self.circuits.space.n_active(self.circuits.valid) < self.circuits.space.n_hidden

    @property
    def is_complete(self) -> bool:
        """Whether all valid circuits are listed, so that all counts are exact."""
        return len(self.groundings) == self.circuits.n_valid

    @property
    def n_groundings_partial(self) -> int | None:
        """Groundings of the valid circuits that leave out a neuron; None if not all valid circuits are listed."""
        if not self.is_complete:
            return None
        return sum(n for n, is_partial in zip(self.groundings, self.is_partial.tolist(), strict=True) if is_partial)

    @property
    def n_alignments(self) -> int:
        """Minimal alignments that hold, of all algorithms."""
        return sum(len(each.single) for _, each in self.aligned)

    @property
    def n_alignments_joint(self) -> int | None:
        """Minimal alignments that hold jointly; None with the published pairs."""
        joint = [each.joint for _, each in self.aligned]
        return None if any(each is None for each in joint) else sum(len(each or ()) for each in joint)


def check_sizes(sizes: tuple[int, ...], max_depth: int, family: int | None = None) -> None:
    """Checks that the explanations of a network of these sizes can be counted.

    Args:
        family: as of `explain`.

    Raises:
        ValueError: there are too many edges or circuits; the text says how many.
        ArgumentError: `max_depth` gives too many algorithms; the text names one that fits.
    """
    count, most = n_circuits(sizes, family), MOST_CIRCUITS if family is None else MOST_ROWS
    if count > most:
        named = "-".join(map(str, sizes))
        raise ValueError(f"layers of {named} neurons have {large(count)} circuits, more than {most:,}.")
    check_size(sizes[0], max_depth)


def n_circuits(sizes: tuple[int, ...], family: int | None = None) -> int:
    """Returns the number of circuits, of all edges or of a family as `explain` takes it.

    Raises:
        ArgumentError: there are more than 64 edges.
    """
    space = CircuitSpace(sizes, "all" if family is None else "any").in_a_word()
    return space.count() if family is None else count_family(space, family)


def explain(
    part: Part,
    table: int,
    *,
    max_depth: int = 3,
    pairs: str = "all",
    accuracy_threshold: float = 0.99,
    sample: int = SAMPLE,
    max_table_rows: int = MOST_ROWS,
    seed: int = 0,
    kind: Outputs = Outputs.values,
    family: int | None = None,
    progress: Progress | None = None,
) -> Explanations:
    """Counts all explanations of a network's output for a Boolean function.

    If there are more circuits than rows in a table, a census counts them, and the groundings of a sample are counted.

    Args:
        part: the whole network as a chain with one output, in float32 on the CPU.
        table: the function's truth table; bit b is its value on input b.
        max_depth: of algorithms.
        pairs: see `alignments.PAIRS`.
        accuracy_threshold: a circuit is valid if its accuracy is above it.
        sample: with a census: valid circuits in the uniform sample; of each large number of edges a tenth as many.
        max_table_rows: the largest number of circuits that are all listed.
        seed: of the samples.
        kind: what the output is: a value, or a logit or probability that answers two classes.
        family: edges as bits: circuits keep some of these and any inputs, and an output of exactly ½ answers 0, as
            with planted weights; None: circuits keep any edges and all inputs.

    Raises:
        ValueError: an output is exactly at the border of two answers, or there is too much to count.

    Example:
        >>> import torch
        >>> from mi_runner import explanations
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> from mi_runner.models.mlp import MLP
        >>> model = MLP([2, 1, 1])
        >>> with torch.no_grad():
        ...     for parameter, value in zip(model.parameters(), (1.0, -1.0, 1.0, 0.0)):
        ...         _ = parameter.fill_(value)  # A and B by hand
        >>> part = find_part(ModelGraph.trace(model, torch.zeros(1, 2)), None)
        >>> found = explanations.explain(part, 0b1000, max_depth=1)
        >>> found.groundings, [algorithm.formula for algorithm, _ in found.aligned]
        ([1], ['A ∧ B'])
    """
    check_sizes(part.sizes, max_depth, family)
    network = BooleanNetwork.of(part, kind, half_is_0=family is not None)
    network.answers()
    x = network.inputs.float()
    sides = kind if family is None or kind.are_of_classes else Outputs.probability
    target = torch.tensor([table >> row & 1 for row in range(len(x))])
    examples = CircuitExamples(x, target if sides.are_of_classes else target.float(), part(x)[:, 0], sides)
    if family is None:
        circuits = search_circuits(
            part,
            examples,
            accuracy_threshold=accuracy_threshold,
            max_table_rows=max_table_rows,
            most_listed=sample,
            generator=torch.Generator().manual_seed(seed),
            progress=progress,
        )
    else:
        circuits = search_family(
            part,
            examples,
            family,
            accuracy_threshold=accuracy_threshold,
            inputs="any",
            max_table_rows=max_table_rows,
            progress=progress,
        )
    draw = np.random.default_rng(seed)
    strata = sampling.strata_of(part, examples, circuits, least=max(2, sample // 10), generator=draw)
    counts = _counts(
        network, table, circuits, np.unique(np.concatenate([circuits.valid, *(s.circuits for s in strata)]))
    )
    total = sampling.estimate_total(strata, [[counts[k] for k in stratum.circuits.tolist()] for stratum in strata])
    interchange = Interchange(network, pairs)
    # A constant function needs no computation, and every set of neurons that changes nothing would carry every node.
    is_constant = table in (0, 2 ** len(x) - 1)
    wanted = () if is_constant else algorithms(table, part.sizes[0], max_depth)
    aligned = [(each, interchange.align(each)) for each in wanted]
    groundings = [counts[circuit] for circuit in circuits.valid.tolist()]
    return Explanations(network, examples, circuits, groundings, total, aligned)


def _counts(network: BooleanNetwork, table: int, search: CircuitSearch, circuits: np.ndarray) -> dict[int, int]:
    """Returns valid circuit → its groundings, for circuits `(K,)` uint64."""
    n_rows = 2 ** network.sizes[0]
    if table in (0, 2**n_rows - 1) and search.least_correct == n_rows:
        # The output of each valid circuit has one value on all inputs, so there is no threshold.
        return dict.fromkeys(circuits.tolist(), 0)
    return dict(zip(circuits.tolist(), count_groundings(network, circuits), strict=True))


def own_table(part: Part, kind: Outputs = Outputs.values) -> int:
    """Returns the truth table of a network's answers, a value above 0 as 1: the function that it computes itself."""
    network = BooleanNetwork.of(part, kind)
    network.answers()
    return table_of([bool(value >= 1) for value in kind.answers(network.outputs()[:, None]).tolist()])
