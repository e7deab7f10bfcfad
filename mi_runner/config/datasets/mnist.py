"""The options of `dataset=mnist` and `dataset=mnist01`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from mi_runner.config.datasets import DatasetConfig
from mi_runner.config.datasets.arrays import Target
from mi_runner.config.options import Cites, option


class Normalization(Enum):
    standard = "standard"
    symmetric = "symmetric"


@dataclass
class MnistConfig(DatasetConfig):
    """Handwritten digits, 28×28: 60,000 training and 10,000 test images, in the package."""

    name: ClassVar[str] = "mnist"
    place: ClassVar[int] = 10
    module: ClassVar[str] = "mi_runner.datasets.mnist"
    cites: ClassVar[tuple[Cites, ...]] = (Cites("lecun1998"),)
    causal_model: ClassVar[str | None] = (
        "all digits, or a choice such as [4,5] that holds 2·half + parity for every half and parity of its digits"
    )
    drawn: ClassVar[bool] = False
    small: ClassVar[tuple[str, ...]] = ("dataset.limit=60",)

    digits: list[int] | None = option(None, "keep only these digits, e.g. [3,8]; null: all ten", at_least=0, at_most=9)
    normalization: Normalization = option(
        Normalization.standard, "pixels: standard (p/255 − 0.1307)/0.3081, symmetric to [−1, 1]"
    )
    target: Target = option(Target["class"], "class: an output per digit; value: one output, the digit as a float")
    root: str | None = option(None, "folder for the unpacked files; null: the user's cache folder")
    download: bool = option(False, "let torchvision download the files instead of using the packaged ones")


@dataclass
class Mnist01Config(MnistConfig):
    """MNIST's digits 0 and 1 only: 12,665 training and 2,115 test images."""

    name: ClassVar[str] = "mnist01"
    place: ClassVar[int] = 20
    causal_model: ClassVar[str | None] = ""

    digits: list[int] | None = option([0, 1], "keep only these digits", at_least=0, at_most=9)
