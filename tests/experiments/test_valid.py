"""Valid circuits of a network that is not perfect: the rule that is taken, its line, and the figures by brute force."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mi_runner.experiments.circuits.comparison import _different_rules
from mi_runner.experiments.circuits.networks import Network
from mi_runner.methods.circuits.edges import Edges, bits_of

SIZES = (3, 2, 1)


@pytest.fixture
def run(tmp_path: Path, mi_run: Callable[..., Any]) -> Callable[..., Path]:
    """A command on a network of one logit, right on about nine of ten examples; returns its folder."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(120, 3)).astype("float32")
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
    with torch.no_grad():
        net[2].weight.mul_(4)
        y = (net(torch.from_numpy(x))[:, 0] > 0).long().numpy()
    flipped = draw.random(120) < 0.1
    y = np.where(flipped, 1 - y, y)
    np.savez("data.npz", x_train=x[:60], y_train=y[:60], x_test=x, y_test=y)
    torch.save(net.state_dict(), "w.pt")
    Path("small_nets_of_valid.py").write_text(
        "from torch import nn\ndef Net():\n    return nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))\n"
    )

    def of(experiment: str, *options: str) -> tuple[Path, str]:
        own = ("dataset=arrays", "dataset.path=data.npz", "model=external", "model.factory=small_nets_of_valid:Net")
        own += ("checkpoint=w.pt", "experiment.last_layers=2", "report=false")
        ended = mi_run(f"experiment={experiment}", *own, *options)
        assert ended.status == 0, ended.err
        return Path(ended.out.splitlines()[-1]), ended.err

    return of


def every_circuit(x: np.ndarray, weights: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """All closed circuits, and the answers of each, by masked weights in numpy."""
    edges = Edges(SIZES)
    rows = edges.rows(np.arange(1, 1 << edges.n, dtype=np.uint64))
    rows = rows[(edges.closed(rows) == rows).all(1)]
    first, second = (np.asarray(weights[f"{layer}.weight"], dtype=np.float64) for layer in (0, 2))
    biases = [np.asarray(weights[f"{layer}.bias"], dtype=np.float64) for layer in (0, 2)]
    answers = []
    for row in rows:
        kept = row[:6].reshape(2, 3), row[6:].reshape(1, 2)
        hidden = np.tanh(x @ (first * kept[0]).T + biases[0]) * kept[0].any(1)
        answers.append((hidden @ (second * kept[1]).T + biases[1])[:, 0] > 0)
    return rows, np.array(answers)


@pytest.mark.parametrize("rule", ["task", "agreement", "relative", "auto"])
def test_circuits_of_one_logit_by_each_rule(run: Callable[..., Any], rule: str) -> None:
    folder, said = run("circuits", f"experiment.valid={rule}", "experiment.inputs=any")
    data, weights = np.load("data.npz"), torch.load("w.pt")
    rows, answers = every_circuit(data["x_test"], weights)
    full = answers[rows.all(1)][0]
    right = answers == data["y_test"], answers == full
    own = (full == data["y_test"]).sum()
    valid = {
        "task": right[0].mean(1) > 0.99,
        "agreement": right[1].mean(1) > 0.99,
        "relative": right[0].sum(1) >= 0.99 * own,
    }["agreement" if rule == "auto" else rule]
    metrics = pd.read_csv(folder / "metrics.csv").iloc[0]
    assert own < 0.99 * 120 and metrics["full_accuracy"] == pytest.approx(own / 120)
    assert (metrics["n_circuits"], metrics["n_valid"]) == (len(rows), valid.sum())
    assert metrics["valid_by"] == ("agreement" if rule == "auto" else rule)
    table = pd.read_parquet(folder / "circuits.parquet")
    assert set(table.loc[table["valid"], "circuit"]) == set(bits_of(rows[valid]).tolist())
    assert table["accuracy"].to_numpy() == pytest.approx(right[0].mean(1)[np.argsort(bits_of(rows))], abs=1e-9)
    assert ("isn't above experiment.accuracy_threshold=0.99" in said) == (rule == "auto")
    assert (rule == "task") == (metrics["n_valid"] == 0)


@pytest.mark.parametrize("rule", ["agreement", "relative"])
def test_discovery_has_the_fewest_edges_by_each_rule(run: Callable[..., Any], rule: str) -> None:
    options = ("experiment.methods=[magnitude,greedy]", "experiment.bootstrap=0", "experiment.ablation=zero")
    folder, _ = run("discovery", f"experiment.valid={rule}", *options)
    data, weights = np.load("data.npz"), torch.load("w.pt")
    rows, answers = every_circuit(data["x_test"], weights)
    full = answers[rows.all(1)][0]
    right = (answers == full).sum(1) if rule == "agreement" else (answers == data["y_test"]).sum(1)
    least = 119 if rule == "agreement" else 0.99 * (full == data["y_test"]).sum()
    fewest = rows[right >= least].sum(1).min()
    summary = pd.read_csv(folder / "summary.csv")
    assert (summary["fewest_valid"] == fewest).all() and (summary["valid_by"] == rule).all()
    assert (summary["smallest_valid"] >= fewest).all() and summary["smallest_valid"].notna().all()


def test_networks_whose_circuits_are_valid_by_different_rules_get_a_line() -> None:
    of = {rule: cast(Network, SimpleNamespace(choices={"valid": rule})) for rule in ("task", "agreement")}
    assert _different_rules([of["task"]] * 3) == []
    (line,) = _different_rules([of["task"], of["agreement"], of["task"]])
    assert "valid by task in 2 networks, by agreement in 1 network, so means" in line


def test_a_perfect_network_is_judged_by_the_task(mi_run: Callable[..., Any]) -> None:
    command = ("dataset=logic", "model.hidden_sizes=[3,3]", "training.stop_loss=0.01", "training.epochs=300")
    ended = mi_run("experiment=circuits", *command, "seed=1", "report=false")
    folder = Path(ended.out.splitlines()[-1])
    metrics = pd.read_csv(folder / "metrics.csv").iloc[0]
    assert metrics["full_accuracy"] == 1 and metrics["valid_by"] == "task" and metrics["n_valid"] > 0
    assert "accuracy_threshold" not in ended.err
    assert json.loads((folder / "run.json").read_text())["metrics"]["n_valid"] == metrics["n_valid"]
