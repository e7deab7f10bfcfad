"""Methods that may keep only some edges: against plain loops, and none of them keeps another edge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.edges import Edges, rows_of
from mi_runner.methods.discovery.find import Resampled, Task, find
from mi_runner.methods.discovery.masked import loss_of_sides
from mi_runner.methods.discovery.records import METHODS
from tests.masked_parts import ABLATIONS, by_definition, examples, random_part

SIZES = (3, 3, 2, 1)


def part_with_zeros() -> tuple[Part, np.ndarray]:
    """Returns a part with weights of 0, and the others as a family; hidden neuron 2 leads nowhere."""
    part = random_part(SIZES, "tanh")
    keep = [torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(5)) > 0.2 for layer in part.layers]
    keep[1][:, 2] = False
    keep[0][2, 0] = True
    layers = [replace(layer, weight=layer.weight * mask) for layer, mask in zip(part.layers, keep, strict=True)]
    return Part(tuple(layers), site=part.site), rows_of([mask.numpy()[None] for mask in keep])[0]


def task_of(ablation: str, *, has_family: bool = True) -> Task:
    part, family = part_with_zeros()
    x, _ = examples(part)
    return Task(part, x, part.to(x)(x)[:, 0], ablation, family=family if has_family else None)


def distance(task: Task, circuit: np.ndarray) -> float:
    """Returns the distance of a closed circuit to the full network's output, by its definition."""
    masks = [mask[0] for mask in Edges(SIZES).masks(circuit[None])]
    full = by_definition(task.part, [mask[0] for mask in Edges(SIZES).masks(Edges(SIZES).full)], task.x, task.ablation)
    return float((by_definition(task.part, masks, task.x, task.ablation) - full).square().mean())


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_edges_are_left_out_from_the_family_not_from_all(ablation: str) -> None:
    task = task_of(ablation)
    edges, masked = Edges(SIZES), task.masked()
    start = edges.closed(task.family[None])[0] if task.family is not None else edges.full[0]
    assert masked.start[0].tolist() == start.tolist() and start.sum() < task.family.sum() < edges.n  # type: ignore[union-attr]
    assert masked.objective(masked.start).tolist() == [0.0] and masked.measures(masked.start).mse.tolist() == [0.0]
    assert torch.equal(masked.outputs(masked.start)[0], masked.full)

    wanted = []
    for edge in range(edges.n):
        left = start.copy()
        left[edge] = False
        wanted.append(distance(task, edges.closed(left[None])[0]))
    found = find("edge_patching", task, np.arange(start.sum() + 1))
    assert found.scores == pytest.approx(np.array(wanted), abs=1e-12)
    of_all = find("edge_patching", task_of(ablation, has_family=False), np.arange(edges.n + 1)).scores
    assert of_all is not None and not np.allclose(found.scores, of_all)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_greedy_of_a_family_is_a_plain_loop(ablation: str) -> None:
    task, edges = task_of(ablation), Edges(SIZES)
    assert task.family is not None
    state = edges.closed(task.family[None])[0]
    path = [state]
    while state.any():
        nexts = []
        for edge in np.flatnonzero(state):
            left = state.copy()
            left[edge] = False
            nexts.append(edges.closed(left[None])[0])
        state = min(nexts, key=lambda circuit: round(distance(task, circuit), 12))
        path.append(state)
    assert find("greedy", task, np.arange(path[0].sum() + 1)).every.tolist() == np.stack(path).tolist()


@pytest.mark.parametrize("method", [method.name for method in METHODS])
def test_no_method_keeps_another_edge(method: str) -> None:
    task = task_of("mean")
    assert task.family is not None
    start = task.masked().start[0]
    sizes = np.arange(start.sum() + 1)
    found = find(method, task, sizes, generator=torch.Generator().manual_seed(0))
    assert not (found.circuits & ~start).any() and not (found.every & ~start).any()
    assert (found.circuits.sum(1) <= sizes).all()
    if found.scores is not None:
        assert found.circuits[-1].tolist() == start.tolist()
    if next(one for one in METHODS if one.name == method).resamples:
        rows = torch.arange(len(task.x)).repeat(2, 1)
        again = Resampled(task, rows, torch.ones(2, len(task.x), dtype=torch.int64))
        circuits = again.find(method, sizes, generator=torch.Generator().manual_seed(0))
        assert not (circuits & ~start).any()
        if method != "random":
            assert circuits.tolist() == [found.circuits.tolist()] * 2


def test_the_loss_of_sides_has_a_gradient_where_outputs_are_the_targets() -> None:
    outputs = torch.tensor([[0.0], [1.0], [0.5]], requires_grad=True)
    target = torch.tensor([0, 1, 1])
    each = loss_of_sides(outputs, target, "none")
    wanted = torch.tensor([np.log1p(np.exp(-0.5)), np.log1p(np.exp(-0.5)), np.log(2)], dtype=torch.float32)
    assert each.detach() == pytest.approx(wanted)
    loss_of_sides(outputs, target).backward()
    assert outputs.grad is not None and (outputs.grad != 0).all()
