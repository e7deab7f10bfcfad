"""Do columns name the rows of a table? Rows are a list of mappings, columns, or a pandas DataFrame.

A DataFrame may have a million rows, which pandas is made for. For a few rows lists are ten times as fast.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mi_runner.tables.columns import Columns
from mi_runner.tables.names import ALL, NONE

if TYPE_CHECKING:
    from pandas import DataFrame
    from typing_extensions import TypeIs


def is_frame(rows: Any) -> TypeIs[DataFrame]:
    """Returns whether rows are a pandas DataFrame."""
    pandas = sys.modules.get("pandas")  # without pandas nobody has made one
    return pandas is not None and isinstance(rows, pandas.DataFrame)


def check_key(table: str, rows: Sequence[Mapping[str, Any]] | Columns | DataFrame, key: str) -> None:
    """Checks that a column that names rows is empty in no row.

    Raises:
        ValueError: it is; the text has the table, the column and the row.
    """
    row = _first_empty(rows, key)
    if row is not None:
        raise ValueError(f"table {table}: the key '{key}' is empty in row {row}. Write {NONE} or {ALL}.")


def _first_empty(rows: Sequence[Mapping[str, Any]] | Columns | DataFrame, column: str) -> int | None:
    if isinstance(rows, Columns):
        return rows.first_empty(column)
    if is_frame(rows):
        empty = rows[column].isna() | rows[column].isin([""])
        return int(empty.argmax()) if empty.any() else None
    values = _values(rows, column)
    return next((number for number, value in enumerate(values) if value is None or value == ""), None)


def first_repeated(rows: Sequence[Mapping[str, Any]] | Columns | DataFrame, columns: Sequence[str]) -> int | None:
    """Returns the number of the first row that agrees with an earlier one in these columns; None if there is none."""
    if isinstance(rows, Columns):
        return rows.first_repeated(list(columns))
    if is_frame(rows):
        repeated = rows.duplicated(list(columns))
        return int(repeated.argmax()) if repeated.any() else None
    seen: set[tuple[Any, ...]] = set()
    for number, values in enumerate(zip(*(_values(rows, column) for column in columns), strict=True)):
        if values in seen:
            return number
        seen.add(values)
    return None


def _values(rows: Sequence[Mapping[str, Any]], column: str) -> list[Any]:
    """Returns the column's values; None for one that is missing."""
    values = [row.get(column) for row in rows]
    missing = {value for value in set(values) if _is_missing(value)}
    return [None if value in missing else value for value in values] if missing else values


def _is_missing(value: Any) -> bool:
    """Returns whether a value is None, not a number, or another of pandas' missing values."""
    pandas = sys.modules.get("pandas")
    return pandas.isna(value) if pandas is not None else value is None or value != value
