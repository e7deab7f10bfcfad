"""The options of `dataset=mod_add`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.datasets import DatasetConfig
from mi_runner.config.datasets.arrays import Target
from mi_runner.config.options import option


@dataclass
class ModAddConfig(DatasetConfig):
    """Modular addition: two one-hot vectors a and b in, (a + b) mod m out."""

    name: ClassVar[str] = "mod_add"
    place: ClassVar[int] = 30
    module: ClassVar[str] = "mi_runner.datasets.modular_addition"
    causal_model: ClassVar[str | None] = ""
    small: ClassVar[tuple[str, ...]] = ("dataset.train_size=60", "dataset.test_size=60")

    target: Target = option(Target["class"], "class: an output per sum; value: one output, the sum as a float")
    modulus: int = option(2, "m: a and b are drawn from 0..m−1", at_least=2, at_most=1000)
    train_size: int = option(10_000, "training pairs", at_least=2)
    test_size: int = option(10_000, "test pairs", at_least=2)
