"""What others own or can write is not read: it may be code, or weights and images of their choice."""

from __future__ import annotations

import importlib.util
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mi_runner.errors import ConfigError
from mi_runner.machine import cache, compiled, private
from mi_runner.machine.files import written_whole
from mi_runner.machine.private import NotPrivate

SOMEBODY = 65534

can_give_away = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs the right to give files away"
)

KERNELS = """
from mi_runner.machine.compiled import compiled

@compiled()
def double(number):
    return 2 * number

@compiled()
def triple(number):
    return 3 * number
"""


class Marks:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MI_RUN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return tmp_path / "cache"


@pytest.fixture
def umask_of_zero() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def kernels(tmp_path: Path) -> Any:
    """A module with kernels as a new process sees it."""
    file = tmp_path / "own_kernels.py"
    file.write_text(KERNELS)
    spec = importlib.util.spec_from_file_location("own_kernels", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def planted(folder: Path, mark: Path) -> list[Path]:
    """Every file of a folder of kernels becomes a pickle that runs code."""
    files = [file for file in folder.iterdir() if file.suffix in (".nbi", ".nbc")]
    for file in files:
        file.write_bytes(pickle.dumps(Marks(mark)))
    return files


# --- private folders and files -------------------------------------------------------------------------------------


def test_folders_and_files_are_the_user_s_alone_whatever_the_umask_is(umask_of_zero: None, tmp_path: Path) -> None:
    private.make_folder(tmp_path / "a/b/c")
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700] * 3
    with written_whole(tmp_path / "a/file", private=True) as beside:
        assert mode(beside) == 0o600
        beside.write_text("text")
    assert mode(tmp_path / "a/file") == 0o600 and private.read_bytes(tmp_path / "a/file") == b"text"


@pytest.mark.parametrize("changed", ["a/b/c", "a/b", "a"])
@pytest.mark.parametrize("bits", [0o720, 0o702])
def test_a_folder_that_others_can_write_or_replace(changed: str, bits: int, tmp_path: Path) -> None:
    private.make_folder(tmp_path / "a/b/c")
    (tmp_path / changed).chmod(bits)
    with pytest.raises(NotPrivate, match=f"{tmp_path / changed}: (its group|everybody) can write it"):
        private.check_folder(tmp_path / "a/b/c")


def test_a_sticky_folder_above_lets_nobody_rename_ours(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    private.make_folder(tmp_path / "tmp/ours")
    (tmp_path / "tmp/ours").chmod(0o1777)
    with pytest.raises(NotPrivate, match="everybody can write it"):
        private.check_folder(tmp_path / "tmp/ours")


def test_a_link_is_safe_if_all_folders_on_its_way_are(tmp_path: Path) -> None:
    for name in ("a/b", "loose/target", "kept"):
        private.make_folder(tmp_path / name)
    (tmp_path / "a/b/link").symlink_to("../../kept")
    private.check_folder(tmp_path / "a/b/link")
    (tmp_path / "a/b/loose").symlink_to(tmp_path / "loose/target")
    (tmp_path / "a/b/twice").symlink_to("loose")
    (tmp_path / "loose").chmod(0o777)
    for name in ("loose", "twice"):
        with pytest.raises(NotPrivate, match=f"{tmp_path}/loose: everybody"):
            private.check_folder(tmp_path / "a/b" / name)
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError):
        private.check_folder(tmp_path / "round/a")


@pytest.mark.parametrize(("bits", "who"), [(0o620, "its group"), (0o602, "everybody"), (None, "it is a symbolic link")])
def test_of_many_entries_the_one_that_is_not_private_is_named(bits: int | None, who: str, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    private.make_folder(folder)
    for number in range(20):
        private.new_file(folder / str(number))
    private.check_entries(folder)
    changed = folder / "13"
    if bits is None:
        changed.unlink()
        changed.symlink_to("12")
    else:
        changed.chmod(bits)
    for check in (lambda: private.check_entries(folder), lambda: private.check(changed)):
        with pytest.raises(NotPrivate, match=f"{changed}: {who}"):
            check()
    with pytest.raises(FileNotFoundError):
        private.check_entries(tmp_path / "missing")


@can_give_away
@pytest.mark.parametrize("given", ["a", "a/b", "a/b/file", "link"])
def test_what_another_user_owns(given: str, tmp_path: Path) -> None:
    """Also for root, who could read it."""
    private.make_folder(tmp_path / "a/b")
    with written_whole(tmp_path / "a/b/file", private=True) as beside:
        beside.write_text("text")
    (tmp_path / "link").symlink_to("a/b")
    os.chown(tmp_path / given, SOMEBODY, SOMEBODY, follow_symlinks=False)
    with pytest.raises(NotPrivate, match=f"{tmp_path / given}: user .* owns it"):
        if given == "a/b/file":
            private.read_bytes(tmp_path / given)
        else:
            private.check_folder(tmp_path / "link")


def test_files_that_are_no_private_files(tmp_path: Path) -> None:
    (file := tmp_path / "file").write_text("text")
    file.chmod(0o606)
    with pytest.raises(NotPrivate, match="everybody can write it"):
        private.read_bytes(file)
    file.chmod(0o600)
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "pipe", "."):
        with pytest.raises(OSError):
            private.read_bytes(tmp_path / name)
    with pytest.raises(NotPrivate, match="symbolic link"):
        private.check(tmp_path / "link")


# --- the cache -----------------------------------------------------------------------------------------------------


def test_all_in_the_cache_is_private(umask_of_zero: None, tmp_path: Path, own_cache: Path) -> None:
    assert kernels(tmp_path).double(2) == 4
    (models := cache.usable(cache.MODELS)) and written(models / "a")
    modes = {path: mode(path) for path in [own_cache, *own_cache.rglob("*")]}
    assert len(modes) >= 7
    assert all(found == (0o700 if path.is_dir() else 0o600) for path, found in modes.items()), modes


def written(path: Path) -> None:
    with written_whole(path, private=True) as beside:
        beside.write_text("a")


FAULTS: dict[str, Callable[[Path], Any]] = {
    "the cache": lambda folder: folder.parent.parent.chmod(0o777),
    "the folder of kernels": lambda folder: folder.parent.chmod(0o770),
    "the folder of a version": lambda folder: folder.chmod(0o707),
    "a file": lambda folder: next(folder.glob("*.nbc")).chmod(0o666),
    "another user's cache": lambda folder: os.chown(folder.parent.parent, SOMEBODY, -1),
    "another user's kernels": lambda folder: os.chown(folder.parent, SOMEBODY, -1),
    "another user's version": lambda folder: os.chown(folder, SOMEBODY, -1),
    "another user's index": lambda folder: os.chown(next(folder.glob("*.nbi")), SOMEBODY, -1),
    "another user's code": lambda folder: os.chown(next(folder.glob("*.nbc")), SOMEBODY, -1),
}


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=can_give_away if "user" in name else ()) for name in FAULTS]
)
def test_planted_kernels_are_not_read_and_the_command_says_what_to_type(
    fault: str, tmp_path: Path, own_cache: Path
) -> None:
    assert kernels(tmp_path).double(2) == 4
    folder, mark = compiled.kernels_folder(), tmp_path / "mark"
    planted(folder, mark)
    FAULTS[fault](folder)
    with pytest.raises(ConfigError, match=r"isn't yours alone: .* Type (rm -r|chmod|MI_RUN_CACHE=FOLDER)"):
        cache.check()
    for file in folder.iterdir() if "code" in fault or fault == "a file" else ():
        if file.suffix == ".nbi":  # whose own index is whole: only the code was planted
            file.unlink()
    assert kernels(tmp_path).double(3) == 6
    assert not mark.exists()


def test_a_private_cache_is_believed(tmp_path: Path) -> None:
    """Otherwise the tests above would notice nothing: here the planted pickle is read, because this user wrote it."""
    kernels(tmp_path).double(2)
    planted(compiled.kernels_folder(), tmp_path / "mark")
    cache.check()
    assert kernels(tmp_path).double(3) == 6 and (tmp_path / "mark").exists()


@can_give_away
def test_planted_code_behind_a_whole_index(tmp_path: Path, warnings_in_log: list[str]) -> None:
    kernels(tmp_path).double(2)
    (code,) = compiled.kernels_folder().glob("*.nbc")
    code.write_bytes(pickle.dumps(Marks(tmp_path / "mark")))
    os.chown(code, SOMEBODY, SOMEBODY)
    assert kernels(tmp_path).double(3) == 6 and not (tmp_path / "mark").exists()
    [line] = warnings_in_log
    assert f": {code}: user " in line and line.endswith("owns it, so it is not read; compiles again")
    assert code.stat().st_uid == os.geteuid()  # it was written again
    cache.check()


def test_a_run_with_a_cache_that_others_can_write_makes_no_folder(
    own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mi_runner.cli import command

    (own_cache / "kernels").mkdir(parents=True)
    (own_cache / "kernels").chmod(0o777)
    for sweep in ([], ["-m", "seed=0,1"]):
        assert command.main([*sweep, "dataset=mod_add", f"output_dir={tmp_path / 'out'}"]) == 2
        error = capsys.readouterr().err
        assert f"{own_cache}/kernels: everybody can write it" in error and f"rm -r {own_cache}/kernels" in error
    assert not (tmp_path / "out").exists()


def test_without_a_home_of_one_s_own_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_in_log: list[str]
) -> None:
    """Unlike a folder that MI_RUN_CACHE names, the home is nobody's choice: a line says so, and the run goes on."""
    monkeypatch.delenv("MI_RUN_CACHE")
    (home := tmp_path / "home").mkdir()
    home.chmod(0o777)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    cache.check()
    assert cache.usable(cache.MODELS) is None and cache.usable(cache.KERNELS) is None
    [line] = warnings_in_log
    assert "home: everybody can write it" in line and "MI_RUN_CACHE=FOLDER" in line
    (home / ".cache/mi-run/kernels").mkdir(parents=True)
    home.chmod(0o700)
    (home / ".cache/mi-run/kernels").chmod(0o777)
    with pytest.raises(ConfigError, match="Type rm -r"):
        cache.check()


# --- no usable cache -----------------------------------------------------------------------------------------------


UNUSABLE: dict[str, Callable[[Path, pytest.MonkeyPatch], Any]] = {
    "a file": lambda folder, patch: folder.write_text("no folder"),
    "below a file": lambda folder, patch: (folder.write_text("a"), patch.setenv("MI_RUN_CACHE", str(folder / "b"))),
    "a name that is too long": lambda folder, patch: patch.setenv("MI_RUN_CACHE", str(folder / ("n" * 300))),
    "no home": lambda folder, patch: (
        patch.delenv("MI_RUN_CACHE"),
        patch.setattr(cache, "user_cache_path", lambda *names, **options: Path("~/.cache/mi-run")),
    ),
    "a home that doesn't exist": lambda folder, patch: (
        patch.delenv("MI_RUN_CACHE"),
        patch.setenv("HOME", "/proc/nowhere"),
        no_xdg(patch),
    ),
}


def no_xdg(patch: pytest.MonkeyPatch) -> None:
    patch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.mark.parametrize("how", UNUSABLE)
def test_without_a_cache_a_run_works_in_memory_and_one_line_says_so(
    how: str, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mi_runner.cli import command

    UNUSABLE[how](own_cache, monkeypatch)
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    options = ["dataset=mnist", "dataset.limit=20", "training.epochs=1", "report=false"]
    assert command.main([*options, f"output_dir={tmp_path / 'out'}"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "can't be used" in line]
    assert len(lines) == 1 and "nothing is kept" in lines[0]
    assert kernels(tmp_path).double(2) == 4
    assert "can't be used" not in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_matplotlib_s_lines_about_its_own_cache_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    import logging

    from mi_runner.machine.imports import lasting_imports

    with lasting_imports(), caplog.at_level("WARNING"):
        log = logging.getLogger("matplotlib")
        log.warning("mkdir -p failed for path %s: %s", "/nowhere", "No such file")
        log.warning("it is highly recommended to set the MPLCONFIGDIR environment variable to a writable directory")
        log.warning("another line")
    assert [record.getMessage() for record in caplog.records] == ["another line"]


def test_a_disk_that_is_full_while_the_cache_is_written(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_in_log: list[str]
) -> None:
    from mi_runner.datasets import mnist

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mi_runner.machine.files.new_file", full)
    assert len(mnist.load(limit=3).x_train) == 3
    assert kernels(tmp_path).double(2) == 4
    [line] = warnings_in_log
    assert "No space left on device" in line


# --- locks ---------------------------------------------------------------------------------------------------------


def test_a_lock_that_is_held_is_waited_for_once_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compiled, "_patience", patience := compiled._Patience())
    patience.seconds = 0.3
    folder = cache.usable(f"kernels/{compiled._version()}")
    assert folder is not None
    with FileLock(folder / "lock"), caplog.at_level("INFO", "mi_runner"):
        module = kernels(tmp_path)
        assert (module.double(2), module.triple(2)) == (4, 6)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and "waits up to 0 s" in said[0] and "is still held" in said[1]
    assert not list(folder.glob("*.nb?"))
    assert module.double(2.0) == 4.0 and list(folder.glob("*.nb?"))  # free again: kept again


# --- jobs of a sweep -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["written by others", pytest.param("of another user", marks=can_give_away)])
def test_a_task_that_others_can_write_is_not_unpickled(fault: str, tmp_path: Path) -> None:
    (task := tmp_path / "0.task").write_bytes(pickle.dumps(Marks(tmp_path / "mark")))
    if fault == "of another user":
        os.chown(task, SOMEBODY, SOMEBODY)
    else:
        task.chmod(0o666)
    job = [sys.executable, "-m", "mi_runner.sweeps.engines.slurm_job", str(task)]
    done = subprocess.run(job, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "NotPrivate" in done.stderr
    assert not (tmp_path / "mark").exists()


def test_the_folder_of_tasks_is_private(umask_of_zero: None, tmp_path: Path) -> None:
    from mi_runner.errors import RunFailed
    from mi_runner.sweeps.engines.engine import make_private

    make_private(tmp_path / ".slurm")
    assert mode(tmp_path / ".slurm") == 0o700
    make_private(tmp_path / ".slurm")
    (tmp_path / ".slurm").chmod(0o770)
    with pytest.raises(RunFailed, match=r"its group can write it; .* Type rm -r"):
        make_private(tmp_path / ".slurm")


# --- a cache of somebody else --------------------------------------------------------------------------------------

RUN = ("dataset=mod_add", "training.epochs=1", "report=false", "seed=4712")


def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    from mi_runner.cli import command

    return command.main([*RUN, f"output_dir={tmp_path / 'out'}"]), capsys.readouterr().err


@can_give_away
def test_trained_models_of_a_shared_cache(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights are taken from a user that the environment names; kernels never are."""
    assert run(tmp_path, capsys)[0] == 0
    kernels(tmp_path).double(2)
    planted(compiled.kernels_folder(), tmp_path / "mark")
    own_cache.rename(theirs := tmp_path / "theirs")
    for path in [theirs, *theirs.rglob("*")]:
        os.chown(path, SOMEBODY, SOMEBODY)
        path.chmod(0o755 if path.is_dir() else 0o644)
    monkeypatch.setenv("MI_RUN_SHARED_CACHE", str(theirs))
    status, error = run(tmp_path, capsys)
    assert status == 0 and f"trained model loaded: {theirs}/models/" in error
    assert kernels(tmp_path).double(3) == 6 and not (tmp_path / "mark").exists()

    (weights,) = theirs.rglob("model.safetensors")
    weights.chmod(0o664)  # of its group, too
    status, error = run(tmp_path, capsys)
    assert status == 0 and "its group can write it" in error and "trained model loaded" not in error
    (theirs / "models").chmod(0o777)
    status, error = run(tmp_path, capsys)
    assert status == 2 and "everybody can write it" in error and f"chmod -R go-w {theirs}" in error
    monkeypatch.setenv("MI_RUN_SHARED_CACHE", str(tmp_path / "nowhere"))
    assert run(tmp_path, capsys)[0] == 2


def test_other_tensors_in_a_shared_cache_are_not_taken(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import hashlib
    import json

    from safetensors.torch import load_file, save_file

    assert run(tmp_path, capsys)[0] == 0
    own_cache.rename(theirs := tmp_path / "theirs")
    monkeypatch.setenv("MI_RUN_SHARED_CACHE", str(theirs))
    (weights,) = theirs.rglob("model.safetensors")
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights)
    weights.chmod(0o600)
    record = json.loads((weights.parent / "record.json").read_text())
    record["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    (weights.parent / "record.json").write_text(json.dumps(record))
    status, error = run(tmp_path, capsys)
    assert status == 0 and "its tensors have another digest" in error and "trained model loaded" not in error
