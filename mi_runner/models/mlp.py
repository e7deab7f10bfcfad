"""MLP: a chain of Linear layers with an activation after each hidden layer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from mi_runner import models
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError


class MLP(nn.Module):
    """`layers.0`, activation, `layers.2`, activation, …, the last Linear, an optional activation.

    Args:
        sizes: units of the input, of each hidden layer, and of the output; at least two sizes.
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
            raise ArgumentError("sizes", list(sizes), "give at least two, those of the input and the output.")
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(sizes):
            layers += [nn.Linear(n_in, n_out, bias=bias), activation()]
        layers.pop()
        if output_activation is not None:
            layers.append(output_activation)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Returns outputs `(B, sizes[-1])` for inputs `(B, sizes[0])`."""
        return self.layers(x)


def build(
    dataset: Dataset,
    *,
    hidden_sizes: Sequence[int] = (128,),
    activation: str = "relu",
    bias: bool = True,
    output_activation: str = "none",
) -> models.Built:
    """Returns an MLP for the flattened inputs.

    Args:
        hidden_sizes: units of each hidden layer.
        activation: after each hidden layer, one of `models.ACTIVATIONS`.
        bias: whether the Linear layers have biases.
        output_activation: after the last layer; `auto`: a sigmoid if the target is one value that is 0 or 1.

    Raises:
        ArgumentError: the layers take more memory than is free.
    """
    sizes = [models.n_features(dataset), *hidden_sizes, models.n_outputs(dataset, output_activation)]
    models.check_room(sizes, "hidden_sizes", f"{{hidden_sizes}}=[{','.join(map(str, hidden_sizes))}]")
    model = MLP(
        sizes,
        activation=lambda: models.activation(activation),
        output_activation=models.output_activation(output_activation, dataset),
        bias=bias,
    )
    return models.Built(model, dataset.flattened())
