"""Circuits: counts against closed forms and brute force, every circuit against the masked network by its definition."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import mi_runner
from mi_runner.config.experiments.circuit_options import CircuitInputs, EdgeAblation
from mi_runner.config.experiments.circuits import CircuitMethod, CircuitsConfig, CircuitTable
from mi_runner.errors import ArgumentError, ConfigError
from mi_runner.experiments import Setting
from mi_runner.experiments.circuits import experiment as circuits
from mi_runner.experiments.circuits.tables import OF_SHARED
from mi_runner.experiments.common.last_layers import NARROW
from mi_runner.graph.chain import ACTIVATIONS, Layer, Part, find_part, longest_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.circuits import blocks, device_measures, prefixes
from mi_runner.methods.circuits.ablation import ABLATIONS, means_of
from mi_runner.methods.circuits.census import take_census
from mi_runner.methods.circuits.circuit import Circuit
from mi_runner.methods.circuits.cut import check_cut, entering_activations
from mi_runner.methods.circuits.device_measures import measure_on
from mi_runner.methods.circuits.edges import Edges, bits_of
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.kernels.activations import activate
from mi_runner.methods.circuits.kernels.random_order import codes_at
from mi_runner.methods.circuits.measures import CircuitMeasures, measure, measure_one, measure_some
from mi_runner.methods.circuits.minimality import LEVELS, minimality
from mi_runner.methods.circuits.overlaps import overlaps
from mi_runner.methods.circuits.rounding import rounding_interval
from mi_runner.methods.circuits.search import search_circuits
from mi_runner.methods.circuits.space import INPUTS, CircuitSpace, ways_into_layer
from mi_runner.models.cnn import CNN
from mi_runner.models.mlp import MLP
from mi_runner.progress import log
from mi_runner.tables.whole_numbers import large
from mi_runner.training.options import TrainingOptions
from mi_runner.training.weights import read_weights
from tests.commands import check
from tests.conftest import REPOSITORY, Ended
from tests.small_data import values
from tests.small_parts import all_of, examples_of, random_part

PUBLISHED = {
    (2, 2, 2, 1): (69, 49),
    (2, 3, 3, 1): (9_625, 6_625),
    (3, 3, 3, 1): (94_591, 70_225),
    (2, 4, 4, 1): (4_346_385, 3_278_737),
    (3, 4, 4, 1): (113_011_935, 89_687_983),
    (4, 4, 4, 1): (2_130_369_585, 1_722_499_009),
    (2, 5, 5, 1): (7_271_931_361, 6_024_498_961),
}
SMALL = [(2, 2, 2, 1), (3, 2, 1), (2, 2, 1, 2, 1), (4, 1), (1, 1), (2, 1, 1), (1, 3, 1), (2, 3, 1, 1)]


# --- the space -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", PUBLISHED)
def test_counts_are_the_published_ones(sizes: tuple[int, ...]) -> None:
    assert (CircuitSpace(sizes).count(), CircuitSpace(sizes).count_all_active()) == PUBLISHED[sizes]


def test_matrices_without_an_empty_row_or_column_by_counting() -> None:
    for a, b in itertools.product(range(1, 4), repeat=2):
        every = (np.array(bits).reshape(a, b) for bits in itertools.product((0, 1), repeat=a * b))
        n_full = sum(matrix.any(0).all() and matrix.any(1).all() for matrix in every)
        assert ways_into_layer({b: 5}, a)[a] == 5 * n_full
        assert ways_into_layer({b: 5, 4: 0}, 4)[a] == 5 * n_full * math.comb(4, a)


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("sizes", SMALL)
def test_the_count_is_that_of_all_edge_sets_that_are_well_formed(sizes: tuple[int, ...], inputs: str) -> None:
    space = CircuitSpace(sizes, inputs)
    found = [circuit for circuit in range(2**space.n_edges) if space.is_well_formed(circuit)]
    assert len(found) == space.count()
    assert sum(sum(space.active(circuit)) == space.n_hidden for circuit in found) == space.count_all_active()
    assert space.full in found and 0 not in found


def test_circuits_that_may_leave_inputs_out() -> None:
    space = CircuitSpace((3, 3, 3, 1), "any")
    found = all_of(random_part((3, 3, 3, 1), ["relu"] * 3), examples_of(random_part((3, 1), ["relu"]), 3), inputs="any")
    assert space.count() == len(np.unique(found.circuit)) == len(found) == 124_999
    full = space.n_active(found.circuit) == space.n_hidden
    assert space.count_all_active() == int(full.sum())
    used = (space.edges.rows(found.circuit)[:, :9].reshape(-1, 3, 3).any(1)).all(1)
    assert int(used.sum()) == PUBLISHED[3, 3, 3, 1][0]
    with pytest.raises(ValueError, match="inputs=some: there are all and any"):
        CircuitSpace((2, 1), "some")


@pytest.mark.parametrize("sizes", [(2, 2, 2, 1), (2, 3, 3, 1), (3, 3, 3, 1)])
def test_every_circuit_is_visited_once(sizes: tuple[int, ...]) -> None:
    part = random_part(sizes, ["relu"] * 3)
    found = all_of(part, examples_of(part, n=3)).circuit
    assert len(np.unique(found)) == len(found) == PUBLISHED[sizes][0]
    space = CircuitSpace(sizes)
    assert int((space.n_active(found) == space.n_hidden).sum()) == PUBLISHED[sizes][1]
    draw = np.random.default_rng(0)
    assert all(space.is_well_formed(int(circuit)) for circuit in draw.choice(found, 60))


def test_a_large_space_is_visited_whole() -> None:
    part = random_part((2, 4, 4, 1), ["relu"] * 3)
    seen = active = 0
    for found in measure(part, examples_of(part, n=1)):
        seen += len(found)
        active += int((CircuitSpace((2, 4, 4, 1)).n_active(found.circuit) == 8).sum())
    assert (seen, active) == PUBLISHED[2, 4, 4, 1]


def test_the_order_of_bits() -> None:
    """Masks (out, in), row by row, first layer first, the least significant bit first."""
    space = CircuitSpace((2, 3, 1))
    assert space.offsets == (0, 6)
    hidden, output = space.masks(0b101_011001)
    assert hidden.tolist() == [[True, False], [False, True], [True, False]]
    assert output.tolist() == [[True, False, True]]
    assert space.circuit([hidden, output]) == 0b101_011001
    with pytest.raises(ValueError, match=r"layer 0 has the shape \(2, 3\), the layer \(3, 2\)"):
        space.circuit([hidden.T, output])


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ((3,), "an output layer"),
        ((3, 0, 1), "positive sizes"),
    ],
)
def test_spaces_that_there_are_not(sizes: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        CircuitSpace(sizes)


# --- the kernel against the definition --------------------------------------------------------------------------------


CHOICES = [{"ablation": "zero", "inputs": "all"}, {"ablation": "mean", "inputs": "any"}]


@pytest.mark.parametrize("choices", CHOICES, ids=["zero-all", "mean-any"])
@pytest.mark.parametrize("sizes", SMALL)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_circuit_is_what_its_masked_network_is(
    sizes: tuple[int, ...], activation: str, choices: dict[str, str]
) -> None:
    part = random_part(sizes, [activation] * (len(sizes) - 1), seed=len(sizes))
    examples = examples_of(part)
    found = all_of(part, examples, **choices)
    assert len(found) == CircuitSpace(sizes, choices["inputs"]).count()
    for row, circuit in enumerate(found.circuit.tolist()):
        alone = measure_one(part, examples, circuit, ablation=choices["ablation"])
        assert (found.n_correct[row], found.n_agreeing[row]) == (alone.n_correct[0], alone.n_agreeing[0])
        assert found.squares[row] == pytest.approx(alone.squares[0], rel=1e-4, abs=1e-5)


def output_edge_by_edge(part: Part, circuit: int, x: torch.Tensor, means: list[np.ndarray] | None) -> np.ndarray:
    """The outputs of a circuit, summed edge by edge in float64: a left-out edge carries 0 or weight times mean."""
    values, bit = x.double().numpy().T, 0
    for index, layer in enumerate(part.layers):
        after = []
        for to in range(len(layer.weight)):
            z, n_kept = float(layer.bias[to]), 0
            for source in range(layer.weight.shape[1]):
                kept = circuit >> bit & 1
                carries = values[source] if kept else (0.0 if means is None else means[index][source])
                z = z + float(layer.weight[to, source]) * carries
                n_kept, bit = n_kept + kept, bit + 1
            value = layer.activate(torch.as_tensor(z + np.zeros(len(x)))).numpy()
            if not n_kept:
                value = np.full(len(x), 0.0 if means is None or index == len(part.layers) - 1 else means[index + 1][to])
            after.append(value)
        values = np.array(after)
    return values[0]


@pytest.mark.parametrize("sizes", [(2, 2, 2, 1), (3, 2, 1), (2, 2, 1, 2, 1), (3, 1)])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_what_a_left_out_edge_carries(sizes: tuple[int, ...], ablation: str) -> None:
    """By a sum over edges in float64; the means are those of the whole network on these examples."""
    part = random_part(sizes, ["tanh"] * (len(sizes) - 1), seed=3)
    examples = examples_of(part, n=25)
    means, values = [], examples.x.double()
    for layer in part.layers:
        means.append(values.mean(0).numpy())
        values = layer.activate(values @ layer.weight.double().T + layer.bias.double())
    space = CircuitSpace(sizes, "any")
    carried = means_of(part, examples.x, ablation)
    assert (carried is None) == (ablation == "zero")
    for mean, other in zip(carried or (), means, strict=carried is not None):
        assert mean.numpy() == pytest.approx(other, abs=1e-6)
    circuits = np.array([c for c in range(2**space.n_edges) if space.is_well_formed(c)], dtype=np.uint64)
    kept = space.edges.rows(circuits)
    assert np.array_equal(bits_of(kept), circuits)
    together = outputs_of_circuits(part, kept, examples.x, carried)
    for row, circuit in enumerate(circuits.tolist()):
        expected = output_edge_by_edge(part, circuit, examples.x, means if ablation == "mean" else None)
        assert together[row, :, 0].numpy() == pytest.approx(expected, abs=1e-5)
    assert torch.equal(together[-1], part(examples.x))
    with pytest.raises(ArgumentError, match="ablation=resample: use zero or mean"):
        means_of(part, examples.x, "resample")


@pytest.mark.parametrize("sizes", [(2, 2, 2, 1), (3, 2, 1), (4, 1)])
@pytest.mark.parametrize("inputs", INPUTS)
def test_well_formed_circuits_are_those_that_closing_leaves_as_they_are(sizes: tuple[int, ...], inputs: str) -> None:
    space = CircuitSpace(sizes, inputs)
    every = np.arange(space.full + 1, dtype=np.uint64)
    rows = space.edges.rows(every)
    expected = (space.edges.closed(rows) == rows).all(1) & rows.any(1)
    if inputs == "all":
        expected &= space.edges.masks(rows)[0].any(1).all(1)
    assert expected.sum() == space.count()
    assert np.array_equal(space.are_well_formed(every), expected)
    assert [space.is_well_formed(int(bits)) for bits in every] == expected.tolist()
    assert not space.is_well_formed(space.full + 1) and not space.is_well_formed(-1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=2, max_size=5), st.integers(0, 2**32))
def test_closing_leaves_the_largest_well_formed_circuit(sizes: list[int], seed: int) -> None:
    """By repeated removal of edges whose source nothing enters or whose target nothing leaves."""
    edges = [
        ((layer, source), (layer + 1, to))
        for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes))
        for to in range(n_out)
        for source in range(n_in)
    ]
    kept = np.random.default_rng(seed).random((20, len(edges))) < 0.5
    for before, after in zip(kept, Edges(tuple(sizes)).closed(kept), strict=True):
        left = {edge for edge, keeps in zip(edges, before, strict=True) if keeps}
        while True:
            entered, exited = {to for _, to in left}, {source for source, _ in left}
            stay = {
                (source, to)
                for source, to in left
                if (source[0] == 0 or source in entered) and (to[0] == len(sizes) - 1 or to in exited)
            }
            if stay == left:
                break
            left = stay
        assert after.tolist() == [edge in left for edge in edges]
        if sizes[-1] == 1:
            space = CircuitSpace(tuple(sizes), "any")
            assert not left or space.is_well_formed(int(bits_of(after[None])[0]))


SIZES = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(lambda sizes: (*sizes, 1))
"""Of parts whose edge sets can all be tried: at most 3 neurons a layer; larger ones are left out by `assume`."""


def well_formed_by_definition(sizes: tuple[int, ...], inputs: str) -> list[int]:
    """The edge sets in which every input has a way out, the output a way in, and a hidden neuron both or neither.

    An input needs no way out where circuits may leave inputs out.

    Bit k is the k-th of all edges: layer by layer, then by the neuron into which they go, then by the one they leave.
    """
    edges = [
        ((layer, source), (layer + 1, to))
        for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes))
        for to in range(n_out)
        for source in range(n_in)
    ]
    hidden = [(layer, neuron) for layer in range(1, len(sizes) - 1) for neuron in range(sizes[layer])]
    found = []
    for bits in range(2 ** len(edges)):
        kept = [edge for place, edge in enumerate(edges) if bits >> place & 1]
        left, entered = {source for source, _ in kept}, {to for _, to in kept}
        uses_inputs = inputs == "any" or all((0, neuron) in left for neuron in range(sizes[0]))
        ends = uses_inputs and (len(sizes) - 1, 0) in entered
        if ends and all((neuron in left) == (neuron in entered) for neuron in hidden):
            found.append(bits)
    return found


@settings(max_examples=30, deadline=None)
@given(SIZES, st.sampled_from(INPUTS), st.sampled_from(ABLATIONS), st.data())
@example((1, 1), "all", "zero", None)
@example((3, 1), "any", "mean", None)
def test_circuits_of_random_layers(
    sizes: tuple[int, ...], inputs: str, ablation: str, data: st.DataObject | None
) -> None:
    """The count is that of trying all edge sets; each is visited once; the full one is the network."""
    space = CircuitSpace(sizes, inputs)
    assume(space.n_edges <= 12)
    expected = well_formed_by_definition(sizes, inputs)
    assert space.count() == len(expected)
    assert space.count_all_active() == sum(sum(space.active(bits)) == space.n_hidden for bits in expected)
    assert [space.circuit(space.masks(bits)) for bits in expected] == expected
    layers = len(sizes) - 1
    kinds = data.draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=layers, max_size=layers)) if data else ["relu"]
    part = random_part(sizes, kinds, seed=data.draw(st.integers(0, 1000)) if data else 0)
    examples = examples_of(part, n=20)
    table = all_of(part, examples, ablation=ablation, inputs=inputs).sorted()
    assert table.circuit.tolist() == expected
    assert torch.equal(Circuit(part, space.full).apply(examples.x), part(examples.x)[:, 0])
    assert table.n_agreeing[-1] == len(examples) and table.squares[-1] == pytest.approx(0, abs=1e-9)
    row = data.draw(st.integers(0, len(table) - 1)) if data else 0
    alone = measure_one(part, examples, expected[row], ablation=ablation)
    assert (table.n_correct[row], table.n_agreeing[row]) == (alone.n_correct[0], alone.n_agreeing[0])


def test_the_full_circuit_is_the_network() -> None:
    part = random_part((3, 3, 3, 1), ["tanh", "relu", "sigmoid"])
    examples = examples_of(part)
    found = all_of(part, examples)
    (row,) = np.flatnonzero(found.circuit == CircuitSpace((3, 3, 3, 1)).full)
    assert found.n_agreeing[row] == len(examples) and found.squares[row] == pytest.approx(0, abs=1e-9)


def test_a_random_thousand_circuits_on_many_examples() -> None:
    part = random_part((3, 3, 3, 1), ["leaky_relu"] * 3, seed=5)
    examples = examples_of(part, n=2115)
    found = all_of(part, examples)
    rows = np.random.default_rng(0).choice(len(found), 1000, replace=False)
    for row in rows:
        circuit = int(found.circuit[row])
        output = Circuit(part, circuit).apply(examples.x)
        alone = measure_one(part, examples, circuit)
        # In float32 the order of a sum matters: an example this near a boundary may be rounded either way.
        unsure = int(((output - output.floor() - 0.5).abs() < 1e-5).sum())
        assert abs(int(found.n_correct[row]) - int(alone.n_correct[0])) <= unsure
        assert abs(int(found.n_agreeing[row]) - int(alone.n_agreeing[0])) <= unsure
        assert found.squares[row] == pytest.approx(alone.squares[0], rel=1e-3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_kernel_has_torchs_activations(activation: str) -> None:
    z = torch.cat([torch.linspace(-12, 12, 20_001), torch.tensor([-1e30, -100.0, -1e-20, 0.0, 1e-20, 100.0, 1e30])])
    layer = Layer(torch.eye(1), torch.zeros(1), activation, 0.01)
    kind, slope = prefixes.kernel_activation(layer)
    ours = np.array([activate(number, kind, slope) for number in z.numpy()])
    assert ours == pytest.approx(layer.activate(z).numpy(), rel=1e-6, abs=5e-7)
    assert np.isnan(activate(np.float32(np.nan), kind, slope))


DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("at_once", "choices"), [(1, CHOICES[1]), (3000, CHOICES[0]), (10**9, CHOICES[1])])
def test_tensor_operations_find_what_the_kernel_finds(
    device: str, activation: str, at_once: int, choices: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_measures, "NUMBERS_AT_ONCE", at_once)
    for sizes in ((2, 2, 2, 1), (3, 2, 1), (2, 2, 1, 2, 1), (2, 3, 3, 1))[: 3 if at_once == 1 else 4]:
        part = random_part(sizes, [activation] * (len(sizes) - 1), seed=7)
        examples = examples_of(part)
        ours = CircuitMeasures.joined(list(measure_on(torch.device(device), part, examples, **choices))).sorted()
        kernels = all_of(part, examples, **choices).sorted()
        assert np.array_equal(ours.circuit, kernels.circuit)
        assert np.array_equal(ours.n_correct, kernels.n_correct) and np.array_equal(ours.n_agreeing, kernels.n_agreeing)
        assert ours.squares == pytest.approx(kernels.squares, rel=1e-4, abs=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("max_table_rows", [5_000_000, 50])
def test_the_experiment_on_a_cuda_device_finds_the_same(max_table_rows: int) -> None:
    here = setting(accuracy_threshold=0.5, max_table_rows=max_table_rows)
    device = torch.device("cuda")
    there = replace(here, model=setting().model.to(device), dataset=here.dataset.to(device))
    ours, others = circuits.run(here), circuits.run(there)
    assert ours.tables["census"] == others.tables["census"] and ours.tables["edges"] == others.tables["edges"]
    pd.testing.assert_frame_equal(ours.tables["circuits"], others.tables["circuits"], atol=1e-5)


def test_a_tie_is_rounded_half_to_even() -> None:
    part = Part((Layer(torch.eye(1), torch.zeros(1)), Layer(torch.eye(1), torch.zeros(1))))
    x = torch.tensor([[0.5], [1.5], [-0.5], [2.5], [0.50001]])
    target = torch.tensor([0.0, 2.0, 0.0, 2.0, 1.0])
    assert all_of(part, CircuitExamples(x, target, x.squeeze(1))).n_correct.tolist() == [5]
    assert all_of(part, CircuitExamples(x, target + 1, x.squeeze(1))).n_correct.tolist() == [0]


def test_examples_that_repeat() -> None:
    part = random_part((2, 3, 3, 1), ["tanh", "relu", "leaky_relu"], seed=2)
    few = examples_of(part, n=12)
    rows = torch.randint(0, 9, (200,), generator=torch.Generator().manual_seed(0))
    examples = CircuitExamples(few.x[rows], few.target[rows], few.full[rows])
    table = all_of(part, examples)
    for found in (table, CircuitMeasures.joined(list(measure_on(torch.device("cpu"), part, examples)))):
        for row in range(0, len(found), 50):
            alone = measure_one(part, examples, int(found.circuit[row]))
            assert (found.n_correct[row], found.n_agreeing[row]) == (alone.n_correct[0], alone.n_agreeing[0])
            assert found.squares[row] == pytest.approx(alone.squares[0], rel=1e-4, abs=1e-5)
    least_correct = int(np.median(table.n_correct))
    census, listed = take_census(part, examples, least_correct, most_listed=10**9)
    assert np.array_equal(census.counts.sum((0, 1)), np.bincount(table.n_correct, minlength=201))
    assert np.array_equal(listed, table.kept(table.n_correct >= least_correct).sorted().circuit)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("answer", [-2, -1, 0, 1, 2])
def test_the_interval_of_an_answer_by_trying_its_ends(activation: str, answer: int) -> None:
    layer = Layer(torch.eye(1), torch.zeros(1), activation, 0.01)
    low, high = rounding_interval(layer, answer)

    def rounds(z: float) -> bool:
        return float(layer.activate(torch.tensor(z, dtype=torch.float32)).round()) == answer

    if low > high:
        assert not any(rounds(z) for z in np.linspace(-300, 300, 5000))
        return
    for end, outward in ((low, -np.inf), (high, np.inf)):
        if np.isfinite(end):
            assert rounds(end) and not rounds(float(np.nextafter(np.float32(end), np.float32(outward))))
        else:
            assert rounds(float(np.sign(end) * 1e30))


@pytest.mark.parametrize("sizes", [(2, 2, 2, 1), (3, 3, 3, 1), (2, 2, 1, 2, 1), (3, 2, 1), (2, 3, 3, 1)])
@pytest.mark.parametrize(("block", "choices"), [(1, CHOICES[0]), (7, CHOICES[1]), (1000, CHOICES[1])])
def test_a_census_counts_what_the_table_has(
    sizes: tuple[int, ...], block: int, choices: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", block)
    part = random_part(sizes, ["leaky_relu"] * (len(sizes) - 1), seed=block)
    examples = examples_of(part, n=150)
    table, space = all_of(part, examples, **choices), CircuitSpace(sizes)
    least_correct = int(np.median(table.n_correct))
    census, listed = take_census(part, examples, least_correct, most_listed=10**9, **choices)
    expected = np.zeros_like(census.counts)
    np.add.at(expected, (space.n_active(table.circuit), np.bitwise_count(table.circuit), table.n_correct), 1)
    assert np.array_equal(census.counts, expected)
    valid = table.kept(table.n_correct >= least_correct).sorted()
    assert len(valid) > 0
    assert np.array_equal(listed, valid.circuit)
    assert np.array_equal(census.edge_counts, space.edge_counts(valid.circuit))


def place(circuit: int, salt: int) -> int:
    """SplitMix64's last step, in Python's integers."""
    z = circuit ^ salt
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


@pytest.mark.parametrize("most", [0, 1, 5, 500, 3000])
@pytest.mark.parametrize("salt", [0, 2**64 - 1])
def test_the_listed_circuits_are_the_first_valid_ones_of_a_random_order(most: int, salt: int) -> None:
    part = random_part((2, 3, 3, 1), ["relu"] * 3, seed=4)
    examples = examples_of(part)
    table = all_of(part, examples)
    least_correct = int(np.quantile(table.n_correct, 0.6))
    valid = sorted(table.kept(table.n_correct >= least_correct).circuit.tolist(), key=lambda c: place(c, salt))
    assert len(valid) > 3000
    _, listed = take_census(part, examples, least_correct, most, salt=salt)
    assert listed.tolist() == sorted(valid[:most])


def test_a_place_in_the_random_order_gives_its_circuit_back() -> None:
    circuits = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    for salt in (0, 12345, 2**64 - 1):
        places = np.array([place(circuit, salt) for circuit in circuits.tolist()], dtype=np.uint64)
        assert np.array_equal(codes_at(places, np.uint64(salt)), circuits)


def test_every_valid_circuit_is_as_likely_as_any_other_to_be_listed() -> None:
    part = random_part((2, 2, 2, 1), ["relu"] * 3, seed=1)
    examples = examples_of(part, n=5)
    n_draws, most = 600, 10
    lists = [take_census(part, examples, 0, most, salt=salt)[1] for salt in range(n_draws)]
    circuits, counts = np.unique(np.concatenate(lists), return_counts=True)
    assert len(circuits) == 69
    expected = n_draws * most / 69
    # The sum of squared deviations has 68 degrees of freedom, but the sample is without replacement.
    squares = ((counts - expected) ** 2 / (expected * (1 - most / 69))).sum()
    assert 68 - 5 * np.sqrt(136) < squares < 68 + 5 * np.sqrt(136)


@pytest.mark.parametrize("choices", CHOICES, ids=["zero-all", "mean-any"])
@pytest.mark.parametrize("sizes", [(3, 3, 3, 1), (2, 2, 1, 2, 1), (3, 2, 1), (2, 1, 1)])
def test_some_circuits_are_measured_as_among_all(sizes: tuple[int, ...], choices: dict[str, str]) -> None:
    part = random_part(sizes, ["leaky_relu"] * (len(sizes) - 1), seed=3)
    examples = examples_of(part, n=150)
    table = all_of(part, examples, **choices)
    rows = np.random.default_rng(0).permutation(len(table))[: len(table) // 2 + 1]
    found, expected = measure_some(part, examples, table.circuit[rows], **choices).sorted(), table.kept(rows).sorted()
    for column in ("circuit", "n_correct", "n_agreeing"):
        assert np.array_equal(getattr(found, column), getattr(expected, column))
    assert found.squares == pytest.approx(expected.squares, rel=1e-5, abs=1e-6)
    assert len(measure_some(part, examples, table.circuit[:0])) == 0


@pytest.mark.parametrize("max_table_rows", [10_000, 9])
def test_a_search_finds_what_every_circuit_alone_says(max_table_rows: int) -> None:
    part = random_part((2, 2, 2, 1), ["leaky_relu"] * 3, seed=6)
    examples, space = examples_of(part), CircuitSpace((2, 2, 2, 1))
    every = [circuit for circuit in range(2**space.n_edges) if space.is_well_formed(circuit)]
    n_correct = [int(measure_one(part, examples, circuit).n_correct[0]) for circuit in every]
    threshold = float(np.median(n_correct)) / len(examples)
    result = search_circuits(part, examples, accuracy_threshold=threshold, max_table_rows=max_table_rows)
    valid = [circuit for circuit, n in zip(every, n_correct, strict=True) if n / len(examples) > threshold]
    assert (result.n_circuits, result.n_valid) == (69, len(valid)) and 10 < len(valid) < 60
    partial = [circuit for circuit in every if sum(space.active(circuit)) < space.n_hidden]
    assert (result.n_circuits_partial, result.n_valid_partial) == (20, len(set(partial) & set(valid)))
    assert np.array_equal(result.counts.sum((0, 1)), np.bincount(n_correct, minlength=len(examples) + 1))
    assert result.edge_counts.tolist() == [sum(circuit >> bit & 1 for circuit in valid) for bit in range(10)]
    if max_table_rows == 9:
        assert len(result.listed) == 9 and set(result.valid.tolist()) <= set(valid)
        drawn = torch.Generator().manual_seed(0)
        other = search_circuits(part, examples, accuracy_threshold=threshold, max_table_rows=9, generator=drawn)
        assert set(other.valid.tolist()) != set(result.valid.tolist())
    else:
        assert result.listed.circuit.tolist() == every and result.valid.tolist() == valid


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"accuracy_threshold": 1.5}, "accuracy_threshold=1.5: give a number between 0 and 1"),
        ({"min_node_sparsity": -1}, "min_node_sparsity=-1: give a number"),
        ({"min_node_sparsity": 0.5, "max_table_rows": 9}, "there are 69, and max_table_rows=9"),
    ],
)
def test_searches_that_there_are_not(options: dict[str, Any], text: str) -> None:
    part = random_part((2, 2, 2, 1), ["relu"] * 3)
    with pytest.raises(ValueError, match=text):
        search_circuits(part, examples_of(part), **{"accuracy_threshold": 0.5, **options})


def test_a_search_on_other_inputs_or_several_outputs() -> None:
    part, other = (random_part((n, 2, 1), ["relu"] * 2) for n in (2, 3))
    with pytest.raises(ValueError, match=r"shape \(60, 3\): give at least one row, of the 2 activations"):
        search_circuits(part, examples_of(other), accuracy_threshold=0.5)
    with pytest.raises(ValueError, match="a part with 2 outputs, examples of 1. Values are analysed one output at"):
        search_circuits(random_part((2, 2), ["relu"]), examples_of(part), accuracy_threshold=0.5)


# --- the part -------------------------------------------------------------------------------------------------------


def test_the_tail_of_a_network_gives_its_outputs() -> None:
    torch.manual_seed(0)
    model = MLP([6, 5, 4, 3, 2], nn.Tanh, nn.LeakyReLU(0.2))
    x = torch.randn(30, 6)
    graph = ModelGraph.trace(model, x)
    for last_layers, sizes in ((1, (3, 2)), (2, (4, 3, 2)), (None, (6, 5, 4, 3, 2))):
        part = find_part(graph, last_layers)
        assert part.sizes == sizes
        with torch.no_grad():
            entering = model.layers[: 2 * (5 - len(sizes))](x)
            assert torch.allclose(part(entering), model(x), atol=1e-6)
    assert [layer.activation for layer in part.layers] == ["tanh", "tanh", "tanh", "leaky_relu"]
    assert part.layers[-1].slope == pytest.approx(0.2)


def test_the_dense_head_of_a_cnn_and_functions_as_activations() -> None:
    x = torch.randn(4, 1, 8, 8)
    model = CNN(1, (8, 8), 1, nn.Sigmoid())
    part = find_part(ModelGraph.trace(model, x), 2)
    assert [layer.activation for layer in part.layers] == ["relu", "sigmoid"] and part.site == "flatten"
    graph = ModelGraph.trace(model, x)
    with pytest.raises(ValueError, match="'conv3' ends the chain of last layers"):
        find_part(graph, 3)
    longest = longest_part(graph)
    assert longest is not None and longest.sizes == part.sizes


def test_a_part_that_misses_the_networks_outputs_is_no_cut() -> None:
    torch.manual_seed(0)
    model, x = MLP([6, 5, 4, 2], nn.Tanh), torch.randn(30, 6)
    graph = ModelGraph.trace(model, x)
    part = find_part(graph, 2)
    entering, outputs = entering_activations(graph, part, x)
    with torch.no_grad():
        assert torch.allclose(entering, model.layers[:2](x)) and torch.allclose(outputs, model(x))
    assert torch.equal(check_cut(part, entering, outputs), part(entering))
    outputs[3, 1] += 1e-5
    with pytest.raises(ValueError, match="the last layers alone miss the whole network's outputs by 1e-05"):
        check_cut(part, entering, outputs)


def test_what_is_no_chain() -> None:
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x) ** 2)

    graph = ModelGraph.trace(Squared(), torch.randn(2, 3))
    assert find_part(graph, 1).sizes == (3, 1)
    with pytest.raises(ValueError, match="'pow' ends the chain"):
        find_part(graph, 2)
    longest = longest_part(graph)
    assert longest is not None and longest.sizes == (3, 1)
    assert longest_part(ModelGraph.trace(nn.Sequential(nn.Linear(3, 3), nn.Softmax(0)), torch.randn(2, 3))) is None
    with pytest.raises(ValueError, match="the network has only 2 Linear layers"):
        find_part(ModelGraph.trace(MLP([3, 2, 1]), torch.randn(2, 3)), 3)


# --- one circuit ----------------------------------------------------------------------------------------------------


def test_a_circuit_applied_to_the_model_saved_and_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MLP([5, 2, 2, 2, 1], nn.Sigmoid)
    x = torch.randn(20, 5)
    part = find_part(ModelGraph.trace(model, x), 3)
    space = CircuitSpace(part.sizes)
    entering = model.layers[:2](x)
    for bits in [c for c in range(2**space.n_edges) if space.is_well_formed(c)][::7]:
        circuit = Circuit(part, bits)
        outputs = circuit.apply(entering)
        assert torch.allclose(circuit.apply_to(model)(x)[:, 0], outputs, atol=1e-6)
    circuit.save(tmp_path / "circuit.json")
    loaded = Circuit.load(tmp_path / "circuit.json")
    assert loaded == circuit and torch.equal(loaded.apply(entering), outputs)
    assert torch.equal(loaded.apply_to(model)(x), circuit.apply_to(model)(x))
    assert torch.equal(Circuit(part, space.full).apply_to(model)(x), model(x))
    means = part.means(entering)
    mean = Circuit(part, 0b10_1000_1000, means=means)  # one path; the first input is left out
    outputs = mean.apply(entering)
    assert torch.allclose(mean.apply_to(model)(x)[:, 0], outputs, atol=1e-6)
    mean.save(tmp_path / "mean.json")
    assert torch.equal(Circuit.load(tmp_path / "mean.json").apply(entering), outputs)
    (tmp_path / "bad.json").write_text("{}")
    for name in ("bad.json", "missing.json"):
        with pytest.raises(ValueError, match=f"{name} has no circuit"):
            Circuit.load(tmp_path / name)
    with pytest.raises(ValueError, match="bits=1 is not a well-formed circuit of layers of 2-2-2-1 neurons"):
        Circuit(part, 1)
    with pytest.raises(ValueError, match="the model has no Linear layer 'layers.2' of 2 inputs and 2 outputs"):
        circuit.apply_to(MLP([5, 3, 3, 3, 1]))


def test_a_circuit_of_the_second_output(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = MLP([4, 3, 2], nn.Tanh), torch.randn(20, 4)
    part = find_part(ModelGraph.trace(model, x), 2)
    space = CircuitSpace((4, 3, 1))
    bits = space.circuit([np.eye(3, 4) + np.eye(3, 4, 1), np.ones((1, 3))])
    circuit = Circuit(part.output(1), bits, output=1)
    cut = circuit.apply_to(model)
    assert torch.allclose(cut(x)[:, 1], circuit.apply(x), atol=1e-6)
    assert torch.equal(cut.layers[2].weight, model.layers[2].weight)  # the first output's row is unchanged
    other = Circuit(part.output(0), bits)
    assert torch.allclose(other.apply_to(model)(x)[:, 0], other.apply(x), atol=1e-6) and other != circuit
    circuit.save(tmp_path / "circuit.json")
    assert Circuit.load(tmp_path / "circuit.json") == circuit
    with pytest.raises(ValueError, match="not a well-formed circuit of layers of 4-3-2 neurons"):
        Circuit(part, 1)


def test_pairs_and_edge_shares_against_one_by_one() -> None:
    space, part = CircuitSpace((2, 2, 2, 1)), random_part((2, 2, 2, 1), ["relu"] * 3)
    found = [Circuit(part, c) for c in range(2**space.n_edges) if space.is_well_formed(c)]
    compared = overlaps(np.array([circuit.bits for circuit in found], dtype=np.uint64))
    pairs = list(itertools.combinations(found, 2))
    assert compared.n_pairs == len(pairs)
    assert compared.contained == pytest.approx(np.mean([a.contains(b) or b.contains(a) for a, b in pairs]))
    assert compared.mean == pytest.approx(np.mean([a.jaccard(b) for a, b in pairs]))
    counts = space.edge_counts(np.array([circuit.bits for circuit in found], dtype=np.uint64))
    assert counts[0] == sum(circuit.masks[0][0, 0] for circuit in found)
    assert space.edge_counts(np.array([], dtype=np.uint64)).tolist() == [0] * space.n_edges


# --- the experiment -------------------------------------------------------------------------------------------------


def setting(**options: Any) -> Setting:
    torch.manual_seed(3)
    model = MLP([6, 4, 2, 2, 1], nn.LeakyReLU, nn.LeakyReLU())
    return Setting(CircuitsConfig(**options), TrainingOptions(), model.eval(), values(70))


def test_the_tables_agree_with_each_other() -> None:
    given = setting(accuracy_threshold=0.5)
    result = circuits.run(given)
    (row,) = result.tables["metrics"]
    table: pd.DataFrame = result.tables["circuits"]
    space = CircuitSpace((4, 2, 2, 1))
    assert row["n_circuits"] == len(table) == space.count()
    assert row["n_circuits"] - row["n_circuits_partial"] == space.count_all_active()
    assert row["n_valid"] == table["valid"].sum() == (table["accuracy"] > 0.5).sum() > 0
    assert row["n_valid_partial"] == (table["valid"] & (table["n_nodes"] < 4)).sum()
    census = pd.DataFrame(result.tables["census"])
    counted = table.assign(n_correct=(table["accuracy"] * 70).round().astype(int))
    counted = counted.groupby(["n_nodes", "n_edges", "n_correct"]).size().reset_index(name="n_circuits")
    assert counted.astype(int).values.tolist() == census[list(counted.columns)].values.tolist()
    full = table[table["circuit"] == space.full].iloc[0]
    assert full["agreement"] == 1 and full["accuracy"] == row["full_accuracy"]
    assert (full["node_sparsity"], full["edge_sparsity"], full["sparsity"]) == (0, 0, 0)
    sparsest = table.sort_values("n_edges").iloc[0]
    assert sparsest["sparsity"] == pytest.approx(1 - (sparsest["n_nodes"] + sparsest["n_edges"]) / (4 + 14))
    edges = pd.DataFrame(result.tables["edges"])
    valid = table.loc[table["valid"], "circuit"].to_numpy()
    assert edges["n_valid"].tolist() == space.edge_counts(valid).tolist()
    assert edges["share"].tolist() == pytest.approx((space.edge_counts(valid) / len(valid)).tolist())
    assert result.metrics["n_valid"] == row["n_valid"] and result.timings["enumerate"] > 0


@pytest.mark.parametrize("choices", CHOICES, ids=["zero-all", "mean-any"])
def test_a_table_says_how_minimal_each_valid_circuit_is(choices: dict[str, str]) -> None:
    given = setting(
        accuracy_threshold=0.55,
        ablation=EdgeAblation[choices["ablation"]],
        inputs=CircuitInputs[choices["inputs"]],
    )
    result = circuits.run(given)
    table, (row,) = result.tables["circuits"], result.tables["metrics"]
    space = CircuitSpace((4, 2, 2, 1), choices["inputs"])
    assert len(table) == row["n_circuits"] == space.count()
    assert {name: table.attrs[name] for name in choices} == choices
    part = find_part(given.graph(), 3)
    entering, outputs = entering_activations(given.graph(), part, given.dataset.x_test)
    examples = CircuitExamples(entering, given.dataset.y_test.reshape(-1).round(), outputs[:, 0])
    for sampled in table.sample(20, random_state=0).itertuples():
        alone = measure_one(part, examples, sampled.circuit, ablation=choices["ablation"])
        assert (sampled.accuracy, sampled.agreement) == (alone.n_correct[0] / 70, alone.n_agreeing[0] / 70)
        assert sampled.mse == pytest.approx(alone.squares[0] / 70, rel=1e-4, abs=1e-6)
    valid = table[table["valid"]]
    levels = minimality(space, valid["circuit"].to_numpy())
    assert [LEVELS[level] for level in levels] == valid["minimality"].astype(object).fillna("").tolist()
    assert table.loc[~table["valid"], "minimality"].isna().all()
    assert [row[f"n_{level}"] for level in LEVELS[1:]] == [int((levels >= n).sum()) for n in range(1, 5)]
    assert row["n_quasi"] > row["n_cardinal"] == (valid["n_edges"] == valid["n_edges"].min()).sum() > 0
    assert result.metrics["n_subset"] == row["n_subset"]
    # A sample of valid circuits: the search below each says the same.
    sample = circuits.run(replace(given, config=replace(given.config, max_table_rows=60))).tables
    assert sample["metrics"][0]["n_cardinal"] == row["n_cardinal"] and np.isnan(sample["metrics"][0]["n_local"])
    assert len(sample["circuits"]) == 60 < len(valid)
    expected = table.set_index("circuit").loc[sample["circuits"]["circuit"], "minimality"]
    assert sample["circuits"]["minimality"].astype(object).fillna("").tolist() == (
        expected.astype(object).fillna("").tolist()
    )
    assert sample["census"] == result.tables["census"]


def test_what_is_kept_of_the_table() -> None:
    whole = circuits.run(setting(accuracy_threshold=0.5))
    n_valid = whole.metrics["n_valid"]
    valid = circuits.run(setting(accuracy_threshold=0.5, table=CircuitTable["valid"]))
    assert len(valid.tables["circuits"]) == n_valid and valid.tables["circuits"]["valid"].all()
    assert "circuits" not in circuits.run(setting(table=CircuitTable["none"])).tables
    limited = circuits.run(setting(accuracy_threshold=0.5, max_table_rows=10))
    assert len(limited.tables["circuits"]) == 10 and limited.tables["circuits"]["valid"].all()
    every = whole.tables["circuits"].set_index("circuit")
    for row in limited.tables["circuits"].itertuples():
        alone = every.loc[row.circuit]
        assert (row.accuracy, row.agreement, row.n_edges) == (alone.accuracy, alone.agreement, alone.n_edges)
        assert row.mse == pytest.approx(alone.mse, rel=1e-5)
    another = circuits.run(replace(setting(accuracy_threshold=0.5, max_table_rows=10), seed=1))
    assert set(another.tables["circuits"]["circuit"]) != set(limited.tables["circuits"]["circuit"])
    assert limited.tables["census"] == whole.tables["census"]
    assert limited.tables["edges"] == whole.tables["edges"]
    drop = ("method", "pairs_contained", "mean_jaccard", "seconds", "n_quasi", "n_local", "n_subset")
    drop += tuple(number.name for number in OF_SHARED)
    rows = [{k: v for k, v in result.tables["metrics"][0].items() if k not in drop} for result in (whole, limited)]
    assert rows[0] == rows[1]


def test_circuits_that_leave_out_too_few_neurons_are_not_counted() -> None:
    result = circuits.run(setting(min_node_sparsity=0.25))
    table = result.tables["circuits"]
    assert table["node_sparsity"].min() == 0.25
    assert (
        result.metrics["n_circuits"]
        == len(table)
        == CircuitSpace((4, 2, 2, 1)).count() - len(circuits.run(setting()).tables["circuits"].query("n_nodes == 4"))
    )


def test_several_outputs_are_analysed_each_by_itself() -> None:
    torch.manual_seed(0)
    one, data = MLP([6, 2, 2, 2], nn.Tanh), values(40)
    y = torch.stack([data.y_train, 1 - data.y_train], 1)
    data = replace(data, y_train=y, y_test=torch.stack([data.y_test, 1 - data.y_test], 1))
    result = circuits.run(Setting(CircuitsConfig(last_layers=2), TrainingOptions(), one.eval(), data))
    assert [row["output"] for row in result.tables["metrics"]] == [0, 1]
    table = result.tables["circuits"]
    assert table.groupby("output").size().tolist() == [CircuitSpace((2, 2, 1)).count()] * 2
    with torch.no_grad():
        correct = (one(data.x_test).round() == data.y_test).double().mean(0).tolist()
    assert [row["full_accuracy"] for row in result.tables["metrics"]] == pytest.approx(correct)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"last_layers": 5}, "last_layers=5: the network has only 4 Linear layers. Type experiment.last_layers=4.$"),
        ({"min_node_sparsity": 0.5, "max_table_rows": 20}, "Type experiment.max_table_rows=717 or .*last_layers=2.$"),
        ({"table": CircuitTable["all"], "max_table_rows": 20}, "have 717 circuits, more than .*=20. Type .*auto or"),
    ],
)
def test_mistakes_are_found_before_training(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        circuits.check(setting(**options))


@pytest.mark.parametrize("sizes", [[6, 5, 5, 5, 1], [6, 5, 5, 1]])
def test_a_census_that_takes_too_long_is_refused_with_the_command_in_parts(sizes: list[int]) -> None:
    def of(**options: Any) -> Setting[CircuitsConfig]:
        return Setting(CircuitsConfig(last_layers=3, **options), TrainingOptions(), MLP(sizes).eval(), values(20))

    count = large(CircuitSpace(tuple(sizes[-4:])).count())
    text = (
        rf"method=census: .* have {re.escape(count)} circuits, about [\d,.e+]+ hours on these cores. Type "
        r"experiment.method=auto or -m experiment.parts=(\d+) 'experiment.part=range\(1,(\d+)\)'"
        r"( or experiment.last_layers=2)?\.$"
    )
    with pytest.raises(ConfigError, match=text) as caught:
        circuits.check(of(method=CircuitMethod.census))
    found = re.search(text, str(caught.value))
    assert found is not None and int(found[1]) + 1 == int(found[2]) > 2
    circuits.check(of())
    circuits.check(of(method=CircuitMethod.census, parts=int(found[1]), part=1))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"method": "table", "max_table_rows": 20}, "method=table: .* have 717 circuits, more than .*=20. Type .*auto"),
        ({"method": "census", "table": CircuitTable["all"]}, "table=all"),
        ({"method": "sample", "min_node_sparsity": 0.5}, "min_node_sparsity works where all circuits fit into a table"),
        ({"method": "census", "last_layers": 1}, "one circuit, the full one"),
    ],
)
def test_methods_that_cant_count(options: dict[str, Any], text: str) -> None:
    options["method"] = CircuitMethod[options["method"]]
    with pytest.raises(ConfigError, match=text):
        circuits.check(setting(**options))


def test_an_answer_that_falls_is_refused_before_training() -> None:
    model = MLP([6, 2, 1], nn.Tanh, nn.LeakyReLU(-0.5)).eval()
    with pytest.raises(ConfigError, match="leaky_relu with the negative slope -0.5 is not monotone"):
        circuits.check(Setting(CircuitsConfig(last_layers=2), TrainingOptions(), model, values(20)))


def test_the_table_and_the_log_compare_the_cut_with_the_whole_network(caplog: pytest.LogCaptureFixture) -> None:
    given = setting(accuracy_threshold=0.5)
    with caplog.at_level("INFO", logger=log.name):
        (row,) = circuits.run(given).tables["metrics"]
    data, layers = given.dataset, given.model.layers
    with torch.no_grad():
        whole, alone = given.model(data.x_test), layers[2:](layers[:2](data.x_test))
    for column, outputs in (("full_accuracy", whole), ("cut_accuracy", alone)):
        assert row[column] == pytest.approx(float((outputs[:, 0].round() == data.y_test).double().mean()))
    assert 0 <= row["cut_difference"] < 1e-6
    assert f"accuracy of the whole network {row['full_accuracy']:.5f}" in caplog.text
    assert f"of the last 3 layers alone {row['cut_accuracy']:.5f}" in caplog.text
    assert f"largest difference of their outputs {row['cut_difference']:.2g}" in caplog.text


DATA = ("dataset=mod_add", "dataset.target=value")
COMMAND = ("experiment=circuits", *DATA, "model.hidden_sizes=[2,2]", "training.epochs=3")


def test_the_command(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(*COMMAND, "expect={n_circuits: '>1'}")
    assert ended.status == 0, ended.err
    table = pd.read_parquet(ended.folder / "circuits.parquet")
    assert table["circuit"].dtype == np.uint64
    assert len(table) == ended.record["metrics"]["n_circuits"] == CircuitSpace((4, 2, 2, 1)).count()
    assert ended.record["timings"]["enumerate"] > 0
    assert json.loads((ended.folder / "run.json").read_text())["metrics"]["accuracy"] >= 0
    assert {"census.csv", "edges.csv", "figures/sparsity_0.png"} <= set(ended.record["files"])


def test_every_row_of_a_run_can_be_drawn_masked_applied_and_saved(mi_run: Callable[..., Ended], tmp_path: Path) -> None:
    mean = mi_run(*COMMAND, "experiment.ablation=mean", "experiment.inputs=any")
    with_means = mi_runner.load_circuits(mean.folder)
    assert len(with_means) == CircuitSpace((4, 2, 2, 1), "any").count()
    for i in range(0, len(with_means), 100):
        outputs, row = with_means.circuit(i).apply(with_means.x), with_means.table.iloc[i]
        assert float((outputs - with_means.outputs[:, 0]).square().mean()) == pytest.approx(
            row["mse"], rel=1e-4, abs=1e-9
        )
    ended = mi_run(*COMMAND)
    found = mi_runner.load_circuits(ended.folder.parent / "latest")
    table = pd.read_parquet(ended.folder / "circuits.parquet")
    assert table.attrs["sizes"] == [4, 2, 2, 1] == list(found.part.sizes) and len(found) == len(table)
    network = read_weights(Path(ended.record["checkpoint"]["path"]))
    for layer in found.part.layers:
        assert torch.equal(layer.weight, network[f"{layer.module}.weight"])
        assert (layer.activation, layer.slope) == ("leaky_relu", 0.01)
    for i in range(0, len(table), 60):
        circuit, row = found.circuit(i), table.iloc[i]
        outputs = circuit.apply(found.x)
        assert float((outputs.round() == found.targets[:, 0]).double().mean()) == pytest.approx(row["accuracy"])
        agreement = (outputs.round() == found.outputs[:, 0].round()).double().mean()
        assert float(agreement) == pytest.approx(row["agreement"])
        assert float((outputs - found.outputs[:, 0]).square().mean()) == pytest.approx(row["mse"], rel=1e-4, abs=1e-9)
        assert sum(mask.sum() for mask in circuit.masks) == row["n_edges"]
        circuit.save(tmp_path / "circuit.json")
        assert Circuit.load(tmp_path / "circuit.json") == circuit
        assert Circuit(found.part, row["circuit"]) == circuit  # numpy's integers, too
    figure = circuit.draw(tmp_path / "circuit.png")
    with Image.open(tmp_path / "circuit.png") as image:
        assert image.width > 200
    assert len(figure.axes[0].lines) == circuit.n_edges
    with pytest.raises(IndexError, match="row=717: the table has the rows 0 to 716"):
        found.circuit(717)


def test_a_run_of_more_than_64_edges_has_the_circuits_of_the_narrower_network(mi_run: Callable[..., Ended]) -> None:
    planted = ("dataset=logic", "model=planted", "model.formula='(A & ~B) | (~A & B)'", "experiment.inputs=any")
    narrow, wide = (
        mi_run("experiment=circuits", *planted, f"model.width={width}", "experiment.accuracy_threshold=0.7")
        for width in (1, 8)
    )
    (few,), (many,) = (pd.read_csv(ended.folder / "metrics.csv").to_dict("records") for ended in (narrow, wide))
    same = ("n_circuits", "n_valid", "n_quasi", "n_local", "n_subset", "n_cardinal", "n_equally_valid", "mean_jaccard")
    assert [many[name] for name in same] == [few[name] for name in same]
    assert many["n_valid"] > 1
    found, edges = mi_runner.load_circuits(wide.folder), pd.read_csv(wide.folder / "edges.csv")
    assert (len(edges), found.part.sizes) == (88, (2, 8, 8, 1))
    assert edges["n_valid"].sum() == found.table.loc[found.table["valid"], "n_edges"].sum()
    for row in range(len(found)):
        circuit = found.circuit(row)
        assert str(circuit.bits) == found.table["circuit"].iloc[row]
        assert circuit.n_edges == found.table["n_edges"].iloc[row]
    (truth,) = np.flatnonzero(found.table["is_truth"])
    contains = [found.circuit(row).contains(found.circuit(truth)) for row in range(len(found))]
    assert found.table["contains_truth"].tolist() == contains


def test_the_lines_of_the_page_run_on_a_run_folder(mi_run: Callable[..., Ended]) -> None:
    """The page's block is run where its command was, on fewer images."""
    small = ("dataset.limit=60", "training.epochs=1", "experiment.accuracy_threshold=0.1")
    assert mi_run("experiment=circuits", *small).status == 0
    page = (REPOSITORY / "docs" / "circuits.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["outputs"].shape == (60,) and Path("c.png").is_file()
    assert Circuit.load("c.json") == names["circuit"]


def test_a_folder_without_a_table_of_circuits(mi_run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = mi_run(*COMMAND, "experiment.table=none")
    for folder in (ended.folder, tmp_path):
        with pytest.raises(ValueError, match="it lacks circuits.parquet. Name the folder of a run of experiment=circ"):
            mi_runner.load_circuits(folder)


# --- every data set and model ---------------------------------------------------------------------------------------

IMAGES = {"mnist": "dataset.limit=60", "mnist01": "dataset.limit=60", "ellipses": "dataset.test_size=60"}
VECTORS = {"mod_add": "dataset.test_size=60", "arrays": "dataset.path=arrays.npz"}
NOT_A_CHAIN = {
    "cnn": "experiment.last_layers=3: 'conv3' ends the chain of last layers",
    "skip": "experiment.last_layers=3: 'add' ends the chain of last layers",
}


@pytest.mark.parametrize("target", ["value", "class"])
@pytest.mark.parametrize("dataset", [*IMAGES, *VECTORS])
@pytest.mark.parametrize("model", ["mlp", "skip", "cnn"])
def test_every_data_set_and_model_runs_or_says_what_to_add(
    dataset: str, model: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.linspace(0, 1, 160).reshape(40, 4)
    np.savez("arrays.npz", x_train=x, y_train=x[:, 0].round(), x_test=x, y_test=x[:, 0].round())
    data = [f"dataset={dataset}", f"dataset.target={target}", (IMAGES | VECTORS)[dataset]]
    command = ["experiment=circuits", *data, f"model={model}"]
    if model == "mlp":
        check(*command)
        return
    with pytest.raises(ConfigError) as caught:
        check(*command)
    text = str(caught.value)
    if model == "cnn" and dataset in VECTORS:
        assert text.startswith("model=cnn takes images") and text.endswith("Use model=mlp.")
        check(*command, "model=mlp")
        return
    hint = text.removesuffix(".").rpartition(" Type ")[2]
    assert text.startswith(NOT_A_CHAIN[model])
    assert target == "class" or hint == NARROW
    check(*command, *hint.split())


@pytest.mark.parametrize("model", ["cnn", "skip", "mlp"])
def test_layers_that_have_a_single_circuit_are_refused(model: str) -> None:
    data = ("dataset=ellipses",) if model == "cnn" else DATA
    command = ["experiment=circuits", *data, "dataset.test_size=60", f"model={model}", "experiment.last_layers=1"]
    with pytest.raises(ConfigError, match="last_layers=1: layers of [34]-1 neurons have one circuit") as caught:
        check(*command)
    hint = "experiment.last_layers=3" if model == "mlp" else NARROW
    assert str(caught.value).endswith(f"Type {hint}.")
    check(*command, *hint.split())
