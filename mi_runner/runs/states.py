"""How a run is, or ended, from its folder alone."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from pathlib import Path

from mi_runner.errors import ExitStatus
from mi_runner.machine.reading import Unreadable
from mi_runner.runs.liveness import is_alive, seconds_without_sign
from mi_runner.runs.record import RunRecord, read_run
from mi_runner.runs.run_folder import RECORD


@dataclass(frozen=True)
class State:
    """The state of a run, from its folder alone.

    Attributes:
        status: done, failed, interrupted, killed or running, as run.json says. If run.json says running and the process
            is gone: killed. If run.json can't be read: torn. If there is none: missing.
        cause: one line that says what is wrong; empty if nothing is.
        exit_status: of the run.
        record: what run.json has, without fields that are wrong.
        fault: one line that names the file and the field that is wrong; empty if none is.
    """

    status: str
    cause: str
    exit_status: int
    record: RunRecord
    fault: str = ""

    @property
    def has_record(self) -> bool:
        """Whether run.json says anything; it doesn't if it is missing or can't be read."""
        return self.record != RunRecord()

    @property
    def done(self) -> bool:
        """Whether the run has its tables, even if they don't meet the expectations, and its record is sound."""
        return self.status == "done" and not self.fault


def read_state(folder: Path) -> State:
    """Returns the state of the run in `folder`."""
    try:
        record, faults = read_run(folder / RECORD)
    except (FileNotFoundError, NotADirectoryError):
        what = "has no run.json" if folder.is_dir() else "doesn't exist"
        return State("missing", f"never began, or was deleted: {folder} {what}", ExitStatus.FAILED, RunRecord())
    except Unreadable as error:
        return State("torn", f"{error}: {RECORD} is torn", ExitStatus.FAILED, RunRecord(), str(error))
    found = _state_of(folder, record)
    if not faults:
        return found
    more = f" (and {len(faults) - 1} more fields)" if len(faults) > 1 else ""
    return replace(found, cause=f"unreadable: {faults[0]}{more}", exit_status=ExitStatus.FAILED, fault=faults[0] + more)


def job_state(sweep: Path, number: int) -> State:
    """Returns the state of a sweep's job; its folder lies in the sweep's, and a link to another isn't one."""
    folder = sweep / str(number)
    if folder.is_symlink():
        cause = f"{folder} is a link, and no folder of this sweep"
        return State("missing", cause, ExitStatus.FAILED, RunRecord(), cause)
    return read_state(folder)


def _state_of(folder: Path, record: RunRecord) -> State:
    status = str(record.status)
    if status == "running" and (lives := is_alive(folder, record)) is not True:
        if lives is False:
            return killed(record, folder)
        cause = f"is run by {_process(record)}, of which nobody here knows whether it lives"
        return State("running", cause, ExitStatus.FAILED, record)
    if status == "running":
        return State(status, f"is run by {_process(record)}", ExitStatus.FAILED, record)
    return ended(record)


def ended(record: RunRecord) -> State:
    """Returns the state of a run whose run.json says that it has ended."""
    status = str(record.status)
    if status == "done":
        not_met = record.expect_not_met
        cause = f"expect: {'; '.join(not_met)}" if not_met else ""
        return State("done", cause, ExitStatus.EXPECTATION_NOT_MET if not_met else ExitStatus.DONE, record)
    cause = record.error or "ended without a word"
    return State(status, cause, record.exit_status or ExitStatus.FAILED, record)


def killed(record: RunRecord, folder: Path | None = None) -> State:
    """Returns the state of a run that ended before it could write how into run.json."""
    cause = f"{_process(record)} ended without a word"
    if folder is not None and record.host != socket.gethostname():
        cause += f", its last sign of life is {seconds_without_sign(folder) or 0:.0f} s old"
    return State("killed", cause, ExitStatus.FAILED, record)


def _process(record: RunRecord) -> str:
    return f"process {record.pid} on {record.host}"
