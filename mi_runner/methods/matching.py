"""Do networks of different seeds have the same circuits? Their hidden units are matched by activations first.

Hidden units have no order that two networks share. Units of a network are matched one to one to those of a first
network, layer by layer, so that the sum of the correlations of matched units is largest (Li et al., Convergent
Learning, 2016). A unit whose activation is odd (tanh, none) and its mirror image are one unit, because turning the
signs of its weights changes nothing; there the sum is that of the absolute correlations. Weights decide between units
that correlate alike: those that are constant, and those that are equal.

Then circuits of all networks are written in the names of the first network's units, and counted. The same counts under
random matchings say how much of the recurrence is chance.

Letters: N examples, n_0 (inputs), …, n_L neurons of each layer, K circuits, E edges of the chain, D random matchings.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.edges import Edges, bits_of

ODD = ("tanh", "identity")
"""Activations f with f(−v) = −f(v)."""

TIES = 1e-6
"""Correlations that differ by less are alike: rounding makes such differences, and weights decide."""

MOST_ROUNDS = 5
"""Rounds over the layers in which weights decide; the neighbours' matching may change in each."""

Matching = tuple[np.ndarray, ...]
"""For each layer of neurons, inputs first, `(n_l,)` int: at i the unit that matches unit i of the first network."""


def correlations(first: Tensor, second: Tensor) -> np.ndarray:
    """Returns Pearson's correlation of each unit of `first` with each of `second`, `(a, b)` float64, −1 to 1.

    A unit with the same activation on all examples correlates with none: 0.

    Args:
        first, second: `(N, a)` and `(N, b)`, activations on the same examples.

    Raises:
        ArgumentError: the examples differ in number.
    """
    if len(first) != len(second):
        problem = f"first has {len(first)} examples and second {len(second)}:"
        raise ArgumentError(("first", "second"), None, problem, "give the same examples.")
    scaled = []
    for values in (first, second):
        values = values.double()
        # Rounding could leave a constant unit a deviation from its mean.
        constant = (values == values[:1]).all(0)
        centred = torch.where(constant, 0.0, values - values.mean(0))
        norm = centred.norm(dim=0)
        scaled.append(centred / torch.where(norm > 0, norm, 1.0))
    return (scaled[0].T @ scaled[1]).clamp(-1, 1).numpy()


def match_units(first: Tensor, second: Tensor) -> np.ndarray:
    """Returns the unit of `second` that is matched to each unit of `first`, `(n,)` int64, a permutation.

    Of all permutations it has the largest sum of correlations. A unit whose activation is constant is matched to a unit
    that is left over.

    Args:
        first, second: `(N, n)`, activations on the same examples.

    Raises:
        ArgumentError: the shapes differ.
    """
    if first.shape != second.shape:
        problem = f"first is {tuple(first.shape)} and second {tuple(second.shape)}: the shapes must be equal."
        raise ArgumentError(("first", "second"), None, problem)
    return linear_sum_assignment(correlations(first, second), maximize=True)[1]


def match_layers(first: Sequence[Tensor], second: Sequence[Tensor]) -> Matching:
    """Returns the matching of all layers of a chain; a layer with equal activations keeps its names.

    Args:
        first, second: `(N, n_l)` for each layer, inputs first. Equal inputs are the data themselves, not hidden units.

    Raises:
        ArgumentError: the layers differ in number or shape.
    """
    return tuple(
        np.arange(a.shape[1]) if torch.equal(a, b) else match_units(a, b) for a, b in zip(first, second, strict=True)
    )


def match_parts(first: Part, second: Part, x: Tensor, x_second: Tensor, *, mirrored_inputs: bool = False) -> Matching:
    """Returns the matching of all layers of two parts of the same sizes; outputs keep their names.

    Args:
        x, x_second: `(N, n_0)`, what enters the first and the second part on the same examples. If they are equal, they
            are the data themselves, and the inputs keep their names.
        mirrored_inputs: whether an input and its mirror image are one unit, as in layers with an odd activation.

    Raises:
        ArgumentError: the parts differ in their sizes, or the examples in number.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner import circuits
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> x = torch.randn(20, 3)
        >>> part = find_part(ModelGraph.trace(net, x), None)
        >>> circuits.match(part, part, x, x)
        (array([0, 1, 2]), array([0, 1]), array([0]))
    """
    if first.sizes != second.sizes:
        raise ArgumentError(
            ("first", "second"),
            None,
            f"first has layers of {_named(first.sizes)} neurons, second of {_named(second.sizes)}:",
            "units of layers of different sizes can't be matched one to one.",
        )
    odd = (mirrored_inputs, *(layer.activation in ODD for layer in first.layers[:-1]))
    layers = list(zip(first.activations(x), second.activations(x_second), strict=True))
    first_place = 1 if torch.equal(x, x_second) else 0  # the data keep their names
    signed = [correlations(a, b) for a, b in layers]
    alike = [np.abs(found) if is_odd else found for found, is_odd in zip(signed, odd, strict=True)]
    signs = [
        np.where(found < 0, -1.0, 1.0) if is_odd else np.ones_like(found)
        for found, is_odd in zip(signed, odd, strict=True)
    ]
    own = [np.arange(size) for size in first.sizes]
    matching = [*own[:first_place], *map(_assigned, alike[first_place:]), own[-1]]
    for number in range(MOST_ROUNDS):
        before = matching.copy()
        for place in range(first_place, len(layers)):
            # In the first round the layer behind isn't matched well yet.
            distance = _weight_distance(first, second, matching, signs, place, both_ways=number > 0)
            matching[place] = _assigned(alike[place] - TIES * distance)
        if number and all(np.array_equal(a, b) for a, b in zip(before, matching, strict=True)):
            break
    return tuple(matching)


def _assigned(scores: np.ndarray) -> np.ndarray:
    """Returns the permutation with the largest sum of scores `(n, n)`."""
    return linear_sum_assignment(scores, maximize=True)[1]


def _named(sizes: Sequence[int]) -> str:
    return "-".join(map(str, sizes))


def _weight_distance(
    first: Part,
    second: Part,
    matching: Sequence[np.ndarray],
    signs: Sequence[np.ndarray],
    place: int,
    *,
    both_ways: bool,
) -> np.ndarray:
    """Returns how far the weights and the bias of each unit of a layer are from those of each of the other part.

    `(n, n)`, 0 (equal) to 1: the norm of the difference over the sum of the norms. Weights from and to the neighbouring
    layers are paired as these are matched. A unit that is matched to a mirror image counts with the signs of its
    weights turned.

    Args:
        signs: for each layer `(n, n)`, −1 where the second's unit is a mirror image of the first's.
        place: of the layer of neurons, 0 for the inputs.
        both_ways: whether the weights to the layer behind count, too.
    """

    def turned(at: int) -> np.ndarray:
        units = matching[at]
        return signs[at][np.arange(len(units)), units] if at < len(signs) else np.ones(len(units))

    own, theirs = [], []  # for each unit its bias and the weights to its neighbours
    if place:
        of_unit = [part.layers[place - 1] for part in (first, second)]
        weights, biases = ([getattr(layer, name).double().numpy() for layer in of_unit] for name in ("weight", "bias"))
        own += [weights[0], biases[0][:, None]]
        theirs += [weights[1][:, matching[place - 1]] * turned(place - 1), biases[1][:, None]]
    if both_ways:
        weights = [part.layers[place].weight.double().numpy().T for part in (first, second)]
        own.append(weights[0])
        theirs.append(weights[1][:, matching[place + 1]] * turned(place + 1))
    if not own:
        return np.zeros_like(signs[place])
    ours, others = np.hstack(own), np.hstack(theirs)
    sums = np.linalg.norm(ours, axis=1)[:, None] + np.linalg.norm(others, axis=1)
    difference = np.linalg.norm(ours[:, None] - signs[place][..., None] * others, axis=2)
    return difference / np.where(sums > 0, sums, 1.0)


def random_matching(sizes: Sequence[int], fixed: Sequence[bool], generator: np.random.Generator) -> Matching:
    """Returns a matching in which each permutation is equally likely.

    Args:
        sizes: neurons of each layer, inputs first.
        fixed: for each layer, whether its neurons keep their names.
    """
    return tuple(
        np.arange(size) if keeps else generator.permutation(size) for size, keeps in zip(sizes, fixed, strict=True)
    )


def edges_by_name(matching: Matching) -> np.ndarray:
    """Returns the place of each edge in a network's own order, `(E,)` int: `kept[:, places]` has the first's names."""
    edges = Edges(tuple(map(len, matching)))
    own = edges.masks(np.arange(edges.n))
    units = itertools.pairwise(matching)
    return np.concatenate(
        [places[targets[:, None], sources].reshape(-1) for places, (sources, targets) in zip(own, units, strict=True)]
    )


@dataclass(frozen=True)
class Recurrence:
    """How many networks have each edge and each circuit, in the names of the first network.

    Attributes:
        n_networks: the number of networks.
        edges: `(E,)` int64, networks with a circuit that keeps the edge.
        circuits: `(C,)`, bits, ascending, every circuit that a network has, as bits.
        counts: `(C,)` int64, networks that have it.
    """

    n_networks: int
    edges: np.ndarray
    circuits: np.ndarray
    counts: np.ndarray

    def count(self, circuits: np.ndarray) -> np.ndarray:
        """Returns the networks that have each of these circuits `(K,)`, bits; 0 for a circuit that none has."""
        places = np.searchsorted(self.circuits, circuits).clip(max=len(self.circuits) - 1)
        return np.where(self.circuits[places] == circuits, self.counts[places], 0)


def recurrence(kept: Sequence[np.ndarray], matchings: Sequence[Matching]) -> Recurrence:
    """Returns how often edges and circuits recur over networks.

    Args:
        kept: for each network the kept edges `(K, E)` bool of its circuits in its own order; K not 0.
        matchings: for each network, how its units are matched to the first network's.

    Raises:
        ArgumentError: a network has no circuit, or there is no network.
    """
    if not kept or not all(len(own) for own in kept):
        problem = "kept has a network without circuits, or no network:"
        raise ArgumentError("kept", None, problem, "give networks with circuits.")
    named = [own[:, edges_by_name(matching)] for own, matching in zip(kept, matchings, strict=True)]
    edges = np.stack([own.any(0) for own in named]).sum(0, dtype=np.int64)
    own_circuits = [np.unique(bits_of(own)) for own in named]
    circuits, counts = np.unique(np.concatenate(own_circuits), return_counts=True)
    return Recurrence(len(kept), edges, circuits, counts)


@dataclass(frozen=True)
class RandomRecurrence:
    """The same counts under D random matchings.

    Attributes:
        edges: `(D, E)` int64, networks with a circuit that keeps the edge.
        circuits: `(D, C)` int64, networks that have each of the given circuits.
        largest: `(D,)` int64, networks that have the commonest circuit of the matching.
    """

    edges: np.ndarray
    circuits: np.ndarray
    largest: np.ndarray


def random_recurrence(
    kept: Sequence[np.ndarray],
    sizes: Sequence[int],
    fixed: Sequence[bool],
    circuits: np.ndarray,
    *,
    draws: int,
    generator: np.random.Generator,
) -> RandomRecurrence:
    """Returns how often edges and circuits recur if units are matched at random; the first network keeps its names.

    Args:
        kept: as for `recurrence`.
        sizes: neurons of each layer, inputs first.
        fixed: for each layer, whether its neurons keep their names: data and outputs.
        circuits: `(C,)`, bits, the circuits to count, in the names of the first network.
        draws: the number of random matchings, at least 1.
    """
    own = tuple(np.arange(size) for size in sizes)
    results = []
    for _ in range(draws):
        others = [random_matching(sizes, fixed, generator) for _ in kept[1:]]
        results.append(recurrence(kept, [own, *others]))
    return RandomRecurrence(
        np.stack([result.edges for result in results]),
        np.stack([result.count(circuits) for result in results]),
        np.array([result.counts.max() for result in results]),
    )
