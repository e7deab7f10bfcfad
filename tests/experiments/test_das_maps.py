"""Maps of any power in experiment=das: tables against each other, the grid of DAS as a map, what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from mi_runner.config.experiments.das import DasConfig
from mi_runner.config.experiments.iit import AlignmentKind, Control, RotationSteps, Sources, Trained
from mi_runner.datasets import Dataset
from mi_runner.datasets.equality import load
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.experiments import Result, Setting, TrainedNetwork
from mi_runner.experiments.das import experiment as das
from mi_runner.experiments.das import figures
from mi_runner.experiments.das.cells import chosen_maps
from mi_runner.models.mlp import MLP
from mi_runner.tables.intervals import wilson_interval
from mi_runner.tables.paired import PairedAnswers
from mi_runner.training.options import TrainingOptions
from tests.conftest import Ended
from tests.interchanges import TURN, Xor, bits

MAPS = ["neurons", "rotation", "revnet"]

UNSET = {"stop_pairs": 10_000, "map_learning_rate": 1e-3}
"""The defaults of options of maps that `setting` gives."""


class Small(nn.Module):
    """The architecture of `Xor`, with first weights of torch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Linear(4, 2), nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(self.first(x))))


def setting(**options: Any) -> Setting[DasConfig]:
    given: dict[str, Any] = {
        "map": MAPS, "variables": ["a", "b"], "site": "first", "train_pairs": 300, "test_pairs": 200, "batch_size": 50,
        "epochs": 12, "map_learning_rate": 0.03, "stop_pairs": 100,
    }  # fmt: skip
    config = DasConfig(**given | options)
    networks = {"untrained": TrainedNetwork(Small().eval())}
    if Control.random_labels in config.controls:
        networks["random_labels"] = TrainedNetwork(Small().eval())
    return Setting(config, TrainingOptions(), Xor(TURN).eval(), bits(), networks=networks)


@pytest.fixture(scope="module")
def result() -> Result:
    return das.run(setting(controls=[Control.random_labels], blocks=[1, 4], block_width=[4], starts=2))


def metrics(found: Result) -> list[dict[str, Any]]:
    return [dict(row) for row in found.tables["metrics"]]


def test_a_rotation_finds_what_is_turned_and_neurons_do_not(result: Result) -> None:
    rows = metrics(result)
    assert [(row["map"], row["start"]) for row in rows] == [
        (name, start) for name in ("neurons", "rotation", "revnet_1_4", "revnet_4_4") for start in (1, 2)
    ]
    of = {row["map"]: row for row in rows}
    assert of["rotation"]["iia"] == 1 > of["neurons"]["iia"]
    assert [of[name]["parameters"] for name in ("neurons", "rotation")] == [0, 4]
    assert of["revnet_4_4"]["parameters"] == 4 * 2 * (4 + 4 + 4 + 1)
    assert all(row["size"] == 1 and row["ceiling"] == 1 and row["task_accuracy"] == 1 for row in rows)
    assert all((row["epochs"] == 0) == (row["map"] == "neurons") for row in rows)


def test_the_table_follows_from_the_pairs(result: Result) -> None:
    pairs = result.tables["pairs"]
    assert isinstance(pairs, pd.DataFrame)
    values = bits().causal_model
    assert values is not None
    numbers = values.values_test.numpy()
    for row in metrics(result):
        own = pairs[(pairs["map"] == row["map"]) & (pairs["start"] == row["start"])]
        base, a, b = (numbers[own[name]] for name in ("base", "source_a", "source_b"))
        wanted = (a[:, 0] + b[:, 1]) % 2
        assert (wanted == own["counterfactual_label"]).all() and len(own) == row["n_pairs"] == 200
        swapped = [(own[f"source_{name}"] != own["base"]).to_numpy() for name in "ab"]
        assert (swapped[0] | swapped[1]).all() and {(bool(x), bool(y)) for x, y in zip(*swapped, strict=True)} == {
            (True, False), (False, True), (True, True)
        }  # fmt: skip
        assert row["floor"] == (base.sum(1) % 2 == wanted).mean()
        right, other = (own[name].to_numpy() == wanted for name in ("answer", "answer_untrained"))
        assert row["iia"] == right.mean() and row["untrained"] == other.mean()
        assert (row["iia_low"], row["iia_high"]) == wilson_interval(int(right.sum()), 200)
        counted = [int((x & y).sum()) for x in (other, ~other) for y in (right, ~right)]
        paired = PairedAnswers(counted[0], counted[1], counted[2], counted[3])
        assert row["selectivity"] == pytest.approx(right.mean() - other.mean())
        assert (row["selectivity_low"], row["selectivity_high"]) == paired.interval
        assert row["random_labels"] == row["untrained"]  # here they are the same network


def test_the_sources_of_all_sets_of_variables_stand_behind_the_base() -> None:
    """A set that has a variable less leaves its source empty."""
    pairs = das.run(setting(map=["neurons"], variables=[["a"], ["a", "b"]])).tables["pairs"]
    assert isinstance(pairs, pd.DataFrame)
    columns = ["pair", "base", "source_a", "source_b", "counterfactual_label", "answer", "answer_untrained"]
    assert list(pairs)[5:] == columns
    assert dict(pairs.groupby("variables", observed=True)["source_b"].count()) == {"a": 0, "a+b": 200}


def test_the_summary_and_the_history_follow_from_the_table(result: Result) -> None:
    given = setting(controls=[Control.random_labels], blocks=[1, 4], block_width=[4], starts=2)
    assert list(result.metrics) == das.metric_names(given)
    rows = metrics(result)
    assert result.metrics["iia"] == rows[0]["iia"]
    of_rotation = [row["selectivity"] for row in rows if row["map"] == "rotation"]
    assert result.metrics["selectivity/rotation/1/first/a+b"] == pytest.approx(sum(of_rotation) / 2)
    history = pd.DataFrame(result.tables["history"])
    assert set(history["map"]) == {"rotation", "revnet_1_4", "revnet_4_4"}
    assert set(history["control"]) == {"none", "untrained", "random_labels"}
    assert set(das.networks(given)) == {"untrained", "random_labels"}
    assert das.networks(given)["untrained"].epochs == 0 and das.networks(given)["random_labels"].random_labels


def test_the_figure_shows_the_lowest_and_the_largest_map(result: Result) -> None:
    rows = metrics(result)
    rows[0] |= {"site": "second", "untrained": 0.03}  # in another panel than the last one
    for axes in figures.maps(rows).axes:
        assert axes.get_ylim()[0] < 0.03 and axes.get_xlim()[1] > max(row["parameters"] for row in rows)


def test_the_answer_never_names_an_accuracy_alone(result: Result) -> None:
    sentences = re.split(r"(?<=[a-z\d\)])\. ", result.answer)
    assert "has the highest interchange intervention accuracy (IIA)" in sentences[0]
    of_accuracy = [sentence for sentence in sentences if "IIA)" in sentence or "its IIA is" in sentence]
    assert all(
        "untrained network has" in sentence and "no map can have more than 1" in sentence for sentence in of_accuracy
    )
    assert "ties with it" in result.answer or "tie with it" in result.answer
    alone = das.run(setting(map=["rotation"])).answer
    assert "(IIA) of rotation (1 coordinate a variable) for a+b at first is 0." in alone
    assert "the same map in the untrained network has" in alone and "no map can have more than 1" in alone


@pytest.mark.parametrize("steps", list(RotationSteps))
def test_a_rotation_is_the_present_one_bit_for_bit(steps: RotationSteps) -> None:
    """With one variable, which every pair swaps, and without stopping."""
    common: dict[str, Any] = {"variables": ["a"], "epochs": 3, "rotation_steps": steps}
    as_map = das.run(setting(map=["rotation"], sizes=[1], stop_steps=None, map_learning_rate=0.01, **common))
    grid = das.run(setting(map=None, size=1, **UNSET, rotation_learning_rate=0.01, **common))
    (row,) = metrics(as_map)
    (other,) = [own for own in metrics(grid) if (own["phase"], own["subset"]) == ("after", "all")]
    assert row["iia"] == other["iia"] and row["floor"] == other["floor"]
    columns = ["step", "loss", "train_iia"]
    mine = [[own[name] for name in columns] for own in as_map.tables["history"] if own["control"] == "none"]
    theirs = [[own[name] for name in columns] for own in grid.tables["history"]]
    assert mine == theirs and len(mine) > 10


def test_a_site_that_has_lost_a_variable_has_a_low_ceiling() -> None:
    """The first layer has a twice and nothing of b, so that no map can swap b."""
    given = setting(map=["rotation"], epochs=1)
    with torch.no_grad():
        given.model.first.weight.copy_(torch.tensor([[0.0, 1, 0, 0], [0, 1, 0, 0]]))  # type: ignore[union-attr, operator]
    (row,) = metrics(das.run(given))
    assert row["iia"] <= row["ceiling"] < 0.7


class Skips(nn.Module):
    """The answer depends on b past the site."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + x[:, 2:]


def test_where_inputs_pass_the_site_the_ceiling_knows_the_base() -> None:
    given = replace(
        setting(map=["rotation"], variables=["a"], epochs=1),
        model=Skips().eval(),
        networks={"untrained": TrainedNetwork(Skips().eval())},
    )
    with torch.no_grad():
        given.model.first.weight.copy_(torch.tensor([[0.0, 1, 0, 0], [0, 1, 0, 0]]))  # type: ignore[union-attr, operator]
    (row,) = metrics(das.run(given))
    assert row["ceiling"] == 1


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"map": ["rotations"]}, "experiment.map=rotations: there are neurons, rotation, revnet, and package"),
        ({"map": ["revnet", "revnet"]}, r"map=\[revnet,revnet\]: name each map once"),
        ({"map": []}, "name each map once, at least one"),
        ({"sizes": [2]}, r"sizes=\[2\]: 2 variables of 2 coordinates are more than first has, 2. Type .*=\[1\]"),
        ({"sizes": [1, 1]}, "name each size once"),
        ({"train": Trained.both}, "trains maps of a network that stays as it is"),
        ({"alignment": AlignmentKind.units}, "trains maps of a network that stays as it is"),
        ({"epochs": 0}, "nothing is trained. Type experiment.epochs=1 or more"),
        ({"offsets": [1]}, "a map has no offsets"),
        ({"adversary": ["b"]}, "a map has no adversary"),
        ({"strictness": 0.4}, "Leave out experiment.strictness"),
        ({"sources": Sources.multi}, "each variable has a source of its own"),
        ({"size": 1}, "maps don't use experiment.size; type experiment.sizes instead"),
        ({"rotation_learning_rate": 0.1}, "type experiment.map_learning_rate instead"),
        ({"warmup_steps": 3}, "maps don't use experiment.warmup_steps; leave it out"),
        ({"controls": [Control.other_site]}, r"controls=\[other_site\] is not for maps: .* untrained, random_labels"),
        ({"variables": ["c"]}, "no variable is named 'c'"),
        ({"site": "nowhere"}, "no site is named 'nowhere'"),
        ({"map": ["nowhere:Map"]}, "experiment.map=nowhere:Map: importing nowhere raises"),
        ({"map": None, **UNSET, "sizes": [1]}, "experiment.sizes is for maps, and there is none: add experiment.map="),
        ({"map": None, **UNSET, "controls": [Control.random_labels]}, "is a control of maps: add experiment.map"),
    ],
)  # fmt: skip
def test_mistakes(options: dict[str, Any], text: str) -> None:
    given = setting(**options)
    with pytest.raises(ConfigError, match=text):
        das.check(given)


@pytest.mark.parametrize(("options", "named"), [({}, "map"), ({"control_learning_rate": 1e30}, "control")])
def test_a_training_that_diverges_names_its_rate(options: dict[str, float], named: str) -> None:
    rate = 0.01 if options else 1e30
    with pytest.raises(RunFailed, match=f"diverged .* Try a smaller experiment.{named}_learning_rate"):
        das.run(setting(map=["revnet"], map_learning_rate=rate, **options))


def test_names_of_maps() -> None:
    config = DasConfig(map=["revnet", "rotation"], blocks=[1, 10], block_width=[16])
    assert [one.name for one in chosen_maps(config)] == ["revnet_1_16", "revnet_10_16", "rotation"]
    assert [one.name for one in chosen_maps(DasConfig(map=["revnet"]))] == ["revnet"]


# --- own maps, own data, the command ---------------------------------------------------------------------------------

MINE = """
import torch
from torch import nn

class Scaled(nn.Module):
    def __init__(self, n_units, right=True):
        super().__init__()
        self.scale, self.right = nn.Parameter(torch.ones(n_units)), right
    def forward(self, x):
        return x * self.scale.exp()
    def inverse(self, x):
        return x / self.scale.exp() if self.right else x

def wrong(n_units):
    return Scaled(n_units, right=False)

class Mirrored(nn.Module):
    def __init__(self, n_units):
        super().__init__()
    def forward(self, x):
        return x.flip(1)
    inverse = forward

def nothing(n_units):
    return n_units
"""


@pytest.fixture
def own_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_maps.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("own_map")
def test_a_map_of_ones_own() -> None:
    given = setting(map=["my_maps:Scaled", "neurons"])
    das.check(given)
    rows = metrics(das.run(given))
    assert rows[0]["map"] == "my_maps:Scaled" and rows[0]["parameters"] == 2 and rows[0]["epochs"] == 12
    with pytest.raises(ConfigError, match="map=my_maps:wrong is no bijection .* Let inverse undo forward"):
        das.check(setting(map=["my_maps:wrong"]))
    with pytest.raises(ConfigError, match="gives int: it must be a torch.nn.Module with forward and inverse"):
        das.check(setting(map=["my_maps:nothing"]))
    with pytest.raises(ConfigError, match="no callable of my_maps is named 'else'|callable"):
        das.check(setting(map=["my_maps:otherwise"]))


@pytest.mark.usefixtures("own_map")
def test_a_map_without_parameters_is_measured_as_it_is() -> None:
    """Two mirrored units: the first coordinate is the second unit, as that of neurons in this order would be."""
    given = setting(map=["my_maps:Mirrored"], variables=["a"], controls=[Control.random_labels])
    das.check(given)
    found = das.run(given)
    (row,) = metrics(found)
    assert row["parameters"] == row["epochs"] == 0 and "history" not in found.tables
    dataset, pairs = bits(), found.tables["pairs"]
    assert isinstance(pairs, pd.DataFrame)
    network = Xor(TURN).eval()
    base, source = (dataset.x_test[torch.tensor(pairs[name].to_numpy())] for name in ("base", "source_a"))
    with torch.no_grad():
        value = network.first(base)
        value[:, 1] = network.first(source)[:, 1]
        answers = network.last(torch.relu(network.second(value))).argmax(1)
    assert answers.tolist() == pairs["answer"].tolist()


@pytest.mark.parametrize(
    ("variables", "site", "size"), [(["a"], "first", 1), (["a", "b"], "first", 1), (["a"], "x", 2)]
)
def test_without_a_size_a_variable_has_at_most_half_of_a_site(variables: list[str], site: str, size: int) -> None:
    """With all units of a site every map gives the source's value, so that none could differ from another."""
    assert {row["size"] for row in metrics(das.run(setting(variables=variables, site=site, epochs=1)))} == {size}


def test_vectors_can_be_swapped() -> None:
    """`first` of equality is a vector: its swap changes whether a and b are equal."""
    dataset: Dataset = load(train_size=300, test_size=200, seed=0)
    torch.manual_seed(0)
    model = MLP([16, 16, 2]).eval()
    config = DasConfig(
        map=["rotation"], variables=["first"], site="layers.1", epochs=1, train_pairs=60, test_pairs=100, stop_pairs=20
    )
    found = das.run(Setting(config, TrainingOptions(), model, dataset, networks={"untrained": TrainedNetwork(model)}))
    (row,) = metrics(found)
    assert row["size"] == 8 and row["variables"] == "first" and row["selectivity"] == 0


def test_the_command(mi_run: Callable[..., Ended]) -> None:
    small = ("dataset.train_size=400", "dataset.test_size=200", "training.epochs=1", "training.stop_examples=100")
    pairs = ("experiment.train_pairs=100", "experiment.control_pairs=200", "experiment.test_pairs=80")
    steps = (
        "experiment.epochs=2",
        "experiment.control_epochs=1",
        "experiment.batch_size=50",
        "experiment.stop_pairs=50",
    )
    ended = mi_run(
        "experiment=das", "dataset=equality", "model=mlp", *small, *pairs, *steps, "experiment.controls=[random_labels]"
    )
    assert ended.status == 0, ended.err
    table = pd.read_csv(ended.folder / "metrics.csv")
    assert list(table["site"].unique()) == ["layers.1", "layers.3", "layers.5"] and len(table) == 9
    assert {"untrained", "random_labels", "selectivity", "floor", "ceiling", "parameters", "seconds"} <= set(table)
    history = pd.read_csv(ended.folder / "history.csv")
    assert history.groupby("control")["step"].max().to_dict() == {"none": 4, "random_labels": 4, "untrained": 4}
    assert {path.name for path in (ended.folder / "figures").iterdir()} >= {"maps.png", "selectivity.png"}


# --- formulas --------------------------------------------------------------------------------------------------------


def of_formula(formula: str, **options: Any) -> Setting[DasConfig]:
    """The network of the exclusive or, whose inputs are one-hot; the causal model has the bits themselves."""
    return setting(formula=formula, map=["neurons"], **{"variables": ["n1"], **options})


def test_inner_nodes_of_a_formula_are_variables() -> None:
    """`second` after its ReLU has a & ~b and b & ~a; `first` has the inputs alone."""
    given = of_formula("(A & ~B) | (~A & B)", variables=[["n1"], ["n2"]], site="relu", sizes=[1])
    das.check(given)
    rows = metrics(das.run(given))
    assert [row["iia"] for row in rows] == [1, 1] and all(row["floor"] < 0.9 for row in rows)
    other = of_formula("~(A & B) & (A | B)", variables=["n1"], site="relu", sizes=[1])
    assert metrics(das.run(other))[0]["iia"] < 1


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("A & B", r"experiment.formula=A & B: for the inputs \[\d, \d\] the label is another one"),
        ("A & ", "experiment.formula=A & : "),
        ("A & C", "experiment.formula=A & C: "),
    ],
)
def test_formulas_that_do_not_fit(formula: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        das.check(of_formula(formula))


def test_a_formula_is_for_boolean_inputs() -> None:
    dataset = load(train_size=30, test_size=20, seed=0)
    config = DasConfig(map=["rotation"], formula="A & B", variables=["A"], site="layers.1")
    with pytest.raises(ConfigError, match="is for Boolean inputs"):
        das.check(Setting(config, TrainingOptions(), MLP([16, 4, 2]).eval(), dataset))
