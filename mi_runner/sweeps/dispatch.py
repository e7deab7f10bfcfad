"""Gives the jobs of a sweep to an engine, as many at once as it has slots, and notes what became of each."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from mi_runner import console, signals
from mi_runner.config.run_schema import OnError
from mi_runner.errors import ExitStatus
from mi_runner.runs import run_folder
from mi_runner.runs.run_folder import State
from mi_runner.sweeps import sweep_tables
from mi_runner.sweeps.engines.engine import Engine, Running
from mi_runner.sweeps.job_folders import set_aside
from mi_runner.sweeps.job_source import JobSource
from mi_runner.sweeps.sweep_plan import Job
from mi_runner.sweeps.worker import Ending, Task, write_ending

SECONDS_BETWEEN_LOOKS = 0.02
"""How often the launcher's jobs are looked at."""


@dataclass
class Dispatch:
    """Hands jobs to an engine, as many as it has slots, and notes what became of each.

    Attributes:
        known: by job number, states that a full disk kept out of run.json.
    """

    jobs: JobSource
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
            set_aside(place)
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
        write_ending(task, ended.status, ended.cause)
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
