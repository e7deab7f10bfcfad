"""The options of `experiment=train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.experiments import ExperimentConfig


@dataclass
class TrainConfig(ExperimentConfig):
    """Train a model; how good is it, on which classes?"""

    name: ClassVar[str] = "train"
    place: ClassVar[int] = 10
    module: ClassVar[str] = "mi_runner.experiments.train.experiment"
    in_a_paper: ClassVar[str] = "We trained the network and tested it on the test examples."
    takes_seeds: ClassVar[bool] = True
    small: ClassVar[tuple[str, ...]] = (
        "dataset=ellipses",
        "dataset.train_size=60",
        "dataset.test_size=60",
        "training.epochs=1",
        "dataset.target=class",
    )
