"""Modular addition: a and b uniform in 0..m−1, two one-hot vectors in, the class (a + b) mod m out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mi_runner import chance
from mi_runner.config.dataset_schemas import ModAddConfig
from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import CausalModel, ModularSum


def load(config: ModAddConfig, *, seed: int) -> Dataset:
    """Pairs drawn with replacement; inputs `(N, 2m)`, the one-hot a before the one-hot b."""

    by_class = config.target.name == "class"

    def pairs(count: int, split: str) -> tuple[Tensor, Tensor, Tensor]:
        draw = chance.generator(seed, "mod_add", split)
        numbers = torch.randint(config.modulus, (count, 2), generator=draw)
        sums = numbers.sum(1) % config.modulus
        x = one_hot(numbers, config.modulus).flatten(1).to(torch.float32)
        return x, sums if by_class else sums.float(), numbers.double()

    x_train, y_train, numbers_train = pairs(config.train_size, "train")
    x_test, y_test, numbers_test = pairs(config.test_size, "test")
    return Dataset(
        name=config.name,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        class_names=tuple(str(number) for number in range(config.modulus)) if by_class else None,
        causal_model=CausalModel(("a", "b"), numbers_train, numbers_test, ModularSum(config.modulus, by_class)),
        label_name="sum",
        caption="{a} + {b} = {sum}",
    )
