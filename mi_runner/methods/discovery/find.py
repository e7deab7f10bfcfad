"""All methods behind one door: the circuits that a method stands with at each size, on the examples or on resamples.

Letters: B examples, E edges, M circuits, R resamples, S sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.discovery.masked import LossFunction, MaskedPart
from mi_runner.methods.discovery.rankings import carried_forward, in_family, ranked_circuits
from mi_runner.methods.discovery.records import METHODS, Method, method_of
from mi_runner.methods.discovery.scores import Scores
from mi_runner.methods.discovery.search import Search


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
        kind: what the outputs are; None: logits for classes, values otherwise.
        family: `(E,)` bool, the edges that circuits may keep, which are all whose weight isn't 0; None: every edge.
    """

    part: Part
    x: Tensor
    target: Tensor
    ablation: str
    objective: str = "distance"
    loss: LossFunction | None = None
    kind: Outputs | None = None
    family: np.ndarray | None = None

    def masked(self, *, full: Tensor | None = None, counts: Tensor | None = None) -> MaskedPart:
        """Returns the part with masks on these examples; see `MaskedPart`."""
        given = (self.part, self.x, self.target, self.ablation)
        return MaskedPart(*given, loss=self.loss, full=full, counts=counts, kind=self.kind, family=self.family)


@dataclass(frozen=True)
class Found:
    """The circuits of one method.

    Attributes:
        circuits: `(S, E)`, the circuit that it stands with at each size.
        scores: `(E,)` of a method that scores; otherwise None.
        n_forward: forward passes over the examples; None: not known.
        every: `(M, E)`, all circuits of a method that searches; of one that scores `circuits`.
    """

    circuits: np.ndarray
    scores: np.ndarray | None
    n_forward: int | None
    every: np.ndarray


def find(
    method: str | Method,
    task: Task,
    sizes: np.ndarray,
    *,
    masked: MaskedPart | None = None,
    generator: torch.Generator | None = None,
) -> Found:
    """Returns the circuits of a method at each size.

    Args:
        method: its record, or the name of one.
        sizes: `(S,)`, from 0 to the number of edges.
        masked: `task.masked()`, if there is one already.
        generator: for methods that draw random numbers; None: torch's own.

    Raises:
        ArgumentError: no method has this name, or its scores or circuits do not fit the part.
    """
    return find_draws(method, task, sizes, [generator], masked=masked)[0]


def find_draws(
    method: str | Method,
    task: Task,
    sizes: np.ndarray,
    generators: Sequence[torch.Generator | None],
    *,
    masked: MaskedPart | None = None,
) -> list[Found]:
    """Returns the circuits of a method at each size, for each of several draws; otherwise as `find`.

    A method that takes generators finds them at once; another is called for each.

    Args:
        generators: one for each draw; None: torch's own.
    """
    method = method_of(method) if isinstance(method, str) else method
    edges = Edges(task.part.sizes)
    if method.scores is not None:
        inputs = (task.part, task.x, task.target, task.ablation)
        return [_of_scores(method, task, edges, sizes, given) for given in _called(method, task, inputs, generators)]
    masked = task.masked() if masked is None else masked
    found = []
    for search in _called(method, task, (masked,), generators):
        _check_closed(method, edges, search)
        circuits, n_forward = search.circuits[0], int(search.n_forward[0])
        carried = carried_forward(circuits, masked.objective(circuits, task.objective), sizes)
        found.append(Found(carried, None, n_forward, circuits))
    return found


def _of_scores(method: Method, task: Task, edges: Edges, sizes: np.ndarray, given: Scores) -> Found:
    flat, n_forward = edges.flat(given), method.n_passes(edges.n, len(task.x))
    ranked = ranked_circuits(edges, in_family(flat, task.family)[None], sizes)[0]
    return Found(ranked, flat, n_forward, ranked)


def _check_closed(method: Method, edges: Edges, search: Search) -> None:
    """Checks that each edge of the circuits that a method of the user's own found lies on a path of kept edges.

    Raises:
        ArgumentError: one doesn't, so there may be no other circuits of this size to compare with.
    """
    for circuits in search.circuits if method not in METHODS else ():
        if not np.array_equal(edges.closed(circuits), circuits):
            problem = f"the method {method.name} returns circuits with edges on no path of kept edges:"
            raise ArgumentError("method", None, problem, "return masked.edges.closed(circuits).")


def _called(
    method: Method, task: Task, inputs: Sequence[Any], generators: Sequence[torch.Generator | None]
) -> list[Any]:
    """Returns what the function of a method returns for each generator.

    Args:
        inputs: what it takes by place.

    Raises:
        ArgumentError: it takes generators and returns something else than a result for each.
    """
    function = method.load()
    available = {"objective": task.objective, "loss": task.loss, "family": task.family}
    taken = {name: available[name] for name in method.takes if name in available}
    if "generators" in method.takes:
        found = list(function(*inputs, generators=generators, **taken))
        if len(found) != len(generators):
            problem = f"the method {method.name} returns {len(found)} results for {len(generators)} generators:"
            raise ArgumentError("method", None, problem, "return one for each.")
        return found
    draws = [{"generator": each} if "generator" in method.takes else {} for each in generators]
    return [function(*inputs, **draw, **taken) for draw in draws]


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

    def find(self, method: str | Method, sizes: np.ndarray, *, generator: torch.Generator | None = None) -> np.ndarray:
        """Returns the circuits `(R, S, E)` of a method on each resample.

        Raises:
            ArgumentError: no method has this name, or it doesn't resample.
        """
        method = method_of(method) if isinstance(method, str) else method
        if not method.resamples:
            problem = f"the method {method.name} finds no circuits on resampled examples."
            raise ArgumentError("method", None, problem)
        task, masked = self.task, self.masked
        edges = masked.edges
        if method.scores is not None:
            inputs = [(task.part, task.x[rows], task.target[rows], task.ablation) for rows in self.rows]
            given = [_called(method, task, each, [generator])[0] for each in inputs]
            scores = in_family(np.stack([edges.flat(each) for each in given]), task.family)
            return ranked_circuits(edges, scores, sizes)
        search: Search = _called(method, task, (masked,), [generator])[0]
        _check_closed(method, edges, search)
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
