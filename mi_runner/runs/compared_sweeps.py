"""What differs between two sweeps or more, job by job? Those with the same swept values are pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mi_runner.errors import ConfigError
from mi_runner.runs.compared import (
    ON_ANOTHER_MACHINE,
    ONE_NETWORK,
    STUDENT,
    Comparison,
    Row,
    Section,
    row_of_test,
)
from mi_runner.runs.judged import Difference, Judged, PairedTest, Rule, judged
from mi_runner.runs.metric_tests import student, tests_of
from mi_runner.runs.pairs import Pair, have_one_network, times_of
from mi_runner.runs.saved_runs import SEED, SavedRun, SavedSweep, shown
from mi_runner.tables.paired import paired_means


def compare_sweeps(
    found: Comparison, sweeps: Mapping[str, SavedSweep], rule: Rule, machines: Mapping[str, str]
) -> None:
    """Notes what differs between the jobs of the first sweep and those of each of the others.

    Args:
        found: gets sections and verdicts.
        machines: the letters of the sweeps that are of another machine than the first.

    Raises:
        ConfigError: jobs can't be paired; the text says why.
    """
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
        note = "the same numbers in all pairs of jobs" if not rows else STUDENT
        if rows and any(same):
            note += f"; {ONE_NETWORK}"
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
    return row_of_test(found.sides, *_numbers(found), one_network=one_network)


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
