"""Experiments: each takes a `Setting` and returns a `Result`, and knows no command line, run folder or console.

Each experiment is a folder of this one: `experiment.py` has the `EXPERIMENT`, `tables.py` the declarations of what its
runs leave. A result's rows are checked against these. Torch isn't imported here, nor by any `tables.py`: a page of a
saved run reads the declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.errors import ConfigError, as_options
from mi_runner.progress import Progress
from mi_runner.tables.declaration import ByName, Declarations, Row, Rows, Table
from mi_runner.tables.names import ALL, NONE
from mi_runner.tables.ranges import Range

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from pandas import DataFrame
    from torch import Tensor, nn

    from mi_runner.datasets import Dataset
    from mi_runner.graph.model_graph import ModelGraph
    from mi_runner.models.truth import Truth
    from mi_runner.training.options import TrainingOptions

Drawing: TypeAlias = "Callable[[], Figure]"
"""A function that draws a matplotlib figure: a picture takes time, and not everyone who wants numbers looks at it."""

C = TypeVar("C", bound=ExperimentConfig)
"""The schema of an experiment's options."""

Read = TypeVar("Read", bound=ExperimentConfig, covariant=True)
"""The same of a setting, which only reads them: what takes a schema takes one that extends it."""


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
class Setting(Generic[Read]):
    """What an experiment works on.

    Attributes:
        config: the experiment's own options.
        training: how the model was trained; tables report this loss.
        model: on the same device as the data; in `run` trained and in evaluation mode, in `check` not yet trained.
        dataset: in the form that the model takes.
        seed: every random draw derives from it.
        history: a row per epoch of the model's training; empty for weights from a checkpoint.
        leaves: submodules that the model's graph takes as one site each.
        source: identifies the user's own network, for the model store; otherwise empty.
        start: a hash of what the network starts from: its weights before training, or those of a checkpoint, and the
            data. Networks of two seeds with an equal start are one network.
        networks: the networks that the experiment's `networks` names; empty in `check`.
        members: with `seeds=32` a setting per seed, this one first; otherwise empty.
        progress: long work reports to it.
        truth: what is known about a network whose weights are planted; otherwise None.
    """

    config: Read
    training: TrainingOptions
    model: nn.Module
    dataset: Dataset
    seed: int = 0
    history: Sequence[Row] = ()
    leaves: tuple[str, ...] = ()
    source: str = ""
    start: str = ""
    networks: Mapping[str, TrainedNetwork] = field(default_factory=dict)
    members: tuple[Setting[Read], ...] = ()
    progress: Progress = field(default_factory=Progress)
    truth: Truth | None = None

    @property
    def starts(self) -> dict[int, str]:
        """Seed → what its member starts from; members whose start isn't known are left out."""
        return {member.seed: member.start for member in self.members if member.start}

    def graph(self, model: nn.Module | None = None) -> ModelGraph:
        """Returns the graph of the model, or of another network of its architecture.

        Raises:
            ConfigError: the network can't be traced; the text says where, and what to do.
        """
        return self._graph if model is None else self._traced(model)

    @cached_property
    def _graph(self) -> ModelGraph:
        return self._traced(self.model)

    def _traced(self, model: nn.Module) -> ModelGraph:
        from mi_runner.graph.model_graph import ModelGraph

        with as_options(model=["leaves"]):
            graph = ModelGraph.trace(model, self.dataset.x_test[:2], leaves=self.leaves)
        for word in (ALL, NONE):
            if graph.has(word):
                raise ConfigError(
                    f"the network has a submodule, parameter or input named '{word}', which in tables and options "
                    f"means {word} of the sites: rename it."
                )
        return graph


def no_networks(setting: Setting[Any]) -> Mapping[str, TrainingOptions]:
    """Returns no networks: the experiment needs only the model."""
    return {}


def no_cost(setting: Setting[Any]) -> Mapping[str, int]:
    """Returns no counts: the experiment takes little time, or nobody can say."""
    return {}


@dataclass(frozen=True)
class Experiment(Generic[C]):
    """An experiment: functions of a setting, for the options of its schema.

    Attributes:
        check: checks the options before anything is trained, and raises a ConfigError that says what to type if one is
            a mistake.
        metric_names: returns the names of `run`'s summary metrics, so that `expect` can be checked before anything is
            trained.
        run: returns the tables, figures and metrics; raises RunFailed if the experiment can't finish.
        networks: returns the networks that `run` needs besides the model: name → how it is trained. They start from the
            model's initial weights and are in `setting.networks` when `run` is called. `epochs=0` gives the untrained
            network.
        cost: returns counts of what `run` will do, for a sweep's plan: `{"circuits": 94591}`; may be empty.
        compare_networks: returns a comparison of the networks of at least two runs that differ in the key alone that
            is given, `seed` or `checkpoint`, and in nothing else but the model; raises a ConfigError if they can't be
            compared. `are_sample` says whether the networks are drawn from one setting, as those of several seeds are,
            so that an interval over networks means something. For experiments whose schema has `compares_networks`.
        merge_parts: returns the result of one whole run, from the runs of all its parts, each of which is there once;
            raises a ConfigError if they are no parts of one whole. For experiments whose schema has `part_of`.
        compare_two: returns what the networks of two runs have in common, for `mi-run diff`; raises a ConfigError if
            that can't be said. Their options may differ.
        declared: the tables, summary numbers and figures that its runs may leave.
    """

    check: Callable[[Setting[C]], None]
    metric_names: Callable[[Setting[C]], list[str]]
    run: Callable[[Setting[C]], Result]
    networks: Callable[[Setting[C]], Mapping[str, TrainingOptions]] = no_networks
    cost: Callable[[Setting[C]], Mapping[str, int]] = no_cost
    compare_networks: CompareNetworks | None = None
    compare_two: Callable[[SavedRun, SavedRun], TwoRuns] | None = None
    merge_parts: Callable[[Sequence[SavedRun]], Result] | None = None
    declared: Declarations = Declarations()


class SavedRun(Protocol):
    """A run of the experiment that is done, and the files that its result left."""

    @property
    def name(self) -> str:
        """How errors name it: job 3."""

    @property
    def label(self) -> str:
        """How tables and sentences name its network: 3 for its seed, a.pt for its checkpoint."""

    @property
    def seed(self) -> int:
        """The seed of its network."""

    @property
    def options(self) -> Any:
        """The experiment's options, as in `Setting.config`."""

    def table(self, name: str, columns: Sequence[str] | None = None) -> DataFrame | None:
        """Returns a table, or some of its columns, with the `attrs` that it was written with; None if it is missing."""

    def tensors(self, name: str) -> Mapping[str, Tensor]:
        """Returns tensors by name.

        Raises:
            ArgumentError: the file is missing or damaged.
        """


class CompareNetworks(Protocol):
    """The type of `Experiment.compare_networks`."""

    def __call__(self, runs: Sequence[SavedRun], *, over: str = "seed", are_sample: bool = True) -> Comparison:
        """Returns the comparison."""


@dataclass(frozen=True)
class Comparison:
    """What several networks have in common.

    Attributes:
        filled: the tables; a sweep writes them as sweep_NAME.csv.
        notes: what isn't compared, and why.
        figures: name → a function that draws a matplotlib figure, written as sweep_NAME.png.
        answer: what the networks say together, in a sentence or two; empty for none.
    """

    filled: Sequence[Table]
    figures: Mapping[str, Drawing] = field(default_factory=dict)
    answer: str = ""
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_drawings(self.figures)

    @cached_property
    def tables(self) -> Mapping[str, Rows]:
        """The table → its rows."""
        return ByName(self.filled)


@dataclass(frozen=True)
class TwoRuns:
    """What two runs have in common.

    Attributes:
        answer: in sentences, with the names of the runs.
        rows: of a table; the runs' names are columns.
        brief: the rows that are shown where not all are asked for.
        note: what the columns are.
        details: title → rows that are shown where all are asked for, and what they are.
    """

    answer: str
    rows: Sequence[Row]
    brief: Sequence[Row]
    note: str = ""
    details: Mapping[str, tuple[Sequence[Row], str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The result of an experiment.

    Attributes:
        filled: the tables. "metrics" is the headline table, printed and written as metrics.csv; its column `seed` names
            the network, as the swept key `seed` does; summaries are over it.
        metrics: the summary: name → number, for run.json and `expect`.
        declared: what the experiment's runs may leave.
        figures: name → a function that draws a matplotlib figure, for the runner to call.
        pictures: name → a function that returns the data of an interactive picture in the report, as JSON has them;
            None: there is nothing to draw.
        shown: the tables that are printed.
        answer: the answer to the experiment's question in a sentence or two, with the figures of the tables and their
            intervals; empty for none.
        timings: stage → seconds, for run.json.
        model: the network whose weights the run folder keeps; None: those of the setting's model, if trained now.
        members: name → network, for an experiment on many networks.
        tensors: file name without ending → tensors by name, written as a safetensors file.
        arrays: file name without ending → arrays by name, written as an .npz file.

    Raises:
        ValueError: a table, a number of the summary or a figure is not declared, two tables have one name, or a figure
            is not a function; the text says which.
    """

    filled: Sequence[Table]
    metrics: Mapping[str, float]
    declared: Declarations
    figures: Mapping[str, Drawing] = field(default_factory=dict)
    pictures: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    shown: Sequence[str] = ("metrics",)
    answer: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    model: nn.Module | None = None
    members: Mapping[str, nn.Module] = field(default_factory=dict)
    tensors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    arrays: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert "metrics" in self.tables, "every experiment has a headline table"
        names = [table.name for table in self.filled]
        if twice := [name for name in self.tables if names.count(name) > 1]:
            raise ValueError(f"there are two tables {twice[0]}. Give each a name of its own.")
        of_experiment = {table.name for table in (*self.declared.tables, *self.declared.added)}
        _check_declared("table", (name for name in names if name not in of_experiment))
        _check_declared("number of the summary", (name for name in self.metrics if self.declared.number(name) is None))
        _check_declared("figure", (name for name in self.figures if self.declared.figure(name) is None))
        _check_drawings(self.figures)

    @cached_property
    def tables(self) -> Mapping[str, Rows]:
        """The table → its rows."""
        return ByName(self.filled)

    @property
    def keys(self) -> dict[str, tuple[str, ...]]:
        """The table → the columns that name its rows."""
        return {table.name: table.type.keys for table in self.filled}

    @property
    def measures(self) -> Mapping[str, Range]:
        """The measure → the values that it can have, of all tables and the summary of the experiment."""
        return self.declared.measures

    @property
    def common_names(self) -> Mapping[str, str]:
        """A key → the column that has the same in names that networks of different architectures share."""
        return self.declared.common_names

    @property
    def repeats(self) -> tuple[str, ...]:
        """The columns that count repetitions of one measurement."""
        return self.declared.repeats

    @property
    def parquet(self) -> frozenset[str]:
        """The tables that are written as Parquet even if they are small."""
        return frozenset(table.name for table in self.filled if table.type.parquet)

    def with_table(self, table: Table) -> Result:
        """Returns the result with one more table."""
        declared = replace(self.declared, added=(*self.declared.added, table.type))
        return replace(self, filled=(*self.filled, table), declared=declared)


def _check_declared(what: str, missing: Iterable[str]) -> None:
    name = next(iter(missing), None)
    if name is not None:
        raise ValueError(f"the {what} {name} is not declared. Add it to the experiment's declarations.")


def _check_drawings(figures: Mapping[str, Drawing]) -> None:
    for name, drawing in figures.items():
        if not callable(drawing):
            raise ValueError(
                f"figure {name}: {type(drawing).__name__} is not a function. "
                "Give a function that draws it: partial(my_figure, rows)."
            )
