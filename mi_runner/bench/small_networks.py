"""The networks of `mi-run bench --vectors`: small, with fixed weights, so that any framework can compute the same.

Weights, biases, slopes and inputs are fractions with a power of 2 below, and there are 4, 8 or 16 examples. So the
outputs of all networks but that of tanh are exact in float32, those of their circuits with either ablation in float64,
and circuits that answer alike tie in every implementation.

Letters: B examples, n inputs, L Linear layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.datasets.outputs import Outputs
from mi_runner.models import formulas, planted_layers
from mi_runner.models.planted import Planted
from mi_runner.models.truth import Truth

SLOPE = 0.125
"""Of LeakyReLU for negative values; a power of 2, so that it rounds nothing."""

XOR = "(A & ~B) | (~A & B)"

STEP = 8
"""Weights, biases and inputs are multiples of 1 / STEP."""


@dataclass(frozen=True)
class SmallNetwork:
    """A network, its examples, and when a circuit of it is valid.

    Attributes:
        name: of its file.
        meaning: in a sentence without a full stop.
        model: Linear layers and activations, all of which are analysed.
        x: `(B, n)` float32.
        target: `(B,)`: float32 values, or int64 classes.
        accuracy_threshold: a circuit is valid above it.
        truth: what is planted; None: nothing.
    """

    name: str
    meaning: str
    model: nn.Module
    x: Tensor
    target: Tensor
    accuracy_threshold: float = 0.99
    truth: Truth | None = None


def small_networks() -> Iterator[SmallNetwork]:
    """Yields the networks, always the same."""
    leaky = _drawn("leaky_relu-2-3-3-1", (2, 3, 3, 1), lambda: nn.LeakyReLU(SLOPE))
    yield _answered(*leaky, "LeakyReLU behind every layer, as published", last=nn.LeakyReLU(SLOPE))
    tanh = _drawn("tanh-2-3-3-1", (2, 3, 3, 1), nn.Tanh)
    yield _answered(*tanh, "tanh; two targets differ from the network's answers", n_wrong=2, accuracy_threshold=0.9)
    relu = _drawn("relu-3-3-3-1", (3, 3, 3, 1), nn.ReLU)
    yield _answered(*relu, "ReLU; one target differs from the network's answer", n_wrong=1)
    logits = _drawn("logits-3-2-4", (3, 2, 4), nn.ReLU)
    yield _answered(*logits, "a logit for each of four classes; two targets differ", n_wrong=2, kind=Outputs.logits)
    yield _ties()
    yield _planted("planted-xor", XOR, 2, "XOR")
    pairs = "(A & B) | C beside twin neurons that cancel"
    yield _planted("planted-cancelling", "(A & B) | C", 3, pairs, distractors=2, distractor_kind="cancelling")
    yield _planted("planted-copies", XOR, 2, "XOR with two copies of each neuron", copies=2)


def _drawn(name: str, sizes: Sequence[int], activation: Callable[[], nn.Module]) -> tuple[str, list[nn.Module], Tensor]:
    """Returns a name, the layers of a network of these sizes up to its outputs, and 16 inputs, all drawn from a seed.

    Args:
        activation: makes that of each hidden layer.
    """
    draw = chance.generator(0, "vectors", name)
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        linear = nn.Linear(n_in, n_out)
        with torch.no_grad():
            linear.weight.copy_(torch.randint(-2 * STEP, 2 * STEP + 1, (n_out, n_in), generator=draw) / STEP)
            linear.bias.copy_(torch.randint(-STEP, STEP + 1, (n_out,), generator=draw) / STEP)
        layers += [linear, activation()]
    return name, layers[:-1], torch.randint(-2 * STEP, 2 * STEP + 1, (16, sizes[0]), generator=draw) / STEP


@torch.no_grad()
def _answered(
    name: str,
    layers: Sequence[nn.Module],
    x: Tensor,
    meaning: str,
    *,
    last: nn.Module | None = None,
    n_wrong: int = 0,
    kind: Outputs = Outputs.values,
    accuracy_threshold: float = 0.7,
) -> SmallNetwork:
    """Returns the network with targets that are its own answers, but for the first `n_wrong` examples."""
    model = nn.Sequential(*layers, *([] if last is None else [last]))
    outputs = model(x)
    target = kind.answers(outputs)
    wrong = torch.arange(len(x)) < n_wrong
    target = torch.where(wrong, (target + 1) % outputs.shape[1] if kind.are_of_classes else target + 1, target)
    return SmallNetwork(name, meaning, model, x, target + 0, accuracy_threshold)  # −0 becomes 0


def _ties() -> SmallNetwork:
    """Returns a network of two equal halves, so that edges have equal scores and circuits equal errors."""
    first, last = nn.Linear(2, 4), nn.Linear(4, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0.5], [0.5, 1.0], [1.0, 0.5], [0.5, 1.0]]))
        first.bias.fill_(-0.5)
        last.weight.copy_(torch.tensor([[0.5, 0.5, 0.5, 0.5]]))
        last.bias.zero_()
    x = torch.tensor(list(itertools.product((0.0, 0.5, 1.0, 1.5), repeat=2)))
    meaning = "two equal halves: edges have equal scores, and different circuits equal errors"
    layers = [first, nn.ReLU(), last]
    return _answered("ties-2-4-1", layers, x, meaning)


def _planted(name: str, formula: str, n: int, meaning: str, **options: object) -> SmallNetwork:
    """Returns a network whose weights compute a formula of n inputs, on all inputs."""
    chosen = planted_layers.Options(**options)  # type: ignore[arg-type]
    chain, truth = planted_layers.compiled(formulas.parsed(formula, n), chosen, 0)
    x = torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)))
    target = torch.tensor(truth.formula.values.tolist()).float()
    return SmallNetwork(name, f"planted: {meaning}", Planted(chain), x, target, truth=truth)
