"""Criteria of valid circuits: tables against plain loops and scipy, controls, samples, the truth, and odd networks."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kendalltau
from torch import nn

from mi_runner import chance
from mi_runner.config.experiments.circuit_options import CircuitInputs, EdgeAblation, LeftOut, Valid
from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.config.experiments.criteria import CriteriaConfig
from mi_runner.datasets import Dataset, Outputs, logic
from mi_runner.errors import ArgumentError, ConfigError, RunFailed
from mi_runner.experiments import Result, Setting, TrainedNetwork
from mi_runner.experiments.circuits import experiment as circuits
from mi_runner.experiments.common.valid_circuits import chance_circuits, network_of
from mi_runner.experiments.criteria import answers, picture
from mi_runner.experiments.criteria import experiment as criteria
from mi_runner.experiments.criteria.estimate import RUN_PER_SECOND, seconds_of
from mi_runner.experiments.criteria.judged import judge_output
from mi_runner.experiments.criteria.rows import metrics_rows
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.criteria.comparison import passes_more_often
from mi_runner.methods.criteria.records import criterion_of
from mi_runner.methods.criteria.task import Task
from mi_runner.methods.discovery.sampling import CircuitSampler
from mi_runner.models.mlp import MLP
from mi_runner.progress import log
from mi_runner.tables.intervals import wilson_interval
from mi_runner.training.options import TrainingOptions
from tests.conftest import Ended
from tests.small_data import classes, values

SPACE = CircuitSpace((3, 2, 2, 1))
NAMES = ["agreement", "noise_0.1", "noise_1", "shift", "sufficiency", "necessity", "interchange", "complement", "rank"]
ALL_NAMES = [*NAMES, "parsimony"]


def network(n_outputs: int = 1, seed: int = 8) -> nn.Module:
    torch.manual_seed(seed)
    model = MLP([6, 3, 2, 2, n_outputs], nn.Tanh).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def data_of(model: nn.Module, n: int = 40) -> Dataset:
    """Inputs whose targets are the network's own answers, and other inputs, three times as large."""
    data = values(n)
    with torch.no_grad():
        own = [model(x).round() for x in (data.x_train, data.x_test)]
    y_train, y_test = (y[:, 0] if y.shape[1] == 1 else y for y in own)
    return replace(data, y_train=y_train, y_test=y_test, shifted=lambda seed: 3 * data.x_train)


def setting_of(model: nn.Module | None = None, data: Dataset | None = None, **options: Any) -> Setting[CriteriaConfig]:
    model = network() if model is None else model
    given = {
        "accuracy_threshold": 0.8,
        "threshold": 0.9,
        "noise": [0.1, 1.0],
        "pairs": 60,
        "resamples": 6,
        "control_circuits": 30,
    }
    torch.manual_seed(99)
    untrained = TrainedNetwork(MLP([*(layer.in_features for layer in linear(model)), linear(model)[-1].out_features]))
    data = data_of(model) if data is None else data
    config = CriteriaConfig(**(given | options))
    return Setting(config, TrainingOptions(), model, data, networks={"untrained": untrained})


def linear(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def run(*given: Any, **options: Any) -> Result:
    setting = setting_of(*given, **options)
    criteria.check(setting)
    result = criteria.run(setting)
    assert list(result.metrics) == criteria.metric_names(setting)
    assert result.pictures["criteria"]() is None or result.answer
    return result


def frames(result: Result, ablation: str = "zero", output: int | str = 0) -> dict[str, pd.DataFrame]:
    found = {}
    for name, rows in result.tables.items():
        frame = pd.DataFrame(rows)
        if len(frame):
            frame = frame[(frame["ablation"] == ablation) & (frame["output"] == output)].reset_index(drop=True)
        found[name] = frame
    return found


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result() -> Result:
    return run()


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_the_circuits_are_the_valid_ones_of_the_search(result: Result, ablation: str) -> None:
    table = frames(result, ablation)["circuits"]
    given = CircuitsConfig(accuracy_threshold=0.8, pairs=False, ablation=EdgeAblation[ablation])
    setting = setting_of()
    searched: Any = circuits.run(replace(setting, config=given)).tables["circuits"]
    valid = searched[searched["valid"]].set_index("circuit")
    assert len(valid) > 20 and set(table["circuit"]) == set(valid.index)
    for row in table.to_dict("records"):
        of_search = valid.loc[row["circuit"]]
        assert row["agreement"] == pytest.approx(of_search["agreement"], abs=1e-12)
        assert (row["n_edges"], row["n_nodes"]) == (of_search["n_edges"], of_search["n_nodes"])
        assert row["parsimony"] == pytest.approx(1 - row["n_edges"] / SPACE.n_edges, abs=1e-12)
    assert list(table.columns[5:-2]) == ALL_NAMES and table[ALL_NAMES].stack().between(0, 1).all()
    full = table[table["circuit"] == SPACE.full][NAMES]
    assert (full == 1).all(axis=None) and len(full) == 1


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_survivors_are_those_of_a_loop_over_circuits(result: Result, ablation: str) -> None:
    found = frames(result, ablation)
    rows = found["circuits"].to_dict("records")
    reached = [{name for name in ALL_NAMES if row[name] >= 0.9 - 1e-12} for row in rows]
    metrics = found["metrics"].set_index("criterion")
    assert list(metrics.index) == [*ALL_NAMES, "all"]
    survivors = [set(NAMES) <= own for own in reached]
    assert [row["survives"] for row in rows] == survivors
    for name in ALL_NAMES:
        numbers = [row[name] for row in rows]
        line = metrics.loc[name]
        assert line["n_survivors"] == sum(name in own for own in reached)
        assert line["share"] == pytest.approx(line["n_survivors"] / len(rows))
        assert line["n_with_all"] == sum(set(NAMES) | {name} <= own for own in reached)
        if name != "parsimony":
            assert line["n_others"] == sum(set(NAMES) - {name} <= own for own in reached)
        assert (line["mean"], line["least"], line["greatest"]) == pytest.approx(
            (np.mean(numbers), min(numbers), max(numbers))
        )
        assert line["n_best"] == sum(number >= max(numbers) - 1e-12 for number in numbers)
        assert line["n_valid"] == line["n_judged"] == len(rows)
    line, smallest = metrics.loc["all"], [min(row[name] for name in NAMES) for row in rows]
    assert line["n_survivors"] == line["n_with_all"] == sum(survivors) and line["mean"] == pytest.approx(
        np.mean(smallest)
    )
    for step, name in enumerate(NAMES, 1):
        line = found["steps"].iloc[step - 1]
        assert (line["step"], line["criterion"]) == (step, name)
        assert line["n_survivors"] == sum(set(NAMES[:step]) <= own for own in reached)
    summary = result.metrics
    assert summary[f"n_valid/{ablation}"] == len(rows) and summary[f"n_surviving/{ablation}"] == sum(survivors)
    assert summary[f"surviving/{ablation}"] == sum(survivors) / len(rows)


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_pairs_are_those_of_scipy_and_of_sets(result: Result, ablation: str) -> None:
    found = frames(result, ablation)
    table, pairs = found["circuits"], found["pairs"]
    assert list(zip(pairs["criterion"], pairs["other"], strict=True)) == list(itertools.combinations(ALL_NAMES, 2))
    for row in pairs.to_dict("records"):
        one, other = table[row["criterion"]].round(10), table[row["other"]].round(10)
        tau = kendalltau(one, other).statistic
        if np.isnan(tau):
            assert np.isnan(row["tau"]) and np.isnan(row["tau_low"])
        else:
            assert row["tau"] == pytest.approx(tau, abs=1e-9)
        first, second = set(table.index[one >= 0.9]), set(table.index[other >= 0.9])
        assert row["n_both"] == len(first & second)
        if first | second:
            assert row["overlap"] == pytest.approx(len(first & second) / len(first | second))
    assert (pairs["tau_low"] <= pairs["tau_high"]).sum() > 20


def test_the_front_and_the_best_are_those_of_a_loop(result: Result) -> None:
    found = frames(result)
    table = found["circuits"]
    numbers = table[ALL_NAMES].to_numpy().round(10)
    unbeaten = [not any((other >= own).all() and (other > own).any() for other in numbers) for own in numbers]
    assert table["front"].tolist() == unbeaten
    front = found["front"]
    assert set(front["circuit"]) == set(table["circuit"][unbeaten]) and front["n_edges"].is_monotonic_increasing
    assert result.metrics["n_front/zero"] == sum(unbeaten)
    names = [f"{layer}:{source}→{target}" for layer, source, target in zip(*SPACE.edges.names, strict=True)]
    for row in front.to_dict("records"):
        assert row["edges"] == " ".join(name for place, name in enumerate(names) if int(row["circuit"]) >> place & 1)
    for name in ALL_NAMES:
        best = found["best"][found["best"]["criterion"] == name]
        tied = table[table[name] >= table[name].max() - 1e-12]
        mean, listed = best.iloc[0], best.iloc[1:]
        assert mean["place"] == "all" and (best["n_best"] == len(tied)).all()
        assert mean["rank"] == pytest.approx(tied["rank"].mean())
        assert listed["place"].tolist() == list(range(1, min(10, len(tied)) + 1))
        first = tied.sort_values(["n_edges", "circuit"]).head(10)
        assert listed["circuit"].tolist() == first["circuit"].tolist()
        assert np.allclose(listed[ALL_NAMES].astype(float), first[ALL_NAMES])


def test_the_page_has_the_front_the_best_and_the_sparsest(result: Result) -> None:
    data = result.pictures["criteria"]()
    table = frames(result)["circuits"].set_index("circuit")
    part = data["parts"][0]
    assert [one["ablation"] for one in data["parts"]] == ["zero", "mean"] and part["n_valid"] == len(table)
    bits = [int(one) for one in part["circuits"]["bits"]]
    assert len(set(bits)) == len(bits) <= picture.MOST_CIRCUITS
    assert set(table.index[table["front"].astype(bool)]) <= set(bits)
    for row, circuit in enumerate(bits):
        assert part["criteria"]["noise_1"][row] == pytest.approx(table.loc[circuit, "noise_1"], rel=1e-5)
        assert part["circuits"]["edges"][row] == circuit.bit_count()
        assert part["circuits"]["survives"][row] == table.loc[circuit, "survives"]
    assert part["names"] == ALL_NAMES and part["counted"] == NAMES


def test_a_page_of_many_circuits_has_some_of_all_sizes(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("MOST_CIRCUITS", 30), ("MOST_OF_FRONT", 3), ("MOST_BEST", 1), ("MOST_SPARSEST", 4)):
        monkeypatch.setattr(picture, name, most)
    table = frames(result)["circuits"]
    data = result.pictures["criteria"]()["parts"][0]["circuits"]
    assert len(data["bits"]) == min(30, len(table))
    assert min(data["edges"]) == table["n_edges"].min() and max(data["edges"]) == table["n_edges"].max()


def test_the_estimate_counts_what_is_computed() -> None:
    def task_of(n_outputs: int, x: torch.Tensor) -> Task:
        layers = linear(MLP([6, 3, n_outputs]))
        part = Part(tuple(Layer(one.weight.detach().double(), one.bias.detach().double()) for one in layers))
        return Task(part, x.double(), Outputs.logits if n_outputs > 1 else Outputs.logit)

    def seconds(task: Task, name: str, **more: int) -> float:
        return seconds_of(task, [criterion_of(name)], 100, **more)

    x = torch.randn(2_560, 6)
    one, two, equal = task_of(1, x), task_of(2, x), task_of(1, x[:10].repeat(256, 1))
    for name in ("agreement", "noise", "interchange", "complement"):
        assert seconds(two, name) == pytest.approx(1.5 * seconds(one, name))
    assert seconds(one, "agreement") == pytest.approx(100 * 2_560 / RUN_PER_SECOND)
    assert seconds(equal, "agreement") == pytest.approx(seconds(one, "agreement") / 10)
    assert seconds(equal, "interchange") == pytest.approx(seconds(one, "interchange") / 8)  # 90 pairs of 2,000
    assert seconds(one, "interchange") > 3 * seconds(one, "sufficiency") and not seconds(one, "parsimony")
    assert seconds(one, "rank", n_family=50, n_families=2) == pytest.approx(2 * seconds(one, "rank", n_family=50))
    assert seconds(one, "rank", n_family=50) == pytest.approx(seconds(one, "agreement") / 2)
    again = [seconds(one, name, n_family=50, resamples=9, n_resampled=40) for name in ("rank", "agreement")]
    assert again > [seconds(one, name, n_family=50) for name in ("rank", "agreement")]
    assert seconds(one, "agreement", n_resampled=40) == seconds(one, "agreement")


def test_tau_has_no_interval_where_it_is_not_known_how_a_criterion_depends_on_the_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mi_runner.methods.criteria.rank.MOST_RESAMPLED", 3)
    pairs = frames(run(criteria=["agreement", "rank", "complement", "parsimony"], controls=False))["pairs"]
    pairs = pairs.dropna(subset="tau")
    of_rank = (pairs[["criterion", "other"]] == "rank").any(axis=1)
    assert of_rank.any() and not of_rank.all()
    assert pairs[of_rank]["tau_low"].isna().all() and pairs[~of_rank]["tau_low"].notna().all()


# --- controls --------------------------------------------------------------------------------------------------------


def test_chance_circuits_have_the_sizes_of_valid_ones_and_are_of_the_family() -> None:
    setting = setting_of()
    searched = judged_of(setting).search
    drawn, not_drawn = chance_circuits(searched, 4_000, chance.generator(0, "test"))
    assert not not_drawn
    assert len(drawn) == 4_000 and SPACE.are_well_formed(drawn).all()
    sizes = np.bincount(np.bitwise_count(searched.valid), minlength=SPACE.n_edges + 1) / len(searched.valid)
    shares = np.bincount(np.bitwise_count(drawn), minlength=SPACE.n_edges + 1) / len(drawn)
    assert np.abs(sizes - shares).max() < 0.04
    (size,) = (np.argmax(sizes),)
    of_size = searched.listed.circuit[np.bitwise_count(searched.listed.circuit) == size]
    counts = np.array([(drawn == circuit).sum() for circuit in of_size])
    expected = shares[size] * len(drawn) / len(of_size)
    assert (np.square(counts - expected) / expected).sum() < 2 * len(of_size)  # χ²: uniform within a size


def judged_of(setting: Setting[CriteriaConfig]) -> Any:
    made = network_of(setting, setting.graph(), "trained", None)
    records = criteria._criteria(replace(setting.config, criteria=["agreement", "parsimony"]), has_shift=False)
    return judge_output(setting, made, None, records, 0, "zero", "task")


@pytest.mark.parametrize("inputs", ["all", "any"])
def test_of_a_family_that_is_too_large_to_list_chance_circuits_are_drawn_too(inputs: str) -> None:
    setting = setting_of(max_table_rows=20, max_circuits=25, inputs=CircuitInputs[inputs])
    searched = judged_of(setting).search
    assert len(searched.listed) < searched.n_circuits
    drawn, not_drawn = chance_circuits(searched, 200, chance.generator(0, "test"))
    assert len(drawn) == 200 and not not_drawn
    assert CircuitSpace(SPACE.sizes, inputs).are_well_formed(drawn).all()


def test_few_chance_circuits_of_a_size_are_drawn_from_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each draw asks for many circuits, as most of the sparse ones leave an input out."""
    asked, draw = [], CircuitSampler.draw

    def noted(self: CircuitSampler, k: int, n: int) -> np.ndarray:
        asked.append(n)
        return draw(self, k, n)

    monkeypatch.setattr(CircuitSampler, "draw", noted)
    searched = judged_of(setting_of(max_table_rows=20, max_circuits=25)).search
    asked.clear()
    assert len(chance_circuits(searched, 30, chance.generator(0, "test"))[0]) == 30
    assert asked and min(asked) >= 1_000


def test_sizes_without_chance_circuits_are_named_and_not_compared(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    draw = CircuitSampler.draw

    def dense(self: CircuitSampler, k: int, n: int) -> np.ndarray:
        if k <= 8:
            raise ArgumentError("k", k, "there seems to be no circuit of so many edges.")
        return draw(self, k, n)

    monkeypatch.setattr(CircuitSampler, "draw", dense)
    setting = setting_of(max_table_rows=20, max_circuits=2_000, control_circuits=300)
    monkeypatch.setattr(log, "propagate", True)  # a run in another test turns it off
    with caplog.at_level("INFO", logger=log.name):
        judged = judged_of(setting)
    assert judged.not_drawn and max(judged.not_drawn) <= 8 and (np.bitwise_count(judged.chance.circuits) > 8).all()
    assert f"{300 - len(judged.chance.circuits)} chance circuits of {judged.not_drawn[0]}" in caplog.text
    remaining = ~np.isin(np.bitwise_count(judged.valid.circuits), judged.not_drawn)
    assert 0 < remaining.sum() < len(remaining)
    _, compared = metrics_rows(judged, has_truth=False)
    reached = judged.valid.values["parsimony"][remaining] >= 0.9 - 1e-12
    found = compared["chance"]["parsimony"]
    assert found is not None and found.share == reached.mean()
    agreeing = compared["chance"]["agreement"]
    assert agreeing is not None
    assert agreeing.share == (judged.valid.values["agreement"][remaining] >= 0.9 - 1e-12).mean()


def test_controls_are_counted_beside_the_valid_circuits(result: Result) -> None:
    metrics = frames(result)["metrics"]
    assert (metrics["n_chance"] == 30).all()
    for row in metrics.to_dict("records"):
        n = round(row["chance"] * 30)
        assert row["chance"] == pytest.approx(n / 30)
        assert (row["chance_low"], row["chance_high"]) == pytest.approx(wilson_interval(n, 30))
        assert row["tells"] == ("yes" if row["p"] < 0.05 else "no")
    parsimony = metrics[metrics["criterion"] == "parsimony"]
    assert parsimony["tells"].tolist() == ["no"]
    untrained = metrics.set_index("criterion")["untrained"]
    assert untrained["agreement"] == 1 or metrics["n_untrained"].max() == 0  # what is valid agrees above 0.8
    steps = frames(result)["steps"]
    assert steps["chance"].is_monotonic_decreasing and steps["chance"].iloc[-1] == pytest.approx(
        metrics.set_index("criterion")["chance"]["all"]
    )


def test_without_controls_their_columns_are_missing() -> None:
    setting = setting_of(controls=False)
    assert criteria.networks(setting) == {} and "untrained" in criteria.networks(setting_of())
    result = run(controls=False)
    missing = {"chance", "tells", "untrained", "p", "n_chance"}
    for name in ("metrics", "overview", "steps"):
        assert not missing & set(pd.DataFrame(result.tables[name]).columns)
    assert "drawn at random" not in result.answer


def test_without_intervals_no_pair_of_sampled_examples_is_named() -> None:
    answer = run(resamples=0, controls=False, criteria=["agreement", "rank", "parsimony"]).answer
    assert "has no interval, so none of them is named" in answer and "The pair that agrees" not in answer


def test_a_run_is_the_same_again(result: Result) -> None:
    again = run()
    for name, rows in result.tables.items():
        pd.testing.assert_frame_equal(pd.DataFrame(rows), pd.DataFrame(again.tables[name]))
    assert again.answer == result.answer


# --- odd cases -------------------------------------------------------------------------------------------------------


def test_a_sample_has_intervals_and_no_front() -> None:
    result = run(max_circuits=20)
    found = frames(result)
    metrics = found["metrics"]
    assert (metrics["n_judged"] == 20).all() and (metrics["n_valid"] > 20).all() and len(found["circuits"]) == 20
    for row in metrics.to_dict("records"):
        assert (row["share_low"], row["share_high"]) == pytest.approx(wilson_interval(int(row["n_survivors"]), 20))
    assert metrics["n_best"].isna().all() and not len(found["front"]) and found["circuits"]["front"].isna().all()
    assert np.isnan(result.metrics["n_front/zero"]) and np.isnan(result.metrics["n_surviving/zero"])
    assert "by a sample of 20, that survives" in result.answer and "front" not in result.answer


def test_a_census_lists_a_sample() -> None:
    found = frames(run(max_table_rows=20, max_circuits=15))
    assert (found["metrics"]["n_judged"] == 15).all() and (found["metrics"]["n_valid"] > 15).all()
    assert not len(found["front"])


def test_no_circuit_is_valid(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(log, "propagate", True)  # a run in another test turns it off
    caplog.set_level("INFO", logger=log.name)
    data = data_of(network())
    wrong = replace(data, y_test=data.y_test + 5)
    result = run(None, wrong, valid=Valid.task)
    assert result.answer.startswith("With zero ablation no circuit is valid: no accuracy is above 0.8.")
    assert not result.figures and result.pictures["criteria"]() is None and np.isnan(result.metrics["surviving"])
    metrics = frames(result)["metrics"]
    assert metrics["n_survivors"].isna().all() and (metrics["n_valid"] == 0).all()
    assert result.metrics["n_valid/zero"] == 0
    assert "zero ablation: no circuit is valid, so none is judged" in caplog.text and "at random" not in caplog.text


def test_one_circuit_is_valid() -> None:
    """The sum of two bits takes both edges."""
    model = MLP([2, 1]).eval()
    with torch.no_grad():
        linear(model)[0].weight.fill_(1.0)
        linear(model)[0].bias.zero_()
    bits = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    data = Dataset("sums", bits, bits.sum(1), bits, bits.sum(1), None)
    result = run(model, data, last_layers=1, inputs=CircuitInputs.any, ablation=LeftOut.zero, controls=False)
    assert result.metrics["n_valid/zero"] == result.metrics["n_surviving/zero"] == result.metrics["n_front/zero"] == 1
    assert result.answer == "With zero ablation 1 of 1 valid circuit survives all 7 criteria (at least 0.9)."
    assert [row["tau"] for row in result.tables["pairs"]] == [None] * len(result.tables["pairs"])
    assert frames(result)["circuits"]["circuit"].tolist() == [3]


def test_with_parsimony_alone_there_is_nothing_to_survive() -> None:
    result = run(criteria=["parsimony"], ablation=LeftOut.zero)
    found = frames(result)
    for name in ("circuits", "front", "best"):
        assert len(found[name]) and found[name]["survives"].isna().all()
    assert " valid; no criterion but parsimony was computed. " in result.answer
    assert set(result.pictures["criteria"]()["parts"][0]["circuits"]["survives"]) == {None}


def test_several_outputs_are_judged_one_by_one() -> None:
    model = network(n_outputs=2)
    result = run(model, data_of(model), ablation=LeftOut.mean)
    assert {row["output"] for row in result.tables["metrics"]} == {0, 1}
    assert {row["ablation"] for row in result.tables["metrics"]} == {"mean"}
    assert result.answer.startswith("This is the first of 2 outputs. With mean ablation ")
    assert {"tau_0_mean", "tau_1_mean", "steps_1_mean", "overlap_1_mean"} <= set(result.figures)


def test_classes_are_judged_together() -> None:
    torch.manual_seed(1)
    model = MLP([6, 3, 2], nn.LeakyReLU).eval()
    data = classes(40, n_classes=2)
    with torch.no_grad():
        data = replace(data, y_test=model(data.x_test).argmax(1), answered_by=Outputs.logits)
    result = run(model, data, last_layers=2, inputs=CircuitInputs.any, resamples=0, max_circuits=500)
    assert {row["output"] for row in result.tables["metrics"]} == {"all"}
    table = frames(result, output="all")["circuits"]
    assert len(table) and not {"shift", "tau_low"} & {*table.columns, *pd.DataFrame(result.tables["pairs"]).columns}


def test_one_layer_has_no_neuron_to_interchange() -> None:
    result = run(last_layers=1, inputs=CircuitInputs.any)
    metrics = frames(result)["metrics"].set_index("criterion")
    assert np.isnan(metrics.loc["interchange", "mean"]) and np.isnan(metrics.loc["interchange", "n_survivors"])
    assert not any("interchange" in (row["criterion"], row["other"]) for row in result.tables["pairs"])
    assert "interchange" not in {row["criterion"] for row in result.tables["steps"]}


def test_a_network_with_one_answer_has_no_pair_for_sufficiency() -> None:
    model = network()
    with torch.no_grad():
        linear(model)[-1].weight.mul_(1e-3)
        linear(model)[-1].bias.fill_(1.0)
    metrics = frames(run(model, data_of(model)))["metrics"].set_index("criterion")
    assert metrics.loc[["sufficiency", "necessity"], "n_survivors"].isna().all()
    assert metrics.loc["complement", "least"] == 1 and metrics.loc["agreement", "n_survivors"] > 0


def test_all_boolean_inputs_are_no_sample_so_that_taus_have_no_interval() -> None:
    torch.manual_seed(3)
    model = MLP([2, 2, 2, 1], nn.ReLU).eval()
    data = logic.load(functions=["XOR"])
    with torch.no_grad():
        data = replace(data, y_test=model(data.x_test).round()[:, 0])
    result = run(model, data, inputs=CircuitInputs.any)
    assert "tau_low" not in pd.DataFrame(result.tables["pairs"]).columns
    assert "has no interval, so" not in result.answer
    sample = run(model, data, inputs=CircuitInputs.any, max_circuits=3)
    assert "The pair that agrees" not in sample.answer
    assert "shift" in {row["criterion"] for row in result.tables["metrics"]}


# --- the truth -------------------------------------------------------------------------------------------------------


def truth_file(folder: Path, circuit: int, name: str = "truth.csv") -> str:
    edges = list(zip(*(column.tolist() for column in SPACE.edges.names), strict=True))
    lines = [",".join(map(str, edge)) for place, edge in enumerate(edges) if circuit >> place & 1]
    (folder / name).write_text("layer,source,target\n" + "\n".join(lines) + "\n")
    return str(folder / name)


def test_the_place_of_the_truth_in_each_criterion(result: Result, tmp_path: Path) -> None:
    table = frames(result)["circuits"].set_index("circuit")
    truth = int(table.index[len(table) // 2])
    found = frames(run(truth=truth_file(tmp_path, truth)))["metrics"].set_index("criterion")
    for name in ALL_NAMES:
        own, others = table.loc[truth, name], table[name].drop(truth)
        better, equal = (others > own + 1e-12).sum(), ((others - own).abs() <= 1e-12).sum()
        assert found.loc[name, "truth"] == pytest.approx((better + equal / 2) / len(others))
        assert found.loc[name, "picks_truth"] == (better + equal == 0)


def test_the_full_circuit_is_picked_alone_by_no_criterion_or_named(tmp_path: Path) -> None:
    result = run(truth=truth_file(tmp_path, SPACE.full))
    assert "truth" in result.answer
    picks = [row["criterion"] for row in result.tables["overview"] if row["picks_truth"] and row["criterion"] != "all"]
    assert ("The truth is picked alone by" in result.answer) == bool(picks)


def test_a_sample_picks_no_truth(result: Result, tmp_path: Path) -> None:
    """The sparsest circuit, which parsimony may pick: a circuit that isn't judged may be as sparse."""
    table = frames(result)["circuits"].sort_values(["n_edges", "circuit"])
    options = {"truth": truth_file(tmp_path, int(table["circuit"].iloc[0])), "ablation": LeftOut.zero}
    options |= {"criteria": ["agreement", "parsimony"], "resamples": 0, "controls": False}
    for most in (1, 4, len(table) - 1):
        found = run(max_circuits=most, **options)
        for row in found.tables["metrics"]:
            assert row["n_judged"] < row["n_valid"] and row["truth"] is None and row["picks_truth"] in (False, None)
        assert "The place of the truth is not known, as not all valid circuits are judged" in found.answer
        assert "picked alone by" not in found.answer and "only valid circuit" not in found.answer


def test_a_truth_that_is_not_valid_has_no_place(result: Result, tmp_path: Path) -> None:
    valid = set(frames(result)["circuits"]["circuit"].tolist())
    space = CircuitSpace(SPACE.sizes)
    other = next(c for c in range(space.full, 0, -1) if space.is_well_formed(c) and c not in valid)
    result = run(truth=truth_file(tmp_path, other), ablation=LeftOut.zero)
    assert "The true circuit is none of the valid circuits, so it has no place" in result.answer
    assert all(row["truth"] is None for row in result.tables["metrics"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layer,source\n0,0\n", "the columns target are missing. Save a row for each edge: layer,source,target."),
        ("layer,source,target\n0,0,7\n", "layers of 3-2-2-1 neurons have no edge layer 0, source 0, target 7."),
        ("layer,source,target\n0,0,0.5\n", "a number that isn't whole"),
        ("layer,source,target\n0,a,0\n", "a number of an edge is none"),
        ("layer,source,target\n0,0,0\n", "an edge lies on no path from an input to an output."),
        (
            "layer,source,target\n0,0,0\n1,0,0\n2,0,0\n",
            "an input or an output has no edge. Type experiment.inputs=any.",
        ),
    ],
)
def test_a_file_that_is_no_circuit_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(ConfigError) as error:
        criteria.check(setting_of(truth=str(tmp_path / "truth.csv")))
    assert words in str(error.value) and "experiment.truth=" in str(error.value)


def test_a_missing_file_of_the_truth(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"experiment\.truth=.*no such file"):
        criteria.check(setting_of(truth=str(tmp_path / "none.csv")))


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"criteria": []}, "experiment.criteria=[]: name at least one of agreement, noise"),
        ({"criteria": ["rank", "rank"]}, "experiment.criteria has rank twice. Name it once."),
        ({"criteria": ["ranc"]}, "experiment.criteria has ranc: "),
        ({"criteria": ["shift"], "shift": "none"}, "Type experiment.shift=FILE"),
        ({"noise": [0.1, 0.1]}, "experiment.noise=[0.1,0.1]: name at least one standard deviation, and each once."),
        ({"noise": []}, "experiment.noise=[]"),
        ({"shift": "no.npz"}, "experiment.shift=no.npz"),
        ({"last_layers": 9}, "experiment.last_layers=9: the network has only 4 Linear layers. Type"),
        ({"last_layers": 1}, "one circuit, the full one, so there is nothing to compare. Type experiment.last_layers="),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        criteria.check(setting_of(**options))
    assert words in str(error.value)


def test_a_criterion_of_ones_own(mi_run: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(
        "import numpy as np\n"
        "def few(task, circuits):\n    return 1 / np.bitwise_count(circuits)\n"
        "def wrong(task, circuits):\n    return 2.0 * np.ones(len(circuits))\n"
    )
    small = criteria_small()
    ended = mi_run(*small, "experiment.criteria=[agreement,rules:few]")
    assert ended.status == 0, ended.err
    table = pd.read_parquet(ended.folder / "circuits.parquet")
    assert np.allclose(table["rules:few"], 1 / table["n_edges"])
    ended = mi_run(*small, "experiment.criteria=[rules:wrong]")
    assert (
        ended.status != 0
        and "mi-run: error: experiment.criteria with rules:wrong: the criterion rules:wrong gives a number outside"
        in ended.err
    )


def criteria_small() -> list[str]:
    return ["experiment=criteria", *CriteriaConfig.small]


def test_numbers_outside_of_0_to_1_are_refused() -> None:
    record = criteria.own_criterion("large", lambda task, circuits: np.full(len(circuits), 1.5))
    setting = setting_of()
    made = network_of(setting, setting.graph(), "trained", None)
    with pytest.raises(RunFailed, match="the criterion large gives a number outside 0 to 1"):
        judge_output(setting, made, None, [record], 0, "zero", "task")


def test_a_command_and_a_sweep_over_seeds(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(*criteria_small(), "expect={n_valid/zero: '>0'}")
    assert ended.status == 0, ended.err
    assert {"metrics.csv", "pairs.csv", "steps.csv", "best.csv"} <= {path.name for path in ended.folder.iterdir()}
    assert (ended.folder / "circuits.parquet").exists() and "With zero ablation" in ended.err
    ended = mi_run("-m", *criteria_small(), "seed=1,2")
    assert ended.status == 0, ended.err
    assert "share, chance: mean over seeds" in ended.out


# --- sentences -------------------------------------------------------------------------------------------------------


def pair(name: str, tau: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    one, other = name.split("-")
    return {"criterion": one, "other": other, "tau": tau, "tau_low": low, "tau_high": high}


def controls(
    by_chance: dict[str, tuple[int, int]], untrained: dict[str, tuple[int, int]] | None = None, n_all: int = 100
) -> str:
    """Returns what is said of 100 judged circuits, of which 50 survive each criterion, beside controls."""
    passed: dict[str, tuple[int, int] | None] = {name: (50, 100) for name in by_chance}
    is_sample = n_all > 100
    valid = SimpleNamespace(is_sample=is_sample, n_all=n_all)
    against = {
        "chance": passes_more_often(passed, by_chance, is_sample=is_sample),
        "untrained": passes_more_often(passed, untrained or {}, is_sample=is_sample),
    }
    control = SimpleNamespace(is_sample=False)
    judged = SimpleNamespace(counted=tuple(by_chance), valid=valid, untrained=control)
    return answers._controls(answers.Answered(judged, {}, against))  # type: ignore[arg-type]


def test_a_criterion_says_nothing_only_where_chance_survives_it_as_often() -> None:
    assert controls({"a": (50, 100), "b": (60, 100), "c": (48, 100), "d": (10, 100)}) == (
        "a and b say nothing: circuits drawn at random survive them at least as often. c is not told from chance: the "
        "test at 5 % doesn't show that valid circuits survive it more often than circuits drawn at random do."
    )
    assert controls({"a": (10, 100)}) == (
        "Valid circuits survive it more often than circuits drawn at random do (tested at 5 %)."
    )


def test_untrained_shares_that_are_exact_are_compared_without_a_test() -> None:
    """Two of five is less than half, although no test on so few would show it."""
    drawn = {"a": (10, 100), "b": (10, 100), "c": (10, 100)}
    untrained = {"a": (2, 5), "b": (2, 4), "c": (3, 5)}
    text = controls(drawn, untrained)
    assert text.endswith(". Valid circuits of the untrained network survive b as often, and c more often.")
    assert controls(drawn, {"a": (2, 5)}).endswith("(tested at 5 %).")
    assert controls(drawn, untrained, n_all=500).endswith(
        " The test at 5 % doesn't show that valid circuits of the untrained network survive a, b and c less often."
    )


def test_pairs_that_intervals_do_not_tell_apart_tie() -> None:
    rows = [pair("a-b", 0.9, 0.8, 0.95), pair("a-c", 0.85, 0.75, 0.9), pair("b-c", 0.1, 0.0, 0.2), pair("a-d", None)]
    said = answers._pairs(rows, intervals=True)
    assert said == (
        "The pair that agrees most is a–b, with τ 0.9 (0.8 to 0.95); a–c ties with it. The pair that agrees least is "
        "b–c, with τ 0.1 (0 to 0.2)."
    )
    wide = [pair("a-b", 0.9, 0.1, 0.95), pair("b-c", 0.1, 0.0, 0.2)]
    assert answers._pairs(wide, intervals=True) == "No two of 2 pairs of criteria are told apart by τ."
    assert answers._pairs(wide[:1], intervals=True) == "τ of a–b is 0.9 (0.1 to 0.95)."
    assert answers._pairs([pair("a-d", None)], intervals=True) == ""
    exact = [pair("a-b", 0.5), pair("a-c", 0.5), pair("b-c", -0.5)]
    assert answers._pairs(exact, intervals=False) == (
        "τ of the pairs of criteria has no interval, so none of them is named as that of the highest or lowest."
    )
    assert answers._pairs(exact, intervals=False, exact=True) == (
        "The pair that agrees most is a–b, with τ 0.5; a–c ties with it. The pair that agrees least is b–c, with τ "
        "−0.5."
    )
