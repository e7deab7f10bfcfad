"""Two runs that are compared: their answers on the same test examples, and the rows of their tables, matched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mi_runner.experiments.declared import declarations_of
from mi_runner.machine.reading import Unreadable
from mi_runner.runs.paired_answers import PREDICTIONS, NotPaired, SameExamples, same_examples
from mi_runner.runs.record import CheckpointRecord
from mi_runner.runs.run_folder import table_file
from mi_runner.runs.saved_runs import SavedRun
from mi_runner.runs.saved_tables import read_frame
from mi_runner.tables.over_seeds import have_twins

if TYPE_CHECKING:
    from pandas import DataFrame

HEADLINE = "metrics"

SECONDS = "seconds"
"""The name of a time, also in runs of experiments that are not known here."""


@dataclass(frozen=True)
class Matched:
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


@dataclass(frozen=True)
class Pair:
    """Two runs.

    Attributes:
        names: their letters.
        run, other: the first, and the one that is compared with it.
    """

    names: tuple[str, str]
    run: SavedRun
    other: SavedRun

    @cached_property
    def answers(self) -> SameExamples | NotPaired:
        """The answers of both on the same examples, or why there are none."""
        for letter, one in zip(self.names, (self.run, self.other), strict=True):
            if PREDICTIONS not in one.record.keys:
                return NotPaired(f"{letter} has no {PREDICTIONS}.parquet, so there is no test of the difference")
        try:
            return same_examples(self.run, self.other)
        except NotPaired as reason:
            return reason

    @cached_property
    def times(self) -> frozenset[str]:
        """The measures that differ from run to run because they are times."""
        return times_of([self.run, self.other])

    @property
    def has_one_network(self) -> bool:
        """Whether seeds of one of the runs have one network, so that there is no test over them."""
        return have_one_network([self.run]) or have_one_network([self.other])

    def rows(self, table: str) -> Matched:
        """Returns the rows of a table that both runs have, with the same keys.

        Raises:
            OSError, ValueError: it can't be read.
        """
        runs = (self.run, self.other)
        keys = self.run.record.keys[table]
        repeats = list(dict.fromkeys(name for one in runs for name in one.record.repeats))
        frames = [read_frame(one.folder, table) for one in runs]
        for one, frame in zip(runs, frames, strict=True):
            if lacking := [key for key in keys if key not in frame]:
                file = table_file(one.folder, table)
                raise Unreadable(f"{file}: it lacks the column {lacking[0]}, which names its rows")
        repeats = [column for column in repeats if column not in keys and all(column in frame for frame in frames)]
        names = [*keys, *repeats]
        measured, measured_other = (
            [column for column in frame if column in set(one.record.measures) - self.times and column not in names]
            for frame, one in zip(frames, runs, strict=True)
        )
        both = [measure for measure in measured if measure in measured_other]
        alone = set(measured) - set(both), set(measured_other) - set(both)
        import pandas as pd

        for number, frame in enumerate(frames):
            numbers = {measure: pd.to_numeric(frame[measure], errors="coerce") for measure in both}
            frames[number] = pd.DataFrame({**{name: frame[name].astype(str) for name in names}, **numbers})
        merged = frames[0].merge(frames[1], on=names, how="outer", suffixes=("_a", "_b"), indicator=True, sort=False)
        return Matched(merged, names, repeats, both, alone)


def weights_of(run: SavedRun) -> list[str]:
    """Returns the sha256 of the weights of a run's network, or of each of its networks; none where it isn't known."""
    checkpoint = run.record.checkpoint or CheckpointRecord()
    return [sha256 for sha256 in (checkpoint.sha256, *(one.sha256 for one in checkpoint.members)) if sha256]


def times_of(runs: Iterable[SavedRun]) -> frozenset[str]:
    """Returns the measures of these runs that differ from run to run because they are times."""
    experiments = {run.record.experiment for run in runs}
    return frozenset({SECONDS}).union(*(declarations_of(name).times for name in experiments if name is not None))


def have_one_network(runs: Iterable[SavedRun]) -> bool:
    """Returns whether two networks of these runs start from the same weights and data."""
    return have_twins(start for run in runs for start in run.record.starts.values())
