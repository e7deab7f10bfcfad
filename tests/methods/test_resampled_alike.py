"""Where resampling gives the same values: by hand, and beside what each target gives by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mi_runner.graph.interventions import Intervention, Run, read_sites, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.ablation import ablate
from mi_runner.methods.replacements import Ablation, Source
from mi_runner.methods.resampled_alike import last_alike
from mi_runner.models.two_layer_skip import TwoLayerSkip


class Branches(nn.Module):
    """A value that two layers read, an activation over the batch's mean, and a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 2)
        self.dropout = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x))
        return self.dropout(self.left(hidden)) + torch.relu(self.right(hidden)) * 2


def graph_of(network: nn.Module, n_inputs: int) -> ModelGraph:
    return ModelGraph.trace(network.eval(), torch.rand(2, n_inputs))


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("x", "x"),  # two read it
        ("x/first", "relu"),
        ("first", "relu"),
        ("relu", "relu"),  # add reads x, too
        ("x/add", "x/add"),
        ("x/first/relu/add", "relu/add"),
        ("add", "last"),
        ("last", "last"),
    ],
)
def test_of_a_network_with_a_skip_connection(target: str, place: str) -> None:
    assert last_alike(graph_of(TwoLayerSkip(3, 2), 3), target) == place


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("x", "tanh"),
        ("tanh", "tanh"),
        ("tanh/left", "dropout"),
        ("tanh/right", "relu"),
        ("right", "relu"),
        ("relu", "relu"),  # behind it is a product, which is none of the kinds that are known
    ],
)
def test_of_a_network_with_two_branches(target: str, place: str) -> None:
    assert last_alike(graph_of(Branches(), 3), target) == place


def test_what_reads_other_examples_is_no_way_on() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.first(x)
            return hidden - hidden.mean(0)

    graph = graph_of(Centred(), 3)
    assert last_alike(graph, "x") == last_alike(graph, "first") == "first"


@pytest.mark.parametrize("build", [lambda: TwoLayerSkip(3, 2), Branches], ids=["skip", "branches"])
def test_each_ablation_has_the_outputs_that_it_has_by_itself(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)  # no unit of these networks is off on every example
    network = build()
    graph, x, y = graph_of(network, 3), torch.randn(7, 3), torch.arange(7) % 2
    targets = [*graph.usable_sites[:-1], *graph.edges]
    source = Source(repeats=2, seed=3)
    found = ablate(graph, x, y, targets=targets, methods=["resample", "zero"], source=source)
    drawn = [("resample", 1), ("resample", 2), ("zero", 1)]
    named = [(row["target"], row["method"], row["repeat"]) for row in found.rows[1:]]
    assert named == [(target, method, repeat) for target in targets for method, repeat in drawn]
    for target in targets:
        for repeat in (1, 2):
            value = read_sites(graph, x[source.index(y, repeat)], [graph.target_site(target).name])
            (value,) = value.values()
            by_itself = run_with(graph, x, [Intervention(target, value)])
            outputs = found.outputs[Ablation(target, "resample", repeat)]
            assert torch.allclose(outputs, by_itself, rtol=1e-5, atol=1e-6)
            assert not torch.equal(outputs, found.outputs[None])


def test_they_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five targets, `first`, `x/first` and `relu` are one: three runs for each of two draws."""
    ran: list[str] = []
    output = Run.output

    def counted(run: Run, interventions: Sequence[Intervention] = (), **options: Any) -> Tensor:
        ran.append(interventions[0].target if interventions else "intact")
        return output(run, interventions, **options)

    monkeypatch.setattr(Run, "output", counted)
    targets = ["first", "relu", "add", "x/first", "x/add"]
    x, y = torch.randn(6, 3), torch.arange(6) % 2
    ablate(
        graph_of(TwoLayerSkip(3, 2), 3), x, y, targets=targets, methods=["resample", "zero"], source=Source(repeats=2)
    )
    resampled = ["relu", "last", "x/add"]  # what follows `add` is the layer that reads it
    assert Counter(ran) == Counter(["intact", *targets, *resampled, *resampled])
