"""Training for clusters, top images, greedy pruning: each against what it replaces, on 10,000 images of MNIST.

The top images take one pass of the network and the search for the largest values. If the search took no time, one pass
would be 64 times as fast as a pass for each of 64 units; for a network as small as this one the search takes about half
as long as the pass. Both are compared on one thread.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import MNIST

from benchmarks.timing import compare, seconds
from mi_runner.config import composition
from mi_runner.graph.chain import Part, find_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.machine import threads
from mi_runner.machine.cache import cache_folder
from mi_runner.methods import pruning
from mi_runner.methods.clusters import top_examples
from mi_runner.runs.choices import build_network, load_dataset, training_options
from mi_runner.training.loop import train

IMAGES = 10_000

EDGES = 200
"""Edges that are pruned with a full forward pass each: all of them would take minutes."""


def textbook_epoch(model: nn.Module, loader: DataLoader) -> None:
    """The training loop of tutorials; it makes the clusters' mask in each step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for images, labels in loader:
        optimizer.zero_grad()
        weight = model.layers[2].weight
        mask = torch.zeros_like(weight)
        for start in range(0, 64, 16):
            mask[start : start + 16, start : start + 16] = 1
        clusterability = ((weight * mask) ** 2).sum() / (weight**2).sum()
        loss = functional.cross_entropy(model(images.view(len(images), -1)), labels) - 15 * clusterability
        loss.backward()
        optimizer.step()


@torch.no_grad()
def a_pass_per_unit(model: nn.Module, loader: DataLoader, k: int) -> None:
    """The top images of each hidden unit of the second layer, found by a pass over the test set for each."""
    for unit in range(64):
        read = torch.cat([model.layers[:4](x)[:, unit] for x in loader])
        read.topk(k)


@torch.no_grad()
def a_forward_per_edge(model: nn.Module, x: Tensor, probability: Tensor, class_index: int, n_edges: int) -> None:
    """Greedy pruning of the middle layer's first edges, with a forward pass of the whole network for each."""
    weight = model.layers[2].weight.detach().clone()
    now = float(pruning.criterion_value(model(x), probability, class_index))
    for edge in range(n_edges):
        place = divmod(edge, weight.shape[1])
        before = model.layers[2].weight[place].clone()
        model.layers[2].weight[place] = 0
        then = float(pruning.criterion_value(model(x), probability, class_index))
        if then - now < 1e-4:
            now = then
        else:
            model.layers[2].weight[place] = before
    model.layers[2].weight.copy_(weight)


def run() -> None:
    """Print the ratios."""
    config = composition.compose(["experiment=clusters", "training.epochs=1", f"dataset.limit={IMAGES}"])
    dataset = load_dataset(config.dataset, seed=42)
    built = [build_network(config.model, dataset, seed=42) for _ in range(3)]
    without = replace(training_options(config.training), regularizer_strength=0.0)

    def epoch(network: int, training: object) -> None:
        train(built[network].model, built[network].dataset, training, seed=42)

    compare(
        "clusters: an epoch with the term (as 'other') against one without",
        lambda: epoch(0, without),
        lambda: epoch(1, training_options(config.training)),
        wanted="at most 1.3",
    )
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.1307, 0.3081)])
    images = Subset(MNIST(cache_folder(), train=True, transform=transform), range(IMAGES))
    loader = DataLoader(images, batch_size=64, shuffle=True)
    compare(
        "clusters: an epoch against the textbook's",
        lambda: epoch(1, training_options(config.training)),
        lambda: textbook_epoch(built[2].model, loader),
        wanted="at least 5",
        rounds=3,
    )

    model, x = built[1].model, built[1].dataset.x_test
    graph = ModelGraph.trace(model, x[:2])
    passes = x.split(1000)
    with threads.exactly(1):
        compare(
            "clusters: top 50 images of 64 units, one pass against one a unit",
            lambda: top_examples(graph, x, ["layers.3"], 50),
            lambda: a_pass_per_unit(model, passes, 50),
            wanted="at least 35 of CPU seconds",
        )

    few, labels = built[1].dataset.x_train[:1000], built[1].dataset.y_train[:1000]
    part: Part = find_part(graph, None)
    with torch.no_grad():
        _, probability = pruning.wanted("divergence", part(few), labels, 0)
    n_edges = part.layers[1].weight.numel()
    pruning.prune(part, few, probability, 0, threshold=1e-4, layers=[1])
    # The full passes visit fewer edges, so the seconds of one edge are compared.
    a_forward_per_edge(model, few, probability, 0, 10)
    pairs = [
        (
            seconds(lambda: pruning.prune(part, few, probability, 0, threshold=1e-4, layers=[1])) / n_edges,
            seconds(lambda: a_forward_per_edge(model, few, probability, 0, EDGES)) / EDGES,
        )
        for _ in range(5)
    ]
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    print(
        f"clusters: pruning the middle layer, seconds of an edge against a full pass for each: ratio {ratios[2]:.3g} "
        f"({ratios[0]:.3g} to {ratios[-1]:.3g}); wanted at least 50",
        flush=True,
    )
