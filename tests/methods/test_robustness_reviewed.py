"""Circuits in regions: witnesses where the last activation is flat, and differences of outputs that circuits share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mi_runner.circuits import certify
from mi_runner.datasets.outputs import Outputs
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.robustness.difference import largest_differences


def doubled(part: Part, kept: np.ndarray) -> Part:
    """Returns a circuit with zero ablation in float64."""
    masks = Edges(part.sizes).masks(torch.from_numpy(kept))
    return Part(
        tuple(
            Layer(layer.weight.double() * mask, layer.bias.double(), layer.activation, layer.slope)
            for layer, mask in zip(part.layers, masks, strict=True)
        )
    )


@pytest.mark.parametrize(
    ("last", "kind", "height"),
    [("tanh", Outputs.logits, 40.0), ("sigmoid", Outputs.probabilities, 40.0), ("identity", Outputs.logits, 40.0)],
)
def test_a_witness_of_classes_is_clear_after_the_last_activation(last: str, kind: Outputs, height: float) -> None:
    outputs = Layer(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), torch.full((2,), height), last)
    part = Part((Layer(torch.eye(2), torch.zeros(2)), outputs))
    x = torch.tensor([[-1.0, 0.5], [1.0, 1.0], [2.0, 3.0]])
    without_one = 0b0110_1001  # class 1 is x₀ + x₁ of the network and x₀ of the circuit; class 0 is x₁ of both
    found = certify(part, without_one, x, 0.5, kind=kind)
    assert found.witnesses is not None
    refuted = [i for i, status in enumerate(found.status) if status == "refuted"]
    assert bool(refuted) == (last == "identity")  # saturated outputs tie in float64, and a tie is no witness
    row = Edges(part.sizes).rows(np.array([without_one], dtype=np.uint64))[0]
    for point in found.witnesses[refuted]:
        both = torch.stack([doubled(part, kept)(point[None])[0] for kept in (row, np.ones_like(row))])
        assert kind.answers(both).unique().numel() == 2
        assert bool(((both[:, 0] - both[:, 1]).abs() > 1e-9).all())


def test_the_difference_of_the_full_circuit_lies_in_the_hull() -> None:
    part = Part((Layer(torch.ones(1, 2), torch.zeros(1), "relu"), Layer(torch.ones(1, 1), torch.zeros(1))))
    x = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    found = largest_differences(part, np.array([0b111], dtype=np.uint64), x)
    assert (found.low[0, 0], found.high[0, 0]) == (0.0, 0.0)
    low, high = x.double().numpy().min(0), x.double().numpy().max(0)
    assert ((low <= found.points[0, 0]) & (found.points[0, 0] <= high)).all()


def test_an_output_that_circuit_and_network_compute_alike_differs_by_nothing() -> None:
    first = Layer(torch.tensor([[0.5, 3.0], [1.5, 1.0], [-2.5, -2.0]]), torch.tensor([0.5, 0.0, -0.25]), "sigmoid")
    part = Part((first, Layer(torch.tensor([[-2.0, -2.5, -2.25], [-0.5, -3.0, 0.125]]), torch.zeros(2))))
    x = torch.tensor([[-1.0, -2.5], [2.0, 2.5]])
    all_but_one = 0b1111_1111_1111 & ~(1 << 6)  # output 0 lacks a neuron, output 1 nothing
    found = largest_differences(part, np.array([all_but_one], dtype=np.uint64), x)
    assert found.low[0, 1] == 0
    assert found.high[0, 1] <= 1e-6
