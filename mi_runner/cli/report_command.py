"""`mi-run report FOLDER`: makes the report.html of a run or a sweep again, from what is in its folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mi_runner.bench.jobs import BENCH
from mi_runner.bench.pages import bench_report
from mi_runner.cli.arguments import Parser
from mi_runner.errors import ConfigError, ExitStatus, RunFailed
from mi_runner.runs import run_folder, states
from mi_runner.runs.plan import PLAN
from mi_runner.runs.report import write_run_report
from mi_runner.sweeps import sweep_report
from mi_runner.sweeps.sweep_plan import read_plan
from mi_runner.tables import console

EXAMPLES = """\
example:
  mi-run report outputs/ablation/mnist-skip/latest

It reads what is in the folders, and runs nothing. It prints each page's path."""

USAGE = "Type mi-run report FOLDER, for example mi-run report outputs/ablation/mnist-skip/latest."


def parser() -> Parser:
    """Returns the parser of this command's arguments."""
    made = Parser("report", "Writes report.html into the folders of runs, sweeps and benches again.", EXAMPLES)
    made.add_argument("folders", nargs="*", metavar="FOLDER", help="of a run, a sweep or a bench")
    return made


def run(arguments: Sequence[str]) -> int:
    """Writes report.html into each folder, prints its path, and returns the exit status.

    Raises:
        ConfigError: no folder is given, or one has no run.
        RunFailed: a report can't be written.
    """
    asked = parser().parsed(arguments)
    if asked is None:
        return ExitStatus.DONE
    if not asked.folders:
        raise ConfigError(f"report: a folder is missing. {USAGE}")
    folders = [run_folder.linked(Path(typed).expanduser()) for typed in asked.folders]
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: there is no such folder. {USAGE}")
        if not os.path.lexists(folder / run_folder.RECORD) and not sweep_report.is_sweep(folder):
            lacks = f"it has no {run_folder.RECORD} and no {PLAN}"
            raise ConfigError(f"{folder}: {lacks}, so it isn't the folder of a run or sweep. {USAGE}")
    for folder in folders:
        if not sweep_report.is_sweep(folder) and (fault := states.read_state(folder).fault):
            console.error(f"{fault}. The page leaves it out; mend the file, and type the same again.")
        try:
            write = _writer(folder)
            console.last_line(str(write(folder)))
        except OSError as error:
            raise RunFailed(f"can't read or write files in {folder} ({error}).") from error
    return ExitStatus.DONE


def _writer(folder: Path) -> Callable[[Path], Path]:
    """Returns what writes the page of a run, a sweep or a bench."""
    if not sweep_report.is_sweep(folder):
        return write_run_report
    return bench_report.make_again if read_plan(folder).of == BENCH else sweep_report.make_again
