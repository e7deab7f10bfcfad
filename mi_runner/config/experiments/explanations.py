"""The options of `experiment=explanations`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.options import Cites, option


class InterchangePairs(Enum):
    all = "all"
    later = "later"


@dataclass
class ExplanationsConfig(ExperimentConfig):
    """How many explanations does a network of a Boolean function have: circuits, groundings, algorithms, alignments?"""

    name: ClassVar[str] = "explanations"
    place: ClassVar[int] = 90
    module: ClassVar[str] = "mi_runner.experiments.explanations.experiment"
    cites: ClassVar[tuple[Cites, ...]] = (Cites("meloux2025"),)
    in_a_paper: ClassVar[str] = (
        "We counted the valid circuits (accuracy above {accuracy_threshold}), their groundings, the algorithms of "
        "at most {max_depth} gates on a path, and their alignments (pairs={pairs})."
    )
    takes_seeds: ClassVar[bool] = True
    small: ClassVar[tuple[str, ...]] = (
        "dataset.train_size=60",
        "training.epochs=1",
        "experiment.min_accuracy=0",
        "experiment.max_depth=2",
    )

    max_depth: int = option(3, "gates on the longest way through an algorithm", at_least=1, at_most=6)
    pairs: InterchangePairs = option(
        InterchangePairs.all, "all: every ordered pair of source and base; later: source before base, as published"
    )
    accuracy_threshold: float = option(0.99, "a circuit is valid if its accuracy is above it", at_least=0, below=1)
    min_accuracy: float = option(
        0.99, "a network with a lower test accuracy is not analysed: the run fails", at_least=0, at_most=1
    )
    listed: int = option(
        1_000, "groundings and alignments of an output that are written out, at most", at_least=0, at_most=10_000_000
    )
    sample: int = option(
        3_000,
        "valid circuits whose groundings are counted where there are more than 5,000,000 circuits",
        at_least=20,
        at_most=10_000_000,
    )
    random_functions: int = option(
        1,
        "of each network: controls trained on a random function from its initial weights; control=false: none",
        at_least=0,
        at_most=1_000,
    )
    control: bool = option(True, "also count for the untrained network, with its own function as target")
