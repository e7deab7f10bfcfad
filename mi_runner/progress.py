"""Reports the progress of long work.

Experiments and the training loop report to a `Progress`. The one here prints nothing, which suits tests and notebooks;
`console.Bars` draws bars.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

log = logging.getLogger("mi_runner")
"""The logger of all modules; the runner writes its lines to run.log, the console to standard error."""


class Advance(Protocol):
    """`advance(steps, note)` reports that many more steps as done, and shows a note that isn't empty after the bar."""

    def __call__(self, steps: int, note: str = "", /) -> None: ...


class Progress:
    """Silent progress that keeps the finished rows.

    Attributes:
        tables: name of a table → its finished rows; the runner writes them if the run is interrupted.
        draw: is told of figures that are known before the run's end.
    """

    def __init__(self) -> None:
        self.tables: dict[str, list[Mapping[str, Any]]] = {}
        self.draw: Callable[[Mapping[str, Callable[[], Any]]], None] | None = None

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Advance]:
        """Begins work of `total` steps, and yields the function that reports them."""

        def advance(steps: int, note: str = "", /) -> None:
            """Prints nothing."""

        yield advance

    def rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds finished rows to a table, so that an interruption doesn't lose them."""
        self.tables.setdefault(table, []).extend(rows)

    def figures(self, drawings: Mapping[str, Callable[[], Any]]) -> None:
        """Says of figures of the result whose numbers don't change any more, so that they are drawn meanwhile.

        Args:
            drawings: as in the result: name → a function that draws the figure.
        """
        if self.draw is not None:
            self.draw(drawings)
