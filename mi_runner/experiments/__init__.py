"""Experiments: each takes a `Setting` and returns a `Result`, and sees neither command line, run folder nor console.

Each file of this folder has three functions:

- `check(setting)` finds mistakes in the choice of options before anything is trained; raises `ConfigError`.
- `metric_names(setting)` names the summary metrics that `run` will give, so that `expect` can be checked as early.
- `run(setting)` returns the `Result`.

A file may have `cost(setting)`, for the plan of a sweep: what `run` will do how often, such as `{"circuits": 94591}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from mi_runner import model_store, training
from mi_runner.config import ExperimentConfig, TrainingConfig
from mi_runner.datasets import Dataset
from mi_runner.graph import ModelGraph
from mi_runner.models import Built
from mi_runner.progress import Progress, log

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """All that an experiment works on.

    Attributes:
        config: the experiment's own options.
        training: how the model was trained; its loss is the one that tables report.
        model: on the same device as the data; in `run` trained and in evaluation mode, in `check` not yet trained.
        dataset: in the form that the model takes.
        seed: every random draw derives from it.
        history: a row per epoch of the model's training; empty for weights from a checkpoint.
        leaves: submodules that the model's graph takes as one site each.
        from_checkpoint: whether the model has the weights of a file that the user named.
        untrained: builds the model anew with the initial weights that it had, on the data's device.
        members: with `seeds=32` a setting for each seed, this one's first; else empty.
        progress: long work reports to it.
    """

    config: ExperimentConfig
    training: TrainingConfig
    model: nn.Module
    dataset: Dataset
    seed: int = 0
    history: Sequence[Row] = ()
    leaves: tuple[str, ...] = ()
    from_checkpoint: bool = False
    untrained: Callable[[], Built] | None = None
    members: tuple[Setting, ...] = ()
    progress: Progress = field(default_factory=Progress)

    def graph(self) -> ModelGraph:
        """The model's graph.

        Raises:
            ConfigError: the model can't be traced; the text says where, and what to do.
        """
        return ModelGraph.trace(self.model, self.dataset.x_test[:2], leaves=self.leaves)

    def trained(self, config: TrainingConfig) -> tuple[nn.Module, Sequence[Row]]:
        """A second network with the same initial weights, trained otherwise or found in the store, and its history."""
        assert self.untrained is not None, "this setting was made without a way to build the network anew"
        built = self.untrained()

        def train() -> list[dict[str, Any]]:
            return training.train(built.model, built.dataset, config, seed=self.seed, progress=self.progress)

        stored = model_store.obtain(built, config, train, seed=self.seed)
        if not stored.trained_now:
            log.info(f"trained model found: {stored.path}")
        return built.model, stored.history


@dataclass(frozen=True)
class Result:
    """What an experiment found.

    Attributes:
        tables: name → rows; "metrics" is the headline table, printed and written as metrics.csv.
        metrics: the summary: name → number, for run.json and `expect`.
        figures: name → a matplotlib figure.
        shown: the tables that are printed.
        parquet: tables, given as pandas DataFrames, that are written as Parquet whatever their size.
        timings: stage → seconds, for run.json.
        model: the network that the experiment is about, where its weights belong in the run folder.
        members: the networks, by name, where it is about many.
    """

    tables: Mapping[str, Sequence[Row] | DataFrame]
    metrics: Mapping[str, float]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    shown: Sequence[str] = ("metrics",)
    parquet: frozenset[str] = frozenset()
    timings: Mapping[str, float] = field(default_factory=dict)
    model: nn.Module | None = None
    members: Mapping[str, nn.Module] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert "metrics" in self.tables, "every experiment has a headline table"
