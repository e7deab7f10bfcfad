"""Rewrites of a graph: each gives a new graph that is equivalent to the old one, which never changes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from mi_runner.errors import ArgumentError
from mi_runner.graph.interventions import Intervention, read_sites, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.contributions import contributions
from mi_runner.models.two_layer_skip import TwoLayerSkip
from tests.networks import X, micro, traced


def skip() -> tuple[ModelGraph, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(40, 5)
    return ModelGraph.trace(TwoLayerSkip(5, 3).eval(), x[:2]), x


# --- equivalent, frozen --------------------------------------------------------------------------------------------


def test_the_largest_difference_and_where_it_is() -> None:
    graph, other = traced(), micro()
    assert graph.equivalent(ModelGraph.trace(other, X), X) == (0.0, "x")
    with torch.no_grad():
        other.first.bias[1] += 2  # first and relu rise by 2 on (1, 2), last by 6 and −2
        other.last.bias[1] += 3
    assert graph.equivalent(ModelGraph.trace(other, X), X) == (6.0, "last")
    with torch.no_grad():
        other.first.bias[0] = torch.nan
    largest, site = graph.equivalent(ModelGraph.trace(other, X), X)
    assert largest == float("inf") and site == "first"


def test_a_graph_is_frozen() -> None:
    graph = traced()
    for name in ("output", "sites", "anything"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(graph, name, "x")
    for mapping in (graph.sites, graph.module_sites, graph.aliases):
        with pytest.raises(TypeError, match="does not support item assignment"):
            mapping["x"] = None  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.sites["x"].name = "y"  # type: ignore[misc]


# --- distribute ----------------------------------------------------------------------------------------------------


class Sums(nn.Module):
    """A Linear of a sum of a = first(x), b = tanh(x) and x, written in a way of its own."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self.first, self.last, self.written = nn.Linear(4, 4), nn.Linear(4, 3), written

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x), torch.tanh(x)
        ways = {
            "+": lambda: a + b + x,
            "-": lambda: x - a - b,
            "neg": lambda: -(a + b) + x,
            "add": lambda: torch.add(a, b, alpha=0.5).add(x),
            "sub": lambda: torch.sub(a, other=b).sub(x, alpha=3),
            "sum": lambda: sum([a, b, x]),
            "stack": lambda: torch.stack([a, b, x]).sum(0),
            "stack in the middle": lambda: torch.sum(torch.stack((a, b + x), dim=1), dim=1),
            "twice": lambda: a + (b + a) + x,
        }
        return self.last(ways[self.written]())


@pytest.mark.parametrize(
    ("written", "times"),
    [
        *(("+", (1, 1, 1)), ("-", (-1, -1, 1)), ("neg", (-1, -1, 1)), ("add", (1, 0.5, 1)), ("sub", (1, -1, -3))),
        *(("sum", (1, 1, 1)), ("stack", (1, 1, 1)), ("stack in the middle", (1, 1, 1)), ("twice", (2, 1, 1))),
    ],
)
def test_a_sum_in_any_form_is_distributed(written: str, times: tuple[float, float, float]) -> None:
    torch.manual_seed(0)
    model, x = Sums(written).eval(), torch.randn(30, 4)
    graph = ModelGraph.trace(model, x[:2])
    split = graph.distribute("last")
    assert graph.equivalent(split, x).largest < 1e-5
    assert set(graph.summands("last")) == {"first", "tanh", "x"}
    parts = read_sites(split, x, ["last[first]", "last[tanh]", "last[x]"])
    for value, count, part in zip((model.first(x), torch.tanh(x), x), times, parts.values(), strict=True):
        assert torch.allclose(part, count * functional.linear(value, model.last.weight), atol=1e-5)


@pytest.mark.parametrize(
    "what",
    [
        *("product", "mean", "another axis", "other shapes", "a size", "a product with a size", "an integer mask"),
        *("three summands of a function", "rounded", "the middle of a stack"),
    ],
)
def test_what_is_no_sum(what: str) -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            ways = {
                "product": lambda: x * torch.tanh(x),
                "mean": lambda: torch.stack([x, torch.tanh(x)]).mean(0),
                "another axis": lambda: torch.stack([x, torch.tanh(x)], dim=1).sum(2).repeat(1, 2),
                "other shapes": lambda: x + x.sum(1, keepdim=True),
                "a size": lambda: torch.tanh(x) + x.size(1),
                "a product with a size": lambda: torch.tanh(x) + 2 * x.size(1),
                "an integer mask": lambda: torch.tanh(x) + (x > 0),
                "three summands of a function": lambda: torch.addcmul(x, x, torch.tanh(x)),
                "rounded": lambda: (x + torch.tanh(x)).round(),
                "the middle of a stack": lambda: torch.cat([x, torch.tanh(x)]).unflatten(0, (2, -1)).sum(0),
            }
            return self.last(ways[what]())

    graph = ModelGraph.trace(Other(), torch.randn(2, 4))
    assert graph.summands("last") == ()
    with pytest.raises(ArgumentError, match="last is no Linear layer that reads a sum"):
        graph.distribute("last")


class Residual(nn.Module):
    """h1 = x + first(x), h2 = h1 + second(h1), last(h2): all linear, so that paths can be computed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x + self.first(x)
        return self.last(h + self.second(h))


def test_contributions_to_any_depth_add_up_to_the_logits() -> None:
    torch.manual_seed(0)
    model, x, y = Residual().eval(), torch.randn(50, 4), torch.randint(3, (50,))
    expected = {
        1: ["x", "first", "second", "bias"],
        2: ["x", "first[x]", "first.bias", "second[x]", "second[first]", "second.bias", "bias"],
        3: [
            "x",
            "first[x]",
            "first.bias",
            "second[x]",
            "second[first[x]]",
            "second[first.bias]",
            "second.bias",
            "bias",
        ],
    }
    w1, w2, w3 = (layer.weight for layer in (model.first, model.second, model.last))
    paths = {"x": x @ w3.T, "second[x]": x @ w2.T @ w3.T, "bias": model.last.bias.expand(50, -1)}
    paths |= {"second[first[x]]": x @ w1.T @ w2.T @ w3.T, "second[first.bias]": model.first.bias @ w2.T @ w3.T}
    for depth, names in expected.items():
        rows = {row["summand"]: row for row in contributions(model, x, y, depth=depth)}
        assert sorted(rows) == sorted([*names, "sum"]), depth
        total = sum(row["label_logit"] for name, row in rows.items() if name != "sum")
        assert rows["sum"]["label_logit"] == pytest.approx(total, abs=1e-5) and rows["sum"]["max_error"] < 1e-5
        with torch.no_grad():
            for name in paths.keys() & rows:
                logits = paths[name].expand(50, -1)
                above = (logits.gather(1, y[:, None]).squeeze(1) - logits.mean(1)).mean()
                assert rows[name]["label_logit"] == pytest.approx(float(above), abs=1e-5), name
    with pytest.raises(ValueError, match="^depth=0 must be at least 1"):
        contributions(model, x, y, depth=0)


# --- split ---------------------------------------------------------------------------------------------------------


def test_a_site_is_its_mean_and_what_is_left_by_hand() -> None:
    graph = traced()
    split = graph.split("relu", torch.tensor([0.0, 2.0]))
    values = read_sites(split, X, ["relu[value]", "relu[estimate]", "relu[residual]", "relu"])
    assert [value.tolist() for value in values.values()] == [
        *([[0, 4], [0, 0]], [[0, 2], [0, 2]], [[0, 2], [0, -2]], [[0, 4], [0, 0]]),
    ]
    assert graph.equivalent(split, X) == (0.0, "x") and "relu[estimate]" not in graph.sites
    # Without the residual relu is its mean: add = (1, 4), (−3, 3). Without the estimate: add = (1, 4), (−3, −1).
    without_residual = run_with(split, X, [Intervention("relu[residual]", torch.zeros(2))])
    assert without_residual.tolist() == [[12, -2], [5, -9]]
    without_estimate = run_with(split, X, [Intervention("relu[estimate]", torch.zeros(2))])
    assert without_estimate.tolist() == [[12, -2], [-7, -5]]


def test_a_site_is_a_function_of_others_and_what_is_left() -> None:
    graph, x = skip()
    split = graph.split("relu", lambda first, x: 0.5 * first + x, reads=["first", "x"])
    assert graph.equivalent(split, x).largest < 1e-6
    values = read_sites(split, x, ["relu[estimate]", "relu[residual]", "first", "relu"])
    assert torch.equal(values["relu[estimate]"], 0.5 * values["first"] + x)
    assert torch.allclose(values["relu[residual]"], values["relu"] - values["relu[estimate]"])
    # The estimate follows its sources: x := 0 changes it, too.
    moved, first = run_with(split, x, [Intervention("x", torch.zeros(5))], returns=["relu[estimate]", "first"])
    assert torch.equal(moved, 0.5 * first)


def test_what_can_not_be_split() -> None:
    graph, _ = skip()
    with pytest.raises(ValueError, match=r"^estimate: the shape \(4,\) is not that of relu, \(5,\)"):
        graph.split("relu", torch.zeros(4))
    with pytest.raises(ValueError, match="^reads: last is not computed before relu"):
        graph.split("relu", lambda last: last, reads=["last"])
    with pytest.raises(ValueError, match="^x is an input, so it can't be split"):
        graph.split("x", torch.zeros(5))
    with pytest.raises(ValueError, match="^first.weight is a parameter, so it can't be split"):
        graph.split("first.weight", torch.zeros(5, 5))


# --- merge and rename ----------------------------------------------------------------------------------------------


def test_merged_sites_are_one() -> None:
    graph, x = skip()
    merged = graph.merge(["first", "relu"], "hidden")
    assert list(merged.sites) == ["x", "hidden", "add", "last"] and "first.weight" not in merged.module_sites
    assert merged.edges == ("x/hidden", "x/add", "hidden/add", "add/last")
    assert torch.equal(merged(x), graph(x))
    for target, old in (("hidden", "relu"), ("x/hidden", "x/first"), ("x/hidden/add", "x/first/relu/add")):
        value = torch.ones(5)
        assert torch.equal(
            run_with(merged, x, [Intervention(target, value)]), run_with(graph, x, [Intervention(old, value)])
        )


def test_values_that_are_no_sites_are_merged_with_what_is_taken_from_them() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.last = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.lstm(x)[0].mean(1))

    torch.manual_seed(0)
    model, x = Recurrent().eval(), torch.randn(4, 5, 3)
    graph = ModelGraph.trace(model, x[:2])
    merged = graph.merge(["getitem", "mean"], "hidden")
    assert list(merged.sites) == ["x", "hidden", "last"] and torch.equal(merged(x), model(x))


def test_what_can_not_be_merged() -> None:
    graph, _ = skip()
    with pytest.raises(ValueError, match="^relu is read by add, so it can't be merged into last"):
        graph.merge(["relu", "last"])
    with pytest.raises(ValueError, match="^x is .*, so it can't be merged into relu"):
        graph.merge(["x", "first", "relu"])


def test_a_site_with_another_name() -> None:
    graph, x = skip()
    renamed = graph.rename("relu", "hidden").rename("last", "logits").rename("x", "pixels")
    assert list(renamed.sites) == ["pixels", "first", "hidden", "add", "logits"]
    assert (renamed.inputs, renamed.output) == (("pixels",), "logits")
    assert graph.equivalent(renamed, x) == (0.0, "first")
    assert list(graph.sites) == ["x", "first", "relu", "add", "last"]
    assert torch.equal(
        run_with(renamed, x, [Intervention("pixels/add", torch.ones(5))]),
        run_with(graph, x, [Intervention("x/add", torch.ones(5))]),
    )
    replaced = Intervention("last.weight", torch.zeros(3, 5))  # parameters keep their names
    assert torch.equal(run_with(renamed, x, [replaced]), run_with(graph, x, [replaced]))
    assert renamed.distribute("logits").summands("logits") == ()
    for new, text in (("add", "'add' is a site already"), ("a/b", "has a '/', which separates sites")):
        with pytest.raises(ArgumentError, match=text):
            graph.rename("relu", new)


# --- layers that are more than a product ---------------------------------------------------------------------------


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class ReadsASum(nn.Module):
    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.first(x).relu())


def last_of(kind: str) -> nn.Linear:
    if kind == "subclass":
        return Doubled(4, 3)
    layer = nn.Linear(4, 3)
    if kind == "hook":
        layer.register_forward_hook(lambda module, given, output: 2 * output)
        return layer
    return {"weight_norm": nn.utils.parametrizations.weight_norm, "spectral_norm": spectral_norm}[kind](layer)


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "subclass", "hook"])
def test_a_layer_that_is_more_than_its_weight_is_not_distributed(kind: str) -> None:
    torch.manual_seed(0)
    model, x = ReadsASum(last_of(kind)).eval(), torch.randn(40, 4)
    graph = ModelGraph.trace(model, x[:2], leaves=["last"])
    assert graph.summands("last") == () and torch.equal(graph(x), model(x))
    # Nothing is said to add up to the output, which the weight alone doesn't give.
    assert contributions(graph, x, torch.zeros(40, dtype=torch.int64), depth=2) == []
    with pytest.raises(ArgumentError, match="last is no Linear layer that reads a sum"):
        graph.distribute("last")


def test_a_hook_sees_the_output_of_a_layer_whose_bias_is_replaced() -> None:
    torch.manual_seed(0)
    model, x = ReadsASum(last_of("hook")).eval(), torch.randn(40, 4)
    graph = ModelGraph.trace(model, x[:2])
    without = run_with(graph, x, [Intervention("last.bias", torch.zeros(3))])
    assert torch.allclose(without, 2 * (x + model.first(x).relu()) @ model.last.weight.T, atol=1e-6)
