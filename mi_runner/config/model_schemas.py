"""The options of each model: `model=NAME`, `model.OPTION=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from omegaconf import MISSING

from mi_runner.config.options import Choice, option


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


@dataclass
class ModelConfig(Choice):
    """The attributes of every model."""

    module: ClassVar[str]


@dataclass
class MlpConfig(ModelConfig):
    """A chain of Linear layers with one activation between them."""

    name: ClassVar[str] = "mlp"
    module: ClassVar[str] = "mi_runner.models.mlp"

    hidden_sizes: list[int] = option([128], "units of each hidden layer; []: a single Linear", at_least=1)
    activation: Activation = option(Activation.relu, "after every hidden layer (leaky_relu's slope is 0.01)")
    bias: bool = option(True, "whether the Linear layers have biases")
    output_activation: OutputActivation = option(
        OutputActivation.none, "after the last layer; auto: sigmoid if the target is one value that is 0 or 1"
    )


@dataclass
class SkipConfig(ModelConfig):
    """TwoLayerSkip: last(x + relu(first(x))), the network of the ablation experiment."""

    name: ClassVar[str] = "skip"
    module: ClassVar[str] = "mi_runner.models.two_layer_skip"


@dataclass
class CnnConfig(ModelConfig):
    """Three 3×3 convolutions of 16, 32, 64 channels, two max-pools, two Linear layers."""

    name: ClassVar[str] = "cnn"
    module: ClassVar[str] = "mi_runner.models.cnn"

    output_activation: OutputActivation = option(
        OutputActivation.auto, "after the last layer; auto: sigmoid if the target is one value that is 0 or 1"
    )


@dataclass
class ExternalConfig(ModelConfig):
    """Your own network: a callable that returns an nn.Module."""

    name: ClassVar[str] = "external"
    module: ClassVar[str] = "mi_runner.models.external"

    factory: str = option(
        MISSING, "package.module:callable; gets input_shape and n_outputs if it has these parameters. Runs code!"
    )
    # Any, because a dict[str, Any] in a structured config accepts no new keys from the command line.
    arguments: Any = option(None, "further keyword arguments for the callable, e.g. {width: 64}")
    flatten: bool = option(False, "give the network flat vectors instead of images")
    output: str | None = option(
        None, "which output is the network's if it returns several: 0 for the first of a tuple, a dict's key"
    )
    leaves: list[str] = option([], "submodules to take as one site each, e.g. [block] where it can't be traced")
