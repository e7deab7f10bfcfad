"""Where the jobs of a sweep run: in this process, in workers on this machine, on a Slurm or Ray cluster.

An engine takes a task for a free slot and says when it has ended. What became of a job is never the engine's to say:
its run.json does. Each slot has its own worker, so where one is killed it is known which job died, and no other does.

Nothing here imports torch before a worker has its environment.
"""

from __future__ import annotations

import math
import os
import secrets
import signal
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from mi_runner import console, machine, progress, signals, threads
from mi_runner.config.engine_schemas import (
    JoblibLauncher,
    LauncherConfig,
    RayLauncher,
    SubmititLocalLauncher,
    SubmititSlurmLauncher,
)
from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import ConfigError, ExitStatus, RunFailed, Terminated, exit_status, one_line
from mi_runner.runs import run_folder
from mi_runner.sweeps import clean_state

SECONDS_TO_END = 30.0
"""How long jobs that are interrupted have to say so in their run.json."""

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
        parent: the process whose end ends it; None for a cluster's, whose jobs go on.
    """

    folder: str
    threads: int | None = None
    cuda: str | None = None
    parent: int | None = None


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
    """

    error: str = ""
    worker_died: bool = False


class Running(Protocol):
    """A task that was handed over."""

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""

    def ending(self) -> Ending:
        """How it ended."""


class Engine(Protocol):
    """Something that runs tasks, at most one in each slot.

    Attributes:
        slots: how many at once.
    """

    slots: int

    def submit(self, slot: int, task: Task) -> Running:
        """Begin a task."""

    def stop(self) -> None:
        """End what is running; its jobs say in their run.json that they were interrupted, if they can."""

    def close(self) -> None:
        """Give everything back; nothing is running."""


# --- a job, in whatever process ------------------------------------------------------------------------------------


def run_task(task: Task) -> Ending:
    """Run a job in a clean state. In the sweep's own process an interruption goes on to the sweep."""
    if task.worker is None:
        return _run(task, console.Progress())
    _settle_in(task.worker)
    try:
        with signals.raised():
            return _run(task, progress.Progress())
    except (Exception, KeyboardInterrupt, Terminated) as error:  # what the engine raises is then always its own word
        return Ending(one_line(error))


def run_task_seeing(task: Task, cuda: str | None) -> Ending:
    """As `run_task`, with these CUDA devices; None for all.

    Submitit's local jobs would see the devices that its own option numbers; but devices have names, too.
    """
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if cuda is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = cuda
    return run_task(task)


def _run(task: Task, reporting: progress.Progress) -> Ending:
    from mi_runner.runs import runner  # imports torch

    clean_state.begin()
    with console.as_job(task.number):
        try:
            task.folder.mkdir(parents=True, exist_ok=True)
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
    """A run.json that says how the job ended, where it could not say so itself; nothing, if the disk refuses."""
    with suppress(OSError):
        task.folder.mkdir(parents=True, exist_ok=True)
        earlier = run_folder.read_record(task.folder) or {"command": task.command}
        record = {**earlier, "status": status, "error": error, "exit_status": int(exit_status)}
        run_folder.RunFolder(task.folder).write_record(record)


_settled = False


def _settle_in(worker: Worker) -> None:
    """What a new worker process does first: threads and devices must be set before torch is imported."""
    global _settled
    os.chdir(worker.folder)
    if _settled:
        return
    _settled = True
    if worker.threads is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ[name] = str(worker.threads)
    if worker.cuda is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = worker.cuda
    threads.let_waiting_threads_sleep()
    if worker.parent is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear: it ends us by SIGTERM
        threading.Thread(target=_end_with, args=(worker.parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process once its parent is gone: nobody waits for the job, and a resumed sweep runs it again."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_END)  # for the job to say that it was interrupted
    os._exit(ExitStatus.TERMINATED)


# --- engines -------------------------------------------------------------------------------------------------------


LIBRARIES = {
    "joblib": "joblib.externals.loky",
    "submitit_local": "submitit",
    "submitit_slurm": "submitit",
    "ray": "ray",
}
"""Launcher → the module that its engine is made of."""


def check(config: LauncherConfig | None) -> None:
    """What an engine is made of is there; this makes no file.

    Raises:
        ConfigError: its library is not installed, or Slurm is not on this machine.
    """
    if config is None:
        return
    try:
        missing = find_spec(LIBRARIES[config.name]) is None
    except ImportError:  # of a package that would hold it
        missing = True
    if missing:
        raise _not_installed(config, f"no module named {LIBRARIES[config.name]}")
    if isinstance(config, SubmititSlurmLauncher):
        _submitit_executor(config, Path())


def _not_installed(config: LauncherConfig, why: object) -> ConfigError:
    return ConfigError(
        f"hydra/launcher={config.name} needs a library that is not installed ({why}): "
        f"type pip install 'mi-run[{config.extra}]'."
    )


def _submitit_executor(config: LauncherConfig, folder: Path) -> Any:
    """Submitit's executor, whose files will be in `folder`."""
    cluster = "slurm" if isinstance(config, SubmititSlurmLauncher) else "local"
    try:
        return import_module("submitit").AutoExecutor(folder=folder, cluster=cluster)
    except RuntimeError as error:  # there is no sbatch
        raise ConfigError(
            f"hydra/launcher={config.name}: {one_line(error)} hydra/launcher=submitit_local runs here."
        ) from error


def start(config: LauncherConfig | None, n_jobs: int, devices: int, sweep: Path) -> Engine:
    """The engine that a config asks for.

    Args:
        n_jobs: jobs that there are to run.
        devices: CUDA devices of this machine that jobs may be spread over.
        sweep: the sweep's folder; an engine may keep files of its own in it.

    Raises:
        ConfigError: its library is not installed.
        RunFailed: it can't be started.
    """
    if config is None:
        return InThisProcess()
    try:
        if isinstance(config, JoblibLauncher):
            return Loky(config, n_jobs, devices)
        if isinstance(config, RayLauncher):
            return Ray(config, n_jobs)
        assert isinstance(config, SubmititLocalLauncher | SubmititSlurmLauncher)
        return Submitit(config, n_jobs, devices, sweep)
    except ImportError as error:
        raise _not_installed(config, error) from error


def shares(config: LauncherConfig, n_jobs: int, cores: int) -> tuple[int, int]:
    """Jobs at once, and CPU threads of each."""
    slots = config.n_jobs or max(1, min(cores, n_jobs))
    return slots, config.threads or max(1, cores // slots)


def spread(slot: int, devices: int) -> str | None:
    """The CUDA device that the worker of a slot sees; None where there is nothing to spread over."""
    if devices < 1:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(devices)]
    return names[slot % len(names)].strip()


def _wait_for(jobs: Collection[Any], meanwhile: Callable[[Any], None] = lambda job: None) -> None:
    """Until all these are `done()`, or had their time to end; what is to be done to each that isn't."""
    ends = time.monotonic() + SECONDS_TO_END
    while (left := [job for job in jobs if not job.done()]) and time.monotonic() < ends:
        for job in left:
            meanwhile(job)
        time.sleep(0.2)


@dataclass(frozen=True)
class _Ended:
    how: Ending

    def done(self) -> bool:
        return True

    def ending(self) -> Ending:
        return self.how


class InThisProcess:
    """One job after the other."""

    slots = 1

    def submit(self, slot: int, task: Task) -> Running:
        return _Ended(run_task(task))

    def stop(self) -> None:
        """The job was interrupted by what interrupted us."""

    def close(self) -> None:
        """There is nothing to give back."""


def _ending(result: Callable[[], Ending]) -> Ending:
    """What the worker gave back, or the engine's word that it gave nothing back."""
    try:
        return result()
    except Exception as error:
        return Ending(one_line(error), worker_died=True)


class _Future:
    """A job of loky."""

    def __init__(self, future: Any) -> None:
        self.future = future

    def done(self) -> bool:
        return bool(self.future.done())

    def ending(self) -> Ending:
        return _ending(self.future.result)


class Loky:
    """Worker processes on this machine, by joblib's loky: a pool of one worker for each slot."""

    def __init__(self, config: LauncherConfig, n_jobs: int, devices: int) -> None:
        self._pools = import_module("joblib.externals.loky")
        self.slots, self.threads = shares(config, n_jobs, machine.n_cores())
        self.devices = devices
        self._executors: dict[int, Any] = {}
        self._pids: dict[int, Any] = {}
        self._running: dict[int, Any] = {}
        self._folders: dict[int, Path] = {}

    def submit(self, slot: int, task: Task) -> Running:
        self._folders[slot] = task.folder
        place = Worker(os.getcwd(), self.threads, spread(slot, self.devices), parent=os.getpid())
        handed = replace(task, worker=place)
        try:
            self._running[slot] = self._pool(slot).submit(run_task, handed)
        except BrokenExecutor:  # its worker died, at the last job or since then
            self._executors.pop(slot).shutdown(wait=False, kill_workers=True)
            self._running[slot] = self._pool(slot).submit(run_task, handed)
        return _Future(self._running[slot])

    def _pool(self, slot: int) -> Any:
        if slot not in self._executors:
            self._executors[slot] = self._pools.ProcessPoolExecutor(max_workers=1)
            self._pids[slot] = self._executors[slot].submit(os.getpid)
        return self._executors[slot]

    def stop(self) -> None:
        for slot, future in self._running.items():
            if not future.done() and self._pids[slot].done():
                # The run knows best: loky replaces a worker whose memory has grown.
                record = run_folder.read_record(self._folders[slot]) or {}
                with suppress(Exception):  # it may just have died
                    os.kill(record.get("pid") or self._pids[slot].result(), signal.SIGTERM)
        _wait_for(self._running.values())
        for executor in self._executors.values():
            executor.shutdown(wait=False, kill_workers=True)

    def close(self) -> None:
        for executor in self._executors.values():
            executor.shutdown(wait=True)


class _SubmititJob:
    def __init__(self, job: Any) -> None:
        self.job = job

    def done(self) -> bool:
        return bool(self.job.done())

    def ending(self) -> Ending:
        return _ending(self.job.result)


class Submitit:
    """Each job a process of its own, here or in Slurm's queue, by submitit; its files are in `.submitit`."""

    def __init__(self, config: LauncherConfig, n_jobs: int, devices: int, sweep: Path) -> None:
        self.executor = _submitit_executor(config, (sweep / ".submitit").resolve())
        self.slots, self.threads = shares(config, n_jobs, machine.n_cores())
        self.local = isinstance(config, SubmititLocalLauncher)
        self.devices = devices
        self._jobs: list[Any] = []
        if isinstance(config, SubmititSlurmLauncher):
            self.slots = config.n_jobs or n_jobs
            asked = {
                "timeout_min": config.timeout_min,
                "cpus_per_task": self.threads,
                "mem_gb": config.mem_gb,
                "gpus_per_node": config.gpus,
                "slurm_partition": config.partition,
                "slurm_account": config.account,
                "slurm_additional_parameters": dict(config.more) if config.more else None,
            }
        else:
            assert isinstance(config, SubmititLocalLauncher)
            asked = {"timeout_min": config.timeout_min}
        self.executor.update_parameters(**{name: value for name, value in asked.items() if value is not None})

    def submit(self, slot: int, task: Task) -> Running:
        handed = replace(task, worker=Worker(os.getcwd(), self.threads))
        with _children_deaf_to_ctrl_c():
            if self.local:
                cuda = spread(slot, self.devices) or os.environ.get("CUDA_VISIBLE_DEVICES")
                job = self.executor.submit(run_task_seeing, handed, cuda)
            else:
                job = self.executor.submit(run_task, handed)
        self._jobs = [*(earlier for earlier in self._jobs if not earlier.done()), job]
        return _SubmititJob(job)

    def stop(self) -> None:
        def end(job: Any) -> None:
            if not self.local:
                job.cancel(check=False)
            else:  # its controller hands the signal on, once it listens
                with suppress(ProcessLookupError):
                    os.kill(int(job.job_id), signal.SIGTERM)

        _wait_for(self._jobs, meanwhile=end)

    def close(self) -> None:
        """Submitit keeps nothing."""


@contextmanager
def _children_deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started within the block ignore SIGINT, which a terminal sends to all: we end them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _RayTask:
    def __init__(self, ray: Any, reference: Any) -> None:
        self.ray, self.reference = ray, reference

    def done(self) -> bool:
        return bool(self.ray.wait([self.reference], timeout=0)[0])

    def ending(self) -> Ending:
        return _ending(lambda: self.ray.get(self.reference))


class Ray:
    """Tasks of a Ray cluster, or of one that is started here for as long as the sweep lasts."""

    def __init__(self, config: RayLauncher, n_jobs: int) -> None:
        started_here = config.address is None
        # Ray reads these when it is imported.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if started_here and "RAY_AUTH_MODE" not in os.environ:
            # Nobody else may use it; a token that Ray makes itself stays in ~/.ray.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.ray = import_module("ray")
        where: Mapping[str, Any] = {"address": config.address}
        if started_here:
            where = {"address": "local", "num_cpus": machine.n_cores(), "include_dashboard": False}
        on_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            self.ray.init(**where, log_to_driver=False, logging_level="ERROR")
        except Exception as error:
            what = "can't start Ray here" if started_here else f"hydra.launcher.address={config.address}"
            raise RunFailed(f"{what}: {one_line(error)}") from error
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own in its place, which ends us without a word
        has = self.ray.cluster_resources()
        self.slots, self.threads = shares(config, n_jobs, max(1, int(has.get("CPU", 1))))
        gpus = has.get("GPU", 0.0) / self.slots if config.gpus is None else config.gpus
        gpus = float(math.floor(gpus)) if gpus >= 1 else gpus  # Ray gives parts of one, or whole ones
        # A job that died is not tried again behind our back: it may have died of itself.
        self._run = self.ray.remote(num_cpus=self.threads, num_gpus=gpus, max_retries=0)(run_task)
        self._tasks: list[_RayTask] = []

    def submit(self, slot: int, task: Task) -> Running:
        place = Worker(os.getcwd(), self.threads)
        handed = _RayTask(self.ray, self._run.remote(replace(task, worker=place)))
        self._tasks = [*(earlier for earlier in self._tasks if not earlier.done()), handed]
        return handed

    def stop(self) -> None:
        for task in self._tasks:
            with suppress(Exception):
                self.ray.cancel(task.reference)  # raises KeyboardInterrupt in it
        _wait_for(self._tasks)
        self.close()

    def close(self) -> None:
        self.ray.shutdown()
