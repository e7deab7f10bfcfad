"""The experiment iit: what it refuses, what it measures, and that its tables agree with each other."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import ttest_rel
from torch import Tensor, nn

from mi_runner.config import composition
from mi_runner.config.datasets.ellipses import EllipsesConfig
from mi_runner.config.datasets.mod_add import ModAddConfig
from mi_runner.config.experiments.iit import OF_IIT, AlignmentKind, Control, IitConfig, Sources, Trained
from mi_runner.config.registry import SCHEMAS
from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import ModularSum
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.experiments import Result, Setting
from mi_runner.experiments.common.variable_sets import data_sets_with_variables
from mi_runner.experiments.iit import cells as iit_cells
from mi_runner.experiments.iit import experiment as iit
from mi_runner.experiments.iit import trials as iit_trials
from mi_runner.models.cnn import CNN
from mi_runner.models.mlp import MLP
from mi_runner.progress import log
from mi_runner.runs.choices import build_network, load_dataset, training_options
from mi_runner.tables.intervals import wilson_interval
from mi_runner.training.options import TrainingOptions
from tests.commands import OF_TABLES, of_name, write_data
from tests.conftest import REPOSITORY, Ended
from tests.iit_settings import METRICS_COLUMNS, of, setting, units
from tests.interchanges import ANGLE, Xor, bits
from tests.small_data import classes, of_two_bits

SMALL = (
    *("dataset.train_size=60", "dataset.test_size=40", "training.epochs=1", "experiment.batch_size=20"),
    *("experiment.train_pairs=60", "experiment.test_pairs=50"),
)

UNITS = ("experiment.alignment=units", "experiment.train=network")


def mlp(dataset: Dataset, hidden: int = 8) -> MLP:
    torch.manual_seed(0)
    return MLP([dataset.x_train.shape[1], hidden, dataset.n_outputs], nn.Tanh)


def small_ellipses() -> Dataset:
    return load_dataset(EllipsesConfig(train_size=60, test_size=40), seed=0)


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"variables": ["c"]}, "^experiment.variables: no variable is named 'c'. Allowed: a, b"),
        ({"variables": ["a", "a"]}, r"experiment.variables=\[a,a\]: name each variable once"),
        ({"variables": []}, r"name variables as \[a,b\], or several sets as \[\[a\],\[b\]\]. There are: a, b"),
        ({"variables": 3}, "name variables as"),
        ({"variables": [["a"], []]}, "name variables as"),
        ({"variables": [["a", "b"], ["b", "a"]]}, "name each set once"),
        ({"site": "layers.9"}, "^experiment.site: no site is named 'layers.9'"),
        ({"site": []}, r"name a site, or several as \[conv1,fc1\]"),
        ({"site": 3}, "name a site, or several as"),
        ({"site": ["layers.0", "layers.0"]}, "name each site once"),
        ({"size": 9}, "experiment.size=9: 9 dimensions are more than layers.0 has, 8. Type experiment.size=8 or less"),
        (
            {"size": 5, "sources": Sources.multi, "variables": ["a", "b"]},
            "experiment.size=5: 2 variables of 5 dimensions are more than layers.0 has, 8. Type experiment.size=4 or",
        ),
        (
            units(size=3, sources=Sources.multi, variables=["a", "b"], offsets=[0, 2]),
            r"offsets=\[0, 2\]: units 2 to 2 belong to both a and b. .* experiment.size=3 apart, as \[0,3\]",
        ),
        (
            units(size=3, sources=Sources.multi, variables=["b", "a"], offsets=[4, 2]),
            "units 4 to 4 belong to both a and b",
        ),
        (units(size=3, offsets=[6]), "units 6 to 8 of a are not all in layers.0, whose units are 0 to 7"),
        (units(offsets=[0, 1]), r"experiment.offsets=\[0, 1\]: give one for each place, 1 here \(a\)"),
        ({"offsets": [0]}, "experiment.offsets is for experiment.alignment=units"),
        (
            {"alignment": AlignmentKind.units},
            "experiment.train=both trains a rotation, and experiment.alignment=units has none: type experiment.train=",
        ),
        ({"alignment": AlignmentKind.units, "train": Trained.rotation}, "experiment.train=rotation trains a rotation"),
        ({"places": {"a": "[0]"}}, "is for units; .* Add experiment.alignment=units experiment.train=network"),
        (units(places={"c": "[0]"}), "^experiment.places: no variable is named 'c'. Allowed: a, b"),
        (units(places={"a": "[8]"}), r"experiment.places, a at layers.0: \[8\] does not fit axis 0 .* 0 to 7. Give"),
        (
            units(places={"a": "[0, 0]"}),
            r"a at layers.0: \[0, 0\] indexes more axes than the site has: its shape is \(8",
        ),
        (units(places={"a": "print(1)"}), r"a at layers.0: print\(1\) is no index"),
        (
            units(places={"a": "[0:2]", "b": "[1:]"}),
            r'places={a: "\[0:2\]", b: "\[1:\]"}: 1 units of layers.0 bel',
        ),
        (
            units(places={"a": "[0]"}, variables=["a", "b"]),
            "has no place for b, which is in experiment.variables: add b",
        ),
        (units(places={"a": "[0]", "b": "[1]"}, variables="a"), "b is not in experiment.variables. Add it there"),
        (units(places={"a": "[0]"}, offsets=[0]), "both say where"),
        (units(places={"a": "[0:2]"}, size=2), "the slices say how many units a place has. Leave out experiment.size"),
        (units(places={"a": ["...", "0:2"]}), "give each variable slices of the site's axes, in quotes"),
        (units(places={}), "give each variable slices of the site's axes"),
        (units(places="[0]"), "give each variable slices of the site's axes"),
        ({"controls": [Control.untrained] * 2}, r"experiment.controls=\[untrained,untrained\]: name each control once"),
    ],
)
def test_mistakes_are_found_before_training(options: dict[str, Any], text: str) -> None:
    dataset = bits()
    with pytest.raises(ConfigError, match=text):
        iit.check(setting(mlp(dataset), dataset, **options))


def test_a_data_set_without_a_causal_model_is_refused() -> None:
    dataset = classes()
    text = "dataset=arrays has no causal model.*Those with one: mnist .all digits.*, mod_add, elli"
    with pytest.raises(ConfigError, match=text):
        iit.check(setting(mlp(dataset), dataset))


def test_a_causal_model_that_contradicts_the_labels_is_refused() -> None:
    dataset = bits()
    assert dataset.causal_model is not None
    wrong = replace(dataset, causal_model=replace(dataset.causal_model, mechanism=ModularSum(3, classes=True)))
    with pytest.raises(ConfigError, match=r"another label than y_train for \d+ of 400 examples, the first .*: 2 for 0"):
        iit.check(setting(mlp(dataset), wrong))
    other = replace(dataset, causal_model=replace(dataset.causal_model, mechanism=ModularSum(2, classes=False)))
    with pytest.raises(ConfigError, match=r"gives \(400,\) torch.float32 for y_train, which is \(400,\) torch.int64"):
        iit.check(setting(mlp(dataset), other))
    fewer = replace(dataset, causal_model=dataset.causal_model.limited(10))
    with pytest.raises(ConfigError, match=r"gives \(10,\) torch.int64 for y_train"):
        iit.check(setting(mlp(dataset), fewer))


def test_directions_that_need_too_much_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iit_cells, "MOST_ROTATION_NUMBERS", 20)
    dataset = bits()
    with pytest.raises(ConfigError, match="3 directions of 8 numbers are more than 20. Type experiment.size=2 or less"):
        iit.check(setting(mlp(dataset), dataset, size=3))


class Odd(nn.Module):
    """Has integers, a value for all examples alike, and a value that does not bear on the output."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        which = hidden.argmax(1)
        unused = torch.relu(hidden)
        return (
            self.last(hidden + hidden.mean(0, keepdim=True)) + 0 * (which + unused.sum(1).round()).unsqueeze(1).detach()
        )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"site": "argmax"}, "its value can't be swapped, because argmax holds integers. Sites that can: x, first, "),
        ({"site": "mean"}, "because mean has no value for each example"),
        (
            {"site": "relu", "train": Trained.rotation},
            "experiment.train=rotation has nothing to train: no weight of it bears on the output by way of relu",
        ),
    ],
)
def test_sites_that_can_not_be_swapped_or_trained(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        iit.check(setting(Odd(), bits(), **options))


def test_checking_changes_neither_the_model_nor_the_global_draws() -> None:
    dataset = bits()
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    given = replace(setting(model, dataset), model=model.train())
    before, weights = torch.random.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    iit.check(given)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(submodule.training for submodule in model.modules())
    assert all(torch.equal(v, weights[k]) and not v.grad for k, v in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_mistakes_at_the_command_line_exit_2_before_any_work(mi_run: Callable[..., Ended]) -> None:
    for overrides, text in (
        (["experiment.site=conv9"], "no site is named 'conv9'. Did you mean conv3?"),
        (["experiment.variables=[colour]"], "no variable is named 'colour'. Did you mean color?"),
        (["experiment.alignment=units"], "type experiment.train=network"),
        (["dataset=mod_add"], "Use model=mlp."),
        (["dataset=mnist", "dataset.digits=[3,8]"], "no causal model"),
        (["experiment.places={area: '[17]'}", *UNITS], "positions are 0 to 15"),
        (["experiment.epochs=-1"], "must be at least 0"),
        (["expect={iiaa: '>=0'}"], "iiaa"),
    ):
        ended = mi_run("experiment=iit", *SMALL[:3] if "mnist" not in overrides[0] else "", *overrides)
        assert ended.status == 2 and text in ended.err, ended.err


# --- what is measured ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def turned() -> Result:
    """A rotation trained where the variables of a network that implements the causal model are turned."""
    turn = torch.stack([torch.stack([ANGLE.cos(), -ANGLE.sin()]), torch.stack([ANGLE.sin(), ANGLE.cos()])])
    given = setting(
        Xor(turn), bits(), variables="a", site="first", train=Trained.rotation, epochs=8, rotation_learning_rate=0.05,
        train_pairs=300, test_pairs=200,
    )  # fmt: skip
    given = replace(given, seed=4)  # in two dimensions some first directions lead into a local minimum
    iit.check(given)
    return iit.run(given)


def test_training_a_rotation_finds_the_variable_and_the_controls_do_not(turned: Result) -> None:
    before, after = of(turned, "before"), of(turned, "after")
    assert after["iia"] == 1 and before["iia"] < 0.9
    assert after["task_accuracy"] == before["task_accuracy"] == 1
    for control in ("other_site", "other_units", "random_rotation", "shuffled_labels"):
        assert of(turned, "control", control=control)["iia"] < 0.9, control
    # In the untrained network a rotation is trained, too.
    of_untrained = [row for row in turned.tables["history"] if row["control"] == "untrained"]
    assert of_untrained[-1]["step"] == 8 * 15
    assert of(turned, "control", control="untrained")["iia"] == of_untrained[-1]["iia"]


def test_the_columns_and_subsets_of_the_table(turned: Result) -> None:
    rows = turned.tables["metrics"]
    assert all(list(row) == METRICS_COLUMNS for row in rows)
    assert [row["phase"] for row in rows[::3]] == ["before", "after"] + ["control"] * 5
    assert [row["control"] for row in rows[6::3]] == [control.name for control in OF_IIT]
    for whole, changed, unchanged in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        assert [row["subset"] for row in (whole, changed, unchanged)] == ["all", "changed", "unchanged"]
        assert whole["n_pairs"] == changed["n_pairs"] + unchanged["n_pairs"] == 200
        both = changed["iia"] * changed["n_pairs"] + unchanged["iia"] * unchanged["n_pairs"]
        assert whole["iia"] * 200 == pytest.approx(both)
        for row in (whole, changed, unchanged):
            n = row["n_pairs"]
            assert (row["iia_low"], row["iia_high"]) == wilson_interval(round(row["iia"] * n), n)
            assert (row["variables"], row["trained_site"], row["size"]) == ("a", "first", 1)
            assert row["site"] == ("second" if row["control"] == "other_site" else "first")
            assert row["alignment"] == ("units" if row["control"] == "other_units" else "rotation")


def test_the_tables_agree_with_each_other(turned: Result) -> None:
    pairs = pd.DataFrame(turned.tables["pairs"])
    for phase in ("before", "after"):
        right = pairs[f"answer_{phase}"] == pairs["counterfactual_label"]
        assert right.mean() == of(turned, phase)["iia"]
        changed = pairs["counterfactual_label"] != pairs["base_label"]
        assert right[changed].mean() == of(turned, phase, "changed")["iia"]
    assert turned.metrics["iia"] == of(turned, "after")["iia"] == turned.metrics["iia/a/first"]
    assert turned.metrics["iia_before"] == of(turned, "before")["iia"]
    assert turned.metrics["iia_changed"] == of(turned, "after", "changed")["iia"]
    assert turned.metrics["iia/other_site"] == of(turned, "control", control="other_site")["iia"]
    assert [row["iia"] for row in turned.tables["overview"]] == [row["iia"] for row in turned.tables["metrics"][::3]]
    history = [row for row in turned.tables["history"] if row["control"] == "none"]
    assert history[0]["iia"] == turned.metrics["iia_before"] and history[-1]["iia"] == turned.metrics["iia"]
    assert {row["control"] for row in turned.tables["history"]} == {"none", "untrained", "shuffled_labels"}
    assert max(row["orthonormality_error"] or 0 for row in turned.tables["history"]) < 1e-5
    directions = turned.tables["directions"]
    assert list(directions["unit"]) == [0, 1] and (directions["weight"] ** 2).sum() == pytest.approx(1)
    assert turned.model is None  # the network is what it was


def test_an_ignored_source_is_right_on_the_unchanged_pairs() -> None:
    """A network that has nothing of the variable at the site: all unchanged pairs are right, no changed one is."""
    dataset = bits()
    given = setting(Xor(), dataset, variables="a", site="last", epochs=0, controls=[], **units(offsets=[0]))
    result = iit.run(replace(given, config=replace(given.config, site="second", size=1)))
    ignoring = iit.run(replace(given, model=Deaf().eval(), config=replace(given.config, site="first")))
    assert of(ignoring, "after", "changed")["iia"] == 0 and of(ignoring, "after", "unchanged")["iia"] == 1
    assert of(result, "after", "unchanged")["iia"] > 0


class Deaf(Xor):
    """Reads a and b from `second`, which is not computed from `first`."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(4, 2)
        self.other.load_state_dict(self.first.state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.second(self.other(x)))) + 0 * self.first(x)


def test_pairs_of_test_examples_share_no_input_with_the_training_set() -> None:
    dataset = small_ellipses()
    # Five test images are training images.
    dataset = replace(dataset, x_test=torch.cat([dataset.x_train[:5], dataset.x_test[5:]]))
    assert dataset.causal_model is not None
    values = torch.cat([dataset.causal_model.values_train[:5], dataset.causal_model.values_test[5:]])
    causal_model = replace(dataset.causal_model, values_test=values)
    dataset = replace(dataset, causal_model=causal_model, y_test=causal_model.mechanism(values))
    torch.manual_seed(0)
    model = CNN(1, (28, 28), 1, nn.Sigmoid())
    result = iit.run(setting(model, dataset, epochs=0, controls=[], test_pairs=200))
    pairs = pd.DataFrame(result.tables["pairs"])
    used = {*pairs["base"], *pairs["source_circularity+color"]}
    known = {image.numpy().tobytes() for image in dataset.x_train}
    fresh = {index for index, image in enumerate(dataset.x_test) if image.numpy().tobytes() not in known}
    assert used == fresh and not used & set(range(5))
    expected = causal_model.counterfactual(
        values[pairs["base"].to_list()],
        dict.fromkeys(("circularity", "color"), values[pairs["source_circularity+color"].to_list()]),
    )
    assert pairs["counterfactual_label"].to_list() == expected.tolist()


def test_several_sets_and_sites_are_trained_each_by_itself_and_drawn_as_a_heat_map() -> None:
    dataset = bits()
    given = setting(
        mlp(dataset), dataset, variables=[["a"], ["b"]], site=["layers.0", "layers.1"], epochs=1, controls=[],
    )  # fmt: skip
    iit.check(given)
    result = iit.run(given)
    cells = [(row["variables"], row["site"]) for row in result.tables["metrics"] if row["phase"] == "after"][::3]
    assert cells == [("a", "layers.0"), ("a", "layers.1"), ("b", "layers.0"), ("b", "layers.1")]
    assert set(result.figures) == {"training", "controls", "iia"}
    assert list(result.metrics) == iit.metric_names(given)
    assert result.metrics["iia"] == result.metrics["iia/a/layers.0"] and result.model is None
    alone = iit.run(replace(given, config=replace(given.config, variables=["b"], site="layers.1")))
    assert of(alone, "after") == result.tables["metrics"][-3] and alone.model is not None


def test_controls_of_two_sites_that_are_swapped_at_the_same_other_site_are_told_apart() -> None:
    dataset = bits()
    model, sites = MLP([*dataset.input_shape, 8, 8, dataset.n_outputs]), ["layers.0", "layers.1"]
    given = setting(model, dataset, variables="a", site=sites, epochs=0, controls=[Control.other_site])
    rows = [row for row in iit.run(given).tables["metrics"] if row["control"] == "other_site"][::3]
    assert [(row["trained_site"], row["site"]) for row in rows] == [("layers.0", "layers.2"), ("layers.1", "layers.2")]


def test_all_variables_but_the_last_are_swapped_at_the_first_inner_site_by_default() -> None:
    dataset = small_ellipses()
    given = setting(CNN(1, (28, 28), 1, nn.Sigmoid()), dataset)
    (cell,) = iit_cells.cells(given, given.graph(), dataset.causal_model)  # type: ignore[arg-type]
    assert (cell.variables, cell.target) == (("circularity", "color"), "conv1")
    assert cell.places == (("circularity", "color"),)
    multi = replace(given, config=replace(given.config, sources=Sources.multi))
    (cell,) = iit_cells.cells(multi, multi.graph(), dataset.causal_model)  # type: ignore[arg-type]
    assert cell.places == (("circularity",), ("color",))


def test_controls_without_room_are_left_out_and_named_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "propagate", True)  # a run in another test turns it off
    dataset = bits()
    given = setting(Xor(), dataset, **units(size=2, variables="a", site="first", controls=list(OF_IIT), epochs=0))
    with caplog.at_level("INFO", logger="mi_runner"):
        result = iit.run(given)
    text = "a/first: the control other_units is left out, because it takes 2 units, and first has 0 besides the places"
    assert [line for line in caplog.messages if "left out" in line] == [text]
    controls = {row["control"] for row in result.tables["metrics"]}
    assert "other_units" not in controls and "other_site" in controls
    assert list(result.metrics) == iit.metric_names(given) and "iia/other_units" not in result.metrics


def test_units_of_the_control_are_others() -> None:
    dataset = bits()
    given = setting(mlp(dataset), dataset, **units(size=2, offsets=[3]))
    (cell,) = iit_cells.cells(given, given.graph(), dataset.causal_model)  # type: ignore[arg-type]
    assert iit_cells.free_units(cell).tolist() == [0, 1, 2, 5, 6, 7]
    trial = iit_trials.Trial(given, given.graph(), cell, dataset.causal_model, torch.arange(400))  # type: ignore[arg-type]
    control = trial.control(Control.other_units, trial.start())
    (mask,) = control.alignment.masks
    assert int(mask.sum()) == 2 and not mask[3:5].any()


def test_the_same_seed_gives_the_same_tables_and_another_cell_changes_no_row() -> None:
    dataset = bits()
    given = setting(mlp(dataset), dataset, controls=[Control.shuffled_labels, Control.random_rotation])
    one, again, other = iit.run(given), iit.run(given), iit.run(replace(given, seed=1))
    assert one.tables["metrics"] == again.tables["metrics"] and one.tables["history"] == again.tables["history"]
    assert one.tables["history"] != other.tables["history"]


def test_the_ordinary_network_is_not_changed() -> None:
    dataset = bits()
    model = mlp(dataset)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = iit.run(setting(model, dataset, epochs=2, controls=[]))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert result.model is not None and not torch.equal(result.model.layers[0].weight, model.layers[0].weight)


def test_a_network_that_learned_nothing_is_told(warnings_in_log: list[str]) -> None:
    dataset = bits()
    model = mlp(dataset)
    nn.init.zeros_(model.layers[2].weight)
    iit.run(setting(model, dataset, epochs=0, controls=[]))
    assert any("answers every test example with" in line and "Try another seed" in line for line in warnings_in_log)


def test_modular_addition_is_learned_with_the_variable_in_one_unit() -> None:
    """From an untrained network, IIT brings a to the first four units, and with them the task.

    Two hidden layers, because the exclusive or of units that each have one variable is no sum over units.
    """
    dataset = load_dataset(ModAddConfig(modulus=2, train_size=400, test_size=200), seed=0)
    torch.manual_seed(1)
    model = MLP([4, 16, 16, 2], nn.Tanh)
    options = units(
        variables="a", size=4, epochs=30, learning_rate=0.02, warmup_steps=0, gradient_clip=None, task_weight=1.0,
        train_pairs=400, test_pairs=200, batch_size=50, controls=[Control.other_units],
    )  # fmt: skip
    result = iit.run(setting(model, dataset, **options))
    assert of(result, "after")["iia"] > 0.97 and of(result, "after")["task_accuracy"] == 1
    assert of(result, "after", "changed")["iia"] > 0.95
    assert of(result, "control", "changed", "other_units")["iia"] < 0.3


@pytest.mark.parametrize(
    ("what", "rates"),
    [
        (Trained.network, "experiment.learning_rate"),
        (Trained.both, "experiment.learning_rate and experiment.rotation_learning_rate"),
    ],
)
def test_a_training_that_diverges_says_which_rates_to_lower(what: Trained, rates: str) -> None:
    given = setting(
        *(Xor(torch.eye(2)), bits()),
        **{"variables": "a", "site": "first", "train": what, "learning_rate": 1e30, "gradient_clip": None},
        controls=[],
        training=TrainingOptions(optimizer="sgd"),
    )
    with pytest.raises(RunFailed, match=rf"^training diverged in epoch 1: the loss is nan\. Try a smaller {rates}\.$"):
        iit.run(given)


# --- commands --------------------------------------------------------------------------------------------------------


def test_the_command_of_the_published_setting(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("experiment=iit", *SMALL)
    assert ended.status == 0, ended.err
    assert ended.folder.parent.name == "ellipses-cnn"
    table = pd.read_csv(ended.folder / "metrics.csv")
    assert list(table.columns) == METRICS_COLUMNS and len(table) == 21
    assert set(table["site"]) == {"conv1", "conv2"} and set(table["variables"]) == {"circularity+color"}
    written = {path.name for path in ended.folder.rglob("*.*")}
    assert written >= {
        *("metrics.csv", "overview.csv", "history.csv", "pairs.csv", "directions.parquet", "ordinary_training.csv"),
        *("training.png", "controls.png", "examples.png", "model.safetensors"),
    }
    assert len(pd.read_parquet(ended.folder / "directions.parquet")) == 28 * 28 * 16
    assert ended.record["metrics"]["iia"] == table["iia"][3] and ended.record["config_hash"]
    assert "overview: iit · ellipses · cnn" in ended.out


def test_the_trained_weights_can_be_taken_up_again(mi_run: Callable[..., Ended]) -> None:
    first = mi_run("experiment=iit", *SMALL, "experiment.controls=[]")
    again = mi_run(
        "experiment=iit", *SMALL, "experiment.controls=[]", "experiment.epochs=0", f"checkpoint={first.folder}"
    )
    assert again.status == 0, again.err
    assert again.record["metrics"]["task_accuracy_before"] == first.record["metrics"]["task_accuracy"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["dataset=mod_add", "model=mlp", *SMALL],
        [
            "dataset=mod_add",
            "dataset.modulus=5",
            "dataset.target=value",
            "model=mlp",
            *SMALL,
            "experiment.site=layers.1",
        ],
        ["dataset=mnist", "model=mlp", "dataset.limit=80", *SMALL[2:]],
        [
            "dataset=mnist",
            "dataset.limit=80",
            *SMALL[2:],
            "experiment.sources=multi",
            "experiment.variables=[half,parity]",
        ],
        ["dataset=mnist01", "model=skip", "dataset.limit=80", *SMALL[2:], "experiment.site=x/add"],
        ["dataset=ellipses", "dataset.target=class", "model=mlp", *SMALL, "experiment.train=rotation"],
        [
            *("dataset=ellipses", "model=mlp", *SMALL, "experiment.alignment=units", "experiment.train=network"),
            *("experiment.sources=multi", "experiment.size=16", "experiment.variables=[area,color]"),
        ],
        [
            "dataset=ellipses",
            *SMALL,
            "experiment.train=network",
            "experiment.size=3",
            "model.output_activation=sigmoid",
        ],
    ],
    ids=lambda arguments: "-".join(part.partition("=")[2] for part in arguments[:2]),
)
def test_every_data_set_with_a_causal_model_and_every_way_to_train(
    arguments: list[str], mi_run: Callable[..., Ended]
) -> None:
    ended = mi_run("experiment=iit", *arguments)
    assert ended.status == 0, ended.err
    table = pd.read_csv(ended.folder / "metrics.csv")
    assert table["iia"].between(0, 1).all() and set(table["phase"]) == {"before", "after", "control"}
    if "dataset.modulus=5" not in arguments and "dataset=mod_add" in arguments:
        assert "test examples equal a training example: pairs have them too" in ended.err


def test_a_file_of_ones_own_with_a_causal_model(mi_run: Callable[..., Ended]) -> None:
    np.savez("data.npz", **of_two_bits())
    ended = mi_run("experiment=iit", "dataset=arrays", "dataset.path=data.npz", "model=mlp", *SMALL[2:])
    assert ended.status == 0, ended.err
    table = pd.read_csv(ended.folder / "metrics.csv")
    assert set(table["variables"]) == {"p"}


def test_the_example_of_the_page_makes_data_with_a_causal_model(mi_run: Callable[..., Ended]) -> None:
    page = (REPOSITORY / "docs/iit.md").read_text(encoding="utf-8").split("## Your own data")[1]
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (command,) = re.findall(r"^mi-run (.*)$", page, re.MULTILINE)
    exec(program, {})
    ended = mi_run(*shlex.split(command), "experiment.controls=[]", "training.epochs=20", "experiment.epochs=5")
    assert ended.status == 0, ended.err
    metrics = ended.record["metrics"]
    assert "iia/size/layers.0" in metrics and metrics["task_accuracy"] > 0.9
    assert metrics["iia_changed"] > metrics["iia_changed_before"]
    with np.load("data.npz") as file:
        arrays = dict(file)
    arrays["mechanism"] = 1 - arrays["mechanism"]
    np.savez("data.npz", **arrays)
    wrong = mi_run(*shlex.split(command))
    assert wrong.status == 2 and "gives another label than y_train for 2000 of 2000 examples" in wrong.err


def test_networks_of_ones_own_are_trained_by_interchange_too(mi_run: Callable[..., Ended]) -> None:
    Path("gelu_network.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, input_shape, n_outputs):\n"
        "        super().__init__()\n"
        "        self.first = torch.nn.Linear(input_shape[0], 12)\n"
        "        self.norm, self.drop = torch.nn.BatchNorm1d(12), torch.nn.Dropout(0.1)\n"
        "        self.last = torch.nn.Linear(12, n_outputs)\n"
        "    def forward(self, x):\n"
        "        return self.last(self.drop(torch.nn.functional.gelu(self.norm(self.first(x)))))\n"
    )
    own = ("model=external", "model.factory=gelu_network:Net", "experiment.site=gelu")
    ended = mi_run("experiment=iit", "dataset=mod_add", *own, *SMALL)
    assert ended.status == 0, ended.err


def test_expectations_name_the_figures(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(
        "experiment=iit", *SMALL, "experiment.controls=[untrained]", 'expect={iia: ">=0", iia/untrained: ">1"}'
    )
    assert ended.status == 3 and "iia/untrained" in ended.err


def test_das_is_the_published_grid_in_one_word() -> None:
    """The setting, written out with the options of experiment=iit, is the same config."""
    typed = (
        *("experiment.train=rotation", "experiment.size=4", "experiment.small_site_size=1", "experiment.epochs=3"),
        *("experiment.batch_size=512", "experiment.rotation_learning_rate=0.0005", "experiment.warmup_steps=0"),
        *("experiment.gradient_clip=null", "experiment.controls=[]", "experiment.variables=all", "experiment.site=all"),
        "experiment.rotation_steps=parametrization",
    )
    das, long = composition.compose(["experiment=das"]), composition.compose(["experiment=iit", *typed])
    assert das.experiment.name == "das" and das.experiment.map is None
    names = [composition.flattened(config) for config in (das, long)]
    assert [flat.pop("experiment") for flat in names] == ["das", "iit"]
    assert {key: value for key, value in names[0].items() if key in names[1]} == names[1]  # the others are of maps
    dataset = small_ellipses()
    grid = Setting(das.experiment, TrainingOptions(), build_network(das.model, dataset, seed=0).model, dataset)
    found = iit_cells.cells(grid, grid.graph(), iit_cells.causal_model_of(grid))
    assert len(found) == 7 * 4 and len({cell.variables for cell in found}) == 7
    sizes = {cell.target: cell.sizes for cell in found}
    assert sizes == {"conv1": (4,), "conv2": (4,), "conv3": (4,), "fc1": (1,)}


def test_a_small_site_has_a_size_of_its_own() -> None:
    dataset = bits()
    with pytest.raises(ConfigError, match="experiment.size=9: 9 dimensions are more than layers.0 has, 8"):
        iit.check(setting(mlp(dataset), dataset, size=9))
    for size, expected in ((9, 2), (8, 2), (7, 7)):
        given = setting(mlp(dataset), dataset, size=size, small_site_size=2, variables="all", site="all")
        iit.check(given)
        found = iit_cells.cells(given, given.graph(), iit_cells.causal_model_of(given))
        assert [cell.columns for cell in found] == [
            {"variables": variables, "site": "layers.0"} for variables in ("a", "b", "a+b")
        ]
        assert found[0].sizes == (expected,)


def test_each_start_has_its_rows_and_the_summary_is_their_mean() -> None:
    dataset = bits()
    options: dict[str, Any] = {"train": Trained.rotation, "epochs": 2, "variables": ["a"], "site": "first"}
    options |= {"controls": [Control.random_rotation], "rotation_learning_rate": 0.01}
    turn = torch.tensor([[ANGLE.cos(), -ANGLE.sin()], [ANGLE.sin(), ANGLE.cos()]])
    alone, three = (iit.run(setting(Xor(turn), dataset, **options, starts=starts)) for starts in (1, 3))
    table = pd.DataFrame(three.tables["metrics"])
    assert sorted(table.start.unique()) == [1, 2, 3] and three.repeats == ("start",)
    assert table[table.start == 1].to_dict("records") == alone.tables["metrics"]
    rows = table[(table.phase == "after") & (table.subset == "all")]
    assert rows.iia.nunique() > 1 and three.metrics["iia"] == pytest.approx(rows.iia.mean())
    control = table[(table.control == "random_rotation") & (table.subset == "all")]
    assert len(control) == 3 and three.metrics["iia/random_rotation"] == pytest.approx(control.iia.mean())
    directions = three.tables["directions"]
    assert isinstance(directions, pd.DataFrame) and directions.groupby("start").weight.first().nunique() == 3
    assert len(three.tables["pairs"]) == 3 * len(alone.tables["pairs"])
    with pytest.raises(ConfigError, match="experiment.starts=2 is for a rotation.*leave out experiment.starts"):
        iit.check(setting(mlp(dataset), dataset, **units(starts=2)))


def test_an_empty_subset_has_no_share() -> None:
    """With test examples of one kind alone no swap changes a label."""
    dataset = bits()
    same = (dataset.x_test == dataset.x_test[0]).all(1)
    assert dataset.causal_model is not None
    causal_model = replace(dataset.causal_model, values_test=dataset.causal_model.values_test[same])
    dataset = replace(dataset, x_test=dataset.x_test[same], y_test=dataset.y_test[same], causal_model=causal_model)
    result = iit.run(setting(Xor(), dataset, epochs=0, controls=[]))
    changed, unchanged = of(result, "after", "changed"), of(result, "after", "unchanged")
    assert changed["n_pairs"] == 0 and math.isnan(changed["iia"]) and unchanged["iia"] == 1
    assert math.isnan(result.metrics["iia_changed"]) and (changed["iia_low"], changed["iia_high"]) == (0, 1)


def test_every_choice_is_composed() -> None:
    config = composition.compose(["experiment=iit", "experiment.variables=[[a],[b]]", "experiment.site=[x,y]"])
    assert isinstance(config.experiment, IitConfig) and config.experiment.variables == [["a"], ["b"]]
    assert (config.dataset.name, config.model.name, config.training.loss.name, config.training.batch_size) == (
        *("ellipses", "cnn", "bce", 256),
    )
    other = composition.compose(["experiment=iit", "dataset=mod_add", "model=mlp"])
    assert other.training.loss.name == "auto"
    built = build_network(config.model, small_ellipses(), seed=0)
    assert isinstance(built.model, CNN)


def test_training_with_several_sources_is_also_measured_with_one_source() -> None:
    """Xor has a and b in its first two units: correct with one source for both and with a source for each."""
    dataset = bits()
    given = setting(
        Xor(), dataset, variables=["a", "b"], site="first", sources=Sources.multi, epochs=0, controls=[], **units()
    )
    iit.check(given)
    result = iit.run(given)
    rows = {(row["phase"], row["sources"], row["subset"]): row["iia"] for row in result.tables["metrics"]}
    assert {sources for _, sources, _ in rows} == {"multi", "single"} and set(rows.values()) == {1.0}
    assert result.metrics["iia_single_source"] == result.metrics["iia_single_source_changed/a+b/first"] == 1
    assert list(result.metrics) == iit.metric_names(given)
    pairs = pd.DataFrame(result.tables["pairs"])
    single, multi = pairs[pairs["sources"] == "single"], pairs[pairs["sources"] == "multi"]
    assert (single["source_a"] == single["source_b"]).all() and (multi["source_a"] != multi["source_b"]).any()
    # They are the pairs of a run with experiment.sources=single.
    alone = iit.run(replace(given, config=replace(given.config, sources=Sources.single, size=2)))
    of_alone = pd.DataFrame(alone.tables["pairs"])
    assert of_alone["source_a+b"].tolist() == single["source_a"].tolist()
    assert of_alone["counterfactual_label"].tolist() == single["counterfactual_label"].tolist()


def test_the_two_kinds_of_pairs_are_measured_each_by_itself() -> None:
    """With a's and b's places exchanged, one source for both is correct, a source for each is not."""
    dataset = bits()
    crossed = units(variables=["a", "b"], site="first", sources=Sources.multi, offsets=[1, 0], epochs=0, controls=[])
    result = iit.run(setting(Xor(), dataset, **crossed))
    assert result.metrics["iia_single_source"] == 1 and result.metrics["iia"] < 0.9


# --- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sources", list(Sources))
def test_places_as_slices_are_the_same_units_as_offsets(sources: Sources) -> None:
    dataset = bits()
    controls = [control for control in OF_IIT if control is not Control.untrained]
    common = units(variables=["a", "b"], sources=sources, epochs=1, controls=controls)
    n = 2 if sources is Sources.multi else 4
    slices = setting(mlp(dataset), dataset, **common, places={"a": "[0:2]", "b": "[..., 2:4]"})
    offsets = setting(mlp(dataset), dataset, **common, size=n)
    iit.check(slices)
    assert iit.run(slices).tables == iit.run(offsets).tables


def test_places_name_the_variables_and_may_differ_in_size() -> None:
    dataset = bits()
    given = setting(
        mlp(dataset), dataset, **units(places={"b": "[5:]", "a": "[0]"}, sources=Sources.multi, epochs=0),
        controls=[Control.other_site, Control.other_units, Control.random_rotation],
    )  # fmt: skip
    given = replace(given, model=MLP([4, 8, 8, 2]).eval())
    iit.check(given)
    rows = iit.run(given).tables["metrics"]
    assert {row["variables"] for row in rows} == {"b+a"} and {row["size"] for row in rows} == {3}
    assert [row["control"] for row in rows[12::6]] == ["other_site", "other_units", "random_rotation"]
    (cell,) = iit_cells.cells(given, given.graph(), dataset.causal_model)  # type: ignore[arg-type]
    trial = iit_trials.Trial(given, given.graph(), cell, dataset.causal_model, torch.arange(400))  # type: ignore[arg-type]
    first, second = trial.start().alignment.masks
    assert first.nonzero().flatten().tolist() == [5, 6, 7] and second.nonzero().flatten().tolist() == [0]
    others = trial.control(Control.other_units, trial.start()).alignment.masks
    assert others.sum(1).tolist() == [3, 1] and not (others & (first | second)).any()


def test_places_on_the_command_line(mi_run: Callable[..., Ended]) -> None:
    places = "experiment.places={circularity: '[..., 0:2]', color: '[0, :, 5]'}"
    ended = mi_run("experiment=iit", *SMALL, *UNITS, places, "experiment.controls=[other_units,random_rotation]")
    assert ended.status == 0, ended.err
    table = pd.read_csv(ended.folder / "metrics.csv")
    assert set(table["variables"]) == {"circularity+color"} and set(table["size"]) == {16 * 28 * 2 + 28}
    assert "the control random_rotation is left out" not in ended.err


# --- every data set with every model ---------------------------------------------------------------------------------


def check_of(choices: dict[str, str]) -> None:
    """Composes a command and checks its experiment; trains nothing."""
    config = composition.compose(["experiment=iit", *(f"{key}={value}" for key, value in choices.items())])
    dataset = load_dataset(config.dataset, seed=0)
    built = build_network(config.model, dataset, seed=0)
    iit.check(Setting(config.experiment, training_options(config.training), built.model, built.dataset))


@pytest.mark.parametrize("model", [schema.name for schema in SCHEMAS["model"]])
@pytest.mark.parametrize("dataset", [schema.name for schema in SCHEMAS["dataset"]])
def test_every_data_set_and_model_runs_at_its_defaults_or_says_what_to_add(
    dataset: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "data.npz", **of_two_bits())
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "network_to_check.py").write_text(
        "import math\n"
        "from torch import nn\n"
        "def build(input_shape, n_outputs):\n"
        "    return nn.Sequential(\n"
        "        nn.Flatten(), nn.Linear(math.prod(input_shape), 4), nn.ReLU(), nn.Linear(4, n_outputs)\n"
        "    )\n"
    )
    remedies = {
        "type dataset.path=...": {"dataset.path": str(tmp_path / "data.npz")},
        "type model.factory=...": {"model.factory": "network_to_check:build"},
        "Use model=mlp.": {"model": "mlp"},
    }
    choices = {"dataset": dataset, "model": model}
    if dataset.startswith("mnist"):
        choices["dataset.limit"] = "100"
    if dataset == "table":
        monkeypatch.chdir(tmp_path)
        write_data(np.eye(8), [0, 1] * 4)
        choices |= dict(option.split("=") for option in OF_TABLES)
    if of_name("dataset", dataset).causal_model is None:
        with pytest.raises(ConfigError, match=re.escape(data_sets_with_variables())):
            check_of(choices | {"model": "mlp"})
        return
    if model == "planted" and dataset != "logic":
        choices |= {"dataset.path": str(tmp_path / "data.npz")} if dataset == "arrays" else {}
        with pytest.raises(ConfigError, match="model=planted takes one Boolean function of inputs 0 and 1"):
            check_of(choices)
        return
    while True:
        try:
            return check_of(choices)
        except ConfigError as error:
            text = str(error)
        assert "\n" not in text
        (said,) = [remedy for remedy in remedies if text.endswith(remedy)]
        choices |= remedies.pop(said)


def test_the_floor_is_the_iia_of_a_correct_network_that_ignores_its_sources() -> None:
    """At the unit of b, taken from the base itself by a swap of a dead unit, nothing changes."""
    dataset = bits()
    model = Xor()
    model.first = nn.Linear(4, 3)
    model.second = nn.Linear(3, 2)
    with torch.no_grad():
        known = Xor()
        model.first.weight[:2], model.first.bias[:] = known.first.weight, 0
        model.first.weight[2] = 1.0
        model.second.weight[:, :2], model.second.weight[:, 2], model.second.bias[:] = known.second.weight, 0, 0
    # Unit 2 has no effect on the output.
    result = iit.run(setting(model, dataset, **units(site="first", offsets=[2], epochs=0, controls=[])))
    rows = [row for row in result.tables["metrics"] if row["phase"] == "after"]
    (everything,) = (row for row in rows if row["subset"] == "all")
    assert everything["iia"] == everything["floor"] and 0.2 < everything["floor"] < 0.8
    assert {row["subset"]: row["floor"] for row in rows if row["subset"] != "all"} == {"changed": 0, "unchanged": 1}
    overview = result.tables["overview"]
    assert overview[-1]["floor"] == everything["floor"]
    assert everything["iia_unswapped"] == everything["floor"] and everything["task_accuracy"] == 1


def ignoring(bias: tuple[float, float], weight: float) -> Result:
    """A network that answers by the first input alone, or always alike, and whose site `unused` leads nowhere."""

    class Ignoring(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.last = nn.Linear(4, 2), nn.Linear(4, 2)
            with torch.no_grad():
                self.last.weight.zero_()
                self.last.weight[1, 0] = weight
                self.last.bias[:] = torch.tensor(bias)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x) + 0 * self.unused(x)

    return iit.run(setting(Ignoring(), bits(), **units(site="unused", offsets=[0], epochs=0, controls=[])))


@pytest.mark.parametrize(("bias", "weight"), [((0.0, -0.5), 1.0), ((0.0, 1.0), 0.0)])
def test_a_network_that_makes_mistakes_has_its_own_iia_without_a_swap(bias: tuple[float, float], weight: float) -> None:
    """It ignores its sources, so its IIA is `iia_unswapped`, counted here from the pairs; the floor is another."""
    result, dataset = ignoring(bias, weight), bits()
    pairs = result.tables["pairs"]
    for subset, row in {row["subset"]: row for row in result.tables["metrics"] if row["phase"] == "after"}.items():
        kept = [
            pair
            for pair in pairs
            if subset == "all" or (pair["base_label"] != pair["counterfactual_label"]) == (subset == "changed")
        ]
        answers = [int(bias[1] + weight * dataset.x_test[pair["base"], 0] > bias[0]) for pair in kept]
        right = [answer == pair["counterfactual_label"] for answer, pair in zip(answers, kept, strict=True)]
        assert row["iia"] == row["iia_unswapped"] == sum(right) / len(right)
        assert row["n_pairs"] == len(kept)
    overview = result.tables["overview"][-1]
    assert overview["iia"] == overview["iia_unswapped"] != overview["floor"]
    answers = [int(bias[1] + weight * x[0] > bias[0]) for x in dataset.x_test]
    assert overview["commonest"] == max(answers.count(0), answers.count(1)) / len(answers)
    said = f"Without a swap the trained network gives the counterfactual label on {overview['iia_unswapped']:.4g} of "
    assert f"{said}these pairs; the label doesn't change on {overview['floor']:.4g} of them." in result.answer
    alike = "The trained network gives every test example the same answer"
    assert (alike in result.answer) is (weight == 0) is (overview["commonest"] == 1)
    assert "ignores its sources" not in result.answer


def test_the_highest_of_several_has_no_interval() -> None:
    """Of two sets of variables the better one is named, with its number alone; a set by itself has its interval."""
    dataset = bits()
    alone = iit.run(
        setting(Xor(), dataset, **units(site="first", variables=[["b"]], offsets=[1], epochs=0, controls=[]))
    )
    both = iit.run(setting(Xor(), dataset, **units(site="first", variables=[["a"], ["b"]], epochs=0, controls=[])))
    after = [row for row in both.tables["overview"] if row["phase"] == "after"]
    best = max(after, key=lambda row: row["iia"])
    assert len(after) == 2
    named = f"Of 2 sets of variables at a site, {best['variables']} at first has the highest interchange intervention"
    assert f"{named} accuracy (IIA), {best['iia']:.4g}" in both.answer and " to " not in both.answer
    # The test pairs are the same of both sets, so the tie is that of a paired test.
    pairs = both.tables["pairs"]
    answered = [
        [int(pair["answer_after"] == pair["counterfactual_label"]) for pair in pairs if pair["variables"] == name]
        for name in ("a", "b")
    ]
    p = ttest_rel(*answered).pvalue
    assert abs(p - 0.05) > 0.02, "otherwise the test below depends on the patterns that are drawn"
    assert ("ties with it" in both.answer) is bool(p > 0.05)
    (own,) = (row for row in alone.tables["overview"] if row["phase"] == "after")
    assert f"is {own['iia']:.4g} ({own['iia_low']:.4g} to {own['iia_high']:.4g}); before" in alone.answer
