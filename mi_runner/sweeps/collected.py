"""All that the folders of a sweep's jobs say, each table read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mi_runner.runs.plan import Plan
from mi_runner.sweeps import wholes
from mi_runner.sweeps.sweep_tables import Ended, Row, all_rows, ended, summary
from mi_runner.tables.over_seeds import Summed


@dataclass(frozen=True)
class Collected:
    """All that the folders of a sweep's jobs say.

    Attributes:
        plan: of the sweep.
        folder: the sweep's.
        jobs: what became of each.
        rows: of sweep.csv.
        counted: what a summary is over: the jobs, but in place of those that are parts of a whole the whole; nothing in
            place of those that aren't all there.
        summed: what sweep_summary.csv has.
    """

    plan: Plan
    folder: Path
    jobs: Sequence[Ended]
    rows: Sequence[Row]
    counted: Sequence[Ended]
    summed: Sequence[Summed]


def collect(plan: Plan, folder: Path, jobs: Sequence[Ended] | None = None) -> Collected:
    """Returns what the folders of a sweep's jobs say.

    Args:
        jobs: what became of each; None: it is read.
    """
    jobs = ended(plan, folder) if jobs is None else jobs
    rows, counted = all_rows(jobs), wholes.counted(plan, folder, jobs)
    swept = [key for key in plan.swept if key not in wholes.part_keys(plan)]
    summed = summary(counted, rows if counted is jobs else all_rows(counted), swept)
    return Collected(plan, folder, jobs, rows, counted, summed)
