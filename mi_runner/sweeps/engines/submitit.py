"""Each job a process of its own, here or in Slurm's queue, by submitit."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from mi_runner import machine
from mi_runner.config.engine_schemas import LauncherConfig, SubmititLocalLauncher, SubmititSlurmLauncher
from mi_runner.errors import ConfigError, one_line
from mi_runner.sweeps.engines.engine import Running, ending_of, shares, spread, wait_for
from mi_runner.sweeps.worker import Ending, Task, Worker, run_task, run_task_seeing


def executor_in(config: LauncherConfig, folder: Path) -> Any:
    """Submitit's executor, whose files will be in `folder`."""
    cluster = "slurm" if isinstance(config, SubmititSlurmLauncher) else "local"
    try:
        return import_module("submitit").AutoExecutor(folder=folder, cluster=cluster)
    except RuntimeError as error:  # there is no sbatch
        raise ConfigError(
            f"hydra/launcher={config.name}: {one_line(error)} hydra/launcher=submitit_local runs here."
        ) from error


class _SubmititJob:
    def __init__(self, job: Any) -> None:
        self.job = job

    def done(self) -> bool:
        return bool(self.job.done())

    def ending(self) -> Ending:
        return ending_of(self.job.result)


class Submitit:
    """Each job a process of its own, here or in Slurm's queue, by submitit; its files are in `.submitit`."""

    def __init__(self, config: LauncherConfig, n_jobs: int, devices: int, sweep: Path) -> None:
        self.executor = executor_in(config, (sweep / ".submitit").resolve())
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

        wait_for(self._jobs, meanwhile=end)

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
