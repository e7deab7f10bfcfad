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

MOST_SHOWN = 10
"""Largest number of classes that a line names."""

EXACT = 2**53
"""Whole numbers up to this one differ as float64."""


def classes(path: Path, y_train: Array, y_test: Array) -> tuple[Array, Array, tuple[str, ...]]:
    """Returns both splits' labels `(N,)` int64 in 0..K−1, and the names of the classes.

    Args:
        path: the file, for errors and lines.
        y_train, y_test: finite real numbers, or text.

    Raises:
        ArgumentError: they name no classes; the text says what to type.
    """
    y_train, y_test = _columns(path, y_train, y_test)
    are_text = [y.dtype.kind in "US" for y in (y_train, y_test)]
    if all(are_text):
        return _of_text(path, y_train, y_test)
    if any(are_text):
        text, numbers = ("y_train", "y_test") if are_text[0] else ("y_test", "y_train")
        raise fault(path, f"{text} holds text and {numbers} numbers: save both alike, {numbers}.astype(str).")
    train, test = _whole(path, "y_train", y_train), _whole(path, "y_test", y_test)
    if "f" in (y_train.dtype.kind, y_test.dtype.kind):
        log.info(f"{path.name}: y holds whole numbers as {y_train.dtype}; they are taken as classes")
    found = sorted({*np.unique(train).tolist(), *np.unique(test).tolist()})
    n = len(train) + len(test)
    if found and found[0] < 0:
        raise fault(path, f"a label is {found[0]}; classes are the integers 0..K−1. {AS_TEXT}")
    if found and found[0] > 0:
        least = found[0]
        raise fault(path, f"the labels begin at {least}; classes are the integers 0..K−1. Store y − {least}.")
    n_classes = found[-1] + 1 if found else 0
    if n_classes > n:
        raise fault(path, f"a label is {found[-1]}; classes are the integers 0..K−1, without large gaps. {AS_TEXT}")
    if len(found) < n_classes:
        without = sorted(set(range(n_classes)) - set(found))
        none = listed(without, MOST_SHOWN)
        log.warning(f"{path.name}: no example has {none}, and the network gets outputs for them. {AS_TEXT}")
    return train.astype(np.int64), test.astype(np.int64), tuple(map(str, range(n_classes)))


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
            remedy = "store integers, or use {target}=value."
            raise fault(path, f"{name} has the dtype {y.dtype};", remedy, others=["target"])
        return y.astype(np.int64)
    return y.astype(np.uint8) if y.dtype.kind == "b" else y


def _of_text(path: Path, y_train: Array, y_test: Array) -> tuple[Array, Array, tuple[str, ...]]:
    try:
        train, test = ([str(text) for text in _decoded(y).tolist()] for y in (y_train, y_test))
    except UnicodeDecodeError as error:
        raise fault(path, f"the labels are bytes that are no UTF-8 ({error.reason}): save text.") from error
    names = sorted({*train, *test}, key=by_value)
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
