"""`--print` and `--folder-file`: a pipeline gets the folder or the numbers, and the tables stay in the log."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ended

TINY = (
    *("dataset=mod_add", "dataset.train_size=32", "dataset.test_size=16"),
    *("training.epochs=1", "report=false", "figures=false"),
)


def test_folder_file_gets_the_path_and_the_tables_are_printed_as_ever(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(*TINY, "--folder-file", "folder.txt")
    assert ended.status == 0 and Path("folder.txt").read_text() == f"{ended.folder}\n"
    assert "accuracy" in ended.out and (ended.folder / "run.json").exists()
    sweep = mi_run("-m", *TINY, "seed=0,1", "--folder-file=folder.txt")
    assert sweep.status == 0 and Path("folder.txt").read_text() == f"{sweep.folder}\n"
    assert json.loads((sweep.folder / "sweep.json").read_text())["command"] == "mi-run " + " ".join(
        ["-m", *TINY, "seed=0,1"]
    )


def test_print_folder_leaves_nothing_else_on_standard_output(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("--print", "folder", *TINY)
    assert ended.status == 0 and ended.out == "outputs/train/mod_add-mlp/v001\n"
    assert "metrics" in ended.err and "accuracy" in ended.err
    sweep = mi_run("-m", *TINY, "seed=0,1", "--print=folder")
    assert sweep.status == 0 and sweep.out == "outputs/sweeps/train/v001\n" and "accuracy" in sweep.err


def test_print_metrics_and_json_have_the_summary(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(*TINY, "--print", "metrics", "--folder-file", "folder.txt", "expect={accuracy: '>1'}")
    metrics = json.loads(Path(Path("folder.txt").read_text().strip(), "run.json").read_text())["metrics"]
    rows = list(csv.DictReader(ended.out.splitlines()))
    assert ended.status == 3 and {row["metric"]: float(row["value"]) for row in rows} == metrics
    content = json.loads(mi_run(*TINY, "--print", "json", "expect={accuracy: '>1'}").out)
    assert content["metrics"] == metrics and content["status"] == "done"
    assert content["folder"] == "outputs/train/mod_add-mlp/v002" and "expected > 1" in content["expect_not_met"][0]


def test_print_of_a_sweep_has_its_jobs(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("-m", *TINY, "seed=0,1", "--print", "metrics")
    rows = list(csv.DictReader(ended.out.splitlines()))
    assert list(rows[0]) == ["job", "seed", "metric", "value"]
    jobs = [
        json.loads(Path(f"outputs/sweeps/train/v001/{job}/run.json").read_text())["metrics"]["accuracy"]
        for job in (0, 1)
    ]
    assert [float(row["value"]) for row in rows if row["metric"] == "accuracy"] == jobs
    content = json.loads(mi_run("sweep=outputs/sweeps/train/v001", "--print", "json").out)
    assert [(job["swept"], job["metrics"]["accuracy"]) for job in content["jobs"]] == [
        ({"seed": seed}, accuracy) for seed, accuracy in enumerate(jobs)
    ]
    assert content["metrics"]["accuracy"] == pytest.approx(sum(jobs) / 2) and content["status"] == "done"


def test_a_run_that_fails_leaves_the_file_empty(mi_run: Callable[..., Ended]) -> None:
    Path("folder.txt").write_text("outputs/of/before\n")
    ended = mi_run(*TINY, "training.learning_rate=1e30", "--folder-file", "folder.txt", "--print", "folder")
    assert ended.status == 1 and ended.out == "" and Path("folder.txt").read_text() == ""
    Path("folder.txt").write_text("outputs/of/before\n")
    assert mi_run("hydra.mode=RUN", "--folder-file", "folder.txt").status == 2 and not Path("folder.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--print", "table"], "argument --print: invalid choice: 'table' (choose from 'folder', 'metrics', 'json')"),
        (["--print"], "mi-run: argument --print: expected one argument. Type mi-run --help."),
        (["--folder-file", "nowhere/file"], "--folder-file nowhere/file: can't write it"),
        (["--folder-file", "."], "--folder-file .: can't write it"),
        (["--cfg", "job", "--print", "json"], "--print is about the folder of a run or sweep, and a flag of Hydra's"),
        (["-m", "seed=0,1", "plan=true", "--folder-file", "a"], "--folder-file is about the folder of a run or"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(arguments: list[str], text: str, mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(*TINY, *arguments)
    assert (ended.status, ended.out) == (2, "") and text in ended.err and ended.err.count("\n") == 1, ended.err
    assert not Path("outputs").exists()


def test_help_names_the_flags(mi_run: Callable[..., Ended]) -> None:
    for arguments in (["--help"], ["--help", "--print", "json"]):
        ended = mi_run(*arguments)
        assert ended.status == 0 and "--print WHAT" in ended.out and "--folder-file FILE" in ended.out
