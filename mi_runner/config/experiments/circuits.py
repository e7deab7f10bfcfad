"""The options of `experiment=circuits`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.experiments.circuit_options import (
    CircuitInputs,
    EdgeAblation,
    JudgeOn,
    Valid,
    threshold_option,
    truth_option,
    valid_option,
)
from mi_runner.config.options import Cites, option


class CircuitTable(Enum):
    """The circuits that a search writes: all if they fit, all, valid ones, or none."""

    auto = "auto"
    all = "all"
    valid = "valid"
    none = "none"


class CircuitMethod(Enum):
    """How circuits are counted: each measured, all counted, counted by halves of neurons, or a sample of them."""

    auto = "auto"
    table = "table"
    census = "census"
    halves = "halves"
    sample = "sample"


@dataclass
class CircuitsConfig(ExperimentConfig):
    """How many different sub-networks explain the same behaviour?"""

    name: ClassVar[str] = "circuits"
    place: ClassVar[int] = 30
    module: ClassVar[str] = "mi_runner.experiments.circuits.experiment"
    cites: ClassVar[tuple[Cites, ...]] = (Cites("meloux2025"),)
    in_a_paper: ClassVar[str] = (
        "We counted the circuits of the last Linear layers ({last_layers|all}) that are valid (valid={valid}, "
        "accuracy threshold {accuracy_threshold}), with what a circuit leaves out ablated (ablation={ablation}, "
        "inputs={inputs}, method={method})."
    )
    compares_networks: ClassVar[bool] = True
    part_of: ClassVar[tuple[str, str] | None] = ("part", "parts")
    small: ClassVar[tuple[str, ...]] = (
        "dataset=ellipses",
        "dataset.train_size=60",
        "dataset.test_size=60",
        "training.epochs=1",
        "model.hidden_sizes=[8,3,2]",
        "experiment.last_layers=2",
        "experiment.accuracy_threshold=0.4",
    )

    last_layers: int | None = option(3, "Linear layers at the network's end to analyse; null: all", at_least=1)
    ablation: EdgeAblation = option(
        EdgeAblation.zero, "what an edge that is left out carries: 0; mean: its weight times its source's mean"
    )
    inputs: CircuitInputs = option(
        CircuitInputs.all, "all: a circuit uses every neuron that enters the layers; any: it may leave some out"
    )
    valid: Valid = valid_option()
    accuracy_threshold: float = threshold_option()
    method: CircuitMethod = option(
        CircuitMethod.auto,
        "table: all circuits are measured; census: all are counted; halves: the valid ones are counted, where few "
        "examples must all be right; sample: their number is estimated, with an interval; auto: an exact one that "
        "fits into the budget, otherwise sample",
    )
    budget: float = option(
        600.0, "longest time, by the estimate, of the exact count, or of the sample, that method=auto chooses", above=0
    )
    samples: int = option(1_000_000, "circuits that method=sample draws", at_least=1_000)
    parts: int = option(1, "into so many parts of equal time a census is cut; each run counts one of them", at_least=1)
    part: int | None = option(None, "the part of the census that this run counts, 1 to parts", at_least=1)
    min_node_sparsity: float = option(
        0.0, "count only circuits that leave out at least this fraction of the hidden neurons", at_least=0, below=1
    )
    table: CircuitTable = option(
        CircuitTable.auto,
        "rows of circuits.parquet: all; valid; none (pairs and figures are made anyway); "
        "auto: all if they fit, otherwise valid ones",
    )
    max_table_rows: int = option(
        5_000_000,
        "largest number of rows of circuits.parquet; of more valid circuits a random sample",
        at_least=1,
        at_most=1_000_000_000,
    )
    pairs: bool = option(True, "compare valid circuits with each other (if they are many, a random sample)")
    shared: bool | None = option(
        None,
        "what the valid circuits share: edges that all keep, circuits without a common edge, overlaps beside chance; "
        "null: where every valid circuit is listed",
    )
    shared_seconds: float = option(
        60.0, "longest time for each integer program of it; after it the result is an interval", at_least=0
    )
    judge_on: JudgeOn = option(
        JudgeOn.test,
        "test: circuits are found and judged on the test examples; train: found on the training examples, judged on "
        "the test ones; half: found on half of the test examples, judged on the others",
    )
    truth: str | None = truth_option()
