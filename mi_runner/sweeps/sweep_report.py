"""The page report.html of a sweep: what failed, the summary as a picture and tables, and a link to each job's page."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mi_runner.config.registry import EXPERIMENTS
from mi_runner.machine.reading import files_below, is_own_file
from mi_runner.machine.typed_json import to_json
from mi_runner.runs import run_folder, states
from mi_runner.runs.plan import PLAN, Plan
from mi_runner.runs.report import REPORT, rendering, run_report, tables, write_run_report
from mi_runner.runs.report.images import images
from mi_runner.sweeps import sweep_answer, sweep_tables
from mi_runner.sweeps.collected import Collected, collect
from mi_runner.sweeps.declared import FAILURES, HEADLINE, JOBS, declarations_of_sweep
from mi_runner.sweeps.sweep_plan import parse_overrides, read_plan
from mi_runner.sweeps.sweep_tables import Ended, Row
from mi_runner.tables import console
from mi_runner.tables.declaration import Declarations
from mi_runner.tables.names import ALL, NONE
from mi_runner.tables.whole_numbers import file_size

MOST_BYTES_OF_FIGURES = 900_000

MOST_POINTS = 6_000
"""Rows of the summary that the picture has."""

MOST_JOBS = 1_000
"""Jobs that the page lists; sweep.csv has all."""

MOST_LINES = 10
"""Lines with which the picture opens."""

SHOWN_FIRST = (ALL, "test", NONE, "")
"""Of a column that names rows, the values that the picture shows first; empty are those of a coarser table."""


def wants_report(plan: Plan) -> bool:
    """Returns whether the sweep's command doesn't say `report=false`."""
    return not any(
        override.get_key_element() == "report" and not override.is_sweep_override() and override.value() is False
        for override in parse_overrides(plan.overrides)
    )


def make_again(folder: Path) -> Path:
    """Writes the page of a sweep, and those of its jobs that have none; returns the sweep's.

    Raises:
        ConfigError: the folder has no sweep.
        OSError: a folder can't be read or written.
    """
    plan = read_plan(folder)
    write_missing(plan, folder)
    return write_sweep_report(collect(plan, folder))


def write_missing(plan: Plan, folder: Path) -> None:
    """Writes the pages of those jobs that have none; says which jobs can't have one.

    Raises:
        OSError: a folder can't be read or written.
    """
    for job in plan.jobs:
        of_job, state = folder / str(job.number), states.job_state(folder, job.number)
        if state.fault:
            console.error(f"job {job.number} gets no page: {state.fault}")
        elif state.has_record and not os.path.lexists(of_job / REPORT):
            write_run_report(of_job)


def write_sweep_report(found: Collected) -> Path:
    """Writes report.html into a sweep's folder, and returns its path.

    Raises:
        OSError: the folder can't be read or written.
    """
    return rendering.write_page(found.folder / REPORT, _page(found))


def _page(found: Collected) -> str:
    """Returns the page of a sweep."""
    plan, folder, jobs = found.plan, found.folder, found.jobs
    names = list(dict.fromkeys(str(job.state.record.experiment or plan.base.get("experiment")) for job in jobs))
    declared = declarations_of_sweep(names, plan.swept)
    drawn = points(sweep_tables.summary_rows(found.summed), plan)
    return rendering.page(
        "sweep.html",
        ["report.js", *(["sweep.js"] if drawn else [])],
        title="sweep · " + " · ".join(names),
        questions=[(schema.__doc__ or "").strip().splitlines()[0] for schema in EXPERIMENTS if schema.name in names],
        folder=str(folder.absolute()),
        facts=[*run_report.labels([one.state.record.config or {} for one in jobs]), *_facts(plan, jobs)],
        n_failed=len(sweep_tables.failures(jobs)),
        n_jobs=len(jobs),
        searching=plan.searching,
        said=sweep_answer.read(folder).splitlines(),
        first=_first_tables(found, declared),
        more=_more_tables(found, declared),
        data={"sweep": drawn} if drawn else {},
        figures=images(run_report.figure_files(folder), folder, declared, MOST_BYTES_OF_FIGURES),
        left_out=plan.left_out,
        command=plan.command,
        provenance=provenance(plan, jobs),
        base=common_options(plan),
        files=files_of(folder),
    )


def common_options(plan: Plan) -> list[tuple[str, str]]:
    """Returns the options that all jobs of a sweep have in common, and their values as text."""
    return [(key, str(value)) for key, value in plan.base.items()]


def files_of(folder: Path) -> list[run_report.File]:
    """Returns the files of a sweep's folder, without its page and what is in the folders of jobs."""
    return [
        run_report.File(path.name, file_size(path.stat().st_size))
        for path in files_below(folder, deepest=0)
        if path.name != REPORT
    ]


def _first_tables(found: Collected, declared: Declarations) -> list[tables.Table]:
    """Returns the tables that answer: the jobs that are not as they should be, and the headline."""
    title, shown = sweep_tables.headline(found.counted, found.summed, found.plan.objective)
    measures = {one.measure for one in found.summed} | {name for job in found.counted for name in job.metrics}
    headline = tables.of_rows(HEADLINE.name, shown, declared, meaning=title, measures=measures) if shown else None
    return [*failures_table(found.jobs, declared), *([headline] if headline else [])]


def failures_table(jobs: Sequence[Ended], declared: Declarations) -> list[tables.Table]:
    """Returns the table of the jobs that are not as they should be, with links; none where all are."""
    made = _table(FAILURES.name, sweep_tables.failures(jobs), declared, FAILURES.caption)
    return [_linked(made, jobs)] if made else []


def _more_tables(found: Collected, declared: Declarations) -> list[tables.Table]:
    """Returns the list of the jobs and the tables of the folder."""
    rows = [_job_row(job) for job in found.jobs[:MOST_JOBS]]
    listed = _table(JOBS.name, rows, declared, JOBS.caption, len(found.jobs))
    of_folder = [
        tables.table(name, content, declared, path.name)
        for name, path in tables.of_folder(found.folder, ["metrics", "sweep_summary", "sweep"])
        if (content := tables.read(path, tables.MOST_ROWS)) is not None
    ]
    return [*([_linked(listed, found.jobs)] if listed else []), *of_folder]


def _facts(plan: Plan, jobs: Sequence[Ended]) -> list[tuple[str, str]]:
    counts = Counter(job.state.status for job in jobs)
    swept = {key: list(dict.fromkeys(str(job.job.swept.get(key)) for job in jobs)) for key in plan.swept}
    values = [
        (f"swept: {key}", ", ".join(texts[:12]) + (f", … ({len(texts)})" if len(texts) > 12 else ""))
        for key, texts in swept.items()
    ]
    return [("jobs", ", ".join(f"{count} {status}" for status, count in counts.most_common()) or "none"), *values]


def provenance(plan: Plan, jobs: Sequence[Ended]) -> list[tuple[str, str]]:
    """Returns what the figures of a sweep depend on, name → text."""
    records = [job.state.record for job in jobs]
    seconds = sum(record.timings.get("total", 0.0) for record in records)
    facts = [
        ("code", ", ".join(dict.fromkeys(job.code for job in jobs if job.code)) or plan.code),
        ("machines", ", ".join(dict.fromkeys(record.host for record in records if record.host))),
        ("processors", ", ".join(dict.fromkeys(record.processor for record in records if record.processor))),
        ("launcher", " ".join(plan.launcher) or "this process"),
        ("objective", plan.objective or ""),
        ("search", "" if plan.search is None else str(to_json(plan.search))),
        ("time of all jobs", run_report.duration(seconds) if seconds else ""),
    ]
    return [(name, text) for name, text in facts if text]


def _table(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    declared: Declarations,
    meaning: str,
    n_rows: int | None = None,
) -> tables.Table | None:
    if not rows:
        return None
    made = tables.of_rows(name, rows, declared, meaning=meaning)
    return made if n_rows is None or n_rows == len(rows) else replace(made, n_rows=n_rows, file="sweep.csv")


def _linked(table: tables.Table, jobs: Sequence[Ended]) -> tables.Table:
    """Returns the table with a link to the job's page, or to its run.json, at the job's number."""
    files = {str(job.job.number): file for job in jobs if (file := _file(job))}
    rows = [[replace(row[0], link=files.get(row[0].text, "")), *row[1:]] for row in table.rows]
    return replace(table, rows=rows)


def _file(job: Ended) -> str:
    there = (
        name
        for name in (REPORT, run_folder.RECORD, run_folder.LOG)
        if is_own_file(job.folder / name, job.folder.parent)
    )
    name = next(there, None)
    return "" if name is None else f"{job.job.number}/{name}"


def _job_row(job: Ended) -> Row:
    metrics = {name: value for name, value in job.metrics.items() if "/" not in name}
    total = job.state.record.timings.get("total")
    return {"job": job.job.number, "status": job.state.status, **job.job.swept, **metrics, "seconds": total}


def points(summary: Sequence[Row], plan: Plan) -> dict[str, Any]:
    """Returns what the picture draws: for each name and measure the mean and its interval; empty for none.

    The first measure is what the sweep searches for, or the headline of its experiment.
    """
    numbers = ("measure", "n", "mean", "sd", "low", "high", "min", "max")
    rows = [row for row in summary if row["mean"] is not None][:MOST_POINTS]
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in numbers]
    values = {name: list(dict.fromkeys(str(row[name]) for row in rows)) for name in names}
    varied = [name for name in names if len(values[name]) > 1]
    if not rows or not varied:
        return {}
    swept = [key for key in plan.swept if key in varied]
    ordered = [*swept, *(name for name in varied if name not in swept)]
    measures = _measures(rows, plan)
    first = opening([row for row in rows if row["measure"] == measures[0]], ordered, swept)
    return {
        "names": [
            {"name": name, "values": values[name], "swept": name in swept, "first": first[name]} for name in ordered
        ],
        "measures": measures,
        "rows": [
            [[str(row[name]) for name in varied], row["measure"], row["n"], *map(_finite, _numbers(row))]
            for row in rows
        ],
        "columns": varied,
    }


def _measures(rows: Sequence[Row], plan: Plan) -> list[str]:
    """Returns the measures of a summary, the most important first."""
    there = dict.fromkeys(str(row["measure"]) for row in rows)
    of_experiment = [schema for schema in EXPERIMENTS if schema.name == plan.base.get("experiment")]
    important = [(plan.objective or "").partition("/")[0], *(name for of in of_experiment for name in of.compared)]
    important += [schema.headline for schema in of_experiment]
    return list(dict.fromkeys([*(name for name in important if name in there), *there]))


def opening(rows: Sequence[Row], names: Sequence[str], swept: Sequence[str]) -> dict[str, str | None]:
    """Returns the value of each name that the picture shows first; None: a line for each of its values.

    The swept keys have a line each. What else names a row has a value of `SHOWN_FIRST` where it can; of the rest, that
    combination opens whose means differ most along the swept keys, and the first name with few values has lines.

    Args:
        rows: of one measure.
        names: all that name a row; `swept` are those of options.
    """
    others = [name for name in names if name not in swept]
    groups: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[name]) for name in others), []).append(row["mean"])

    def rank(of: tuple[str, ...]) -> tuple[int, float]:
        return sum(value in SHOWN_FIRST for value in of), max(groups[of]) - min(groups[of])

    first = max(list(groups), key=rank)
    best = dict(zip(others, first, strict=True))
    for name in others:
        rest = [other for other in others if other != name]
        alike = [row for row in rows if all(str(row[other]) == best[other] for other in rest)]
        lines = {tuple(str(row[key]) for key in (name, *swept[1:])) for row in alike}
        if best[name] not in SHOWN_FIRST and len({line[0] for line in lines}) > 1 and len(lines) <= MOST_LINES:
            return {**dict.fromkeys(swept), **best, name: None}
    return {**dict.fromkeys(swept), **best}


def _numbers(row: Row) -> tuple[Any, Any, Any]:
    return row["mean"], row["low"], row["high"]


def _finite(value: Any) -> float | None:
    number = None if value is None else tables.number(str(value))
    return None if number is None else float(f"{number:.7g}")


def is_sweep(folder: Path) -> bool:
    """Returns whether the folder is a sweep's."""
    return os.path.lexists(folder / PLAN)
