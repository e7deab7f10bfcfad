"""What do the columns of a table hold, and which numbers become of them?

Nothing is guessed where two readings are likely: dates, texts that differ from row to row, numbers among texts and
decimal commas are refused with what to type. scikit-learn's estimators make the numbers, fitted to the training rows
alone.

Letters: N rows, D numbers of an input.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_runner.datasets.features import Column, Kind
from mi_runner.errors import ArgumentError, listed
from mi_runner.progress import log

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MOST_CATEGORIES = 100
"""A text with more different values is taken as a category only if it is named as one."""

FEW_CATEGORIES = 10
"""So many different values make a category, however few rows there are."""

LONGEST = 100
"""Characters of a category's value; a longer one is free text."""

MOST_SHOWN = 10
"""Largest number of columns, rows or values that a line names."""

OWN = "(missing)"
"""The category of missing values, where they are one of their own."""

DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|\d{1,2}:\d{2}(:\d{2}.*)?")

DECIMAL_COMMA = re.compile(r"[-+]?\d+(,\d+)?")

STRATEGIES: dict[str, tuple[str, str, str | None]] = {
    "mean": ("mean", "most_frequent", None),
    "median": ("median", "most_frequent", None),
    "most_frequent": ("most_frequent", "most_frequent", "most_frequent"),
}
"""What stands for missing values → scikit-learn's strategy for numbers, booleans and categories; None: `OWN`."""

NO_NAMES = ("true", "false", "null", "none", "nan", "inf")
"""Words that an option takes as something else than a name."""


def typed(option: str, names: Sequence[str]) -> str:
    """Returns an option with a list of names as a shell takes it, `{leave_out}=[id]`, for the text of an error."""
    if all(re.fullmatch(r"[A-Za-z_][\w.-]*", name) and name.lower() not in NO_NAMES for name in names):
        return f"{{{option}}}=[{','.join(names)}]"
    return shlex.quote(f"{{{option}}}={json.dumps(list(names), ensure_ascii=False)}")


# --- kinds -----------------------------------------------------------------------------------------------------------


def kinds_of(table: DataFrame, categories: Sequence[str]) -> dict[str, Kind]:
    """Returns column → what it holds.

    Args:
        categories: columns that are taken as such, whatever they hold.

    Raises:
        ArgumentError: a column holds dates, free text, numbers among texts or objects; the text says what to type.
    """
    return {name: "category" if name in categories else _kind(name, table[name]) for name in table.columns}


def _kind(name: str, values: Series) -> Kind:
    from pandas import CategoricalDtype, StringDtype
    from pandas.api import types

    there = values.dropna()
    if types.is_bool_dtype(values.dtype) or (
        len(there) and values.dtype == object and all(isinstance(value, bool | np.bool_) for value in there)
    ):
        return "boolean"
    if types.is_complex_dtype(values.dtype):
        raise _unfit(name, "has complex numbers.", "Leave it out: " + typed("leave_out", [name]))
    if types.is_numeric_dtype(values.dtype) or not len(there):
        return "number"
    if isinstance(values.dtype, CategoricalDtype):
        return "category"
    if not isinstance(there.dtype, StringDtype) and not all(isinstance(value, str) for value in there):
        what = sorted({type(value).__name__ for value in there} - {"str"})
        if all(isinstance(value, str | int | float) for value in there):
            return _of_texts(name, there.map(str))
        if set(what) <= {"date", "datetime", "Timestamp", "Timedelta", "time"}:
            raise _date(name, there.iloc[0])
        raise _unfit(name, f"has values of the type {', '.join(what)}.", "Leave it out: " + typed("leave_out", [name]))
    return _of_texts(name, there.str.strip())


def _of_texts(name: str, values: Series) -> Kind:
    """Returns the kind of a column of texts, which are all there.

    Raises:
        ArgumentError: they are no categories.
    """
    import pandas as pd

    counts = values.value_counts(sort=False)
    distinct = counts.index.to_series()
    if distinct.str.fullmatch(DECIMAL_COMMA).all() and distinct.str.contains(",").any():
        remedy = f"If they are, type {{decimal}}=comma; otherwise {typed('categories', [name])}"
        raise _unfit(name, f"has numbers with commas, such as {distinct.iloc[0]}: decimal commas?", remedy)
    are_numbers = pd.to_numeric(distinct, errors="coerce").notna()
    n_numbers, n_texts = int(counts[are_numbers].sum()), int(counts[~are_numbers].sum())
    if not n_texts:
        remedy = f"Save them as numbers, or take them as categories: {typed('categories', [name])}"
        raise _unfit(name, "has numbers that are saved as text.", remedy)
    if n_numbers >= n_texts:
        texts = list(distinct[~are_numbers])
        shown = texts[:MOST_SHOWN]
        problem = f"has {n_numbers} numbers and {n_texts} texts: {listed(texts, 3)}."
        remedy = f"If they mean missing values, type {typed('missing_values', shown)}, with {{missing}}=median; "
        raise _unfit(name, problem, f"{remedy}otherwise {typed('categories', [name])}")
    if distinct.str.fullmatch(DATE).all():
        raise _date(name, distinct.iloc[0])
    n, longest = len(distinct), distinct.loc[distinct.str.len().idxmax()]
    if len(longest) > LONGEST or n > MOST_CATEGORIES or (n > FEW_CATEGORIES and 2 * n > len(values)):
        problem = f"has {n} different texts in {len(values)} rows, such as {_short(distinct.iloc[0])}: free text?"
        remedy = f"Leave it out, {typed('leave_out', [name])}, or take it as categories: {typed('categories', [name])}"
        raise _unfit(name, problem, remedy)
    return "category"


def _date(name: str, example: object) -> ArgumentError:
    """Returns the error about a column of dates or times."""
    remedy = f"Save a number instead, such as days since a date; or leave it out, {typed('leave_out', [name])};"
    remedy += f" or take it as categories: {typed('categories', [name])}"
    return _unfit(name, f"has dates or times, such as {example}.", remedy)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _unfit(name: str, problem: str, remedy: str) -> ArgumentError:
    """Returns the error about a column that can't be taken as it is."""
    options = ("categories", "decimal", "leave_out", "missing", "missing_values")
    return ArgumentError(options, None, f"the column {name} {problem}", f"{remedy}.")


# --- numbers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prepared:
    """A table as a network takes it.

    Attributes:
        x_train, x_test: `(N, D)` float64.
        names: D names.
        columns: how each column became numbers.
    """

    x_train: np.ndarray
    x_test: np.ndarray
    names: tuple[str, ...]
    columns: tuple[Column, ...]


def prepare(train: DataFrame, test: DataFrame, kinds: dict[str, Kind], *, missing: str, standardize: bool) -> Prepared:
    """Returns the numbers of the training and test rows, in the order of the table's columns.

    A column that has one value in all training rows is left out, with a line.

    Args:
        kinds: what each column holds; other columns of the tables are not taken.
        missing: what stands for missing values, of `STRATEGIES`; any other: there are none.
        standardize: whether numbers are standardised.

    Raises:
        ArgumentError: no column is left, a number isn't finite, or a column has no value in the training rows.
    """
    kinds = {name: kind for name, kind in kinds.items() if not _is_constant(name, train[name], kind, missing)}
    if not kinds:
        raise ArgumentError("leave_out", None, "no column is left that could be an input.")
    blocks: dict[str, tuple[Column, np.ndarray, np.ndarray]] = {}
    makers: dict[Kind, Maker] = {"number": _numbers, "boolean": _booleans, "category": _categories}
    for kind, made in makers.items():
        own = [name for name, of in kinds.items() if of == kind]
        if own:
            blocks |= made(_values(train[own], kind), _values(test[own], kind), own, missing, standardize)
    columns: list[Column] = []
    place = 0
    for name in kinds:
        column, values, _ = blocks[name]
        columns.append(replace(column, inputs=tuple(range(place, place + values.shape[1]))))
        place += values.shape[1]
    return Prepared(
        np.concatenate([blocks[name][1] for name in kinds], 1),
        np.concatenate([blocks[name][2] for name in kinds], 1),
        tuple(name for column in columns for name in column.names),
        tuple(columns),
    )


def _is_constant(name: str, values: Series, kind: Kind, missing: str) -> bool:
    """Returns whether a column has one value in all training rows; a line says so."""
    n_values = values.nunique()
    if not n_values:
        problem = f"the column {name} has no value in the training rows."
        raise ArgumentError("leave_out", None, problem, f"Leave it out: {typed('leave_out', [name])}.")
    has_own = kind == "category" and missing in STRATEGIES and STRATEGIES[missing][2] is None
    if n_values > 1 or (has_own and values.isna().any()):
        return False
    log.warning(f"the column {name} is left out: all training rows have {values.dropna().iloc[0]}")
    return True


def _values(table: DataFrame, kind: Kind) -> np.ndarray:
    """Returns a table's values `(N, columns)`: float64 with NaN, or for categories texts with None."""
    if kind == "category":
        return np.array([as_texts(table[name]) for name in table.columns], dtype=object).T
    values: np.ndarray = table.to_numpy(dtype=np.float64, na_value=np.nan)
    for name, column in zip(table.columns, values.T, strict=True):
        if np.isinf(column).any():
            problem = f"the column {name} has infinite values: {int(np.isinf(column).sum())} of {len(column)}."
            raise ArgumentError("leave_out", None, problem, f"Leave it out: {typed('leave_out', [name])}.")
    return values


def as_texts(values: Series) -> list[str | None]:
    """Returns a column as text without spaces around it: whole numbers without a point, None where a value misses."""
    codes, distinct = values.factorize()
    texts = [as_text(value) for value in distinct]
    return [None if code < 0 else texts[code] for code in codes.tolist()]


def as_text(value: Any) -> str:
    """Returns a value of a table as text: 3.0 is 3."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value).strip()


Made = dict[str, tuple[Column, np.ndarray, np.ndarray]]
"""Column → how it became numbers, and these of the training and the test rows, `(N, d)` each."""

Maker = Callable[[np.ndarray, np.ndarray, Sequence[str], str, bool], Made]
"""Makes the numbers of all columns of a kind, from their values on the training and the test rows."""


def _numbers(train: np.ndarray, test: np.ndarray, names: Sequence[str], missing: str, standardize: bool) -> Made:
    from sklearn.preprocessing import StandardScaler

    train, test, filled = _imputed(train, test, STRATEGIES[missing][0] if missing in STRATEGIES else None)
    scaler = StandardScaler(with_mean=standardize, with_std=standardize).fit(train)
    means = scaler.mean_ if standardize else np.zeros(len(names))
    scales = scaler.scale_ if standardize else np.ones(len(names))
    of_train, of_test = scaler.transform(train), scaler.transform(test)
    return {
        name: (
            Column(name, "number", (), mean=float(means[k]), scale=float(scales[k]), filled=filled[k]),
            of_train[:, k : k + 1],
            of_test[:, k : k + 1],
        )
        for k, name in enumerate(names)
    }


def _booleans(train: np.ndarray, test: np.ndarray, names: Sequence[str], missing: str, standardize: bool) -> Made:
    train, test, filled = _imputed(train, test, STRATEGIES[missing][1] if missing in STRATEGIES else None)
    return {
        name: (Column(name, "boolean", (), filled=filled[k]), train[:, k : k + 1], test[:, k : k + 1])
        for k, name in enumerate(names)
    }


def _imputed(
    train: np.ndarray, test: np.ndarray, strategy: str | None
) -> tuple[np.ndarray, np.ndarray, list[float | None]]:
    """Returns the values without missing ones, and what stands for them in each column; None where none is missing."""
    from sklearn.impute import SimpleImputer

    is_missing = np.isnan(train).any(0) | np.isnan(test).any(0)
    if strategy is None or not is_missing.any():
        return train, test, [None] * train.shape[1]
    imputer = SimpleImputer(strategy=strategy).fit(train)
    filled = [float(value) if lacks else None for value, lacks in zip(imputer.statistics_, is_missing, strict=True)]
    return imputer.transform(train), imputer.transform(test), filled


def _categories(train: np.ndarray, test: np.ndarray, names: Sequence[str], missing: str, standardize: bool) -> Made:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    is_missing = [None in of_train or None in of_test for of_train, of_test in zip(train.T, test.T, strict=True)]
    filled: list[str | None] = [None] * len(names)
    if missing in STRATEGIES and any(is_missing):
        strategy = STRATEGIES[missing][2] or "constant"
        imputer = SimpleImputer(missing_values=None, strategy=strategy, fill_value=OWN).fit(train)
        train, test = imputer.transform(train), imputer.transform(test)
        filled = [str(value) if lacks else None for value, lacks in zip(imputer.statistics_, is_missing, strict=True)]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float64).fit(train)
    of_train = encoder.transform(train)
    known = [set(values.tolist()) for values in encoder.categories_]
    for name, values, column in zip(names, known, test.T, strict=True):
        if unknown := [value for value in column.tolist() if value not in values]:
            log.warning(
                f"{name}: {len(unknown)} of {len(test)} test rows have a value that no training row has "
                f"({listed(sorted(set(unknown)), MOST_SHOWN)}): all of its inputs are 0 there"
            )
    of_test = encoder.transform(test)
    made: Made = {}
    place = 0
    for name, values, own in zip(names, encoder.categories_, filled, strict=True):
        part = slice(place, place + len(values))
        column = Column(name, "category", (), categories=tuple(map(str, values)), filled=own)
        made[name] = column, of_train[:, part], of_test[:, part]
        place += len(values)
    return made
