"""The options of `model=planted`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from mi_runner.config.models import ModelConfig
from mi_runner.config.options import option


class DistractorKind(Enum):
    """Where a distractor leads: nowhere, or with its twin to one neuron, where the two cancel."""

    ignored = "ignored"
    cancelling = "cancelling"


@dataclass
class PlantedConfig(ModelConfig):
    """Weights that are compiled from a formula, for dataset=logic; nothing is trained, and the truth is known."""

    name: ClassVar[str] = "planted"
    place: ClassVar[int] = 40
    module: ClassVar[str] = "mi_runner.models.planted"
    small: ClassVar[tuple[str, ...]] = ("dataset=logic",)

    formula: str | None = option(
        None,
        "of the inputs A, B, C, … with ~ & ^ | and parentheses; null: the first algorithm of the data set's function",
        formula=True,
    )
    distractors: int = option(
        0,
        "neurons of each hidden layer that the formula doesn't need; cancelling ones come in pairs",
        at_least=0,
        at_most=1_000,
    )
    distractor_kind: DistractorKind = option(
        DistractorKind.cancelling,
        "ignored: no weight leads on; cancelling: twins that read alike, with weights +c and -c to one neuron",
    )
    cancelling_weight: float = option(1.0, "the c of cancelling distractors", above=0)
    copies: int = option(
        1, "neurons that each planted one becomes, with equal parts of its weights", at_least=1, at_most=100
    )
    noise: float = option(
        0.0, "standard deviation of what is added to biases and to weights that are not 0", at_least=0
    )
    rotation: int | None = option(
        None, "hidden layer behind which a Linear layer turns all values at random, from 1; null: none", at_least=1
    )
    width: int = option(1, "neurons of each hidden layer, at least; further ones are dead", at_least=1, at_most=1_000)
    shuffle: bool = option(True, "hidden neurons stand in random order within their layer, drawn from the seed")
