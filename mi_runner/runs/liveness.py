"""Does the process that runs a run still live? Its host says so, or signs of life in the folder, for other hosts."""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from mi_runner.machine.reading import Unreadable, read_text
from mi_runner.runs.record import RunRecord

CLOCK_ERROR = 5.0
"""Largest difference in seconds between the boot time and the wall clock."""

SECONDS_BETWEEN_SIGNS = 5.0
"""How often a job of a sweep says that it lives."""

SECONDS_WITHOUT_SIGN = 60.0
"""A job on another host that says nothing for so long is dead; a shared disk may show its signs late."""

ALIVE = ".alive"
"""The file of a run folder whose time of change is the last sign of life."""

PROCESS = ".process"
"""The file of a run folder that says which process writes into it, and when that process began, while it does."""


@contextmanager
def signs_of_life(folder: Path) -> Iterator[None]:
    """Touches a file of the folder again and again within the block, so that other hosts see the process live."""
    ended = threading.Event()
    file = folder / ALIVE

    def say() -> None:
        while not ended.wait(SECONDS_BETWEEN_SIGNS):
            with suppress(OSError):  # the folder may be gone, or its disk full for a moment
                os.utime(file)

    with suppress(OSError):
        file.touch()
    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(OSError):
            file.unlink()


def seconds_without_sign(folder: Path) -> float | None:
    """Returns how old the last sign of life is, by the clock of the folder's disk; None where there is none."""
    now = folder / f"{ALIVE}.{secrets.token_hex(8)}"
    if (at := last_sign(folder)) is None:
        return None
    try:
        now.touch()
        return now.stat().st_mtime - at
    except OSError:  # a folder that is not ours to write
        return datetime.now().timestamp() - at
    finally:
        with suppress(OSError):
            now.unlink()


def last_sign(folder: Path) -> float | None:
    """Returns the time of the last sign of life; None where there is none."""
    try:
        return (folder / ALIVE).stat().st_mtime
    except OSError:
        return None


def is_alive(folder: Path, record: RunRecord) -> bool | None:
    """Returns whether the process that a record names lives; None for another host's that gives no signs of life."""
    if record.host == socket.gethostname():
        return _lives(record, _process_of(folder))
    silent = seconds_without_sign(folder)
    return None if silent is None else silent < SECONDS_WITHOUT_SIGN


def _lives(record: RunRecord, noted: str | None = None) -> bool:
    """Returns whether the process of this host that writes this record may still run.

    Args:
        noted: what the folder says of the process; None: nothing, as an earlier version of mi-run wrote it.
    """
    pid = record.pid
    if pid is None or pid == os.getpid():  # this process doesn't run it while it reads
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    if (noted or "").startswith(f"{pid} ") and (told := process_start(pid)) is not None:
        return not _has_ended(pid) and noted == f"{pid} {told}"
    # The record is of an earlier version. Another process may have this id by now, and in containers soon has
    try:
        fields = _of_process(pid)
        (booted,) = re.findall(r"^btime (\d+)", Path("/proc/stat").read_text(), re.MULTILINE)
        began = int(booted) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
        ended = fields[0] in "ZX"  # a zombie: its parent hasn't read its exit status
        return not ended and began <= datetime.fromisoformat(record.started or "").timestamp() + CLOCK_ERROR
    except (FileNotFoundError, ProcessLookupError):  # it has just ended, or this isn't Linux
        return not Path("/proc/self/stat").exists()
    except (OSError, ValueError):
        return True


def process_start(pid: int) -> str | None:
    """Returns when a process of this host began, as `BOOT:TICKS`: which start of the machine, and how long after it.

    No other process has the same, and setting the clock changes nothing of it. None where the system doesn't say.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{_of_process(pid)[19]}"
    except (OSError, IndexError):
        return None


def _process_of(folder: Path) -> str | None:
    try:
        return read_text(folder / PROCESS, 1_000).strip()
    except (OSError, Unreadable):
        return None


def _has_ended(pid: int) -> bool:
    """Returns whether a process is gone, or a zombie: its parent hasn't read its exit status."""
    try:
        return _of_process(pid)[0] in "ZX"
    except OSError:
        return True


def _of_process(pid: int) -> list[str]:
    """Returns what Linux says of a process, from its state on.

    Raises:
        OSError: there is no such process, or this isn't Linux.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
