"""Runs each job of a sweep as a job of Slurm's queue, by Slurm's own commands.

Why not by submitit, which serves well on one machine: for control it asks `sacct`, which fails where a cluster keeps
no accounts, and then takes a job that died for one that runs; it waits 15 s for the files of each job that left none;
it sends a signal 90 s before the time limit, and Slurm up to 60 s earlier; its ids are lost with the process; its
options can't be checked before there is a folder. Without these, what is left of it is a script of a line and a pickle.
The launcher keeps its name, which scripts have.

What a job says of itself in run.json counts first. Slurm's word counts where it says nothing, or no more than that it
was interrupted.

| Slurm                                | the job is    |
|--------------------------------------|---------------|
| CANCELLED                            | cancelled     |
| TIMEOUT, DEADLINE                    | timed out     |
| OUT_OF_MEMORY                        | out of memory |
| NODE_FAIL, BOOT_FAIL, PREEMPTED      | killed        |
| FAILED by a signal; gone             | killed        |
| FAILED, COMPLETED                    | failed        |
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mi_runner.config.engine_schemas import SubmititSlurmLauncher
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.machine.files import written_whole
from mi_runner.runs import run_folder
from mi_runner.sweeps.engines import slurm_commands as slurm
from mi_runner.sweeps.engines.engine import Earlier, NotNow, Running, make_private
from mi_runner.sweeps.engines.slurm_commands import JobState, SlurmError
from mi_runner.sweeps.submissions import Submission, read_submission
from mi_runner.sweeps.worker import SECONDS_TO_END, TIMED_OUT, Ending, Task, Worker
from mi_runner.tables import console

FILES = ".slurm"
"""In a sweep's folder: what each job is given, and what it wrote to its standard output and error."""

THREADS = 4
"""Cores of a job that nobody says, where a node has so many."""

MINUTES_TO_WRITE = 1
"""A job ends itself when its time is over. Slurm, which is asked for so much more, would end it then."""

SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_BETWEEN_RECORDS = 0.5
"""How often Slurm, and a job's run.json, are looked at."""

SECONDS_FOR_FILES = 10.0
"""How late a shared disk may show the run.json of a job that has ended."""

NEVER = {
    "PartitionTimeLimit": "hydra.launcher.timeout_min is more than the partition allows",
    "PartitionNodeLimit": "the partition allows fewer nodes",
    "PartitionConfig": "no node has so many cores or so much memory: see hydra.launcher.threads, mem_gb",
    "BadConstraints": "no node has what hydra.launcher.more asks for",
    "JobHeldUser": "scontrol release lets it go on",
    "JobHeldAdmin": "an administrator holds it",
}
"""Reasons of Slurm for which waiting alone doesn't help, and what to do."""

RUNS = f"exec {shlex.quote(sys.executable)} -P -m mi_runner.sweeps.engines.slurm_job"
"""`-P`: no module is taken from the working directory, which Slurm makes that of the sweep."""


def check(config: SubmititSlurmLauncher) -> None:
    """Checks that Slurm is there and would take the jobs, without making a file.

    Raises:
        ConfigError: there is no Slurm here, or it would never run such a job.
    """
    if not slurm.is_here():
        raise ConfigError(
            f"hydra/launcher={config.name}: no sbatch is on the PATH, so this is no Slurm cluster. "
            "hydra/launcher=submitit_local runs here."
        )
    for key in ("requeue", "array", "wait", "test_only", "parsable"):
        if config.more and key in {name.replace("-", "_") for name in config.more}:
            raise ConfigError(f"hydra.launcher.more: {key} is not allowed: each job of a sweep runs once, by itself.")
    nodes = _nodes(config)
    cpus = max((node.cpus for node in nodes), default=None)
    where = f"partition {nodes[0].partition}" if nodes and len({node.partition for node in nodes}) == 1 else "Slurm"
    if cpus is not None and config.threads is not None and config.threads > cpus:
        raise ConfigError(
            f"hydra.launcher.threads={config.threads}: no node of {where} has more than {cpus} CPUs. "
            f"Type hydra.launcher.threads={cpus} or fewer."
        )
    megabytes = max((node.megabytes for node in nodes), default=None)
    if megabytes is not None and megabytes < 1024 * config.mem_gb:
        raise ConfigError(
            f"hydra.launcher.mem_gb={config.mem_gb:g}: no node of {where} has more than {megabytes / 1024:.1f} GB. "
            "Type less."
        )
    limits = [node.minutes for node in nodes]
    if limits and all(limit is not None and limit < config.timeout_min for limit in limits):
        most = int(max(limit for limit in limits if limit is not None))
        raise ConfigError(
            f"hydra.launcher.timeout_min={config.timeout_min}: {where} gives a job at most {most} minutes. "
            f"Type hydra.launcher.timeout_min={most} or less, or another hydra.launcher.partition."
        )
    try:
        slurm.check(_options(config, nodes), f"#!/bin/sh\n{RUNS}\n")
    except SlurmError as error:
        if not error.temporary:
            raise ConfigError(
                f"hydra/launcher={config.name}: Slurm refuses such a job ({error}). Change hydra.launcher.partition, "
                "account, threads, mem_gb, gpus or more; sinfo lists what there is."
            ) from error
        console.note(f"Slurm takes no job for now ({error}): the sweep will wait")


def _nodes(config: SubmititSlurmLauncher) -> list[slurm.NodeKind]:
    """Returns the kinds of nodes of the partition that the jobs go to."""
    names = (config.partition or "").split(",")
    return [node for node in slurm.nodes() if (node.partition in names if config.partition else node.is_default)]


def _options(config: SubmititSlurmLauncher, nodes: Sequence[slurm.NodeKind]) -> dict[str, object]:
    """Returns the options of sbatch that a launcher's config means."""
    limits = [node.minutes for node in nodes]
    limit = None if not limits or None in limits else max(minutes for minutes in limits if minutes is not None)
    minutes = config.timeout_min + MINUTES_TO_WRITE
    if limit is not None and config.timeout_min <= limit < minutes:
        minutes = config.timeout_min  # Slurm gives a job a few seconds to end, which must be enough
    asked: dict[str, object] = {
        "time": minutes,
        "cpus-per-task": _threads(config, nodes),
        "mem": f"{max(1, round(1024 * config.mem_gb))}M",
        "partition": config.partition,
        "account": config.account,
        "gpus-per-node": config.gpus or None,
        # Slurm would run the job again while nobody looks, after its end was written down.
        "no-requeue": True,
    }
    more = {str(name).replace("_", "-"): value for name, value in dict(config.more or {}).items()}
    return {name: value for name, value in (asked | more).items() if value is not None and value is not False}


def _threads(config: SubmititSlurmLauncher, nodes: Sequence[slurm.NodeKind]) -> int:
    if config.threads is not None:
        return config.threads
    return min([THREADS, *([max(node.cpus for node in nodes)] if nodes else [])])


class Slurm:
    """Jobs of Slurm's queue; those that an earlier process submitted for the same sweep are taken up.

    Args:
        n_jobs: jobs that there are to run.
        sweep: the sweep's folder; ids are kept in its `.jobs`, other files in its `.slurm`.
    """

    def __init__(self, config: SubmititSlurmLauncher, n_jobs: int, sweep: Path) -> None:
        self.config, self.sweep = config, sweep.absolute()
        self.slots = config.n_jobs or max(1, n_jobs)
        nodes = _nodes(config)
        self.options, self.threads = _options(config, nodes), _threads(config, nodes)
        self.queue = _Queue()
        self._jobs: list[_Job] = []

    def submit(self, slot: int, task: Task) -> Running:
        name = self._name(task)
        files = self.sweep / FILES
        make_private(files)
        given, out = files / f"{task.number}.task", _output(task)
        worker = Worker(os.getcwd(), self.threads, minutes=self.config.timeout_min)
        with written_whole(given, private=True) as beside:
            beside.write_bytes(pickle.dumps(replace(task, worker=worker)))
        options = {
            **self.options,
            "job-name": name,
            "chdir": os.getcwd(),
            # In file names sbatch takes % for a field.
            "output": str(out).replace("%", "%%"),
            "open-mode": "truncate",
        }
        try:
            job = slurm.submit(options, f"#!/bin/sh\n{RUNS} {shlex.quote(str(given))}\n")
        except SlurmError as error:
            if not error.temporary and not self._jobs:
                raise RunFailed(f"Slurm refuses the job ({error}).") from error
            raise NotNow(f"Slurm takes no more jobs for now ({error})") from error
        return self._watched(task, Submission(self.config.name, job, name))

    def earlier(self, task: Task) -> Earlier:
        record = run_folder.read_record(task.folder)
        if record is not None and record.status not in (None, "running"):
            # Its process has ended, even if Slurm hasn't noticed yet.
            return Earlier(is_over=True)
        if (running := self._of_name(task, self._name(task))) is not None:
            return Earlier(running, what=f"it is Slurm job {running.submission.id}")
        submitted = read_submission(task.folder)
        return Earlier(is_over=submitted is not None and submitted.launcher == self.config.name)

    def _of_name(self, task: Task, name: str) -> _Job | None:
        """Returns the job of this name that waits or runs; the name finds it even if its id was never written down."""
        try:
            self.queue.look()
        except SlurmError as error:
            raise NotNow(f"Slurm doesn't answer ({error})") from error
        for job, state in self.queue.jobs().items():
            if state.name == name and state.lives:
                return self._watched(task, Submission(self.config.name, job, name))
        return None

    def _watched(self, task: Task, submission: Submission) -> _Job:
        with suppress(OSError):  # a disk that is full: it is found by its name
            submission.write(task.folder)
        job = _Job(self.queue, submission, task, self.config)
        self._jobs = [*(earlier for earlier in self._jobs if not earlier.has_ended), job]
        return job

    def _name(self, task: Task) -> str:
        """Returns a name that no job of another sweep has, so that a job is found if its id was lost."""
        digest = hashlib.sha256(str(self.sweep.resolve()).encode()).hexdigest()[:10]
        return f"mi-run-{digest}-{task.number}"

    def waiting(self) -> str:
        reasons: dict[str, list[str]] = {}
        for job in self._jobs:
            state = job.state()
            if not job.has_ended and state is not None and state.waits:
                reasons.setdefault(state.reason, []).append(job.submission.id)
        if not reasons:
            return f"Slurm doesn't answer ({self.queue.error})" if self.queue.error else ""
        told = [
            f"{reason} ({', '.join(jobs[:5])}{', ...' if len(jobs) > 5 else ''})"
            f"{': ' + NEVER[reason] if reason in NEVER else ''}"
            for reason, jobs in reasons.items()
        ]
        return f"{sum(map(len, reasons.values()))} jobs wait in Slurm's queue: {'; '.join(told)}"

    def cancel(self, running: Sequence[Running]) -> None:
        """Ends these jobs, and waits until they have ended."""
        self._end([job for job in running if isinstance(job, _Job)], _Job.is_over)

    def _end(self, jobs: Sequence[_Job], is_over: Callable[[_Job], bool]) -> None:
        jobs = [job for job in jobs if not job.has_ended]
        ends = time.monotonic() + SECONDS_TO_END
        sent = False
        while jobs and time.monotonic() < ends:
            with suppress(SlurmError):  # a controller that is away: again
                if not sent:
                    slurm.cancel([job.submission.id for job in jobs])
                    sent = True
                self.queue.look()
            jobs = [job for job in jobs if not is_over(job)]
            time.sleep(0.3 if jobs else 0)

    def stop(self) -> None:
        self._end(self._jobs, lambda job: job.is_over() or job.says() == "interrupted")
        self.close()

    def close(self) -> None:
        self.queue.close()


class _Queue:
    """What squeue said last; a thread asks, so that nobody waits for it.

    Attributes:
        error: why there was no answer, the last time; empty where there was one.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, JobState] = {}
        self._looked = 0.0
        self._closed = threading.Event()
        self.error = ""
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Asks Slurm now.

        Raises:
            SlurmError: there was no answer.
        """
        began = time.monotonic()
        self._jobs = slurm.queue()
        self._looked, self.error = began, ""

    def jobs(self) -> dict[str, JobState]:
        return self._jobs

    def state(self, job: str, since: float) -> JobState | None:
        """Returns what is known of a job.

        Args:
            since: an answer counts that was asked for later than this (by `time.monotonic`).

        Returns:
            GONE for a job that squeue doesn't list; None where no answer counts.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self._jobs.get(job, JobState(slurm.GONE)) if self._looked > since else None

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                self.look()
            except SlurmError as error:
                self.error = str(error)
            self._closed.wait(SECONDS_BETWEEN_LOOKS)

    def close(self) -> None:
        self._closed.set()


class _Job:
    """A job of the queue."""

    def __init__(self, queue: _Queue, submission: Submission, task: Task, config: SubmititSlurmLauncher) -> None:
        self.submission, self.task, self.config = submission, task, config
        self.has_ended = False
        self._queue = queue
        self._since = time.monotonic()
        self._looked = 0.0
        self._over_since: float | None = None
        self._never_began = False

    def state(self) -> JobState | None:
        """Returns what Slurm said last; None if it has said nothing since the submission."""
        return self._queue.state(self.submission.id, self._since)

    def says(self) -> str | None:
        """Returns the status in its run.json."""
        record = run_folder.read_record(self.task.folder)
        return None if record is None else record.status

    def is_over(self) -> bool:
        """Returns whether Slurm says that it waits and runs no more."""
        state = self.state()
        if state is None or state.lives:
            return False
        self._never_began = not state.node and state.state != slurm.GONE
        return True

    def done(self) -> bool:
        now = time.monotonic()
        if self.has_ended or now - self._looked < SECONDS_BETWEEN_RECORDS:
            return self.has_ended
        self._looked = now
        state = self.state()
        if state is not None and state.waits:
            return False
        status = self.says()
        over = self.is_over()
        if over and self._over_since is None:
            self._over_since = now
        said = status in ("done", "failed", TIMED_OUT)
        late = self._over_since is not None and now - self._over_since > SECONDS_FOR_FILES
        self.has_ended = said or (over and (self._never_began or status == "interrupted" or late))
        return self.has_ended

    def ending(self) -> Ending:
        if self.says() in ("done", "failed", TIMED_OUT):
            return Ending()
        state = self.state() or JobState(slurm.GONE)
        if not self._queue.error:
            with suppress(SlurmError):
                state = slurm.ended(self.submission.id)
        return ending_of(state, self.submission.id, self.config, self.task)


def ending_of(state: JobState, job: str, config: SubmititSlurmLauncher, task: Task) -> Ending:
    """Returns what a job's state means for a sweep's job that didn't write itself how it ended."""
    began = f"on {state.node}" if state.node else "before it began"
    exit_status, _, number = state.exit_code.partition(":")
    raised = re.match(r"RaisedSignal:(\d+)", state.reason)
    number = raised[1] if raised else number
    if state.lives or state.state == "COMPLETED":
        return Ending(_without_result(f"Slurm job {job} ended without a result", task), worker_died=True)
    if state.state.startswith("CANCELLED"):
        return Ending(f"Slurm job {job} was cancelled {began}", True, "cancelled")
    if state.state in ("TIMEOUT", "DEADLINE"):
        return Ending(f"it took longer than hydra.launcher.timeout_min={config.timeout_min}", True, TIMED_OUT)
    if state.state == "OUT_OF_MEMORY" or (number == "9" and _told_of_memory(task)):
        return Ending(f"it needed more than hydra.launcher.mem_gb={config.mem_gb:g}", True, "out of memory")
    if state.state == "PREEMPTED":
        return Ending(f"Slurm ended job {job} {began} for a job of higher priority", True, "killed")
    if state.state in ("NODE_FAIL", "BOOT_FAIL"):
        return Ending(f"the node of Slurm job {job} failed ({state.node or state.reason})", True, "killed")
    if number not in ("", "0"):
        with suppress(ValueError):
            number = signal.Signals(int(number)).name
        return Ending(f"Slurm job {job} was ended {began} by {number}", True, "killed")
    if state.state == slurm.GONE:
        return Ending(f"Slurm job {job} is gone, and left no result", True, "killed")
    text = f"Slurm job {job} ended {began} with exit status {exit_status or 'unknown'} ({state.state})"
    return Ending(_without_result(text, task), True, "failed")


def _output(task: Task) -> Path:
    return task.folder.parent / FILES / f"{task.number}.out"


def _told_of_memory(task: Task) -> bool:
    """Returns whether Slurm wrote into the job's output that it used too much memory; some say it only there."""
    try:
        with _output(task).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4000))
            text = file.read().decode(errors="replace")
    except OSError:
        return False
    return re.search(r"exceeded (job )?memory limit|oom.kill", text, re.IGNORECASE) is not None


def _without_result(text: str, task: Task) -> str:
    return f"{text}; its output is in {_output(task)}"
