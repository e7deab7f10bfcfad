"""A graph's gradients are the module's: against autograd on the module itself, and by hand; what differs is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mi_runner.cli import command
from mi_runner.errors import ArgumentError
from mi_runner.graph.gradients import _first_other, check_gradients
from mi_runner.graph.interventions import Intervention, run_with
from mi_runner.graph.model_graph import ModelGraph

pytestmark = pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")

X = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))


class Step(torch.autograd.Function):
    """1 above 0; its gradient is three times what comes in."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (x > 0).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 3 * gradient


class SumAndProduct(torch.autograd.Function):
    """Two results, whose gradients are not those of a sum and a product."""

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x + y, x * y

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, of_sum: Tensor, of_product: Tensor) -> tuple[Tensor, Tensor]:
        return 7 * of_sum, 5 * of_product


step, sum_and_product = Step.apply, SumAndProduct.apply


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)


class Frozen(Net):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.a(x).relu()
        return self.c(self.b(hidden).relu())


class Decorated(Net):
    @torch.no_grad()
    def first(self, x: Tensor) -> Tensor:
        return self.a(x).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.c(x @ self.a.weight.T + self.b(self.first(x)))


class Nested(Net):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.a(x)
            with torch.enable_grad():
                hidden = self.b(hidden.relu())
            twice = hidden * 2
        return self.c(hidden + twice)


class Switched(Net):
    def forward(self, x: Tensor) -> Tensor:
        torch.set_grad_enabled(False)
        hidden = self.a(x)
        torch.set_grad_enabled(True)
        return self.c(self.b(hidden).relu())


class Detached(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x).detach() + self.a(x).data).relu())


class Stepped(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(Step.apply(self.a(x))).relu())


class SteppedByAlias(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(step(self.a(x))).relu())


class Two(Net):
    def forward(self, x: Tensor) -> Tensor:
        plus, times = SumAndProduct.apply(self.a(x), self.a(x).sin())
        plus, times = sum_and_product(plus, times)
        return self.c(self.b(plus - times))


class Checkpointed(Net):
    def __init__(self, *, reentrant: bool = False) -> None:
        super().__init__()
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        return self.c(checkpoint(self.b, self.a(x).relu(), use_reentrant=self.reentrant))


def reentrant() -> nn.Module:
    return Checkpointed(reentrant=True)


def gradients(function: Callable[[Tensor], Tensor], model: nn.Module) -> list[Tensor | None]:
    """Of each parameter and the input, of a weighted sum of the outputs."""
    model.zero_grad()
    x = X.clone().requires_grad_()
    (function(x) * torch.tensor([1.0, -2.0])).sum().backward()
    return [parameter.grad for parameter in (*model.parameters(), x)]


KINDS = [Frozen, Decorated, Nested, Switched, Detached, Stepped, SteppedByAlias, Two, Checkpointed, reentrant]


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradients_are_the_modules(kind: Callable[[], nn.Module]) -> None:
    model = kind().eval()
    graph = ModelGraph.trace(model, X[:2])
    of_module, of_graph = gradients(model, model), gradients(graph, model)
    assert [one is None for one in of_module] == [one is None for one in of_graph]
    assert all(a is b or torch.equal(a, b) for a, b in zip(of_module, of_graph, strict=True))
    assert any(one is not None and one.abs().max() > 0 for one in of_module)
    check_gradients(graph, X)


def test_a_step_without_gradients_keeps_that_in_what_is_derived() -> None:
    """Renamed, split, merged, distributed; below the block no gradient arrives, above it the same as before."""
    model = Frozen().eval()
    graph = ModelGraph.trace(model, X[:2])
    for derived in (
        graph.rename("relu", "hidden"),
        graph.split("relu", torch.zeros(4)),
        graph.merge(["a", "relu"]),
        graph.distribute("a"),
        graph.distribute("b"),
    ):
        of_graph = gradients(derived, model)
        assert of_graph[0] is None and of_graph[-1] is None
        for ours, theirs in zip(of_graph[2:-1], gradients(model, model)[2:-1], strict=True):
            torch.testing.assert_close(ours, theirs)


def test_a_value_put_behind_the_block_has_a_gradient_and_one_put_into_it_has_none() -> None:
    graph = ModelGraph.trace(Frozen().eval(), X[:2])
    for target, expected in (("relu", True), ("a", False), ("relu/b", True), ("a/relu/b", False)):
        value = torch.ones(4, requires_grad=True)
        (gradient,) = torch.autograd.grad(
            run_with(graph, X, [Intervention(target, value)]).sum(), [value], allow_unused=True
        )
        assert (gradient is not None) == expected, target


def test_custom_gradients_by_hand() -> None:
    """c(Step(x)): the gradient of the input is three times the weight, though a step's own is 0."""
    linear = nn.Linear(2, 1, bias=False)
    nn.init.constant_(linear.weight, 2.0)

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = linear

        def forward(self, x: Tensor) -> Tensor:
            return self.c(Step.apply(x))

    graph = ModelGraph.trace(Small(), torch.ones(2, 2))
    assert list(graph.sites) == ["x", "Step", "c"]
    x = torch.tensor([[1.0, -1.0]], requires_grad=True)
    graph(x).backward()
    assert x.grad is not None and x.grad.tolist() == [[6.0, 6.0]]


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.linear(x))


def doubled(_module: nn.Module, given: Any, _out: Any) -> tuple[Tensor]:
    return (given[0] * 2,)


class Hooked(Net):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Inner(), Inner()])
        self.blocks[1].register_full_backward_hook(doubled)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.blocks[1](self.blocks[0](self.a(x))))


def test_hooks_on_gradients_are_refused_and_the_leaf_that_is_named_works() -> None:
    model = Hooked().eval()
    with pytest.raises(ArgumentError, match=r"\(a.weight: \S+ instead of \S+\).* leaves=\[blocks.1\]\.$"):
        check_gradients(ModelGraph.trace(model, X[:2]), X)
    graph = ModelGraph.trace(model, X[:2], leaves=["blocks.1"])
    check_gradients(graph, X, ["blocks.1"])
    of_module, of_graph = gradients(model, model), gradients(graph, model)
    for ours, theirs in zip(of_graph, of_module, strict=True):
        assert theirs is ours is None or torch.equal(ours, theirs)  # b is not used
    assert of_graph[0] is not None and of_graph[0].abs().max() > 0


def test_the_innermost_submodule_with_a_hook_is_named() -> None:
    model = Hooked().eval()
    model.blocks[1] = nn.Sequential(Inner(), Inner())
    model.blocks[1][1].register_full_backward_hook(doubled)
    with pytest.raises(ArgumentError, match=r"make the submodule that does so one site: leaves=\[blocks\.1\.1\]\.$"):
        check_gradients(ModelGraph.trace(model, X[:2]), X)


def test_hooks_of_the_network_itself_are_refused_and_those_of_what_is_a_site_or_a_parameter_are_not() -> None:
    model = Stepped().eval()
    model.b.register_full_backward_hook(doubled)
    model.c.weight.register_hook(lambda gradient: gradient * 0)
    check_gradients(ModelGraph.trace(model, X[:2]), X)
    model.register_full_backward_hook(doubled)
    with pytest.raises(ArgumentError, match=r"remove it, or move what has it into a submodule .* leaves=\[NAME\]\.$"):
        check_gradients(ModelGraph.trace(model, X[:2]), X)


def test_the_check_leaves_gradients_modes_and_draws_alone() -> None:
    model = Hooked().train()
    model.a.weight.grad = torch.ones_like(model.a.weight)
    state = torch.get_rng_state()
    check_gradients(ModelGraph.trace(model, X[:2], ["blocks.1"]), X, ["blocks.1"])
    assert torch.equal(model.a.weight.grad, torch.ones(4, 3)) and model.b.weight.grad is None
    assert model.training and torch.equal(torch.get_rng_state(), state)


OWN = """
import torch
from torch import nn
class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (x > 0).float()
    @staticmethod
    def backward(ctx, gradient):
        return gradient
class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)
    def forward(self, x):
        with torch.no_grad():
            h = self.a(x).relu()
        return self.c(self.b(h).relu())
class Binary(Frozen):
    def forward(self, x):
        return self.c(self.b(Step.apply(self.a(x))).relu())
"""


@pytest.mark.parametrize(("network", "a_moves"), [("Frozen", False), ("Binary", True)])
def test_iit_moves_the_weights_that_the_module_would_move(
    network: str,
    a_moves: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = f"of_gradients_{network}"
    Path(f"{module}.py").write_text(OWN)
    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {"variables": ["size", "kind"]}
    for split, n in (("train", 120), ("test", 60)):
        values = np.column_stack([draw.integers(0, 4, n), draw.integers(0, 3, n)])
        arrays |= {f"variables_{split}": values, f"y_{split}": (values[:, 0] > values[:, 1]).astype(int)}
        arrays[f"x_{split}"] = np.column_stack([values, draw.normal(size=(n, 2))]).astype("float32")
    size, kind = np.indices((4, 3))
    np.savez("data.npz", mechanism=(size > kind).astype(int), **arrays)
    weights = []
    for epochs in (0, 1):
        arguments = [
            *("experiment=iit", "dataset=arrays", "dataset.path=data.npz", "model=external", "training.epochs=1"),
            *(f"model.factory={module}:{network}", "report=false", "experiment.site=b", "experiment.controls=[]"),
            *(f"experiment.epochs={epochs}", "experiment.train_pairs=200", "experiment.test_pairs=50"),
        ]
        assert command.main(arguments) == 0
        weights.append(load_file(Path(capsys.readouterr().out.splitlines()[-1]) / "model.safetensors"))
    moved = {name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])}
    assert ("a.weight" in moved) == a_moves and "b.weight" in moved


# --- how near two gradients must be -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("largest", "ours", "wanted", "is_other"),
    [
        (1000.0, 5e-4, 0.0, False),  # a millionth of the largest is 1e-3
        (1000.0, 2e-3, 0.0, True),
        (1e-3, 5e-10, 0.0, False),  # and here 1e-9
        (1e-3, 1e-6, 0.0, True),
        (1.0, 1.0 + 5e-5, 1.0, False),  # a ten thousandth of its own
        (1.0, 1.0 + 2e-4, 1.0, True),
        (0.0, 0.0, 0.0, False),  # where all are 0 nothing differs
    ],
)
def test_how_near_a_gradient_must_be(largest: float, ours: float, wanted: float, is_other: bool) -> None:
    large, one, other = (torch.tensor([value], dtype=torch.float64) for value in (largest, wanted, ours))
    found = _first_other({"large": large, "weight": other}, {"large": large, "weight": one})
    assert found.startswith("weight: ") if is_other else found == ""


INF, NAN = torch.inf, torch.nan


@pytest.mark.parametrize(
    ("ours", "wanted", "found"),
    [
        ([0.0, 0.0], None, ""),  # no gradient counts as 0
        ([0.0, 2.0], None, "weight: 2 instead of 0"),
        (None, [0.0, -2.0], "weight: 0 instead of -2"),
        (None, None, ""),
        ([INF, NAN], [INF, NAN], ""),
        ([INF, NAN], [INF, 1.0], "weight: nan instead of 1"),
        ([INF, 1.0], [INF, NAN], "weight: 1 instead of nan"),
        ([INF, 1.0], [-INF, 1.0], "weight: inf instead of -inf"),
        ([5.0, NAN, 1.0], [1.0, 1.0, 1.0], "weight: nan instead of 1"),  # the furthest is named
        ([1.5, 1.0, -1.0], [1.0, 1.0, 1.0], "weight: -1 instead of 1"),
        ([INF, 5e-7], [INF, 0.0], "weight: 5e-07 instead of 0"),  # what is infinite makes no other gradient small
        ([], [], ""),
    ],
)
def test_which_gradient_is_another(ours: list[float] | None, wanted: list[float] | None, found: str) -> None:
    got, expected = (None if one is None else torch.tensor(one) for one in (ours, wanted))
    assert _first_other({"weight": got}, {"weight": expected}) == found


def test_the_gradients_of_whole_numbers_and_of_none_are_checked() -> None:
    """An input of whole numbers has no gradient; a network without parameters has the input's alone, or none."""
    table = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 2)).eval()
    check_gradients(ModelGraph.trace(table, torch.tensor([1, 3])), torch.tensor([0, 1, 2]))
    for function in (nn.Tanh(), Detaching()):
        network = nn.Sequential(function).eval()
        check_gradients(ModelGraph.trace(network, X[:2]), X)


class Detaching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach() * 2


@pytest.mark.parametrize("without", [torch.inference_mode, torch.no_grad])
def test_gradients_are_checked_where_they_are_turned_off(without: Callable[[], Any]) -> None:
    model = Hooked().eval()
    with without(), pytest.raises(ArgumentError, match=r"leaves=\[blocks.1\]\.$"):
        check_gradients(ModelGraph.trace(model, X[:2]), X)


def test_a_frozen_parameter_keeps_its_gradient_while_the_others_are_checked() -> None:
    model = Stepped().eval()
    model.b.weight.requires_grad_(False).grad = torch.ones(4, 4)
    check_gradients(ModelGraph.trace(model, X[:2]), X)
    assert torch.equal(model.b.weight.grad, torch.ones(4, 4)) and model.a.weight.grad is None
