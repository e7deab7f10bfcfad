"""`mi-run rm`: what is removed, what is refused, and where the links lead afterwards."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from mi_runner.runs.liveness import PROCESS, process_start
from tests.conftest import Ended
from tests.run_records import write, write_sweep

RUNS = Path("outputs/train/mnist-mlp")
SWEEPS = Path("outputs/sweeps/train")


@pytest.fixture
def rm(mi_run: Callable[..., Ended]) -> Callable[..., Ended]:
    """`mi-run rm` in a folder of the test's own, with three runs and two sweeps."""
    for number, tag in ((1, "paper"), (2, "draft"), (3, "draft")):
        write(RUNS / f"v00{number}", **{"run.tags": [tag]}, expect_not_met=[] if number < 3 else ["loss = 1"])
        (RUNS / f"v00{number}/metrics.csv").write_text("x" * 2_000)
    for number, tag in ((1, "draft"), (2, "paper")):
        write(write_sweep(SWEEPS / f"v00{number}", {"seed": [0]}) / "0", **{"run.tags": [tag]})
    for parent, newest in ((RUNS, "v003"), (SWEEPS, "v002")):
        (parent / "latest").symlink_to(newest)
    (RUNS / "passed").symlink_to("v002")
    return lambda *arguments: mi_run("rm", *arguments)


def left() -> list[str]:
    """The versions that are left, and the links with where they lead."""
    entries = [path for parent in (RUNS, SWEEPS) for path in sorted(parent.iterdir())]
    return [f"{path.name}→{path.readlink()}" if path.is_symlink() else path.name for path in entries]


ALL = ["latest→v003", "passed→v002", "v001", "v002", "v003", "latest→v002", "v001", "v002"]


def test_folders_are_removed_after_a_list_and_links_lead_to_what_is_left(rm: Callable[..., Ended]) -> None:
    folders = [RUNS / "v003", SWEEPS / "v002"]
    n_bytes = [sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) for folder in folders]
    assert n_bytes[0] > 2_000 > n_bytes[1]
    ended = rm(*map(str, folders), "--yes")
    total = f"2 runs and sweeps, {sum(n_bytes) / 1000:.1f} kB"
    assert ended.status == 0 and f"to remove: {total}" in ended.out and f"removed {total}" in ended.out
    assert str(RUNS / "v003") in ended.out and f" {n_bytes[0] / 1000:.1f} kB " in ended.out
    assert left() == ["latest→v002", "passed→v002", "v001", "v002", "latest→v001", "v001"]
    assert rm(str(RUNS / "latest"), "--yes").status == 0  # the version that the word means
    assert left() == ["latest→v001", "passed→v001", "v001", "latest→v001", "v001"]
    assert rm(str(RUNS / "v001"), str(SWEEPS / "latest"), "--yes").status == 0
    assert left() == []


def test_a_selection_is_that_of_ls(rm: Callable[..., Ended], mi_run: Callable[..., Ended]) -> None:
    listed = mi_run("ls", "--where", "tag=draft", "--columns", "path", "--format", "csv").out.splitlines()[1:]
    assert sorted(listed) == [str(SWEEPS / "v001"), str(RUNS / "v002"), str(RUNS / "v003")]
    ended = rm("--where", "tag=draft", "--where", "loss<1", "--yes")
    assert ended.status == 0 and all(path in ended.out for path in listed)
    assert left() == ["latest→v001", "passed→v001", "v001", "latest→v002", "v002"]
    nothing = rm("--where", "tag=draft", "outputs/train")
    assert nothing.status == 0 and nothing.out == "no run or sweep fits all conditions, so nothing is removed\n"
    assert rm("--where", "tag=paper", "--yes", "outputs/train").status == 0 and left() == ["latest→v002", "v002"]


def test_a_terminal_is_asked_and_anything_else_needs_yes(
    rm: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = rm(str(RUNS / "v003"))
    assert ended.status == 2 and "nothing is removed, because nobody can be asked. Type --yes" in ended.err
    assert "to remove: 1 run or sweep" in ended.out and left() == ALL

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answer, n_left in (("\n", 8), ("n\n", 8), ("", 8), ("yes\n", 7)):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        ended = rm(str(RUNS / "v003"))
        assert ended.status == 0 and "remove 1 run or sweep, 2." in ended.err and "kB? [y/N]" in ended.err
        assert len(left()) == n_left and ("nothing is removed" in ended.out) == (n_left == 8)


def test_a_link_is_removed_and_what_it_leads_to_stays(rm: Callable[..., Ended]) -> None:
    outside = Path("elsewhere")
    outside.mkdir()
    (outside / "precious").write_text("stays")
    (RUNS / "v003/data").symlink_to(outside.resolve())
    assert rm(str(RUNS / "v003"), "--yes").status == 0
    assert (outside / "precious").read_text() == "stays" and "v003" not in left()


@pytest.mark.parametrize("place", ["run", "model", "experiment", "outputs"])
def test_a_run_that_is_reached_through_a_link_is_refused(place: str, rm: Callable[..., Ended]) -> None:
    own = Path("own/train/mnist-mlp/v001")
    write(own, **{"run.tags": ["draft"]})
    link, typed = {
        "run": (RUNS / "v009", RUNS / "v009"),
        "model": (Path("outputs/train/linked"), Path("outputs/train/linked/v001")),
        "experiment": (Path("outputs/linked"), Path("outputs/linked/mnist-mlp/v001")),
        "outputs": (Path("linked"), Path("linked/train/mnist-mlp/v001")),
    }[place]
    target = {"run": own, "model": own.parent, "experiment": own.parent.parent, "outputs": Path("own")}[place]
    link.symlink_to(target.resolve())
    ended = rm(str(typed), "--yes")
    assert ended.status == 2 and "is a link. Type the folder that is meant" in ended.err and (own / "run.json").exists()
    assert rm("--where", "tag=draft", "--yes").status == 0  # a search follows no link
    assert (own / "run.json").exists() and link.is_symlink()


@pytest.fixture
def living() -> Iterator[int]:
    """The number of a process that lives."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


def test_what_is_at_work_is_refused_and_nothing_is_removed(rm: Callable[..., Ended], living: int) -> None:
    run = write(RUNS / "v004", status="running", pid=living)
    (run / PROCESS).write_text(f"{living} {process_start(living)}\n")
    for arguments in ([str(RUNS / "v001"), str(run)], ["--where", "experiment=train"]):
        ended = rm(*arguments, "--yes")
        assert ended.status == 2 and f"outputs/train/mnist-mlp/v004: the run is run by process {living}" in ended.err
        assert "nothing is removed" in ended.err and left() == [*ALL[:5], "v004", *ALL[5:]]
    job = write(SWEEPS / "v001/1", status="running", pid=living)
    (job / PROCESS).write_text(f"{living} {process_start(living)}\n")
    write_sweep(SWEEPS / "v003", {"seed": [0, 1]})
    job.rename(SWEEPS / "v003/1")
    ended = rm(str(SWEEPS / "v003"), "--yes")
    assert ended.status == 2 and f"job 1 of this sweep is run by process {living}" in ended.err
    with FileLock(SWEEPS / "v001/.lock"):
        ended = rm(str(SWEEPS / "v001"), "--yes")
    assert ended.status == 2 and "another process works at this sweep" in ended.err
    assert rm(str(SWEEPS / "v001"), "--yes").status == 0  # the lock of a process that has ended doesn't count


def test_a_folder_without_a_record_is_removed_once_it_is_old(rm: Callable[..., Ended]) -> None:
    empty = RUNS / "v004"
    empty.mkdir()
    assert "a run may just begin in this folder" in rm("--where", "status=missing", "--yes").err
    os.utime(empty, (1, 1))
    assert rm("--where", "status=missing", "--yes").status == 0 and not empty.exists() and left() == ALL


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "rm: type the folders of runs or sweeps, or --where NAME=VALUE."),
        (["nowhere"], "nowhere: this folder doesn't exist. Type mi-run rm FOLDER"),
        (["outputs"], "outputs: no run or sweep is in this folder. mi-run ls outputs lists"),
        ([str(SWEEPS / "v001/0")], "this is a job of a sweep. Remove the sweep, outputs/sweeps/train/v001."),
        (["--where", "tga=draft"], "tga"),
        (["--where", "draft"], "--where 'draft': write NAME=VALUE"),
        (["--force"], "there is no flag --force. Type mi-run rm --help."),
    ],
)
def test_a_mistake_is_one_line_and_removes_nothing(arguments: list[str], text: str, rm: Callable[..., Ended]) -> None:
    ended = rm(*arguments, "--yes") if arguments else rm()
    assert ended.status == 2 and text in ended.err and ended.err.count("\n") == 1, ended.err
    assert left() == ALL and "--yes" in rm("--help").out


def test_latest_is_never_set_to_a_link(rm: Callable[..., Ended]) -> None:
    write(Path("own/v001"))
    (RUNS / "v009").symlink_to(Path("own/v001").resolve())
    assert rm(str(RUNS / "v003"), "--yes").status == 0
    assert (RUNS / "latest").readlink() == Path("v002")
