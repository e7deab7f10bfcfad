"""Prints tables and the folder's path to standard output, and everything else to standard error.

Only this module prints.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from traceback import format_exception
from typing import Any

from mi_runner import progress
from mi_runner.progress import Advance

WIDEST_TEXT = 40
"""On a terminal, a column of texts is folded to this many characters before a column is left out."""

SECONDS_BETWEEN_LINES = 10.0
"""Without a terminal, progress is a line after at least this many seconds."""

MOST_ROWS = 60
"""Largest number of table rows that are printed; the file has all rows."""


def page(text: str) -> None:
    """Prints a text that the user asked for to standard output."""
    print(text)


def last_line(path: str) -> None:
    """Prints the folder's path alone on a line, for scripts: `folder=$(mi-run ... | tail -n 1)`."""
    print(path, flush=True)


def error(text: str) -> None:
    """Prints one line that says what went wrong to standard error."""
    print(f"mi-run: error: {text}", file=sys.stderr, flush=True)


def traceback(error: BaseException) -> None:
    """Prints the traceback of an unexpected error to standard error."""
    print("".join(format_exception(error)), end="", file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Prints one line about progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def table(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    most: int = MOST_ROWS,
    to_stderr: bool = False,
    keep: Sequence[str] = (),
) -> None:
    """Prints a table to standard output or standard error; of a long table only the first `most` rows.

    In a file or a pipe the table is as wide as its cells. If a terminal is too narrow, columns are left out, and a line
    names them: first those with one value in all rows, then those that repeat an earlier column, such as an interval of
    exact counts, then from the right; the first column stays.

    Args:
        keep: columns that are left out last.
    """
    from rich.console import Console
    from rich.table import Table

    columns = list(rows[0]) if rows else []
    cells = {column: [_cell(row[column]) for row in rows[:most]] for column in columns}
    widths = {column: _width([column, *cells[column]]) for column in columns}
    natural = max(sum(widths.values()) + 3 * len(columns) + 1, _width([title]))
    is_terminal = (sys.stderr if to_stderr else sys.stdout).isatty()
    console = Console(width=None if is_terminal else natural, stderr=to_stderr, highlight=False, markup=False)
    left_out = _left_out(cells, widths, console.width, keep) if is_terminal else ()
    drawn = Table(title=title, title_justify="left")
    columns = [column for column in columns if column not in left_out]
    for column in columns:
        numeric = all(isinstance(row[column], int | float) or row[column] is None for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for number in range(len(rows[:most])):
        drawn.add_row(*(cells[column][number] for column in columns))
    console.print(drawn)
    if left_out:
        text = f"(left out, as the terminal has {console.width} columns: {', '.join(left_out)})"
        console.print(text, soft_wrap=True)
    if len(rows) > most:
        console.print(f"({len(rows) - most:,} more rows in the file)", soft_wrap=True)


def _width(texts: Sequence[str]) -> int:
    from rich.cells import cell_len

    return max(cell_len(line) for text in texts for line in text.split("\n"))


def _left_out(
    cells: Mapping[str, Sequence[str]], widths: Mapping[str, int], width: int, keep: Sequence[str]
) -> Sequence[str]:
    """Returns the columns to leave out of a table so that it fits into `width` characters, in the table's order."""
    others = list(cells)[1:]
    constant = [column for column in others if column not in keep and len(set(cells[column])) == 1]
    earlier = {tuple(of_column): column for column, of_column in reversed(list(cells.items()))}
    repeating = [column for column in others if column not in (*keep, *constant, earlier[tuple(cells[column])])]
    varying = [column for column in others if column not in (*keep, *constant, *repeating)]
    kept = [column for column in others if column in keep]
    candidates = [*reversed(constant), *reversed(repeating), *reversed(varying), *reversed(kept)]
    left_out: list[str] = []
    for candidate in candidates:
        needed = [min(widths[column], WIDEST_TEXT) + 3 for column in cells if column not in left_out]
        if sum(needed) + 1 <= width:
            break
        left_out.append(candidate)
    return [column for column in cells if column in left_out]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.4g}"
    return str(value)


class Bars(progress.Progress):
    """Bars on a terminal, plain lines elsewhere; on standard error."""

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Advance]:
        if not sys.stderr.isatty():
            yield _PlainBar(description, total)
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(description, total=total, note="")

            def advance(steps: int, note: str = "") -> None:
                if note:
                    bars.update(task, advance=steps, note=note)
                else:
                    bars.advance(task, steps)

            yield advance


class _PlainBar:
    def __init__(self, description: str, total: int) -> None:
        self.description, self.total, self.done, self.note = description, total, 0, ""
        self.began = self.printed = time.monotonic()

    def __call__(self, steps: int, note: str = "") -> None:
        self.done += steps
        self.note = note or self.note
        now = time.monotonic()
        if now - self.printed < SECONDS_BETWEEN_LINES:
            return
        self.printed = now
        remaining = (now - self.began) / self.done * (self.total - self.done) if self.done else math.nan
        print(
            f"{self.description}: {self.done:,} of {self.total:,}, {remaining:.0f} s left {self.note}".rstrip(),
            file=sys.stderr,
            flush=True,
        )


_job: int | None = None


@contextmanager
def as_job(job: int) -> Iterator[None]:
    """Within the block, shows only warnings among the log lines, each with the number of the sweep's job."""
    global _job
    before, _job = _job, job
    try:
        yield
    finally:
        _job = before


class LogHandler(logging.Handler):
    """Prints log lines to standard error.

    Each line goes to the current `sys.stderr`, because a progress bar replaces it by one that writes above the bar.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if _job is None:
            print(self.format(record), file=sys.stderr, flush=True)
        elif record.levelno >= logging.WARNING:
            print(f"job {_job}: {self.format(record)}", file=sys.stderr, flush=True)
