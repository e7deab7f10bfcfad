"""What sweep.json has, field by field: the one definition for the sweep that writes it and for all that read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from mi_runner.config.engine_schemas import OptunaSweeper
from mi_runner.config.options import check_ranges
from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import ConfigError
from mi_runner.machine import typed_json
from mi_runner.machine.files import whole_characters, written_whole
from mi_runner.machine.reading import Unreadable
from mi_runner.machine.typed_json import NOT_WRITTEN, Between, Omitted
from mi_runner.runs.record import PathName

PLAN = "sweep.json"
"""The file of a sweep's folder that lists its jobs, each in a folder named by its number."""

LOCK = ".lock"
"""The file of a sweep's folder that the process that works at it holds."""

SCHEMA_VERSION = 1
"""The version of the format of sweep.json."""

Value = str | int | float | bool | None
"""A swept value."""


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        number: its folder's name in the sweep's.
        overrides: what to type to have it as a run of its own.
        swept: the swept keys and their values, for the tables.
        config_hash: the same for the same config.
        config: None where it was not composed in this process; the file doesn't have it.
    """

    number: Annotated[int, Between(0, 10**9)]
    overrides: tuple[str, ...]
    swept: Mapping[str, Value]
    config_hash: str
    config: RunConfig | None = field(default=None, compare=False, repr=False, metadata=NOT_WRITTEN)

    @property
    def name(self) -> str:
        """The swept values, for a person."""
        return named(self.swept)


@dataclass(frozen=True)
class Refused:
    """A combination of values that can't run.

    Attributes:
        name: the values.
        reason: why.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """The fields of sweep.json, in their order.

    Attributes:
        schema_version: of the file.
        command: as it was typed first.
        overrides: those that the jobs get, as they were typed.
        swept: the keys with several values.
        base: what all jobs have in common, by key.
        code: the version of the code that began, or resumed, the sweep.
        jobs: all that were ever planned.
        left_out: combinations that can't run.
        objective: the metric that is searched for, or shown first.
        search: the options of the search, if there is one.
        searching: whether the search may still add jobs.
        launcher: the overrides that say where the jobs run; a resumed sweep takes them, if it is given no others.
        folder: where the sweep was begun; relative paths in its options are from there. None where nothing says it.
        over: what repeats a setting, so that tables have mean and interval over it: seed, or checkpoint besides.
        of: the command that it is of, such as bench; empty of a sweep.
    """

    schema_version: int = field(default=SCHEMA_VERSION, kw_only=True)
    command: str
    overrides: tuple[str, ...]
    swept: tuple[str, ...]
    base: Mapping[str, Any]
    code: str
    jobs: tuple[Job, ...]
    left_out: tuple[Refused, ...]
    objective: str | None = None
    search: OptunaSweeper | None = None
    searching: bool = False
    launcher: tuple[str, ...] = ()
    folder: PathName | None = None
    over: str = "seed"
    of: str = ""

    def write(self, sweep: Path) -> None:
        """Writes sweep.json into the sweep's folder."""
        content = json.dumps(typed_json.to_json(self), ensure_ascii=False, indent=1)
        text = whole_characters(content, escape="\\\\")
        with written_whole(sweep / PLAN, lasting=True) as beside:
            beside.write_text(f"{text}\n", encoding="utf-8")


FOR_A_LIST = Omitted(
    ((Plan, ("command", "overrides", "swept", "base", "code", "left_out")), (Job, ("overrides", "config_hash")))
)
"""What a list of jobs can do without: a sweep.json that is known only in part still names its jobs."""


def read_sweep(path: Path, omitted: Omitted = typed_json.NOTHING_OMITTED) -> Plan:
    """Returns what a sweep.json has.

    Args:
        omitted: fields that are empty if the file doesn't have them.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: it can't be read, or a field is wrong or missing.
    """
    plan = typed_json.read_file(path, Plan, omitted)
    seen: set[int] = set()
    for place, job in enumerate(plan.jobs):
        if job.number in seen:
            raise Unreadable(f"{path}: the field jobs[{place}].number is {job.number}, which an earlier job has")
        seen.add(job.number)
    if plan.search is not None:
        try:
            check_ranges(plan.search, "search.")
        except ConfigError as error:
            raise Unreadable(f"{path}: the field {str(error).rstrip('.')}") from error
    return plan


def named(swept: Mapping[str, Value]) -> str:
    """Returns swept values in one line."""
    shown = {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in swept.items()}
    return " ".join(f"{key}={value}" for key, value in shown.items()) or "the one job"
