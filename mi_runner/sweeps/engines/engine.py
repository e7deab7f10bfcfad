"""What an engine is: something that runs the tasks of a sweep; and how the cores and devices are divided."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mi_runner.config.engine_schemas import LauncherConfig
from mi_runner.errors import RunFailed, one_line
from mi_runner.machine import private
from mi_runner.sweeps.worker import SECONDS_TO_END, Ending, Task


class NotNow(Exception):
    """An engine takes no task for now; its text says why. The same task may be taken later."""


class Running(Protocol):
    """A task that was submitted."""

    def done(self) -> bool:
        """Returns whether it has ended, in any way."""

    def ending(self) -> Ending:
        """Returns how it ended."""


@dataclass(frozen=True)
class Earlier:
    """What an engine knows of a task that another process submitted.

    Attributes:
        running: the task, if it waits or runs still.
        is_over: whether it is known that it neither waits nor runs.
        what: its name in messages.
    """

    running: Running | None = None
    is_over: bool = False
    what: str = ""


class OfThisProcess:
    """What engines share if only the process that submitted a task knows it."""

    def earlier(self, task: Task) -> Earlier:
        """Returns that nothing is known."""
        return Earlier()

    def waiting(self) -> str:
        """Returns an empty text: there is room for a task in each slot."""
        return ""

    def cancel(self, running: Sequence[Running]) -> None:
        """Does nothing, because `earlier` returned nothing."""


class Engine(Protocol):
    """Something that runs tasks, at most one in each slot.

    Attributes:
        slots: how many at once.
    """

    slots: int

    def submit(self, slot: int, task: Task) -> Running:
        """Begins a task.

        Raises:
            NotNow: it takes none for now.
        """

    def earlier(self, task: Task) -> Earlier:
        """Returns what the engine knows of a task that an earlier process submitted.

        Raises:
            NotNow: it can't be known for now.
        """

    def waiting(self) -> str:
        """Returns in one line which tasks wait, and why; empty if none does, or nothing is known of it."""

    def cancel(self, running: Sequence[Running]) -> None:
        """Ends what `earlier` returned, and waits until it has ended."""

    def stop(self) -> None:
        """Ends what is running; its jobs write in their run.json that they were interrupted, if they can."""

    def close(self) -> None:
        """Frees everything that the engine holds; nothing is running."""


def shares(config: LauncherConfig, n_jobs: int, cores: int) -> tuple[int, int]:
    """Returns the number of jobs at once, and of CPU threads of each."""
    slots = config.n_jobs or max(1, min(cores, n_jobs))
    return slots, config.threads or max(1, cores // slots)


def spread(slot: int, devices: int) -> str | None:
    """Returns the CUDA device that the worker of a slot sees; None if there is nothing to spread over."""
    if devices < 1:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(devices)]
    return names[slot % len(names)].strip()


def make_private(folder: Path) -> None:
    """Makes a folder of a sweep for what its jobs are given: pickles, which run code when they are read.

    Raises:
        RunFailed: another user owns or can write it.
    """
    try:
        folder.mkdir(private.FOLDER, exist_ok=True)
        private.check(folder)
    except private.NotPrivate as error:
        remedy = f"Type rm -r {folder}" if error.is_own else "Type a sweep of your own, with another output_dir"
        raise RunFailed(f"{error}; jobs that are kept there could run code as you. {remedy}.") from error


def wait_for(jobs: Collection[Any], meanwhile: Callable[[Any], None] = lambda job: None) -> None:
    """Waits until all these are `done()` or had their time to end, and calls `meanwhile` with those that aren't."""
    ends = time.monotonic() + SECONDS_TO_END
    while (left := [job for job in jobs if not job.done()]) and time.monotonic() < ends:
        for job in left:
            meanwhile(job)
        time.sleep(0.2)


def ending_of(result: Callable[[], Ending]) -> Ending:
    """Returns what the worker returned, or the engine's word that it returned nothing."""
    try:
        return result()
    except Exception as error:
        return Ending(one_line(error), worker_died=True)
