"""The options of each data set, a file each: `dataset=NAME`, `dataset.OPTION=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.options import Choice, option


@dataclass
class DatasetConfig(Choice):
    """The options of every data set."""

    drawn: ClassVar[bool] = True
    """Whether the examples depend on the run's seed."""
    causal_model: ClassVar[str | None] = None
    """A text that says when there is a causal model; empty: always; None: never."""

    limit: int | None = option(
        None, "take at most this many training and test examples, for quick tries; null: all", at_least=2
    )
