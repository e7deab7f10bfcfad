"""What was done in parts, by a job each, and is one result: the tables of the whole in the sweep's folder.

An experiment whose schema has `part_of` can do a part of its work. A sweep over all parts is then one run of the whole,
for each combination of the other swept values. Its tables are made if each part is there once, and by one code.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mi_runner.config.composition import figures_of
from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.registry import EXPERIMENTS, code_of
from mi_runner.errors import ArgumentError, ConfigError, one_line
from mi_runner.machine import threads, typed_json
from mi_runner.machine.drawing import FigureFiles
from mi_runner.machine.files import whole_characters, written_whole
from mi_runner.machine.reading import Unreadable
from mi_runner.runs import run_folder
from mi_runner.runs.plan import Plan, Value, named
from mi_runner.runs.run_folder import RunFolder, table_file
from mi_runner.runs.saved_files import RunFiles
from mi_runner.runs.saved_tables import read_rows
from mi_runner.sweeps.declared import own_name
from mi_runner.sweeps.sweep_tables import Ended
from mi_runner.tables import console
from mi_runner.tables.whole_numbers import in_short

if TYPE_CHECKING:
    from pandas import DataFrame

    from mi_runner.experiments import Drawing, Result
    from mi_runner.tables.declaration import Rows

FILE = "wholes.json"
"""In a sweep's folder: which tables are those of wholes, and their numbers."""

METRICS = "metrics"
"""The headline table of a run, and so of a whole."""


@dataclass(frozen=True)
class Whole:
    """Jobs that are parts of one whole.

    Attributes:
        schema: of their experiment.
        swept: the other swept keys, and their values in these jobs.
        n: the parts that there are.
        jobs: each with its part, in the order of the parts.
    """

    schema: type[ExperimentConfig]
    swept: Mapping[str, Value]
    n: int
    jobs: tuple[tuple[int, Ended], ...]

    def problem(self, folder: Path) -> str:
        """Returns why the whole can't be made, and what to type; empty if it can.

        Args:
            folder: the sweep's.
        """
        assert self.schema.part_of is not None
        key = f"experiment.{self.schema.part_of[0]}"
        planned = Counter(part for part, _ in self.jobs)
        done = {part for part, job in self.jobs if job.state.done}
        if twice := sorted(part for part, n in planned.items() if n > 1):
            of_twice = in_short([job.job.number for part, job in self.jobs if part in twice])
            return f"{_parts(twice, self.n)} there twice, in jobs {of_twice}. Type a new sweep, with each part once."
        missing = [part for part in range(1, self.n + 1) if part not in done]
        if missing:
            again = f"mi-run -m resume={folder}"
            if not planned.keys() >= set(missing):
                again = f"the command of the sweep with resume={folder} '{key}=range(1,{self.n + 1})'"
            return f"{_parts(missing, self.n)} missing. Type {again}."
        if len({job.code for _, job in self.jobs}) > 1:
            return f"versions of the code differ between parts. Type mi-run -m resume={folder}."
        return ""


def _parts(numbers: Sequence[int], n: int) -> str:
    return f"part{'s' if len(numbers) > 1 else ''} {in_short(numbers)} of {n} {'are' if len(numbers) > 1 else 'is'}"


@dataclass(frozen=True)
class Saved:
    """What is kept of a whole besides its tables.

    Attributes:
        swept: as in `Whole`.
        jobs: the numbers of the jobs, in the order of the parts.
        metrics: the numbers of the summary.
    """

    swept: Mapping[str, Value]
    jobs: tuple[int, ...]
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class SavedWholes:
    """The fields of wholes.json.

    Attributes:
        wholes: of each combination of swept values.
        files: tables and figures of the wholes, as paths in the folder.
    """

    wholes: tuple[Saved, ...]
    files: tuple[str, ...] = ()


@dataclass
class Made:
    """What was made of the parts of a sweep.

    Attributes:
        answers: of each whole, or why there is none.
        failed: whether parts that are all there don't make a whole.
    """

    answers: list[str] = field(default_factory=list)
    failed: bool = False


def part_keys(plan: Plan) -> list[str]:
    """Returns the swept keys that say which part a job does."""
    of_schemas = {f"experiment.{schema.part_of[0]}" for schema in EXPERIMENTS if schema.part_of is not None}
    return [key for key in plan.swept if key.lstrip("+") in of_schemas]


def find(plan: Plan, jobs: Sequence[Ended]) -> list[Whole]:
    """Returns the wholes that jobs are parts of; none of a sweep that is not over parts."""
    keys = part_keys(plan)
    found: dict[tuple[Any, ...], list[tuple[int, Ended]]] = {}
    for job in jobs if keys else ():
        schema = next((one for one in EXPERIMENTS if one.name == _value(plan, job, "experiment")), None)
        if schema is None or schema.part_of is None:
            continue
        part, n = (_value(plan, job, f"experiment.{name}") for name in schema.part_of)
        if isinstance(part, int) and isinstance(n, int) and n > 1:
            others = tuple((key, value) for key, value in job.job.swept.items() if key not in keys)
            found.setdefault((schema, n, others), []).append((part, job))
    return [
        Whole(schema, dict(others), n, tuple(sorted(of_whole, key=lambda one: (one[0], one[1].job.number))))
        for (schema, n, others), of_whole in found.items()
    ]


def _value(plan: Plan, job: Ended, key: str) -> Any:
    """Returns the value of an option of a job, whether it began or not; None if nothing says it."""
    swept = {name.lstrip("+"): value for name, value in job.job.swept.items()}
    return swept.get(key, (job.state.record.config or {}).get(key, plan.base.get(key)))


# --- making them -----------------------------------------------------------------------------------------------------


def make(plan: Plan, folder: Path, jobs: Sequence[Ended]) -> Made:
    """Writes the tables of the wholes into a sweep's folder, if each part of each whole is there once.

    Tables of before are removed.

    Raises:
        OSError: the disk is full, or the folder can't be written.
    """
    made, found = Made(), find(plan, jobs)
    _remove(folder)
    problems = [(whole, problem) for whole in found if (problem := whole.problem(folder))]
    if problems:
        made.answers = [_titled(whole, f"there is no whole: {problem}") for whole, problem in problems]
        return made
    results = []
    for whole in found:
        try:
            results.append(_result(whole))
        except Exception as error:  # the tables of the jobs are there, and stay
            say = console.note if isinstance(error, ConfigError | ArgumentError) else console.error
            say(_titled(whole, f"the parts are not put together: {one_line(error)}"))
            made.failed = True
    if made.failed or not found:
        return made
    made.answers = [_titled(whole, result.answer) for whole, result in zip(found, results, strict=True)]
    _write(folder, found, results, figures_of(plan.overrides))
    return made


def _titled(whole: Whole, text: str) -> str:
    return f"{named(whole.swept)}: {text}" if whole.swept else f"{text[:1].upper()}{text[1:]}"


def _result(whole: Whole) -> Result:
    """Returns the result of a whole."""
    threads.let_waiting_threads_sleep()  # before torch is imported
    merge_parts = code_of(whole.schema).EXPERIMENT.merge_parts
    files = []
    for _, job in whole.jobs:
        record = job.state.record
        if record.seed is None or record.config is None:
            raise ConfigError(f"{job.folder}: run.json doesn't say the seed, or the config.")
        seed = str(job.job.swept.get("seed", record.seed))
        files.append(RunFiles(job.folder, f"job {job.job.number}", seed, record.seed, record.config))
    result: Result = merge_parts(files)
    return result


def _write(folder: Path, found: Sequence[Whole], results: Sequence[Result], wanted: FigureFiles) -> None:
    """Writes the tables, with the swept values in front, and the figures, and between them the file that names them."""
    place, tables = RunFolder(folder), []
    for name in dict.fromkeys(name for result in results for name in result.tables):
        having = [(whole, result) for whole, result in zip(found, results, strict=True) if name in result.tables]
        frame = _together([_with_swept(whole, result.tables[name]) for whole, result in having])
        if len(frame) or frame.attrs:
            place.write_table(name, frame, parquet=any(name in result.parquet for _, result in having))
            tables.append(table_file(folder, name).name)
    drawn: dict[str, Drawing] = {}
    for number, result in enumerate(results):
        drawn |= {name if len(results) == 1 else f"{name}_{number}": one for name, one in result.figures.items()}
    saved = SavedWholes(
        tuple(
            Saved(whole.swept, tuple(job.job.number for _, job in whole.jobs), _finite(result.metrics))
            for whole, result in zip(found, results, strict=True)
        ),
        (*tables, *(f"{run_folder.FIGURES}/{name}.{kind}" for name in drawn for kind in wanted.formats)),
    )
    text = whole_characters(json.dumps(typed_json.to_json(saved), ensure_ascii=False, indent=1), escape="\\\\")
    with written_whole(folder / FILE) as beside:
        beside.write_text(f"{text}\n", encoding="utf-8")
    for name, drawing in drawn.items():
        try:
            place.write_figure(name, drawing, wanted)
        except OSError:
            raise
        except Exception as error:  # the tables are there, and stay
            console.error(f"the figure {name} can't be drawn: {one_line(error)}")


def _with_swept(whole: Whole, rows: Rows) -> DataFrame:
    """Returns the rows of a whole with its swept values in front."""
    frame = run_folder.frame_of(rows)
    if not whole.swept:
        return frame  # as it is, because it may take most of the memory
    frame = frame.rename(columns={name: own_name(str(name), whole.swept) for name in frame})
    for place, (key, value) in enumerate(whole.swept.items()):
        frame.insert(place, key, value)
    return frame


def _together(frames: Sequence[DataFrame]) -> DataFrame:
    """Returns the rows of all wholes; what describes the rows of one alone is left out where there are several."""
    import pandas as pd

    return frames[0] if len(frames) == 1 else pd.concat([frame.assign() for frame in frames], ignore_index=True)


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _remove(folder: Path) -> None:
    """Removes the tables and figures of wholes that were made before."""
    for name in _saved(folder).files:
        path = folder / name
        if path.name == name or path.parent == folder / run_folder.FIGURES:
            with suppress(FileNotFoundError):
                path.unlink()
    with suppress(FileNotFoundError):
        (folder / FILE).unlink()


def _saved(folder: Path) -> SavedWholes:
    """Returns what is kept of the wholes of a sweep; nothing if there are none, or the file can't be read."""
    try:
        return typed_json.read_file(folder / FILE, SavedWholes)
    except (FileNotFoundError, Unreadable):
        return SavedWholes(())


# --- reading them ----------------------------------------------------------------------------------------------------


def counted(plan: Plan, folder: Path, jobs: Sequence[Ended]) -> Sequence[Ended]:
    """Returns what a summary is over: jobs that do all, and wholes in place of the jobs that do a part.

    A whole looks like a job: it has the state of its first part, and the numbers and rows of the whole.
    """
    found = find(plan, jobs)
    if not found:
        return jobs
    in_parts = {job.job.number for whole in found for _, job in whole.jobs}
    return [*_made(found, folder), *(job for job in jobs if job.job.number not in in_parts)]


def _made(found: Sequence[Whole], folder: Path) -> Iterator[Ended]:
    """Yields the wholes whose tables are there."""
    kept = {one.jobs: one for one in _saved(folder).wholes}
    if not kept:
        return
    rows = read_rows(table_file(folder, METRICS))
    for whole in found:
        saved = kept.get(tuple(job.job.number for _, job in whole.jobs))
        if saved is None or whole.problem(folder):
            continue
        first = whole.jobs[0][1]
        texts = {key: "" if value is None else str(value) for key, value in whole.swept.items()}
        own = [
            {name: text for name, text in row.items() if name not in texts}
            for row in rows
            if all(row.get(key) == text for key, text in texts.items())
        ]
        yield replace(
            first,
            job=replace(first.job, swept=whole.swept),
            state=replace(first.state, record=replace(first.state.record, metrics=dict(saved.metrics))),
            read={METRICS: own, "summary": []},
        )
