"""Runs each job in a process of its own on this machine, by submitit."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from mi_runner.config.engine_schemas import SubmititLocalLauncher
from mi_runner.machine import hardware
from mi_runner.machine.imports import safe_path
from mi_runner.sweeps.engines.engine import OfThisProcess, Running, ending_of, make_private, shares, spread, wait_for
from mi_runner.sweeps.worker import Ending, Task, Worker, run_task_seeing

MINUTES_TO_END = 2
"""Above a job's own time limit, in which submitit leaves it alone."""


class _SubmititJob:
    def __init__(self, job: Any) -> None:
        self.job = job

    def done(self) -> bool:
        return bool(self.job.done())

    def ending(self) -> Ending:
        return ending_of(self.job.result)


class Submitit(OfThisProcess):
    """A process on this machine for each job, by submitit; its files are in `.submitit`."""

    def __init__(self, config: SubmititLocalLauncher, n_jobs: int, devices: int, sweep: Path) -> None:
        folder = (sweep / ".submitit").resolve()
        make_private(folder)  # jobs and their results are pickles, which can run code
        self.executor = import_module("submitit").AutoExecutor(folder=folder, cluster="local")
        self.slots, self.threads = shares(config, n_jobs, hardware.n_cores())
        self.devices, self.minutes = devices, config.timeout_min
        self._jobs: list[Any] = []
        # Submitit ends a job before its time, and takes the job's own word for it; so the job ends itself.
        self.executor.update_parameters(timeout_min=config.timeout_min + MINUTES_TO_END)

    def submit(self, slot: int, task: Task) -> Running:
        worker = Worker(os.getcwd(), self.threads, minutes=self.minutes)
        cuda = spread(slot, self.devices) or os.environ.get("CUDA_VISIBLE_DEVICES")
        with _children_deaf_to_ctrl_c(), safe_path():
            job = self.executor.submit(run_task_seeing, replace(task, worker=worker), cuda)
        self._jobs = [*(earlier for earlier in self._jobs if not earlier.done()), job]
        return _SubmititJob(job)

    def stop(self) -> None:
        def end(job: Any) -> None:
            # Its controller, by submitit's own handle, hands the signal on, once it listens.
            job._process.send_signal(signal.SIGTERM)

        wait_for(self._jobs, meanwhile=end)

    def close(self) -> None:
        """Does nothing: Submitit keeps nothing."""


@contextmanager
def _children_deaf_to_ctrl_c() -> Iterator[None]:
    """Makes processes that are started within the block ignore SIGINT, which a terminal sends to all: we end them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
