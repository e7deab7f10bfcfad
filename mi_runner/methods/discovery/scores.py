"""Methods that give each edge a score; the circuit of size k has the k highest.

Each is a function `(part, x, target, ablation) → scores`, an array `(out, in)` for each layer. A method of your own is
such a function, too.

Letters: B examples, E edges; s source, t target of an edge; w its weight, a what a source gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mi_runner.graph.chain import Part, mean_values
from mi_runner.methods.circuits.ablation import carried, check_ablation
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.discovery.masked import LossFunction, MaskedPart, check_examples, task_loss

Scores = Sequence[Tensor | np.ndarray]
"""A score for each edge: an array `(out, in)` for each layer."""

NUMBERS_AT_ONCE = 1_000_000
"""Numbers that are computed together: EAP-IG's inputs of the part, what the edges of a layer carry for examples."""

STEPS = 10
"""Inputs between the ablated and the clean one at which EAP-IG takes the gradient."""


def random(
    part: Part, x: Tensor, target: Tensor, ablation: str, *, generator: torch.Generator | None = None
) -> list[Tensor]:
    """Returns random scores, uniform in 0..1; `generator` draws them, None: torch's own."""
    return [torch.rand(shape, generator=generator, dtype=torch.float64) for shape in Edges(part.sizes).shapes]


def magnitude(part: Part, x: Tensor, target: Tensor, ablation: str) -> list[Tensor]:
    """Returns the absolute weight of each edge."""
    return [layer.weight.abs() for layer in part.to(x).layers]


@torch.no_grad()
def activation(part: Part, x: Tensor, target: Tensor, ablation: str) -> list[Tensor]:
    """Returns the absolute weight of each edge, times the mean of its source's absolute value over the examples."""
    part = part.to(x)
    entering = part.activations(x)
    return [layer.weight.abs() * values.abs().mean(0) for layer, values in zip(part.layers, entering, strict=True)]


def edge_patching(
    part: Part,
    x: Tensor,
    target: Tensor,
    ablation: str,
    *,
    objective: str = "distance",
    loss: LossFunction | None = None,
    family: np.ndarray | None = None,
) -> list[Tensor]:
    """Returns the objective of the circuit that lacks this edge alone, after closing.

    Args:
        objective: distance, the mean squared difference to the full network's output, or loss, the task's.
        family: `(E,)` bool, the edges that circuits may keep; None: every edge.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.discovery import edge_patching
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
        >>> x = torch.rand(20, 3, dtype=torch.float64)
        >>> y = (x[:, 0] > 0.5).double()
        >>> part = find_part(ModelGraph.trace(net, x[:2].float()), None)
        >>> [tuple(scores.shape) for scores in edge_patching(part, x, y, "zero")]
        [(2, 3), (1, 2)]
    """
    masked = MaskedPart(part, x, target, ablation, loss=loss, family=family)
    edges = masked.edges
    step = max(1, 50_000_000 // edges.n)  # a table of all circuits without one edge may be too large
    scores = np.empty(edges.n)
    for start in range(0, edges.n, step):
        without = np.arange(start, min(start + step, edges.n))
        circuits = np.repeat(masked.start, len(without), axis=0)
        circuits[np.arange(len(without)), without] = False
        scores[without] = masked.objective(edges.closed(circuits), objective)
    return edges.masks(torch.from_numpy(scores))


def eap(
    part: Part, x: Tensor, target: Tensor, ablation: str, *, loss: LossFunction | None = None, signed: bool = False
) -> list[Tensor]:
    """Returns the scores of edge attribution patching (Syed et al. 2023).

    |Σ over examples of (what the edge would carry − what it carries) · gradient of the loss by what enters its target|.

    Args:
        loss: of the task, its mean over the examples; None: `task_loss`.
        signed: without the absolute value, for comparison.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.discovery import eap
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
        >>> x = torch.rand(20, 3, dtype=torch.float64)
        >>> y = (x[:, 0] > 0.5).double()
        >>> part = find_part(ModelGraph.trace(net, x[:2].float()), None)
        >>> [tuple(scores.shape) for scores in eap(part, x, y, "zero")]
        [(2, 3), (1, 2)]
    """
    return _attribution(part, x, target, ablation, loss, signed, steps=None)


def eap_ig(
    part: Part,
    x: Tensor,
    target: Tensor,
    ablation: str,
    *,
    loss: LossFunction | None = None,
    signed: bool = False,
    steps: int = STEPS,
) -> list[Tensor]:
    """Returns the scores of EAP with integrated gradients (Hanna et al. 2024).

    As `eap`, with the gradient averaged over the inputs ablated + (k/steps)(clean − ablated) of the part, k = 1..steps.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.discovery import eap_ig
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
        >>> x = torch.rand(20, 3, dtype=torch.float64)
        >>> y = (x[:, 0] > 0.5).double()
        >>> part = find_part(ModelGraph.trace(net, x[:2].float()), None)
        >>> [tuple(scores.shape) for scores in eap_ig(part, x, y, "mean", steps=5)]
        [(2, 3), (1, 2)]
    """
    return _attribution(part, x, target, ablation, loss, signed, steps=steps)


@torch.no_grad()
def information_flow(part: Part, x: Tensor, target: Tensor, ablation: str) -> list[Tensor]:
    """Returns the importance of each edge in the flow of information (Ferrando and Voita 2024), mean over the examples.

    What enters a neuron is y = Σ w·a + bias. Its edge is as near to y as max(0, |y| − |y − w·a|), and its importance is
    its share of the nearness of all edges of the neuron; 0 where none is near, so where y = 0. The importances of a
    neuron's edges add up to 1, or to 0. The bias is in y and takes no share, as in the authors' program and in MIB's.
    Neither the ablation nor the target plays a role.

    The authors follow, for one example, the edges above a threshold from the output backwards. Here edges are ranked by
    the mean over the examples, as in MIB, and a circuit is closed as that of every method. The authors' program takes a
    nearness below 1e-5 as 1e-5; here it stays, so that an edge of weight 0 has no importance.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.discovery import information_flow
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
        >>> x = torch.rand(20, 3, dtype=torch.float64)
        >>> y = (x[:, 0] > 0.5).double()
        >>> part = find_part(ModelGraph.trace(net, x[:2].float()), None)
        >>> [tuple(scores.shape) for scores in information_flow(part, x, y, "zero")]
        [(2, 3), (1, 2)]
    """
    part = part.to(x)
    scores = []
    for layer, values in zip(part.layers, part.activations(x), strict=True):
        total = torch.zeros_like(layer.weight)
        for some in values.split(max(1, NUMBERS_AT_ONCE // layer.weight.numel())):
            sums = functional.linear(some, layer.weight, layer.bias)[..., None]  # (b, out, 1)
            near = (sums.abs() - (sums - layer.weight * some[:, None]).abs()).clamp(min=0)
            of_all = near.sum(2, keepdim=True)
            total += (near / torch.where(of_all > 0, of_all, 1)).sum(0)
        scores.append(total / len(x))
    return scores


eap_signed, eap_ig_signed = partial(eap, signed=True), partial(eap_ig, signed=True)
"""Both without the absolute value, for comparison."""


def _attribution(
    part: Part,
    x: Tensor,
    target: Tensor,
    ablation: str,
    loss: LossFunction | None,
    signed: bool,
    steps: int | None,
) -> list[Tensor]:
    check_examples(part, x, target)
    part, loss = part.to(x), loss or task_loss(target)
    if target.is_floating_point():
        target = target.to(x)
    check_ablation(ablation)
    entering, gradients = _gradients(part, x, target, loss)
    fixed = carried(part, mean_values(entering) if ablation == "mean" else None)
    if steps is not None:  # the last of the inputs is the clean one
        gradients = [gradient / steps for gradient in gradients]
        at_once = max(1, NUMBERS_AT_ONCE // x.numel())
        for some in torch.arange(1, steps, dtype=x.dtype, device=x.device).split(at_once):
            between = (fixed[0] + (some / steps)[:, None, None] * (x - fixed[0])).flatten(0, 1)
            many = target.repeat(len(some), *[1] * (target.dim() - 1))
            for total, gradient in zip(gradients, _gradients(part, between, many, loss)[1], strict=True):
                # The loss is a mean over len(some) inputs for each example.
                total += gradient.reshape(len(some), *total.shape).sum(0) * (len(some) / steps)
    scores = []
    for layer, values, ablated, gradient in zip(part.layers, entering, fixed, gradients, strict=True):
        # Σ (w·ablated − w·a)·g, by one product as in the gradient of the weights
        change = layer.weight * (gradient.sum(0)[:, None] * ablated - gradient.T @ values)
        scores.append(change if signed else change.abs())
    return scores


def _gradients(part: Part, x: Tensor, target: Tensor, loss: LossFunction) -> tuple[list[Tensor], list[Tensor]]:
    """Returns what enters each layer, and the gradient of the mean loss by what enters its neurons, `(B, n)` each."""
    entering, before = [], []
    with torch.enable_grad():
        values = x.detach()
        for index, layer in enumerate(part.layers):
            entering.append(values.detach())
            sums = functional.linear(values, layer.weight, layer.bias)
            before.append(sums if index else sums.requires_grad_())
            values = layer.activate(sums)
        gradients = torch.autograd.grad(loss(values, target), before)
    return entering, list(gradients)
