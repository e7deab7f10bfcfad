"""The runs and sweeps that are saved below a folder, read from their run.json and sweep.json alone.

Nothing here imports torch or pandas, and a folder costs a fraction of a millisecond.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from mi_runner.machine.reading import Unreadable, read_text
from mi_runner.runs.plan import FOR_A_LIST, PLAN, Plan, read_sweep
from mi_runner.runs.record import RunRecord
from mi_runner.runs.run_folder import CONFIG, FIGURES, RECORD
from mi_runner.runs.states import State, job_state, read_state

GROUPS = ("experiment", "dataset", "model")
OF_GROUP = (*GROUPS, "training", FIGURES, "run")
"""Keys of config.yaml that have options below them."""

SEED = "seed"

MOST_NAMED = 4
"""Of more different values, a sweep's row has the first and the last, and how many there are."""


@dataclass(frozen=True)
class SavedRun:
    """A run that is saved in a folder.

    Attributes:
        folder: as a user may type it.
        state: of the run.
        swept: as a job of a sweep: the swept keys and their values.
    """

    folder: Path
    state: State
    swept: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path, swept: Mapping[str, Any] | None = None) -> SavedRun:
        """Returns the run in a folder, in whatever state it is."""
        return cls(folder, read_state(folder), swept or {})

    @property
    def record(self) -> RunRecord:
        """What run.json has."""
        return self.state.record

    @property
    def faults(self) -> list[str]:
        """A line if run.json can't be read, or a field of it is wrong."""
        return [self.state.fault] if self.state.fault else []

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Key → value of the complete config; of config.yaml, if run.json doesn't have it; empty if nothing has it."""
        config = self.record.config
        return _config_of_yaml(self.folder) if config is None else config

    @property
    def metrics(self) -> dict[str, float | None]:
        """The numbers of the summary; None for NaN and infinity. Empty if the run isn't done."""
        return dict(self.record.metrics) if self.state.done else {}

    @cached_property
    def values(self) -> dict[str, Any]:
        """Name → value of everything that a list can show: fields of run.json, the config, the metrics."""
        record = self.record
        fields = {
            "path": str(self.folder),
            **labels_of([self.config]),
            "kind": "run",
            "status": self.state.status,
            "jobs": None,
            "started": record.started,
            "finished": record.finished,
            "experiment": record.experiment,
            "dataset": record.dataset,
            "model": record.model,
            SEED: record.seed,
            "device": record.device,
            "threads": record.threads,
            "seconds": record.timings.get("total"),
            "code": record.versions.get("code"),
            "commit": record.git.commit if record.git else None,
            "host": record.host,
            "command": record.command,
            "exit_status": record.exit_status,
            "error": self.state.cause or None,
        }
        return {**self.metrics, **self.config, **fields}


@dataclass(frozen=True)
class SavedSweep:
    """A sweep that is saved in a folder.

    Attributes:
        folder: as a user may type it.
        jobs: all that are planned.
        plan: what sweep.json has; None if it can't be read.
        fault: why it can't be read, in a line that names the file and the field; empty if it can.
    """

    folder: Path
    jobs: tuple[SavedRun, ...]
    plan: Plan | None
    fault: str = ""

    @classmethod
    def read(cls, folder: Path) -> SavedSweep:
        """Returns the sweep in a folder, in whatever state it is."""
        try:
            plan = read_sweep(folder / PLAN, FOR_A_LIST)
        except FileNotFoundError:
            return cls(folder, (), None, f"{folder / PLAN}: there is none")
        except Unreadable as error:
            return cls(folder, (), None, str(error))
        jobs = [SavedRun(folder / str(job.number), job_state(folder, job.number), job.swept) for job in plan.jobs]
        return cls(folder, tuple(jobs), plan)

    @property
    def faults(self) -> list[str]:
        """A line for sweep.json if it can't be read, and for each job whose run.json can't."""
        return [*([self.fault] if self.fault else []), *(fault for job in self.jobs for fault in job.faults)]

    @property
    def swept(self) -> list[str]:
        """The keys that differ from job to job."""
        return list(dict.fromkeys(key for job in self.jobs for key in job.swept))

    @property
    def status(self) -> str:
        """torn if sweep.json can't be read; running if a job runs; done if all jobs are; otherwise unfinished."""
        statuses = {job.state.status for job in self.jobs}
        if self.plan is None:
            return "torn"
        if "running" in statuses:
            return "running"
        return "done" if statuses == {"done"} and not self.plan.searching else "unfinished"

    @property
    def error(self) -> str | None:
        """How many jobs are not done, in one line; None if all are done or run."""
        if self.plan is None:
            return f"{self.fault}: {PLAN} is torn"
        counts = Counter(job.state.status for job in self.jobs)
        return ", ".join(f"{n} {status}" for status, n in counts.items() if status not in ("done", "running")) or None

    @cached_property
    def metrics(self) -> dict[str, float | None]:
        """The mean of each number of the summary over the seeds; empty if the jobs differ in more than the seed."""
        if set(self.swept) - {SEED}:
            return {}
        names = dict.fromkeys(name for job in self.jobs for name in job.metrics)
        values = {name: [job.metrics[name] for job in self.jobs if name in job.metrics] for name in names}
        return {
            name: fmean(numbers) if len(numbers := [n for n in found if n is not None]) == len(found) else None
            for name, found in values.items()
        }

    @cached_property
    def config(self) -> dict[str, Any]:
        """Key → the value of all jobs; the different ones in a text, `0,1,2`."""
        began = [job.config for job in self.jobs if job.config]
        return {key: summed(config[key] for config in began if key in config) for key in dict.fromkeys(_keys(began))}

    @cached_property
    def values(self) -> dict[str, Any]:
        """Name → value of everything that a list can show."""
        began = [job.values for job in self.jobs if job.state.has_record]
        done = sum(job.state.done for job in self.jobs)
        common = ("device", "threads", "code", "commit", "host")
        starts = [values["started"] for values in began if values["started"]]
        ends = [values["finished"] for values in began if values["finished"]]
        fields = {
            "path": str(self.folder),
            **labels_of([job.config for job in self.jobs]),
            "kind": "sweep",
            "status": self.status,
            "jobs": f"{done}/{len(self.jobs)}" if self.plan is not None else None,
            "started": min(starts, default=None),
            "finished": max(ends, default=None) if self.status == "done" else None,
            **{name: summed(values[name] for values in began) for name in (*GROUPS, SEED, *common)},
            "seconds": sum(values["seconds"] or 0 for values in began) or None,
            "command": (self.plan.command or None) if self.plan else None,
            "exit_status": max((values["exit_status"] or 0 for values in began), default=None),
            "error": self.error,
        }
        return {**self.metrics, **self.config, **fields}


Saved = SavedRun | SavedSweep


def labels_of(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns name, tags and note of a run, or of the jobs of a sweep; None where there are none.

    Several names or notes are one text, and the tags are those of any of them.
    """
    typed = [config.get("run.tags") for config in configs]
    tags = [str(tag) for of_run in typed if isinstance(of_run, list) for tag in of_run]
    texts = {key: [text for config in configs if (text := config.get(f"run.{key}"))] for key in ("name", "note")}
    return {"name": summed(texts["name"]), "tags": list(dict.fromkeys(tags)) or None, "note": summed(texts["note"])}


def read(folder: Path) -> Saved | None:
    """Returns the run or the sweep whose folder this is; None if it is neither's."""
    if os.path.lexists(folder / PLAN):
        return SavedSweep.read(folder)
    return SavedRun.read(folder) if os.path.lexists(folder / RECORD) else None


def below(folder: Path, *, jobs: bool = False) -> Iterator[Saved]:
    """Yields the runs and sweeps in a folder and in those below it, by their paths.

    A version's folder without a run.json counts as a run, in the state `missing`.

    Args:
        jobs: also the jobs of sweeps. Those of `folder` itself come anyway.
    """
    waiting = [folder]  # and no function that calls itself: folders can be a thousand deep
    while waiting:
        path = waiting.pop()
        saved = read(path)
        if saved is None and path != folder and re.fullmatch(r"v\d{3,}", path.name):
            saved = SavedRun.read(path)
        if saved is None:
            waiting += reversed(_folders_in(path))
            continue
        yield saved
        if isinstance(saved, SavedSweep) and (jobs or path == folder):
            yield from saved.jobs


def _folders_in(folder: Path) -> list[Path]:
    """Returns the folders in a folder by their names, without hidden ones and links; none of one that is private."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:  # another user's, or deleted meanwhile, or its path is too long
        return []
    return [folder / name for name in names if not name.startswith(".")]


def shown(value: Any) -> str:
    """Returns a value as it is typed on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(map(shown, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{shown(inner)}" for key, inner in value.items()) + "}"
    return str(value)


def summed(values: Iterable[Any]) -> Any:
    """Returns the value that all have, or a text with the different ones; None if there are none."""
    different = list({shown(value): value for value in values}.values())
    if len(different) <= 1:
        return different[0] if different else None
    if len(different) <= MOST_NAMED:
        return ",".join(map(shown, different))
    return f"{shown(different[0])},…,{shown(different[-1])} ({len(different)})"


def _keys(configs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for config in configs:
        yield from config


MOST_YAML = 2**20
"""Bytes of a config.yaml that is read, and levels of it: the parser calls itself for each."""
DEEPEST_YAML = 30


def _config_of_yaml(folder: Path) -> dict[str, Any]:
    """Returns the config of a folder whose run.json doesn't have it, because an earlier version of mi-run wrote it.

    Aliases, by which a short text means a giant one, are not read: mi-run writes none.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = read_text(folder / CONFIG, MOST_YAML)
        depth = 0
        for event in yaml.parse(text, loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEEPEST_YAML:
                return {}
        content = yaml.load(text, loader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    flat: dict[str, Any] = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        if key in OF_GROUP and isinstance(value, dict):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[str(key)] = value
    return flat
