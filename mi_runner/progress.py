"""How long work says how far it is, without knowing who listens.

Experiments and the training loop get a `Progress` and report to it. This one keeps silent, which suits tests and
notebooks; `console.Progress` draws bars.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

log = logging.getLogger("mi_runner")
"""Every module's logger; the runner sends it to run.log, the console module to standard error."""


class Advance(Protocol):
    """`advance(steps, note)`: so many steps more are done; the note, if not empty, stands behind the bar."""

    def __call__(self, steps: int, note: str = "", /) -> None: ...


class Progress:
    """Silent progress that keeps the finished rows.

    Attributes:
        tables: name of a table → its rows that are finished; the runner writes them if the run is interrupted.
    """

    def __init__(self) -> None:
        self.tables: dict[str, list[Mapping[str, Any]]] = {}

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Advance]:
        """A piece of work of `total` steps."""

        def advance(steps: int, note: str = "", /) -> None:
            """Nobody listens."""

        yield advance

    def rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """These rows of a table are finished: an interruption doesn't lose them."""
        self.tables.setdefault(table, []).extend(rows)
