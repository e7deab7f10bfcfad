"""What a signal does: while the program starts, while it works, while it writes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from mi_runner.errors import Terminated
from mi_runner.experiments.train import experiment as train
from mi_runner.machine import signals
from tests.conftest import Ended

EXCEPTIONS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets."""
    now = [1000.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in EXCEPTIONS}
    yield
    assert {number: signal.getsignal(number) for number in EXCEPTIONS} == before


@pytest.mark.parametrize("number", EXCEPTIONS)
def test_signals_that_follow_the_first_raise_nothing_until_it_must_be_lost(number: int, clock: list[float]) -> None:
    with signals.raised():
        with pytest.raises(EXCEPTIONS[number]):
            signal.raise_signal(number)
        for later in (0.004, 0.5, 0.99):
            clock[0] = 1000 + later
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
        clock[0] = 1001.1
        with pytest.raises(EXCEPTIONS[number]):
            signal.raise_signal(number)


@pytest.mark.parametrize("number", EXCEPTIONS)
def test_what_is_held_raises_once_at_the_end(
    number: int, clock: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    written = []
    with signals.raised(), pytest.raises(EXCEPTIONS[number]), signals.held():
        for _ in range(3):
            signal.raise_signal(number)
            clock[0] += 60
            with signals.held():
                signal.raise_signal(number)
            written.append("a file")
    assert len(written) == 3
    assert ("ends this at once" in capfd.readouterr().err) == (number == signal.SIGINT)


def test_nothing_is_held_back_where_nothing_arrived() -> None:
    with signals.held():
        pass


def test_who_listened_before_hears_what_was_held() -> None:
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with signals.held():
            signal.raise_signal(signal.SIGTERM)
            assert heard == []
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As Ctrl-C is for a command that the shell runs in the background, and for a worker of a sweep."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals.raised():
            signal.raise_signal(signal.SIGINT)
            with signals.held():
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_thread_listens_to_nothing() -> None:
    done = []

    def work() -> None:
        with signals.raised(), signals.held():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


# --- the real program ----------------------------------------------------------------------------------------------

LINE = "mi-run: error: interrupted (Ctrl-C)\n"


INTERRUPTED_AT_AN_IMPORT = """
import os, sys
from mi_runner.__main__ import main

module, number, *sys.argv[1:] = sys.argv[1:]

class Finder:
    def find_spec(name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), int(number))

sys.meta_path.insert(0, Finder)
sys.exit(main())
"""


@pytest.mark.parametrize(
    "module", ["mi_runner.cli.command", "argparse", "antlr4", "omegaconf", "hydra.compose", "torch"]
)
@pytest.mark.parametrize(
    ("number", "status", "line"),
    [(signal.SIGINT, 130, LINE), (signal.SIGTERM, 143, "mi-run: error: terminated (SIGTERM)\n")],
)
def test_a_signal_while_a_module_is_imported_is_one_line(
    number: int, status: int, line: str, module: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_AN_IMPORT, module, str(int(number)), "dataset=mod_add"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "", line)
    assert not (tmp_path / "outputs").exists()


def test_ctrl_c_at_any_time_is_no_traceback_of_ours(tmp_path: Path) -> None:
    """Python's own start is not ours; from then on it is one line, or the page was printed already."""
    page = [sys.executable, "-m", "mi_runner", "--help"]
    begun = time.monotonic()
    subprocess.run(page, cwd=tmp_path, stdout=subprocess.DEVNULL, check=True, timeout=60)
    takes = time.monotonic() - begun  # on this machine, with what else it does now
    seen = []
    for number in range(10):
        process = subprocess.Popen(
            page,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(takes * number / 8)
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        seen.append(process.returncode)
        if process.returncode in (0, 130):
            assert err == (LINE if process.returncode else ""), (number, err)
        else:
            frames = re.findall(r'File "([^"]+)"', err)
            assert not any("hydra" in frame or "mi_runner/cli" in frame for frame in frames), err
    assert {0, 130} & set(seen)


def test_the_status_stands_while_python_ends(tmp_path: Path) -> None:
    """Signals that arrive after the last line of the program change nothing, and print nothing."""
    program = (
        "import atexit, os, signal; from mi_runner.__main__ import main\n"
        "atexit.register(lambda: [os.kill(os.getpid(), number) for number in (2, 15, 2, 15)])\n"
        "import sys; sys.argv[1:] = ['--version']; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("mi-run ")


# --- an interruption that a library turns into another error ---------------------------------------------------------


def failed(cause: BaseException | None, context: BaseException | None = None) -> ImportError:
    error = ImportError("initialization failed")
    error.__cause__, error.__context__ = cause, context
    return error


def test_an_interruption_behind_an_error_is_found() -> None:
    ended, pressed = Terminated("SIGTERM"), KeyboardInterrupt()
    assert signals.interruption(failed(failed(ended))) is ended
    assert signals.interruption(failed(None, failed(None, pressed))) is pressed
    assert signals.interruption(pressed) is pressed
    alone = failed(ValueError())
    assert signals.interruption(alone) is alone
    alone.__context__ = alone.__cause__ = failed(None, alone)  # a circle
    assert signals.interruption(alone) is alone


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_whose_import_fails_by_a_signal_is_interrupted(
    begun: bool, mi_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its folder and after."""

    def interrupted(*_: object, **__: object) -> None:
        raise failed(Terminated("SIGTERM"))

    if begun:
        monkeypatch.setattr(train, "EXPERIMENT", replace(train.EXPERIMENT, run=interrupted))
    else:
        monkeypatch.setattr("mi_runner.runs.runner.load_dataset", interrupted)
    ended = mi_run("experiment=train", "dataset=mod_add", "dataset.train_size=20", "training.epochs=0", "report=false")
    assert ended.status == 143 and "SIGTERM" in ended.err and "Traceback" not in ended.err
    records = [json.loads(file.read_text()) for file in Path("outputs").rglob("v001/run.json")]
    assert [record["status"] for record in records] == ["interrupted"] * begun
