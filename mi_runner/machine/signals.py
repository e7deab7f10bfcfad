"""How Ctrl-C, SIGTERM and SIGHUP end the program: with one line and an exit status, and without losing results.

| the program                | a signal                                             | function      |
|----------------------------|------------------------------------------------------|---------------|
| starts                     | ends it at once, because there is nothing to save    | `end_at_once` |
| works on a run             | raises an exception, which unwinds the stack         | `raised`      |
| writes its files           | waits until all are written, then raises             | `held`        |
| has its exit status        | changes nothing                                      | `ignore`      |

A signal that was ignored at the start stays ignored, as the shell ignores Ctrl-C for a command in the background, and
nohup SIGHUP.
SIGQUIT (Ctrl-\\) and SIGKILL keep their meaning: they end a process that hangs.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from mi_runner.errors import Terminated, exit_status, one_line

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGHUP says that the terminal is gone, and means the same as SIGTERM."""

SECONDS_TO_UNWIND = 1.0
"""Within this time after a signal, further signals raise nothing, because the first exception is still unwinding.

A later signal raises again, because a library may have caught the first exception.
"""

STILL_WRITING = b"\nmi-run: saving the results computed so far, please wait (Ctrl-\\ ends this at once)\n"


def end_at_once() -> None:
    """Makes a signal end this process at once with one line, from now on."""

    def end(signum: int, frame: object) -> None:
        error = _error(signum)
        with suppress(OSError):  # os.write and not the console, whose imports may be incomplete
            os.write(2, f"mi-run: error: {one_line(error)}\n".encode())
        os._exit(exit_status(error))

    for signum in _before():
        signal.signal(signum, end)


def ignore() -> None:
    """Makes signals change nothing from now on, because the exit status is decided."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


@contextmanager
def raised() -> Iterator[None]:
    """Makes Ctrl-C raise KeyboardInterrupt, and SIGTERM and SIGHUP raise Terminated, within the block."""
    raised_at = -SECONDS_TO_UNWIND

    def unwind(signum: int, frame: object) -> None:
        nonlocal raised_at
        if time.monotonic() - raised_at >= SECONDS_TO_UNWIND:
            raised_at = time.monotonic()
            raise _error(signum)

    with _handled_by(unwind):
        yield


@contextmanager
def held() -> Iterator[None]:
    """Delays signals until the block ends."""
    arrived: list[int] = []

    def wait(signum: int, frame: object) -> None:
        arrived.append(signum)
        if signum == signal.SIGINT:
            with suppress(OSError):
                os.write(2, STILL_WRITING)

    try:
        with _handled_by(wait):
            yield
    finally:
        if arrived:
            signal.raise_signal(arrived[0])


def interruption(error: BaseException) -> BaseException:
    """Returns the interruption that an error stands for, otherwise the error itself.

    A signal during the import of a library in C raises there, and the library turns it into an ImportError.
    """
    behind: BaseException | None = error
    seen: set[int] = set()
    while behind is not None and id(behind) not in seen:
        if isinstance(behind, KeyboardInterrupt | Terminated):
            return behind
        seen.add(id(behind))
        behind = behind.__cause__ or behind.__context__
    return error


Handler = Callable[[int, object], None]

Installed = Callable[[int, FrameType | None], object] | int | signal.Handlers | None
"""A value of `signal.getsignal`: a function, a number, or None for a handler that wasn't installed from Python."""


@contextmanager
def _handled_by(handler: Handler) -> Iterator[None]:
    before = _before()
    try:
        for signum in before:
            signal.signal(signum, handler)
        yield
    finally:
        for signum, previous in before.items():
            signal.signal(signum, previous)


def _before() -> dict[int, Installed]:
    """Returns the present handler of each signal that is not ignored."""
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers only in the main thread
        return {}
    handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}
    return {signum: handler for signum, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}


def _error(signum: int) -> BaseException:
    return KeyboardInterrupt() if signum == signal.SIGINT else Terminated(signal.Signals(signum).name)
