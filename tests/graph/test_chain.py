"""The chain of Linear layers at a network's end: which activations it has, where it ends, and a masked part by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Layer, Part, find_part, longest_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.circuits.circuit import Circuit, pair_shares
from mi_runner.methods.circuits.edges import Edges, rows_of
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.space import CircuitSpace


class Functional(nn.Module):
    """Two Linear layers with a function between them."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.function = nn.Linear(3, 4), nn.Linear(4, 2), function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], str, float]] = {
    "torch.relu": (torch.relu, "relu", 0.0),
    "functional.relu": (functional.relu, "relu", 0.0),
    "x.relu()": (lambda x: x.relu(), "relu", 0.0),
    "torch.tanh": (torch.tanh, "tanh", 0.0),
    "x.tanh()": (lambda x: x.tanh(), "tanh", 0.0),
    "torch.sigmoid": (torch.sigmoid, "sigmoid", 0.0),
    "leaky_relu": (functional.leaky_relu, "leaky_relu", 0.01),
    "leaky_relu of a slope": (lambda x: functional.leaky_relu(x, negative_slope=0.3), "leaky_relu", 0.3),
    "nothing": (lambda x: x, "identity", 0.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_and_methods_are_activations(name: str) -> None:
    function, kind, slope = FUNCTIONS[name]
    torch.manual_seed(0)
    network, x = Functional(function).eval(), torch.randn(5, 3)
    part = find_part(ModelGraph.trace(network, x), 2)
    assert [(layer.activation, layer.slope) for layer in part.layers] == [(kind, slope), ("identity", 0.0)]
    assert [layer.module for layer in part.layers] == ["first", "last"] and part.sizes == (3, 4, 2)
    assert torch.allclose(part(x), network(x), atol=1e-6)


MODULES: dict[str, tuple[nn.Module, str, float]] = {
    "ReLU": (nn.ReLU(), "relu", 0.0),
    "Tanh": (nn.Tanh(), "tanh", 0.0),
    "Sigmoid": (nn.Sigmoid(), "sigmoid", 0.0),
    "LeakyReLU": (nn.LeakyReLU(0.2), "leaky_relu", 0.2),
    "Identity": (nn.Identity(), "identity", 0.0),
    "Dropout": (nn.Dropout(0.5), "identity", 0.0),
    "ReLU and Dropout": (nn.Sequential(nn.ReLU(), nn.Dropout(0.5)), "relu", 0.0),
    "Dropout and ReLU": (nn.Sequential(nn.Dropout(0.5), nn.Identity(), nn.ReLU()), "relu", 0.0),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_activations_and_dropout_is_nothing_in_evaluation(name: str) -> None:
    module, kind, slope = MODULES[name]
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(3, 4), module, nn.Linear(4, 2)).eval(), torch.randn(5, 3)
    graph = ModelGraph.trace(network, x)
    part = find_part(graph, None)
    assert [(layer.activation, layer.slope) for layer in part.layers] == [(kind, slope), ("identity", 0.0)]
    assert torch.allclose(part(x), network(x), atol=1e-6) and part.site == graph.inputs[0]
    longest = longest_part(graph)
    assert longest is not None and longest.sizes == (3, 4, 2)


def test_a_layer_without_a_bias_has_one_of_0() -> None:
    torch.manual_seed(0)
    network, x = (
        nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2, bias=False)).eval(),
        torch.randn(5, 3),
    )
    part = find_part(ModelGraph.trace(network, x), 2)
    assert all(torch.equal(layer.bias, torch.zeros(len(layer.weight))) for layer in part.layers)
    assert torch.allclose(part(x), network(x), atol=1e-6)


class Added(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.last = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.left(x) + self.right(x)))


@pytest.mark.parametrize(
    ("network", "last_layers", "site"),
    [
        (nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.ReLU(), nn.Linear(2, 1)), 2, "1"),  # two activations
        (nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.ReLU(), nn.Linear(2, 1)), 2, "1"),
        (nn.Sequential(nn.Linear(3, 2), nn.Softmax(1), nn.Linear(2, 1)), 2, "1"),
        (nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Linear(2, 1)), None, "1"),
        (Added(), 2, "add"),
        (nn.Sequential(nn.Linear(3, 1), nn.Softmax(1)), 1, "1"),
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 1)), None, "input"),  # an activation before the first layer
        (nn.Sequential(nn.ReLU()), None, "input"),
    ],
)
def test_what_ends_the_chain_is_named(network: nn.Module, last_layers: int | None, site: str) -> None:
    graph = ModelGraph.trace(network.eval(), torch.randn(2, 3))
    with pytest.raises(
        ValueError, match=f"^'{site}' ends the chain of last layers: .* elementwise activation .identity, relu,"
    ):
        find_part(graph, last_layers)


def test_a_layer_of_more_than_one_axis_is_no_chain() -> None:
    graph = ModelGraph.trace(nn.Sequential(nn.Linear(3, 2)).eval(), torch.randn(2, 4, 3))
    with pytest.raises(ValueError, match="ends the chain"):
        find_part(graph, 1)
    assert longest_part(graph) is None


# --- a part by hand --------------------------------------------------------------------------------------------------

PART = Part(
    (
        Layer(torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([1.0, 0.0]), "relu"),
        Layer(torch.tensor([[2.0, 1.0], [-1.0, 4.0]]), torch.tensor([0.5, -0.5]), "identity"),
    )
)
X = torch.tensor([[1.0, 1.0], [-1.0, 2.0], [3.0, -3.0]])


def test_a_part_and_the_values_that_enter_its_layers_by_hand() -> None:
    # Hidden: (1 + 2 + 1, 3 − 1), (−1 + 4 + 1, −3 − 2), (3 − 6 + 1, 9 + 3), and relu.
    hidden = [[4.0, 2.0], [4.0, 0.0], [0.0, 12.0]]
    assert PART(X).tolist() == [[10.5, 3.5], [8.5, -4.5], [12.5, 47.5]]
    assert PART.output(1)(X).tolist() == [[3.5], [-4.5], [47.5]] and PART.output(1).sizes == (2, 2, 1)
    entering = PART.activations(X)
    assert len(entering) == 2 and torch.equal(entering[0], X) and entering[1].tolist() == hidden
    assert [mean.tolist() for mean in PART.means(X)] == [[1.0, 0.0], [pytest.approx(8 / 3), pytest.approx(14 / 3)]]


def test_circuits_of_a_part_by_hand() -> None:
    """The first neuron keeps its second input, the second neuron none; of the first neuron the first output alone."""
    edges = Edges(PART.sizes)
    masks = [np.array([[[False, True], [False, False]]]), np.array([[[True, True], [False, True]]])]
    circuit = edges.closed(rows_of(masks))  # edges out of the second neuron lie on no path
    assert circuit.tolist() == [[False, True, False, False, True, False, False, False]]
    # Zero: hidden relu(2·x₁ + 1) = 3, 5, 0; edges of the inactive neuron carry 0.
    outputs = outputs_of_circuits(PART, circuit, X)
    assert outputs.tolist() == [[[6.5, -0.5], [10.5, -0.5], [0.5, -0.5]]]
    # Mean: the first neuron's left-out edge carries 1 · 1: relu(2·x₁ + 2) = 4, 6, 0. The inactive neuron has 14/3.
    means = PART.means(X)
    expected = [[2 * first + 14 / 3 + 0.5, -8 / 3 + 4 * 14 / 3 - 0.5] for first in (4.0, 6.0, 0.0)]
    several = outputs_of_circuits(PART, np.concatenate([edges.full, circuit, edges.empty]), X, means)
    assert torch.equal(several[0], PART(X))
    assert several[1].tolist() == [pytest.approx(row) for row in expected]
    of_means = [2 * 8 / 3 + 14 / 3 + 0.5, -8 / 3 + 4 * 14 / 3 - 0.5]
    assert several[2].tolist() == [pytest.approx(of_means)] * 3
    own = [torch.stack([mean, 0 * mean, mean]) for mean in means]  # each circuit's own: the second's carry 0
    assert torch.equal(outputs_of_circuits(PART, np.repeat(circuit, 3, axis=0), X, own)[1], outputs[0])
    assert torch.equal(outputs_of_circuits(PART, np.repeat(circuit, 3, axis=0), X, own)[2], several[1])


def test_gates_are_between_a_kept_edge_and_one_that_is_left_out_and_have_gradients() -> None:
    gates, means = torch.ones(1, 8).index_fill(1, torch.tensor([0]), 0.25).requires_grad_(), PART.means(X)
    outputs = outputs_of_circuits(PART, gates, X, means)
    # The first edge carries ¼·x₀ + ¾·1, so the first neuron is relu(¼·x₀ + ¾ + 2·x₁ + 1).
    first = [1 / 4 + 3 / 4 + 3, -1 / 4 + 3 / 4 + 5, 0.0]
    second = [2.0, 0.0, 12.0]
    assert outputs[0, :, 0].tolist() == pytest.approx([2 * a + b + 0.5 for a, b in zip(first, second, strict=True)])
    (gradient,) = torch.autograd.grad(outputs[0, 1, 0], gates)
    # Of the second example: by the first gate 2·1·(−1 − 1), by the gates of the outputs w·(value − mean).
    assert gradient[0, [0, 4, 5]].tolist() == pytest.approx([-4.0, 2 * (first[1] - 8 / 3), 0.0 - 14 / 3])


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "leaky_relu", "identity"])
def test_gradients_pass_through_circuits_the_full_one_too(activation: str) -> None:
    draw = torch.Generator().manual_seed(0)
    layers = [
        Layer(torch.randn(*shape, generator=draw), torch.randn(shape[0], generator=draw), activation, 0.1)
        for shape in ((2, 3), (2, 2))
    ]
    part, x = Part(tuple(layers)), torch.randn(4, 3, generator=draw).requires_grad_()
    circuits = np.array([[True] * 10, [True, False, True, False, False, False, True, False, True, False]])
    outputs = outputs_of_circuits(part, circuits, x)
    for row, masks in enumerate(zip(*Edges(part.sizes).masks(circuits), strict=True)):
        values = x
        for layer, mask in zip(layers, masks, strict=True):
            values = layer.activate(values @ (layer.weight * torch.from_numpy(mask)).T + layer.bias)
        (expected,) = torch.autograd.grad(values[:, 0].sum(), x)
        (found,) = torch.autograd.grad(outputs[row, :, 0].sum(), x, retain_graph=True)
        assert torch.allclose(found, expected, atol=1e-6) and found.abs().max() > 1e-4


def test_an_output_that_there_is_not() -> None:
    part = Part((Layer(torch.eye(2), torch.zeros(2)),))
    assert part.output(1).layers[0].weight.tolist() == [[0.0, 1.0]]
    for index in (2, -1):
        with pytest.raises(ArgumentError, match=rf"^index={index}: the part has 2 outputs: count from 0\."):
            part.output(index)


def test_a_circuit_by_hand() -> None:
    """Of the first output: both neurons are active, and the edge from the first input to the first neuron is cut."""
    part = PART.output(0)
    space = CircuitSpace(part.sizes)
    circuit = Circuit(part, 0b11_1110)
    other = Circuit(part, space.full)
    assert (circuit.n_edges, circuit.n_nodes, other.n_edges, other.n_nodes) == (5, 2, 6, 2)
    assert other.contains(circuit) and not circuit.contains(other) and circuit.jaccard(other) == 5 / 6
    one = Circuit(part, 0b01_0011)  # the first neuron alone
    assert (one.n_edges, one.n_nodes) == (3, 1) and one.jaccard(circuit) == 2 / 6
    assert one.apply(X).tolist() == [8.5, 8.5, 0.5]


def test_a_circuit_of_mean_ablation_gives_a_bias_to_layers_that_have_none() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Tanh(), nn.Linear(2, 1, bias=False)).eval()
    x = torch.randn(20, 3)
    part = find_part(ModelGraph.trace(network, x), 2)
    means = part.means(x)
    circuit = Circuit(part, 0b01_000101, means=means)  # the first neuron with its first and third input
    cut = circuit.apply_to(network)
    assert torch.allclose(cut(x)[:, 0], circuit.apply(x), atol=1e-6)
    w, v = network[0].weight, network[2].weight
    by_hand = v[0, 0] * torch.tanh(w[0, 0] * x[:, 0] + w[0, 1] * x[:, 1].mean() + w[0, 2] * x[:, 2])
    by_hand = by_hand + v[0, 1] * torch.tanh(x @ w[1]).mean()
    assert torch.allclose(circuit.apply(x), by_hand, atol=1e-6)
    assert network[0].bias is None and network[2].bias is None  # the network itself stays


def test_pairs_of_circuits_by_hand_and_of_a_sample_of_them() -> None:
    """Of {0}, {0, 1}, {0, 2}, {0, 1, 2} only {0, 1} and {0, 2} are not one in the other; overlaps ½ ½ ⅓ ⅓ ⅔ ⅔."""
    circuits = np.array([0b001, 0b011, 0b101, 0b111], dtype=np.uint64)
    for most in (None, 4, 5):
        assert pair_shares(circuits, most=most) == (pytest.approx(5 / 6), pytest.approx(1 / 2))
    pairs = {(1.0, 1 / 2), (1.0, 1 / 3), (0.0, 1 / 3), (1.0, 2 / 3)}
    drawn = [pair_shares(circuits, most=2, generator=torch.Generator().manual_seed(seed)) for seed in range(40)]
    assert set(drawn) == pairs
    assert drawn[:8] == [
        pair_shares(circuits, most=2, generator=torch.Generator().manual_seed(seed)) for seed in range(8)
    ]
    assert all(math.isnan(share) for few in (circuits[:0], circuits[:1]) for share in pair_shares(few))
    assert all(math.isnan(share) for share in pair_shares(circuits, most=1))
