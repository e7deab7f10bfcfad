"""The options of each data set: `dataset=NAME`, `dataset.OPTION=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from omegaconf import MISSING

from mi_runner.config.options import Choice, option


class Normalization(Enum):
    standard = "standard"
    symmetric = "symmetric"


# `class` is a keyword, so this enumeration can't be written as a class.
Target = Enum("Target", {"class": "class", "value": "value"})


@dataclass
class DatasetConfig(Choice):
    """The options of every data set."""

    module: ClassVar[str]
    drawn: ClassVar[bool] = True
    """Whether the examples depend on the run's seed."""
    causal_model: ClassVar[str | None] = None
    """A text that says when there is a causal model; empty: always; None: never."""

    limit: int | None = option(
        None, "take at most this many training and test examples, for quick tries; null: all", at_least=2
    )


@dataclass
class MnistConfig(DatasetConfig):
    """Handwritten digits, 28×28: 60,000 training and 10,000 test images, in the package."""

    name: ClassVar[str] = "mnist"
    module: ClassVar[str] = "mi_runner.datasets.mnist"
    causal_model: ClassVar[str | None] = (
        "all digits, or a choice such as [4,5] that holds 2·half + parity for every half and parity of its digits"
    )
    drawn: ClassVar[bool] = False

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
    causal_model: ClassVar[str | None] = ""

    digits: list[int] | None = option([0, 1], "keep only these digits", at_least=0, at_most=9)


@dataclass
class ModAddConfig(DatasetConfig):
    """Modular addition: two one-hot vectors a and b in, (a + b) mod m out."""

    name: ClassVar[str] = "mod_add"
    module: ClassVar[str] = "mi_runner.datasets.modular_addition"
    causal_model: ClassVar[str | None] = ""

    target: Target = option(Target["class"], "class: an output per sum; value: one output, the sum as a float")
    modulus: int = option(2, "m: a and b are drawn from 0..m−1", at_least=2, at_most=1000)
    train_size: int = option(10_000, "training pairs", at_least=2)
    test_size: int = option(10_000, "test pairs", at_least=2)


@dataclass
class EllipsesConfig(DatasetConfig):
    """A grey ellipse on white, 28×28: is a weighted sum of its circularity, color and area large?"""

    name: ClassVar[str] = "ellipses"
    module: ClassVar[str] = "mi_runner.datasets.ellipses"
    causal_model: ClassVar[str | None] = ""

    target: Target = option(Target["value"], "value: one output, 0 or 1; class: two outputs")
    train_size: int = option(10_000, "training images", at_least=2)
    test_size: int = option(1_000, "test images", at_least=2)
    coefficients: list[float] = option([0.4, 0.4, 0.4], "weights of circularity, color and area, each from 0 to 1")
    threshold: float = option(0.6, "the label is 1 if the weighted sum is above it")


@dataclass
class LogicConfig(DatasetConfig):
    """Boolean functions of two to five inputs: XOR, AND, MAJORITY, or any truth table."""

    name: ClassVar[str] = "logic"
    module: ClassVar[str] = "mi_runner.datasets.logic"
    causal_model: ClassVar[str | None] = "with one function"

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


@dataclass
class ArraysConfig(DatasetConfig):
    """Your own data: an .npz file with x_train, y_train, x_test, y_test."""

    name: ClassVar[str] = "arrays"
    module: ClassVar[str] = "mi_runner.datasets.arrays"
    causal_model: ClassVar[str | None] = "with the arrays variables, variables_train, variables_test and mechanism"
    drawn: ClassVar[bool] = False

    path: str = option(MISSING, "the .npz file; x: (N, features), (N, [channels,] height, width), (N, time, features)")
    target: Target = option(Target["class"], "class: y holds integers 0..K−1, or text; value: y holds numbers")
