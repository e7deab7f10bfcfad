"""Which jobs of a sweep are left to run, in which order: those of a list, or those that a search asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from mi_runner.config.composition import config_hash
from mi_runner.config.engine_schemas import OptunaSweeper
from mi_runner.config.hydra_composition import Kept, files_read_once
from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import ConfigError, ExitStatus
from mi_runner.machine.files import code_version
from mi_runner.runs import states
from mi_runner.runs.packages import versions_of
from mi_runner.runs.plan import Job, Plan, Refused
from mi_runner.runs.states import State
from mi_runner.sweeps import sweep_tables
from mi_runner.sweeps.job_checks import check_jobs
from mi_runner.sweeps.sweep_plan import (
    Command,
    HashOf,
    base_of,
    check_same_sweep,
    compose_job,
    compose_jobs,
    read_plan,
)
from mi_runner.sweeps.sweep_search import Search
from mi_runner.sweeps.sweep_tables import Ended
from mi_runner.tables import console
from mi_runner.tables.whole_numbers import large


class JobSource(Protocol):
    """Jobs in the order in which they begin.

    Attributes:
        configs: of the jobs, or of some that all lie between.
        n_left: how many are left to run.
    """

    configs: list[RunConfig]
    n_left: int

    def show_plan(self) -> int:
        """Prints what would run, and why the others wouldn't, and returns the exit status."""

    def refuse_invalid(self) -> None:
        """Raises a ConfigError if there is a job that can't run and must not be left out."""

    def plan(self, command: str, old: Plan | None) -> Plan:
        """Returns the plan with all jobs that there are by now."""

    def next(self, folder: Path) -> Job | None:
        """Returns the next job; None after the last."""

    def ended(self, job: Job, state: State) -> None:
        """Takes note of what became of a job."""


Compose = Callable[[Command, HashOf], tuple[list[Job], list[Refused]]]
"""Returns the jobs of a command, numbered from 0, and what of it can't run; see `sweep_plan.compose_jobs`."""


class Listed:
    """Every combination of the command line's values, or another list of jobs."""

    def __init__(
        self,
        asked: Command,
        objective: str | None,
        old: Plan | None,
        folder: Path | None,
        *,
        compose: Compose = compose_jobs,
        of: str = "",
    ) -> None:
        """
        Args:
            asked: the command.
            objective: a summary metric that the jobs must have.
            old: the plan of the sweep that is resumed.
            folder: its folder.
            compose: makes the jobs.
            of: the command that the plan is of; empty of a sweep.
        """
        self.asked, self.objective, self.of = asked, objective, of
        jobs, self.refused = compose(asked, config_hash)
        if old is not None and jobs:
            check_same_sweep(old, asked, base_of([job.config for job in jobs if job.config], asked.swept), jobs)
            jobs = _numbered(jobs, old.jobs)
        checked = check_jobs(jobs, objective)
        problems = {number: found.problem for number, found in checked.items() if found.problem}
        self.costs = {number: found.cost for number, found in checked.items() if not found.problem}
        # Of several experiments some may lack the metric; their jobs come last in the tables.
        without = [number for number, problem in problems.items() if problem.startswith(f"objective={objective}: ")]
        if len(without) < len(jobs):
            problems = {number: problem for number, problem in problems.items() if number not in without}
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
        words = [f"{len(left)} jobs to run", *(f"{large(count)} {name}" for name, count in total.items())]
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
            launcher=self.asked.launched_by,
            folder=os.getcwd(),
            over=old.over if old else self.asked.own.over.name,
            of=self.of,
        )

    def next(self, folder: Path) -> Job | None:
        return next(self._waiting, None)

    def ended(self, job: Job, state: State) -> None:
        """Does nothing, because no later job depends on it."""


def _numbered(jobs: Sequence[Job], old: Sequence[Job]) -> list[Job]:
    """Returns the jobs with the numbers that they had; new ones get numbers after the last."""
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
    """Returns why a job of a resumed sweep need not run, because this code has done it; otherwise an empty text."""
    assert folder is not None
    if job.number not in {earlier.number for earlier in old.jobs}:
        return ""
    place = folder / str(job.number)
    one = Ended(job, states.job_state(folder, job.number), place)
    if one.state.done and one.state.record.config_hash == job.config_hash:
        packages = versions_of(job.config) if job.config else {}
        if one.code == code_version() and packages.items() <= one.versions.items():
            return "is done"
        console.note(f"job {job.number} was done by other code ({one.code or 'unknown'}), it runs again")
        return ""
    if one.state.fault:
        console.error(f"job {job.number} runs again: {one.state.fault}")
    return ""


class Searched:
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
        self._files: Kept = {}  # as they were at the beginning, even if they change during the search
        with files_read_once(self._files):
            corners = [compose_job(asked, corner, 0, config_hash) for corner in self.search.corners()]
        self.configs = [job.config for job in corners if job.config]
        self.base = base_of(self.configs, asked.swept)
        if old is not None:
            check_same_sweep(old, asked, self.base, ())
        checked = check_jobs([replace(job, number=number) for number, job in enumerate(corners)], objective)
        self.problems = list(dict.fromkeys(found.problem for found in checked.values() if found.problem))
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
        return Plan(
            command=old.command if old else command,
            overrides=old.overrides if old else self.asked.overrides,
            swept=tuple(old.swept if old else self.asked.swept),
            base=old.base if old else self.base,
            code=code_version(),
            jobs=tuple(self.jobs),
            left_out=(),
            objective=self.objective,
            launcher=self.asked.launched_by,
            search=self.config,
            searching=True,
            folder=os.getcwd(),
            over=old.over if old else self.asked.own.over.name,
        )

    def next(self, folder: Path) -> Job | None:
        while (asked := self.search.ask()) is not None:
            trial, by_key = asked
            try:
                with files_read_once(self._files):
                    job = compose_job(self.asked, by_key, self._free(), config_hash)
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
        value = state.record.metrics.get(self.objective) if state.done else None
        self._known[job.config_hash] = value
        self.search.tell(self._trials.pop(job.number), value)
