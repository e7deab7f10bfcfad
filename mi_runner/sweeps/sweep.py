"""Many runs as one result, that survives what happens to them.

    overrides → every job composed and checked → a folder with sweep.json → jobs, wherever a launcher runs them
              → sweep.csv, sweep_summary.csv, figures, from the jobs' folders alone

What became of a job is read from its run.json. So the tables can be made at any time, after whatever ended the sweep,
and a sweep that is resumed runs the jobs that are not done.
"""

from __future__ import annotations

import json
import shlex
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from mi_runner import console, signals, threads
from mi_runner.config import composition
from mi_runner.config.composition import config_hash
from mi_runner.config.engine_schemas import Direction, OptunaSweeper
from mi_runner.config.run_schema import OnError, RunConfig
from mi_runner.errors import ConfigError, ExitStatus, RunFailed, Terminated, exit_status, one_line, unknown
from mi_runner.files import code_version
from mi_runner.progress import Progress
from mi_runner.runs import run_folder
from mi_runner.runs.run_folder import RunFolder, State
from mi_runner.statistics import Summed
from mi_runner.sweeps import clean_state, launchers, sweep_tables
from mi_runner.sweeps.launchers import Ending, Engine, Running, Task
from mi_runner.sweeps.sweep_plan import (
    Command,
    Job,
    Plan,
    Refused,
    base_of,
    check_same_sweep,
    compose_job,
    compose_jobs,
    flattened,
    named,
    read_command,
    read_plan,
)
from mi_runner.sweeps.sweep_search import Search
from mi_runner.sweeps.sweep_tables import Ended, Row

SECONDS_BETWEEN_LOOKS = 0.02
"""How often the launcher's jobs are looked at."""

EARLIER, LOCK, LOG = "earlier", ".lock", "sweep.log"
"""In a sweep's folder: the folders of attempts that were made again; the lock of the process that works at it; the
traceback of what the sweep itself failed of."""

UNCHECKED = ("seed", "device", "threads", "output_dir", "training.learning_rate")
"""Keys whose every value in range can run if one can."""


def run(overrides: Sequence[str], command: str) -> int:
    """A sweep, or what else a command line with the keys of sweeps asks for; its exit status.

    Args:
        overrides: those of the command line.
        command: the command line, for the record.

    Raises:
        ConfigError: a mistake in the command, before any job runs.
        RunFailed: the folder can't be made or written.
    """
    asked = read_command(overrides)
    if asked.own.sweep is not None:
        others = [override for override in overrides if not override.startswith("sweep=")]
        if others:
            raise ConfigError(f"sweep={asked.own.sweep} runs nothing, so it takes no {others[0]}.")
        folder = run_folder.linked(Path(asked.own.sweep).expanduser())
        plan = read_plan(folder)
        with signals.raised(), _logged(folder):
            return finish(plan, folder)
    if asked.own.resume is None:
        return _run(asked, None, None, command)
    folder = run_folder.linked(Path(asked.own.resume).expanduser())
    read_plan(folder)  # or say that there is none
    with nullcontext() if asked.own.plan else _only_one(folder):
        old = read_plan(folder)
        if not asked.overrides:
            asked = replace(read_command([*overrides, *old.overrides]), again=old.jobs)
        if old.search is not None and asked.search is None:
            direction = Direction[old.search["direction"]]
            asked = replace(asked, search=OptunaSweeper(**{**old.search, "direction": direction}))
        return _run(asked, old, folder, command)


def _run(asked: Command, old: Plan | None, folder: Path | None, command: str) -> int:
    objective = asked.own.objective or (old.objective if old else None)
    jobs: _Jobs
    if asked.search is not None:
        jobs = _Searched(asked, asked.search, objective, old, folder)
    else:
        jobs = _Listed(asked, objective, old, folder)
    if asked.own.plan:
        return jobs.show_plan()
    jobs.refuse_invalid()
    launchers.check(asked.launcher)
    try:
        with signals.raised():
            return _work(jobs, asked, old, folder, command)
    finally:
        clean_state.forget()


def _work(jobs: _Jobs, asked: Command, old: Plan | None, folder: Path | None, command: str) -> int:
    if folder is None:
        names = "+".join(dict.fromkeys(config.experiment.name for config in jobs.configs))
        folder = run_folder.claim_sweep(jobs.configs[0].output_dir, names)
        with _only_one(folder), _logged(folder):
            return _dispatched(jobs, asked, old, folder, command)
    with _logged(folder):
        return _dispatched(jobs, asked, old, folder, command)


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """What nobody foresaw fails the sweep, and its traceback is in the sweep's folder.

    Raises:
        RunFailed: the text says where.
    """
    try:
        yield
    except (ConfigError, RunFailed, OSError):
        raise
    except Exception as error:
        raise RunFailed(f"{one_line(error)}.{_with_traceback(error, folder)}") from error


def _with_traceback(error: Exception, folder: Path) -> str:
    """Write the traceback of an error into a sweep's folder; a sentence that says where it is."""
    place = folder / LOG
    try:
        with place.open("a", encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        if not isinstance(error, OSError):  # else the disk is full, which needs no traceback
            console.traceback(error)
        return ""
    return f" The whole traceback is in {place}."


def _dispatched(jobs: _Jobs, asked: Command, old: Plan | None, folder: Path, command: str) -> int:
    plan = jobs.plan(command, old)
    try:
        plan.write(folder)
    except OSError as error:
        raise RunFailed(f"can't write into {folder} ({error}): output_dir=FOLDER names another place.") from error
    configs = [flattened(config) for config in jobs.configs]
    engine = launchers.start(asked.launcher, jobs.n_left, _devices(asked, configs), folder)
    console.note(f"{plan.command} → {folder}: {jobs.n_left} jobs, {engine.slots} at once")
    dispatch = _Dispatch(jobs, engine, folder, asked.own.on_error)
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
        status = finish(jobs.plan(command, old), folder, dispatch.known)
    return ended_by or status


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Within the block no other process works at the sweep of this folder; the lock of one that was killed is gone."""
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
    """CUDA devices that workers of this machine are spread over: none, where a job names one."""
    if asked.launcher is None or any(config["device"] not in ("auto", "cuda") for config in configs):
        return 0
    import torch

    return torch.cuda.device_count()


# --- the jobs: a list, or a search ---------------------------------------------------------------------------------


class _Jobs(Protocol):
    """Jobs in the order in which they begin.

    Attributes:
        configs: of the jobs, or of some that all lie between.
        n_left: how many are left to run.
    """

    configs: list[RunConfig]
    n_left: int

    def show_plan(self) -> int:
        """Print what would run, and why what wouldn't; the exit status."""

    def refuse_invalid(self) -> None:
        """Raise a ConfigError if there is a job that can't run and must not be left out."""

    def plan(self, command: str, old: Plan | None) -> Plan:
        """All jobs that there are by now."""

    def next(self, folder: Path) -> Job | None:
        """The next job; None after the last."""

    def ended(self, job: Job, state: State) -> None:
        """What became of it."""


class _Listed:
    """Every combination of the command line's values."""

    def __init__(self, asked: Command, objective: str | None, old: Plan | None, folder: Path | None) -> None:
        self.asked, self.objective = asked, objective
        jobs, self.refused = compose_jobs(asked, config_hash)
        if old is not None and jobs:
            check_same_sweep(old, asked, base_of([job.config for job in jobs if job.config], asked.swept), jobs)
            jobs = _numbered(jobs, old.jobs)
        problems, self.costs = check_jobs(jobs) if jobs else ({}, {})
        self.refused += [Refused(job.name, problems[job.number]) for job in jobs if job.number in problems]
        self.jobs = [job for job in jobs if job.number not in problems]
        if old is None:  # jobs that are left out leave no gap
            self.costs = {number: self.costs.get(job.number, {}) for number, job in enumerate(self.jobs)}
            self.jobs = [replace(job, number=number) for number, job in enumerate(self.jobs)]
        self.configs = [job.config for job in self.jobs if job.config]
        self._settled = {job.number: _settled(old, folder, job) for job in self.jobs} if old else {}
        self._left = [job for job in self.jobs if not self._settled.get(job.number)]
        self.n_left = len(self._left)
        self._waiting = iter(self._left)

    def show_plan(self) -> int:
        left = {job.number for job in self._left}
        rows = [
            {
                "job": job.number,
                **job.swept,
                "to do": self._settled.get(job.number) or "run",
                **self.costs.get(job.number, {}),
            }
            for job in self.jobs
        ]
        if rows:
            columns = dict.fromkeys(column for row in rows for column in row)
            console.table("jobs", [{column: row.get(column) for column in columns} for row in rows], most=len(rows))
        total = {
            name: sum(cost.get(name, 0) for number, cost in self.costs.items() if number in left)
            for name in dict.fromkeys(name for cost in self.costs.values() for name in cost)
        }
        words = [f"{len(left)} jobs to run", *(f"{count:,} {name}" for name, count in total.items())]
        console.page(", ".join([*words, f"{len(self.refused)} combinations can't run"]))
        self._say_refused()
        return ExitStatus.MISTAKE if self.refused and not self.asked.own.skip_invalid else ExitStatus.DONE

    def _say_refused(self) -> None:
        for refused in self.refused:
            console.error(f"{refused.name}: {refused.reason}")

    def refuse_invalid(self) -> None:
        if not self.refused:
            return
        if not self.jobs and len({refused.reason for refused in self.refused}) == 1:
            raise ConfigError(self.refused[0].reason)
        self._say_refused()
        counts = f"{len(self.refused)} of {len(self.refused) + len(self.jobs)} jobs can't run"
        if not self.jobs:
            raise ConfigError(f"{counts}: nothing is left to do.")
        if not self.asked.own.skip_invalid:
            raise ConfigError(f"{counts}, so none was begun. skip_invalid=true leaves them out.")
        console.note(f"{counts} and are left out")

    def plan(self, command: str, old: Plan | None) -> Plan:
        by_number = {job.number: job for job in [*(old.jobs if old else ()), *self.jobs]}
        return Plan(
            command=old.command if old else command,
            overrides=old.overrides if old else self.asked.overrides,
            swept=tuple(old.swept if old else self.asked.swept),
            base=old.base if old else base_of(self.configs, self.asked.swept),
            code=code_version(),
            jobs=tuple(by_number[number] for number in sorted(by_number)),
            left_out=tuple(self.refused),
            objective=self.objective,
        )

    def next(self, folder: Path) -> Job | None:
        return next(self._waiting, None)

    def ended(self, job: Job, state: State) -> None:
        """Nothing depends on it."""


def _numbered(jobs: Sequence[Job], old: Sequence[Job]) -> list[Job]:
    """The jobs with the numbers that they had, new ones after the last."""
    numbers = {job.config_hash: job.number for job in old}
    free = max(numbers.values(), default=-1) + 1
    found = []
    for job in jobs:
        number = numbers.get(job.config_hash)
        if number is None:
            number, free = free, free + 1
        found.append(replace(job, number=number))
    return found


def _settled(old: Plan, folder: Path | None, job: Job) -> str:
    """Why a job of a resumed sweep need not run: this code has done it, or somebody runs it; else empty."""
    assert folder is not None
    if job.number not in {earlier.number for earlier in old.jobs}:
        return ""
    place = folder / str(job.number)
    one = Ended(job, run_folder.state(place), place)
    if one.state.done and one.state.record.get("config_hash") == job.config_hash:
        if one.code == code_version():
            return "is done"
        console.note(f"job {job.number} was done by other code ({one.code or 'unknown'}), it runs again")
        return ""
    return "is running" if one.state.status == "running" else ""


class _Searched:
    """Jobs whose values a search gives."""

    def __init__(
        self, asked: Command, config: OptunaSweeper, objective: str | None, old: Plan | None, folder: Path | None
    ) -> None:
        if objective is None:
            raise ConfigError(
                f"hydra/sweeper=optuna searches for the best of a summary metric: type objective={asked.headline}."
            )
        self.asked, self.config, self.objective = asked, config, objective
        self.jobs = list(old.jobs) if old else []
        earlier = sweep_tables.ended(old, folder) if old and folder else []
        earlier = [one for one in earlier if one.state.done and one.code == code_version()]
        self.search = Search(asked, config, objective, earlier)
        self._known = {one.job.config_hash: one.metrics.get(objective) for one in earlier}
        self._trials: dict[int, Any] = {}
        self._composer = composition.Composer()
        corners = [compose_job(asked, corner, 0, self._composer, config_hash) for corner in self.search.corners()]
        self.configs = [job.config for job in corners if job.config]
        self.base = base_of(self.configs, asked.swept)
        if old is not None:
            check_same_sweep(old, asked, self.base, ())
        problems, _ = check_jobs([replace(job, number=number) for number, job in enumerate(corners)], objective)
        self.problems = list(dict.fromkeys(problems.values()))
        self.n_left = max(0, self.search.left)

    def show_plan(self) -> int:
        rows = [{"key": key, "values": str(kind)} for key, kind in self.search.space.items()]
        console.table("searched", rows, most=len(rows))
        how = f"{self.config.direction.name} {self.objective}"
        console.page(f"{self.n_left} jobs to run, each with values that depend on the last, to {how}")
        for problem in self.problems:
            console.error(problem)
        return ExitStatus.MISTAKE if self.problems else ExitStatus.DONE

    def refuse_invalid(self) -> None:
        if self.problems:
            raise ConfigError(self.problems[0])

    def plan(self, command: str, old: Plan | None) -> Plan:
        options = {**asdict(self.config), "direction": self.config.direction.name}
        return Plan(
            command=old.command if old else command,
            overrides=old.overrides if old else self.asked.overrides,
            swept=tuple(old.swept if old else self.asked.swept),
            base=old.base if old else self.base,
            code=code_version(),
            jobs=tuple(self.jobs),
            objective=self.objective,
            search=options,
            searching=True,
        )

    def next(self, folder: Path) -> Job | None:
        while (asked := self.search.ask()) is not None:
            trial, by_key = asked
            try:
                job = compose_job(self.asked, by_key, self._free(), self._composer, config_hash)
            except ConfigError as error:
                console.note(f"left out: {error}")
                self.search.tell(trial, None)
                continue
            if job.config_hash in self._known:  # the search may ask for the same values twice
                self.search.tell(trial, self._known[job.config_hash])
                continue
            earlier = [one for one in self.jobs if one.config_hash == job.config_hash]
            if earlier:  # it failed, or other code ran it
                job = replace(job, number=earlier[0].number)
            else:
                self.jobs.append(job)
                replace(read_plan(folder), jobs=tuple(self.jobs)).write(folder)
            self._known[job.config_hash] = None
            self._trials[job.number] = trial
            return job
        return None

    def _free(self) -> int:
        return max((job.number for job in self.jobs), default=-1) + 1

    def ended(self, job: Job, state: State) -> None:
        value = (state.record.get("metrics") or {}).get(self.objective) if state.done else None
        self._known[job.config_hash] = value
        self.search.tell(self._trials.pop(job.number), value)


# --- checks before the first job -----------------------------------------------------------------------------------


def check_jobs(jobs: Sequence[Job], objective: str | None = None) -> tuple[dict[int, str], dict[int, dict[str, int]]]:
    """By job number: why a job can't run; and what it costs, where its experiment knows.

    Data set and network are built once for each combination of values that could make a difference.
    """
    if not jobs:  # a typo is answered before torch is imported
        return {}, {}
    threads.let_waiting_threads_sleep()
    from mi_runner.runs import expectations, runner
    from mi_runner.runs.choices import experiment_of, load_dataset

    clean_state.forget()
    clean_state.begin()
    problems: dict[int, str] = {}
    costs: dict[int, dict[str, int]] = {}
    checked: dict[str, tuple[str, dict[str, int]]] = {}
    loaded: tuple[str, Any] | None = None
    began = time.monotonic()
    for job in jobs:
        config = job.config
        assert config is not None
        flat = flattened(config)
        key = json.dumps({name: value for name, value in flat.items() if name not in UNCHECKED}, sort_keys=True)
        if key not in checked:
            if time.monotonic() - began > 10:
                began = time.monotonic()
                console.note(f"checked {len(checked)} combinations, at job {job.number} of {len(jobs)}")
            problem = ""
            cost: dict[str, int] = {}
            try:
                of_data = json.dumps([value for name, value in flat.items() if name.startswith("dataset")])
                if loaded is None or loaded[0] != of_data:
                    loaded = of_data, load_dataset(config.dataset, seed=config.seed)
                setting = runner.prepare(
                    config,
                    loaded[1],
                    expectations.parse(config.expect),
                    progress=Progress(),
                ).setting
                experiment = experiment_of(config.experiment)
                if objective is not None and objective not in (names := experiment.metric_names(setting)):
                    raise ConfigError(f"objective={objective}: {unknown('summary metric', objective, names)}")
                cost = dict(experiment.cost(setting))
            except ConfigError as error:
                problem = str(error)
            except Exception as error:  # not a mistake of the command; the job itself will say it, in its own folder
                console.note(f"job {job.number} could not be checked: {one_line(error)}")
            checked[key] = problem, cost
            clean_state.begin()
        problem, cost = checked[key]
        if problem:
            problems[job.number] = problem
        else:
            costs[job.number] = cost
    return problems, costs


# --- dispatch ------------------------------------------------------------------------------------------------------


@dataclass
class _Dispatch:
    """Hands jobs to an engine, as many as it has slots, and notes what became of each.

    Attributes:
        known: by job number, states that a full disk kept out of run.json.
    """

    jobs: _Jobs
    engine: Engine
    folder: Path
    on_error: OnError

    def __post_init__(self) -> None:
        self.known: dict[int, State] = {}
        self._running: dict[int, tuple[Job, Task, Running, float]] = {}
        self._stopped = False
        self._n_ended = 0

    def run(self) -> None:
        """Until the last job has ended; an interruption ends those that run."""
        try:
            while self._fill() or self._running:
                ended = [slot for slot, (_, _, running, _) in self._running.items() if running.done()]
                for slot in ended:
                    self._ended(*self._running.pop(slot))
                if not ended:
                    time.sleep(SECONDS_BETWEEN_LOOKS)
        except BaseException:
            with signals.held():
                self.engine.stop()
            raise
        self.engine.close()

    def _fill(self) -> bool:
        """Give each free slot a job; whether there was one."""
        for slot in range(self.engine.slots):
            if slot in self._running:
                continue
            if self._stopped or (job := self.jobs.next(self.folder)) is None:
                return bool(self._running)
            place = self.folder / str(job.number)
            _set_aside(place)
            assert job.config is not None
            # Absolute, because a network's own code may change the working directory.
            task = Task(job.number, place.absolute(), job.config, _command(job))
            began = time.monotonic()
            self._running[slot] = job, task, self.engine.submit(slot, task), began
        return True

    def _ended(self, job: Job, task: Task, running: Running, began: float) -> None:
        self._n_ended += 1
        how, state = running.ending(), run_folder.state(task.folder)
        if state.status in ("running", "killed", "torn", "missing"):
            state = self._say_for(task, how, state)
        console.note(
            f"job {job.number} ({self._n_ended} of {self.jobs.n_left}) {job.name}: {state.status}, "
            f"{time.monotonic() - began:.1f} s{_headline_metric(state)}{f': {state.cause}' if state.cause else ''}"
        )
        self.jobs.ended(job, state)
        if not state.done and self.on_error is OnError["stop"] and not self._stopped:
            self._stopped = True
            console.note(f"on_error=stop: job {job.number} failed, no later job starts")

    def _say_for(self, task: Task, how: Ending, state: State) -> State:
        """What became of a job that has ended and could not say so; from now on its run.json says it.

        The engine's word decides whether the worker is gone: its process may be seen for a moment longer, or be on
        another machine.
        """
        if how.worker_died and state.record:
            ended = run_folder.killed(state.record)
        elif how.worker_died:
            ended = State("failed", f"its worker ended before the run began ({how.error})", ExitStatus.FAILED, {})
        else:  # the disk is full
            ended = State("failed", how.error or "ended without a word", ExitStatus.FAILED, state.record)
        launchers.write_ending(task, ended.status, ended.cause)
        written = run_folder.state(task.folder)
        if written.status == ended.status:
            return written
        self.known[task.number] = ended
        return ended


def _headline_metric(state: State) -> str:
    metrics = (state.record.get("metrics") or {}) if state.done else {}
    for name in (sweep_tables.HEADLINE, *metrics):
        if isinstance(metrics.get(name), int | float):
            return f", {name} {metrics[name]:.4g}"
    return ""


def _command(job: Job) -> str:
    return "mi-run " + shlex.join(job.overrides)


def _set_aside(folder: Path) -> None:
    """An earlier attempt at a job is moved away, so that one folder, and one row, is left of it."""
    if not folder.exists():
        return
    attempts = folder.parent / EARLIER
    attempts.mkdir(exist_ok=True)
    number = 1
    while (attempts / f"{folder.name}-{number}").exists():
        number += 1
    folder.rename(attempts / f"{folder.name}-{number}")


# --- the end -------------------------------------------------------------------------------------------------------


def finish(plan: Plan, folder: Path, known: Mapping[int, State] | None = None) -> int:
    """Make the tables and figures of a sweep from its jobs' folders, print the headline; the exit status.

    Args:
        known: states of jobs that their folders can't tell.
    """
    jobs = [
        replace(one, state=known[one.job.number]) if known and one.job.number in known else one
        for one in sweep_tables.ended(plan, folder)
    ]
    rows = sweep_tables.all_rows(jobs)
    summed = sweep_tables.summary(jobs, rows, plan.swept)
    try:
        _write(plan, folder, jobs, rows, summed)
    except OSError as error:
        console.error(f"can't write the tables into {folder} ({error}): make room, and type mi-run sweep={folder}")
        console.last_line(str(folder))
        return ExitStatus.FAILED
    try:
        run_folder.point_latest(folder.parent, _is_done)
    except OSError as error:
        console.error(f"can't point {folder.parent / run_folder.LATEST} to the newest sweep that is done ({error})")
    title, shown = sweep_tables.headline(jobs, summed, plan.objective)
    if shown:
        console.table(title, shown)
    if plan.search is not None:
        _say_best(plan, jobs)
    codes: dict[str, list[int]] = {}
    for one in jobs:
        if one.code:
            codes.setdefault(one.code, []).append(one.job.number)
    if len(codes) > 1:
        for code, numbers in codes.items():
            console.error(f"code {code} ran jobs {_ranges(numbers)}: not all rows are by the same code")
    unnamed = [one.job.number for one in jobs if one.state.done and one.keys is None]
    if unnamed:
        console.error(
            f"jobs {_ranges(unnamed)}: run.json doesn't say which columns name the rows, because an earlier version of "
            f"mi-run wrote it. sweep.csv has them, sweep_summary.csv doesn't; type mi-run -m resume={folder} to run "
            "them again."
        )
    failures = sweep_tables.failures(jobs)
    if failures:
        console.table(f"{len(failures)} of {len(jobs)} jobs are not as they should be", failures, to_stderr=True)
    console.last_line(str(folder))
    if any(not one.state.done for one in jobs):
        return ExitStatus.FAILED
    return ExitStatus.EXPECTATION_NOT_MET if failures else ExitStatus.DONE


def _is_done(folder: Path) -> bool:
    """Whether a folder has a sweep all of whose jobs are done, as expected or not, and whose search has ended."""
    try:
        plan = read_plan(folder)
    except ConfigError:
        return False
    if plan.searching or not plan.jobs:
        return False
    return all(run_folder.state(folder / str(job.number)).done for job in plan.jobs)


def _write(
    plan: Plan,
    folder: Path,
    jobs: Sequence[Ended],
    rows: Sequence[Row],
    summed: Sequence[Summed],
) -> None:
    place = RunFolder(folder)
    place.write_table("sweep", rows)
    if not summed:
        with suppress(FileNotFoundError):
            (folder / "sweep_summary.csv").unlink()
        return
    place.write_table("sweep_summary", sweep_tables.summary_rows(summed))
    threads.let_waiting_threads_sleep()
    from mi_runner.sweeps import sweep_figures  # imports torch

    found = [item for item in sweep_tables.metrics_by_values(jobs, plan.objective) if item[1]]
    drawn = {"sweep": sweep_figures.by_value(found)} if found else {}
    combination = [key for key in plan.swept if key != sweep_tables.REPEATED]
    measured = [one for one in summed if one.measure == sweep_tables.HEADLINE]
    by_row = sweep_figures.by_row(measured, [*combination, "code"]) if measured else None
    if by_row is not None:
        drawn["sweep_rows"] = by_row
    for name, figure in drawn.items():
        place.write_figure(name, partial(figure.savefig, dpi=130))


def _say_best(plan: Plan, jobs: Sequence[Ended]) -> None:
    able = [one for one in jobs if plan.objective in one.metrics]
    if able and plan.search is not None and plan.objective is not None:
        objective, better = plan.objective, max if plan.search["direction"] == "maximize" else min
        best = better(able, key=lambda one: one.metrics[objective])
        console.page(f"best: job {best.job.number}, {named(best.job.swept)}: {objective} {best.metrics[objective]:.6g}")


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in short: 0-3, 7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
