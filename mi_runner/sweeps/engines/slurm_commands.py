"""Slurm by its own commands: sbatch, squeue, scontrol, sacct, scancel. What they say, as plain values.

`squeue` knows jobs that wait, run or ended a few minutes ago; `scontrol` the same ones with their exit status. `sacct`
knows all, but fails where a cluster keeps no accounts, so it is asked last and may fail. Every command has a time
limit, for a controller that is restarted answers late or not at all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

SECONDS_TO_ANSWER = 60.0

WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
RUNNING = ("RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT")

GONE = "GONE"
"""The state of a job that neither the controller nor the accounts know."""

TEMPORARY = re.compile(
    r"contact|connect|timed out|temporarily|try again|not responding|job submit limit|Job violates|"
    r"not available now|down, drained or reserved|Zero Bytes|Unspecified error|unavailable",
    re.IGNORECASE,
)
"""Refusals of sbatch that need no other command, only time: a limit on submitted jobs, a controller that is away."""


class SlurmError(RuntimeError):
    """A command of Slurm failed; its text is what it wrote to standard error, in one line.

    Attributes:
        temporary: whether the same command may succeed later.
    """

    def __init__(self, text: str, *, temporary: bool) -> None:
        super().__init__(text)
        self.temporary = temporary


@dataclass(frozen=True)
class JobState:
    """What Slurm says of a job.

    Attributes:
        state: Slurm's word in capitals, such as PENDING, RUNNING or CANCELLED; GONE for a job that it doesn't know.
        reason: why it waits, or ended; Slurm's word.
        node: where it runs or ran; empty for a job that never began.
        name: the job's.
        exit_code: `STATUS:SIGNAL`; empty where it was not asked for.
    """

    state: str
    reason: str = ""
    node: str = ""
    name: str = ""
    exit_code: str = ""

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    @property
    def lives(self) -> bool:
        """Whether it waits or runs."""
        return self.waits or self.state in RUNNING


def is_here() -> bool:
    """Returns whether this machine can submit jobs."""
    return shutil.which("sbatch") is not None


def submit(options: Mapping[str, object], script: str) -> str:
    """Submits a job and returns its id.

    Args:
        options: of sbatch, by their long names; True for one without a value.

    Raises:
        SlurmError: it was refused, or there was no answer; in the second case there may be a job nevertheless.
    """
    out = _run(["sbatch", "--parsable", *_arguments(options)], script)
    return out.strip().splitlines()[-1].partition(";")[0]


def check(options: Mapping[str, object], script: str) -> None:
    """Checks that Slurm would take such a job, and submits none.

    Raises:
        SlurmError: it would not.
    """
    _run(["sbatch", "--test-only", *_arguments(options)], script)


def _arguments(options: Mapping[str, object]) -> list[str]:
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]


def queue() -> dict[str, JobState]:
    """Returns by id every job of this user that waits, runs, or ended a short while ago.

    Raises:
        SlurmError: there was no answer.
    """
    out = _run(["squeue", "--noheader", f"--user={os.getuid()}", "--states=all", "--format=%i|%T|%N|%j|%r"], seconds=30)
    jobs = {}
    for line in out.splitlines():
        job, state, node, name, reason = line.split("|", 4)
        jobs[job.strip()] = JobState(state, reason, node, name)
    return jobs


def ended(job: str) -> JobState:
    """Returns how a job ended, from the controller or, if it has forgotten the job, from the accounts.

    Raises:
        SlurmError: the controller didn't answer.
    """
    try:
        told = _fields(_run(["scontrol", "--oneliner", "show", "job", job], seconds=30))
        return JobState(
            told.get("JobState", GONE),
            told.get("Reason", ""),
            "" if told.get("NodeList") in (None, "(null)") else told["NodeList"],
            told.get("JobName", ""),
            told.get("ExitCode", ""),
        )
    except SlurmError as error:
        if "Invalid job id" not in str(error):
            raise
    try:
        out = _run(
            ["sacct", "-n", "-P", "-X", "-j", job, "--format=State,Reason,NodeList,JobName,ExitCode"], seconds=30
        )
        state, reason, node, name, exit_code = out.splitlines()[-1].split("|")
    except (SlurmError, IndexError, ValueError):  # the cluster keeps no accounts, or has none of this job
        return JobState(GONE)
    return JobState(state.split()[0], reason, "" if "None" in node else node, name, exit_code)


def _fields(line: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S*)", line))


def cancel(jobs: Sequence[str]) -> None:
    """Ends these jobs by one command; those that have ended stay as they are. A job that runs gets SIGTERM first.

    Raises:
        SlurmError: there was no answer.
    """
    if jobs:
        _run(["scancel", "--quiet", *jobs])


@dataclass(frozen=True)
class NodeKind:
    """The nodes of a partition that are alike.

    Attributes:
        cpus: of each.
        megabytes: of memory of each.
        minutes: the longest time that the partition gives a job; None without a limit.
    """

    partition: str
    is_default: bool
    cpus: int
    megabytes: int
    minutes: float | None


def nodes() -> list[NodeKind]:
    """Returns the kinds of nodes of every partition; empty if Slurm doesn't answer."""
    try:
        out = _run(["sinfo", "--noheader", "--exact", "--format=%P|%c|%m|%l"], seconds=30)
    except SlurmError:
        return []
    kinds = []
    for line in out.splitlines():
        partition, cpus, memory, limit = line.split("|")
        name, is_default = partition.rstrip("*"), partition.endswith("*")
        kinds.append(NodeKind(name, is_default, int(cpus.rstrip("+")), int(memory.rstrip("+")), _minutes(limit)))
    return kinds


def _minutes(text: str) -> float | None:
    """Returns the minutes of `DAYS-HH:MM:SS`, whose first parts may be left out; None for no limit."""
    if "infinite" in text or not re.search(r"\d", text):
        return None
    days, _, clock = text.rpartition("-")
    hours, minutes, seconds = [0, 0, *(int(field) for field in clock.split(":"))][-3:]
    return int(days or 0) * 24 * 60 + hours * 60 + minutes + seconds / 60


def _run(command: Collection[str], given: str | None = None, *, seconds: float = SECONDS_TO_ANSWER) -> str:
    """Runs a command and returns its standard output.

    Raises:
        SlurmError: it failed.
    """
    program = next(iter(command))
    try:
        done = subprocess.run(
            list(command),
            input=given or "",
            capture_output=True,
            text=True,
            timeout=seconds,
            start_new_session=True,  # no Ctrl-C: half a submission would be a job that nobody knows
            env={**os.environ, "SLURM_TIME_FORMAT": "standard"},
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{program} gave no answer within {seconds:.0f} s", temporary=True) from error
    except OSError as error:
        raise SlurmError(f"can't run {program} ({error})", temporary=False) from error
    if done.returncode != 0:
        said = [line.removeprefix(f"{program}: ").removeprefix("error: ") for line in done.stderr.splitlines()]
        text = "; ".join(dict.fromkeys(line for line in said if line)) or f"{program} ended with {done.returncode}"
        raise SlurmError(text, temporary=bool(TEMPORARY.search(text)))
    return done.stdout
