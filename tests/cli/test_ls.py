"""`mi-run ls`: which runs and sweeps are there, in what state, and what did they give?"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mi_runner.errors import ConfigError
from mi_runner.runs import saved_runs
from mi_runner.runs.listing import Condition
from mi_runner.runs.saved_runs import SavedRun, shown
from tests.conftest import Ended
from tests.run_records import write, write_sweep

OUT = Path("outputs")


def rows(ended: Ended) -> list[dict[str, str]]:
    assert ended.status == 0, ended.err
    return list(csv.DictReader(io.StringIO(ended.out)))


@pytest.fixture
def ls(mi_run: Callable[..., Ended]) -> Callable[..., list[dict[str, str]]]:
    """The rows of `mi-run ls --format csv` with further arguments, in a folder of the test's own."""
    return lambda *arguments: rows(mi_run("ls", *arguments, "--format", "csv"))


def test_runs_are_listed_the_newest_first_with_the_keys_that_differ(ls: Callable[..., list[dict[str, str]]]) -> None:
    write(OUT / "train/mnist-mlp/v001")
    write(OUT / "train/mnist-mlp/v002", **{"training.epochs": 7, "started": "2026-01-02T04:00:00+00:00"})
    write(OUT / "train/mnist-mlp/v003", **{"model.hidden_sizes": [16], "output_dir": "x", "seed": 4})
    write(
        OUT / "circuits/mnist01-mlp/v001",
        **{"experiment": "circuits", "dataset": "mnist01", "training.epochs": 10, "experiment.pairs": True},
        started="2025-01-01T00:00:00+00:00",
        metrics={"n_valid": 12.0},
    )
    (OUT / "train/mnist-mlp/latest").symlink_to("v002")
    found = ls()
    assert list(found[0]) == [
        *("path", "status", "started", "experiment", "dataset", "model", "seed", "training.epochs"),
        *("model.hidden_sizes", "accuracy", "n_valid"),
    ]
    assert [Path(row["path"]).name for row in found] == ["v002", "v001", "v003", "v001"]
    assert found[0]["path"] == "outputs/train/mnist-mlp/v002"
    assert [row["training.epochs"] for row in found] == ["7", "3", "3", "10"]
    assert [row["model.hidden_sizes"] for row in found] == ["[8,8]", "[8,8]", "[16]", "[8,8]"]
    assert [(row["accuracy"], row["n_valid"]) for row in found] == [("0.5", "")] * 3 + [("", "12.0")]
    assert found == ls("outputs") and len(ls("outputs/train")) == 3 and len(ls(found[0]["path"])) == 1


def test_names_tags_and_notes_are_listed_and_found(ls: Callable[..., list[dict[str, str]]]) -> None:
    write(OUT / "train/mnist-mlp/v001", **{"run.name": "first", "run.tags": ["paper", "draft"], "run.note": None})
    write(OUT / "train/mnist-mlp/v002", **{"run.name": None, "run.tags": [], "run.note": "of Monday"})
    write(OUT / "train/mnist-mlp/v003", status="failed")
    sweep = write_sweep(OUT / "sweeps/train/v001", {"seed": [0, 1]})
    write(sweep / "0", **{"run.tags": ["paper"], "run.name": "many"})
    write(sweep / "1", **{"run.tags": ["paper", "7"], "run.name": "many"})

    def found(*where: str) -> set[str]:
        typed = [word for condition in where for word in ("--where", condition)]
        return {row["path"].removeprefix("outputs/") for row in ls(*typed, "--columns", "path")}

    first, second, third, many = (f"train/mnist-mlp/v00{number}" for number in (1, 2, 3, 0))
    many = "sweeps/train/v001"
    assert found("tag=paper") == {first, many} and found("tag=7") == {many} and found("tag=pap") == set()
    assert found("tag!=paper") == {second, third} and found("tag=paper", "tag=draft") == {first}
    assert found("name=first") == {first} and found("name=many") == {many} and found("note=of Monday") == {second}
    assert found("state=failed") == {third} and found("state!=failed", "tag=paper") == {first, many}
    (row,) = ls("--where", "name=first")
    assert (row["name"], row["tags"]) == ("first", "[paper,draft]") and "note" not in row
    (row,) = ls("--where", "tag=7")
    assert (row["name"], row["tags"]) == ("many", "[paper,7]")
    assert list(ls()[0])[:3] == ["path", "name", "tags"] and list(ls()[0])[-1] == "note"


def test_conditions_order_columns_and_limit(ls: Callable[..., list[dict[str, str]]]) -> None:
    for number, accuracy in enumerate((0.9, 0.7, None, 0.8), start=1):
        metrics = {} if accuracy is None else {"accuracy": accuracy}
        write(OUT / f"train/mnist-mlp/v00{number}", seed=number, metrics=metrics)
    columns = ("--columns", "seed,accuracy,dataset.limit")

    def seeds(*arguments: str) -> str:
        found = ls(*columns, *arguments)
        assert all(list(row) == ["seed", "accuracy", "dataset.limit"] for row in found)
        return "".join(row["seed"] for row in found)

    assert seeds("--sort", "accuracy") == "2413" and seeds("--sort", "accuracy", "--reverse") == "1423"
    assert seeds("--sort", "seed", "--limit", "2") == "12"
    for condition, expected in (
        ("accuracy>0.7", "14"), ("accuracy>=0.7", "124"), ("accuracy<0.8", "2"), ("accuracy<=0.8", "24"),
        ("accuracy=0.80", "4"), ("accuracy!=0.8", "123"), ("accuracy=null", "3"), ("seed == 3", "3"),
        ("model.hidden_sizes=[8, 8]", "1234"), ("path=outputs/train/mnist-mlp/v002", "2"),
        ("dataset.limit=null", "1234"), ("started>2026-01-02", "1234"), ("started<2026-01-02", ""),
        ("dataset.limit>3", ""),
    ):  # fmt: skip
        assert seeds("--sort", "seed", "--where", condition) == expected, condition
    assert seeds("--where", "accuracy>0.7", "--where", "seed<4") == "1"


def test_every_state_has_its_name(ls: Callable[..., list[dict[str, str]]]) -> None:
    folder = OUT / "train/mnist-mlp"
    error = {"error": "training diverged", "exit_status": 1, "metrics": {}}
    write(folder / "v001", status="failed", **error)
    write(folder / "v002", status="interrupted", error="interrupted (Ctrl-C)", exit_status=130, metrics={})
    write(folder / "v003", status="running", finished=None)
    write(folder / "v004", status="running", pid=os.getppid(), started="2100-01-01T00:00:00+00:00")
    (folder / "v005").mkdir()
    (folder / "v005/run.json").write_text('{"status": "do')
    (folder / "v006/figures").mkdir(parents=True)
    write(folder / "v007", metrics=3, config=None or {}, timings=None, started=5, versions=[])
    write(folder / "v008", expect_not_met=["accuracy is 0.5, not >=0.9"])
    (folder / "notes").mkdir()
    found = {Path(row["path"]).name: row for row in ls("--columns", "path,status,error,accuracy,exit_status")}
    assert [(name, found[name]["status"]) for name in sorted(found)] == [
        *[("v001", "failed"), ("v002", "interrupted"), ("v003", "killed"), ("v004", "running"), ("v005", "torn")],
        *[("v006", "missing"), ("v007", "done"), ("v008", "done")],
    ]
    assert found["v001"]["error"] == "training diverged" and "ended without a word" in found["v003"]["error"]
    assert "is torn" in found["v005"]["error"] and "has no run.json" in found["v006"]["error"]
    assert found["v008"]["error"] == "expect: accuracy is 0.5, not >=0.9"
    assert [row["accuracy"] for row in found.values()].count("0.5") == 1  # only what is done has metrics


def test_a_sweep_is_one_row_and_its_jobs_are_rows_on_demand(ls: Callable[..., list[dict[str, str]]]) -> None:
    seeds = write_sweep(OUT / "sweeps/train/v001", {"seed": [0, 1, 2]})
    for number in range(3):
        write(seeds / str(number), seed=number, metrics={"accuracy": 0.5 + number / 10})
    models = write_sweep(OUT / "sweeps/train/v002", {"model": ["mlp", "cnn", "mlp"], "seed": [0, 0, 1]})
    write(models / "0"), write(models / "1", model="cnn", status="failed", metrics={}, error="no")
    write(seeds / "earlier/0-1")
    (OUT / "sweeps/train/v003").mkdir()
    (OUT / "sweeps/train/v003/sweep.json").write_text('{"jobs": 3}')
    of = {row["path"]: row for row in ls("--columns", "path,kind,status,jobs,model,seed,accuracy,error,command")}
    assert len(of) == 3
    first, second, torn = (of[f"outputs/sweeps/train/v00{number}"] for number in (1, 2, 3))
    assert (first["kind"], first["status"], first["jobs"], first["seed"]) == ("sweep", "done", "3/3", "0,1,2")
    assert float(first["accuracy"]) == pytest.approx(0.6) and first["error"] == "" and first["command"] == "mi-run -m"
    assert (second["status"], second["jobs"], second["model"]) == ("unfinished", "1/3", "mlp,cnn")
    assert second["accuracy"] == "" and second["error"] == "1 failed, 1 missing"
    assert (torn["status"], torn["jobs"]) == ("torn", "")
    assert [row["path"] for row in ls(str(seeds), "--sort", "path")] == [
        *[str(seeds), *(f"{seeds}/{number}" for number in range(3))],
    ]
    assert len(ls("--jobs")) == 9 and len(ls()) == 3
    assert [row["path"] for row in ls("--jobs", "--where", "accuracy>=0.65")] == [str(seeds / "2")]


def test_a_real_run_and_one_of_an_earlier_version(ls: Callable[..., list[dict[str, str]]], mi_run: Any) -> None:
    tiny = ("dataset=mod_add", "dataset.train_size=32", "dataset.test_size=16", "training.epochs=1")
    ended = mi_run(*tiny, "seed=514", "expect={accuracy: '>=0'}")
    assert ended.status == 0, ended.err
    run = SavedRun.read(ended.folder)
    assert run.config["dataset.train_size"] == 32 and run.config["training.optimizer"] == "adam"
    record = {name: value for name, value in ended.record.items() if name != "config"}
    (ended.folder / "run.json").write_text(json.dumps(record))
    old = SavedRun.read(ended.folder)
    in_both = {key: value for key, value in run.config.items() if key not in ("experiment", "dataset", "model")}
    assert {key: shown(old.config[key]) for key in old.config} == {key: shown(value) for key, value in in_both.items()}
    (row,) = ls("--columns", "path,accuracy,training.optimizer,expect")
    assert float(row["accuracy"]) == ended.record["metrics"]["accuracy"] and row["training.optimizer"] == "adam"
    (ended.folder / "config.yaml").write_text("a: [")
    assert SavedRun.read(ended.folder).config == {}


def test_the_table_says_what_it_leaves_out(mi_run: Callable[..., Ended]) -> None:
    assert mi_run("ls").status == 2
    OUT.mkdir()
    assert mi_run("ls").out == "no runs below outputs, or none that all conditions fit\n"
    for number in range(3):
        write(OUT / f"train/mnist-mlp/v00{number}", seed=number)
    out = mi_run("ls", "--limit", "2").out
    assert out.startswith("outputs: 3 runs and sweeps ") and out.count("\n│") == 2
    assert out.endswith("(1 more rows: --limit 3 shows them, --where chooses)\n")
    listed = json.loads(mi_run("ls", "--format", "json", "--columns", "seed,dataset.limit,model.hidden_sizes").out)
    assert listed[0] == {"seed": 0, "dataset.limit": None, "model.hidden_sizes": [8, 8]} and len(listed) == 3
    assert "--where NAME=VALUE" in mi_run("ls", "--help").out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere"], "nowhere: this folder doesn't exist. Type mi-run ls FOLDER"),
        (["--where", "accuracy"], "--where 'accuracy': write NAME=VALUE"),
        (["--where", "acuracy>0.9"], "no column is named 'acuracy'. Did you mean accuracy?"),
        (["--where", "accuracy>high"], "--where 'accuracy>high': accuracy is a number, but high is not."),
        (["--sort", "sede"], "no column is named 'sede'. Did you mean seed?"),
        (["--columns", "seed,training.epoch"], "Did you mean training.epochs?"),
        (["--limit", "0"], "--limit 0: must be 1 or more"),
        (["--limit", "few"], "argument --limit: invalid int value: 'few'. Type mi-run ls --help."),
        (["--format", "xml"], "invalid choice: 'xml' (choose from"),
        (["--sorted", "seed"], "there is no flag --sorted: did you mean --sort? Type mi-run ls --help."),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_type(
    arguments: list[str], text: str, mi_run: Callable[..., Ended]
) -> None:
    mi_run("--version")
    write(OUT / "train/mnist-mlp/v001")
    ended = mi_run("ls", *arguments)
    assert (ended.status, ended.out) == (2, "") and text in ended.err and ended.err.count("\n") == 1, ended.err


def test_a_condition_reads_as_it_is_typed() -> None:
    assert Condition.parse(" a.b >= 3 ") == Condition("a.b", ">=", "3")
    assert Condition.parse("accuracy/x/add==1").sign == "=" and str(Condition.parse("a!=b")) == "a!=b"
    for typed in ("", "=3", "a", "a b=3"):
        with pytest.raises(ConfigError, match="write NAME=VALUE"):
            Condition.parse(typed)


def test_a_folder_that_is_a_link_is_not_read_twice(tmp_path: Path) -> None:
    write(tmp_path / "a/v001")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "a/latest").symlink_to("v001")
    assert [str(run.folder) for run in saved_runs.below(tmp_path)] == [str(tmp_path / "a/v001")]
    assert [str(run.folder) for run in saved_runs.below(tmp_path / "a/latest")] == [str(tmp_path / "a/latest")]
