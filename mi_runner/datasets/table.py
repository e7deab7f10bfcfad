"""The user's own table: a text file or Parquet with a row for each example, and one column for the target.

    file → columns by kind → rows for training and test → missing values → numbers, fitted to the training rows

Test rows are those of a second file, or a share of the rows that is drawn by `split_seed`: not by a run's seed, so that
networks of all seeds are compared on the same test rows, and have the same training rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
import torch

from mi_runner.datasets import Dataset
from mi_runner.datasets.files import fault, file_path
from mi_runner.datasets.labels import by_value, check_class_names
from mi_runner.datasets.table_columns import STRATEGIES, as_texts, kinds_of, prepare, typed
from mi_runner.datasets.table_files import Reading, ReadingOptions, read_table
from mi_runner.errors import ArgumentError, listed, unknown
from mi_runner.progress import log

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MOST_SHOWN = 10
"""Largest number of columns, rows or classes that a line names."""

MOST_CLASSES = 20
"""A target of numbers with more different values than this, which most rows don't share, is no class."""

LEAVE_OUT_ROWS, REFUSE = "leave_out_rows", "refuse"


def load(
    path: str,
    target_column: str | None = None,
    *,
    seed: int = 0,
    limit: int | None = None,
    test_path: str | None = None,
    test_share: float = 0.2,
    split_seed: int = 0,
    target: str = "class",
    missing: str = REFUSE,
    leave_out: Sequence[str] = (),
    **how: Unpack[ReadingOptions],
) -> Dataset:
    """Returns the data set of a table, with the names of features and classes, and how each column became numbers.

    Numbers are standardised by mean and standard deviation of the training rows, categories are one-hot (`colour=red`),
    booleans 0 or 1. Classes are the values of the target's column, numbers in their order, texts in that of letters.

    Args:
        path: the file.
        target_column: the column with the target; None: an error that lists the columns.
        seed: has no effect, because the test rows are drawn by `split_seed`.
        limit: take at most this many training and test examples; None: all. The numbers are made of all rows.
        test_path: a file with the test rows; None: they are drawn from the rows of `path`.
        test_share: share of the rows that become test rows, of each class alike.
        split_seed: of that draw.
        target: class or value.
        missing: what stands for missing values: `refuse`, `leave_out_rows`, or one of `STRATEGIES`.
        leave_out: columns that are no inputs.
        how: how the table is read, and its columns taken; see `Reading`.

    Raises:
        ArgumentError: the file is no table, a column can't be taken, or the rows can't be split; the text says what to
            type.
    """
    reading = Reading(**how)
    categories = tuple(reading.categories)
    choices = _Choices(target_column or "", target == "class", missing, tuple(leave_out), categories)
    train, test = _rows(file_path(path), test_path, reading, choices)
    name = choices.target_column
    kinds = kinds_of((train if test is None else _together(train, test)).drop(columns=name), categories)
    both = [_with_missing(table, list(kinds), choices) for table in (train, test) if table is not None]
    targets, class_names = _targets([table[name] for table in both], choices)
    if test is None:
        rows = _split(targets[0], test_share, split_seed, class_names, name)
        both, targets = [both[0].iloc[part] for part in rows], [targets[0][part] for part in rows]
    _say_unlearnable([rows[:limit] for rows in targets], class_names)
    prepared = prepare(both[0], both[1], kinds, missing=missing, standardize=reading.standardize)
    x_train, x_test = (_float32(x, prepared.names) for x in (prepared.x_train, prepared.x_test))
    try:
        return Dataset(
            name="table",
            x_train=x_train,
            y_train=torch.from_numpy(targets[0]),
            x_test=x_test,
            y_test=torch.from_numpy(targets[1]),
            class_names=class_names,
            label_name=name,
            feature_names=prepared.names,
            columns=prepared.columns,
            reading=reading,
        ).limited(limit)
    except ArgumentError as error:
        raise fault(path, str(error), "Give columns and categories other names.") from error


@dataclass(frozen=True)
class _Choices:
    """How a table is taken; the fields are those of `load`."""

    target_column: str
    by_class: bool
    missing: str
    leave_out: tuple[str, ...]
    categories: tuple[str, ...]


# --- rows ------------------------------------------------------------------------------------------------------------


def _rows(path: Path, test_path: str | None, reading: Reading, choices: _Choices) -> tuple[DataFrame, DataFrame | None]:
    """Returns the table, and that of the test rows if they have a file, without the columns that are left out."""
    train = read_table(path, reading)
    if test_path is None:
        _check_named(train, train, choices)
        return train.drop(columns=list(choices.leave_out)), None
    try:
        test = read_table(file_path(test_path), reading)
    except ArgumentError as error:
        raise error.renamed({"path": "test_path"}) from error
    _check_named(train, test, choices)
    train, test = (table.drop(columns=list(choices.leave_out), errors="ignore") for table in (train, test))
    for one, other, name in ((train, test, path.name), (test, train, Path(test_path).name)):
        if more := [column for column in one.columns if column not in other.columns]:
            problem = f"{name} has columns that the other file has not: {listed(more, MOST_SHOWN)}."
            has_target = choices.target_column in more
            remedy = "Both need the target." if has_target else f"Type {typed('leave_out', more)}."
            raise ArgumentError(("test_path", "leave_out"), test_path, problem, remedy)
    return train, test[list(train.columns)]


def _check_named(table: DataFrame, test: DataFrame, choices: _Choices) -> None:
    """Checks that the table, or for columns that are left out that of the test rows, has what options name."""
    names, target = list(map(str, table.columns)), choices.target_column
    if not target:
        columns = f"the columns are {listed(names, MOST_SHOWN)}."
        raise ArgumentError("target_column", None, "{target_column}: name the column with the target;", columns)
    of_options = {"target_column": (target,), "leave_out": choices.leave_out, "categories": choices.categories}
    for option, asked in of_options.items():
        for name in asked:
            if name not in names and (option != "leave_out" or name not in test.columns):
                raise ArgumentError(option, None, f"{{{option}}}: {unknown('column', name, names)}")
        if option != "target_column" and target in asked:
            raise ArgumentError(option, None, f"{{{option}}}: {target} is the target's column, which is no input.")
    if both := [name for name in choices.categories if name in choices.leave_out]:
        problem = f"{{categories}}: {listed(both, MOST_SHOWN)} is in {{leave_out}}, too."
        raise ArgumentError(("categories", "leave_out"), None, problem, "Name a column in one of them.")
    if not {*names} - {target, *choices.leave_out}:
        raise ArgumentError("leave_out", None, "no column is left that could be an input.")
    _say_counters(table.drop(columns=[target, *choices.leave_out, *choices.categories], errors="ignore"))


def _say_counters(table: DataFrame) -> None:
    """Logs which columns number the rows."""
    for name in table.columns:
        values = table[name]
        if values.dtype.kind not in "iu" or len(values) <= MOST_SHOWN or values.isna().any():
            continue
        if values.is_unique and int(values.max()) - int(values.min()) + 1 == len(values):
            log.warning(f"the column {name} numbers the rows: if it is no input, name it in leave_out")


def _together(train: DataFrame, test: DataFrame) -> DataFrame:
    import pandas as pd

    return pd.concat([train, test], ignore_index=True)


def _with_missing(table: DataFrame, names: list[str], choices: _Choices) -> DataFrame:
    """Returns the table, without rows that lack a value if these are left out.

    Raises:
        ArgumentError: a value is missing, and nothing says what stands for it.
    """
    if choices.missing == LEAVE_OUT_ROWS:
        kept = table.dropna()
        if len(kept) < len(table):
            n = len(table) - len(kept)
            if not len(kept):
                problem = f"each of the {len(table)} rows lacks a value."
                raise ArgumentError(("missing", "leave_out"), choices.missing, problem, "Name columns in {leave_out}.")
            log.warning(f"{n} of {len(table)} rows lack a value and are left out; {len(kept)} stay")
        return kept.reset_index(drop=True)
    target = table[choices.target_column]
    if target.isna().any():
        rows = [str(row + 1) for row in np.flatnonzero(target.isna())]
        problem = f"it is empty in {len(rows)} of {len(table)} rows (row {listed(rows, MOST_SHOWN)} below the header):"
        raise ArgumentError(
            ("target_column", "missing"), choices.target_column, problem, f"type {{missing}}={LEAVE_OUT_ROWS}."
        )
    counts = table[names].isna().sum()
    if choices.missing not in STRATEGIES and (lacking := counts[counts > 0]).any():
        shown = [f"{name} ({n})" for name, n in lacking.items()]
        problem = f"values are missing in {listed(shown, MOST_SHOWN)} of {len(table)} rows."
        remedy = f"Type {{missing}}={'|'.join((*STRATEGIES, LEAVE_OUT_ROWS))}, or leave columns out: "
        raise ArgumentError(("missing", "leave_out"), choices.missing, problem,
                            f"{remedy}{typed('leave_out', list(map(str, lacking.index)))}.")  # fmt: skip
    return table


# --- targets ---------------------------------------------------------------------------------------------------------


def _targets(columns: Sequence[Series], choices: _Choices) -> tuple[list[np.ndarray], tuple[str, ...] | None]:
    """Returns the targets of each table, `(N,)` int64 classes or float32 values, and the classes' names."""
    name = choices.target_column
    return _classes(columns, name) if choices.by_class else (_numbers(columns, name), None)


def _classes(columns: Sequence[Series], name: str) -> tuple[list[np.ndarray], tuple[str, ...]]:
    import pandas as pd

    both = pd.concat(columns, ignore_index=True)
    if pd.api.types.is_numeric_dtype(both.dtype) and not pd.api.types.is_bool_dtype(both.dtype):
        numbers = both.astype("float64")
        n = numbers.nunique()
        if (numbers % 1 != 0).any() or (n > MOST_CLASSES and 2 * n > len(numbers)):
            problem = f"it has {n} different numbers, such as {numbers.iloc[0]:g}, which are no classes."
            raise ArgumentError(("target_column", "target"), name, problem, "Type {target}=value.")
    texts = [[str(text) for text in as_texts(column)] for column in columns]
    names = sorted({text for of in texts for text in of}, key=by_value)
    try:
        check_class_names(names)
    except ArgumentError as error:
        raise ArgumentError("target_column", name, error.problem) from error
    if len(names) < 2:
        raise ArgumentError("target_column", name, f"all rows have the same class, {names[0]}: a task takes two.")
    places = {text: place for place, text in enumerate(names)}
    log.info(f"{name}: the classes are {listed(names, MOST_SHOWN)}, in this order")
    return [np.array([places[text] for text in of], np.int64) for of in texts], tuple(names)


def _numbers(columns: Sequence[Series], name: str) -> list[np.ndarray]:
    import pandas as pd

    made = []
    for column in columns:
        numbers = column if pd.api.types.is_bool_dtype(column.dtype) else pd.to_numeric(column, errors="coerce")
        if numbers.isna().any():
            text = column[numbers.isna()].iloc[0]
            remedy = "Type {target}=class, or save numbers."
            raise ArgumentError(("target_column", "target"), name, f"it has texts, such as {text!r}.", remedy)
        values = numbers.astype("float64").to_numpy()
        with np.errstate(over="ignore"):
            made.append(values.astype(np.float32))
        if not np.isfinite(made[-1]).all():
            raise ArgumentError("target_column", name, "it has infinite values, or values too large for float32.")
    return made


def _split(
    y: np.ndarray, share: float, seed: int, class_names: tuple[str, ...] | None, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows for training and test, of each class alike.

    Raises:
        ArgumentError: a class has one row, or there are too few rows for the share.
    """
    from sklearn.model_selection import train_test_split

    n_classes = 2 if class_names is None else len(class_names)
    if class_names is not None:
        counts = np.bincount(y, minlength=n_classes)
        if alone := [class_names[k] for k in np.flatnonzero(counts == 1)]:
            problem = f"one row alone has the class {listed(alone, MOST_SHOWN)}: it can't be for training and for test."
            remedy = "Leave the row out, or give {test_path}."
            if all(by_value(text)[0] == 0 for text in class_names):
                remedy += " If they are no classes but numbers, type {target}=value."
            raise ArgumentError(("target_column", "test_path", "target"), name, problem, remedy)
    n_test = int(np.ceil(share * len(y)))
    if min(n_test, len(y) - n_test) < n_classes:
        problem = f"{len(y)} rows make {len(y) - n_test} training and {n_test} test rows; each needs {n_classes}"
        problem += ", one of each class." if class_names is not None else "."
        raise ArgumentError("test_share", f"{share:g}", problem, "Give more rows, or another {test_share}.")
    rows = train_test_split(
        np.arange(len(y)), test_size=share, random_state=seed, stratify=None if class_names is None else y
    )
    return rows[0], rows[1]


def _say_unlearnable(targets: Sequence[np.ndarray], class_names: tuple[str, ...] | None) -> None:
    """Logs which classes only the training or only the test rows have."""
    if class_names is None:
        return
    train, test = ({class_names[k] for k in np.unique(y).tolist()} for y in targets)
    for lacking, what in ((test - train, "training"), (train - test, "test")):
        if lacking:
            log.warning(f"no {what} row has the class {listed(sorted(lacking), MOST_SHOWN)}")


def _float32(x: np.ndarray, names: Sequence[str]) -> torch.Tensor:
    with np.errstate(over="ignore"):
        tensor = torch.from_numpy(x.astype(np.float32))
    if not bool(tensor.isfinite().all()):
        wrong = [name for name, finite in zip(names, tensor.isfinite().all(0).tolist(), strict=True) if not finite]
        problem = f"{listed(wrong, MOST_SHOWN)} has values that are too large for float32."
        raise ArgumentError("leave_out", None, problem, "Save them in another unit.")
    return tensor
