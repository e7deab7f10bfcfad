"""Imports: those of the large libraries in little time, and none from a folder that is not meant for it."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from mi_runner.machine import hardware, meanwhile


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


def begin_to_load_torch() -> None:
    """Begins to load torch's libraries in a thread, so that its import takes less of the time that the program waits.

    To find and bind them takes the system 0.4 s, in which this thread composes the config, if there is a second core.
    Where something about them is unusual, the import does it all, as without this function.
    """
    if sys.platform == "linux" and hardware.n_cores() > 1 and "torch" not in sys.modules:
        meanwhile.begin(_load_torch)


def _load_torch() -> None:
    with suppress(OSError, ImportError, ValueError):  # ValueError: of a module that has no origin
        torch = find_spec("torch")
        if torch is not None and torch.origin is not None:
            libraries = Path(torch.origin).parent / "lib"
            # As torch itself does it: first those that all see, then its own, which bring the others.
            ctypes.CDLL(str(libraries / "libtorch_global_deps.so"), mode=ctypes.RTLD_GLOBAL)
            ctypes.CDLL(str(libraries / "libtorch_python.so"))


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
