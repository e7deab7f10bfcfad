"""The options of `dataset=equality`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.datasets import DatasetConfig
from mi_runner.config.datasets.arrays import Target
from mi_runner.config.options import Cites, option


@dataclass
class EqualityConfig(DatasetConfig):
    """Four vectors: is a equal to b exactly if c is equal to d?"""

    name: ClassVar[str] = "equality"
    place: ClassVar[int] = 45
    module: ClassVar[str] = "mi_runner.datasets.equality"
    cites: ClassVar[tuple[Cites, ...]] = (Cites("sutter2025"),)
    causal_model: ClassVar[str | None] = ""
    small: ClassVar[tuple[str, ...]] = ("dataset.train_size=60", "dataset.test_size=60", "training.stop_examples=20")

    target: Target = option(Target["class"], "class: two outputs; value: one output, 0 or 1")
    size: int = option(4, "numbers of a vector, uniform in -1/2..1/2", at_least=1, at_most=10_000)
    train_size: int = option(1_058_576, "training examples, those included that training stops by", at_least=2)
    test_size: int = option(10_000, "test examples", at_least=2)
