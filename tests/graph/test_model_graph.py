"""The graph against networks small enough to compute by hand, and against a second implementation of path patching."""

from __future__ import annotations

import copy
import importlib
import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.errors import ArgumentError
from mi_runner.graph.interventions import Intervention, interchange, read_sites, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.models.cnn import CNN
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip
from tests.networks import X, micro, traced
from tests.random_networks import WIDTH, Planned, planned_networks


def test_sites_and_edges_of_two_layer_skip() -> None:
    graph = traced()
    assert list(graph.sites) == ["x", "first", "relu", "add", "last"]
    assert [site.kind for site in graph.sites.values()] == ["input", "module", "function", "function", "module"]
    assert graph.sites["first"].shape == (2,)
    assert (graph.inputs, graph.output) == (("x",), "last")
    assert set(graph.edges) == {"x/first", "first/relu", "x/add", "relu/add", "add/last"}
    assert graph.uses("x") == ("x/first", "x/add")


def test_values_of_every_site_by_hand() -> None:
    values = read_sites(traced(), X, ["x", "first", "relu", "add", "last"])
    expected = {
        "x": [[1, 2], [-3, 1]],
        "first": [[0, 4], [-3, -5]],
        "relu": [[0, 4], [0, 0]],
        "add": [[1, 6], [-3, 1]],
        "last": [[18, -4], [-1, -7]],
    }
    for site, value in expected.items():
        assert values[site].tolist() == value, site


BY_HAND = {
    # target → outputs with the target's value replaced by zeros, then by (1, 1)
    "x": ([[0, 2], [0, 2]], [[13, 0], [13, 0]]),  # first = (1, 0), add = (1, 0); first = (1, 3), add = (2, 4)
    "first": ([[6, 0], [-1, -7]], [[10, 1], [3, -6]]),
    "relu": ([[6, 0], [-1, -7]], [[10, 1], [3, -6]]),
    "add": ([[-1, 0], [-1, 0]], [[3, 1], [3, 1]]),
    "last": ([[0, 0], [0, 0]], [[1, 1], [1, 1]]),
    "x/first": ([[7, 2], [0, -5]], [[16, -1], [9, -8]]),  # relu(first(0)) = (1, 0), relu(first((1, 1))) = (1, 3)
    "x/add": ([[11, -4], [-1, 0]], [[15, -3], [3, 1]]),
    "first/relu": ([[6, 0], [-1, -7]], [[10, 1], [3, -6]]),
    "relu/add": ([[6, 0], [-1, -7]], [[10, 1], [3, -6]]),
    "add/last": ([[-1, 0], [-1, 0]], [[3, 1], [3, 1]]),
    "x/first/relu": ([[7, 2], [0, -5]], [[16, -1], [9, -8]]),
    "x/first/relu/add": ([[7, 2], [0, -5]], [[16, -1], [9, -8]]),
    "first/relu/add": ([[6, 0], [-1, -7]], [[10, 1], [3, -6]]),
    "x/add/last": ([[11, -4], [-1, 0]], [[15, -3], [3, 1]]),
}


@pytest.mark.parametrize("target", BY_HAND)
def test_every_ablated_output_by_hand(target: str) -> None:
    graph = traced()
    for value, expected in zip((torch.zeros(2), torch.ones(2)), BY_HAND[target], strict=True):
        assert run_with(graph, X, [Intervention(target, value)]).tolist() == expected


def test_zeroing_the_skip_leaves_the_other_route_bit_for_bit() -> None:
    torch.manual_seed(0)
    graph, x = traced(TwoLayerSkip(20, 3), torch.randn(2, 20)), torch.randn(50, 20)
    before = read_sites(graph, x, ["first", "relu"])
    first, relu = run_with(graph, x, [Intervention("x/add", torch.zeros(20))], returns=["first", "relu"])
    assert torch.equal(first, before["first"]) and torch.equal(relu, before["relu"])
    (relu_too,) = run_with(graph, x, [Intervention("x", torch.zeros(20))], returns=["relu"])
    assert not torch.equal(relu_too, before["relu"])


def small_models() -> dict[str, tuple[nn.Module, Tensor]]:
    torch.manual_seed(1)
    return {
        "mlp": (MLP([5, 4, 4, 3], nn.Tanh), torch.randn(7, 5)),
        "skip": (TwoLayerSkip(5, 3), torch.randn(7, 5)),
        "cnn": (CNN(1, (8, 8), 2, nn.Sigmoid()), torch.randn(7, 1, 8, 8)),
    }


@pytest.mark.parametrize("name", ["mlp", "skip", "cnn"])
def test_without_interventions_it_is_the_module_bit_for_bit(name: str) -> None:
    model, x = small_models()[name]
    assert torch.equal(ModelGraph.trace(model, x[:2])(x), model(x))


@pytest.mark.parametrize("name", ["mlp", "skip", "cnn"])
def test_source_equal_to_base_changes_nothing(name: str) -> None:
    model, x = small_models()[name]
    graph = ModelGraph.trace(model, x[:2])
    for target in [*graph.sites, *graph.edges]:
        assert torch.equal(run_with(graph, x, [interchange(graph, target, x)]), model(x)), target


@pytest.mark.parametrize("name", ["mlp", "skip", "cnn"])
def test_all_edges_out_of_a_site_are_the_site(name: str) -> None:
    model, x = small_models()[name]
    graph = ModelGraph.trace(model, x[:2])
    for name, site in graph.sites.items():
        value = torch.randn(len(x), *site.shape)
        if name == graph.output:
            continue
        whole = run_with(graph, x, [Intervention(name, value)])
        assert torch.equal(run_with(graph, x, [Intervention(edge, value) for edge in graph.uses(name)]), whole), name


def test_names_of_modules_are_their_paths_and_of_functions_their_names() -> None:
    mlp, x = small_models()["mlp"]
    assert list(ModelGraph.trace(mlp, x).sites) == ["x", "layers.0", "layers.1", "layers.2", "layers.3", "layers.4"]
    cnn, images = small_models()["cnn"]
    assert list(ModelGraph.trace(cnn, images).sites) == [
        *("x", "conv1", "relu", "pool", "conv2", "relu_1", "pool_1", "conv3", "relu_2", "flatten"),
        *("fc1", "relu_3", "fc2", "output_activation"),
    ]  # fmt: skip


class Clash(nn.Module):
    """A module that is called as functions are, and is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(torch.relu(self.relu(x)) - 1)


def test_names_are_unique() -> None:
    assert list(traced(Clash()).sites) == ["x", "relu", "relu_2", "sub", "relu_1"]


def test_the_module_and_the_graph_never_change() -> None:
    model = micro()
    before = copy.deepcopy(model.state_dict())
    graph = ModelGraph.trace(model, X)
    sites, edges = dict(graph.sites), graph.edges
    run_with(graph, X, [Intervention("relu", torch.ones(2)), Intervention("x/add", torch.ones(2))])
    graph.distribute("last")
    assert (dict(graph.sites), graph.edges) == (sites, edges)
    assert torch.equal(graph(X), micro()(X))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_several_interventions_at_once() -> None:
    graph = traced()
    # relu := (1, 1), the skip := (0, 0) → add = (1, 1)
    outputs = run_with(graph, X, [Intervention("relu", torch.ones(2)), Intervention("x/add", torch.zeros(2))])
    assert outputs.tolist() == [[3, 1], [3, 1]]
    # An edge overrides its site: x := (0, 0) but add reads (1, 1); relu(first(0)) = (1, 0) → add = (2, 1)
    outputs = run_with(graph, X, [Intervention("x", torch.zeros(2)), Intervention("x/add", torch.ones(2))])
    assert outputs.tolist() == [[4, 3], [4, 3]]


def test_two_paths_that_share_a_part_meet_in_it() -> None:
    graph = traced()
    both = [Intervention("x/add/last", torch.ones(2)), Intervention("x/first/relu/add/last", torch.ones(2))]
    everything = run_with(graph, X, [Intervention("x", torch.ones(2))])
    assert run_with(graph, X, both).tolist() == everything.tolist() == BY_HAND["x"][1]


def test_some_units_only() -> None:
    graph = traced()
    units = torch.tensor([True, False])
    # add = (x0 + 5, x1 + relu1)
    outputs = run_with(graph, X, [Intervention("relu", torch.full((2,), 5.0), units)])
    assert outputs.tolist() == [[6 + 18 - 1, 12 - 6], [2 + 3 - 1, 4 - 1]]


def test_a_rule_sees_the_value_that_would_have_been_there() -> None:
    graph = traced()
    doubled = run_with(graph, X, [Intervention("relu", lambda value: 2 * value)])
    assert doubled.tolist() == [[1 + 30 - 1, 2 - 10], [-1, -7]]
    # The rule comes second: it sees the ones of the first intervention.
    twice = run_with(graph, X, [Intervention("relu", torch.ones(2)), Intervention("relu", lambda value: value - 1)])
    assert twice.tolist() == BY_HAND["relu"][0]


def test_gradients_flow_into_parameters_and_values() -> None:
    graph = traced()
    value = torch.tensor([[1.0, 1.0], [0.0, 2.0]], requires_grad=True)
    output = run_with(graph, X, [Intervention("relu", value, torch.tensor([False, True]))])
    output[:, 0].sum().backward()
    # d output0 / d relu1 = 3; unit 0 is not replaced.
    assert value.grad is not None and value.grad.tolist() == [[0, 3], [0, 3]]
    weight_gradient = graph.submodule("first").weight.grad
    # Only unit 0 of first reaches the output, and relu is off there for both examples (0 and −3).
    assert weight_gradient.tolist() == [[0, 0], [0, 0]]


def test_upstream_of_a_whole_replacement_is_not_computed() -> None:
    model = micro()
    calls: list[nn.Module] = []
    model.first.register_forward_hook(lambda module, given, output: calls.append(module))
    graph = traced(model)
    calls.clear()
    run_with(graph, X, [Intervention("relu", torch.ones(2))])
    assert not calls
    run_with(graph, X, [Intervention("relu", torch.ones(2), torch.tensor([True, False]))])
    assert len(calls) == 1


class RandomNetwork(nn.Module):
    """Site k is tanh(W_k · sum of some earlier sites); every wiring is possible."""

    def __init__(self, parents: list[list[int]], seed: int) -> None:
        super().__init__()
        self.parents = parents
        draw = torch.Generator().manual_seed(seed)
        self.weights = [torch.randn(3, 3, generator=draw) for _ in parents]
        self.blocks = nn.ModuleList([Block(weight) for weight in self.weights])

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for block, parents in zip(self.blocks, self.parents, strict=True):
            values.append(block(*(values[parent] for parent in parents)))
        return values[-1]


class Block(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, *values: Tensor) -> Tensor:
        return torch.tanh(sum(values) @ self.weight)


def patched_by_definition(network: RandomNetwork, x: Tensor, path: list[int], value: Tensor) -> Tensor:
    """Path patching, as it is defined: along the path each site is recomputed with its predecessor replaced."""

    def outputs(replaced: dict[tuple[int, int], Tensor]) -> list[Tensor]:
        values = [x]
        for child, parents in enumerate(network.parents, start=1):
            inputs = [replaced.get((parent, child), values[parent]) for parent in parents]
            values.append(torch.tanh(sum(inputs) @ network.weights[child - 1]))
        return values

    base = outputs({})
    flowing = value
    for before, node in itertools.pairwise(path[:-1]):
        inputs = [flowing if parent == before else base[parent] for parent in network.parents[node - 1]]
        flowing = torch.tanh(sum(inputs) @ network.weights[node - 1])
    return outputs({(path[-2], path[-1]): flowing})[-1]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_paths_in_random_networks_against_the_definition(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 6))
    parents = [sorted(data.draw(st.sets(st.integers(0, k), min_size=1))) for k in range(size)]
    network = RandomNetwork(parents, seed=data.draw(st.integers(0, 1000)))
    x, value = torch.randn(4, 3), torch.randn(4, 3)
    path = [data.draw(st.integers(0, size - 1))]
    while children := [child for child, of in enumerate(parents, start=1) if path[-1] in of]:
        if len(path) > 1 and data.draw(st.booleans()):
            break
        path.append(data.draw(st.sampled_from(children)))
    graph = ModelGraph.trace(network, x, leaves=[f"blocks.{k}" for k in range(size)])
    if len(path) < 2:
        return  # a site that nothing reads
    names = ["x", *(f"blocks.{k}" for k in range(size))]
    target = "/".join(names[node] for node in path)
    expected = patched_by_definition(network, x, path, value)
    assert torch.allclose(run_with(graph, x, [Intervention(target, value)]), expected, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(planned_networks())
def test_every_target_of_a_random_network_is_replaced_as_by_hand(network: Planned) -> None:
    """Sites, edges and paths: zero there is the edited forward, its own value there changes nothing."""
    x = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(0))
    graph = ModelGraph.trace(network, x)
    names, chains = list(graph.sites), network.chains()
    assert len(names) == len(network.plan) + 1
    assert set(graph.edges) == {f"{names[chain[0]]}/{names[chain[1]]}" for chain in chains if len(chain) == 2}
    for chain in chains:
        target = "/".join(names[value] for value in chain)
        assert graph.kind(target) == {1: "site", 2: "edge"}.get(len(chain), "path")
        zeroed = run_with(graph, x, [Intervention(target, torch.zeros(WIDTH))])
        assert torch.equal(zeroed, network.edited(x, chain, torch.zeros_like(x))), target
        assert torch.equal(run_with(graph, x, [interchange(graph, target, x)]), network(x)), target


# --- rewriting -----------------------------------------------------------------------------------------------------


def test_distributing_last_over_the_sum_by_hand() -> None:
    split = traced().distribute("last")
    values = read_sites(split, X, ["last[x]", "last[relu]", "last"])
    assert values["last[x]"].tolist() == [[7, 0], [0, -7]]
    assert values["last[relu]"].tolist() == [[12, -4], [0, 0]]
    assert values["last"].tolist() == traced()(X).tolist()
    assert split.sites["last.bias"].kind == "parameter"


class ThreeSummands(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last((x + self.first(x)) + torch.tanh(x))


def test_distributing_over_nested_sums_is_equivalent() -> None:
    torch.manual_seed(2)
    model, x = ThreeSummands(), torch.randn(50, 4)
    graph = ModelGraph.trace(model, x[:2])
    assert graph.summands("last") == ("x", "first", "tanh")
    split = graph.distribute("last")
    assert torch.allclose(split(x), model(x), atol=1e-6)
    (alone,) = run_with(split, x, returns=["last[first]"])
    assert torch.allclose(alone, functional.linear(model.first(x), model.last.weight), atol=1e-6)


def test_what_can_not_be_distributed() -> None:
    graph = traced()
    assert graph.summands("first") == () and graph.summands("relu") == ()
    with pytest.raises(ArgumentError, match="relu is no Linear layer that reads a sum"):
        graph.distribute("relu")


# --- models of all kinds -------------------------------------------------------------------------------------------


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act = nn.Linear(2, 2), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.act(self.first(x)) - 1, inplace=True).add_(1)


def test_operations_in_place_leave_the_sites_before_them_readable() -> None:
    torch.manual_seed(0)
    model = InPlace()
    graph = ModelGraph.trace(model, X)
    assert torch.equal(read_sites(graph, X, ["first"])["first"], model.first(X))
    assert (read_sites(graph, X, ["first"])["first"] < 0).any()
    assert torch.equal(graph(X), model(X))


class Assigns(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        y[:, 0] = 0
        return y


class Decides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


class Random(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand(2, 2)


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, 2 * x


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Assigns(), r"can't be traced at .*test_model_graph.py:\d+ \(y\[:, 0\] = 0\).*item assignment.*torch.where"),
        (Decides(), r"can't be traced at .*test_model_graph.py:\d+ \(if x.sum\(\) > 0:\).*leaves=\[NAME\]"),
        (Random(), r"other outputs when it is evaluated again: .* F.dropout\(h, p, training=self.training\)"),
        (TwoOutputs(), "a graph needs one tensor"),
    ],
)
def test_a_model_that_has_no_graph_says_why_and_what_to_do(model: nn.Module, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        ModelGraph.trace(model, X)


class Outer(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.block, self.last = inner, nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.block(x))


def test_a_leaf_is_the_remedy_for_a_submodule_that_can_not_be_traced() -> None:
    model = Outer(Decides())
    with pytest.raises(ArgumentError, match="can't be traced"):
        ModelGraph.trace(model, X)
    graph = ModelGraph.trace(model, X, leaves=["block"])
    assert list(graph.sites) == ["x", "block", "last"]
    assert torch.equal(graph(X), model(X))


def test_a_submodule_that_is_traced_through_names_what_it_returns() -> None:
    graph = ModelGraph.trace(Outer(Clash()), X)
    assert "block" not in graph.sites
    assert graph.site("block").name == "block.relu_1"
    assert torch.equal(
        run_with(graph, X, [Intervention("block", torch.ones(2))]),
        run_with(graph, X, [Intervention("block.relu_1", torch.ones(2))]),
    )


class TwoInputs(nn.Module):
    def forward(self, a: Tensor, b: Tensor, scale: float = 2.0, mask: Tensor | None = None) -> Tensor:
        y = a + scale * b
        return y if mask is None else y * mask


def test_several_inputs_and_optional_ones() -> None:
    graph = ModelGraph.trace(TwoInputs(), (X, X))
    assert graph.inputs == ("a", "b")
    assert torch.equal(graph(X, X), 3 * X)
    assert torch.equal(run_with(graph, (X, X), [Intervention("b", torch.zeros(2))]), X)


def test_chunks_and_sizes_carry_values_but_are_no_sites() -> None:
    class Chunks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            left, right = x.chunk(2, dim=1)
            return (left * right).view(x.size(0), 1)

    graph = ModelGraph.trace(Chunks(), X)
    assert list(graph.sites) == ["x", "getitem", "getitem_1", "mul", "view"]
    assert torch.equal(run_with(graph, X, [Intervention("x", torch.tensor([2.0, 3.0]))]), torch.full((2, 1), 6.0))


def test_tracing_leaves_the_mode_and_the_running_statistics_as_they_were() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5)).train()
    model[1].eval()
    ModelGraph.trace(model, X)
    assert model.training and model[0].training and not model[1].training
    assert model[0].running_mean.tolist() == [0, 0]


class ByKeyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(2, 2), nn.ReLU(inplace=True), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(input=functional.relu(inplace=True, input=self.first(input=x)) - 1)
        return self.last(input=x + h)


def test_arguments_by_keyword() -> None:
    torch.manual_seed(0)
    model = ByKeyword()
    graph = ModelGraph.trace(model, X)
    assert graph.summands("last") == ("x", "act") and graph.summands("first") == ()
    assert torch.allclose(graph.distribute("last")(X), model(X), atol=1e-6)
    first, sub = run_with(graph, X, returns=["first", "sub"])
    assert torch.equal(first, model.first(X)) and (first < 0).any()
    assert torch.equal(sub, torch.relu(first) - 1) and (sub < 0).any()


class WithoutBatch(nn.Module):
    """Values whose first dimension is not the batch, beside those whose is."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(2, 2))
        self.l = nn.LSTM(2, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out, (h, _) = self.l((x @ self.w.t() - x.mean(0, keepdim=True)).unsqueeze(1))
        halves = out.reshape(-1, 1)
        return out.squeeze(1) + h.squeeze(0) + halves.reshape(-1, 5)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_values_whose_first_dimension_is_not_the_batch_are_constants(n: int) -> None:
    torch.manual_seed(0)
    model, x = WithoutBatch(), torch.randn(9, 2)
    graph = ModelGraph.trace(model, x[:n])
    kinds = {name: site.kind for name, site in graph.sites.items()}
    assert kinds["w"] == "parameter"
    # getitem is out, getitem_2 is h, getitem_3 is c.
    constants = {"t", "mean", "getitem_2", "getitem_3", "reshape"}
    assert {name for name, kind in kinds.items() if kind == "constant"} == constants
    assert graph.sites["t"].shape == (2, 2) and graph.sites["getitem_2"].shape == (1, n, 5)
    assert graph.sites["getitem"].shape == (1, 5) and graph.sites["reshape_1"].shape == (5,)


def test_a_constant_is_read_and_replaced_as_a_whole() -> None:
    torch.manual_seed(0)
    model, x = WithoutBatch(), torch.randn(9, 2)
    graph = ModelGraph.trace(model, x[:2])
    values = read_sites(graph, x, ["t", "getitem_2", "squeeze"])
    assert torch.equal(values["t"], model.w.t()) and values["getitem_2"].shape == (1, 9, 5)
    for target in ("t", "getitem_2", "getitem_2/squeeze_1"):
        assert torch.equal(run_with(graph, x, [interchange(graph, target, x)]), model(x))
    without = run_with(graph, x, [Intervention("getitem_2", torch.zeros(5))])
    assert torch.allclose(without, 2 * values["squeeze"], atol=1e-6)
    only_first = run_with(graph, x, [Intervention("getitem_2", torch.zeros(5), torch.arange(5) == 0)])
    assert torch.equal(only_first[:, 0], without[:, 0]) and torch.equal(only_first[:, 1:], model(x)[:, 1:])
    with pytest.raises(ValueError, match=r"getitem_2: the shape \(4,\) doesn't broadcast to \(1, 9, 5\)"):
        run_with(graph, x, [Intervention("getitem_2", torch.zeros(4))])


def test_a_constant_summand_stays_one_when_distributed() -> None:
    class AddsTheMean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x + x.mean(0))

    split = ModelGraph.trace(AddsTheMean(), X).distribute("last")
    assert split.sites["last[mean]"].kind == "constant" and split.sites["last[x]"].kind == "function"
    assert read_sites(split, X, ["last[mean]"])["last[mean]"].shape == (3,)


def test_a_network_for_batches_of_one_size_has_a_graph() -> None:
    class OfTwo(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(2, 2) * 2

    assert list(ModelGraph.trace(OfTwo(), X).sites) == ["x", "view", "mul"]


def test_a_module_that_returns_several_values_names_those_taken_from_it() -> None:
    graph = ModelGraph.trace(WithoutBatch(), X)
    for target in ("l", "l/getitem"):
        with pytest.raises(ArgumentError, match="several values.*taken from it: getitem, getitem_2, getitem_3.$"):
            graph.kind(target)


def test_outputs_that_are_nan_equal_themselves() -> None:
    class Logarithm(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(x)

    assert torch.log(X).isnan().any()
    assert list(ModelGraph.trace(Logarithm(), X).sites) == ["x", "log"]


class TakesStar(nn.Module):
    def forward(self, *xs: Tensor) -> Tensor:
        return xs[0]


class TakesOptions(nn.Module):
    def forward(self, x: Tensor, **options: Tensor) -> Tensor:
        return x


class ChangesItsInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1).mul_(3).view(-1, 2)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (TakesStar(), r"forward takes \*xs: write the parameters out"),
        (TakesOptions(), r"forward takes \*\*options: write the parameters out"),
        (ChangesItsInput(), r"forward changes its input in place: begin it with x = x.clone\(\)"),
    ],
)
@pytest.mark.parametrize("inference", [False, True])
def test_a_forward_that_has_to_be_written_otherwise_is_refused(model: nn.Module, text: str, inference: bool) -> None:
    with torch.inference_mode(inference):
        x = X.clone()
        with pytest.raises(ArgumentError, match=text):
            ModelGraph.trace(model, x)
        assert torch.equal(x, X)


def test_a_forward_that_changes_a_copy_of_its_input_has_a_graph() -> None:
    class ChangesACopy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.clone()
            x.mul_(3)
            return x + 1

    # That x is another after mul_, the recorded graph doesn't know: it would give x.clone() + 1.
    with pytest.raises(ArgumentError, match="gives other outputs than the module itself"):
        ModelGraph.trace(ChangesACopy(), X)

    class UsesTheResult(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.clone().mul_(3)
            return x + 1

    assert torch.equal(ModelGraph.trace(UsesTheResult(), X)(X), 3 * X + 1)


def test_where_tracing_stopped_is_shown_in_a_folder_that_is_called_like_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mytorch").mkdir()
    (tmp_path / "mytorch" / "of_the_user.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        raise ValueError('no full stop')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "mytorch"))
    text = r"can't be traced at .*mytorch.of_the_user.py:4 \(raise .*\): no full stop\. Keep decisions"
    with pytest.raises(ArgumentError, match=text):
        ModelGraph.trace(importlib.import_module("of_the_user").Net(), X)


def test_the_remedy_names_the_submodule_or_says_to_make_one() -> None:
    with pytest.raises(ArgumentError, match=r" leaves=\[block\]\.$"):
        ModelGraph.trace(Outer(Decides()), X)
    with pytest.raises(ArgumentError, match=r"move it into a submodule and name that, leaves=\[NAME\]\.$"):
        ModelGraph.trace(Decides(), X)


# --- names that are not there --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("rleu", "no site is named 'rleu'. Did you mean relu\\? Allowed: x, first, relu, add, last."),
        ("x/relu", "no edge is named 'x/relu'.* Allowed: x/first, x/add."),
        ("x/first/add", r"no edge \(of the path x/first/add\) is named 'first/add'.* Allowed: first/relu."),
        ("last/x", "Allowed: x/first, first/relu"),
        ("", "no site is named ''"),
    ],
)
def test_an_unknown_target_lists_the_valid_ones(target: str, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        run_with(traced(), X, [Intervention(target, torch.zeros(2))])
    with pytest.raises(ArgumentError, match=text):
        traced().kind(target)


def test_kinds_of_targets() -> None:
    graph = traced()
    assert [graph.kind(t) for t in ("relu", "x/add", "x/first/relu", "x/first/relu/add")] == [
        "site",
        "edge",
        "path",
        "path",
    ]
    assert graph.target_site("x/first/relu").name == "x"
    assert graph.sites["add"].n_units == 2
