"""Slurm's words and what they mean, with programs in the place of Slurm's; test_slurm.py has the real ones."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mi_runner.config.engine_schemas import SubmititSlurmLauncher
from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import ConfigError
from mi_runner.runs.run_folder import RunFolder
from mi_runner.sweeps import dispatch, worker
from mi_runner.sweeps.engines import slurm
from mi_runner.sweeps.engines import slurm_commands as commands
from mi_runner.sweeps.engines.slurm import ending_of
from mi_runner.sweeps.engines.slurm_commands import JobState, NodeKind, SlurmError
from mi_runner.sweeps.worker import Task
from tests.conftest import Ended
from tests.launched import TINY, statuses, table

MiRun = Callable[..., Ended]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a program on the PATH that writes a text and ends so; its arguments are kept in `calls`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(name: str, out: str = "", err: str = "", status: int = 0) -> None:
        said = f"printf '%s' {shlex.quote(out)}; printf '%s' {shlex.quote(err)} >&2"
        path = folder / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >> {folder}/calls\n{said}\nexit {status}\n')
        path.chmod(0o755)

    return put


def test_the_queue(program: Callable[..., None], tmp_path: Path) -> None:
    program("squeue", "23|RUNNING|n1|mi-run-ab-0|None\n24|PENDING||mi-run-ab-1|Resources\n25|TIMEOUT|n2|x|TimeLimit\n")
    jobs = commands.queue()
    assert jobs["23"] == JobState("RUNNING", "None", "n1", "mi-run-ab-0")
    assert [(job, state.lives, state.waits) for job, state in jobs.items()] == [
        *(("23", True, False), ("24", True, True), ("25", False, False))
    ]
    assert f"--user={os.getuid()}" in (tmp_path / "bin/calls").read_text()


def test_how_a_job_ended_by_the_controller_or_else_the_accounts(program: Callable[..., None]) -> None:
    program("scontrol", "JobId=7 JobName=a JobState=FAILED Reason=NonZeroExitCode ExitCode=0:9 NodeList=n1\n")
    assert commands.ended("7") == JobState("FAILED", "NonZeroExitCode", "n1", "a", "0:9")
    program("scontrol", err="slurm_load_jobs error: Invalid job id specified\n", status=1)
    program("sacct", "CANCELLED by 0|None|None assigned|a|0:0\n")
    assert commands.ended("7") == JobState("CANCELLED", "None", "", "a", "0:0")
    program("sacct", err="Slurm accounting storage is disabled\n", status=1)
    assert commands.ended("7").state == commands.GONE
    program("scontrol", err="slurm_load_jobs error: Unable to contact slurm controller\n", status=1)
    with pytest.raises(SlurmError, match="Unable to contact"):
        commands.ended("7")


def test_one_command_cancels_all(program: Callable[..., None], tmp_path: Path) -> None:
    program("scancel")
    commands.cancel(["1", "2", "3"])
    commands.cancel([])
    assert (tmp_path / "bin/calls").read_text() == "scancel --quiet 1 2 3\n"


@pytest.mark.parametrize(
    ("err", "temporary"),
    [
        ("AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS"
         " policy (job submit limit, user's size and/or time limits)", True),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", True),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
        ("allocation failure: Requested partition configuration not available now", True),
        ("sbatch: error: invalid partition specified: x\nallocation failure: Invalid partition name specified", False),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", False),
    ],
)  # fmt: skip
def test_refusals_that_pass(err: str, temporary: bool, program: Callable[..., None]) -> None:
    program("sbatch", err=err, status=1)
    with pytest.raises(SlurmError) as refused:
        commands.submit({"time": 1}, "")
    assert refused.value.temporary == temporary and "\n" not in str(refused.value)


def test_a_command_that_gives_no_answer(program: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    program("sinfo")
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}")
    program("sbatch")
    (Path(os.environ["PATH"].partition(":")[0]) / "sbatch").write_text("#!/bin/sh\nexec sleep 20\n")
    monkeypatch.setattr(commands, "SECONDS_TO_ANSWER", 0.3)
    began = time.monotonic()
    with pytest.raises(SlurmError, match="sbatch gave no answer within") as refused:
        commands._run(["sbatch"], seconds=0.3)
    assert refused.value.temporary and time.monotonic() - began < 5


def test_options_of_sbatch(program: Callable[..., None], tmp_path: Path) -> None:
    program("sbatch", "warning\n17;cluster\n")
    assert commands.submit({"time": 12, "no-requeue": True, "chdir": "/a b"}, "") == "17"
    assert (tmp_path / "bin/calls").read_text() == "sbatch --parsable --time=12 --no-requeue --chdir=/a b\n"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("infinite", None), ("n/a", None), ("1:00", 1), ("2:00:00", 120), ("1-00:00:00", 1440), ("3-01:30:30", 4410.5)],
)
def test_time_limits(text: str, minutes: float | None, program: Callable[..., None]) -> None:
    program("sinfo", f"all*|2|64000|{text}\ngpu|64|1000000+|infinite\n")
    assert commands.nodes() == [NodeKind("all", True, 2, 64000, minutes), NodeKind("gpu", False, 64, 1000000, None)]


@pytest.mark.parametrize(
    ("state", "status", "cause"),
    [
        (JobState("CANCELLED"), "cancelled", "Slurm job 7 was cancelled before it began"),
        (JobState("CANCELLED", node="n1"), "cancelled", "Slurm job 7 was cancelled on n1"),
        (JobState("TIMEOUT", node="n1"), "timed out", "it took longer than hydra.launcher.timeout_min=240"),
        (JobState("OUT_OF_MEMORY", node="n1"), "out of memory", "it needed more than hydra.launcher.mem_gb=8"),
        (JobState("PREEMPTED", node="n1"), "killed", "Slurm ended job 7 on n1 for a job of higher priority"),
        (JobState("NODE_FAIL", node="n1"), "killed", "the node of Slurm job 7 failed (n1)"),
        (JobState("FAILED", node="n1", exit_code="0:9"), "killed", "Slurm job 7 was ended on n1 by SIGKILL"),
        (JobState("FAILED", "RaisedSignal:9(Killed)", "n1"), "killed", "Slurm job 7 was ended on n1 by SIGKILL"),
        (JobState(commands.GONE), "killed", "Slurm job 7 is gone, and left no result"),
        (JobState("FAILED", node="n1", exit_code="1:0"), "failed", "Slurm job 7 ended on n1 with exit status 1"),
        (JobState("COMPLETED", node="n1"), "", "Slurm job 7 ended without a result"),
    ],
    ids=lambda part: part.state if isinstance(part, JobState) else "",
)  # fmt: skip
def test_what_slurm_says_of_a_job(state: JobState, status: str, cause: str, tmp_path: Path) -> None:
    ending = ending_of(state, "7", SubmititSlurmLauncher(), Task(0, tmp_path / "0", RunConfig(), ""))
    assert (
        ending.worker_died and ending.status == status and ending.error.startswith(cause) and "\n" not in ending.error
    )


def test_memory_of_which_only_the_output_tells(tmp_path: Path) -> None:
    (tmp_path / ".slurm").mkdir()
    (tmp_path / ".slurm/0.out").write_text(
        "slurmstepd: error: StepId=2.batch exceeded memory limit (5 > 1), being killed"
    )
    state = JobState("FAILED", node="n1", exit_code="0:9")
    ending = ending_of(state, "7", SubmititSlurmLauncher(mem_gb=0.5), Task(0, tmp_path / "0", RunConfig(), ""))
    assert (ending.status, ending.error) == ("out of memory", "it needed more than hydra.launcher.mem_gb=0.5")


# --- a queue in this process ---------------------------------------------------------------------------------------


class Queue:
    """In the place of Slurm: it runs a job at once, in this process, unless the test says what becomes of it.

    Attributes:
        fates: by job number, the state that a job has from its submission on; it is not run.
        refusals: what sbatch says to the next submissions, one each.
        states: id → what squeue and scontrol say.
        cancelled: the ids of each scancel.
    """

    def __init__(self) -> None:
        self.fates: dict[int, JobState] = {}
        self.refusals: list[str] = []
        self.states: dict[str, JobState] = {}
        self.submitted: list[int] = []
        self.cancelled: list[list[str]] = []

    def submit(self, options: Mapping[str, object], script: str) -> str:
        if self.refusals:
            raise SlurmError(self.refusals.pop(0), temporary=True)
        name, job = str(options["job-name"]), str(100 + len(self.submitted))
        path = re.search(r"slurm_job (.*)\n", script)
        assert path is not None
        task: Task = pickle.loads(Path(shlex.split(path[1])[0]).read_bytes())
        self.submitted.append(task.number)
        if (fate := self.fates.pop(task.number, None)) is None:
            worker.run_task(replace(task, worker=None))
            fate = JobState("COMPLETED", node="n1")
        self.states[job] = replace(fate, name=name)
        return job

    def queue(self) -> dict[str, JobState]:
        return {job: state for job, state in self.states.items() if state.state != commands.GONE}

    def ended(self, job: str) -> JobState:
        return self.states[job]

    def cancel(self, jobs: list[str]) -> None:
        self.cancelled.append(list(jobs))
        for job in jobs:
            self.states[job] = replace(self.states[job], state="CANCELLED")


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue = Queue()
    for name in ("submit", "queue", "ended", "cancel"):
        monkeypatch.setattr(commands, name, getattr(queue, name))
    monkeypatch.setattr(commands, "is_here", lambda: True)
    monkeypatch.setattr(commands, "check", lambda options, script: None)
    monkeypatch.setattr(commands, "nodes", lambda: [NodeKind("all", True, 2, 64000, None)])
    monkeypatch.setattr(slurm, "SECONDS_BETWEEN_LOOKS", 0.1)
    monkeypatch.setattr(slurm, "SECONDS_BETWEEN_RECORDS", 0.0)
    return queue


SLURM = ("hydra/launcher=submitit_slurm", "training.epochs=1")


def test_refused_submissions_are_tried_again(queue: Queue, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "FIRST_PAUSE", 0.2)
    queue.refusals = ["AssocMaxSubmitJobLimit", "Unable to contact slurm controller"]
    done = mi_run("-m", *TINY, *SLURM, "seed=0,1")
    assert done.status == 0 and queue.submitted == [0, 1], done.err
    assert "Slurm takes no more jobs for now (AssocMaxSubmitJobLimit): job 0 is tried again" in done.err
    assert "(Unable to contact slurm controller)" in done.err and not (done.folder / "earlier").exists()


def test_an_answer_that_was_lost_submits_no_job_twice(
    queue: Queue, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm took the job, and its id never arrived."""
    monkeypatch.setattr(dispatch, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(slurm, "SECONDS_FOR_FILES", 0.5)
    submit = queue.submit
    lost = [True]

    def submit_and_lose(options: Mapping[str, object], script: str) -> str:
        job = submit(options, script)
        if lost.pop() if lost else False:
            queue.states[job] = replace(queue.states[job], state="RUNNING")
            raise SlurmError("Socket timed out on send/recv operation", temporary=True)
        return job

    monkeypatch.setattr(commands, "submit", submit_and_lose)
    done = mi_run("-m", *TINY, *SLURM, "seed=0,1")
    assert done.status == 0 and sorted(queue.submitted) == [0, 1], done.err


def test_jobs_that_die_keep_no_other_waiting(queue: Queue, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four jobs end without a file; each is given its seconds, all at the same time."""
    monkeypatch.setattr(slurm, "SECONDS_FOR_FILES", 8)
    queue.fates = {number: JobState(commands.GONE) for number in range(4)}
    began = time.monotonic()
    done = mi_run("-m", *TINY, *SLURM, "seed=range(0,6)", "hydra.launcher.n_jobs=5")
    assert done.status == 1 and time.monotonic() - began < 2 * 8, done.err
    assert statuses(done.folder) == dict.fromkeys(range(4), "killed") | {4: "done", 5: "done"}
    assert table(done.folder)[0]["error"] == "Slurm job 100 is gone, and left no result"
    resumed = mi_run("-m", f"resume={done.folder}")
    assert resumed.status == 0 and queue.submitted == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3], resumed.err


def test_jobs_that_wait_are_adopted_or_cancelled(queue: Queue, mi_run: MiRun) -> None:
    """The sweep was killed; its second job waits still. Its id was written down, or lost."""
    queue.fates = {1: JobState("PENDING", "Resources")}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dispatch._Waiting, "say", lambda self, n_ended: os.kill(os.getpid(), signal.SIGTERM))
        patched.setattr(slurm.Slurm, "stop", lambda self: None)  # as if there had been no time to
        killed = mi_run("-m", *TINY, *SLURM, "seed=0,1")
    assert killed.status == 143 and queue.states["101"].state == "PENDING"
    (killed.folder / ".jobs/1.json").unlink()
    resumed = mi_run("-m", f"resume={killed.folder}", "adopt=false", "hydra.launcher.n_jobs=3")
    assert resumed.status == 0 and queue.cancelled == [["101"]] and queue.submitted == [0, 1, 1], resumed.err
    assert "1 jobs, 3 at once" in resumed.err

    queue.fates = {1: JobState("PENDING", "Resources")}
    (killed.folder / "1/run.json").unlink()
    task = killed.folder / ".slurm/1.task"

    def began(self: object, n_ended: int) -> None:
        waiting = [job for job, state in queue.states.items() if state.state == "PENDING"]
        for job in waiting:
            queue.states[job] = replace(queue.states[job], state="COMPLETED", node="n1")
            worker.run_task(replace(pickle.loads(task.read_bytes()), worker=None))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dispatch._Waiting, "say", lambda self, n_ended: os.kill(os.getpid(), signal.SIGTERM))
        patched.setattr(slurm.Slurm, "stop", lambda self: None)
        assert mi_run("-m", f"resume={killed.folder}").status == 143
    before = list(queue.submitted)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dispatch._Waiting, "say", began)
        adopted = mi_run("-m", f"resume={killed.folder}")
    assert adopted.status == 0 and queue.submitted == before, adopted.err
    assert "job 1 was submitted before, it is Slurm job 103: it is waited for" in adopted.err


def test_a_running_job_on_another_host_that_slurm_knows_no_more_is_over(queue: Queue, mi_run: MiRun) -> None:
    done = mi_run("-m", *TINY, *SLURM, "seed=0,1")
    RunFolder(done.folder / "1").amend_record(status="running", host="elsewhere")
    queue.states.clear()
    resumed = mi_run("-m", f"resume={done.folder}")
    assert resumed.status == 0 and queue.submitted == [0, 1, 1], resumed.err


def test_ctrl_c_is_one_scancel(queue: Queue, mi_run: MiRun) -> None:
    queue.fates = {number: JobState("PENDING", "Priority") for number in range(4)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dispatch._Waiting, "say", lambda self, n_ended: signal.raise_signal(signal.SIGINT))
        began = time.monotonic()
        done = mi_run("-m", *TINY, *SLURM, "seed=range(0,4)")
    assert done.status == 130 and queue.cancelled == [["100", "101", "102", "103"]]
    assert time.monotonic() - began < 8 and statuses(done.folder) == dict.fromkeys(range(4), "missing")


def test_why_jobs_wait_is_said(queue: Queue, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "SECONDS_UNTIL_WAITING_IS_SAID", 0.5)
    queue.fates = {0: JobState("PENDING", "PartitionTimeLimit"), 1: JobState("PENDING", "Resources")}
    note = dispatch.console.note

    def heard(text: str) -> None:
        note(text)
        if "nothing has changed" in text:
            queue.states = {job: replace(state, state="CANCELLED") for job, state in queue.states.items()}

    monkeypatch.setattr(dispatch.console, "note", heard)
    done = mi_run("-m", *TINY, *SLURM, "seed=0,1")
    assert done.status == 1 and set(statuses(done.folder).values()) == {"cancelled"}
    assert "2 jobs wait in Slurm's queue: PartitionTimeLimit (100): hydra.launcher.timeout_min is more than" in done.err
    assert "Resources (101)" in done.err


def test_threads_are_those_of_the_nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for cpus, found in ((2, 2), (64, 4)):
        monkeypatch.setattr(commands, "nodes", lambda cpus=cpus: [NodeKind("all", True, cpus, 64000, None)])
        engine = slurm.Slurm(SubmititSlurmLauncher(), 3, tmp_path)
        assert engine.threads == engine.options["cpus-per-task"] == found


@pytest.mark.parametrize(("limit", "asked"), [(None, 31), (60, 31), (30, 30)])
def test_slurm_is_asked_for_a_minute_more_where_the_partition_has_it(
    limit: float | None, asked: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(commands, "nodes", lambda: [NodeKind("all", True, 8, 64000, limit)])
    assert slurm.Slurm(SubmititSlurmLauncher(timeout_min=30), 3, tmp_path).options["time"] == asked


def test_a_machine_without_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="no sbatch is on the PATH.*submitit_local runs here"):
        slurm.check(SubmititSlurmLauncher())
