"""The answer of a sweep: what its networks say together, in the file answer.txt of its folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mi_runner.machine.files import whole_characters, written_whole
from mi_runner.machine.reading import is_own_file

ANSWER = "answer.txt"


def write(folder: Path, text: str) -> None:
    """Writes the answer, a line for each combination of swept values; removes that of before if there is none.

    Raises:
        OSError: the folder can't be written.
    """
    if not text:
        with suppress(FileNotFoundError):
            (folder / ANSWER).unlink()
        return
    with written_whole(folder / ANSWER) as beside:
        beside.write_text(f"{whole_characters(text)}\n", encoding="utf-8")


def read(folder: Path) -> str:
    """Returns the answer; empty if the sweep has none, or it can't be read."""
    path = folder / ANSWER
    if not is_own_file(path, folder):
        return ""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
