"""A forward pass through the graph without interventions against the plain module, on 10,000 images."""

from __future__ import annotations

import torch

from benchmarks.timing import compare
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.models.cnn import CNN
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip


@torch.no_grad()
def run() -> None:
    """Print the ratio for each model; ours is the plain module, the other the graph."""
    torch.manual_seed(0)
    images = torch.randn(10_000, 1, 28, 28)
    vectors = images.flatten(1)
    for name, model, x in (
        ("skip", TwoLayerSkip(784, 10), vectors),
        ("mlp", MLP([784, 128, 10]), vectors),
        ("cnn", CNN(1, (28, 28), 10), images),
    ):
        graph = ModelGraph.trace(model.eval(), x[:2])
        compare(
            f"forward pass, {name}: plain module against graph",
            lambda model=model, x=x: model(x),
            lambda graph=graph, x=x: graph(x),
            wanted="at most 1.1",
            rounds=5 if name == "cnn" else 25,
        )
