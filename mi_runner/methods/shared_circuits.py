"""What do the valid circuits of two networks have in common, once their units are matched?

Circuits of both networks are written in the names of the first network's units (`mi_runner.methods.matching`). Then
sets of them are compared: all valid circuits, the smallest ones, the edges that all of them keep (the backbone), and
how often each edge is kept. The same under random matchings of the units says how much of that is chance.

The overlap of two circuits is the intersection over the union of their edges (Jaccard). Beside the mean over the valid
circuits stands that of random circuits of the same sizes (`mi_runner.methods.circuits.random_overlap`).

Where not every valid circuit is listed, what can't be known is None; validity in the other network is then judged for
the listed ones.

Letters: E edges, K circuits, n_0 (inputs), …, n_L neurons of each layer, D matchings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from mi_runner.errors import ArgumentError
from mi_runner.methods.circuits.circuit import pair_shares
from mi_runner.methods.circuits.edges import among, n_kept
from mi_runner.methods.circuits.overlaps import overlaps
from mi_runner.methods.circuits.random_overlap import mean_overlap
from mi_runner.methods.circuits.search import CircuitSearch
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.matching import Matching, edges_by_name, random_matching

DRAWS = 1_000
"""Random matchings; if there are no more than so many, each counts once."""

MOST_COMPARED = 100_000
"""Circuits of a network whose overlaps are computed; of more, a random sample."""

MOST_JUDGED = 20_000
"""Circuits that are evaluated in the other network, or renamed by random matchings; of more, a random sample."""

MOST_BITS = 24
"""Of so many edges all sets have a place in a table, 16 MB."""

PERCENTILES = (2.5, 97.5)

AreValid = Callable[[np.ndarray], np.ndarray]
"""Whether each of the circuits `(K,)`, bits, in the network's own names, is valid in it, `(K,)` bool."""


@dataclass(frozen=True, eq=False)
class ValidCircuits:
    """The valid circuits of one output of a network, in the names of its own units.

    Attributes:
        space: the circuits that were searched.
        listed: `(K,)`, bits, ascending; all valid circuits, or a random sample of them.
        n_valid: valid circuits, listed or not.
        edge_counts: `(E,)` valid circuits, listed or not, that keep each edge.
        fewest_edges: of a valid circuit, listed or not; None if there is none.
        n_smallest: valid circuits, listed or not, with so many edges.
        overlap: mean overlap of two valid circuits; None: computed here.
        evaluate: says which circuits are valid where not every valid one is listed; None: that isn't known.
    """

    space: CircuitSpace
    listed: np.ndarray
    n_valid: int
    edge_counts: np.ndarray
    fewest_edges: int | None
    n_smallest: int
    overlap: float | None = None
    evaluate: AreValid | None = field(default=None, repr=False)

    @classmethod
    def of(cls, search: CircuitSearch, *, evaluate: AreValid | None = None) -> ValidCircuits:
        """Returns the valid circuits of a search."""
        counts = search.n_valid, search.edge_counts, search.fewest_edges, search.n_cardinal
        return cls(search.space, np.sort(search.valid), *counts, evaluate=evaluate)

    @property
    def lists_all(self) -> bool:
        """Whether every valid circuit is listed."""
        return len(self.listed) == self.n_valid

    @property
    def smallest(self) -> np.ndarray:
        """The listed circuits with the fewest edges, `(F,)`, bits; there are `n_smallest` of them, listed or not."""
        return self.listed[n_kept(self.listed) == (self.fewest_edges or 0)]

    @property
    def backbone(self) -> np.ndarray:
        """The edges that all valid circuits keep, `(E,)` bool; none if no circuit is valid."""
        return (self.edge_counts == self.n_valid) & (self.n_valid > 0)

    @property
    def shares(self) -> np.ndarray:
        """The fraction of the valid circuits that keep each edge, `(E,)`; 0 if no circuit is valid."""
        return self.edge_counts / max(1, self.n_valid)

    @property
    def sizes(self) -> np.ndarray:
        """The listed circuits of each number of edges, `(E + 1,)`."""
        return np.bincount(n_kept(self.listed), minlength=self.space.n_edges + 1)

    def are_valid(self, circuits: np.ndarray) -> np.ndarray | None:
        """Returns whether each of the circuits is valid; None if that isn't known."""
        if self.lists_all:
            return among(circuits, self.listed)
        if self.evaluate is None:
            return None
        valid = self.space.are_well_formed(circuits)
        valid[valid] = self.evaluate(circuits[valid])
        return valid


@dataclass(frozen=True)
class InCommon:
    """A number of things of two networks.

    Attributes:
        first, second: of each network.
        both: of these in common; None where it isn't known.
        at_random: the same if units are matched at random: mean, 2.5 % and 97.5 % percentile; None where it isn't
            known, or units have one matching.
    """

    first: float
    second: float
    both: float | None
    at_random: tuple[float, float, float] | None = None

    @property
    def share(self) -> float | None:
        """The intersection over the union; None where it isn't known or there is nothing."""
        union = self.first + self.second - (self.both or 0)
        return None if self.both is None or not union else self.both / union


@dataclass(frozen=True)
class Checked:
    """Circuits of one network that were looked for in the other.

    Attributes:
        n: those that were looked for.
        n_valid: those of them that are valid in the other network.
        of: all there are; above n if the others aren't listed or not looked for.
    """

    n: int
    n_valid: int
    of: int

    @property
    def share(self) -> float | None:
        """The fraction that is valid in the other network; None if there is no circuit."""
        return self.n_valid / self.n if self.n else None


@dataclass(frozen=True)
class Overlaps:
    """Mean overlaps of pairs of circuits; None where there is no pair, or it isn't known.

    Attributes:
        first, second: of two different circuits of the first network, and of the second.
        between: of one of each.
    """

    first: float | None
    second: float | None
    between: float | None


@dataclass(frozen=True, eq=False)
class SharedCircuits:
    """What the valid circuits of two networks have in common; edges are in the names of the first network's units.

    Attributes:
        valid: circuits.
        smallest: valid circuits with the fewest edges of their network.
        backbone: edges that all valid circuits keep.
        edges: of a valid circuit, mean; in common: the sum over the edges of the smaller share of the valid circuits
            that keep it.
        common: `(C,)`, bits, the circuits that are valid in both networks; None where they aren't known.
        common_backbone: `(E,)` bool.
        second_shares: `(E,)` the fraction of the second network's valid circuits that keep each edge.
        valid_in_other: of each network the valid circuits that were looked for in the other; None: can't be known.
        smallest_in_other: the same of its smallest ones.
        overlap: of valid circuits.
        random_overlap: of random circuits of the same sizes, each of its network's family.
        n_matchings: D, the random matchings.
    """

    valid: InCommon
    smallest: InCommon
    backbone: InCommon
    edges: InCommon
    common: np.ndarray | None
    common_backbone: np.ndarray
    second_shares: np.ndarray
    valid_in_other: tuple[Checked | None, Checked | None]
    smallest_in_other: tuple[Checked | None, Checked | None]
    overlap: Overlaps
    random_overlap: Overlaps
    n_matchings: int


def renamed(circuits: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns circuits `(K,)`, bits, whose edge e is edge `places[e]` of those given; see `edges_by_name`."""
    found = circuits & 0
    for edge, place in enumerate(places.tolist()):
        found |= (circuits >> place & 1) << edge
    return found


def matchings(
    sizes: Sequence[int], fixed: Sequence[bool], most: int, generator: np.random.Generator
) -> Iterator[Matching]:
    """Yields every matching of the layers that aren't fixed if there are at most so many, otherwise so many at random.

    Args:
        sizes: neurons of each layer, inputs first.
        fixed: for each layer, whether its neurons keep their names.
    """
    free = [1 if keeps else size for size, keeps in zip(sizes, fixed, strict=True)]
    if math.prod(map(math.factorial, free)) > most:
        for _ in range(most):
            yield random_matching(sizes, fixed, generator)
        return
    of_layers = [
        [np.arange(size)] if keeps else [np.array(order) for order in itertools.permutations(range(size))]
        for size, keeps in zip(sizes, fixed, strict=True)
    ]
    yield from itertools.product(*of_layers)


def _check_sizes(first: ValidCircuits, second: ValidCircuits) -> None:
    if first.space.sizes != second.space.sizes:
        layers = ["-".join(map(str, one.space.sizes)) for one in (first, second)]
        problem = f"first has layers of {layers[0]} neurons, second of {layers[1]}:"
        remedy = "units of layers of different sizes can't be matched one to one."
        raise ArgumentError(("first", "second"), None, problem, remedy)


def shared_circuits(
    first: ValidCircuits | CircuitSearch,
    second: ValidCircuits | CircuitSearch,
    matching: Matching,
    *,
    fixed: Sequence[bool] | None = None,
    draws: int = DRAWS,
    generator: np.random.Generator | None = None,
) -> SharedCircuits:
    """Returns what the valid circuits of two networks have in common.

    Args:
        first, second: the valid circuits of each, or the searches that found them.
        matching: for each layer the second network's unit that matches each unit of the first.
        fixed: for each layer, whether random matchings keep its names; None: those of inputs and outputs alone.
        draws: the number of random matchings; if there are fewer, each counts once.
        generator: draws them, and samples of many circuits; None: always the same.

    Raises:
        ArgumentError: the networks differ in their sizes.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner import circuits
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net, x = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)), torch.randn(50, 2)
        >>> part = find_part(ModelGraph.trace(net, x), None)
        >>> examples = circuits.CircuitExamples(x, part(x)[:, 0].round(), part(x)[:, 0])
        >>> found = circuits.search(part, examples, accuracy_threshold=0.5)
        >>> shared = circuits.shared(found, found, circuits.match(part, part, x, x))
        >>> shared.valid.both == shared.valid.first == shared.valid.second
        True
    """
    first, second = (ValidCircuits.of(one) if isinstance(one, CircuitSearch) else one for one in (first, second))
    if fixed is None:
        fixed = [True, *[False] * (len(first.space.sizes) - 2), True]
    _check_sizes(first, second)
    generator = generator or np.random.default_rng(0)
    places = edges_by_name(matching)
    back = np.argsort(places)
    named = np.sort(renamed(second.listed, places))
    in_other = (
        _checked(renamed(first.listed, back), first.n_valid, second, generator),
        _checked(named, second.n_valid, first, generator),
    )
    common = _common(first, second, named, back)
    backbones, shares = (first.backbone, second.backbone[places]), (first.shares, second.shares[places])
    smallest = first.smallest, renamed(second.smallest, places)
    smallest_known = first.n_smallest == len(first.smallest) and second.n_smallest == len(second.smallest)
    random = _at_random(first, second, fixed, draws, generator)
    overlap, by_chance = _overlaps(first, second, named, generator)
    return SharedCircuits(
        valid=InCommon(first.n_valid, second.n_valid, None if common is None else len(common), random.valid),
        smallest=InCommon(
            first.n_smallest,
            second.n_smallest,
            len(np.intersect1d(*smallest)) if smallest_known else None,
            random.smallest,
        ),
        backbone=InCommon(
            int(backbones[0].sum()),
            int(backbones[1].sum()),
            int((backbones[0] & backbones[1]).sum()),
            random.backbone,
        ),
        edges=InCommon(
            float(shares[0].sum()),
            float(shares[1].sum()),
            float(np.minimum(*shares).sum()),
            random.edges,
        ),
        common=common,
        common_backbone=backbones[0] & backbones[1],
        second_shares=shares[1],
        valid_in_other=in_other,
        smallest_in_other=(
            _checked(renamed(first.smallest, back), first.n_smallest, second, generator),
            _checked(smallest[1], second.n_smallest, first, generator),
        ),
        overlap=overlap,
        random_overlap=by_chance,
        n_matchings=random.n,
    )


def _sample(circuits: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    return circuits if len(circuits) <= most else generator.choice(circuits, most, replace=False)


def _checked(circuits: np.ndarray, of: int, other: ValidCircuits, generator: np.random.Generator) -> Checked | None:
    """Returns how many circuits are valid in the other network; None if that can't be known.

    Args:
        circuits: `(K,)`, bits, in the other network's names.
        of: how many there are, listed or not.
    """
    looked_for = circuits if other.lists_all else _sample(circuits, MOST_JUDGED, generator)
    found = other.are_valid(looked_for)
    return None if found is None else Checked(len(looked_for), int(found.sum()), of)


def _common(first: ValidCircuits, second: ValidCircuits, named: np.ndarray, back: np.ndarray) -> np.ndarray | None:
    """Returns the circuits that are valid in both networks, in the first's names; None if they aren't known.

    Args:
        named: the second's listed circuits in the first's names.
        back: the places of `renamed` from the first's names to the second's.
    """
    if first.lists_all and second.lists_all:
        return np.intersect1d(first.listed, named, assume_unique=True)
    if first.lists_all and len(first.listed) <= MOST_JUDGED:
        found = second.are_valid(renamed(first.listed, back))
        return None if found is None else first.listed[found]
    if second.lists_all and len(named) <= MOST_JUDGED:
        found = first.are_valid(named)
        return None if found is None else named[found]
    return None


def _membership(circuits: np.ndarray, n_edges: int) -> AreValid:
    """Returns a function that says which circuits are among these, by a table of all sets of edges if there are few."""
    if n_edges > MOST_BITS:
        return lambda asked: among(asked, circuits)
    table = np.zeros(1 << n_edges, dtype=bool)
    table[circuits] = True
    return lambda asked: table[asked]


@dataclass(frozen=True)
class _AtRandom:
    """Mean and percentiles over n random matchings; None where they aren't known."""

    n: int = 0
    valid: tuple[float, float, float] | None = None
    smallest: tuple[float, float, float] | None = None
    backbone: tuple[float, float, float] | None = None
    edges: tuple[float, float, float] | None = None


def _at_random(
    first: ValidCircuits, second: ValidCircuits, fixed: Sequence[bool], draws: int, generator: np.random.Generator
) -> _AtRandom:
    """Returns what the networks have in common under random matchings; nothing if units have one matching."""
    sets = {}
    if first.n_smallest == len(first.smallest) and second.n_smallest == len(second.smallest):
        sets["smallest"] = first.smallest, second.smallest, 1.0
    if first.lists_all and second.lists_all:
        looked_for = _sample(second.listed, MOST_JUDGED, generator)
        sets["valid"] = first.listed, looked_for, len(second.listed) / max(1, len(looked_for))
    own_members = {name: _membership(own, first.space.n_edges) for name, (own, _, _) in sets.items()}
    found: dict[str, list[float]] = {}
    n = 0
    for matching in matchings(first.space.sizes, fixed, draws, generator):
        places = edges_by_name(matching)
        for name, (_, others, scale) in sets.items():
            n_common = own_members[name](renamed(others, places)).sum()
            found.setdefault(name, []).append(float(n_common) * scale)
        found.setdefault("backbone", []).append(float((first.backbone & second.backbone[places]).sum()))
        found.setdefault("edges", []).append(float(np.minimum(first.shares, second.shares[places]).sum()))
        n += 1
    if n < 2:
        return _AtRandom()
    ends = {name: np.percentile(values, PERCENTILES).tolist() for name, values in found.items()}
    return _AtRandom(n, **{name: (float(np.mean(found[name])), low, high) for name, (low, high) in ends.items()})


def _overlaps(
    first: ValidCircuits, second: ValidCircuits, named: np.ndarray, generator: np.random.Generator
) -> tuple[Overlaps, Overlaps]:
    """Returns the mean overlaps of valid circuits, and those of random circuits of the same sizes.

    Random circuits of two families are those of the first's, unless the families are the same.
    """
    own = []
    for one in (first, second):
        value = pair_shares(_sample(one.listed, MOST_COMPARED, generator))[1] if one.overlap is None else one.overlap
        own.append(None if math.isnan(value) else value)
    of_listed = [one if len(one.listed) > 1 else None for one in (first, second)]
    within = [None if one is None else mean_overlap(one.space, one.sizes) for one in of_listed]
    between = mean_overlap(first.space, first.sizes, second.sizes) if first.space == second.space else None
    return (
        Overlaps(own[0], own[1], _between(first.listed, named, generator)),
        Overlaps(within[0], within[1], between),
    )


def _between(first: np.ndarray, second: np.ndarray, generator: np.random.Generator) -> float | None:
    """Returns the mean overlap of a circuit of the first and one of the second, both `(K,)`, bits in one naming."""
    return overlaps(*(_sample(circuits, MOST_COMPARED, generator) for circuits in (first, second))).mean
