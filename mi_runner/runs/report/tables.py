"""Tables of a run folder as a page shows them: few rows of large ones, numbers as text, the meaning of each column."""

from __future__ import annotations

import csv
import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mi_runner.machine.reading import files_below, is_own_file
from mi_runner.runs.saved_tables import READING_ERRORS
from mi_runner.tables.declaration import COUNT, Column, CommonName, Declarations, Key, Measure, Repeat

MOST_ROWS = 300
"""Rows that a page has of the tables that the terminal shows."""

MOST_OTHER_ROWS = 100
"""Rows that a page has of each other table."""

SEEDS = "n"
"""The column of a table over seeds that counts them."""

MEASURE_OF_ROW = "measure"
"""The column of a summary over seeds that says what its row is of."""

MOST_COLUMNS = 60
"""Columns that a page has of a table."""


@dataclass(frozen=True)
class Bar:
    """A bar behind a number.

    Attributes:
        begin, width: in percent of the cell.
    """

    begin: float
    width: float


@dataclass(frozen=True)
class Cell:
    """A value in a table.

    Attributes:
        text: as it is shown.
        value: the digits of the file; empty if they are the text.
        link: the path of a file beside the page; empty for none.
        bar: None for none.
        interval: of the number, as text; empty for none.
    """

    text: str
    value: str = ""
    link: str = ""
    bar: Bar | None = None
    interval: str = ""


@dataclass(frozen=True)
class Heading:
    """A column's heading.

    Attributes:
        column: its declaration; None if there is none.
        numeric: whether every value is a number or empty.
    """

    name: str
    column: Column | None
    numeric: bool

    @property
    def names_rows(self) -> bool:
        """Whether it is a key, or the value of an option, which has no declaration."""
        return self.column is None or isinstance(self.column, Key | Repeat | CommonName)

    @property
    def meaning(self) -> str:
        """What the column has; empty if nothing says it."""
        return "" if self.column is None else self.column.meaning

    @property
    def terms(self) -> str:
        """Its unit, and whether more of it is better; empty if nothing says it."""
        return "" if self.column is None else self.column.terms

    @property
    def about(self) -> str:
        """Meaning and unit in one line."""
        return "" if self.column is None else str(self.column)


@dataclass(frozen=True)
class Table:
    """A table as a page shows it.

    Attributes:
        meaning: what the table has.
        file: its name in the folder; empty if the table isn't a file.
        rows: the first rows of the file, as text.
        n_rows: rows of the file.
        n_columns: columns of the file.
        n_keys: columns in front that name a row; on a narrow screen they stand in one cell.
        lead: the column that a narrow screen has next to the name; None: the columns stay as they are.
    """

    name: str
    meaning: str
    file: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]
    n_rows: int
    n_columns: int
    n_keys: int = 0
    lead: int | None = None

    @property
    def n_left_out(self) -> int:
        return self.n_rows - len(self.rows)


Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Content:
    """The first rows of a file, as text.

    Attributes:
        columns: in the order of the file.
        rows: at most as many as were asked for.
        n_rows: rows of the file.
    """

    columns: Sequence[str]
    rows: Rows
    n_rows: int


def read(path: Path, most: int) -> Content | None:
    """Returns the first rows of a CSV or Parquet file; None if it can't be read, or isn't a file of its folder."""
    if not is_own_file(path, path.parent):
        return None
    try:
        return _read_parquet(path, most) if path.suffix == ".parquet" else _read_csv(path, most)
    except READING_ERRORS:
        return None


def _read_csv(path: Path, most: int) -> Content:
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        names = next(lines, [])
        rows = [dict(zip(names, line, strict=False)) for line in islice(lines, most)]
        return Content(names, rows, len(rows) + sum(1 for _ in lines))


def _read_parquet(path: Path, most: int) -> Content:
    import pyarrow.parquet as parquet

    file = parquet.ParquetFile(path)
    names = list(file.schema_arrow.names)
    batch = next(file.iter_batches(most), None)
    rows = [{name: _text(value) for name, value in row.items()} for row in (batch.to_pylist() if batch else [])]
    return Content(names, rows, file.metadata.num_rows)


def _text(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def table(name: str, content: Content, declared: Declarations, file: str = "", *, meaning: str | None = None) -> Table:
    """Returns a table of an experiment's run, or of a sweep, as a page shows it.

    Args:
        declared: what the table and its columns mean.
        meaning: what the table has; None: as it is declared.
    """
    shown = list(content.columns)[:MOST_COLUMNS]
    headings = []
    for column in shown:
        values = [row.get(column, "") for row in content.rows]
        numeric = any(values) and all(value == "" or number(value) is not None for value in values)
        headings.append(Heading(column, declared.column(name, column), numeric))
    counted = _counted(declared)
    rows = [
        [
            _cell(
                row.get(heading.name, ""), counts=heading.column.unit == COUNT or row.get(MEASURE_OF_ROW, "") in counted
            )
            if heading.column is not None
            else Cell(row.get(heading.name, ""))  # an option's value, as it was typed
            for heading in headings
        ]
        for row in content.rows
    ]
    about = declared.caption(name) if meaning is None else meaning
    n_keys = next((place for place, heading in enumerate(headings) if not heading.names_rows), len(headings))
    lead = next((place for place, heading in enumerate(headings) if isinstance(heading.column, Measure)), None)
    return Table(name, about, file, headings, rows, content.n_rows, len(content.columns), n_keys, lead)


def _counted(declared: Declarations) -> frozenset[str]:
    """Returns the measures that are counts; a summary over seeds has rows of them."""
    columns = chain(*(table.columns for table in declared.tables), declared.summary)
    return frozenset(column.name for column in columns if column.unit == COUNT)


def of_rows(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    declared: Declarations,
    *,
    meaning: str,
    measures: Container[str] | None = None,
) -> Table:
    """Returns rows of values as a table that isn't a file.

    Args:
        measures: columns that have measures, where the declarations don't say it; those before the first of them, and
            before the number of seeds, name a row.
    """
    names = list(dict.fromkeys(column for row in rows for column in row))
    texts = [{column: _text(row.get(column)) for column in names} for row in rows]
    made = table(name, Content(names, texts, len(rows)), declared, meaning=meaning)
    if measures is None:
        return made
    places = [place for place, column in enumerate(names) if column in measures]
    keys = [place for place, column in enumerate(names) if column in measures or column == SEEDS]
    return replace(made, n_keys=min(keys, default=len(names)), lead=min(places, default=None))


def number(text: str) -> float | None:
    """Returns the finite number that a text is; None if it isn't."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def shown(value: float, *, counts: bool = False) -> str:
    """Returns a number as a page shows it: four digits behind the point, or four significant ones."""
    if value == int(value) and abs(value) < 2**53 and counts:
        return f"{int(value):,}"
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.4g}"
    return f"{value:.4f}"


def _cell(text: str, *, counts: bool) -> Cell:
    value = number(text)
    if value is None or (text.lstrip("-").isdecimal() and not (counts and abs(value) >= 1000)):
        return Cell(text)
    short = shown(value, counts=counts)
    return Cell(short) if short == text else Cell(short, text)


def of_folder(folder: Path, first: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yields name and file of the folder's tables, those named in `first` before the others."""
    files: dict[str, Path] = {}
    for path in sorted(_files(folder)):
        files.setdefault(path.stem, path)
    for name in (*first, *(name for name in files if name not in first)):
        if name in files:
            yield name, files[name]


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in files_below(folder, deepest=0) if path.suffix in (".csv", ".parquet"))
