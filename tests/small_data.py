"""Small data sets."""

from __future__ import annotations

import torch

from mi_runner.datasets import Dataset


def classes(n: int = 40, n_features: int = 6, n_classes: int = 3, seed: int = 0) -> Dataset:
    """A small data set of classes that a linear network can learn."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(2 * n, n_features, generator=draw)
    y = x[:, :n_classes].argmax(1)
    return Dataset("arrays", x[:n], y[:n], x[n:], y[n:], tuple(map(str, range(n_classes))))


def values(n: int = 40, n_features: int = 6, seed: int = 0) -> Dataset:
    """A small data set of values 0 and 1 that a linear network can learn."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(2 * n, n_features, generator=draw)
    y = (x[:, 0] > 0).float()
    return Dataset("arrays", x[:n], y[:n], x[n:], y[n:], None)
