"""The options of `experiment=criteria`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.experiments.circuit_options import (
    CircuitInputs,
    LeftOut,
    Valid,
    threshold_option,
    truth_option,
    valid_option,
)
from mi_runner.config.options import Cites, option, option_of_records


@dataclass
class CriteriaConfig(ExperimentConfig):
    """Which further tests tell valid circuits apart, and how many circuits pass all of them?"""

    name: ClassVar[str] = "criteria"
    place: ClassVar[int] = 35
    module: ClassVar[str] = "mi_runner.experiments.criteria.experiment"
    cites: ClassVar[tuple[Cites, ...]] = (Cites("meloux2025"),)
    in_a_paper: ClassVar[str] = (
        "We judged the valid circuits of the last Linear layers ({last_layers|all}) (valid={valid}, accuracy "
        "threshold {accuracy_threshold}) by {criteria}; a circuit survives a criterion of at least {threshold}. "
        "What a circuit leaves out is ablated (ablation={ablation}, inputs={inputs})."
    )
    compares_networks: ClassVar[bool] = True
    headline: ClassVar[str] = "surviving"
    compared: ClassVar[tuple[str, ...]] = ("share", "chance")
    small: ClassVar[tuple[str, ...]] = (
        "dataset=logic",
        "model.hidden_sizes=[2,2]",
        "training.epochs=1",
        "experiment.accuracy_threshold=0.4",
        "experiment.resamples=5",
        "experiment.control_circuits=50",
    )

    criteria: list[str] = option_of_records(
        "mi_runner.methods.criteria.records:all_criteria",
        "what valid circuits are compared by; package.module:callable is your own. Runs code!",
    )
    threshold: float = option(0.99, "a circuit survives a criterion that is at least this", at_least=0, at_most=1)
    pairs: int = option(2_000, "pairs of examples that interventions are tried on", at_least=1, at_most=1_000_000)
    noise: list[float] = option(
        [0.1, 0.3, 1.0],
        "standard deviations of the noise on the inputs of the layers, in those of each input",
        at_least=0,
    )
    shift: str = option(
        "auto",
        "other data than the test examples: auto, the data set's own where it has any; none; or an .npz or .csv file",
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
        200_000, "most valid circuits that are judged; of more a random sample", at_least=1, at_most=100_000_000
    )
    resamples: int = option(
        200, "resamples of the examples for the interval of τ; 0: no interval", at_least=0, at_most=100_000
    )
    controls: bool = option(True, "judge circuits drawn at random and those of the untrained network as well")
    control_circuits: int = option(
        2_000, "circuits that are drawn at random, and most of the untrained network's", at_least=1, at_most=10_000_000
    )
    truth: str | None = truth_option()
