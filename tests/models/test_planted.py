"""Planted networks: against their formulas, each neuron against its node, circuits against the published numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mi_runner import models
from mi_runner.cli import command
from mi_runner.datasets import logic
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part, find_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.circuits.circuit import Circuit
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.family import circuits_of_family, count_family, nonzero_edges, search_family
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.models import formulas, planted
from mi_runner.models.truth import Truth
from tests.formula_texts import evaluated, texts

XOR = "(A & ~B) | (~A & B)"


def built(
    formula: str | None, n: int = 2, *, function: str | None = None, seed: int = 0, **options: Any
) -> models.Built:
    """Returns the planted network of a formula, for the function that it computes."""
    table = function or formulas.parsed(formula or XOR, n).table
    return models.build(planted.build, logic.load(functions=[table]), seed=seed, formula=formula, **options)


def part_of(network: models.Built) -> Part:
    """Returns all layers of a network."""
    return find_part(ModelGraph.trace(network.model, network.dataset.x_test[:2]), None)


def truth_of(network: models.Built) -> Truth:
    assert network.truth is not None
    return network.truth


def sites(network: models.Built) -> list[torch.Tensor]:
    """Returns the values of each site on all inputs, behind its ReLU, by passing through one module after the other."""
    values = [network.dataset.x_test.double()]
    for module in network.model.double().layers:
        value = module(values[-1]).detach()
        values = [*values[:-1], value] if isinstance(module, torch.nn.ReLU) else [*values, value]
    network.model.float()
    return values


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "distractors": st.sampled_from([2, 4]),
        "distractor_kind": st.sampled_from(["ignored", "cancelling"]),
        "cancelling_weight": st.sampled_from([0.5, 2.0]),
        "copies": st.integers(2, 3),
        "rotation": st.integers(1, 2),
        "width": st.integers(2, 9),
        "shuffle": st.just(False),
        "seed": st.integers(0, 100),
    },
)


def drawn_network(text: str, n: int, options: dict[str, Any]) -> models.Built:
    """Returns a planted network; examples that are refused for a reason that the text states are left out."""
    try:
        return built(text, n, **options)
    except ArgumentError as error:
        known = ("twice", "on all inputs", "has no function", "more than 200", "hidden layer", "is constant")
        assert any(reason in str(error) for reason in known), error
        assume(False)
        raise


@settings(max_examples=50)
@given(st.integers(2, 4).flatmap(lambda n: st.tuples(texts(n, 3), st.just(n))), OPTIONS)
def test_a_network_and_each_of_its_neurons_compute_their_formula(
    drawn: tuple[str, int], options: dict[str, Any]
) -> None:
    text, n = drawn
    network = drawn_network(text, n, options)
    truth, wanted = truth_of(network), evaluated(text, n)
    values = sites(network)
    assert torch.allclose(network.model(network.dataset.x_test)[:, 0].detach(), torch.tensor(wanted).float(), atol=1e-4)
    assert truth.sizes == tuple(value.shape[1] for value in values)
    for neuron in truth.neurons:
        if neuron.node:
            value = values[neuron.site][:, neuron.neuron].numpy()
            assert np.allclose(value, evaluated(neuron.node, n), atol=1e-4), neuron
    n_copies = options.get("copies", 1)
    for direction in truth.directions:
        along = values[direction.site].numpy() @ np.array(direction.vector)
        assert np.allclose(along, evaluated(direction.node, n) * n_copies**0.5, atol=1e-4), direction


@settings(max_examples=50)
@given(texts(3, 2), OPTIONS, st.sampled_from([0.0, 0.05]))
def test_network_and_planted_circuit_answer_as_the_formula(text: str, options: dict[str, Any], noise: float) -> None:
    network = drawn_network(text, 3, {**options, "noise": noise})
    truth, x = truth_of(network), network.dataset.x_test
    side = evaluated(text, 3)
    assert ((network.model(x)[:, 0] > 0.5).numpy() == side).all()
    part = part_of(network)
    for means in (None, part.means(x)):
        circuit = Circuit(part, truth.circuit, means=means)
        assert ((circuit.apply(x) > 0.5).numpy() == side).all()


@settings(max_examples=50)
@given(texts(3, 2), OPTIONS)
def test_the_planted_circuit_is_what_lies_on_paths_through_planted_neurons(text: str, options: dict[str, Any]) -> None:
    truth = truth_of(drawn_network(text, 3, options))
    is_planted = [
        np.array([neuron.is_planted for neuron in truth.neurons if neuron.site == site])
        for site in range(len(truth.sizes))
    ]
    kept = [w != 0 for w in truth.weights]
    kept = [mask & np.outer(is_planted[i + 1], is_planted[i]) for i, mask in enumerate(kept)]
    for _ in kept:  # until nothing changes
        ends = [np.ones(truth.sizes[0], bool), *(mask.any(1) for mask in kept)]
        starts = [*(mask.any(0) for mask in kept), np.ones(1, bool)]
        kept = [mask & np.outer(starts[i + 1], ends[i]) for i, mask in enumerate(kept)]
    assert all((mask == planted).all() for mask, planted in zip(kept, truth.planted, strict=True))
    assert len(truth.edges) == sum(mask.sum() for mask in kept)


def test_xor_by_hand() -> None:
    network = built(XOR, shuffle=False)
    weights = [parameter.tolist() for parameter in network.model.parameters()]
    assert weights == [[[1, -1], [-1, 1]], [0, 0], [[-1, -1]], [1], [[-1]], [1]]
    assert truth_of(network).circuit == 0b111_1111 and network.notes[0].endswith("2-2-1-1 neurons, 7 of 7 edges")


def test_a_carrier_serves_all_readers_and_a_bare_variable_has_one() -> None:
    truth = truth_of(built("((A & B) | C) & ((A | B) & ~C)", 3, shuffle=False))
    layers = [[neuron.gate for neuron in truth.neurons if neuron.site == site] for site in (1, 2, 3, 4)]
    assert layers == [["and", "nor", "carrier"], ["nor", "nor"], ["converse_nimp"], ["output"]]
    truth = truth_of(built("~B"))
    assert [(neuron.gate, neuron.node) for neuron in truth.neurons if neuron.site == 1] == [("carrier", "B")]
    assert [(edge.layer, edge.source, edge.target, edge.weight) for edge in truth.edges] == [
        (0, 1, 0, 1),
        (1, 0, 0, -1),
    ]


def test_nodes_that_cannot_change_the_answer_are_marked() -> None:
    truth = truth_of(built("A | ((A & B) & (~A & B))"))  # always A
    inert = {neuron.node: neuron.is_inert for neuron in truth.neurons if neuron.place is not None and neuron.copy == 0}
    assert inert == {"A & B": False, "~A & B": True, "(A & B) & (~A & B)": True, "~A & ~((A & B) & (~A & B))": False}
    assert not any(neuron.is_inert for neuron in truth_of(built(XOR)).neurons)


def test_distractors_read_planted_values_and_twins_cancel() -> None:
    network = built(XOR, distractors=4, cancelling_weight=3.0)
    truth = truth_of(network)
    for site, weight in enumerate(truth.weights[1:], start=1):
        neurons = [neuron for neuron in truth.neurons if neuron.site == site]
        twins = [neuron for neuron in neurons if neuron.gate == "distractor"]
        leading = weight[:, [twin.neuron for twin in twins]]
        assert len(twins) == 4 and sorted(leading[leading != 0]) == [-3, -3, 3, 3] and not leading.sum()
        below = truth.weights[site - 1][[twin.neuron for twin in twins]]
        read = {int(source) for source in np.nonzero(below)[1]}
        assert all(truth.neuron(site - 1, source).is_planted for source in read)
        carried = {tuple(evaluated(neuron.node, 2)) for neuron in neurons if neuron.is_planted}
        functions = {tuple(evaluated(twin.node, 2)) for twin in twins}
        assert not functions & carried and all(len(set(function)) == 2 for function in functions)


def test_a_seed_draws_the_order_and_shuffle_false_has_none() -> None:
    def first(seed: int, shuffle: bool) -> str:
        return json.dumps([w.tolist() for w in truth_of(built(XOR, seed=seed, shuffle=shuffle, width=4)).weights])

    assert len({first(seed, True) for seed in range(8)}) > 4
    assert len({first(seed, False) for seed in range(8)}) == 1
    assert first(3, True) == first(3, True)


@pytest.mark.parametrize("ablation", ["zero", "mean"])
@pytest.mark.parametrize(
    ("options", "n_circuits", "n_valid"),
    [
        ({}, 15, (1, 1)),
        ({"distractors": 2, "distractor_kind": "ignored"}, 15, (1, 1)),
        ({"copies": 2}, 9_999, (191, 2_409)),
    ],
)
def test_circuits_of_xor(ablation: str, options: dict[str, Any], n_circuits: int, n_valid: tuple[int, int]) -> None:
    network = built(XOR, **options)
    part, x, y = part_of(network), network.dataset.x_test, network.dataset.y_test
    examples = CircuitExamples(x, y.long(), network.model(x)[:, 0].detach(), Outputs.probability)
    family = nonzero_edges(part)
    found = search_family(part, examples, family, accuracy_threshold=0.99, ablation=ablation, inputs="any")
    assert (found.n_circuits, found.n_valid) == (n_circuits, n_valid[ablation == "mean"])
    if options.get("distractor_kind"):
        assert CircuitSpace(part.sizes, "any").count() == 234_255  # with weights of 0


@given(
    st.sampled_from([(2, 3, 2, 1), (2, 2, 2, 2), (3, 2, 1), (3, 1)]),
    st.sampled_from(["all", "any"]),
    st.integers(0, 2**14 - 1),
)
def test_circuits_of_a_family_are_all_that_a_look_at_every_set_of_edges_finds(
    sizes: tuple[int, ...], inputs: str, family: int
) -> None:
    space = CircuitSpace(sizes, inputs)
    family &= space.full
    sets = np.arange(1, 2**space.n_edges, dtype=np.uint64)
    within = sets[sets & ~np.uint64(family) == 0]
    wanted = within[space.are_well_formed(within)]
    assert circuits_of_family(space, family).tolist() == wanted.tolist()
    assert count_family(space, family) == len(wanted) and count_family(space, space.full) == space.count()


def test_a_null_formula_is_the_first_algorithm() -> None:
    network = built(None, function="0110")
    assert truth_of(network).formula.text == "~(A & B) & ~(~A & ~B)"
    assert built(None, function="0111").notes[0].startswith("~(~A & ~B) is planted")


@pytest.mark.parametrize(
    ("formula", "options", "problem"),
    [
        (
            "A & B",
            {"function": "0110"},
            r"computes 0001, and .* 0110. Type dataset.functions=\[0001\], or formula='\(~A",
        ),
        (XOR, {"distractors": 3}, "come in pairs: type distractors=4"),
        (XOR, {"rotation": 3}, "the formula has 2 hidden layers: type rotation=2"),
        (XOR, {"rotation": 2}, "hidden layer 2 has one neuron, which no rotation turns: type width=2"),
        (XOR, {"noise": 50.0}, "none of 1,000 draws .* Type noise=25"),
        (None, {"function": "01101001"}, r"none of the algorithms up to depth 3 computes 01101001: type formula='\(~A"),
    ],
)
def test_what_does_not_fit_is_refused(formula: str | None, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentError, match=problem):
        built(formula, **options)


@pytest.mark.parametrize(
    ("loaded", "problem"),
    [
        ({"functions": ["XOR", "AND"]}, r"not 2: type dataset.functions=\[XOR\]"),
        ({"target": "class"}, "Use dataset.target=value"),
        ({"limit": 2}, "type dataset=logic dataset.limit=null"),
    ],
)
def test_other_data_are_refused(loaded: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentError, match=f"model=planted takes one Boolean function.*{problem}"):
        planted.build(logic.load(**loaded))


def test_a_run_trains_nothing_and_says_the_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["model.copies=2", "experiment.inputs=any", "report=false", f"output_dir={tmp_path}"]
    arguments = ["experiment=circuits", "dataset=logic", "model=planted", f"model.formula={XOR}", *options]
    assert command.main(arguments) == 0
    folder = Path(capsys.readouterr().out.splitlines()[-1])
    record = json.loads((folder / "run.json").read_text())
    assert record["checkpoint"]["from"] == "planted" and record["metrics"]["n_equally_valid"] == 191
    assert record["config"]["model"] == "planted" or record["config"]["model"]["formula"] == XOR
    edges = pd.read_csv(folder / "truth.csv")
    assert len(edges) == 18 and edges.weight.abs().sum() == 8 + 4 + 1
    circuits = pd.read_parquet(folder / "circuits.parquet")
    assert circuits.is_truth.sum() == circuits.contains_truth.sum() == 1 and circuits[circuits.is_truth].valid.all()
    assert not (folder / "history.csv").exists()


def test_seeds_are_planted_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["dataset=logic", "model=planted", "seeds=3", "report=false", f"output_dir={tmp_path}"]
    assert command.main(arguments) == 0
    folder = Path(capsys.readouterr().out.splitlines()[-1])
    edges = pd.read_csv(folder / "truth.csv")
    assert edges.groupby("seed").size().tolist() == [7, 7, 7]
    members = json.loads((folder / "run.json").read_text())["checkpoint"]["members"]
    assert [member["from"] for member in members] == ["planted"] * 3
    assert command.main([*arguments, "model.formula=A & B"]) == 2
    assert "model.formula=A & B: it computes 0001" in capsys.readouterr().err
