"""A comparison of the networks of a sweep that differ in the seed alone, where their experiment has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mi_runner.config.registry import EXPERIMENTS, code_of
from mi_runner.errors import ArgumentError, ConfigError, one_line
from mi_runner.runs.run_folder import table_file
from mi_runner.runs.saved_tables import read_frame
from mi_runner.sweeps.sweep_tables import REPEATED, Ended, Row, same_values
from mi_runner.tables import console
from mi_runner.tables.over_seeds import have_twins

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from torch import Tensor

    from mi_runner.experiments import Drawing


@dataclass(frozen=True)
class _JobFiles:
    """The files of a job, as `mi_runner.experiments.SavedRun` describes them."""

    job: Ended

    @property
    def name(self) -> str:
        return f"job {self.job.job.number}"

    @property
    def seed(self) -> int:
        seed = self.job.state.record.seed
        if seed is None:
            raise ConfigError(f"{self.job.folder}: run.json doesn't say the seed")
        return seed

    def table(self, name: str, columns: Sequence[str] | None = None) -> DataFrame | None:
        if not table_file(self.job.folder, name).exists():
            return None
        return read_frame(self.job.folder, name, columns, as_text=False)

    def tensors(self, name: str) -> Mapping[str, Tensor]:
        from mi_runner.training.weights import read_weights

        return read_weights(self.job.folder / f"{name}.safetensors")


def groups(jobs: Sequence[Ended]) -> list[list[Ended]]:
    """Returns the jobs to compare: done, equal in code and swept values but the seed, at least two of each.

    Only jobs whose experiment compares networks, and whose networks differ.
    """
    able = {schema.name for schema in EXPERIMENTS if schema.compares_networks}
    found: dict[tuple[str, ...], list[Ended]] = {}
    for job in jobs:
        if job.state.done and job.state.record.experiment in able:
            found.setdefault((job.code, *same_values(job.job.swept)), []).append(job)
    found = {values: group for values, group in found.items() if not have_twins(job.start for job in group)}
    return [sorted(group, key=lambda job: job.job.number) for group in found.values() if len(group) > 1]


@dataclass(frozen=True)
class Compared:
    """What comparisons of all combinations of swept values, but for the seed, found.

    Attributes:
        tables: name → rows, with the swept values first.
        figures: by name.
        answer: of each combination, with its swept values; empty if no comparison has one.
    """

    tables: dict[str, list[Row]]
    figures: dict[str, Drawing]
    answer: str


def compare(jobs: Sequence[Ended]) -> Compared:
    """Returns the comparisons of networks that differ in the seed alone.

    A group that can't be compared is named in a line on the screen, with the reason.
    """
    tables: dict[str, list[Row]] = {}
    figures: dict[str, Drawing] = {}
    answers = []
    compared = groups(jobs)
    several_codes = len({group[0].code for group in compared}) > 1
    for index, group in enumerate(compared):
        first = group[0]
        (schema,) = (one for one in EXPERIMENTS if one.name == first.state.record.experiment)
        compare_networks = code_of(schema).EXPERIMENT.compare_networks
        try:
            comparison = compare_networks([_JobFiles(job) for job in group])
        except Exception as error:  # the tables of the jobs are there, and stay
            say = console.note if isinstance(error, ConfigError | ArgumentError) else console.error
            numbers = f"jobs {first.job.number} to {group[-1].job.number}"
            say(f"the networks of {numbers} are not compared: {one_line(error)}")
            continue
        swept = {key: value for key, value in first.job.swept.items() if key != REPEATED}
        combination = swept | ({"code": first.code} if several_codes else {})
        for name, rows in comparison.tables.items():
            tables.setdefault(name, []).extend({**combination, **row} for row in rows)
        title = " ".join(f"{key}={value}" for key, value in combination.items())
        for name, drawing in comparison.figures.items():
            figures[name if len(compared) == 1 else f"{name}_{index}"] = partial(_titled, drawing, title)
        if comparison.answer:
            answers.append(f"{title}: {comparison.answer}" if title else comparison.answer)
    return Compared(tables, figures, "\n".join(answers))


def _titled(drawing: Drawing, title: str) -> Figure:
    figure = drawing()
    if title:
        figure.suptitle(title, fontsize=9)
    return figure
