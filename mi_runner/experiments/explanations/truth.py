"""Is the truth about a planted network among the explanations that are found, and is it the only one?

The planted grounding reads each neuron of the planted circuit as the node of the formula that it carries. The planted
alignment gives each inner node but the root the neurons of its gate, all copies, and not its carriers further up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mi_runner.datasets import algorithms
from mi_runner.datasets.algorithms import AND, CONVERSE_NIMP, NIMP, OR
from mi_runner.experiments.common.sentences import counted
from mi_runner.experiments.explanations.tables import OF_TRUTH
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.explanations.alignments import Alignment, NeuronSet
from mi_runner.methods.explanations.boolean import values_in_circuits
from mi_runner.methods.explanations.explain import Explanations
from mi_runner.methods.explanations.groundings import GroundedNeuron, Grounding, grounding_holds
from mi_runner.models import formulas
from mi_runner.models.formulas import GATES, Formula
from mi_runner.models.truth import ROTATED, Truth
from mi_runner.tables.declaration import names_of


@dataclass(frozen=True)
class Shape:
    """A tree whose children have one order, so that equal algorithms have equal keys.

    Attributes:
        key: of the tree without its numbers.
        places: numbers of the inner nodes, the root first, then those of the first child.
    """

    key: str
    places: tuple[int, ...] = ()


def _joined(gate: int, left: Shape, right: Shape, place: int) -> Shape:
    """Returns the shape of a normalised gate."""
    is_ordered = gate == NIMP or (gate != CONVERSE_NIMP and left.key <= right.key)
    if not is_ordered:
        left, right = right, left
    name = {AND: "&", OR: "|", NIMP: ">", CONVERSE_NIMP: ">"}[gate]
    return Shape(f"({left.key}{name}{right.key})", (place, *left.places, *right.places))


def shape_of_algorithm(tree: algorithms.Tree) -> Shape:
    """Returns the shape of a normalised tree; its numbers are those of its inner nodes, the root first."""
    numbers = iter(range(len(algorithms.inner_nodes(tree))))

    def shaped(tree: algorithms.Tree) -> Shape:
        if isinstance(tree, int):
            return Shape(algorithms.VARIABLES[tree])
        place = next(numbers)
        return _joined(tree[0], shaped(tree[1]), shaped(tree[2]), place)

    return shaped(tree)


def shape_of_formula(formula: Formula) -> Shape:
    """Returns the shape of a formula's tree, normalised; its numbers are places in `Formula.nodes`."""
    numbers = iter(range(len(formula.nodes)))

    def shaped(tree: formulas.Tree) -> tuple[Shape, int]:
        """Returns the shape, and 1 if the normalised node is the complement."""
        if isinstance(tree, int):
            return Shape(algorithms.VARIABLES[tree]), 0
        place = next(numbers)
        (left, left_flag), (right, right_flag) = shaped(tree.left), shaped(tree.right)
        on = (tree.true_on[0] ^ left_flag, tree.true_on[1] ^ right_flag)
        gate = {(1, 1): AND, (1, 0): NIMP, (0, 1): CONVERSE_NIMP, (0, 0): OR}[on]
        return _joined(gate, left, right, place), int(on == (0, 0))

    return shaped(formula.root.tree)[0]


def planted_sets(truth: Truth, number_of: dict[int, int]) -> tuple[NeuronSet, ...]:
    """Returns the neurons of each of an algorithm's nodes.

    Args:
        number_of: number of an algorithm's inner node, from 0 at the root, → its place in the formula's nodes.
    """
    sets = []
    for number in range(1, len(number_of)):
        own = [one for one in truth.neurons if one.place == number_of[number] and one.gate in GATES.values()]
        sets.append(NeuronSet(own[0].site, tuple(sorted(one.neuron for one in own))))
    return tuple(sets)


@dataclass(frozen=True)
class PlantedExplanations:
    """The truth as explanations.

    Attributes:
        circuit: the planted one, as bits.
        grounding: of the planted circuit; None behind a rotation, where neurons carry no node.
        algorithm: the place of the formula among the algorithms that are listed; None: it is not among them.
        alignment: of that algorithm.
    """

    circuit: int
    grounding: Grounding | None
    algorithm: int | None
    alignment: Alignment | None


def planted_explanations(truth: Truth, found: Explanations) -> PlantedExplanations:
    """Returns the planted circuit, grounding and alignment of a network."""
    circuit = CircuitSpace(found.network.sizes, "any").circuit(truth.planted)
    planted = shape_of_formula(truth.formula)
    algorithm, alignment = None, None
    for place, (one, _) in enumerate(found.aligned):
        shape = shape_of_algorithm(one.tree)
        if shape.key == planted.key:
            sets = planted_sets(truth, dict(zip(shape.places, planted.places, strict=True)))
            algorithm, alignment = place, Alignment(one, sets)
    is_turned = any(one.gate == ROTATED for one in truth.neurons)
    grounding = None if is_turned else Grounding(circuit, tuple(_grounded(truth, found, circuit)))
    return PlantedExplanations(circuit, grounding, algorithm, alignment)


def _grounded(truth: Truth, found: Explanations, circuit: int) -> Iterator[GroundedNeuron]:
    """Yields what the planted grounding says of each neuron of the planted circuit.

    On combinations of its parents that never occur a neuron answers as its weights do.
    """
    values = values_in_circuits(found.network, np.array([circuit], dtype=np.uint64))[0]
    layers, border = found.network.part.layers, found.network.border
    row = 0
    for number, (layer, kept) in enumerate(zip(layers, truth.planted, strict=True), start=1):
        for neuron in range(len(kept)):
            parents = tuple(np.flatnonzero(kept[neuron]).tolist())
            if parents:
                ones = values[row] > border
                combinations = np.arange(2 ** len(parents))[:, None] >> np.arange(len(parents))[::-1] & 1
                sums = combinations @ layer.weight[neuron, list(parents)].numpy() + float(layer.bias[neuron])
                own = values[row] if number < len(layers) else ones.astype(float)
                threshold = (own[ones].min(initial=np.inf) + own[~ones].max(initial=-np.inf)) / 2
                yield GroundedNeuron(number, neuron, float(threshold), _bits(ones), parents, _bits(sums > border))
            row += 1


def _bits(values: np.ndarray) -> int:
    return sum(1 << place for place, value in enumerate(values.tolist()) if value)


def truth_figures(planted: PlantedExplanations, found: Explanations) -> dict[str, int | None]:
    """Returns whether the truth is among what is found, and how many others are as valid; None where unknown."""
    grounding = alignment = joint = None
    if planted.grounding is not None:
        grounding = planted.circuit in found.circuits.valid.tolist() and grounding_holds(
            found.network, planted.grounding
        )
    if planted.algorithm is not None:
        of_planted = found.aligned[planted.algorithm][1]
        alignment = planted.alignment in of_planted.single
        joint = None if of_planted.joint is None else planted.alignment in of_planted.joint
    counts = (
        (grounding, found.total.value), (alignment, found.n_alignments), (joint, found.n_alignments_joint)
    )  # fmt: skip
    figures = [
        value
        for is_found, n in counts
        for value in (None if is_found is None else int(is_found), None if n is None else n - int(is_found or 0))
    ]
    return dict(zip(names_of(OF_TRUTH), figures, strict=True))


def sentence(row: dict[str, int | None]) -> str:
    """Returns whether the truth is unique."""
    parts = []
    for what, found, others in (
        ("grounding", "grounding_found", "n_other_groundings"),
        ("alignment", "alignment_found", "n_other_alignments"),
    ):
        n = row[others]
        if row[found] is None or n is None:
            parts.append(f"no {what} of the truth is known")
        else:
            does = "is" if row[found] else "is not"
            parts.append(f"the planted {what} {does} among those found, beside {counted(n, 'other')}")
    others_of = [row[name] for name in ("n_other_groundings", "n_other_alignments")]
    if any(others_of):
        verdict = "the truth is not unique"
    elif all(row[name] == 1 for name in ("grounding_found", "alignment_found")) and None not in others_of:
        verdict = "the truth is unique"
    else:
        verdict = "whether the truth is unique isn't known"
    return f" {parts[0][0].upper()}{parts[0][1:]}; {parts[1]}: {verdict}."
