"""Certified circuits of discovery's methods, beside those of the library."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from mi_runner.experiments.discovery.certified import sentences
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.edges import n_kept
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.criteria.judge import criteria
from mi_runner.methods.criteria.task import Task, Weights
from mi_runner.methods.robustness.certify import certify_circuits
from mi_runner.methods.robustness.criterion import EPSILON, certified
from tests.conftest import Ended
from tests.masked_parts import all_circuits, random_part

SMALL = ["experiment=discovery", "dataset=logic", "model.hidden_sizes=[2]", "model.activation=leaky_relu"]
SMALL += ["training.epochs=3", "experiment.bootstrap=0", "experiment.repeats=2", "experiment.last_layers=null"]
SMALL += ["experiment.accuracy_threshold=0.4", "experiment.methods=[random,greedy]", "seed=1"]
SMALL += ["model.output_activation=none"]

INPUTS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


@pytest.fixture
def ended(mi_run: Callable[..., Ended]) -> Ended:
    found = mi_run(*SMALL, "experiment.certify=0.05")
    assert found.status == 0, found.err
    return found


def part_of(ended: Ended) -> Part:
    weights = load_file(ended.record["checkpoint"]["path"])
    names = sorted({name.rpartition(".")[0] for name in weights})
    pairs = [(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in names]
    return Part(
        tuple(Layer(*pair, "leaky_relu" if place == 0 else "identity", 0.01) for place, pair in enumerate(pairs))
    )


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_the_smallest_certified_circuit_and_its_regret_are_those_of_the_library(ended: Ended, ablation: str) -> None:
    part = part_of(ended)
    space = CircuitSpace(part.sizes, "any")
    every = np.arange(1, space.full + 1, dtype=np.uint64)
    every = every[space.are_well_formed(every)]
    means = part.means(INPUTS) if ablation == "mean" else None
    found = certify_circuits(part, every, INPUTS, [0.05], means=means)
    holds = dict(zip(every.tolist(), found.is_certified[0].tolist(), strict=True))
    outputs = outputs_of_circuits(part, space.edges.rows(every), INPUTS, means)[..., 0].double()
    errors = dict(zip(every.tolist(), (outputs - part(INPUTS)[:, 0]).square().mean(1).tolist(), strict=True))
    metrics = pd.read_csv(ended.folder / "metrics.csv").query("ablation == @ablation")
    table = pd.read_csv(ended.folder / "certified.csv").query("ablation == @ablation").set_index("method")
    certified_ones = [bits for bits, is_held in holds.items() if is_held]
    assert (table["n_certified"] == len(certified_ones)).all()
    assert (table["fewest_certified"] == n_kept(np.array(certified_ones, dtype=np.uint64)).min()).all()
    assert len(certified_ones) < len(every)
    for method, rows in metrics[metrics["n_edges"] > 0].groupby("method"):
        edges, regrets = [], []
        for _, own in rows.groupby("repeat"):
            there = own[[holds[bits] for bits in own["circuit"]]]
            smallest = there.loc[there["n_edges"].idxmin()]
            edges.append(smallest["n_edges"])
            among = [errors[bits] for bits in certified_ones if bits.bit_count() <= smallest["n_edges"]]
            regrets.append(errors[int(smallest["circuit"])] - min(among))
        assert table.loc[method, "n_edges"] == pytest.approx(np.mean(edges))
        assert table.loc[method, "regret_certified"] == pytest.approx(np.mean(regrets), abs=1e-6)
        assert table.loc[method, "n_draws_smaller"] == sum(n < space.n_edges for n in edges)
    assert f"With {ablation} ablation, at ε = 0.05, " in ended.record["answer"]


def test_without_the_option_there_is_no_table(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(*SMALL)
    assert not (ended.folder / "certified.csv").exists()
    assert "certified" not in ended.record["answer"]


def test_where_not_all_circuits_are_evaluated_only_the_methods_are_told() -> None:
    row = {"method": "greedy", "ablation": "zero", "epsilon": 0.1, "n_edges": 5.0, "n_certified": None}
    text = sentences([row, {**row, "method": "acdc", "n_edges": None}])
    assert text == " With zero ablation, at ε = 0.1: kept edges of methods' smallest certified circuits are greedy 5."


# --- the criterion ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_the_criterion_is_the_share_of_proved_examples(ablation: str) -> None:
    part = random_part((2, 2, 2, 1), seed=19)
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = all_circuits(part.sizes)
    bits = (kept * 2 ** np.arange(kept.shape[1])).sum(1).astype(np.uint64)
    own = part.to(x)
    values = criteria(own, x, bits, names=["certified", "agreement"], ablation=ablation, inputs="any").values
    means = own.means(x) if ablation == "mean" else None
    found = certify_circuits(own, bits, x, [EPSILON], means=means)
    assert values["certified"].tolist() == (found.n_proved[0] / 30).tolist()
    assert (values["certified"] <= values["agreement"]).all()
    assert 0 < values["certified"].min() < values["certified"].max() == 1


def test_the_criterion_on_resamples_weighs_its_examples() -> None:
    part = random_part((2, 2, 2, 1), seed=19)
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = all_circuits(part.sizes)
    bits = (kept * 2 ** np.arange(kept.shape[1])).sum(1).astype(np.uint64)
    scores = certified(Task(part.to(x), x, inputs="any"), bits)
    assert scores.resampled is not None
    rows = np.array([3, 7, 20])
    weights = np.stack([np.ones(12), np.eye(12)[4] * 12, np.eye(12)[9] * 12], axis=1)
    drawn = scores.resampled(rows, Weights(weights))
    status = certify_circuits(part.to(x), bits[rows], x, [EPSILON], lists_all=True).status
    assert status is not None
    np.testing.assert_allclose(drawn[:, 0], scores.values[rows])
    np.testing.assert_allclose(drawn[:, 1:], status[:, 0][:, [4, 9]] == 1)
