"""What is the user's own stays where mi-run writes, and a run that says done is on the disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mi_runner.machine import files
from mi_runner.runs import run_folder, states
from mi_runner.runs.record import RunRecord
from mi_runner.runs.run_folder import LATEST, RunFolder, point_link

OWN: dict[str, Callable[[Path], Any]] = {
    "a file": lambda path: path.write_text("my notes"),
    "a folder": lambda path: ((path / "inside").mkdir(parents=True), (path / "inside/notes").write_text("my notes")),
    "an empty folder": lambda path: path.mkdir(),
    "a link to elsewhere": lambda path: path.symlink_to("elsewhere"),
    "a link to a whole path": lambda path: path.symlink_to(path.parent / "v001"),
    "a link that leads nowhere": lambda path: path.symlink_to("../nowhere"),
    "a link with a version's digits in other signs": lambda path: path.symlink_to("v٠٠١"),
    "a pipe": lambda path: os.mkfifo(path),
    "a hard link": lambda path: ((path.parent / "a").write_text("a"), path.hardlink_to(path.parent / "a")),
}


def content(path: Path) -> Any:
    state = os.lstat(path)
    kind = stat.S_IFMT(state.st_mode), state.st_ino
    if path.is_symlink():
        return kind, os.readlink(path)
    if path.is_dir():
        return kind, {inner.relative_to(path): inner.is_dir() or inner.read_text() for inner in path.rglob("*")}
    return kind, path.read_text() if path.is_file() else None


@pytest.mark.parametrize("kind", OWN)
def test_the_user_s_own_latest_stays(kind: str, tmp_path: Path) -> None:
    (tmp_path / "v001").mkdir()
    RunFolder(tmp_path / "v001").write_record(RunRecord(status="done"))
    OWN[kind](tmp_path / "latest")
    before = content(tmp_path / "latest")
    for is_done in (lambda folder: True, lambda folder: False):
        try:
            point_link(tmp_path, LATEST, is_done)
        except FileExistsError as error:
            assert str(error) == f"{tmp_path / 'latest'} is no link to a version; rename it to have one"
        else:
            assert not is_done(tmp_path)
        assert content(tmp_path / "latest") == before
        assert not list(tmp_path.glob(".*"))


def test_a_link_of_ours_moves_on_also_where_its_version_is_gone(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to("v001")
    (tmp_path / "v002").mkdir()
    point_link(tmp_path, LATEST, lambda folder: True)
    assert os.readlink(tmp_path / "latest") == "v002"


def test_a_run_beside_the_user_s_own_latest_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mi_runner.cli import command

    monkeypatch.chdir(tmp_path)
    parent = tmp_path / "outputs/train/mod_add-mlp"
    parent.mkdir(parents=True)
    (parent / "latest").write_text("my notes")
    (parent / "v007").write_text("a file")
    assert command.main(["dataset=mod_add", "training.epochs=0", "report=false"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == "outputs/train/mod_add-mlp/v008"
    assert "latest is no link to a version" in captured.err and "the run is done anyway" in captured.err
    assert (parent / "latest").read_text() == "my notes" and (parent / "v007").read_text() == "a file"


def test_all_is_on_the_disk_before_a_run_says_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mi_runner.cli import command

    steps: list[tuple[str, Path]] = []
    really_sync, really_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        steps.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
        really_sync(descriptor)

    def replace(source: Path, target: Path) -> None:
        really_replace(source, target)
        steps.append(("replace", Path(target)))

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    assert command.main(["dataset=mod_add", "training.epochs=1", f"output_dir={tmp_path}"]) == 0
    folder = Path(capsys.readouterr().out.splitlines()[-1])
    done = max(number for number, step in enumerate(steps) if step == ("replace", folder / "run.json"))
    synced = {path for what, path in steps[:done] if what == "sync"}
    record = run_folder.read_record(folder)
    assert record is not None
    names = record.files
    assert {"metrics.csv", "model.safetensors", "report.html", "figures/history.png"} <= set(names)
    assert {folder / name for name in names} <= synced
    assert {folder, folder / "figures", folder.parent} <= synced
    last = steps[done - 1]
    assert last[0] == "sync" and last[1].name.startswith(".run.json.")  # run.json itself, before it has its name
    assert ("sync", folder) in steps[done:]
    for path in synced - {last[1], folder / "run.json"}:  # and nothing was written again after it was synced
        written = [number for number, step in enumerate(steps) if step == ("replace", path)]
        assert not written or max(n for n, step in enumerate(steps[:done]) if step == ("sync", path)) > written[-1]


def test_a_disk_that_fails_to_keep_the_files_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mi_runner.cli import command

    def failing(folder: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "sync_folder", failing)
    assert command.main(["dataset=mod_add", "training.epochs=0", f"output_dir={tmp_path}", "report=false"]) == 1
    assert "the run is not done" in capsys.readouterr().err
    assert states.read_state(tmp_path / "train/mod_add-mlp/v001").status != "done"
