"""Run folders: no two runs share one, `latest` is done and newest, and files are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pandas as pd
import pytest
import torch
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import load_file

from mi_runner.errors import ConfigError, RunFailed
from mi_runner.machine import drawing
from mi_runner.machine.files import sha256, written_whole
from mi_runner.runs import run_folder
from mi_runner.runs.record import RunRecord
from mi_runner.runs.run_folder import RunFolder, claim, claim_sweep, read_record


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),  # FIPS 180-2's example
    ],
)
def test_sha256_as_published(content: bytes, digest: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == digest


def test_a_file_written_whole_takes_the_old_ones_place(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with written_whole(path) as beside:
        assert (beside.parent, beside.suffix) == (tmp_path, ".csv")
        assert beside.name.startswith(".")  # hidden, so that no digest and no reader takes it for a result
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_nothing_behind_and_the_old_file(
    old: str | None, error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    if old is not None:
        path.write_text(old)
    with pytest.raises(error), written_whole(path) as beside:
        beside.write_text("half")
        raise error
    assert names(tmp_path) == ([] if old is None else ["table.csv"])
    assert old is None or path.read_text() == old


def test_a_write_of_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), written_whole(path):
        pass
    assert path.read_text() == "old"


def test_threads_that_write_one_file_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    n_threads = 8
    barrier = Barrier(n_threads)

    def write(letter: str) -> None:
        with written_whole(path) as beside:
            barrier.wait()
            beside.write_text(1000 * letter)
            barrier.wait()

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(write, "abcdefgh"))
    assert names(tmp_path) == ["table.csv"]
    assert len(set(path.read_text())) == 1 and len(path.read_text()) == 1000


def test_what_a_killed_process_left_behind_stands_in_nobodys_way(tmp_path: Path) -> None:
    """A process of another container may have had our process id."""
    (tmp_path / f".latest.{os.getpid()}.tmp").symlink_to("v001")
    with written_whole(tmp_path / "latest") as beside:
        beside.symlink_to("v002")
    assert os.readlink(tmp_path / "latest") == "v002"


# --- versions ------------------------------------------------------------------------------------------------------


def test_versions_count_up_from_one(tmp_path: Path) -> None:
    claimed = [claim(tmp_path / "outputs", "ablation", "mnist01", "skip").path for _ in range(3)]
    parent = tmp_path / "outputs" / "ablation" / "mnist01-skip"
    assert claimed == [parent / "v001", parent / "v002", parent / "v003"]
    assert all(path.is_dir() and names(path) == [] for path in claimed)
    assert claim(tmp_path / "outputs", "ablation", "mnist01", "mlp").path.name == "v001"
    assert claim_sweep(tmp_path / "outputs", "ablation") == tmp_path / "outputs" / "sweeps" / "ablation" / "v001"


@pytest.mark.parametrize(
    ("there", "next_one"),
    [
        (["v001", "v003"], "v004"),
        (["v999"], "v1000"),
        (["v1000", "v999"], "v1001"),
        (["v01", "v2", "version", "latest", "xv005", "v007x"], "v001"),
        (["v009", "v010"], "v011"),
    ],
    ids=str,
)
def test_a_new_version_is_above_all_that_are_there(there: list[str], next_one: str, tmp_path: Path) -> None:
    parent = tmp_path / "train" / "mnist-mlp"
    for name in there:
        (parent / name).mkdir(parents=True)
    assert claim(tmp_path, "train", "mnist", "mlp").path.name == next_one


def test_a_file_with_a_versions_name_is_left_alone(tmp_path: Path) -> None:
    parent = tmp_path / "train" / "mnist-mlp"
    parent.mkdir(parents=True)
    (parent / "v001").write_text("a note")
    assert claim(tmp_path, "train", "mnist", "mlp").path.name == "v002"
    assert (parent / "v001").read_text() == "a note"


@pytest.mark.parametrize(
    "claimed",
    [lambda folder: claim(folder, "train", "mnist", "mlp").path, lambda folder: claim_sweep(folder, "train")],
    ids=["run", "sweep"],
)
def test_claims_at_once_are_all_different(claimed: Callable[[Path], Path], tmp_path: Path) -> None:
    n_threads = 20
    barrier = Barrier(n_threads)

    def wanted(_: int) -> Path:
        barrier.wait()
        return claimed(tmp_path)

    with ThreadPoolExecutor(n_threads) as pool:
        paths = list(pool.map(wanted, range(n_threads)))
    assert sorted(path.name for path in paths) == [f"v{number:03d}" for number in range(1, n_threads + 1)]


def test_a_place_that_can_not_be_made_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for wanted in (
        lambda: claim(tmp_path / "file", "train", "mnist", "mlp"),
        lambda: claim_sweep(tmp_path / "file", "t"),
    ):
        why = r"\((Not a directory|File exists): .*\)"
        with pytest.raises(
            RunFailed, match=rf"can't make a run folder in .*file {why}\. Use output_dir=FOLDER for another folder"
        ):
            wanted()


# --- latest --------------------------------------------------------------------------------------------------------


def runs(parent: Path, **statuses: str | None) -> dict[str, RunFolder]:
    """Folders of runs with these statuses; None has no record."""
    found = {}
    for name, status in statuses.items():
        found[name] = RunFolder(parent / name)
        found[name].path.mkdir(parents=True, exist_ok=True)
        if status is not None:
            found[name].write_record(RunRecord(status=status))
    return found


def latest(parent: Path) -> str | None:
    return os.readlink(parent / "latest") if (parent / "latest").is_symlink() else None


@pytest.mark.parametrize(
    ("statuses", "newest"),
    [
        ({"v001": "done"}, "v001"),
        ({"v001": "done", "v002": "done"}, "v002"),
        ({"v001": "done", "v002": "running"}, "v001"),
        ({"v001": "done", "v002": "failed", "v003": "interrupted", "v004": None}, "v001"),
        ({"v999": "done", "v1000": "done"}, "v1000"),
        ({"v001": "running"}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("caller", ["first", "last"])
def test_latest_is_the_newest_that_is_done_whoever_asks(
    statuses: dict[str, str | None], newest: str | None, caller: str, tmp_path: Path
) -> None:
    folders = list(runs(tmp_path, **statuses).values())
    folders[0 if caller == "first" else -1].point_links_here()
    assert latest(tmp_path) == newest


def test_latest_never_goes_backwards(tmp_path: Path) -> None:
    """v002 ends before v001."""
    folders = runs(tmp_path, v001="running", v002="running")
    seen = []
    for name in ("v002", "v001"):
        folders[name].write_record(RunRecord(status="done"))
        folders[name].point_links_here()
        seen.append(latest(tmp_path))
    assert seen == ["v002", "v002"]
    # A link by name, so that the whole tree can be moved.
    assert read_record(tmp_path / "latest") == RunRecord(status="done")
    assert names(tmp_path) == ["latest", "v001", "v002"]


def test_a_run_that_is_done_while_another_links_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """v002 becomes done, and links itself, after v001 has looked for the newest and before v001 renames its link."""
    folders = runs(tmp_path, v001="done", v002="running")
    looked = run_folder._newest_done

    def overtaken(parent: Path, is_done: Callable[[Path], bool]) -> Path | None:
        found = looked(parent, is_done)
        monkeypatch.setattr(run_folder, "_newest_done", looked)
        folders["v002"].write_record(RunRecord(status="done"))
        folders["v002"].point_links_here()
        return found

    monkeypatch.setattr(run_folder, "_newest_done", overtaken)
    folders["v001"].point_links_here()
    assert latest(tmp_path) == "v002"


def test_runs_that_end_at_once_leave_latest_at_the_newest(tmp_path: Path) -> None:
    n_threads = 8
    folders = runs(tmp_path, **{f"v{number:03d}": "running" for number in range(1, n_threads + 1)})
    barrier = Barrier(n_threads)

    def end(folder: RunFolder) -> None:
        barrier.wait()
        folder.write_record(RunRecord(status="done"))
        folder.point_links_here()

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(end, folders.values()))
    assert latest(tmp_path) == f"v{n_threads:03d}"


def test_a_link_to_a_version_that_is_done_no_more_is_taken_away(tmp_path: Path) -> None:
    folders = runs(tmp_path, v001="done")
    folders["v001"].point_links_here()
    folders["v001"].write_record(RunRecord(status="failed"))
    folders["v001"].point_links_here()
    assert names(tmp_path) == ["v001"]


def test_a_link_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to("elsewhere")
    runs(tmp_path, v001="failed")["v001"].point_links_here()
    runs(tmp_path, moved="done")["moved"].point_links_here()
    assert latest(tmp_path) == "elsewhere"


def test_what_latest_means_stays_while_it_moves_on(tmp_path: Path) -> None:
    runs(tmp_path, v001="done")["v001"].point_links_here()
    meant = run_folder.linked(tmp_path / "latest")
    runs(tmp_path, v002="done")["v002"].point_links_here()
    assert meant == tmp_path / "v001" and run_folder.linked(tmp_path / "latest") == tmp_path / "v002"
    assert run_folder.linked(tmp_path / "v001") == tmp_path / "v001"
    assert run_folder.linked(tmp_path / "nowhere/latest") == tmp_path / "nowhere/latest"


def test_passed_is_the_newest_that_met_what_it_expected(tmp_path: Path) -> None:
    made: dict[str, tuple[str, tuple[str, ...] | None]] = {
        "v001": ("done", ()),
        "v002": ("done", ("accuracy = 0.5, expected >= 0.9",)),
        "v003": ("done", None),  # it expected nothing
        "v004": ("failed", ()),
    }
    for name, (status, not_met) in made.items():
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        folder.write_record(RunRecord(status=status, expect_not_met=not_met))
        folder.point_links_here()
    assert (os.readlink(tmp_path / "latest"), os.readlink(tmp_path / "passed")) == ("v003", "v001")
    assert run_folder.linked(tmp_path / "passed") == tmp_path / "v001"


def test_words_count_back_from_the_latest(tmp_path: Path) -> None:
    runs(tmp_path, v001="done", v002="failed", v003="done", v004="done", v005="running")["v001"].point_links_here()
    meant = {word: run_folder.linked(tmp_path / word).name for word in ("latest", "previous", "latest~1", "latest~2")}
    assert meant == {"latest": "v004", "previous": "v003", "latest~1": "v003", "latest~2": "v001"}
    with pytest.raises(ConfigError, match="has 2 versions that are done before latest. mi-run ls "):
        run_folder.linked(tmp_path / "latest~3")
    with pytest.raises(ConfigError, match="has no versions that are done before latest"):
        run_folder.linked(tmp_path / "nowhere/previous")
    (tmp_path / "previous").mkdir()  # a folder of this name is what is meant
    assert run_folder.linked(tmp_path / "previous") == tmp_path / "previous"


# --- what is written -----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return claim(tmp_path, "train", "mnist", "mlp")


def test_a_record_is_read_as_it_was_written(folder: RunFolder) -> None:
    record = RunRecord(status="done", error='α\n"β"', metrics={"accuracy": 0.1 + 0.2}, shown=("metrics",))
    folder.write_record(record)
    assert read_record(folder.path) == record
    text = (folder.path / "run.json").read_text(encoding="utf-8")
    assert "α" in text and text.endswith("}\n")


@pytest.mark.parametrize(
    "content", [None, b"", b'{"status": "do', b"[1]", b"null", b'{"status": "\xff"}', b"\xff\xfe{\x00}\x00"], ids=repr
)
def test_a_record_that_can_not_be_read_is_none(content: bytes | None, folder: RunFolder) -> None:
    if content is not None:
        (folder.path / "run.json").write_bytes(content)
    assert read_record(folder.path) is None


ROWS = [{"target": "x/add", "accuracy": 0.1 + 0.2, "n": 3}, {"target": "a,b", "accuracy": None, "n": 4}]


@pytest.mark.parametrize("rows", [ROWS, tuple(ROWS), pd.DataFrame(ROWS)], ids=["list", "tuple", "frame"])
def test_a_table_is_a_csv(rows: Any, folder: RunFolder) -> None:
    folder.write_table("metrics", rows)
    assert names(folder.path) == ["metrics.csv"]
    assert (folder.path / "metrics.csv").read_text() == ('target,accuracy,n\nx/add,0.30000000000000004,3\n"a,b",,4\n')


def test_a_table_is_parquet_on_demand(folder: RunFolder) -> None:
    folder.write_table("circuits", ROWS, parquet=True)
    assert names(folder.path) == ["circuits.parquet"]
    read = pd.read_parquet(folder.path / "circuits.parquet")
    assert list(read.columns) == ["target", "accuracy", "n"]
    assert read["n"].tolist() == [3, 4]


@pytest.mark.parametrize(("n", "name"), [(99_999, "units.csv"), (100_000, "units.csv"), (100_001, "units.parquet")])
def test_a_table_above_100000_rows_is_parquet(n: int, name: str, folder: RunFolder) -> None:
    folder.write_table("units", pd.DataFrame({"unit": range(n)}))
    assert names(folder.path) == [name]
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    assert read(folder.path / name)["unit"].tolist() == list(range(n))


@pytest.mark.drawn
def test_config_figures_and_weights(folder: RunFolder) -> None:
    folder.write_config("seed: 0  # α\n")
    figure = Figure(figsize=(3, 2), layout="constrained")
    figure.subplots().plot([1, 3, 2])
    figure.savefig(folder.path / "by_matplotlib.png", dpi=drawing.DPI)
    folder.write_figure("confusion", lambda: figure)
    with (
        Image.open(folder.path / "by_matplotlib.png") as wanted,
        Image.open(folder.path / "figures/confusion.png") as image,
    ):
        assert image.size == (390, 260) and image.tobytes() == wanted.tobytes()
        assert len(set(image.tobytes())) > 2
    folder.write_figure("history", Figure)
    folder.write_weights({"a": torch.ones(2)})
    assert (folder.path / "config.yaml").read_text(encoding="utf-8") == "seed: 0  # α\n"
    assert names(folder.path / "figures") == ["confusion.png", "history.png"]
    assert load_file(folder.weights)["a"].tolist() == [1.0, 1.0]


class HalfDrawn(Figure):
    def draw(self, renderer: RendererBase) -> None:
        raise ZeroDivisionError


@pytest.mark.drawn
@pytest.mark.parametrize(
    "write",
    [
        lambda folder: folder.write_figure("drawn", HalfDrawn),
        lambda folder: folder.write_table("table", [{"a": 1}, 3]),
        lambda folder: folder.write_weights({"a": torch.ones(2), "b": 3}),
        lambda folder: folder.write_record(RunRecord(config={"a": object()})),
    ],
    ids=["figure", "table", "weights", "record"],
)
def test_a_write_that_fails_leaves_no_file(write: Callable[[RunFolder], None], folder: RunFolder) -> None:
    with pytest.raises((ZeroDivisionError, TypeError, ValueError, AttributeError)):
        write(folder)
    assert [path for path in folder.path.rglob("*") if path.is_file()] == []


def test_digests_are_of_every_file_but_the_record(folder: RunFolder) -> None:
    folder.write_record(RunRecord(status="running"))
    folder.write_config("seed: 0\n")
    (folder.path / "figures").mkdir()
    (folder.path / "figures/confusion.png").write_bytes(b"png")
    folder.log.write_text("began\n")
    (folder.path / ".metrics.csv.0123.tmp.csv").write_text("half")  # what a killed process leaves behind
    assert folder.digests() == {
        "config.yaml": hashlib.sha256(b"seed: 0\n").hexdigest(),
        "figures/confusion.png": hashlib.sha256(b"png").hexdigest(),
        "run.log": hashlib.sha256(b"began\n").hexdigest(),
    }


def test_digests_of_an_empty_folder(folder: RunFolder) -> None:
    assert folder.digests() == {}
