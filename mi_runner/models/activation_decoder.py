"""ActivationDecoder: reads several variables from images of another network's hidden activations.

It is not a choice of `model=`: the decoder experiment makes it.
Letters: B batch, H layers and W units of an image, K kernels of k×k, V decoded variables.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from mi_runner.errors import ArgumentError


class Heads(nn.Module):
    """A linear map from the same features to the logits of each variable.

    Args:
        n_features: features of an example.
        n_values: how many values each variable can have.
    """

    def __init__(self, n_features: int, n_values: Sequence[int]) -> None:
        super().__init__()
        self.n_values = list(n_values)
        self.linear = nn.Linear(n_features, sum(n_values))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Returns the logits `(B, values)` of each variable from features `(B, n_features)`."""
        return self.linear(features).split(self.n_values, dim=1)


class ActivationDecoder(nn.Module):
    """`heads(hidden(tanh(max over kernels of kernel ∗ image)))`.

    The kernels have no biases and move by one; the largest response at each position goes on. Each hidden
    layer is a Linear, tanh, dropout.

    Args:
        image_shape: `(H, W)`, neither smaller than `kernel_size`.
        n_values: how many values each variable can have.
        kernels: how many kernels compete at each position.
        kernel_size: their height and width.
        hidden_sizes: units of each hidden layer.
        dropout: fraction of a hidden layer's units that are left out in each step of training.

    Raises:
        ArgumentError: the kernels are larger than the image.
    """

    def __init__(
        self,
        image_shape: tuple[int, int],
        n_values: Sequence[int],
        kernels: int = 3,
        kernel_size: int = 2,
        hidden_sizes: Sequence[int] = (30, 30),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        height, width = (side - kernel_size + 1 for side in image_shape)
        if min(height, width) < 1:
            problem = f"kernels of {kernel_size}×{kernel_size} don't fit into images of {image_shape}."
            raise ArgumentError(("kernel_size", "image_shape"), None, problem)
        self.kernels = nn.Conv2d(1, kernels, kernel_size, bias=False)
        layers: list[nn.Module] = []
        sizes = [height * width, *hidden_sizes]
        for n_in, n_out in itertools.pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.Tanh(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.heads = Heads(sizes[-1], n_values)

    def responses(self, images: Tensor) -> Tensor:
        """Returns the response of each kernel: `(B, K, H−k+1, W−k+1)` of images `(B, H, W)`."""
        return self.kernels(images.unsqueeze(1))

    def filtered(self, images: Tensor) -> Tensor:
        """Returns the tanh of the largest response at each position, `(B, H−k+1, W−k+1)` of images `(B, H, W)`."""
        return self.responses(images).amax(1).tanh()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns the logits `(B, values)` of each variable from images `(B, H, W)`."""
        return self.heads(self.hidden(self.filtered(images).flatten(1)))
