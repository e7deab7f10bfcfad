"""Many circuits of one part on the same examples: their outputs and measures, with zero or mean ablation.

Computed in the dtype of the examples: give float64 where differences are small.

Letters: B examples, E edges, K circuits, L layers, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import ACTIVATIONS, Part, mean_values
from mi_runner.methods.circuits.ablation import carried, check_ablation
from mi_runner.methods.circuits.edges import Edges, distinct
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.kernels.distances import distances
from mi_runner.training.evaluation import loss_of_classes

OBJECTIVES = ("distance", "loss")

NUMBERS_AT_ONCE = 1_000_000
"""Values of a layer, circuits times neurons times examples, that are computed together."""

MOST_COMPILED = 300
"""Up to this many edges, distances are computed by the kernel."""

LossFunction = Callable[..., Tensor]
"""`loss(outputs, target, reduction)` of outputs `(B, n_L)`: a value per example `(B,)` with "none", or their mean."""


def task_loss(target: Tensor, kind: Outputs | None = None) -> LossFunction:
    """Returns the loss that suits the targets: cross-entropy of classes (integers), the squared error of values.

    Args:
        kind: what the outputs are; None: logits for classes, values otherwise.
    """
    if target.is_floating_point():
        return squared_error
    return loss_of_classes(kind or Outputs.logits)


def squared_error(outputs: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Returns the squared error of outputs `(B, n_L)` for targets `(B,)` or `(B, n_L)`, the mean over the outputs."""
    errors = (outputs - target.reshape(outputs.shape)).square().mean(1)
    return errors.mean() if reduction == "mean" else errors


def loss_of_sides(outputs: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Returns the cross-entropy of the side of ½ on which outputs `(B, 1)` are; output − ½ is the logit of target 1.

    Where weights are planted the outputs are the targets, so the squared error has no gradient; this loss has one.
    """
    return binary_cross_entropy_with_logits(outputs[:, 0] - 0.5, target.to(outputs), reduction=reduction)


def loss_per_example(loss: LossFunction, outputs: Tensor, target: Tensor) -> Tensor:
    """Returns the loss of each example, `(K, B)`, of outputs `(K, B, n_L)`; targets as in `MaskedPart`."""
    many = target.repeat(len(outputs), *[1] * (target.dim() - 1))
    return loss(outputs.reshape(-1, outputs.shape[2]), many, reduction="none").reshape(len(outputs), -1)


@dataclass(frozen=True)
class Measures:
    """Measures of K circuits; each attribute is an array `(K,)`.

    Attributes:
        n_correct: examples answered correctly.
        n_agreeing: examples answered as the full network does.
        mse: mean squared difference to the full network's outputs.
        loss: the task's mean loss.
    """

    n_correct: np.ndarray
    n_agreeing: np.ndarray
    mse: np.ndarray
    loss: np.ndarray

    def right(self, valid_by: str) -> np.ndarray:
        """Returns how many answers of each circuit are right by a rule of validity, `(K,)`.

        Args:
            valid_by: one of `circuits.examples.VALID_BY`.
        """
        return self.n_agreeing if valid_by == "agreement" else self.n_correct

    def of(self, rows: np.ndarray) -> Measures:
        """Returns the measures of the circuits in these rows."""
        return Measures(self.n_correct[rows], self.n_agreeing[rows], self.mse[rows], self.loss[rows])


def check_examples(part: Part, x: Tensor, target: Tensor) -> None:
    """Checks that examples are those of a part.

    Raises:
        ArgumentError: x isn't what enters the part, or there isn't a target for each example.
    """
    if x.dim() != 2 or not len(x) or x.shape[1] != part.sizes[0]:
        remedy = f"give at least one row, of the {part.sizes[0]} activations that enter."
        raise ArgumentError("x", None, f"x of shape {tuple(x.shape)}:", remedy)
    if len(target) != len(x):
        raise ArgumentError("target", None, f"{len(x)} examples, {len(target)} targets: give one for each.")


def start_of(family: np.ndarray | None, edges: Edges) -> np.ndarray:
    """Returns the largest circuit, `(1, E)` bool, of edges that circuits may keep, `(E,)` bool; None: every edge."""
    return edges.full if family is None else edges.closed(family[None])


class MaskedPart:
    """A part on fixed examples, with any circuits of it.

    Attributes:
        part: in the dtype of the examples.
        x: `(B, n_0)`, the activations that enter it.
        edges: the part's.
        full: `(B, n_L)`, the full network's outputs.
        start: `(1, E)` bool, the circuit that answers as the full network: every edge, or those of a family, closed.
        target: `(B,)` int64 classes, or values `(B,)` or `(B, n_L)`.
        kind: what the outputs are, and so what an answer is.
        ablation: zero or mean.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.discovery import MaskedPart
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
        >>> x = torch.rand(20, 3, dtype=torch.float64)
        >>> y = (x[:, 0] > 0.5).double()
        >>> part = find_part(ModelGraph.trace(net, x[:2].float()), None)
        >>> masked = MaskedPart(part, x, y, "zero")
        >>> full = torch.ones(1, 8, dtype=torch.bool).numpy()
        >>> masked.measures(full).mse
        array([0.])
    """

    def __init__(
        self,
        part: Part,
        x: Tensor,
        target: Tensor,
        ablation: str,
        *,
        loss: LossFunction | None = None,
        full: Tensor | None = None,
        counts: Tensor | None = None,
        kind: Outputs | None = None,
        family: np.ndarray | None = None,
    ) -> None:
        """
        Args:
            part: its layers.
            x: `(B, n_0)`, the activations that enter the part.
            target: `(B,)` int64 classes, or values.
            ablation: zero or mean.
            loss: the task's; None: `task_loss`.
            full: `(B, n_L)`, the full network's outputs; None: those of the part.
            counts: `(R, B)`, how often each example occurs in each of R resamples; None: once, R = 1. Means and
                `objective` are over these.
            kind: what the outputs are; None: logits for classes, values otherwise.
            family: `(E,)` bool, the edges that circuits may keep, which are all whose weight isn't 0; None: every edge.

        Raises:
            ArgumentError: the ablation has another name, or x or the target does not fit.
        """
        check_examples(part, x, target)
        check_ablation(ablation)
        self.part, self.edges, self.ablation = part.to(x), Edges(part.sizes), ablation
        self.start = start_of(family, self.edges)
        self.target = target.to(x) if target.is_floating_point() else target
        self.kind = (Outputs.values if target.is_floating_point() else Outputs.logits) if kind is None else kind
        self.loss = task_loss(target, self.kind) if loss is None else loss
        entering = self.part.activations(x)
        if full is None:
            full = self.part.layers[-1](entering[-1]).detach()
        self.full = full.to(x).reshape(len(x), part.sizes[-1])
        self.shares = torch.full((1, len(x)), 1 / len(x), dtype=x.dtype, device=x.device)
        if counts is not None:
            self.shares = counts.to(x) / counts.to(x).sum(1, keepdim=True)
        self._means: list[Tensor] | None = None  # (R, n_l)
        if ablation == "mean":
            self._means = [mean[None] for mean in mean_values(entering)]
            if counts is not None:
                self._means = [self.shares @ values for values in entering]
        self.x, self._x = x, x.T.contiguous().T  # in the second the values of a neuron lie together, for products

        # Products of large matrices are faster than the kernel, which skips edges that are left out.
        self._compiled = (
            x.device.type == "cpu"
            and x.dtype == torch.float64
            and self.edges.n <= MOST_COMPILED
            and part.layers[-1].is_elementwise
        )

    @property
    def n_resamples(self) -> int:
        """R."""
        return len(self.shares)

    @torch.no_grad()
    def outputs(self, circuits: np.ndarray, resamples: np.ndarray | None = None) -> Tensor:
        """Returns the outputs `(K, B, n_L)` of closed circuits `(K, E)`.

        Args:
            circuits: closed; see `Edges.closed`. The full circuit has the full network's outputs, bit for bit.
            resamples: `(K,)`, the resample whose means each circuit takes; None: the first.
        """
        means = None
        if self._means is not None:
            at = 0 if resamples is None else torch.from_numpy(resamples).to(self._x.device)
            means = [values[at] for values in self._means]
        outputs = outputs_of_circuits(self.part, circuits, self._x, means, full=self.full)
        if not (are_full := self._are_full(circuits)).any():
            return outputs
        return torch.where(torch.from_numpy(are_full).to(outputs.device)[:, None, None], self.full, outputs)

    def _are_full(self, circuits: np.ndarray) -> np.ndarray:
        """Returns which circuits keep all that the family has, `(K,)`: their outputs are the full network's."""
        return np.asarray((circuits == self.start).all(1))

    def _per_example(self, outputs: Tensor, objective: str) -> Tensor:
        """Returns the objective of each example, `(K, B)`, of outputs `(K, B, n_L)`."""
        if objective == "distance":
            return (outputs - self.full).square().mean(2)
        return loss_per_example(self.loss, outputs, self.target)

    def _chunks(self, n_circuits: int) -> list[slice]:
        width = max(max(self.part.sizes[1:]) * len(self._x), self.edges.n)
        step = max(1, NUMBERS_AT_ONCE // width)
        return [slice(start, start + step) for start in range(0, n_circuits, step)]

    @torch.no_grad()
    def objective(
        self, circuits: np.ndarray, objective: str = "distance", resamples: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns what a method makes small, `(K,)`: the distance to the full network's output, or the task's loss.

        Circuits that occur several times are computed once.

        Args:
            circuits: `(K, E)`, closed.
            objective: distance or loss.
            resamples: `(K,)`, the resample that each is judged on; None: the first.
        """
        if objective not in OBJECTIVES:
            raise ArgumentError("objective", objective, f"use {' or '.join(OBJECTIVES)}.")
        rows = np.zeros(len(circuits), dtype=np.int64) if resamples is None else resamples
        if objective == "distance" and self._compiled and (self.ablation == "mean" or self.n_resamples == 1):
            return self._distances(circuits, rows)
        found = np.empty(len(circuits))
        if self.ablation == "zero":  # outputs are those of any resample
            first, index = distinct(circuits)
            order = np.argsort(index, kind="stable")
            bounds = np.searchsorted(index[order], np.arange(len(first) + 1))
            for chunk in self._chunks(len(first)):
                each = self._per_example(self.outputs(circuits[first[chunk]]), objective)
                means = (each @ self.shares.T).cpu().numpy()  # (k, R)
                members = order[bounds[chunk.start] : bounds[min(chunk.stop, len(first))]]
                found[members] = means[index[members] - chunk.start, rows[members]]
            return found
        first, index = distinct(circuits, rows)
        means = np.empty(len(first))
        for chunk in self._chunks(len(first)):
            some, at = circuits[first[chunk]], rows[first[chunk]]
            each = self._per_example(self.outputs(some, at), objective)
            means[chunk] = (each * self.shares[torch.from_numpy(at)]).sum(1).cpu().numpy()
        return means[index]

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        """What the kernel takes besides circuits and resamples."""
        layers = self.part.layers
        means = [values.expand(self.n_resamples, -1) for values in carried(self.part, self._means)]
        return (
            np.array(self.part.sizes),
            np.concatenate([layer.weight.numpy().reshape(-1) for layer in layers]),
            np.concatenate([layer.bias.numpy() for layer in layers]),
            np.array([ACTIVATIONS.index(layer.activation) for layer in layers]),
            np.array([layer.slope for layer in layers]),
            self._x.T.numpy(),
            self.full.T.contiguous().numpy(),
            self.shares.numpy(),
            torch.cat(means, 1).numpy(),
        )

    def _distances(self, circuits: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns the distance of each circuit by the compiled kernel, `(K,)`; that of the full circuit is 0."""
        first, index = distinct(circuits, rows)
        some = circuits[first]
        found = distances(some, rows[first], *self._arrays)
        return np.where(self._are_full(some), 0.0, found)[index]

    @torch.no_grad()
    def measures(self, circuits: np.ndarray) -> Measures:
        """Returns the measures of closed circuits `(K, E)` on the examples, each once."""
        first, index = distinct(circuits)
        columns: list[list[np.ndarray]] = [[], [], [], []]
        answers = self.answers(self.full)
        for chunk in self._chunks(len(first)):
            outputs = self.outputs(circuits[first[chunk]])
            given = self.answers(outputs)
            target = self.target.reshape(answers.shape)
            target = target.round() if target.is_floating_point() else target
            for column, values in zip(
                columns,
                (
                    self._all_outputs(given == target).sum(1),
                    self._all_outputs(given == answers).sum(1),
                    self._per_example(outputs, "distance").mean(1),
                    self._per_example(outputs, "loss").mean(1),
                ),
                strict=True,
            ):
                column.append(values.cpu().numpy())
        return Measures(*(np.concatenate(column) for column in columns)).of(index)

    @torch.no_grad()
    def distance_by_example(self, circuits: np.ndarray) -> np.ndarray:
        """Returns the squared difference of each example's output to the full network's, mean over circuits, `(B,)`.

        Args:
            circuits: `(K, E)`, closed; one that occurs several times counts as often.
        """
        first, index = distinct(circuits)
        weights = torch.from_numpy(np.bincount(index, minlength=len(first)) / len(circuits)).to(self.x)
        total = torch.zeros(len(self.x), dtype=self.x.dtype, device=self.x.device)
        for chunk in self._chunks(len(first)):
            total += weights[chunk] @ self._per_example(self.outputs(circuits[first[chunk]]), "distance")
        return total.cpu().numpy()

    def answers(self, outputs: Tensor) -> Tensor:
        """Returns the answers of outputs `(..., n_L)`: `(...)` of a class or one value, `(..., n_L)` of several."""
        return self.kind.answers(outputs)

    @staticmethod
    def _all_outputs(equal: Tensor) -> Tensor:
        """Returns whether all outputs of an example are equal, `(K, B)`."""
        return equal.all(2) if equal.dim() == 3 else equal
