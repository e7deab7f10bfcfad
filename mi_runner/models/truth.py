"""What is the truth about a network whose weights were planted?

Layers are numbered as the network has them: Linear layer 0 reads the inputs, site 0; its outputs are site 1; and so on.
Letters: L Linear layers, sizes n_0 (inputs), …, n_L (outputs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mi_runner.models.formulas import Formula

INPUT, OUTPUT, CARRIER, DISTRACTOR, ROTATED, DEAD = "input", "output", "carrier", "distractor", "rotated", "dead"
"""What a neuron is that is no gate."""


@dataclass(frozen=True)
class Neuron:
    """A neuron, and what it carries.

    Attributes:
        site: 0 for inputs, otherwise one more than the Linear layer that it is an output of.
        neuron: its place in the site.
        gate: one of `formulas.GATES`, or what it is instead.
        node: the subtree whose value it has, as a formula; of a distractor the function of what it reads; empty where
            it has no value of its own.
        place: the node's place in `Formula.nodes`; None for a variable and for a distractor.
        copy: the number of the copy, from 0.
        is_planted: whether the planted circuit has it.
        is_inert: whether the node is constant, or can't change the answer.
    """

    site: int
    neuron: int
    gate: str
    node: str = ""
    place: int | None = None
    copy: int = 0
    is_planted: bool = True
    is_inert: bool = False


@dataclass(frozen=True)
class Direction:
    """Along which direction a site carries a node: the site's value is the sum of each node's value times its own.

    Attributes:
        site: as of a neuron.
        node: the subtree, as a formula.
        place: the node's place in `Formula.nodes`; None for a variable.
        vector: `(n,)` of length 1.
    """

    site: int
    node: str
    place: int | None
    vector: tuple[float, ...]


@dataclass(frozen=True)
class Edge:
    """An edge of a Linear layer."""

    layer: int
    source: int
    target: int
    weight: float


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth about a network with planted weights.

    Attributes:
        formula: what the network computes.
        weights: `(out, in)` float32 of each Linear layer.
        planted: `(out, in)` bool of each Linear layer: the edges of the planted circuit.
        neurons: of all sites, in their order.
        directions: of all hidden sites; those behind a rotation are no neurons.
    """

    formula: Formula
    weights: tuple[np.ndarray, ...]
    planted: tuple[np.ndarray, ...]
    neurons: tuple[Neuron, ...]
    directions: tuple[Direction, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each site, inputs first."""
        return (self.weights[0].shape[1], *(weight.shape[0] for weight in self.weights))

    @property
    def family(self) -> tuple[np.ndarray, ...]:
        """The edges whose weight is not 0, `(out, in)` bool of each Linear layer: circuits keep some of these."""
        return tuple(weight != 0 for weight in self.weights)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The edges of the planted circuit: by layer, then by target, then by source."""
        return tuple(self._edges())

    def _edges(self) -> Iterator[Edge]:
        for layer, (mask, weight) in enumerate(zip(self.planted, self.weights, strict=True)):
            for target, source in zip(*np.nonzero(mask), strict=True):
                yield Edge(layer, int(source), int(target), float(weight[target, source]))

    @property
    def circuit(self) -> int:
        """The planted circuit as one integer, in which edge e of the network is bit e."""
        return bits_of(self.planted)

    def neuron(self, site: int, place: int) -> Neuron:
        """Returns the neuron at a place of a site."""
        return self.neurons[sum(self.sizes[:site]) + place]


def bits_of(masks: tuple[np.ndarray, ...]) -> int:
    """Returns the edges of masks `(out, in)` as bits, the first being bit 0."""
    flat = np.concatenate([mask.reshape(-1) for mask in masks])
    return sum(1 << int(edge) for edge in np.flatnonzero(flat))
