"""What a sweep leaves: its tables and figures, the headline on the screen, the exit status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mi_runner.config.composition import figures_of
from mi_runner.config.engine_schemas import Direction
from mi_runner.errors import ConfigError, ExitStatus, one_line
from mi_runner.machine import threads
from mi_runner.machine.drawing import FigureFiles
from mi_runner.runs import captions, run_folder, states
from mi_runner.runs.plan import Plan, named
from mi_runner.runs.report.run_report import figure_files
from mi_runner.runs.run_folder import RunFolder
from mi_runner.runs.states import State
from mi_runner.sweeps import (
    drawn_metrics,
    network_groups,
    sweep_answer,
    sweep_expectations,
    sweep_report,
    sweep_tables,
    wholes,
)
from mi_runner.sweeps.collected import Collected, collect
from mi_runner.sweeps.declared import HEADLINE, SWEEP, SWEEP_SUMMARY, declarations_of_sweep
from mi_runner.sweeps.sweep_plan import read_plan
from mi_runner.sweeps.sweep_tables import Ended
from mi_runner.tables import console
from mi_runner.tables.declaration import COUNT, Row
from mi_runner.tables.whole_numbers import in_short

if TYPE_CHECKING:
    from mi_runner.experiments import Drawing


def finish(plan: Plan, folder: Path, known: Mapping[int, State] | None = None) -> int:
    """Writes the tables and figures of a sweep from its jobs' folders, prints the headline, returns the exit status.

    Args:
        known: states of jobs that their folders can't tell.
    """
    try:
        jobs = sweep_tables.ended(plan, folder, known)
        made = wholes.make(plan, folder, jobs)
        found = collect(plan, folder, jobs)
        _write(found, made.answers)
        sweep_expectations.write(folder, jobs)
    except OSError as error:
        return not_written(folder, error, "mi-run")
    write_page(plan, folder, partial(sweep_report.write_sweep_report, found))
    point_links(folder)
    _print_headline(found)
    _say_what_differs(found)
    status = end(folder, found.jobs)
    return ExitStatus.FAILED if made.failed and status == ExitStatus.DONE else status


def not_written(folder: Path, error: OSError, command: str) -> int:
    """Says that the tables can't be written, and what command makes them again; returns the exit status."""
    console.error(f"can't write the tables into {folder} ({error}): make room, and type {command} sweep={folder}")
    console.last_line(str(folder))
    return ExitStatus.FAILED


def point_links(folder: Path) -> None:
    """Lets `latest` beside a sweep point to the newest sweep that is done, and `passed` to the newest as expected."""
    try:
        run_folder.point_link(folder.parent, run_folder.LATEST, is_done)
        run_folder.point_link(folder.parent, run_folder.PASSED, has_passed)
    except OSError as error:
        console.error(f"can't point {folder.parent / run_folder.LATEST} to the newest sweep that is done ({error})")


def end(folder: Path, jobs: Sequence[Ended]) -> int:
    """Prints which jobs are not as they should be, and last the folder's path; returns the exit status."""
    failures = sweep_tables.failures(jobs)
    if failures:
        title = f"{len(failures)} of {len(jobs)} jobs are not as they should be"
        console.table(title, failures, to_stderr=True)
    console.last_line(str(folder))
    if any(not one.state.done for one in jobs):
        return ExitStatus.FAILED
    return ExitStatus.EXPECTATION_NOT_MET if failures else ExitStatus.DONE


def is_done(folder: Path) -> bool:
    """Returns whether a folder has a sweep whose jobs are all done, as expected or not, and whose search has ended."""
    try:
        plan = read_plan(folder)
    except ConfigError:
        return False
    if plan.searching or not plan.jobs:
        return False
    return all(states.job_state(folder, job.number).done for job in plan.jobs)


def has_passed(folder: Path) -> bool:
    """Returns whether a folder has such a sweep whose jobs expected something and met it."""
    if not is_done(folder):
        return False
    records = [states.job_state(folder, job.number).record for job in read_plan(folder).jobs]
    return all(record.expect_not_met == () for record in records)


def _write(found: Collected, answers: Sequence[str]) -> None:
    """Writes the tables of a sweep, those of a comparison of its networks, and then the figures.

    Args:
        answers: what is said besides that of the comparison.

    Raises:
        OSError: the disk is full, or the folder can't be written.
    """
    place, wanted = RunFolder(found.folder), figures_of(found.plan.overrides)
    place.write_table(SWEEP.name, found.rows)
    if not found.summed:
        sweep_answer.write(found.folder, "\n".join(answers))
        with suppress(FileNotFoundError):
            (found.folder / f"{SWEEP_SUMMARY.name}.csv").unlink()
        return
    place.write_table(SWEEP_SUMMARY.name, sweep_tables.summary_rows(found.summed))
    threads.let_waiting_threads_sleep()
    from mi_runner.sweeps import sweep_comparison, sweep_effects  # the first imports torch

    numbers = {job.job.number for whole in wholes.find(found.plan, found.jobs) for _, job in whole.jobs}
    compared = sweep_comparison.compare([job for job in found.jobs if job.job.number not in numbers])
    for name, table in compared.tables.items():
        place.write_table(f"sweep_{name}", table)
    effects = sweep_effects.sentences(found.counted, found.plan)
    sweep_answer.write(found.folder, "\n".join([*answers, *effects, *compared.answers]))
    for name, drawing in _drawn(found).items():
        place.write_figure(name, drawing, wanted)
    for name, drawing in compared.figures.items():
        try:
            place.write_figure(f"sweep_{name}", drawing, wanted)
        except OSError:
            raise
        except Exception as error:  # the tables are there, and stay
            console.error(f"the figure sweep_{name} can't be drawn: {one_line(error)}")
    _write_captions(found, {f"sweep_{name}": rows for name, rows in compared.tables.items()}, wanted)


def _write_captions(found: Collected, compared: Mapping[str, Sequence[Row]], wanted: FigureFiles) -> None:
    """Writes the captions of all figures in a sweep's folder.

    Args:
        compared: the rows of comparisons of networks, by the tables' names.
    """
    plan, names = found.plan, [path.stem for path in figure_files(found.folder)]
    if not names:
        return
    experiments = dict.fromkeys(str(job.state.record.experiment or plan.base.get("experiment")) for job in found.jobs)
    values = {
        key: list(dict.fromkeys(job.job.swept[key] for job in found.jobs if key in job.job.swept)) for key in plan.swept
    }
    summed = sweep_tables.summary_rows(found.summed)
    tables = {SWEEP.name: summed, SWEEP_SUMMARY.name: summed, **compared}
    declared = declarations_of_sweep(experiments, plan.swept)
    said = captions.of_figures(names, declared, tables, captions.of_sweep(plan.base, values))
    RunFolder(found.folder).write_captions(captions.page(said, wanted.formats))


def _drawn(found: Collected) -> dict[str, Drawing]:
    """Returns the figures of the summary: of the metrics by swept values, and of the rows of the jobs' tables."""
    from mi_runner.sweeps import sweep_figures

    objective = found.plan.objective
    by_values = [item for item in sweep_tables.metrics_by_values(found.counted, objective, whole=True) if item[1]]
    panels = drawn_metrics.panels(by_values, sweep_tables.compared(found.counted), objective)
    drawn: dict[str, Drawing] = {"sweep": partial(sweep_figures.by_value, by_values, panels)} if panels else {}
    combination = list(dict.fromkeys(key for one in found.counted for key in one.combination))
    short = sweep_tables.short_checkpoints(found.counted)
    measured = [
        replace(one, name=sweep_tables.in_short(one.name, short))
        for one in found.summed
        if one.measure == sweep_tables.HEADLINE
    ]
    common = {key: column for one in found.counted for key, column in one.common_names.items()}
    by_row = sweep_figures.by_row(measured, [*combination, "code"], common) if measured else None
    return drawn | ({} if by_row is None else {"sweep_rows": by_row})


def write_page(plan: Plan, folder: Path, write: Callable[[], Path]) -> None:
    """Writes a page, unless the command says `report=false`; a sweep without a page has its tables anyway."""
    if sweep_report.wants_report(plan):
        try:
            write()
        except Exception as error:
            console.error(f"can't write the report ({one_line(error)}); mi-run report {folder} tries it again")


def _print_headline(found: Collected) -> None:
    """Prints the headline, and the best job of a search."""
    title, shown = sweep_tables.headline(found.counted, found.summed, found.plan.objective)
    if shown:
        console.table(title, shown, counts=_counts(found, shown[0]))
    if text := sweep_answer.read(found.folder):
        console.note(text)
    if (best := best_job(found.plan, found.jobs)) is not None:
        console.page(best)


def _counts(found: Collected, columns: Iterable[str]) -> list[str]:
    """Returns which columns of the headline are counts."""
    experiments = dict.fromkeys(str(job.state.record.experiment) for job in found.jobs if job.state.record.experiment)
    declared = declarations_of_sweep(experiments, found.plan.swept)
    return [name for name in columns if (column := declared.column(HEADLINE.name, name)) and column.unit == COUNT]


def _say_what_differs(found: Collected) -> None:
    """Says which networks are one, which jobs other code ran, and which jobs the summary leaves out."""
    for line in [*sweep_tables.one_network(found.counted), *network_groups.same_weights(found.counted)]:
        console.note(line)
    codes: dict[str, list[int]] = {}
    for one in found.jobs:
        if one.code:
            codes.setdefault(one.code, []).append(one.job.number)
    if len(codes) > 1:
        for code, numbers in codes.items():
            console.error(f"code {code} ran jobs {in_short(numbers)}: not all rows are by the same code")
    unnamed = [one.job.number for one in found.jobs if one.state.done and one.keys is None]
    if unnamed:
        console.error(
            f"jobs {in_short(unnamed)}: run.json doesn't say which columns name the rows, because an earlier version "
            "of mi-run wrote it. sweep.csv has them, sweep_summary.csv doesn't; type "
            f"mi-run -m resume={found.folder} to run them again."
        )


def best_job(plan: Plan, jobs: Sequence[Ended]) -> str | None:
    """Returns the job with the best objective of a search in words; None without a search or an objective."""
    able = [one for one in jobs if plan.objective in one.metrics]
    if able and plan.search is not None and plan.objective is not None:
        objective, better = plan.objective, max if plan.search.direction is Direction.maximize else min
        best = better(able, key=lambda one: one.metrics[objective])
        value, n = best.metrics[objective], len(able)
        equal = [one.job.number for one in able if one is not best and one.metrics[objective] == value]
        text = f"best: job {best.job.number}, {named(best.job.swept)}: {objective} {value:.6g}"
        if n == 1:
            return text
        which = "highest" if better is max else "lowest"
        also = f"; job{'s' if len(equal) > 1 else ''} {in_short(equal)} {'have' if len(equal) > 1 else 'has'} the same"
        return f"{text}, the {which} of {n} jobs, chosen by its number without a test{also if equal else ''}"
    return None
