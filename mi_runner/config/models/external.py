"""The options of `model=external`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from mi_runner.config.models import ModelConfig
from mi_runner.config.options import option


@dataclass
class ExternalConfig(ModelConfig):
    """Your own network: a callable that returns an nn.Module."""

    name: ClassVar[str] = "external"
    place: ClassVar[int] = 1000
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
