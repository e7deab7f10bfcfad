"""The options of `model=cnn`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.models import ModelConfig
from mi_runner.config.models.mlp import OutputActivation
from mi_runner.config.options import option


@dataclass
class CnnConfig(ModelConfig):
    """Three 3×3 convolutions of 16, 32, 64 channels, two max-pools, two Linear layers."""

    name: ClassVar[str] = "cnn"
    place: ClassVar[int] = 30
    module: ClassVar[str] = "mi_runner.models.cnn"

    output_activation: OutputActivation = option(
        OutputActivation.auto, "after the last layer; auto: sigmoid if the target is one value that is 0 or 1"
    )
