"""Keeps run.json and run.log, from the first stage of a run to the line that says how it ended."""

from __future__ import annotations

import logging
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from logging.handlers import MemoryHandler

import torch
from omegaconf import OmegaConf

from mi_runner.config.composition import contents
from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import ConfigError, ExitStatus, RunFailed, Terminated, exit_status, one_line
from mi_runner.machine import signals
from mi_runner.progress import Progress, log
from mi_runner.runs import run_folder, states
from mi_runner.runs.beside import Beside
from mi_runner.runs.provenance import now
from mi_runner.runs.record import RunRecord
from mi_runner.runs.run_folder import RunFolder
from mi_runner.tables import console


class Journal:
    """Keeps run.json and run.log in memory until the run has a folder.

    Attributes:
        record: what run.json gets; the stages of the run fill it.
        place: the run folder; None before `begin`.
        log: the log handler of run.log.
        has_report: whether the folder gets a report.html.
        quiet: whether the screen gets warnings alone.

    Args:
        beside: makes the page.
    """

    def __init__(
        self,
        record: RunRecord,
        config: RunConfig,
        claim: Callable[[], RunFolder],
        beside: Beside,
        *,
        quiet: bool = False,
    ) -> None:
        self.record, self.quiet, self._beside = record, quiet, beside
        self.has_report = config.report
        self.place: RunFolder | None = None
        self.log = MemoryHandler(sys.maxsize, flushLevel=sys.maxsize)
        self._began = time.perf_counter() - sum(record.timings.values())
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
        place, record = self._claim(), self.record
        self.place = place
        choices = f"# experiment={record.experiment} dataset={record.dataset} model={record.model}\n"
        try:
            place.write_process()
            place.write_record(record)
            place.write_config(choices + OmegaConf.to_yaml(OmegaConf.create(contents(self._config))))
            self._file = logging.FileHandler(place.log, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            text = f"can't write into {place.path} ({error}). Use output_dir=FOLDER for another folder."
            raise RunFailed(text) from error
        self._file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.log.setTarget(self._file)
        self.log.flush()
        self.log.flushLevel = logging.NOTSET  # each further line goes to the file at once
        log.info(f"{record.command} → {place.path}")
        return place

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the seconds of the block to the stage's in `timings`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            timings = self.record.timings
            self.record.timings = {**timings, name: timings.get(name, 0.0) + time.perf_counter() - began}

    def note_done(self) -> None:
        """Notes that the run is done; it may have missed an expectation."""
        self.record.status = "done"
        not_met = self.record.expect_not_met
        self.record.exit_status = int(ExitStatus.EXPECTATION_NOT_MET if not_met else ExitStatus.DONE)

    def note_failure(self, error: BaseException, progress: Progress) -> None:
        """Notes the error that ended the run, with its traceback in run.log, and writes the rows that were finished.

        If the disk is full, run.json still says `running`, which doesn't count as done.
        """
        place = self.begin()
        self.record.status = "interrupted" if _interrupts(error) else "failed"
        self.record.error = one_line(error)
        self.record.exit_status = int(exit_status(error))
        self._write_traceback()
        with suppress(OSError):
            for name, rows in progress.tables.items():
                place.write_table(name, rows)

    def _write_traceback(self) -> None:
        """Writes the traceback of the current error to run.log, unless the disk is full."""
        with suppress(OSError):
            if self._file is not None and self._file.stream is not None:
                self._file.stream.write(traceback.format_exc())
                self._file.flush()  # the report reads it

    def end(self) -> None:
        """Writes the report, closes run.log, and writes run.json last; nothing of a run that has no folder.

        Raises:
            RunFailed: run.json can't be written, so the run is not done.
        """
        self._note_time()
        if self.place is not None and self.has_report:
            with self.stage("report"):
                _report(self.place, self.record, self._beside)
            self._note_time()
        log.removeHandler(self.log)
        self._close()
        if self.place is not None:
            try:
                _finish(self.place, self.record)
            finally:
                self.place.remove_process()

    def _note_time(self) -> None:
        self.record.finished = now()
        timings = {**self.record.timings, "total": time.perf_counter() - self._began}
        self.record.timings = {name: round(seconds, 3) for name, seconds in timings.items()}

    def _close(self) -> None:
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
    with ExitStack() as hold, _logged(journal):
        try:
            yield
            hold.enter_context(signals.held())
            journal.note_done()
        except BaseException as raised:
            hold.enter_context(signals.held())
            error = signals.interruption(raised)
            leaves_nothing = _interrupts(error) or isinstance(error, ConfigError)
            if journal.place is None and leaves_nothing:
                raise error from error.__cause__
            journal.note_failure(error, progress)
            if leaves_nothing or isinstance(error, RunFailed):
                raise error from error.__cause__
            assert journal.place is not None
            raise RunFailed(f"{_cause(error)} The whole traceback is in {journal.place.log}.") from error
        finally:
            journal.end()


@contextmanager
def _logged(journal: Journal) -> Iterator[None]:
    """Sends the log to the screen and to run.log, and nowhere else."""
    to_screen = console.LogHandler(logging.WARNING if journal.quiet else logging.NOTSET)
    level, propagated = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(journal.log)
    log.addHandler(to_screen)
    try:
        yield
    finally:
        log.propagate = propagated
        log.setLevel(level)
        log.removeHandler(to_screen)


def _interrupts(error: BaseException) -> bool:
    """Returns whether the error is an interruption: the user's, or that of who ends the process."""
    return isinstance(error, KeyboardInterrupt | Terminated)


def _report(place: RunFolder, record: RunRecord, beside: Beside) -> None:
    """Writes report.html; a run whose report can't be written has its tables anyway."""
    try:
        beside.write_page(place, states.ended(record))
    except Exception as error:
        if record.status == "done" or not isinstance(error, OSError):  # on a full disk, one error is enough
            again = f"mi-run report {shlex.quote(str(place.path))}"
            log.warning(f"can't write {run_folder.REPORT} ({one_line(error)}); {again} tries it again")


def _finish(place: RunFolder, record: RunRecord) -> None:
    """Writes run.json, after all other files are on the disk if the run is done, and then points links to it.

    Raises:
        RunFailed: run.json can't be written, so the run is not done.
    """
    try:
        record.files = place.digests()
        if record.status == "done":
            place.sync()
        place.write_record(record)
    except OSError as error:
        if record.status != "done":
            return  # the first error is raised already
        record.status = "failed"
        raise RunFailed(f"can't write {run_folder.RECORD} into {place.path} ({error}): the run is not done.") from error
    if record.status == "done":
        try:
            place.point_links_here()
        except OSError as error:
            log.warning(f"can't point {run_folder.LATEST} to {place.path} ({error}); the run is done anyway")


def _cause(error: BaseException) -> str:
    """Returns an unexpected error in a sentence, with what to do about it where that is known."""
    if isinstance(error, OSError):
        return f"can't write or read a file ({error}). Free some space, or use output_dir=FOLDER for another folder."
    if isinstance(error, torch.OutOfMemoryError):
        return f"the device's memory is full ({one_line(error)}). End other programs that use it, or use device=cpu."
    return f"{one_line(error).removesuffix('.')}."
