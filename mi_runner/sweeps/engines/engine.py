"""What an engine is: something that runs the tasks of a sweep; and how the cores and devices are divided."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

from mi_runner.config.engine_schemas import LauncherConfig
from mi_runner.errors import one_line
from mi_runner.sweeps.worker import SECONDS_TO_END, Ending, Task


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


def wait_for(jobs: Collection[Any], meanwhile: Callable[[Any], None] = lambda job: None) -> None:
    """Until all these are `done()`, or had their time to end; what is to be done to each that isn't."""
    ends = time.monotonic() + SECONDS_TO_END
    while (left := [job for job in jobs if not job.done()]) and time.monotonic() < ends:
        for job in left:
            meanwhile(job)
        time.sleep(0.2)


def ending_of(result: Callable[[], Ending]) -> Ending:
    """What the worker gave back, or the engine's word that it gave nothing back."""
    try:
        return result()
    except Exception as error:
        return Ending(one_line(error), worker_died=True)
