"""Modular addition: a and b uniform in 0..m−1, two one-hot vectors in, the class (a + b) mod m out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import CausalModel, ModularSum


def load(
    *,
    seed: int = 0,
    limit: int | None = None,
    target: str = "class",
    modulus: int = 2,
    train_size: int = 10_000,
    test_size: int = 10_000,
) -> Dataset:
    """Pairs drawn with replacement; inputs `(N, 2m)`, the one-hot a before the one-hot b.

    Args:
        seed: the pairs derive from it.
        limit: at most this many training and test pairs; None: all.
        target: class, or value: the sum as a float.
        modulus: m.
        train_size, test_size: pairs that are drawn.
    """
    by_class = target == "class"

    def pairs(count: int, split: str) -> tuple[Tensor, Tensor, Tensor]:
        draw = chance.generator(seed, "mod_add", split)
        numbers = torch.randint(modulus, (count, 2), generator=draw)
        sums = numbers.sum(1) % modulus
        x = one_hot(numbers, modulus).flatten(1).to(torch.float32)
        return x, sums if by_class else sums.float(), numbers.double()

    x_train, y_train, numbers_train = pairs(train_size, "train")
    x_test, y_test, numbers_test = pairs(test_size, "test")
    return Dataset(
        name="mod_add",
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        class_names=tuple(str(number) for number in range(modulus)) if by_class else None,
        causal_model=CausalModel(("a", "b"), numbers_train, numbers_test, ModularSum(modulus, by_class)),
        label_name="sum",
        caption="{a} + {b} = {sum}",
    ).limited(limit)
