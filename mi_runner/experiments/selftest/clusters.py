"""Do the measures of clusters give what a network of blocks gives by hand?

Letters: N examples, C clusters.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from mi_runner.experiments.selftest.networks import set_weights
from mi_runner.experiments.selftest.records import Check, Compared
from mi_runner.graph import ModelGraph, find_part
from mi_runner.methods.clusters import interpretability, pruned_share, switch_clusters, top_examples
from mi_runner.methods.pruning import prune
from mi_runner.models.mlp import MLP
from mi_runner.training.clusterability import Partition, clusterability, contiguous

C = 3
"""Clusters of two output and two input units each; each cluster answers one class."""


def _blocks() -> tuple[ModelGraph, Partition, Tensor, Tensor]:
    """Returns a network of three blocks, its clusters, and examples of each class with their labels."""
    net = nn.Sequential(nn.Linear(2 * C, 2 * C), nn.ReLU(), nn.Linear(2 * C, C))
    block = [[float(row // 2 == column // 2) for column in range(2 * C)] for row in range(2 * C)]
    set_weights(net[0], block)  # type: ignore[arg-type]
    set_weights(net[2], [[float(unit // 2 == label) for unit in range(2 * C)] for label in range(C)])  # type: ignore[arg-type]
    labels = torch.arange(C).repeat(2)
    x = torch.ones(len(labels), 2 * C)
    for example, label in enumerate(labels.tolist()):
        x[example, 2 * label : 2 * label + 2] = 2.0 + example
    return ModelGraph.trace(net, x[:2]), contiguous(2 * C, 2 * C, C), x, labels


def share_inside() -> Compared:
    """Compares the share of the squared weights inside the clusters of 3 0 1 / 1 2 0, the blocks being 3 and 2, 0."""
    weight = torch.tensor([[3.0, 0.0, 1.0], [1.0, 2.0, 0.0]])
    inside = torch.tensor([[True, False, False], [False, True, True]])
    return Compared((9 + 4) / (9 + 1 + 1 + 4), float(clusterability(weight, inside)), 1e-6)


def switched(state: str, expected: float) -> Compared:
    """Compares the accuracy with each cluster off, or on, by the cluster that is furthest from what it should be."""
    graph, partition, x, labels = _blocks()
    found = [row.accuracy for row in switch_clusters(graph, "0", partition, x, labels) if row.state == state]
    return Compared(expected, max(found, key=lambda accuracy: abs(accuracy - expected)), 1e-9)


def own_class() -> Compared:
    """Compares how often a cluster that is on answers its own class, and one that is off no longer does."""
    graph, partition, x, labels = _blocks()
    rows = switch_clusters(graph, "0", partition, x, labels)
    n_right = sum(
        row.class_accuracy[row.cluster] == float(row.state == "on") for row in rows if row.cluster is not None
    )
    return Compared(2 * C, n_right)


def pruned() -> Compared:
    """Compares the edges of the block that pruning leaves, minus those of other blocks, with all of the block."""
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    block = [[2.0 if row // 2 == column // 2 else 1e-5 for column in range(4)] for row in range(4)]
    set_weights(net[0], block)  # type: ignore[arg-type]
    set_weights(net[2], [[1.0, 1.0, -1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]])  # type: ignore[arg-type]
    x = torch.tensor([[1.0, 0.5, 0.0, 0.0], [0.5, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.5, 1.0]]) / 4
    part = find_part(ModelGraph.trace(net, x[:2]), None)
    kept = prune(part, x, torch.softmax(part(x), 1)[:, 0].detach(), 0, threshold=1e-5, layers=[0])[0]
    inside = torch.tensor(block) > 1
    return Compared(int(inside.sum()), int((kept & inside).sum()) - int((kept & ~inside).sum()))


def top_classes() -> Compared:
    """Compares a layer's interpretability with that by sorting each unit's activations."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    set_weights(net[0], [[1.0, 0.0], [0.0, 1.0]])  # type: ignore[arg-type]
    x = torch.tensor([[5.0, 0.0], [4.0, 3.0], [3.0, 9.0], [0.0, 8.0], [1.0, 7.0]])
    labels = [0, 0, 1, 2, 3]
    expected = 0.0
    for unit in range(2):
        best = sorted(range(len(x)), key=lambda example: -float(x[example, unit]))[:3]
        expected += (1 - len({labels[example] for example in best}) / 4) / 2
    top = top_examples(ModelGraph.trace(net, x[:2]), x, ["1"], 3)["1"]
    return Compared(expected, interpretability(torch.tensor(labels)[top], 4), 1e-9)


def outside() -> Compared:
    """Compares the share of parameters outside one of four clusters of 784-64-64-10 without biases, published."""
    net = MLP([784, 64, 64, 10], bias=False)
    graph = ModelGraph.trace(net, torch.zeros(2, 784))
    return Compared(0.7640, pruned_share(graph, "layers.2", contiguous(64, 64, 4), 1, 54_912), 5e-5)


CLUSTERS = (
    Check("clusterability", "share of squared weights inside clusters, by hand", share_inside),
    Check("off", "accuracy of a network of three blocks with any one off", partial(switched, "off", 2 / 3)),
    Check("on", "accuracy of a network of three blocks with any one on", partial(switched, "on", 1 / 3)),
    Check("own_class", "clusters that answer their own class when on, and lose it when off", own_class),
    Check("prune", "edges of a block that pruning for its class leaves, less those of others", pruned),
    Check("interpretability", "interpretability of a layer, by sorting", top_classes),
    Check("pruned_share", "share of parameters outside a cluster of 784-64-64-10, published", outside),
)
