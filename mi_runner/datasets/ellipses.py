"""Ellipses: one grey ellipse on white, 28×28; the label is whether a weighted sum of its three variables is large.

The data of interchange intervention training: circularity, color and area determine the label, and a network can be
trained to carry any of them at a chosen site. Letters: N examples, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.datasets import Dataset, check_room
from mi_runner.datasets.causal_models import CausalModel, WeightedSum
from mi_runner.errors import ArgumentError
from mi_runner.machine import threads

SIZE = 28
VARIABLES = ("circularity", "color", "area")
LARGEST_COLOR = 0.9
CIRCULARITY = (0.3, 1.0)
AREA = (16 * math.pi, 64 * math.pi)


@dataclass(frozen=True)
class Ellipses:
    """The properties of N ellipses, each `(N,)` float64, rounded to 2 digits.

    Attributes:
        circularity: the short semi-axis divided by the long one.
        color: the grey value; 0 is black.
        area: in pixels.
        turned: `(N,)` bool, whether the long axis is vertical.
    """

    circularity: Tensor
    color: Tensor
    area: Tensor
    turned: Tensor

    def values(self) -> Tensor:
        """Returns the variables circularity, color and area `(N, 3)`, each in 0..1."""
        ranges = (CIRCULARITY, (0.0, LARGEST_COLOR), AREA)
        columns = (self.circularity, self.color, self.area)
        return torch.stack([(x - low) / (high - low) for x, (low, high) in zip(columns, ranges, strict=True)], 1)


def sample(n: int, generator: torch.Generator) -> Ellipses:
    """Draws `n` ellipses: color 0.9·U(0, 1), circularity U(0.3, 1), area U(16π, 64π), horizontal or vertical."""
    circularity, color, area, direction = torch.rand(n, 4, generator=generator, dtype=torch.float64).unbind(1)
    return Ellipses(
        circularity=_between(circularity, CIRCULARITY),
        color=_between(color, (0.0, LARGEST_COLOR)),
        area=_between(area, AREA),
        turned=direction < 0.5,
    )


def _between(uniform: Tensor, bounds: tuple[float, float]) -> Tensor:
    low, high = bounds
    return (low + (high - low) * uniform).round(decimals=2)


def draw(ellipses: Ellipses) -> Tensor:
    """Returns images `(N, 1, 28, 28)` float32: a pixel with its centre inside has the ellipse's color, the others 1."""
    long = (ellipses.area / (math.pi * ellipses.circularity)).sqrt()
    short = long * ellipses.circularity
    horizontal = torch.where(ellipses.turned, short, long)
    vertical = torch.where(ellipses.turned, long, short)
    from_centre = (torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2).abs()
    with threads.exactly(1):  # more threads don't help, because most of the time is writing to memory
        # Half the ellipse's width in each row of pixels, (N, H); it gives the number of centres inside on each side.
        half_width = horizontal[:, None] * (1 - (from_centre / vertical[:, None]) ** 2).clamp(min=0).sqrt()
        n_inside = (half_width + 0.5).long().flatten()
        rows = from_centre < torch.arange(SIZE)[:, None]  # a row of pixels for each number of centres inside
        inside = rows.index_select(0, n_inside).view(-1, 1, SIZE, SIZE)
        return torch.where(inside, ellipses.color.float()[:, None, None, None], 1.0)


def load(
    *,
    seed: int = 0,
    limit: int | None = None,
    target: str = "value",
    train_size: int = 10_000,
    test_size: int = 1_000,
    coefficients: Sequence[float] = (0.4, 0.4, 0.4),
    threshold: float = 0.6,
) -> Dataset:
    """Returns training and test images with the label `coefficients · (circularity, color, area) > threshold`.

    Args:
        seed: the images derive from it.
        limit: take at most this many training and test images; None: all.
        target: value, one output that is 0 or 1; or class, two outputs.
        train_size, test_size: numbers of images.
        coefficients: of circularity, color and area.
        threshold: of the weighted sum.

    Raises:
        ArgumentError: there are not three coefficients.
    """
    # Images in float32, and which pixels are inside, of the larger set.
    check_room(SIZE**2 * (5 * train_size + 5 * test_size), train_size=train_size, test_size=test_size)
    if len(coefficients) != len(VARIABLES):
        given = ",".join(map(str, coefficients))
        rule = "give three, for circularity, color and area, e.g. [0.4,0.4,0.4]."
        raise ArgumentError("coefficients", f"[{given}]", rule)
    by_class = target == "class"
    mechanism = WeightedSum(tuple(coefficients), threshold, by_class)
    train, test = (
        sample(size, chance.generator(seed, "ellipses", split))
        for split, size in (("train", train_size), ("test", test_size))
    )
    causal_model = CausalModel(VARIABLES, train.values(), test.values(), mechanism)
    return Dataset(
        name="ellipses",
        x_train=draw(train),
        y_train=mechanism(causal_model.values_train),
        x_test=draw(test),
        y_test=mechanism(causal_model.values_test),
        class_names=("0", "1") if by_class else None,
        causal_model=causal_model,
    ).limited(limit)
