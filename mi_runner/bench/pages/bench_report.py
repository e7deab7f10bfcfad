"""The page report.html of a bench: the answer, every method beside the others, and every network with its page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mi_runner.bench.networks import PLANTED, TRAINED
from mi_runner.bench.pages.method_report import method_page
from mi_runner.bench.pages.saved_bench import (
    BENCH,
    INTERVALS,
    METHODS,
    Row,
    SavedBench,
    linked,
    links_to_jobs,
    measures_drawn,
    read_bench,
    with_intervals,
)
from mi_runner.bench.tables import LEADERBOARD, NETWORKS, PAIRS, RESULTS, ROWS, SPREAD
from mi_runner.machine.reading import Unreadable, is_own_file, is_own_folder, read_text
from mi_runner.runs.plan import Plan
from mi_runner.runs.report import REPORT, rendering, run_report
from mi_runner.runs.report.images import images
from mi_runner.runs.report.tables import MOST_ROWS, Table, number
from mi_runner.sweeps import sweep_answer, sweep_report, sweep_tables
from mi_runner.sweeps.declared import declarations_of_sweep
from mi_runner.sweeps.sweep_plan import read_plan
from mi_runner.sweeps.sweep_tables import Ended
from mi_runner.tables.declaration import TableType
from mi_runner.tables.names import ALL

QUESTION = (
    "Which discovery method finds the circuits that are nearest to the best ones, or to the planted ones, over many "
    "networks?"
)

FIRST = (ROWS.name, "method", "best", "mean_rank", "cpr", "p_best", "beside_random", "p_random")
"""The columns of the leaderboard that come first."""

LINK = re.compile(rf'href="\./({METHODS}/[A-Za-z0-9_-][A-Za-z0-9_.-]*\.html)"')
"""A link of report.html to a method's page, with a name as `file_names` makes it."""

MOST_NETWORKS = 1_000
"""Networks that the page lists; networks.csv has all."""


def make_again(folder: Path) -> Path:
    """Writes the pages of a bench, and those of its jobs that have none; returns the path of report.html.

    Raises:
        ConfigError: the folder has no sweep.
        OSError: a folder can't be read or written.
    """
    sweep_report.write_missing(read_plan(folder), folder)
    return write_pages(folder)


def write_pages(folder: Path, jobs: Sequence[Ended] | None = None) -> Path:
    """Writes report.html into a bench's folder and a page for each method below it; returns the path of the first.

    Pages of methods that the bench had when its pages were last written, and has no more, are deleted.

    Args:
        jobs: what became of each, if that is known already; None: it is read from their folders.

    Raises:
        ConfigError: the folder has no sweep.
        OSError: the folder can't be read or written.
    """
    plan = read_plan(folder)
    bench = read_bench(folder)
    if bench.pages:
        methods = folder / METHODS
        methods.mkdir(exist_ok=True)
        if not is_own_folder(methods, folder):
            raise NotADirectoryError(f"{methods} is a link, and no folder of this bench")
    for method, page in bench.pages.items():
        rendering.write_page(folder / page, method_page(bench, method))
    content = _page(bench, plan, sweep_tables.ended(plan, folder) if jobs is None else jobs)
    for path in _old_pages(bench):
        path.unlink(missing_ok=True)
    return rendering.write_page(folder / REPORT, content)


def _old_pages(bench: SavedBench) -> list[Path]:
    """Returns the pages to which the folder's report.html leads, of methods that the bench has no more.

    A file in the folder of pages to which no report.html led is the user's own.
    """
    if not is_own_folder(bench.folder / METHODS, bench.folder):
        return []
    try:
        before = LINK.findall(read_text(bench.folder / REPORT))
    except (OSError, Unreadable):
        return []
    now = {page.lower() for page in bench.pages.values()}
    pages = [bench.folder / page for page in dict.fromkeys(before) if page.lower() not in now]
    return [page for page in pages if is_own_file(page, bench.folder)]


def _page(bench: SavedBench, plan: Plan, jobs: Sequence[Ended]) -> str:
    """Returns the page of a bench."""
    drawn = picture(bench)
    networks = bench.rows(NETWORKS)
    statuses = Counter(row.get("status", "") for row in networks)
    declared = declarations_of_sweep(["discovery"], plan.swept)
    failures = sweep_report.failures_table(jobs, declared)
    return rendering.page(
        "bench.html",
        ["report.js", *(["bench.js"] if drawn else [])],
        title="bench",
        question=QUESTION,
        said=sweep_answer.read(bench.folder).splitlines(),
        facts=[
            ("networks", ", ".join(f"{count} {status}" for status, count in statuses.most_common()) or "none"),
            ("methods", ", ".join(bench.pages) or "none"),
        ],
        n_failed=len(sweep_tables.failures(jobs)),
        n_jobs=len(jobs),
        first=[*failures, *_leaderboard(bench)],
        folded=_folded(bench),
        networks=_networks(bench),
        data={"bench": drawn} if drawn else {},
        figures=images(run_report.figure_files(bench.folder), bench.folder, BENCH),
        has_methods=bool(bench.pages),
        intervals=INTERVALS,
        command=plan.command,
        provenance=sweep_report.provenance(plan, jobs),
        base=sweep_report.common_options(plan),
        files=sweep_report.files_of(bench.folder),
        folder=str(bench.folder.absolute()),
    )


def _leaderboard(bench: SavedBench) -> list[Table]:
    """Returns the leaderboard over all networks."""
    rows = [row for row in bench.rows(LEADERBOARD) if row.get(ROWS.name) == ALL]
    return _of_methods(bench, LEADERBOARD, [_without(row, ROWS.name) for row in rows], "Every method on all networks")


def _folded(bench: SavedBench) -> list[Table]:
    """Returns the other tables of methods: the leaderboard of each family, pairs, the spread, and the results."""
    others = [row for row in bench.rows(LEADERBOARD) if row.get(ROWS.name) != ALL]
    leaderboard = _of_methods(bench, LEADERBOARD, others, "Every method on each kind and family of networks")
    pairs = sorted(bench.rows(PAIRS), key=lambda row: row.get(ROWS.name) != ALL)
    return [
        *(replace(table, name="families", file=f"{LEADERBOARD.name}.csv") for table in leaderboard),
        *_of_methods(bench, PAIRS, pairs),
        *_of_methods(bench, SPREAD, bench.rows(SPREAD)),
        *_of_methods(bench, RESULTS, bench.rows(RESULTS)),
    ]


def _of_methods(bench: SavedBench, of: TableType, rows: Sequence[Row], meaning: str = "") -> list[Table]:
    """Returns the first rows of a table, with links from methods and jobs to their pages; none without rows."""
    file = f"{of.name}.csv"
    made = with_intervals(of.name, rows[:MOST_ROWS], BENCH, meaning=meaning or of.caption, file=file, first=FIRST)
    if made is None:
        return []
    made = replace(made, n_rows=len(rows))
    for column in ("method", "other"):
        made = linked(made, column, bench.pages)
    return [linked(made, "job", links_to_jobs(rows[:MOST_ROWS], bench.folder, REPORT))]


def _networks(bench: SavedBench) -> list[Table]:
    """Returns the networks with links to their pages."""
    rows = bench.rows(NETWORKS)
    shown = [{"job": row.get("job", ""), **row} for row in rows[:MOST_NETWORKS]]
    made = with_intervals(NETWORKS.name, shown, BENCH, meaning=NETWORKS.caption, file=f"{NETWORKS.name}.csv")
    if made is None:
        return []
    return [linked(replace(made, n_rows=len(rows)), "job", links_to_jobs(shown, bench.folder, REPORT))]


def _without(row: Row, column: str) -> Row:
    return {name: value for name, value in row.items() if name != column}


def picture(bench: SavedBench) -> dict[str, Any]:
    """Returns what the picture draws: of each measure a cell for each method and row of the leaderboard; or nothing."""
    measures = measures_drawn(bench.rows(LEADERBOARD))
    if not measures:
        return {}
    columns = {name: BENCH.column(LEADERBOARD.name, name) for name in measures}
    cells = [
        [of, method, row.get("best") == "True", _text_number(row, "n_units"), row.get("unit", ""),
         [[_text_number(row, f"{name}{end}") for end in ("", "_low", "_high")] for name in measures]]
        for (of, method), row in bench.standings.items()
    ]  # fmt: skip
    return {
        "networks": [{"name": name, "together": name in (ALL, TRAINED, PLANTED)} for name in bench.networks],
        "methods": list(bench.pages),
        "measures": [
            {"name": name, "meaning": "" if column is None else column.meaning, "better": getattr(column, "better", "")}
            for name, column in columns.items()
        ],
        "cells": cells,
    }


def _text_number(row: Row, name: str) -> float | None:
    value = number(row.get(name, ""))
    return None if value is None else float(f"{value:.7g}")
