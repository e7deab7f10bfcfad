"""Names of sites: a module's or parameter's own name always means it, whatever else is called."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mi_runner.config.experiments.ablation import AblationConfig
from mi_runner.errors import ArgumentError, ConfigError
from mi_runner.experiments import Setting
from mi_runner.graph.interventions import Intervention, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.graph.naming import own_names, second_names
from mi_runner.training.options import TrainingOptions
from tests.small_data import classes

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))


class Twice(nn.Module):
    """fc is used twice; fc_1 is a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.fc_1 = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor, zeroed: str = "") -> Tensor:
        first = self.fc(x) * (zeroed != "first")
        second = self.fc(first) * (zeroed != "second")
        return self.fc_1(second) * (zeroed != "fc_1")


def test_a_module_that_is_called_twice_takes_no_name_of_another() -> None:
    model = Twice()
    graph = ModelGraph.trace(model, X)
    modules = [name for name, site in graph.sites.items() if site.kind == "module"]
    assert modules == ["fc", "fc_2", "fc_1"]
    assert graph.submodule("fc_1") is model.fc_1 and graph.submodule("fc_2") is model.fc
    for site, zeroed in (("fc", "first"), ("fc_2", "second"), ("fc_1", "fc_1")):
        got = run_with(graph, X, [Intervention(site, torch.zeros(3))])
        assert torch.equal(got, model(X, zeroed)), site
    (bias,) = run_with(graph, X, returns=["fc_1.bias"])
    assert bias is model.fc_1.bias


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.inner(x))


class UsesBlocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block, self.block_1, self.last = Block(), Block(), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.block_1(self.block(self.block(x))))


def test_a_block_that_is_called_twice_means_its_first_call_and_each_call_has_a_name() -> None:
    model = UsesBlocks()
    graph = ModelGraph.trace(model, X)
    first = model.block(X)
    second = model.block(first)
    third = model.block_1(second)
    for name, expected in (("block", first), ("block_2", second), ("block_1", third)):
        assert torch.equal(run_with(graph, X, returns=[name])[0], expected), name
    inner = run_with(graph, X, returns=["block_1.inner"])[0]
    assert torch.equal(inner, model.block_1.inner(second))
    assert graph.level(1) == ("block", "block_2", "block_1")


class Clashes(nn.Module):
    """Modules with the names of functions, operators, inputs and other modules' parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.add, self.x, self.input, self.output = (nn.Linear(3, 3) for _ in range(5))
        self.layers = nn.ModuleList([nn.Linear(3, 3)])
        self.layers_0, self.unused = nn.Linear(3, 3), nn.Identity()
        self.tanh = nn.Identity()  # never called

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.relu(x)) + self.add(x)
        h = torch.tanh(self.layers_0(self.layers[0](self.output(h))))
        return self.input(self.x(h))


def test_names_of_modules_win_over_functions_operators_and_inputs() -> None:
    model = Clashes()
    graph = ModelGraph.trace(model, X)
    for name, module in model.named_children():
        if name in graph.sites:
            assert graph.submodule(name) is module, name
    assert graph.submodule("layers.0") is model.layers[0] and graph.submodule("layers_0") is model.layers_0
    assert graph.inputs == ("x_1",)
    functions = [name for name, site in graph.sites.items() if site.kind == "function"]
    assert functions == ["relu_1", "add_1", "tanh_1"]
    with pytest.raises(ArgumentError, match="no site is named 'tanh'. Did you mean tanh_1"):
        graph.site("tanh")
    # The names that networks share are given to no site that would take them from another.
    assert graph.role("input") == "output" or graph.role("input") == "input"
    assert graph.site("input").name == "input" and graph.site("output").name == "output"
    assert len(set(map(graph.role, graph.sites))) == len(graph.sites)


def test_a_module_with_two_names_has_both() -> None:
    model = Twice()
    model.also = model.fc_1
    graph = ModelGraph.trace(model, X)
    assert graph.site("also") is graph.site("fc_1") and graph.site("also.weight") is graph.site("fc_1.weight")
    assert graph.level(1) == ("fc", "fc_2", "fc_1")
    assert ModelGraph.trace(Both(), X, leaves=["second"]).site("second").module == "Block"


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = Block()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(x) + 1


def test_second_names_of_a_site_and_of_a_block_that_is_traced_through() -> None:
    """The first name of a thing is a site, or another name of one; only what has neither of both gets a line."""
    model = Both()
    assert own_names(model)["second.inner.bias"] == "first.inner.bias"
    of_block = second_names(model, ["first.inner", "first.inner.weight", "tanh"], {"first": "tanh"})
    assert of_block == {"second": "tanh", "second.inner": "first.inner", "second.inner.weight": "first.inner.weight"}
    assert second_names(model, ["first", "second"], {"second.inner": "first"}) == {}
    norm = nn.Module()
    norm.one = norm.other = nn.BatchNorm1d(2, affine=False)
    names = own_names(norm)
    assert names["other"] == "one" and names["other.running_mean"] == "one.running_mean"
    assert second_names(norm, ["one.running_var"], {}) == {"other.running_var": "one.running_var"}


def test_a_buffer_and_a_parameter_keep_their_names() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("grid", torch.ones(3))
            self.grid_1 = nn.Parameter(torch.full((3,), 2.0))

        def forward(self, x: Tensor) -> Tensor:
            return (x + self.grid) * self.grid + self.grid_1

    graph = ModelGraph.trace(Net(), X)
    assert run_with(graph, X, returns=["grid_1"])[0].tolist() == [2.0] * 3
    assert torch.equal(run_with(graph, X, [Intervention("grid_1", torch.zeros(3))]), X + 1)


def test_a_name_with_the_signs_of_patterns_is_a_name_and_one_with_a_slash_is_refused() -> None:
    model = nn.Sequential()
    model.add_module("a:b*", nn.Linear(3, 3))
    graph = ModelGraph.trace(model, X)
    assert graph.find("a:b*") == ("a:b*",)
    model.add_module("a/b", nn.Linear(3, 3))
    with pytest.raises(ArgumentError, match="submodule 'a/b' has a / in its name, which separates sites: rename it"):
        ModelGraph.trace(model, X)


@pytest.mark.parametrize("word", ["none", "all"])
def test_a_word_of_the_tables_is_no_name_of_a_submodule(word: str) -> None:
    model = nn.Sequential()
    model.add_module(word, nn.Linear(6, 3))
    given: Setting[AblationConfig] = Setting(AblationConfig(), TrainingOptions(), model, classes())
    with pytest.raises(ConfigError, match=f"named '{word}', which in tables and options means {word} .*: rename it"):
        given.graph()
