"""Ablation called as a notebook calls it: a module, tensors and plain values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional

import mi_runner
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.ablation import Scoring, ablate, ablate_units, n_unit_runs, try_ablations
from mi_runner.methods.ablation_targets import ablation_targets
from mi_runner.methods.contributions import contributions
from mi_runner.methods.replacements import Ablation, Running, Source, draws
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip
from mi_runner.progress import Progress
from tests.networks import X, micro
from tests.random_networks import WIDTH, Planned, planned_networks

Y = torch.tensor([0, 1])


def cross_entropy(*logits: tuple[float, float]) -> float:
    return float(functional.cross_entropy(torch.tensor(logits, dtype=torch.float32), Y))


def found(rows: list[dict[str, Any]], target: str, method: str) -> list[dict[str, Any]]:
    return [row for row in rows if (row["target"], row["method"]) == (target, method)]


def test_the_micro_network_by_hand() -> None:
    table = ablate(micro(), X, Y, targets=["relu", "x/add", "x/first/relu/add"], methods=["zero", "mean"])
    expected = {
        ("none", "none"): ((18, -4), (-1, -7)),
        # relu := 0: add = x = (1, 2), (−3, 1)
        ("relu", "zero"): ((6, 0), (-1, -7)),
        # the mean of relu is (0, 2): add = (1, 4), (−3, 3)
        ("relu", "mean"): ((12, -2), (5, -9)),
        # add = relu = (0, 4), (0, 0)
        ("x/add", "zero"): ((11, -4), (-1, 0)),
        # the mean of x is (−1, 3/2): add = (−1, 11/2), (−1, 3/2)
        ("x/add", "mean"): ((14.5, -7.5), (2.5, -3.5)),
        # first(0) = (1, 0): add = (2, 2), (−2, 1)
        ("x/first/relu/add", "zero"): ((7, 2), (0, -5)),
        # first(−1, 3/2) = (−3/2, −1/2), whose relu is 0: add = x
        ("x/first/relu/add", "mean"): ((6, 0), (-1, -7)),
    }
    assert [(row["target"], row["method"]) for row in table.rows] == list(expected)
    assert [row["kind"] for row in table.rows] == ["none", "site", "site", "edge", "edge", "path", "path"]
    for row, logits in zip(table.rows, expected.values(), strict=True):
        assert row["loss"] == pytest.approx(cross_entropy(*logits))
        correct = [int(one >= other) == 1 - label for (one, other), label in zip(logits, (0, 1), strict=True)]
        assert row["accuracy"] == sum(correct) / 2
    intact = table.rows[0]
    for row in table.rows:
        assert row["accuracy_drop"] == intact["accuracy"] - row["accuracy"]
        assert row["loss_increase"] == row["loss"] - intact["loss"]
    # With x/add := 0 both answers are correct; the intact network answers 0 twice.
    counts = {(row["target"], row["method"], row["label"], row["predicted"]): row["count"] for row in table.confusion}
    assert (counts["none", "none", 0, 0], counts["none", "none", 1, 0]) == (1, 1)
    assert (counts["x/add", "zero", 0, 0], counts["x/add", "zero", 1, 1]) == (1, 1)


def test_with_two_examples_resampling_swaps_them() -> None:
    # relu swapped: add = (1, 2), (−3, 5) → (6, 0), (11, −11)
    rows = ablate(micro(), X, Y, targets=["relu"], methods=["resample"], source=Source(repeats=2)).rows
    assert [row["repeat"] for row in rows] == [1, 1, 2]
    assert [row["loss"] for row in rows[1:]] == [pytest.approx(cross_entropy((6, 0), (11, -11)))] * 2


def test_means_and_samples_of_another_source() -> None:
    # On (1, 2) alone relu is (0, 4), its mean and its only sample: add = (1, 6), (−3, 5)
    rows = ablate(micro(), X, Y, targets=["relu"], methods=["mean", "resample"], source=Source(X[:1], repeats=1)).rows
    assert [row["loss"] for row in rows[1:]] == [pytest.approx(cross_entropy((18, -4), (11, -11)))] * 2


def test_units_of_the_micro_network_by_hand() -> None:
    rows = ablate_units(micro(), X, Y, targets=["relu", "x"], methods=["zero"])
    assert [(row["target"], row["unit"]) for row in rows] == [("relu", 0), ("relu", 1), ("x", 0), ("x", 1)]
    expected = [
        # relu's unit 0 is 0 on both examples: nothing changes
        ((18, -4), (-1, -7)),
        # relu = (0, 0), (0, 0): add = x
        ((6, 0), (-1, -7)),
        # x = (0, 2), (0, 1): first = (−1, 2), (0, 1), add = (0, 4), (0, 2)
        ((11, -4), (5, -2)),
        # x = (1, 0), (−3, 0): first = (2, 2), (−2, −6), add = (3, 2), (−3, 0)
        ((8, 4), (-4, -6)),
    ]
    for row, logits in zip(rows, expected, strict=True):
        assert row["loss"] == pytest.approx(cross_entropy(*logits))


def test_contributions_of_the_micro_network_by_hand() -> None:
    table = {row["summand"]: row for row in contributions(micro(), X, Y)}
    # x·Wᵀ = (7, 0), (0, −7)   relu·Wᵀ = (12, −4), (0, 0)   bias (−1, 0)   sum (18, −4), (−1, −7)
    label_logits = {"x": (3.5 - 3.5) / 2, "relu": (8 + 0) / 2, "bias": (-0.5 + 0.5) / 2, "sum": (11 - 3) / 2}
    assert {name: row["label_logit"] for name, row in table.items()} == pytest.approx(label_logits)
    assert {name: row["accuracy"] for name, row in table.items()} == {"x": 0.5, "relu": 0.5, "bias": 0.5, "sum": 0.5}
    assert table["sum"]["max_error"] == 0 and table["x"]["max_error"] is None


def test_a_network_without_a_sum_before_its_last_layer_has_no_contributions() -> None:
    assert contributions(MLP([2, 3, 2]), X, Y) == []


def test_values_and_losses_of_ones_own() -> None:
    model = nn.Sequential(nn.Linear(2, 1), nn.Identity())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1.0]]))
        model[0].bias.zero_()
    # outputs 3 and −2; values 3 and 1
    y = torch.tensor([3.0, 1.0])
    intact, zeroed = ablate(model, X, y, targets=["0"], methods=["zero"]).rows
    assert (intact["accuracy"], intact["loss"]) == (0.5, 4.5) and (zeroed["accuracy"], zeroed["loss"]) == (0.0, 5.0)
    counted = ablate(model, X, y.long(), targets=["0"], methods=["zero"], scoring=Scoring(kind=Outputs.values)).rows
    assert [row["loss"] for row in counted] == [4.5, 5.0]

    def absolute(outputs: Tensor, targets: Tensor, reduction: str) -> Tensor:
        assert reduction == "none"
        return (outputs.squeeze(1) - targets).abs()

    assert [
        row["loss"] for row in ablate(model, X, y, targets=["0"], methods=["zero"], scoring=Scoring(absolute)).rows
    ] == [1.5, 2]


def test_a_module_runs_in_evaluation_mode_and_keeps_its_own() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.9), nn.Linear(4, 2)).train()
    first, second = (ablate(model, X, Y, methods=["zero"]).rows for _ in range(2))
    assert first == second
    assert all(submodule.training for submodule in model.modules())
    assert first == ablate(ModelGraph.trace(model.eval(), X), X, Y, methods=["zero"]).rows


def test_a_draw_depends_on_seed_and_repeat_alone() -> None:
    torch.manual_seed(0)
    model, x, y = TwoLayerSkip(6, 3), torch.randn(50, 6), torch.randint(3, (50,))
    alone = ablate(model, x, y, targets=["x/add"], methods=["resample"]).rows
    more = ablate(model, x, y, targets=["relu", "x/add"]).rows
    assert found(alone, "x/add", "resample") == found(more, "x/add", "resample")
    assert alone != ablate(model, x, y, targets=["x/add"], methods=["resample"], source=Source(seed=1)).rows


def test_finished_rows_are_reported() -> None:
    progress = Progress()
    table = ablate(micro(), X, Y, running=Running(progress=progress))
    units = ablate_units(micro(), X, Y, targets=["relu"], running=Running(progress=progress))
    assert progress.tables == {"metrics": table.rows, "units": units}


def test_what_is_ablated_and_how_often() -> None:
    graph = ModelGraph.trace(micro(), X)
    assert ablation_targets(graph) == ["first", "relu", "add", "x/first", "x/add"]
    assert ablation_targets(ModelGraph.trace(nn.Linear(2, 2), X)) == []
    assert draws(["resample", "zero"], 2) == [("resample", 1), ("resample", 2), ("zero", 1)]
    assert n_unit_runs(graph, ["relu", "x/add"], ["zero", "resample"], 3) == (2 + 2) * (1 + 3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"targets": ["rleu"]}, r"^targets: no site is named 'rleu'. Did you mean relu\?"),
        ({"targets": []}, r"^targets=\[\]: name at least one target, each once\.$"),
        ({"methods": ["zero", "zero"]}, r"^methods=\[zero, zero\]: name at least one method, each once\.$"),
        (
            {"methods": ["men"]},
            r"^methods: no method is named 'men'. Did you mean mean\? Allowed: zero, mean, resample",
        ),
        ({"source": Source(repeats=0)}, r"^repeats=0 must be at least 1\.$"),
        ({"y": Y[:1]}, r"^x has 2 examples, y has 1: give one y for each x"),
        (
            {"y": Y.float(), "scoring": Scoring(kind=Outputs.logits)},
            r"^y has the shape \(2,\) and dtype torch.float32: classes are \(N,\) integ",
        ),
        ({"network": nn.Linear(2, 2)}, r"^the network has no inner site to ablate, only \w+, \w*: name targets\.$"),
    ],
)
@pytest.mark.parametrize("method", [ablate, ablate_units])
def test_errors_speak_of_the_arguments(method: Any, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        method(**{"network": micro(), "x": X, "y": Y, **arguments})
    assert "experiment." not in str(caught.value)


def test_many_units_are_refused_with_the_count() -> None:
    with pytest.raises(ValueError, match=r"^50 runs of x are needed, more than most_runs=49: name fewer targets or"):
        ablate_units(micro(), X, Y, running=Running(most_runs=49))  # 5 targets × 2 units × 5 draws
    assert len(ablate_units(micro(), X, Y, running=Running(most_runs=50))) == 50


def test_an_ablation_that_can_not_run_is_named() -> None:
    class OfTwo(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x.view(2, 2) + 1) * 2

    graph = ModelGraph.trace(OfTwo(), X)
    try_ablations(graph, X, ["add"], units=True)
    text = r"^the network can't be run on 3 examples: RuntimeError: .* size 6\. Name other targets\.$"
    with pytest.raises(ArgumentError, match=text):
        try_ablations(graph, torch.ones(3, 2), ["view"])


def test_the_package_exports_them() -> None:
    assert (mi_runner.ablate, mi_runner.ablate_units, mi_runner.contributions) == (ablate, ablate_units, contributions)
    assert Ablation("relu", "zero") == Ablation("relu", "zero", 1)


@settings(max_examples=30, deadline=None)
@given(planned_networks())
def test_every_target_of_a_random_network_is_ablated_as_by_hand(network: Planned) -> None:
    """Sites, edges and paths, by zero and by the mean: the loss is that of the edited forward."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, WIDTH, generator=draw), torch.randint(WIDTH, (8,), generator=draw)
    names = list(ModelGraph.trace(network, x).sites)
    chains = {"/".join(names[value] for value in chain): chain for chain in network.chains()}
    rows = ablate(network, x, y, targets=list(chains), methods=["zero", "mean"]).rows
    assert [row["target"] for row in rows[1::2]] == [row["target"] for row in rows[2::2]] == list(chains)
    with torch.no_grad():
        values = network.values(x)
        for row in rows[1:]:
            chain = chains[row["target"]]
            own = values[chain[0]]
            new = torch.zeros_like(own) if row["method"] == "zero" else own.mean(0).expand_as(own)
            outputs = network.edited(x, chain, new)
            assert row["loss"] == pytest.approx(float(functional.cross_entropy(outputs, y)), rel=1e-4, abs=1e-6)
            if row["method"] == "zero":
                assert row["accuracy"] == float((outputs.argmax(1) == y).double().mean())
