"""Edge pruning (Bhaskar et al. 2024): gates in 0..1 for all edges, trained on the objective and on how many are open.

The gates are hard concrete (Louizos et al. 2018). All penalties are trained at once.

Letters: B examples, E edges, P penalties.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import means_of
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.discovery.masked import LossFunction, MaskedPart, loss_per_example, task_loss
from mi_runner.methods.discovery.search import Search

BETA, LOW, HIGH = 2 / 3, -0.1, 1.1
"""Temperature of the hard concrete distribution, and the ends that it is stretched to."""

PENALTIES = tuple(np.logspace(-3, 1, 9).tolist())
"""λ, each times the objective of the empty circuit for each edge."""

STEPS, BATCH, LEARNING_RATE, START = 600, 256, 0.05, 1.0
"""Steps of Adam, examples of a step, its learning rate, and log α of each gate before the first step."""

GATED_AT_ONCE = 100_000_000
"""Weights of all gated copies of the part together, at most; a larger part is trained with one penalty at a time."""


def edge_pruning(
    part: Part,
    x: Tensor,
    target: Tensor,
    ablation: str,
    *,
    objective: str = "distance",
    loss: LossFunction | None = None,
    penalties: tuple[float, ...] = PENALTIES,
    steps: int = STEPS,
    generator: torch.Generator | None = None,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the circuit of each penalty, `(P, E)` bool, closed: the edges whose gate is above ½ after training.

    Args:
        objective: distance or loss.
        penalties: λ: the objective grows by λ times the expected fraction of open gates, times that of the empty
            circuit.
        steps: of Adam.
        generator: draws gates and batches; None: torch's own.
        start: `(1, E)` bool, closed: the edges that have a gate; None: every edge.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.discovery import edge_pruning
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
        >>> x = torch.rand(20, 3, dtype=torch.float64)
        >>> y = (x[:, 0] > 0.5).double()
        >>> part = find_part(ModelGraph.trace(net, x[:2].float()), None)
        >>> edge_pruning(part, x, y, "zero", penalties=(0.01, 1.0), steps=20).shape
        (2, 8)
    """
    edges = Edges(part.sizes)
    start = edges.full if start is None else start
    at_once = max(1, GATED_AT_ONCE // edges.n)
    groups = [penalties[first : first + at_once] for first in range(0, len(penalties), at_once)]
    found = [_trained(part, x, target, ablation, objective, loss, group, steps, generator, start) for group in groups]
    return edges.closed((np.concatenate(found) > 0) & start)


def search(masked: MaskedPart, *, objective: str = "distance", generator: torch.Generator | None = None) -> Search:
    """Returns the circuits of `edge_pruning` on the examples of a masked part, without its resamples."""
    circuits = edge_pruning(
        masked.part,
        masked.x,
        masked.target,
        masked.ablation,
        objective=objective,
        loss=masked.loss,
        generator=generator,
        start=masked.start,
    )
    return Search([circuits], np.array([n_passes(len(masked.x))]))


def n_passes(n_examples: int) -> int:
    """Returns the forward passes over the examples: a batch counts as its share of them."""
    return round(STEPS * len(PENALTIES) * min(BATCH, n_examples) / n_examples)


def _trained(
    part: Part,
    x: Tensor,
    target: Tensor,
    ablation: str,
    objective: str,
    loss: LossFunction | None,
    penalties: tuple[float, ...],
    steps: int,
    generator: torch.Generator | None,
    start: np.ndarray,
) -> np.ndarray:
    """Returns log α of each gate, `(P, E)`."""
    part, loss, edges = part.to(x), loss or task_loss(target), Edges(part.sizes)
    target = target.to(x) if target.is_floating_point() else target
    with torch.no_grad():
        full, means = part(x), means_of(part, x, ablation)
        closed_gates = torch.zeros(1, edges.n, dtype=x.dtype, device=x.device)
        empty = outputs_of_circuits(part, closed_gates, x, means)
        scale = _objective(empty, full, target, loss, objective).item()
    weight = torch.tensor(penalties, dtype=x.dtype, device=x.device) * scale
    gated = torch.from_numpy(start[0]).to(x.device)
    log_alpha = torch.full((len(penalties), edges.n), START, dtype=x.dtype, device=x.device, requires_grad=True)
    optimizer = torch.optim.Adam([log_alpha], lr=LEARNING_RATE)
    for _ in range(steps):
        rows = torch.randint(len(x), (min(BATCH, len(x)),), generator=generator).to(x.device)
        u = torch.rand(log_alpha.shape, generator=generator, dtype=x.dtype).clamp(1e-6, 1 - 1e-6).to(x.device)
        gates = _stretched(torch.sigmoid((u.logit() + log_alpha) / BETA)) * gated
        outputs = outputs_of_circuits(part, gates, x[rows], means)
        open_share = torch.sigmoid(log_alpha - BETA * math.log(-LOW / HIGH))[:, gated].mean(1)
        each = _objective(outputs, full[rows], target[rows], loss, objective)
        optimizer.zero_grad()
        (each + weight * open_share).sum().backward()
        optimizer.step()
    return log_alpha.detach().cpu().numpy()


def _stretched(s: Tensor) -> Tensor:
    return (s * (HIGH - LOW) + LOW).clamp(0, 1)


def _objective(outputs: Tensor, full: Tensor, target: Tensor, loss: LossFunction, objective: str) -> Tensor:
    """Returns the objective of each penalty, `(P,)`."""
    if objective == "distance":
        return (outputs - full).square().mean((1, 2))
    return loss_per_example(loss, outputs, target).mean(1)
