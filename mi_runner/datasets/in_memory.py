"""Data of a program: arrays, tensors or tables of pandas that are in memory, with the checks that a file's have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mi_runner.datasets import Dataset, arrays
from mi_runner.datasets.arrays import CAUSAL_NAMES, NAMES, WIDTHS, WORDS
from mi_runner.datasets.npz_files import Array
from mi_runner.errors import ArgumentError, listed, one_line, unknown

CALLED = Path("data")
"""What errors and lines name in place of a file."""

WANTED = "give (x_train, y_train, x_test, y_test), a dict of these names, or a mi_runner.Dataset."


def load(
    data: Any,
    *,
    target: str = "class",
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> Dataset:
    """Returns the data set of a program's data; what is given is copied.

    Args:
        data: `(x_train, y_train, x_test, y_test)`, or a mapping of these names, which may have the further arrays of a
            file, too (`mi_runner.datasets.arrays`). Each is an array, a tensor, a table or column of pandas, or a
            list; or all of it is a `Dataset`.
        target: class or value, as in `arrays.load`.
        feature_names: a name for each number of an input; None: the columns of a table, if x_train is one.
        class_names: the names of the classes 0..K−1, in order; None: their numbers, or the texts in y.

    Raises:
        ArgumentError: an array is missing or not as described; the text names the first mistake.
    """
    if isinstance(data, Dataset):
        return _named(data.to(torch.device("cpu")), feature_names, class_names)  # where networks are built
    given = _by_name(data)
    _check_tables(given["x_train"], given["x_test"])
    named = {"feature_names": feature_names, "class_names": class_names}
    words = {name: given.get(name) if names is None else names for name, names in named.items()}
    if words["feature_names"] is None:
        words["feature_names"] = _columns(given["x_train"])
    given |= {name: np.array(list(map(str, names))) for name, names in words.items() if names is not None}
    try:
        checked = arrays.checked(CALLED, {name: _as_array(name, value) for name, value in given.items()})
        return arrays.of_arrays(CALLED, checked, target=target)
    except ArgumentError as error:
        raise _as_given(error) from error


def _by_name(data: Any) -> dict[str, Any]:
    """Returns name → what is given for it."""
    if isinstance(data, Mapping):
        names = [*NAMES, *CAUSAL_NAMES, *WORDS, WIDTHS]
        if missing := [name for name in NAMES if name not in data]:
            raise ArgumentError("data", None, f"{{data}}: {', '.join(missing)} missing;", WANTED)
        if others := [name for name in data if name not in names]:
            raise ArgumentError("data", None, f"{{data}}: {unknown('array', str(others[0]), names)}")
        if any(name in data for name in CAUSAL_NAMES) and not all(name in data for name in CAUSAL_NAMES):
            missing = [name for name in CAUSAL_NAMES if name not in data]
            raise ArgumentError(
                "data", None, f"{{data}}: {', '.join(missing)} missing; a causal model is {', '.join(CAUSAL_NAMES)}."
            )
        return {name: data[name] for name in names if name in data}
    if not isinstance(data, tuple | list) or len(data) != len(NAMES):
        what = f"{type(data).__name__} of {len(data)}" if isinstance(data, tuple | list) else type(data).__name__
        raise ArgumentError("data", None, f"{{data}} is {what}:", WANTED)
    lengths = [len(one) if hasattr(one, "__len__") else None for one in data]
    n_train, other, n_test, last = lengths
    if n_train != other and n_train == n_test and other == last:
        raise ArgumentError(
            "data",
            None,
            f"{{data}}: the first array has {n_train} examples and the second {other}, as sklearn's train_test_split "
            "gives them (x_train, x_test, y_train, y_test).",
            "Give (x_train, y_train, x_test, y_test).",
        )
    return dict(zip(NAMES, data, strict=True))


def _as_array(name: str, value: Any) -> Array:
    """Returns what is given as an array that shares memory with it where it can; a text dtype for texts."""
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu().resolve_conj().resolve_neg()
        return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
    try:
        array = np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value)
    except (ValueError, TypeError) as error:  # rows of different lengths
        raise ArgumentError(
            "data", None, f"{{data}}: {name} is {type(value).__name__}, no array ({one_line(error)})."
        ) from error
    if array.dtype.kind in "OT":
        array = _of_objects(name, array)
    return array


def _of_objects(name: str, array: Array) -> Array:
    """Returns an array of Python's objects as one of text or numbers."""
    values = array.ravel().tolist()
    if all(isinstance(value, str) for value in values):
        return array.astype(str)
    kinds = sorted({type(value).__name__ for value in values if not isinstance(value, bool | int | float | np.number)})
    if kinds:
        raise ArgumentError(
            "data", None, f"{{data}}: {name} has values of the type {', '.join(kinds)}; it must have real numbers."
        )
    return array.astype(float)


def _check_tables(x_train: Any, x_test: Any) -> None:
    """Checks that tables of pandas have numbers, and the same columns in the same order.

    Raises:
        ArgumentError: a column holds something else, or the columns differ; the text names them.
    """
    columns = _columns(x_train), _columns(x_test)
    if None not in columns and columns[0] != columns[1]:
        remedy = "give x_test[x_train.columns]." if set(columns[0] or ()) <= set(columns[1] or ()) else "give the same."
        raise ArgumentError("data", None, "{data}: the columns of x_train and x_test differ, or their order:", remedy)
    for name, x in (("x_train", x_train), ("x_test", x_test)):
        dtypes = () if _columns(x) is None else x.dtypes
        others = [str(column) for column, of in zip(_columns(x) or (), dtypes, strict=True) if of.kind not in "biuf"]
        if others:
            raise ArgumentError(
                "data",
                None,
                f"{{data}}: the columns {listed(others, MOST_NAMED)} of {name} hold no numbers:",
                "give pandas.get_dummies of training and test rows together, or type dataset=table dataset.path=FILE, "
                "which takes categories.",
            )


MOST_NAMED = 5
"""Columns that an error names."""


def _columns(x: Any) -> tuple[str, ...] | None:
    """Returns the names of a table's columns; None where x is no table of pandas."""
    is_table = type(x).__module__.partition(".")[0] == "pandas" and hasattr(x, "columns")
    return tuple(map(str, x.columns)) if is_table else None


def _named(dataset: Dataset, feature_names: Sequence[str] | None, class_names: Sequence[str] | None) -> Dataset:
    """Returns the data set with these names; None: as they are.

    Raises:
        ArgumentError: there are more or fewer names than classes or numbers of an input, or the targets are values.
    """
    if class_names is not None:
        names = tuple(map(str, class_names))
        if dataset.class_names is None:
            raise ArgumentError("class_names", list(names), "the targets are values. Leave the names out.")
        if len(names) != len(dataset.class_names):
            n = len(dataset.class_names)
            raise ArgumentError("class_names", list(names), f"there are {n} classes; give {n} names.")
        dataset = replace(dataset, class_names=names)
    return dataset if feature_names is None else replace(dataset, feature_names=tuple(map(str, feature_names)))


def _as_given(error: ArgumentError) -> ArgumentError:
    """Returns an error about a file as one about what is given: nothing is saved."""
    problem, remedy = (
        re.sub(r"\b(S|s)ave\b(?! it again)", lambda found: "Give" if found[1] == "S" else "give", text)
        for text in (error.problem, error.remedy)
    )
    if error.argument == "path":
        return ArgumentError(("data", *error.arguments[1:]), None, f"{{data}}: {problem}", remedy)
    return ArgumentError(error.arguments, error.given, problem, remedy)
