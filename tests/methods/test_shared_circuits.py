"""What valid circuits of two networks share: against sets of edges under every permutation of the hidden units."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.random_overlap import expected_overlaps, mean_overlap
from mi_runner.methods.circuits.search import CircuitSearch, search_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.matching import edges_by_name, match_parts
from mi_runner.methods.shared_circuits import ValidCircuits, matchings, renamed, shared_circuits
from tests.permuted_parts import permuted
from tests.small_parts import random_part

EdgeSet = frozenset[tuple[int, int, int]]
"""The edges of a circuit: layer, source, target."""


def searched(part: Part, x: torch.Tensor, threshold: float, **choices: object) -> CircuitSearch:
    """Circuits that answer as the whole part does on more than this fraction of the examples."""
    outputs = part(x)[:, 0]
    examples = CircuitExamples(x, outputs.round(), outputs)
    return search_circuits(part, examples, accuracy_threshold=threshold, **choices)  # type: ignore[arg-type]


def sets_of(search: CircuitSearch) -> set[EdgeSet]:
    """The valid circuits as sets of edges, by the masks of each."""
    return {
        frozenset(
            (layer, source, target)
            for layer, mask in enumerate(search.space.masks(int(circuit)))
            for target, source in zip(*map(np.ndarray.tolist, np.nonzero(mask)), strict=True)
        )
        for circuit in search.valid
    }


def orders_of(sizes: tuple[int, ...]) -> Iterator[list[tuple[int, ...]]]:
    """Every order of the hidden units; inputs and outputs keep theirs."""
    hidden = [list(itertools.permutations(range(size))) for size in sizes[1:-1]]
    for orders in itertools.product(*hidden):
        yield [tuple(range(sizes[0])), *orders, tuple(range(sizes[-1]))]


def in_first_names(circuits: set[EdgeSet], order: list[tuple[int, ...]]) -> set[EdgeSet]:
    """The second network's circuits, where unit i of the first is its unit order[l][i]."""
    names = [{unit: name for name, unit in enumerate(layer)} for layer in order]
    return {
        frozenset((layer, names[layer][source], names[layer + 1][target]) for layer, source, target in circuit)
        for circuit in circuits
    }


def best_order(one: Part, other: Part, x: torch.Tensor) -> list[tuple[int, ...]]:
    """Of all orders the one with the largest sum of absolute correlations (tanh), by numpy."""
    sums = {}
    for order in orders_of(one.sizes):
        total = 0.0
        for layer in range(1, len(one.sizes) - 1):
            a, b = one.activations(x)[layer].numpy(), other.activations(x)[layer].numpy()
            pairs = [np.corrcoef(a[:, unit], b[:, match])[0, 1] for unit, match in enumerate(order[layer])]
            total += float(np.abs(pairs).sum())
        sums[total] = order
    return sums[max(sums)]


def jaccard(a: EdgeSet, b: EdgeSet) -> float:
    return len(a & b) / len(a | b)


def backbone(circuits: set[EdgeSet]) -> EdgeSet:
    return frozenset.intersection(*circuits) if circuits else frozenset()


def share(circuits: set[EdgeSet], edge: tuple[int, int, int]) -> float:
    return sum(edge in circuit for circuit in circuits) / len(circuits)


def smallest(circuits: set[EdgeSet]) -> set[EdgeSet]:
    return {circuit for circuit in circuits if len(circuit) == min(map(len, circuits))}


@pytest.mark.parametrize(("sizes", "inputs", "ablation"), [((2, 2, 1), "any", "zero"), ((2, 2, 2, 1), "all", "mean"),
                                                           ((1, 3, 2, 1), "any", "zero")])  # fmt: skip
@pytest.mark.parametrize("seed", [0, 1])
def test_every_number_is_that_of_sets_of_edges(sizes: tuple[int, ...], inputs: str, ablation: str, seed: int) -> None:
    activations = ["tanh"] * (len(sizes) - 2) + ["identity"]
    parts = [random_part(sizes, activations, 10 * seed + n) for n in (0, 1)]
    x = torch.randn(40, sizes[0], generator=torch.Generator().manual_seed(seed))
    searches = [searched(part, x, 0.5, inputs=inputs, ablation=ablation) for part in parts]
    one, two = map(sets_of, searches)
    order = best_order(*parts, x)
    matching = match_parts(*parts, x, x)
    assert [tuple(units.tolist()) for units in matching] == order
    fixed = [True, *[False] * (len(sizes) - 2), True]
    found = shared_circuits(*map(ValidCircuits.of, searches), matching, fixed=fixed)

    named = in_first_names(two, order)
    assert (found.valid.first, found.valid.second, found.valid.both) == (len(one), len(two), len(one & named))
    assert found.valid.share == pytest.approx(len(one & named) / len(one | named))
    assert found.common is not None and len(found.common) == len(one & named)
    assert (found.smallest.first, found.smallest.second) == (len(smallest(one)), len(smallest(two)))
    assert found.smallest.both == len(smallest(one) & smallest(named))
    assert found.backbone.first == len(backbone(one)) and found.backbone.second == len(backbone(two))
    assert found.backbone.both == len(backbone(one) & backbone(named)) == found.common_backbone.sum()
    edges = set().union(*one, *named)
    assert found.edges.first == pytest.approx(sum(map(len, one)) / len(one))  # edges of a valid circuit, mean
    assert found.edges.both == pytest.approx(sum(min(share(one, edge), share(named, edge)) for edge in edges))
    in_other = [(len(one & named), len(one)), (len(one & named), len(two))]
    assert [(one.n_valid, one.n) for one in found.valid_in_other if one is not None] == in_other
    of_smallest = [(len(smallest(one) & named), len(smallest(one))), (len(smallest(named) & one), len(smallest(two)))]
    assert [(one.n_valid, one.n) for one in found.smallest_in_other if one is not None] == of_smallest

    # Under every order of the hidden units.
    orders = list(orders_of(sizes))
    assert found.n_matchings == len(orders) == math.prod(map(math.factorial, sizes[1:-1]))
    by_order = [in_first_names(two, order) for order in orders]
    for shared, values in (
        (found.valid, [len(one & other) for other in by_order]),
        (found.smallest, [len(smallest(one) & smallest(other)) for other in by_order]),
        (found.backbone, [len(backbone(one) & backbone(other)) for other in by_order]),
    ):
        assert shared.at_random == pytest.approx((np.mean(values), *np.percentile(values, (2.5, 97.5))))

    # Overlaps, and those of random circuits of the same sizes, by all pairs.
    assert found.overlap.first == pytest.approx(np.mean([jaccard(*pair) for pair in itertools.combinations(one, 2)]))
    assert found.overlap.between == pytest.approx(np.mean([jaccard(a, b) for a in one for b in named]))
    by_size: dict[int, list[int]] = {}
    space = searches[0].space
    for circuit in filter(space.is_well_formed, range(space.full + 1)):
        by_size.setdefault(circuit.bit_count(), []).append(circuit)

    @cache
    def chance(size: int, other: int) -> float:
        pairs = itertools.product(by_size[size], by_size[other])
        return float(np.mean([(i & j).bit_count() / (i | j).bit_count() for i, j in pairs]))

    within = [chance(len(a), len(b)) for a, b in itertools.combinations(one, 2)]
    assert found.random_overlap.first == pytest.approx(np.mean(within))
    assert found.random_overlap.between == pytest.approx(np.mean([chance(len(a), len(b)) for a in one for b in named]))


@pytest.mark.parametrize(("activation", "mirrored"), [("leaky_relu", False), ("relu", False), ("tanh", True)])
def test_a_network_and_its_copy_share_everything(activation: str, mirrored: bool) -> None:
    """The copy's hidden units are in another order and, where the activation is odd, some are mirror images."""
    sizes = (2, 3, 3, 1)
    part = random_part(sizes, [activation, activation, "identity"], seed=3)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(3))
    # Two units of the first hidden layer are constant on these examples, and no correlation tells them apart.
    bias = torch.tensor([-9.0, -8.0, part.layers[0].bias[2].item()])
    if activation == "relu":
        part = replace(part, layers=(replace(part.layers[0], bias=bias), *part.layers[1:]))
        assert (part.activations(x)[1][:, :2] == 0).all()
    orders = [[0, 1], [1, 2, 0], [2, 1, 0], [0]]
    signs = [[1.0] * 2, [1.0, -1.0, -1.0], [-1.0, 1.0, 1.0], [1.0]] if mirrored else None
    copy = permuted(part, orders, signs)
    assert torch.allclose(part(x), copy(x), atol=1e-5)
    matching = match_parts(part, copy, x, x)
    assert [units.tolist() for units in matching] == [np.argsort(order).tolist() for order in orders]
    one, two = (ValidCircuits.of(searched(network, x, 0.6)) for network in (part, copy))
    fixed = [True, False, False, True]
    for found in (
        shared_circuits(one, two, matching, fixed=fixed),
        shared_circuits(one, one, match_parts(part, part, x, x), fixed=fixed),
    ):
        assert found.valid.both == found.valid.first == found.valid.second > 10
        assert found.valid.share == found.smallest.share == found.edges.share == 1
        assert found.backbone.first == found.backbone.second == found.backbone.both
        assert found.valid.at_random is not None and found.valid.at_random[0] < found.valid.both
        assert all(checked is not None and checked.share == 1 for checked in found.smallest_in_other)
        assert found.n_matchings == 36


def test_inputs_that_are_hidden_units_are_matched_too() -> None:
    part = random_part((3, 2, 1), ["tanh", "identity"], seed=1)
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)).tanh()
    orders, signs = [[2, 0, 1], [1, 0], [0]], [[1.0, -1.0, 1.0], [1.0, -1.0], [1.0]]
    copy, x_copy = permuted(part, orders, signs), x[:, [2, 0, 1]] * torch.tensor([1.0, -1.0, 1.0])
    assert torch.allclose(part(x), copy(x_copy), atol=1e-6)
    matching = match_parts(part, copy, x, x_copy, mirrored_inputs=True)
    assert [units.tolist() for units in matching] == [np.argsort(order).tolist() for order in orders]
    with pytest.raises(ValueError, match="first has layers of 3-2-1 neurons, second of 2-2-1: .* can't be matched"):
        match_parts(part, random_part((2, 2, 1), ["tanh", "identity"]), x, x)


def test_of_a_sample_what_can_be_known_is_known() -> None:
    """One network lists some of its valid circuits, drawn at random: the others' validity in it is evaluated."""
    parts = [random_part((2, 3, 2, 1), ["tanh", "tanh", "identity"], seed) for seed in (0, 1)]
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    whole, other = (ValidCircuits.of(searched(part, x, 0.5)) for part in parts)
    matching = match_parts(*parts, x, x)
    choices = {"fixed": [True, False, False, True]}
    known = shared_circuits(whole, other, matching, **choices)

    def evaluate(circuits: np.ndarray) -> np.ndarray:
        return np.isin(circuits, other.listed)

    sample = replace(other, listed=other.listed[::3], evaluate=evaluate)
    assert not sample.lists_all and sample.backbone.tolist() == other.backbone.tolist()
    found = shared_circuits(whole, sample, matching, **choices)
    assert found.valid.both == known.valid.both and found.valid.at_random is None
    assert found.valid_in_other[0] == known.valid_in_other[0]
    assert found.valid_in_other[1] is not None and found.valid_in_other[1].n == len(sample.listed)
    assert found.valid_in_other[1].of == other.n_valid
    assert found.backbone == known.backbone and found.edges == known.edges
    silent = replace(sample, evaluate=None)  # nothing says which circuits are valid
    found = shared_circuits(whole, silent, matching, **choices)
    assert found.valid.both is None and found.valid.share is None and found.common is None
    assert found.valid_in_other[0] is None and found.valid_in_other[1] is not None
    twice = shared_circuits(sample, sample, match_parts(parts[1], parts[1], x, x), **choices)
    assert twice.valid.both is None  # of two samples the circuits in common aren't known
    assert twice.valid_in_other[0] is not None and twice.valid_in_other[0].share == 1


def test_a_network_without_a_valid_circuit_shares_nothing() -> None:
    parts = [random_part((2, 2, 1), ["tanh", "identity"], seed) for seed in (0, 1)]
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    one, none = ValidCircuits.of(searched(parts[0], x, 0.5)), ValidCircuits.of(searched(parts[1], x, 1.0))
    assert one.n_valid and not none.n_valid and none.fewest_edges is None
    found = shared_circuits(one, none, match_parts(*parts, x, x), fixed=[True, False, True])
    assert (found.valid.both, found.valid.share, found.backbone.second, found.smallest.both) == (0, 0, 0, 0)
    assert found.overlap.second is None and found.overlap.between is None and found.random_overlap.between is None
    nothing = shared_circuits(none, none, match_parts(parts[1], parts[1], x, x), fixed=[True, False, True])
    assert nothing.valid.share is None and nothing.edges.share is None


def test_matchings_are_all_or_drawn() -> None:
    def listed(most: int) -> list[tuple[tuple[int, ...], ...]]:
        found = matchings((2, 3, 2, 1), [True, False, False, True], most, np.random.default_rng(0))
        return [tuple(tuple(units.tolist()) for units in matching) for matching in found]

    assert sorted(listed(12)) == [
        ((0, 1), first, second, (0,))
        for first in itertools.permutations(range(3))
        for second in itertools.permutations(range(2))
    ]
    drawn = listed(11)
    assert len(drawn) == 11 and set(drawn) <= set(listed(12))


def test_circuits_get_the_names_of_their_matched_units() -> None:
    space = CircuitSpace((2, 3, 2, 1))
    rng = np.random.default_rng(0)
    matching = (np.arange(2), rng.permutation(3), rng.permutation(2), np.arange(1))
    places = edges_by_name(matching)
    circuits = rng.integers(0, 2**space.n_edges, 20, dtype=np.uint64)
    found = renamed(circuits, places)
    for before, after in zip(circuits, found, strict=True):
        masks = zip(space.masks(int(before)), matching, matching[1:], strict=False)
        expected = [mask[targets][:, sources] for mask, sources, targets in masks]
        assert all(map(np.array_equal, space.masks(int(after)), expected))
    assert np.array_equal(renamed(found, np.argsort(places)), circuits)


def test_a_space_without_room_for_all_sets_of_edges_has_no_expected_overlap() -> None:
    assert expected_overlaps(CircuitSpace((4, 4, 4, 1))) is None
    sizes = np.zeros(37)
    sizes[5] = 2
    assert mean_overlap(CircuitSpace((4, 4, 4, 1)), sizes) is None
    assert mean_overlap(CircuitSpace((2, 2, 1)), np.zeros(7)) is None  # no pair
    found = expected_overlaps(CircuitSpace((2, 2, 1)))
    assert found is not None and math.isnan(found[1, 1]) and found[6, 6] == 1
