"""The folders of a sweep's jobs, where an earlier attempt at a job is kept."""

from __future__ import annotations

from pathlib import Path

EARLIER = "earlier"
"""In a sweep's folder: the folders of attempts that were made again."""


def set_aside(folder: Path) -> None:
    """An earlier attempt at a job is moved away, so that one folder, and one row, is left of it."""
    if not folder.exists():
        return
    attempts = folder.parent / EARLIER
    attempts.mkdir(exist_ok=True)
    number = 1
    while (attempts / f"{folder.name}-{number}").exists():
        number += 1
    folder.rename(attempts / f"{folder.name}-{number}")
