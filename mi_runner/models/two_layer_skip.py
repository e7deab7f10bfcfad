"""TwoLayerSkip (REMIX, day 1): a hidden layer and a skip connection around it, two routes to the output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mi_runner import models
from mi_runner.datasets import Dataset


class TwoLayerSkip(nn.Module):
    """`last(x + relu(first(x)))`.

    Args:
        n_inputs: features of the input, and units of the hidden layer.
        n_outputs: number of outputs.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(n_inputs, n_inputs)
        self.last = nn.Linear(n_inputs, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Returns outputs `(B, n_outputs)` for inputs `(B, n_inputs)`."""
        return self.last(x + torch.relu(self.first(x)))


def build(dataset: Dataset) -> models.Built:
    """Returns a TwoLayerSkip for the flattened inputs.

    Raises:
        ArgumentError: the layers take more memory than is free.
    """
    n = models.n_features(dataset)
    models.check_room([n, n, dataset.n_outputs], "dataset", f"inputs of {n:,} values")
    return models.Built(TwoLayerSkip(n, dataset.n_outputs), dataset.flattened())
