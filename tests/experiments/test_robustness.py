"""Valid circuits in regions: a network computed by hand, each circuit alone, controls, samples, and sentences."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mi_runner.circuits import certify
from mi_runner.cli import command
from mi_runner.config.experiments.circuit_options import CircuitInputs, LeftOut
from mi_runner.config.experiments.robustness import RobustnessConfig
from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.experiments import Result, Setting, TrainedNetwork
from mi_runner.experiments.common.valid_circuits import chance_circuits, network_of
from mi_runner.experiments.robustness import experiment as robustness
from mi_runner.experiments.robustness import figures
from mi_runner.experiments.robustness.counterexamples import counterexamples, nearest_examples
from mi_runner.experiments.robustness.decided import Decided, InRegion, Population, decide_output, rows_with_boxes
from mi_runner.experiments.robustness.rows import certified_minimality
from mi_runner.graph.chain import find_part
from mi_runner.methods.circuits.ablation import means_of
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.models.mlp import MLP
from mi_runner.tables.intervals import wilson_interval
from mi_runner.training.options import TrainingOptions
from tests.small_data import classes, values

FIRST, BOTH = 0b01_0001, 0b11_1001
"""The circuits x₁ → h₁ → output, and this and x₂ → h₂ → output."""

DOUBLE = torch.zeros((), dtype=torch.float64)


def sum_of_two() -> nn.Module:
    """relu(x₁) + relu(x₂) / 5; the other weights are 0."""
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.eye(2))
        second.weight.copy_(torch.tensor([[1.0, 0.2]]))
    return nn.Sequential(first, nn.ReLU(), second).eval()


def two_points() -> Dataset:
    """(0, 0) and (1, 1), both inputs with the standard deviation ½; the network answers 0 and 1."""
    x, y = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([0.0, 1.0])
    return Dataset("arrays", x, y, x, y, None)


def setting_of(model: nn.Module, data: Dataset, **options: Any) -> Setting[RobustnessConfig]:
    given = {"last_layers": None, "accuracy_threshold": 0.8, "control_circuits": 30, "seconds": 5.0, "differences": 2}
    networks = {} if options.get("controls") is False else {"untrained": TrainedNetwork(options.pop("untrained"))}
    return Setting(RobustnessConfig(**(given | options)), TrainingOptions(), model, data, networks=networks)


def by_hand(**options: Any) -> Setting[RobustnessConfig]:
    given = {
        "epsilons": [0.6, 0.2, 0.4],
        "ablation": LeftOut.zero,
        "inputs": CircuitInputs.any,
        "controls": False,
    }
    return setting_of(sum_of_two(), two_points(), **(given | options))


def run(setting: Setting[RobustnessConfig]) -> Result:
    robustness.check(setting)
    result = robustness.run(setting)
    assert list(result.metrics) == robustness.metric_names(setting)
    return result


def frame(result: Result, name: str = "metrics") -> pd.DataFrame:
    return pd.DataFrame(result.tables[name])


def of_seed(sizes: list[int], seed: int = 8, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    torch.manual_seed(seed)
    model = MLP(sizes, activation).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def own_answers(model: nn.Module, data: Dataset) -> Dataset:
    with torch.no_grad():
        outputs = [model(x) for x in (data.x_train, data.x_test)]
    train, test = (y.argmax(1) if data.has_classes else y[:, 0].round() for y in outputs)
    return replace(data, y_train=train, y_test=test)


# --- by hand ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hand() -> Result:
    return run(by_hand())


def test_circuits_of_a_network_computed_by_hand(hand: Result) -> None:
    """Four circuits compute relu(x₁), and four the network.

    In the box around (1, 1) the network reaches 1.5 at ε = ½ by 1.2 + 0.6 ε, and relu(x₁) at ε = 1. Around (0, 0) the
    network reaches ½ at ε = 5/6. In the hull the network is above ½ at (0.4, 1), and relu(x₁) below.
    """
    rows = frame(hand).set_index("region")
    assert list(rows.index) == ["examples", "box_0.2", "box_0.4", "box_0.6", "hull"]
    assert rows["epsilon"].fillna(-1).tolist() == [0.0, 0.2, 0.4, 0.6, -1.0]
    assert (rows["n_valid"] == 8).all() and (rows["n_decided"] == 8).all() and (rows["fewest_valid"] == 2).all()
    assert rows["n_examples"].tolist() == [2, 2, 2, 2, 1]
    assert rows["n_certified"].tolist() == [8, 8, 8, 4, 4]
    assert rows["n_refuted"].tolist() == [0, 0, 0, 4, 4] and not rows["n_undecided"].any()
    assert rows["share_certified"].tolist() == [1.0, 1.0, 1.0, 0.5, 0.5]
    assert rows["share_proved"].tolist() == [1.0, 1.0, 1.0, 0.75, 0.5]  # around (0, 0) all are proved
    assert rows["fewest_certified"].tolist() == rows["fewest_possible"].tolist() == [2, 2, 2, 4, 4]
    assert rows["n_changed"].fillna(-1).tolist() == [-1, 0, 0, 1, 1]
    assert not {"share_random", "share_certified_low"} & set(rows.columns)


def test_the_table_of_circuits_by_hand(hand: Result) -> None:
    table = frame(hand, "circuits").set_index(["circuit", "epsilon"])
    assert len(table) == 8 * 3
    first, both = table.loc[FIRST], table.loc[BOTH]
    assert first["n_proved"].tolist() == [2, 2, 1] and first["n_refuted"].tolist() == [0, 0, 1]
    assert first["largest_epsilon"].tolist() == [0.4] * 3 and first["hull"].tolist() == ["refuted"] * 3
    assert both["largest_epsilon"].tolist() == [0.6] * 3 and both["hull"].tolist() == ["proved"] * 3
    assert first["certified_minimality"].fillna("").tolist() == ["cardinal", "cardinal", ""]
    assert both["certified_minimality"].tolist() == ["no", "no", "cardinal"]  # from 0.6 on nothing within it holds
    assert (table["accuracy"] == 1).all() and (table["n_agreeing"] == 2).all()
    levels = table["certified_minimality"].fillna("").groupby("epsilon").value_counts()
    assert levels.to_dict() == {
        (0.2, "cardinal"): 1,
        (0.2, "no"): 7,
        (0.4, "cardinal"): 1,
        (0.4, "no"): 7,
        (0.6, "cardinal"): 1,
        (0.6, "no"): 3,
        (0.6, ""): 4,
    }


def test_counterexamples_by_hand(hand: Result) -> None:
    found = hand.arrays["counterexamples"]
    assert found["ablation"].tolist() == ["zero"] * 4 and found["output"].tolist() == ["0"] * 4
    assert found["circuit"][0] == FIRST and (np.diff(np.bitwise_count(found["circuit"]).astype(int)) >= 0).all()
    assert found["epsilon"].tolist() == [0.6] * 4 and found["example"].tolist() == found["nearest"].tolist() == [1] * 4
    x1, x2 = found["point"].T
    assert (abs(found["point"] - 1) <= 0.3).all()
    assert np.allclose(found["network_output"][:, 0], x1 + x2 / 5) and np.allclose(found["circuit_output"][:, 0], x1)
    assert found["network_answer"].tolist() == [2.0] * 4 and found["circuit_answer"].tolist() == [1.0] * 4
    assert "images" not in found


def test_only_the_hull_refutes() -> None:
    found = run(by_hand(epsilons=[0.2])).arrays["counterexamples"]
    assert len(found["circuit"]) == 4 and np.isnan(found["epsilon"]).all() and (found["example"] == -1).all()
    assert ((found["point"] >= 0) & (found["point"] <= 1)).all()
    assert not len(run(by_hand(epsilons=[0.2], hull=False)).arrays["counterexamples"]["circuit"])


def test_differences_by_hand(hand: Result) -> None:
    """Without x₂ the output misses up to 1/5; one circuit has no valid one within it."""
    rows = frame(hand, "difference").set_index("circuit")
    assert rows.loc[FIRST, "kind"] == "minimal" and rows.loc[0b11_1111, "kind"] == "full"
    assert rows["kind"].value_counts().to_dict() == {"minimal": 1, "full": 1, "drawn": 2}
    assert (rows["n_minimal"] == 1).all() and (rows["of_output"] == 0).all()
    assert rows.loc[FIRST, "low"] <= 0.2 + 1e-8 and rows.loc[FIRST, "high"] >= 0.2 - 1e-8  # 0.2 in float32
    assert rows.loc[FIRST, "high"] - rows.loc[FIRST, "low"] < 1e-6
    assert rows.loc[0b11_1111, ["low", "high"]].tolist() == [0, 0]


def test_the_answer_by_hand(hand: Result) -> None:
    assert hand.answer == (
        "With zero ablation 8 of 8 valid circuits answer all 2 test examples as the network does; everywhere in the "
        "boxes around them it is proved of 8 at ε = 0.2, 8 at ε = 0.4 and 4 at ε = 0.6; in the whole hull of the test "
        "examples of 4. None is undecided. The smallest valid circuit keeps 2 of 6 edges; the smallest certified one "
        "keeps 2 at ε = 0.2 and 0.4; 4 at ε = 0.6 and in the hull. The network itself changes its answer in boxes: "
        "1 of 2 at ε = 0.6. In the hull it changes its answer."
    )
    assert hand.metrics == {
        "accuracy": 1.0,
        "certified": 1.0,  # at 0.4, the second size
        "n_valid/zero": 8,
        "fewest_valid/zero": 2,
        "certified/zero": 1.0,
        "fewest_certified/zero": 2,
    }


def test_without_a_valid_circuit() -> None:
    data = replace(two_points(), y_test=torch.tensor([5.0, 5.0]))
    setting = by_hand()
    result = run(replace(setting, dataset=data, config=replace(setting.config, valid=setting.config.valid.task)))
    rows = frame(result)
    assert not rows["n_valid"].any() and not rows["n_certified"].any()
    assert rows[["share_certified", "share_proved", "fewest_valid", "fewest_certified"]].isna().to_numpy().all()
    assert rows["n_changed"].fillna(-1).tolist() == [-1, 0, 0, 1, 1]  # the network's own
    assert result.answer == "With zero ablation no circuit is valid: no accuracy is above 0.8."
    assert not result.figures and np.isnan(result.metrics["certified"])


# --- two routes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_each_circuit_alone(ablation: str) -> None:
    model = of_seed([6, 2, 2, 1])
    data = own_answers(model, values(12))
    given = setting_of(model, data, ablation=LeftOut[ablation], epsilons=[0.1, 0.5], controls=False, last_layers=2)
    table = frame(run(given), "circuits")
    network = network_of(given, given.graph(), "trained")
    part, x = network.part.to(DOUBLE), network.test.entering.double()
    means = means_of(part, x, ablation)
    assert len(table) > 10 and table["n_refuted"].any() and table["n_proved"].any()
    for row in table.to_dict("records"):
        status = certify(part, row["circuit"], x, row["epsilon"], means=means).status
        assert [status.count(known) for known in ("proved", "refuted", "undecided")] == [
            row["n_proved"],
            row["n_refuted"],
            row["n_undecided"],
        ]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_classes_together(activation: type[nn.Module]) -> None:
    model = of_seed([6, 2, 2, 3], activation=activation)
    data = own_answers(model, classes(12))
    given = setting_of(model, data, epsilons=[0.3], last_layers=2, untrained=of_seed([6, 2, 2, 3], 9, activation))
    result = run(given)
    rows, found = frame(result), result.arrays["counterexamples"]
    assert set(rows["output"]) == {"all"} and (rows["n_certified"] >= 1).all()  # the network itself
    assert found["circuit_output"].shape == (len(found["circuit"]), 3)
    assert (found["circuit_output"].argmax(1) != found["network_output"].argmax(1)).all() and len(found["circuit"])
    differences = frame(result, "difference")
    assert set(differences["of_output"]) == {0, 1, 2} and (differences["low"] <= differences["high"]).all()
    table = frame(result, "circuits")
    part = find_part(given.graph(), 2)
    full = table[table["circuit"] == CircuitSpace(part.sizes).full]
    assert len(full) == 2 and (full["largest_epsilon"] == 0.3).all() and (full["hull"] == "proved").all()


def test_values_output_by_output() -> None:
    model = of_seed([6, 2, 2, 2])
    data = values(12)
    with torch.no_grad():
        data = replace(data, y_train=model(data.x_train).round(), y_test=model(data.x_test).round())
    result = run(setting_of(model, data, epsilons=[0.1], last_layers=2, controls=False, ablation=LeftOut.mean))
    assert frame(result)["output"].drop_duplicates().tolist() == [0, 1]
    difference = frame(result, "difference")
    assert (difference["of_output"] == difference["output"]).all()
    assert result.answer.startswith("This is the first of 2 outputs.")


# --- examples, samples, controls -------------------------------------------------------------------------------------


def test_examples_that_have_boxes() -> None:
    y = torch.tensor([2.0, 0.0, 2.0, 2.0, 0.0, 1.0])
    assert rows_with_boxes(y, None).tolist() == list(range(6))
    assert rows_with_boxes(y, 2).tolist() == [0, 1, 2, 4, 5]
    assert rows_with_boxes(torch.stack([y, -y], 1), 1).tolist() == [0, 1, 5]


def test_some_examples_have_boxes_in_units_of_all() -> None:
    """The first two examples have boxes, in standard deviations of all five: 0.49 and 2.24.

    At ε = 0.4 the network reaches 1.196 + 1.898 / 5 > 1.5 around (1, 1); with its own two examples alone as the unit it
    wouldn't. At 0.6 it also reaches 0.294 + 1.347 / 5 > 0.5 around (0, 0).
    """
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 6.0]])
    y = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
    given = by_hand(examples=1, accuracy_threshold=0.7)
    rows = frame(run(replace(given, dataset=Dataset("arrays", x, y, x, y, None))))
    assert rows["n_examples"].tolist() == [2, 2, 2, 2, 1] and (rows["n_valid"] == 8).all()
    assert rows["n_certified"].tolist() == [8, 8, 4, 4, 4]
    assert rows["n_changed"].fillna(-1).tolist() == [-1, 0, 1, 2, 1]


def test_of_more_circuits_a_sample_is_decided() -> None:
    result = run(by_hand(max_circuits=5))
    rows = frame(result)
    assert (rows["n_valid"] == 8).all() and (rows["n_decided"] == 5).all()
    for row in rows.to_dict("records"):
        low, high = wilson_interval(row["n_certified"], 5)
        assert (row["share_certified_low"], row["share_certified_high"]) == (low, high)
    assert (rows["fewest_possible"] == 2).all() and (rows["fewest_certified"] >= 2).all()
    assert frame(result, "circuits")["certified_minimality"].isna().all()
    assert "With zero ablation 5 of a sample of 5 of 8 valid circuits answer all 2 test examples" in result.answer
    assert "at ε = 0.4 is 1 (" in result.answer


def test_controls_are_decided_as_valid_circuits_are() -> None:
    model, untrained = of_seed([6, 2, 2, 1]), of_seed([6, 2, 2, 1], 9)
    given = setting_of(model, own_answers(model, values(12)), untrained=untrained, epsilons=[0.1, 0.5], last_layers=2)
    result = run(given)
    rows, controls = frame(result), frame(result, "controls")
    assert len(controls) == 2 * len(rows)
    keys = ["ablation", "output", "region"]
    for name in ("random", "untrained"):
        own = rows.merge(controls[controls["control"] == name], on=keys, suffixes=("", "_of_control"))
        assert (own[f"share_{name}"] == own["share_certified_of_control"]).all()
    assert (controls.loc[controls["control"] == "random", "n_decided"] == 30).all()
    at_examples = controls[(controls["control"] == "untrained") & (controls["region"] == "examples")]
    assert (at_examples["share_certified"] > 0).all()
    share = rows.set_index(keys)["share_random"]
    for ablation in ("zero", "mean"):  # certified in a larger box is certified in a smaller one, and at the examples
        along = [share[ablation, 0, region] for region in ("examples", "box_0.1", "box_0.5")]
        assert along == sorted(along, reverse=True)


def decided_by_hand() -> Decided:
    given = by_hand()
    return decide_output(given, network_of(given, given.graph(), "trained"), None, 0, "zero", "task")


def test_random_circuits_are_those_that_are_drawn() -> None:
    given = by_hand(controls=True, untrained=sum_of_two(), control_circuits=200)
    decided = decide_output(given, network_of(given, given.graph(), "trained"), None, 0, "zero", "task")
    random = decided.controls["random"]
    drawn, _ = chance_circuits(decided.search, 200, torch.Generator().manual_seed(0))
    assert len(random.circuits) == len(drawn) == 200
    computes = Edges((2, 2, 1)).rows(random.circuits)
    has_first, has_second = computes[:, 0] & computes[:, 4], computes[:, 3] & computes[:, 5]
    boxes = {known.region: known for known in random.regions}
    assert np.array_equal(boxes["box_0.4"].is_certified, has_first)  # without x₁ the output is below ½ at (1, 1)
    assert np.array_equal(boxes["box_0.6"].is_certified, has_first & has_second)


# --- witnesses -------------------------------------------------------------------------------------------------------


def test_a_point_that_does_not_replay_ends_the_run() -> None:
    decided = decided_by_hand()
    boxes = decided.valid.boxes
    wrong = replace(boxes, witness=np.where(np.isnan(boxes.witness), np.nan, 0.0))
    broken = replace(decided, valid=Population(decided.valid.circuits, 8, wrong, decided.valid.hull))
    with pytest.raises(
        RunFailed, match=re.escape("zero ablation, output 0: at 4 of 4 points at which circuits are said")
    ):
        counterexamples(broken)


def test_nearest_examples_in_standard_deviations() -> None:
    x = torch.tensor([[0.0, 0.0, 7.0], [1.0, 0.0, 7.0], [0.0, 100.0, 7.0], [1.0, 100.0, 7.0]], dtype=torch.float64)
    points = np.array([[0.9, 30.0, 1e6], [0.2, 60.0, 7.0], [0.5, 0.0, 7.0]])
    assert nearest_examples(points, x).tolist() == [1, 2, 0]  # the third input never varies; the first of equal ones
    assert nearest_examples(points[:0], x).shape == (0,)


def test_images_nearest_to_counterexamples() -> None:
    data = replace(two_points(), flattened_from=(1, 1, 2))
    result = run(replace(by_hand(), dataset=data))
    found = result.arrays["counterexamples"]
    assert found["images"].shape == (4, 1, 1, 2) and (found["images"] == 1).all()
    drawn = result.figures["counterexamples_0_zero"]()
    (axes,) = drawn.axes
    (text,) = (text.get_text() for text in axes.texts)  # one for each image
    output = float(found["network_output"][0, 0])
    assert text.splitlines()[:2] == ["2 edges, ε = 0.6", f"network {output:.3f} → 2"]


# --- minimality with undecided circuits ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("undecided", "first", "both"),
    [([], "cardinal", "no"), ([FIRST], None, None), ([BOTH], "cardinal", None)],
)
def test_minimality_says_what_is_proved(undecided: list[int], first: str | None, both: str | None) -> None:
    """x₁ alone lies within x₁ and x₂; while it is undecided, nobody knows whether the larger one is minimal."""
    space = CircuitSpace((2, 2, 1), "any")
    population = Population(np.array([FIRST, BOTH], dtype=np.uint64), 2, None, None)  # type: ignore[arg-type]
    is_open = np.isin(population.circuits, undecided)
    known = InRegion("box_1", 1.0, 1, ~is_open * 1, ~is_open, np.zeros(2, dtype=bool), 0)
    assert certified_minimality(space, population, known).tolist() == [first, both]


def test_an_undecided_circuit_elsewhere_leaves_subset_minimality() -> None:
    """x₁ and x₂ contains no certified or undecided one; the undecided path x₁ → h₂ is smaller, and not within it."""
    space = CircuitSpace((2, 2, 1), "any")
    population = Population(np.array([0b10_0100, BOTH], dtype=np.uint64), 2, None, None)  # type: ignore[arg-type]
    certified = np.array([False, True])
    known = InRegion("box_1", 1.0, 1, certified * 1, certified, np.zeros(2, dtype=bool), 0)
    assert certified_minimality(space, population, known).tolist() == [None, "subset"]


# --- options, figures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sizes", "text"), [([], "[]"), ([0.1, 0.3, 0.1], "[0.1,0.3,0.1]"), ([float("inf")], "[inf]")])
def test_sizes_of_boxes_that_are_refused(sizes: list[float], text: str) -> None:
    wanted = f"experiment.epsilons={text}: name at least one size of boxes, each finite and once."
    with pytest.raises(ConfigError, match=re.escape(wanted)):
        robustness.check(by_hand(epsilons=sizes))


def test_too_many_edges_are_refused() -> None:
    model = of_seed([6, 6, 6, 1])
    with pytest.raises(ConfigError, match="64"):
        robustness.check(setting_of(model, values(), controls=False))


def test_shares_are_drawn_as_the_table_has_them(hand: Result) -> None:
    (axes,) = hand.figures["regions_0"]().axes
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    assert heights == [[1, 1, 1, 0.5, 0.5], [0] * 5, [0, 0, 0, 0.5, 0.5]]
    assert [text.get_text() for text in axes.texts] == ["8", "8", "8", "4", "4"]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "examples\nalone",
        "ε = 0.2",
        "ε = 0.4",
        "ε = 0.6",
        "hull",
    ]


def test_controls_are_drawn_beside() -> None:
    model, untrained = of_seed([6, 2, 2, 1]), of_seed([6, 2, 2, 1], 9)
    result = run(setting_of(model, own_answers(model, values(12)), untrained=untrained, epsilons=[0.1], last_layers=2))
    rows = frame(result)
    drawn = result.figures["regions_0"]()
    assert [axes.get_title()[:13] for axes in drawn.axes] == ["zero ablation", "mean ablation"]
    for axes, ablation in zip(drawn.axes, ("zero", "mean"), strict=True):
        lines = {line.get_label(): line.get_ydata() for line in axes.lines}
        for column, (words, _, _) in figures.CONTROLS.items():
            assert np.array_equal(lines[words], rows.loc[rows["ablation"] == ablation, column])


def test_edges_are_drawn_as_the_table_has_them(hand: Result) -> None:
    (axes,) = hand.figures["edges_0"]().axes
    lines = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    assert lines == {
        "zero ablation: smallest valid": [2, 2],
        "zero ablation: smallest certified": [2, 2, 2, 4, 4],
    }


def test_a_planted_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The planted circuit is the smallest valid one, and it holds around the Boolean inputs."""
    arguments = (
        *("experiment=robustness", "model=planted", "dataset=logic", "model.formula=A ^ B", "experiment.inputs=any"),
        *("experiment.last_layers=null", "experiment.epsilons=[0.2]", "report=false", f"output_dir={tmp_path}"),
    )
    assert command.main(list(arguments)) == 0
    folder = Path(capsys.readouterr().out.splitlines()[-1])
    rows = pd.read_csv(folder / "metrics.csv")
    assert rows["share_untrained"].isna().all() and (rows["n_certified"] >= 1).all()
    assert (rows["fewest_certified"] == rows["fewest_valid"]).all()
