"""Importance in the flow of information: by hand, and against a program in plain NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.discovery import scores
from mi_runner.methods.discovery.scores import information_flow
from tests.masked_parts import ABLATIONS, examples, random_part


def linear(weight: list[list[float]], bias: list[float]) -> Part:
    return Part((Layer(torch.tensor(weight), torch.tensor(bias)),))


def importance(weight: list[float], bias: float, *rows: list[float]) -> list[float]:
    """Of the edges into one neuron."""
    x = torch.tensor(rows, dtype=torch.float64)
    (found,) = information_flow(linear([weight], [bias]), x, torch.zeros(len(x)), "zero")
    numbers: list[float] = found[0].tolist()
    return numbers


def test_importance_by_hand() -> None:
    """Parts 3 and 1 of y = 4: as near as 4 − 1 = 3 and 4 − 3 = 1."""
    assert importance([3.0, 1.0], 0.0, [1.0, 1.0]) == [0.75, 0.25]
    # Parts 6, −2 and 1 of y = 5: as near as 5 − 1 = 4, below 0, and 5 − 4 = 1.
    assert importance([6.0, -2.0, 1.0], 0.0, [1.0, 1.0, 1.0]) == [0.8, 0.0, 0.2]
    # The same of a negative y.
    assert importance([6.0, -2.0, 1.0], 0.0, [-1.0, -1.0, -1.0]) == [0.8, 0.0, 0.2]


def test_a_part_that_is_more_than_twice_the_sum_is_not_near() -> None:
    """Parts 5 and −3 of y = 2: 2 − 3 and 2 − 5 are below 0, so nothing is near."""
    assert importance([5.0, -3.0], 0.0, [1.0, 1.0]) == [0.0, 0.0]


def test_the_bias_is_in_the_sum_and_takes_no_share() -> None:
    """Parts 1 and 1 of y = 4, each as near as 1; the bias would be as near as 2, and have half."""
    assert importance([1.0, 1.0], 2.0, [1.0, 1.0]) == [0.5, 0.5]
    # Of y = −1 both parts have the other sign.
    assert importance([1.0, 1.0], -3.0, [1.0, 1.0]) == [0.0, 0.0]


def test_where_nothing_enters_no_edge_is_important() -> None:
    assert importance([2.0, -2.0], 0.0, [1.0, 1.0]) == [0.0, 0.0]  # y = 0
    assert importance([0.0, 3.0], 0.0, [1.0, 1.0]) == [0.0, 1.0]  # a weight of 0
    assert importance([1.0, 1.0], 0.0, [0.0, 0.0]) == [0.0, 0.0]


def test_it_is_the_mean_over_the_examples_of_each_example_alone() -> None:
    """Importances 3/4 and 1/4, then 0 and 0, then 0 and 1."""
    assert importance([3.0, 1.0], 0.0, [1.0, 1.0], [0.0, 0.0], [0.0, 5.0]) == pytest.approx([0.25, 1.25 / 3])


def plainly(part: Part, x: np.ndarray) -> list[np.ndarray]:
    """An edge and an example at a time."""
    found, values = [], x
    for layer in part.layers:
        weight, bias = layer.weight.double().numpy(), layer.bias.double().numpy()
        total = np.zeros(weight.shape)
        after = values @ weight.T + bias
        for example, target in itertools.product(range(len(x)), range(len(bias))):
            y, of_edges = after[example, target], weight[target] * values[example]
            near = [max(0.0, abs(y) - abs(y - part)) for part in of_edges]
            if sum(near) > 0:
                total[target] += np.array(near) / sum(near)
        found.append(total / len(x))
        values = layer.activate(torch.from_numpy(after)).numpy()
    return found


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("numbers", [1, 100, 1_000_000])
def test_it_is_that_of_a_plain_program(numbers: int, ablation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With either ablation, and however many examples are computed together."""
    monkeypatch.setattr(scores, "NUMBERS_AT_ONCE", numbers)
    part = random_part((4, 3, 3, 2), "relu")
    x, y = examples(part)
    found = information_flow(part, x, y, ablation)
    for own, expected in zip(found, plainly(part, x.numpy()), strict=True):
        assert np.allclose(own.numpy(), expected, rtol=0, atol=1e-12) and 0 < own.sum() < len(own)
