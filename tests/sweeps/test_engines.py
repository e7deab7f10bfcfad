"""Workers in a hostile folder, signals to nobody else's process, a clock that is set, servers of this machine alone."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mi_runner.config.engine_schemas import JoblibLauncher, RayLauncher, SubmititLocalLauncher
from mi_runner.config.run_schema import OnError, RunConfig
from mi_runner.machine.imports import SAFE_PATH, folder_last, safe_path
from mi_runner.runs import liveness, states
from mi_runner.runs.liveness import ALIVE
from mi_runner.runs.record import RunRecord
from mi_runner.runs.run_folder import RunFolder
from mi_runner.runs.states import State
from mi_runner.sweeps import dispatch
from mi_runner.sweeps.dispatch import Clock, Dispatch, RunsElsewhere
from mi_runner.sweeps.engines import slurm
from mi_runner.sweeps.engines.engine import NotNow, OfThisProcess, Running
from mi_runner.sweeps.engines.in_this_process import HasEnded
from mi_runner.sweeps.engines.joblib import Loky
from mi_runner.sweeps.engines.submitit import Submitit
from mi_runner.sweeps.sweep_plan import Job
from mi_runner.sweeps.worker import Ending, Task, Worker
from tests.conftest import Ended
from tests.launched import statuses

MiRun = Callable[..., Ended]
TINY = ("dataset=mod_add", "dataset.train_size=32", "dataset.test_size=16", "training.epochs=1", "report=false")


def hostile(folder: Path) -> Path:
    """The folder gets modules that are named as libraries; each that is imported leaves a mark and ends the process."""
    for name in ("random", "json", "torch", "numpy", "socket", "logging", "pickle", "hydra", "mi_run"):
        code = f"open({str(folder / 'MARK')!r}, 'a').write({name!r})\nraise SystemExit(7)\n"
        (folder / f"{name}.py").write_text(code)
    return folder


# --- modules -------------------------------------------------------------------------------------------------------


def test_no_worker_takes_a_library_from_the_folder_that_it_works_in(launcher: str, tmp_path: Path) -> None:
    """The sweep as well: `python -m` puts this folder first."""
    place = hostile(tmp_path)
    words = [sys.executable, "-m", "mi_runner", "-m", *TINY, "seed=0,1", launcher, "hydra.launcher.n_jobs=2"]
    ended = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=300)
    assert not (place / "MARK").exists(), (place / "MARK").read_text()
    assert ended.returncode == 0, ended.stderr
    assert statuses(place / "outputs/sweeps/train/v001") == {0: "done", 1: "done"}


def test_a_job_of_slurm_takes_no_library_from_its_folder(tmp_path: Path) -> None:
    """The command that Slurm runs, up to the task that isn't there."""
    place = hostile(tmp_path)
    ended = subprocess.run(["sh", "-c", f"{slurm.RUNS} nowhere.task"], cwd=place, capture_output=True, text=True)
    assert not (place / "MARK").exists() and "nowhere.task" in ended.stderr, ended.stderr


def test_the_folder_comes_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "/a", str(tmp_path), "/b", str(tmp_path / "link")])
    folder_last(str(tmp_path))
    assert sys.path == ["/a", "/b", str(tmp_path)]
    folder_last("/nowhere")
    assert sys.path == ["/a", "/b", str(tmp_path)]


def test_what_a_job_starts_finds_the_variable_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SAFE_PATH, raising=False)
    before = Worker("/")
    with safe_path():
        assert os.environ[SAFE_PATH] == "1"
    assert SAFE_PATH not in os.environ and before.safe_path is None
    monkeypatch.setenv(SAFE_PATH, "yes")
    with safe_path():
        assert os.environ[SAFE_PATH] == "1"
    assert os.environ[SAFE_PATH] == "yes" and Worker("/").safe_path == "yes"


# --- signals -------------------------------------------------------------------------------------------------------


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_an_interruption_ends_no_process_that_a_record_names(
    stranger: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record names a stranger's, or every process; what the engine started ends."""
    pytest.importorskip("joblib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mi_runner.sweeps.engines.joblib.run_task", _sleep)
    started = Loky(JoblibLauncher(n_jobs=1, threads=1), 1, 0)
    folder = tmp_path / "0"
    folder.mkdir()
    running = started.submit(0, Task(0, folder, RunConfig(), "a command"))
    deadline = time.monotonic() + 60
    while not (folder / "began").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    sent: list[int] = []
    kill = os.kill

    def watched(pid: int, number: int) -> None:
        sent.append(pid)
        assert pid > 1 and pid != stranger.pid
        kill(pid, number)

    RunFolder(folder).write_record(RunRecord(status="running", pid=stranger.pid, host=socket.gethostname()))
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", watched)
        started.stop()
    assert running.done() and sent and stranger.poll() is None
    assert int((folder / "began").read_text()) in sent


def test_submitits_jobs_are_ended_by_their_own_handles(stranger: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Whatever number the job says; one that has ended gets nothing, though its number may be another's by now."""
    pytest.importorskip("submitit")
    with subprocess.Popen(["sleep", "600"]) as lives, subprocess.Popen(["true"]) as over:
        over.wait()

        class Submitted:
            def __init__(self, process: subprocess.Popen[bytes]) -> None:
                self._process, self.job_id = process, str(stranger.pid)

            def done(self) -> bool:
                return self._process.poll() is not None

        try:
            engine = Submitit(SubmititLocalLauncher(n_jobs=1, threads=1), 1, 0, tmp_path)
            engine._jobs = [Submitted(lives), Submitted(over)]
            engine.stop()
            assert lives.returncode == -signal.SIGTERM and stranger.poll() is None
        finally:
            lives.kill()


def _sleep(task: Task, *more: object) -> Ending:
    (task.folder / "began").write_text(str(os.getpid()))
    time.sleep(600)
    return Ending()


# --- the clock -----------------------------------------------------------------------------------------------------


def test_a_living_process_lives_whatever_the_clock_says(
    stranger: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was set by an hour, a year, in both directions, after the run began."""
    folder = RunFolder(tmp_path)
    for change in (timedelta(0), timedelta(hours=1), timedelta(days=365), -timedelta(hours=1)):
        started = (datetime.now(UTC) - change).isoformat(timespec="seconds")
        folder.write_record(RunRecord(status="running", pid=stranger.pid, host=socket.gethostname(), started=started))
        (tmp_path / liveness.PROCESS).write_text(f"{stranger.pid} {liveness.process_start(stranger.pid)}\n")
        assert states.read_state(tmp_path).status == "running", change
    # Another process that has got the id began at another moment, or after another start of the machine.
    boot, ticks = str(liveness.process_start(stranger.pid)).split(":")
    for other in (f"{boot}:{int(ticks) - 1}", f"another:{ticks}"):
        (tmp_path / liveness.PROCESS).write_text(f"{stranger.pid} {other}\n")
        assert states.read_state(tmp_path).status == "killed"
    # What is noted of another process says nothing.
    (tmp_path / liveness.PROCESS).write_text(f"{stranger.pid + 1} {boot}:{ticks}\n")
    folder.amend_record(started=datetime.now(UTC).isoformat(timespec="seconds"))
    assert states.read_state(tmp_path).status == "running"


def test_a_run_notes_its_process_while_it_runs(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[str] = []
    write = RunFolder.write_table

    def watched(self: RunFolder, *arguments: Any, **options: Any) -> None:
        noted.append((self.path / liveness.PROCESS).read_text())
        write(self, *arguments, **options)

    monkeypatch.setattr(RunFolder, "write_table", watched)
    ended = mi_run(*TINY)
    assert ended.status == 0 and set(noted) == {f"{os.getpid()} {liveness.process_start(os.getpid())}\n"}
    assert not (ended.folder / liveness.PROCESS).exists()


class Time:
    """A clock of the test's own, which goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep)


def test_a_job_elsewhere_is_dead_if_no_sign_follows_an_old_one(tmp_path: Path) -> None:
    """A clock that is set makes every sign old, until the next one."""
    of = Time()
    RunFolder(tmp_path).write_record(RunRecord(status="running", host="elsewhere", pid=7))
    (tmp_path / ALIVE).touch()
    job = RunsElsewhere(tmp_path, of.clock)
    assert not job.done()
    for hours in (1, 2, 3):  # old signs, but new ones
        of.now += 6
        os.utime(tmp_path / ALIVE, (time.time() - 3600 * hours,) * 2)
        assert not job.done()
    of.now += 9.9
    assert not job.done()
    of.now += 1.1
    assert job.done()


# --- a dispatch's pauses and retries -------------------------------------------------------------------------------


class Source:
    """Jobs that are listed."""

    def __init__(self, n_jobs: int) -> None:
        self.configs: list[RunConfig] = []
        self.n_left = n_jobs
        self.waiting = [Job(number, (), {}, str(number), RunConfig()) for number in range(n_jobs)]
        self.became: dict[int, str] = {}

    def next(self, folder: Path) -> Job | None:
        return self.waiting.pop(0) if self.waiting else None

    def ended(self, job: Job, state: State) -> None:
        self.became[job.number] = state.status


class Takes:
    """A task that takes some seconds."""

    def __init__(self, of: Time, seconds: float) -> None:
        self.of, self.ends = of, of.now + seconds

    def done(self) -> bool:
        return self.of.now >= self.ends

    def ending(self) -> Ending:
        return Ending()


class Refusing(OfThisProcess):
    """An engine that refuses a job so many times, and then takes it for so many seconds."""

    def __init__(self, of: Time, slots: int, refusals: dict[int, int], seconds: float = 0.0) -> None:
        self.of, self.slots, self.refusals, self.seconds = of, slots, refusals, seconds
        self.asked: list[tuple[int, float]] = []
        self.says = ""

    def submit(self, slot: int, task: Task) -> Running:
        self.asked.append((task.number, round(self.of.now - 1000, 1)))
        if self.refusals.get(task.number, 0):
            self.refusals[task.number] -= 1
            raise NotNow("the queue is full")
        RunFolder(task.folder.parent).path.mkdir(exist_ok=True)
        task.folder.mkdir()
        RunFolder(task.folder).write_record(RunRecord(status="done"))
        return Takes(self.of, self.seconds) if self.seconds else HasEnded(Ending())

    def waiting(self) -> str:
        return self.says

    def stop(self) -> None: ...

    def close(self) -> None: ...


def dispatched(engine: Refusing, of: Time, n_jobs: int, folder: Path) -> Source:
    source = Source(n_jobs)
    Dispatch(source, engine, folder, OnError["continue"], clock=of.clock).run()  # type: ignore[arg-type]
    return source


def test_a_refused_job_is_tried_again_after_pauses_that_double_up_to_a_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: 2, 4, 8, 16, 32, 64, 120, 120 seconds, of which a look takes 0.02."""
    of = Time()
    engine = Refusing(of, 1, {0: 8})
    source = dispatched(engine, of, 2, tmp_path / "sweep")
    assert source.became == {0: "done", 1: "done"}
    moments = [moment for number, moment in engine.asked if number == 0]
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert pauses == pytest.approx([2, 4, 8, 16, 32, 64, 120, 120], abs=0.15)
    assert engine.asked[-1] == (1, moments[-1])  # the next job, at once
    err = capsys.readouterr().err
    assert err.count("the queue is full: job 0 is tried again in") == 8 and "in 120 s" in err and "in 128 s" not in err


def test_a_job_that_ends_ends_the_pause_and_a_job_that_is_taken_shortens_the_next(tmp_path: Path) -> None:
    of = Time()
    engine = Refusing(of, 2, {1: 2, 2: 1}, seconds=1.0)
    source = dispatched(engine, of, 3, tmp_path / "sweep")
    assert source.became == {0: "done", 1: "done", 2: "done"}
    # Job 1 is refused at 0, tried when job 0 ends at 1, refused, and tried 4 s later; job 2 then pauses for 2 s only,
    # or until job 1 has ended after one.
    assert [number for number, _ in engine.asked] == [0, 1, 1, 1, 2, 2]
    assert [moment for _, moment in engine.asked] == pytest.approx([0, 0, 1, 5, 5, 6], abs=0.11)


def test_what_waits_is_said_after_a_minute_and_each_time_twice_as_late(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = Time()
    engine = Refusing(of, 1, {}, seconds=500.0)
    engine.says = "1 jobs wait"
    dispatched(engine, of, 1, tmp_path / "sweep")
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nothing has changed for")]
    assert [line.split()[4] for line in said] == ["61", "121", "241", "481"] or [
        round(int(line.split()[4]) / 60) for line in said
    ] == [1, 2, 4, 8]
    assert set(of.slept) == {dispatch.SECONDS_BETWEEN_LOOKS}


# --- Ray -----------------------------------------------------------------------------------------------------------


def test_ray_listens_on_the_loopback_alone(tmp_path: Path) -> None:
    """In a process of its own, which looks at all sockets that Ray's processes listen at while it runs."""
    pytest.importorskip("ray")
    code = """
import os
from mi_runner.config.engine_schemas import RayLauncher
from mi_runner.sweeps.engines.ray import HAS_CLUSTERS, Ray
engine = Ray(RayLauncher(n_jobs=1, threads=1), 1)
import psutil
ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
listening = [one for process in ours for one in process.net_connections("inet") if one.status == "LISTEN"]
places = sorted({one.laddr.ip.removeprefix("::ffff:") for one in listening})
print(places, len(listening) > 3, HAS_CLUSTERS in os.environ)
engine.close()
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.stdout.splitlines()[-1:] == ["['127.0.0.1'] True False"], ended.stderr
    assert RayLauncher().address is None


# --- another folder ------------------------------------------------------------------------------------------------


NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
"""


@pytest.fixture
def project(tmp_path: Path, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and a network of its own, and a sweep of them of which a job is missing."""
    import numpy as np

    place = tmp_path / "project"
    place.mkdir()
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    np.savez(place / "own.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    (place / "own_net_of_project.py").write_text(NET)
    monkeypatch.chdir(place)
    own = ("dataset=arrays", "dataset.path=own.npz", "model=external", "model.factory=own_net_of_project:Net")
    ended = mi_run("-m", *own, "training.epochs=1", "report=false", "seed=0,1")
    assert ended.status == 0, ended.err
    shutil.rmtree(ended.folder / "1")
    return place


def test_a_sweep_is_resumed_from_another_folder(project: Path, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    before = json.loads((project / "outputs/sweeps/train/v001/0/run.json").read_text())
    monkeypatch.chdir(project.parent)
    ended = mi_run("-m", "resume=project/outputs/sweeps/train/v001")
    assert ended.status == 0 and f"goes on in {project}" in ended.err, ended.err
    assert ended.folder == project / "outputs/sweeps/train/v001" and Path.cwd() == project.parent
    assert statuses(ended.folder) == {0: "done", 1: "done"}
    after = [json.loads((ended.folder / f"{number}/run.json").read_text()) for number in (0, 1)]
    assert after[0] == before and after[1]["config"]["dataset.path"] == "own.npz"


def test_options_that_would_be_from_another_folder_are_a_mistake(
    project: Path, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.parent)
    sweep = "resume=project/outputs/sweeps/train/v001"
    ended = mi_run("-m", sweep, "dataset=arrays", "dataset.path=own.npz", "seed=0,1")
    assert ended.status == 2 and f"or type the same in that folder: cd {project}." in ended.err, ended.err
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    ended = mi_run("-m", sweep)
    assert ended.status == 2 and "is another user's, so model.factory isn't run from there" in ended.err, ended.err


def test_a_project_that_was_moved_goes_on_where_it_is(
    project: Path, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = project.rename(project.parent / "moved")
    monkeypatch.chdir(moved)
    ended = mi_run("-m", "resume=outputs/sweeps/train/v001")
    assert ended.status == 0 and "is gone: relative paths are from" in ended.err, ended.err
