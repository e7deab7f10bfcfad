"""The folder of a run: the name of every file in it, its version, its status, and how files get there whole.

`outputs/<experiment>/<dataset>-<model>/v001`, `v002`, …; `latest` links to the newest run that is done.
A run is done only if run.json says so, and it says so last. Every file but the growing run.log is written beside its
place and renamed into it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mi_runner.errors import ExitStatus, RunFailed
from mi_runner.files import sha256, written_whole

SCHEMA_VERSION = 1

MOST_CSV_ROWS = 100_000
"""A table with more rows is written as Parquet."""

MEMBERS = "members"
RECORD, CONFIG, LOG, WEIGHTS, FIGURES, LATEST = (
    "run.json",
    "config.yaml",
    "run.log",
    "model.safetensors",
    "figures",
    "latest",
)


def claim(output_dir: str | Path, experiment: str, dataset: str, model: str) -> RunFolder:
    """A new, empty run folder that no other process has.

    Raises:
        RunFailed: the folder can't be made.
    """
    return RunFolder(_claimed(output_dir, f"{experiment}/{dataset}-{model}"))


def claim_sweep(output_dir: str | Path, experiment: str) -> Path:
    """A new, empty folder for a sweep's jobs.

    Raises:
        RunFailed: the folder can't be made.
    """
    return _claimed(output_dir, f"sweeps/{experiment}")


def _claimed(output_dir: str | Path, below: str) -> Path:
    try:
        return _claim_version(Path(output_dir).expanduser() / below)
    except (OSError, RuntimeError) as error:
        text = f"can't make a run folder in {output_dir} ({error}): output_dir=FOLDER names another."
        raise RunFailed(text) from error


def _claim_version(parent: Path) -> Path:
    # mkdir of a folder that must not exist is the one step that two processes can't both succeed in.
    parent.mkdir(parents=True, exist_ok=True)
    number = max((version for version, _ in _versions(parent)), default=0)
    while True:
        number += 1
        folder = parent / f"v{number:03d}"
        with suppress(FileExistsError):
            folder.mkdir()
            return folder


def _versions(parent: Path) -> list[tuple[int, Path]]:
    """Version numbers and folders below `parent`, ascending."""
    found = ((re.fullmatch(r"v(\d{3,})", entry.name), entry) for entry in parent.iterdir())
    return sorted((int(match[1]), entry) for match, entry in found if match)


def read_record(folder: Path) -> dict[str, Any] | None:
    """A run's run.json, or None where there is none that can be read."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


@dataclass(frozen=True)
class Problem:
    """Why a job of a sweep isn't as it should be.

    Attributes:
        job: its number.
        reason: one line.
        exit_status: that of the job, were it a run of its own.
    """

    job: int
    reason: str
    exit_status: int


def problems(sweep: Path, n_jobs: int) -> list[Problem]:
    """The jobs 0..n_jobs−1 of a sweep that are not done or don't meet an expectation, from their run.json alone."""
    found = []
    for job in range(n_jobs):
        record = read_record(sweep / str(job))
        if record is None:
            found.append(Problem(job, f"{RECORD} is missing or torn", ExitStatus.FAILED))
        elif record.get("status") != "done":
            reason = f"{record.get('status')}: {record.get('error') or 'ended without a word'}"
            found.append(Problem(job, reason, record.get("exit_status") or ExitStatus.FAILED))
        elif record.get("expect_not_met"):
            reason = f"expect: {'; '.join(record['expect_not_met'])}"
            found.append(Problem(job, reason, ExitStatus.EXPECTATION_NOT_MET))
    return found


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; every method writes one kind of file.

    Raises:
        OSError: from each method, where the disk is full or the folder can't be written.
    """

    path: Path

    @property
    def log(self) -> Path:
        return self.path / LOG

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS

    def write_record(self, record: Mapping[str, Any]) -> None:
        """run.json."""
        with written_whole(self.path / RECORD) as beside:
            beside.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def write_config(self, text: str) -> None:
        """config.yaml."""
        with written_whole(self.path / CONFIG) as beside:
            beside.write_text(text, encoding="utf-8")

    def write_table(self, name: str, rows: Sequence[Mapping[str, Any]] | Any, *, parquet: bool = False) -> None:
        """A table, given as rows or as a pandas DataFrame: NAME.csv, or NAME.parquet if it is large or asked for."""
        import pandas as pd

        frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
        if parquet or len(frame) > MOST_CSV_ROWS:
            with written_whole(self.path / f"{name}.parquet") as beside:
                frame.to_parquet(beside, index=False)
        else:
            with written_whole(self.path / f"{name}.csv") as beside:
                frame.to_csv(beside, index=False)

    def write_figure(self, name: str, save: Callable[[Path], object]) -> None:
        """figures/NAME.png; `save` draws it into the path that it is given."""
        (self.path / FIGURES).mkdir(exist_ok=True)
        with written_whole(self.path / FIGURES / f"{name}.png") as beside:
            save(beside)

    def write_weights(self, state: Mapping[str, Any], member: str | None = None) -> None:
        """model.safetensors; of a member of many, members/MEMBER.safetensors."""
        from mi_runner.checkpoints import save_weights

        path = self.path / MEMBERS / f"{member}.safetensors" if member else self.weights
        path.parent.mkdir(exist_ok=True)
        with written_whole(path) as beside:
            save_weights(state, beside)

    def digests(self) -> dict[str, str]:
        """Name → sha256 of every file of the folder but run.json itself."""
        files = sorted(path for path in self.path.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {str(path.relative_to(self.path)): sha256(path) for path in files if path.name != RECORD}

    def point_latest_here(self) -> None:
        """`latest` links to the newest version that is done; call it when this one is."""
        parent = self.path.parent
        while (newest := _newest_done(parent)) is not None:
            with written_whole(parent / LATEST) as beside:
                beside.symlink_to(newest.name)
            # A run that ended meanwhile may have been overtaken by our rename: look again.
            if _newest_done(parent) == newest:
                return


def _newest_done(parent: Path) -> Path | None:
    for _, folder in reversed(_versions(parent)):
        record = read_record(folder)
        if record is not None and record.get("status") == "done":
            return folder
    return None
