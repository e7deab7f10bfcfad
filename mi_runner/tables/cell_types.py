"""What are the cells of a column: integers, numbers, truth values or text? A CSV file doesn't say it; run.json does.

A class may be named `0`, and a site `none`: only what wrote a table knows whether `0` is a name or a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mi_runner.tables.columns import Columns
from mi_runner.tables.declaration import Measure, Table
from mi_runner.tables.row_names import is_frame

if TYPE_CHECKING:
    from pandas import DataFrame, Series

CellType: TypeAlias = Literal["integer", "number", "truth value", "text", "integer or text"]
"""What the cells of a column are; the last: integers, and texts that are none, as `all`."""

TRUTH = {"True": True, "False": False}


def column_types(table: Table) -> dict[str, CellType]:
    """Returns column → what its cells are; a column without a value is of numbers if it is a measure."""
    rows: Any = table.rows.frame if isinstance(table.rows, Columns) else table.rows
    names = list(map(str, rows.columns)) if is_frame(rows) else list(dict.fromkeys(chain.from_iterable(rows)))
    found: dict[str, CellType] = {}
    for name in names:
        kind = type_of(rows[name].tolist() if is_frame(rows) else [row.get(name) for row in rows])
        usual: CellType = "number" if isinstance(table.type.column(name), Measure) else "text"
        found[name] = kind or usual
    return found


def type_of(values: Iterable[Any]) -> CellType | None:
    """Returns what values are, missing ones left out; None if there is none."""
    values = list(values)
    kinds = {_kind(value) for value in values} - {None}
    if kinds == {"integer", "number"}:
        return "number"
    if kinds == {"integer", "text"} and not any(isinstance(value, str) and _is_integer(value) for value in values):
        return "integer or text"
    return (kinds.pop() if len(kinds) == 1 else "text") if kinds else None


def _kind(value: Any) -> CellType | None:
    if value is None or value != value:  # NaN
        return None
    if type(value).__name__ in ("bool", "bool_"):  # Python's, or numpy's of either version
        return "truth value"
    return "integer" if isinstance(value, Integral) else "number" if isinstance(value, Real) else "text"


def typed(frame: DataFrame, types: Mapping[str, CellType]) -> DataFrame:
    """Returns a table of text with its columns as what they are.

    Integers are int64, or Int64 where one is missing; truth values bool or boolean; numbers float64, digit by digit as
    they were written; a missing text is missing. Columns of no known type, and those with a cell that isn't of theirs,
    are what all their cells can be.
    """
    import pandas as pd

    columns = {name: _column(frame[name].tolist(), types.get(str(name))) for name in frame.columns}
    return pd.DataFrame(columns, columns=frame.columns)


def values_of(texts: Sequence[str], kind: CellType | None) -> tuple[list[Any], CellType]:
    """Returns the cells of a column as what they are, an empty one as None, and what they are.

    Args:
        kind: what they are said to be; None, or a cell that isn't of this kind: what all cells can be.
    """
    for one in (kind, None):
        try:
            found = one or inferred(texts)
            return [None if text == "" else _value(text, found) for text in texts], found
        except (ValueError, KeyError, OverflowError):
            continue
    raise AssertionError("what is inferred of all cells is what they can be")


def _column(texts: Sequence[str], kind: CellType | None) -> Series[Any]:
    import pandas as pd

    values, found = values_of(texts, kind)
    if found == "number":
        return pd.Series(values, dtype="float64")
    if None in values and found in ("integer", "truth value"):
        try:
            return pd.Series(values, dtype="boolean" if found == "truth value" else "Int64")
        except (OverflowError, TypeError):  # integers of more than 64 bits
            return pd.Series(values, dtype="object")
    return pd.Series(values)


def _value(text: str, kind: CellType) -> Any:
    if kind == "integer":
        try:
            return int(text)
        except ValueError:
            return _whole(float(text))  # of a column with missing values pandas writes 3.0
    if kind == "integer or text":
        return int(text) if _is_integer(text) else text
    return text if kind == "text" else TRUTH[text] if kind == "truth value" else float(text)


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _whole(value: float) -> int:
    if not value.is_integer():
        raise ValueError(f"{value} is no integer")
    return int(value)


def inferred(texts: Iterable[str]) -> CellType:
    """Returns what all these cells can be; empty ones can be anything."""
    kinds: list[CellType] = ["truth value", "integer", "number"]
    some = False
    for text in texts:
        if text == "":
            continue
        some = True
        kinds = [kind for kind in kinds if _can_be(text, kind)]
        if not kinds:
            return "text"
    return kinds[0] if some else "text"


def _can_be(text: str, kind: CellType) -> bool:
    try:
        _value(text, kind)
    except (ValueError, KeyError, OverflowError):
        return False
    return kind != "integer" or _is_integer(text)
