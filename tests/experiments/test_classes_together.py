"""Circuits and discovery of outputs that answer a class together, and of one that answers two classes by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import mi_runner
from mi_runner.config.experiments.circuit_options import CircuitInputs, EdgeAblation, JudgeOn, LeftOut
from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.config.experiments.discovery import DiscoveryConfig
from mi_runner.config.experiments.explanations import ExplanationsConfig
from mi_runner.datasets import Dataset, logic
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ConfigError
from mi_runner.experiments import Setting
from mi_runner.experiments.circuits import experiment as circuits
from mi_runner.experiments.discovery import experiment as discovery
from mi_runner.experiments.explanations import experiment as explanations
from mi_runner.graph.chain import find_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.circuits.circuit import Circuit
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.models.mlp import MLP
from mi_runner.training.options import TrainingOptions
from tests.conftest import Ended
from tests.small_data import classes


def data_of(model: nn.Module, kind: Outputs = Outputs.logits, n: int = 60) -> Dataset:
    """Two classes that are mostly the network's own answers."""
    data = classes(n, n_features=4, n_classes=2)
    with torch.no_grad():
        own = [kind.answers(model(x)) for x in (data.x_train, data.x_test)]
    flipped = torch.arange(n) % 8 == 0
    y_train, y_test = (torch.where(flipped, 1 - answers, answers) for answers in own)
    return replace(data, y_train=y_train, y_test=y_test, answered_by=kind)


def network(last: nn.Module | None = None, n_outputs: int = 2, seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    model = MLP([4, 3, n_outputs], nn.LeakyReLU, last).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    return model


def setting_of(config: Any, model: nn.Module, data: Dataset | None = None) -> Setting[Any]:
    return Setting(config, TrainingOptions(), model, data_of(model) if data is None else data)


def circuits_config(**options: Any) -> CircuitsConfig:
    """Without pairs: those of tens of thousands of valid circuits take longer than all other tables together."""
    given = {"last_layers": 2, "accuracy_threshold": 0.8, "inputs": CircuitInputs.any}
    return CircuitsConfig(**given | {"pairs": False, "shared": False} | options)


# --- circuits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_the_tables_of_classes_agree_with_each_other_and_with_the_network(ablation: str) -> None:
    model = network()
    pairs = ablation == "zero"
    config = circuits_config(ablation=EdgeAblation[ablation], pairs=pairs, shared=pairs)
    given = setting_of(config, model)
    result = circuits.run(given)
    (row,) = result.tables["metrics"]
    table: pd.DataFrame = result.tables["circuits"]
    space = CircuitSpace((4, 3, 2), "any")
    assert row["output"] == "all" and set(table["output"]) == {"all"} and len(table) == space.count() == 97_335
    data = given.dataset
    with torch.no_grad():
        answers = model(data.x_test).argmax(1)
    assert row["full_accuracy"] == row["cut_accuracy"] == float((answers == data.y_test).double().mean())
    full = table[table["circuit"] == space.full].iloc[0]
    assert full["agreement"] == 1 and full["accuracy"] == row["full_accuracy"] and full["mse"] < 1e-9
    assert row["n_valid"] == table["valid"].sum() == (table["accuracy"] > 0.8).sum() > 0
    edges = pd.DataFrame(result.tables["edges"])
    valid = table.loc[table["valid"], "circuit"].to_numpy()
    assert edges["n_valid"].tolist() == space.edge_counts(valid).tolist() and len(edges) == 18
    assert edges[edges["layer"] == 1]["target"].tolist() == [0, 0, 0, 1, 1, 1]
    assert table.loc[~table["valid"], "minimality"].isna().all()
    cardinal = table[table["minimality"] == "cardinal"]
    assert len(cardinal) == row["n_cardinal"] == (table[table["valid"]]["n_edges"] == cardinal["n_edges"].min()).sum()
    alone = replace(config, max_table_rows=1_000, pairs=False, shared=False)
    census = circuits.run(replace(given, config=alone)).tables
    assert census["census"] == result.tables["census"] and census["edges"] == result.tables["edges"]
    figures = {"sparsity_all", "edges_all", "sparsest_all", *(["overlaps_all"] if pairs else [])}
    assert census["metrics"][0]["n_valid"] == row["n_valid"] and set(result.figures) == figures
    assert (row["mean_jaccard"] > 0) == pairs
    picture = result.pictures["circuits"]()
    assert picture["outputs"][0]["output"] == "all" and picture["outputs"][0]["sizes"] == [4, 3, 2]


def test_a_softmax_at_the_end_changes_no_answer_and_the_distance_is_of_probabilities() -> None:
    logits = network()
    probabilities = network(nn.Softmax(dim=-1))
    kinds = {Outputs.logits: logits, Outputs.probabilities: probabilities}
    data = data_of(logits)
    found = {
        kind: circuits.run(setting_of(circuits_config(), model, replace(data, answered_by=kind)))
        for kind, model in kinds.items()
    }
    one, other = (found[kind].tables["circuits"] for kind in kinds)
    for column in ("circuit", "accuracy", "agreement", "valid"):
        assert one[column].tolist() == other[column].tolist()
    assert found[Outputs.logits].tables["census"] == found[Outputs.probabilities].tables["census"]
    assert other["mse"].max() <= 1 < one["mse"].max()
    part = find_part(ModelGraph.trace(probabilities, data.x_test), 2)
    with torch.no_grad():
        full = probabilities(data.x_test)
        for row in other.iloc[::9_000].itertuples():
            mse = float((Circuit(part, row.circuit).apply(data.x_test) - full).square().mean())
            assert mse == pytest.approx(row.mse, rel=1e-4, abs=1e-7)


def test_one_output_that_answers_two_classes_is_judged_by_its_sign_or_by_a_half() -> None:
    logit, probability = network(n_outputs=1), network(nn.Sigmoid(), n_outputs=1)
    data = data_of(logit, Outputs.logit)
    tables = []
    for kind, model in ((Outputs.logit, logit), (Outputs.probability, probability)):
        result = circuits.run(setting_of(circuits_config(), model, replace(data, answered_by=kind)))
        (row,) = result.tables["metrics"]
        assert row["output"] == 0 and row["full_accuracy"] == pytest.approx(52 / 60) and row["n_valid"] > 0
        tables.append(result.tables["circuits"])
    assert tables[0]["accuracy"].tolist() == tables[1]["accuracy"].tolist()
    rounded = setting_of(
        circuits_config(),
        logit,
        replace(data, y_train=data.y_train.float(), y_test=data.y_test.float(), class_names=None, answered_by=None),
    )
    assert circuits.run(rounded).tables["metrics"][0]["full_accuracy"] < 0.8  # what rounding a logit would say


def test_circuits_of_classes_are_judged_on_other_examples() -> None:
    model = network()
    for judge_on in (JudgeOn.train, JudgeOn.half):
        result = circuits.run(setting_of(circuits_config(judge_on=judge_on), model))
        (row,) = result.tables["metrics"]
        table = result.tables["circuits"]
        valid = table[table["valid"]]
        assert row["still_valid"] == pytest.approx(valid["judged_valid"].mean())
        assert row["valid_judged_accuracy"] == pytest.approx(valid["judged_accuracy"].mean())
        assert len(result.tensors["circuits"]["judged_targets"]) == row["n_judged"]


COMMAND = ("experiment=circuits", "dataset=mod_add", "model.hidden_sizes=[2]", "experiment.last_layers=2")


def test_a_run_of_classes_is_read_back_row_by_row(mi_run: Callable[..., Ended]) -> None:
    small = (
        "training.epochs=3",
        "experiment.inputs=any",
        "experiment.ablation=mean",
        "experiment.accuracy_threshold=0.6",
    )
    ended = mi_run(*COMMAND, *small)
    assert ended.status == 0, ended.err
    found = mi_runner.circuits.load(ended.folder)
    assert len(found) == CircuitSpace((4, 2, 2), "any").count() == 2_115 and found.kind is Outputs.logits
    assert found.targets.dtype == torch.int64 and found.table["output"].eq("all").all()
    for row in range(0, len(found), 150):
        circuit, saved = found.circuit(row), found.table.iloc[row]
        outputs = circuit.apply(found.x)
        assert circuit.output == "all" and outputs.shape == found.outputs.shape
        assert float((outputs.argmax(1) == found.targets).double().mean()) == pytest.approx(saved["accuracy"])
        mse = float((outputs - found.outputs).double().square().mean())
        assert mse == pytest.approx(saved["mse"], rel=1e-4, abs=1e-9)
    assert pd.read_csv(ended.folder / "metrics.csv")["output"].tolist() == ["all"]


def test_a_sweep_compares_networks_of_classes(mi_run: Callable[..., Ended]) -> None:
    options = ("dataset=mnist01", "dataset.limit=40", "training.epochs=1", "model.hidden_sizes=[3,2]")
    classes_too = ("dataset.target=class", "experiment.last_layers=1", "experiment.accuracy_threshold=0.2")
    done = mi_run("-m", "experiment=circuits", *options, *classes_too, "seed=0,1", "report=false")
    assert done.status == 0 and "not compared" not in done.err, done.err
    recurring = pd.read_csv(done.folder / "sweep_circuits.csv")
    assert set(recurring["output"]) == {"all"} and (recurring["kind"] == "edge").sum() == 4
    assert (done.folder / "figures/sweep_circuits_all.png").exists()


# --- discovery -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge_on", [JudgeOn.test, JudgeOn.half])
def test_discovery_of_classes_is_judged_by_the_optimum(judge_on: JudgeOn) -> None:
    model = network()
    methods = ["magnitude", "eap", "greedy"]
    given = setting_of(
        DiscoveryConfig(last_layers=2, accuracy_threshold=0.8, methods=methods, bootstrap=0, judge_on=judge_on), model
    )
    assert discovery.cost(given) == {"circuits": 2 * 97_335}
    result = discovery.run(given)
    metrics, summary = (pd.DataFrame(result.tables[name]) for name in ("metrics", "summary"))
    assert set(metrics["output"]) == {"all"} and sorted(set(metrics["k"])) == list(range(19))
    assert (metrics["regret_mse"] >= 0).all() and (metrics["regret_accuracy"] >= 0).all()
    assert (metrics["regret_mse"] > 0).any() and metrics.loc[metrics["k"] == 18, "regret_mse"].eq(0).all()
    for ablation in ("zero", "mean"):
        own = summary[summary["ablation"] == ablation]
        found = circuits.run(
            setting_of(circuits_config(ablation=EdgeAblation[ablation], judge_on=judge_on), model)
        ).tables["circuits"]
        if judge_on is JudgeOn.half:
            found = found.assign(
                valid=found["judged_valid"], accuracy=found["judged_accuracy"], mse=found["judged_mse"]
            )
        fewest = found[found["valid"]]["n_edges"].min()
        assert own["fewest_valid"].tolist() == [fewest] * 3
        rows = metrics[metrics["ablation"] == ablation]
        for k in (2, 5, 11):
            upto = found[found["n_edges"] <= k]
            at = rows[rows["k"] == k].iloc[0]
            empty = rows[(rows["k"] == 0) & (rows["method"] == "greedy")].iloc[0]
            assert at["best_mse"] == pytest.approx(min(upto["mse"].min(), empty["mse"]), rel=1e-5)
            assert at["best_accuracy"] == max(upto["accuracy"].max(), empty["accuracy"])
        by_bits = found.set_index("circuit")
        for _, row in rows[(rows["n_edges"] > 0) & (rows["n_edges"] < 18)].iterrows():
            others = found[found["n_edges"] == row["n_edges"]]["mse"].to_numpy()
            mine = by_bits.loc[int(row["circuit"])]
            assert row["accuracy"] == mine["accuracy"] and row["valid"] == mine["valid"]
            smaller, equal = (others < mine["mse"]).sum(), (others == mine["mse"]).sum()
            if len(others) > 1:
                assert row["percentile"] == pytest.approx((smaller + (equal - 1) / 2) / (len(others) - 1))
            if judge_on is JudgeOn.test and row["valid"]:
                level = mine["minimality"]
                assert row["minimality"] == ("none" if pd.isna(level) else level)
    sizes = pd.DataFrame(result.tables["sizes"])
    assert sizes.groupby("ablation")["n_circuits"].sum().tolist() == [97_335] * 2
    assert len(result.tables["edges"]) and {"accuracy", "n_edges"} <= set(result.metrics)
    assert result.metrics["n_edges"] == 18


def test_discovery_of_one_logit_and_of_a_probability_find_the_same_valid_circuits() -> None:
    logit, probability = network(n_outputs=1), network(nn.Sigmoid(), n_outputs=1)
    data = data_of(logit, Outputs.logit)
    config = DiscoveryConfig(
        last_layers=2, accuracy_threshold=0.8, methods=["magnitude"], bootstrap=0, ablation=LeftOut.zero
    )
    rows = []
    for kind, model in ((Outputs.logit, logit), (Outputs.probability, probability)):
        result = discovery.run(setting_of(config, model, replace(data, answered_by=kind)))
        table = pd.DataFrame(result.tables["metrics"])
        assert set(table["output"]) == {0} and result.metrics["accuracy"] == pytest.approx(52 / 60)
        rows.append((table["accuracy"].tolist(), table["valid"].tolist(), table["best_accuracy"].tolist()))
    assert rows[0] == rows[1]


# --- explanations ----------------------------------------------------------------------------------------------------


def explained(model: nn.Module, kind: Outputs) -> dict[str, Any]:
    data = logic.load(functions=["XOR"], target="value" if kind is Outputs.values else "class")
    config = ExplanationsConfig(max_depth=2, control=False)
    given = setting_of(config, model, replace(data, answered_by=kind))
    explanations.check(given)
    result = explanations.run(given)
    (row,) = result.tables["metrics"]
    assert len(result.tables["groundings"]) and len(result.tables["circuits"]) == row["n_circuits"]
    return {name: value for name, value in row.items() if name != "seconds"}


def test_a_logit_and_a_probability_of_a_boolean_function_have_the_same_explanations() -> None:
    """z = 2·relu(a − b) + 2·relu(b − a) − 1, and 1.9 of each with the third hidden neuron as a copy."""
    logit, probability = MLP([2, 3, 1], nn.ReLU).eval(), MLP([2, 3, 1], nn.ReLU, nn.Sigmoid()).eval()
    with torch.no_grad():
        for model in (logit, probability):
            hidden, output = (layer for layer in model.layers if isinstance(layer, nn.Linear))
            hidden.weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.0, -1.0]]))
            hidden.bias.zero_()
            output.weight.copy_(torch.tensor([[1.9, 2.0, 0.3]]))
            output.bias.fill_(-1)
    one, other = explained(logit, Outputs.logit), explained(probability, Outputs.probability)
    assert one == other and one["function"] == "XOR" and one["accuracy"] == 1
    # By hand: neuron 1 keeps both inputs and its output; neurons 0 and 2 are each left out, or keep a or both inputs:
    # relu(a) is 1 for the inputs 10 and 11, and 1.9 + 0.3 or 2 alone make the answer on 11 wrong. So of the five
    # choices of neuron 0 only both inputs are valid, and of neuron 2 both, or none, or a weight too small to matter.
    table = circuits_by_hand()
    assert one["n_valid"] == table


def circuits_by_hand() -> int:
    """Every set of kept edges of the 2-3-1 network above, evaluated neuron by neuron."""
    n_valid = 0
    weights, out = [(1, -1), (-1, 1), (1, -1)], (1.9, 2.0, 0.3)
    kept_inputs = [(a, b) for a in (0, 1) for b in (0, 1)]
    for chosen in [(i, j, k) for i in kept_inputs for j in kept_inputs for k in kept_inputs]:
        if not all(any(kept[side] for kept in chosen) for side in (0, 1)):
            continue  # each input must be used
        answers = []
        for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
            z = -1.0
            for (keeps_a, keeps_b), (wa, wb), weight in zip(chosen, weights, out, strict=True):
                z += weight * max(0, wa * keeps_a * a + wb * keeps_b * b)
            answers.append(z > 0)
        n_valid += answers == [False, True, True, False]
    return n_valid


def test_outputs_that_answer_a_class_together_have_no_groundings() -> None:
    data = logic.load(functions=["XOR"], target="class")
    given = setting_of(ExplanationsConfig(), MLP([2, 3, 2]).eval(), data)
    with pytest.raises(
        ConfigError, match=r"2 outputs answer a class together\. Type model\.outputs=logit for a network"
    ):
        explanations.check(given)


def test_a_softmax_over_values_is_refused() -> None:
    y = torch.eye(2)[torch.arange(40) % 2]
    data = replace(classes(40, 4, 2), y_train=y, y_test=y, class_names=None)
    given = setting_of(circuits_config(), network(nn.Softmax(dim=-1)), data)
    with pytest.raises(ConfigError, match="a softmax mixes the outputs, so none of them can be analysed alone"):
        circuits.check(given)
    assert np.isfinite(float(y.sum()))
