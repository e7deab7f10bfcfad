"""The options of `dataset=arrays`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from omegaconf import MISSING

from mi_runner.config.datasets import DatasetConfig
from mi_runner.config.options import option

# `class` is a keyword, so this enumeration can't be written as a class.
Target = Enum("Target", {"class": "class", "value": "value"})


@dataclass
class ArraysConfig(DatasetConfig):
    """Your own data: an .npz file with x_train, y_train, x_test, y_test."""

    name: ClassVar[str] = "arrays"
    place: ClassVar[int] = 1000
    module: ClassVar[str] = "mi_runner.datasets.arrays"
    causal_model: ClassVar[str | None] = "with the arrays variables, variables_train, variables_test and mechanism"
    drawn: ClassVar[bool] = False

    path: str = option(MISSING, "the .npz file; x: (N, features), (N, [channels,] height, width), (N, time, features)")
    target: Target = option(Target["class"], "class: y holds integers 0..K−1, or text; value: y holds numbers")
