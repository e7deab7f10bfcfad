"""The options of `experiment=robustness`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.experiments.circuit_options import (
    CircuitInputs,
    LeftOut,
    Valid,
    threshold_option,
    valid_option,
)
from mi_runner.config.options import Cites, option


@dataclass
class RobustnessConfig(ExperimentConfig):
    """Does a circuit agree with its network between the examples, too?"""

    name: ClassVar[str] = "robustness"
    place: ClassVar[int] = 37
    module: ClassVar[str] = "mi_runner.experiments.robustness.experiment"
    cites: ClassVar[tuple[Cites, ...]] = (Cites("hadad2026"), Cites("zhang2018"), Cites("neumaier2004", "seconds"))
    in_a_paper: ClassVar[str] = (
        "We proved or refuted that the valid circuits of the last Linear layers ({last_layers|all}) (valid={valid}, "
        "accuracy threshold {accuracy_threshold}) answer as the network in boxes of half-width {epsilons} "
        "standard deviations around the test examples; what a circuit leaves out is ablated (ablation={ablation}, "
        "inputs={inputs})."
    )
    headline: ClassVar[str] = "certified"
    compared: ClassVar[tuple[str, ...]] = ("share_certified", "fewest_certified")
    small: ClassVar[tuple[str, ...]] = (
        "dataset=logic",
        "model.hidden_sizes=[2,2]",
        "training.epochs=1",
        "experiment.accuracy_threshold=0.4",
        "experiment.epsilons=[0.05,0.3]",
        "experiment.seconds=1",
        "experiment.differences=2",
        "experiment.control_circuits=20",
    )

    epsilons: list[float] = option(
        [0.01, 0.05, 0.1, 0.3],
        "half-widths of the boxes around examples, in standard deviations of each input of the layers",
        above=0,
    )
    hull: bool = option(True, "decide the one box from the least to the largest value of each input as well")
    examples: int | None = option(
        None, "test examples of each distinct target that have boxes, the first ones; null: all", at_least=1
    )
    seconds: float = option(
        60.0,
        "most seconds that linear programs work on boxes that splitting leaves undecided, for the circuits of each "
        "output and ablation; as long again for each control, for the hull, and for the differences",
        at_least=0,
    )
    differences: int = option(
        10,
        "valid circuits drawn at random that difference.csv has besides the subset-minimal ones and the full one",
        at_least=0,
        at_most=100_000,
    )
    ablation: LeftOut = option(LeftOut.both, "a left-out edge carries 0, or its mean; both: each by itself")
    inputs: CircuitInputs = option(
        CircuitInputs.all, "all: a circuit uses every neuron that enters the layers; any: it may leave some out"
    )
    last_layers: int | None = option(3, "Linear layers at the network's end to analyse; null: all", at_least=1)
    valid: Valid = valid_option()
    accuracy_threshold: float = threshold_option()
    max_table_rows: int = option(
        5_000_000,
        "most circuits that are all listed; of more, all are counted and valid ones are drawn",
        at_least=1,
        at_most=1_000_000_000,
    )
    max_circuits: int = option(
        200_000, "most valid circuits that are decided; of more a random sample", at_least=1, at_most=100_000_000
    )
    controls: bool = option(True, "decide circuits drawn at random and those of the untrained network as well")
    control_circuits: int = option(
        2_000, "circuits that are drawn at random, and most of the untrained network's", at_least=1, at_most=10_000_000
    )
