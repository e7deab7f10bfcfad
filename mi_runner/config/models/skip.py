"""The options of `model=skip`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.models import ModelConfig
from mi_runner.config.options import Cites


@dataclass
class SkipConfig(ModelConfig):
    """TwoLayerSkip: last(x + relu(first(x))), the network of the ablation experiment."""

    name: ClassVar[str] = "skip"
    place: ClassVar[int] = 20
    module: ClassVar[str] = "mi_runner.models.two_layer_skip"
    cites: ClassVar[tuple[Cites, ...]] = (Cites("remix"),)
