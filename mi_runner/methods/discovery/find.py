"""All methods behind one door: the circuits that a method stands with at each size, on the examples or on resamples.

Letters: B examples, E edges, M circuits, R resamples, S sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.discovery import edge_pruning as gates
from mi_runner.methods.discovery import scores
from mi_runner.methods.discovery.masked import LossFunction, MaskedPart
from mi_runner.methods.discovery.rankings import carried_forward, ranked_circuits
from mi_runner.methods.discovery.scores import ScoreFunction
from mi_runner.methods.discovery.search import THRESHOLDS, Search, acdc, greedy

SCORES: Mapping[str, Callable[..., Any]] = {
    "random": scores.random,
    "magnitude": scores.magnitude,
    "activation": scores.activation,
    "edge_patching": scores.edge_patching,
    "eap": scores.eap,
    "eap_ig": scores.eap_ig,
    "eap_signed": partial(scores.eap, signed=True),
    "eap_ig_signed": partial(scores.eap_ig, signed=True),
}
"""Methods that give each edge a score."""

SEARCHES: Mapping[str, Callable[..., Search]] = {"acdc": acdc, "greedy": greedy}
"""Methods that search circuits edge by edge."""

METHODS = (*SCORES, *SEARCHES, "edge_pruning")

CHANCE = ("random", "edge_pruning")
"""Methods that draw random numbers, and so are repeated."""

_WITH_LOSS = ("edge_patching", "eap", "eap_ig", "eap_signed", "eap_ig_signed")


@dataclass(frozen=True)
class Task:
    """What circuits are found in and judged on.

    Attributes:
        part: the analysed part.
        x: `(B, n_0)`, the activations that enter it.
        target: `(B,)` int64 classes, or values.
        ablation: zero or mean.
        objective: distance or loss: what edge patching, ACDC, greedy and edge pruning keep small.
        loss: the task's; None: `task_loss`.
    """

    part: Part
    x: Tensor
    target: Tensor
    ablation: str
    objective: str = "distance"
    loss: LossFunction | None = None

    def masked(self, *, full: Tensor | None = None, counts: Tensor | None = None) -> MaskedPart:
        """Returns the part with masks on these examples; see `MaskedPart`."""
        return MaskedPart(self.part, self.x, self.target, self.ablation, loss=self.loss, full=full, counts=counts)


@dataclass(frozen=True)
class Found:
    """The circuits of one method.

    Attributes:
        circuits: `(S, E)`, the circuit that it stands with at each size.
        scores: `(E,)` of a method that scores; otherwise None.
        n_forward: forward passes over the examples; None for a method of your own.
    """

    circuits: np.ndarray
    scores: np.ndarray | None
    n_forward: int | None


def score_function(
    name: str, own: ScoreFunction | None, task: Task, generator: torch.Generator | None
) -> ScoreFunction:
    """Returns the function of a method that scores, `own` if it is given, with the task's objective and loss."""
    if own is not None:
        return own
    function = SCORES[name]
    if name == "random":
        return partial(function, generator=generator)
    if name == "edge_patching":
        return partial(function, objective=task.objective, loss=task.loss)
    return partial(function, loss=task.loss) if name in _WITH_LOSS else function


def find(
    name: str,
    task: Task,
    sizes: np.ndarray,
    *,
    own: ScoreFunction | None = None,
    masked: MaskedPart | None = None,
    generator: torch.Generator | None = None,
) -> Found:
    """Returns the circuits of a method at each size.

    Args:
        name: one of `METHODS`, or any name of your own method.
        sizes: `(S,)`, from 0 to the number of edges.
        own: your own method.
        masked: `task.masked()`, if there is one already.
        generator: for methods that draw random numbers; None: torch's own.

    Raises:
        ValueError: no method has this name, or its scores do not fit the part.
    """
    edges = Edges(task.part.sizes)
    if own is None and name not in METHODS:
        raise ValueError(f"no method is named '{name}'. Use one of {', '.join(METHODS)}, or give `own`.")
    if own is not None or name in SCORES:
        given = score_function(name, own, task, generator)(task.part, task.x, task.target, task.ablation)
        flat = edges.flat(given)
        return Found(ranked_circuits(edges, flat[None], sizes)[0], flat, _n_forward(name, edges.n, own))
    masked = task.masked() if masked is None else masked
    if name == "edge_pruning":
        circuits = gates.edge_pruning(
            task.part,
            task.x,
            task.target,
            task.ablation,
            objective=task.objective,
            loss=task.loss,
            generator=generator,
        )
        passes = gates.STEPS * len(gates.PENALTIES) * min(gates.BATCH, len(task.x)) / len(task.x)
        n_forward = round(passes)
    else:
        search = SEARCHES[name](masked, objective=task.objective)
        circuits, n_forward = search.circuits[0], int(search.n_forward[0])
    return Found(carried_forward(circuits, masked.objective(circuits, task.objective), sizes), None, n_forward)


def _n_forward(name: str, n_edges: int, own: ScoreFunction | None) -> int | None:
    passes = {"random": 0, "magnitude": 0, "activation": 1, "edge_patching": n_edges}
    passes |= dict.fromkeys(("eap", "eap_signed"), 1) | dict.fromkeys(("eap_ig", "eap_ig_signed"), scores.STEPS)
    return None if own is not None else passes[name]


def n_evaluated(name: str, n_edges: int) -> int:
    """Returns how many circuits a method evaluates at most on one set of examples."""
    steps = {"edge_patching": n_edges, "acdc": len(THRESHOLDS) * n_edges, "greedy": n_edges * (n_edges + 1) // 2}
    return steps.get(name, 0)


class Resampled:
    """Methods on resampled examples; what they share is computed once."""

    def __init__(self, task: Task, rows: Tensor, counts: Tensor) -> None:
        """
        Args:
            rows: `(R, B)`, the examples of each resample.
            counts: `(R, B)`, how often each example occurs in it.
        """
        self.task, self.rows = task, rows
        self.masked = task.masked(counts=counts)

    def find(
        self,
        name: str,
        sizes: np.ndarray,
        *,
        own: ScoreFunction | None = None,
        generator: torch.Generator | None = None,
    ) -> np.ndarray:
        """Returns the circuits `(R, S, E)` of a method on each resample; edge pruning has none."""
        task, masked = self.task, self.masked
        edges = masked.edges
        if own is not None or name in SCORES:
            function = score_function(name, own, task, generator)
            given = [function(task.part, task.x[rows], task.target[rows], task.ablation) for rows in self.rows]
            return ranked_circuits(edges, np.stack([edges.flat(each) for each in given]), sizes)
        search = SEARCHES[name](masked, objective=task.objective)
        lengths = [len(circuits) for circuits in search.circuits]
        resample = np.repeat(np.arange(len(lengths)), lengths)
        objective = masked.objective(np.concatenate(search.circuits), task.objective, resample)
        bounds = np.cumsum([0, *lengths])
        return np.stack(
            [
                carried_forward(circuits, objective[first:end], sizes)
                for circuits, first, end in zip(search.circuits, bounds[:-1], bounds[1:], strict=True)
            ]
        )
