"""Do a circuit and the full network answer alike when a hidden neuron takes its value from another example?

Each of them takes the neuron's value in its own run on the source. Letters: E edges, K circuits, P pairs (b, s) of a
base and a source, u hidden neurons.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from mi_runner.methods.criteria.runs import Rows, blocks, share, values_of
from mi_runner.methods.criteria.task import Scores, Task, Weights


def interchange(task: Task, circuits: np.ndarray) -> Scores:
    """Returns the share of (u, b, s) in which each circuit `(K,)` and the full network answer alike.

    u is a hidden neuron with an edge that the circuit keeps; the full network runs on b with u set to its value in the
    full network's run on s, and the circuit with u set to its value in the circuit's run on s. NaN for a circuit
    without a hidden neuron, and where there is only one example.
    """
    kept = task.edges.rows(circuits)
    base, source = task.any_pairs

    def again(some: np.ndarray, weights: Weights) -> np.ndarray:
        def weight_of(block: slice) -> np.ndarray:
            return weights.examples[base[block]] * weights.examples[source[block]]

        found = share(lambda block: _alike(task, kept[some], block), weight_of, len(some), len(base))
        return np.where(_active(task, kept[some]).any(1)[:, None], found, np.nan)

    values = np.full(len(kept), np.nan)
    if len(base):
        for block in blocks(len(kept), len(base)):
            values[block] = _alike(task, kept[block], slice(None)).mean(1)
    return Scores(values, again if len(base) else None)


def _neurons(task: Task) -> Iterator[tuple[int, int]]:
    """Yields the layer, from 1, and the number of each hidden neuron."""
    for layer, size in enumerate(task.part.sizes[1:-1], 1):
        for neuron in range(size):
            yield layer, neuron


def _active(task: Task, kept: np.ndarray) -> np.ndarray:
    """Returns which hidden neurons have an edge that each circuit `(K, E)` keeps, `(K, H)` bool."""
    masks = task.edges.masks(kept)
    return np.concatenate(
        [into.any(2) | out.any(1) for into, out in zip(masks, masks[1:], strict=False)] or [np.zeros((len(kept), 0))],
        axis=1,
    ).astype(bool)


@torch.no_grad()
def _alike(task: Task, kept: np.ndarray, pairs: slice) -> np.ndarray:
    """Returns the share of the neurons of each circuit with equal answers, in each of some pairs, `(K, P)`."""
    base, source = (indices[pairs] for indices in task.any_pairs)
    on_base, on_source = (Rows(task.x[index], np.empty(0), task.means) for index in (base, source))
    circuits, full = torch.from_numpy(kept), torch.from_numpy(task.edges.full)
    active = _active(task, kept)
    own, of_full = values_of(task, circuits, on_source), values_of(task, full, on_source)
    alike = np.zeros((len(kept), len(base)))
    for index, (layer, neuron) in enumerate(_neurons(task)):
        (some,) = np.nonzero(active[:, index])
        by_circuit = values_of(task, circuits[some], on_base, (layer, neuron, own[layer][some, :, neuron]))[-1]
        by_full = values_of(task, full, on_base, (layer, neuron, of_full[layer][:, :, neuron]))[-1]
        alike[some] += task.answered(by_circuit) == task.answered(by_full)
    with np.errstate(invalid="ignore"):
        return np.asarray(alike / active.sum(1)[:, None])
