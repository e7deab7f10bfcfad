"""Subnetwork probing against a program in plain NumPy, with derivatives by hand; what it keeps that others don't."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.discovery import subnetwork_probing as module
from mi_runner.methods.discovery.edge_pruning import edge_pruning
from mi_runner.methods.discovery.gates import Training, trained_gates
from mi_runner.methods.discovery.masked import MaskedPart
from mi_runner.methods.discovery.subnetwork_probing import search, subnetwork_probing
from tests.masked_parts import ABLATIONS, examples, random_part


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


class PlainProgram:
    """A tanh layer into a linear output, squared error: gates of both layers, by gradient descent with Adam."""

    def __init__(self, part: Part, x: np.ndarray, y: np.ndarray, ablation: str) -> None:
        (self.first, self.second), (self.b, self.c) = (
            [layer.weight.double().numpy() for layer in part.layers],
            [layer.bias.double().numpy() for layer in part.layers],
        )
        self.x, self.y = x, y
        hidden = np.tanh(x @ self.first.T + self.b)
        is_mean = ablation == "mean"
        self.of_inputs, self.of_hidden = x.mean(0) * is_mean, hidden.mean(0) * is_mean

    def loss(self, gates: np.ndarray, rows: np.ndarray) -> tuple[float, np.ndarray]:
        """The mean squared error, and its derivative by each gate."""
        n = self.first.size
        of_first, of_second = gates[:n].reshape(self.first.shape), gates[n:].reshape(self.second.shape)
        x, y = self.x[rows], self.y[rows]
        change_in = x[:, None, :] - self.of_inputs  # what a gate adds: (b, 1, in)
        sums = self.b + self.first @ self.of_inputs + (change_in * (of_first * self.first)).sum(2)
        hidden = np.tanh(sums)
        change = hidden - self.of_hidden
        output = self.c[0] + self.second[0] @ self.of_hidden + change @ (of_second * self.second)[0]
        slope = 2 * (output - y) / len(y)
        by_second = (slope[:, None] * change * self.second[0]).sum(0)
        by_sums = slope[:, None] * (of_second * self.second)[0] * (1 - hidden**2)
        by_first = (by_sums[:, :, None] * change_in * self.first).sum(0)
        return float(((output - y) ** 2).mean()), np.concatenate([by_first.ravel(), by_second.ravel()])

    def trained(self, penalty: float, place: int, of: int, steps: int, seed: int) -> np.ndarray:
        """log α after training, of one of the penalties that share the draws."""
        n_edges = self.first.size + self.second.size
        alpha, mean, square = np.full(n_edges, math.log(5)), np.zeros(n_edges), np.zeros(n_edges)
        everything = np.arange(len(self.x))
        scale, _ = self.loss(np.zeros(n_edges), everything)
        draw = torch.Generator().manual_seed(seed)
        for step in range(steps):
            rows = torch.randint(len(self.x), (min(256, len(self.x)),), generator=draw).numpy()
            u = torch.rand((of, n_edges), generator=draw, dtype=torch.float64)[place].numpy()
            concrete = sigmoid((np.log(u / (1 - u)) + alpha) / (2 / 3))
            stretched = concrete * 1.2 - 0.1
            _, by_gates = self.loss(np.clip(stretched, 0, 1), rows)
            inside = (stretched >= 0) & (stretched <= 1)
            is_open = sigmoid(alpha - 2 / 3 * math.log(0.1 / 1.1))
            rises = np.clip((step / steps - 0.25) / 0.5, 0, 1)
            slope = by_gates * inside * 1.2 * concrete * (1 - concrete) * 1.5
            slope += penalty * scale * rises * is_open * (1 - is_open) / n_edges
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
            unbiased = mean / (1 - 0.9 ** (step + 1)), square / (1 - 0.999 ** (step + 1))
            alpha = alpha - 0.2 * min(1, step / steps / 0.1) * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        return alpha


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_it_is_that_of_a_plain_program(ablation: str) -> None:
    part = random_part((3, 3, 1), "tanh", seed=3)
    part = Part((part.layers[0], Layer(part.layers[1].weight, part.layers[1].bias)))
    x, y = examples(part, n=300)
    penalties, steps, edges = (0.01, 1.0, 30.0), 60, Edges(part.sizes)
    plain = PlainProgram(part, x.numpy(), y.numpy(), ablation)
    expected = np.stack([plain.trained(penalty, place, 3, steps, 5) for place, penalty in enumerate(penalties)])
    assert np.abs(expected).min() > 1e-6, "rounding could decide an edge: take another seed"
    training = Training("loss", penalties, steps, 0.2, math.log(5), 0.1, (0.25, 0.75))
    draw = torch.Generator().manual_seed(5)
    found = trained_gates(part, x, y, ablation, training, loss=None, generators=[draw], start=edges.full)
    assert np.allclose(found[0], expected, rtol=0, atol=1e-7)
    draw = torch.Generator().manual_seed(5)
    circuits = subnetwork_probing(part, x, y, ablation, penalties=penalties, steps=steps, generator=draw)
    assert np.array_equal(circuits, edges.closed(expected > 0))
    assert len(np.unique(circuits, axis=0)) > 1


def test_a_gate_starts_at_nine_tenths() -> None:
    assert sigmoid(np.array(module.START)) * 1.2 - 0.1 == pytest.approx(0.9)
    assert sigmoid(np.array(module.START - 2 / 3 * math.log(0.1 / 1.1))) == pytest.approx(0.9611, abs=1e-4)


def two_inputs(first: float, second: float) -> tuple[Part, torch.Tensor]:
    """Output = first · a + second · b, on the four corners of ±1."""
    part = Part((Layer(torch.tensor([[first, second]]), torch.zeros(1)),))
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    return part, x


def test_it_leaves_out_what_makes_the_task_worse_and_edge_pruning_keeps_it() -> None:
    """The task is a, the network answers a + b: with b's edge the loss is 1, without it 0."""
    part, x = two_inputs(1.0, 1.0)
    given = (part, x, x[:, 0], "zero")
    probed = subnetwork_probing(*given, penalties=(0.001,), generator=torch.Generator().manual_seed(0))
    pruned = edge_pruning(*given, penalties=(0.001,), generator=torch.Generator().manual_seed(0))
    assert (probed.tolist(), pruned.tolist()) == ([[True, False]], [[True, True]])


def test_a_penalty_above_what_an_edge_saves_leaves_it_out() -> None:
    """The network answers a + b/10, as the task: b's edge saves 0.01 of the empty circuit's loss, which is 1.01."""
    part, x = two_inputs(1.0, 0.1)
    y = x @ torch.tensor([1.0, 0.1], dtype=torch.float64)
    found = subnetwork_probing(part, x, y, "zero", penalties=(1e-4, 0.5), generator=torch.Generator().manual_seed(0))
    assert found.tolist() == [[True, True], [True, False]]


def test_a_search_has_the_circuits_of_each_draw_and_its_passes() -> None:
    part = random_part((3, 2, 1))
    x, y = examples(part)
    start = np.ones((1, 8), dtype=bool)
    start[0, :3] = False  # of the first hidden neuron
    family = Edges(part.sizes).closed(start)[0]
    masked = MaskedPart(part, x, y, "mean", family=family)
    found = search(masked, generators=[torch.Generator().manual_seed(seed) for seed in (0, 1)])
    for seed, each in enumerate(found):
        draw = torch.Generator().manual_seed(seed)
        alone = subnetwork_probing(part, x, y, "mean", loss=masked.loss, generator=draw, start=masked.start)
        assert np.array_equal(each.circuits[0], alone) and not alone[:, ~family].any()
        assert each.n_forward.tolist() == [5400]  # 600 steps of all 40 examples for 9 penalties
