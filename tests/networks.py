"""Small networks: one of integer weights whose values are in a table, and others that are trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip
from mi_runner.progress import Advance, Progress

X = torch.tensor([[1.0, 2.0], [-3.0, 1.0]])
"""The inputs of the table of `micro`."""


def micro() -> TwoLayerSkip:
    """TwoLayerSkip on two inputs with integer weights.

    first(x) = (x0 − x1 + 1, 2·x0 + x1)   last(h) = (h0 + 3·h1 − 1, 2·h0 − h1)

    | x       | first   | relu   | add     | last      |
    |---------|---------|--------|---------|-----------|
    | ( 1, 2) | ( 0, 4) | (0, 4) | ( 1, 6) | (18, −4)  |
    | (−3, 1) | (−3,−5) | (0, 0) | (−3, 1) | (−1, −7)  |
    """
    model = TwoLayerSkip(2, 2)
    with torch.no_grad():
        model.first.weight.copy_(torch.tensor([[1.0, -1.0], [2.0, 1.0]]))
        model.first.bias.copy_(torch.tensor([1.0, 0.0]))
        model.last.weight.copy_(torch.tensor([[1.0, 3.0], [2.0, -1.0]]))
        model.last.bias.copy_(torch.tensor([-1.0, 0.0]))
    return model


def traced(model: nn.Module | None = None, example: Tensor = X) -> ModelGraph:
    return ModelGraph.trace(model or micro(), example)


def network(n_outputs: int, output_activation: nn.Module | None = None, seed: int = 0) -> MLP:
    with chance.global_seed(seed, "test"):
        return MLP([6, 5, n_outputs], nn.Tanh, output_activation)


OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1},
    "sgd, momentum and decay": {
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 0.1,
    },
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
    "adam, decay": {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.1},
    "adamw, decay": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1},
}


class WithDropout(nn.Module):
    """A network that draws at random while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(6, 3), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.dropout(x))


class Counting(Progress):
    """Counts the steps of its bar, and keeps the notes behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.done = 0
        self.notes: list[str] = []
        self.steps: list[int] = []

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Advance]:
        def advance(steps: int, note: str = "") -> None:
            self.done += steps
            self.steps.append(steps)
            self.notes.append(note)

        self.total = total
        yield advance
