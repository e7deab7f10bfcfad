"""A process beside this one: what it does, what it leaves to the asker, and when it ends.

Each test runs in a new Python, because a second process is a copy of one without torch and threads.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mi_runner.machine import hardware

NEEDS_TWO_CORES = pytest.mark.skipif(
    hardware.n_cores() < 2 or sys.platform != "linux", reason="a second process needs Linux and a second core"
)

TASKS = """
import os, sys, time

def twice(value):
    return 2 * value

def long(text):
    time.sleep(0.5)
    return len(text)

def fails():
    raise ValueError("no such colour")

def with_torch():
    import torch

def ends():
    os._exit(3)

def pid():
    return os.getpid()
"""


def run(folder: Path, program: str, cores: int | None = None) -> subprocess.Popen[str]:
    """Starts a program beside a module `tasks`; on the first of these cores alone where a number is given."""
    (folder / "tasks.py").write_text(TASKS)
    begin = f"import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{cores}])\n" if cores else ""
    text = begin + "import os, sys, tasks\nfrom mi_runner.machine.second_process import NotDone, begun\n" + program
    return subprocess.Popen([sys.executable, "-c", text], cwd=folder, stdout=subprocess.PIPE, text=True)


def printed(folder: Path, program: str, cores: int | None = None) -> list[str]:
    """Returns the lines that a program prints, once it has ended well."""
    process = run(folder, program, cores)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.splitlines()


@NEEDS_TWO_CORES
def test_answers_come_to_who_asked_whatever_the_order(tmp_path: Path) -> None:
    """A megabyte is sent while the process works: nobody waits to be heard."""
    program = """
with begun() as second:
    asked = [second.ask(tasks.long, "x" * 1_000_000), *(second.ask(tasks.twice, number) for number in range(3))]
    print([answer.value() for answer in reversed(asked)], asked[0].value())
    print(second.ask(tasks.pid).value() != os.getpid())
"""
    assert printed(tmp_path, program) == ["[4, 2, 0, 1000000] 1000000", "True"]


@NEEDS_TWO_CORES
def test_what_it_cant_do_is_not_done_and_what_follows_is(tmp_path: Path) -> None:
    program = """
def shown(answer):
    try:
        return answer.value()
    except NotDone as error:
        return f"not done {error}".rstrip()

with begun() as second:
    asked = [
        second.ask(lambda: 1), second.ask(tasks.fails), second.ask(tasks.with_torch), second.ask(tasks.twice, 4),
        second.ask(tasks.ends), second.ask(tasks.twice, 5),
    ]
    print(*map(shown, asked), sep="\\n")
"""
    cant_be_sent, failed, no_torch, done, ended, after = printed(tmp_path, program)
    assert (cant_be_sent, done) == ("not done", "8")
    assert "ValueError('no such colour')" in failed and "import of torch halted" in no_torch
    assert ended == after == "not done"


def test_there_is_none_with_one_core_with_threads_and_with_torch(tmp_path: Path) -> None:
    """torch's threads can't be copied; that it is imported is seen, and not how."""
    program = "with begun() as second:\n    print(second)"
    with_thread = "import threading, time; threading.Thread(target=time.sleep, args=(5,), daemon=True).start()\n"
    with_torch = "import sys; sys.modules['torch'] = sys\n"
    assert printed(tmp_path, program, cores=1) == ["None"]
    assert printed(tmp_path, with_thread + program) == printed(tmp_path, with_torch + program) == ["None"]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for whoever asks how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@NEEDS_TWO_CORES
@pytest.mark.parametrize("end", ["the block", "SIGKILL", "SIGINT"])
def test_it_ends_with_the_process_that_began_it(tmp_path: Path, end: str) -> None:
    """Also in the middle of work, and without a word."""
    program = """
import signal, time
signal.signal(signal.SIGINT, lambda *_: os._exit(130))
with begun() as second:
    print(second.ask(tasks.pid).value(), flush=True)
    second.ask(tasks.long, "x" * 100)
    time.sleep(SECONDS)
time.sleep(60)
""".replace("SECONDS", "0" if end == "the block" else "60")
    with run(tmp_path, program) as process:
        assert process.stdout is not None
        other = int(process.stdout.readline())
        if end != "the block":
            assert is_alive(other)
            process.send_signal(signal.Signals[end])
        until = time.monotonic() + 10
        while is_alive(other) and time.monotonic() < until:
            time.sleep(0.01)
        assert not is_alive(other)
        process.kill()
        assert process.stdout.read() == ""


@NEEDS_TWO_CORES
def test_ctrl_c_which_the_terminal_sends_to_both_ends_it_only_with_the_other(tmp_path: Path) -> None:
    program = """
with begun() as second:
    other = second.ask(tasks.pid).value()
    os.kill(other, 2)
    print(second.ask(tasks.twice, 1).value())
"""
    assert printed(tmp_path, program) == ["2"]
