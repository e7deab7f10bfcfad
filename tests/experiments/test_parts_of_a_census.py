"""A census in parts: the whole that is made from the runs of its parts is that of one run, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from mi_runner.config.composition import flattened
from mi_runner.config.experiments.circuit_options import CircuitInputs, EdgeAblation, JudgeOn, Valid
from mi_runner.config.experiments.circuits import CircuitMethod, CircuitsConfig, CircuitTable
from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError
from mi_runner.experiments import Result, Setting
from mi_runner.experiments.circuits.experiment import EXPERIMENT
from mi_runner.models.mlp import MLP
from mi_runner.runs.beside import Beside
from mi_runner.runs.run_folder import RunFolder
from mi_runner.runs.saved_files import RunFiles
from mi_runner.runs.writing import write
from mi_runner.training.options import TrainingOptions
from tests.commands import check
from tests.small_data import classes, values

PARTS = 3

THIN = {
    "sizes": (6, 70, 1, 3, 3, 1),
    "last_layers": 4,
    "accuracy_threshold": 0.9,
    "valid": Valid.agreement,
}
"""85 edges and 511 circuits, of which 248 are valid."""


def setting(data: Dataset | None = None, sizes: Sequence[int] = (6, 4, 2, 2, 1), **options: Any) -> Setting:
    torch.manual_seed(4)
    model = MLP(list(sizes), nn.LeakyReLU, nn.LeakyReLU() if data is None else nn.Identity())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 2  # so that answers differ from circuit to circuit
    chosen = {"accuracy_threshold": 0.5, "method": CircuitMethod.census, "shared": False} | options
    return Setting(CircuitsConfig(**chosen), TrainingOptions(), model.eval(), data or values(70), seed=5)


def saved(folder: Path, given: Setting, result: Result) -> RunFiles:
    folder.mkdir(parents=True)
    write(RunFolder(folder), result, None, {}, Beside(None))
    config = {"experiment": "circuits", **flattened(given.config, "experiment.")}
    return RunFiles(folder, f"job {folder.name}", str(given.seed), given.seed, config)


def parts_of(folder: Path, given: Setting, n: int = PARTS) -> list[RunFiles]:
    found = []
    for number in range(1, n + 1):
        of_part = replace(given, config=replace(given.config, parts=n, part=number))
        EXPERIMENT.check(of_part)
        found.append(saved(folder / str(number), of_part, EXPERIMENT.run(of_part)))
    return found


def merged(runs: Sequence[RunFiles]) -> Result:
    assert EXPERIMENT.merge_parts is not None
    return EXPERIMENT.merge_parts(runs)


def without_seconds(result: Result) -> dict[str, Any]:
    tables = {name: pd.DataFrame(rows) for name, rows in result.tables.items()}
    return {name: table.drop(columns="seconds", errors="ignore") for name, table in tables.items()}


def assert_equal(found: Result, expected: Result) -> None:
    """All tables, bit for bit, but the seconds; the numbers of the summary; the figures' names."""
    tables, wanted = without_seconds(found), without_seconds(expected)
    assert tables.keys() == wanted.keys()
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, wanted[name], check_exact=True)
    assert str(dict(found.metrics)) == str(dict(expected.metrics))
    assert found.figures.keys() == expected.figures.keys()
    assert found.answer == f"{expected.answer} Counted in {PARTS} parts."


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ablation": EdgeAblation.mean, "inputs": CircuitInputs.any, "valid": Valid.agreement},
        {"max_table_rows": 50},
        {"accuracy_threshold": 0.7, "shared": True, "shared_seconds": 0.0},
        {"table": CircuitTable.none},
        {"judge_on": JudgeOn.half},
        {"accuracy_threshold": 1.0},
        THIN,
        THIN | {"max_table_rows": 50},
    ],
    ids=["all", "mean", "sample", "shared", "none", "half", "no circuit", "85 edges", "85 edges, sample"],
)
def test_the_whole_is_that_of_one_run(options: dict[str, Any], tmp_path: Path) -> None:
    given = setting(**options)
    runs = parts_of(tmp_path, given)
    assert_equal(merged(runs[::-1]), EXPERIMENT.run(given))


def test_classes_together_and_values_one_by_one(tmp_path: Path) -> None:
    together = setting(classes(30), (6, 3, 2, 3), last_layers=2, accuracy_threshold=0.3)
    assert_equal(merged(parts_of(tmp_path / "a", together)), EXPERIMENT.run(together))
    data = values(30)
    several = replace(data, y_train=torch.stack([data.y_train] * 2, 1), y_test=torch.stack([data.y_test] * 2, 1))
    one_by_one = setting(several, (6, 3, 3, 2), last_layers=2, accuracy_threshold=0.3)
    assert_equal(merged(parts_of(tmp_path / "b", one_by_one)), EXPERIMENT.run(one_by_one))


def test_a_part_leaves_empty_what_all_parts_together_say(tmp_path: Path) -> None:
    given = setting(judge_on=JudgeOn.half)
    of_part = replace(given, config=replace(given.config, parts=PARTS, part=2))
    result = EXPERIMENT.run(of_part)
    (row,) = result.tables["metrics"]
    assert 0 < row["n_valid"] < row["n_circuits"] == EXPERIMENT.cost(of_part)["circuits"]
    unknown = ("n_quasi", "n_local", "n_subset", "n_cardinal", "mean_jaccard", "pairs_contained", "still_valid")
    assert [row[name] for name in unknown] == [None] * len(unknown)
    assert {row["share"] for row in result.tables["edges"]} == {None}
    assert result.tables["circuits"]["minimality"].isna().all()
    assert not result.figures and not result.pictures and "shared" not in result.tables
    assert result.answer.startswith(f"Part 2 of 3: {row['n_valid']:,} of {row['n_circuits']:,} circuits are valid: ")


def test_more_parts_than_work(tmp_path: Path) -> None:
    """Some parts have no circuit, and so no census.csv."""
    given = setting(sizes=(6, 2, 2, 1), last_layers=2)
    runs = parts_of(tmp_path, given, 12)
    assert not all((run.folder / "census.csv").exists() for run in runs)
    found, expected = merged(runs), EXPERIMENT.run(given)
    assert found.tables["census"] == expected.tables["census"]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ("layers.0.weight", "job 1 and job 2 have other weights in the analysed layers, .* type checkpoint=FOLDER"),
        ("x", "the activations .* differ between job 1 and job 2, .* Run all parts on machines of one kind"),
        ("judged_x", "the activations .* differ between job 1 and job 2"),
    ],
)
def test_parts_of_two_networks_or_processors_are_not_merged(changed: str, text: str, tmp_path: Path) -> None:
    runs = parts_of(tmp_path, setting(sizes=(6, 2, 2, 1), last_layers=3), 2)
    tensors = dict(runs[1].tensors("circuits"))
    tensors[changed] = tensors.get(changed, torch.zeros(3)) + 1e-6
    RunFolder(runs[1].folder).write_tensors("circuits", tensors)
    with pytest.raises(ConfigError, match=text):
        merged(runs)


def test_what_is_no_whole_is_not_merged(tmp_path: Path) -> None:
    given = setting(sizes=(6, 2, 2, 1), last_layers=3)
    runs = parts_of(tmp_path, given)
    with pytest.raises(ConfigError, match="the parts have [0-9,]+ circuits together, and there are "):
        merged(runs[:2])
    whole = saved(tmp_path / "whole", given, EXPERIMENT.run(given))
    with pytest.raises(ConfigError, match=r"job whole has no circuits.parquet of a part of a census"):
        merged([runs[0], whole])


# --- before any work --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"parts": 4}, r"experiment.parts=4 .* Type experiment.part=1, or .* 'experiment.part=range\(1,5\)'\.$"),
        ({"part": 3}, r"experiment.part=3 is one of several parts. Type experiment.parts=64"),
        ({"parts": 4, "part": 5}, r"experiment.part=5: there are 4 parts. Type a number from 1 to 4\.$"),
        (
            {"method": CircuitMethod.sample},
            "not experiment.method=sample. Type experiment.method=census",
        ),
        ({"min_node_sparsity": 0.5}, "a table of all circuits. Type experiment.parts=1 experiment.part=null"),
        ({"table": CircuitTable.all}, "lists valid circuits, not all. Type experiment.table=auto"),
        ({"last_layers": 1}, "4-3 neurons have none. Type experiment.parts=1"),
    ],
)
def test_parts_that_there_are_not(options: dict[str, Any], text: str) -> None:
    if not options.keys() & {"part", "parts"}:
        options = {"parts": 4, "part": 2, "method": CircuitMethod.auto} | options
    with pytest.raises(ConfigError, match=text):
        EXPERIMENT.check(setting(classes(20), (6, 4, 3), **{"last_layers": 2, **options}))


def test_planted_weights_have_no_parts() -> None:
    planted = ("dataset=logic", "model=planted", "model.formula='(A & ~B) | (~A & B)'", "experiment.inputs=any")
    with pytest.raises(ConfigError, match="of planted weights the circuits of edges that are not 0 are listed at once"):
        check("experiment=circuits", *planted, "experiment.parts=4", "experiment.part=1")
