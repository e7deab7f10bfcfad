"""`mi-run report FOLDER`: makes the report.html of a run or a sweep again, from what is in its folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mi_runner.bench.jobs import BENCH
from mi_runner.bench.pages import bench_report
from mi_runner.errors import ConfigError, ExitStatus, RunFailed
from mi_runner.runs import run_folder, states
from mi_runner.runs.plan import PLAN
from mi_runner.runs.report import write_run_report
from mi_runner.sweeps import sweep_report
from mi_runner.sweeps.sweep_plan import read_plan
from mi_runner.tables import console

USAGE = "Type mi-run report FOLDER, for example mi-run report outputs/ablation/mnist-skip/latest."


def run(arguments: Sequence[str]) -> int:
    """Writes report.html into each folder, prints its path, and returns the exit status.

    Raises:
        ConfigError: no folder is given, or one has no run.
        RunFailed: a report can't be written.
    """
    if not arguments:
        raise ConfigError(f"report: a folder is missing. {USAGE}")
    unknown = [argument for argument in arguments if argument.startswith("-")]
    if unknown:
        raise ConfigError(f"report: {unknown[0]} is no option of it. {USAGE}")
    folders = [run_folder.linked(Path(argument).expanduser()) for argument in arguments]
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
