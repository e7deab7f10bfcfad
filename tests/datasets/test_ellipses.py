"""Ellipses: the vectorised drawing against the definition pixel by pixel, the recipe's ranges, the labels by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mi_runner.config.datasets.arrays import Target
from mi_runner.config.datasets.ellipses import EllipsesConfig
from mi_runner.datasets import ellipses
from mi_runner.datasets.causal_models import WeightedSum
from mi_runner.datasets.ellipses import Ellipses
from mi_runner.errors import ConfigError
from mi_runner.runs.choices import load_dataset

SMALL = EllipsesConfig(train_size=300, test_size=50)


def drawn_by_hand(color: float, circularity: float, area: float, turned: bool) -> np.ndarray:
    """One image, one pixel after the other."""
    a = math.sqrt(area / (math.pi * circularity))
    b = a * circularity
    image = np.ones((28, 28), np.float32)
    for row in range(28):
        for column in range(28):
            x, y = column - 13.5, row - 13.5
            if turned:
                x, y = y, x
            if (x / a) ** 2 + (y / b) ** 2 <= 1:
                image[row, column] = color
    return image


def test_drawing_at_once_is_drawing_pixel_by_pixel() -> None:
    sampled = ellipses.sample(60, torch.Generator().manual_seed(0))
    images = ellipses.draw(sampled)
    assert images.shape == (60, 1, 28, 28) and images.dtype == torch.float32
    columns = (sampled.color, sampled.circularity, sampled.area, sampled.turned)
    for image, *given in zip(images, *(column.tolist() for column in columns), strict=True):
        assert np.array_equal(image[0].numpy(), drawn_by_hand(*given))


def test_the_recipe() -> None:
    found = ellipses.sample(20_000, torch.Generator().manual_seed(1))
    for values, low, high in (
        (found.circularity, 0.3, 1.0),
        (found.color, 0.0, 0.9),
        (found.area, 16 * math.pi, 64 * math.pi),
    ):
        assert float(values.min()) == pytest.approx(low, abs=0.02)
        assert float(values.max()) == pytest.approx(high, abs=0.02)
        assert float(values.mean()) == pytest.approx((low + high) / 2, rel=0.01)
        assert torch.equal(values, (values * 100).round() / 100)  # 2 digits
    assert float(found.turned.double().mean()) == pytest.approx(0.5, abs=0.01)
    assert len(torch.unique(torch.stack([found.circularity, found.color, found.area]))) > 10_000


def test_an_ellipse_has_its_area_and_axes() -> None:
    given = torch.tensor([0.5, 0.25], dtype=torch.float64)
    image = ellipses.draw(Ellipses(given, given, torch.tensor([100.0, 100.0]).double(), torch.tensor([True, False])))
    dark = image[:, 0] != 1
    assert image[0, 0].min() == 0.5 and image[1, 0].min() == 0.25
    assert all(abs(int(count) - 100) <= 6 for count in dark.sum((1, 2)))
    tall, wide = dark[0], dark[1]
    assert (int(tall.any(1).sum()), int(tall.any(0).sum())) == (16, 8)  # 2·sqrt(100/0.5π) = 15.96
    assert (int(wide.any(1).sum()), int(wide.any(0).sum())) == (6, 22)  # 2·sqrt(100/0.25π) = 22.57, 5.64


def test_values_go_from_0_to_1_and_labels_follow_from_them() -> None:
    dataset = load_dataset(SMALL, seed=0)
    model = dataset.causal_model
    assert model is not None and model.variables == ("circularity", "color", "area")
    sampled = ellipses.sample(300, ellipses.chance.generator(0, "ellipses", "train"))
    circularity, color, area = model.values_train.unbind(1)
    assert torch.allclose(circularity, (sampled.circularity - 0.3) / 0.7)
    assert torch.allclose(color, sampled.color / 0.9)
    assert torch.allclose(area, (sampled.area - 16 * math.pi) / (48 * math.pi))
    by_hand = [float(0.4 * a + 0.4 * b + 0.4 * c > 0.6) for a, b, c in model.values_train.tolist()]
    assert dataset.y_train.tolist() == by_hand
    assert 0.4 < sum(by_hand) / 300 < 0.6
    assert torch.equal(dataset.x_train, ellipses.draw(sampled))
    assert dataset.is_binary and dataset.n_outputs == 1 and dataset.input_shape == (1, 28, 28)


def test_coefficients_and_threshold_are_options() -> None:
    dataset = load_dataset(replace(SMALL, coefficients=[0.0, 1.0, 0.0], threshold=0.75), seed=0)
    darkness = dataset.x_train.amin((1, 2, 3)).double()
    assert torch.equal(dataset.y_train, (darkness / 0.9 > 0.75 + 1e-6).float())


@pytest.mark.parametrize("coefficients", [[], [1.0], [1.0, 2.0, 3.0, 4.0]], ids=len)
def test_there_are_three_coefficients(coefficients: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"give three, for circularity, color and area, e\.g\. \[0.4,0.4,0.4\]"):
        load_dataset(replace(SMALL, coefficients=coefficients), seed=0)


def test_as_classes_the_labels_are_the_same() -> None:
    values = load_dataset(SMALL, seed=0)
    classes = load_dataset(replace(SMALL, target=Target["class"]), seed=0)
    assert classes.class_names == ("0", "1") and classes.y_test.dtype == torch.int64
    assert classes.y_test.tolist() == values.y_test.tolist()


def test_the_same_seed_gives_the_same_images_and_the_splits_differ() -> None:
    one, again, other = (load_dataset(SMALL, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.x_train, again.x_train) and torch.equal(one.y_test, again.y_test)
    assert not torch.equal(one.x_train, other.x_train)
    assert not torch.equal(one.x_train[:50], one.x_test)


def test_a_limit_takes_the_first_and_their_values() -> None:
    whole, limited = (load_dataset(replace(SMALL, limit=limit), seed=0) for limit in (None, 20))
    assert torch.equal(limited.x_train, whole.x_train[:20]) and len(limited.x_test) == 20
    assert limited.causal_model is not None and whole.causal_model is not None
    assert torch.equal(limited.causal_model.values_test, whole.causal_model.values_test[:20])


def test_content_and_fingerprint_change_together() -> None:
    changed = [
        {},
        {"threshold": 0.5},
        {"coefficients": [1.0, 0.0, 0.0]},
        {"train_size": 299},
        {"test_size": 49},
        {"target": Target["class"]},
        {"limit": 20},
    ]
    prints = [load_dataset(replace(SMALL, **options), seed=0).fingerprint for options in changed]
    prints.append(load_dataset(SMALL, seed=1).fingerprint)
    assert len(set(prints)) == len(prints)


def test_another_mechanism_has_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no weights are found that were trained on other labels of the same images."""
    before = load_dataset(SMALL, seed=0)
    called = WeightedSum.__call__
    monkeypatch.setattr(WeightedSum, "__call__", lambda self, values: 1 - called(self, values))
    after = load_dataset(SMALL, seed=0)
    assert torch.equal(before.x_train, after.x_train) and before.fingerprint != after.fingerprint
