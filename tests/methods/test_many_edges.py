"""Circuits of more than 64 edges: Python's integers, beside the same circuits of fewer edges and by brute force.

A layer of many inputs that leads into one neuron has one way to be kept whole. So the circuits of 60-1-3-3-1 are those
of 1-3-3-1, with 60 edges more, and each number that is said of the one is known from the other.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mi_runner.errors import ArgumentError
from mi_runner.experiments.common.circuit_picture import output_picture
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.chance_overlap import chance_overlap
from mi_runner.methods.circuits import census, pieces
from mi_runner.methods.circuits import minimality as minimality_module
from mi_runner.methods.circuits.census import first_in_order, take_census
from mi_runner.methods.circuits.circuit import Circuit, pair_shares
from mi_runner.methods.circuits.codes import circuits_with, codes_of, n_codes
from mi_runner.methods.circuits.device_measures import measure_on
from mi_runner.methods.circuits.drawing import draw_circuits
from mi_runner.methods.circuits.edges import Edges, among, as_bits, bits_of, n_kept, words_of
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.family import circuits_of_family, count_family, nonzero_edges, search_family
from mi_runner.methods.circuits.measures import CircuitMeasures, measure, measure_by_tensors, measure_one, measure_some
from mi_runner.methods.circuits.minimality import minimality, minimality_by_search, validity
from mi_runner.methods.circuits.overlaps import overlaps
from mi_runner.methods.circuits.sampling.sample import sample_circuits
from mi_runner.methods.circuits.search import CircuitSearch, count_circuits, judged, search_circuits
from mi_runner.methods.circuits.sharing import backbone, blocking, minimal_members, packing
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.circuits.table import circuit_table
from mi_runner.methods.criteria.judge import criteria
from mi_runner.methods.explanations.explain import n_circuits
from mi_runner.methods.shared_circuits import renamed, shared_circuits
from tests.small_parts import examples_of, random_part

WIDE, NARROW = (60, 1, 3, 3, 1), (1, 3, 3, 1)

MORE = WIDE[0]
"""Edges that every circuit of the wide layers keeps besides those of the narrow ones: the first of all."""

Two = tuple[Part, CircuitExamples]


def widened(circuits: np.ndarray | list[int]) -> list[int]:
    """The circuits of the wide layers that keep these edges of the narrow ones."""
    return [int(circuit) << MORE | (1 << MORE) - 1 for circuit in circuits]


@pytest.fixture(scope="module", params=["zero", "mean"])
def ablation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def both() -> tuple[Two, Two]:
    """The wide layers with examples; and those behind the first neuron, with its values as examples."""
    part = random_part(WIDE, ["leaky_relu", "relu", "relu", "identity"], seed=4)
    first, *between, last = part.layers
    first = replace(first, weight=first.weight / 4)
    wide = Part((first, *between, replace(last, weight=4 * last.weight)))
    examples = examples_of(wide, 40)
    examples = replace(examples, target=examples.full.round())
    values = first.activate(examples.x @ first.weight.T + first.bias)
    return (wide, examples), (Part(wide.layers[1:]), replace(examples, x=values))


def searched(two: Two, ablation: str, threshold: float = 0.5) -> CircuitSearch:
    return search_circuits(*two, accuracy_threshold=threshold, ablation=ablation)


# --- bits ------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**32))
def test_rows_and_bits_are_each_others_inverse(n: int, seed: int) -> None:
    rows = np.random.default_rng(seed).random((7, n)) < 0.5
    bits = bits_of(rows)
    assert bits.tolist() == [sum(1 << place for place in np.flatnonzero(row).tolist()) for row in rows]
    assert bits.dtype == (np.uint64 if n <= 64 else object)
    edges = Edges((n, 1))
    assert np.array_equal(edges.rows(bits), rows)
    assert n_kept(bits).tolist() == rows.sum(1).tolist()
    assert edges.bits(map(str, bits.tolist())).tolist() == bits.tolist()


def test_bits_of_any_integers_and_their_words() -> None:
    assert as_bits([1, 2**64 - 1]).dtype == np.uint64
    assert as_bits([1, 2**64]).tolist() == [1, 2**64]
    assert as_bits(np.array([3, 5])).dtype == np.uint64
    assert as_bits(["18446744073709551616"], 65).tolist() == [2**64]
    assert as_bits([], 65).dtype == object
    assert words_of(as_bits([1, 2**64 + 2])).tolist() == [[1, 0], [2, 1]]
    assert words_of(as_bits([7]), 1).tolist() == [[7]]
    assert words_of(as_bits([7]), 3).tolist() == [[7, 0, 0]]
    with pytest.raises(OverflowError):
        as_bits([2**64], 64)
    for more in (0, 2**70):
        assert among(as_bits([5, more + 7, 9]), as_bits([9, more + 7])).tolist() == [False, True, True]


# --- the space -------------------------------------------------------------------------------------------------------


def test_counts_of_any_size() -> None:
    assert (CircuitSpace(WIDE).count(), CircuitSpace(WIDE).n_edges) == (CircuitSpace(NARROW).count(), 75)
    assert CircuitSpace((70, 2)).count() == 3**70 - 2 * 1  # each input leads to one or both of two outputs, all used
    assert CircuitSpace((70, 2), "any").count() == 4**70 - 1


def test_well_formed_circuits_of_many_edges() -> None:
    space, narrow = CircuitSpace(WIDE), CircuitSpace(NARROW)
    every = [circuit for circuit in range(2**narrow.n_edges) if narrow.is_well_formed(circuit)]
    assert all(space.is_well_formed(circuit) for circuit in widened(every))
    assert not space.is_well_formed(widened(every)[5] ^ 1)  # the first input is left out
    assert CircuitSpace(WIDE, "any").is_well_formed(widened(every)[5] ^ 1)
    assert not space.is_well_formed(1 << 75 | space.full)
    assert [space.active(circuit) for circuit in widened(every)] == [(1, *narrow.active(circuit)) for circuit in every]
    masks = space.masks(widened(every)[5])
    assert space.circuit(masks) == widened(every)[5]
    assert space.edge_counts(space.edges.bits(widened(every)))[MORE:].tolist() == (
        narrow.edge_counts(narrow.edges.bits(every)).tolist()
    )


def test_what_takes_circuits_in_a_word_refuses_more_edges() -> None:
    with pytest.raises(ArgumentError, match="layers of 60-1-3-3-1 neurons have 75 edges, more than 64"):
        CircuitSpace(WIDE).in_a_word()
    with pytest.raises(ArgumentError, match="75 edges, more than 64"):
        criteria(random_part(WIDE, ["relu"] * 4), torch.rand(3, 60), [1])
    with pytest.raises(ArgumentError, match="75 edges, more than 64"):
        n_circuits(WIDE)
    assert CircuitSpace(NARROW).in_a_word() == CircuitSpace(NARROW)


# --- the table beside that of fewer edges ----------------------------------------------------------------------------


def test_a_search_counts_and_lists_the_same_circuits(both: tuple[Two, Two], ablation: str) -> None:
    wide, narrow = (searched(two, ablation) for two in both)
    assert wide.listed.circuit.tolist() == widened(narrow.listed.circuit)
    assert 5 < wide.n_valid < wide.n_circuits == CircuitSpace(NARROW).count()
    for name in ("n_correct", "n_agreeing"):
        assert np.array_equal(getattr(wide.listed, name), getattr(narrow.listed, name))
    assert np.allclose(wide.listed.squares, narrow.listed.squares, rtol=1e-4)
    assert np.array_equal(wide.counts[1:, MORE:], narrow.counts)
    assert wide.edge_counts.tolist() == [wide.n_valid] * MORE + narrow.edge_counts.tolist()
    assert wide.n_cardinal == narrow.n_cardinal


def test_each_measure_is_that_of_the_definition(both: tuple[Two, Two], ablation: str) -> None:
    part, examples = both[0]
    every = searched(both[0], ablation).listed
    by_tensors = CircuitMeasures.joined(list(measure_by_tensors(part, examples, every.circuit, ablation=ablation)))
    some = measure_some(part, examples, every.circuit[::7], ablation=ablation).sorted()
    on_device = CircuitMeasures.joined(list(measure_on(torch.device("cpu"), part, examples, ablation=ablation)))
    for found, expected in (
        (by_tensors, every),
        (some, every.kept(np.arange(0, len(every), 7))),
        (on_device.sorted(), every),
    ):
        assert found.circuit.tolist() == expected.circuit.tolist()
        assert np.array_equal(found.n_correct, expected.n_correct)
        assert np.allclose(found.squares, expected.squares, rtol=1e-4)
    one = measure_one(part, examples, int(every.circuit[5]), ablation=ablation)
    assert (int(one.circuit[0]), int(one.n_correct[0])) == (int(every.circuit[5]), int(every.n_correct[5]))


def test_classes_of_many_edges() -> None:
    part = random_part((70, 1, 2, 2), ["tanh", "relu", "identity"], seed=5)
    part = Part((replace(part.layers[0], weight=part.layers[0].weight / 8), *part.layers[1:]))
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(30, 70, generator=draw)
    examples = CircuitExamples(x, torch.randint(0, 2, (30,), generator=draw), part(x))
    every = CircuitMeasures.joined(list(measure(part, examples))).sorted()
    assert len(every) == CircuitSpace((1, 2, 2)).count()
    again = CircuitMeasures.joined(list(measure_by_tensors(part, examples, every.circuit)))
    some = measure_some(part, examples, every.circuit).sorted()
    for found in (some, again):
        assert np.array_equal(found.n_correct, every.n_correct)
        assert np.allclose(found.squares, every.squares, rtol=1e-4)


def test_the_only_circuit_is_measured_however_wide_the_layers_are() -> None:
    part = random_part((70, 1, 1), ["tanh", "identity"])
    found = searched((part, examples_of(part)), "zero")
    assert found.listed.circuit.tolist() == [2**71 - 1]
    assert found.listed.squares.tolist() == [0]


def test_listed_circuits_are_judged_on_other_examples(both: tuple[Two, Two], ablation: str) -> None:
    part, _ = both[0]
    other = examples_of(part, 25, seed=8)
    result = searched(both[0], ablation)
    measures = judged(result, part, other, ablation=ablation)
    expected = searched((part, other), ablation).listed
    assert measures.circuit.tolist() == expected.circuit.tolist()
    assert np.array_equal(measures.n_correct, expected.n_correct)


# --- the census of thin layers, beside a plain enumeration -----------------------------------------------------------

THIN = [
    ((60, 1, 3, 3, 1), "all"),
    ((35, 1, 10, 1, 5, 1), "all"),
    ((2, *[1] * 54, 3, 2, 1), "any"),
    ((1, 2, *[1] * 57, 2, 1, 1), "any"),
    ((43, 1, 4, 2, 1, 4, 1), "all"),
    ((41, 1, 4, 1, 4, 3), "all"),
    ((1, 3, *[1] * 51, 3, 2), "any"),
]
"""Layers with more than 64 edges and few circuits, and the family. Where the last size isn't 1, classes."""


def enumerated(space: CircuitSpace) -> list[int]:
    """All well-formed circuits: each active neuron of one layer after the other leads to some neurons of the next."""
    sizes, every = space.sizes, [(1 << n) - 1 for n in space.sizes]
    nodes = [(used, 0) for used in range(every[0] if space.inputs == "all" else 1, every[0] + 1)]
    for start, n_in, n_out in zip(space.offsets, sizes, sizes[1:], strict=False):
        below = []
        for active, circuit in nodes:
            sources = [source for source in range(n_in) if active >> source & 1]
            for led in itertools.product(range(1, 1 << n_out), repeat=len(sources)):
                kept = zip(sources, led, strict=True)
                edges = [o * n_in + i for i, targets in kept for o in range(n_out) if targets >> o & 1]
                bits = sum(1 << (start + edge) for edge in edges)
                below.append((int(np.bitwise_or.reduce(led)), circuit | bits))
        nodes = below
    return sorted(circuit for active, circuit in nodes if space.inputs == "any" or active == every[-1])


def thin_part(sizes: tuple[int, ...]) -> Two:
    """Random weights, but a single neuron hands on the value of the single one before it; outputs vary by about 2."""
    part, draw = random_part(sizes, [*["leaky_relu"] * (len(sizes) - 2), "identity"], seed=3), torch.Generator()
    *layers, last = [
        replace(layer, weight=torch.ones(1, 1), bias=torch.zeros(1), activation="identity")
        if layer.weight.shape == (1, 1)
        else replace(layer, weight=layer.weight / layer.weight.shape[1] ** 0.5, slope=0.4)
        for layer in part.layers
    ]
    x = torch.randn(30, sizes[0], generator=draw.manual_seed(1))
    outputs = Part((*layers, last))(x)
    scale = 2 / outputs.std(0)
    last = replace(last, weight=last.weight * scale[:, None], bias=(last.bias - outputs.mean(0)) * scale)
    part = Part((*layers, last))
    if sizes[-1] == 1:
        return part, CircuitExamples(x, part(x)[:, 0].round(), part(x)[:, 0])
    return part, CircuitExamples(x, part(x).argmax(1), part(x))


def answered(two: Two, every: np.ndarray, ablation: str = "zero", inputs: str = "all") -> tuple[np.ndarray, int]:
    """The correct answers of all circuits, and the fewest of the better half.

    Those of the table, which adds up in the census's order. By passes with masked weights, sums differ in the last
    digits of float32, and of 30 answers of 50,625 circuits a few are as near to a tie.
    """
    table = CircuitMeasures.joined(list(measure(*two, ablation=ablation, inputs=inputs))).sorted()
    passes = CircuitMeasures.joined(list(measure_by_tensors(*two, every, ablation=ablation)))
    assert table.circuit.tolist() == every.tolist()
    assert np.allclose(table.squares, passes.squares, rtol=1e-3, atol=1e-4)
    assert np.count_nonzero(table.n_correct != passes.n_correct) <= len(every) / 200
    return table.n_correct, int(np.median(table.n_correct))


@pytest.mark.parametrize(("sizes", "inputs"), THIN)
def test_a_census_of_more_than_64_edges_is_a_plain_enumeration(
    sizes: tuple[int, ...], inputs: str, ablation: str
) -> None:
    space, (part, examples) = CircuitSpace(sizes, inputs), thin_part(sizes)
    every = space.edges.bits(enumerated(space))
    assert space.n_edges > 64 and len(every) == space.count() > 5
    right, least = answered((part, examples), every, ablation, inputs)
    found, listed = take_census(part, examples, least, 10**6, ablation=ablation, inputs=inputs)
    expected = np.zeros_like(found.counts)
    np.add.at(expected, (space.n_active(every), n_kept(every), right), 1)
    assert np.array_equal(found.counts, expected)
    valid = every[right >= least]
    assert len(valid) > 0 and len(set(right.tolist())) > 1
    assert listed.tolist() == valid.tolist()
    assert np.array_equal(found.edge_counts, space.edge_counts(valid))


@pytest.mark.parametrize(("sizes", "inputs"), [*THIN, ((2, 3, 2, 2), "any"), ((1, 33, 1), "all")])
def test_codes_and_circuits_are_each_others_inverse(sizes: tuple[int, ...], inputs: str) -> None:
    space = CircuitSpace(sizes, inputs)
    draw = np.random.default_rng(0)
    circuits = (
        enumerated(space) if space.count() < 10**6 else [int(m) << 33 | int(m) for m in draw.integers(1, 2**33, 500)]
    )
    every = space.edges.bits(circuits)
    codes = codes_of(space, every)
    assert len(np.unique(codes)) == len(np.unique(every)) and codes.dtype == np.uint64
    assert space.n_edges <= 64 or codes.max() < n_codes(space)
    assert circuits_with(space, codes).tolist() == circuits


def test_the_codes_of_a_small_space_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """1-2-1-1: the input leads to neuron a, b or both, digits 0, 1, 2 of three; a, b and the last have one choice."""
    monkeypatch.setattr(Edges, "fit_in_a_word", property(lambda edges: False))
    space = CircuitSpace((1, 2, 1, 1), "all")
    assert n_codes(space) == 3
    assert codes_of(space, np.array([0b10101, 0b11010, 0b11111], dtype=object)).tolist() == [0, 1, 2]
    assert n_codes(CircuitSpace((1, 2, 1, 1), "any")) == 4  # an input may have no edge


@pytest.mark.parametrize("most", [7, 10**6])
def test_pieces_of_a_census_of_many_edges_are_the_whole(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "TASKS_OF_PIECE", 20)
    sizes = THIN[1][0]
    space, (part, examples) = CircuitSpace(sizes), thin_part(sizes)
    _, least = answered((part, examples), space.edges.bits(enumerated(space)))
    whole, listed = take_census(part, examples, least, most, salt=5)
    found = [take_census(part, examples, least, most, salt=5, piece=(number, 3)) for number in (1, 2, 3)]
    assert min(one.counts.sum() for one, _ in found) > 1000
    assert np.array_equal(sum(one.counts for one, _ in found), whole.counts)
    assert np.array_equal(sum(one.edge_counts for one, _ in found), whole.edge_counts)
    first = first_in_order(space, np.concatenate([own for _, own in found]), 5, most)
    assert first.tolist() == listed.tolist() and len(listed) == min(most, whole.counts[:, :, least:].sum())


def test_the_sample_of_a_census_of_many_edges_is_uniform() -> None:
    """Chi-squared over 511 circuits, all valid: in 200 orders each is listed about equally often."""
    space, (part, examples) = CircuitSpace(WIDE), thin_part(WIDE)
    assert space.count() == 511
    listed = np.concatenate([take_census(part, examples, 0, 50, salt=salt)[1] for salt in range(100)])
    often = np.array([int((listed == circuit).sum()) for circuit in enumerated(space)])
    mean, share = 100 * 50 / 511, 50 / 511
    assert often.sum() == 100 * 50
    assert abs(((often - mean) ** 2).sum() / (mean * (1 - share)) / 511 - 1) < 4 * (2 / 511) ** 0.5


def test_more_than_64_edges_into_and_out_of_the_last_hidden_layer(
    ablation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A piece of 1-33-1: its circuits are one set of the 33 neurons each."""
    monkeypatch.setattr(pieces, "TASKS_OF_PIECE", 1)  # of fewer neurons
    monkeypatch.setattr(census, "ITEMS_OF_THREAD", 1)
    part = random_part((1, 33, 1), ["leaky_relu", "identity"], seed=3)
    examples = replace(examples_of(part, 6), valid_by="agreement")
    found = count_circuits(part, examples, accuracy_threshold=0.99, ablation=ablation, piece=(77, 2**14))
    n_circuits, n_valid = found.n_circuits, found.n_valid
    assert found.space.n_edges == 66 and abs(n_circuits / 2**19 - 1) < 0.02 and 100 < n_valid < 10**6
    every = found.listed.circuit
    assert found.is_valid.all() and len(set(every.tolist())) == n_valid == len(found.valid)
    assert found.space.are_well_formed(every).all()
    again = CircuitMeasures.joined(list(measure_by_tensors(part, examples, every[::5], ablation=ablation)))
    assert (again.n_agreeing == 6).mean() > 0.99  # all but those as near to a tie as rounding
    assert np.allclose(again.squares, found.listed.squares[::5], rtol=1e-3, atol=1e-6)
    assert np.array_equal(found.space.edge_counts(every), found.edge_counts)


def test_a_sample_of_thin_layers_has_the_number_of_the_census_in_its_interval() -> None:
    sizes = (1, 6, *[1] * 40, 12, 1)
    part, examples = thin_part(sizes)
    counted = count_circuits(part, examples, accuracy_threshold=0.3, most_listed=0)
    assert counted.space.n_edges > 64 and counted.n_circuits == 63 * 4095
    draw = torch.Generator().manual_seed(1)
    sampled = sample_circuits(part, examples, accuracy_threshold=0.3, samples=20_000, generator=draw)
    assert 0 < sampled.n_valid.low < counted.n_valid < sampled.n_valid.high < 2 * counted.n_valid


def test_what_a_census_of_many_edges_refuses() -> None:
    for sizes, text in (
        ((6, 8, 8, 1), "at most 9.22·10¹⁸ codes, and layers of 6-8-8-1 neurons have 120 edges and 4.92·10³³ codes."),
        ((24, 2, 1, 24, 1, 1), "65,536 choices of a neuron of the last hidden layer; layers of .* neurons have 99"),
        ((1, 22, 2), "at most 64 edges lead into and out of the last hidden layer, and layers of 1-22-2 .* have 66"),
    ):
        part = random_part(sizes, ["relu"] * (len(sizes) - 2) + ["identity"])
        x = torch.rand(3, sizes[0])
        target = part(x)[:, 0].round() if sizes[-1] == 1 else part(x).argmax(1)
        with pytest.raises(ArgumentError, match=text):
            take_census(part, CircuitExamples(x, target, part(x).squeeze(1)), 1, 1)


def test_a_table_of_several_outputs_has_at_most_64_edges_at_the_last_hidden_layer() -> None:
    """1-5-1-60: all 31 circuits keep the 60 edges of the outputs, and 65 edges meet at the last hidden layer."""
    part = random_part((1, 5, 1, 60), ["relu", "relu", "identity"])
    x = torch.rand(3, 1)
    with pytest.raises(ArgumentError, match="lead into and out of the last hidden layer, and layers of 1-5-1-60"):
        list(measure(part, CircuitExamples(x, torch.tensor([0, 1, 2]), part(x))))


# --- what is said of valid circuits ----------------------------------------------------------------------------------


def test_levels_of_minimality_are_the_same_and_those_of_the_search(both: tuple[Two, Two], ablation: str) -> None:
    wide, narrow = (searched(two, ablation, 0.55) for two in both)
    expected = minimality(narrow.space, narrow.valid)
    assert minimality(wide.space, wide.valid).tolist() == expected.tolist()
    assert len(set(expected.tolist())) > 2
    part, examples = both[0]
    levels, exact = minimality_by_search(
        WIDE,
        wide.space.edges.rows(wide.valid),
        validity(part, examples, 0.55, ablation=ablation),
        inputs="all",
        fewest=wide.fewest_edges,
    )
    assert exact.all()
    assert levels.tolist() == expected.tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["all", "any"]))
def test_any_set_of_valid_circuits_has_the_levels_that_words_give(seed: int, inputs: str) -> None:
    space, draw = CircuitSpace((2, 2, 2, 1), inputs), np.random.default_rng(seed)
    every = [circuit for circuit in range(2**space.n_edges) if space.is_well_formed(circuit)]
    valid = np.array([circuit for circuit in every if draw.random() < 0.4], dtype=np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minimality_module, "MOST_BITS", 0)
        expected = minimality(space, valid)
        patch.setattr(Edges, "fit_in_a_word", property(lambda edges: False))
        patch.setattr(minimality_module, "AT_ONCE", 40)  # several batches
        assert minimality(space, valid).tolist() == expected.tolist()


def test_overlaps_of_many_edges_are_those_of_each_pair() -> None:
    draw = np.random.default_rng(0)
    rows = draw.random((60, 150)) < draw.random((60, 1))
    first, second = bits_of(rows[:40]), bits_of(rows[40:])
    for circuits, others, pairs in (
        (first, None, list(itertools.combinations(first.tolist(), 2))),
        (first, second, list(itertools.product(first.tolist(), second.tolist()))),
    ):
        found = overlaps(circuits, others)
        expected = [(one & other).bit_count() / (one | other).bit_count() for one, other in pairs]
        assert found.n_pairs == len(pairs)
        assert found.mean == pytest.approx(np.mean(expected))
        assert found.histogram(5).tolist() == np.bincount([int(5 * one) for one in expected]).tolist()


def test_what_circuits_share_is_the_same(both: tuple[Two, Two], ablation: str) -> None:
    wide, narrow = (searched(two, ablation, 0.6).valid for two in both)
    behind = wide >> MORE  # the edges that not every circuit must keep
    assert backbone(wide) == (1 << MORE) - 1 | backbone(narrow) << MORE
    assert minimal_members(wide).tolist() == widened(minimal_members(narrow))
    high = np.array([int(circuit) << 64 for circuit in behind], dtype=object)
    for found, expected in ((packing(high), packing(narrow)), (blocking(high), blocking(narrow))):
        assert (found.low, found.high) == (expected.low, expected.high)
    assert blocking(high).edges == blocking(narrow).edges << 64
    pairs = list(itertools.combinations(wide.tolist(), 2))
    contained, jaccard = pair_shares(wide)
    assert contained == pytest.approx(np.mean([one & other in (one, other) for one, other in pairs]))
    of_pairs = [(one & other).bit_count() / (one | other).bit_count() for one, other in pairs]
    assert jaccard == pytest.approx(np.mean(of_pairs))


def test_overlaps_of_chance_of_many_edges() -> None:
    space = CircuitSpace((12, 3, 8, 1), "any")
    assert space.n_edges == 68
    found = chance_overlap(space, np.bincount([40, 45, 50], minlength=69), seed=1)
    assert found is not None and not found.is_exact
    assert 0.4 < found.mean < 0.7
    assert found.low < found.mean < found.high


def test_two_networks_share_what_their_narrow_layers_share(both: tuple[Two, Two], ablation: str) -> None:
    orders = [[np.arange(size) for size in sizes] for sizes in (WIDE, NARROW)]
    for order in orders:
        order[-2] = np.array([2, 0, 1])
        order[-3] = np.array([1, 2, 0])
    wide, narrow = (
        shared_circuits(searched(two, ablation), searched(two, ablation), tuple(order))
        for two, order in zip(both, orders, strict=True)
    )
    assert wide.common is not None and narrow.common is not None
    assert wide.common.tolist() == widened(narrow.common)
    assert wide.valid == narrow.valid
    assert wide.smallest.both == narrow.smallest.both
    back = np.arange(75)[::-1].copy()
    circuits = as_bits([1, 3 << 70], 75)
    assert renamed(circuits, back).tolist() == [1 << 74, 0b11 << 3]


# --- one circuit, its file and its picture ---------------------------------------------------------------------------


def test_the_table_has_decimal_texts_that_give_the_circuits_back(
    both: tuple[Two, Two], ablation: str, tmp_path: Path
) -> None:
    (part, examples), _ = both
    result = searched(both[0], ablation)
    table = circuit_table(examples, 0, result, levels=minimality(result.space, result.valid))
    table.to_parquet(tmp_path / "circuits.parquet")
    again = pd.read_parquet(tmp_path / "circuits.parquet")
    assert again["circuit"].map(int).tolist() == result.listed.circuit.tolist()
    assert again["n_edges"].tolist() == [circuit.bit_count() for circuit in result.listed.circuit.tolist()]
    data = output_picture(0, part, again)
    assert data is not None
    assert data["best"][-1]["circuit"] == str(2**75 - 1)
    assert [edge["share"] for edge in data["edges"]][:MORE] == [1] * MORE
    means = part.means(examples.x) if ablation == "mean" else None
    row = again.iloc[11]
    circuit = Circuit(part, int(row.circuit), means=means)
    circuit.save(tmp_path / "circuit.json")
    assert Circuit.load(tmp_path / "circuit.json") == circuit
    n_correct = (circuit.apply(examples.x).round() == examples.target).sum()
    assert int(n_correct) / len(examples) == pytest.approx(row.accuracy)
    assert circuit.n_edges == row.n_edges
    assert len(draw_circuits(part, [circuit.bits]).axes) == 1


# --- a part with few weights that aren't 0 ---------------------------------------------------------------------------


@pytest.mark.parametrize("inputs", ["all", "any"])
def test_the_circuits_of_a_family_are_its_well_formed_sets_of_edges(inputs: str) -> None:
    draw = torch.Generator().manual_seed(4)
    kept = [torch.zeros(7, 6), torch.zeros(4, 7), torch.zeros(1, 4)]
    for layer, target, source in (
        *((0, 1, 0), (0, 1, 5), (0, 6, 2), (0, 6, 3), (0, 3, 1), (0, 3, 4), (0, 2, 2)),
        *((1, 0, 1), (1, 0, 6), (1, 2, 3), (1, 2, 6), (2, 0, 0), (2, 0, 2)),
    ):
        kept[layer][target, source] = 1
    layers = tuple(
        Layer(torch.randn(mask.shape, generator=draw) * mask, torch.zeros(len(mask)), activation, 0.0)
        for mask, activation in zip(kept, ["relu", "relu", "identity"], strict=True)
    )
    part = Part(layers)
    family, space = nonzero_edges(part), CircuitSpace(part.sizes, inputs)
    assert (space.n_edges, family.bit_count()) == (74, 13)
    edges = [1 << edge for edge in range(74) if family >> edge & 1]
    sets = [sum(chosen) for n in range(14) for chosen in itertools.combinations(edges, n)]
    expected = sorted(circuit for circuit in sets if space.is_well_formed(circuit))
    assert circuits_of_family(space, family).tolist() == expected
    assert count_family(space, family) == len(expected) > 2
    examples = examples_of(part)
    found = search_family(part, examples, family, accuracy_threshold=0.5, inputs=inputs)
    assert found.listed.circuit.tolist() == expected
    assert found.n_circuits == len(expected)
    every = found.listed.circuit  # as if all of them were valid
    contains = [any(other != one and other & ~one == 0 for other in expected) for one in expected]
    assert (minimality(space, every) >= 3).tolist() == [not one for one in contains]
