"""What became of a run, as its folder alone says it; and whether the process that runs it still lives."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mi_runner.runs.record import RunRecord
from mi_runner.runs.run_folder import RunFolder
from mi_runner.runs.states import State, read_state

HERE = socket.gethostname()


def dead_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("text", "status", "cause", "exit_status"),
    [
        (json.dumps({"status": "done"}), "done", "", 0),
        (json.dumps({"status": "done", "expect_not_met": []}), "done", "", 0),
        (json.dumps({"status": "done", "expect_not_met": ["a = 1", "b = 2"]}), "done", "expect: a = 1; b = 2", 3),
        (json.dumps({"status": "failed", "error": "diverged", "exit_status": 1}), "failed", "diverged", 1),
        (json.dumps({"status": "failed", "error": None}), "failed", "ended without a word", 1),
        (json.dumps({"status": "interrupted", "error": "Ctrl-C", "exit_status": 130}), "interrupted", "Ctrl-C", 130),
        (json.dumps({"status": "killed", "error": "process 3 on a ended", "exit_status": 1}), "killed", "a ended", 1),
        ('{"status": "do', "torn", "run.json is torn", 1),
        (None, "missing", "has no run.json", 1),
    ],
    ids=["done", "met", "not met", "failed", "silent", "interrupted", "killed", "torn", "missing"],
)
def test_what_became_of_a_run_is_read_from_its_record(
    text: str | None, status: str, cause: str, exit_status: int, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    found = read_state(tmp_path)
    assert (found.status, found.exit_status, found.done) == (status, exit_status, status == "done")
    assert found.cause.endswith(cause) and bool(cause) == bool(found.cause)


def test_a_folder_that_was_deleted(tmp_path: Path) -> None:
    found = read_state(tmp_path / "3")
    assert found == State("missing", f"never began, or was deleted: {tmp_path / '3'} doesn't exist", 1, RunRecord())


def test_a_run_is_running_as_long_as_its_process_is_there(tmp_path: Path) -> None:
    def status(**record: Any) -> str:
        RunFolder(tmp_path).write_record(RunRecord(**{"status": "running", "host": HERE, **record}))
        return read_state(tmp_path).status

    now = datetime.now(UTC).isoformat(timespec="seconds")
    with subprocess.Popen(["sleep", "60"]) as process:
        assert status(pid=process.pid, started=now) == "running"
        # A process that began long after the run did has only got its id.
        assert status(pid=process.pid, started="2020-01-01T00:00:00+00:00") == "killed"
        process.kill()
        deadline = time.monotonic() + 10
        while status(pid=process.pid, started=now) == "running":  # until it is a zombie: nobody has waited for it
            assert time.monotonic() < deadline
    assert status(pid=dead_pid(), started=now) == "killed"
    assert status(pid=os.getpid(), started=now) == "killed"  # this process runs nothing
    assert status(pid=dead_pid(), started=now, host="another machine") == "running"  # nobody knows
    assert "process" in read_state(tmp_path).cause and "another machine" in read_state(tmp_path).cause


def test_a_process_that_goes_while_it_is_looked_at_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id was there a moment ago; what /proc had of it is not any more."""
    monkeypatch.setattr(os, "kill", lambda pid, number: None)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    RunFolder(tmp_path).write_record(RunRecord(status="running", host=HERE, pid=dead_pid(), started=now))
    assert read_state(tmp_path).status == "killed"
