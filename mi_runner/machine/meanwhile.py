"""Work in another thread, while this one goes on: of use where the work waits or computes outside of Python.

A sum over bytes, a library that is read from the disk and arithmetic of large arrays let other threads run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def begin(work: Callable[[], T]) -> Callable[[], T]:
    """Begins a function in a thread, and returns a function that waits for its value, or raises its error.

    A program that ends meanwhile doesn't wait.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            value = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(value)

    threading.Thread(target=run, daemon=True).start()
    return future.result
