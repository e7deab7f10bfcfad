"""L1 and orthogonality: values worked out by hand, what training with them does, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mi_runner.errors import ArgumentError
from mi_runner.models.mlp import MLP
from mi_runner.training.loop import train
from mi_runner.training.options import TrainingOptions
from mi_runner.training.regularizers import STRENGTHS, l1, orthogonality, regularizer
from tests.small_data import values


def planted() -> MLP:
    """2-3-2-1: a tall, a wide and a last matrix."""
    model = MLP([2, 3, 2, 1])
    with torch.no_grad():
        model.layers[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -2.0], [1.0, 0.0]]))
        model.layers[2].weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]))
        model.layers[4].weight.copy_(torch.tensor([[3.0, -4.0]]))
        for layer in (0, 2, 4):
            model.layers[layer].bias.fill_(100.0)
    return model


def test_l1_is_the_sum_of_absolute_weights_without_biases() -> None:
    assert float(l1(planted()).detach()) == 4 + 2 + 7


def test_orthogonality_takes_the_smaller_product_of_each_hidden_matrix() -> None:
    """Of the 3×2 matrix WᵀW = diag(2, 4), 1 + 9 from the identity; of the 2×3 one WWᵀ = diag(1, ½), ¼ from it."""
    assert float(orthogonality(planted()).detach()) == 10.25
    orthogonal = MLP([3, 2, 4, 1])
    with torch.no_grad():
        orthogonal.layers[0].weight.copy_(torch.eye(3)[:2])
        orthogonal.layers[2].weight.copy_(torch.eye(4)[:, 1:3])
    assert float(orthogonality(orthogonal).detach()) == 0


@pytest.mark.parametrize(("kind", "measure"), [("l1", l1), ("orthogonality", orthogonality)])
def test_training_with_it_makes_it_smaller_and_strength_0_only_measures(kind: str, measure: object) -> None:
    ends = {}
    for name, strength in (("none", 1.0), (kind, 0.0), (kind, 0.1)):
        torch.manual_seed(0)
        model = MLP([6, 5, 5, 1])
        options = TrainingOptions(
            epochs=20, batch_size=16, learning_rate=0.01, loss="mse", regularizer=name, regularizer_strength=strength
        )
        history = train(model, values(), options, seed=0)
        ends[name, strength] = [*model.parameters()], float({"l1": l1}.get(kind, orthogonality)(model).detach())
        if name == kind:
            assert history[-1][kind] == ends[name, strength][1]
            assert (history[-1]["penalty"] > 0) == bool(strength)
    assert all(map(torch.equal, ends["none", 1.0][0], ends[kind, 0.0][0]))
    assert ends[kind, 0.1][1] < 0.5 * ends[kind, 0.0][1]


def test_each_has_a_strength_of_its_own() -> None:
    for kind, strength in STRENGTHS.items():
        term = regularizer(MLP([4, 4, 4, 4]), TrainingOptions(regularizer=kind))
        assert term is not None and (term.name, abs(term.factor)) == (kind, strength)


def test_a_network_without_what_it_measures() -> None:
    with pytest.raises(ArgumentError, match="Linear layers but the last, and the network has none"):
        regularizer(nn.Sequential(nn.Linear(2, 1)), TrainingOptions(regularizer="orthogonality"))
    with pytest.raises(ArgumentError, match="has no weights"):
        regularizer(nn.BatchNorm1d(3), TrainingOptions(regularizer="l1"))
