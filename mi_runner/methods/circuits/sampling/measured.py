"""How many right answers do circuits give? Of any circuits, by the kernel on the CPU or by tensors on any device.

Letters: B examples, K circuits, E edges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import Means, carried, means_of
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.examples import CircuitExamples, group_examples
from mi_runner.methods.circuits.kernels.sampling import count_right
from mi_runner.methods.circuits.prefixes import kernel_activation

NUMBERS_AT_ONCE = 20_000_000
"""Values of a layer's neurons, circuits times examples times neurons, that are in memory together."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What circuits of a part are evaluated on.

    Attributes:
        part: with one output, or with several that answer a class.
        examples: their goal is what answers are compared with.
        means: of the neurons that edges leave; None where left-out edges carry 0.
        device: where circuits are evaluated.
    """

    part: Part
    examples: CircuitExamples
    means: Means | None
    device: torch.device

    @classmethod
    def of(cls, part: Part, examples: CircuitExamples, ablation: str, device: torch.device) -> Answers:
        """Returns it for an ablation, one of `ABLATIONS`."""
        return cls(part, examples, means_of(part, examples.x, ablation), device)

    def right(self, circuits: np.ndarray) -> np.ndarray:
        """Returns the right answers `(K,)` int64 of closed circuits `(K, E)` bool."""
        if self.device.type == "cpu":
            return self._by_kernel(circuits)
        return right_by_tensors(self.part, self.examples, circuits, self.means, self.device)

    @property
    def right_of_full(self) -> int:
        """The right answers of the full circuit, which are the network's."""
        return int((self.examples.full_answers == self.examples.goal).sum())

    @property
    def margins(self) -> np.ndarray:
        """How far the full circuit is from a wrong answer to each distinct example `(D,)`, negative where it is wrong.

        In the kernels' order; of several outputs the right one's distance to the largest other, otherwise the output's
        distance to the nearest value, before the activation, that is wrong.
        """
        x, _, (groups, bounds, classes, sizes) = self.arrays
        group = np.repeat(np.arange(len(sizes)), np.diff(groups))
        part = self.part.without_softmax
        if self.examples.has_several:
            outputs = part(torch.from_numpy(x.T.copy())).numpy()
            rows, right = np.arange(len(group)), classes[group]
            own = outputs[rows, right]
            outputs[rows, right] = -np.inf
            return np.asarray(own - outputs.max(1))
        last = replace(part.layers[-1], activation="identity")
        z = replace(part, layers=(*part.layers[:-1], last))(torch.from_numpy(x.T.copy())).numpy()[:, 0]
        return np.asarray(np.minimum(z - bounds[group, 0], bounds[group, 1] - z))

    def _by_kernel(self, circuits: np.ndarray) -> np.ndarray:
        n_right = np.empty(len(circuits), dtype=np.int64)
        count_right(np.ascontiguousarray(circuits), *self.arrays, n_right)
        return n_right

    @cached_property
    def arrays(self) -> tuple[Any, ...]:
        """The examples, the layers and the goals as the kernels take them; see `kernels.sampling.count_right`."""
        return kernel_arrays(self.part, self.examples, self.means)


def kernel_arrays(part: Part, examples: CircuitExamples, means: Means | None) -> tuple[Any, Any, Any]:
    """Returns the examples, the layers and the goals as the kernels take them; see `kernels.sampling.count_right`."""
    goal = replace(examples, target=examples.goal.to(examples.target))
    grouped = group_examples(part.layers[-1], goal)
    weights = [layer.weight.cpu().numpy() for layer in part.layers]
    left_out = [weight * mean.cpu().numpy() for weight, mean in zip(weights, carried(part, means), strict=True)]
    kinds, slopes = zip(*(kernel_activation(layer) for layer in part.layers), strict=True)
    layers = (
        np.array(part.sizes, dtype=np.int64),
        Edges(part.sizes).flat(weights).astype(np.float32),
        Edges(part.sizes).flat(left_out).astype(np.float32),
        np.concatenate([layer.bias.cpu().numpy() for layer in part.layers]),
        np.array(kinds, dtype=np.int64),
        np.array(slopes, dtype=np.float32),
    )
    has_several, no_bounds = examples.has_several, np.empty((0, 2), dtype=np.float32)
    bounds = no_bounds if has_several else np.ascontiguousarray(grouped.wanted[:, :2])
    classes = np.ascontiguousarray(grouped.wanted[:, 0]) if has_several else np.empty(0, dtype=np.int64)
    return np.ascontiguousarray(grouped.x.T), layers, (grouped.groups, bounds, classes, grouped.sizes)


@torch.no_grad()
def right_by_tensors(
    part: Part, examples: CircuitExamples, circuits: np.ndarray, means: Means | None, device: torch.device
) -> np.ndarray:
    """Returns the right answers `(K,)` int64 of closed circuits `(K, E)` bool, by forward passes with masked weights.

    Sums may differ from the kernel's in the last digits of float32, and then an answer, where two are nearly equal.
    """
    on_device, x, goal = part.without_softmax.to(device), examples.x.to(device), examples.goal.to(device)
    means = None if means is None else [mean.to(device) for mean in means]
    at_once = max(1, NUMBERS_AT_ONCE // (len(examples) * max(part.sizes) + Edges(part.sizes).n))
    n_right = np.empty(len(circuits), dtype=np.int64)
    for start in range(0, len(circuits), at_once):
        rows = torch.from_numpy(circuits[start : start + at_once]).to(device)
        before = outputs_of_circuits(on_device, rows, x, means)
        n_right[start : start + at_once] = (examples.kind.answers(before) == goal).sum(1).cpu().numpy()
    return n_right
