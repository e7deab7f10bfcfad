"""Points at which circuits answer differently from their network, replayed, and the examples that lie nearest to them.

Letters: W witnesses, N test examples, n_0 inputs of the part, n_L outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mi_runner.errors import RunFailed
from mi_runner.experiments.common.circuit_search import what
from mi_runner.experiments.robustness.decided import Decided
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.robustness.regions import spread_of

AT_ONCE = 2_000
"""Witnesses that are looked at together."""

MOST_IMAGES = 1_000
"""Witnesses whose nearest image is kept."""

Arrays = dict[str, np.ndarray]


def counterexamples(decided: Decided) -> Arrays:
    """Returns a witness for each circuit that is refuted, the circuits with the fewest edges first.

    It is that of the smallest box in which one is known; that of the hull if there is none in boxes, with NaN as ε and
    −1 as its example.

    Returns:
        circuit, epsilon, example, nearest and both answers `(W,)`, point `(W, n_0)`, both outputs `(W, n_L)`. Examples
        are indices of test examples.

    Raises:
        RunFailed: at a point, circuit and network answer alike.
    """
    valid, compared = decided.valid, decided.compared
    boxes, hull = valid.boxes, valid.hull
    in_box = boxes.witness_example >= 0
    points = boxes.witness
    has_one = in_box
    if hull is not None:
        points = np.where(in_box[:, None], boxes.witness, hull.witness)
        has_one = in_box | (hull.witness_example >= 0)
    chosen = np.flatnonzero(has_one)
    chosen = chosen[np.lexsort((valid.circuits[chosen], valid.n_edges[chosen]))]
    example = np.where(in_box, compared.rows[boxes.witness_example], -1)
    found: Arrays = {
        "circuit": valid.circuits[chosen],
        "epsilon": boxes.witness_epsilon[chosen],
        "example": example[chosen],
        "point": points[chosen],
    }
    return {**found, **_replayed(decided, found), "nearest": nearest_examples(found["point"], compared.x)}


def _replayed(decided: Decided, found: Arrays) -> Arrays:
    """Returns outputs and answers of circuits and network at the points, evaluated by torch in float64."""
    compared = decided.compared
    kept, points = Edges(compared.part.sizes).rows(found["circuit"]), torch.from_numpy(found["point"])
    n_outputs = compared.part.sizes[-1]
    with torch.no_grad():
        own = [
            outputs_of_circuits(compared.part, kept[some], points[some][:, None], compared.means)[:, 0]
            for some in _some(len(points))
        ]
        outputs = torch.cat([torch.zeros((0, n_outputs), dtype=torch.float64), *own])
        of_network = compared.part(points)
    answers, expected = (compared.kind.answers(values) for values in (outputs, of_network))
    if alike := int((answers == expected).sum()):
        raise RunFailed(
            f"{decided.ablation} ablation, {what(decided.output)}: at {alike:,} of {len(points):,} points at which "
            "circuits are said to answer differently from the network, they answer alike."
        )
    return {
        "circuit_output": outputs.numpy(),
        "network_output": of_network.numpy(),
        "circuit_answer": (answers + 0).numpy(),  # 0 instead of −0
        "network_answer": (expected + 0).numpy(),
    }


def nearest_examples(points: np.ndarray, x: Tensor) -> np.ndarray:
    """Returns the example that lies nearest to each point, `(W,)` int64, the first among equals.

    Distances are in standard deviations of each input. An input that never varies doesn't count.

    Args:
        points: `(W, n_0)`.
        x: `(N, n_0)` float64, the examples.
    """
    spread = torch.from_numpy(spread_of(x))
    scale = torch.where(spread > 0, 1 / spread, torch.zeros_like(spread))
    given = torch.from_numpy(points)
    found = [torch.cdist(given[some] * scale, x * scale).argmin(1) for some in _some(len(points))]
    return torch.cat([torch.zeros(0, dtype=torch.int64), *found]).numpy()


def _some(n: int) -> list[slice]:
    return [slice(start, start + AT_ONCE) for start in range(0, n, AT_ONCE)]


def all_arrays(cases: Sequence[tuple[Decided, Arrays]], images: Tensor | None) -> Arrays:
    """Returns the witnesses of all outputs and ablations, with the names of these.

    Args:
        images: `(N, C, H, W)`, the test images; None: the examples are none. Those nearest to the first witnesses are
            kept.
    """
    names = {
        name: np.concatenate([np.repeat(str(decided.keys[name]), len(found["circuit"])) for decided, found in cases])
        for name in ("ablation", "output")
    }
    joined = {name: np.concatenate([found[name] for _, found in cases]) for name in cases[0][1]}
    pictures = {} if images is None else {"images": images[torch.from_numpy(joined["nearest"][:MOST_IMAGES])].numpy()}
    return {**names, **joined, **pictures}
