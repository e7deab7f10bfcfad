"""Units of networks are matched by activations; edges and circuits are counted in matched names."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.kept import circuits_of_edges, edges_of, kept_edges, masks_of
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.matching import (
    correlations,
    edges_by_name,
    match_layers,
    match_units,
    random_matching,
    random_recurrence,
    recurrence,
)

SIZES = (3, 4, 3, 1)


def random_part() -> Part:
    generator = torch.Generator().manual_seed(0)
    layers = [
        Layer(torch.randn(n, m, generator=generator), torch.randn(n, generator=generator), "tanh")
        for m, n in itertools.pairwise(SIZES)
    ]
    return Part(tuple(layers))


def permuted(part: Part, orders: list[list[int]]) -> Part:
    """The same function with its hidden units in another order: new unit i is old unit orders[l][i]."""
    layers = []
    for layer, before, after in zip(part.layers, orders, orders[1:], strict=False):
        layers.append(replace(layer, weight=layer.weight[after][:, before], bias=layer.bias[after]))
    return replace(part, layers=tuple(layers))


def circuits(n: int, seed: int) -> np.ndarray:
    """The kept edges of n distinct well-formed circuits."""
    space, rng = CircuitSpace(SIZES), np.random.default_rng(seed)
    drawn = dict.fromkeys(int(bits) for bits in rng.integers(0, 2**space.n_edges, 5_000, dtype=np.uint64))
    formed = [bits for bits in drawn if space.is_well_formed(bits)][:n]
    assert len(formed) == n
    return kept_edges(space, np.array(formed, dtype=np.uint64))


ORDERS = [[0, 1, 2], [2, 0, 3, 1], [1, 2, 0], [0]]


def test_correlations_are_numpys_and_constant_units_have_none() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(50, 3), torch.randn(50, 2)
    first[:, 1] = 0.1
    found = correlations(first, second)
    with np.errstate(invalid="ignore"):
        reference = np.corrcoef(first.T.double(), second.T.double())[:3, 3:]
    np.testing.assert_allclose(found[[0, 2]], reference[[0, 2]], atol=1e-12)
    assert found[1].tolist() == [0, 0]
    with pytest.raises(ValueError, match="first has 50 examples and second 49"):
        correlations(first, second[1:])
    with pytest.raises(ValueError, match="the shapes must be equal"):
        match_units(first, second)


def test_matching_has_the_largest_sum_of_correlations_of_all_permutations() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(20, 5), torch.randn(20, 5)
    found = correlations(first, second)
    best = max(itertools.permutations(range(5)), key=lambda order: found[range(5), order].sum())
    assert match_units(first, second).tolist() == list(best)


def test_a_network_and_its_permuted_copy_are_matched_by_the_permutation_and_recur_always() -> None:
    torch.manual_seed(1)
    part, x = random_part(), torch.randn(200, SIZES[0])
    copy = permuted(part, ORDERS)
    assert torch.allclose(part(x), copy(x), atol=1e-5)
    layers = [(*network.activations(x), network(x)) for network in (part, copy)]
    matching = match_layers(layers[0][:-1], layers[1][:-1])
    matching = (*matching, np.arange(1))
    assert [names.tolist() for names in matching] == [np.argsort(order).tolist() for order in ORDERS]

    kept = circuits(4, seed=0)
    masks = masks_of(SIZES, kept)
    of_copy = edges_of(
        [mask[:, after][:, :, before] for mask, before, after in zip(masks, ORDERS, ORDERS[1:], strict=False)]
    )
    for one, two in zip(kept, of_copy, strict=True):  # the same circuit of the same function
        outputs = (
            network.masked([mask[0] for mask in masks_of(SIZES, own[None])], x)
            for network, own in ((part, one), (copy, two))
        )
        assert torch.allclose(*outputs, atol=1e-5)
    own = tuple(np.arange(size) for size in SIZES)
    found = recurrence([kept, of_copy], [own, matching])
    assert found.n_networks == 2 and found.counts.tolist() == [2] * 4
    assert sorted(found.circuits.tolist()) == sorted(circuits_of_edges(kept).tolist())
    assert np.array_equal(found.edges, 2 * kept.any(0))
    assert recurrence([kept, of_copy], [own, own]).counts.max() == 1  # without the matching none recurs

    drawn = random_recurrence(
        [kept, of_copy],
        SIZES,
        [True, False, False, True],
        found.circuits,
        draws=300,
        generator=np.random.default_rng(0),
    )
    assert drawn.circuits.shape == (300, 4) and drawn.edges.shape == (300, 3 * 4 + 4 * 3 + 3)
    assert 1 <= drawn.circuits.mean() < 1.2 < found.counts.mean()


def test_counts_by_hand() -> None:
    sizes = (1, 2, 1)  # edges: 0→0, 0→1, then 0→0, 1→0
    upper, lower, both = [1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1]
    kept = [np.array([upper], dtype=bool), np.array([lower, both], dtype=bool), np.array([upper], dtype=bool)]
    own, swapped = (np.arange(1), np.arange(2), np.arange(1)), (np.arange(1), np.array([1, 0]), np.arange(1))
    assert edges_by_name(own).tolist() == [0, 1, 2, 3] and edges_by_name(swapped).tolist() == [1, 0, 3, 2]
    found = recurrence(kept, [own, swapped, own])
    assert found.edges.tolist() == [3, 1, 3, 1]
    assert dict(zip(found.circuits.tolist(), found.counts.tolist(), strict=True)) == {0b0101: 3, 0b1111: 1}
    assert found.count(np.array([0b0101, 0b1010, 0b1111], dtype=np.uint64)).tolist() == [3, 0, 1]
    # The second network has upper or lower, each with probability 1/2, and the third, too.
    drawn = random_recurrence(
        kept, sizes, [True, False, True], found.circuits, draws=4_000, generator=np.random.default_rng(1)
    )
    assert drawn.circuits.mean(0) == pytest.approx([2, 1], abs=0.05)
    assert drawn.edges.mean(0) == pytest.approx([1 + 1 + 0.5, 1 + 0.5, 1 + 1 + 0.5, 1 + 0.5], abs=0.05)
    assert drawn.largest.mean() == pytest.approx((3 + 2 + 2 + 2) / 4, abs=0.05)
    with pytest.raises(ValueError, match="without circuits"):
        recurrence([kept[0], kept[0][:0]], [own, own])


def test_random_matchings_are_permutations_and_leave_data_alone() -> None:
    generator = np.random.default_rng(0)
    for _ in range(5):
        inputs, hidden = random_matching([4, 6], [True, False], generator)
        assert inputs.tolist() == [0, 1, 2, 3] and sorted(hidden) == list(range(6))
