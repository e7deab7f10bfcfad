"""Which inputs of other data does a network take? Those that its data set has for it, or those of a user's file.

Letters: S inputs, D numbers of an input.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from mi_runner.datasets import Dataset, arrays
from mi_runner.datasets.features import Column
from mi_runner.datasets.files import fault, file_path, is_number
from mi_runner.datasets.npz_files import DAMAGES, read_npz
from mi_runner.datasets.table_columns import as_texts
from mi_runner.datasets.table_files import Reading, read_rows
from mi_runner.errors import ArgumentError, listed
from mi_runner.progress import log

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MOST_SHOWN = 10
"""Largest number of columns, rows or values that a line names."""


def shifted_inputs(dataset: Dataset, *, seed: int) -> Tensor | None:
    """Returns the data set's own inputs of other data, `(S, *input_shape)`, as the network takes them; None: none.

    For digits of MNIST they are the test images of the other digits, for Boolean functions points between and beside
    the exact inputs.

    Args:
        dataset: in the form that the network takes, on its device. If that is integers, other numbers are none.
        seed: of the run; draws derive from it.
    """
    if dataset.shifted is None:
        return None
    x = dataset.shifted(seed)
    x = x.reshape(len(x), *dataset.input_shape)
    if not dataset.x_train.is_floating_point() and not bool((x == x.round()).all()):
        return None
    return x.to(dataset.x_train)


def read_shift(path: str, dataset: Dataset, *, argument: str = "shift") -> Tensor:
    """Returns the inputs in a user's file, `(S, *input_shape)`, as the network takes them.

    An .npz file has them as `x_test` or `x`, in the units of the network's inputs; of a file with both it is `x_test`.
    Flattened inputs may be given as the images that they were, and the other way round.
    Any other file is a table of text, or Parquet, with a row for each input. Where the data set is made of columns of a
    table, the file has these columns, and numbers are made of them as of the data set's own: with the mean and the
    standard deviation of the training rows. Otherwise it has the D numbers of an input, in their order, or, where they
    have names, by these. More columns of a table are not taken.

    Args:
        dataset: in the form that the network takes, on its device.
        argument: its name in errors.

    Raises:
        ArgumentError: the file is missing, can't be read, or doesn't have such inputs; the text says what to save.
    """
    try:
        file = file_path(path)
        name, x = ("x", _rows(file, dataset)) if not _is_npz(file) else _array(file)
        return arrays.as_inputs(file, name, x, dataset).to(dataset.x_train.device)
    except ArgumentError as error:
        if dataset.reading is None and "encoding" in error.arguments:
            raise ArgumentError(argument, path, error.problem, "Save it as UTF-8.") from error
        of_reading = {name: f"dataset.{name}" for name in ("separator", "decimal", "encoding")}
        raise error.renamed({"path": argument, **of_reading}) from error


def _is_npz(file: Path) -> bool:
    return file.suffix == ".npz" or any(name.endswith(".npy") for name in _members(file))


def _members(file: Path) -> list[str]:
    """Returns the names in a zip file; none if it is no such file."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.namelist()
    except DAMAGES:
        return []


def _array(file: Path) -> tuple[str, np.ndarray]:
    """Returns the name of the array with inputs in an .npz file, and the array."""
    members = [name.removesuffix(".npy") for name in _members(file)]
    name = "x_test" if "x_test" in members else "x"
    if members and name not in members:
        had = listed([ascii(member)[1:-1] for member in members], MOST_SHOWN)
        raise fault(
            file, f"x_test and x missing; it has {had}.", f"Save the inputs by numpy.savez('{file.name}', x=...)."
        )
    return name, arrays.checked(file, read_npz(file, (name,)))[name]


# --- tables ----------------------------------------------------------------------------------------------------------


def _rows(file: Path, dataset: Dataset) -> np.ndarray:
    """Returns the inputs in a table, `(S, D)` float64."""
    columns = dataset.columns
    categories = [column.name for column in columns or () if column.kind == "category"]
    table, has_names = read_rows(file, replace(dataset.reading or Reading(), categories=categories))
    if columns is not None:
        wanted = [column.name for column in columns]
        if not has_names:
            problem = f"its first line has numbers; the columns of {dataset.name} are {listed(wanted, MOST_SHOWN)}:"
            raise fault(file, problem, "write a line with the names above.")
        _check_there(file, table, wanted, dataset)
        return np.concatenate([_of_column(file, table[column.name], column) for column in columns], axis=1)
    n_inputs = math.prod(dataset.input_shape)
    if has_names and dataset.feature_names is not None:
        _check_there(file, table, dataset.feature_names, dataset)
        table = table[list(dataset.feature_names)]
    if table.shape[1] != n_inputs:
        problem = f"it has {table.shape[1]} columns; an input of {dataset.name} has {n_inputs} numbers:"
        raise fault(file, problem, "save a column for each, in their order.")
    return np.stack([_finite(file, table[name], name, None) for name in table.columns], axis=1)


def _check_there(file: Path, table: DataFrame, wanted: Sequence[str], dataset: Dataset) -> None:
    """Checks that a table has the columns; a line says which more it has."""
    if missing := [name for name in wanted if name not in table.columns]:
        has = listed(list(table.columns), MOST_SHOWN)
        problem = f"it lacks {listed(missing, MOST_SHOWN)}, of the inputs of {dataset.name}; it has {has}."
        raise fault(file, problem, "Name its columns as the inputs are named.")
    if more := [name for name in table.columns if name not in wanted]:
        log.info(f"{file.name}: {listed(more, MOST_SHOWN)} is no input and is not taken")


def _of_column(file: Path, values: Series, column: Column) -> np.ndarray:
    """Returns the numbers that become of a column, `(S, d)` float64, as the training rows decided."""
    if column.kind == "category":
        return _one_hot(file, values, column)
    numbers = _finite(file, values, column.name, column.filled)
    if column.kind == "boolean" and not np.isin(numbers, (0, 1)).all():
        example = numbers[~np.isin(numbers, (0, 1))][0]
        raise fault(file, f"{column.name} has {example:g}, and it is a boolean:", "save 0 and 1, or False and True.")
    if column.kind == "number" and column.mean is not None and column.scale is not None:
        numbers = (numbers - column.mean) / column.scale
    return numbers[:, None]


def _one_hot(file: Path, values: Series, column: Column) -> np.ndarray:
    """Returns 1 at the place of each row's value, `(S, d)`; all numbers of a value that no training row has are 0."""
    categories = column.categories or ()
    texts = [column.filled if text is None else text for text in as_texts(values)]
    if None in texts:
        raise _missing(file, column.name, [text is None for text in texts])
    if unknown := {str(text) for text in texts if text not in categories}:
        shown = listed(sorted(unknown), MOST_SHOWN)
        log.warning(f"{file.name}: {column.name} has values that no training row has ({shown}): its inputs are 0 there")
    return np.array([[float(text == category) for category in categories] for text in texts])


def _finite(file: Path, values: Series, name: str, filled: float | str | None) -> np.ndarray:
    """Returns the numbers of a column, `(S,)` float64, with what stands for missing values."""
    try:
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        example = next((value for value in values.dropna() if not is_number(str(value))), None)
        raise fault(file, f"the column {name} has {example!r}, which is no number:", "save numbers.") from error
    is_missing = np.isnan(numbers)
    if is_missing.any():
        if filled is None:
            raise _missing(file, name, is_missing)
        numbers = np.where(is_missing, float(filled), numbers)
    if np.isinf(numbers).any():
        n = int(np.isinf(numbers).sum())
        raise fault(file, f"the column {name} has infinite values: {n} of {len(numbers)}:", "save finite ones.")
    return numbers


def _missing(file: Path, name: str, is_missing: Sequence[bool] | np.ndarray) -> ArgumentError:
    """Returns the error about a column with missing values where nothing stands for them."""
    rows = [str(row + 1) for row in np.flatnonzero(is_missing)]
    problem = f"values of the column {name} are missing in {len(rows)} rows (row {listed(rows, MOST_SHOWN)}):"
    return fault(file, problem, "save a value, or leave the rows out.")
