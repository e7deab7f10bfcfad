"""The many runs of a sweep as one result: sweep.csv, sweep_summary.csv, the headline, from the run folders alone."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mi_runner.run_folder import State, state
from mi_runner.spread import Spread
from mi_runner.sweep_plan import Job, Plan

Row = dict[str, Any]

ByValues = list[tuple[Mapping[str, Any], dict[str, Spread]]]
"""For each combination of swept values: the values, and the spread of each metric."""

OF_JOB = ("job", "status", "error", "code", "folder")
"""Columns of sweep.csv besides what is swept and what the jobs measured."""

REPEATED = "seed"
"""The swept key over which a summary is made."""

HEADLINE = "accuracy"
"""The measure that is shown where there are too many to show."""

MOST_HEADLINE_ROWS = 40
MOST_HEADLINE_METRICS = 3


@dataclass(frozen=True)
class Ended:
    """A job of a sweep and what became of it."""

    job: Job
    state: State
    folder: Path

    @property
    def code(self) -> str:
        """The version of the code that ran it; empty if it never began."""
        return str(self.state.record.get("versions", {}).get("code") or "")

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers of its summary, if it is done."""
        found = self.state.record.get("metrics") or {} if self.state.done else {}
        return {name: value for name, value in found.items() if isinstance(value, int | float)}


def ended(plan: Plan, sweep: Path) -> list[Ended]:
    """What became of every job of a sweep."""
    folders = [sweep / str(job.number) for job in plan.jobs]
    return [Ended(job, state(folder), folder) for job, folder in zip(plan.jobs, folders, strict=True)]


def same_values(swept: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells a combination of swept values from others, without the seed."""
    return tuple(f"{key}={value}" for key, value in swept.items() if key != REPEATED)


# --- sweep.csv -----------------------------------------------------------------------------------------------------


def all_rows(jobs: Iterable[Ended]) -> list[Row]:
    """Every row of every job's metrics table, as text; one row without measurements for a job that has none.

    A job that was interrupted has the rows that were finished. Columns of the metrics tables that are named as one of
    the job's get the name `metrics.NAME`.
    """
    rows: list[Row] = []
    columns: dict[str, None] = {}
    for one in jobs:
        # A run that goes on, or failed, may have written a table that isn't the whole one: its status says so.
        for measured in _table(one.folder) or [{}]:
            of_job = {"job": one.job.number, "status": one.state.status, **one.job.swept}
            taken = {*of_job, *OF_JOB}
            own = {f"metrics.{name}" if name in taken else name: text for name, text in measured.items()}
            columns |= dict.fromkeys([*of_job, *own])
            rows.append(of_job | own | {"error": one.state.cause, "code": one.code, "folder": str(one.folder)})
    for last in ("error", "code", "folder"):
        columns[last] = None
    return [{column: row.get(column, "") for column in columns} for row in rows]


def _table(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's metrics table as text, digit by digit as they stand in the file."""
    if (large := folder / "metrics.parquet").exists():
        import pandas as pd

        frame = pd.read_parquet(large)
        return [
            {str(name): "" if pd.isna(value) else str(value) for name, value in row.items()}
            for row in frame.to_dict("records")
        ]
    try:
        with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


# --- sweep_summary.csv ---------------------------------------------------------------------------------------------


def summary(rows: Sequence[Row], swept: Sequence[str]) -> list[Row]:
    """For every combination of the other columns, and each measure: n, mean, sd, low, high over the seeds.

    Only jobs that are done count. A column is a measure if it holds numbers that have a fraction or differ from seed
    to seed, or if it is a count (`n`, `n_…`); all others name the row. Rows of one job are never averaged with each
    other: of rows with equal names the first are taken together, the second, and so on.
    """
    done = [row for row in rows if row["status"] == "done"]
    if not done:
        return []
    of_job = {*OF_JOB, *swept}
    own = [column for column in done[0] if column not in of_job]
    several_codes = len({row["code"] for row in done}) > 1
    combination = [key for key in swept if key != REPEATED] + ["code"] * several_codes
    measures = [column for column in own if _is_measure(column, done, combination)]
    names = [column for column in own if column not in measures]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    seen: dict[tuple[Any, ...], int] = {}
    for row in done:
        name = tuple(row[column] for column in [*combination, *names])
        occurrence = seen[name, row["job"]] = seen.get((name, row["job"]), -1) + 1
        groups.setdefault((*name, occurrence), []).append(row)
    found = []
    for name, members in groups.items():
        for measure in measures:
            values = [float(row[measure]) for row in members if row[measure] != ""]
            if values:
                named = dict(zip([*combination, *names], name, strict=False))
                found.append({**named, "measure": measure, **Spread.of(values).columns()})
    return found


def _is_measure(column: str, rows: Sequence[Row], combination: Sequence[str]) -> bool:
    texts = {row[column] for row in rows} - {""}
    if not texts or not all(_is_number(text) for text in texts):
        return False
    if column == "n" or column.startswith("n_") or not all(re.fullmatch(r"-?\d+", text) for text in texts):
        return True
    by_job: dict[tuple[Any, ...], dict[int, list[str]]] = {}
    for row in rows:
        jobs = by_job.setdefault(tuple(row[key] for key in combination), {})
        jobs.setdefault(row["job"], []).append(row[column])
    return any(len({tuple(values) for values in jobs.values()}) > 1 for jobs in by_job.values())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# --- the headline --------------------------------------------------------------------------------------------------


def metrics_by_values(jobs: Sequence[Ended], objective: str | None) -> ByValues:
    """For every combination of swept values but the seed: these values, and the spread of each plain summary metric.

    Plain are those without a part (`accuracy`, not `accuracy/relu/zero`); the objective comes first.
    """
    groups: dict[tuple[str, ...], list[Ended]] = {}
    for one in jobs:
        if one.state.done:
            groups.setdefault(same_values(one.job.swept), []).append(one)
    found = []
    for members in groups.values():
        names = {name: None for one in members for name in one.metrics if "/" not in name or name == objective}
        first = [name for name in (objective, HEADLINE) if name in names]
        names = dict.fromkeys(first) | names
        spreads = {
            name: Spread.of([one.metrics[name] for one in members if name in one.metrics])
            for name in list(names)[: MOST_HEADLINE_METRICS + 1]
        }
        swept = {key: value for key, value in members[0].job.swept.items() if key != REPEATED}
        found.append((swept, spreads))
    return found


def headline(jobs: Sequence[Ended], summed: Sequence[Row], objective: str | None) -> tuple[str, list[Row]]:
    """The title and rows of the table that is printed: a screenful.

    Where the summary of the jobs' tables is short enough, it is that of their accuracy; else a row for each combination
    of swept values, with metrics of run.json.
    """
    codes = {one.code for one in jobs if one.state.done}
    by_values = metrics_by_values(jobs, objective)
    rows = [row for row in summed if row["measure"] == HEADLINE]
    if objective is None and len(by_values) < len(rows) <= MOST_HEADLINE_ROWS:
        dropped = {"measure", *(["code"] if len(codes) < 2 else [])}
        title = f"{HEADLINE}: mean over seeds, 95 % interval"
        if all(row["n"] == 1 for row in rows):
            title, dropped = HEADLINE, dropped | {"n", "sd", "low", "high"}
            rows = [{HEADLINE if key == "mean" else key: value for key, value in row.items()} for row in rows]
        return title, [{key: value for key, value in row.items() if key not in dropped} for row in rows]
    table = []
    for swept, spreads in by_values:
        row: Row = {**swept, "n": max((spread.n for spread in spreads.values()), default=0)}
        for name in list(spreads)[:MOST_HEADLINE_METRICS]:
            row[name] = spreads[name].mean
            if any(other[name].n > 1 for _, other in by_values if name in other):
                row |= {f"{name}_low": spreads[name].low, f"{name}_high": spreads[name].high}
        table.append(row)
    columns = dict.fromkeys(column for row in table for column in row)
    title = "mean over seeds, 95 % interval" if any("_low" in column for column in columns) else "summary metrics"
    return title, [{column: row.get(column) for column in columns} for row in table]


def failures(jobs: Sequence[Ended]) -> list[Row]:
    """Every job that is not done or not as expected, with the cause."""
    return [
        {"job": one.job.number, "values": one.job.name, "status": one.state.status, "cause": one.state.cause}
        for one in jobs
        if one.state.cause
    ]
