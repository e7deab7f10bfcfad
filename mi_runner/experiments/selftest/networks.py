"""The small networks of the self-test, with weights by hand or planted, and plain Python that computes the same.

Letters: n inputs, L Linear layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from mi_runner.graph import ModelGraph, Part, find_part
from mi_runner.models import formulas, planted_layers
from mi_runner.models.planted import Planted
from mi_runner.models.planted_layers import Options
from mi_runner.models.truth import Truth

XOR = "(A & ~B) | (~A & B)"

Matrix = Sequence[Sequence[float]]


class TwoWays(nn.Module):
    """`last(x + h) + h` with `h = relu(first(x))`: an input and a hidden value that are used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 2), nn.Linear(2, 2)
        set_weights(self.first, FIRST, FIRST_BIAS)
        set_weights(self.last, LAST, LAST_BIAS)

    def forward(self, x: Tensor) -> Tensor:
        """Returns outputs `(B, 2)` of inputs `(B, 2)`."""
        hidden = torch.relu(self.first(x))
        return self.last(x + hidden) + hidden


FIRST, FIRST_BIAS = [[1.0, -1.0], [0.0, 2.0]], [0.0, -1.0]
LAST, LAST_BIAS = [[2.0, 1.0], [1.0, -1.0]], [1.0, 0.0]
EXAMPLES = [[3.0, 1.0], [0.0, 2.0], [-1.0, 4.0], [2.0, -3.0]]
"""Integers, so that every value of `TwoWays` is exact."""


def set_weights(linear: nn.Linear, weight: Matrix, bias: Sequence[float] | None = None) -> None:
    """Gives a Linear layer these weights `(out, in)` and this bias; None: 0."""
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(weight))
        if linear.bias is not None:
            linear.bias.copy_(torch.zeros(len(weight)) if bias is None else torch.tensor(bias))


def affine(weight: Matrix, bias: Sequence[float], x: Sequence[float]) -> list[float]:
    """Returns a Linear layer's output for one example, in plain Python."""
    return [sum(w * value for w, value in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def planted(formula: str = XOR, n: int = 2, **options: object) -> tuple[Part, Truth, Tensor, Tensor]:
    """Returns the part of a planted network, the truth about it, all inputs `(2ⁿ, n)` and the answers `(2ⁿ,)`."""
    chosen = Options(**{**DEFAULTS, **options})  # type: ignore[arg-type]
    chain, truth = planted_layers.compiled(formulas.parsed(formula, n), chosen, 0)
    x = inputs_of(n)
    part = find_part(ModelGraph.trace(Planted(chain), x), None)
    return part, truth, x, torch.tensor(truth.formula.values.tolist()).float()


DEFAULTS = {
    "distractors": 0,
    "distractor_kind": "cancelling",
    "cancelling_weight": 1.0,
    "copies": 1,
    "noise": 0.0,
    "rotation": None,
    "width": 1,
    "shuffle": True,
}


def inputs_of(n: int) -> Tensor:
    """Returns all inputs `(2ⁿ, n)` of 0 and 1, in the order of a truth table."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)))


def drawn_part(sizes: Sequence[int], seed: int) -> Part:
    """Returns a ReLU chain of these sizes with random weights that are multiples of 1/8, and so exact."""
    draw = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        linear = nn.Linear(n_in, n_out)
        with torch.no_grad():
            linear.weight.copy_(torch.randint(-16, 17, (n_out, n_in), generator=draw) / 8)
            linear.bias.copy_(torch.randint(-4, 5, (n_out,), generator=draw) / 8)
        layers += [linear, nn.ReLU()]
    return find_part(ModelGraph.trace(nn.Sequential(*layers[:-1]), torch.zeros(1, sizes[0])), None)


# --- circuits in plain Python ----------------------------------------------------------------------------------------


def edges_of(sizes: Sequence[int]) -> list[tuple[int, int, int]]:
    """Returns layer, target and source of each edge: by layer, then by target, then by source."""
    return [
        (layer, target, source)
        for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes))
        for target in range(n_out)
        for source in range(n_in)
    ]


def circuits_of(sizes: Sequence[int], inputs: str = "all") -> Iterator[int]:
    """Yields every well-formed circuit of a chain with one output, found by looking at all sets of edges.

    Args:
        inputs: all: every input has an edge; any: inputs may be left out.
    """
    edges = edges_of(sizes)
    for bits in range(1, 2 ** len(edges)):
        kept = [edge for number, edge in enumerate(edges) if bits >> number & 1]
        sources = {(layer, source) for layer, _, source in kept}
        targets = {(layer + 1, target) for layer, target, _ in kept}
        hidden = [(layer, neuron) for layer in range(1, len(sizes) - 1) for neuron in range(sizes[layer])]
        all_inputs = inputs == "any" or all((0, neuron) in sources for neuron in range(sizes[0]))
        is_connected = all((neuron in sources) == (neuron in targets) for neuron in hidden)
        if all_inputs and is_connected and (len(sizes) - 1, 0) in targets:
            yield bits


def run_circuit(
    part: Part, bits: int, x: Sequence[float], means: Sequence[Sequence[float]] | None
) -> list[list[float]]:
    """Returns the values of all layers for one example `(n,)`, inputs first, where a circuit's edges alone are kept.

    Args:
        means: of the sources of each layer: what a left-out edge carries; None: 0, and an inactive neuron is 0.
    """
    values, number = [list(x)], 0
    for layer, of_part in enumerate(part.layers):
        weight, bias = of_part.weight.tolist(), of_part.bias.tolist()
        is_last, after = layer == len(part.layers) - 1, []
        for row, b in zip(weight, bias, strict=True):
            total, n_kept = b, 0
            for source, w in enumerate(row):
                is_kept = bits >> number & 1
                n_kept += is_kept
                total += w * (values[-1][source] if is_kept else means[layer][source] if means else 0.0)
                number += 1
            value = total if is_last else max(total, 0.0)
            after.append(value if n_kept or is_last else 0.0)
        values.append(after)
    return values


def full_circuit(part: Part) -> int:
    """Returns the circuit that keeps every edge."""
    return int(2 ** len(edges_of(part.sizes)) - 1)


def means_of(part: Part, x: Tensor) -> list[list[float]]:
    """Returns the mean of each neuron that edges leave, for each layer, in plain Python."""
    runs = [run_circuit(part, full_circuit(part), example, None) for example in x.tolist()]
    return [
        [sum(run[layer][neuron] for run in runs) / len(runs) for neuron in range(size)]
        for layer, size in enumerate(part.sizes[:-1])
    ]
