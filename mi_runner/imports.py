"""Imports of the large libraries: how a process that works for one run makes them in little time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Keeps the garbage collector away from the objects that the imports in the block make.

    torch and its modules make a million lasting objects, and searches through them take a quarter of the imports' time.
    """
    if "torch" in sys.modules or not gc.isenabled():  # the user's own program, which may need the collector
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
