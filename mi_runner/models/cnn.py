"""CNN: the convolutional network of the interchange intervention experiments on ellipses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mi_runner import models
from mi_runner.datasets import Dataset, channels_last
from mi_runner.errors import ArgumentError

CHANNELS = (16, 32, 64)
HIDDEN = 3


class CNN(nn.Module):
    """Three 3×3 convolutions with ReLU, a 2×2 max-pool after the first two, `fc1`, ReLU, `fc2`, an optional activation.

    Args:
        in_channels: channels of the image.
        image_size: its height and width, each at least 4; 28×28 gives 3136 inputs of `fc1`.
        n_outputs: number of outputs.
        output_activation: the module after the last layer, or None.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        n_outputs: int,
        output_activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        first, second, third = CHANNELS
        height, width = image_size
        self.conv1 = nn.Conv2d(in_channels, first, 3, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.conv3 = nn.Conv2d(second, third, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(third * (height // 4) * (width // 4), HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, n_outputs)
        self.output_activation = output_activation

    def forward(self, x: Tensor) -> Tensor:
        """Returns outputs `(B, n_outputs)` for images `(B, C, H, W)`."""
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = torch.relu(self.conv3(x))
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        x = self.fc2(x)
        return x if self.output_activation is None else self.output_activation(x)


def build(dataset: Dataset, *, output_activation: str = "auto") -> models.Built:
    """Returns a CNN for the data set's images.

    Args:
        output_activation: after the last layer; `auto`: a sigmoid if the target is one value that is 0 or 1.

    Raises:
        ArgumentError: the inputs are vectors, or images smaller than 4×4.
    """
    dataset = dataset.with_channel()
    if channels_last(dataset.input_shape) and dataset.input_shape[2] < 4:
        problem = (
            f"model=cnn takes images (N, C, H, W); an input of dataset={dataset.name} is {dataset.input_shape}, which "
            "looks like (H, W, C)."
        )
        raise ArgumentError("dataset", None, problem, "Save x.transpose(0, 3, 1, 2).")
    if not dataset.has_images and len(dataset.input_shape) > 1:
        problem = f"model=cnn takes images, not inputs of the shape {dataset.input_shape}."
        raise ArgumentError("dataset", None, problem, "Use model=mlp.")
    if not dataset.has_images:
        n = models.n_features(dataset)
        problem = f"model=cnn takes images; dataset={dataset.name} gives vectors of {n}."
        raise ArgumentError("dataset", None, problem, "Use model=mlp.")
    channels, height, width = dataset.input_shape
    if min(height, width) < 4:
        problem = f"model=cnn takes images of at least 4×4, not {height}×{width}."
        raise ArgumentError("dataset", None, problem, "Use model=mlp.")
    last = models.output_activation(output_activation, dataset)
    return models.Built(CNN(channels, (height, width), models.n_outputs(dataset, output_activation), last), dataset)
