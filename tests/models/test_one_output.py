"""A network that returns several values is one that returns one of them, with the same weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from mi_runner.errors import ArgumentError
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.models.checks import check_output, first_outputs
from mi_runner.models.one_output import with_one_output
from tests.conftest import Ended
from tests.small_data import classes


class Pair(NamedTuple):
    hidden: Tensor
    logits: Tensor


@dataclass
class Named:
    hidden: Tensor
    logits: Tensor


class Several(nn.Module):
    """Returns hidden values and logits, in the form that is asked for."""

    def __init__(self, form: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form, self.a, self.b = form, nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Any:
        hidden = self.a(x).relu()
        logits = self.b(hidden)
        if self.form == "training" and not self.training:
            return logits
        if self.form in ("tuple", "training"):
            return hidden, logits
        return {
            "dict": {"hidden": hidden, "logits": logits},
            "named": Pair(hidden, logits),
            "object": Named(hidden, logits),
        }[self.form]


X = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("form", "output"),
    [("tuple", "1"), ("dict", "logits"), ("named", "1"), ("named", "logits"), ("object", "logits"), ("training", "1")],
)
def test_one_of_several_outputs(form: str, output: str) -> None:
    plain = Several(form)
    expected = plain.b(plain.a(X).relu())
    model = with_one_output(Several(form), output)
    assert isinstance(model, Several) and list(model.state_dict()) == list(plain.state_dict())
    for mode in (True, False):
        assert torch.equal(model.train(mode)(X), expected)
    twin = copy.deepcopy(model)
    nn.init.zeros_(model.b.weight)
    assert torch.equal(twin(X), expected) and not torch.equal(model(X), expected)
    graph = ModelGraph.trace(twin, X)
    assert list(graph.sites) == ["x", "a", "relu", "b"] and torch.equal(graph(X), expected)


class Nested(Several):
    """Returns logits, and hidden values inside of what it returns."""

    def forward(self, x: Tensor) -> Any:
        hidden = self.a(x).relu()
        return {
            "logits": self.b(hidden),
            "states": (x, Named(x, self.b(hidden.tanh()))),
            "states.2": self.b(hidden) + 1,
        }


@pytest.mark.parametrize(
    ("output", "of"),
    [
        ("states.1.logits", lambda net, hidden: net.b(hidden.tanh())),
        ("states.2", lambda net, hidden: net.b(hidden) + 1),  # a key with a dot is a key
    ],
)
def test_an_output_inside_of_another(output: str, of: Any) -> None:
    plain = Nested("nested").eval()
    expected = of(plain, plain.a(X).relu())
    model = with_one_output(Nested("nested").eval(), output)
    assert torch.equal(model(X), expected) and torch.equal(ModelGraph.trace(model, X)(X), expected)


def test_what_is_named_and_has_several_says_how_to_go_on() -> None:
    for named, typed in (("states", "states.0"), ("states.1", "states.1.logits")):
        with pytest.raises(ArgumentError, match=rf"of several: .*: output={typed}\.$"):
            given = with_one_output(Nested("nested").eval(), named)
            data = classes()
            check_output(given, given(data.x_train[:2]), data)
    with pytest.raises(ArgumentError, match=r"no output is named '4'.* Allowed: 0, 1\.$"):
        with_one_output(Nested("nested").eval(), "states.4")(X)


class Wraps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.core = Several("tuple")

    def forward(self, x: Tensor) -> Any:
        return self.core(x)


def test_of_a_submodule_that_is_one_site() -> None:
    model = with_one_output(Wraps().eval(), "1")
    expected = model(X)
    graph = ModelGraph.trace(model, X, leaves=["core"])
    assert list(graph.sites) == ["x", "getitem"] and torch.equal(graph(X), expected)


def test_an_output_that_is_not_there_and_none_named_say_what_there_is() -> None:
    with pytest.raises(ArgumentError, match=r"^output=2: no output is named '2'.* Allowed: 0, 1\.$"):
        with_one_output(Several("tuple"), "2")(X)
    for form, typed in (("tuple", "1"), ("dict", "logits"), ("object", "logits")):
        several = Several(form).eval()
        with pytest.raises(ArgumentError, match=rf"\(2, 4\).*\(2, 3\).*: output={typed}\.$"):
            check_output(several, first_outputs(several, classes()), classes())
        network = with_one_output(Several(form).eval(), typed)
        check_output(network, first_outputs(network, classes()), classes())


NET = """
from torch import nn
class Pair(nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.a, self.b = nn.Linear(input_shape[0], 8), nn.Linear(8, n_outputs)
    def forward(self, x):
        h = self.a(x).relu()
        return {"h": h, "logits": self.b(h)}
class InTraining(Pair):
    def forward(self, x):
        both = super().forward(x)
        return tuple(both.values()) if self.training else both["logits"]
"""


@pytest.mark.parametrize(("network", "said"), [("Pair", "model.output=logits"), ("InTraining", "model.output=0")])
def test_the_option_that_an_error_names_is_typed(mi_run: Any, network: str, said: str) -> None:
    Path("pairs_of_tests.py").write_text(NET)
    own = ("dataset=mod_add", "dataset.train_size=60", "dataset.test_size=40", "model=external", "report=false")
    own += (f"model.factory=pairs_of_tests:{network}", "training.epochs=1")
    ended: Ended = mi_run(*own)
    assert ended.status == 2 and said in ended.err and not Path("outputs").exists()
    typed = said if network == "Pair" else "model.output=1"
    assert mi_run(*own, typed, "experiment=ablation", "experiment.methods=[zero]").status == 0
