"""Keeps run.json and run.log, from the first stage of a run to the line that says how it ended."""

from __future__ import annotations

import logging
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from logging.handlers import MemoryHandler
from typing import Any

import torch
from omegaconf import OmegaConf

from mi_runner.config.composition import contents
from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import ConfigError, ExitStatus, RunFailed, Terminated, exit_status, one_line
from mi_runner.machine import signals
from mi_runner.progress import Progress, log
from mi_runner.runs import run_folder
from mi_runner.runs.provenance import now
from mi_runner.runs.report import REPORT, write_run_report
from mi_runner.runs.run_folder import RunFolder
from mi_runner.tables import console


class Journal:
    """Keeps run.json and run.log in memory until the run has a folder.

    Attributes:
        record: the content of run.json.
        place: the run folder; None before `begin`.
        log: the log handler of run.log.
        has_report: whether the folder gets a report.html.
    """

    def __init__(self, config: RunConfig, record: dict[str, Any], claim: Callable[[], RunFolder]) -> None:
        self.record = record
        self.has_report = config.report
        self.place: RunFolder | None = None
        self.log = MemoryHandler(sys.maxsize, flushLevel=sys.maxsize)
        self._config, self._claim = config, claim
        self._file: logging.FileHandler | None = None

    def begin(self) -> RunFolder:
        """Returns the run folder; the first call makes it, with a run.json that says `running`.

        Raises:
            RunFailed: the folder can't be made or written.
        """
        with signals.held():  # after run.json says `running`, the end of the run must be written
            return self.place or self._begun()

    def _begun(self) -> RunFolder:
        place = self.place = self._claim()
        choices = "# experiment={experiment} dataset={dataset} model={model}\n".format(**self.record)
        try:
            place.write_process()
            place.write_record(self.record)
            place.write_config(choices + OmegaConf.to_yaml(OmegaConf.create(contents(self._config))))
            self._file = logging.FileHandler(place.log, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            text = f"can't write into {place.path} ({error}). Use output_dir=FOLDER for another folder."
            raise RunFailed(text) from error
        self._file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.log.setTarget(self._file)
        self.log.flush()
        self.log.flushLevel = logging.NOTSET  # each further line goes to the file at once
        log.info(f"{self.record['command']} → {place.path}")
        return place

    def write_traceback(self) -> None:
        """Writes the traceback of the current error to run.log, unless the disk is full."""
        with suppress(OSError):
            if self._file is not None and self._file.stream is not None:
                self._file.stream.write(traceback.format_exc())
                self._file.flush()  # the report reads it

    def close(self) -> None:
        """Closes run.log."""
        self.log.close()
        with suppress(OSError):
            if self._file is not None:
                self._file.close()


@contextmanager
def recorded(journal: Journal, progress: Progress) -> Iterator[None]:
    """Writes to run.json how the block ended, as the last file; run.log gets the log and any traceback.

    A mistake or an interruption before `journal.begin` leaves no folder; a crash leaves one with its traceback.
    """
    record = journal.record
    began = time.perf_counter() - sum(record["timings"].values())
    to_screen = console.LogHandler()
    log.setLevel(logging.INFO)
    propagated, log.propagate = log.propagate, False
    log.addHandler(journal.log)
    log.addHandler(to_screen)
    with ExitStack() as hold:
        try:
            yield
            hold.enter_context(signals.held())
            record["status"] = "done"
            not_met = record.get("expect_not_met")
            record["exit_status"] = int(ExitStatus.EXPECTATION_NOT_MET if not_met else ExitStatus.DONE)
        except BaseException as raised:
            hold.enter_context(signals.held())
            error = signals.interruption(raised)
            interrupted = isinstance(error, KeyboardInterrupt | Terminated)
            if journal.place is None and (interrupted or isinstance(error, ConfigError)):
                raise error from error.__cause__
            place = journal.begin()
            record["status"] = "interrupted" if interrupted else "failed"
            record["error"] = one_line(error)
            record["exit_status"] = int(exit_status(error))
            # If the disk is full, run.json still says `running`, which doesn't count as done.
            journal.write_traceback()
            with suppress(OSError):
                for name, rows in progress.tables.items():
                    place.write_table(name, rows)
            if isinstance(error, ConfigError | RunFailed) or interrupted:
                raise error from error.__cause__
            raise RunFailed(f"{_cause(error)} The whole traceback is in {place.log}.") from error
        finally:
            _say_finished(record, began)
            if journal.place is not None and journal.has_report:
                with stage(record, "report"):
                    _report(journal.place, record)
                _say_finished(record, began)
            log.removeHandler(journal.log)
            journal.close()
            try:
                if journal.place is not None:
                    _finish(journal.place, record)
            finally:
                if journal.place is not None:
                    journal.place.remove_process()
                log.propagate = propagated
                log.removeHandler(to_screen)


def _say_finished(record: dict[str, Any], began: float) -> None:
    record["finished"] = now()
    total = {"total": time.perf_counter() - began}
    record["timings"] = {name: round(seconds, 3) for name, seconds in (record["timings"] | total).items()}


def _report(place: RunFolder, record: Mapping[str, Any]) -> None:
    """Writes report.html; a run whose report can't be written has its tables anyway."""
    try:
        write_run_report(place.path, run_folder.ended(record))
    except Exception as error:
        if record["status"] == "done" or not isinstance(error, OSError):  # on a full disk, one error is enough
            again = f"mi-run report {shlex.quote(str(place.path))}"
            log.warning(f"can't write {REPORT} ({one_line(error)}); {again} tries it again")


def _finish(place: RunFolder, record: dict[str, Any]) -> None:
    try:
        record["files"] = place.digests()
        if record["status"] == "done":
            place.sync()
        place.write_record(record)
    except OSError as error:
        if record["status"] != "done":
            return  # the first error is raised already
        record["status"] = "failed"
        raise RunFailed(f"can't write {run_folder.RECORD} into {place.path} ({error}): the run is not done.") from error
    if record["status"] == "done":
        try:
            place.point_latest_here()
        except OSError as error:
            log.warning(f"can't point {run_folder.LATEST} to {place.path} ({error}); the run is done anyway")


def _cause(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"can't write or read a file ({error}). Free some space, or use output_dir=FOLDER for another folder."
    if isinstance(error, torch.OutOfMemoryError):
        return f"the device's memory is full ({one_line(error)}). End other programs that use it, or use device=cpu."
    return f"{one_line(error)}."


@contextmanager
def stage(record: dict[str, Any], name: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        record["timings"][name] = record["timings"].get(name, 0.0) + time.perf_counter() - began
