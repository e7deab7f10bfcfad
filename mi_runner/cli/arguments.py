"""The arguments of the commands about runs that exist: `mi-run ls`, `mi-run diff`, `mi-run table`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mi_runner.errors import ConfigError
from mi_runner.runs import saved_runs
from mi_runner.runs.run_folder import linked
from mi_runner.runs.saved_runs import Saved
from mi_runner.tables import console


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are `ConfigError`s, and whose help the console prints."""

    def __init__(self, command: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=f"mi-run {command}",
            description=description,
            epilog=epilog,
            add_help=False,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument("--help", action="store_true", help="this page")

    def parsed(self, arguments: Sequence[str]) -> argparse.Namespace | None:
        """Returns the arguments; None if they ask for help, which is printed.

        Raises:
            ConfigError: they are a mistake.
        """
        if "--help" in arguments or "-h" in arguments:
            console.page(self.format_help().rstrip())
            return None
        return self.parse_intermixed_args(arguments)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}. Type {self.prog} --help.")


ADVICE = {
    "ls": "Type mi-run ls FOLDER with the output_dir of your runs, or mi-run to make the first run.",
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
