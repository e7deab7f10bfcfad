"""One job of a sweep in the process that runs it: in a clean state, with the threads and devices that it was given.

Nothing here imports torch before a worker has its environment.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mi_runner import progress
from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import ConfigError, ExitStatus, RunFailed, Terminated, exit_status, one_line
from mi_runner.machine import memory, signals, streams, threads
from mi_runner.machine.imports import SAFE_PATH, folder_last, lasting_imports, restore_safe_path
from mi_runner.runs import liveness, run_folder
from mi_runner.sweeps import clean_state
from mi_runner.tables import console

SECONDS_TO_END = 30.0
"""How long jobs that are interrupted have to say so in their run.json."""

SECONDS_TO_BEGIN = 15.0
"""What a process needs at most to start, of the time that a cluster gives its job."""

TIMED_OUT = "timed out"

SECONDS_BETWEEN_LOOKS = 1.0
"""How often a worker looks whether the process that started it is still there."""


@dataclass(frozen=True)
class Worker:
    """The place of a process that works for a sweep.

    Attributes:
        folder: the working directory of the sweep; the names of files are relative to it.
        threads: CPU threads of work whose figures don't depend on their number: the compiled kernels. None leaves them.
            Torch computes with as many as the job's config says, wherever it runs.
        cuda: the CUDA devices that it sees; None leaves them.
        parent: the process after whose end this one ends; None on a cluster, where jobs go on.
        minutes: after which the job ends itself, and says so; None for no limit.
        safe_path: what the variable `imports.SAFE_PATH` is for processes that the job itself starts.
    """

    folder: str
    threads: int | None = None
    cuda: str | None = None
    parent: int | None = None
    minutes: float | None = None
    safe_path: str | None = field(default_factory=partial(os.environ.get, SAFE_PATH))


@dataclass(frozen=True)
class Task:
    """A job as it is handed to a worker.

    Attributes:
        number: the job's.
        folder: its run folder.
        config: what to run.
        command: the same as a command line, for the record.
        worker: None in the sweep's own process.
    """

    number: int
    folder: Path
    config: RunConfig
    command: str
    worker: Worker | None = None


@dataclass(frozen=True)
class Ending:
    """How a task ended, as its worker says.

    Attributes:
        error: what went wrong in one line; empty where nothing did.
        worker_died: whether it is the engine that says so, because the worker is gone.
        status: what the engine knows of a worker that is gone: cancelled, killed, timed out, out of memory or failed;
            empty where it knows no more than that.
        folder_taken: whether another process has the job's folder, so that this one left it alone.
    """

    error: str = ""
    worker_died: bool = False
    status: str = ""
    folder_taken: bool = False


def run_task(task: Task) -> Ending:
    """Runs a job in a clean state. In the sweep's own process an interruption goes on to the sweep."""
    if task.worker is None:
        return _run(task, console.Bars())
    _settle_in(task.worker)
    limit = _Limit(task.worker.minutes)
    try:
        with signals.raised(), limit.kept():
            return _run(task, progress.Progress())
    except (Exception, KeyboardInterrupt, Terminated) as error:  # so an error of the engine is always its own
        if isinstance(error, Terminated) and limit.is_over():
            write_ending(task, TIMED_OUT, limit.text)
            return Ending(limit.text, status=TIMED_OUT)
        return Ending(one_line(error))


class _Limit:
    """The time that a job has. The job ends itself, so that it has all of it, and time to write what it has."""

    def __init__(self, minutes: float | None) -> None:
        self.minutes, self.began = minutes, time.monotonic()
        self.text = f"it took longer than hydra.launcher.timeout_min={minutes:g}" if minutes is not None else ""

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Sends this process SIGTERM when the time is over, within the block."""
        if self.minutes is None:
            yield
            return
        timer = threading.Timer(60 * self.minutes, os.kill, (os.getpid(), signal.SIGTERM))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def is_over(self) -> bool:
        """Returns whether the time is over; a cluster counts from shortly before this process began."""
        return self.minutes is not None and time.monotonic() - self.began > 60 * self.minutes - SECONDS_TO_BEGIN


def run_task_seeing(task: Task, cuda: str | None) -> Ending:
    """Runs a job as `run_task` does, with these CUDA devices; None for all.

    Submitit's local jobs would see the devices that its own option numbers; but devices have names, too.
    """
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if cuda is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = cuda
    return run_task(task)


def _run(task: Task, reporting: progress.Progress) -> Ending:
    with lasting_imports():
        from mi_runner.runs import runner  # imports torch

    clean_state.begin()
    with console.as_job(task.number):
        try:
            # mkdir of a folder that must not exist is the one step that two processes, on any hosts, can't both
            # succeed in: a job's folder has one writer.
            task.folder.mkdir(parents=True)
        except FileExistsError:
            return Ending(f"{task.folder} has another writer", folder_taken=True)
        except OSError as error:
            return Ending(one_line(error))
        try:
            with liveness.signs_of_life(task.folder):
                runner.run(task.config, folder=task.folder, command=task.command, progress=reporting)
        except Exception as error:
            if run_folder.read_record(task.folder) is None:  # it failed before the run began
                if not isinstance(error, ConfigError | RunFailed | OSError):
                    run_folder.RunFolder(task.folder).log.write_text(traceback.format_exc(), encoding="utf-8")
                write_ending(task, "failed", one_line(error), exit_status(error))
            return Ending(one_line(error))
        finally:
            clean_state.begin()  # who looks at the job's folder is where the sweep began
    return Ending()


def write_ending(task: Task, status: str, error: str, exit_status: int = ExitStatus.FAILED) -> None:
    """Writes how the job ended to its run.json if the job could not; nothing, if the disk refuses."""
    with suppress(OSError):
        task.folder.mkdir(parents=True, exist_ok=True)
        began = run_folder.read_record(task.folder) is not None
        told = {"status": status, "error": error, "exit_status": int(exit_status)}
        run_folder.RunFolder(task.folder).amend_record(**({} if began else {"command": task.command}), **told)


_settled = False


def _settle_in(worker: Worker) -> None:
    """Sets threads and devices, which a new worker process must do before torch is imported."""
    global _settled
    os.chdir(worker.folder)
    if _settled:
        return
    _settled = True
    streams.prepare()
    folder_last(worker.folder)
    restore_safe_path(worker.safe_path)
    if worker.threads is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ[name] = str(worker.threads)
    if worker.cuda is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = worker.cuda
    threads.let_waiting_threads_sleep()
    memory.take_large_pages()
    if worker.parent is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C: it sends SIGTERM
        threading.Thread(target=_end_with, args=(worker.parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends this process after its parent is gone: nobody waits for the job, and a resumed sweep runs it again."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_END)  # for the job to say that it was interrupted
    os._exit(ExitStatus.TERMINATED)
