"""Which class is an example's? Labels of a file as people write them become the integers 0..K−1.

Nothing is guessed: a form is taken only where it has one meaning, and a line says what was taken for what.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mi_runner.datasets.files import fault
from mi_runner.datasets.npz_files import Array
from mi_runner.errors import ArgumentError, listed
from mi_runner.progress import log
from mi_runner.tables.names import ALL

AS_TEXT = "Save y_train.astype(str) and y_test.astype(str): each value that occurs is a class of its own then."

Values = tuple[int, ...] | None
"""The label of each class, in order, where they are not 0..K−1."""

MOST_SHOWN = 10
"""Largest number of classes that a line names."""

EXACT = 2**53
"""Whole numbers up to this one differ as float64."""


def classes(
    path: Path, y_train: Array, y_test: Array, names: tuple[str, ...] | None = None
) -> tuple[Array, Array, tuple[str, ...], Values]:
    """Returns both splits' labels `(N,)` int64 in 0..K−1, the names of the classes, and their labels in the file.

    Args:
        path: the file, for errors and lines.
        y_train, y_test: finite real numbers, or text.
        names: of the classes, in order; None: as the labels say. Of labels that are text, these texts.

    Raises:
        ArgumentError: they name no classes; the text says what to type.
    """
    y_train, y_test = _columns(path, y_train, y_test)
    if names is not None:
        _check_given(path, names)
    are_text = [y.dtype.kind in "US" for y in (y_train, y_test)]
    if all(are_text):
        return *_of_text(path, y_train, y_test, names), None
    if any(are_text):
        text, numbers = ("y_train", "y_test") if are_text[0] else ("y_test", "y_train")
        raise fault(path, f"{text} holds text and {numbers} numbers: save both alike, {numbers}.astype(str).")
    train, test, own, values = _of_numbers(path, y_train, y_test)
    if names is None:
        return train, test, own, values
    if len(names) < len(own):
        problem = f"class_names has the shape ({len(names)},), and y_train {y_train.shape} and y_test {y_test.shape}"
        raise fault(path, f"{problem} have labels of {len(own)} classes, {own[0]} to {own[-1]}: save a name for each.")
    return train, test, names, values


def places(path: Path, name: str, array: Array, values: tuple[int, ...]) -> Array:
    """Returns an array of labels of the file as numbers of classes.

    Args:
        name: of the array.
        values: the label of each class.

    Raises:
        ArgumentError: it has another label.
    """
    if array.dtype.kind not in "iub" or not np.isin(array, values).all():
        raise fault(
            path, f"{name} {array.shape} has labels that y has not; those of y are {listed(values, MOST_SHOWN)}."
        )
    return np.searchsorted(values, array)


def _check_given(path: Path, names: tuple[str, ...]) -> None:
    """Checks that an array of names can name classes."""
    try:
        check_class_names(names)
    except ArgumentError as error:
        raise fault(path, error.problem.replace("a label is", "class_names has")) from error
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise fault(path, f"class_names ({len(names)},) has {listed(twice, MOST_SHOWN)} twice: names must differ.")


def _of_numbers(path: Path, y_train: Array, y_test: Array) -> tuple[Array, Array, tuple[str, ...], Values]:
    """Returns what `classes` does, of labels that are numbers."""
    train, test = _whole(path, "y_train", y_train), _whole(path, "y_test", y_test)
    if "f" in (y_train.dtype.kind, y_test.dtype.kind):
        log.info(f"{path.name}: y holds whole numbers as {y_train.dtype}; they are taken as classes")
    found = sorted({*np.unique(train).tolist(), *np.unique(test).tolist()})
    n = len(train) + len(test)
    if found == [-1, 1] or (len(found) > 1 and found == list(range(1, 1 + len(found)))):
        names = tuple(map(str, found))
        log.info(f"{path.name}: y holds the labels {listed(names, MOST_SHOWN)}; they are taken as {len(found)} classes")
        return np.searchsorted(found, train), np.searchsorted(found, test), names, tuple(found)
    has = f"y_train {y_train.shape} and y_test {y_test.shape} have the labels {listed(found, MOST_SHOWN)};"
    if found and found[0] != 0:
        raise fault(path, f"{has} classes are the integers 0..K−1. {AS_TEXT}")
    n_classes = found[-1] + 1 if found else 0
    if n_classes > n:
        raise fault(path, f"{has} classes are the integers 0..K−1, without large gaps. {AS_TEXT}")
    if len(found) < n_classes:
        without = sorted(set(range(n_classes)) - set(found))
        none = listed(without, MOST_SHOWN)
        log.warning(f"{path.name}: no example has {none}, and the network gets outputs for them. {AS_TEXT}")
    return train.astype(np.int64), test.astype(np.int64), tuple(map(str, range(n_classes))), None


def _columns(path: Path, y_train: Array, y_test: Array) -> tuple[Array, Array]:
    """Returns labels `(N,)`; one-hot rows as the place of their 1."""
    if y_train.ndim == 1:
        return y_train, y_test
    if y_train.ndim == 2 and y_train.shape[1] == 1:
        log.info(f"{path.name}: y has the shape {y_train.shape}; its column is taken as the labels")
        return y_train[:, 0], y_test[:, 0]
    for name, y in (("y_train", y_train), ("y_test", y_test)):
        is_one_hot = (
            y.ndim == 2 and y.dtype.kind in "fiub" and bool(((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all())
        )
        if not is_one_hot:
            problem = f"{name} has the shape {y.shape}; it must be (N,), or one-hot rows (N, classes)."
            raise fault(path, problem, "For numbers that are no classes use {target}=value.", others=["target"])
    log.info(f"{path.name}: y has one-hot rows; the place of the 1 is taken as the class")
    return y_train.argmax(1), y_test.argmax(1)


def _whole(path: Path, name: str, y: Array) -> Array:
    if y.dtype.kind == "f":
        if not bool((y == np.floor(y)).all()) or (len(y) and float(np.abs(y).max()) > EXACT):
            remedy = f"use {{target}}=value, or save {name}.astype(str) for a class of each value."
            fraction = y[y != np.floor(y)][:1].tolist() or [float(np.abs(y).max())]
            problem = f"{name} {y.shape} has the dtype {y.dtype} and values such as {fraction[0]:g}, no classes:"
            raise fault(path, problem, remedy, others=["target"])
        return y.astype(np.int64)
    return y.astype(np.uint8) if y.dtype.kind == "b" else y


def _of_text(
    path: Path, y_train: Array, y_test: Array, given: tuple[str, ...] | None
) -> tuple[Array, Array, tuple[str, ...]]:
    """Returns both splits' labels and the names of the classes, of labels that are text.

    Args:
        given: the names in their order; None: sorted.
    """
    try:
        train, test = ([str(text) for text in _decoded(y).tolist()] for y in (y_train, y_test))
    except UnicodeDecodeError as error:
        raise fault(path, f"the labels are bytes that are no UTF-8 ({error.reason}): save text.") from error
    names = sorted({*train, *test}, key=by_value)
    if given is not None:
        if others := [name for name in names if name not in given]:
            problem = (
                f"class_names ({len(given)},) lacks {listed(others, MOST_SHOWN)}, which y_train {y_train.shape} or"
            )
            raise fault(path, f"{problem} y_test {y_test.shape} has: save a name for each.")
        names = list(given)
    try:
        check_class_names(names)
    except ArgumentError as error:
        raise fault(path, error.problem) from error
    places = {name: place for place, name in enumerate(names)}
    log.info(f"{path.name}: y holds text; the classes are {listed(names, MOST_SHOWN)}, in this order")
    return (
        np.array([places[name] for name in train], np.int64),
        np.array([places[name] for name in test], np.int64),
        tuple(names),
    )


def check_class_names(names: Sequence[str]) -> None:
    """Checks that texts can name classes in tables.

    Raises:
        ArgumentError: one can't.
    """
    for name in names:
        if not name or name == ALL or not name.isprintable():
            rule = f"a class's name has printable characters, at least one, and is not '{ALL}'."
            raise ArgumentError("class_names", None, f"a label is {name!a}; {rule}")


def _decoded(y: Array) -> Array:
    return np.char.decode(y, "utf-8") if y.dtype.kind == "S" else y


def by_value(text: str) -> tuple[Any, ...]:
    """Returns a key that sorts numbers by value, before all other texts."""
    try:
        value = float(text)
        return (0, value, text) if value == value else (1, text)
    except ValueError:
        return (1, text)
