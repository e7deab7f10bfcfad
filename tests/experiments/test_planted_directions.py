"""Variables of planted networks, and the angle between found and planted directions: by the networks and by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mi_runner import models
from mi_runner.config.experiments.iit import Control, IitConfig, Sources, Trained
from mi_runner.datasets import logic
from mi_runner.errors import ConfigError
from mi_runner.experiments import Result, Setting
from mi_runner.experiments.iit import experiment as iit
from mi_runner.experiments.iit.planted import angles, formula_model, planted_directions
from mi_runner.graph.interventions import Intervention, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.alignment import Rotation, Units
from mi_runner.methods.interchange import Aligned
from mi_runner.methods.principal_angles import expected_angle, expected_of_all, largest_angle
from mi_runner.models import formulas, planted
from mi_runner.models.formulas import GATES
from mi_runner.training.options import TrainingOptions
from tests.iit_settings import units

XOR = "(A & ~B) | (~A & B)"


def built(formula: str, n: int = 2, **options: Any) -> models.Built:
    table = formulas.parsed(formula, n).table
    data = logic.load(functions=[table], train_size=64)
    return models.build(planted.build, data, seed=2, formula=formula, **options)


def setting(network: models.Built, **options: Any) -> Setting[IitConfig]:
    given = {"train_pairs": 400, "test_pairs": 100, "batch_size": 20, "warmup_steps": 0, "gradient_clip": None}
    config = IitConfig(**{**given, "train": Trained.rotation, **options})
    return Setting(config, TrainingOptions(), network.model.eval(), network.dataset, truth=network.truth)


def run(network: models.Built, **options: Any) -> Result:
    made = setting(network, **options)
    iit.check(made)
    return iit.run(made)


# --- variables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "n"), [(XOR, 2), ("(A | B) & ~C", 3), ("(A ^ B) | ~(C & A)", 3), ("~(A & (B | C))", 3)]
)
def test_a_node_from_a_source_changes_the_label_as_its_neuron_does(formula: str, n: int) -> None:
    network = built(formula, n)
    truth, data = network.truth, network.dataset
    assert truth is not None and data.causal_model is not None
    model = formula_model(truth.formula, data.causal_model)
    assert torch.equal(model.mechanism(model.values_train), data.y_train)
    graph = ModelGraph.trace(network.model, data.x_test[:2])
    relus = [name for name in graph.sites if type(graph.submodule(name)) is torch.nn.ReLU]
    pairs = list(itertools.product(range(2**n), repeat=2))
    base, source = torch.tensor(pairs).unbind(1)
    x, other = data.x_test[base], data.x_test[source]
    for neuron in truth.neurons:
        if neuron.place and neuron.gate in GATES.values():
            site, name = relus[neuron.site - 1], f"n{neuron.place}"
            assert torch.equal(
                run_with(graph, data.x_test, returns=[site])[0][:, neuron.neuron].double(),
                model.values_test[:, model.column(name)],
            )
            unit = torch.arange(truth.sizes[neuron.site]) == neuron.neuron
            values = run_with(graph, other, returns=[site])[0]
            swapped = run_with(graph, x, [Intervention(site, values, units=unit)])[:, 0]
            labels = model.counterfactual(model.values_test[base], {name: model.values_test[source]})
            assert torch.equal(labels, (swapped > 0.5).float())
    inputs = model.counterfactual(model.values_test[base], {"A": model.values_test[source]})
    mixed = torch.cat([other[:, :1], x[:, 1:]], 1)
    assert torch.equal(inputs, (network.model(mixed)[:, 0] > 0.5).float())


def test_a_node_overrides_its_children() -> None:
    network = built("(A | B) & ~C", 3)
    assert network.truth is not None and network.dataset.causal_model is not None
    model = formula_model(network.truth.formula, network.dataset.causal_model)
    assert model.variables == ("A", "B", "C", "n1")
    rows = model.values_test
    both = model.counterfactual(rows[[0]], {"n1": rows[[0]], "A": rows[[4]]})
    alone = model.counterfactual(rows[[0]], {"A": rows[[4]]})
    assert (both.tolist(), alone.tolist()) == ([0.0], [1.0])


# --- angles ----------------------------------------------------------------------------------------------------------


def test_angles_by_hand() -> None:
    assert largest_angle(np.eye(3)[:1], np.array([[1.0, 1.0, 0.0]])) == pytest.approx(45)
    assert largest_angle(np.eye(3)[:2], np.eye(3)[1:]) == pytest.approx(90)
    assert largest_angle(np.eye(3)[:2], np.array([[1.0, 1.0, 0.0]])) == pytest.approx(0, abs=1e-5)  # it lies in it
    # Of a random line the angle to a fixed one has density sin in three dimensions: its mean is one radian.
    assert expected_angle(2, 1, 1) == pytest.approx(45, abs=0.5)
    assert expected_angle(3, 1, 1) == pytest.approx(np.degrees(1), abs=0.5)
    assert expected_angle(3, 3, 1) == pytest.approx(0, abs=1e-4)
    assert expected_angle(5, 2, 1) == pytest.approx(expected_angle(5, 1, 2), abs=0.7)


def test_the_angle_of_units_and_of_unknown_variables() -> None:
    network = built(XOR, shuffle=False)
    assert network.truth is not None
    graph = ModelGraph.trace(network.model, network.dataset.x_test[:2])
    (place,) = (one.neuron for one in network.truth.neurons if one.place == 1 and one.site == 1)
    for site in ("layers.0", "layers.1"):  # before and behind the ReLU
        for unit in (0, 1):
            aligned = Aligned(network.model, graph, site, Units((2,), [torch.tensor([unit])]))
            assert angles(network.truth, aligned, (("n1",),))["angle"] == pytest.approx(0 if unit == place else 90)
    assert planted_directions(network.truth, graph, "layers.0", ("A",)) is None
    assert planted_directions(network.truth, graph, "layers.2", ("n1",)) is None
    rotation = Rotation((2,), 1, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        rotation.weight.copy_(torch.tensor([[0.6, 0.8]]))
    found = angles(network.truth, Aligned(network.model, graph, "layers.0", rotation), (("n1",),))
    assert found["angle"] == pytest.approx(np.degrees(np.arccos([0.6, 0.8][place])), abs=1e-4)
    assert found["angle_random"] == pytest.approx(45, abs=0.5)


def test_a_planted_direction_is_found_and_the_controls_are_not_near() -> None:
    options = {"variables": ["n1"], "site": "layers.2", "epochs": 6, "rotation_learning_rate": 0.02}
    result = run(built(XOR, rotation=1, distractors=2), **options)
    table = pd.DataFrame(result.tables["overview"])
    after = table[table["phase"] == "after"].iloc[0]
    before = table[table["phase"] == "before"].iloc[0]
    assert after["iia"] == 1 and after["angle"] < 2 < 20 < before["angle"]
    assert after["angle_random"] == pytest.approx(expected_angle(4, 1, 1))
    controls = table[table["phase"] == "control"]
    assert "untrained" not in set(controls["control"])
    assert controls[controls["control"] == "random_rotation"]["angle"].item() > 20
    assert controls[controls["control"] == "other_site"]["angle"].isna().all()


def test_by_default_each_inner_node_is_a_variable_of_its_own() -> None:
    result = run(built(XOR), epochs=1, controls=[])
    assert set(pd.DataFrame(result.tables["metrics"])["variables"]) == {"n1", "n2"}
    several = run(built(XOR), epochs=1, controls=[], variables=["n1", "n2"], sources=Sources.multi, site="layers.1")
    rows = pd.DataFrame(several.tables["metrics"])
    assert rows["angle"].notna().all()
    own = run(built(XOR), **units(variables=["n2"], site="layers.1", epochs=0, controls=[Control.other_units]))
    assert set(pd.DataFrame(own.tables["metrics"])["angle"].round(6)) == {0.0, 90.0}


def test_a_variable_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no variable is named 'n3'. .*Allowed: A, B, n1, n2"):
        iit.check(setting(built(XOR), variables=["n3"]))


def test_the_expected_angle_of_several_places_is_of_the_largest_of_each_draw() -> None:
    """In the plane two orthogonal lines turn by the same angle; in space the larger of two is above each."""
    assert expected_of_all(2, ((1, 1), (1, 1))) == pytest.approx(45, abs=0.5)
    assert expected_of_all(3, ((1, 1),)) == expected_angle(3, 1, 1)
    draw = np.random.default_rng(3)
    frames = np.linalg.qr(draw.standard_normal((20_000, 3, 2)))[0]
    angles = np.degrees(np.arccos(np.abs(np.stack([frames[:, 0, 0], frames[:, 1, 1]])))).max(0)
    assert expected_of_all(3, ((1, 1), (1, 1))) == pytest.approx(angles.mean(), abs=0.5)
