"""Methods that search circuits edge by edge: ACDC (Conmy et al. 2023) and greedy removal.

Both work on all resamples of a `MaskedPart` at once; a part without resamples has one.

Letters: E edges, N circuits that are compared in a step, R resamples, T thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mi_runner.methods.discovery.masked import MaskedPart

THRESHOLDS = np.logspace(-6, 0, 50)
"""ACDC's thresholds, each times the objective of the empty circuit."""


@dataclass(frozen=True)
class Search:
    """The circuits that a method found.

    Attributes:
        circuits: for each resample `(M, E)` bool, closed.
        n_forward: the circuits that it evaluated for each resample, `(R,)`.
    """

    circuits: list[np.ndarray]
    n_forward: np.ndarray


def acdc(masked: MaskedPart, *, objective: str = "distance", thresholds: np.ndarray = THRESHOLDS) -> Search:
    """Returns the circuit of each threshold.

    From the output backwards, by target, then by source: an edge is left out for good if the objective of the closed
    circuit rises by less than the threshold over the present circuit's. A step that would empty the circuit is refused.

    Args:
        thresholds: `(T,)`, each times the objective of the empty circuit.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.discovery import MaskedPart, acdc
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
        >>> x = torch.rand(20, 3, dtype=torch.float64)
        >>> y = (x[:, 0] > 0.5).double()
        >>> part = find_part(ModelGraph.trace(net, x[:2].float()), None)
        >>> import numpy as np
        >>> found = acdc(MaskedPart(part, x, y, "zero"), thresholds=np.array([1e-9, 1e9])).circuits
        >>> found[0].sum(1).tolist()
        [8, 2]
    """
    edges, n_resamples = masked.edges, masked.n_resamples
    every = np.arange(n_resamples)
    states = np.tile(masked.start, (n_resamples, len(thresholds), 1))
    empty, full = (
        masked.objective(np.repeat(circuit, n_resamples, axis=0), objective, every)
        for circuit in (edges.empty, masked.start)
    )
    present = np.repeat(full[:, None], len(thresholds), axis=1)
    allowed = empty[:, None] * thresholds
    n_forward = np.full((n_resamples, len(thresholds)), 1)
    layers = [range(edges.offsets[index], edges.offsets[index + 1]) for index in range(len(edges.shapes))]
    for edge in (edge for layer in reversed(layers) for edge in layer):
        resample, threshold = np.nonzero(states[:, :, edge])
        candidates = states[resample, threshold]
        candidates[:, edge] = False
        candidates = edges.closed(candidates)
        kept = candidates.any(1)
        resample, threshold, candidates = resample[kept], threshold[kept], candidates[kept]
        if not len(candidates):
            continue
        losses = masked.objective(candidates, objective, resample)
        n_forward[resample, threshold] += 1
        accepted = losses - present[resample, threshold] < allowed[resample, threshold]
        resample, threshold = resample[accepted], threshold[accepted]
        states[resample, threshold], present[resample, threshold] = candidates[accepted], losses[accepted]
    return Search(list(states), n_forward.sum(1))


def greedy(masked: MaskedPart, *, objective: str = "distance") -> Search:
    """Returns the circuits from the full to the empty one, each without one more edge and what closes with it.

    Each step leaves out the edge that gives the lowest objective after closing, the first one on ties.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.discovery import MaskedPart, greedy
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
        >>> x = torch.rand(20, 3, dtype=torch.float64)
        >>> y = (x[:, 0] > 0.5).double()
        >>> part = find_part(ModelGraph.trace(net, x[:2].float()), None)
        >>> circuits = greedy(MaskedPart(part, x, y, "zero")).circuits[0]
        >>> circuits.sum(1)[[0, -1]].tolist()
        [8, 0]
    """
    edges, n_resamples = masked.edges, masked.n_resamples
    states = np.repeat(masked.start, n_resamples, axis=0)
    paths = [[masked.start[0]] for _ in range(n_resamples)]
    n_forward = np.ones(n_resamples, dtype=np.int64)
    while states.any():
        resample, edge = np.nonzero(states)
        candidates = states[resample]
        candidates[np.arange(len(edge)), edge] = False
        candidates = edges.closed(candidates)
        losses = masked.objective(candidates, objective, resample)
        n_forward += states.sum(1)
        starts = np.searchsorted(resample, np.arange(n_resamples + 1))
        for index in np.unique(resample).tolist():
            best = starts[index] + int(np.argmin(losses[starts[index] : starts[index + 1]]))
            states[index] = candidates[best]
            paths[index].append(candidates[best].copy())
    return Search([np.stack(path) for path in paths], n_forward)
