"""A process beside this one, which makes what is asked of it while this one computes.

It is a copy of this process from before torch is imported, so it starts in milliseconds and imports its own libraries
while this one imports torch. It writes no files and has no torch: what needs either fails in it, and the asker then
does the work itself. It ends with this process, whatever ends that.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from mi_runner.machine import hardware

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


class NotDone(Exception):
    """The other process could not do it; why doesn't matter, because whoever asked does it."""


class SecondProcess:
    """The process, as this one sees it; see `begun`.

    Args:
        pipe: to the process, which answers in the order in which it is asked.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._n_asked = 0
        self._answers: list[tuple[bool, Any]] = []

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Answer:
        """Asks for `function(*arguments)`, and returns where its value will be; what can't be sent is not done."""
        try:
            # Functions go by their names; so those that are defined within others don't go.
            self._pipe.send_bytes(pickle.dumps((function, arguments), protocol=pickle.HIGHEST_PROTOCOL))
        except (OSError, ValueError, AttributeError, TypeError, pickle.PicklingError):
            return Answer(self, None)
        self._n_asked += 1
        return Answer(self, self._n_asked - 1)

    def answer(self, number: int) -> Any:
        """Waits for the value of what was asked as the `number`th, from 0, and returns it.

        Raises:
            NotDone: it failed there, or the process has ended.
        """
        while len(self._answers) <= number:
            try:
                self._answers.append(pickle.loads(self._pipe.recv_bytes()))
            except (OSError, EOFError) as error:
                raise NotDone from error
        is_done, value = self._answers[number]
        if not is_done:
            raise NotDone(value)
        return value


class Answer:
    """What a second process was asked for.

    Args:
        number: of what was asked, from 0; None: it couldn't be asked.
    """

    def __init__(self, process: SecondProcess, number: int | None) -> None:
        self._process, self._number = process, number

    def value(self) -> Any:
        """Waits for the value and returns it.

        Raises:
            NotDone: there is none.
        """
        if self._number is None:
            raise NotDone
        return self._process.answer(self._number)


@contextmanager
def begun() -> Iterator[SecondProcess | None]:
    """Yields a second process, which ends with the block; None where there can be none.

    That is without a second core, where a copy of a process can't be trusted (not on Linux), where this process has
    torch or threads already, whose copies don't work, and where the system has no room for more processes.
    """
    is_possible = sys.platform == "linux" and hardware.n_cores() > 1
    if not is_possible or threading.active_count() > 1 or "torch" in sys.modules:
        yield None
        return
    import multiprocessing

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, here), daemon=True)
    try:
        process.start()
    except (OSError, AssertionError):  # AssertionError: this is itself the process of a pool, which may have none
        here.close()
        there.close()
        yield None
        return
    there.close()
    try:
        yield SecondProcess(here)
    finally:
        process.kill()  # it keeps nothing
        process.join()
        here.close()


def _serve(pipe: Connection, of_other: Connection) -> None:
    """Does what is asked until the other process ends; in the second process."""
    of_other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other one, and this one ends with it
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    sys.modules["torch"] = None  # type: ignore[assignment]  # an import of torch fails, and takes no seconds
    asked: SimpleQueue[bytes] = SimpleQueue()
    # Read at once, so that the other one never waits to be heard.
    threading.Thread(target=_read, args=(pipe, asked), daemon=True).start()
    while True:
        message = asked.get()
        try:
            function, arguments = pickle.loads(message)
            answer = pickle.dumps((True, function(*arguments)))
        except Exception as error:
            answer = pickle.dumps((False, repr(error)))
        with suppress(OSError):
            pipe.send_bytes(answer)


def _read(pipe: Connection, asked: SimpleQueue[bytes]) -> None:
    while True:
        try:
            asked.put(pipe.recv_bytes())
        except (OSError, EOFError):
            os._exit(0)
