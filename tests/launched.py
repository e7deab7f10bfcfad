"""Sweeps as processes of their own, on engines that are installed."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mi_runner.runs import states
from mi_runner.sweeps.sweep_plan import read_plan
from tests.conftest import Ended
from tests.forked import Forked

TINY = ("dataset=mod_add", "dataset.train_size=64", "dataset.test_size=32", "training.batch_size=16")


def statuses(folder: Path) -> dict[int, str]:
    return {job.number: states.read_state(folder / str(job.number)).status for job in read_plan(folder).jobs}


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def ended(process: Forked, timeout: float = 120) -> Ended:
    """Waits for it."""
    out, err = process.communicate(timeout)
    assert process.returncode is not None
    return Ended(process.returncode, out, err)


def own_store(folder: Path) -> dict[str, str]:
    """The environment of a command that has a model store of its own, and the compiled kernels of all tests."""
    folder.mkdir(parents=True)
    (folder / "kernels").symlink_to(Path(os.environ["MI_RUN_CACHE"], "kernels"))
    return {"MI_RUN_CACHE": str(folder)}


class Started:
    """A sweep as a process of its own."""

    def __init__(
        self, at: Path, *arguments: str, environment: Mapping[str, str] | None = None, tiny: Sequence[str] = TINY
    ) -> None:
        self.at, self.folder = at, at / "outputs/sweeps/train/v001"
        self.process = Forked("-m", *tiny, *arguments, cwd=at, environment=environment)

    def status(self, job: int) -> str:
        return states.read_state(self.folder / str(job)).status

    def wait_for(self, job: int, *statuses: str) -> dict[str, object]:
        """Until a job has one of these statuses; its run.json."""
        deadline = time.monotonic() + 300
        while self.status(job) not in statuses:
            assert time.monotonic() < deadline, (self.status(job), self.process.poll())
            time.sleep(0.05)
        return json.loads((self.folder / str(job) / "run.json").read_text())

    def ended(self) -> Ended:
        return ended(self.process, timeout=600)
