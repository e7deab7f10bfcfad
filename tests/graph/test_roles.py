"""Names of sites that networks of different architectures share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.graph.interventions import Intervention, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.machine import drawing
from mi_runner.models.cnn import CNN
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip
from tests.conftest import REPOSITORY, Ended


def roles(model: nn.Module, *shape: int) -> dict[str, str]:
    """Of the sites of the forward pass."""
    graph = ModelGraph.trace(model.eval(), torch.randn(2, *shape))
    return {name: role for name, role in graph.roles.items() if name in graph.sites}


class Functions(nn.Module):
    """Two inputs, an activation function that reads no layer, and a last layer that is not the output."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x))) + functional.leaky_relu(z) * 2


def test_networks_of_different_architectures_share_the_names_of_what_their_sites_do() -> None:
    assert roles(TwoLayerSkip(6, 3), 6) == {
        **{"x": "input", "first": "hidden_1", "relu": "hidden_1_activation", "last": "output"},
    }
    assert roles(MLP([6, 5, 4, 3]), 6) == {
        **{"x": "input", "layers.0": "hidden_1", "layers.1": "hidden_1_activation"},
        **{"layers.2": "hidden_2", "layers.3": "hidden_2_activation", "layers.4": "output"},
    }
    assert roles(MLP([6, 5, 1], output_activation=nn.Sigmoid()), 6) == {
        **{"x": "input", "layers.0": "hidden_1", "layers.1": "hidden_1_activation"},
        **{"layers.2": "output", "layers.3": "output_activation"},
    }
    graph = ModelGraph.trace(Functions().eval(), (torch.randn(2, 4), torch.randn(2, 4)))
    assert {name: role for name, role in graph.roles.items() if name in graph.sites} == {
        **{"x": "input_1", "z": "input_2", "first": "hidden_1", "tanh": "hidden_1_activation", "second": "hidden_2"},
    }


def test_a_convolutional_network_has_them_too() -> None:
    found = roles(CNN(1, (8, 8), 2), 1, 8, 8)
    assert found["conv1"] == "hidden_1" and found["conv3"] == "hidden_3" and list(found.values())[-1] == "output"
    assert len(set(found.values())) == len(found)


def test_a_target_can_be_named_by_them_and_own_names_stay() -> None:
    torch.manual_seed(0)
    model, x = TwoLayerSkip(6, 3).eval(), torch.randn(5, 6)
    graph = ModelGraph.trace(model, x)
    for own, shared in (
        ("relu", "hidden_1_activation"),
        ("x/add", "input/add"),
        ("x/first/relu", "input/hidden_1/relu"),
    ):
        assert graph.resolve(shared) == graph.resolve(own) and graph.kind(shared) == graph.kind(own)
        value = torch.zeros(6)
        with torch.no_grad():
            expected = run_with(graph, x, [Intervention(own, value)])
            assert torch.equal(run_with(graph, x, [Intervention(shared, value)]), expected)
    assert graph.role("x/add") == "input/add" and graph.role("first.bias") == "hidden_1.bias"
    assert graph.site("hidden_1[product]").name == "first[product]"
    named = nn.Sequential()
    named.add_module("output", nn.Linear(6, 4))
    named.add_module("last", nn.Linear(4, 3))
    # This network's own site of that name is its first layer.
    assert ModelGraph.trace(named.eval(), x).site("output").shape == (4,)


def test_a_sweep_over_two_architectures_lines_up(mi_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[str]] = []

    def keep(drawing: Callable[[], Figure], path: Path) -> None:
        if "sweep_rows" in str(path):
            rows.append([text.get_text() for text in drawing().axes[0].get_yticklabels()])
        path.touch()

    monkeypatch.setattr(drawing, "save_figure", keep)
    small = ("dataset=mnist", "dataset.limit=60", "training.epochs=1", "experiment.methods=[zero]")
    ended = mi_run("-m", "experiment=ablation", "model=mlp,skip", *small)
    assert ended.status == 0, ended.err
    (program,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/sweeps.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(program, "sweeps.md", "exec"), names)  # the folder is the first of its kind here
    summary = names["summary"]
    by_role = summary.pivot_table(index=["role", "method"], columns="model", values="mean")
    both = by_role.dropna().reset_index()["role"].tolist()
    assert both == ["hidden_1", "hidden_1_activation", "none"]
    own = summary.query("role == 'hidden_1_activation'").set_index("model")["target"]
    assert own.to_dict() == {"mlp": "layers.1", "skip": "relu"}
    assert rows[0][:3] == ["no target", "hidden_1 site zero", "hidden_1_activation site zero"]
    # Named so, a target is named alike in every table and in the summary of each run.
    ended = mi_run("-m", "experiment=ablation", "model=mlp,skip", *small, "experiment.targets=[hidden_1_activation]",
                   "expect={accuracy/hidden_1_activation/zero: '>=0'}")  # fmt: skip
    assert ended.status == 0, ended.err
    summary = pd.read_csv(ended.folder / "sweep_summary.csv").query("measure == 'accuracy' and method == 'zero'")
    assert summary["target"].tolist() == ["hidden_1_activation"] * 2
    assert rows[1] == ["no target", "hidden_1_activation site zero"]
