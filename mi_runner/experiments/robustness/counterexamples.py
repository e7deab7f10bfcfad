"""Points where a circuit's answer is another than the network's, replayed, and the test examples nearest to them.

Letters: C points, K circuits, N test examples, n_0 inputs of the part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import RunFailed
from mi_runner.experiments.robustness.decided import Decided
from mi_runner.methods.circuits.ablation import carried
from mi_runner.methods.circuits.edges import Edges

AT_ONCE = 2_000
"""Points whose distances to all test examples are computed together."""


@dataclass(frozen=True, eq=False)
class Counterexamples:
    """A point for each refuted circuit, in the smallest box in which one is known.

    Attributes:
        circuit: `(C,)`.
        epsilon: `(C,)`, the box's; NaN: the hull.
        example: `(C,)`, the test example around which the box lies; −1: the hull.
        point: `(C, n_0)`, what enters the analysed layers.
        circuit_output, network_output: `(C, n_L)`, computed anew by tensors in float64.
        circuit_answer, network_answer: `(C,)`.
        nearest: `(C,)`, the test example that lies nearest to the point, in standard deviations of each input.
    """

    circuit: np.ndarray
    epsilon: np.ndarray
    example: np.ndarray
    point: np.ndarray
    circuit_output: np.ndarray
    network_output: np.ndarray
    circuit_answer: np.ndarray
    network_answer: np.ndarray
    nearest: np.ndarray

    def __len__(self) -> int:
        return len(self.circuit)


def counterexamples(decided: Decided, kind: Outputs, examples: torch.Tensor) -> Counterexamples:
    """Returns a point for each valid circuit that is refuted.

    Args:
        kind: what the outputs are.
        examples: `(D,)`, the test examples that have boxes.

    Raises:
        RunFailed: a point doesn't part circuit and network when it is computed anew.
    """
    boxes, hull = decided.valid.boxes, decided.valid.hull
    has = ~np.isnan(boxes.witness_epsilon)
    point, epsilon = boxes.witness.copy(), boxes.witness_epsilon.copy()
    example = np.where(has, examples.numpy()[boxes.witness_example], -1)
    if hull is not None:
        in_hull = ~has & (hull.n_refuted[0] > 0)
        point[in_hull] = hull.witness[in_hull]
        has |= in_hull
    circuits, points = decided.valid.circuits[has], torch.from_numpy(point[has])
    outputs, full = _replayed(decided, circuits, points)
    answers, wanted = kind.answers(outputs), kind.answers(full)
    if (same := answers == wanted).any():
        raise RunFailed(
            f"{int(same.sum())} of {len(same)} counterexamples give equal answers when they are computed anew, such as "
            f"that of circuit {circuits[int(same.int().argmax())]}. Please report this."
        )
    return Counterexamples(
        circuits,
        epsilon[has],
        example[has],
        point[has],
        outputs.numpy(),
        full.numpy(),
        answers.numpy(),
        wanted.numpy(),
        _nearest(decided, points),
    )


def _replayed(decided: Decided, circuits: np.ndarray, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the outputs of each circuit and of the network at its point, `(C, n_L)` each, by tensors."""
    part = decided.part.without_softmax.to(points)
    edges = Edges(part.sizes)
    masks = edges.masks(torch.from_numpy(edges.rows(circuits)))
    values = points
    for layer, mask, mean in zip(part.layers, masks, carried(part, decided.means), strict=True):
        carries = torch.where(mask, values[:, None, :], mean)
        values = layer.activate((carries * layer.weight).sum(2) + layer.bias)
    return values, part(points)


def _nearest(decided: Decided, points: torch.Tensor) -> np.ndarray:
    spread = decided.x.double().std(0, correction=0)
    scale = torch.where(spread > 0, spread, torch.ones_like(spread))
    tests = decided.x.double() / scale
    found = [torch.cdist(some / scale, tests).argmin(1) for some in points.split(AT_ONCE)]
    return torch.cat(found).numpy() if found else np.zeros(0, dtype=np.int64)
