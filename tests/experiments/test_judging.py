"""Circuits that are found on some examples and judged on others: nothing of the others may reach what is found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mi_runner import chance
from mi_runner.config.experiments.circuit_options import CircuitInputs, EdgeAblation, JudgeOn, LeftOut
from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.config.experiments.discovery import DiscoveryConfig
from mi_runner.datasets import Dataset, logic
from mi_runner.errors import ConfigError
from mi_runner.experiments import Setting
from mi_runner.experiments.circuits import experiment as circuits
from mi_runner.experiments.common import judging
from mi_runner.experiments.discovery import experiment as discovery
from mi_runner.graph.chain import find_part
from mi_runner.methods.circuits.cut import entering_activations
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.models.mlp import MLP
from mi_runner.tables.intervals import wilson_interval
from mi_runner.training.options import TrainingOptions
from tests.masked_parts import by_definition
from tests.small_data import classes, values

METHODS = ["random", "activation", "edge_patching", "eap", "eap_ig", "acdc", "greedy"]


def network() -> MLP:
    """Outputs round to several integers, so that circuits differ in what they answer."""
    torch.manual_seed(3)
    model = MLP([6, 4, 2, 2, 1], nn.Tanh).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    return model


def data() -> Dataset:
    """60 training and 61 test examples; four fifths of the targets are what the network answers."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(121, 6, generator=draw)
    with torch.no_grad():
        y = network()(x)[:, 0].round() + (torch.rand(121, generator=draw) < 0.2)
    return Dataset("arrays", x[:60], y[:60], x[60:], y[60:], None)


def setting(config: Any, dataset: Dataset | None = None, seed: int = 0) -> Setting:
    return Setting(config, TrainingOptions(loss="mse"), network(), dataset or data(), seed=seed)


def discover(judge_on: str, dataset: Dataset | None = None, ablation: str = "mean", **options: Any) -> dict[str, Any]:
    config = DiscoveryConfig(
        methods=METHODS,
        ablation=LeftOut[ablation],
        repeats=2,
        bootstrap=3,
        accuracy_threshold=0.55,
        judge_on=JudgeOn[judge_on],
        **options,
    )
    return dict(discovery.run(setting(config, dataset)).tables)


def rows_of(dataset: Dataset, half: str) -> torch.Tensor:
    """The rows of the test examples that circuits are found or judged on."""
    found, judged = judging.halves(dataset.y_test, chance.generator(0, "half of the test examples"))
    return found if half == "found" else judged


# --- the halves ------------------------------------------------------------------------------------------------------


def test_halves_are_random_and_have_as_many_of_each_target() -> None:
    y = torch.tensor([0.0] * 101 + [1.0] * 7 + [0.2] * 2)  # 0.2 is the answer 0
    kinds = y.round()
    together = np.zeros((110, 110))
    for seed in range(200):
        found, judged = judging.halves(y, torch.Generator().manual_seed(seed))
        assert sorted([*found.tolist(), *judged.tolist()]) == list(range(110))
        assert found.tolist() == sorted(found.tolist()) and judged.tolist() == sorted(judged.tolist())
        for kind in (0, 1):
            assert abs(int((kinds[found] == kind).sum()) - int((kinds[judged] == kind).sum())) <= 1
        member = np.isin(np.arange(110), found)
        together += member[:, None] == member[None, :]
    share = together[np.triu_indices(110, 1)] / 200
    assert share.min() > 0.25 and share.max() < 0.75  # no two examples always stay together or apart
    again = judging.halves(y, torch.Generator().manual_seed(3)), judging.halves(y, torch.Generator().manual_seed(3))
    assert torch.equal(again[0][0], again[1][0])
    first = {tuple(judging.halves(y, torch.Generator().manual_seed(seed))[0].tolist()) for seed in range(5)}
    assert len(first) == 5


def test_targets_of_several_outputs_and_odd_numbers() -> None:
    y = torch.tensor([[0.0, 1.0]] * 4 + [[1.0, 1.0]] * 5)
    found, judged = judging.halves(y, torch.Generator().manual_seed(0))
    assert {len(found), len(judged)} == {4, 5} and int((y[found, 0] == 0).sum()) == 2


def test_all_boolean_inputs_have_no_half() -> None:
    for dataset in (logic.load(), logic.load(functions=["MAJORITY"])):
        with pytest.raises(ConfigError, match=r"all inputs there are.*Type experiment\.judge_on=train"):
            judging.examples_of(dataset, JudgeOn.half, 0)
        assert judging.examples_of(dataset, JudgeOn.train, 0).differ
    one = values(1)
    with pytest.raises(ConfigError, match=r"1 test example can't be halved\. Type experiment\.judge_on=train"):
        judging.examples_of(one, JudgeOn.half, 0)
    twice = replace(logic.load(), x_test=torch.zeros(4, 2))  # as many rows, but not each input
    assert judging.examples_of(twice, JudgeOn.half, 0).differ
    for experiment, config in ((circuits, CircuitsConfig), (discovery, DiscoveryConfig)):
        with pytest.raises(ConfigError, match="all inputs there are"):
            experiment.check(
                Setting(config(judge_on=JudgeOn.half), TrainingOptions(), MLP([2, 2, 2, 1], nn.LeakyReLU), logic.load())
            )


# --- discovery -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge_on", ["train", "half"])
def test_what_is_judged_on_has_no_part_in_what_is_found(judge_on: str) -> None:
    """Other inputs and labels of the examples that circuits are judged on: the same circuits, scores and resamples."""
    one = data()
    rows = torch.arange(61) if judge_on == "train" else rows_of(one, "judged")
    x, y = one.x_test.clone(), one.y_test.clone()
    x[rows] = 2 * x[rows].flip(1)
    if judge_on == "train":
        y[rows] = 1 - y[rows]
    other = replace(one, x_test=x, y_test=y)
    first, second = discover(judge_on, one), discover(judge_on, other)
    names = ["method", "repeat", "k", "n_edges", "circuit", "found_accuracy", "found_valid"]
    own, others = (pd.DataFrame(tables["metrics"]) for tables in (first, second))
    assert own[names].equals(others[names]) and not np.allclose(own["mse"], others["mse"])
    assert first["scores"] == second["scores"]
    stable = [
        pd.DataFrame(tables["stability"])[["method", "k", "jaccard", "own_mse_mean"]] for tables in (first, second)
    ]
    assert stable[0].equals(stable[1])
    # And what is found depends on the examples that it is found on.
    assert not own["circuit"].equals(pd.DataFrame(discover("test", one)["metrics"])["circuit"])


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_circuits_are_judged_by_their_definition_on_the_other_half(ablation: str) -> None:
    """With the means of the examples that they are judged on, an edge at a time."""
    dataset, tables = data(), discover("half", ablation=ablation)
    given = setting(DiscoveryConfig())
    part = find_part(given.graph(), 3)
    metrics = pd.DataFrame(tables["metrics"])
    space = CircuitSpace(part.sizes, "any")
    sides = {}
    for side in ("found", "judged"):
        rows = rows_of(dataset, side)
        entering, _ = entering_activations(given.graph(), part, dataset.x_test[rows])
        sides[side] = entering.double(), dataset.y_test[rows]
    for row in metrics[metrics["n_edges"] > 0].sample(25, random_state=1).itertuples():
        masks = space.masks(int(row.circuit))
        x, y = sides["judged"]
        outputs = by_definition(part, masks, x, ablation)[:, 0]
        full = by_definition(part, space.masks(space.full), x, ablation)[:, 0]
        n_correct = int((outputs.round() == y).sum())
        assert row.accuracy == n_correct / len(y) and row.valid == (n_correct / len(y) > 0.55)
        assert (row.accuracy_low, row.accuracy_high) == wilson_interval(n_correct, len(y))
        assert row.mse == pytest.approx(float((outputs - full).square().mean()), rel=1e-5, abs=1e-9)
        x, y = sides["found"]
        found = float((by_definition(part, masks, x, ablation)[:, 0].round() == y).double().mean())
        assert row.found_accuracy == found and row.found_valid == (found > 0.55)


def test_the_optimum_is_that_of_the_examples_that_circuits_are_judged_on() -> None:
    """Judged on the test examples, the best circuits are the same wherever methods look; regret is never below 0."""
    on_test, on_train = (pd.DataFrame(discover(judge_on)["metrics"]) for judge_on in ("test", "train"))
    for column in ("best_mse", "best_accuracy"):
        assert np.allclose(on_test[column], on_train[column], rtol=1e-9)
    assert (on_train["regret_mse"] >= 0).all() and (on_train["regret_accuracy"] >= 0).all()
    assert "found_accuracy" not in on_test and "accuracy_low" not in on_test


def test_the_circuit_that_a_method_would_choose_is_judged_elsewhere() -> None:
    tables = discover("half")
    metrics, summary = pd.DataFrame(tables["metrics"]), pd.DataFrame(tables["summary"]).set_index("method")
    for method in METHODS:
        rows, own = metrics[metrics["method"] == method], summary.loc[method]
        chosen = [
            of_draw[of_draw["found_valid"]].sort_values("n_edges", kind="stable").iloc[0]
            for _, of_draw in rows.groupby("repeat")
            if of_draw["found_valid"].any()
        ]
        assert own["n_draws_chosen"] == len(chosen) <= own["n_draws"] == rows["repeat"].nunique()
        assert own["chosen_edges"] == pytest.approx(np.mean([row["n_edges"] for row in chosen]))
        assert own["chosen_accuracy"] == pytest.approx(np.mean([row["accuracy"] for row in chosen]))
        assert own["chosen_found_accuracy"] == pytest.approx(np.mean([row["found_accuracy"] for row in chosen]))
        assert own["chosen_valid"] == pytest.approx(np.mean([row["valid"] for row in chosen]))
        assert all(row["found_accuracy"] > 0.55 for row in chosen)
    config = DiscoveryConfig(methods=["eap"], judge_on=JudgeOn.half)
    assert "chosen_accuracy/eap/zero" in discovery.metric_names(setting(config))
    assert "chosen_accuracy/eap/zero" not in discovery.metric_names(setting(replace(config, judge_on=JudgeOn.test)))


def test_methods_are_compared_over_the_same_sizes() -> None:
    """Means say over how many sizes and draws they are, and percentile has the same sizes for each method."""
    tables = discover("test", ablation="zero")
    metrics, summary = pd.DataFrame(tables["metrics"]), pd.DataFrame(tables["summary"]).set_index("method")
    of_percentile = metrics.dropna(subset="percentile")
    assert {tuple(sorted(set(rows["k"]))) for _, rows in of_percentile.groupby("method")} == {tuple(range(3, 14))}
    assert (of_percentile["n_edges"] == 0).any()  # a method stands with the empty circuit there
    for method, own in summary.iterrows():
        rows = metrics[metrics["method"] == method]
        assert own["n_sizes"] == rows["k"].nunique() == 15 and own["n_sizes_percentile"] == 11
        assert own["percentile"] == pytest.approx(rows["percentile"].mean())
        assert own["n_draws_valid"] == rows[rows["valid"]]["repeat"].nunique()
        assert own["n_draws"] == (2 if method == "random" else 1)
        stable = pd.DataFrame(tables["stability"])
        assert own["n_sizes_jaccard"] == stable[stable["method"] == method]["jaccard"].notna().sum()
    assert set(pd.DataFrame(tables["overview"])) >= {"n_sizes", "n_sizes_percentile", "n_draws", "n_draws_valid"}


# --- what is not known -----------------------------------------------------------------------------------------------


def test_levels_that_are_not_known_are_empty_where_circuits_are_sampled() -> None:
    """The search below a circuit says whether it is subset-minimal, but nobody knows the fewest edges there are."""
    sampled = discover("test", max_table_rows=10, samples=20)
    exact = discover("test")
    summary, truth = (pd.DataFrame(tables["summary"]) for tables in (sampled, exact))
    assert summary["fewest_valid"].isna().all() and summary["cardinal"].isna().all() and truth["cardinal"].notna().all()
    assert (
        summary["smallest_valid"].notna().all() and summary["regret_mse"].isna().all() and summary["mse"].notna().all()
    )
    for level in ("quasi", "local", "subset"):
        assert summary[level].tolist() == truth[level].tolist()
    assert pd.DataFrame(sampled["overview"])["cardinal"].isna().all()
    given = setting(
        DiscoveryConfig(methods=["greedy"], max_table_rows=10, samples=5, bootstrap=0, accuracy_threshold=0.55)
    )
    result = discovery.run(given)
    assert np.isnan(result.metrics["cardinal/greedy/zero"]) and np.isnan(result.metrics["fewest_valid/greedy/mean"])
    assert "The smallest valid circuit has" not in result.answer and "over 15 sizes" in result.answer


@pytest.mark.parametrize(("limit", "known"), [("MOST_WORK_OF_MINIMALITY", []), ("most", ["quasi", "local"])])
def test_a_search_that_is_cut_short_leaves_levels_empty(
    limit: str, known: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mi_runner.experiments.discovery import judgement as discovery_judgement

    if limit == "most":  # local is proven, what lies deeper is not searched
        search = discovery_judgement.minimality_by_search
        monkeypatch.setattr(discovery_judgement, "minimality_by_search", lambda *a, most: search(*a, most=0))
    else:
        monkeypatch.setattr(discovery_judgement, limit, 0)
    tables = discover("test", max_table_rows=10, samples=20)
    summary, metrics = pd.DataFrame(tables["summary"]).set_index("method"), pd.DataFrame(tables["metrics"])
    assert set(metrics[~metrics["valid"]]["minimality"]) <= {""}
    if not known:  # nothing is searched, so nothing is known
        assert metrics["valid"].any() and set(metrics["minimality"]) == {""}
    truth = pd.DataFrame(discover("test")["summary"]).set_index("method")
    local = truth.index[(truth["local"] == 1) & (truth["smallest_valid"] > 3)]
    assert len(local)
    for method in local:
        for level in ("quasi", "local", "subset", "cardinal"):
            assert bool(pd.notna(summary.loc[method, level])) == (level in known)


def test_a_single_layer_has_no_neurons_to_leave_out() -> None:
    given = setting(CircuitsConfig(last_layers=1, inputs=CircuitInputs["any"], accuracy_threshold=0.4))
    table = circuits.run(given).tables["circuits"]
    assert table["node_sparsity"].isna().all() and table["edge_sparsity"].tolist() == table["sparsity"].tolist()


# --- circuits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge_on", ["train", "half"])
@pytest.mark.parametrize("ablation", ["zero", "mean"])
@pytest.mark.parametrize("max_table_rows", [5_000_000, 40])
def test_circuits_are_selected_on_some_examples_and_judged_on_others(
    judge_on: str, ablation: str, max_table_rows: int
) -> None:
    dataset = data()
    config = CircuitsConfig(
        accuracy_threshold=0.55,
        ablation=EdgeAblation[ablation],
        judge_on=JudgeOn[judge_on],
        max_table_rows=max_table_rows,
    )
    given = setting(config)
    result = circuits.run(given)
    table, (row,) = result.tables["circuits"], result.tables["metrics"]
    part, space = find_part(given.graph(), 3), CircuitSpace((4, 2, 2, 1))
    if judge_on == "train":
        found, judged = (dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test)
    else:
        found, judged = (
            (dataset.x_test[rows], dataset.y_test[rows]) for rows in (rows_of(dataset, s) for s in ("found", "judged"))
        )
    for sampled in table.sample(15, random_state=0).itertuples():
        for (x, y), accuracy in ((found, sampled.accuracy), (judged, sampled.judged_accuracy)):
            entering, _ = entering_activations(given.graph(), part, x)
            outputs = by_definition(part, space.masks(int(sampled.circuit)), entering.double(), ablation)[:, 0]
            assert accuracy == int((outputs.round() == y).sum()) / len(y)
        interval = wilson_interval(round(sampled.judged_accuracy * len(judged[1])), len(judged[1]))
        assert (sampled.judged_accuracy_low, sampled.judged_accuracy_high) == interval
        assert sampled.judged_valid == (sampled.judged_accuracy > 0.55)
    assert (table["valid"] == (table["accuracy"] > 0.55)).all()
    valid = table[table["valid"]]
    assert row["n_listed_valid"] == len(valid) and (row["n_found"], row["n_judged"]) == (len(found[1]), len(judged[1]))
    assert row["still_valid"] == valid["judged_valid"].mean()
    assert row["valid_found_accuracy"] == pytest.approx(valid["accuracy"].mean())
    assert row["valid_judged_accuracy"] == pytest.approx(valid["judged_accuracy"].mean())
    fewest = space.edges.rows(valid["circuit"].to_numpy()).sum(1).min()
    sparsest = valid[valid["n_edges"] == fewest]
    if max_table_rows > 40:
        assert row["sparsest_judged_accuracy"] == pytest.approx(sparsest["judged_accuracy"].mean())
        assert (row["sparsest_judged_accuracy_low"] is not None) == (len(sparsest) == 1)
        assert f"{round(row['still_valid'] * len(valid)):,} of {len(valid):,} valid circuits are still" in result.answer
    assert set(circuits.metric_names(given)) == set(result.metrics)


def test_judged_on_the_same_examples_nothing_is_added() -> None:
    result = circuits.run(setting(CircuitsConfig(accuracy_threshold=0.55)))
    assert not [name for name in result.tables["circuits"] if name.startswith("judged")]
    assert "still_valid" not in result.metrics and set(result.tensors["circuits"]) >= {"x", "targets", "outputs"}
    assert not [name for name in result.tensors["circuits"] if name.startswith("judged")]


def test_classes_are_judged_on_the_other_half_too() -> None:
    torch.manual_seed(0)
    model = MLP([6, 5, 3], nn.ReLU)
    config = DiscoveryConfig(
        methods=["magnitude", "eap", "greedy"],
        last_layers=2,
        judge_on=JudgeOn.half,
        bootstrap=0,
        samples=10,
        max_sizes=6,
    )
    given = Setting(config, TrainingOptions(), model.eval(), classes(50))
    result = discovery.run(given)
    metrics = pd.DataFrame(result.tables["metrics"])
    full = metrics[metrics["n_edges"] == 45]
    judged = judging.examples_of(given.dataset, JudgeOn.half, 0).judged
    with torch.no_grad():
        accuracy = float((model(judged.x).argmax(1) == judged.y).double().mean())
    assert len(full) and (full["accuracy"] == accuracy).all() and result.metrics["accuracy"] == accuracy


# --- fewer examples --------------------------------------------------------------------------------------------------


def numbered(n_train: int, n_test: int) -> Dataset:
    """Classes with two inputs; the first input numbers the examples of a split, so that each names itself."""
    generator = torch.Generator().manual_seed(0)
    x = [torch.stack([torch.arange(n).float(), torch.randn(n, generator=generator)], 1) for n in (n_train, n_test)]
    y = [torch.arange(n) % 2 for n in (n_train, n_test)]
    return replace(classes(), x_train=x[0], y_train=y[0], x_test=x[1], y_test=y[1])


def numbers(examples: judging.Examples) -> list[int]:
    return [int(number) for number in examples.x[:, 0]]


def test_fewer_examples_are_drawn_without_replacement_in_their_order_the_same_for_one_seed() -> None:
    dataset = numbered(50, 40)
    drawn = judging.examples_of(dataset, JudgeOn.test, 3, most=12)
    chosen = numbers(drawn.judged)
    assert drawn.found is drawn.judged and len(chosen) == 12 and chosen == sorted(set(chosen))
    assert torch.equal(drawn.judged.x, dataset.x_test[chosen]) and torch.equal(drawn.judged.y, dataset.y_test[chosen])
    assert numbers(judging.examples_of(dataset, JudgeOn.test, 3, most=12).judged) == chosen
    others = {tuple(numbers(judging.examples_of(dataset, JudgeOn.test, seed, most=12).judged)) for seed in range(30)}
    assert len(others) == 30 and {number for one in others for number in one} == set(range(40))
    assert drawn.words == "found and judged on 12 of the test examples"


@pytest.mark.parametrize("most", [None, 40, 41])
def test_as_many_examples_as_there_are_or_more_are_all_of_them(most: int | None) -> None:
    dataset = numbered(50, 40)
    on = judging.examples_of(dataset, JudgeOn.test, 0, most=most)
    assert torch.equal(on.judged.x, dataset.x_test) and on.words == "found and judged on the test examples"


def test_training_examples_are_drawn_by_themselves() -> None:
    on = judging.examples_of(numbered(50, 40), JudgeOn.train, 0, most=20)
    found, judged = numbers(on.found), numbers(on.judged)
    assert len(found) == len(judged) == 20 and found == sorted(set(found)) and found != judged and max(found) >= 40
    assert on.words == "found on 20 training examples, judged on 20 test ones"


def test_half_of_the_drawn_examples_are_judged_on_the_other_half_of_them() -> None:
    dataset = numbered(50, 40)
    on, drawn = (judging.examples_of(dataset, which, 5, most=12) for which in (JudgeOn.half, JudgeOn.test))
    found, judged = set(numbers(on.found)), set(numbers(on.judged))
    assert len(found) == len(judged) == 6 and found | judged == set(numbers(drawn.judged))
    assert on.words == "found on 6 of the test examples, judged on 6 others"
    whole = judging.examples_of(dataset, JudgeOn.half, 5)
    assert whole.words == "found on 20 of the test examples, judged on the 20 others"
