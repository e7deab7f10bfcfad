"""The options of each model, a file each: `model=NAME`, `model.OPTION=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass

from mi_runner.config.options import Choice


@dataclass
class ModelConfig(Choice):
    """The attributes of every model."""
