"""What is traced, and what an error says to do where it can't be: each advice is followed, and works."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from mi_runner.errors import ArgumentError
from mi_runner.graph.interventions import Intervention, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.graph.recording import _equal, _tensors, _works_in_place
from mi_runner.graph.tracing import _defaults, _has_proxy, _subclasses

X = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(1))


class Rnn(nn.Module):
    """A recurrent network that makes its first state itself."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.last = nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h0 = torch.zeros(1, x.size(0), 8)
        c0 = torch.full((1, x.shape[0], 8), fill_value=0.5, device=x.device)
        out, _ = self.lstm(x, (h0, c0))
        return self.last(out[:, -1, :])


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.position, self.last = nn.Embedding(5, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        _, t, _ = x.size()
        return self.last((x + self.position(torch.arange(t, device=x.device))).mean(1))


@pytest.mark.parametrize("kind", [Rnn, Positions])
def test_tensors_made_from_a_size_are_recorded(kind: type[nn.Module]) -> None:
    model = kind().eval()
    graph = ModelGraph.trace(model, X[:2])
    for batch in (X, X[:1], X[:3]):
        assert torch.equal(graph(batch), model(batch))
    names = {"zeros", "full"} if kind is Rnn else {"arange"}
    assert names <= graph.sites.keys()
    assert all(graph.sites[name].kind == "constant" for name in names)
    zeroed = run_with(graph, X, [Intervention("last", torch.zeros(3))])
    assert torch.equal(zeroed, torch.zeros(4, 3))
    assert torch.zeros is not None and torch.zeros(2).tolist() == [0, 0]  # torch's own functions are back


def test_an_lstm_is_one_site_that_returns_several_values() -> None:
    graph = ModelGraph.trace(Rnn().eval(), X[:2])
    with pytest.raises(ArgumentError, match="'lstm' returns several values.*Name one taken from it: getitem_1"):
        graph.site("lstm")


class Checks(nn.Module):
    """A layer that checks shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        assert x.size(-1) == 6
        return self.linear(x)


class Unpacks(Checks):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).view(*x.shape)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.checks = Checks()

    def forward(self, x: Tensor) -> Tensor:
        return self.checks(x) if x.size(0) > 1 else self.checks(-x)


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Checks(), nn.Linear(6, 6), Unpacks(), Pair()])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class OwnDecision(Layers):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else x


def leaves_of(error: pytest.ExceptionInfo[ArgumentError]) -> list[str]:
    (found,) = re.findall(r"leaves=\[([^\]]*)\]\.$", str(error.value))
    return found.split(",")


@pytest.mark.parametrize("given", [[], ["layers.0"], ["layers.2"]])
def test_all_submodules_that_can_not_be_traced_are_named_at_once(given: list[str]) -> None:
    model = Layers()
    with pytest.raises(ArgumentError, match=r"or make the submodules? one site each: leaves=") as caught:
        ModelGraph.trace(model, X, leaves=given)
    assert sorted(leaves_of(caught)) == ["layers.0", "layers.2", "layers.3"]
    graph = ModelGraph.trace(model, X, leaves=leaves_of(caught))
    assert torch.equal(graph(X), model(X))


def test_where_the_networks_own_forward_decides_the_leaves_are_named_too() -> None:
    with pytest.raises(
        ArgumentError, match=r"\(return super\(\).forward\(x\) if x.sum\(\) > 0 else x\): it decides"
    ) as e:
        ModelGraph.trace(OwnDecision(), X)
    assert leaves_of(e) == ["NAME"]


def test_torchs_words_are_put_short() -> None:
    for model, words in ((Checks(), "it decides by a value"), (Unpacks(), "it loops over a value, or unpacks one")):
        with pytest.raises(ArgumentError, match=words) as caught:
            ModelGraph.trace(model, X)
        assert "Proxy" not in str(caught.value) and "docs" not in str(caught.value)


LIBRARY = """
def rearranged(x, how):
    if type(x).__name__ != "Tensor":
        raise RuntimeError(f"Tensor type unknown to rearranged {type(x)}")
    return x.flatten(1)
"""

NETWORK = """
import torch
{imports}
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.last = torch.nn.Linear(30, 3)
    def forward(self, x):
        return self.last({call}(x, "n t f -> n (t f)"))
"""


def test_a_librarys_function_is_named_with_the_users_line_and_can_be_wrapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("library", "own"):
        (tmp_path / folder).mkdir()
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    (tmp_path / "library/axes_of_tests.py").write_text(LIBRARY)

    def traced(name: str, imports: str, call: str) -> ModelGraph:
        (tmp_path / f"own/{name}.py").write_text(NETWORK.format(imports=imports, call=call))
        sys.modules.pop(name, None)
        return ModelGraph.trace(importlib.import_module(name).Net(), X)

    by_name = "from axes_of_tests import rearranged"
    with pytest.raises(ArgumentError, match=r"own/net_a.py:9 \(return self.last\(rearranged\(") as caught:
        traced("net_a", by_name, "rearranged")
    assert 'torch.fx.wrap("rearranged") below the imports of' in str(caught.value)
    with pytest.raises(
        ArgumentError, match=f'write {by_name} and below it torch.fx.wrap\\("rearranged"\\) in'
    ) as caught:
        traced("net_b", "import axes_of_tests", "axes_of_tests.rearranged")
    wrapped = traced("net_c", f'{by_name}\ntorch.fx.wrap("rearranged")', "rearranged")
    assert list(wrapped.sites) == ["x", "rearranged", "last"]


VALUE = fx.Proxy(fx.Graph().placeholder("x"))


@pytest.mark.parametrize(
    ("arguments", "has_one"),
    [
        *((made, True) for made in (VALUE, [VALUE], (1, (2, VALUE)), {"size": VALUE}, ((), {"a": [VALUE]}))),
        *((made, True) for made in (slice(VALUE, None), slice(VALUE), slice(None, None, VALUE))),
        *((made, False) for made in (1, "x", None, [1], (), {"x": 1}, slice(1, 2, 3))),
    ],
)
def test_a_recorded_value_is_found_wherever_it_stands(arguments: object, has_one: bool) -> None:
    assert _has_proxy(arguments) == has_one


def test_all_classes_below_a_function_are_found() -> None:
    assert set(_subclasses(Below)) == {Lower, Lowest}


class Below(torch.autograd.Function):
    pass


class Lower(Below):
    pass


class Lowest(Lower):
    pass


class Optional(nn.Module):
    def forward(self, x: Tensor, y: Tensor | None = None, scale: float = 2.0) -> Tensor:
        return (x if y is None else x + y) * scale


class Required(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def test_the_defaults_of_parameters_that_are_no_inputs() -> None:
    assert _defaults(Optional(), 1) == {"y": None, "scale": 2.0}
    assert _defaults(Optional(), 2) == {"scale": 2.0} and _defaults(Optional(), 3) == {}
    assert _defaults(Required(), 1) == {}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ([1.0, torch.nan], [1.0, torch.nan], True),
        ([1.0, torch.nan], [1.0, 2.0], False),
        ([1.0, 2.0], [1.0, torch.nan], False),
        ([1.0, 2.0], [1.0], False),
        ([1.0, 2.0], [1, 2], False),  # whole numbers are another dtype
    ],
)
def test_outputs_are_equal_bit_for_bit_and_nan_equals_nan(one: list[float], other: list[float], equal: bool) -> None:
    assert _equal(torch.tensor(one), torch.tensor(other)) == equal


@pytest.mark.parametrize(
    ("op", "target", "given", "overwrites"),
    [
        ("call_method", "add_", {}, True),
        ("call_method", "add", {}, False),
        ("call_method", "__add__", {}, False),
        ("call_function", torch.relu_, {}, True),
        ("call_function", torch.relu, {}, False),
        ("call_function", nn.functional.relu, {"inplace": True}, True),
        ("call_function", nn.functional.relu, {"inplace": False}, False),
        ("call_module", "over", {}, True),
        ("call_module", "new", {}, False),
        ("get_attr", "over_", {}, False),
    ],
)
def test_which_operations_overwrite_their_first_argument(
    op: str, target: Any, given: dict[str, Any], overwrites: bool
) -> None:
    module = nn.ModuleDict({"over": nn.ReLU(inplace=True), "new": nn.ReLU()})
    graph = fx.Graph()
    node = graph.create_node(op, target, (graph.placeholder("x"),), given)
    assert _works_in_place(node, module) == overwrites


def test_tensors_in_lists_and_tuples_are_found_and_sizes_are_per_example() -> None:
    one, two, three = torch.ones(3).split(1)
    assert all(a is b for a, b in zip(_tensors([one, (two, 5, [three])]), (one, two, three), strict=True))
    graph = ModelGraph.trace(nn.Sequential(nn.Linear(3, 5), nn.ReLU()), torch.ones(2, 3))
    step = graph.program.steps["1"]
    assert (step.fixed_bytes, step.example_bytes) == (0, 5 * 4)
