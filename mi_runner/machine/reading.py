"""Reads files that anybody may have written: regular ones, of bounded size, below the folder that names them.

A folder of runs may come from elsewhere, and its files may be anything: a pipe that never ends, a link to a private
file, a text nested ten thousand times. What can't be read is an `Unreadable` whose text names the file and the reason.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from mi_runner.errors import one_line

MOST_BYTES = 2**28
"""Of a file that is read at once: 256 MB."""


class Unreadable(ValueError):
    """A file can't be read, or has not what it should have; its text names the file, and the reason, in one line."""


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Returns the content of a regular file.

    Pipes, devices and sockets aren't opened for reading: some would never give an end.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: it is no regular file, has more than `most` bytes, or can't be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or one_line(error)}") from error
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise Unreadable(f"{path}: it is no regular file")
    with open(descriptor, "rb") as file:
        if about.st_size > most:
            raise Unreadable(f"{path}: it has {about.st_size:,} bytes; at most {most:,} are read")
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror or one_line(error)}") from error
    if len(content) > most:
        raise Unreadable(f"{path}: it has more than {most:,} bytes")
    return content


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Returns the text of a regular file in UTF-8, without a byte order mark.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: as `read_bytes`; or it is no UTF-8.
    """
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}: it is no UTF-8 text (byte {error.start})") from error


def read_object(path: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """Returns the JSON object that a file has.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: as `read_text`; or it is no JSON object, is nested too deeply, or names a key twice.
    """
    text = read_text(path, most)
    try:
        content = json.loads(text, object_pairs_hook=_keys_once)
    except RecursionError:
        raise Unreadable(f"{path}: it is nested too deeply") from None
    except ValueError as error:  # also an integer of more digits than Python reads
        raise Unreadable(f"{path}: it is no JSON ({one_line(error).removeprefix('JSONDecodeError: ')})") from error
    if not isinstance(content, dict):
        raise Unreadable(f"{path}: it has no JSON object, but {type(content).__name__}")
    return content


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return made


def is_own_file(path: Path, folder: Path) -> bool:
    """Returns whether a path is a regular file below a folder, when all links on its way are followed.

    What a folder links from elsewhere is not its own: a page made of it would show a private file.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode) and path.resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # it is not there, its links go in a circle, its name has a NUL
        return False


def is_own_folder(path: Path, folder: Path) -> bool:
    """Returns whether a path is a folder directly in another one, and no link."""
    try:
        return path.parent == folder and stat.S_ISDIR(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def files_below(folder: Path, deepest: int = 8) -> list[Path]:
    """Returns the regular files of a folder and of the folders in it, by their paths; no links, and no hidden ones."""
    found: list[Path] = []
    waiting = [(folder, 0)]
    while waiting:
        inner, depth = waiting.pop()
        try:
            with os.scandir(inner) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError:  # it is another user's, or was deleted meanwhile
            continue
        found += [Path(entry.path) for entry in visible if entry.is_file(follow_symlinks=False)]
        folders = [Path(entry.path) for entry in visible if entry.is_dir(follow_symlinks=False)]
        waiting += [(path, depth + 1) for path in folders] if depth < deepest else []
    return sorted(found)
