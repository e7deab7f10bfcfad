"""Hierarchical equality: is one pair of vectors equal exactly if another pair is?

The data on which Sutter et al., "The non-linear representation dilemma" (NeurIPS 2025), ask how strong the map from a
site to the variables may be; the task is that of Geiger et al., "Relational reasoning and generalization using
nonsymbolic neural networks". Vectors a, b, c and d have numbers uniform in −½..½; with probability ½ b is a, and with
probability ½ d is c. The label is (a = b) ⇔ (c = d).

Letters: N examples, B pairs, D numbers of a vector, W columns of values.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.datasets import Dataset, check_room
from mi_runner.datasets.causal_models import CausalModel, Follows

VECTORS = ("a", "b", "c", "d")
VARIABLES = ("left", "right", "first")
LEFT, RIGHT, FIRST = range(3)
"""The first columns of the variables' values. Those of b stand behind them, because `left` follows from a and b."""


@dataclass(frozen=True)
class BothOrNeither:
    """The label: whether both pairs are equal, or neither.

    Attributes:
        classes: whether it is a class, 0 or 1, or the value 0.0 or 1.0.
    """

    classes: bool

    def __call__(self, values: Tensor) -> Tensor:
        return (values[:, LEFT] == values[:, RIGHT]).to(torch.int64 if self.classes else torch.float32)


@dataclass(frozen=True)
class FirstIsSecond:
    """Whether the vectors a and b are equal: the value 0.0 or 1.0.

    Attributes:
        size: D.
    """

    size: int

    def __call__(self, values: Tensor) -> Tensor:
        a, b = values[:, FIRST : FIRST + self.size], values[:, FIRST + self.size :]
        return (a == b).all(1).to(values.dtype)


def draw(n: int, size: int, generator: torch.Generator) -> Tensor:
    """Returns the vectors a, b, c and d of n examples, `(N, 4, D)` float32 in −½..½."""
    vectors = torch.rand(n, len(VECTORS), size, generator=generator) - 0.5
    left_equal, right_equal = (torch.rand(n, 2, generator=generator) < 0.5).unbind(1)
    vectors[left_equal, 1] = vectors[left_equal, 0]
    vectors[right_equal, 3] = vectors[right_equal, 2]
    return vectors


def values_of(vectors: Tensor) -> Tensor:
    """Returns the columns left, right, a and b `(N, 2 + 2D)` float64 of vectors `(N, 4, D)`."""
    a, b, c, d = vectors.unbind(1)
    left, right = ((one == other).all(1, keepdim=True) for one, other in ((a, b), (c, d)))
    return torch.cat([left, right, a, b], 1).double()


def load(
    *,
    seed: int = 0,
    limit: int | None = None,
    target: str = "class",
    size: int = 4,
    train_size: int = 1_058_576,
    test_size: int = 10_000,
) -> Dataset:
    """Returns examples with inputs `(N, 4D)`: the vectors a, b, c and d one behind the other.

    Args:
        seed: the examples derive from it.
        limit: take at most this many training and test examples; None: all.
        target: class, two outputs; or value, one output that is 0 or 1.
        size: D.
        train_size, test_size: numbers of examples.

    Raises:
        ArgumentError: they take more memory than is free.
    """
    by_class = target == "class"
    # Vectors and columns that are equal in float32, and the values in float32 and float64, of the larger set.
    check_room((train_size + test_size) * (64 * size + 64), train_size=train_size, test_size=test_size)
    train, test = (
        draw(n, size, chance.generator(seed, "equality", split))
        for split, n in (("train", train_size), ("test", test_size))
    )
    mechanism = BothOrNeither(by_class)
    causal_model = CausalModel(
        VARIABLES,
        values_of(train),
        values_of(test),
        mechanism,
        widths=(1, 1, size),
        n_kept=size,
        follows=(Follows("left", "first", FirstIsSecond(size)),),
    )
    return Dataset(
        name="equality",
        x_train=train.flatten(1),
        y_train=mechanism(causal_model.values_train),
        x_test=test.flatten(1),
        y_test=mechanism(causal_model.values_test),
        class_names=("0", "1") if by_class else None,
        causal_model=causal_model,
        feature_names=tuple(f"{vector}{place}" for vector in VECTORS for place in range(1, size + 1)),
    ).limited(limit)
