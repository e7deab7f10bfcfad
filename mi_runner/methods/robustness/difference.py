"""The largest difference of circuits' outputs to the network's over a box, as an interval.

Letters: K circuits, B examples, n_0 inputs, n_L outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mi_runner.graph.chain import Part
from mi_runner.machine.compiled import clock
from mi_runner.methods.circuits.ablation import Means
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.robustness.boxes import scratch
from mi_runner.methods.robustness.certify import check_rows, doubled
from mi_runner.methods.robustness.decide import fill_same
from mi_runner.methods.robustness.differences import largest_difference
from mi_runner.methods.robustness.lines import fill_lines
from mi_runner.methods.robustness.networks import Arrays, Compared, circuit_arrays, compared
from mi_runner.methods.robustness.programs import Goal, is_piecewise, largest
from mi_runner.methods.robustness.regions import hull_of
from mi_runner.progress import Progress

GAP = 1e-7
"""Width at which an interval is narrow enough, in units of the output; wider where rounding errors are."""

MOST_BOXES = 1_000
"""Boxes that the hull is split into before linear programs narrow an interval further."""

CAN_CLOSE = 8
"""Inputs up to which boxes alone can be as narrow as is needed: they are split further where no program helps."""


@dataclass(frozen=True, eq=False)
class Differences:
    """The largest differences |circuit − network| of each output over the hull of the examples.

    Attributes:
        low: `(K, n_L)`, a difference that is reached at the point.
        high: `(K, n_L)`, a bound from above.
        points: `(K, n_L, n_0)`.
    """

    low: np.ndarray
    high: np.ndarray
    points: np.ndarray


def largest_differences(
    part: Part,
    circuits: np.ndarray,
    x: Tensor,
    *,
    means: Means | None = None,
    seconds: float = 60.0,
    progress: Progress | None = None,
) -> Differences:
    """Returns the largest difference of each circuit's outputs to the network's over the hull of examples.

    Outputs are those after the last activation; a softmax at the end is left out.

    Args:
        part: with any number of outputs.
        circuits: `(K,)`, bits, each well formed.
        x: `(B, n_0)`, activations that enter the part.
        means: of the neurons that edges leave, what left-out edges carry; None: 0.
        seconds: how long intervals are narrowed by linear programs, all circuits together.

    Raises:
        ArgumentError: examples are missing, or don't enter the part.
    """
    check_rows(part, x)
    own, double_means = doubled(part, means)
    low, high = (corner[0, 0] for corner in (hull_of(x).lows, hull_of(x).highs))
    network = compared(own, None, double_means, low, high)
    sizes = network.full[2]
    work = scratch(len(sizes) - 1, network.full[0].shape[1], int(sizes[0]))
    kept = network.rows(Edges(part.sizes).rows(circuits))
    shape = (len(kept), part.sizes[-1])
    reached, bounds, points = np.zeros(shape), np.zeros(shape), np.zeros((*shape, len(low)))
    gap = max(GAP, 4 * network.slack)
    deadline = clock() + seconds
    with (progress or Progress()).bar("largest differences", len(kept)) as advance:
        for c, row in enumerate(kept):
            circuit = circuit_arrays(network, row)
            points[c] = 0.5 * (low + high)
            for output in np.flatnonzero(
                ~_equal_outputs(network, row, circuit, (low, high), work)[: shape[1]]
            ).tolist():
                found = [
                    _one_side(network, nets, output, (low, high), gap, deadline, work)
                    for nets in ((circuit, network.full), (network.full, circuit))
                ]
                best = max(found, key=lambda side: side[0])
                reached[c, output], points[c, output] = max(best[0], 0.0), best[2]
                bounds[c, output] = max(*(side[1] for side in found), 0.0)
            advance(1)
    return Differences(reached, bounds, points)


def _equal_outputs(
    network: Compared,
    row: np.ndarray,
    circuit: Arrays,
    box: tuple[np.ndarray, np.ndarray],
    work: tuple[np.ndarray, ...],
) -> np.ndarray:
    """Returns which outputs of a circuit are the network's in the whole box, `(N,)`; see `decide.fill_same`."""
    full = network.full
    lines = np.ones((2, *full[1].shape, 4))
    for which, net in enumerate((circuit, full)):
        fill_lines(net, *box, network.slack, lines[which], work[1])
    is_same = np.zeros((len(full[2]), full[1].shape[1]), dtype=bool)
    fill_same(full, network.carried, row, box, lines, is_same)
    return is_same[-1]


def _one_side(
    network: Compared,
    nets: tuple[Arrays, Arrays],
    output: int,
    box: tuple[np.ndarray, np.ndarray],
    gap: float,
    deadline: float,
    work: tuple[np.ndarray, ...],
) -> tuple[float, float, np.ndarray]:
    """Returns by how much the first network's output exceeds the second's: reached, bound, and the point."""
    most = MOST_BOXES
    if not is_piecewise(network.full) and len(box[0]) <= CAN_CLOSE:
        most *= 1_000
    reached, bound, point = largest_difference(nets, output, box, network.slack, gap, most, work)
    left = deadline - clock()
    if bound - reached > 2 * gap and left > 0 and is_piecewise(network.full):
        unit = np.eye(len(network.full[0][0]))[output][: network.full[2][-1]]
        goal = Goal((unit, -unit), 0.0)
        found = largest(nets, [goal], box, slack=network.slack, gap=gap, enough=reached + gap, seconds=left)
        if found.low > reached and found.point is not None:
            reached, point = found.low, found.point
        bound = min(bound, max(found.high, reached + gap))
    return float(reached), float(bound), point.copy()
