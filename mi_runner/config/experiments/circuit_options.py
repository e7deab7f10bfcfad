"""Values of options that experiments on circuits share."""

from __future__ import annotations

from enum import Enum


class EdgeAblation(Enum):
    """What an edge that is left out of a circuit carries: 0, or its weight times its source's mean."""

    zero = "zero"
    mean = "mean"


class JudgeOn(Enum):
    """The examples that circuits are judged on: the test examples, that they are found on as well, or others."""

    test = "test"
    train = "train"
    half = "half"


class CircuitInputs(Enum):
    """Must a circuit use every input neuron of the analysed layers, or may it leave inputs out?"""

    all = "all"
    any = "any"
