"""The options of `dataset=ellipses`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.datasets import DatasetConfig
from mi_runner.config.datasets.arrays import Target
from mi_runner.config.options import option


@dataclass
class EllipsesConfig(DatasetConfig):
    """A grey ellipse on white, 28×28: is a weighted sum of its circularity, color and area large?"""

    name: ClassVar[str] = "ellipses"
    place: ClassVar[int] = 40
    module: ClassVar[str] = "mi_runner.datasets.ellipses"
    causal_model: ClassVar[str | None] = ""
    small: ClassVar[tuple[str, ...]] = ("dataset.train_size=60", "dataset.test_size=60")

    target: Target = option(Target["value"], "value: one output, 0 or 1; class: two outputs")
    train_size: int = option(10_000, "training images", at_least=2)
    test_size: int = option(1_000, "test images", at_least=2)
    coefficients: list[float] = option([0.4, 0.4, 0.4], "weights of circularity, color and area, each from 0 to 1")
    threshold: float = option(0.6, "the label is 1 if the weighted sum is above it")
