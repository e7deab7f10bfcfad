"""Experiments: each takes a `Setting` and returns a `Result`, and sees neither command line, run folder nor console.

Each experiment is a file of this folder with the functions of `Experiment`. A `Result` says which columns name the rows
of its tables and which numbers are measures, so that the tables of many runs can be put together without a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from torch import nn

from mi_runner.config.experiment_schemas import ExperimentConfig
from mi_runner.datasets import Dataset
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.progress import Progress
from mi_runner.statistics import ALL, NONE, Range
from mi_runner.training.options import TrainingOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from pandas import DataFrame

Row = Mapping[str, Any]

C = TypeVar("C", bound=ExperimentConfig)
"""The schema of an experiment's options."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network.

    Attributes:
        model: in evaluation mode.
        history: a row per epoch of its training.
    """

    model: nn.Module
    history: Sequence[Row] = ()


@dataclass(frozen=True)
class Setting(Generic[C]):
    """All that an experiment works on.

    Attributes:
        config: the experiment's own options.
        training: how the model was trained; its loss is the one that tables report.
        model: on the same device as the data; in `run` trained and in evaluation mode, in `check` not yet trained.
        dataset: in the form that the model takes.
        seed: every random draw derives from it.
        history: a row per epoch of the model's training; empty for weights from a checkpoint.
        leaves: submodules that the model's graph takes as one site each.
        networks: those that the experiment asked for by its `networks`; empty in `check`.
        members: with `seeds=32` a setting for each seed, this one's first; otherwise empty.
        progress: long work reports to it.
    """

    config: C
    training: TrainingOptions
    model: nn.Module
    dataset: Dataset
    seed: int = 0
    history: Sequence[Row] = ()
    leaves: tuple[str, ...] = ()
    networks: Mapping[str, TrainedNetwork] = field(default_factory=dict)
    members: tuple[Setting[C], ...] = ()
    progress: Progress = field(default_factory=Progress)

    def graph(self, model: nn.Module | None = None) -> ModelGraph:
        """The graph of the model, or of another network of its architecture.

        Raises:
            ConfigError: it can't be traced; the text says where, and what to do.
        """
        return ModelGraph.trace(self.model if model is None else model, self.dataset.x_test[:2], leaves=self.leaves)


class Experiment(Protocol[C]):
    """What a file of an experiment has: these functions, for the options of its schema."""

    def check(self, setting: Setting[C]) -> None:
        """Finds mistakes in the choice of options before anything is trained.

        Raises:
            ConfigError: there is one; the text says what to type.
        """

    def metric_names(self, setting: Setting[C]) -> list[str]:
        """The summary metrics that `run` will give, so that `expect` can be checked before anything is trained."""

    def networks(self, setting: Setting[C]) -> Mapping[str, TrainingOptions]:
        """The networks that `run` needs besides the model: name → how it is trained, from the same initial weights.

        They are in `setting.networks` when `run` is called. With `epochs=0` it is the untrained network.
        """

    def cost(self, setting: Setting[C]) -> Mapping[str, int]:
        """For the plan of a sweep: what `run` will do how often, such as `{"circuits": 94591}`; may be empty."""

    def run(self, setting: Setting[C]) -> Result:
        """The tables, figures and numbers.

        Raises:
            RunFailed: it can't be finished.
        """


@dataclass(frozen=True)
class Result:
    """What an experiment found.

    Attributes:
        tables: name → rows; "metrics" is the headline table, printed and written as metrics.csv.
        keys: table → the columns that name its rows, of every table with rows. No two rows agree in all of them (and in
            the repeats), and none is ever empty: `all` or `none` says what an empty one would leave open. In "metrics"
            the column `seed` stands for the network, over which summaries are made, as for the swept key `seed`.
        metrics: the summary: name → number, for run.json and `expect`.
        measures: what may differ from seed to seed: a column of tables, or a name in the summary up to its first `/` →
            the values that it can have. Counts of examples and ends of intervals are none, so no summary averages them.
        repeats: columns that count repetitions of one measurement; a summary over seeds averages these first.
        figures: name → a matplotlib figure.
        shown: the tables that are printed.
        parquet: tables, given as pandas DataFrames, that are written as Parquet whatever their size.
        timings: stage → seconds, for run.json.
        model: the network that the experiment is about, where its weights belong in the run folder.
        members: the networks, by name, where it is about many.
        weights: other networks that belong in the run folder: name → network, for NAME.safetensors.
        arrays: name → arrays by name, for NAME.npz.

    Raises:
        ValueError: a table's rows are not named by its keys; the text says which.
    """

    tables: Mapping[str, Sequence[Row] | DataFrame]
    keys: Mapping[str, Sequence[str]]
    metrics: Mapping[str, float]
    measures: Mapping[str, Range]
    repeats: Sequence[str] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    shown: Sequence[str] = ("metrics",)
    parquet: frozenset[str] = frozenset()
    timings: Mapping[str, float] = field(default_factory=dict)
    model: nn.Module | None = None
    members: Mapping[str, nn.Module] = field(default_factory=dict)
    weights: Mapping[str, nn.Module] = field(default_factory=dict)
    arrays: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert "metrics" in self.tables, "every experiment has a headline table"
        for name, rows in self.tables.items():
            if len(rows):
                _check_keys(name, rows, self.keys.get(name, ()), self.repeats)

    def with_table(self, name: str, rows: Sequence[Row], keys: Sequence[str]) -> Result:
        """The result with one table more."""
        return replace(self, tables={**self.tables, name: rows}, keys={**self.keys, name: keys})


def _check_keys(table: str, rows: Sequence[Row] | DataFrame, keys: Sequence[str], repeats: Sequence[str]) -> None:
    import pandas as pd

    if not keys:
        raise ValueError(f"table {table}: no keys are given, the columns that name its rows.")
    if isinstance(rows, pd.DataFrame):
        frame = rows
    else:
        wanted = (*keys, *repeats)
        frame = pd.DataFrame([{column: row[column] for column in wanted if column in row} for row in rows])
    for key in keys:
        if key not in frame:
            raise ValueError(f"table {table} has no column '{key}', which is one of its keys.")
        empty = frame[key].isna() | frame[key].isin([""])
        if empty.any():
            row = int(empty.argmax())
            raise ValueError(f"table {table}: the key '{key}' is empty in row {row}. Write {NONE} or {ALL}.")
    names = [*keys, *(column for column in repeats if column in frame)]
    twice = frame.duplicated(names)
    if twice.any():
        row = int(twice.argmax())
        values = ", ".join(f"{name}={frame[name].iloc[row]}" for name in names)
        raise ValueError(f"table {table}: row {row} is the second with {values}. Its keys must tell all rows apart.")
