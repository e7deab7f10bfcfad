"""The options of the experiment, the data set and the network. mi-run imports them at its start: without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.datasets import DatasetConfig
from mi_runner.config.datasets.arrays import Target
from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.models import ModelConfig
from mi_runner.config.options import option


@dataclass
class MarginsConfig(ExperimentConfig):
    """How sure is a network of its answers, class by class?"""

    name: ClassVar[str] = "margins"
    module: ClassVar[str] = "mi_rings.margins.experiment"
    small: ClassVar[tuple[str, ...]] = ("dataset.train_size=60", "dataset.test_size=60", "training.epochs=1")

    quantile: float = option(0.1, "the table has this quantile of the margins of each class", at_least=0, at_most=1)


@dataclass
class RingsConfig(DatasetConfig):
    """Points on two rings: is a point on the outer one?"""

    name: ClassVar[str] = "rings"
    module: ClassVar[str] = "mi_rings.rings"
    small: ClassVar[tuple[str, ...]] = ("dataset.train_size=60", "dataset.test_size=60")

    target: Target = option(Target["class"], "class: an output per ring; value: one output, 0 or 1")
    noise: float = option(0.1, "standard deviation of the radius", at_least=0)
    train_size: int = option(1_000, "training points", at_least=2)
    test_size: int = option(1_000, "test points", at_least=2)


@dataclass
class QuadraticConfig(ModelConfig):
    """A Linear layer of the inputs and their squares."""

    name: ClassVar[str] = "quadratic"
    module: ClassVar[str] = "mi_rings.quadratic"

    bias: bool = option(True, "whether the layer has a bias")
