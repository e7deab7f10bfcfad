"""`mi-run rm`: removes runs and sweeps, by their folders or by conditions as `mi-run ls` has them, after a list."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mi_runner.cli.arguments import Parser
from mi_runner.cli.folders import existing_folder
from mi_runner.errors import ConfigError, ExitStatus, RunFailed, reason
from mi_runner.runs import run_folder, saved_runs
from mi_runner.runs.listing import Condition, selected
from mi_runner.runs.plan import LOCK, PLAN
from mi_runner.runs.saved_runs import Saved, SavedSweep
from mi_runner.sweeps import sweep_result
from mi_runner.tables import console
from mi_runner.tables.whole_numbers import file_size

OUTPUTS = "outputs"

LEVELS = 3
"""A run's folder and those above it in the output folder: v001, mnist-skip, ablation. None of them may be a link."""

SECONDS_OF_A_START = 60.0
"""A version's folder without a run.json that is younger than this may be of a run that begins."""

EXAMPLES = """\
examples:
  mi-run rm outputs/train/mnist-mlp/v003 outputs/sweeps/train/v001
  mi-run ls --where tag=draft
  mi-run rm --where tag=draft
  mi-run rm --where status=failed --where 'started<2026-01-01' --yes outputs/train

what is removed:
  whole folders of runs and sweeps, after a list with their sizes and a question; without a terminal --yes answers it.
  Nothing is removed if one of them is at work, is a job of a sweep, or is reached through a link other
  than latest or passed.
  latest and passed then link to the newest that are left. Trained weights stay in the cache."""


def parser() -> Parser:
    """Returns the parser of this command's arguments."""
    made = Parser("rm", "Removes runs and sweeps.", EXAMPLES)
    made.add_argument(
        "folders",
        nargs="*",
        metavar="FOLDER",
        help=f"runs or sweeps; with --where the folders below which they lie, {OUTPUTS} by default",
    )
    made.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="those for which this holds, as in mi-run ls; several: all hold",
    )
    made.add_argument("--yes", action="store_true", help="ask no question")
    return made


def run(arguments: Sequence[str]) -> int:
    """Removes what is asked for, and returns the exit status.

    Raises:
        ConfigError: a mistake in the arguments, or something can't be removed; nothing is removed then.
        RunFailed: a folder can't be removed.
    """
    asked = parser().parsed(arguments)
    if asked is None:
        return ExitStatus.DONE
    where = [Condition.parse(typed) for typed in asked.where]
    found = _below(asked.folders or [OUTPUTS], where) if where else _typed(asked.folders)
    if not found:
        console.page("no run or sweep fits all conditions, so nothing is removed")
        return ExitStatus.DONE
    for one in found:
        _check(one)
    sizes = [_bytes(one.folder) for one in found]
    rows = [
        {"path": str(one.folder), **{name: one.values[name] for name in ("status", "started")}, "size": file_size(n)}
        for one, n in zip(found, sizes, strict=True)
    ]
    what = f"{len(found):,} {'run or sweep' if len(found) == 1 else 'runs and sweeps'}, {file_size(sum(sizes))}"
    console.table(f"to remove: {what}", rows, most=len(rows), keep=["size"])
    if not asked.yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise ConfigError("rm: nothing is removed, because nobody can be asked. Type --yes to remove these.")
        if not console.confirmed(f"remove {what}?"):
            console.page("nothing is removed")
            return ExitStatus.DONE
    for one in found:
        _remove(one)
    console.page(f"removed {what}")
    return ExitStatus.DONE


def _typed(folders: Sequence[str]) -> list[Saved]:
    """Returns the runs and sweeps in folders that are typed.

    Raises:
        ConfigError: there is none, in one of them or at all.
    """
    if not folders:
        raise ConfigError("rm: type the folders of runs or sweeps, or --where NAME=VALUE. Type mi-run rm --help.")
    found: dict[Path, Saved] = {}
    for typed in folders:
        _check_links(Path(typed).expanduser())
        folder = existing_folder(str(run_folder.linked(Path(typed).expanduser())), "rm")
        saved = saved_runs.read(folder)
        if saved is None:
            raise ConfigError(f"{typed}: no run or sweep is in this folder. mi-run ls {typed} lists those below it.")
        found.setdefault(folder.resolve(), saved)
    return list(found.values())


def _below(folders: Sequence[str], where: Sequence[Condition]) -> list[Saved]:
    """Returns the runs and sweeps below folders for which all conditions hold, without jobs of sweeps."""
    found: dict[Path, Saved] = {}
    for typed in folders:
        _check_links(Path(typed).expanduser())
        for saved in saved_runs.below(existing_folder(typed, "rm")):
            if not _is_job(saved.folder):
                found.setdefault(saved.folder.resolve(), saved)
    return selected(list(found.values()), where)


def _is_job(folder: Path) -> bool:
    return os.path.lexists(folder.absolute().parent / PLAN)


def _check(saved: Saved) -> None:
    """Checks that a run or sweep may be removed.

    Raises:
        ConfigError: it may not; the text says why.
    """
    folder = saved.folder.absolute()
    if _is_job(folder):
        raise ConfigError(f"{saved.folder}: this is a job of a sweep. Remove the sweep, {saved.folder.parent}.")
    for place in (folder, *folder.parents)[:LEVELS]:
        if place.is_symlink() or place.name == "..":
            raise ConfigError(f"{saved.folder}: {place} is a link. Type the folder that is meant, without links.")
    if why := _work(saved):
        raise ConfigError(f"{saved.folder}: {why}. Wait until it has ended, or end it; nothing is removed.")


def _check_links(typed: Path) -> None:
    """Checks that no part of a path is a link but a word such as `latest`, which means a version beside it.

    Of an absolute path its last `LEVELS` are checked, because a disk may be linked.

    Raises:
        ConfigError: one is.
    """
    parts = [typed, *typed.parents]
    for place in parts[:LEVELS] if typed.is_absolute() else parts:
        if place.is_symlink() and not (place == typed and run_folder.is_word(place.name)):
            raise ConfigError(f"{typed}: {place} is a link. Type the folder that is meant, without links.")


def _work(saved: Saved) -> str:
    """Returns who is at work in a folder; empty if nobody is."""
    if isinstance(saved, SavedSweep):
        running = [job for job in saved.jobs if job.state.status == "running"]
        if running:
            return f"job {running[0].folder.name} of this sweep {running[0].state.cause}"
        return "another process works at this sweep" if _is_locked(saved.folder / LOCK) else ""
    if saved.state.status == "running":
        return f"the run {saved.state.cause}"
    if saved.state.status == "missing" and time.time() - saved.folder.stat().st_mtime < SECONDS_OF_A_START:
        return "a run may just begin in this folder"
    return ""


def _is_locked(file: Path) -> bool:
    """Returns whether a process holds a lock."""
    if not file.exists():
        return False
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # the folder can't be written, so nothing can be removed either
        return False
    lock.release()
    return False


def _bytes(folder: Path) -> int:
    """Returns the size of all files of a folder, without those that are linked."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it has just gone
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def _remove(saved: Saved) -> None:
    """Removes a folder, and points the links beside it to what is left.

    It is renamed first, so that nobody sees half of a run. Links in it are removed, not what they lead to.

    Raises:
        ConfigError: somebody has begun to work in it.
        RunFailed: it can't be removed.
    """
    _check(saved_runs.read(saved.folder) or saved)
    parent = saved.folder.parent
    leaving = parent / f".{saved.folder.name}.{secrets.token_hex(4)}.removed"
    try:
        saved.folder.rename(leaving)
        shutil.rmtree(leaving)
    except OSError as error:
        raise RunFailed(f"can't remove {saved.folder} ({reason(error)}).") from error
    try:
        if isinstance(saved, SavedSweep):
            sweep_result.point_links(saved.folder)
        else:
            run_folder.point_links(parent)
        run_folder.remove_dangling(parent)
    except OSError as error:
        console.error(f"can't point the links in {parent} to what is left ({reason(error)})")
