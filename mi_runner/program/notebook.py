"""Runs and sweeps as a notebook shows them: HTML with the answer, the headline table and the pictures.

The interactive picture is a page of its own in an `iframe` that may run scripts and nothing else: no style or script of
it reaches the notebook, and nothing is loaded from elsewhere. A notebook that isn't trusted, or is shown by a site that
leaves scripts out, shows the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mi_runner.experiments.declared import declarations_of
from mi_runner.runs.report import rendering, run_report, tables
from mi_runner.runs.report.images import images
from mi_runner.runs.report.run_report import SCRIPTS
from mi_runner.sweeps import sweep_report, sweep_tables
from mi_runner.sweeps.declared import HEADLINE, declarations_of_sweep
from mi_runner.tables.declaration import Declarations

if TYPE_CHECKING:
    from pandas import DataFrame

    from mi_runner.runs.record import RunRecord
    from mi_runner.sweeps.collected import Collected

MOST_ROWS = 12
"""Rows of the headline table."""

MOST_COLUMNS = 12

MOST_BYTES = 300_000
"""Bytes of all figures in an output."""

HEIGHTS = {"circuits": 720, "methods": 720, "network": 560, "sweep": 620}
"""Interactive picture → the height of its frame in pixels; a reader can make it larger."""


class Shown(Protocol):
    """What a run and a sweep have in common; see `saved_run.Run` and `saved_sweep.Sweep`."""

    @property
    def folder(self) -> Path: ...
    @property
    def status(self) -> str: ...
    @property
    def answer(self) -> str: ...


class ShownRun(Shown, Protocol):
    """A run, as `saved_run.Run` describes it."""

    @property
    def name(self) -> str: ...
    @property
    def error(self) -> str: ...
    @property
    def record(self) -> RunRecord: ...
    @property
    def tables(self) -> Mapping[str, DataFrame]: ...


class ShownSweep(Shown, Protocol):
    """A sweep, as `saved_sweep.Sweep` describes it."""

    @property
    def title(self) -> str: ...
    @property
    def collected(self) -> Collected: ...
    @property
    def headline(self) -> DataFrame: ...


def of_run(run: ShownRun) -> str:
    """Returns the HTML of a run."""
    declared = declarations_of(str(run.record.experiment))
    headline = next(iter(run.tables), None)
    table = None
    if headline is not None:
        path = next(path for name, path in tables.of_folder(run.folder, [headline]) if name == headline)
        content = tables.read(path, MOST_ROWS)
        table = None if content is None else tables.table(headline, content, declared, path.name)
    return _fragment(
        title=run.name,
        status=run.status,
        cause=run.error,
        answer=run.answer,
        table=table,
        of=".tables",
        folder=run.folder,
        declared=declared,
        data=run_report.pictures_of(run.folder),
        scripts=SCRIPTS,
    )


def of_sweep(sweep: ShownSweep) -> str:
    """Returns the HTML of a sweep."""
    found = sweep.collected
    names = list(dict.fromkeys(str(job.state.record.experiment) for job in found.jobs if job.state.has_record))
    declared = declarations_of_sweep(names, found.plan.swept)
    rows = sweep.headline.to_dict("records")
    table = tables.of_rows(HEADLINE.name, rows, declared, meaning=sweep.title) if rows else None
    points = sweep_report.points(sweep_tables.summary_rows(found.summed), found.plan)
    return _fragment(
        title="sweep · " + " · ".join(names),
        status=sweep.status,
        cause="; ".join(f"job {one['job']}: {one['cause']}" for one in sweep_tables.failures(found.jobs)[:MOST_ROWS]),
        answer=sweep.answer,
        table=table,
        of=".headline",
        folder=sweep.folder,
        declared=declared,
        data={"sweep": points} if points else {},
        scripts={"sweep": ("sweep.js",)},
    )


def _fragment(
    *,
    title: str,
    status: str,
    cause: str,
    answer: str,
    table: tables.Table | None,
    of: str,
    folder: Path,
    declared: Declarations,
    data: Mapping[str, Any],
    scripts: Mapping[str, Sequence[str]],
) -> str:
    return rendering.fragment(
        "notebook.html",
        title=title,
        status=status,
        cause=cause,
        answer=answer,
        table=table,
        headings=[] if table is None else list(table.headings)[:MOST_COLUMNS],
        rows=[] if table is None else [list(row)[:MOST_COLUMNS] for row in table.rows[:MOST_ROWS]],
        of=of,
        folder=str(folder),
        figures=[
            image for image in images(run_report.figure_files(folder), folder, declared, MOST_BYTES) if image.data
        ],
        pictures=[
            (name, _picture(name, content, scripts[name]), HEIGHTS.get(name, 600)) for name, content in data.items()
        ],
    )


def _picture(name: str, content: Any, scripts: Sequence[str]) -> str:
    """Returns the page of an interactive picture."""
    return rendering.page("picture.html", ["report.js", *scripts], title=name, name=name, content=content)
