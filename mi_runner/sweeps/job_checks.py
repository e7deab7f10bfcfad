"""What can be checked of a job before the first one runs: why it can't run, and what it costs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from mi_runner.config.composition import flattened
from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import ConfigError, one_line, unknown
from mi_runner.machine import threads
from mi_runner.machine.imports import lasting_imports
from mi_runner.progress import Progress
from mi_runner.runs import expectations
from mi_runner.runs.plan import Job
from mi_runner.sweeps import clean_state
from mi_runner.tables import console

if TYPE_CHECKING:
    from mi_runner.datasets import Dataset

UNCHECKED = ("seed", "device", "threads", "output_dir", "training.learning_rate")
"""Keys whose every value in range can run if one can."""


@dataclass(frozen=True)
class Checked:
    """What can be said of a job before it runs.

    Attributes:
        problem: why it can't run; empty if it can.
        cost: what it costs, where its experiment knows.
    """

    problem: str = ""
    cost: Mapping[str, int] = field(default_factory=dict)


def check_jobs(jobs: Sequence[Job], objective: str | None = None) -> dict[int, Checked]:
    """Returns what can be said of each job before the first one runs, by its number.

    Data set and network are built once for each combination of values that could make a difference.
    """
    if not jobs:  # a typo is answered before torch is imported
        return {}
    threads.let_waiting_threads_sleep()
    with lasting_imports():
        import_module("mi_runner.runs.preparation")  # it imports torch
    clean_state.forget()
    clean_state.begin()
    check = _Check(objective)
    checked: dict[str, Checked] = {}
    found = {}
    began = time.monotonic()
    for job in jobs:
        assert job.config is not None
        flat = flattened(job.config)
        key = json.dumps({name: value for name, value in flat.items() if name not in UNCHECKED}, sort_keys=True)
        if key not in checked:
            if time.monotonic() - began > 10:
                began = time.monotonic()
                console.note(f"checked {len(checked)} combinations, at job {job.number} of {len(jobs)}")
            checked[key] = check(job, job.config)
            clean_state.begin()
        found[job.number] = checked[key]
    return found


class _Check:
    """Checks jobs one after the other; it keeps the data set of the last one, which the next often has, too.

    Args:
        objective: a summary metric that each job must have; None: no job need have one.
    """

    def __init__(self, objective: str | None) -> None:
        self._objective = objective
        self._loaded: tuple[str, Dataset] | None = None

    def __call__(self, job: Job, config: RunConfig) -> Checked:
        """Returns what can be said of a job."""
        try:
            return Checked(cost=self._cost(config))
        except ConfigError as error:
            return Checked(problem=str(error))
        except Exception as error:  # not a mistake of the command; the job itself will say it, in its own folder
            console.note(f"job {job.number} could not be checked: {one_line(error)}")
            return Checked()

    def _cost(self, config: RunConfig) -> dict[str, int]:
        """Returns what a job costs.

        Raises:
            ConfigError: it can't run.
        """
        from mi_runner.runs.choices import experiment_of
        from mi_runner.runs.preparation import prepare

        expected = expectations.parse(config.expect)
        prepared = prepare(config, self._dataset(config), expected, progress=Progress())
        experiment = experiment_of(config.experiment)
        objective = self._objective
        if objective is not None and objective not in (names := experiment.metric_names(prepared.setting)):
            raise ConfigError(f"objective={objective}: {unknown('summary metric', objective, names)}")
        return dict(experiment.cost(prepared.setting))

    def _dataset(self, config: RunConfig) -> Dataset:
        from mi_runner.runs.choices import load_dataset

        flat = flattened(config)
        options = json.dumps([value for name, value in flat.items() if name.startswith("dataset")])
        if self._loaded is None or self._loaded[0] != options:
            self._loaded = options, load_dataset(config.dataset, seed=config.seed)
        return self._loaded[1]
