"""Files with data that anyone may have written: their paths, and errors about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mi_runner.errors import ArgumentError


def fault(path: Path | str, problem: str, remedy: str = "", *, others: Sequence[str] = ()) -> ArgumentError:
    """Returns the error of a file.

    Args:
        others: further arguments that the texts name, as `{target}`.
    """
    return ArgumentError(("path", *others), path, problem, remedy)


def file_path(path: str) -> Path:
    """Returns a path with the user's folder in place of `~`.

    Raises:
        ArgumentError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # an unknown user after ~
        raise fault(path, f"{error}.") from error


def is_file(path: Path) -> bool:
    """Returns whether there is a regular file of this name.

    Raises:
        ArgumentError: no file can have such a name.
    """
    try:
        return path.is_file()
    except (OSError, ValueError) as error:  # a name that no file can have
        raise fault(path, f"no file has such a name ({error}).") from error


def is_number(text: str) -> bool:
    """Returns whether a text in a file is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
