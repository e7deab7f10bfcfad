"""`mi-run table FOLDER [TABLE]`: a table of a run or sweep for a paper, and which tables it has."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mi_runner.bench.jobs import BENCH
from mi_runner.bench.tables import TABLES as OF_BENCH
from mi_runner.cli.arguments import Parser
from mi_runner.cli.folders import saved_in
from mi_runner.errors import ConfigError, ExitStatus, unknown
from mi_runner.experiments.declared import declarations_of
from mi_runner.runs import paper_tables
from mi_runner.runs.citation import DIGITS_OF_HASH
from mi_runner.runs.listing import Condition
from mi_runner.runs.report import tables
from mi_runner.runs.saved_runs import GROUPS, Saved, SavedRun
from mi_runner.runs.settings import networks
from mi_runner.sweeps.declared import SWEEP_SUMMARY, declarations_of_sweep
from mi_runner.tables import console
from mi_runner.tables.cell_types import CellType
from mi_runner.tables.declaration import Declarations
from mi_runner.tables.typeset import PaperTable, latex, markdown

FORMATS = ("markdown", "latex", "csv", "json")

AUTO = "auto"
MOST_DIGITS = 12

EXAMPLES = """\
examples:
  mi-run table outputs/ablation/mnist-skip/latest
  mi-run table outputs/ablation/mnist-skip/latest metrics --format latex
  mi-run table outputs/ablation/mnist-skip/latest metrics \\
      --columns target,method,accuracy --where kind=edge --sort accuracy
  mi-run table outputs/sweeps/ablation/latest sweep_summary \\
      --where measure=accuracy --sort mean --reverse

numbers:
  In Markdown and LaTeX a number has its 95 % interval, 0.9718 ± 0.0033 or
  0.9718 [0.9684, 0.9749], and is rounded where two significant digits of the
  interval's width end; without an interval to four significant digits.
  A column of an interval that --columns names, as accuracy_low, stands by
  itself. csv and json have all digits."""


def parser() -> Parser:
    """Returns the parser of this command's arguments."""
    made = Parser("table", "Prints a table of a run or sweep for a paper; without TABLE what tables it has.", EXAMPLES)
    made.add_argument("folder", nargs="?", metavar="FOLDER", help="of a run or a sweep")
    made.add_argument("table", nargs="?", metavar="TABLE", help="the name of a table, as metrics")
    made.add_argument("--columns", metavar="NAME,...", help="these columns in this order; by default all")
    made.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="only rows for which this holds; also !=, <, <=, >, >=; several: all hold",
    )
    made.add_argument("--sort", metavar="NAME", help="the column to sort by, the smallest value first")
    made.add_argument("--reverse", action="store_true", help="the other order")
    made.add_argument("--format", choices=FORMATS, default="markdown", help="markdown by default")
    made.add_argument(
        "--digits", default=AUTO, metavar="N", help="digits behind the point in Markdown and LaTeX; by default auto"
    )
    return made


def run(arguments: Sequence[str]) -> int:
    """Prints the table and returns the exit status.

    Raises:
        ConfigError: a mistake in the arguments.
    """
    asked = parser().parsed(arguments)
    if asked is None:
        return ExitStatus.DONE
    if asked.folder is None:
        raise ConfigError("table: a folder is missing. Type mi-run table FOLDER; mi-run ls lists the folders of runs.")
    digits = _digits(asked.digits)
    where = tuple(Condition.parse(typed) for typed in asked.where)
    columns = None if asked.columns is None else [name.strip() for name in asked.columns.split(",")]
    source = Source.of(asked.folder)
    if asked.table is None:
        console.table(f"tables of {asked.folder}", source.listed())
        return ExitStatus.DONE
    choice = paper_tables.Choice(columns, where, asked.sort, asked.reverse)
    found = source.table(asked.table, choice, all_columns=asked.format in ("csv", "json"))
    if asked.format == "csv":
        console.page(_csv(found))
    elif asked.format == "json":
        console.page(_json(found))
    else:
        console.page((latex if asked.format == "latex" else markdown)(found, digits))
    return ExitStatus.DONE


def _digits(typed: str) -> int | None:
    """Returns how many digits stand behind the point; None: as the intervals say.

    Raises:
        ConfigError: it is no such number.
    """
    if typed == AUTO:
        return None
    if not typed.isdecimal() or int(typed) > MOST_DIGITS:
        raise ConfigError(
            f"--digits {typed}: type auto, or how many digits stand behind the point, 0 to {MOST_DIGITS}."
        )
    return int(typed)


@dataclass(frozen=True)
class Source:
    """A run or sweep with its tables.

    Attributes:
        saved: the run or sweep.
        files: table → its file, the headline table first.
        declared: what tables and columns mean.
    """

    saved: Saved
    files: dict[str, Path]
    declared: Declarations

    @classmethod
    def of(cls, typed: str) -> Source:
        """Returns the run or sweep in a folder.

        Raises:
            ConfigError: there is none, or it can't be read.
        """
        saved = saved_in(typed, "table")
        first = [*saved.record.shown, "metrics"] if isinstance(saved, SavedRun) else [SWEEP_SUMMARY.name]
        return cls(saved, dict(tables.of_folder(saved.folder, list(dict.fromkeys(first)))), _declared(saved))

    def listed(self) -> list[dict[str, str]]:
        """Returns a row for each table: its name, its file, what it has.

        Raises:
            ConfigError: there is none.
        """
        if not self.files:
            raise ConfigError(f"{self.saved.folder}: it has no tables; its status is {self.saved.values['status']}.")
        return [
            {"table": name, "file": path.name, "what it has": self.declared.caption(name)}
            for name, path in self.files.items()
        ]

    def table(self, name: str, choice: paper_tables.Choice, *, all_columns: bool) -> PaperTable:
        """Returns one of its tables.

        Args:
            all_columns: whether the ends of intervals are columns, unless columns are chosen.

        Raises:
            ConfigError: there is no such table, or no such column.
        """
        if name not in self.files:
            raise ConfigError(f"{self.saved.folder}: {unknown('table', name, self.files)}")
        values = paper_tables.read(self.files[name], self._types(name))
        if all_columns and choice.columns is None:
            choice = paper_tables.Choice(list(values), choice.where, choice.sort, choice.reverse)
        columns = paper_tables.chosen(values, choice, self.declared, name)
        about = self.saved.values
        names = [str(about[group]) for group in GROUPS if about[group]]
        kind = ["sweep"] if about["kind"] == "sweep" else []
        setting = ", ".join(filter(None, ["sweep of " * len(kind) + " · ".join(names), networks(self.saved)]))
        caption = f"{self.declared.caption(name) or name} ({setting})"
        return PaperTable(name, caption, "-".join([*kind, *names, name]), self._made_by(), columns)

    def _types(self, table: str) -> dict[str, CellType]:
        return dict(self.saved.record.types.get(table, {})) if isinstance(self.saved, SavedRun) else {}

    def _made_by(self) -> list[str]:
        """Returns the command, the folder, and as far as it is known the version and the config of the run."""
        saved = self.saved
        first = (
            saved if isinstance(saved, SavedRun) else next((job for job in saved.jobs if job.state.has_record), None)
        )
        version = first.record.versions.get("mi-run") if first else None
        config = saved.record.config_hash if isinstance(saved, SavedRun) else None
        facts = [
            str(saved.folder),
            *([f"mi-run {version}"] if version else []),
            *([f"config {config[:DIGITS_OF_HASH]}"] if config else []),
        ]
        return [*([str(saved.values["command"])] if saved.values["command"] else []), ", ".join(facts)]


def _declared(saved: Saved) -> Declarations:
    """Returns what the tables of a run, a sweep or a bench mean."""
    if isinstance(saved, SavedRun):
        return declarations_of(str(saved.record.experiment))
    if saved.plan is not None and saved.plan.of == BENCH:
        return Declarations(tables=OF_BENCH)
    names = dict.fromkeys(str(job.record.experiment) for job in saved.jobs if job.record.experiment)
    return declarations_of_sweep(names, saved.swept)


def _csv(table: PaperTable) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows(zip(*(column.values for column in table.columns), strict=True))
    return text.getvalue().rstrip("\n")


def _json(table: PaperTable) -> str:
    columns = [{"name": one.name, "meaning": one.meaning} for one in table.columns]
    rows = [{one.name: _finite(one.values[row]) for one in table.columns} for row in range(table.n_rows)]
    content: dict[str, Any] = {"table": table.name, "caption": table.caption, "columns": columns, "rows": rows}
    return json.dumps(content, ensure_ascii=False, indent=1)


def _finite(value: Any) -> Any:
    """Returns the same value; None for infinity, which JSON doesn't have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
