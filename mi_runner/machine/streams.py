"""Standard output and standard error, whatever they are: a terminal that goes away, a full disk, a closed descriptor.

What is said on standard error never fails anything. What can't be written to standard output is lost from then on, and
`lost_because` says why; whoever has a result to give says it elsewhere.

Nothing here imports more than Python's own first modules: the program's first lines use it.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

_lost: OSError | None = None


class _Unfailing(io.RawIOBase):
    """Writes to a file descriptor what it takes, and forgets the rest."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        size = len(view)
        with suppress(OSError):
            while len(view):
                view = view[os.write(self._descriptor, view) :]
        return size


def prepare() -> None:
    """Makes the streams of this process such that no text and no fault of theirs ends it.

    A descriptor that is closed is opened on nothing, because the next file that is opened would get its number, and
    what a library prints would be written into it.
    """
    global _lost
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError as error:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
            if descriptor == 1:
                _lost = error
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    elif isinstance(sys.stdout, io.TextIOWrapper):
        with suppress(OSError):  # of a stream that is no longer what it was when Python opened it
            sys.stdout.reconfigure(errors="backslashreplace")
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    buffer = io.BufferedWriter(_Unfailing(2))
    sys.stderr = io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace", line_buffering=True)


def err(text: str) -> None:
    """Writes a text to standard error, if it can be written."""
    with suppress(OSError, ValueError, AttributeError):  # AttributeError: there is none
        sys.stderr.write(_encodable(text, sys.stderr))
        sys.stderr.flush()


def out(text: str) -> None:
    """Writes a text to standard output."""
    try:
        if sys.stdout is not None:
            sys.stdout.write(_encodable(text, sys.stdout))
    except (OSError, ValueError) as error:  # ValueError: it was closed
        _lose(error)


def out_path(path: str, shown: str) -> OSError | None:
    """Writes a path on a line, in the bytes that the file system has, whatever the encoding of standard output.

    Args:
        shown: the path as a terminal shows it.

    Returns:
        Why it can't be written; None where it is.
    """
    stream = sys.stdout
    if _lost is None and stream is not None:
        try:
            stream.flush()
            if (buffer := getattr(stream, "buffer", None)) is None or stream.isatty():
                stream.write(_encodable(shown, stream) + "\n")
            else:
                buffer.write(os.fsencode(path) + b"\n")
            stream.flush()
        except (OSError, ValueError) as error:
            _lose(error)
    return OSError("it is closed") if stream is None else _lost


def flush() -> OSError | None:
    """Writes what waits to be written to standard output, and returns why it couldn't be; None where it could."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        _lose(error)
    return _lost


def begin() -> None:
    """Forgets what was lost: another command begins in this process."""
    global _lost
    if not (sys.stdout is None or getattr(sys.stdout, "name", "") == os.devnull):
        _lost = None


def _lose(error: Exception) -> None:
    """Sends standard output to nothing from now on, also what Python still holds of it and writes when it ends."""
    global _lost
    _lost = error if isinstance(error, OSError) else OSError(str(error))
    nothing = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


def _encodable(text: str, stream: io.TextIOBase | object) -> str:
    """Returns the text with characters that the stream's encoding lacks written as Python would."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
