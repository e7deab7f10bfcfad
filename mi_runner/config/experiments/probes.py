"""The options of `experiment=probes`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.options import Cites, option


class Split(Enum):
    train = "train"
    test = "test"


class ProbeControl(Enum):
    untrained = "untrained"
    shuffled = "shuffled"
    input = "input"


@dataclass
class ProbesConfig(ExperimentConfig):
    """Which variables can be read from which site by a linear probe?"""

    name: ClassVar[str] = "probes"
    place: ClassVar[int] = 70
    module: ClassVar[str] = "mi_runner.experiments.probes.experiment"
    cites: ClassVar[tuple[Cites, ...]] = (Cites("alain2016"), Cites("hewitt2019", "controls", "shuffled"))
    in_a_paper: ClassVar[str] = (
        "We fitted linear probes from {sites|every layer with weights but the last} to {variables|the variables "
        "and their sums} with {folds} folds of the {source} examples (at most {examples|all}); controls: "
        "{controls}."
    )
    headline: ClassVar[str] = "r2"
    small: ClassVar[tuple[str, ...]] = ("dataset.train_size=60", "dataset.test_size=60", "training.epochs=1")

    # Any, because a list of names and a list of lists are both allowed.
    variables: Any = option(
        None,
        "what is read: a variable or the sum of several, [circularity,color]; several in turn, [[color],[area]]; null: "
        "every set of up to three variables; of more, each and their sum",
        text=True,
    )
    sites: list[str] | None = option(
        None, "sites to read, e.g. [conv1,relu]; null: every layer with weights but the last"
    )
    source: Split = option(Split.train, "the examples of the probes: train or test")
    examples: int | None = option(10_000, "take at most this many of them; null: all", at_least=10)
    folds: int = option(5, "each fold is predicted by probes that are fitted to the others", at_least=2)
    penalties: list[float] = option(
        [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0],
        "values of c to choose from; the penalty of the weights is c times the mean squared norm of the features",
        above=0,
    )
    controls: list[ProbeControl] = option(
        list(ProbeControl), "what the probes are compared with: untrained network, shuffled variables, raw input"
    )
