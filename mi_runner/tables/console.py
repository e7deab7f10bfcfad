"""Prints tables and the folder's path to standard output, and everything else to standard error.

Only this module prints. Characters that a terminal obeys are shown as their numbers, wherever a text comes from.
"""

from __future__ import annotations

import io
import logging
import math
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import format_exception
from typing import Any

from mi_runner import progress
from mi_runner.errors import escaped
from mi_runner.machine import streams
from mi_runner.progress import Advance

WIDEST_TEXT = 40
"""On a terminal, a column of texts is folded to this many characters before a column is left out."""

SECONDS_BETWEEN_LINES = 10.0
"""Without a terminal, progress is a line after at least this many seconds."""

MOST_ROWS = 60
"""Largest number of table rows that are printed; the file has all rows."""


@dataclass
class _Kept:
    """What `folders` keeps within its block.

    Attributes:
        folders: those that were printed last.
        tables_to_stderr: whether tables and texts go to standard error, and folders nowhere.
    """

    folders: list[str]
    tables_to_stderr: bool


_kept: _Kept | None = None


@contextmanager
def folders(*, tables_to_stderr: bool) -> Iterator[list[str]]:
    """Keeps the folders that `last_line` gets within the block, in a list.

    Args:
        tables_to_stderr: whether what else goes to standard output goes to standard error, and folders nowhere.
    """
    global _kept
    before, _kept = _kept, _Kept([], tables_to_stderr)
    try:
        yield _kept.folders
    finally:
        _kept = before


def _is_turned() -> bool:
    """Returns whether standard output is kept for what the block's command prints at its end."""
    return _kept is not None and _kept.tables_to_stderr


def page(text: str) -> None:
    """Prints a text that the user asked for to standard output."""
    (streams.err if _is_turned() else streams.out)(f"{escaped(text)}\n")


def confirmed(question: str) -> bool:
    """Returns whether the user answers a question on standard error with y or yes."""
    streams.err(f"{escaped(question)} [y/N] ")
    return sys.stdin is not None and sys.stdin.readline().strip().lower() in ("y", "yes")


def last_line(path: str) -> None:
    """Prints the folder's path alone on a line, for scripts: `folder=$(mi-run ... | tail -n 1)`.

    Where standard output can't be written, the line goes to standard error.
    """
    if _kept is not None:
        _kept.folders.append(path)
    if _is_turned():
        return
    if (why := streams.out_path(path, escaped(path))) is not None:
        note(f"standard output can't be written ({why.strerror or why}), so its last line is here:\n{path}")


def error(text: str) -> None:
    """Prints one line that says what went wrong to standard error."""
    streams.err(f"mi-run: error: {escaped(text)}\n")


def traceback(error: BaseException) -> None:
    """Prints the traceback of an unexpected error to standard error."""
    streams.err(escaped("".join(format_exception(error))))


def note(text: str) -> None:
    """Prints one line about progress to standard error."""
    streams.err(f"{escaped(text)}\n")


def table(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    most: int = MOST_ROWS,
    to_stderr: bool = False,
    keep: Sequence[str] = (),
    counts: Collection[str] = (),
) -> None:
    """Prints a table to standard output or standard error; of a long table only the first `most` rows.

    In a file or a pipe the table is as wide as its cells. If a terminal is too narrow, columns are left out, and a line
    names them: first those with one value in all rows, then those that repeat an earlier column, such as an interval of
    exact counts, then from the right; the first column stays.

    Args:
        keep: columns that are left out last.
        counts: columns of counts, whose whole numbers have no digits behind the point.
    """
    from rich.console import Console
    from rich.table import Table

    to_stderr = to_stderr or _is_turned()
    title = escaped(title)
    rows = [{escaped(str(column)): value for column, value in row.items()} for row in rows]
    columns = list(rows[0]) if rows else []
    whole = {escaped(column) for column in counts}
    cells = {
        column: [escaped(_cell(row[column], is_count=column in whole)) for row in rows[:most]] for column in columns
    }
    widths = {column: _width([column, *cells[column]]) for column in columns}
    natural = max(sum(widths.values()) + 3 * len(columns) + 1, _width([title]))
    stream = sys.stderr if to_stderr else sys.stdout
    is_terminal = stream is not None and not stream.closed and stream.isatty()
    width = None if is_terminal else natural
    drawing = _Drawing(is_terminal, getattr(stream, "encoding", None) or "utf-8")
    # In a name, neither [red] nor :bug: means anything. In a notebook, rich would show the text besides.
    console = Console(file=drawing, width=width, highlight=False, markup=False, emoji=False, force_jupyter=False)
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
    (streams.err if to_stderr else streams.out)(drawing.getvalue())


class _Drawing(io.StringIO):
    """The text of a table that is drawn for a stream. rich asks it what the stream is, and can't fail at writing."""

    def __init__(self, is_terminal: bool, encoding: str) -> None:
        super().__init__()
        self._is_terminal, self._encoding = is_terminal, encoding

    def isatty(self) -> bool:
        return self._is_terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


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


def _cell(value: Any, *, is_count: bool = False) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, float):
        return str(value)
    if is_count and abs(value) < 1e15:
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    # A number that isn't 0 isn't shown as 0.
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.4g}"


class Bars(progress.Progress):
    """Bars on a terminal, plain lines elsewhere; on standard error."""

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Advance]:
        if sys.stderr is None or sys.stderr.closed or not sys.stderr.isatty():
            yield _PlainBar(description, total)
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True, markup=False, emoji=False, force_jupyter=False)
        with RichProgress(*columns, console=console, transient=True) as bars:
            task = bars.add_task(escaped(description), total=total, note="")

            def advance(steps: int, note: str = "") -> None:
                if note:
                    bars.update(task, advance=steps, note=escaped(note))
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
        left = ""
        if self.done:
            # A sample may draw some more than it was meant to.
            left = f", {(now - self.began) / self.done * max(0, self.total - self.done):.0f} s left"
        line = f"{self.description}: {self.done:,} of {self.total:,}{left} {self.note}".rstrip()
        streams.err(f"{escaped(line)}\n")


_job: int | None = None


@contextmanager
def as_job(job: int) -> Iterator[None]:
    """Shows only warnings among the log lines within the block, each with the number of the sweep's job."""
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
            note(self.format(record))
        elif record.levelno >= logging.WARNING:
            note(f"job {_job}: {self.format(record)}")
