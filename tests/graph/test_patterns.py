"""A graph as a readable tree, and finding its sites, edges and paths by patterns."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from mi_runner.errors import ArgumentError
from mi_runner.graph import patterns
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.ablation import ablate
from mi_runner.methods.ablation_targets import ablation_targets
from tests.networks import X, micro


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.linear(self.norm(x)))


class Residual(nn.Module):
    def __init__(self, n: int = 2) -> None:
        super().__init__()
        self.layers, self.last = nn.ModuleList([Block() for _ in range(n)]), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


def residual(n: int = 2) -> ModelGraph:
    return ModelGraph.trace(Residual(n), torch.randn(2, 4))


def test_a_graph_is_printed_as_a_tree() -> None:
    assert str(residual()).splitlines() == [
        "site                 kind       shape  reads",
        "x                    input      4",
        "layers",
        "  layers.0",
        "    layers.0.norm    LayerNorm  4      x",
        "    layers.0.linear  Linear     4      layers.0.norm",
        "    relu             function   4      layers.0.linear",
        "    add              function   4      x, relu",
        "  layers.1",
        "    layers.1.norm    LayerNorm  4      add",
        "    layers.1.linear  Linear     4      layers.1.norm",
        "    relu_1           function   4      layers.1.linear",
        "    add_1            function   4      add, relu_1",
        "last                 Linear     3      add_1",
        "Sites, too: 13 parameters of modules and products before their bias, as layers.0.norm.weight and "
        "layers.0.norm.bias.",
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("relu*", ["relu", "relu_1"]),
        ("layers.?.norm", ["layers.0.norm", "layers.1.norm"]),
        ("linear:*", ["layers.0.linear", "layers.1.linear", "last"]),
        ("Linear:layers.*", ["layers.0.linear", "layers.1.linear"]),
        ("function:add*", ["add", "add_1"]),
        ("/^layers.*(norm|linear)$/", ["layers.0.norm", "layers.0.linear", "layers.1.norm", "layers.1.linear"]),
        ("x/*", ["x/layers.0.norm", "x/add"]),
        ("relu*/add*", ["relu/add", "relu_1/add_1"]),
        ("x/add/*", ["x/add/layers.1.norm", "x/add/add_1"]),
        ("*.linear.bias", ["layers.0.linear.bias", "layers.1.linear.bias"]),
        ("parameter:last*", ["last.weight", "last.bias"]),
        ("last[[]*", ["last[product]"]),
        ("last[product]", ["last[product]"]),
        ("x/add", ["x/add"]),
        ("layers.1", ["layers.1"]),
    ],
)
def test_patterns(pattern: str, expected: list[str]) -> None:
    assert list(residual().find(pattern)) == expected


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("relue*", r"nothing matches 'relue\*'. The nearest names: relu, relu_1"),
        ("linaer:*", r"nothing matches 'linaer:\*': no kind is named 'linaer'. Did you mean linear\?"),
        ("linear:relu*", r"nothing matches 'linear:relu\*'. The nearest names: relu"),
        ("relu*/last", r"nothing matches 'relu\*/last'. The nearest names: relu"),
        ("/relu(/", "'/relu\\(/' is no regular expression: "),
        ("rleu", "no site is named 'rleu'. Did you mean relu"),
    ],
)
def test_a_pattern_that_finds_nothing_is_an_error_with_the_nearest_names(pattern: str, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        residual().find(pattern)


def test_paths_are_all_chains_of_edges() -> None:
    graph = residual()
    found = graph.paths("x", "last")
    edges = set(graph.edges)
    chains = [
        chain
        for length in range(2, len(graph.sites) + 1)
        for chain in itertools.combinations(graph.sites, length)
        if chain[0] == "x"
        and chain[-1] == "last"
        and all("/".join(pair) in edges for pair in itertools.pairwise(chain))
    ]
    assert sorted(found) == sorted(map("/".join, chains)) and len(found) == 4
    assert all(graph.kind(path) == "path" for path in found)
    assert graph.paths("relu", "add") == ("relu/add",)


def test_paths_that_are_none_or_too_many() -> None:
    with pytest.raises(ArgumentError, match="no path leads from last to x"):
        residual().paths("last", "x")
    with pytest.raises(ArgumentError, match="no path leads from x to x"):
        residual().paths("x", "x")
    with pytest.raises(ArgumentError, match="16,384 paths lead from x to last, more than 10,000: name nearer sites"):
        residual(14).paths("x", "last")
    with pytest.raises(ArgumentError, match=r"'\*/\*.*' matches more than 10,000 paths"):
        residual(100).find("/".join("*" * 12))
    assert patterns.MOST_PATHS == 10_000


def test_targets_of_an_ablation_may_be_patterns() -> None:
    graph = residual()
    assert ablation_targets(graph, ["relu*", "x/*", "relu"]) == ["relu", "relu_1", "x/layers.0.norm", "x/add"]
    rows = ablate(micro(), X, torch.tensor([0, 1]), targets=["function:*", "*/add"], methods=["zero"]).rows
    assert [row["target"] for row in rows] == ["none", "relu", "add", "x/add", "relu/add"]
    with pytest.raises(ArgumentError, match=r"^targets: nothing matches 'rleu\*'"):
        ablation_targets(graph, ["rleu*"])
