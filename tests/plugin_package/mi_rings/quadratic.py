"""A network that sees its inputs and their squares."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mi_runner import models
from mi_runner.datasets import Dataset


class Quadratic(nn.Module):
    """`last([x, x²])`."""

    def __init__(self, n_inputs: int, n_outputs: int, bias: bool) -> None:
        super().__init__()
        self.last = nn.Linear(2 * n_inputs, n_outputs, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Returns outputs `(B, n_outputs)` of inputs `(B, n_inputs)`."""
        return self.last(torch.cat([x, x * x], 1))


def build(dataset: Dataset, *, bias: bool = True) -> models.Built:
    """Returns the network for the flattened inputs."""
    network = Quadratic(models.n_features(dataset), dataset.n_outputs, bias)
    return models.Built(network, dataset.flattened())
