"""Parts of a network of random weights, with examples of one output, and all circuits' measures of them."""

from __future__ import annotations

import itertools

import torch

from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.measures import CircuitMeasures, measure


def random_part(sizes: tuple[int, ...], activations: list[str], seed: int = 0) -> Part:
    draw = torch.Generator().manual_seed(seed)
    layers = [
        Layer(
            torch.randn(n_out, n_in, generator=draw),
            torch.randn(n_out, generator=draw),
            activation,
            0.01 if activation == "leaky_relu" else 0.0,
            module=f"layers.{2 * number}",
        )
        for number, ((n_in, n_out), activation) in enumerate(zip(itertools.pairwise(sizes), activations, strict=True))
    ]
    return Part(tuple(layers))


def examples_of(part: Part, n: int = 60, seed: int = 1) -> CircuitExamples:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, part.sizes[0], generator=draw)
    return CircuitExamples(x, torch.randint(0, 2, (n,), generator=draw).float(), part(x).squeeze(1))


def all_of(part: Part, examples: CircuitExamples, **choices: str) -> CircuitMeasures:
    return CircuitMeasures.joined(list(measure(part, examples, **choices)))


def halves_part(sizes: tuple[int, ...], seed: int) -> Part:
    """Weights and biases of −1, −½, …, 1: with whole inputs many outputs are half-integers, exactly."""
    draw = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randint(-2, 3, shape, generator=draw) / 2

    shapes = list(itertools.pairwise(sizes))
    kinds = ["relu"] * (len(shapes) - 1) + ["identity"]
    return Part(tuple(Layer(numbers(b, a), numbers(b), kind) for (a, b), kind in zip(shapes, kinds, strict=True)))
