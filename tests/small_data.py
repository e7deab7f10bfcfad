"""Small data sets."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
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


def of_two_bits(**changed: Any) -> dict[str, Any]:
    """x is two bits, y is their exclusive or, with the causal model that says so."""
    bits = np.array(list(itertools.product((0, 1), (0, 1))) * 3)
    arrays = {"variables": ["p", "q"], "mechanism": [[0, 1], [1, 0]]}
    for split in ("train", "test"):
        arrays |= {f"x_{split}": bits.astype(float), f"y_{split}": bits[:, 0] ^ bits[:, 1], f"variables_{split}": bits}
    return {name: array for name, array in (arrays | changed).items() if array is not None}
