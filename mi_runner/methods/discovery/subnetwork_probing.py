"""Subnetwork probing (Cao, Sanh, Rush 2021): masks on weights, trained on the task's loss and on how many are open.

It asks which edges the task needs. Edge pruning asks which of them the network's outputs need, so it keeps what makes
these outputs worse at the task. Both train hard concrete gates; they differ in what the two papers' programs differ in:

- *Objective.* The task's loss here, the distance to the full network's outputs there.
- *Start.* log α = ln 5: a gate is 0.9 where it isn't random, and above 0 with a probability of 0.96.
- *Schedule.* The penalty is 0 for the first quarter of the steps and rises to λ until the last quarter. Adam's learning
  rate is 0.2, to which it rises in the first tenth.

What differs from the authors' program, and why:

- A left-out edge carries what the ablation says, as in every method here; there the weight becomes 0, so zero ablation
  is theirs.
- Outputs are the network's own; there a linear layer is trained with the masks, because their networks have no outputs
  for the task.
- λ is times the loss of the empty circuit, because losses of values have units; there it is an absolute 1, of a
  cross-entropy. There is a circuit for each of nine λ, as in the comparisons of ACDC's authors, from 0.01, with which
  nearly every useful edge stays, to 100, with which nearly none does: gates that open while the penalty is 0 are hard
  to close.
- 600 steps of 256 examples, for parts of few edges; there 20 passes over their data, 32 examples at a time, or fewer.
- Biases have no gate, as there.

Letters: B examples, E edges, P penalties.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mi_runner.graph.chain import Part
from mi_runner.methods.discovery.gates import Generators, Training, gated_circuits, searches
from mi_runner.methods.discovery.masked import LossFunction, MaskedPart
from mi_runner.methods.discovery.search import Search

PENALTIES = tuple(np.logspace(-2, 2, 9).tolist())
"""λ, each times the loss of the empty circuit for each edge."""

STEPS, LEARNING_RATE, START = 600, 0.2, math.log(5)
"""Steps of Adam, its learning rate, and log α of each gate before the first step: 1.2 · 5/6 − 0.1 = 0.9."""

RATE_RISES, PENALTY_RISES = 0.1, (0.25, 0.75)
"""The fraction of the steps in which the learning rate rises, and those between which the penalty does."""


def subnetwork_probing(
    part: Part,
    x: Tensor,
    target: Tensor,
    ablation: str,
    *,
    loss: LossFunction | None = None,
    penalties: tuple[float, ...] = PENALTIES,
    steps: int = STEPS,
    generator: torch.Generator | None = None,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the circuit of each penalty, `(P, E)` bool, closed: the edges whose gate is above ½ after training.

    Args:
        loss: of the task; None: `task_loss`.
        penalties: λ: the loss grows by λ times the expected fraction of open gates, times that of the empty circuit.
        steps: of Adam.
        generator: draws gates and batches; None: torch's own.
        start: `(1, E)` bool, closed: the edges that have a gate; None: every edge.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.discovery import subnetwork_probing
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
        >>> x = torch.rand(20, 3, dtype=torch.float64)
        >>> y = (x[:, 0] > 0.5).double()
        >>> part = find_part(ModelGraph.trace(net, x[:2].float()), None)
        >>> subnetwork_probing(part, x, y, "zero", penalties=(0.01, 1.0), steps=20).shape
        (2, 8)
    """
    given = (part, x, target, ablation, _training(penalties, steps))
    return gated_circuits(*given, loss=loss, generators=[generator], start=start)[0]


def search(masked: MaskedPart, *, generators: Generators = (None,)) -> list[Search]:
    """Returns the circuits of `subnetwork_probing` of each draw, on a masked part without its resamples."""
    return searches(masked, _training(PENALTIES, STEPS), generators)


def n_passes(n_examples: int) -> int:
    """Returns the forward passes over the examples: a batch counts as its share of them."""
    return _training(PENALTIES, STEPS).n_passes(n_examples)


def _training(penalties: tuple[float, ...], steps: int) -> Training:
    return Training("loss", penalties, steps, LEARNING_RATE, START, RATE_RISES, PENALTY_RISES)
