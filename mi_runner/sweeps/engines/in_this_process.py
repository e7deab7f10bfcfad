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
        """The job was interrupted by what interrupted us."""

    def close(self) -> None:
        """There is nothing to give back."""
