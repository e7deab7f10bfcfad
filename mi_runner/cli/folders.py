"""The folders of runs and sweeps that a user types, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

from mi_runner.errors import ConfigError
from mi_runner.runs import saved_runs
from mi_runner.runs.run_folder import PASSED, linked
from mi_runner.runs.saved_runs import Saved

ADVICE = {
    "ls": "Type mi-run ls FOLDER with the output_dir of your runs, or mi-run experiment=train to make the first run.",
    "rm": "Type mi-run rm FOLDER with the folder of a run or sweep; mi-run ls lists them.",
    "diff": "Type mi-run diff FOLDER FOLDER with folders of runs or of sweeps; mi-run ls lists them.",
    "cite": "Type mi-run cite FOLDER with the folder of a run or a sweep; mi-run ls lists them.",
    "table": "Type mi-run table FOLDER with the folder of a run or a sweep; mi-run ls lists them.",
}
"""Command → what to type if there is no such folder."""


def existing_folder(typed: str, command: str) -> Path:
    """Returns the folder that a user typed.

    Raises:
        ConfigError: there is none.
    """
    folder = Path(typed).expanduser()
    if folder.name == PASSED and folder.parent.is_dir() and not folder.exists():
        raise ConfigError(
            f"{typed}: no run in {folder.parent} has met bounds yet. Give a run some: expect='{{accuracy: \">=0.9\"}}'."
        )
    if not folder.is_dir():
        problem = "this is a file, not a folder" if folder.exists() else "this folder doesn't exist"
        raise ConfigError(f"{typed}: {problem}. {ADVICE[command]}")
    return folder


def saved_in(typed: str, command: str) -> Saved:
    """Returns the run or sweep in the folder that a user typed; of a word such as `latest` the version that it means.

    Raises:
        ConfigError: there is none.
    """
    folder = existing_folder(str(linked(Path(typed).expanduser())), command)
    saved = saved_runs.read(folder)
    if saved is None:
        raise ConfigError(f"{typed}: no run or sweep is in this folder. mi-run ls {typed} lists those below it.")
    return saved
