"""Points of the plane on two rings around 0, of radius 1 and 2; the class says on which."""

from __future__ import annotations

import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.datasets import Dataset, check_room


def load(
    *,
    seed: int = 0,
    limit: int | None = None,
    target: str = "class",
    noise: float = 0.1,
    train_size: int = 1_000,
    test_size: int = 1_000,
) -> Dataset:
    """Returns points `(N, 2)` and the ring of each, as a class or as a value."""
    by_class = target == "class"
    check_room(50 * (train_size + test_size), train_size=train_size, test_size=test_size)

    def points(count: int, split: str) -> tuple[Tensor, Tensor]:
        draw = chance.generator(seed, "rings", split)
        y = torch.randint(2, (count,), generator=draw)
        radius = 1 + y + noise * torch.randn(count, generator=draw)
        angle = 2 * torch.pi * torch.rand(count, generator=draw)
        return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1), y if by_class else y.float()

    x_train, y_train = points(train_size, "train")
    x_test, y_test = points(test_size, "test")
    names = ("inner", "outer") if by_class else None
    return Dataset("rings", x_train, y_train, x_test, y_test, names).limited(limit)
