"""What can be checked of a job before the first one runs: why it can't run, and what it costs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from mi_runner.config.composition import flattened
from mi_runner.errors import ConfigError, one_line, unknown
from mi_runner.machine import threads
from mi_runner.machine.imports import lasting_imports
from mi_runner.progress import Progress
from mi_runner.runs.plan import Job
from mi_runner.sweeps import clean_state
from mi_runner.tables import console

UNCHECKED = ("seed", "device", "threads", "output_dir", "training.learning_rate")
"""Keys whose every value in range can run if one can."""


def check_jobs(jobs: Sequence[Job], objective: str | None = None) -> tuple[dict[int, str], dict[int, dict[str, int]]]:
    """Returns by job number why a job can't run, and what it costs if its experiment knows.

    Data set and network are built once for each combination of values that could make a difference.
    """
    if not jobs:  # a typo is answered before torch is imported
        return {}, {}
    threads.let_waiting_threads_sleep()
    with lasting_imports():
        from mi_runner.runs import expectations, preparation
        from mi_runner.runs.choices import experiment_of, load_dataset

    clean_state.forget()
    clean_state.begin()
    problems: dict[int, str] = {}
    costs: dict[int, dict[str, int]] = {}
    checked: dict[str, tuple[str, dict[str, int]]] = {}
    loaded: tuple[str, Any] | None = None
    began = time.monotonic()
    for job in jobs:
        config = job.config
        assert config is not None
        flat = flattened(config)
        key = json.dumps({name: value for name, value in flat.items() if name not in UNCHECKED}, sort_keys=True)
        if key not in checked:
            if time.monotonic() - began > 10:
                began = time.monotonic()
                console.note(f"checked {len(checked)} combinations, at job {job.number} of {len(jobs)}")
            problem = ""
            cost: dict[str, int] = {}
            try:
                of_data = json.dumps([value for name, value in flat.items() if name.startswith("dataset")])
                if loaded is None or loaded[0] != of_data:
                    loaded = of_data, load_dataset(config.dataset, seed=config.seed)
                setting = preparation.prepare(
                    config,
                    loaded[1],
                    expectations.parse(config.expect),
                    progress=Progress(),
                ).setting
                experiment = experiment_of(config.experiment)
                if objective is not None and objective not in (names := experiment.metric_names(setting)):
                    raise ConfigError(f"objective={objective}: {unknown('summary metric', objective, names)}")
                cost = dict(experiment.cost(setting))
            except ConfigError as error:
                problem = str(error)
            except Exception as error:  # not a mistake of the command; the job itself will say it, in its own folder
                console.note(f"job {job.number} could not be checked: {one_line(error)}")
            checked[key] = problem, cost
            clean_state.begin()
        problem, cost = checked[key]
        if problem:
            problems[job.number] = problem
        else:
            costs[job.number] = cost
    return problems, costs
