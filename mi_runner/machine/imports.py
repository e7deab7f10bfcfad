"""Imports: those of the large libraries in little time, and none from a folder that is not meant for it."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Keeps the garbage collector away from the objects that the imports in the block make.

    torch and its modules make a million lasting objects, and searches through them take a quarter of the imports' time.
    """
    logging.getLogger("matplotlib").addFilter(_is_not_about_its_cache)
    if "torch" in sys.modules or not gc.isenabled():  # the user's own program, which may need the collector
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


SAFE_PATH = "PYTHONSAFEPATH"
"""The variable by which Python leaves the working directory out of `sys.path`, as `-P` does."""


@contextmanager
def safe_path() -> Iterator[None]:
    """Keeps a Python that is started within the block from taking modules from its working directory.

    A file there that is named as a library, `random.py`, would be run in its place. The process that was started undoes
    this for its own children by `restore_safe_path`.
    """
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        restore_safe_path(before)


def restore_safe_path(before: str | None) -> None:
    """Sets the variable to what it was; None: it wasn't set."""
    if before is None:
        os.environ.pop(SAFE_PATH, None)
    else:
        os.environ[SAFE_PATH] = before


def folder_last(folder: str) -> None:
    """Puts a folder that is in `sys.path` at its end: its modules are taken only where no other place has them."""
    named = [place for place in sys.path if place == "" or os.path.realpath(place) == os.path.realpath(folder)]
    if named:
        sys.path[:] = [*(place for place in sys.path if place not in named), folder]


def _is_not_about_its_cache(record: logging.LogRecord) -> bool:
    """Returns whether a line of matplotlib says more than that it keeps its list of fonts in a temporary folder.

    Without a home it says so in two lines, and `cache` says what follows for a run in one.
    """
    text = record.getMessage()
    return "MPLCONFIGDIR" not in text and not text.startswith("mkdir -p failed")
