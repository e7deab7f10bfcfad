"""`mi_runner.open` and `mi_runner.open_sweep`: runs and sweeps that are saved, as objects."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mi_runner.errors import ConfigError, listed
from mi_runner.program.saved_run import Run
from mi_runner.program.saved_sweep import Sweep
from mi_runner.runs import run_folder, states
from mi_runner.runs.plan import PLAN
from mi_runner.sweeps.collected import collect
from mi_runner.sweeps.sweep_plan import read_plan

MOST_NAMED = 5


def open_run(folder: str | os.PathLike[str]) -> Run:
    """Returns the run that is saved in a folder, in whatever state it is.

    A run that failed or was interrupted has its `status`, its `error` and the tables that it finished.

    Args:
        folder: of a run, such as `outputs/ablation/mnist-skip/latest`, or of a job of a sweep.

    Raises:
        ConfigError: there is no run in it; the text says what to give.

    Example:
        >>> import tempfile, mi_runner
        >>> small = ["dataset=mod_add", "dataset.train_size=60", "training.epochs=1"]
        >>> made = mi_runner.run([*small, f"output_dir={tempfile.mkdtemp()}"])
        >>> run = mi_runner.open(made.folder.parent / "latest")
        >>> run.folder.name, run.status, run.metrics == made.metrics
        ('v001', 'done', True)
    """
    path = _existing(folder)
    if os.path.lexists(path / PLAN):
        raise ConfigError(f"{path} is the folder of a sweep: type mi_runner.open_sweep({str(folder)!r}).")
    if not os.path.lexists(path / run_folder.RECORD):
        raise ConfigError(f"{path} has no {run_folder.RECORD}, so it isn't the folder of a run.{_nearby(path)}")
    return Run(path, states.read_state(path))


def open_sweep(folder: str | os.PathLike[str]) -> Sweep:
    """Returns the sweep that is saved in a folder, with the jobs that are done by now.

    Args:
        folder: of a sweep, such as `outputs/sweeps/ablation/latest`.

    Raises:
        ConfigError: there is no sweep in it; the text says what to give.

    Example:
        >>> import tempfile, mi_runner
        >>> from mi_runner.cli import command
        >>> small = ["dataset=mod_add", "dataset.train_size=60", "training.epochs=1", "training.learning_rate=0.1,0.01"]
        >>> folder = tempfile.mkdtemp()
        >>> status = command.main(["-m", *small, f"output_dir={folder}"])  # doctest: +ELLIPSIS
        accuracy...
        >>> sweep = mi_runner.open_sweep(f"{folder}/sweeps/train/v001")
        >>> [run.swept["training.learning_rate"] for run in sweep.runs], list(sweep.tables)
        ([0.1, 0.01], ['sweep_summary', 'sweep'])
    """
    path = _existing(folder)
    if not os.path.lexists(path / PLAN):
        if os.path.lexists(path / run_folder.RECORD):
            raise ConfigError(f"{path} is the folder of one run: type mi_runner.open({str(folder)!r}).")
        raise ConfigError(f"{path} has no {PLAN}, so it isn't the folder of a sweep.{_nearby(path)}")
    return Sweep(path, collect(read_plan(path), path))


def _existing(folder: str | os.PathLike[str]) -> Path:
    """Returns the folder that is meant; of a word such as `latest` the version that it means now.

    Raises:
        ConfigError: there is none.
    """
    try:
        path = run_folder.linked(Path(folder).expanduser().absolute())
        is_folder = path.is_dir()
    except (RuntimeError, OSError, ValueError, TypeError) as error:  # an unknown user after ~, a name with a NUL
        raise ConfigError(f"{folder!r}: no folder has such a name ({error}).") from error
    if not is_folder:
        what = "this is a file, not a folder" if path.exists() else "this folder doesn't exist"
        raise ConfigError(f"{path}: {what}.{_nearby(path.parent)}")
    return path


def _nearby(folder: Path) -> str:
    """Returns a sentence that names the folders of runs and sweeps in a folder, or says how to list those below."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        names = []
    versions = [
        name for name in names if re.fullmatch(rf"{run_folder.VERSION}|{run_folder.LATEST}|{run_folder.PASSED}", name)
    ]
    if versions:
        return f" {folder} has {listed(versions, MOST_NAMED)}: give one of these."
    return " mi-run ls FOLDER lists the runs and sweeps below a folder."
