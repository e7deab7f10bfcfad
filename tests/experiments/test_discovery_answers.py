"""Which methods discovery's answer names: against paired tests by scipy on circuits that are run one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import permutation_test

from mi_runner.experiments import SavedRun
from mi_runner.experiments.discovery.comparison import compare_networks
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.edges import Edges
from tests.conftest import Ended
from tests.masked_parts import by_definition

SMALL = ["experiment=discovery", "model.hidden_sizes=[2]", "model.activation=leaky_relu", "training.epochs=3"]
SMALL += ["experiment.bootstrap=0", "experiment.repeats=2", "experiment.ablation=mean", "training.batch_size=4"]
SMALL += ["experiment.last_layers=null"]


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """Twelve test examples of two features, whose target is a value."""
    draw = np.random.default_rng(0)
    arrays = {
        f"{name}_{split}": draw.random((12, 2) if name == "x" else 12) for name in "xy" for split in ("train", "test")
    }
    np.savez(tmp_path / "data.npz", **{name: array.astype(np.float32) for name, array in arrays.items()})
    return ["dataset=arrays", f"dataset.path={tmp_path}/data.npz", "dataset.target=value"]


def distances(folder: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    """Method → the mean squared difference of each example over sizes and draws, an edge at a time."""
    weights = {name: tensor.double() for name, tensor in load_file(folder / "model.safetensors").items()}
    names = sorted({name.rpartition(".")[0] for name in weights})
    layers = [(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in names]
    activations = ["leaky_relu", "identity"]
    part = Part(tuple(Layer(*own, name, 0.01) for own, name in zip(layers, activations, strict=True)))
    edges, inputs = Edges(part.sizes), torch.from_numpy(x).double()
    full = by_definition(part, [mask[0] for mask in edges.masks(edges.full)], inputs, "mean")
    metrics = pd.read_csv(folder / "metrics.csv")

    def of_circuit(bits: int) -> np.ndarray:
        row = np.array([[bits >> place & 1 for place in range(edges.n)]], dtype=bool)
        outputs = by_definition(part, [mask[0] for mask in edges.masks(row)], inputs, "mean")
        return (outputs - full).square().mean(1).numpy()

    return {
        method: np.mean([of_circuit(int(bits)) for bits in rows["circuit"]], axis=0)
        for method, rows in metrics.groupby("method", sort=False)
    }


def test_two_methods_have_the_p_value_of_a_paired_permutation_test(
    mi_run: Callable[..., Ended], data: list[str]
) -> None:
    ended = mi_run(*SMALL, *data, "experiment.methods=[random,greedy]")
    assert ended.status == 0, ended.err
    by_example = distances(ended.folder, np.load(data[1].partition("=")[2])["x_test"])
    summary = pd.read_csv(ended.folder / "summary.csv").set_index("method")
    for method, own in by_example.items():
        assert summary.loc[method, "mse"] == pytest.approx(own.mean(), rel=1e-5)
    expected = permutation_test(
        (by_example["random"] - by_example["greedy"],),
        lambda differences, axis: np.abs(differences.mean(axis)),
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="greater",
        vectorized=True,
    )
    assert summary.loc["random", "p_lowest"] == pytest.approx(expected.pvalue, abs=1e-9)
    assert summary.loc["greedy", "p_lowest"] == summary.loc["random", "p_highest"] == 1
    tie = expected.pvalue >= 0.05
    assert summary["lowest"].tolist() == [tie, True] and summary["highest"].tolist() == [True, tie]
    assert "The test is paired over 12 examples at 5 %" in ended.record["answer"]


def test_where_a_method_found_nothing_it_is_averaged_with_the_empty_circuit(
    mi_run: Callable[..., Ended], data: list[str], tmp_path: Path
) -> None:
    sizes = Edges((2, 2, 1)).n + 1
    ended = mi_run(*SMALL, *data, "experiment.methods=[greedy,random]")
    metrics = pd.read_csv(ended.folder / "metrics.csv")
    for name in ("percentile", "regret_mse"):
        counts = metrics.dropna(subset=name).groupby(["method", "repeat"])["k"].apply(frozenset)
        assert len(set(counts)) == 1, "each method has the measure at the same sizes"
    empty = metrics[metrics["k"] == 0]["mse"]
    assert empty.nunique() == 1
    none_found = metrics[metrics["n_edges"] == 0]
    assert len(none_found) and np.allclose(none_found["mse"], empty.iloc[0])
    summary = pd.read_csv(ended.folder / "summary.csv").set_index("method")
    assert (summary["n_sizes"] == sizes).all() and summary["n_sizes_percentile"].nunique() == 1


def test_all_boolean_inputs_are_no_sample(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(*SMALL, "dataset=logic", "experiment.methods=[random,magnitude,greedy]")
    summary = pd.read_csv(ended.folder / "summary.csv")
    assert summary["p_lowest"].isna().all() and summary["p_highest"].isna().all()
    assert "all inputs there are, so no example is sampled, only draws of random" in ended.record["answer"]
    metrics = pd.read_csv(ended.folder / "metrics.csv")
    draws = metrics.groupby(["method", "repeat"])["mse"].mean()
    lowest = summary.set_index("method")["mse"].idxmin()
    tied = [
        method
        for method in summary["method"]
        if draws[method].min() <= draws[lowest].max() * (1 + 1e-9) and draws[lowest].min() <= draws[method].max()
    ]
    assert summary[summary["lowest"]]["method"].tolist() == tied


class Saved(SavedRun):
    """A run of a seed with a table of its methods."""

    def __init__(self, seed: int, mse: dict[str, float], regret: float | None = 0.1) -> None:
        self._seed, self._mse, self._regret = seed, mse, regret

    @property
    def name(self) -> str:
        return f"job {self._seed}"

    @property
    def seed(self) -> int:
        return self._seed

    def table(self, name: str, columns: Any = None) -> pd.DataFrame:
        rows = [
            {"method": method, "ablation": "zero", "output": 0, "mse": mse, "percentile": mse / 10,
             "regret_mse": None if self._regret is None else mse - self._regret}
            for method, mse in self._mse.items()
        ]  # fmt: skip
        return pd.DataFrame(rows)[columns]

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        return {}


def of_networks(n: int, regret: float | None = 0.1) -> list[SavedRun]:
    """a is always below b and c, which change places."""
    return [
        Saved(seed, {"b": 2 + seed % 2 + 0.1 * seed, "a": 1 + 0.1 * seed, "c": 3 - seed % 2 + 0.1 * seed}, regret)
        for seed in range(n)
    ]


def test_over_networks_the_lowest_is_named_if_the_test_tells_it_apart() -> None:
    found = compare_networks(of_networks(8))
    rows = {row["method"]: row for row in found.tables["methods"]}
    assert {name: (row["lowest"], row["highest"]) for name, row in rows.items()} == {
        "a": (True, False), "b": (False, True), "c": (False, True),
    }  # fmt: skip
    # As large as Σd/√Σd² = 12/√20 of b − a: all signs alike, and alternating signs, by which b − c has √8.
    assert rows["b"]["p_lowest"] == 4 / 2**8 and rows["a"]["n_networks"] == 8
    assert found.answer == (
        "With zero ablation the lowest mean regret is 1.25, that of a. The highest is 2.75, that of b and c. The "
        "test is paired over 8 networks, corrected for all pairs, at 5 %: what it doesn't tell apart ties."
    )


def test_of_few_networks_none_is_named_the_best() -> None:
    found = compare_networks(of_networks(4))
    assert "no two of 3 methods are told apart by their mean regret, from 1.05 (a) to 2.55" in found.answer
    assert (
        "over 4 networks, corrected for all pairs, at 5 %: what it doesn't tell apart ties; fewer than 6"
        in found.answer
    )


def test_where_a_network_has_no_best_circuits_the_sentence_is_about_the_mse() -> None:
    found = compare_networks(of_networks(8, regret=None))
    assert "the lowest mean mse to the full network is 1.35, that of a" in found.answer
    assert all(row["regret_mse"] is None for row in found.tables["methods"])
