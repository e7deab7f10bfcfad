"""Runs that share intact values, against whole runs of the same network: hand-written ones and those of torchvision."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.graph.interventions import Intervention, Run, Runs, interchange, mean, read_sites, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.ablation import ablate
from mi_runner.methods.replacements import Running
from mi_runner.models.two_layer_skip import TwoLayerSkip
from tests.networks import X, micro


class Encoder(nn.Module):
    """Two layers of attention, as torch's own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(48, 16)
        self.attention = nn.ModuleList([nn.MultiheadAttention(16, 2, batch_first=True) for _ in range(2)])
        self.norms = nn.ModuleList([nn.LayerNorm(16) for _ in range(2)])
        self.last = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x.flatten(2).transpose(1, 2).reshape(x.size(0), 64, 48))
        for attention, norm in zip(self.attention, self.norms, strict=True):
            h = h + attention(norm(h), norm(h), norm(h), need_weights=False)[0]
        return self.last(h.mean(1))


class Recurrent(nn.Module):
    """What the LSTM returns is a tuple, of which one value is overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.last = nn.LSTM(96, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        out, (h, _) = self.lstm(x.flatten(2).transpose(1, 2).reshape(x.size(0), 32, 96))
        out = out.relu_()
        return self.last(out[:, -1] + out.mean(1) + h[0])


class PreNorm(nn.Module):
    """Residual blocks of normalised Linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3072, 12)
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12)) for _ in range(3)]
        )
        self.last = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(torch.flatten(x, 1))
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


def of_torchvision(name: str) -> nn.Module:
    """A network as torchvision makes it, with random weights."""
    from torchvision import models  # here, because it takes a second in each process that collects the tests

    if name == "VisionTransformer":
        options = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32, "num_classes": 4}
        network = models.VisionTransformer(image_size=32, patch_size=16, **options)
        nn.init.normal_(network.heads.head.weight)  # it begins with zeros
        return network
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    return getattr(models, name)(num_classes=4, **options)


OF_TORCHVISION = (
    *("resnet18", "squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf"),
    *("VisionTransformer", "googlenet", "densenet121"),
)
OWN = {kind.__name__: kind for kind in (Encoder, Recurrent, PreNorm)}


def derived(graph: ModelGraph, x: Tensor, target: str) -> list[list[Intervention]]:
    """Interventions of every kind at a target."""
    shape = graph.target_site(target).shape
    units = torch.arange(graph.target_site(target).n_units).reshape(shape) % 2 == 0
    return [
        [Intervention(target, torch.zeros(shape))],
        [Intervention(target, torch.full(shape, 0.3), units)],
        [Intervention(target, lambda value: value.mul_(-0.5))],
        [interchange(graph, target, x.flip(0), units)],
    ]


def targets_of(graph: ModelGraph, n: int) -> list[str]:
    """Sites and edges from the first to the last, a path, and those that leave a site with several uses."""
    able = [name for name, site in graph.sites.items() if not site.obstacle and name != graph.output]
    targets = [able[k * (len(able) - 1) // (n - 1)] for k in range(n)]
    forked = [name for name in able if len(graph.uses(name)) > 1]
    for name in forked[:: max(1, len(forked) // 2)][:2]:
        edge = graph.uses(name)[-1]
        targets += [edge, *(f"{edge}/{use.split('/')[1]}" for use in graph.uses(edge.split("/")[1])[:1])]
    return targets


@pytest.mark.parametrize("name", [*OF_TORCHVISION, *OWN])
@torch.no_grad()
def test_runs_that_share_values_equal_whole_runs_bit_for_bit(name: str) -> None:
    torch.manual_seed(0)
    model = (OWN[name]() if name in OWN else of_torchvision(name)).eval()
    x = torch.randn(3, 3, 32, 32)
    graph = ModelGraph.trace(model, x[:2])
    assert torch.equal(graph(x), model(x))
    everything = graph.program.total_size(len(x))
    runs = [Run(graph, x, memory=memory) for memory in (everything, everything / 5)]
    kept = [read_sites(graph, x, [site])[site] for site in list(graph.sites)[::7]]
    changed = 0
    for number, target in enumerate(targets_of(graph, 3)):
        for interventions in derived(graph, x, target)[number % 2 :: 2]:
            whole = run_with(graph, x, interventions)
            changed += not torch.equal(whole, model(x))
            for run in runs:
                assert torch.equal(run.output(interventions), whole), target
    assert changed >= 3
    for run in runs:
        for value, before in zip(run.values(list(graph.sites)[::7]), kept, strict=True):
            assert torch.equal(value, before)


def test_only_what_lies_behind_the_target_is_computed() -> None:
    model = micro().eval()
    calls: list[str] = []
    for name in ("first", "last"):
        model.get_submodule(name).register_forward_hook(lambda module, given, output, name=name: calls.append(name))
    graph = ModelGraph.trace(model, X)
    run = Run(graph, X, memory=1000)
    calls.clear()
    run.output()
    assert calls == ["first", "last"]  # the intact run
    for target, expected in {
        "relu": ["last"], "x/add": ["last"], "first": ["last"], "x/first": ["first", "last"], "last": [],
        "x": ["first", "last"], "x/first/relu/add": ["first", "last"], "add/last": ["last"],
    }.items():  # fmt: skip
        calls.clear()
        run.output([Intervention(target, torch.ones(2))])
        assert calls == expected, target
    calls.clear()
    run.output([Intervention("relu", torch.ones(2), torch.tensor([True, False]))])
    run.values(["first", "relu"])
    assert calls == ["last"]  # what is partly replaced is kept, too


def test_what_does_not_fit_is_computed_from_the_nearest_value_that_is_kept() -> None:
    layers = nn.Sequential(*[nn.Linear(4, 4) for _ in range(8)]).eval()
    calls: list[int] = []
    for number, layer in enumerate(layers):
        layer.register_forward_hook(lambda module, given, output, number=number: calls.append(number))
    x = torch.randn(5, 4)
    graph = ModelGraph.trace(layers, x[:2])
    run = Run(graph, x, memory=4 * 5 * 4 * 4)  # half of the eight values
    run.output()
    calls.clear()
    run.values(["6"])
    assert len(calls) <= 2
    assert sum(graph.program.size(name, 5) for name in graph.program.kept(5, 4 * 5 * 4 * 4)) <= 4 * 5 * 4 * 4


def test_the_memory_that_values_take_is_known_before_they_are_computed() -> None:
    model = of_torchvision("densenet121").eval()
    x = torch.randn(3, 3, 32, 32)
    graph = ModelGraph.trace(model, x[:2])
    names = [name for name, site in graph.sites.items() if site.kind == "module"]
    values = Run(graph, x).values(names)
    for name, value in zip(names, values, strict=True):
        assert graph.program.size(name, 3) == value.numel() * 4, name
    half = graph.program.total_size(3) / 2
    kept = graph.program.kept(3, half)
    assert half * 0.8 < sum(graph.program.size(name, 3) for name in kept) <= half


# --- what is kept stays as it is -----------------------------------------------------------------------------------


class OverwritesByPosition(nn.Module):
    """No name and no keyword says that relu works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(self.first(x)), True)


class OverwritesInLeaf(nn.Module):
    """A submodule that can't be looked into overwrites what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.block = nn.Linear(2, 2), Doubles()

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.first(x))


class Doubles(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2) + (1 if float(x.sum()) > 1e9 else 0)


class OverwritesView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x).view(-1).mul_(3).view(-1, 2)


class OverwritesTuple(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(2, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x.unsqueeze(1))[0].squeeze(1).sigmoid_()


@pytest.mark.parametrize("model", [OverwritesByPosition(), OverwritesInLeaf(), OverwritesView(), OverwritesTuple()])
@torch.no_grad()
def test_operations_in_place_change_nothing_that_is_kept(model: nn.Module) -> None:
    graph = ModelGraph.trace(model.eval(), X, leaves=["block"] if isinstance(model, OverwritesInLeaf) else [])
    run = Run(graph, X, memory=10_000)
    sites = [name for name in graph.sites if name != graph.output]
    before = [value.clone() for value in run.values(sites)]
    for site in [*sites, graph.output]:
        run.output([Intervention(site, lambda value: value.add_(1))])
        run.output([Intervention(site, torch.ones(1))])
    assert all(torch.equal(value, old) for value, old in zip(run.values(sites), before, strict=True))
    assert torch.equal(run.output(), model(X))


@torch.no_grad()
def test_a_rule_that_works_in_place_changes_neither_what_is_kept_nor_the_input() -> None:
    graph, x = ModelGraph.trace(micro().eval(), X), X.clone()
    run = Run(graph, x, memory=10_000)
    outputs = [run.output([Intervention("x", lambda value: value.zero_())]) for _ in range(2)]
    assert torch.equal(x, X) and torch.equal(*outputs)
    assert torch.equal(run.output(), micro()(X))


@torch.no_grad()
def test_in_training_mode_nothing_is_kept() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 2)).eval()
    graph = ModelGraph.trace(model, X)
    run = Run(graph, X, memory=10_000)
    model.train()
    (first,), (second,) = run.values(["1"]), run.values(["1"])
    assert not torch.equal(first, second)  # another draw


@torch.no_grad()
def test_runs_in_evaluation_mode_leave_running_statistics_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)).train()
    before = copy.deepcopy(model.state_dict())
    ablate(model, X, torch.tensor([0, 1]), methods=["zero", "mean"])
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items()) and model.training


# --- all batches of a data set -------------------------------------------------------------------------------------


@torch.no_grad()
def test_means_of_all_sites_take_one_pass() -> None:
    torch.manual_seed(0)
    model, x = TwoLayerSkip(6, 3), torch.randn(2300, 6)
    calls: list[int] = []
    model.first.register_forward_hook(lambda module, given, output: calls.append(len(output)))
    graph = ModelGraph.trace(model, x[:2])
    for memory in (0.0, 1e9):
        calls.clear()
        runs = Runs(graph, x, memory=memory)
        means = runs.means(["x", "first", "relu", "add"])
        assert calls == [1000, 1000, 300] and runs.fit == bool(memory)
        for name, value in means.items():
            assert torch.equal(value, mean([read_sites(graph, part, [name])[name] for part in x.split(1000)]))


@torch.no_grad()
def test_an_ablation_is_a_whole_run_on_every_batch() -> None:
    """The rows of a table against runs that share nothing, for zero and mean at sites, edges and a path."""
    torch.manual_seed(0)
    model, x, y = TwoLayerSkip(6, 3), torch.randn(2300, 6), torch.randint(3, (2300,))
    graph = ModelGraph.trace(model, x[:2])
    targets = ["relu", "first", "x/first", "x/add", "x/first/relu/add"]
    for memory in (0.0, 60_000.0, 1e9):
        rows = ablate(graph, x, y, targets=targets, methods=["zero", "mean"], running=Running(memory)).rows[1:]
        for row in rows:
            site = graph.target_site(row["target"]).name
            values = mean([read_sites(graph, part, [site])[site] for part in x.split(1000)])
            value = values if row["method"] == "mean" else torch.zeros(6)
            parts = [run_with(graph, part, [Intervention(row["target"], value)]) for part in x.split(1000)]
            outputs = torch.cat(parts)
            assert row["accuracy"] == float((outputs.argmax(1) == y).double().mean())
            assert row["loss"] == pytest.approx(float(functional.cross_entropy(outputs, y)), abs=1e-6)


@torch.no_grad()
def test_what_depends_on_no_input_is_computed_once_for_all_batches() -> None:
    model, x, y = TwoLayerSkip(6, 3), torch.randn(3100, 6), torch.randint(3, (3100,))
    calls: list[int] = []
    graph = ModelGraph.trace(model, x[:2])
    model.first.register_forward_hook(lambda module, given, output: calls.append(len(output)))
    ablate(graph, x, y, targets=["x/first"], methods=["mean"])
    assert calls == [1000, 1000, 1000, 100, 1000, 100]  # the intact network, then the two sizes of batches


def test_a_derived_graph_begins_with_what_both_have_in_common() -> None:
    torch.manual_seed(0)
    model, x = TwoLayerSkip(5, 3).eval(), torch.randn(8, 5)
    graph = ModelGraph.trace(model, x[:2])
    split, summands = graph.split_output(1)
    calls = []
    model.first.register_forward_hook(lambda *_: calls.append("first"))
    run = Run(graph, x, memory=1e6)
    run.output()
    names = [*summands.values(), split.output]
    shared = run.of(split).values(names)
    assert calls == ["first"]  # the intact run alone
    for value, whole in zip(shared, run_with(split, x, returns=names), strict=True):
        assert torch.equal(value, whole)


def test_what_a_derived_graph_computes_otherwise_is_not_taken_over() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 5)
    graph = ModelGraph.trace(TwoLayerSkip(5, 3).eval(), x[:2])
    changed = graph.split("first", torch.full((5,), 7.0))  # first = 7 + (first − 7): the sites behind it may round
    run = Run(graph, x, memory=1e6)
    names = ("relu", "add", changed.output)
    for value, whole in zip(run.of(changed).values(names), run_with(changed, x, returns=names), strict=True):
        assert torch.equal(value, whole)
    assert not torch.equal(run.values(["relu"])[0], run.of(changed).values(["relu"])[0])
