"""Small networks of Boolean functions: planted, and of random weights."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import torch

from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.explanations.boolean import BooleanNetwork

XOR, AND, OR, NIMP = 0b0110, 0b1000, 0b1110, 0b0100  # bit b is input b of 00, 01, 10, 11


def chain(*layers: tuple[list[list[float]], list[float]], activation: str = "relu", last: str = "identity") -> Part:
    kinds = [activation] * (len(layers) - 1) + [last]
    return Part(
        tuple(
            Layer(torch.tensor(weight), torch.tensor(bias), kind, 0.01)
            for (weight, bias), kind in zip(layers, kinds, strict=True)
        )
    )


def random_network(sizes: tuple[int, ...], seed: int) -> BooleanNetwork:
    """Weights drawn so that neurons have many values on the inputs, and the rounded output few."""
    draw = torch.Generator().manual_seed(seed)
    layers = [
        (torch.randn(n_out, n_in, generator=draw).mul(2).tolist(), torch.randn(n_out, generator=draw).tolist())
        for n_in, n_out in itertools.pairwise(sizes)
    ]
    weight, bias = layers[-1]
    layers[-1] = ([[0.25 * value for value in weight[0]]], bias)
    return BooleanNetwork.of(chain(*layers, activation="leaky_relu", last="leaky_relu"))


def in_float32(network: BooleanNetwork) -> Part:
    layers = network.part.layers
    return Part(tuple(replace(layer, weight=layer.weight.float(), bias=layer.bias.float()) for layer in layers))


PLANTED = BooleanNetwork.of(chain(([[1.0, -1.0], [-1.0, 1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])))
"""XOR: neuron 0 is A ∧ ¬B, neuron 1 is ¬A ∧ B, the output their sum."""


def well_formed(network: BooleanNetwork, most: int, seed: int) -> list[int]:
    space = network.space
    draw = np.random.default_rng(seed)
    every = map(int, draw.integers(1, space.full, size=4000, dtype=np.int64, endpoint=True))
    formed = sorted({circuit for circuit in every if space.is_well_formed(circuit)})
    return [formed[int(place)] for place in draw.permutation(len(formed))[:most]]
