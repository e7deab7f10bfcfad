"""Modular addition: a and b are uniform in 0..m−1; the input is two one-hot vectors, the class is (a + b) mod m."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mi_runner import chance
from mi_runner.datasets import Dataset, check_room
from mi_runner.datasets.causal_models import CausalModel, ModularSum
from mi_runner.datasets.features import Column


def load(
    *,
    seed: int = 0,
    limit: int | None = None,
    target: str = "class",
    modulus: int = 2,
    train_size: int = 10_000,
    test_size: int = 10_000,
) -> Dataset:
    """Returns pairs drawn with replacement, with inputs `(N, 2m)`: the one-hot a before the one-hot b.

    Args:
        seed: the pairs derive from it.
        limit: take at most this many training and test pairs; None: all.
        target: class; or value, the sum as a float.
        modulus: m.
        train_size, test_size: numbers of pairs.

    Raises:
        ArgumentError: they take more memory than is free.
    """
    by_class = target == "class"
    # One-hot vectors in int64 and float32, and the terms.
    check_room((train_size + test_size) * (24 * modulus + 64), train_size=train_size, test_size=test_size)

    def pairs(count: int, split: str) -> tuple[Tensor, Tensor, Tensor]:
        draw = chance.generator(seed, "mod_add", split)
        terms = torch.randint(modulus, (count, 2), generator=draw)
        sums = terms.sum(1) % modulus
        x = one_hot(terms, modulus).flatten(1).to(torch.float32)
        return x, sums if by_class else sums.float(), terms.double()

    x_train, y_train, terms_train = pairs(train_size, "train")
    x_test, y_test, terms_test = pairs(test_size, "test")
    terms = tuple(map(str, range(modulus)))
    columns = tuple(
        Column(name, "category", tuple(range(first, first + modulus)), categories=terms)
        for name, first in (("a", 0), ("b", modulus))
    )
    return Dataset(
        name="mod_add",
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        class_names=tuple(map(str, range(modulus))) if by_class else None,
        causal_model=CausalModel(("a", "b"), terms_train, terms_test, ModularSum(modulus, by_class)),
        label_name="sum",
        caption="{a} + {b} = {sum}",
        feature_names=tuple(name for column in columns for name in column.names),
        columns=columns,
    ).limited(limit)
