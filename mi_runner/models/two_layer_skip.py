"""TwoLayerSkip (REMIX, day 1): a hidden layer and a skip connection around it: two routes lead to the answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mi_runner import models
from mi_runner.config.model_schemas import SkipConfig
from mi_runner.datasets import Dataset


class TwoLayerSkip(nn.Module):
    """`last(x + relu(first(x)))`.

    Args:
        n_inputs: features of the input, and units of the hidden layer.
        n_outputs: outputs.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(n_inputs, n_inputs)
        self.last = nn.Linear(n_inputs, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `(B, n_outputs)` of inputs `(B, n_inputs)`."""
        return self.last(x + torch.relu(self.first(x)))


def build(config: SkipConfig, dataset: Dataset) -> models.Built:
    """TwoLayerSkip on the flattened inputs."""
    return models.Built(TwoLayerSkip(models.n_features(dataset), dataset.n_outputs), dataset.flattened())
