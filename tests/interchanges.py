"""A network of the exclusive or that carries its variables as its causal model does, and swaps in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import CausalModel, ModularSum
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.alignment import Rotation, Units
from mi_runner.methods.interchange import Aligned, Pairs, counterfactual_correct, draw_pairs

ANGLE = torch.tensor(0.6)
TURN = torch.stack([torch.stack([ANGLE.cos(), -ANGLE.sin()]), torch.stack([ANGLE.sin(), ANGLE.cos()])])


class Xor(nn.Module):
    """Computes a xor b as the causal model of modular addition does: `first` has a and b, turned or not.

    `second` has a − b and b − a, relu of these adds up to the exclusive or, `last` gives the logits.
    """

    def __init__(self, turn: Tensor | None = None) -> None:
        super().__init__()
        turn = torch.eye(2) if turn is None else turn
        self.first, self.second, self.last = nn.Linear(4, 2), nn.Linear(2, 2), nn.Linear(2, 2)
        weights = {
            "first.weight": turn @ torch.tensor([[0.0, 1, 0, 0], [0, 0, 0, 1]]),
            "first.bias": torch.zeros(2),
            "second.weight": torch.tensor([[1.0, -1], [-1, 1]]) @ turn.T,
            "second.bias": torch.zeros(2),
            "last.weight": torch.tensor([[-4.0, -4], [4, 4]]),
            "last.bias": torch.tensor([2.0, -2]),
        }
        self.load_state_dict(weights)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(self.first(x))))


def bits(n: int = 400) -> Dataset:
    """Modular addition with m = 2."""
    numbers = torch.randint(2, (2 * n, 2), generator=torch.Generator().manual_seed(0))
    x, y = functional.one_hot(numbers, 2).flatten(1).float(), numbers.sum(1) % 2
    model = CausalModel(("a", "b"), numbers[:n].double(), numbers[n:].double(), ModularSum(2, classes=True))
    return Dataset("bits", x[:n], y[:n], x[n:], y[n:], ("0", "1"), causal_model=model)


def pairs(dataset: Dataset, split: str, *places: tuple[str, ...], n: int = 300) -> Pairs:
    model = dataset.causal_model
    assert model is not None
    values = getattr(model, f"values_{split}")
    draw = torch.Generator().manual_seed(1)
    return draw_pairs(model, values, places, n, among=torch.arange(len(values)), generator=draw)


def aligned(model: nn.Module, site: str, alignment: Units | Rotation) -> Aligned:
    return Aligned(model.eval(), ModelGraph.trace(model, torch.eye(4)), site, alignment)


def iia(found: Aligned, dataset: Dataset, given: Pairs) -> float:
    right, _ = counterfactual_correct(found, dataset, given)
    return float(right.double().mean())


def direction(seed: int = 0, size: int = 1) -> Rotation:
    return Rotation((2,), 1, size, generator=torch.Generator().manual_seed(seed))


def sgd(parameters: Sequence[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=learning_rate)
