"""The bounds that the jobs of a sweep were given, met or not, as one file of JUnit XML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mi_runner.errors import ConfigError
from mi_runner.runs import expectations
from mi_runner.runs.expectations import Expectation
from mi_runner.runs.junit import Case
from mi_runner.runs.plan import named
from mi_runner.runs.run_folder import EXPECTATIONS, RunFolder
from mi_runner.sweeps.sweep_tables import Ended

SUITE = "mi-run -m expect"


def write(folder: Path, jobs: Sequence[Ended]) -> None:
    """Writes a test case for each bound of each job; without bounds there is no file.

    Raises:
        OSError: the folder can't be written.
    """
    if cases := cases_of(jobs):
        RunFolder(folder).write_expectations(SUITE, cases)
        return
    with suppress(FileNotFoundError):
        (folder / EXPECTATIONS).unlink()


def cases_of(jobs: Sequence[Ended]) -> list[Case]:
    """Returns a test case for each bound of each job; all of those of a job that isn't done fail."""
    bounds = {one.job.number: _bounds(one) for one in jobs}
    every = list(dict.fromkeys(bound for of_job in bounds.values() for bound in of_job))
    found: list[Case] = []
    for one in jobs:
        expected, group = bounds[one.job.number], named(one.job.swept)
        if one.state.done:
            # A number that isn't finite is null in run.json.
            numbers = {name: math.nan if value is None else value for name, value in one.state.record.metrics.items()}
            cases = expectations.cases(expected, numbers, group)
            # An experiment may have bounds of its own, which no config names.
            said = {case.failure for case in cases}
            others = [line for line in one.state.record.expect_not_met or () if line not in said]
            found += [*cases, *(Case(f"expectation {number}", group, line) for number, line in enumerate(others, 1))]
        else:
            why = f"job {one.job.number} is not done ({one.state.cause or one.state.status})"
            found += [Case(str(bound), group, failure=why) for bound in expected or every]
    return found


def _bounds(job: Ended) -> list[Expectation]:
    try:
        return expectations.parse((job.state.record.config or {}).get("expect"))
    except ConfigError:  # a file that mi-run didn't write
        return []
