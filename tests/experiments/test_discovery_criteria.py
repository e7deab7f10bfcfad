"""Criteria of the circuits that discovery's methods find, beside those of the library, loops, and hand-made rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import kendalltau

from mi_runner.experiments.discovery.criteria import NAMES, sentences
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.criteria.judge import criteria
from tests.conftest import Ended
from tests.masked_parts import by_definition

SMALL = ["experiment=discovery", "dataset=logic", "model.hidden_sizes=[2]", "model.activation=leaky_relu"]
SMALL += ["training.epochs=3", "experiment.bootstrap=0", "experiment.repeats=2", "experiment.ablation=mean"]
SMALL += ["experiment.last_layers=null", "experiment.accuracy_threshold=0.4", "experiment.methods=[random,greedy]"]


@pytest.fixture
def ended(mi_run: Callable[..., Ended]) -> Ended:
    """A small run with criteria."""
    found = mi_run(*SMALL, "experiment.criteria=true")
    assert found.status == 0, found.err
    return found


def part_of(ended: Ended) -> Part:
    """The whole network, in float64."""
    weights = {name: tensor.double() for name, tensor in load_file(ended.record["checkpoint"]["path"]).items()}
    names = sorted({name.rpartition(".")[0] for name in weights})
    pairs = [(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in names]
    return Part(tuple(Layer(*pair, "leaky_relu", 0.01) for pair in pairs))


INPUTS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)


def test_each_circuit_has_its_criteria_and_the_empty_one_none(ended: Ended) -> None:
    metrics, part = pd.read_csv(ended.folder / "metrics.csv"), part_of(ended)
    found = metrics[metrics["n_edges"] > 0]
    own = criteria(part, INPUTS, found["circuit"].to_numpy(np.uint64), ablation="mean", inputs="any").values
    for name in (name for name in NAMES if not name.startswith("noise") and name != "shift"):
        np.testing.assert_allclose(found[name], own[name], atol=1e-9)
    assert metrics.loc[metrics["n_edges"] == 0, list(NAMES)].isna().all(axis=None)
    assert (found.loc[found["n_edges"] == Edges(part.sizes).n, "sufficiency"].dropna() == 1).all()


def test_the_shift_is_a_thousand_points_between_and_beside_the_inputs(ended: Ended) -> None:
    """Other points of the same law give nearly the same share."""
    metrics, part = pd.read_csv(ended.folder / "metrics.csv"), part_of(ended)
    points = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 0.5
    edges, means = Edges(part.sizes), part.means(INPUTS)
    full = by_definition(part, [mask[0] for mask in edges.masks(edges.full)], points, "zero")[:, 0].round()
    for _, row in metrics[metrics["n_edges"] > 0].drop_duplicates("circuit").iterrows():
        kept = edges.rows(np.array([row["circuit"]], dtype=np.uint64))
        values = points
        for layer, mask, mean in zip(part.layers, edges.masks(kept), means, strict=True):
            weight = layer.weight * torch.from_numpy(mask[0])
            values = layer.activate(values @ weight.T + (layer.weight - weight) @ mean + layer.bias)
        share = float((values[:, 0].round() == full).double().mean())
        assert row["shift"] == pytest.approx(share, abs=0.06)  # three standard deviations of a share of 1,000


def test_the_smallest_valid_circuits_and_what_goes_with_the_regret(ended: Ended) -> None:
    metrics = pd.read_csv(ended.folder / "metrics.csv")
    of_smallest = pd.read_csv(ended.folder / "criteria.csv").set_index(["method", "criterion"])
    valid = metrics[metrics["valid"]]
    for method, rows in valid.groupby("method"):
        smallest = rows.loc[rows.groupby("repeat")["n_edges"].idxmin()]
        for name in ("agreement", "interchange", "parsimony"):
            assert of_smallest.loc[(method, name), "value"] == pytest.approx(smallest[name].mean())
            assert of_smallest.loc[(method, name), "n_passing"] == (smallest[name] >= 0.99).sum()
    by_regret = pd.read_csv(ended.folder / "criteria_by_regret.csv").set_index("criterion")
    different = valid[valid["n_edges"] < Edges(part_of(ended).sizes).n]
    different = different[different["k"] == different["n_edges"]].drop_duplicates("circuit")
    for name in ("noise_1", "interchange", "parsimony"):
        expected = kendalltau(different[name], -different["regret_mse"]).statistic
        tau = by_regret.loc[name, "tau"]
        assert by_regret.loc[name, "n_circuits"] == len(different)
        assert (math.isnan(tau) and math.isnan(expected)) or tau == pytest.approx(expected)


def test_without_the_option_nothing_of_it_is_there(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(*SMALL)
    assert ended.status == 0, ended.err
    assert not set(NAMES) & set(pd.read_csv(ended.folder / "metrics.csv").columns)
    assert not (ended.folder / "criteria.csv").exists() and "criterion" not in ended.record["answer"]


def test_too_many_edges_are_refused_with_what_to_type(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(*SMALL, "experiment.criteria=true", "model.hidden_sizes=[30]")
    assert ended.status == 2
    assert "90 edges, more than 64. Type experiment.criteria=false" in ended.err


def row(method: str, criterion: str, n_passing: int | None, n_draws: int = 1) -> dict[str, object]:
    value = {"value": 0.5, "n_passing": n_passing, "n_draws_valid": n_draws}
    return {"method": method, "ablation": "zero", "output": 0, "criterion": criterion, **value}


def rows_of(method: str, failing: tuple[str, ...] = (), n_draws: int = 1) -> list[dict[str, object]]:
    of = ("agreement", *NAMES)
    return [row(method, name, 0 if name in failing else n_draws, n_draws) for name in of]


def test_the_answer_names_who_passes_all_and_what_the_fewest_pass() -> None:
    assert sentences([]) == ""
    assert sentences([row("eap", "shift", None, 0)]) == ""
    assert sentences([*rows_of("acdc"), *rows_of("eap", ("parsimony",))]) == (
        " With zero ablation the smallest valid circuits of all 2 methods that find one pass every criterion at 0.99."
    )
    assert sentences([*rows_of("acdc"), *rows_of("eap", ("shift", "rank")), *rows_of("greedy", ("shift",))]) == (
        " With zero ablation the smallest valid circuits of acdc pass every criterion at 0.99; those of 1 of 3 pass "
        "shift."
    )
    assert sentences([*rows_of("acdc", ("noise_1",)), *rows_of("eap", ("noise_1", "rank"))]) == (
        " With zero ablation the smallest valid circuits of none of 2 methods pass every criterion at 0.99; those of "
        "none of 2 pass noise_1."
    )
