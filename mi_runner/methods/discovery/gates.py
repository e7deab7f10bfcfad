"""Gates in 0..1 on all edges, trained on an objective and on how many are open: what methods with gates share.

Gates are hard concrete (Louizos et al. 2018): random while they train, and open or closed afterwards. All penalties of
all draws are trained at once, because a step of a small part takes as long for many gates as for one.

Letters: B examples, b examples of a step, D draws, E edges, K = D·P sets of gates, P penalties, T steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import Means, means_of
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.discovery.masked import LossFunction, MaskedPart, loss_per_example, start_of, task_loss
from mi_runner.methods.discovery.search import Search
from mi_runner.training.optimizers import optimizer_named

BETA, LOW, HIGH = 2 / 3, -0.1, 1.1
"""Temperature of the hard concrete distribution, and the ends that it is stretched to."""

BATCH = 256
"""Examples of a step, drawn with replacement."""

GATED_AT_ONCE = 100_000_000
"""Weights of all gated copies of the part together, at most; of a larger part fewer draws or penalties are trained at
once."""

NUMBERS_AT_ONCE = 1_000_000
"""Random numbers and rows that are drawn together, for several steps."""

Generators = Sequence[torch.Generator | None]
"""The generator of each draw; None: torch's own."""


@dataclass(frozen=True)
class Training:
    """How gates are trained.

    Attributes:
        objective: distance or loss; see `MaskedPart.objective`.
        penalties: λ: the objective grows by λ times the expected fraction of open gates, times that of the empty
            circuit.
        steps: of Adam.
        learning_rate: Adam's.
        start: log α of each gate before the first step.
        rate_rises: the fraction of the steps in which the learning rate rises from 0, by as much in each.
        penalty_rises: the fractions of the steps between which the penalty rises from 0, by as much in each.
    """

    objective: str
    penalties: tuple[float, ...]
    steps: int
    learning_rate: float
    start: float
    rate_rises: float = 0.0
    penalty_rises: tuple[float, float] = (0.0, 0.0)

    def n_passes(self, n_examples: int) -> int:
        """Returns the forward passes over the examples: a batch counts as its share of them."""
        return round(self.steps * len(self.penalties) * min(BATCH, n_examples) / n_examples)

    def rate(self, step: int) -> float:
        """Returns the learning rate of a step, from 0."""
        return self.learning_rate * risen(step / self.steps, 0.0, self.rate_rises)

    def penalty(self, step: int) -> float:
        """Returns what the penalties are times in a step, from 0: a number in 0..1."""
        return risen(step / self.steps, *self.penalty_rises)


def risen(share: float, first: float, last: float) -> float:
    """Returns 0 up to `first`, 1 from `last` on, and between them a number on the straight line."""
    return 1.0 if share >= last else max(0.0, (share - first) / (last - first))


def searches(masked: MaskedPart, training: Training, generators: Generators) -> list[Search]:
    """Returns the circuits of each draw on the examples of a masked part, without its resamples."""
    found = gated_circuits(
        masked.part,
        masked.x,
        masked.target,
        masked.ablation,
        training,
        loss=masked.loss,
        generators=generators,
        start=masked.start,
    )
    n_forward = np.array([training.n_passes(len(masked.x))])
    return [Search([circuits], n_forward) for circuits in found]


def gated_circuits(
    part: Part,
    x: Tensor,
    target: Tensor,
    ablation: str,
    training: Training,
    *,
    loss: LossFunction | None = None,
    generators: Generators = (None,),
    start: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Returns for each draw the circuit of each penalty, `(P, E)` bool, closed: the edges whose gate is above ½.

    Args:
        loss: the task's; None: `task_loss`.
        generators: one for each draw.
        start: `(1, E)` bool, closed: the edges that have a gate; None: every edge.
    """
    edges = Edges(part.sizes)
    start = start_of(None, edges) if start is None else start
    log_alpha = trained_gates(part, x, target, ablation, training, loss=loss, generators=generators, start=start)
    return [edges.closed((each > 0) & start) for each in log_alpha]


def trained_gates(
    part: Part,
    x: Tensor,
    target: Tensor,
    ablation: str,
    training: Training,
    *,
    loss: LossFunction | None,
    generators: Generators,
    start: np.ndarray,
) -> np.ndarray:
    """Returns log α of each gate after training, `(D, P, E)`; a draw's are those of this draw alone."""
    part, n_edges = part.to(x), Edges(part.sizes).n
    target = target.to(x) if target.is_floating_point() else target
    with torch.no_grad():
        full, means = part(x), means_of(part, x, ablation)
    fixed = _Fixed(part, x, target, full, means, loss or task_loss(target), torch.from_numpy(start[0]).to(x.device))
    at_once = max(1, GATED_AT_ONCE // n_edges)
    draws_at_once, penalties = max(1, at_once // len(training.penalties)), training.penalties
    groups = [penalties[first : first + at_once] for first in range(0, len(penalties), at_once)]
    found = []
    for first in range(0, len(generators), draws_at_once):
        some = generators[first : first + draws_at_once]
        found.append(np.concatenate([_trained(fixed, training, group, some) for group in groups], axis=1))
    return np.concatenate(found)


@dataclass(frozen=True)
class _Fixed:
    """What stays the same in training: the part, its examples, and which edges have a gate.

    Attributes:
        x, target, full: `(B, …)` each.
        gated: `(E,)` bool.
    """

    part: Part
    x: Tensor
    target: Tensor
    full: Tensor
    means: Means | None
    loss: LossFunction
    gated: Tensor

    def objective(self, gates: Tensor, rows: Tensor, objective: str) -> Tensor:
        """Returns the objective of each set of gates on the examples of its draw, `(D, P)`.

        Args:
            gates: `(D, P, E)`.
            rows: `(D, b)`.
        """
        n_draws, n_penalties, n_edges = gates.shape
        outputs = outputs_of_circuits(self.part, gates.view(-1, n_edges), self.x[rows], self.means)
        outputs = outputs.view(n_draws, n_penalties, *outputs.shape[1:])
        if objective == "distance":
            return (outputs - self.full[rows][:, None]).square().mean((2, 3))
        of_penalties = outputs.transpose(0, 1).flatten(1, 2)  # the examples of all draws, one behind the other
        each = loss_per_example(self.loss, of_penalties, self.target[rows.flatten()])
        return each.view(n_penalties, n_draws, -1).mean(2).T


def _trained(fixed: _Fixed, training: Training, penalties: tuple[float, ...], generators: Generators) -> np.ndarray:
    """Returns log α of each gate, `(D, P, E)`."""
    x, gated, objective = fixed.x, fixed.gated, training.objective
    with torch.no_grad():
        closed_gates = torch.zeros(1, 1, len(gated), dtype=x.dtype, device=x.device)
        scale = fixed.objective(closed_gates, torch.arange(len(x), device=x.device)[None], objective).item()
    weight = torch.tensor(penalties, dtype=x.dtype, device=x.device) * scale
    shape = len(generators), len(penalties), len(gated)
    log_alpha = torch.full(shape, training.start, dtype=x.dtype, device=x.device, requires_grad=True)
    optimizer = optimizer_named("adam", [log_alpha], learning_rate=training.learning_rate)
    n_gated = gated.sum()
    for step, (rows, noise) in enumerate(_drawn(x, shape, training.steps, generators)):
        optimizer.param_groups[0]["lr"] = training.rate(step)
        gates = _stretched(torch.sigmoid((noise + log_alpha) / BETA)) * gated
        open_share = (torch.sigmoid(log_alpha - BETA * math.log(-LOW / HIGH)) * gated).sum(2) / n_gated
        each = fixed.objective(gates, rows, objective)
        total = (each + training.penalty(step) * weight * open_share).sum()
        (log_alpha.grad,) = torch.autograd.grad(total, [log_alpha])
        optimizer.step()
    return log_alpha.detach().cpu().numpy()


def _drawn(
    x: Tensor, shape: tuple[int, int, int], n_steps: int, generators: Generators
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields for each step the rows of each draw, `(D, b)`, and the noise of its gates, `(D, P, E)`.

    They are drawn for several steps at once. A generator gives the rows of a step, then its noise.
    """
    n_rows = min(BATCH, len(x))
    at_once = max(1, NUMBERS_AT_ONCE // (math.prod(shape) + len(generators) * n_rows))
    for first in range(0, n_steps, at_once):
        n = min(at_once, n_steps - first)
        rows = torch.empty(n, len(generators), n_rows, dtype=torch.long)
        u = torch.empty(n, *shape, dtype=x.dtype)
        for draw, generator in enumerate(generators):
            for step in range(n):
                torch.randint(len(x), (n_rows,), generator=generator, out=rows[step, draw])
                torch.rand(shape[1:], generator=generator, dtype=x.dtype, out=u[step, draw])
        yield from zip(rows.to(x.device), u.clamp_(1e-6, 1 - 1e-6).logit_().to(x.device), strict=True)


def _stretched(s: Tensor) -> Tensor:
    return (s * (HIGH - LOW) + LOW).clamp(0, 1)
