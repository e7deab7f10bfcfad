"""A comparison of the networks of a sweep that differ in the seed, or in the checkpoint, where there is one.

Networks of several checkpoints are also compared by their answers, two by two on the same test examples.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from mi_runner.config.registry import EXPERIMENTS, code_of
from mi_runner.config.run_schema import CHECKPOINT
from mi_runner.errors import ArgumentError, ConfigError, one_line
from mi_runner.runs.paired_answers import NotPaired, SameExamples, paired_answers, same_examples
from mi_runner.runs.saved_files import RunFiles
from mi_runner.runs.saved_runs import SavedRun
from mi_runner.sweeps.declared import PAIRS
from mi_runner.sweeps.network_groups import NetworkGroup, groups
from mi_runner.sweeps.sweep_tables import Ended, Row
from mi_runner.tables import console
from mi_runner.tables.declaration import Table
from mi_runner.tables.pairwise import compare_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mi_runner.experiments import Comparison, Drawing

MOST_PAIRS = 45
"""Pairs of networks whose answers are compared; of more networks, each with the first."""


@dataclass
class Compared:
    """What a sweep's networks have in common.

    Attributes:
        tables: the name without `sweep_` → its rows, after the swept values but those that name the network.
        figures: the name without `sweep_` → a drawing.
        answers: sentences.
    """

    tables: dict[str, list[Row]] = field(default_factory=dict)
    figures: dict[str, Drawing] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)


def compare(jobs: Sequence[Ended]) -> Compared:
    """Returns the rows of each comparison's tables, the figures and the sentences.

    A group that can't be compared is named in a line on the screen, with the reason.
    """
    found = Compared()
    able = {schema.name: schema for schema in EXPERIMENTS if schema.compares_networks}
    all_groups = groups(jobs)
    compared = [group for group in all_groups if group.jobs[0].state.record.experiment in able]
    several_codes = len({group.jobs[0].code for group in all_groups}) > 1

    def combination(group: NetworkGroup) -> dict[str, Any]:
        return {**group.swept, **({"code": group.jobs[0].code} if several_codes else {})}

    for index, group in enumerate(compared):
        comparison = _compared(group)
        if comparison is None:
            continue
        values = combination(group)
        for table in comparison.filled:
            found.tables.setdefault(table.name, []).extend({**values, **row} for row in _rows(table))
        title = " ".join(f"{key}={value}" for key, value in values.items())
        for name, drawing in comparison.figures.items():
            found.figures[name if len(compared) == 1 else f"{name}_{index}"] = partial(_titled, drawing, title)
        if comparison.answer:
            found.answers.append(f"{title}: {comparison.answer}" if title else comparison.answer)
    for group in all_groups:
        if group.over == CHECKPOINT:
            rows = [{**combination(group), **row} for row in _paired(group)]
            found.tables.setdefault(PAIRS.name, []).extend(rows)
    found.tables = {name: rows for name, rows in found.tables.items() if rows}
    return found


def _compared(group: NetworkGroup) -> Comparison | None:
    """Returns the comparison of a group's networks by their experiment; None if there is none, and a line says why."""
    (schema,) = (one for one in EXPERIMENTS if one.name == group.jobs[0].state.record.experiment)
    compare_networks = code_of(schema).EXPERIMENT.compare_networks
    numbers = f"jobs {group.jobs[0].job.number} to {group.jobs[-1].job.number}"
    try:
        files = [_files_of(job, label) for job, label in zip(group.jobs, group.labels, strict=True)]
        comparison: Comparison = compare_networks(files, over=group.over, are_sample=group.are_sample)
    except Exception as error:  # the tables of the jobs are there, and stay
        say = console.note if isinstance(error, ConfigError | ArgumentError) else console.error
        say(f"the networks of {numbers} are not compared: {one_line(error)}")
        return None
    for note in comparison.notes:
        console.note(f"the networks of {numbers} are compared in part: {note}")
    return comparison


def _rows(table: Table) -> Sequence[Row]:
    assert isinstance(table.rows, list | tuple), "a comparison has few rows"
    return [dict(row) for row in table.rows]


def _files_of(job: Ended, label: str) -> RunFiles:
    """Returns the files of a job.

    Raises:
        ConfigError: its run.json doesn't say the seed.
    """
    seed = job.state.record.seed
    if seed is None:
        raise ConfigError(f"{job.folder}: run.json doesn't say the seed")
    return RunFiles(job.folder, f"job {job.job.number}", label, seed)


def _titled(drawing: Drawing, title: str) -> Figure:
    figure = drawing()
    if title:
        figure.suptitle(title, fontsize=9)
    return figure


# --- answers, two by two ---------------------------------------------------------------------------------------------


def _paired(group: NetworkGroup) -> Iterator[Row]:
    """Yields a row for each pair of networks and each condition under which they answer the same test examples."""
    runs = [SavedRun(job.folder, job.state, job.job.swept) for job in group.jobs]
    places = list(itertools.combinations(range(len(runs)), 2))
    if len(places) > MOST_PAIRS:
        places = [(0, other) for other in range(1, len(runs))]
    pairs: dict[tuple[int, int], SameExamples] = {}
    for first, second in places:
        try:
            pairs[first, second] = same_examples(runs[first], runs[second])
        except NotPaired as reason:
            console.note(
                f"the answers of {group.labels[first]} and {group.labels[second]} are not compared: {one_line(reason)}"
            )
    corrected = _corrected(pairs, len(runs)) if len(pairs) == len(places) == len(runs) * (len(runs) - 1) // 2 else {}
    for (first, second), found in pairs.items():
        for names, joined in found.groups():
            counts = paired_answers(joined)
            before, after = counts.accuracies
            low, high = counts.interval
            yield {
                "network": group.labels[first],
                "other": group.labels[second],
                **names,
                "n": counts.n,
                "accuracy": before,
                "other_accuracy": after,
                "difference": after - before,
                "difference_low": low,
                "difference_high": high,
                "only_network": counts.first,
                "only_other": counts.second,
                "p": counts.p,
                "p_of_all_pairs": corrected.get((first, second, tuple(names.values()))),
            }


def _corrected(
    pairs: Mapping[tuple[int, int], SameExamples], n_networks: int
) -> dict[tuple[int, int, tuple[Any, ...]], float]:
    """Returns the p-value of each pair and condition, corrected for all pairs; of two networks none is needed.

    Args:
        pairs: of all networks, each two.
    """
    if n_networks < 3:
        return {}
    correct: dict[tuple[Any, ...], dict[int, Sequence[float]]] = {}
    for (first, second), found in pairs.items():
        for names, joined in found.groups():
            of_networks = correct.setdefault(tuple(names.values()), {})
            ordered = joined.sort_values("example")
            for network, side in ((first, "a"), (second, "b")):
                answers = (ordered[f"answer_{side}"] == ordered[f"label_{side}"]).to_numpy(float)
                of_networks.setdefault(network, answers)
    return {
        (first, second, names): tested.p[first][second]
        for names, of_networks in correct.items()
        if len(of_networks) == n_networks and len({len(answers) for answers in of_networks.values()}) == 1
        for tested in [compare_all([of_networks[network] for network in range(n_networks)])]
        for first, second in pairs
    }
