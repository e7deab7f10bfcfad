"""Features of an input by name: ablated one by one, and in the tables and pictures of each experiment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner import chance
from mi_runner.config.experiments.ablation import AblationConfig, Granularity, Method
from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.config.experiments.discovery import DiscoveryConfig
from mi_runner.config.experiments.probes import ProbesConfig
from mi_runner.datasets import Dataset
from mi_runner.datasets.features import Column
from mi_runner.errors import ConfigError
from mi_runner.experiments import Result, Setting
from mi_runner.experiments.ablation import experiment as ablation
from mi_runner.experiments.circuits import experiment as circuits
from mi_runner.experiments.common.circuit_columns import NAMED
from mi_runner.experiments.common.named_parts import named
from mi_runner.experiments.discovery import experiment as discovery
from mi_runner.experiments.probes.variables import default_sets, variables_of
from mi_runner.experiments.train import experiment as train
from mi_runner.graph.chain import find_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.models.mlp import MLP
from mi_runner.training.options import TrainingOptions
from tests.conftest import Ended
from tests.small_data import classes

NAMES = ("age", "colour=blue", "colour=red", "smoker")
COLUMNS = (
    Column("age", "number", (0,), mean=50, scale=10),
    Column("colour", "category", (1, 2), categories=("blue", "red")),
    Column("smoker", "boolean", (3,)),
)
GROUPS = {"age": [0], "colour": [1, 2], "smoker": [3]}


def people(n: int = 60, *, by_class: bool = True) -> Dataset:
    """A table of a number, a category and a boolean, as `dataset=table` makes it."""
    draw = torch.Generator().manual_seed(0)
    red, smoker = (torch.randint(2, (2 * n,), generator=draw) for _ in range(2))
    x = torch.stack([torch.randn(2 * n, generator=draw), 1 - red, red, smoker], 1).float()
    y = (x[:, 0] + x[:, 2] + x[:, 3] > 1).long()
    return Dataset(
        name="table",
        x_train=x[:n],
        y_train=y[:n] if by_class else y[:n].float(),
        x_test=x[n:],
        y_test=y[n:] if by_class else y[n:].float(),
        class_names=("well", "ill") if by_class else None,
        label_name="outcome",
        feature_names=NAMES,
        columns=COLUMNS,
    )


def network(n_outputs: int = 2, hidden: tuple[int, ...] = (5,)) -> MLP:
    torch.manual_seed(0)
    return MLP([4, *hidden, n_outputs], activation=nn.Tanh)


def setting(dataset: Dataset, model: nn.Module | None = None, config: Any = None, **options: Any) -> Setting[Any]:
    model = model or network(dataset.n_outputs)
    return Setting(config or AblationConfig(**options), TrainingOptions(), model.eval(), dataset)


def rows_of(result: Result, name: str = "metrics") -> list[Mapping[str, Any]]:
    return [dict(row) for row in result.tables[name]]


# --- ablation ------------------------------------------------------------------------------------------------------


def by_hand(model: nn.Module, dataset: Dataset, inputs: list[int], value: Tensor) -> tuple[float, float]:
    """Accuracy and loss with some columns of the test inputs replaced by those of `value`."""
    x = dataset.x_test.clone()
    x[:, inputs] = value.expand(len(x), 4)[:, inputs]
    with torch.no_grad():
        outputs = model(x)
    y = dataset.y_test
    return float((outputs.argmax(1) == y).double().mean()), float(functional.cross_entropy(outputs, y))


@pytest.mark.parametrize("source", ["test", "train"])
def test_each_feature_is_ablated_as_by_hand(source: str) -> None:
    dataset, model = people(), network()
    result = ablation.run(setting(dataset, model, targets=["inputs"], source=source))
    x = dataset.x_test if source == "test" else dataset.x_train
    rows = rows_of(result)
    assert [row["target"] for row in rows[::5]] == ["none", *(f"inputs.{name}" for name in GROUPS)][: len(rows[::5])]
    for row in rows[1:]:
        assert (row["kind"], row["role"]) == ("feature", f"inputs.{row['feature']}")
        assert row["target"] == f"inputs.{row['feature']}"
        if row["method"] == "zero":
            value = torch.zeros(1, 4)
        elif row["method"] == "mean":
            value = x.mean(0, keepdim=True)
        else:
            draw = chance.generator(0, "resample", row["repeat"])
            if source == "test":
                index = torch.randint(len(x) - 1, (len(x),), generator=draw)
                index = index + (index >= torch.arange(len(x)))
            else:
                index = torch.randint(len(x), (len(dataset.x_test),), generator=draw)
            value = x[index]
        accuracy, loss = by_hand(model, dataset, GROUPS[row["feature"]], value)
        assert row["accuracy"] == accuracy and row["loss"] == pytest.approx(loss, abs=1e-6)
    assert {row["feature"] for row in rows[1:]} == set(GROUPS) and rows[0]["feature"] is None
    assert result.metrics["accuracy/inputs.colour/zero"] == by_hand(model, dataset, [1, 2], torch.zeros(1, 4))[0]
    assert "inputs." in result.answer


def test_names_and_patterns_choose_features_and_single_numbers() -> None:
    dataset = people()

    def chosen(*targets: str) -> list[str]:
        rows = rows_of(ablation.run(setting(dataset, targets=list(targets), methods=[Method.zero])))
        return [row["target"] for row in rows[1:]]

    assert chosen("inputs.age") == ["inputs.age"] and chosen("inputs.smoker") == ["inputs.smoker"]
    assert chosen("inputs.*o*") == ["inputs.colour", "inputs.smoker"]
    assert chosen("inputs.colour=red", "layers.0") == ["inputs.colour=red", "layers.0"]
    assert chosen("inputs.colour=*") == ["inputs.colour=blue", "inputs.colour=red"]
    assert chosen("x", "inputs") == ["x", "inputs.age", "inputs.colour", "inputs.smoker"]
    with pytest.raises(
        ConfigError, match=r"no feature is named 'agee'\. Did you mean age\? Allowed: age, colour, smoker"
    ):
        ablation.check(setting(dataset, targets=["inputs.agee"]))
    with pytest.raises(ConfigError, match="name at least one target, each once"):
        ablation.check(setting(dataset, targets=["inputs", "inputs"]))


def test_one_number_of_a_category_alone() -> None:
    dataset, model = people(), network()
    result = ablation.run(setting(dataset, model, targets=["inputs.colour=red"], methods=[Method.zero]))
    accuracy, loss = by_hand(model, dataset, [2], torch.zeros(1, 4))
    assert (rows_of(result)[1]["accuracy"], rows_of(result)[1]["loss"]) == (accuracy, pytest.approx(loss, abs=1e-6))


def test_inputs_without_names_are_numbered() -> None:
    rows = rows_of(ablation.run(setting(classes(n_features=3), MLP([3, 3]), targets=["inputs"])))
    assert list(dict.fromkeys(row["target"] for row in rows[1:])) == ["inputs.0", "inputs.1", "inputs.2"]


class OwnNames(nn.Module):
    """A network whose input has the very name of the word for its features."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs)


def test_an_input_named_inputs_is_ablated_as_a_whole_too() -> None:
    result = ablation.run(setting(people(), OwnNames(), targets=["inputs"], methods=[Method.zero]))
    assert [row["target"] for row in rows_of(result)] == [
        *("none", "inputs.age", "inputs.colour", "inputs.smoker", "inputs"),
    ]
    assert result.metrics["accuracy/inputs/zero"] == rows_of(result)[-1]["accuracy"]


def test_units_of_the_input_have_names() -> None:
    options: dict[str, Any] = {"granularity": Granularity.unit, "methods": [Method.zero]}
    result = ablation.run(setting(people(), targets=["inputs", "layers.0"], **options))
    units = rows_of(result, "units")
    assert [row["unit_name"] for row in units] == [*NAMES, *[None] * 5]
    model, dataset = network(), people()
    for row in units[:4]:
        assert row["accuracy"] == by_hand(model, dataset, [row["unit"]], torch.zeros(1, 4))[0]


def test_all_features_resampled_together_are_the_whole_input() -> None:
    features, whole = (
        rows_of(ablation.run(setting(people(), targets=[target], agree="same")), "scrubbing")
        for target in ("inputs", "x")
    )
    assert features == whole


def test_images_have_a_feature_for_each_number_of_an_example() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(20, 1, 2, 2), torch.arange(20) % 2
    dataset = Dataset("mine", x, y, x, y, ("0", "1"))
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(2, 2))
    rows = rows_of(ablation.run(setting(dataset, model, targets=["inputs"], methods=[Method.zero])))
    changed = x.clone()
    changed[:, 0, 1, 0] = 0
    with torch.no_grad():
        expected = float((model(changed).argmax(1) == y).double().mean())
    assert [row["feature"] for row in rows[1:]] == ["0", "1", "2", "3"] and rows[3]["accuracy"] == expected


def test_a_feature_is_expected_by_its_name(tmp_path: Path, mi_run: Callable[..., Ended]) -> None:
    frame = pd.DataFrame({"age": np.arange(40) % 9, "dose a": np.arange(40) % 7, "y": np.arange(40) % 2})
    frame.to_csv("t.csv", index=False)
    command = ("experiment=ablation", "dataset=table", "dataset.path=t.csv", "dataset.target_column=y")
    small = ("experiment.targets=[inputs]", "experiment.methods=[zero]", "training.epochs=1")
    ended = mi_run(*command, *small, "model=mlp", 'expect={accuracy/inputs.dose a/zero: ">=0"}')
    assert ended.status == 0, ended.err
    assert list(pd.read_csv(ended.folder / "metrics.csv")["feature"].dropna()) == ["age", "dose a"]
    assert "inputs.dose a" in (ended.folder / "report.html").read_text()


# --- circuits and discovery ----------------------------------------------------------------------------------------


def test_names_of_the_analysed_layers() -> None:
    dataset = people()
    graph = ModelGraph.trace(network(), dataset.x_test[:2])
    whole, last = (named(find_part(graph, n), graph, dataset) for n in (None, 1))
    assert (whole.input_names, whole.output_names) == (NAMES, ("well", "ill"))
    assert (last.input_names, last.output_names) == (None, ("well", "ill"))
    assert whole.output(1).output_names == ("ill",) and whole.output(1).name(2, 0) == "ill"
    assert [whole.name(layer, 1) for layer in range(3)] == ["colour=blue", None, "ill"]
    of_values = people(by_class=False)
    one = ModelGraph.trace(network(1), dataset.x_test[:2])
    assert named(find_part(one, None), one, of_values).output_names == ("outcome",)
    bare = replace(of_values, feature_names=None, columns=None, label_name="label")
    assert not named(find_part(one, None), one, bare).has_names


def test_names_stay_where_the_input_is_flattened() -> None:
    dataset = people()
    for first in (nn.Flatten(), nn.Identity()):
        model = nn.Sequential(first, nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        graph = ModelGraph.trace(model.eval(), dataset.x_test[:2])
        assert named(find_part(graph, 2), graph, dataset).input_names == NAMES


def ends(rows: list[Mapping[str, Any]]) -> set[tuple[Any, ...]]:
    return {(row["layer"], row["source"], row["source_name"], row["target"], row["target_name"]) for row in rows}


EDGES = {(0, source, NAMES[source], target, None) for source in range(4) for target in range(2)} | {
    (1, source, None, 0, "outcome") for source in range(2)
}


def test_edges_of_circuits_have_the_names_of_their_ends() -> None:
    config = CircuitsConfig(last_layers=None, accuracy_threshold=0.02)
    result = circuits.run(setting(people(by_class=False), network(1, (2,)), config))
    assert ends(rows_of(result, "edges")) == EDGES
    (output,) = result.pictures["circuits"]()["outputs"]
    assert {
        (edge["layer"], edge["source"], edge.get("from"), edge["target"], edge.get("to")) for edge in output["edges"]
    }
    assert {edge["from"] for edge in output["edges"] if edge["layer"] == 0} == set(NAMES)
    assert {edge["to"] for edge in output["edges"] if edge["layer"] == 1} == {"outcome"}
    assert "from" not in output["edges"][-1]
    bare = replace(people(by_class=False), feature_names=None, columns=None, label_name="label")
    unnamed = circuits.run(setting(bare, network(1, (2,)), config))
    assert "source_name" not in rows_of(unnamed, "edges")[0]
    assert NAMED not in {table.where for table in unnamed.filled}


def test_edges_of_discovery_have_the_names_of_their_ends() -> None:
    config = DiscoveryConfig(last_layers=None, methods=["magnitude"])
    result = discovery.run(setting(people(by_class=False), network(1, (2,)), config))
    for table in ("scores", "analysed"):
        assert ends(rows_of(result, table)) == EDGES
    assert ends(rows_of(result, "edges")) <= EDGES
    (part, *_) = result.pictures["methods"]()["parts"]
    assert [edge.get("from") for edge in part["edges"]][:4] == list(NAMES) and part["edges"][-1]["to"] == "outcome"


def test_discovery_of_classes_names_its_outputs() -> None:
    config = DiscoveryConfig(last_layers=None, methods=["magnitude"], samples=3)
    result = discovery.run(setting(people(), network(2, (2,)), config))
    of_outputs = {(row["target"], row["target_name"]) for row in rows_of(result, "scores") if row["layer"] == 1}
    assert of_outputs == {(0, "well"), (1, "ill")}


@pytest.mark.drawn
def test_pictures_write_the_names() -> None:
    model, dataset = network(1, (2,)).eval(), people(by_class=False)
    with torch.no_grad():
        dataset = replace(dataset, y_test=model(dataset.x_test)[:, 0].round())
    config = CircuitsConfig(last_layers=None, accuracy_threshold=0.5)
    result = circuits.run(setting(dataset, model, config))
    sparsest = result.figures["sparsest_0"]()
    written = {text.get_text() for axes in sparsest.axes for text in axes.texts}
    assert {*NAMES, "outcome"} <= written
    heat = result.figures["edges_0"]().axes[0]
    assert [label.get_text() for label in heat.get_xticklabels()] == list(NAMES)
    weights = ablation.run(setting(people(), targets=["inputs"])).figures["weights_layers.0"]().axes[0]
    assert [label.get_text() for label in weights.get_xticklabels()] == list(NAMES)
    assert np.allclose(weights.images[0].get_array(), network().layers[0].weight.detach().numpy())


# --- other experiments ---------------------------------------------------------------------------------------------


def test_probes_read_each_feature() -> None:
    dataset = people()
    variables = variables_of(setting(dataset, config=ProbesConfig()))
    assert variables.variables == ("age", "colour", "smoker")
    assert default_sets(dataset, variables) == [("age",), ("colour",), ("smoker",)]
    x = dataset.x_test.double()
    assert torch.equal(variables.values_test, torch.stack([x[:, 0], x[:, 2], x[:, 3]], 1))
    unknown = replace(dataset, x_test=dataset.x_test.clone())
    unknown.x_test[0, 1:3] = 0
    assert variables_of(setting(unknown, config=ProbesConfig())).values_test[0, 1] == -1
    with pytest.raises(ConfigError, match="needs a causal model, or names of features"):
        variables_of(setting(classes(), MLP([6, 3]), ProbesConfig()))


def test_confusion_names_the_classes() -> None:
    result = train.run(setting(people(), config=None))
    named_rows = {
        (row["label"], row["label_name"], row["predicted"], row["predicted_name"])
        for row in rows_of(result, "confusion")
    }
    names = ("well", "ill")
    assert named_rows and all((names[one], names[two]) == (a, b) for one, a, two, b in named_rows)
    plain = train.run(setting(classes(n_features=4), network(3)))
    assert "label_name" not in rows_of(plain, "confusion")[0]


def saved(path: Path, names: list[str]) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 3)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    words = {"feature_names": np.array(names), "class_names": np.array(["well", "ill"])}
    np.savez(path, x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:], **words)


def test_weights_keep_the_names_and_others_are_warned_of(tmp_path: Path, mi_run: Callable[..., Ended]) -> None:
    from safetensors import safe_open

    saved(Path("one.npz"), ["age", "dose", "ward"])
    saved(Path("other.npz"), ["age", "ward", "dose"])
    small = ("dataset=arrays", "training.epochs=1", "report=false")
    first = mi_run(*small, "dataset.path=one.npz")
    with safe_open(first.folder / "model.safetensors", framework="pt") as file:
        kept = {name: json.loads(text) for name, text in file.metadata().items()}
    assert kept == {"feature_names": ["age", "dose", "ward"], "class_names": ["well", "ill"]}
    again = mi_run(*small, "dataset.path=one.npz", f"checkpoint={first.folder}")
    assert again.status == 0 and "are not those of the data" not in again.err
    other = mi_run(*small, "dataset.path=other.npz", f"checkpoint={first.folder}")
    assert other.status == 0
    assert "its feature_names are not those of the data: number 1 is dose in the file, ward in the data" in other.err
    digest = first.record["files"]["model.safetensors"]
    assert mi_run(*small, "dataset.path=one.npz", "training.epochs=1").record["files"].get("model.safetensors") in (
        None,
        digest,
    )
