"""Words that stand in columns that name rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

ALL, NONE = "all", "none"
"""Values of a column that names rows: all rows together; no row. pandas would take an empty name as missing and leave
it out of groups."""


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Returns for each path its last parts, as few as tell it from the others; the whole path where none do.

    Example:
        >>> short_names(["runs/train/v001", "runs/train/v002"])
        {'runs/train/v001': 'v001', 'runs/train/v002': 'v002'}
        >>> short_names(["old/best.pt", "new/best.pt"])
        {'old/best.pt': 'old/best.pt', 'new/best.pt': 'new/best.pt'}
    """
    parts = {path: PurePath(path).parts or (path,) for path in dict.fromkeys(paths)}
    for n in range(1, max((len(own) for own in parts.values()), default=0) + 1):
        short = {path: str(PurePath(*own[-n:])) for path, own in parts.items()}
        if len(set(short.values())) == len(short):
            return short
    return {path: path for path in parts}
