"""What differs between two runs or more: the numbers of their summaries, their answers, the rows of their tables?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mi_runner.config.registry import EXPERIMENTS, code_of
from mi_runner.errors import ArgumentError, ConfigError, one_line
from mi_runner.experiments.common.sentences import between, counted, figure
from mi_runner.runs.compared import (
    ON_ANOTHER_MACHINE,
    ONE_NETWORK,
    STUDENT,
    Comparison,
    Row,
    Section,
    row_of_test,
    with_difference,
)
from mi_runner.runs.judged import Difference, Judged, PairedTest, Rule, Tolerance, judged
from mi_runner.runs.metric_tests import described_by, over_seeds, tests_of
from mi_runner.runs.paired_answers import PREDICTIONS, NotPaired, SameExamples
from mi_runner.runs.pairs import HEADLINE, Matched, Pair, weights_of
from mi_runner.runs.saved_files import RunFiles
from mi_runner.runs.saved_runs import SEED, SavedRun
from mi_runner.tables.names import NONE
from mi_runner.tables.paired import PairedAnswers, holm
from mi_runner.tables.pairwise import LEVEL

OF_TRAINING = frozenset({"history", "ordinary_training"})
"""Tables that a run has only if it trained the network itself, and did not find it in the model store."""


def compare_runs(found: Comparison, runs: Mapping[str, SavedRun], rule: Rule, machines: Mapping[str, str]) -> None:
    """Notes what differs between the first run and each of the others.

    Args:
        found: gets sections and verdicts.
        machines: the letters of the runs that are of another machine than the first.

    Raises:
        ConfigError: a run isn't done.
    """
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
        excused = pair.names[1] in machines or (rule.level is not None and _are_two_tested(pair, tested))
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
    for one in differences:
        of = described_by(one.metric)
        own = f"it describes {of}, which has one" if of in tests else excuse
        found.judged.append(judged(one, rule, tests.get(one.metric), excuse=own))
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
            row |= with_difference(base, name, first.metrics.get(metric), run.metrics.get(metric))
            if tested:
                row["p" if len(others) == 1 else f"p of {name}"] = tested[metric].p if metric in tested else None
        rows.append({**row, "counts": differing[metric]})
    return rows


def _are_two_tested(pair: Pair, tests: Mapping[str, PairedTest]) -> bool:
    """Returns whether two runs are known to have different networks, of which a test decides whether they differ.

    They answer differently, or have other weights.

    Args:
        tests: of the numbers of the summary that differ.
    """
    paired = pair.answers
    if not tests and isinstance(paired, NotPaired):
        return False
    if isinstance(paired, SameExamples) and bool((paired.joined["answer_a"] != paired.joined["answer_b"]).any()):
        return True
    weights = [weights_of(one) for one in (pair.run, pair.other)]
    return all(weights) and weights[0] != weights[1]


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
            values = with_difference(base, name, float(before[place]), float(after[place]))
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
        **with_difference(base, name, before, after),
        "low": low,
        "high": high,
        f"only {base}": counts.first,
        f"only {name}": counts.second,
        "p": counts.p,
    }


def _rows_over_seeds(matched: Matched, pair: Pair) -> Section:
    """Returns the paired test over the networks of two runs with `seeds=...`, for each name of a row without repeats.

    Where seeds of one of the runs have one network there is no test.
    """
    base, name = pair.names
    one_network = pair.has_one_network
    rows = [
        {**one.names, "measure": one.measure, **row_of_test(pair.names, one.before, one.after, one_network=one_network)}
        for one in over_seeds(matched)
    ]
    return Section(f"over seeds: {name} and {base}", rows, ONE_NETWORK if one_network else STUDENT)
