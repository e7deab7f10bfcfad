"""All criteria of the circuits of a small network: the kernel against a loop over circuits with masked weights.

The network is made, not trained: random weights on 2,115 random examples in two bunches, with 7,885 examples of other
data. 30,000 circuits drawn from its 94,591 stand for the valid ones. The loop takes a circuit's masks and does each
criterion with plain products of matrices, all examples at once, as one writes it first; it has the rank of a circuit
from the losses of the family, each computed once, and is timed on a few dozen circuits, a circuit's share of the family
included. It is on one thread, because two are no faster for so few numbers. The first ratio is that of seconds, ours
on all threads; the second that of CPU seconds, both on one. With tanh less is wanted: the C library's tanh in float64
takes longer than all else that is done for a row, and compiles to no vector instructions.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from benchmarks.circuits import made, one_thread
from benchmarks.timing import seconds, took
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.criteria.family import every_circuit
from mi_runner.methods.criteria.judge import judge
from mi_runner.methods.criteria.task import Task

N_CIRCUITS = 30_000
LOOPED = 40
"""Circuits that the loop does; it would do the others at the same speed."""

DOUBLE = torch.zeros((), dtype=torch.float64)


def run() -> None:
    """Print the seconds of all criteria, and the ratio to the loop."""
    for activation, wanted in (("leaky_relu", 300), ("tanh", 50)):
        part, examples = made((3, 3, 3, 1), activation)
        draw = torch.Generator().manual_seed(1)
        shift = 2 * torch.randn(7885, 3, generator=draw, dtype=torch.float64)
        family = every_circuit(CircuitSpace(part.sizes))
        circuits = np.random.default_rng(0).choice(family, N_CIRCUITS, replace=False)
        for ablation in ("zero", "mean"):

            def task() -> Task:
                x = examples.x.to(DOUBLE)  # noqa: B023
                return Task(part.to(DOUBLE), x, examples.kind, ablation, shift=shift, family=family)  # noqa: B023

            judge(task(), circuits[:100])  # compiles
            on_all = min(seconds(lambda: judge(task(), circuits)) for _ in range(3))  # noqa: B023
            with one_thread():
                ours = min(took(lambda: judge(task(), circuits)).cpu for _ in range(3)) / N_CIRCUITS  # noqa: B023
                looped(task(), circuits[:1])
                loop = min(took(lambda: looped(task(), circuits[:LOOPED])) for _ in range(3))  # noqa: B023
            print(
                f"criteria, {activation}, {ablation}: {N_CIRCUITS:,} circuits in {on_all:.1f} s on "
                f"{numba.get_num_threads()} threads, the loop {LOOPED / loop.wall:,.0f} a second; "
                f"ratio {loop.wall / LOOPED * N_CIRCUITS / on_all:,.0f}, of CPU seconds "
                f"{loop.cpu / LOOPED / ours:,.0f}; wanted {wanted}",
                flush=True,
            )


@torch.no_grad()
def looped(task: Task, circuits: np.ndarray) -> list[list[float]]:
    """All criteria of each circuit, one after the other."""
    part, x, means = task.part, task.x, task.means
    assert task.shift is not None and task.family is not None
    example, draws = task.draws
    inputs = [x, *(x[example] + sigma * draws for sigma in task.noise), task.shift]
    answers = [part(one).round() for one in inputs]
    differing, some = (tuple(map(torch.from_numpy, pairs)) for pairs in (task.differing_pairs, task.any_pairs))
    values = part.activations(x)
    sizes = np.bitwise_count(task.family)
    found = []
    for circuit, kept in zip(circuits, task.edges.rows(circuits), strict=True):
        masks, others = _masks(task, kept), _masks(task, task.edges.closed(~kept[None])[0])
        row = [
            (masked(part, masks, one, means)[-1].round() == answer).double().mean().item()
            for one, answer in zip(inputs, answers, strict=True)
        ]
        base, source = differing
        carried = [one[source] for one in values]
        sufficient = masked(part, masks, x[base], carried)[-1].round() == answers[0][base]
        necessary = masked(part, [~mask for mask in masks], x[base], carried)[-1].round() == answers[0][source]
        row += [sufficient.double().mean().item(), necessary.double().mean().item()]
        row.append(_interchanged(part, masks, x, means, some))
        row.append((masked(part, others, x, means)[-1].round() == answers[0]).double().mean().item())
        same = task.family[sizes == np.bitwise_count(circuit)]
        share = same[:: max(1, len(circuits))][: max(1, len(task.family) // N_CIRCUITS)]  # its share of the family
        row += [
            (masked(part, _masks(task, one), x, means)[-1] - part(x)).square().mean().item()
            for one in task.edges.rows(share)
        ]
        found.append(row)
    return found


def masked(
    part: Part, masks: list[Tensor], x: Tensor, left_out: list[Tensor], fixed: tuple[int, int, Tensor] | None = None
) -> list[Tensor]:
    """The values of all layers of one circuit, a neuron's fixed."""
    values = [x]
    for index, (layer, mask, carried) in enumerate(zip(part.layers, masks, left_out, strict=True)):
        sums = values[-1] @ (layer.weight * mask).T + layer.bias + carried @ (layer.weight * ~mask).T
        values.append(layer.activate(sums))
        if fixed is not None and fixed[0] == index + 1:
            values[-1][:, fixed[1]] = fixed[2]
    return values


def _masks(task: Task, kept: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(mask) for mask in task.edges.masks(kept)]


def _interchanged(part: Part, masks: list[Tensor], x: Tensor, means: list[Tensor], pairs: tuple[Tensor, ...]) -> float:
    base, source = pairs
    every = [torch.ones_like(mask) for mask in masks]
    own, full, alike = masked(part, masks, x[source], means), masked(part, every, x[source], means), []
    for layer, mask in enumerate(masks[:-1], 1):
        for u in torch.nonzero(mask.any(1)).flatten().tolist():
            mine = masked(part, masks, x[base], means, (layer, u, own[layer][:, u]))[-1]
            of_full = masked(part, every, x[base], means, (layer, u, full[layer][:, u]))[-1]
            alike.append((mine.round() == of_full.round()).double().mean().item())
    return float(np.mean(alike))
