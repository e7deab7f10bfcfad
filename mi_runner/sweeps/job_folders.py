"""The folders of a sweep's jobs, where an earlier attempt at a job is kept."""

from __future__ import annotations

from pathlib import Path

EARLIER = "earlier"
"""In a sweep's folder: the folders of attempts that were made again."""


def set_aside(folder: Path) -> Path:
    """Moves an earlier attempt at a job, so that one folder, and one row, is left of it, and returns its new place."""
    attempts = folder.parent / EARLIER
    attempts.mkdir(exist_ok=True)
    attempt = 1
    while (place := attempts / f"{folder.name}-{attempt}").exists():
        attempt += 1
    return folder.rename(place)
