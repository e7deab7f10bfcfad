"""Tasks of a Ray cluster."""

from __future__ import annotations

import math
import os
import secrets
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from typing import Any

from mi_runner import machine
from mi_runner.config.engine_schemas import RayLauncher
from mi_runner.errors import RunFailed, one_line
from mi_runner.sweeps.engines.engine import Running, ending_of, shares, wait_for
from mi_runner.sweeps.worker import Ending, Task, Worker, run_task


class _RayTask:
    def __init__(self, ray: Any, reference: Any) -> None:
        self.ray, self.reference = ray, reference

    def done(self) -> bool:
        return bool(self.ray.wait([self.reference], timeout=0)[0])

    def ending(self) -> Ending:
        return ending_of(lambda: self.ray.get(self.reference))


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
        wait_for(self._tasks)
        self.close()

    def close(self) -> None:
        self.ray.shutdown()
