"""Every well-formed circuit of a family.

Letters: M circuits, n_0 (inputs), …, n_L (outputs) neurons of each layer.
"""

from __future__ import annotations

import numpy as np

from mi_runner.methods.circuits.space import CircuitSpace


def every_circuit(space: CircuitSpace) -> np.ndarray:
    """Returns every well-formed circuit of a space, `(M,)` uint64, sorted by its bits.

    Layer by layer: each active neuron keeps edges to some of the next layer's neurons, at least one; those that get an
    edge are the active ones there.
    """
    n_inputs = space.sizes[0]
    inputs = [2**n_inputs - 1] if space.inputs == "all" else range(1, 2**n_inputs)
    circuits = {active: np.zeros(1, dtype=np.uint64) for active in inputs}
    for start, (n_out, n_in) in zip(space.offsets, space.edges.shapes, strict=True):
        found: dict[int, list[np.ndarray]] = {}
        for active, before in circuits.items():
            masks, reached = _layers(active, n_out, n_in)
            for target in np.unique(reached).tolist():
                bits = masks[reached == target] << np.uint64(start)
                found.setdefault(target, []).append((before[:, None] | bits).reshape(-1))
        circuits = {target: np.concatenate(parts) for target, parts in found.items()}
    every = 2 ** space.sizes[-1] - 1
    return np.sort(np.concatenate([bits for used, bits in circuits.items() if space.inputs == "any" or used == every]))


def _layers(active: int, n_out: int, n_in: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a layer's edges as bits, and the neurons they reach, as bits, where just these sources have an edge."""
    masks, reached = np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.int64)
    targets = np.arange(1, 2**n_out)
    is_target = (targets[:, None] >> np.arange(n_out) & 1).astype(np.uint64)
    for source in range(n_in):
        if active >> source & 1:
            edges = np.uint64(1) << (np.arange(n_out) * n_in + source).astype(np.uint64)
            masks = (masks[:, None] | is_target @ edges).reshape(-1)
            reached = (reached[:, None] | targets).reshape(-1)
    return masks, reached
