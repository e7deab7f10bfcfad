"""MLP: a chain of Linear layers with an activation after each hidden one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from mi_runner import models
from mi_runner.config.model_schemas import MlpConfig
from mi_runner.datasets import Dataset


class MLP(nn.Module):
    """`layers.0`, activation, `layers.2`, activation, …, last Linear, perhaps an activation.

    Args:
        sizes: units of the input, of each hidden layer, of the output; at least two.
        activation: makes the module after each hidden layer.
        output_activation: the module after the last layer, or None.
        bias: whether the Linear layers have biases.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Callable[[], nn.Module] = nn.ReLU,
        output_activation: nn.Module | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"sizes={list(sizes)}: an MLP needs the sizes of its input and its output.")
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(sizes):
            layers += [nn.Linear(n_in, n_out, bias=bias), activation()]
        layers.pop()
        if output_activation is not None:
            layers.append(output_activation)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `(B, sizes[-1])` of inputs `(B, sizes[0])`."""
        return self.layers(x)


def build(config: MlpConfig, dataset: Dataset) -> models.Built:
    """An MLP on the flattened inputs."""
    model = MLP(
        [models.n_features(dataset), *config.hidden_sizes, dataset.n_outputs],
        activation=lambda: models.activation(config.activation),
        output_activation=models.output_activation(config.output_activation, dataset),
        bias=config.bias,
    )
    return models.Built(model, dataset.flattened())
