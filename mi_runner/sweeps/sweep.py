"""Many runs as one result, which survives interruptions and failed jobs.

    overrides → every job composed and checked → a folder with sweep.json → jobs, wherever a launcher runs them
              → sweep.csv, sweep_summary.csv, figures, from the jobs' folders alone

What became of a job is read from its run.json. So the tables can be made at any time, however the sweep ended,
and a sweep that is resumed runs the jobs that are not done.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mi_runner.config import hydra_keys
from mi_runner.config.composition import flattened
from mi_runner.errors import ConfigError, ExitStatus, RunFailed, Terminated, exit_status, one_line
from mi_runner.machine import cache, signals
from mi_runner.runs import run_folder
from mi_runner.runs.plan import LOCK, PLAN, Plan
from mi_runner.runs.states import State
from mi_runner.sweeps import clean_state, engines
from mi_runner.sweeps.dispatch import Dispatch
from mi_runner.sweeps.job_source import JobSource, Listed, Searched
from mi_runner.sweeps.sweep_plan import Command, parse_overrides, read_command, read_plan
from mi_runner.sweeps.sweep_result import finish
from mi_runner.tables import console

CODE = ("model.factory", "experiment.methods", "experiment.criteria")
"""The options that run code of one's own, where they name it: `module:callable`."""

LOG = "sweep.log"
"""In a sweep's folder, the traceback of what the sweep itself failed of."""

Finish = Callable[[Plan, Path, Mapping[int, State] | None], int]
"""Writes what is left of a sweep into its folder, prints it, and returns the exit status; see `sweep_result.finish`."""


def _jobs(asked: Command, objective: str | None, old: Plan | None, folder: Path | None) -> JobSource:
    """Returns the jobs of a sweep's command."""
    if asked.search is not None:
        return Searched(asked, asked.search, objective, old, folder)
    return Listed(asked, objective, old, folder)


@dataclass(frozen=True)
class Kind:
    """What differs between many runs that a sweep's command asks for, and those of a command of its own.

    Attributes:
        command: what begins the command line.
        jobs: returns the jobs of a command: `jobs(asked, objective, old, folder)`.
        finish: makes the tables.
        folder: the name of its folder below `sweeps`; empty: those of its experiments.
        of: what the plan says that it is of; empty of a sweep.
    """

    command: str
    jobs: Callable[[Command, str | None, Plan | None, Path | None], JobSource]
    finish: Finish
    folder: str = ""
    of: str = ""


SWEEP = Kind("mi-run -m", _jobs, finish)


def run(overrides: Sequence[str], command: str, kind: Kind = SWEEP) -> int:
    """Runs a sweep, or what else a command line with the keys of sweeps asks for, and returns its exit status.

    Args:
        overrides: those of the command line.
        command: the command line, for the record.
        kind: whose jobs and tables these are.

    Raises:
        ConfigError: a mistake in the command, before any job runs.
        RunFailed: the folder can't be made or written.
    """
    overrides = [*_launched_by(overrides), *overrides]
    asked = read_command(overrides)
    if asked.own.sweep is not None:
        others = [override for override in overrides if not override.startswith(("sweep=", "over=", "figures"))]
        if others:
            raise ConfigError(f"sweep={asked.own.sweep} runs nothing, so it takes no {others[0]}.")
        folder = run_folder.linked(Path(asked.own.sweep).expanduser())
        plan = _plan_of(folder, kind, "sweep")
        plan = replace(plan, overrides=(*plan.overrides, *(one for one in overrides if one.startswith("figures"))))
        if any(override.startswith("over=") for override in overrides):
            plan = replace(plan, over=asked.own.over.name)
        with signals.raised(), _logged(folder):
            return kind.finish(plan, folder, None)
    if asked.own.resume is None:
        return _run(asked, None, None, command, kind)
    folder = run_folder.linked(Path(asked.own.resume).expanduser())
    began_in = _place_of(_plan_of(folder, kind, "resume"), folder, asked, kind)  # or say that there is none
    if began_in is not None:
        folder = folder.absolute()
    with (
        nullcontext() if asked.own.plan else _only_one(folder),
        nullcontext() if began_in is None else contextlib.chdir(began_in),
    ):
        old = read_plan(folder)
        if not asked.overrides:
            asked = replace(read_command([*overrides, *old.overrides]), again=old.jobs)
        if old.search is not None and asked.search is None:
            asked = replace(asked, search=old.search)
        return _run(asked, old, folder, command, kind)


def _plan_of(folder: Path, kind: Kind, key: str) -> Plan:
    """Returns the plan of the sweep in a folder.

    Args:
        key: with which the command names the folder.

    Raises:
        ConfigError: there is none, or it is of another kind; the text says what to type.
    """
    plan = read_plan(folder)
    if plan.of != kind.of:
        what, begin = (f"a {plan.of}", f"mi-run {plan.of}") if plan.of else ("a sweep", SWEEP.command)
        raise ConfigError(f"{key}={folder}: this is {what}. Type {begin} {key}={folder}.")
    return plan


def _place_of(plan: Plan, folder: Path, asked: Command, kind: Kind) -> str | None:
    """Returns the folder that a sweep was begun in, if it is another one than this: its relative paths start there.

    Raises:
        ConfigError: the command has options of its own, whose relative paths would be from here; or another user could
            have written what names the code that runs.
    """
    if plan.folder is None or os.path.realpath(plan.folder) == os.path.realpath("."):
        return None
    if not os.path.isdir(plan.folder):
        console.note(f"{plan.folder}, where this sweep was begun, is gone: relative paths are from {os.getcwd()}")
        return None
    if asked.overrides:
        if not _of_a_place(plan):
            return None
        raise ConfigError(
            f"resume={folder}: the sweep was begun in {plan.folder}, where its relative paths start, and this command "
            f"has options of its own. Leave them out, because the sweep has them: {kind.command} resume={folder}; or "
            f"type the same in that folder: cd {shlex.quote(plan.folder)}."
        )
    owners = {(folder / PLAN).stat().st_uid, os.stat(plan.folder).st_uid}
    if owners != {os.getuid()} and (code := _code(plan)):
        raise ConfigError(
            f"resume={folder}: the sweep was begun in {plan.folder}, and one of the two is another user's, so "
            f"{code[0]} isn't run from there. If you trust it, type the same in that folder: "
            f"cd {shlex.quote(plan.folder)}."
        )
    console.note(f"the sweep goes on in {plan.folder}, where it was begun: its relative paths are from there")
    return plan.folder


def _of_a_place(plan: Plan) -> bool:
    """Returns whether options of a sweep mean something else in another folder."""
    places = {"dataset.path", "dataset.test_path", "checkpoint", hydra_keys.SEARCHPATH}
    return bool(_code(plan) or places & _values(plan).keys())


def _code(plan: Plan) -> list[str]:
    """Returns the keys with which a sweep names code of one's own."""
    values = _values(plan)
    return [key for key in CODE if ":" in values.get(key, "")]


def _values(plan: Plan) -> dict[str, str]:
    """Returns key → value of a sweep's options that have one; of several values as they were typed."""
    typed = {
        override.get_key_element().lstrip("+"): str(override.input_line).partition("=")[2]
        for override in parse_overrides(plan.overrides)
    }
    return typed | {key: str(value) for key, value in plan.base.items() if value is not None}


def _launched_by(overrides: Sequence[str]) -> tuple[str, ...]:
    """Returns the overrides of the resumed sweep's launcher, if the command names none; the command's
    come after them."""
    given = {override.get_key_element(): override.value() for override in parse_overrides(overrides)}
    folder = given.get("resume")
    if not isinstance(folder, str) or "hydra/launcher" in given:
        return ()
    return read_plan(run_folder.linked(Path(folder).expanduser())).launcher


def _run(asked: Command, old: Plan | None, folder: Path | None, command: str, kind: Kind) -> int:
    jobs = kind.jobs(asked, asked.own.objective or (old.objective if old else None), old, folder)
    if asked.own.plan:
        return jobs.show_plan()
    jobs.refuse_invalid()
    cache.check()
    engines.check(asked.launcher)
    try:
        with signals.raised():
            return _work(jobs, asked, old, folder, command, kind)
    finally:
        clean_state.forget()


def _work(jobs: JobSource, asked: Command, old: Plan | None, folder: Path | None, command: str, kind: Kind) -> int:
    if folder is None:
        names = kind.folder or "+".join(dict.fromkeys(config.experiment.name for config in jobs.configs))
        folder = run_folder.claim_sweep(jobs.configs[0].output_dir, names)
        with _only_one(folder), _logged(folder):
            return _dispatched(jobs, asked, old, folder, command, kind)
    with _logged(folder):
        return _dispatched(jobs, asked, old, folder, command, kind)


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Writes the traceback of an unforeseen error within the block to the sweep's folder, and fails the sweep.

    Raises:
        RunFailed: the text says where.
    """
    try:
        yield
    except (ConfigError, RunFailed, OSError):
        raise
    except Exception as error:
        raise RunFailed(f"{one_line(error).removesuffix('.')}.{_with_traceback(error, folder)}") from error


def _with_traceback(error: Exception, folder: Path) -> str:
    """Writes the traceback of an error to a sweep's folder and returns a sentence that says where it is."""
    place = folder / LOG
    try:
        with place.open("a", encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        if not isinstance(error, OSError):  # otherwise the disk is full, which needs no traceback
            console.traceback(error)
        return ""
    return f" The whole traceback is in {place}."


def _dispatched(jobs: JobSource, asked: Command, old: Plan | None, folder: Path, command: str, kind: Kind) -> int:
    plan = jobs.plan(command, old)
    try:
        plan.write(folder)
    except OSError as error:
        raise RunFailed(f"can't write into {folder} ({error}): output_dir=FOLDER names another place.") from error
    configs = [flattened(config) for config in jobs.configs]
    engine = engines.start(asked.launcher, jobs.n_left, _devices(asked, configs), folder)
    console.note(f"{plan.command} → {folder}: {jobs.n_left} jobs, {engine.slots} at once")
    dispatch = Dispatch(jobs, engine, folder, asked.own.on_error, resumed=old is not None, adopt=asked.own.adopt)
    ended_by: ExitStatus | None = None
    with ExitStack() as hold:
        try:
            dispatch.run()
            ended = replace(jobs.plan(command, old), searching=False)
            if ended.search is not None:
                ended.write(folder)
        except (KeyboardInterrupt, Terminated) as error:
            hold.enter_context(signals.held())  # for the tables; another signal changes nothing any more
            console.error(f"{one_line(error)}: no later job starts")
            ended_by = exit_status(error)
        except Exception as error:  # of an engine, or of a disk that is full: what is done is kept
            console.error(f"{one_line(error)}: no later job starts.{_with_traceback(error, folder)}")
            ended_by = ExitStatus.FAILED
        status = kind.finish(jobs.plan(command, old), folder, dispatch.known)
    return ended_by or status


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Keeps other processes from this folder's sweep within the block; the lock of a killed process doesn't count."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"resume={folder}: another process works at this sweep. Wait until it has ended.") from None
    except OSError as error:
        raise RunFailed(f"can't write into {folder} ({error}): output_dir=FOLDER names another place.") from error
    try:
        yield
    finally:
        lock.release()


def _devices(asked: Command, configs: Sequence[Mapping[str, Any]]) -> int:
    """Returns the number of CUDA devices that workers of this machine are spread over: 0 if a job names one."""
    if asked.launcher is None or any(config["device"] not in ("auto", "cuda") for config in configs):
        return 0
    import torch

    return torch.cuda.device_count()
