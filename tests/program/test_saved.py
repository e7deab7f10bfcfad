"""Runs and sweeps as objects: their tables against what the experiment made, their pictures, and what isn't there."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from PIL import Image

import mi_runner
from mi_runner.errors import ConfigError
from mi_runner.experiments import Result
from mi_runner.machine import drawing
from mi_runner.machine.reading import Unreadable
from mi_runner.runs import runner, writing
from mi_runner.tables.row_names import is_frame
from tests import run_records
from tests.browser import Browser, chromium, missing
from tests.commands import TINY
from tests.pages import BAD, SMALL, hostile_folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Result, Path]]:
    """Name of a small run → what its experiment returned, and its folder."""
    return Results(tmp_path_factory.mktemp("results"))


class Results(Mapping[str, tuple[Result, Path]]):
    """Each is made when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> tuple[Result, Path]:
        found: list[Result] = []

        def noted(record: Any, result: Result) -> None:
            found.append(result)
            writing.note(record, result)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(runner, "note", noted)
            run = mi_runner.run([*SMALL[name], f"output_dir={self.folder / name}"])
        return found[0], run.folder

    def __iter__(self) -> Iterator[str]:
        return iter(SMALL)

    def __len__(self) -> int:
        return len(SMALL)


def same(value: Any, other: Any) -> bool:
    """Whether a cell is the value that the experiment made: of the same type, and equal to the last digit."""
    is_missing = [one is None or one is pd.NA or one == "" or one != one for one in (value, other)]
    if any(is_missing):
        return all(is_missing)
    names = [type(one).__name__.rstrip("_0123456789").removeprefix("numpy.") for one in (value, other)]
    return ("bool" in names) == (names[0] == names[1] == "bool") and value == other


@pytest.mark.parametrize("name", SMALL)
def test_tables_are_what_the_experiment_made(name: str, results: Mapping[str, tuple[Result, Path]]) -> None:
    result, folder = results[name]
    run = mi_runner.open(folder)
    made = {table: rows for table, rows in result.tables.items() if len(rows)}
    assert set(run.tables) == set(made) and next(iter(run.tables)) == result.shown[0]
    for table, rows in made.items():
        frame, wanted = run.tables[table], rows if is_frame(rows) else pd.DataFrame(list(rows))
        assert list(frame.columns) == list(wanted.columns), table
        if (folder / f"{table}.parquet").exists():
            assert_frame_equal(frame, wanted.reset_index(drop=True), check_dtype=False, check_categorical=False)
            continue
        for column in frame:
            values, expected = frame[column].tolist(), wanted[column].tolist()
            own = [value for value in ([row.get(column) for row in rows] if not is_frame(rows) else expected)]
            assert len(values) == len(own)
            assert all(same(one, other) for one, other in zip(values, own, strict=True)), (table, column)
            present = [value for value in own if value is not None and value == value]
            if present and all(isinstance(value, int) and not isinstance(value, bool) for value in present):
                whole = "int64" if len(present) == len(own) else "Int64"
                assert frame[column].dtype == whole or max(map(abs, present)) >= 2**63, (table, column)
    assert run.answer == result.answer
    for metric, value in result.metrics.items():
        assert run.metrics[metric] == (value if math.isfinite(value) else None)


def test_cells_that_look_like_something_else(tmp_path: Path) -> None:
    folder = run_records.write(
        tmp_path / "v001",
        types={"metrics": {"class": "text", "n": "integer", "ok": "truth value", "loss": "number", "big": "integer"}},
        shown=["metrics"],
    )
    (folder / "metrics.csv").write_text(
        "class,n,ok,loss,big,other\n"
        "0,1.0,True,0.1,123456789012345678901,1\nnull,,,inf,,none\nNA,3.0,False,,2,\n1.10,4,True,1e-300,3,x\n"
    )
    (folder / "second.csv").write_text("a,b,c,d,e\n1,True,0.5,x,\n2,False,,1,\n,,2,y,\n")
    run = mi_runner.open(folder)
    frame = run.tables["metrics"]
    assert frame["class"].tolist() == ["0", "null", "NA", "1.10"] and frame["n"].dtype == "Int64"
    assert frame["n"].tolist()[::2] == [1, 3] and frame["ok"].dtype == "boolean"
    assert frame["loss"].tolist()[:2] == [0.1, math.inf] and frame["loss"][3] == 1e-300 and frame["loss"].isna()[2]
    assert frame["big"][0] == 123456789012345678901 and frame["other"].tolist()[1] == "none"
    second = run.tables["second"]  # which the record doesn't know
    kinds = [second[name].dtype.name for name in "abc"]
    assert kinds == ["Int64", "boolean", "float64"] and second["d"].tolist() == ["x", "1", "y"]
    assert second["e"].isna().all() and list(run.tables) == ["metrics", "second"]
    (folder / "metrics.csv").write_text("class,n,ok\n0,many,maybe\n")  # edited by hand
    assert mi_runner.open(folder).tables["metrics"].iloc[0].tolist() == ["0", "many", "maybe"]


def test_names_that_are_not_there(tmp_path: Path) -> None:
    run = mi_runner.run([*TINY, f"output_dir={tmp_path}"])
    with pytest.raises(KeyError, match="no table is named 'metric'. Did you mean metrics"):
        run.tables["metric"]
    with pytest.raises(KeyError, match="no figure is named 'x'"):
        run.figures["x"]
    assert "metrics" in run.tables and "x" not in run.tables and run.tables._ipython_key_completions_()[0] == "metrics"
    assert run.tables["metrics"] is run.tables["metrics"] and repr(run.tables).startswith("tables: metrics, ")


@pytest.mark.drawn
def test_figures_are_the_pictures_of_the_folder(tmp_path: Path) -> None:
    run = mi_runner.run([*TINY, f"output_dir={tmp_path}"])
    saved = mi_runner.open(run.folder)
    assert set(run.figures) == set(saved.figures) == {path.stem for path in (run.folder / "figures").glob("*.png")}
    for name in run.figures:
        written = np.asarray(Image.open(run.folder / "figures" / f"{name}.png").convert("RGBA"))
        for number, figure in enumerate((run.figures[name], saved.figures[name])):
            figure.savefig(tmp_path / "again.png", dpi=drawing.DPI)
            again = np.asarray(Image.open(tmp_path / "again.png").convert("RGBA"))
            assert again.shape == written.shape and np.array_equal(again, written), (name, number)
            assert figure._repr_png_().startswith(b"\x89PNG")
    assert run.figures["history"].axes[0].get_xlabel() == "epoch"
    narrow = mi_runner.run([*TINY, f"output_dir={tmp_path}", "figures.formats=[pdf]", "figures.width=3.3"])
    assert set(narrow.figures) == set(run.figures) and narrow.figures["history"].get_figwidth() == 3.3
    with pytest.raises(Unreadable, match="history.pdf: only a PNG file can be shown here"):
        mi_runner.open(narrow.folder).figures["history"]
    assert run.figures["history"] is run.figures["history"]


def test_what_print_says(tmp_path: Path) -> None:
    run = mi_runner.run([*TINY, f"output_dir={tmp_path}"])
    lines = repr(run).splitlines()
    assert lines[0] == "train · mod_add · mlp: done" and lines[1] == f"  answer:  {run.answer}"
    assert f"accuracy {run.metrics['accuracy']:.4f}" in lines[2] and lines[2].endswith(" more")
    assert lines[3].startswith("  tables:  metrics, ") and lines[-1] == f"  folder:  {run.folder}"
    assert repr(mi_runner.open(run.folder)) == repr(run)


def test_folders_that_are_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_records.write(tmp_path / "outputs/train/mnist-mlp/v001")
    sweep = run_records.write_sweep(tmp_path / "outputs/sweeps/train/v001", {"seed": [0, 1]})
    (run.parent / "latest").symlink_to("v001")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    wrong = {
        "outputs/train/mnist-mlp": "has no run.json, so it isn't the folder of a run.*has latest, v001: give one of",
        "outputs/train/mnist-mlp/v002": "this folder doesn't exist.*has latest, v001: give one of these",
        "nowhere": "nowhere: this folder doesn't exist. mi-run ls FOLDER lists",
        "empty": "has no run.json.*mi-run ls FOLDER lists the runs",
        "file": "this is a file, not a folder",
        str(sweep): "is the folder of a sweep: type mi_runner.open_sweep",
        "~nobody-of-this-name/v001": "no folder has such a name",
        "a\0b": "this folder doesn't exist",
    }
    for folder, words in wrong.items():
        with pytest.raises(ConfigError, match=words):
            mi_runner.open(folder)
    with pytest.raises(ConfigError, match="is the folder of one run: type mi_runner.open"):
        mi_runner.open_sweep(run)
    with pytest.raises(ConfigError, match="has no sweep.json.*give one of these"):
        mi_runner.open_sweep(sweep.parent)
    assert mi_runner.open("outputs/train/mnist-mlp/latest").folder == run
    assert mi_runner.open(run).metrics == {"loss": 0.25, "accuracy": 0.5}
    assert mi_runner.open(run).config["training.epochs"] == 3


def test_runs_that_are_not_done_have_what_there_is(tmp_path: Path) -> None:
    killed = run_records.write(tmp_path / "killed", status="running", exit_status=None)
    (killed / "metrics.csv").write_text("split,accuracy\ntest,0.5\n")
    run = mi_runner.open(killed)
    assert run.status == "killed" and "ended without a word" in run.error and run.metrics == {}
    assert run.tables["metrics"]["accuracy"].tolist() == [0.5] and "killed" in run._repr_html_()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/run.json").write_text('{"status": "done"')
    torn = mi_runner.open(tmp_path / "torn")
    assert torn.status == "torn" and "it is no JSON" in torn.error and not list(torn.tables) and "torn" in repr(torn)
    faulty = run_records.write(tmp_path / "faulty", seed="three")
    assert "seed" in mi_runner.open(faulty).error and mi_runner.open(faulty).metrics == {}
    plain = run_records.write(tmp_path / "plain")  # without report, figures, tables
    assert mi_runner.open(plain).answer == "" and not len(mi_runner.open(plain).figures)


# --- sweeps ----------------------------------------------------------------------------------------------------------


def test_a_sweep_has_the_tables_of_its_folder_and_its_runs(sweep: Path) -> None:
    found = mi_runner.open_sweep(sweep)
    assert list(found.tables)[:2] == ["sweep_summary", "sweep"] and found.status == "unfinished"
    plan = json.loads((sweep / "sweep.json").read_text())
    assert [dict(run.swept) for run in found.runs] == [job["swept"] for job in plan["jobs"]]
    rows = found.tables["sweep"]
    assert rows["job"].dtype == "int64" and rows["training.learning_rate"].dtype == "float64"
    for run, job in zip(found.runs, plan["jobs"], strict=True):
        own = rows[rows["job"] == job["number"]]
        if run.status == "done":
            assert own["accuracy"].tolist() == run.tables["metrics"]["accuracy"].tolist()
            assert own["class"].tolist() == run.tables["metrics"]["class"].tolist()
    summary = found.tables["sweep_summary"]
    for learning_rate in (1e-3, 1e-2):
        values = [run.metrics["accuracy"] for run in found.runs if run.swept["training.learning_rate"] == learning_rate]
        row = summary[
            (summary["training.learning_rate"] == learning_rate)
            & (summary["measure"] == "accuracy")
            & (summary["split"] == "test")
            & (summary["class"] == "all")
        ]
        assert row["mean"].tolist() == [pytest.approx(np.mean(values), abs=1e-15)] and len(values) == 2
        assert f"training.learning_rate={learning_rate}: {np.mean(values):.4f} (" in found.answer
    assert found.failures["status"].tolist() == ["failed", "failed"] and len(found.failures) == 2
    assert found.answer.startswith("4 of 6 jobs are done (2 failed). ") and "failed" in repr(found)
    assert set(found.figures) == {path.stem for path in (sweep / "figures").glob("*.png")}
    page = found._repr_html_()
    assert 'title="sweep" sandbox="allow-scripts"' in page and "job 2: " in page


def test_a_sweep_that_wrote_no_tables_has_them_from_its_jobs(tmp_path: Path, sweep: Path) -> None:
    import shutil

    copy = tmp_path / "v001"
    shutil.copytree(sweep, copy)
    whole = mi_runner.open_sweep(copy)
    tables = {name: whole.tables[name] for name in ("sweep", "sweep_summary")}
    for name in tables:
        os.remove(copy / f"{name}.csv")
    again = mi_runner.open_sweep(copy)
    for name, table in tables.items():
        one, other = (frame.drop(columns="folder", errors="ignore") for frame in (again.tables[name], table))
        assert_frame_equal(one, other, check_dtype=False)
    plan = json.loads((copy / "sweep.json").read_text())
    (copy / "sweep.json").write_text(json.dumps(plan | {"jobs": []}))
    empty = mi_runner.open_sweep(copy)
    assert empty.runs == () and "0 jobs" in empty.answer and empty._repr_html_()


# --- pages -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if why := missing():
        pytest.skip(why)
    with chromium() as opened:
        yield opened


def shown(html: str, folder: Path, browser: Browser) -> Path:
    """A page with the output of a cell, which is open in the browser."""
    page = folder / "cell.html"
    page.write_text(f"<!doctype html><meta charset='utf-8'><title>cell</title><body>{html}</body>", encoding="utf-8")
    browser.said()
    browser.requested()
    browser.open(page)
    return page


@pytest.mark.parametrize("name", ["circuits", "discovery", "ablation", "sweep"])
def test_the_interactive_picture_works_in_a_cell(
    name: str, runs: Mapping[str, Path], sweep: Path, tmp_path: Path, browser: Browser
) -> None:
    saved = mi_runner.open_sweep(sweep) if name == "sweep" else mi_runner.open(runs[name])
    page = shown(saved._repr_html_(), tmp_path, browser)
    assert browser.run("return document.querySelectorAll('table tbody tr').length") > 0
    assert browser.run("return [...document.images].every((one) => one.alt && one.complete && one.naturalWidth)")
    frame = browser.driver.find_element("css selector", "iframe")
    browser.driver.switch_to.frame(frame)
    try:
        assert browser.run("return document.querySelector('.widget').children.length") > 0
        assert browser.run("return document.querySelectorAll('svg').length") > 0
        assert browser.run("return window.origin") == "null"  # it can't reach the notebook
    finally:
        browser.driver.switch_to.default_content()
    assert browser.said() == []
    assert {url for url in browser.requested() if not url.startswith("about:")} == {page.as_uri()}


def test_no_text_of_a_run_can_run_in_a_notebook(tmp_path: Path, browser: Browser) -> None:
    run = mi_runner.open(hostile_folder(tmp_path))
    html = run._repr_html_()
    assert "<script" not in html and BAD not in html and "<b onclick" not in html
    shown(html, tmp_path, browser)
    assert browser.run("return [window.hacked ?? null, document.querySelectorAll('script, b').length]") == [None, 0]
    frame = browser.driver.find_element("css selector", "iframe")
    browser.driver.switch_to.frame(frame)
    try:
        assert browser.run("return window.hacked ?? null") is None
    finally:
        browser.driver.switch_to.default_content()
