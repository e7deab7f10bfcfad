"""What the valid circuits of one network share: tables, bounds of samples, the answer, a run by the command line."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mi_runner.cli import command
from mi_runner.config.experiments.circuit_options import CircuitInputs, Valid
from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.experiments import Result, Setting
from mi_runner.experiments.circuits import experiment as circuits
from mi_runner.experiments.circuits import sharing
from mi_runner.experiments.circuits.sharing import Sharing, smallest_cut
from mi_runner.methods.circuits.space import INPUTS, CircuitSpace
from mi_runner.models.mlp import MLP
from mi_runner.training.options import TrainingOptions
from tests.small_data import classes, values

NUMBERS = ("n_backbone", "packing_low", "packing_high", "blocking_low", "blocking_high")


def setting(weights: int = 6, **options: Any) -> Setting:
    """A network whose circuits differ, because its weights are large; the seed of the weights says how."""
    torch.manual_seed(weights)
    model = MLP([6, 4, 2, 2, 1], nn.Tanh, nn.Sigmoid())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3
    config = CircuitsConfig(**{"valid": Valid.agreement, **options})
    return Setting(config, TrainingOptions(), model.eval(), values(70))


def shared_of(result: Result) -> dict[str, Any]:
    (row,) = result.tables["shared"]
    return dict(row)


def valid_of(result: Result) -> list[int]:
    table: pd.DataFrame = result.tables["circuits"]
    return table.loc[table["valid"], "circuit"].tolist()


def jaccard(one: int, other: int) -> float:
    return (one & other).bit_count() / (one | other).bit_count()


@pytest.mark.parametrize("threshold", [0.8, 0.9])
def test_the_tables_say_of_the_valid_circuits_what_a_loop_over_them_says(threshold: float) -> None:
    result = circuits.run(setting(accuracy_threshold=threshold, inputs=CircuitInputs.any))
    row, valid = shared_of(result), valid_of(result)
    minimal = [one for one in valid if not any(other != one and other & ~one == 0 for other in valid)]
    common = int(np.bitwise_and.reduce(np.array(valid, dtype=np.uint64)))
    assert (row["n_valid"], row["n_minimal"], row["n_backbone"]) == (len(valid), len(minimal), common.bit_count())
    assert row["overlap"] == pytest.approx(np.mean([jaccard(*pair) for pair in itertools.combinations(valid, 2)]))
    of_minimal = [jaccard(*pair) for pair in itertools.combinations(minimal, 2)]
    assert row["overlap_minimal"] == pytest.approx(np.mean(of_minimal))
    blocked = [name for name in row["blocking_edges"].split()]
    places = {f"{e['layer']}:{e['source']}→{e['target']}": n for n, e in enumerate(result.tables["edges"])}
    mask = sum(1 << places[name] for name in blocked)
    assert all(circuit & mask for circuit in valid) and row["blocking_low"] == row["blocking_high"] == len(blocked)
    packed = [int(bits) for bits in row["packing_circuits"].split()]
    assert row["packing_low"] == row["packing_high"] == len(packed) and set(packed) <= set(valid)
    assert not any(one & other for one, other in itertools.combinations(packed, 2))
    assert row["overlap_low"] is None and row["overlap_chance_low"] < row["overlap_chance"] < row["overlap_chance_high"]
    (metrics,) = result.tables["metrics"]
    assert metrics["mean_jaccard"] == metrics["overlap"] == row["overlap"] == result.metrics["overlap"]
    assert all(metrics[name] == row[name] == result.metrics[name] for name in NUMBERS)


def test_the_distribution_of_overlaps_has_all_pairs_and_its_mean() -> None:
    result = circuits.run(setting(accuracy_threshold=0.5))
    row, bins = shared_of(result), pd.DataFrame(result.tables["overlaps"])
    for which, n in (("valid", row["n_valid"]), ("minimal", row["n_minimal"])):
        own = bins[bins["which"] == which]
        assert len(own) == sharing.BINS and own["n_pairs"].sum() == n * (n - 1) / 2
        assert own["share"].sum() == pytest.approx(1) and own["share_chance"].sum() == pytest.approx(1)
        name = "overlap" if which == "valid" else "overlap_minimal"
        for share, mean in (("share", row[name]), ("share_chance", row[f"{name}_chance"])):
            low, high = ((own[share] * own[end]).sum() for end in ("overlap_from", "overlap_to"))
            assert low <= mean <= high
    figure = result.figures["overlaps_0"]()
    assert [axes.get_title() for axes in figure.axes] == ["valid circuits", "subset-minimal valid circuits"]


def test_bounds_of_a_sample_hold_for_all_valid_circuits() -> None:
    given = setting(accuracy_threshold=0.5, inputs=CircuitInputs.any, shared=True)
    whole = shared_of(circuits.run(given))
    assert whole["n_backbone"] == 0
    for seed in range(3):
        limited = replace(given, config=replace(given.config, max_table_rows=150), seed=seed)
        sampled = shared_of(circuits.run(limited))
        assert sampled["n_backbone"] == 0 and sampled["n_valid"] == whole["n_valid"] > 150
        assert sampled["packing_low"] <= whole["packing_low"] <= sampled["packing_high"]
        assert 2 <= sampled["blocking_low"] <= whole["blocking_low"] <= sampled["blocking_high"]
        assert sampled["n_minimal"] is None and sampled["overlap_minimal"] is None
        assert sampled["overlap_low"] < sampled["overlap"] < sampled["overlap_high"]
        assert sampled["overlap_low"] - 0.02 < whole["overlap"] < sampled["overlap_high"] + 0.02
        assert sampled["overlap_chance"] == pytest.approx(whole["overlap_chance"])


def test_a_backbone_is_known_exactly_where_valid_circuits_are_sampled() -> None:
    given = setting(accuracy_threshold=0.9, shared=True)
    whole = shared_of(circuits.run(given))
    assert whole["n_backbone"] > 0 and whole["n_valid"] > 20
    sampled = shared_of(circuits.run(replace(given, config=replace(given.config, max_table_rows=20))))
    for name in (*NUMBERS, "backbone_edges", "blocking_edges"):
        assert sampled[name] == whole[name]


def test_when_it_is_computed() -> None:
    for options, is_there in (({}, True), ({"shared": False}, False), ({"max_table_rows": 10}, False)):
        result = circuits.run(setting(accuracy_threshold=0.5, **options))
        assert ("shared" in result.tables) == ("overlaps" in result.tables) == is_there
        assert ("n_backbone" in result.tables["metrics"][0]) == is_there
        assert ("n_backbone" in result.metrics) == (options.get("shared") is None)
        assert ("random circuits" in result.answer) == is_there
    alone = circuits.run(setting(accuracy_threshold=0.5, pairs=False))
    assert np.isnan(alone.metrics["mean_jaccard"]) and alone.metrics["overlap"] > 0


def test_without_valid_circuits_and_with_one() -> None:
    result = circuits.run(setting(accuracy_threshold=0.99, valid=Valid.task))
    row = shared_of(result)
    assert row["n_valid"] == row["n_minimal"] == 0 and "overlaps" not in result.tables
    assert all(value is None for name, value in row.items() if name not in ("output", "n_valid", "n_minimal"))
    assert "edge" not in result.answer and "overlaps_0" not in result.figures
    alone = circuits.run(setting(weights=4, accuracy_threshold=0.99))
    row = shared_of(alone)
    assert (row["n_valid"], row["n_minimal"], row["packing_low"], row["blocking_high"]) == (1, 1, 1, 1)
    assert row["overlap"] is None and row["overlap_chance"] is None and row["n_backbone"] == 14
    assert "overlap" not in alone.answer


def test_outputs_one_by_one_and_classes_together() -> None:
    torch.manual_seed(0)
    network, data = MLP([6, 2, 2, 2], nn.Tanh).eval(), values(40)
    y = torch.stack([data.y_train, 1 - data.y_train], 1)
    data = replace(data, y_train=y, y_test=torch.stack([data.y_test, 1 - data.y_test], 1))
    config = CircuitsConfig(last_layers=2, accuracy_threshold=0.3)
    rows = circuits.run(Setting(config, TrainingOptions(), network, data)).tables["shared"]
    assert [row["output"] for row in rows] == [0, 1]
    result = circuits.run(Setting(replace(config, shared=True), TrainingOptions(), network, classes(40, 6, 2)))
    assert shared_of(result)["output"] == "all" and "overlaps_all" in result.figures


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("sizes", [(2, 2, 1), (3, 2, 2), (2, 3, 1, 1), (3, 2), (1, 3, 2)])
def test_every_circuit_of_a_family_keeps_an_edge_of_the_cut(sizes: tuple[int, ...], inputs: str) -> None:
    space = CircuitSpace(sizes, inputs)
    sets = np.arange(1 << space.n_edges, dtype=np.uint64)
    family = sets[space.are_well_formed(sets)]
    assert (family & np.uint64(smallest_cut(space))).all()


def test_a_run_and_a_sweep_over_seeds_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["dataset=logic", "model.hidden_sizes=[2,2]", "training.epochs=1", "experiment.accuracy_threshold=0.4"]
    arguments = ["experiment=circuits", *small, f"output_dir={tmp_path}"]
    assert command.main(arguments) == 0
    folder = Path(capsys.readouterr().out.splitlines()[-1])
    row = pd.read_csv(folder / "shared.csv").iloc[0]
    metrics = json.loads((folder / "run.json").read_text())["metrics"]
    assert metrics["n_backbone"] == row["n_backbone"] and metrics["overlap"] == pytest.approx(row["overlap"])
    assert (folder / "overlaps.csv").exists() and list(folder.glob("figures/overlaps_0.*"))
    assert command.main(["-m", *arguments, "seed=1,2"]) == 0
    sweep = Path(capsys.readouterr().out.splitlines()[-1])
    summary = pd.read_csv(sweep / "sweep_summary.csv")
    assert {*NUMBERS, "overlap", "overlap_chance"} <= set(summary["measure"])
    assert "what" in pd.read_csv(sweep / "sweep_shared.csv")  # of two networks


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (None, None, "above the 0.5 of random circuits"),
        (0.55, 0.65, "above the 0.5 of random circuits"),
        (0.45, 0.75, "not told apart from the 0.5 of random circuits"),
    ],
)
def test_a_sampled_overlap_is_above_chance_only_if_the_intervals_are_apart(
    low: float | None, high: float | None, words: str
) -> None:
    row = {"n_valid": 9, "n_minimal": None, "n_backbone": 1, "backbone_edges": "0:0→1"}
    overlap = {"overlap": 0.6, "overlap_low": low, "overlap_high": high}
    chance = {"overlap_chance": 0.5, "overlap_chance_low": 0.49, "overlap_chance_high": 0.51}
    of_no_pairs: Any = None
    assert words in Sharing({**row, **overlap, **chance}, of_no_pairs, None).sentence
