"""Edge pruning (Bhaskar et al. 2024): gates in 0..1 for all edges, trained on the objective and on how many are open.

The gates are hard concrete (Louizos et al. 2018). All penalties are trained at once.

Letters: B examples, E edges, P penalties.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mi_runner.graph.chain import Part
from mi_runner.methods.discovery.gates import Generators, Training, gated_circuits, searches
from mi_runner.methods.discovery.masked import LossFunction, MaskedPart
from mi_runner.methods.discovery.search import Search

PENALTIES = tuple(np.logspace(-3, 1, 9).tolist())
"""λ, each times the objective of the empty circuit for each edge."""

STEPS, LEARNING_RATE, START = 600, 0.05, 1.0
"""Steps of Adam, its learning rate, and log α of each gate before the first step."""


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
    given = (part, x, target, ablation, _training(objective, penalties, steps))
    return gated_circuits(*given, loss=loss, generators=[generator], start=start)[0]


def search(masked: MaskedPart, *, objective: str = "distance", generators: Generators = (None,)) -> list[Search]:
    """Returns the circuits of `edge_pruning` of each draw, on the examples of a masked part without its resamples."""
    return searches(masked, _training(objective, PENALTIES, STEPS), generators)


def n_passes(n_examples: int) -> int:
    """Returns the forward passes over the examples: a batch counts as its share of them."""
    return _training("distance", PENALTIES, STEPS).n_passes(n_examples)


def _training(objective: str, penalties: tuple[float, ...], steps: int) -> Training:
    return Training(objective, penalties, steps, LEARNING_RATE, START)
