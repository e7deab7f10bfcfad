"""A run as an object: its answer, tables, figures and record, read from its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mi_runner.experiments.declared import declarations_of
from mi_runner.program import saved_tables
from mi_runner.program.saved_tables import Named
from mi_runner.runs.record import RunRecord
from mi_runner.runs.report import run_report, tables
from mi_runner.runs.report.tables import shown
from mi_runner.runs.saved_runs import SavedRun
from mi_runner.runs.saved_tables import read_frame
from mi_runner.runs.states import State
from mi_runner.tables.cell_types import typed
from mi_runner.tables.declaration import COUNT

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MOST_METRICS = 8
"""Numbers of the summary that the text about a run has."""


@dataclass(frozen=True, eq=False)
class Run:
    """A run that has ended, or still goes on elsewhere; `mi_runner.run` and `mi_runner.open` return it.

    A notebook shows its answer, headline table and pictures. Tables and figures are read when they are asked for, and
    kept: a change of a DataFrame or figure stays in this object and doesn't reach the folder.

    Attributes:
        folder: the run folder.
        state: how the run is, or ended, as the folder said when it was read.
        drawings: name → a function that draws a figure, of a run that this process has made.
        swept: as a job of a sweep: the swept keys and their values.

    Example:
        >>> import tempfile, mi_runner
        >>> small = ["dataset=mod_add", "dataset.train_size=60", "training.epochs=1"]
        >>> run = mi_runner.run([*small, f"output_dir={tempfile.mkdtemp()}"])
        >>> list(run.tables)[:2], run.tables["metrics"]["n"].dtype.name, run.config["training.epochs"]
        (['metrics', 'confusion'], 'int64', 1)
        >>> run.folder.name, run.error, run.answer.startswith("The network's accuracy is")
        ('v001', '', True)
    """

    folder: Path
    state: State
    drawings: Mapping[str, Callable[[], Figure]] = field(default_factory=dict, repr=False)
    swept: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> RunRecord:
        """What run.json has, field by field."""
        return self.state.record

    @property
    def status(self) -> str:
        """`done`, `running`, `failed`, `interrupted` or `killed`; `torn` if run.json can't be read; `missing`."""
        return self.state.status

    @property
    def error(self) -> str:
        """What is wrong, in a line; empty if nothing is. Of a run that is done: the expectations that aren't met."""
        return self.state.cause

    @property
    def not_met(self) -> tuple[str, ...]:
        """A line for each expectation that isn't met."""
        return self.record.expect_not_met or ()

    @property
    def answer(self) -> str:
        """The answer to the experiment's question in a sentence or two; empty if the run has none."""
        return self.record.answer or ""

    @property
    def metrics(self) -> dict[str, float | None]:
        """The summary, name → number; None for one that isn't defined. Empty if the run isn't done."""
        return dict(self.record.metrics) if self.state.done else {}

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Key → value of the whole config: `run.config["training.epochs"]`."""
        return SavedRun(self.folder, self.state, {}).config

    @cached_property
    def tables(self) -> Named[DataFrame]:
        """Name → table, the headline table `metrics` first.

        Columns are what the experiment made: integers, numbers, truth values, text. A run that was interrupted has the
        rows that were finished.
        """
        first = dict.fromkeys([*self.record.shown, "metrics"])
        found = tables.of_folder(self.folder, list(first))
        return Named("table", {name: partial(self._table, name) for name, _ in found})

    def _table(self, name: str) -> DataFrame:
        frame = read_frame(self.folder, name)
        is_text = (self.folder / f"{name}.csv").exists() and not (self.folder / f"{name}.parquet").exists()
        return typed(frame, self.record.types.get(name, {})) if is_text else frame

    @cached_property
    def figures(self) -> Named[Figure]:
        """Name → matplotlib figure.

        Of a run that this process has made it is the figure itself, whose axes can be changed; of a folder the picture
        of its PNG file.
        """
        paths = {path.stem: path for path in run_report.figure_files(self.folder)}
        return saved_tables.figures(paths, self.drawings)

    @property
    def name(self) -> str:
        """Experiment, data set and model, as a page's title has them."""
        names = (self.record.experiment, self.record.dataset, self.record.model)
        return " · ".join(filter(None, names)) or self.folder.name

    def __repr__(self) -> str:
        lines = [f"{self.name}: {self.status}{f' ({self.error})' if self.error else ''}"]
        declared = declarations_of(str(self.record.experiment))
        metrics = [name for name in self.metrics if "/" not in name]
        parts = []
        for name in metrics[:MOST_METRICS]:
            value, about = self.metrics[name], declared.number(name)
            counts = about is not None and about.unit == COUNT
            parts.append(f"{name} {'not defined' if value is None else shown(value, counts=counts)}")
        more = len(self.metrics) - len(parts)
        facts = {
            "answer": self.answer,
            "metrics": ", ".join(parts) + (f" and {more} more" if more else ""),
            "tables": ", ".join(self.tables),
            "figures": ", ".join(self.figures),
            "folder": str(self.folder),
        }
        lines += [f"  {name + ':':9}{text}" for name, text in facts.items() if text]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Returns the answer, the headline table and the pictures, for a notebook."""
        from mi_runner.program import notebook

        return notebook.of_run(self)
