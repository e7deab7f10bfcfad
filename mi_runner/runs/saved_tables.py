"""Tables of a run folder, read back: what is in them is what the run wrote, or a line that names the file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mi_runner.errors import one_line
from mi_runner.machine.reading import Unreadable, is_own_file
from mi_runner.runs.run_folder import table_file

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_BYTES = 2**30
"""Of a table that is read whole: 1 GB. A run writes CSV tables of at most 100,000 rows."""

MOST_CELLS = 2 * 10**9
"""Of a Parquet table that is read whole: a file of few bytes can say that it has any number."""

READING_ERRORS = (
    OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError, OverflowError, MemoryError, csv.Error
)  # fmt: skip
"""What pandas and pyarrow raise at a file that is no table; pyarrow's own errors are among these."""


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Makes errors about a table within the block `Unreadable`, with the name of its file.

    Raises:
        Unreadable: instead of what the block raises.
    """
    try:
        yield
    except Unreadable:
        raise
    except READING_ERRORS as error:
        raise Unreadable(f"{path}: it can't be read as a table ({one_line(error)})") from error


def check_own(path: Path) -> None:
    """Checks that the file of a table lies in its folder, is a regular file, and is not too large.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: it is something else.
    """
    size = path.stat().st_size
    if not is_own_file(path, path.parent):
        raise Unreadable(f"{path}: it is no file of this folder")
    if size > MOST_BYTES and path.suffix != ".parquet":
        raise Unreadable(f"{path}: it has {size:,} bytes; at most {MOST_BYTES:,} are read")


def read_frame(folder: Path, table: str, columns: Sequence[str] | None = None, *, as_text: bool = True) -> DataFrame:
    """Returns a table's rows.

    Args:
        columns: those to read; None: all.
        as_text: of a CSV file every cell as its text, because pandas takes names such as `null` as empty.

    Raises:
        Unreadable: there is none, it can't be read, or it lacks a column.
    """
    import pandas as pd

    path = table_file(folder, table)
    with unreadable(path):
        check_own(path)
        if path.suffix == ".parquet":
            check_cells(path)
            frame = pd.read_parquet(path, columns=None if columns is None else list(columns))
        else:
            wanted = None if columns is None else list(columns)
            frame = (
                pd.read_csv(path, usecols=wanted, dtype=str, keep_default_na=False)
                if as_text
                else pd.read_csv(path, usecols=wanted)
            )
        if lacking := [name for name in columns or () if name not in frame]:
            raise Unreadable(f"{path}: it lacks the column {lacking[0]}")
        return frame


def check_cells(path: Path) -> None:
    """Checks that a Parquet file declares no more cells than can be held.

    Raises:
        Unreadable: it declares more.
    """
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        about = file.metadata
        if about.num_rows * about.num_columns > MOST_CELLS:
            raise Unreadable(f"{path}: it says that it has {about.num_rows:,} rows, which are too many to read")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a table as text, digit by digit as they stand in the file; none where there is no file.

    Raises:
        Unreadable: it can't be read, or a row has more or fewer cells than there are columns.
    """
    if path.suffix == ".parquet":
        import pandas as pd

        frame = read_frame(path.parent, path.stem)
        return [
            {str(name): "" if pd.isna(value) is True else str(value) for name, value in row.items()}
            for row in frame.to_dict("records")
        ]
    with unreadable(path):
        try:
            check_own(path)
        except FileNotFoundError:
            return []
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            names = next(lines, [])
            if len(set(names)) < len(names):
                raise Unreadable(f"{path}: two of its columns have the same name")
            rows = []
            for line in lines:
                if len(line) != len(names):
                    raise Unreadable(f"{path}: line {lines.line_num} has {len(line)} cells, not {len(names)}")
                rows.append(dict(zip(names, line, strict=True)))
            return rows
