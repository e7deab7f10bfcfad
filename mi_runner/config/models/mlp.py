"""The options of `model=mlp`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from mi_runner.config.models import ModelConfig
from mi_runner.config.options import option


class Activation(Enum):
    relu = "relu"
    leaky_relu = "leaky_relu"
    tanh = "tanh"
    sigmoid = "sigmoid"


class OutputActivation(Enum):
    auto = "auto"
    none = "none"
    relu = "relu"
    leaky_relu = "leaky_relu"
    tanh = "tanh"
    sigmoid = "sigmoid"
    softmax = "softmax"


@dataclass
class MlpConfig(ModelConfig):
    """A chain of Linear layers with one activation between them."""

    name: ClassVar[str] = "mlp"
    place: ClassVar[int] = 10
    module: ClassVar[str] = "mi_runner.models.mlp"

    hidden_sizes: list[int] = option([128], "units of each hidden layer; []: a single Linear", at_least=1)
    activation: Activation = option(Activation.relu, "after every hidden layer (leaky_relu's slope is 0.01)")
    bias: bool = option(True, "whether the Linear layers have biases")
    output_activation: OutputActivation = option(
        OutputActivation.none, "after the last layer; auto: sigmoid if the target is one value that is 0 or 1"
    )
