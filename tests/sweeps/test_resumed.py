"""Sweeps that go on: with the launcher that they had, and with jobs that other hosts run or ran."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import Terminated
from mi_runner.machine import signals
from mi_runner.runs import liveness, states
from mi_runner.runs.liveness import ALIVE
from mi_runner.runs.record import RunRecord
from mi_runner.runs.run_folder import RunFolder
from mi_runner.sweeps import dispatch, engines, worker
from mi_runner.sweeps.engines.engine import Running
from mi_runner.sweeps.engines.in_this_process import InThisProcess
from mi_runner.sweeps.sweep_plan import read_plan
from mi_runner.sweeps.worker import Ending, Task, Worker
from tests.conftest import Ended
from tests.launched import TINY, statuses

MiRun = Callable[..., Ended]
SWEEP = ("-m", *TINY, "training.epochs=1", "seed=0,1")


def run_elsewhere(folder: Path, *, last_sign: float | None) -> None:
    """A job's folder becomes that of a job of another host, whose last sign of life is so many seconds old."""
    RunFolder(folder).amend_record(status="running", host="elsewhere", pid=7)
    if last_sign is not None:
        (folder / ALIVE).touch()
        os.utime(folder / ALIVE, (time.time() - last_sign,) * 2)


# --- signs of life -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last_sign", "status", "cause"),
    [
        (3, "running", "is run by process 7 on elsewhere"),
        (500, "killed", "process 7 on elsewhere ended without a word, its last sign of life is 50. s old"),
        (None, "running", "is run by process 7 on elsewhere, of which nobody here knows whether it lives"),
    ],
)
def test_the_state_of_a_job_on_another_host(last_sign: float | None, status: str, cause: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    run_elsewhere(tmp_path, last_sign=last_sign)
    state = states.read_state(tmp_path)
    assert state.status == status and re.fullmatch(cause, state.cause)


def test_a_job_gives_signs_of_life_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "SECONDS_BETWEEN_SIGNS", 0.05)
    with liveness.signs_of_life(tmp_path):
        os.utime(tmp_path / ALIVE, (0, 0))
        deadline = time.monotonic() + 20
        while (liveness.seconds_without_sign(tmp_path) or 0) > 10:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert liveness.seconds_without_sign(tmp_path) is None and not list(tmp_path.iterdir())


# --- one writer ----------------------------------------------------------------------------------------------------


def test_a_folder_has_one_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two workers that are given the same job the second leaves everything as it is."""
    (tmp_path / "0").mkdir()
    (tmp_path / "0/run.json").write_text("of the first")
    ending = worker.run_task(Task(0, tmp_path / "0", RunConfig(), ""))
    assert ending == Ending(f"{tmp_path}/0 has another writer", folder_taken=True)
    assert [path.name for path in (tmp_path / "0").iterdir()] == ["run.json"]
    assert (tmp_path / "0/run.json").read_text() == "of the first"


# --- a time limit --------------------------------------------------------------------------------------------------


def test_a_job_has_the_time_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends itself, not earlier, and says in its run.json what ended it."""
    monkeypatch.setattr(worker, "_settle_in", lambda worker: None)
    monkeypatch.setattr(worker, "SECONDS_TO_BEGIN", 0.1)
    took = []

    def endless(task: Task, reporting: object) -> Ending:
        task.folder.mkdir()
        RunFolder(task.folder).write_record(RunRecord(status="interrupted", error="terminated (SIGTERM)"))
        began = time.monotonic()
        try:
            time.sleep(30)
        finally:
            took.append(time.monotonic() - began)
        return Ending()

    monkeypatch.setattr(worker, "_run", endless)
    task = Task(0, tmp_path / "0", RunConfig(), "", Worker("", minutes=0.02))
    ending = worker.run_task(task)
    assert ending.status == "timed out" and 1.1 < took[0] < 10
    state = states.read_state(task.folder)
    assert (state.status, state.cause) == ("timed out", "it took longer than hydra.launcher.timeout_min=0.02")


def test_a_job_that_is_ended_before_its_time_is_interrupted(tmp_path: Path) -> None:
    limit = worker._Limit(1)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(Terminated), signals.raised(), limit.kept():
        time.sleep(30)
    assert not limit.is_over()


# --- resumed -------------------------------------------------------------------------------------------------------


def test_a_job_whose_host_is_silent_runs_again(mi_run: MiRun) -> None:
    done = mi_run(*SWEEP)
    run_elsewhere(done.folder / "1", last_sign=500)
    tables = mi_run(f"sweep={done.folder}")
    assert tables.status == 1 and "process 7 on elsewhere ended without a word, its last sign" in tables.err
    resumed = mi_run("-m", f"resume={done.folder}")
    assert resumed.status == 0 and "1 jobs, 1 at once" in resumed.err, resumed.err
    assert statuses(done.folder) == {0: "done", 1: "done"}
    assert [path.name for path in (done.folder / "earlier").iterdir()] == ["1-1"]


def test_a_job_that_another_host_runs_is_waited_for(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    done = mi_run(*SWEEP)
    folder = done.folder.absolute() / "1"
    record = json.loads((folder / "run.json").read_text())
    run_elsewhere(folder, last_sign=3)
    note = dispatch.console.note

    def done_then(text: str) -> None:
        note(text)
        if "it is waited for" in text:
            RunFolder(folder).amend_record(status="done", pid=record["pid"])

    monkeypatch.setattr(dispatch.console, "note", done_then)
    resumed = mi_run("-m", f"resume={done.folder}")
    assert resumed.status == 0 and "job 1 is run by process 7 on elsewhere: it is waited for" in resumed.err
    assert json.loads((folder / "run.json").read_text())["host"] == "elsewhere"


def test_a_job_that_another_host_runs_and_that_dies_runs_again(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    done = mi_run(*SWEEP)
    folder = done.folder.absolute() / "1"
    run_elsewhere(folder, last_sign=3)
    note = dispatch.console.note

    def silent_then(text: str) -> None:
        note(text)
        if "it is waited for" in text:
            os.utime(folder / ALIVE, (time.time() - 500,) * 2)

    monkeypatch.setattr(dispatch.console, "note", silent_then)
    resumed = mi_run("-m", f"resume={done.folder}")
    assert resumed.status == 0 and "it is waited for" in resumed.err and "it runs again" in resumed.err, resumed.err
    assert json.loads((folder / "run.json").read_text())["host"] == os.uname().nodename


def test_a_job_of_which_nobody_knows_runs_again_if_the_command_says_so(mi_run: MiRun) -> None:
    done = mi_run(*SWEEP)
    run_elsewhere(done.folder / "1", last_sign=None)
    left = mi_run("-m", f"resume={done.folder}")
    assert left.status == 1 and "adopt=false runs it again" in left.err, left.err
    resumed = mi_run("-m", f"resume={done.folder}", "adopt=false")
    assert resumed.status == 0 and statuses(done.folder) == {0: "done", 1: "done"}, resumed.err


def test_jobs_elsewhere_that_an_interruption_ended_say_so(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine has ended them, and they could not write it: the sweep does."""
    done = mi_run(*SWEEP)

    class Endless:
        def done(self) -> bool:
            signal.raise_signal(signal.SIGTERM)
            return False

    class Engine(InThisProcess):
        def submit(self, slot: int, task: Task) -> Running:
            task.folder.mkdir()
            shutil.copy(done.folder / "0/run.json", task.folder)
            RunFolder(task.folder).amend_record(status="running", host="elsewhere")
            return Endless()

    monkeypatch.setattr(engines, "start", lambda *arguments: Engine())
    ended = mi_run(*SWEEP)
    assert ended.status == 143 and statuses(ended.folder) == {0: "interrupted", 1: "missing"}, ended.err


def test_a_worker_that_is_killed_because_it_does_not_listen_was_interrupted(
    mi_run: MiRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = mi_run(*SWEEP)
    workers: list[subprocess.Popen[bytes]] = []

    class Deaf:
        def done(self) -> bool:
            signal.raise_signal(signal.SIGTERM)
            return False

    class Engine(InThisProcess):
        def submit(self, slot: int, task: Task) -> Running:
            workers.append(subprocess.Popen(["sleep", "600"]))
            task.folder.mkdir()
            shutil.copy(done.folder / "0/run.json", task.folder)
            started = datetime.now(UTC).isoformat(timespec="seconds")
            RunFolder(task.folder).amend_record(status="running", pid=workers[-1].pid, started=started, finished=None)
            assert states.read_state(task.folder).status == "running"
            return Deaf()

        def stop(self) -> None:
            for worker_process in workers:
                worker_process.kill()
                worker_process.wait()

    monkeypatch.setattr(engines, "start", lambda *arguments: Engine())
    ended = mi_run(*SWEEP)
    assert ended.status == 143 and statuses(ended.folder) == {0: "interrupted", 1: "missing"}, ended.err


def test_the_launcher_is_kept_and_the_command_line_overrides(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def start(config: object, *arguments: object) -> InThisProcess:
        asked.append(config)
        return InThisProcess()

    monkeypatch.setattr(engines, "start", start)
    monkeypatch.setattr(engines, "check", lambda config: None)
    done = mi_run(*SWEEP, "hydra/launcher=joblib", "hydra.launcher.n_jobs=5", "hydra.launcher.threads=2")
    assert read_plan(done.folder).launcher == (
        *("hydra/launcher=joblib", "hydra.launcher.n_jobs=5", "hydra.launcher.threads=2"),
    )
    for more in ((), ("hydra.launcher.n_jobs=7",), ("hydra/launcher=ray",), ("hydra/launcher=basic",), ()):
        resumed = mi_run("-m", f"resume={done.folder}", *more)
        assert resumed.status == 0, resumed.err
    told = [(type(config).__name__, getattr(config, "n_jobs", None)) for config in asked]
    assert told == [
        *(("JoblibLauncher", 5), ("JoblibLauncher", 5), ("JoblibLauncher", 7), ("RayLauncher", None)),
        *(("NoneType", None), ("NoneType", None)),
    ]
