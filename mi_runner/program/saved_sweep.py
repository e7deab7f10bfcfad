"""A sweep as an object: its answer, tables, figures and runs, read from its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mi_runner.bench.tables import LEADERBOARD, TABLES
from mi_runner.program import saved_tables
from mi_runner.program.saved_run import Run
from mi_runner.program.saved_tables import Named
from mi_runner.runs.plan import Plan
from mi_runner.runs.report import run_report, tables
from mi_runner.runs.report.tables import shown
from mi_runner.runs.saved_tables import read_frame
from mi_runner.sweeps import sweep_answer, sweep_tables
from mi_runner.sweeps.collected import Collected
from mi_runner.sweeps.declared import SWEEP, SWEEP_SUMMARY, own_name
from mi_runner.sweeps.sweep_result import best_job
from mi_runner.tables.cell_types import CellType, typed
from mi_runner.tables.intervals import Spread
from mi_runner.tables.names import ALL

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MOST_ROWS = 6
"""Combinations of swept values that the answer has in words."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep, read from its folder; `mi_runner.open_sweep` returns it.

    Attributes:
        folder: the sweep's.
        collected: what its jobs' folders said when it was read.

    Example:
        >>> import tempfile, mi_runner
        >>> from mi_runner.cli import command
        >>> small = ["dataset=mod_add", "dataset.train_size=60", "training.epochs=1", "seed=0,1"]
        >>> folder = tempfile.mkdtemp()
        >>> status = command.main(["-m", *small, f"output_dir={folder}"])  # doctest: +ELLIPSIS
        accuracy...
        >>> sweep = mi_runner.open_sweep(f"{folder}/sweeps/train/latest")
        >>> sweep.status, [run.swept for run in sweep.runs]
        ('done', [{'seed': 0}, {'seed': 1}])
    """

    folder: Path
    collected: Collected

    @property
    def plan(self) -> Plan:
        """What sweep.json has: the command, the swept keys, the jobs."""
        return self.collected.plan

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The jobs in their order, each with its `swept` values; a job that never began has the status `missing`."""
        return tuple(Run(one.folder, one.state, swept=one.job.swept) for one in self.collected.jobs)

    @property
    def status(self) -> str:
        """`done` if all jobs are, `running` if one runs, otherwise `unfinished`."""
        statuses = {run.status for run in self.runs}
        if "running" in statuses:
            return "running"
        return "done" if all(run.state.done for run in self.runs) and not self.plan.searching else "unfinished"

    @cached_property
    def failures(self) -> DataFrame:
        """A row for each job that is not done, or not as expected, with the cause; no rows if there is none."""
        import pandas as pd

        columns = ["job", "values", "status", "cause"]
        return pd.DataFrame(sweep_tables.failures(self.collected.jobs), columns=columns)

    @cached_property
    def _headline(self) -> tuple[str, list[sweep_tables.Row]]:
        found = self.collected
        return sweep_tables.headline(found.counted, found.summed, found.plan.objective)

    @property
    def title(self) -> str:
        """What the numbers of `headline` are."""
        return "leaderboard, all networks" if self.plan.of else self._headline[0]

    @cached_property
    def headline(self) -> DataFrame:
        """The table that the terminal shows: a row for each combination of swept values, with means over the seeds.

        That of a bench has a row for each method, over all networks; it is empty before the bench wrote its tables.
        """
        import pandas as pd

        if self.plan.of:
            board = self.tables[LEADERBOARD.name] if LEADERBOARD.name in self.tables else pd.DataFrame({"networks": []})
            return board[board["networks"] == ALL].reset_index(drop=True)
        return pd.DataFrame(self._headline[1])

    @cached_property
    def answer(self) -> str:
        """How many jobs are done, and the first number of the summary of each combination of swept values.

        It is the mean over the seeds with its 95 % interval, where there are several. Nothing is said of an order.
        Of a bench it says how many are done, and what the tests say of the methods.
        """
        counts = Counter(run.status for run in self.runs)
        n, n_done = len(self.runs), sum(run.state.done for run in self.runs)
        others = ", ".join(f"{count} {status}" for status, count in counts.items() if status != "done")
        said = (
            f"{n} jobs, all done."
            if n_done == n
            else f"{n_done} of {n} jobs are done{f' ({others})' if others else ''}."
        )
        if self.plan.of:
            return f"{said} {sweep_answer.read(self.folder)}".rstrip()
        by_values = [
            one for one in sweep_tables.metrics_by_values(self.collected.counted, self.plan.objective) if one[1]
        ]
        if by_values:
            name = next(iter(by_values[0][1]))
            several = any(spread.n > 1 for _, spreads in by_values for spread in spreads.values())
            what = f"{name}, mean over seeds and its 95 % interval" if several else name
            values = "; ".join(_in_words(swept, spreads.get(name)) for swept, spreads in by_values[:MOST_ROWS])
            more = f"; {len(by_values) - MOST_ROWS} more are in .headline" if len(by_values) > MOST_ROWS else ""
            said += f" {what}: {values}{more}."
        if (best := best_job(self.plan, self.collected.jobs)) is not None:
            said += f" {best[:1].upper()}{best[1:]}."
        return said

    @cached_property
    def tables(self) -> Named[DataFrame]:
        """Name → table: `sweep_summary`, `sweep` with every row of every job, and those of a comparison of networks.

        Both come from the jobs' folders if the sweep was interrupted before it wrote them. Of a bench: `leaderboard`,
        `results` and the others that lie in its folder.
        """
        if self.plan.of:
            written = tables.of_folder(self.folder, [table.name for table in TABLES])
            return Named("table", {name: partial(self._table, name) for name, _ in written})
        first = [SWEEP_SUMMARY.name, SWEEP.name]
        made = {name: partial(self._table, name) for name, _ in tables.of_folder(self.folder, first)}
        rows = {SWEEP.name: self.collected.rows, SWEEP_SUMMARY.name: sweep_tables.summary_rows(self.collected.summed)}
        for name, of_name in rows.items():
            if name not in made and of_name:
                made[name] = partial(self._of_rows, of_name)
        return Named("table", made)

    @cached_property
    def _types(self) -> dict[str, CellType]:
        """Column → what its cells are, as the jobs' records say; where they differ, nothing."""
        found: dict[str, set[CellType]] = {}
        for job in self.collected.jobs:
            of_job = job.state.record.types.get("metrics", {})
            for name, kind in of_job.items():
                found.setdefault(own_name(name, job.taken), set()).add(kind)
        return {name: kinds.pop() for name, kinds in found.items() if len(kinds) == 1}

    def _table(self, name: str) -> DataFrame:
        return typed(read_frame(self.folder, name), self._types)

    def _of_rows(self, rows: Sequence[sweep_tables.Row]) -> DataFrame:
        import pandas as pd

        texts = [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]
        return typed(pd.DataFrame(texts, dtype=str), self._types)

    @cached_property
    def figures(self) -> Named[Figure]:
        """Name → matplotlib figure: the picture of each PNG file."""
        return saved_tables.figures({path.stem: path for path in run_report.figure_files(self.folder)}, {})

    def __repr__(self) -> str:
        facts = {
            "answer": self.answer,
            "tables": ", ".join(self.tables),
            "figures": ", ".join(self.figures),
            "folder": str(self.folder),
        }
        swept = ", ".join(self.plan.swept)
        what = self.plan.of or "sweep"
        lines = [f"{what} over {swept}: {self.status}" if swept else f"{what}: {self.status}"]
        return "\n".join([*lines, *(f"  {name + ':':9}{text}" for name, text in facts.items() if text)])

    def _repr_html_(self) -> str:
        """Returns the answer, the headline and the pictures, for a notebook."""
        from mi_runner.program import notebook

        return notebook.of_sweep(self)


def _in_words(swept: Mapping[str, Any], spread: Spread | None) -> str:
    """Returns the mean of a combination of swept values, with its interval if there is one."""
    named = " ".join(f"{key}={value}" for key, value in swept.items())
    mean = "not defined" if spread is None or spread.mean is None else shown(spread.mean)
    ends = None if spread is None or spread.low is None or spread.high is None else (spread.low, spread.high)
    text = mean if ends is None else f"{mean} ({shown(ends[0])} to {shown(ends[1])})"
    return f"{named}: {text}" if named else text
