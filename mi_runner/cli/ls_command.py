"""`mi-run ls [FOLDER]`: which runs and sweeps are there, in what state, and what did they give?"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mi_runner.cli.arguments import Parser
from mi_runner.cli.folders import existing_folder
from mi_runner.errors import ConfigError, ExitStatus
from mi_runner.runs import saved_runs
from mi_runner.runs.listing import Condition, Listing, listing
from mi_runner.runs.saved_runs import Saved, shown
from mi_runner.tables import console

FORMATS = ("table", "csv", "json")

MOST_FAULTS = 10
"""Lines about files that can't be read."""

MOST_ROWS = 60
"""Rows of a table without `--limit`."""

EXAMPLES = """\
examples:
  mi-run ls
  mi-run ls --where experiment=ablation --where 'accuracy>0.9' --sort accuracy --reverse
  mi-run ls outputs/sweeps/train/v001 --columns path,status,seed,training.learning_rate,accuracy
  mi-run ls --where 'status!=done' --columns path,status,error
  mi-run ls --where tag=paper --where name=first

columns:
  path, name, tags, note, kind (run, sweep), status, jobs, started, finished, seconds, experiment, dataset, model, seed,
  device, threads, host, code, commit, command, error, exit_status, every config key, every metric of the summary
  In a condition tag is one of the tags, and state is status.
status:
  done, failed, interrupted, killed, running; unfinished: a sweep with jobs that are not done;
  torn: run.json or sweep.json can't be read; missing: there is no run.json"""


def parser() -> Parser:
    """Returns the parser of this command's arguments."""
    made = Parser("ls", "Lists the runs and sweeps below a folder, the newest first.", EXAMPLES)
    made.add_argument("folder", nargs="?", default="outputs", metavar="FOLDER", help="outputs by default")
    made.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="only rows for which this holds; also !=, <, <=, >, >=; several: all hold",
    )
    made.add_argument("--sort", metavar="NAME", help="the column to sort by, the smallest value first")
    made.add_argument("--reverse", action="store_true", help="the other order")
    made.add_argument(
        "--columns",
        metavar="NAME,...",
        help="these columns; by default the usual ones, config keys that differ, and headline metrics",
    )
    made.add_argument("--jobs", action="store_true", help="also the jobs of sweeps, a row for each")
    made.add_argument("--limit", type=int, metavar="N", help=f"at most N rows; a table has at most {MOST_ROWS}")
    made.add_argument("--format", choices=FORMATS, default="table", help="csv and json have all digits")
    return made


def run(arguments: Sequence[str]) -> int:
    """Prints the list and returns the exit status.

    Raises:
        ConfigError: a mistake in the arguments.
    """
    asked = parser().parsed(arguments)
    if asked is None:
        return ExitStatus.DONE
    if asked.limit is not None and asked.limit < 1:
        raise ConfigError(f"--limit {asked.limit}: must be 1 or more.")
    where = [Condition.parse(typed) for typed in asked.where]
    columns = None
    if asked.columns is not None:
        columns = [name.strip() for name in asked.columns.split(",")]
    folder = existing_folder(asked.folder, "ls")
    limit = asked.limit or (MOST_ROWS if asked.format == "table" else None)
    saved = list(saved_runs.below(folder, jobs=asked.jobs))
    found = listing(
        saved,
        where=where,
        sort=asked.sort,
        reverse=asked.reverse,
        columns=columns,
        limit=limit,
    )
    if asked.format == "csv":
        console.page(_csv(found))
    elif asked.format == "json":
        console.page(json.dumps(found.rows, ensure_ascii=False, indent=1))
    else:
        _print_table(found, asked.folder)
    _say_faults(saved)
    return ExitStatus.DONE


def _say_faults(saved: Sequence[Saved]) -> None:
    """Writes a line to standard error for each file that can't be read as it should."""
    faults = list(dict.fromkeys(fault for one in saved for fault in one.faults))
    for fault in faults[:MOST_FAULTS]:
        console.error(f"{fault}. Mend the file, or delete the folder.")
    if len(faults) > MOST_FAULTS:
        console.note(f"({len(faults) - MOST_FAULTS:,} more files that can't be read: --columns path,error names them)")


def _csv(found: Listing) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(found.columns)
    for row in found.rows:
        writer.writerow(["" if value is None else _text(value) for value in row.values()])
    return text.getvalue().rstrip("\n")


def _text(value: Any) -> Any:
    return shown(value) if isinstance(value, bool | list | dict) else value


def _print_table(found: Listing, folder: str) -> None:
    if not found.rows:
        console.page(f"no runs below {folder}, or none that all conditions fit")
        return
    rows = [{name: _cell(name, value) for name, value in row.items()} for row in found.rows]
    n = len(rows) + found.n_left_out
    title = f"{folder}: {n:,} {'run or sweep' if n == 1 else 'runs and sweeps'}"
    console.table(title, rows, most=len(rows), keep=[name for name in rows[0] if _is_metric(name, found.rows)])
    if found.n_left_out:
        console.page(f"({found.n_left_out:,} more rows: --limit {n} shows them, --where chooses)")


def _is_metric(name: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(isinstance(row[name], float) for row in rows)


def _cell(name: str, value: Any) -> Any:
    if name in ("started", "finished") and isinstance(value, str):
        try:
            return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M")
        except ValueError:
            return value
    return _text(value)
