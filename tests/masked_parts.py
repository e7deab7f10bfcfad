"""Parts of random weights in double precision, their circuits, and a circuit's outputs an edge at a time."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import torch

from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.edges import Edges

ABLATIONS = ("zero", "mean")


def random_part(sizes: tuple[int, ...], activation: str = "leaky_relu", seed: int = 0, last: str | None = None) -> Part:
    """Returns a part of random weights; `last` is its last activation, where that is another one."""
    draw = torch.Generator().manual_seed(seed)
    layers = [
        Layer(torch.randn(n_out, n_in, generator=draw), torch.randn(n_out, generator=draw), activation, 0.1)
        for n_in, n_out in itertools.pairwise(sizes)
    ]
    if last is not None:
        layers[-1] = replace(layers[-1], activation=last)
    return Part(tuple(layers))


def examples(part: Part, n: int = 40, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, part.sizes[0], generator=draw, dtype=torch.float64)
    return x, torch.randint(0, 2, (n,), generator=draw).double()


def all_circuits(sizes: tuple[int, ...]) -> np.ndarray:
    """Every closed circuit but the empty one, by trying all sets of edges."""
    edges = Edges(sizes)
    every = (np.arange(2**edges.n)[:, None] >> np.arange(edges.n) & 1).astype(bool)
    return every[(edges.closed(every) == every).all(1) & every.any(1)]


def by_definition(part: Part, masks: list[np.ndarray], x: torch.Tensor, ablation: str) -> torch.Tensor:
    """The outputs of one circuit, an edge at a time."""
    clean, value = x, x
    for layer, mask in zip(part.layers, masks, strict=True):
        mean = clean.mean(0) if ablation == "mean" else torch.zeros(clean.shape[1], dtype=x.dtype)
        weight, sums = layer.weight.double(), layer.bias.double().repeat(len(x), 1)
        for target, source in itertools.product(*map(range, mask.shape)):
            carried = value[:, source] if mask[target, source] else mean[source].expand(len(x))
            sums[:, target] += weight[target, source] * carried
        clean = layer.activate(clean @ weight.T + layer.bias.double())
        value = layer.activate(sums)
    return value
