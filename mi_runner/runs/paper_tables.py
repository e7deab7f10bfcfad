"""A saved table as a paper needs it: some of its columns and rows, in an order, with each number's interval.

Nothing here imports torch, and a CSV file is read without pandas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mi_runner.errors import ConfigError, unknown
from mi_runner.machine.reading import Unreadable
from mi_runner.runs.listing import Condition
from mi_runner.runs.saved_tables import read_frame, read_rows
from mi_runner.tables.cell_types import CellType, values_of
from mi_runner.tables.declaration import ENDS, CommonName, Declarations
from mi_runner.tables.typeset import PaperColumn

OF_MEAN = {"mean": ("low", "high")}
"""The column of a summary over seeds, and those with the ends of its interval."""


@dataclass(frozen=True)
class Choice:
    """Which columns and rows of a table are wanted, and in what order.

    Attributes:
        columns: their names; None: all but the ends of intervals and second names of keys.
        where: conditions that all hold for a row.
        sort: the column that rows are sorted by, the smallest value first; None: as in the file.
        reverse: the other order.
    """

    columns: Sequence[str] | None = None
    where: Sequence[Condition] = ()
    sort: str | None = None
    reverse: bool = False


def read(path: Path, types: Mapping[str, CellType]) -> dict[str, list[Any]]:
    """Returns a table, column → values; None for what is empty or not a number.

    Args:
        path: of a CSV or Parquet file.
        types: column → what its cells are, as far as it is known.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        if path.suffix == ".parquet":
            frame = read_frame(path.parent, path.stem)
            return {str(name): [_known(value) for value in frame[name].tolist()] for name in frame.columns}
        rows = read_rows(path)
    except (OSError, Unreadable) as error:
        raise ConfigError(f"{error}. Mend the file, or choose another table.") from error
    names = list(rows[0]) if rows else []
    return {
        name: [_known(value) for value in values_of([row[name] for row in rows], types.get(name))[0]] for name in names
    }


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def chosen(
    values: Mapping[str, Sequence[Any]], choice: Choice, declared: Declarations, table: str
) -> list[PaperColumn]:
    """Returns the columns of a table that are wanted, with the rows that are wanted.

    Args:
        values: column → values, as they are read.
        declared: what the columns mean.
        table: its name.

    Raises:
        ConfigError: there is no column of a name, or no row is left.
    """
    named = [*(choice.columns or ()), *(condition.name for condition in choice.where)]
    for name in [*named, *([choice.sort] if choice.sort else [])]:
        if name not in values:
            raise ConfigError(f"table {table}: {unknown('column', name, values)}")
    rows = _rows(values, choice)
    if not rows:
        why = f"fits {' and '.join(map(str, choice.where))}" if choice.where else "is in it"
        raise ConfigError(f"table {table}: no row {why}. Leave --where out to see the rows that there are.")
    ends = intervals_of(values)
    apart = {name for name, pair in ends.items() if choice.columns and set(pair) & set(choice.columns)}
    joined = {name: pair for name, pair in ends.items() if name not in apart}
    hidden = {end for pair in joined.values() for end in pair}
    wanted = choice.columns or [
        name for name in values if name not in hidden and not isinstance(declared.column(table, name), CommonName)
    ]
    return [
        PaperColumn(
            name,
            [values[name][row] for row in rows],
            declared.column(table, name),
            [(_end(values[joined[name][0]][row]), _end(values[joined[name][1]][row])) for row in rows]
            if name in joined
            else None,
        )
        for name in wanted
    ]


def intervals_of(names: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Returns column → the columns with the lower and the upper end of its interval."""
    pairs = {name: (f"{name}{ENDS[0]}", f"{name}{ENDS[1]}") for name in names} | OF_MEAN
    return {name: pair for name, pair in pairs.items() if name in names and all(end in names for end in pair)}


def _end(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _rows(values: Mapping[str, Sequence[Any]], choice: Choice) -> list[int]:
    """Returns the places of the rows that are wanted, in their order; rows without a value to sort by come last."""
    n = len(next(iter(values.values()), ()))
    needed = [condition.name for condition in choice.where]
    rows = [
        row
        for row in range(n)
        if all(condition.holds({name: values[name][row] for name in needed}) for condition in choice.where)
    ]
    if choice.sort is None:
        return rows[::-1] if choice.reverse else rows
    key = values[choice.sort]
    known = [row for row in rows if key[row] is not None]
    known.sort(key=lambda row: (isinstance(key[row], str), key[row]), reverse=choice.reverse)
    return [*known, *(row for row in rows if key[row] is None)]
