"""Results of experiments whose tables aren't declared yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mi_runner.experiments import Result
from mi_runner.tables.declaration import (
    Column,
    CommonName,
    Declarations,
    FigureType,
    Key,
    Measure,
    Note,
    Repeat,
    Rows,
    TableType,
)
from mi_runner.tables.ranges import Range


def result(
    *,
    tables: Mapping[str, Rows],
    keys: Mapping[str, Sequence[str]],
    metrics: Mapping[str, float],
    measures: Mapping[str, Range],
    common_names: Mapping[str, str] | None = None,
    repeats: Sequence[str] = (),
    parquet: frozenset[str] = frozenset(),
    **others: Any,
) -> Result:
    """Returns a result whose tables have the columns that their rows have."""
    common = common_names or {}
    filled = []
    for name, rows in tables.items():
        columns = (
            list(rows.columns) if hasattr(rows, "columns") else list(dict.fromkeys(c for row in rows for c in row))
        )
        of_keys = list(keys.get(name, ()))
        declared: list[Column] = [Key(column, "") for column in of_keys]
        for column in columns:
            if column in of_keys:
                continue
            if column in common.values() and (of := next(k for k, c in common.items() if c == column)) in of_keys:
                declared.append(CommonName(column, "", of=of))
            else:
                declared.append(Repeat(column, "") if column in repeats else Note(column, ""))
        filled.append(TableType(name, "", tuple(declared), name in parquet).filled(rows))
    summary: list[Column] = [Measure(name, "", within=within) for name, within in measures.items()]
    summary += [Note(name, "") for name in {m.partition("/")[0] for m in metrics} - measures.keys()]
    types = tuple(table.type for table in filled)
    return Result(filled, metrics, Declarations(types, tuple(summary), (FigureType("*", ""),)), **others)
