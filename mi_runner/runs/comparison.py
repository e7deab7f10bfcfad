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

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from mi_runner.config.figure_options import FIGURE_KEYS
from mi_runner.config.run_schema import LABELS, SWEEP_KEYS
from mi_runner.errors import ConfigError, unknown
from mi_runner.runs.compared import Comparison, Section
from mi_runner.runs.compared_runs import compare_runs
from mi_runner.runs.compared_sweeps import compare_sweeps
from mi_runner.runs.judged import Rule, Tolerance
from mi_runner.runs.paired_answers import different_data
from mi_runner.runs.pairs import weights_of
from mi_runner.runs.record import GitRecord
from mi_runner.runs.saved_runs import Saved, SavedRun, SavedSweep, shown, summed

NOT_COMPARED = frozenset({"output_dir", "report", *FIGURE_KEYS, *LABELS, *SWEEP_KEYS})
"""Config keys in which runs may differ without a difference in anything."""

MOST_RUNS = len(ascii_uppercase)

HASH_DIGITS = 12

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
        compare_runs(found, {name: one for name, one in names.items() if isinstance(one, SavedRun)}, rule, machines)
    else:
        swept = {name: one for name, one in names.items() if isinstance(one, SavedSweep)}
        compare_sweeps(found, swept, rule, machines)
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
    git = record.git or GitRecord()
    commit = str(git.commit or "none")[:HASH_DIGITS]
    return {
        "code": record.versions.get("code"),
        "commit": f"{commit} with changes" if git.dirty else commit,
        **{name: version for name, version in record.versions.items() if name != "code"},
        "device": record.device,
        "processor": record.processor,
        "instruction_set": record.instruction_set,
        "weights": ",".join(sha256[:HASH_DIGITS] for sha256 in weights_of(saved)) or None,
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
