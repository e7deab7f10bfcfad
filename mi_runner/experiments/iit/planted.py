"""The variables of a planted network, and how near the directions that are found come to those that were planted.

The variables are the inputs A, B, …, and n1, n2, …: the inner nodes of the formula but the root, in its order. A node
that is taken from a source overrides what its children say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mi_runner.datasets.causal_models import CausalModel, Mechanism
from mi_runner.experiments.iit.tables import ANGLE, ANGLE_RANDOM
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.alignment import Rotation, Units
from mi_runner.methods.interchange import Aligned
from mi_runner.methods.principal_angles import expected_of_all, largest_angle
from mi_runner.models import formulas
from mi_runner.models.formulas import Formula
from mi_runner.models.truth import Truth


@dataclass(frozen=True)
class OfInputs:
    """The labels of a mechanism that reads the first n columns alone."""

    mechanism: Mechanism
    n: int

    def __call__(self, values: Tensor) -> Tensor:
        return self.mechanism(values[:, : self.n])


@dataclass(frozen=True)
class FormulaModel(CausalModel):
    """The causal model of a formula, whose inner nodes are variables too.

    Attributes:
        formula: what the network computes.
    """

    formula: Formula = field(kw_only=True)

    def counterfactual(self, base: Tensor, sources: Mapping[str, Tensor]) -> Tensor:
        """Returns the labels `(B,)` of base values with some inputs and nodes taken from source examples."""
        taken = {self.column(name): source[:, self.column(name)] for name, source in sources.items()}
        answers = evaluated(self.formula, base[:, : self.formula.n], taken)[0]
        label = 1 - answers if self.formula.root.complemented else answers
        return label.to(self.mechanism(base[:1]).dtype)


def evaluated(formula: Formula, inputs: Tensor, taken: Mapping[int, Tensor]) -> list[Tensor]:
    """Returns the values `(B,)` of each of a formula's nodes, the root first.

    Args:
        inputs: `(B, n)`.
        taken: number of a variable, the inputs first, then the nodes but the root, → values `(B,)` that it is set to.
    """
    found: list[Tensor] = []

    def value_of(tree: formulas.Tree) -> Tensor:
        if isinstance(tree, int):
            return taken.get(tree, inputs[:, tree])
        place = len(found)
        found.append(inputs[:, 0])  # its place comes before those of its children
        left, right = value_of(tree.left), value_of(tree.right)
        own = ((left == tree.true_on[0]) & (right == tree.true_on[1])).to(inputs.dtype)
        found[place] = taken.get(formula.n + place - 1, own) if place else own
        return found[place]

    root = value_of(formula.root.tree)
    return found or [root]


def formula_model(formula: Formula, causal_model: CausalModel) -> FormulaModel:
    """Returns the causal model with the formula's inner nodes but the root as further variables."""
    inner = tuple(f"n{place}" for place in range(1, len(formula.nodes)))
    of_inputs = causal_model.values_train, causal_model.values_test
    train, test = (torch.stack([*values.unbind(1), *evaluated(formula, values, {})[1:]], 1) for values in of_inputs)
    mechanism = OfInputs(causal_model.mechanism, formula.n)
    return FormulaModel((*causal_model.variables, *inner), train, test, mechanism, formula=formula)


def described(formula: Formula) -> str:
    """Returns what the inner nodes are: n1 is A & ~B."""
    return ", ".join(f"n{place} is {formulas.text_of(node)}" for place, node in enumerate(formula.nodes) if place)


def planted_directions(truth: Truth, graph: ModelGraph, target: str, variables: tuple[str, ...]) -> np.ndarray | None:
    """Returns the directions `(q, d)` along which a site carries variables; None if it doesn't carry each of them."""
    layer, number = graph.target_site(target).name, 0
    for name in graph.sites:
        number += isinstance(graph.submodule(name), nn.Linear)
        if name == layer:
            break
    found = []
    for variable in variables:
        place = int(variable[1:]) if variable.startswith("n") else None
        vectors = [
            one.vector
            for one in truth.directions
            if one.site == number and one.place == place and (place is not None or one.node == variable)
        ]
        if not vectors:
            return None
        found.append(vectors[0])
    return np.array(found)


def angles(truth: Truth, aligned: Aligned, places: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    """Returns the columns with the largest principal angle of all places, and what random directions have."""
    alignment = aligned.alignment
    if isinstance(alignment, Units):
        own = [np.eye(mask.numel())[mask.flatten().cpu().numpy()] for mask in alignment.masks]
    else:
        assert isinstance(alignment, Rotation), "other maps have no directions"
        with torch.no_grad():
            own = [rows.cpu().double().numpy() for rows in alignment.directions().split(alignment.sizes)]
    known = [planted_directions(truth, aligned.graph, aligned.target, variables) for variables in places]
    pairs = [(one, other) for one, other in zip(own, known, strict=True) if other is not None]
    if len(pairs) < len(places):
        return {ANGLE.name: None, ANGLE_RANDOM.name: None}
    dimensions = tuple((len(one), len(other)) for one, other in pairs)
    return {
        ANGLE.name: max(largest_angle(one, other) for one, other in pairs),
        ANGLE_RANDOM.name: expected_of_all(pairs[0][0].shape[1], dimensions),
    }
