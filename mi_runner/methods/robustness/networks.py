"""A part and its circuits as arrays of float64 for the kernels, and where answers change.

Letters: L Linear layers, N the widest layer, n_0 inputs, n_L outputs, T levels, B examples.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import ACTIVATIONS, OVER_OUTPUTS, Layer, Part
from mi_runner.methods.circuits.ablation import Means, carried
from mi_runner.methods.circuits.rounding import refuse_falling
from mi_runner.methods.robustness.answers import APART
from mi_runner.methods.robustness.decide import fill_circuit

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""A network for the kernels: weights `(L, N, N)`, biases `(L, N)`, sizes `(L + 1,)` int64; of each layer its activation
`(L,)` int64 and slope `(L,)`; which hidden neurons are read `(L, N)` bool. Rows and columns beyond a layer are 0."""

SURELY = 1e-6
"""How far from where an answer changes a point is a witness whatever the last activation makes of it, at least."""

TOLERANCE = 1e-9
"""By how much a bound must miss the place where an answer changes, at least."""

MOST_LEVELS = 1_000_000
"""Most integers between which a rounded output may lie."""


@dataclass(frozen=True, eq=False)
class Compared:
    """A network as circuits are compared with it.

    Attributes:
        full: its arrays.
        carried: `(L, N)`, what a left-out edge carries is this value of its source times its weight.
        levels: `(T, 3)`, where the answer of one output changes; see `answers.answer_of`.
        last: kind and slope of the last activation.
        slack: a bound on rounding errors, in units of an output before the last activation.
        n_added: edges of an identity layer that stands behind the last activation, all of which a circuit keeps.
    """

    full: Arrays
    carried: np.ndarray
    levels: np.ndarray
    last: np.ndarray
    slack: float
    n_added: int = 0

    @property
    def task(self) -> tuple[np.ndarray, np.ndarray]:
        """Levels and last activation, as kernels take them."""
        return self.levels, self.last

    @property
    def tolerance(self) -> float:
        """By how much a bound must miss the place where an answer changes."""
        return max(TOLERANCE, self.slack)

    @property
    def surely(self) -> float:
        """How far outputs before the last activation must be from where an answer changes to be a witness surely."""
        kind, slope = self.last
        flattest = slope if kind == ACTIVATIONS.index("leaky_relu") and slope > 0 else 1.0
        return max(SURELY, 10 * APART / flattest, 10 * self.slack)

    def rows(self, kept: np.ndarray) -> np.ndarray:
        """Returns circuits `(K, E)` bool of the part with the edges of the added layer."""
        return np.concatenate([kept, np.ones((len(kept), self.n_added), dtype=bool)], axis=1)


def compared(part: Part, kind: Outputs | None, means: Means | None, low: np.ndarray, high: np.ndarray) -> Compared:
    """Returns a part as circuits are compared with it.

    Args:
        part: with one output, or with several that answer a class.
        kind: what the outputs are; None: outputs are compared, not answers, and the last activation is a hidden one.
        means: of the neurons that edges leave, what left-out edges carry; None: 0.
        low, high: `(n_0,)`, the box that holds all regions.

    Raises:
        ArgumentError: the last activation falls somewhere, or answers would be too many.
    """
    refuse_falling(part.layers[-1])
    n_added = 0
    if kind is None or (part.sizes[-1] > 1 and part.layers[-1].activation == "relu"):  # outputs that are all 0 tie
        part, n_added = with_last_activation(part), part.sizes[-1] ** 2
        means = None if means is None else (*means, part.layers[-1].bias)
    values = carried(part, means)
    full = arrays_of(part)
    left_out = np.zeros_like(full[1])
    for k, value in enumerate(values):
        left_out[k, : len(value)] = value.double().cpu().numpy()
    largest = _largest(full, left_out, np.maximum(abs(low), abs(high)))
    n_additions = sum(part.sizes) + 8 * len(part.layers)
    levels = np.zeros((0, 3))
    if kind is not None and part.sizes[-1] == 1:
        levels = levels_of(part.layers[-1], kind, largest)
    slack = 4 * n_additions * 2.0**-53 * max(1.0, largest)
    return Compared(full, left_out, levels, np.array(kernel_kind(part.layers[-1])), slack, n_added)


def with_last_activation(part: Part) -> Part:
    """Returns the same network with an identity layer at its end, so that its last activation is a hidden one."""
    import torch

    n = part.sizes[-1]
    identity = Layer(torch.eye(n).to(part.layers[-1].weight), torch.zeros(n).to(part.layers[-1].weight))
    return Part((*part.layers, identity), part.site)


def kernel_kind(layer: Layer) -> tuple[float, float]:
    """Returns the kernel's number of a layer's activation, and its slope for negative values; a softmax is none."""
    kind = "identity" if layer.activation in OVER_OUTPUTS else layer.activation
    slope = {"identity": 1.0, "relu": 0.0, "leaky_relu": float(layer.slope)}.get(kind, 0.0)
    return float(ACTIVATIONS.index(kind)), slope


def arrays_of(part: Part) -> Arrays:
    """Returns a part's arrays."""
    n_layers, widest = len(part.layers), max(part.sizes)
    weights, biases = np.zeros((n_layers, widest, widest)), np.zeros((n_layers, widest))
    used = np.zeros((n_layers, widest), dtype=bool)
    for k, layer in enumerate(part.layers):
        weight = layer.weight.double().cpu().numpy()
        weights[k, : weight.shape[0], : weight.shape[1]] = weight
        biases[k, : len(weight)] = layer.bias.double().cpu().numpy()
    for k, n in enumerate(part.sizes[1:-1]):
        used[k, :n] = True
    kinds, slopes = zip(*(kernel_kind(layer) for layer in part.layers), strict=True)
    sizes = np.array(part.sizes, dtype=np.int64)
    return weights, biases, sizes, np.array(kinds).astype(np.int64), np.array(slopes), used


def _largest(full: Arrays, left_out: np.ndarray, inputs: np.ndarray) -> float:
    """Returns a bound on the absolute value of every sum that a network or its circuits add up in a box.

    Args:
        inputs: `(n_0,)`, the largest absolute values that enter.
    """
    weights, biases, sizes, _, slopes, _ = full
    bound, largest = inputs, float(inputs.max(initial=0.0))
    for k, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        into = np.maximum(bound[:n_in], abs(left_out[k, :n_in]))
        bound = (abs(weights[k, :n_out, :n_in]) @ into + abs(biases[k, :n_out])) * max(1.0, abs(slopes[k])) + 1.0
        largest = max(largest, float(bound.max()))
    return largest


def levels_of(layer: Layer, kind: Outputs, largest: float) -> np.ndarray:
    """Returns where the answer of one output changes, `(T, 3)`; see `answers.answer_of`.

    Args:
        layer: the last one.
        largest: a bound on the absolute value of its sums.

    Raises:
        ArgumentError: there are more than `MOST_LEVELS`.
    """
    if kind.are_of_classes:
        at = _before(layer, kind.border)
        return np.zeros((0, 3)) if at is None else np.array([[at, kind.border, 0.0]])
    ends = sorted(float(layer.activate(_tensor(sign * largest))) for sign in (-1, 1))
    first, last = math.floor(ends[0]), math.ceil(ends[1])
    if last - first > MOST_LEVELS:
        problem = f"outputs of up to {largest:.3g} could be rounded to {last - first:,} numbers,"
        raise ArgumentError("part", None, problem, f"which is more than {MOST_LEVELS:,}.")
    levels = [
        (at, answer + 0.5, float(answer % 2 == 1))
        for answer in range(first, last + 1)
        if (at := _before(layer, answer + 0.5)) is not None
    ]
    return np.array(levels).reshape(-1, 3)


def _before(layer: Layer, output: float) -> float | None:
    """Returns the sum whose activation is this output; None: no sum's is."""
    if layer.activation == "tanh":
        return math.atanh(output) if -1 < output < 1 else None
    if layer.activation == "sigmoid":
        return math.log(output / (1 - output)) if 0 < output < 1 else None
    if layer.activation == "relu":
        return output if output >= 0 else None
    if layer.activation == "leaky_relu":
        if output >= 0:
            return output
        return output / layer.slope if layer.slope > 0 else None
    return output


def _tensor(value: float) -> Tensor:
    import torch

    return torch.tensor(value, dtype=torch.float64)


def circuit_arrays(network: Compared, kept: np.ndarray) -> Arrays:
    """Returns a circuit's arrays; `kept` is `(E,)` bool."""
    full = network.full
    weights, biases, used = np.zeros_like(full[0]), np.zeros_like(full[1]), np.zeros_like(full[5])
    fill_circuit(full, network.carried, kept, weights, biases, used)
    return weights, biases, full[2], full[3], full[4], used
