"""Gives the jobs of a sweep to an engine, as many at once as it has slots, and notes what became of each."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mi_runner.config.run_schema import OnError
from mi_runner.errors import ExitStatus
from mi_runner.machine import signals
from mi_runner.runs import liveness, states
from mi_runner.runs.plan import Job
from mi_runner.runs.record import RunRecord
from mi_runner.runs.states import State
from mi_runner.sweeps import sweep_tables
from mi_runner.sweeps.engines.engine import Engine, NotNow, Running
from mi_runner.sweeps.engines.in_this_process import HasEnded
from mi_runner.sweeps.job_folders import set_aside
from mi_runner.sweeps.job_source import JobSource
from mi_runner.sweeps.worker import Ending, Task, write_ending
from mi_runner.tables import console

SECONDS_BETWEEN_LOOKS = 0.02
"""How often the launcher's jobs are looked at."""


FIRST_PAUSE, LONGEST_PAUSE = 2.0, 120.0
"""Seconds until a job that the engine refused is tried again; each pause is twice the last."""

SECONDS_UNTIL_WAITING_IS_SAID = 60.0


@dataclass(frozen=True)
class Clock:
    """What a dispatch knows of time.

    Attributes:
        now: seconds since some moment, independent of the time of day, which may be set.
        sleep: waits so many seconds.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class RunsElsewhere:
    """A job that another process runs, as signs of life in its folder show.

    Signs of life carry the time of day, which somebody may set. So a job with an old sign is taken for dead only if no
    newer one comes in the time of two.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.clock = folder, clock
        self._looked = -math.inf
        self._silent: tuple[float | None, float] | None = None

    def done(self) -> bool:
        now = self.clock.now()
        if now - self._looked < 1:
            return False
        self._looked = now
        state = states.read_state(self.folder)
        if state.status == "running":
            self._silent = None
            return False
        sign = liveness.last_sign(self.folder)
        if state.status != "killed" or sign is None:
            return True
        if self._silent is None or self._silent[0] != sign:
            self._silent = sign, now
        return now - self._silent[1] >= 2 * liveness.SECONDS_BETWEEN_SIGNS

    def ending(self) -> Ending:
        return Ending(worker_died=True)


class _Waiting:
    """Says which tasks wait, and for what, when nothing has changed for a while; the pause doubles each time."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine, self.clock = engine, clock
        self._last: tuple[int, str] = 0, ""
        self._looked = self._changed = clock.now()
        self._patience = SECONDS_UNTIL_WAITING_IS_SAID

    def say(self, n_ended: int) -> None:
        now = self.clock.now()
        if now - self._looked < min(1.0, SECONDS_UNTIL_WAITING_IS_SAID):
            return
        self._looked, waiting = now, self.engine.waiting()
        if (n_ended, waiting) != self._last:
            self._last, self._changed, self._patience = (n_ended, waiting), now, SECONDS_UNTIL_WAITING_IS_SAID
        elif waiting and now - self._changed > self._patience:
            console.note(f"nothing has changed for {now - self._changed:.0f} s: {waiting}")
            self._patience *= 2


@dataclass
class _Refused:
    """The job that the engine refused last, and when it is tried again.

    Attributes:
        clock: it has the time.
        job: it waits to be tried again; None: no job does.
        number: of the job that was refused last; the engine may have taken it, and only its answer was lost.
        had_folder: whether its folder was there before the engine was asked.
        pause: seconds from the last refusal to the next try; 0 after a job that the engine took.
        again_at: the time of the next try.
    """

    clock: Clock
    job: Job | None = None
    number: int | None = None
    had_folder: bool = True
    pause: float = 0.0
    again_at: float = 0.0

    def again(self, job: Job) -> None:
        """Keeps a job that the engine refuses now."""
        self.job, self.number = job, job.number
        self.pause = min(max(2 * self.pause, FIRST_PAUSE), LONGEST_PAUSE)
        self.again_at = self.clock.now() + self.pause

    def waits(self) -> bool:
        """Returns whether there is a job and it is too early to try it again."""
        return self.job is not None and self.clock.now() < self.again_at

    def take(self) -> Job | None:
        """Returns the job, and keeps it no longer."""
        job, self.job = self.job, None
        return job


@dataclass
class Dispatch:
    """Hands jobs to an engine, as many as it has slots, and notes what became of each.

    Attributes:
        resumed: whether an earlier process may have begun some of the jobs.
        adopt: whether jobs of that process that still wait or run are waited for; otherwise they are ended first.
        clock: by which it waits.
        known: by job number, states that a full disk kept out of run.json.
    """

    jobs: JobSource
    engine: Engine
    folder: Path
    on_error: OnError
    resumed: bool = False
    adopt: bool = True
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self._refused = _Refused(self.clock)
        self._again: list[Job] = []
        self._waiting = _Waiting(self.engine, self.clock)
        self.known: dict[int, State] = {}
        self._running: dict[int, tuple[Job, Task, Running, float]] = {}
        self._stopped = False
        self._n_ended = 0

    def run(self) -> None:
        """Runs all jobs and returns after the last has ended; an interruption ends those that run."""
        try:
            while self._fill() or self._running:
                ended = [slot for slot, (_, _, running, _) in self._running.items() if running.done()]
                for slot in ended:
                    self._ended(*self._running.pop(slot))
                self._waiting.say(self._n_ended)
                if not ended:
                    self.clock.sleep(SECONDS_BETWEEN_LOOKS)
        except BaseException:
            with signals.held():
                ours = self._that_run()
                self.engine.stop()
                self._say_interrupted(ours)
            raise
        self.engine.close()

    def _that_run(self) -> list[Task]:
        """Returns the tasks of our own engine that run now."""
        ours = [
            task for _, task, running, _ in self._running.values() if not isinstance(running, RunsElsewhere | HasEnded)
        ]
        return [task for task in ours if states.read_state(task.folder).status == "running"]

    def _say_interrupted(self, tasks: Sequence[Task]) -> None:
        """Writes that tasks were interrupted, which the engine has ended and which could not write it themselves.

        A worker that doesn't listen in time is killed, and is as much ended by the interruption.
        """
        for task in tasks:
            if states.read_state(task.folder).status in ("running", "killed"):
                write_ending(task, "interrupted", "its sweep was interrupted, and it left no word")

    def _fill(self) -> bool:
        """Gives each free slot a job and returns whether there was one."""
        for slot in range(self.engine.slots):
            if slot in self._running:
                continue
            if self._refused.waits():
                return True
            if (job := self._next()) is None:
                return bool(self._running)
            assert job.config is not None
            # Absolute, because a network's own code may change the working directory.
            task = Task(job.number, (self.folder / str(job.number)).absolute(), job.config, _command(job))
            began = self.clock.now()  # before the engine is asked: in this process it returns when the job has ended
            try:
                running = self._earlier(task) or self._submitted(slot, task)
            except NotNow as reason:
                self._refused.again(job)
                pause = f"{self._refused.pause:.0f} s, or as soon as a job ends"
                console.note(f"{reason}: job {job.number} is tried again in {pause}")
                return True
            self._refused.pause = 0.0
            self._running[slot] = job, task, running, began
        return True

    def _next(self) -> Job | None:
        """Returns the next job, which may be one that the engine refused before."""
        if self._stopped:
            return None
        job = self._refused.take()
        if job is None and self._again:
            job = self._again.pop()
        return job or self.jobs.next(self.folder)

    def _submitted(self, slot: int, task: Task) -> Running:
        self._refused.had_folder = task.folder.exists()
        if not self._refused.had_folder:
            return self.engine.submit(slot, task)
        # What it left stays where it is until the engine has the task, and nobody may write into it.
        aside = set_aside(task.folder)
        try:
            return self.engine.submit(slot, task)
        except NotNow:
            if not task.folder.exists():  # the engine may have taken it, and only its answer is lost
                aside.rename(task.folder)
            raise

    def _earlier(self, task: Task) -> Running | None:
        """Returns what runs, or will run, a job that an earlier process began; None if nothing does.

        Raises:
            NotNow: the engine can't say.
        """
        refused = task.number == self._refused.number
        self._refused.had_folder = self._refused.had_folder or not refused
        if not self.resumed and not refused:
            return None
        earlier = self.engine.earlier(task)
        if earlier.running is not None and (self.adopt or refused):
            console.note(f"job {task.number} was submitted before, {earlier.what}: it is waited for")
            return earlier.running
        if earlier.running is not None:
            self.engine.cancel([earlier.running])
            return None
        state = states.read_state(task.folder)
        if refused and state.done and not self._refused.had_folder:  # the engine had taken it nevertheless
            return HasEnded(Ending())
        if state.status != "running" or earlier.is_over:
            return None
        lives = liveness.is_alive(task.folder, state.record)
        if lives is None and not self.adopt:
            return None
        end = "it is waited for" if lives else "adopt=false runs it again"
        console.note(f"job {task.number} {state.cause}: {end}")
        return RunsElsewhere(task.folder, self.clock) if lives else HasEnded(Ending(folder_taken=True))

    def _ended(self, job: Job, task: Task, running: Running, began: float) -> None:
        self._n_ended += 1
        self._refused.again_at = 0.0
        how, state = running.ending(), states.read_state(task.folder)
        if isinstance(running, RunsElsewhere) and state.status == "killed":
            self._n_ended -= 1
            console.note(f"job {job.number} is over ({state.cause}): it runs again")
            self._again.append(job)
            return
        unsaid = ("running", "killed", "torn", "missing", *(("interrupted",) if how.status else ()))
        if state.status in unsaid and not how.folder_taken:
            state = self._say_for(task, how, state)
        console.note(
            f"job {job.number} ({self._n_ended} of {self.jobs.n_left}) {job.name}: {state.status}, "
            f"{self.clock.now() - began:.1f} s{_headline_metric(state)}{f': {state.cause}' if state.cause else ''}"
        )
        self.jobs.ended(job, state)
        if not state.done and self.on_error is OnError["stop"] and not self._stopped:
            self._stopped = True
            console.note(f"on_error=stop: job {job.number} failed, no later job starts")

    def _say_for(self, task: Task, how: Ending, state: State) -> State:
        """Returns what became of a job that has ended without a word, and writes it into the job's run.json.

        The engine's word decides whether the worker is gone: its process may be seen for a moment longer, or be on
        another machine.
        """
        if how.status:
            ended = State(how.status, how.error, ExitStatus.FAILED, state.record)
        elif how.worker_died and state.has_record:
            ended = states.killed(state.record)
        elif how.worker_died:
            cause = f"its worker ended before the run began ({how.error})"
            ended = State("failed", cause, ExitStatus.FAILED, RunRecord())
        else:  # the disk is full
            ended = State("failed", how.error or "ended without a word", ExitStatus.FAILED, state.record)
        write_ending(task, ended.status, ended.cause)
        written = states.read_state(task.folder)
        if written.status == ended.status:
            return written
        self.known[task.number] = ended
        return ended


def _headline_metric(state: State) -> str:
    metrics = state.record.metrics if state.done else {}
    for name in (sweep_tables.HEADLINE, *metrics):
        if (value := metrics.get(name)) is not None:
            return f", {name} {value:.4g}"
    return ""


def _command(job: Job) -> str:
    return "mi-run " + shlex.join(job.overrides)
