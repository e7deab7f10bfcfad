"""The options of `dataset=logic`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mi_runner.config.datasets import DatasetConfig
from mi_runner.config.datasets.arrays import Target
from mi_runner.config.options import Cites, option


@dataclass
class LogicConfig(DatasetConfig):
    """Boolean functions of two to five inputs: XOR, AND, MAJORITY, or any truth table."""

    name: ClassVar[str] = "logic"
    place: ClassVar[int] = 50
    module: ClassVar[str] = "mi_runner.datasets.logic"
    cites: ClassVar[tuple[Cites, ...]] = (Cites("meloux2025"),)
    causal_model: ClassVar[str | None] = "with one function"
    small: ClassVar[tuple[str, ...]] = ("dataset.train_size=60",)

    target: Target = option(Target["value"], "value: an output a function, 0 or 1; class: of one function, two outputs")
    functions: list[str] = option(
        ["XOR"], "names (XOR, AND, OR, IMP, NAND, NOR, NIMP, MAJORITY, PARITY) or truth tables ([0110])"
    )
    n_inputs: int | None = option(
        None,
        "inputs of each function; null: as truth tables say, otherwise 3 for MAJORITY and PARITY, 2 for others",
        at_least=2,
        at_most=5,
    )
    noise: float = option(0.0, "standard deviation of what is added to the training inputs", at_least=0)
    # Any, because a word and a list are both allowed.
    frequencies: Any = option(
        None, "how often each of the 2^n inputs is trained on: null: equally; random: drawn; or 2^n numbers"
    )
    train_size: int = option(1_000, "training examples", at_least=2)
