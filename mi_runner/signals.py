"""How Ctrl-C and SIGTERM end what is under way: with one line, an exit status, and nothing lost.

| the program              | a signal                                              | function      |
|--------------------------|-------------------------------------------------------|---------------|
| starts                   | ends it at once, for there is nothing to clean up     | `end_at_once` |
| works at a run           | raises an exception, which unwinds the stack          | `raised`      |
| writes what must be whole | waits until that is written, then raises             | `held`        |
| has its exit status      | changes nothing                                       | `ignore`      |

A signal that is ignored from the beginning, as the shell ignores Ctrl-C for a command in the background, stays ignored.
SIGQUIT (Ctrl-\\) and SIGKILL keep their meaning: they end a process that hangs.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from mi_runner.errors import Terminated, exit_status, one_line

SIGNALS = (signal.SIGINT, signal.SIGTERM)

SECONDS_TO_UNWIND = 1.0
"""A signal that follows another one so soon raises nothing: the first one's exception is on its way.

A later one raises again, because code of a library may have swallowed the first.
"""

STILL_WRITING = b"\nmi-run: a moment, what was computed is being kept (Ctrl-\\ ends this at once)\n"


def end_at_once() -> None:
    """From now on a signal ends this process with one line: nothing was begun that would be lost."""

    def end(number: int, frame: object) -> None:
        error = _error(number)
        # Not by the console, whose modules may be half imported.
        os.write(2, f"mi-run: error: {one_line(error)}\n".encode())
        os._exit(exit_status(error))

    for number in _before():
        signal.signal(number, end)


def ignore() -> None:
    """From now on signals change nothing: the exit status stands, and Python has only to end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def raised() -> Iterator[None]:
    """Within the block Ctrl-C raises KeyboardInterrupt, and SIGTERM raises Terminated."""
    raised_at = -SECONDS_TO_UNWIND

    def unwind(number: int, frame: object) -> None:
        nonlocal raised_at
        if time.monotonic() - raised_at >= SECONDS_TO_UNWIND:
            raised_at = time.monotonic()
            raise _error(number)

    with _heard_by(unwind):
        yield


@contextmanager
def held() -> Iterator[None]:
    """Within the block no signal interrupts; one that arrived does what it would have done when the block ends."""
    arrived: list[int] = []

    def wait(number: int, frame: object) -> None:
        arrived.append(number)
        if number == signal.SIGINT:
            os.write(2, STILL_WRITING)

    try:
        with _heard_by(wait):
            yield
    finally:
        if arrived:
            signal.raise_signal(arrived[0])


Handler = Callable[[int, object], None]

Heard = Callable[[int, FrameType | None], object] | int | signal.Handlers | None
"""What `signal.getsignal` gives: a function, a number, or None for what was not installed from Python."""


@contextmanager
def _heard_by(handler: Handler) -> Iterator[None]:
    before = _before()
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, heard_by in before.items():
            signal.signal(number, heard_by)


def _before() -> dict[int, Heard]:
    """What hears each signal that is not ignored."""
    if threading.current_thread() is not threading.main_thread():  # where Python lets nobody listen
        return {}
    found = {number: signal.getsignal(number) for number in SIGNALS}
    return {number: heard_by for number, heard_by in found.items() if heard_by not in (signal.SIG_IGN, None)}


def _error(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated()
