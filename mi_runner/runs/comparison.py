"""What differs between runs, or between sweeps: their config, code, weights, numbers; and is the difference real?

The first run is compared with each of the others. Sweeps are compared job by job: those with the same swept values.

    difference              of                       test
    numbers of one run      test examples            McNemar's exact test, Newcombe's interval of the paired difference
    numbers over seeds      networks, by their seed  Student's paired test and interval

A seed that has a value on one side only is in no pair; repeats of a measurement are averaged within a seed first.
What one side alone has (a number, a row, a table, a measure, a job) is a difference.

A test is of one row; with many rows, some have a small p by chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from mi_runner.config.figure_options import FIGURE_KEYS
from mi_runner.config.registry import EXPERIMENTS, code_of
from mi_runner.config.run_schema import SWEEP_KEYS
from mi_runner.errors import ArgumentError, ConfigError, one_line, unknown
from mi_runner.experiments.common.sentences import between, counted, figure
from mi_runner.experiments.declared import declarations_of
from mi_runner.machine.reading import Unreadable
from mi_runner.runs.paired_answers import PREDICTIONS, NotPaired, different_data, same_examples
from mi_runner.runs.record import CheckpointRecord, GitRecord
from mi_runner.runs.run_folder import table_file
from mi_runner.runs.saved_files import RunFiles
from mi_runner.runs.saved_runs import SEED, Saved, SavedRun, SavedSweep, shown, summed
from mi_runner.runs.saved_tables import read_frame
from mi_runner.tables.names import NONE
from mi_runner.tables.over_seeds import have_twins
from mi_runner.tables.paired import PairedAnswers, PairedValues, holm, paired_means
from mi_runner.tables.pairwise import LEVEL

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, Any]

HEADLINE = "metrics"

SECONDS = "seconds"
"""The name of a time, also in runs of experiments that are not known here."""

OF_TRAINING = frozenset({"history", "ordinary_training"})
"""Tables that a run has only if it trained the network itself, and did not find it in the model store."""

NOT_COMPARED = frozenset({"output_dir", "report", *FIGURE_KEYS, *SWEEP_KEYS})
"""Config keys in which runs may differ without a difference in anything."""

MOST_RUNS = len(ascii_uppercase)

HASH_DIGITS = 12


@dataclass(frozen=True)
class Section:
    """A table of a comparison.

    Attributes:
        title: what it is about.
        rows: empty if nothing differs.
        note: a sentence for below the table, or instead of it.
        answer: sentences for above the table.
        brief: the rows to show where not all are asked for; None: those that matter most.
        is_detail: whether it is shown only where all rows are asked for, because sentences say what it means.
    """

    title: str
    rows: Sequence[Row] = ()
    note: str = ""
    answer: str = ""
    brief: Sequence[Row] | None = None
    is_detail: bool = False


@dataclass(frozen=True)
class Tolerance:
    """How far numbers may be apart that count as equal; of numbers above 1, as a share of the larger.

    Attributes:
        every: of all metrics that are not named.
        by_metric: of a metric, `loss/relu/zero`, or of all that measure the same, `loss`.
    """

    every: float = 0.0
    by_metric: Mapping[str, float] = field(default_factory=dict)

    def of(self, metric: str) -> float:
        """Returns the tolerance of a metric."""
        if metric in self.by_metric:
            return self.by_metric[metric]
        return self.by_metric.get(metric.partition("/")[0], self.every)


@dataclass
class Comparison:
    """What differs.

    Attributes:
        sections: for a person to read.
        differs: whether a number of the summary or a measure of a table differs by more than the tolerance, or one of
            the runs, or of the sweeps, alone has a number, a row, a measure, a table or a job.
    """

    sections: list[Section] = field(default_factory=list)
    differs: bool = False


EXACT = Tolerance()
"""Equal numbers are the same."""


def compare(saved: Sequence[Saved], *, tolerance: Tolerance = EXACT) -> Comparison:
    """Returns what differs between the first run, or sweep, and each of the others.

    Args:
        saved: two or more.
        tolerance: the largest difference of equal numbers.

    Raises:
        ConfigError: a run isn't done, they can't be compared, or none has a metric that the tolerance names; the text
            says why.
    """
    if not 2 <= len(saved) <= MOST_RUNS:
        raise ConfigError(f"diff compares 2 to {MOST_RUNS} runs, or sweeps; {len(saved)} are given.")
    runs = [one for one in saved if isinstance(one, SavedRun)]
    sweeps = [one for one in saved if isinstance(one, SavedSweep)]
    if runs and sweeps:
        raise ConfigError(
            f"{runs[0].folder} is a run, {sweeps[0].folder} is a sweep: compare runs with runs, sweeps with sweeps; "
            f"{sweeps[0].folder}/0 is the sweep's first job."
        )
    _check_metrics(saved, tolerance)
    found = Comparison()
    names = dict(zip(ascii_uppercase, saved, strict=False))
    if text := _different_data({name: one for name, one in names.items() if isinstance(one, SavedRun)}):
        found.sections.append(Section("data", note=text))
    found.sections.append(
        Section("runs" if runs else "sweeps", [{"": name, "folder": str(one.folder)} for name, one in names.items()])
    )
    found.sections.append(_differing("config", {name: _config(one) for name, one in names.items()}))
    found.sections.append(
        _differing("code, versions, weights", {name: _provenance(one) for name, one in names.items()})
    )
    if runs:
        _compare_runs(found, {name: one for name, one in names.items() if isinstance(one, SavedRun)}, tolerance)
    else:
        _compare_sweeps(found, {name: one for name, one in names.items() if isinstance(one, SavedSweep)}, tolerance)
    return found


def close(a: float | None, b: float | None, tolerance: float) -> bool:
    """Returns whether two numbers are equal but for the tolerance; None stands for a number that isn't finite."""
    if a is None or b is None:
        return a is b
    return a == b or abs(a - b) <= tolerance * max(1.0, abs(a), abs(b)) or (math.isnan(a) and math.isnan(b))


def _different_data(runs: Mapping[str, SavedRun]) -> str:
    """Returns a sentence if other runs have other test examples than the first; otherwise nothing."""
    if not runs:
        return ""
    (base, first), *others = runs.items()
    different = [name for name, run in others if different_data(first, run)]
    if not different:
        return ""
    named = [f"{name} ({_data_of(runs[name])})" for name in (base, *different)]
    return (
        f"{' and '.join(named)} have different test examples, so a difference between their numbers may be one of the "
        "data, and no answers are compared"
    )


def _data_of(run: SavedRun) -> str:
    """Returns the data of a run as they are typed: the data set, and the file where it has one."""
    path = run.config.get("dataset.path")
    return f"dataset={run.record.dataset}" + (f" dataset.path={path}" if path is not None else "")


# --- config, code, weights -----------------------------------------------------------------------------------------


def _differing(title: str, values: Mapping[str, Mapping[str, Any]]) -> Section:
    """Returns the section of the keys whose values aren't the same in all runs."""
    rows = []
    for key in dict.fromkeys(key for of_run in values.values() for key in of_run):
        texts = {name: shown(of_run[key]) if key in of_run else "" for name, of_run in values.items()}
        if len(set(texts.values())) > 1:
            rows.append({"key": key, **texts})
    return Section(title, rows, "" if rows else "the same")


def _config(saved: Saved) -> dict[str, Any]:
    return {key: value for key, value in saved.config.items() if key not in NOT_COMPARED}


def _provenance(saved: Saved) -> dict[str, Any]:
    if isinstance(saved, SavedSweep):
        of_jobs = [_provenance(job) for job in saved.jobs if job.state.done]
        # Each seed has weights of its own.
        keys = dict.fromkeys(key for of_job in of_jobs for key in of_job if key != "weights")
        return {key: summed(of_job[key] for of_job in of_jobs if key in of_job) for key in keys}
    record = saved.record
    git, checkpoint = record.git or GitRecord(), record.checkpoint or CheckpointRecord()
    commit = str(git.commit or "none")[:HASH_DIGITS]
    weights = [checkpoint.sha256, *(member.sha256 for member in checkpoint.members)]
    return {
        "code": record.versions.get("code"),
        "commit": f"{commit} with changes" if git.dirty else commit,
        **{name: version for name, version in record.versions.items() if name != "code"},
        "device": record.device,
        "processor": record.processor,
        "instruction_set": record.instruction_set,
        "weights": ",".join(str(sha256)[:HASH_DIGITS] for sha256 in weights if sha256) or None,
    }


# --- runs ----------------------------------------------------------------------------------------------------------


def _check_metrics(saved: Sequence[Saved], tolerance: Tolerance) -> None:
    """Raises a ConfigError if no run has a metric that a tolerance names."""
    if not tolerance.by_metric:
        return
    runs = [run for one in saved for run in ([one] if isinstance(one, SavedRun) else one.jobs)]
    metrics = dict.fromkeys(name for run in runs for name in run.metrics)
    known = dict.fromkeys([*(name.partition("/")[0] for name in metrics), *metrics])
    for run in runs:
        known |= dict.fromkeys(run.record.measures)
    for name in tolerance.by_metric:
        if name not in known:
            raise ConfigError(f"--tolerance {name}: {unknown('metric', name, list(known))}")


def _compare_runs(found: Comparison, runs: Mapping[str, SavedRun], tolerance: Tolerance) -> None:
    for run in runs.values():
        if not run.state.done:
            raise ConfigError(f"{run.folder}: the run is not done (status {run.state.status}).")
    (base, first), *others = runs.items()
    times = _times(runs.values())
    rows: list[Row] = []
    for metric in dict.fromkeys(name for run in runs.values() for name in run.metrics):
        row: Row = {"metric": metric, base: first.metrics.get(metric)}
        equal = metric in first.metrics
        for name, run in others:
            row |= _with_difference(base, name, first.metrics.get(metric), run.metrics.get(metric))
            equal &= metric in run.metrics and close(row[base], row[name], tolerance.of(metric))
        if metric.partition("/")[0] not in times and not equal:
            rows.append(row)
    equal_metrics = len(first.metrics) - sum(row["metric"] in first.metrics for row in rows)
    found.differs |= bool(rows)
    in_common = {name: _in_common((base, first), (name, run)) for name, run in others}
    for sections in in_common.values():
        found.sections += sections
    is_detail = all(any(section.answer for section in sections) for sections in in_common.values())
    note = f"numbers of the summary that are the same: {equal_metrics}"
    found.sections.append(Section("metrics", rows, note, is_detail=is_detail))
    for name, run in others:
        marked = {"run": name} if len(others) > 1 else {}
        found.sections.append(_answers((base, first), (name, run)))
        details = len(found.sections)
        _compare_tables(found, (base, first), (name, run), marked, tolerance)
        if is_detail:
            found.sections[details:] = [replace(section, is_detail=True) for section in found.sections[details:]]


def _in_common(first: tuple[str, SavedRun], second: tuple[str, SavedRun]) -> list[Section]:
    """Returns what the networks of two runs have in common, where their experiment says it; otherwise nothing."""
    (base, run), (name, other) = first, second
    experiments = {one.record.experiment for one in (run, other)}
    able = [schema for schema in EXPERIMENTS if schema.compares_networks and {schema.name} == experiments]
    if not able:
        return []
    compare_two = code_of(able[0]).EXPERIMENT.compare_two
    if compare_two is None:
        return []
    title = f"{able[0].name}: {name} and {base}"
    try:
        files = [RunFiles(one.folder, letter, letter, one.record.seed or 0) for letter, one in (first, second)]
        found = compare_two(*files)
    except (ConfigError, ArgumentError, OSError, ValueError, KeyError) as error:  # files of anybody, of any version
        return [Section(title, note=f"what {base} and {name} have in common isn't known: {one_line(error)}")]
    details = [
        Section(f"{detail}: {name} and {base}", rows, note, is_detail=True)
        for detail, (rows, note) in found.details.items()
        if rows
    ]
    return [Section(title, found.rows, found.note, found.answer, found.brief), *details]


def _with_difference(base: str, name: str, before: float | None, after: float | None) -> Row:
    difference = None if before is None or after is None else after - before
    return {name: after, f"{name} − {base}": difference}


def _times(runs: Iterable[SavedRun]) -> frozenset[str]:
    """Returns the measures of these runs that differ from run to run because they are times."""
    experiments = {run.record.experiment for run in runs}
    return frozenset({SECONDS}).union(*(declarations_of(name).times for name in experiments if name is not None))


def _compare_tables(
    found: Comparison, first: tuple[str, SavedRun], second: tuple[str, SavedRun], marked: Row, tolerance: Tolerance
) -> None:
    (base, run), (name, other) = first, second
    keys, keys_other, times = run.record.keys, other.record.keys, _times([run, other])
    overview: list[Row] = []
    for table in dict.fromkeys([*keys, *keys_other]):
        if table == PREDICTIONS:
            continue
        if table not in keys or table not in keys_other:
            only = base if table in keys else name
            overview.append({**marked, "table": table, "difference": f"only in {only}"})
            found.differs |= table not in OF_TRAINING
            continue
        if sorted(keys[table]) != sorted(keys_other[table]):
            overview.append({**marked, "table": table, "difference": "its keys differ, so rows can't be matched"})
            found.differs = True
            continue
        measures = [set(one.record.measures) - times for one in (run, other)]
        repeats = list(dict.fromkeys(name for one in (run, other) for name in one.record.repeats))
        try:
            joined = _joined(run.folder, other.folder, table, keys[table], repeats, measures)
        except (OSError, ValueError) as error:
            overview.append({**marked, "table": table, "difference": f"can't be read ({' '.join(str(error).split())})"})
            found.differs = True
            continue
        rows, changed = _changed_rows(joined, (base, name), tolerance, listed=table == HEADLINE)
        only_first, only_second = (int((joined.frame["_merge"] == side).sum()) for side in ("left_only", "right_only"))
        counts = {"rows in both": len(joined.frame) - only_first - only_second, "rows that differ": changed}
        counts |= {f"only in {base}": only_first, f"only in {name}": only_second}
        alone = zip((base, name), joined.alone, strict=True)
        texts = [_counted(counts)] if changed or only_first or only_second else []
        texts += [f"{', '.join(sorted(measures))} only in {side}" for side, measures in alone if measures]
        if texts:
            found.differs = True
            overview.append({**marked, "table": table, "difference": "; ".join(texts)})
        if table == HEADLINE:
            if rows:
                found.sections.append(Section(f"rows of {table}.csv: {name} and {base}", rows))
            if SEED in keys[table]:
                one_network = _have_one_network([run]) or _have_one_network([other])
                found.sections.append(_rows_over_seeds(joined, (base, name), one_network=one_network))
    found.sections.append(Section(f"tables: {name} and {base}", overview, "" if overview else "the same rows"))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in counts.items() if n or what == "rows in both")


@dataclass(frozen=True)
class _Joined:
    """The rows of a table of two runs, matched by their names.

    Attributes:
        frame: the columns of the names, of each measure `MEASURE_a` and `MEASURE_b`, and pandas' `_merge`.
        names: the columns that name a row, those of repeats last.
        repeats: those of the names that count repeats of a measurement.
        measures: those that both have.
        alone: those that the first has alone, and the second.
    """

    frame: DataFrame
    names: Sequence[str]
    repeats: Sequence[str]
    measures: Sequence[str]
    alone: tuple[set[str], set[str]]


def _joined(
    first: Path, second: Path, table: str, keys: Sequence[str], repeats: Sequence[str], measures: Sequence[set[str]]
) -> _Joined:
    frames = [read_frame(folder, table) for folder in (first, second)]
    for folder, frame in zip((first, second), frames, strict=True):
        if lacking := [key for key in keys if key not in frame]:
            raise Unreadable(f"{table_file(folder, table)}: it lacks the column {lacking[0]}, which names its rows")
    repeats = [column for column in repeats if column not in keys and all(column in frame for frame in frames)]
    names = [*keys, *repeats]
    measured, measured_other = (
        [column for column in frame if column in of_run and column not in names]
        for frame, of_run in zip(frames, measures, strict=True)
    )
    both = [measure for measure in measured if measure in measured_other]
    alone = set(measured) - set(both), set(measured_other) - set(both)
    import pandas as pd

    for number, frame in enumerate(frames):
        numbers = {measure: pd.to_numeric(frame[measure], errors="coerce") for measure in both}
        frames[number] = pd.DataFrame({**{name: frame[name].astype(str) for name in names}, **numbers})
    merged = frames[0].merge(frames[1], on=names, how="outer", suffixes=("_a", "_b"), indicator=True, sort=False)
    return _Joined(merged, names, repeats, both, alone)


def _changed_rows(
    joined: _Joined, names: tuple[str, str], tolerance: Tolerance, *, listed: bool
) -> tuple[list[Row], int]:
    """Returns the measures that differ, a row for each if `listed`, and how many rows of the table differ."""
    import numpy as np

    base, name = names
    frame = joined.frame[joined.frame["_merge"] == "both"]
    any_changed = np.zeros(len(frame), dtype=bool)
    rows: list[Row] = []
    for measure in joined.measures:
        before, after = (frame[f"{measure}_{side}"].to_numpy(dtype=float) for side in "ab")
        with np.errstate(invalid="ignore"):
            largest = np.maximum(1.0, np.maximum(abs(before), abs(after)))
            equal = (before == after) | (abs(after - before) <= tolerance.of(measure) * largest)
        changed = ~(equal | (np.isnan(before) & np.isnan(after)))
        any_changed |= changed
        for place in np.flatnonzero(changed) if listed else ():
            identity = {key: frame[key].iloc[place] for key in joined.names}
            values = _with_difference(base, name, float(before[place]), float(after[place]))
            rows.append({**identity, "measure": measure, base: float(before[place]), **values})
    return rows, int(any_changed.sum())


def _answers(first: tuple[str, SavedRun], second: tuple[str, SavedRun]) -> Section:
    """Returns whether two runs differ in their answers on the same test examples."""
    (base, run), (name, other) = first, second
    title = f"answers: {name} and {base}"
    for letter, one in (first, second):
        if PREDICTIONS not in one.record.keys:
            return Section(title, note=f"{letter} has no {PREDICTIONS}.parquet, so there is no test of the difference")
    try:
        found = same_examples(run, other)
    except NotPaired as reason:
        return Section(title, note=str(reason))
    rows = [{**names, **_tested_answers((base, name), counts)} for names, counts in found.counted()]
    of_networks = "of the intact networks, " if found.of_intact else ""
    note = (
        f"accuracy {of_networks}on the same examples; low, high: 95 % interval of the paired difference, by Newcombe's "
        f"method; only {base}, only {name}: examples that only this one answers correctly; p: McNemar's exact test"
    )
    keys = [key for key in found.names if key not in run.record.repeats]
    answer = _told_apart((base, name), rows, keys) if SEED not in keys else ""
    return Section(title, rows, note, answer)


def _told_apart(names: tuple[str, str], rows: Sequence[Row], keys: Sequence[str]) -> str:
    """Returns in a sentence or two whether the tests tell two networks apart.

    Args:
        rows: of the tests: of the intact networks, and under conditions. Of many tests some have a small p by chance,
            so those under conditions are corrected.
        keys: the columns that name a condition; of the intact networks all are none.
    """
    (base, name), of_intact = names, [row for row in rows if all(str(row[key]) == NONE for key in keys)]
    if len(of_intact) != 1:
        return ""
    intact, others = of_intact[0], [row for row in rows if row is not of_intact[0]]
    difference = between(intact[f"{name} − {base}"], intact["low"], intact["high"])
    text = (
        f"Of {intact['n']:,} test examples {base} answers {figure(intact[base])} correctly and {name} "
        f"{figure(intact[name])}. The difference is {difference}; McNemar's test "
        f"{'tells' if intact['p'] < LEVEL else 'does not tell'} the networks apart (p = {intact['p']:.2g})."
    )
    if others:
        n_apart = sum(p < LEVEL for p in holm([row["p"] for row in others]))
        text += (
            f" Under {n_apart:,} of {counted(len(others), 'other condition')} it tells them apart, corrected for their "
            "number by Holm's method."
        )
    return text


def _tested_answers(names: tuple[str, str], counts: PairedAnswers) -> Row:
    """Returns the accuracies of two runs on the same examples, with the test of their difference."""
    base, name = names
    before, after = counts.accuracies
    low, high = counts.interval
    return {
        "n": counts.n,
        base: before,
        **_with_difference(base, name, before, after),
        "low": low,
        "high": high,
        f"only {base}": counts.first,
        f"only {name}": counts.second,
        "p": counts.p,
    }


# --- over seeds ----------------------------------------------------------------------------------------------------


def _rows_over_seeds(joined: _Joined, names: tuple[str, str], *, one_network: bool) -> Section:
    """Returns the paired test over the networks of two runs with `seeds=...`, for each name of a row without repeats.

    Args:
        one_network: whether seeds of one of the runs have one network, so that there is no test.
    """
    base, name = names
    rest = [key for key in joined.names if key != SEED and key not in joined.repeats]
    rows: list[Row] = []
    groups = joined.frame.groupby(rest, sort=False) if rest else [((), joined.frame)]
    for values, group in groups:
        for measure in joined.measures:
            columns = [group[f"{measure}_{side}"] for side in "ab"]
            if any(column.isna().all() for column in columns):
                continue  # one of the runs has no value under this name
            pairs = paired_means(*(zip(group[SEED], column.tolist(), strict=True) for column in columns))
            tested = _tested(names, *pairs, one_network=one_network)
            rows.append({**dict(zip(rest, values, strict=True)), "measure": measure, **tested})
    return Section(f"over seeds: {name} and {base}", rows, _ONE_NETWORK if one_network else _STUDENT)


_STUDENT = (
    "n: seeds for which both have a value; means over these; low, high: 95 % interval of the paired difference, "
    "p: Student's paired test"
)


_ONE_NETWORK = "seeds start from the same weights on the same data: they are one network, so there is no test"


def _have_one_network(runs: Sequence[SavedRun]) -> bool:
    """Returns whether two networks of these runs start from the same weights and data."""
    return have_twins(start for run in runs for start in run.record.starts.values())


def _tested(
    names: tuple[str, str], before: Sequence[float], after: Sequence[float], *, one_network: bool = False
) -> Row:
    """Returns the columns of a paired test; without a pair all but n are empty, for one network low, high and p."""
    base, name = names
    if not before:
        return {"n": 0, base: None, name: None, f"{name} − {base}": None, "low": None, "high": None, "p": None}
    test = PairedValues.of([b - a for a, b in zip(before, after, strict=True)])
    means = sum(before) / test.n, sum(after) / test.n
    row = {"n": test.n, base: means[0], name: means[1], f"{name} − {base}": test.mean}
    if one_network:
        return {**row, "low": None, "high": None, "p": None}
    return {**row, "low": test.low, "high": test.high, "p": test.p}


def _compare_sweeps(found: Comparison, sweeps: Mapping[str, SavedSweep], tolerance: Tolerance) -> None:
    (base, first), *others = sweeps.items()
    for sweep in sweeps.values():
        if sweep.plan is None:
            raise ConfigError(f"{sweep.folder}: {sweep.error}, so its jobs aren't known.")
    for name, sweep in others:
        jobs, jobs_other = ({_values(job): job for job in one.jobs if job.state.done} for one in (first, sweep))
        paired = _paired_jobs(first, sweep, jobs, jobs_other)
        found.differs |= jobs.keys() != jobs_other.keys()
        groups: dict[tuple[tuple[str, Any], ...], list[tuple[SavedRun, SavedRun]]] = {}
        for job, other in paired:
            group = tuple((key, shown(value)) for key, value in job.swept.items() if key != SEED)
            groups.setdefault(group, []).append((job, other))
        rows: list[Row] = []
        same = [len(pairs) > 1 and any(map(_have_one_network, zip(*pairs, strict=True))) for pairs in groups.values()]
        for (values, pairs), one_network in zip(groups.items(), same, strict=True):
            tested = _differing_metrics((base, name), pairs, tolerance, one_network=one_network)
            rows += [{**dict(values), **row} for row in tested]
        found.differs |= bool(rows)
        note = "the same numbers in all pairs of jobs" if not rows else _STUDENT
        if rows and any(same):
            note += f"; {_ONE_NETWORK}"
        if left_out := len(first.jobs) + len(sweep.jobs) - 2 * len(paired):
            note += f"; {left_out} jobs are not done or have no partner with the same values, and are left out"
        found.sections.append(Section(f"metrics: {name} and {base}", rows, note))


ByValues = Mapping[tuple[tuple[str, str], ...], SavedRun]
"""The jobs of a sweep that are done, by their swept values."""


def _paired_jobs(
    first: SavedSweep, second: SavedSweep, jobs: ByValues, jobs_other: ByValues
) -> list[tuple[SavedRun, SavedRun]]:
    """Returns the jobs of two sweeps that have the same swept values.

    Raises:
        ConfigError: the sweeps vary other keys, or have no such jobs.
    """
    if set(second.swept) != set(first.swept):
        was, now = (", ".join(one.swept) or "nothing" for one in (first, second))
        raise ConfigError(
            f"{first.folder} varies {was}, {second.folder} varies {now}: jobs are paired by the values that are "
            "varied, so both must vary the same keys."
        )
    paired = [(job, jobs_other[values]) for values, job in jobs.items() if values in jobs_other]
    if not paired:
        raise ConfigError(
            f"{first.folder} and {second.folder} have no jobs that are done and have the same values of "
            f"{', '.join(first.swept) or 'their keys'}."
        )
    return paired


def _differing_metrics(
    names: tuple[str, str], pairs: Sequence[tuple[SavedRun, SavedRun]], tolerance: Tolerance, *, one_network: bool
) -> list[Row]:
    """Returns a row with a paired test for each number of the summary that differs in a pair of jobs."""
    rows, times = [], _times(run for pair in pairs for run in pair)
    for metric in dict.fromkeys(metric for pair in pairs for run in pair for metric in run.metrics):
        if metric.partition("/")[0] in times:
            continue
        # None stands for a number that isn't finite, or is missing.
        before, after = ([pair[side].metrics.get(metric) for pair in pairs] for side in (0, 1))
        alone = any((metric in a.metrics) != (metric in b.metrics) for a, b in pairs)
        if not alone and all(close(a, b, tolerance.of(metric)) for a, b in zip(before, after, strict=True)):
            continue
        numbers = paired_means(enumerate(before), enumerate(after))
        rows.append({"metric": metric, **_tested(names, *numbers, one_network=one_network)})
    return rows


def _values(job: SavedRun) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, shown(value)) for key, value in job.swept.items()))
