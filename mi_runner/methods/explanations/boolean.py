"""A network on the exact inputs of its Boolean function: its answers, and the values of its neurons in a circuit.

Everything is computed in float64, because values of neurons are compared with each other. A truth table is an integer:
bit b is the value on input b, in the order 00, 01, 10, 11 (the first input is the most significant bit of b).

Letters: B = 2ⁿ inputs, K circuits, N neurons behind the inputs, n_l neurons of layer l.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.space import CircuitSpace

MOST_INPUTS = 5
"""Inputs of a Boolean function; its truth table is then one 64-bit integer."""


ABOVE_HALF = 1e-6
"""How far above ½ the border is where ½ answers 0: what float32 makes of ½ lies below it."""


@dataclass(frozen=True)
class BooleanNetwork:
    """A chain of layers with one output, on the inputs 0/1.

    Attributes:
        part: the chain, in float64 on the CPU; `BooleanNetwork.of` takes any.
        kind: what its output is: a value, or a logit or probability that answers two classes.
        half_is_0: whether an output of exactly ½ answers 0, as circuits of planted weights have it; otherwise it is an
            error.

    Raises:
        ValueError: its weights are others, it has more than one output, or too many inputs.

    Example:
        >>> import torch
        >>> from mi_runner import explanations
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> from mi_runner.models.mlp import MLP
        >>> model = MLP([2, 1, 1])
        >>> with torch.no_grad():
        ...     for parameter, value in zip(model.parameters(), (1.0, -1.0, 1.0, 0.0)):
        ...         _ = parameter.fill_(value)  # A and B by hand
        >>> part = find_part(ModelGraph.trace(model, torch.zeros(1, 2)), None)
        >>> network = explanations.BooleanNetwork.of(part)
        >>> network.space
        CircuitSpace(sizes=(2, 1, 1), inputs='all')
    """

    part: Part
    kind: Outputs = Outputs.values
    half_is_0: bool = False

    def __post_init__(self) -> None:
        for weight in (layer.weight for layer in self.part.layers):
            if weight.dtype != torch.float64 or weight.device.type != "cpu":
                what = f"{str(weight.dtype).removeprefix('torch.')} on {weight.device}"
                problem = f"the chain's weights are {what}:"
                raise ArgumentError("part", None, problem, "make the network by BooleanNetwork.of(part).")
        if self.part.sizes[-1] != 1:
            problem = f"the chain has {self.part.sizes[-1]} outputs:"
            raise ArgumentError("part", None, problem, "take one, part.output(number).")
        if self.kind.are_of_classes and not self.kind.are_of_one:
            problem = f"the kind {self.kind.value} is of several outputs."
            raise ArgumentError("kind", None, problem, "One output is a value, a logit or a probability.")
        if not 1 <= self.part.sizes[0] <= MOST_INPUTS:
            problem = f"the chain has {self.part.sizes[0]} inputs; a Boolean function here has 1 to {MOST_INPUTS}."
            raise ArgumentError("part", None, problem)

    @staticmethod
    def of(part: Part, kind: Outputs = Outputs.values, *, half_is_0: bool = False) -> BooleanNetwork:
        """Returns the network of a chain of any dtype and device."""
        layers = tuple(
            replace(layer, weight=layer.weight.detach().cpu().double(), bias=layer.bias.detach().cpu().double())
            for layer in part.layers
        )
        return BooleanNetwork(replace(part, layers=layers), kind, half_is_0)

    @property
    def border(self) -> float:
        """The output above which an answer is 1. An output of this value is no answer: it would be a choice."""
        if self.half_is_0:
            return 0.5 + ABOVE_HALF
        return self.kind.border if self.kind.are_of_classes else 0.5

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each layer, inputs first."""
        return self.part.sizes

    @property
    def space(self) -> CircuitSpace:
        """Its circuits."""
        return CircuitSpace(self.sizes)

    @property
    def inputs(self) -> Tensor:
        """Each input once, `(B, n)` float64."""
        return torch.tensor(list(itertools.product((0.0, 1.0), repeat=self.sizes[0])), dtype=torch.float64)

    def outputs(self) -> Tensor:
        """Returns the outputs `(B,)` float64 of the whole network."""
        return self.part(self.inputs)[:, 0]

    def answers(self) -> int:
        """Returns the truth table of the network's answers: outputs above the border, ½ or of a logit 0.

        Raises:
            ValueError: an output is exactly the border.
        """
        outputs = self.outputs()
        ties = outputs == self.border
        if bool(ties.any()):
            raise ValueError(
                f"the network's output is exactly {self.border:g} on input {first_input(ties, self.sizes[0])}."
            )
        return table_of((outputs > self.border).tolist())

    def layer_numbers(self) -> list[int]:
        """Returns the layer of each neuron behind the inputs, from 1; `(N,)`."""
        return [layer for layer, size in enumerate(self.sizes[1:], start=1) for _ in range(size)]


def table_of(values: Sequence[bool]) -> int:
    """Returns the truth table with these values, input 0 first."""
    return sum(int(value) << place for place, value in enumerate(values))


def digits_of(table: int, n_rows: int) -> str:
    """Returns the truth table as a string, input 0 first: 6 of four rows is 0110."""
    return "".join(str(table >> row & 1) for row in range(n_rows))


def first_input(chosen: Tensor, n_inputs: int) -> str:
    """Returns the first input `(B,)` bool that is chosen, as digits: 01."""
    return f"{int(chosen.nonzero()[0, 0]):0{n_inputs}b}"


def values_in_circuits(network: BooleanNetwork, circuits: np.ndarray) -> np.ndarray:
    """Returns the values of all neurons behind the inputs in each circuit, `(K, N, B)` float64.

    An inactive neuron is 0. Terms are added in the order of the sources, so that values are equal wherever their terms
    are.

    Args:
        circuits: `(K,)` uint64, the kept edges of well-formed circuits.
    """
    space = network.space
    count = len(circuits)
    values = network.inputs.T.expand(count, -1, -1)
    layers = []
    bits = torch.from_numpy(circuits.astype(np.uint64).view(np.int64))
    for number, (layer, start) in enumerate(zip(network.part.layers, space.offsets, strict=True)):
        n_out, n_in = layer.weight.shape
        places = torch.arange(start, start + n_out * n_in)
        kept = (bits[:, None] >> places & 1).view(count, n_out, n_in).double()
        weights = layer.weight * kept
        total = torch.zeros(count, n_out, values.shape[2], dtype=torch.float64)
        for source in range(n_in):
            total += weights[:, :, source, None] * values[:, source, None, :]
        total = layer.activate(total + layer.bias[:, None])
        if number < len(network.part.layers) - 1:
            total = total * kept.amax(2)[:, :, None]
        values = total
        layers.append(values)
    return torch.cat(layers, 1).numpy()
