"""Parameters and products before the bias are sites, and a run that replaces none of them is that of the module."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.errors import ArgumentError
from mi_runner.graph.interventions import Intervention, Run, interchange, read_sites, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.ablation import ablate, ablate_units
from mi_runner.methods.replacements import Source
from tests.networks import X, micro, traced


def test_they_are_listed_beside_the_values_of_the_forward_pass() -> None:
    graph = traced()
    assert list(graph.sites) == ["x", "first", "relu", "add", "last"]
    assert {name: (site.kind, site.shape) for name, site in graph.module_sites.items()} == {
        "first.weight": ("parameter", (2, 2)), "first.bias": ("parameter", (2,)), "first[product]": ("function", (2,)),
        "last.weight": ("parameter", (2, 2)), "last.bias": ("parameter", (2,)), "last[product]": ("function", (2,)),
    }  # fmt: skip


def test_their_values_by_hand() -> None:
    weight, bias, product = read_sites(traced(), X, ["first.weight", "first.bias", "first[product]"]).values()
    assert (weight.tolist(), bias.tolist()) == ([[1, -1], [2, 1]], [1, 0])
    assert product.tolist() == [[-1, 4], [-4, -5]]  # first is (0, 4), (−3, −5)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        # first = (1, 0): add = (2, 2), (−2, 1)
        ("first.weight", [[7, 2], [0, -5]]),
        ("first[product]", [[7, 2], [0, -5]]),
        # first = (−1, 4), (−4, −5): the relu is as before
        ("first.bias", [[18, -4], [-1, -7]]),
        ("last.weight", [[-1, 0], [-1, 0]]),
        ("last[product]", [[-1, 0], [-1, 0]]),
        ("last.bias", [[19, -4], [0, -7]]),
        ("first.weight/first", [[7, 2], [0, -5]]),
        # Along the path alone: the product sees x = 0, and is 0.
        ("x/first[product]/first/relu/add", [[7, 2], [0, -5]]),
    ],
)
def test_replaced_by_zero_by_hand(target: str, expected: list[list[float]]) -> None:
    for run in (Run(traced(), X), Run(traced(micro().eval()), X, memory=10_000)):
        zeros = torch.zeros(run.graph.target_site(target).shape)
        assert run.output([Intervention(target, zeros)]).tolist() == expected


def test_a_run_that_replaces_none_is_that_of_the_module() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(50, 40), nn.Tanh(), nn.Linear(40, 30)), torch.randn(64, 50)
    graph = ModelGraph.trace(model, x[:2])
    assert torch.equal(graph(x), model(x))
    (hidden,) = run_with(graph, x, returns=["0"])
    assert torch.equal(hidden, model[0](x))
    # Replaced by themselves they give the same values, the product up to rounding.
    for name in ("0.weight", "0.bias"):
        assert torch.equal(run_with(graph, x, [interchange(graph, name, x)]), model(x))
    assert torch.allclose(run_with(graph, x, [interchange(graph, "0[product]", x)]), model(x), atol=1e-6)


def test_another_networks_parameter() -> None:
    torch.manual_seed(0)
    model, other, x = nn.LSTM(3, 4, batch_first=True), nn.LSTM(3, 4, batch_first=True), torch.randn(5, 6, 3)

    class Last(nn.Module):
        def __init__(self, lstm: nn.LSTM) -> None:
            super().__init__()
            self.lstm = lstm

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(x)[0][:, -1]

    both = copy.deepcopy(model)
    with torch.no_grad():
        both.weight_hh_l0.copy_(other.weight_hh_l0)
    graph = ModelGraph.trace(Last(model), x[:2])
    mixed = run_with(graph, x, [Intervention("lstm.weight_hh_l0", other.weight_hh_l0)])
    assert torch.allclose(mixed, Last(both)(x), atol=1e-6)
    assert torch.equal(graph(x), Last(model)(x)) and not torch.allclose(mixed, graph(x), atol=1e-3)


def test_gradients_reach_a_replaced_parameter() -> None:
    graph, weight = traced(), torch.zeros(2, 2, requires_grad=True)
    run_with(graph, X, [Intervention("last.weight", weight)])[:, 0].sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [[-2, 7], [0, 0]]  # the sums of add


def test_parameters_are_ablated_by_zero_and_by_the_mean_of_their_numbers() -> None:
    y = torch.tensor([0, 1])
    table = ablate(micro(), X, y, targets=["first.*", "last[product]"], source=Source(repeats=2))
    kinds = [(row["target"], row["method"], row["repeat"]) for row in table.rows[1:]]
    assert kinds == [
        *(
            ("first.weight", "zero", 1),
            ("first.weight", "mean", 1),
            ("first.bias", "zero", 1),
            ("first.bias", "mean", 1),
        ),
        *(("last[product]", "zero", 1), ("last[product]", "mean", 1)),
        *(("last[product]", "resample", 1), ("last[product]", "resample", 2)),
    ]
    # first.weight := 3/4: first = (13/4, 9/4), (−1/2, −3/2): add = (17/4, 17/4), (−3, 1)
    by_hand = torch.tensor([[17 / 4 + 51 / 4 - 1, 17 / 2 - 17 / 4], [-1.0, -7]])
    assert table.rows[2]["loss"] == pytest.approx(float(functional.cross_entropy(by_hand, y)))


def test_what_parameters_have_not() -> None:
    y = torch.tensor([0, 1])
    with pytest.raises(
        ArgumentError, match="^methods: first.bias is a parameter, which has no value on another example"
    ):
        ablate(micro(), X, y, targets=["first.bias"], methods=["resample"])
    with pytest.raises(
        ArgumentError, match="^targets: first.bias is a parameter: its numbers are not ablated one by one"
    ):
        ablate_units(micro(), X, y, targets=["first.bias"])
