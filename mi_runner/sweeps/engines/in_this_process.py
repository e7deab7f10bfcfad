"""The engine that runs one job after the other in the sweep's own process."""

from __future__ import annotations

from dataclasses import dataclass

from mi_runner.sweeps.engines.engine import OfThisProcess, Running
from mi_runner.sweeps.worker import Ending, Task, run_task


@dataclass(frozen=True)
class HasEnded:
    how: Ending

    def done(self) -> bool:
        return True

    def ending(self) -> Ending:
        return self.how


class InThisProcess(OfThisProcess):
    """One job after the other."""

    slots = 1

    def submit(self, slot: int, task: Task) -> Running:
        return HasEnded(run_task(task))

    def stop(self) -> None:
        """Does nothing: the job was interrupted by what interrupted this process."""

    def close(self) -> None:
        """Does nothing: there is nothing to free."""
