"""One epoch on MNIST's 0 and 1 with the MLP 784-128-128-3-3-3-1, batch 64: our loop against the textbook's.

The textbook's: a torchvision data set with per-image transforms in a DataLoader, the same model, loss and optimizer.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import MNIST

from benchmarks.timing import compare
from mi_runner.config import composition
from mi_runner.machine.cache import cache_folder
from mi_runner.runs.choices import build_network, load_dataset, training_options
from mi_runner.training.loop import train

OVERRIDES = (
    *(
        "dataset=mnist01",
        "dataset.target=value",
        "dataset.normalization=symmetric",
        "model.hidden_sizes=[128,128,3,3,3]",
    ),
    *("model.activation=leaky_relu", "model.output_activation=leaky_relu", "training.epochs=1", "seed=42"),
)


def textbook_epoch(model: nn.Module, loader: DataLoader) -> None:
    """The loop as tutorials have it."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for images, labels in loader:
        optimizer.zero_grad()
        outputs = model(images.view(len(images), -1)).squeeze(1)
        loss = functional.mse_loss(outputs, labels.float())
        loss.backward()
        optimizer.step()


def run() -> None:
    """Print the ratio."""
    config = composition.compose(OVERRIDES)
    dataset = load_dataset(config.dataset, seed=42)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    whole = MNIST(cache_folder(), train=True, transform=transform)
    zeros_and_ones = (whole.targets <= 1).nonzero().squeeze(1).tolist()
    loader = DataLoader(Subset(whole, zeros_and_ones), batch_size=64, shuffle=True)
    ours = build_network(config.model, dataset, seed=42)
    other = build_network(config.model, dataset, seed=42)
    compare(
        "training, one epoch of mnist01",
        lambda: train(ours.model, ours.dataset, training_options(config.training), seed=42),
        lambda: textbook_epoch(other.model, loader),
        wanted="at least 4",
    )
