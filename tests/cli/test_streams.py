"""Standard streams that are closed, full, of another encoding or without a reader; a terminal that goes away."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mi_runner.cli import command as cli
from mi_runner.errors import Terminated, one_line
from mi_runner.machine import signals, streams
from mi_runner.tables import console
from tests.conftest import Ended
from tests.forked import Forked
from tests.launched import Started, statuses

MiRun = Callable[..., Ended]
TINY = (
    *("dataset=mod_add", "dataset.train_size=32", "dataset.test_size=16", "training.epochs=1"),
    *("report=false", "figures=false"),
)
FOLDER = Path("outputs/train/mod_add-mlp/v001")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], subprocess.CompletedProcess[bytes]]:
    """A command as the shell runs it, with its redirections."""

    def run(line: str, at: Path) -> subprocess.CompletedProcess[bytes]:
        line = line.replace("mi-run", f"{sys.executable} -m mi_runner")
        return subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=at, capture_output=True, timeout=120)

    return run


def done(at: Path) -> bool:
    return json.loads((at / FOLDER / "run.json").read_text())["status"] == "done"


def test_a_run_whose_streams_are_full_or_closed_is_done(begun: Callable[..., object], tmp_path: Path) -> None:
    """One after the other, and each with a status of 0; what standard output doesn't take, standard error has."""
    run = f"mi-run {' '.join(TINY)}"
    lines = (f"{run} 2>/dev/full", f"{run} >/dev/full", f"{run} >&- 2>&-", f"{run} | true")
    for number, line in enumerate(lines):
        at = tmp_path / str(number)
        at.mkdir()
        ended: subprocess.CompletedProcess[bytes] = begun(line, at)  # type: ignore[assignment]
        assert ended.returncode == 0 and done(at) and b"Traceback" not in ended.stderr, (line, ended.stderr)
        if ("/dev/full" in line and "2>" not in line) or "true" in line:
            assert ended.stderr.decode().splitlines()[-1] == str(FOLDER)
        if line.endswith("2>/dev/full"):
            assert ended.stdout.decode().splitlines()[-1] == str(FOLDER)
        assert all(path.suffix != ".tmp" for path in (at / FOLDER).iterdir())


def test_the_folders_line_is_its_bytes_in_every_encoding(begun: Callable[..., object], tmp_path: Path) -> None:
    run = f"mi-run {' '.join(TINY)} \"output_dir='café'\""
    for number, variables in enumerate(("PYTHONIOENCODING=ascii", "PYTHONIOENCODING=latin-1")):
        ended: subprocess.CompletedProcess[bytes] = begun(f"{variables} {run}", tmp_path)  # type: ignore[assignment]
        assert ended.returncode == 0 and b"Traceback" not in ended.stderr, ended.stderr
        assert ended.stdout.splitlines()[-1] == f"café/train/mod_add-mlp/v00{number + 1}".encode()
    ended = begun("PYTHONIOENCODING=ascii mi-run ls café", tmp_path)  # type: ignore[assignment]
    assert ended.returncode == 0 and rb"caf\xe9/train" in ended.stdout and b"+--" in ended.stdout


def test_a_reader_that_has_enough_is_no_fault(begun: Callable[..., object], tmp_path: Path) -> None:
    for version in range(1, 4):
        folder = tmp_path / f"outputs/train/mod_add-mlp/v{version:03d}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"status": "done", "config": {"x": "y" * 100_000}}))
    for line in ("mi-run ls | head -1", "mi-run ls --format json | head -1", "mi-run --help | true"):
        ended: subprocess.CompletedProcess[bytes] = begun(line, tmp_path)  # type: ignore[assignment]
        assert (ended.returncode, ended.stderr) == (0, b""), line
    ended = begun("mi-run ls > /dev/full", tmp_path)  # type: ignore[assignment]
    assert ended.returncode == 1
    assert ended.stderr == b"mi-run: error: can't write to standard output (No space left on device).\n"


class Broken(io.StringIO):
    """A stream that takes nothing."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_broken_stream_of_a_program_that_calls_main(
    mi_run: MiRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("stdout", "stderr"):
        for stream in (Broken(), None):
            with monkeypatch.context() as patched:
                patched.setattr(sys, name, stream)
                assert cli.main(TINY) == 0
                assert cli.main(("--version",)) == (1 if name == "stdout" and stream is not None else 0)
                assert cli.main(("ls", "nowhere")) == 2


def test_what_is_said_is_lost_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (Broken(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        console.note("a")
        console.error("b")
        console.traceback(ValueError("c"))
        console.table("title", [{"a": 1}], to_stderr=True)
        with console.Bars().bar("description", 2) as advance:
            advance(2)
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    console.note("d")


def test_an_unfailing_stream_forgets_what_nobody_takes() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    try:
        for descriptor in (full, writer):
            stream = io.TextIOWrapper(io.BufferedWriter(streams._Unfailing(descriptor)), line_buffering=True)
            stream.write("é" * 100_000 if descriptor == full else "one\n")
            stream.flush()
            assert stream.fileno() == descriptor and not stream.isatty()
        assert os.read(reader, 100) == b"one\n"
    finally:
        for descriptor in (full, reader, writer):
            os.close(descriptor)


# --- SIGHUP --------------------------------------------------------------------------------------------------------


def test_a_terminal_that_goes_away_ends_a_run_as_sigterm_does(tmp_path: Path) -> None:
    process = Forked("dataset=mod_add", "training.epochs=100000", cwd=tmp_path)
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            break
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in err
    record = json.loads((tmp_path / FOLDER / "run.json").read_text())
    assert (record["status"], record["exit_status"], record["error"]) == ("interrupted", 143, "terminated (SIGHUP)")
    assert (tmp_path / FOLDER / "history.csv").exists()


def test_a_terminal_that_goes_away_ends_a_sweep(tmp_path: Path) -> None:
    sweep = Started(tmp_path, "training.epochs=1,100000,2", "report=false")
    sweep.wait_for(1, "running")
    sweep.process.send_signal(signal.SIGHUP)
    ended = sweep.ended()
    assert ended.status == 143 and "terminated (SIGHUP): no later job starts" in ended.err
    assert statuses(sweep.folder) == {0: "done", 1: "interrupted", 2: "missing"}


def test_who_ignores_sighup_goes_on_ignoring_it() -> None:
    """As a command of nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.raised(), signals.held():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_each_signal_has_its_name() -> None:
    assert threading.current_thread() is threading.main_thread()
    for number, words in ((signal.SIGTERM, "terminated (SIGTERM)"), (signal.SIGHUP, "terminated (SIGHUP)")):
        before = signal.signal(number, signal.SIG_DFL)
        try:
            with pytest.raises(Terminated) as caught, signals.raised():
                signal.raise_signal(number)
        finally:
            signal.signal(number, before)
        assert one_line(caught.value) == words
    assert one_line(Terminated()) == "terminated (SIGTERM)"
