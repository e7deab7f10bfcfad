"""The options of each model, a file each: `model=NAME`, `model.OPTION=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mi_runner.config.options import Choice, option


class NetworkOutputs(Enum):
    """What a network's outputs are; see `mi_runner.datasets.outputs.Outputs`."""

    auto = "auto"
    values = "values"
    logit = "logit"
    logits = "logits"
    probabilities = "probabilities"


@dataclass
class ModelConfig(Choice):
    """The options of every model."""

    outputs: NetworkOutputs = option(
        NetworkOutputs.auto,
        "values: rounded; logit: one for two classes, above 0 the second; logits, probabilities: one for each class, "
        "or the probability of the second of two; auto: by the data and the network's last function",
    )
