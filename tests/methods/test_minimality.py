"""Minimality: every level against its definition by brute force, and the search against the table of all circuits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mi_runner.methods.circuits import minimality as minimality_module
from mi_runner.methods.circuits.edges import Edges, bits_of
from mi_runner.methods.circuits.kernels.minimality import close_bits
from mi_runner.methods.circuits.measures import CircuitMeasures, measure
from mi_runner.methods.circuits.minimality import LEVELS, minimality, minimality_by_search
from mi_runner.methods.circuits.space import INPUTS, CircuitSpace
from tests.small_parts import examples_of, random_part

SIZES = [(2, 2, 2, 1), (3, 2, 1), (2, 1, 2, 1), (4, 1), (1, 3, 1)]


@cache
def family(sizes: tuple[int, ...], inputs: str) -> list[int]:
    space = CircuitSpace(sizes, inputs)
    return [circuit for circuit in range(2**space.n_edges) if space.is_well_formed(circuit)]


def without(sizes: tuple[int, ...], circuit: int, edge: int) -> int:
    """The union of the paths from an input to the output that use only the other edges."""
    masks = CircuitSpace(sizes).masks(circuit & ~(1 << edge))
    offsets, left = CircuitSpace(sizes).offsets, 0

    def walk(layer: int, neuron: int, path: int) -> None:
        nonlocal left
        if layer == len(masks):
            left |= path
            return
        for to in np.flatnonzero(masks[layer][:, neuron]).tolist():
            walk(layer + 1, to, path | 1 << offsets[layer] + to * sizes[layer] + neuron)

    for neuron in range(sizes[0]):
        walk(0, neuron, 0)
    return left


def by_definition(sizes: tuple[int, ...], valid: set[int], circuit: int) -> int:
    if circuit not in valid:
        return 0
    edges = [edge for edge in range(circuit.bit_length()) if circuit >> edge & 1]
    still_valid = [without(sizes, circuit, edge) in valid for edge in edges]
    holds = [
        not all(still_valid),
        not any(still_valid),
        not any(other != circuit and other & ~circuit == 0 for other in valid),
        circuit.bit_count() == min(other.bit_count() for other in valid),
    ]
    assert holds == sorted(holds, reverse=True)  # each level implies those before it
    return sum(holds)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SIZES), st.sampled_from(INPUTS), st.integers(0, 2**32), st.floats(0, 1), st.booleans())
def test_levels_are_those_of_the_definition(
    sizes: tuple[int, ...], inputs: str, seed: int, share: float, sparse: bool
) -> None:
    """Whatever circuits are valid; by bits, by the sorted list of valid ones, and by the search."""
    space, draw = CircuitSpace(sizes, inputs), np.random.default_rng(seed)
    circuits = np.array(family(sizes, inputs), dtype=np.uint64)
    chance = share * np.where(sparse, 0.6 ** np.bitwise_count(circuits), 1)
    valid = draw.permutation(circuits[draw.random(len(circuits)) < chance])
    known = set(valid.tolist())
    expected = [by_definition(sizes, known, circuit) for circuit in circuits.tolist()]
    assert minimality(space, valid, circuits).tolist() == expected
    of_valid = [expected[circuits.tolist().index(circuit)] for circuit in valid.tolist()]
    assert minimality(space, valid).tolist() == of_valid
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minimality_module, "MOST_BITS", 0)
        assert minimality(space, valid, circuits).tolist() == expected

    def is_valid(kept: np.ndarray) -> np.ndarray:
        asked = bits_of(kept)
        assert np.isin(asked, circuits).all()  # nothing outside the family is evaluated
        return np.isin(asked, valid)

    kept = space.edges.rows(valid)
    fewest = min((circuit.bit_count() for circuit in known), default=None)
    levels, exact = minimality_by_search(sizes, kept, is_valid, inputs=inputs, fewest=fewest)
    assert levels.tolist() == of_valid and exact.all()
    levels, exact = minimality_by_search(sizes, kept, is_valid, inputs=inputs)
    assert levels.tolist() == [min(level, 3) for level in of_valid]
    assert exact.tolist() == [level < 3 for level in of_valid]
    levels, exact = minimality_by_search(sizes, kept, is_valid, inputs=inputs, fewest=fewest, most=0)
    assert all(level == other for level, other, known in zip(levels, of_valid, exact, strict=True) if known)
    assert (levels[~exact] == 2).all()


@pytest.mark.parametrize("inputs", INPUTS)
def test_levels_of_a_network_of_the_published_shape(inputs: str) -> None:
    """On 21 edges: by bits, as by the sorted list, and on some circuits by the definition."""
    part = random_part((3, 3, 3, 1), ["leaky_relu"] * 3, seed=7)
    space, examples = CircuitSpace(part.sizes, inputs), examples_of(part)
    examples = replace(examples, target=examples.full.round())
    table = CircuitMeasures.joined(list(measure(part, examples, inputs=inputs)))
    valid = table.kept(table.n_correct > np.quantile(table.n_correct, 0.98)).circuit
    levels = minimality(space, valid)
    assert set(levels.tolist()) == {1, 2, 3, 4}
    known, rows = set(valid.tolist()), np.random.default_rng(0).permutation(len(valid))[:50]
    rows = np.concatenate([rows, np.flatnonzero(levels >= 3)[:50]])
    for row in rows:
        assert levels[row] == by_definition(part.sizes, known, int(valid[row]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minimality_module, "MOST_BITS", 0)
        assert np.array_equal(minimality(space, valid), levels)


def test_closing_bits_is_closing_rows() -> None:
    draw = np.random.default_rng(0)
    for sizes in ((3, 3, 3, 1), (2, 1, 2, 1), (5, 6, 4, 1), (64, 1)):
        space = CircuitSpace(sizes)
        shape = np.array(sizes), np.array(space.offsets)
        kept = draw.random((200, space.n_edges)) < 0.4
        bits = [close_bits(circuit, *shape) for circuit in bits_of(kept)]
        assert bits == bits_of(Edges(tuple(sizes)).closed(kept)).tolist()


def test_no_circuit_is_valid() -> None:
    space = CircuitSpace((2, 2, 1))
    assert minimality(space, np.array([], dtype=np.uint64)).tolist() == []
    assert minimality(space, np.array([], dtype=np.uint64), np.array([space.full], dtype=np.uint64)).tolist() == [0]


def test_a_chain_of_many_edges() -> None:
    """The valid circuits are those that keep the edges of one of two paths; 20-30-1 has 630 edges."""
    sizes = (20, 30, 1)
    paths = np.zeros((2, 630), dtype=bool)
    for path, (source, hidden) in zip(paths, ((3, 4), (5, 29)), strict=True):
        path[[hidden * 20 + source, 600 + hidden]] = True

    def is_valid(kept: np.ndarray) -> np.ndarray:
        return np.any([kept[:, path].all(1) for path in paths], axis=0)

    draw = np.random.default_rng(0)
    more = Edges(tuple(sizes)).closed(paths[:1] | (draw.random((1, 630)) < 0.1))
    kept = np.concatenate([paths[:1], paths[:1] | paths[1:], more, np.ones((1, 630), dtype=bool)])
    levels, exact = minimality_by_search(sizes, kept, is_valid, fewest=2)
    assert [LEVELS[level] for level in levels] == ["cardinal", "", "quasi", ""] and exact.all()
    assert torch.tensor(levels).dtype == torch.int8
