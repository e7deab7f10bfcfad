"""Clusters: hand-made networks whose parts are known, weights edited by hand against interventions, the command."""

from __future__ import annotations

import copy
import csv
import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import mi_runner
from mi_runner.chance import generator
from mi_runner.config import composition
from mi_runner.config.experiments.clusters import ClustersConfig, PruningCriterion
from mi_runner.config.registry import DATASETS, SCHEMAS
from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError
from mi_runner.experiments import Setting, TrainedNetwork
from mi_runner.experiments.clusters import experiment as clusters
from mi_runner.experiments.clusters import figures as clusters_figures
from mi_runner.experiments.clusters.network import Network, network_of
from mi_runner.graph.interventions import Intervention, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.clusters import (
    interpretability,
    pruned_share,
    random_partitions,
    switch_clusters,
    switched_weight,
    top_activations,
    top_examples,
)
from mi_runner.methods.pruning import CRITERIA, prune_classes
from mi_runner.models.batches import outputs_of
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip
from mi_runner.progress import Progress
from mi_runner.runs import expectations, preparation
from mi_runner.runs.choices import load_dataset
from mi_runner.tables import styles
from mi_runner.training.clusterability import contiguous, shuffled
from mi_runner.training.options import TrainingOptions
from tests.commands import small_options, write_data
from tests.conftest import REPOSITORY, Ended
from tests.small_data import classes, values


def setting(model: nn.Module, dataset: Dataset | None = None, **options: object) -> Setting:
    config = ClustersConfig(**{"controls": 2, "top_k": 5, **options})
    training = TrainingOptions(
        epochs=0,
        regularizer="clusterability",
        regularizer_strength=config.strength,
        regularizer_layer=config.layer,
        regularizer_clusters=config.n_clusters,
    )
    dataset = dataset or classes()
    initial = TrainedNetwork(copy.deepcopy(model.eval()))
    return Setting(config, training, model, dataset, networks={"twin": initial, "untrained": initial})


def network(model: nn.Module, n_clusters: int, dataset: Dataset | None = None) -> Network:
    return network_of(setting(model, dataset, n_clusters=n_clusters), "clustered", model)


def share(found: Network, cluster: int) -> float:
    return pruned_share(found.graph, found.layer, found.partition, cluster, found.n_parameters)


def hand_made() -> tuple[MLP, Dataset]:
    """Inputs e0 and e1 are of the classes 1 and 2, each by a cluster of its own; without its cluster an input is 0."""
    model = MLP([2, 2, 2, 3], bias=False)
    with torch.no_grad():
        model.layers[0].weight.copy_(torch.eye(2))
        model.layers[2].weight.copy_(torch.eye(2))
        model.layers[4].weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    x = torch.eye(2).repeat(3, 1)
    y = torch.tensor([1, 2]).repeat(3)
    return model, Dataset("arrays", x, y, x, y, ("none", "first", "second"))


def test_a_hand_made_network_loses_and_keeps_what_its_clusters_do() -> None:
    model, data = hand_made()
    result = clusters.run(setting(model, data, n_clusters=2, controls=0))
    rows = {
        (row["state"], row["cluster"], row["class"]): row["accuracy"]
        for row in result.tables["metrics"]
        if row["network"] == "clustered"
    }
    assert rows == {
        ("full", "none", "all"): 1.0, ("full", "none", "first"): 1.0, ("full", "none", "second"): 1.0,
        ("off", 0, "all"): 0.5, ("off", 0, "first"): 0.0, ("off", 0, "second"): 1.0,
        ("off", 1, "all"): 0.5, ("off", 1, "first"): 1.0, ("off", 1, "second"): 0.0,
        ("on", 0, "all"): 0.5, ("on", 0, "first"): 1.0, ("on", 0, "second"): 0.0,
        ("on", 1, "all"): 0.5, ("on", 1, "first"): 0.0, ("on", 1, "second"): 1.0,
    }  # fmt: skip
    assert result.metrics["accuracy"] == result.metrics["clusterability"] == 1.0
    # Two of three classes among the top 5 of each unit: each has the value 1 on its own three images, 0 on the others.
    units = {(row["network"], row["layer"], row["unit"]): row for row in result.tables["units"]}
    assert len(units) == 2 * (2 + 2 + 3) and {row["distinct"] for row in units.values()} == {2}
    assert units["clustered", "layers.3", 1]["classes"] == "second:3 first:2"
    assert units["clustered", "layers.3", 1]["cluster"] == 1 and units["twin", "layers.4", 1]["cluster"] is None
    assert result.metrics["interpretability"] == pytest.approx(1 - 2 / 3)
    assert result.metrics["interpretability/layers.4/twin"] == pytest.approx(1 - 2 / 3)
    assert [(row["layer"], row["network"], row["role"]) for row in result.tables["layers"]] == [
        (layer, network, role)
        for layer, role in (("layers.1", "hidden"), ("layers.3", "hidden"), ("layers.4", "logits"))
        for network in ("clustered", "twin")
    ]
    # Images 0, 2, 4 are of the first class, 1, 3, 5 of the second; of equal values the earlier image comes first.
    images = [
        (row["rank"], row["index"], row["class"], row["activation"])
        for row in result.tables["unit_images"]
        if (row["network"], row["layer"], row["unit"]) == ("clustered", "layers.3", 1)
    ]
    assert images == [
        (1, 1, "second", 1.0), (2, 3, "second", 1.0), (3, 5, "second", 1.0), (4, 0, "first", 0.0), (5, 2, "first", 0.0)
    ]  # fmt: skip
    assert len(result.tables["unit_images"]) == 5 * len(units)
    # Of 4 + 4 + 6 parameters those outside cluster 0: a row of the first, all but one of the second, a column.
    assert result.metrics["pruned_share"] == pytest.approx((2 + 3 + 3) / 14)


def test_a_random_partition_is_the_control() -> None:
    torch.manual_seed(0)
    model, data = MLP([6, 8, 8, 3]), classes()
    given = setting(model, data, n_clusters=2, controls=2)
    rows = clusters.run(given).tables["metrics"]
    rows = [row for row in rows if (row["class"], row["network"]) == ("all", "clustered")]
    assert len(rows) == 1 + 3 * 2 * 2
    for repeat in (1, 2):
        draw = generator(given.seed, "random partition", repeat)
        partition = shuffled(contiguous(8, 8, 2), generator=draw)
        edited = copy.deepcopy(model)
        edited.layers[2].weight.data = switched_weight(model.layers[2].weight.data, partition, 1, "off")
        (row,) = [
            row
            for row in rows
            if (row["repeat"], row["state"], row["cluster"], row["partition"]) == (repeat, "off", 1, "random")
        ]
        right = (outputs_of(edited, data.x_test).argmax(1) == data.y_test).double().mean()
        assert row["accuracy"] == pytest.approx(float(right))


def test_a_class_without_examples_is_not_pruned_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    model, data = hand_made()
    with caplog.at_level("INFO", logger="mi_runner"):
        result = clusters.run(setting(model, data, n_clusters=2, controls=0))
    said = [record.getMessage() for record in caplog.records if "pruned" in record.getMessage()]
    assert said == ["class none is not pruned: none of the 6 examples is of it"] * 2
    assert {row["class"] for row in result.tables["pruning"]} == {"first", "second"}
    assert result.metrics["kept_edges/none"] != result.metrics["kept_edges/none"]  # NaN


@pytest.mark.parametrize("layer", ["layers.0", "layers.2", "layers.4"])
@pytest.mark.parametrize("state", ["off", "on"])
def test_switching_by_edited_weights_is_switching_by_interventions(layer: str, state: str) -> None:
    """Rows and columns at zero: the inputs of the cluster read as 0, its outputs are what their biases are."""
    torch.manual_seed(1)
    model = MLP([6, 9, 7, 3]).eval()
    graph = ModelGraph.trace(model, torch.zeros(2, 6))
    linear = model.get_submodule(layer)
    partition = contiguous(linear.out_features, linear.in_features, 3)
    (source,) = graph.sources(layer)
    x = torch.randn(30, 6, generator=generator(0, "x"))
    for cluster in range(3):
        outputs, inputs = partition.outputs == cluster, partition.inputs == cluster
        if state == "on":
            outputs, inputs = ~outputs, ~inputs
        intervened = run_with(
            graph,
            x,
            [
                Intervention(f"{source}/{layer}", torch.zeros(linear.in_features), inputs),
                Intervention(layer, linear.bias.detach(), outputs),
            ],
        )
        edited = copy.deepcopy(model)
        edited.get_submodule(layer).weight.data = switched_weight(linear.weight.data, partition, cluster, state)
        torch.testing.assert_close(intervened, edited(x))


@pytest.mark.parametrize("sizes", [[784, 64, 64, 10], [5, 6, 7], [5, 4, 6, 6, 3]])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("place", range(4))
def test_the_pruned_share_counts_every_parameter_once(sizes: list[int], bias: bool, place: int) -> None:
    """Against a mark on each parameter that is in the cluster."""
    if place >= len(sizes) - 1:
        return
    model = MLP(sizes, bias=bias)
    config = {"layer": f"layers.{2 * place}", "n_clusters": 3}
    data = classes(n_features=sizes[0], n_classes=sizes[-1])
    found = network_of(setting(model, data, **config), "clustered", model)
    for cluster in range(3):
        marks = {name: torch.ones_like(parameter) for name, parameter in model.named_parameters()}
        outputs, inputs = found.partition.outputs == cluster, found.partition.inputs == cluster

        def mark(kind: str, layer: int, mask: Tensor, marks: dict[str, Tensor] = marks) -> None:
            name = f"layers.{2 * layer}.{kind}"
            if name in marks:
                marks[name] *= mask

        mark("weight", place, outputs[:, None] & inputs)
        mark("bias", place, outputs)
        mark("weight", place - 1, inputs[:, None])
        mark("bias", place - 1, inputs)
        mark("weight", place + 1, outputs[None, :])
        total = sum(parameter.numel() for parameter in model.parameters())
        expected = 1 - float(sum(each.sum() for each in marks.values())) / total
        assert share(found, cluster) == pytest.approx(expected)


def test_the_published_share() -> None:
    model = MLP([784, 64, 64, 10], bias=False)
    found = network(model, 4, classes(n_features=784, n_classes=10))
    assert [round(100 * share(found, cluster), 2) for cluster in range(4)] == [76.40] * 4


# --- from a program ----------------------------------------------------------------------------------------------


def test_clusters_of_any_network_can_be_switched() -> None:
    """Against edited weights, in a network that does not end in a chain of Linear layers."""
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), nn.ReLU(), nn.Linear(9, 3), nn.Softmax(1)).eval()
    x, labels = torch.randn(2_100, 6, generator=generator(0, "x")), torch.arange(2_100) % 3
    graph = ModelGraph.trace(net, x[:2])
    partition = contiguous(9, 6, 3)
    controls = random_partitions(partition, 2, seed=5)
    steps: list[int] = []
    switched = switch_clusters(graph, "0", partition, x, labels, controls=controls, progress=steps.append)
    assert sum(steps) == 3 * 2 * 3 == len(switched) - 1
    full = switched[0]
    assert (full.control, full.state, full.cluster) == (0, "full", None)
    assert torch.equal(full.correct, outputs_of(net, x).argmax(1) == labels)
    for found in switched[1:]:
        assert found.state != "full" and found.cluster is not None
        edited = copy.deepcopy(net)
        weight = net[0].weight.data
        edited[0].weight.data = switched_weight(
            weight, (partition, *controls)[found.control], found.cluster, found.state
        )
        correct = outputs_of(edited, x).argmax(1) == labels
        assert found.accuracy == pytest.approx(float(correct.double().mean()), abs=1e-3)
        by_class = {number: float(correct[labels == number].double().mean()) for number in range(3)}
        assert found.class_accuracy == pytest.approx(by_class, abs=3e-3)
    assert len({round(found.accuracy, 6) for found in switched}) > 9


def test_random_partitions_have_the_same_sizes_and_the_first_ones_stay() -> None:
    partition = contiguous(10, 14, 4)
    three, five = (random_partitions(partition, count, seed=1) for count in (3, 5))
    other = random_partitions(partition, 3, seed=2)
    for number, each in enumerate(three):
        assert torch.equal(each.outputs.bincount(), partition.outputs.bincount())
        assert torch.equal(each.inputs.bincount(), partition.inputs.bincount())
        assert torch.equal(each.outputs, five[number].outputs) and torch.equal(each.inputs, five[number].inputs)
        assert not torch.equal(each.inputs, other[number].inputs)
    # No two repeats are the same partition, and outputs and inputs are shuffled each by itself.
    assert (
        len({tuple(each.outputs.tolist()) for each in five}) == len({tuple(each.inputs.tolist()) for each in five}) == 5
    )
    square = random_partitions(contiguous(12, 12, 3), 1)[0]
    assert not torch.equal(square.outputs, square.inputs)


def test_interpretability_by_hand() -> None:
    classes_of_top = torch.tensor([[0, 1, 2], [0, 2, 2], [0, 3, 1], [0, 0, 2]])  # 1, 4 and 2 distinct of 4
    assert interpretability(classes_of_top, 4) == pytest.approx(1 - (1 + 4 + 2) / 3 / 4)
    assert interpretability(torch.zeros(5, 3, dtype=torch.int64), 4) == 1 - 1 / 4
    with pytest.raises(ValueError, match="without units"):
        interpretability(torch.zeros(5, 0, dtype=torch.int64), 4)


def test_arguments_that_do_not_fit_are_named() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softplus())
    x, labels = torch.randn(10, 6), torch.zeros(10, dtype=torch.int64)
    graph = ModelGraph.trace(net, x[:2])
    partition = contiguous(8, 6, 2)
    with pytest.raises(ValueError, match=r"layer='1' is no Linear layer\. Linear layers: 0, 2\."):
        switch_clusters(graph, "1", partition, x, labels)
    with pytest.raises(ValueError, match="no site is named '7'"):
        switch_clusters(graph, "7", partition, x, labels)
    with pytest.raises(ValueError, match="8 outputs and 6 inputs, but the weights of '2' are 3×8"):
        switch_clusters(graph, "2", partition, x, labels)
    with pytest.raises(ValueError, match="4 outputs and 6 inputs"):
        switch_clusters(graph, "0", partition, x, labels, controls=[contiguous(4, 6, 2)])
    with pytest.raises(ValueError, match="10 examples and 9 labels"):
        switch_clusters(graph, "0", partition, x, labels[:9])
    with pytest.raises(ValueError, match="0 examples and 0 labels"):
        switch_clusters(graph, "0", partition, x[:0], labels[:0])
    with pytest.raises(ValueError, match="cluster=2: the clusters are 0 to 1"):
        switched_weight(net[0].weight, partition, 2, "off")
    with pytest.raises(ValueError, match="state='of': a cluster is 'off' or 'on'"):
        switched_weight(net[0].weight, partition, 0, "of")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layer='0' is not in the chain"):
        pruned_share(graph, "0", partition, 0, 100)
    with pytest.raises(ValueError, match="k=0"):
        top_examples(graph, x, ["0"], 0)


def test_the_librarys_page_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    text = (REPOSITORY / "docs/library.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text.partition("\n## Clusters\n")[2], flags=re.MULTILINE)[0]
    block, own_loop = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    torch.manual_seed(0)
    exec(block, {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + (1 + 2 * 4) + 1 + 3 and lines[1].startswith("full None")
    public = re.findall(r"\w+", block.partition("from mi_runner.clusters import (")[2].partition(")")[0])
    assert len(public) == 8 and set(public) <= set(mi_runner.clusters.__all__)
    names: dict[str, object] = {}
    exec(own_loop, names)
    assert capsys.readouterr().out.startswith("2 0.2") and isinstance(names["modularity"], mi_runner.Modularity)


def test_the_methods_know_no_config() -> None:
    for name in ("clusters", "pruning"):
        text = (REPOSITORY / f"mi_runner/methods/{name}.py").read_text(encoding="utf-8")
        assert not re.findall(r"mi_runner\.(?:config|experiments)|ConfigError|Setting|experiment\.", text)


# --- top examples ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 40, 10_000])
def test_top_examples_are_those_of_a_sort_of_each_unit(k: int) -> None:
    torch.manual_seed(0)
    model = MLP([6, 8, 5, 3]).eval()
    x = torch.randn(2_345, 6, generator=generator(0, "x")).round()  # rounded, so that many values are equal
    found = top_examples(ModelGraph.trace(model, x[:2]), x, ["layers.1", "layers.3"], k)
    for site, layers in (("layers.1", 2), ("layers.3", 4)):
        with torch.no_grad():
            read = model.layers[:layers](x)
        assert found[site].shape == (min(k, len(x)), read.shape[1])
        for unit in range(read.shape[1]):
            order = read[:, unit].sort(descending=True, stable=True).indices[:k]
            # Values, because the two routes may differ by rounding in the order of equal ones.
            torch.testing.assert_close(read[found[site][:, unit], unit], read[order, unit])
            assert len(found[site][:, unit].unique()) == min(k, len(x))


def test_of_equal_values_the_first_examples_are_taken() -> None:
    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    x = torch.tensor([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0]]).repeat(500, 1)
    graph = ModelGraph.trace(Doubled(), x[:2])
    (found,) = top_examples(graph, x, [graph.output], 4).values()
    assert found.squeeze(1).tolist() == [1, 3, 4, 7]


def test_top_examples_order_every_float() -> None:
    class Itself(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 1

    inf = float("inf")
    column = [-1.0, 0.0, -inf, 1e-45, -0.0, 3e38, -1e-45, -3e38, 0.0, inf, 2.0, -2.0, 1.0, 1.0]
    x = torch.tensor(column)[:, None].repeat(1, 2)
    x[:, 1] = -x[:, 1]
    graph = ModelGraph.trace(Itself(), x[:2])
    (found,) = top_examples(graph, x, [graph.output], len(x)).values()
    assert torch.equal(found, x.sort(dim=0, descending=True, stable=True).indices)
    (top,) = top_activations(graph, x, [graph.output], 9).values()
    assert torch.equal(top.examples, found[:9])
    assert torch.equal(top.activations, x.gather(0, found[:9]))  # −0 equals 0


# --- what doesn't fit --------------------------------------------------------------------------------------------


def test_values_have_no_classes_to_compare() -> None:
    with pytest.raises(ConfigError, match=r"use dataset\.target=class"):
        clusters.check(setting(MLP([6, 4, 4, 1]), values()))


def test_the_layer_must_be_in_the_chain_at_the_end() -> None:
    with pytest.raises(ConfigError) as caught:
        clusters.check(setting(TwoLayerSkip(6, 3), n_clusters=4))
    assert str(caught.value) == (
        "experiment.layer=first (null: the middle Linear layer) is not in the chain of Linear layers at the network's "
        "end, last. Use experiment.layer=last experiment.n_clusters=3."
    )
    with pytest.raises(
        ConfigError, match=r"^experiment\.layer=first is not in .*, last\. Use experiment\.layer=last\.$"
    ):
        clusters.check(setting(TwoLayerSkip(6, 3), layer="first", n_clusters=2))
    clusters.check(setting(TwoLayerSkip(6, 3), layer="last", n_clusters=2))
    with pytest.raises(ConfigError, match=r"^experiment\.pruning_layers: 'layers\.1' is not in the chain"):
        clusters.check(setting(MLP([6, 4, 4, 3]), pruning_layers=["layers.1"]))


def test_the_regularizer_is_the_experiments_own(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("experiment=clusters", "training.regularizer=none", "dataset.limit=50")
    assert ended.status == 2 and "type experiment.strength" in ended.err


def test_a_network_that_ends_otherwise_is_refused() -> None:
    model = nn.Sequential(nn.Linear(6, 3), nn.Softplus())
    with pytest.raises(ConfigError, match=r"ends in Linear layers, .* use model=mlp"):
        clusters.check(setting(model, n_clusters=2))


# --- the command -------------------------------------------------------------------------------------------------

TRY = ("dataset.limit=300", "training.epochs=1", "experiment.controls=2", "experiment.pruning_examples=100")


@pytest.mark.drawn
def test_the_command_writes_its_tables(mi_run: Callable[..., Ended]) -> None:
    expected = "expect={clusterability/twin: '<0.5', accuracy/7/twin: '>=0'}"
    ended = mi_run("experiment=clusters", "model.hidden_sizes=[10,9]", *TRY, expected)
    assert ended.status == 0, ended.err
    tables = {path.stem: pd.read_csv(path) for path in ended.folder.glob("*.csv")}
    assert set(tables) == {
        *("metrics", "networks", "clusters", "layers", "units", "unit_images", "pruning", "pruned_classes", "history"),
    }
    metrics = tables["metrics"]
    assert list(metrics) == [
        *("network", "partition", "repeat", "state", "cluster", "class", "n"),
        *("accuracy", "accuracy_low", "accuracy_high"),
    ]
    assert len(metrics) == 2 * (1 + 3 * 2 * 4) * 11
    whole = metrics[metrics["class"] == "all"]
    assert (whole["n"] == 300).all() and (whole["accuracy_low"] <= whole["accuracy"]).all()
    # 9 units in 4 clusters don't divide evenly, and that is said.
    assert tables["clusters"]["n_outputs"].tolist() == [3, 2, 2, 2] * 2
    assert tables["clusters"]["n_inputs"].tolist() == [3, 3, 2, 2] * 2
    assert "don't divide evenly" in (ended.folder / "run.log").read_text()
    assert len(tables["units"]) == 2 * (10 + 9 + 10) and tables["units"]["distinct"].between(1, 10).all()
    images = tables["unit_images"]
    assert list(images) == ["network", "layer", "unit", "rank", "index", "class", "activation"]
    assert len(images) == 50 * len(tables["units"])
    of_unit = images.groupby(["network", "layer", "unit"])
    assert (of_unit["class"].nunique().sort_index() == of_unit_distinct(tables["units"])).all()
    assert (of_unit["activation"].diff().dropna() <= 0).all() and images["index"].between(0, 299).all()
    assert tables["history"]["network"].tolist() == ["clustered", "twin"]
    history = tables["history"].set_index("network")
    penalty = history["loss"] - history["cross_entropy"]
    assert penalty["clustered"] < -1 and penalty["twin"] == 0
    pruning = tables["pruning"]
    whole = pruning[pruning["layer"] == "all"]
    assert len(whole) == 20 and (whole["n_edges"] == 10 * 9 + 9 * 10).all()
    by_layer = pruning[pruning["layer"] != "all"].groupby(["network", "class"])["kept"].sum()
    assert (by_layer == whole.set_index(["network", "class"])["kept"]).all()
    figures = {path.stem: path for path in ended.folder.glob("figures/*.png")}
    assert set(figures) == {
        *("weights", "edges", "off_on", "distinct_classes", "training"),
        *(f"units_{network}_layers.{at}" for network in ("clustered", "twin") for at in (1, 3, 4)),
    }
    for path in figures.values():
        with Image.open(path) as image:
            assert image.size[0] > 300
    summary = ended.record["metrics"]
    assert summary["complexity_reduction"] == pytest.approx(summary["kept_edges/twin"] / summary["kept_edges"])
    names = ["accuracy", "clusterability", "interpretability", "pruned_share", "kept_edges"]
    names += [f"interpretability/layers.{at}" for at in (1, 3, 4)]
    names += [f"{figure}/{digit}" for figure in ("accuracy", "kept_edges") for digit in range(10)]
    assert set(summary) == {*names, *(f"{name}/twin" for name in names), "complexity_reduction"}
    with (ended.folder / "metrics.csv").open() as file:
        full = {
            (row["network"], row["class"]): float(row["accuracy"])
            for row in csv.DictReader(file)
            if row["state"] == "full"
        }
    needed = whole.set_index(["network", "class"])["kept"]
    for network, suffix in (("clustered", ""), ("twin", "/twin")):
        for digit in range(10):
            assert summary[f"accuracy/{digit}{suffix}"] == full[network, str(digit)]
            assert summary[f"kept_edges/{digit}{suffix}"] == needed[network, digit]


def of_unit_distinct(units: pd.DataFrame) -> pd.Series:
    return units.set_index(["network", "layer", "unit"])["distinct"].sort_index()


def test_the_twin_is_the_network_that_strength_0_trains(mi_run: Callable[..., Ended]) -> None:
    small = ("model.hidden_sizes=[8,8]", *TRY)
    both = mi_run("experiment=clusters", *small)
    alone = mi_run("experiment=clusters", "experiment.strength=0", *small)
    assert both.record["metrics"]["accuracy/twin"] == alone.record["metrics"]["accuracy"]
    assert alone.record["checkpoint"]["from"] == "model store"


@pytest.mark.parametrize(
    "arguments",
    [
        ["model=cnn", "experiment.n_clusters=3", "experiment.layer=fc1"],
        ["dataset=mod_add", "model.hidden_sizes=[6,6]", "dataset.train_size=60", "dataset.test_size=60"],
        ["model.hidden_sizes=[8,8,8]", "experiment.layer=layers.4", "model.bias=true"],
        ["model.hidden_sizes=[8,8]", "experiment.layer=layers.4", "experiment.pruning_layers=[]"],
        ["model.hidden_sizes=[8,8]", "experiment.layer=layers.0", "experiment.controls=0"],
        ["model.hidden_sizes=[8,8]", "dataset.digits=[3,8]", "experiment.pruning_criterion=own_class"],
    ],
    ids=lambda arguments: arguments[0] if arguments[0] != "model.hidden_sizes=[8,8]" else arguments[-1],
)
def test_other_networks_and_data(arguments: list[str], mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("experiment=clusters", *TRY, *arguments)
    assert ended.status == 0, ended.err
    assert ended.record["metrics"]["accuracy"] is not None
    assert (ended.record["metrics"]["kept_edges"] is None) == ("experiment.pruning_layers=[]" in arguments)


def test_the_networks_may_be_switched_from_a_checkpoint(mi_run: Callable[..., Ended]) -> None:
    small = ("experiment=clusters", "model.hidden_sizes=[8,8]", *TRY)
    trained = mi_run(*small, "seed=3")
    again = mi_run(*small, "seed=3", f"checkpoint={trained.folder}")
    assert again.record["metrics"] == trained.record["metrics"]
    assert (trained.folder / "model.safetensors").exists() and not (again.folder / "model.safetensors").exists()
    assert pd.read_csv(again.folder / "history.csv")["network"].unique().tolist() == ["twin"]


def test_any_training_can_be_regularized(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(
        *("experiment=train", "dataset.limit=300", "training.epochs=2", "model.hidden_sizes=[8,8]"),
        *("training.regularizer=clusterability", "training.regularizer_clusters=2"),
    )
    history = pd.read_csv(ended.folder / "history.csv")
    assert list(history) == ["epoch", "loss", "penalty", "clusterability", "test_loss", "test_accuracy"]
    assert (history["penalty"] < 0).all()


def test_every_criterion_has_a_meaning_in_the_help() -> None:
    doc = next(f for f in fields(ClustersConfig) if f.name == "pruning_criterion").metadata["doc"]
    assert all(kind.name in doc for kind in PruningCriterion)
    assert {kind.name for kind in PruningCriterion} == set(CRITERIA)


def test_tables_say_the_same_as_run_json(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("experiment=clusters", "model.hidden_sizes=[8,8]", *TRY)
    networks = pd.read_csv(ended.folder / "networks.csv").set_index("network")
    summary = json.loads((ended.folder / "run.json").read_text())["metrics"]
    for name in ("accuracy", "clusterability", "interpretability", "pruned_share", "kept_edges"):
        assert networks.loc["clustered", name] == pytest.approx(summary[name])
        assert networks.loc["twin", name] == pytest.approx(summary[f"{name}/twin"])


def test_a_layer_of_the_name_that_tables_use_for_all_is_refused() -> None:
    model = nn.Sequential()
    for name, module in (("first", nn.Linear(6, 4)), ("relu", nn.ReLU()), ("all", nn.Linear(4, 3))):
        model.add_module(name, module)
    with pytest.raises(ConfigError, match="named 'all', which in tables and options means all of the sites: rename it"):
        clusters.check(setting(model, classes(), layer="first", n_clusters=2))


# --- loss and accuracy of a pruned network -----------------------------------------------------------------------


def test_loss_and_accuracy_before_and_after_pruning_are_those_of_edited_weights() -> None:
    torch.manual_seed(3)
    model, data = MLP([6, 8, 8, 3]), classes()
    given = setting(model, data, n_clusters=2, controls=0, pruning_threshold=0.01, pruning_examples=40)
    tables = clusters.run(given).tables
    rows = {row["class"]: row for row in tables["pruning"] if (row["network"], row["layer"]) == ("clustered", "all")}
    by_class = {
        (row["class"], row["test_class"]): row for row in tables["pruned_classes"] if row["network"] == "clustered"
    }
    assert set(by_class) == {(one, other) for one in "012" for other in "012"}
    chain = network(model, 2, data).chain
    kept_edges = prune_classes(chain, data.x_train, data.y_train, threshold=0.01, layers=[1, 2])
    for class_index, kept in kept_edges.items():
        edited = copy.deepcopy(model)
        with torch.no_grad():
            for layer, mask in zip(edited.layers[::2], kept, strict=True):
                layer.weight *= mask
            before, after = model(data.x_test), edited(data.x_test)
            # The divergence from the full network: the examples in another order give another sum, so nearly.
            q = model(data.x_train).softmax(1)[:, class_index]
            p = edited(data.x_train).softmax(1)[:, class_index]
            criterion = -(q * p.log() + (1 - q) * (1 - p).log()).mean()
            at_first = -(q * q.log() + (1 - q) * (1 - q).log()).mean()
        row = rows[str(class_index)]
        assert row["kept"] == sum(int(mask.sum()) for mask in kept[1:])
        assert row["criterion_before"] == pytest.approx(float(at_first), rel=1e-4)
        assert row["criterion_after"] == pytest.approx(float(criterion), rel=1e-4)
        for outputs, loss, accuracy in ((before, "loss_before", "accuracy_before"), (after, "loss_after", "accuracy")):
            losses = functional.cross_entropy(outputs, data.y_test, reduction="none")
            correct = (outputs.argmax(1) == data.y_test).double()
            assert row[loss] == pytest.approx(float(losses.mean()), rel=1e-5)
            assert row[accuracy] == pytest.approx(float(correct.mean()))
            for other in range(3):
                of_class = by_class[str(class_index), str(other)]
                tested = data.y_test == other
                assert of_class["n"] == int(tested.sum())
                assert of_class[loss] == pytest.approx(float(losses[tested].mean()), rel=1e-5)
                assert of_class[accuracy] == pytest.approx(float(correct[tested].mean()))
        assert row["class_accuracy"] == by_class[str(class_index), str(class_index)]["accuracy"]


# --- pictures ----------------------------------------------------------------------------------------------------


def test_the_edges_are_the_weights_between_the_nodes() -> None:
    torch.manual_seed(0)
    model = MLP([6, 8, 8, 3])
    (axes,) = clusters_figures.edges([network(model, 2)]).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "x\n6 units", "layers.1\n8 units", "layers.3\n8 units", "layers.4\n3 units"
    ]  # fmt: skip
    lines, nodes = axes.collections[:3], [each.get_offsets() for each in axes.collections[3:]]
    for position, (drawn, layer) in enumerate(zip(lines, model.layers[::2], strict=True)):
        weight = layer.weight.detach()
        widths = drawn.get_linewidths()
        assert len(drawn.get_segments()) == weight.numel()
        for (start, end), color, width in zip(drawn.get_segments(), drawn.get_colors(), widths, strict=True):
            source = [tuple(node) for node in nodes[position]].index(tuple(start))
            target = [tuple(node) for node in nodes[position + 1]].index(tuple(end))
            value = float(weight[target, source])
            assert to_hex(color) == to_hex(styles.POSITIVE if value > 0 else styles.NEGATIVE)
            assert width == pytest.approx(0.2 + 1.1 * abs(value) / float(weight.abs().max()), rel=1e-5)
    # Both sides of the clustered matrix have the colours of its clusters.
    for column in (1, 2):
        colors = [to_hex(color) for color in axes.collections[3 + column].get_facecolors()]
        assert colors == [clusters_figures.CLUSTER_COLORS[unit // 4] for unit in range(8)]


def test_wide_layers_are_bundled_within_their_clusters_and_the_picture_says_so() -> None:
    wide = network(MLP([784, 200, 130, 10], bias=False), 4, classes(n_features=784, n_classes=10))
    columns = clusters_figures.bundles(wide)
    assert [len(column) for column in columns] == [
        56,
        40,
        54,
        10,
    ]  # 130 in clusters of 33 and 32: 11 bundles of 3, 16 of 2
    for column, site, n_units in zip(columns, wide.columns, wide.chain.sizes, strict=True):
        assert torch.equal(torch.cat(column), torch.arange(n_units))
        of_units = wide.clusters_at(site)
        if of_units is not None:
            assert all(len({of_units[unit] for unit in bundle.tolist()}) == 1 for bundle in column)
    figure = clusters_figures.edges([wide])
    (axes,) = figure.axes
    assert axes.get_xticklabels()[1].get_text() == "layers.1\n200 units\n40 bundles"
    assert "a node of a wide layer is a bundle" in figure.get_suptitle()
    drawn = axes.collections[0]
    assert len(drawn.get_segments()) == clusters_figures.MOST_EDGES
    # The thickest edge is the bundle's mean weight of the largest size.
    weight = wide.chain.layers[0].weight
    means = torch.stack([torch.stack([weight[to][:, of].mean() for of in columns[0]]) for to in columns[1]])
    target, source = divmod(int(means.abs().argmax()), 56)
    start, end = drawn.get_segments()[-1]
    heights = [each.get_offsets()[:, 1] for each in axes.collections[3:5]]
    assert (start[1], end[1]) == (heights[0][source], heights[1][target])


def test_every_unit_of_a_layer_has_its_images_and_of_a_wide_one_some() -> None:
    small = network(MLP([784, 10, 9, 10], bias=False), 4, classes(n_features=784, n_classes=10))
    blocks, left_out = clusters_figures.shown_units(small, "layers.1", 10)
    assert blocks == [
        ("cluster 0", [0, 1, 2]), ("cluster 1", [3, 4, 5]), ("cluster 2", [6, 7]), ("cluster 3", [8, 9])
    ] and left_out == 0  # fmt: skip
    assert clusters_figures.shown_units(small, "layers.4", 10) == ([("", list(range(10)))], 0)
    wide = network(MLP([784, 200, 130, 10], bias=False), 4, classes(n_features=784, n_classes=10))
    blocks, left_out = clusters_figures.shown_units(wide, "layers.1", 200)
    assert [len(units) for _, units in blocks] == [32] * 4 and left_out == 200 - 128
    assert [(units[0], units[-1]) for _, units in blocks] == [(0, 49), (50, 99), (100, 149), (150, 199)]


# --- every data set and network ----------------------------------------------------------------------------------

ADDED = {
    **dict.fromkeys((("mnist", "cnn"), ("mnist01", "cnn"), ("ellipses", "cnn")), "experiment.n_clusters=3"),
    **dict.fromkeys((("mod_add", "cnn"), ("logic", "cnn"), ("arrays", "cnn")), "model=mlp"),
    ("mnist", "skip"): "experiment.layer=last",
    **dict.fromkeys(
        (("mnist01", "skip"), ("mod_add", "skip"), ("ellipses", "skip"), ("logic", "skip")),
        "experiment.layer=last experiment.n_clusters=2",
    ),
    ("arrays", "skip"): "experiment.layer=last experiment.n_clusters=3",
}
"""Data set and network → what the error's one line says to add."""


OWN_DATA = ("external", "planted")
"""Networks that don't take each data set: one's own, and weights that are compiled from a Boolean function."""


@pytest.mark.parametrize("model", [schema.name for schema in SCHEMAS["model"] if schema.name not in OWN_DATA])
@pytest.mark.parametrize("dataset", [schema.name for schema in DATASETS])
def test_each_data_set_and_network_runs_at_its_defaults_or_names_what_to_add(
    dataset: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = np.random.default_rng(0).normal(size=(40, 7)), np.arange(40) % 3
    write_data(x, y)
    command = ["experiment=clusters", f"dataset={dataset}", f"model={model}", *small_options(dataset)]

    def check(*overrides: str) -> None:
        config = composition.compose(overrides)
        data = load_dataset(config.dataset, seed=config.seed)
        preparation.prepare(config, data, expectations.parse(config.expect), progress=Progress())

    try:
        check(*command)
    except ConfigError as error:
        (added,) = re.findall(r"^[^\n]*Use ([\w.]+=\w+(?: [\w.]+=\w+)*)", str(error))
        assert added == ADDED.get((dataset, model), added)
        command += added.split()
    else:
        assert (dataset, model) not in ADDED
    check(*command)
