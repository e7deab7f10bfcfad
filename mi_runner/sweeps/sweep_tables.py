"""The many runs of a sweep as one result: sweep.csv, sweep_summary.csv, the headline, from the run folders alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mi_runner.config.registry import EXPERIMENTS
from mi_runner.config.run_schema import CHECKPOINT, SEED
from mi_runner.machine.reading import Unreadable
from mi_runner.runs import starts
from mi_runner.runs.plan import Job, Plan
from mi_runner.runs.run_folder import table_file
from mi_runner.runs.saved_tables import read_rows
from mi_runner.runs.states import State, job_state
from mi_runner.sweeps.declared import SWEEP, own_name
from mi_runner.tables.declaration import names_of
from mi_runner.tables.intervals import FEW, Spread
from mi_runner.tables.names import short_names
from mi_runner.tables.over_seeds import Measured, Summed, have_twins, over_seeds
from mi_runner.tables.ranges import Range

Row = dict[str, Any]

ByValues = list[tuple[Mapping[str, Any], dict[str, Spread]]]
"""For each combination of swept values: the values, and the spread of each metric."""

OF_JOB = names_of(SWEEP.columns)
"""Columns of sweep.csv besides what is swept and what the jobs measured."""

REPEATED = SEED
"""The swept key over which a summary is made."""

OVER = {SEED: (REPEATED,), CHECKPOINT: (REPEATED, CHECKPOINT)}
"""What `over` names → all swept keys over which a summary is made."""

HEADLINE = "accuracy"
"""The measure that is shown where there are too many to show."""

MOST_HEADLINE_ROWS = 40
MOST_HEADLINE_METRICS = 3


@dataclass(frozen=True)
class Ended:
    """A job of a sweep and what became of it.

    Attributes:
        job: as it was planned.
        state: what its folder says.
        folder: its run folder.
        repeated: the swept keys over which a summary is made.
        edited: the names in `versions` of a user's own code that not all jobs of the sweep ran alike.
        read: the rows of its tables that were read, by name; each is read once.
    """

    job: Job
    state: State
    folder: Path
    repeated: tuple[str, ...] = (REPEATED,)
    edited: frozenset[str] = frozenset()
    read: dict[str, list[dict[str, str]]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def combination(self) -> dict[str, Any]:
        """The swept values without those that repeat a setting."""
        return {key: value for key, value in self.job.swept.items() if key not in self.repeated}

    @property
    def code(self) -> str:
        """The version of the code that ran it, and of a user's own code that was edited; empty if it never began."""
        own = [str(self.versions[name]) for name in sorted(self.edited) if name in self.versions]
        return "+".join([str(self.versions.get("code") or ""), *own])

    @property
    def versions(self) -> Mapping[str, str | None]:
        """The program or library → version, and the digests of a user's own code."""
        return self.state.record.versions

    @property
    def starts(self) -> Mapping[str, str]:
        """Seed → what its network starts from; empty if run.json doesn't say."""
        return self.state.record.starts

    @property
    def start(self) -> str | None:
        """What the network of the job's own seed starts from; None if run.json doesn't say, or there are several."""
        return next(iter(self.starts.values())) if len(self.starts) == 1 else None

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers of its summary, if it is done."""
        found = self.state.record.metrics if self.state.done else {}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def keys(self) -> Sequence[str] | None:
        """The columns that name the rows of its metrics table; None where its run.json doesn't say."""
        return self.keys_of("metrics")

    def keys_of(self, table: str) -> Sequence[str] | None:
        """Returns the columns that name the rows of a table; None if it has none, or its run.json doesn't say."""
        return self.state.record.keys.get(table)

    @property
    def common_names(self) -> dict[str, str]:
        """A key of its metrics table → the column that has the same in names that other networks share."""
        found = self.state.record.common_names
        return {own_name(key, self.taken): own_name(column, self.taken) for key, column in found.items()}

    @property
    def ranges(self) -> dict[str, Range]:
        """The values that each of its measures can have."""
        return {name: Range(*ends) for name, ends in self.state.record.measures.items()}

    def table(self, name: str) -> list[dict[str, str]]:
        """Returns the rows of a table as text, digit by digit as they stand in the file; none if it can't be read.

        Raises:
            Unreadable: the job is done, and the table can't be read.
        """
        if name not in self.read:
            try:
                self.read[name] = read_rows(table_file(self.folder, name))
            except Unreadable:
                if self.state.done:
                    raise
                return []
        return self.read[name]

    @property
    def taken(self) -> list[str]:
        """Columns of sweep.csv that its metrics table can't have."""
        return [*OF_JOB, *self.job.swept]


def ended(plan: Plan, sweep: Path, known: Mapping[int, State] | None = None) -> list[Ended]:
    """Returns what became of every job of a sweep. A job whose tables can't be read is not done.

    Args:
        known: states of jobs that their folders can't tell.
    """
    repeated = OVER.get(plan.over, (REPEATED,))
    found = [Ended(job, job_state(sweep, job.number), sweep / str(job.number), repeated) for job in plan.jobs]
    own: dict[str, set[str | None]] = {}
    for one in found:
        for name, digest in one.versions.items():
            if name.startswith("code of "):
                own.setdefault(name, set()).add(digest)
    edited = frozenset(name for name, digests in own.items() if len(digests) > 1)
    found = [replace(one, edited=edited) for one in found]
    found = [
        replace(one, state=replace(one.state, cause=fault, fault=fault)) if (fault := _fault(one)) else one
        for one in found
    ]
    return [replace(one, state=known[one.job.number]) if known and one.job.number in known else one for one in found]


def _fault(one: Ended) -> str:
    """Returns why a table of a job that is done can't be read; empty if each can."""
    for name in ("metrics", "summary") if one.state.done else ():
        try:
            one.table(name)
        except Unreadable as error:
            return str(error)
    return ""


def short_checkpoints(jobs: Sequence[Ended]) -> dict[str, str]:
    """Returns for each checkpoint that is swept, as it was typed, a name that is as short as it is clear."""
    return short_names(str(job.job.swept[CHECKPOINT]) for job in jobs if CHECKPOINT in job.job.swept)


def in_short(name: Mapping[str, Any], short: Mapping[str, str]) -> dict[str, Any]:
    """Returns swept values as they are shown: the checkpoint by its short name."""
    return {key: short.get(str(value), value) if key == CHECKPOINT else value for key, value in name.items()}


# --- sweep.csv -----------------------------------------------------------------------------------------------------


def all_rows(jobs: Iterable[Ended]) -> list[Row]:
    """Returns every row of every job's metrics table, as text; one row without measurements for a job that has none.

    A job that was interrupted has the rows that were finished. Columns of the metrics tables that are named as one of
    the job's get the name `metrics.NAME`.
    """
    columns: dict[str, None] = {}
    read = []
    for one in jobs:
        # A run that goes on, or failed, may have written a table that isn't the whole one: its status says so.
        table = one.table("metrics") or [{}]
        names = {name: own_name(name, one.taken) for name in table[0]}
        columns |= dict.fromkeys(["job", "status", *one.job.swept, *names.values()])
        read.append((one, table, names))
    empty = dict.fromkeys([*columns, "error", "code", "folder"], "")
    rows = []
    for one, table, names in read:
        of_job = {"job": one.job.number, "status": one.state.status, **one.job.swept}
        of_job |= {"error": one.state.cause, "code": one.code, "folder": str(one.folder)}
        rows += [{**empty, **of_job, **{names[name]: text for name, text in row.items()}} for row in table]
    return rows


# --- sweep_summary.csv ---------------------------------------------------------------------------------------------


def summary(jobs: Iterable[Ended], rows: Sequence[Row], swept: Sequence[str]) -> list[Summed]:
    """Returns the spread over the seeds, for every combination of swept values, every name of a row and each measure.

    Only jobs that are done count. What names a row, what counts repeats and what is a measure says the job's run.json;
    a job that doesn't say so is left out. Rows are matched by their names alone: a row that some jobs lack is averaged
    over the others. A table `summary` that a job has besides is summarised, too. Seeds are those of the jobs and, where
    a job has networks of several, those of its rows.

    Args:
        rows: of all jobs, as `all_rows` gives them.
    """
    told = {
        one.job.number: ([own_name(key, one.taken) for key in one.keys], one.common_names, one.ranges)
        for one in jobs
        if one.state.done and one.keys is not None
    }
    numbered = {one.job.number: one for one in jobs}
    several_codes = len({row["code"] for row in rows if row["job"] in told}) > 1
    repeated = {key for one in numbered.values() for key in one.repeated}
    combination = [key for key in swept if key not in repeated] + ["code"] * several_codes
    measured = []
    for row in rows:
        if row["job"] in told:
            keys, common, ranges = told[row["job"]]
            names = [column for key in keys for column in (key, common.get(key)) if column is not None]
            name = {key: row.get(key, "") for key in [*combination, *names] if key != REPEATED}
            network = row["job"], row[REPEATED] if REPEATED in keys else None
            ran = numbered[row["job"]]
            start = ran.starts.get(row[REPEATED]) if REPEATED in keys else ran.start
            measured.append(Measured.of(network, name, row, ranges, start))
    for one in jobs:
        columns = one.keys_of("summary")
        if one.job.number in told and columns is not None:
            of_job = {**one.job.swept, "code": one.code}
            for own in one.table("summary"):
                name = {key: own.get(key, of_job.get(key, "")) for key in [*combination, *columns]}
                measured.append(Measured.of((one.job.number, None), name, own, told[one.job.number][2], one.start))
    return over_seeds(measured)


def summary_rows(summed: Sequence[Summed]) -> list[Row]:
    """Returns the rows of sweep_summary.csv; a name that only another experiment's rows have is empty."""
    names = dict.fromkeys(name for one in summed for name in one.name)
    return [dict.fromkeys(names, "") | one.row for one in summed]


def one_network(jobs: Iterable[Ended]) -> list[str]:
    """Returns a line for the first combination of swept values whose seeds have one network; it counts the others."""
    of_seeds = _by_values(jobs, (REPEATED,))
    found = [(seeds, members[0]) for members in of_seeds if (seeds := _seeds_of_one_network(members))]
    if not found:
        return []
    seeds, first = found[0]
    config = first.state.record.config or {}
    line = starts.sentence(seeds, factory=config.get("model.factory"), checkpoint=config.get("checkpoint"))
    return [line + (f" So it is with {len(found) - 1} more combinations of values." if len(found) > 1 else "")]


def _seeds_of_one_network(members: Sequence[Ended]) -> list[Any]:
    return starts.shared((one.job.swept.get(REPEATED, one.state.record.seed), one.start) for one in members)


def _by_values(jobs: Iterable[Ended], repeated: Sequence[str] | None = None) -> Iterable[list[Ended]]:
    """Returns the jobs that are done, those with the same swept values but for those that repeat a setting together.

    Args:
        repeated: the swept keys that do; None: those of the sweep.
    """
    groups: dict[tuple[str, ...], list[Ended]] = {}
    for one in jobs:
        if one.state.done:
            left_out = one.repeated if repeated is None else repeated
            values = tuple(f"{key}={value}" for key, value in one.job.swept.items() if key not in left_out)
            groups.setdefault(values, []).append(one)
    return groups.values()


# --- the headline --------------------------------------------------------------------------------------------------


def metrics_by_values(jobs: Sequence[Ended], objective: str | None, *, whole: bool = False) -> ByValues:
    """Returns every combination of swept values but the seed, and the spread of each plain summary metric.

    Plain are those without a part (`accuracy`, not `accuracy/relu/zero`); the objective comes first.

    Args:
        whole: of all metrics, those with parts, too; otherwise of the first plain ones.
    """
    found: ByValues = []
    short = short_checkpoints(jobs)
    for members in _by_values(jobs):
        names = {name: None for one in members for name in one.metrics if whole or "/" not in name or name == objective}
        first = [name for name in (objective, HEADLINE) if name in names]
        names = dict.fromkeys(first) | names
        ranges = members[0].ranges
        spreads = {
            name: Spread.of([one.metrics[name] for one in members if name in one.metrics], ranges.get(_measure(name)))
            for name in list(names)[: None if whole else MOST_HEADLINE_METRICS + 1]
        }
        if have_twins(one.start for one in members):
            spreads = {name: spread.without_interval() for name, spread in spreads.items()}
        found.append((in_short(members[0].combination, short), spreads))
    return found


def _measure(metric: str) -> str:
    """Returns the measure that a summary metric is of: `accuracy/relu/zero` is of `accuracy`."""
    return metric.partition("/")[0]


def headline(jobs: Sequence[Ended], summed: Sequence[Summed], objective: str | None) -> tuple[str, list[Row]]:
    """Returns the title and rows of the table that is printed: a screenful.

    Where the summary of the jobs' tables is short enough, it is that of their accuracy, or of the measures that their
    experiment compares; otherwise a row for each combination of swept values, with metrics of run.json. In the first,
    two or three seeds have their values beside the interval of a single measure.
    """
    by_values = metrics_by_values(jobs, objective)
    measures = compared(jobs)
    short = short_checkpoints(jobs)
    rows: list[Row] = [in_short(row, short) for row in _of_measures(jobs, summed, measures)]
    if objective is None and len(by_values) < len(rows) <= MOST_HEADLINE_ROWS:
        title, most = ", ".join(measures), max(row["n"] for row in rows)
    else:
        title, most = "summary metrics", max((s.n for _, spreads in by_values for s in spreads.values()), default=0)
        rows = []
        for swept, spreads in by_values:
            shown = {name: spreads[name] for name in list(spreads)[:MOST_HEADLINE_METRICS]}
            rows.append({**swept, "n": max((spread.n for spread in shown.values()), default=0), **_columns(shown)})
    columns = dict.fromkeys(column for row in rows for column in row if most > 1 or column != "n")
    interval = ", 95 % interval" if any(row[name] is not None for row in rows for name in row if _is_end(name)) else ""
    over = "checkpoints" if CHECKPOINT in {key for one in jobs for key in one.repeated} else "seeds"
    title = f"{title}: mean over {over}{interval}" if most > 1 else title
    return title, [{column: row.get(column) for column in columns} for row in rows]


def _is_end(column: str) -> bool:
    return column.endswith(("_low", "_high"))


def compared(jobs: Sequence[Ended]) -> tuple[str, ...]:
    """Returns the measures that the jobs' experiment compares; the accuracy of several that differ in it."""
    names = {one.state.record.experiment for one in jobs if one.state.done}
    found = {schema.compared for schema in EXPERIMENTS if schema.name in names}
    return found.pop() if len(found) == 1 else (HEADLINE,)


def _of_measures(jobs: Sequence[Ended], summed: Sequence[Summed], measures: Sequence[str]) -> list[Row]:
    """Returns a row for each name that has these measures; if jobs have a table `summary`, only its rows."""
    finer = {key for one in jobs for key in one.keys or () if (of := one.keys_of("summary")) and key not in of}
    groups: dict[tuple[tuple[str, Any], ...], dict[str, Spread]] = {}
    for one in summed:
        if one.measure in measures and not finer & one.name.keys():
            groups.setdefault(tuple(one.name.items()), {})[one.measure] = one.spread
    rows = []
    for name, spreads in groups.items():
        row = {**dict(name), "n": max(spread.n for spread in spreads.values()), **_columns(spreads)}
        for spread in spreads.values() if len(measures) == 1 else ():
            row |= _seeds(spread)
        rows.append(row)
    return rows


def _columns(spreads: Mapping[str, Spread]) -> Row:
    """Returns the measures' columns of the table that is printed; `X_n` if fewer seeds than n have a value of X."""
    most = max((spread.n for spread in spreads.values()), default=0)
    row: Row = {}
    for name, spread in spreads.items():
        row[name] = spread.mean
        if spread.n > 1:
            row |= {f"{name}_low": spread.low, f"{name}_high": spread.high}
        if spread.n < most:
            row[f"{name}_n"] = spread.n
    return row


def _seeds(spread: Spread) -> Row:
    """Returns the values of few seeds, whose interval says little."""
    return {"of each seed": " ".join(f"{value:.4f}" for value in spread.values)} if 1 < spread.n <= FEW else {}


def failures(jobs: Sequence[Ended]) -> list[Row]:
    """Returns every job that is not done or not as expected, with the cause."""
    return [
        {"job": one.job.number, "values": one.job.name, "status": one.state.status, "cause": one.state.cause}
        for one in jobs
        if one.state.cause
    ]
