"""The folder of a run: its files' names, its version, and how files are written completely or not at all.

Runs have `outputs/<experiment>/<dataset>-<model>/v001`, `v002`, …; `latest` links to the newest run that is done, and
`passed` to the newest of those that met what they expected.
Sweeps have `outputs/sweeps/<experiment>/v001`, … and a `latest`, too.
A run is done only if run.json says so; run.json is written last. Each file except the growing run.log is written
under a temporary name and then renamed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mi_runner.errors import ConfigError, RunFailed, reason
from mi_runner.machine import drawing as figure_files
from mi_runner.machine import files
from mi_runner.machine.drawing import FigureFiles, laid_out
from mi_runner.machine.files import sha256, written_whole
from mi_runner.machine.reading import Unreadable
from mi_runner.machine.typed_json import to_json
from mi_runner.runs import junit
from mi_runner.runs.junit import Case
from mi_runner.runs.liveness import PROCESS, process_start
from mi_runner.runs.plan import PLAN, read_sweep
from mi_runner.runs.record import RunRecord, amended, read_run
from mi_runner.tables.columns import Columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from mi_runner.tables.declaration import Rows

MOST_CSV_ROWS = 100_000
"""Tables with more rows are written as Parquet."""


MEMBERS = "members"
EXPECTATIONS = "expectations.xml"
CAPTIONS = "captions.md"
RECORD, CONFIG, LOG, WEIGHTS, FIGURES, PICTURES, REPORT, LATEST, PASSED, PREVIOUS = (
    "run.json",
    "config.yaml",
    "run.log",
    "model.safetensors",
    "figures",
    "pictures.json",
    "report.html",
    "latest",
    "passed",
    "previous",
)
VERSION = "v([0-9]{3,})"
"""The name of a version's folder."""


def claim(output_dir: str | Path, experiment: str, dataset: str, model: str) -> RunFolder:
    """Returns a new, empty run folder that no other process uses.

    Raises:
        RunFailed: the folder can't be made.
    """
    return RunFolder(_claimed(output_dir, f"{experiment}/{dataset}-{model}"))


def claim_sweep(output_dir: str | Path, experiment: str) -> Path:
    """Returns a new, empty folder for a sweep's jobs.

    Raises:
        RunFailed: the folder can't be made.
    """
    return _claimed(output_dir, f"sweeps/{experiment}")


def _claimed(output_dir: str | Path, below: str) -> Path:
    try:
        return _claim_version(Path(output_dir).expanduser() / below)
    except (OSError, RuntimeError) as error:
        text = f"can't make a run folder in {output_dir} ({reason(error)}). Use output_dir=FOLDER for another folder."
        raise RunFailed(text) from error


def _claim_version(parent: Path) -> Path:
    # Of two processes that call mkdir for the same folder, only one succeeds.
    parent.mkdir(parents=True, exist_ok=True)
    version = max((version for version, _ in _versions(parent)), default=0)
    while True:
        version += 1
        folder = parent / f"v{version:03d}"
        with suppress(FileExistsError):
            folder.mkdir()
            return folder


def _versions(parent: Path) -> list[tuple[int, Path]]:
    """Returns version numbers and folders in `parent`, in ascending order."""
    matches = ((re.fullmatch(VERSION, entry.name), entry) for entry in parent.iterdir())
    return sorted((int(match[1]), entry) for match, entry in matches if match)


def read_record(folder: Path) -> RunRecord | None:
    """Returns what a run's run.json has, without fields that are wrong; None if it is missing or unreadable."""
    try:
        record, _ = read_run(folder / RECORD)
    except (OSError, Unreadable):
        return None
    return record


def is_parquet(n_rows: int, *, asked: bool) -> bool:
    """Returns whether a table is written as Parquet: if that is asked for, or it is large."""
    return asked or n_rows > MOST_CSV_ROWS


def table_file(folder: Path, name: str) -> Path:
    """Returns the file of a run's table, the one that `RunFolder.write_table` chose; the CSV file may be missing."""
    large = folder / f"{name}.parquet"
    return large if large.exists() else folder / f"{name}.csv"


def frame_of(rows: Rows | Columns) -> DataFrame:
    """Returns rows as a pandas DataFrame."""
    import pandas as pd

    if isinstance(rows, Columns):
        return rows.frame
    return rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))


def write_frame(frame: DataFrame, file: BinaryIO, *, parquet: bool) -> None:
    """Writes a table as CSV, or as Parquet."""
    if not parquet:
        frame.to_csv(file, index=False, errors="backslashreplace", mode="wb")
        return
    # Outputs of networks hardly repeat, so a dictionary of them would only take time and space.
    repeating = [name for name in frame.columns if frame[name].dtype != "float32"]
    frame.to_parquet(file, index=False, use_dictionary=repeating)


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run; each method writes one kind of file.

    Raises:
        OSError: from each method, if the disk is full or the folder can't be written.
    """

    path: Path

    @property
    def log(self) -> Path:
        return self.path / LOG

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS

    def write_record(self, record: RunRecord) -> None:
        """Writes run.json; the last one, which says how the run ended, is on the disk afterwards."""
        self._write_record(to_json(record), lasting=record.status != "running")

    def amend_record(self, **changed: Any) -> None:
        """Writes run.json with other values of some fields; what it has besides stays, but for fields that are wrong.

        Args:
            changed: field → its new value.
        """
        self._write_record(amended(self.path / RECORD, **changed), lasting=True)

    def _write_record(self, content: Mapping[str, Any], *, lasting: bool) -> None:
        text = files.whole_characters(json.dumps(content, indent=2, ensure_ascii=False), escape="\\\\")
        with written_whole(self.path / RECORD, lasting=lasting) as beside:
            beside.write_text(f"{text}\n", encoding="utf-8")

    def write_process(self) -> None:
        """Notes which process writes into the folder, so that it isn't taken for dead when the clock is set."""
        if (began := process_start(os.getpid())) is not None:
            with written_whole(self.path / PROCESS) as beside:
                beside.write_text(f"{os.getpid()} {began}\n", encoding="utf-8")

    def remove_process(self) -> None:
        """Removes that note when the process has ended its work here."""
        with suppress(OSError):
            (self.path / PROCESS).unlink()

    def write_config(self, text: str) -> None:
        """Writes config.yaml."""
        with written_whole(self.path / CONFIG) as beside:
            beside.write_text(files.whole_characters(text), encoding="utf-8")

    def write_table(self, name: str, rows: Rows | Columns, *, parquet: bool = False) -> None:
        """Writes rows as NAME.csv, or as NAME.parquet if `parquet` or the table is large."""
        frame = frame_of(rows)
        as_parquet = is_parquet(len(frame), asked=parquet)
        with self._table(name, parquet=as_parquet) as beside, beside.open("wb") as file:
            write_frame(frame, file, parquet=as_parquet)

    def write_content(self, name: str, content: bytes, *, parquet: bool) -> None:
        """Writes a table whose file has this content, as NAME.csv or NAME.parquet."""
        with self._table(name, parquet=parquet) as beside:
            beside.write_bytes(content)

    def _table(self, name: str, *, parquet: bool) -> AbstractContextManager[Path]:
        return written_whole(self.path / f"{name}.{'parquet' if parquet else 'csv'}")

    def write_figure(self, name: str, drawing: Callable[[], Figure], wanted: FigureFiles | None = None) -> None:
        """Draws a figure and writes it as figures/NAME.png, or as the files that are wanted."""
        wanted = wanted or FigureFiles()
        for kind in wanted.formats:
            with self._figure(f"{name}.{kind}") as beside:
                figure_files.save_figure(laid_out(drawing, wanted.width), beside)

    def write_drawn(self, file: str, content: bytes) -> None:
        """Writes a figure that is drawn already as figures/FILE."""
        with self._figure(file) as beside:
            beside.write_bytes(content)

    def write_captions(self, text: str) -> None:
        """Writes figures/captions.md."""
        with self._figure(CAPTIONS) as beside:
            beside.write_text(files.whole_characters(text), encoding="utf-8")

    @contextmanager
    def _figure(self, file: str) -> Iterator[Path]:
        folder = self.path / FIGURES
        folder.mkdir(exist_ok=True)
        if folder.is_symlink():
            raise OSError(f"{folder} is a link to another folder, where nothing is written")
        with written_whole(folder / file) as beside:
            yield beside

    def write_pictures(self, pictures: Mapping[str, Any]) -> None:
        """Writes the data of the interactive pictures as pictures.json."""
        with written_whole(self.path / PICTURES) as beside:
            beside.write_text(json.dumps(pictures, allow_nan=False), encoding="utf-8")

    def write_expectations(self, suite: str, cases: Sequence[Case]) -> None:
        """Writes the bounds of `expect`, met or not, as JUnit XML: expectations.xml."""
        with written_whole(self.path / EXPECTATIONS) as beside:
            beside.write_text(junit.document(suite, cases) + "\n", encoding="utf-8")

    def write_page(self, text: str) -> None:
        """Writes report.html."""
        with written_whole(self.path / REPORT) as beside:
            beside.write_text(text, encoding="utf-8", errors="backslashreplace")

    def write_weights(
        self, state: Mapping[str, Any], member: str | None = None, *, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Writes model.safetensors, or members/MEMBER.safetensors for a member of many networks.

        Args:
            metadata: key → text, in the file's header.
        """
        path = self.path / MEMBERS / f"{member}.safetensors" if member else self.weights
        self._write_safetensors(path, state, metadata)

    def write_tensors(self, name: str, tensors: Mapping[str, Any]) -> None:
        """Writes NAME.safetensors."""
        self._write_safetensors(self.path / f"{name}.safetensors", tensors)

    def _write_safetensors(
        self, path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None
    ) -> None:
        from mi_runner.training.weights import save_weights

        path.parent.mkdir(exist_ok=True)
        with written_whole(path) as beside:
            save_weights(tensors, beside, metadata)

    def write_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Writes NAME.npz, compressed; equal arrays give equal files."""
        import numpy as np

        with written_whole(self.path / f"{name}.npz") as beside, beside.open("wb") as file:
            np.savez_compressed(file, **arrays)

    def digests(self) -> dict[str, str]:
        """Returns name → sha256 for each file of the folder except run.json."""
        files = sorted(path for path in self.path.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {str(path.relative_to(self.path)): sha256(path) for path in files if path.name != RECORD}

    def sync(self) -> None:
        """Waits until all files of the folder are on the disk; call it before run.json says `done`."""
        files.sync_folder(self.path)

    def point_links_here(self) -> None:
        """Links `latest` to the newest version that is done, and `passed` to the newest that met what it expected.

        Call it when this run is done.
        """
        point_links(self.path.parent)


def point_links(parent: Path) -> None:
    """Links `latest` and `passed` of a folder of runs to the newest versions that count; see `point_link`.

    Raises:
        OSError: a link is the user's own, or the folder can't be written.
    """
    point_link(parent, LATEST, _is_done)
    point_link(parent, PASSED, _has_passed)


def remove_dangling(parent: Path) -> None:
    """Removes the links of `point_link` to versions that are gone.

    Raises:
        OSError: the folder can't be written.
    """
    for name in (LATEST, PASSED):
        if _is_ours(link := parent / name) and not link.exists():
            link.unlink()


def _version_is_done(folder: Path) -> bool:
    """Returns whether a version, a run or a sweep with all its jobs, is done."""
    if not os.path.lexists(folder / PLAN):
        return _is_done(folder)
    try:
        plan = read_sweep(folder / PLAN)
    except (OSError, Unreadable):
        return False
    return bool(plan.jobs) and not plan.searching and all(_is_done(folder / str(job.number)) for job in plan.jobs)


def _is_done(folder: Path) -> bool:
    return (record := _whole_record(folder)) is not None and record.status == "done"


def _has_passed(folder: Path) -> bool:
    """Returns whether a folder has a run that is done, expected something, and met it."""
    record = _whole_record(folder)
    return record is not None and record.status == "done" and record.expect_not_met == ()


def _whole_record(folder: Path) -> RunRecord | None:
    """Returns the record of a folder's run; None if there is none that is whole."""
    try:
        record, faults = read_run(folder / RECORD)
    except (OSError, Unreadable):
        return None
    return None if faults else record


def point_link(parent: Path, name: str, is_done: Callable[[Path], bool]) -> None:
    """Links `name` in `parent` to the newest version that is done; if no version is done, removes the link.

    If `parent` has no versions, nothing changes, because a moved folder may have other neighbours.

    Args:
        is_done: whether a version counts.

    Raises:
        FileExistsError: `name` is something else than a link to a version: the user's own, which stays as it is.
        OSError: the folder can't be written.
    """
    link = parent / name
    while (newest := _newest_done(parent, is_done)) is not None:
        if _is_ours(link):
            with written_whole(link) as beside:
                beside.symlink_to(newest.name)
        else:
            try:
                link.symlink_to(newest.name)
            except FileExistsError:
                if _is_ours(link):  # another run has just made it
                    continue
                raise FileExistsError(f"{link} is no link to a version; rename it to have one") from None
        # A run that ended meanwhile may have set the link before this rename, so check again.
        if _newest_done(parent, is_done) == newest:
            return
    if _is_ours(link) and link.readlink() in [Path(folder.name) for _, folder in _versions(parent)]:
        link.unlink()


def _is_ours(link: Path) -> bool:
    """Returns whether a path is a link to a version beside it, as `point_link` makes them."""
    return link.is_symlink() and re.fullmatch(VERSION, str(link.readlink())) is not None


def _newest_done(parent: Path, is_done: Callable[[Path], bool]) -> Path | None:
    own = (folder for _, folder in reversed(_versions(parent)) if not folder.is_symlink())
    return next((folder for folder in own if is_done(folder)), None)


def linked(folder: Path) -> Path:
    """Returns the version that a word for runs means now, because it may change later; otherwise `folder` itself.

    The words are `latest` and `passed`, which are links; `latest~1`, the newest that was done before it, `latest~2`, …;
    and `previous`, which is `latest~1`.

    Raises:
        ConfigError: the link leads out of its folder, which no link of ours does, or there are not so many versions.
    """
    back = re.fullmatch(f"{LATEST}~([0-9]{{1,6}})|{PREVIOUS}", folder.name)
    if back and not folder.exists():
        return _before_latest(folder, int(back[1] or 1))
    if folder.name not in (LATEST, PASSED) or not folder.is_symlink():
        return folder
    target = folder.readlink()
    if target.name != str(target) or target.name in ("", "..", LATEST, PASSED):
        raise ConfigError(f"{folder}: this link leads to {target}, out of its folder. Type the folder that you mean.")
    return folder.parent / target


def is_word(name: str) -> bool:
    """Returns whether a name means one of the versions of a folder: `latest`, `passed`, `previous`, `latest~1`."""
    return re.fullmatch(f"{LATEST}(~[0-9]{{1,6}})?|{PASSED}|{PREVIOUS}", name) is not None


def _before_latest(word: Path, n_back: int) -> Path:
    """Returns the version that was done so many before `latest`.

    Raises:
        ConfigError: there are not so many.
    """
    parent = word.parent
    latest = linked(parent / LATEST)
    versions = _versions(parent) if parent.is_dir() else []
    older = [folder for _, folder in versions if folder.name == latest.name or _version_is_done(folder)]
    older = older[: 1 + next((place for place, folder in enumerate(older) if folder.name == latest.name), -1)]
    if len(older) <= n_back:
        n = max(0, len(older) - 1)
        raise ConfigError(
            f"{word}: {parent} has {n or 'no'} {'version that is' if n == 1 else 'versions that are'} done before "
            f"{LATEST}. mi-run ls {parent} lists them."
        )
    return older[-1 - n_back]
