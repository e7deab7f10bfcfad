"""Worker processes on this machine, by joblib's loky."""

from __future__ import annotations

import os
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from typing import Any

from mi_runner.config.engine_schemas import JoblibLauncher
from mi_runner.machine import hardware
from mi_runner.machine.imports import SAFE_PATH, safe_path
from mi_runner.sweeps.engines.engine import OfThisProcess, Running, ending_of, shares, spread, wait_for
from mi_runner.sweeps.worker import Ending, Task, Worker, run_task


class _Future:
    """A job of loky."""

    def __init__(self, future: Any) -> None:
        self.future = future

    def done(self) -> bool:
        return bool(self.future.done())

    def ending(self) -> Ending:
        return ending_of(self.future.result)


class Loky(OfThisProcess):
    """Worker processes on this machine, by joblib's loky: a pool of one worker for each slot."""

    def __init__(self, config: JoblibLauncher, n_jobs: int, devices: int) -> None:
        self._pools = import_module("joblib.externals.loky")
        self.slots, self.threads = shares(config, n_jobs, hardware.n_cores())
        self.devices = devices
        self._executors: dict[int, Any] = {}
        self._running: dict[int, Any] = {}

    def submit(self, slot: int, task: Task) -> Running:
        place = Worker(os.getcwd(), self.threads, spread(slot, self.devices), parent=os.getpid())
        handed = replace(task, worker=place)
        with safe_path():
            try:
                self._running[slot] = self._pool(slot).submit(run_task, handed)
            except BrokenExecutor:  # its worker died, at the last job or since then
                self._executors.pop(slot).shutdown(wait=False, kill_workers=True)
                self._running[slot] = self._pool(slot).submit(run_task, handed)
        return _Future(self._running[slot])

    def _pool(self, slot: int) -> Any:
        if slot not in self._executors:
            # A worker whose memory has grown is replaced later, by a thread of loky's.
            self._executors[slot] = self._pools.ProcessPoolExecutor(max_workers=1, env={SAFE_PATH: "1"})
        return self._executors[slot]

    def stop(self) -> None:
        for slot, future in self._running.items():
            if future.done():
                continue
            # Those that loky has started, by its own handles: what a run.json says may be anybody's process.
            for process in list((self._executors[slot]._processes or {}).values()):
                with suppress(OSError):  # it may just have died
                    process.terminate()
        wait_for(self._running.values())
        for executor in self._executors.values():
            executor.shutdown(wait=False, kill_workers=True)

    def close(self) -> None:
        for executor in self._executors.values():
            executor.shutdown(wait=True)
