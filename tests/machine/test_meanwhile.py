"""Work in another thread: its value, its error, and that it goes on beside this one."""

from __future__ import annotations

import threading

import pytest

from mi_runner.machine import meanwhile


def test_the_value_is_there_when_it_is_asked_for() -> None:
    """The work waits for this thread, so it is in another; and it is asked for twice."""
    goes_on = threading.Event()

    def work() -> int:
        assert goes_on.wait(30)
        return threading.get_ident()

    value = meanwhile.begin(work)
    goes_on.set()
    assert value() == value() != threading.get_ident()


def test_the_error_is_raised_where_the_value_is_asked_for() -> None:
    def work() -> None:
        raise OSError("the disk is full")

    failed = meanwhile.begin(work)
    for _ in range(2):
        with pytest.raises(OSError, match="the disk is full"):
            failed()
