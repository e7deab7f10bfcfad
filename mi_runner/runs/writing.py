"""Writes what an experiment has found: the files of the run folder, the fields of run.json, the tables to print."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from torch import nn

from mi_runner.experiments import Result
from mi_runner.experiments.common.tables import of_training
from mi_runner.runs import captions
from mi_runner.runs.beside import Beside
from mi_runner.runs.networks import Weighted
from mi_runner.runs.record import RunRecord
from mi_runner.runs.run_folder import RunFolder, is_parquet
from mi_runner.tables.cell_types import column_types
from mi_runner.tables.declaration import COUNT, Row
from mi_runner.tables.row_names import is_frame


@dataclass(frozen=True)
class Table:
    """A table to print.

    Attributes:
        counts: its columns of counts.
    """

    title: str
    rows: Sequence[Row]
    counts: frozenset[str] = frozenset()


def with_history(result: Result, weighted: Weighted) -> Result:
    """Returns the result with the table of the training, if this run trained its network and the result has none."""
    if not weighted.trained_now or "history" in result.tables:
        return result
    return result.with_table(of_training(weighted.setting.history))


def model_to_write(result: Result, weighted: Weighted) -> nn.Module | None:
    """Returns the network whose weights the folder keeps; None if a file that the command names has them, or none is.

    That is the experiment's, or the one that this run trained or planted, or a program gave.
    """
    is_new = weighted.trained_now or weighted.of_program or weighted.is_planted
    model = result.model or (weighted.setting.model if is_new else None)
    return None if weighted.of_checkpoint and model is weighted.setting.model else model


def write(
    place: RunFolder,
    result: Result,
    model: nn.Module | None,
    metadata: Mapping[str, str],
    beside: Beside,
    setting: tuple[str, int | None] = ("", None),
    *,
    draws: bool = True,
) -> None:
    """Writes the tables and weights of a result, the weights of `model`, and last pictures: one may fail.

    Args:
        metadata: of the files of weights: the names of inputs and classes.
        beside: makes tables and figures.
        setting: for captions: what the run is of, in a sentence, and its number of test examples.
        draws: whether figures are drawn.
    """
    if draws:
        beside.begin_figures(result.figures)
    # A CSV file without rows and header can't be read; a frame may have a description besides.
    filled = [table for table in result.filled if len(table.rows) or (is_frame(table.rows) and table.rows.attrs)]
    beside.write_tables(place, filled, result.parquet)
    if model is not None:
        place.write_weights(model.state_dict(), metadata=metadata)
    for name, member in result.members.items():
        place.write_weights(member.state_dict(), name, metadata=metadata)
    for name, tensors in result.tensors.items():
        place.write_tensors(name, tensors)
    for name, arrays in result.arrays.items():
        place.write_arrays(name, arrays)
    pictures = {name: data for name, made in result.pictures.items() if (data := made()) is not None}
    if pictures:
        place.write_pictures(pictures)
    if draws:
        beside.write_figures(place, result.figures)
    if draws and result.figures:
        tables = {table.name: table.rows for table in result.filled}
        found = captions.of_figures(result.figures, result.declared, tables, *setting)
        place.write_captions(captions.page(found, beside.wanted.formats))


def note(record: RunRecord, result: Result) -> None:
    """Notes in the record how the tables of a result are read, and its numbers."""
    filled = {table.name for table in result.filled if len(table.rows)}
    record.keys = {name: tuple(keys) for name, keys in result.keys.items() if name in filled}
    record.common_names = dict(result.common_names)
    record.repeats = tuple(result.repeats)
    record.shown = tuple(name for name in result.shown if name in filled)
    record.measures = {name: (within.low, within.high) for name, within in result.measures.items()}
    record.types = {
        table.name: column_types(table)
        for table in result.filled
        if len(table.rows) and not is_parquet(len(table.rows), asked=table.name in result.parquet)
    }
    # JSON has no NaN and no infinity.
    record.metrics = {name: float(value) if math.isfinite(value) else None for name, value in result.metrics.items()}


def printed(result: Result, title: str) -> list[Table]:
    """Returns the tables to print, without the columns of common names.

    Args:
        title: behind the name of each table.
    """
    left_out = {*result.common_names.values()}
    types = {table.name: table.type for table in result.filled}
    columns = chain.from_iterable(table.type.all_columns for table in result.filled)
    counted = {column.name for column in columns if column.unit == COUNT}
    return [
        Table(
            f"{name}: {title}",
            [
                {column: value for column, value in _whole(row, counted).items() if column not in left_out}
                for row in result.tables[name]
            ],
            frozenset(column.name for column in types[name].all_columns if column.unit == COUNT),
        )
        for name in result.shown
    ]


def _whole(row: Row, counted: Collection[str]) -> Row:
    """Returns a row of a summary over seeds with whole numbers as integers, if its measure is a count."""
    if row.get("measure") not in counted:
        return row
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in row.items()
    }
