"""The options of `experiment=discovery`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.experiments.circuit_options import (
    JudgeOn,
    LeftOut,
    Valid,
    threshold_option,
    truth_option,
    valid_option,
)
from mi_runner.config.options import Cites, option, option_of_records


class DiscoveryObjective(Enum):
    distance = "distance"
    loss = "loss"


@dataclass
class DiscoveryConfig(ExperimentConfig):
    """Which methods find good circuits? Each is judged by the best circuits there are."""

    name: ClassVar[str] = "discovery"
    place: ClassVar[int] = 100
    module: ClassVar[str] = "mi_runner.experiments.discovery.experiment"
    cites: ClassVar[tuple[Cites, ...]] = (
        Cites("meloux2025"),
        Cites("mueller2025"),
        Cites("adolfi2024"),
        Cites("hadad2026"),
        Cites("meloux2025estimation", "bootstrap"),
    )
    in_a_paper: ClassVar[str] = (
        "We looked for circuits of the last Linear layers ({last_layers|all}) by {methods} and judged them by the "
        "best circuits that exist (valid={valid}, accuracy threshold {accuracy_threshold}), with "
        "ablation={ablation} of what a circuit leaves out, on the examples judge_on={judge_on}, with {repeats} repeats "
        "of methods that draw random numbers and {bootstrap} resamples of the examples."
    )
    compares_networks: ClassVar[bool] = True
    compared: ClassVar[tuple[str, ...]] = ("regret_mse", "percentile")
    small: ClassVar[tuple[str, ...]] = (
        "dataset=logic",
        "model.hidden_sizes=[2,2]",
        "training.epochs=1",
        "experiment.methods=[random,magnitude,eap,greedy]",
        "experiment.bootstrap=3",
        "experiment.repeats=2",
        "experiment.accuracy_threshold=0.4",
    )

    methods: list[str] = option_of_records(
        "mi_runner.methods.discovery.records:all_methods",
        "methods that find circuits; package.module:callable is your own. Runs code!",
    )
    ablation: LeftOut = option(LeftOut.both, "a left-out edge carries 0, or its mean; both: each by itself")
    objective: DiscoveryObjective = option(
        DiscoveryObjective.distance,
        "what methods with an objective keep small: the distance to the full network's output, or the task's loss",
    )
    last_layers: int | None = option(3, "Linear layers at the network's end to analyse; null: all", at_least=1)
    valid: Valid = valid_option()
    accuracy_threshold: float = threshold_option()
    judge_on: JudgeOn = option(
        JudgeOn.test,
        "test: circuits are found and judged on the test examples; train: found on the training examples, judged on "
        "the test ones; half: found on half of the test examples, judged on the others",
    )
    examples: int | None = option(
        None, "examples that circuits are found and judged on, drawn if there are more; null: all", at_least=2
    )
    repeats: int = option(5, "runs of the methods that draw random numbers", at_least=1, at_most=10_000)
    bootstrap: int = option(
        100, "resamples of the examples on which methods find circuits again; 0: none", at_least=0, at_most=100_000
    )
    max_table_rows: int = option(
        5_000_000,
        "largest number of circuits that are all evaluated; of more, samples are drawn",
        at_least=1,
        at_most=1_000_000_000,
    )
    samples: int = option(
        200, "circuits of a size that are drawn where not all are evaluated", at_least=1, at_most=1_000_000
    )
    criteria: bool = option(
        False, "also judge each method's circuits by the criteria of experiment=criteria; at most 64 edges"
    )
    certify: float | None = option(
        None,
        "also prove in which boxes around the examples circuits answer as the full network: half of a box's width in "
        "standard deviations, such as 0.1; null: don't",
        above=0,
    )
    truth: str | None = truth_option()
    max_sizes: int = option(60, "sizes at which methods are judged, if there are more", at_least=3, at_most=100_000)
