"""The methods that count circuits say the same of one network: exactly, or with an interval that has the number."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mi_runner.config.experiments.circuit_options import JudgeOn, Valid
from mi_runner.config.experiments.circuits import CircuitMethod, CircuitsConfig, CircuitTable
from mi_runner.errors import ConfigError
from mi_runner.experiments import Result, Setting
from mi_runner.experiments.circuits import experiment as circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.models.mlp import MLP
from mi_runner.training.options import TrainingOptions
from tests.small_data import values

EXACT = ("table", "census", "halves")


def run(method: str, *, n: int = 8, **options: Any) -> Result:
    torch.manual_seed(3)
    model, data = MLP([6, 3, 3, 1], nn.ReLU), values(70)
    with torch.no_grad():
        x = data.x_test[:n]
        data = replace(
            data, x_test=x, y_test=model(x).round().squeeze(1), x_train=x, y_train=model(x).round().squeeze(1)
        )
    given = CircuitsConfig(
        last_layers=2,
        method=CircuitMethod[method],
        valid=Valid.task,
        accuracy_threshold=0.99,
        **{"pairs": False, "shared": False} | options,
    )
    return circuits.run(Setting(given, TrainingOptions(), model.eval(), data))


def test_exact_methods_agree_and_a_sample_has_the_number_in_its_interval() -> None:
    rows = {method: run(method, samples=20_000).tables["metrics"][0] for method in (*EXACT, "sample")}
    names = ("n_circuits", "n_valid", "n_valid_partial", "n_circuits_partial", "n_valid_low", "n_valid_high")
    exact = [[rows[method][name] for name in names] for method in EXACT]
    assert exact[0] == exact[1] == exact[2] and 10 < rows["table"]["n_valid"] < rows["table"]["n_circuits"] - 10
    assert rows["halves"]["n_cardinal"] == rows["table"]["n_cardinal"] > 0
    sampled = rows["sample"]
    assert [sampled[name] for name in names[::3]] == [exact[0][0], exact[0][3]]
    assert 0 < sampled["n_valid_low"] <= rows["table"]["n_valid"] <= sampled["n_valid_high"]
    assert sampled["n_valid_low"] < sampled["n_valid"] < sampled["n_valid_high"] and sampled["n_sampled"] >= 20_000
    assert sampled["n_quasi"] is None and rows["table"]["n_sampled"] is None
    assert {method: row["method"] for method, row in rows.items()} == {method: method for method in rows}


def test_edges_and_accuracies_of_a_sample_are_near_those_of_all_circuits() -> None:
    whole, sampled = run("table"), run("sample", samples=20_000)
    for row, one in zip(whole.tables["edges"], sampled.tables["edges"], strict=True):
        assert row["share_low"] == row["share"] == row["share_high"] and one["n_valid"] is None
        assert abs(one["share"] - row["share"]) < 0.1
        if row["in_every"]:
            assert one["in_every"] is None and 0 < one["without_high"] < 0.1
        assert row["in_every"] or one["in_every"] is False
    keys = ("n_edges_low", "n_edges_high", "accuracy_from")
    every = {tuple(row[key] for key in keys): row for row in whole.tables["accuracy"]}
    for one in sampled.tables["accuracy"]:
        row = every[tuple(one[key] for key in keys)]
        assert one["n_circuits"] == row["n_circuits"] and one["share_low"] <= one["share_high"]
    listed = sampled.tables["circuits"]
    assert len(listed) and listed["valid"].all()
    found = whole.tables["circuits"].set_index("circuit").loc[listed["circuit"]]
    assert found["valid"].all() and (found["n_edges"].to_numpy() == listed["n_edges"].to_numpy()).all()


@pytest.mark.parametrize("method", ["sample", "halves"])
@pytest.mark.parametrize("options", [{"judge_on": JudgeOn.train}, {"table": CircuitTable["none"]}, {"truth": True}])
def test_what_is_not_known_is_empty(method: str, options: dict[str, Any], tmp_path: Path) -> None:
    if "truth" in options:
        file = tmp_path / "truth.csv"
        with file.open("w", newline="") as opened:
            rows = [("layer", "source", "target"), *((0, source, 0) for source in range(3)), (1, 0, 0)]
            csv.writer(opened).writerows(rows)
        options = {"truth": str(file)}
    result = run(method, samples=2_000, **options)
    row = result.tables["metrics"][0]
    assert row["n_subset"] is None and np.isnan(result.metrics["n_subset"]) and row["n_valid"] > 0
    assert ("circuits" in result.tables) == (method == "sample" and "table" not in options)
    if "truth" in options:
        assert row["n_equally_valid"] is None
        assert method == "halves" or "is_truth" in result.tables["circuits"]
    if "judge_on" in options:
        assert row["n_found"] == row["n_judged"] == 8 and (method == "halves") == (row["still_valid"] is None)


def test_auto_draws_a_sample_where_no_exact_method_fits_into_the_budget(caplog: pytest.LogCaptureFixture) -> None:
    row = run("auto", n=70, budget=1e-9, samples=1_000_000).tables["metrics"][0]
    assert row["method"] == "sample" and 1_000 <= row["n_sampled"] < 3_000
    assert run("auto").tables["metrics"][0]["method"] == "table"
    assert run("auto", max_table_rows=10).tables["metrics"][0]["method"] == "census"


def of(sizes: tuple[int, ...], **options: Any) -> Setting[CircuitsConfig]:
    torch.manual_seed(3)
    model, data = MLP(list(sizes), nn.LeakyReLU), values(20)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 5  # so that answers differ from circuit to circuit
    given = {"pairs": False, "shared": False, "valid": Valid.agreement, "accuracy_threshold": 0.3} | options
    return Setting(CircuitsConfig(**given), TrainingOptions(), model.eval(), data)


def test_a_census_without_codes_is_refused_and_auto_samples(caplog: pytest.LogCaptureFixture) -> None:
    wide = {"sizes": (6, 8, 8, 1), "last_layers": 3}
    why = "a census of more than 64 edges takes at most 9.22·10¹⁸ codes, and layers of 6-8-8-1 neurons have 120 edges"
    for options in ({"method": CircuitMethod.census}, {"parts": 9, "part": 1}):
        with pytest.raises(ConfigError, match=f"{why} and 4.92·10³³ codes. Type experiment.method=auto"):
            circuits.check(of(**wide, **options))
    circuits.check(of(**wide))
    caplog.set_level("INFO")
    row = circuits.run(of(**wide, samples=1_000)).tables["metrics"][0]
    assert row["method"] == "sample" and row["n_circuits"] == CircuitSpace((6, 8, 8, 1)).count()
    assert f"(experiment.method=auto: they don't fit into a table, and {why}" in caplog.text


def test_thin_layers_of_more_than_64_edges_have_a_census() -> None:
    """60-1-3-3-1 has 75 edges and 511 circuits: all in a table, or counted, each of them listed, or a sample."""
    thin = {"sizes": (6, 60, 1, 3, 3, 1), "last_layers": 4}
    table, census, typed, few = (
        circuits.run(of(**thin, **options))
        for options in ({}, {"max_table_rows": 510}, {"method": CircuitMethod.census}, {"max_table_rows": 5})
    )
    methods = [result.tables["metrics"][0]["method"] for result in (table, census, typed, few)]
    assert methods == ["table", "census", "census", "census"]
    for result in (census, typed, few):
        for name in ("census", "edges", "accuracy"):
            assert result.tables[name] == table.tables[name]
        circuits_of_both = result.tables["circuits"].merge(table.tables["circuits"], on="circuit")
        assert len(circuits_of_both) == len(result.tables["circuits"])
        assert (circuits_of_both["accuracy_x"] == circuits_of_both["accuracy_y"]).all()
    valid = table.tables["circuits"][table.tables["circuits"]["valid"]]
    assert 5 < len(valid) < 511 and len(few.tables["circuits"]) == 5
    for result in (census, typed):
        assert result.tables["circuits"]["circuit"].tolist() == valid["circuit"].tolist()
        assert result.tables["circuits"]["minimality"].tolist() == valid["minimality"].tolist()
