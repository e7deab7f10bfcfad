"""Values of options that experiments on circuits share."""

from __future__ import annotations

from enum import Enum
from typing import Any

from mi_runner.config.options import option


class EdgeAblation(Enum):
    """What an edge that is left out of a circuit carries: 0, or its weight times its source's mean."""

    zero = "zero"
    mean = "mean"


class LeftOut(Enum):
    """The same, or each of the two by itself."""

    zero = "zero"
    mean = "mean"
    both = "both"

    @property
    def ablations(self) -> list[str]:
        """The ablations that are shown."""
        return ["zero", "mean"] if self is LeftOut.both else [self.name]


class Valid(Enum):
    """What makes a circuit valid: the task, agreement with the full network, or a share of the network's accuracy."""

    auto = "auto"
    task = "task"
    agreement = "agreement"
    relative = "relative"


class JudgeOn(Enum):
    """The examples that circuits are judged on: the test examples, that they are found on as well, or others."""

    test = "test"
    train = "train"
    half = "half"


class CircuitInputs(Enum):
    """Must a circuit use every input neuron of the analysed layers, or may it leave inputs out?"""

    all = "all"
    any = "any"


def valid_option() -> Any:
    """Returns the option `valid`."""
    return option(
        Valid.auto,
        "what makes a circuit valid. task: its accuracy is above accuracy_threshold; agreement: the share of examples "
        "that it answers as the full network is; relative: its accuracy is at least that share of the network's own; "
        "auto: task where the network itself is valid by it, otherwise agreement",
    )


def truth_option() -> Any:
    """Returns the option `truth`."""
    return option(
        None,
        "a CSV file with the edges (layer, source, target) of the circuit that is known as the truth; null: the "
        "planted one of model=planted",
    )


def threshold_option() -> Any:
    """Returns the option `accuracy_threshold`."""
    doc = "a circuit is valid if its accuracy, or its agreement, is above it; with valid=relative the least share"
    return option(0.99, doc, at_least=0, below=1)
