"""An option of a method: a field of a frozen dataclass with its default, its meaning and its range.

The config of an experiment takes all three from here, so that a command line and a program have the same.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

MOST = 1_000_000_000
"""The largest whole number of an option that names no bound: no count here means more, and memory ends before."""


def option(
    default: Any,
    doc: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    text: bool = False,
    formula: bool = False,
) -> Any:
    """Returns a dataclass field with its meaning (one line) and its range; a list's range holds for each element.

    Numbers are finite, and whole numbers at most `MOST` in absolute value, where no range says otherwise.

    Args:
        text: of a field of any type, whether its values, and those of its lists, are text.
        formula: whether its text has signs such as ~ ( & that Hydra's grammar has other meanings for.
    """
    metadata = {"doc": doc, "at_least": at_least, "above": above, "at_most": at_most, "below": below, "text": text}
    if formula:
        metadata["formula"] = True
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)
