"""What differs between runs, or between sweeps: their config, code, weights, numbers; and is the difference real?

The first run is compared with each of the others. Sweeps are compared job by job: those with the same swept values.

    difference              of                       test
    numbers of one run      test examples            McNemar's exact test, Newcombe's interval of the paired difference
    numbers over seeds      networks, by their seed  Student's paired test and interval

A seed that has a value on one side only is in no pair; repeats of a measurement are averaged within a seed first.
What one side alone has (a number, a row, a table, a measure, a job) is a difference.

A test is of one row; with many rows, some have a small p by chance.

A difference of the summary counts by its bound, otherwise by its test, otherwise as soon as there is one; see `judged`.
Rows of tables count as soon as they differ, unless the two networks do, and a test of their numbers decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_uppercase
from typing import Any

from mi_runner.config.registry import EXPERIMENTS, code_of
from mi_runner.config.run_schema import LABELS, SWEEP_KEYS
from mi_runner.errors import ArgumentError, ConfigError, one_line, unknown
from mi_runner.experiments.common.sentences import between, counted, figure
from mi_runner.runs.judged import Difference, Judged, PairedTest, Rule, Tolerance, judged
from mi_runner.runs.metric_tests import over_seeds, student, tests_of
from mi_runner.runs.paired_answers import PREDICTIONS, NotPaired, SameExamples, different_data
from mi_runner.runs.pairs import HEADLINE, Matched, Pair, have_one_network, times_of
from mi_runner.runs.record import CheckpointRecord, GitRecord
from mi_runner.runs.saved_files import RunFiles
from mi_runner.runs.saved_runs import SEED, Saved, SavedRun, SavedSweep, shown, summed
from mi_runner.tables.names import NONE
from mi_runner.tables.paired import PairedAnswers, PairedValues, holm, paired_means
from mi_runner.tables.pairwise import LEVEL

Row = dict[str, Any]

OF_TRAINING = frozenset({"history", "ordinary_training"})
"""Tables that a run has only if it trained the network itself, and did not find it in the model store."""

NOT_COMPARED = frozenset({"output_dir", "report", "figures", *LABELS, *SWEEP_KEYS})
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


@dataclass
class Comparison:
    """What differs.

    Attributes:
        sections: for a person to read.
        judged: of each metric and table of each run but the first: whether it differs, and counts.
        said: sentences on what is no difference of a metric, such as another processor.
        same: whether configs, code, versions and weights are the same, too.
    """

    sections: list[Section] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    same: bool = True

    @property
    def differs(self) -> bool:
        """Whether a difference counts: by a bound, by a test, or because there is neither."""
        return any(one.counts for one in self.judged)

    @property
    def equal(self) -> bool:
        """Whether nothing differs at all."""
        return self.same and not any(one.differs for one in self.judged)


NO_BOUNDS = Tolerance()


def compare(saved: Sequence[Saved], *, tolerance: Tolerance = NO_BOUNDS, p: float | None = None) -> Comparison:
    """Returns what differs between the first run, or sweep, and each of the others.

    Args:
        saved: two or more.
        tolerance: the largest difference of equal numbers; it holds in place of a test.
        p: a difference that has a test counts if its p-value is below this; None: below 0.05, unless a tolerance of all
            metrics decides.

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
    origins = {name: _provenance(one) for name, one in names.items()}
    found.sections.append(_differing("code, versions, weights", origins))
    found.same = not any(section.rows for section in found.sections[-2:]) and found.sections[0].title != "data"
    machines = {name: text for name in names if (text := _other_machine(names, name))}
    found.said += machines.values()
    rule = Rule(tolerance, p)
    if runs:
        _compare_runs(found, {name: one for name, one in names.items() if isinstance(one, SavedRun)}, rule, machines)
    else:
        swept = {name: one for name, one in names.items() if isinstance(one, SavedSweep)}
        _compare_sweeps(found, swept, rule, machines)
    return found


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


MACHINE = ("device", "processor", "instruction_set", "threads", "python", "torch", "torchvision", "numpy")
"""What changes the rounding of numbers, and so trained networks, without a change of config or code."""


def _other_machine(saved: Mapping[str, Saved], name: str) -> str:
    """Returns in a sentence how the machine of a run differs from that of the first; nothing if it isn't known to."""
    base = next(iter(saved))
    was, now = ({**_provenance(saved[one]), "threads": saved[one].config.get("threads")} for one in (base, name))
    different = [key for key in MACHINE if None not in (was.get(key), now.get(key)) and was[key] != now[key]]
    if not different:
        return ""
    listed = ", ".join(f"{key.replace('_', ' ')} {was[key]} in {base} and {now[key]} in {name}" for key in different)
    return f"{name} is of another machine: {listed}; trained networks differ by that alone, which is no failure"


ON_ANOTHER_MACHINE = "the runs are of two machines"


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


def _compare_runs(found: Comparison, runs: Mapping[str, SavedRun], rule: Rule, machines: Mapping[str, str]) -> None:
    for run in runs.values():
        if not run.state.done:
            raise ConfigError(f"{run.folder}: the run is not done (status {run.state.status}).")
    (base, first), *others = runs.items()
    pairs = [Pair((base, name), first, run) for name, run in others]
    tests = [
        _judge_metrics(found, pair, rule, ON_ANOTHER_MACHINE if pair.names[1] in machines else "") for pair in pairs
    ]
    rows = _rows_of_metrics(runs, found.judged, tests)
    equal_metrics = len(first.metrics) - sum(row["metric"] in first.metrics for row in rows)
    in_common = [_in_common((base, first), (name, run)) for name, run in others]
    for sections in in_common:
        found.sections += sections
    is_detail = all(any(section.answer for section in sections) for sections in in_common)
    note = f"numbers of the summary that are the same: {equal_metrics}"
    found.sections.append(Section("metrics", rows, note, is_detail=is_detail))
    for pair, tested in zip(pairs, tests, strict=True):
        marked = {"run": pair.names[1]} if len(others) > 1 else {}
        found.sections.append(_answers(pair))
        details = len(found.sections)
        excused = pair.names[1] in machines or (rule.level is not None and bool(tested) and _are_two_networks(pair))
        _compare_tables(found, pair, marked, rule, excused=excused)
        if is_detail:
            found.sections[details:] = [replace(section, is_detail=True) for section in found.sections[details:]]


def _judge_metrics(found: Comparison, pair: Pair, rule: Rule, excuse: str) -> Mapping[str, PairedTest]:
    """Notes which numbers of the summary of two runs differ, and count; returns the tests that they have.

    Args:
        excuse: why a difference without a bound and a test doesn't count; empty: it counts.
    """
    before, after = pair.run.metrics, pair.other.metrics
    differences: list[Difference] = []
    for metric in dict.fromkeys([*before, *after]):
        if metric.partition("/")[0] in pair.times:
            continue
        values = before.get(metric), after.get(metric)
        alone = "" if metric in before and metric in after else pair.names[metric in after]
        differences.append(Difference(metric, pair.names, *values, (values,), alone))
    differing = [one.metric for one in differences if not one.alone and not one.is_within(0.0)]
    tests = tests_of(pair, differing) if differing and rule.level is not None else {}
    found.judged += [judged(one, rule, tests.get(one.metric), excuse=excuse) for one in differences]
    return tests


def _rows_of_metrics(
    runs: Mapping[str, SavedRun], found: Sequence[Judged], tests: Sequence[Mapping[str, PairedTest]]
) -> list[Row]:
    """Returns a row for each number of the summary that differs in any run, with its p-values and whether it counts."""
    (base, first), *others = runs.items()
    differing = {one.name: False for one in found if one.differs}
    for one in found:
        if one.counts:
            differing[one.name] = True
    rows: list[Row] = []
    for metric in dict.fromkeys(name for run in runs.values() for name in run.metrics):
        if metric not in differing:
            continue
        row: Row = {"metric": metric, base: first.metrics.get(metric)}
        for (name, run), tested in zip(others, tests, strict=True):
            row |= _with_difference(base, name, first.metrics.get(metric), run.metrics.get(metric))
            if tested:
                row["p" if len(others) == 1 else f"p of {name}"] = tested[metric].p if metric in tested else None
        rows.append({**row, "counts": differing[metric]})
    return rows


def _are_two_networks(pair: Pair) -> bool:
    """Returns whether two runs are known to have different networks: they answer differently, or by other weights."""
    paired = pair.answers
    if isinstance(paired, SameExamples) and bool((paired.joined["answer_a"] != paired.joined["answer_b"]).any()):
        return True
    weights = [_provenance(one)["weights"] for one in (pair.run, pair.other)]
    return None not in weights and weights[0] != weights[1]


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


def _compare_tables(found: Comparison, pair: Pair, marked: Row, rule: Rule, *, excused: bool) -> None:
    """Compares the tables of two runs row by row.

    Args:
        marked: columns of each row of the overview.
        excused: whether rows that differ don't count, because they are of two networks or machines; those beyond a
            bound do, and so does what one run alone has.
    """
    (base, name), keys, keys_other = pair.names, pair.run.record.keys, pair.other.record.keys
    overview: list[Row] = []
    for table in dict.fromkeys([*keys, *keys_other]):
        if table == PREDICTIONS:
            continue
        compared = _compared_table(table, pair, rule, excused=excused)
        found.judged.append(compared.judged)
        if compared.difference:
            overview.append({**marked, "table": table, "difference": compared.difference})
        if table == HEADLINE and compared.matched is not None:
            if compared.rows:
                found.sections.append(Section(f"rows of {table}.csv: {name} and {base}", compared.rows))
            if SEED in keys[table]:
                found.sections.append(_rows_over_seeds(compared.matched, pair))
    found.sections.append(Section(f"tables: {name} and {base}", overview, "" if overview else "the same rows"))


@dataclass(frozen=True)
class _ComparedTable:
    """What differs in a table of two runs.

    Attributes:
        difference: in words; empty for nothing.
        rows: of the main table, the measures that differ.
        matched: the rows of both; None where they can't be matched.
    """

    judged: Judged
    difference: str
    rows: Sequence[Row] = ()
    matched: Matched | None = None


def _compared_table(table: str, pair: Pair, rule: Rule, *, excused: bool) -> _ComparedTable:
    (base, name), keys, keys_other = pair.names, pair.run.record.keys, pair.other.record.keys

    def of(
        difference: str, *, counts: bool, rows: Sequence[Row] = (), matched: Matched | None = None
    ) -> _ComparedTable:
        said = difference or "the same rows"
        unless = "" if counts or not difference else "; it has no test and no bound, so it doesn't count"
        differs = bool(difference) and not (table in OF_TRAINING and matched is None and not counts)
        verdict = Judged(f"table {table}", name, differs, counts, f"table {table}: {said}{unless}")
        return _ComparedTable(verdict, difference, rows, matched)

    if table not in keys or table not in keys_other:
        return of(f"only in {base if table in keys else name}", counts=table not in OF_TRAINING)
    if sorted(keys[table]) != sorted(keys_other[table]):
        return of("its keys differ, so rows can't be matched", counts=True)
    try:
        matched = pair.rows(table)
    except (OSError, ValueError) as error:
        return of(f"can't be read ({' '.join(str(error).split())})", counts=True)
    changed = _changed_rows(matched, pair.names, rule.tolerance, listed=table == HEADLINE)
    only_first, only_second = (int((matched.frame["_merge"] == side).sum()) for side in ("left_only", "right_only"))
    counts = {"rows in both": len(matched.frame) - only_first - only_second, "rows that differ": changed.n}
    counts |= {f"only in {base}": only_first, f"only in {name}": only_second}
    texts = [_counted(counts)] if changed.n or only_first or only_second else []
    sides = [(side, alone) for side, alone in zip(pair.names, matched.alone, strict=True) if alone]
    texts += [f"{', '.join(sorted(measures))} only in {side}" for side, measures in sides]
    matters = bool(sides or changed.n_beyond or (texts and not excused))
    return of("; ".join(texts), counts=matters, rows=changed.rows, matched=matched)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in counts.items() if n or what == "rows in both")


@dataclass(frozen=True)
class _Changed:
    """The rows of a table that differ by more than the tolerance.

    Attributes:
        rows: the measures that differ; none if they are not to be listed.
        n: rows of the table in which a measure differs.
        n_beyond: those in which one that has a bound does.
    """

    rows: Sequence[Row]
    n: int
    n_beyond: int


def _changed_rows(matched: Matched, names: tuple[str, str], tolerance: Tolerance, *, listed: bool) -> _Changed:
    import numpy as np

    base, name = names
    frame = matched.frame[matched.frame["_merge"] == "both"]
    any_changed, any_beyond = np.zeros(len(frame), dtype=bool), np.zeros(len(frame), dtype=bool)
    rows: list[Row] = []
    for measure in matched.measures:
        before, after = (frame[f"{measure}_{side}"].to_numpy(dtype=float) for side in "ab")
        with np.errstate(invalid="ignore"):
            largest = np.maximum(1.0, np.maximum(abs(before), abs(after)))
            equal = (before == after) | (abs(after - before) <= tolerance.of(measure) * largest)
        changed = ~(equal | (np.isnan(before) & np.isnan(after)))
        any_changed |= changed
        if tolerance.named(measure) is not None:
            any_beyond |= changed
        for place in np.flatnonzero(changed) if listed else ():
            identity = {key: frame[key].iloc[place] for key in matched.names}
            values = _with_difference(base, name, float(before[place]), float(after[place]))
            rows.append({**identity, "measure": measure, base: float(before[place]), **values})
    return _Changed(rows, int(any_changed.sum()), int(any_beyond.sum()))


def _answers(pair: Pair) -> Section:
    """Returns whether two runs differ in their answers on the same test examples."""
    (base, name), found, run = pair.names, pair.answers, pair.run
    title = f"answers: {name} and {base}"
    if isinstance(found, NotPaired):
        return Section(title, note=str(found))
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


def _rows_over_seeds(matched: Matched, pair: Pair) -> Section:
    """Returns the paired test over the networks of two runs with `seeds=...`, for each name of a row without repeats.

    Where seeds of one of the runs have one network there is no test.
    """
    base, name = pair.names
    one_network = pair.has_one_network
    rows = [
        {**one.names, "measure": one.measure, **_tested(pair.names, one.before, one.after, one_network=one_network)}
        for one in over_seeds(matched)
    ]
    return Section(f"over seeds: {name} and {base}", rows, _ONE_NETWORK if one_network else _STUDENT)


_STUDENT = (
    "n: seeds for which both have a value; means over these; low, high: 95 % interval of the paired difference, "
    "p: Student's paired test"
)


_ONE_NETWORK = "seeds start from the same weights on the same data: they are one network, so there is no test"


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


def _compare_sweeps(
    found: Comparison, sweeps: Mapping[str, SavedSweep], rule: Rule, machines: Mapping[str, str]
) -> None:
    (base, first), *others = sweeps.items()
    for sweep in sweeps.values():
        if sweep.plan is None:
            raise ConfigError(f"{sweep.folder}: {sweep.error}, so its jobs aren't known.")
    for name, sweep in others:
        jobs, jobs_other = ({_values(job): job for job in one.jobs if job.state.done} for one in (first, sweep))
        paired = _paired_jobs(first, sweep, jobs, jobs_other)
        n_alone = len(jobs.keys() ^ jobs_other.keys())
        line = f"jobs: {n_alone} that {'is' if n_alone == 1 else 'are'} done in {base} or in {name} alone"
        found.judged.append(Judged("jobs", name, bool(n_alone), bool(n_alone), line))
        groups: dict[tuple[tuple[str, Any], ...], list[tuple[SavedRun, SavedRun]]] = {}
        for job, other in paired:
            group = tuple((key, shown(value)) for key, value in job.swept.items() if key != SEED)
            groups.setdefault(group, []).append((job, other))
        rows: list[Row] = []
        same = [len(pairs) > 1 and any(map(have_one_network, zip(*pairs, strict=True))) for pairs in groups.values()]
        excuse = ON_ANOTHER_MACHINE if name in machines else ""
        for (values, pairs), one_network in zip(groups.items(), same, strict=True):
            for one in _differences((base, name), pairs):
                row = {"metric": one.metric, **_tested_pairs(one, one_network=one_network)}
                verdict = judged(
                    one, rule, _test_of_jobs(one, pairs, one_network=one_network),
                    name=" ".join([one.metric, *(f"{key}={value}" for key, value in values)]), excuse=excuse,
                )  # fmt: skip
                found.judged.append(verdict)
                if verdict.differs:
                    rows.append({**dict(values), **row, "counts": verdict.counts})
        note = "the same numbers in all pairs of jobs" if not rows else _STUDENT
        if rows and any(same):
            note += f"; {_ONE_NETWORK}"
        if left_out := len(first.jobs) + len(sweep.jobs) - 2 * len(paired):
            found.same = False
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


def _differences(names: tuple[str, str], pairs: Sequence[tuple[SavedRun, SavedRun]]) -> Iterator[Difference]:
    """Yields the values of each number of the summary in pairs of jobs, but for times."""
    times = times_of(run for pair in pairs for run in pair)
    for metric in dict.fromkeys(metric for pair in pairs for run in pair for metric in run.metrics):
        if metric.partition("/")[0] in times:
            continue
        # None stands for a number that isn't finite, or is missing.
        before, after = ([pair[side].metrics.get(metric) for pair in pairs] for side in (0, 1))
        have = [any(metric in pair[side].metrics for pair in pairs) for side in (0, 1)]
        alone = "" if all(have) else names[have[1]]
        means = [sum(side) / len(side) if side else None for side in paired_means(enumerate(before), enumerate(after))]
        yield Difference(metric, names, means[0], means[1], tuple(zip(before, after, strict=True)), alone)


def _tested_pairs(found: Difference, *, one_network: bool) -> Row:
    return _tested(found.sides, *_numbers(found), one_network=one_network)


def _numbers(found: Difference) -> tuple[list[float], list[float]]:
    """Returns the numbers of the pairs of jobs in which both have one."""
    before, after = zip(*found.pairs, strict=True)
    return paired_means(enumerate(before), enumerate(after))


def _test_of_jobs(
    found: Difference, pairs: Sequence[tuple[SavedRun, SavedRun]], *, one_network: bool
) -> PairedTest | None:
    """Returns the test of a number of the summary: over the seeds of the jobs, or of one pair by its test examples."""
    if len(pairs) == 1 and not found.is_within(0.0):
        return tests_of(Pair(found.sides, *pairs[0]), [found.metric]).get(found.metric)
    if one_network:
        return None
    return student(*_numbers(found))


def _values(job: SavedRun) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, shown(value)) for key, value in job.swept.items()))
