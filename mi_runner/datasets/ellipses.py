"""Ellipses: one grey ellipse on white, 28×28; the label is whether a weighted sum of its three variables is large.

The data of interchange intervention training: the label follows from circularity, color and area, and a network can be
asked to carry any of them at a place of one's choice. Letters: N examples, H height, W width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mi_runner import chance, threads
from mi_runner.config.dataset_schemas import EllipsesConfig
from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import CausalModel, WeightedSum
from mi_runner.errors import ConfigError

SIZE = 28
VARIABLES = ("circularity", "color", "area")
LARGEST_COLOR = 0.9
CIRCULARITY = (0.3, 1.0)
AREA = (16 * math.pi, 64 * math.pi)


@dataclass(frozen=True)
class Ellipses:
    """What N ellipses look like, each `(N,)` float64, rounded to 2 digits.

    Attributes:
        circularity: the short semi-axis divided by the long one.
        color: the grey value, 0 black.
        area: in pixels.
        turned: `(N,)` bool, whether the long axis is vertical.
    """

    circularity: Tensor
    color: Tensor
    area: Tensor
    turned: Tensor

    def values(self) -> Tensor:
        """The variables circularity, color and area `(N, 3)`, each from 0 to 1."""
        ranges = (CIRCULARITY, (0.0, LARGEST_COLOR), AREA)
        columns = (self.circularity, self.color, self.area)
        return torch.stack([(x - low) / (high - low) for x, (low, high) in zip(columns, ranges, strict=True)], 1)


def sample(n: int, generator: torch.Generator) -> Ellipses:
    """N ellipses: color 0.9·U(0, 1), circularity U(0.3, 1), area U(16π, 64π), the long axis either way."""
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
    """The images `(N, 1, 28, 28)` float32: a pixel has the ellipse's color where its centre lies inside, else 1."""
    long = (ellipses.area / (math.pi * ellipses.circularity)).sqrt()
    short = long * ellipses.circularity
    horizontal = torch.where(ellipses.turned, short, long)
    vertical = torch.where(ellipses.turned, long, short)
    from_centre = (torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2).abs()
    with threads.exactly(1):  # it takes a moment, most of it in writing to memory
        # Half the ellipse's width in each row of pixels, (N, H): so many centres lie inside, to the left and right.
        half_width = horizontal[:, None] * (1 - (from_centre / vertical[:, None]) ** 2).clamp(min=0).sqrt()
        n_inside = (half_width + 0.5).long().flatten()
        rows = from_centre < torch.arange(SIZE)[:, None]  # a row of pixels for each number
        inside = rows.index_select(0, n_inside).view(-1, 1, SIZE, SIZE)
        return torch.where(inside, ellipses.color.float()[:, None, None, None], 1.0)


def load(config: EllipsesConfig, *, seed: int) -> Dataset:
    """Training and test images with the label `weights · (circularity, color, area) > threshold`.

    Raises:
        ConfigError: there are not three coefficients.
    """
    if len(config.coefficients) != len(VARIABLES):
        given = ",".join(map(str, config.coefficients))
        raise ConfigError(
            f"dataset.coefficients=[{given}]: give three, of circularity, color and area, as [0.4,0.4,0.4]."
        )
    by_class = config.target.name == "class"
    mechanism = WeightedSum(tuple(config.coefficients), config.threshold, by_class)
    train, test = (
        sample(size, chance.generator(seed, "ellipses", split))
        for split, size in (("train", config.train_size), ("test", config.test_size))
    )
    causal_model = CausalModel(VARIABLES, train.values(), test.values(), mechanism)
    return Dataset(
        name=config.name,
        x_train=draw(train),
        y_train=mechanism(causal_model.values_train),
        x_test=draw(test),
        y_test=mechanism(causal_model.values_test),
        class_names=("0", "1") if by_class else None,
        causal_model=causal_model,
    )
