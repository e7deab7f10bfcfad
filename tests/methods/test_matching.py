"""Units of networks are matched by activations; edges and circuits are counted in matched names."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from mi_runner.config.experiments.circuits import CircuitTable
from mi_runner.errors import ConfigError
from mi_runner.experiments.circuits.comparison import compare_networks
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.edges import Edges, bits_of, rows_of
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.matching import (
    correlations,
    edges_by_name,
    match_layers,
    match_units,
    random_matching,
    random_recurrence,
    recurrence,
)
from mi_runner.sweeps.declared import declarations_of_sweep
from tests.circuit_runs import InMemory, networks, searched
from tests.conftest import Ended

SIZES = (3, 4, 3, 1)


def random_part() -> Part:
    generator = torch.Generator().manual_seed(0)
    layers = [
        Layer(torch.randn(n, m, generator=generator), torch.randn(n, generator=generator), "tanh")
        for m, n in itertools.pairwise(SIZES)
    ]
    return Part(tuple(layers))


def permuted(part: Part, orders: list[list[int]]) -> Part:
    """The same function with its hidden units in another order: new unit i is old unit orders[l][i]."""
    layers = []
    for layer, before, after in zip(part.layers, orders, orders[1:], strict=False):
        layers.append(replace(layer, weight=layer.weight[after][:, before], bias=layer.bias[after]))
    return replace(part, layers=tuple(layers))


def circuits(n: int, seed: int) -> np.ndarray:
    """The kept edges of n distinct well-formed circuits."""
    space, rng = CircuitSpace(SIZES), np.random.default_rng(seed)
    drawn = dict.fromkeys(int(bits) for bits in rng.integers(0, 2**space.n_edges, 5_000, dtype=np.uint64))
    formed = [bits for bits in drawn if space.is_well_formed(bits)][:n]
    assert len(formed) == n
    return space.edges.rows(np.array(formed, dtype=np.uint64))


ORDERS = [[0, 1, 2], [2, 0, 3, 1], [1, 2, 0], [0]]


def test_correlations_are_numpys_and_constant_units_have_none() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(50, 3), torch.randn(50, 2)
    first[:, 1] = 0.1
    found = correlations(first, second)
    with np.errstate(invalid="ignore"):
        reference = np.corrcoef(first.T.double(), second.T.double())[:3, 3:]
    np.testing.assert_allclose(found[[0, 2]], reference[[0, 2]], atol=1e-12)
    assert found[1].tolist() == [0, 0]
    with pytest.raises(ValueError, match="first has 50 examples and second 49"):
        correlations(first, second[1:])
    with pytest.raises(ValueError, match="the shapes must be equal"):
        match_units(first, second)


def test_matching_has_the_largest_sum_of_correlations_of_all_permutations() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(20, 5), torch.randn(20, 5)
    found = correlations(first, second)
    best = max(itertools.permutations(range(5)), key=lambda order: found[range(5), order].sum())
    assert match_units(first, second).tolist() == list(best)


def test_a_network_and_its_permuted_copy_are_matched_by_the_permutation_and_recur_always() -> None:
    torch.manual_seed(1)
    part, x = random_part(), torch.randn(200, SIZES[0])
    copy = permuted(part, ORDERS)
    assert torch.allclose(part(x), copy(x), atol=1e-5)
    layers = [(*network.activations(x), network(x)) for network in (part, copy)]
    matching = match_layers(layers[0][:-1], layers[1][:-1])
    matching = (*matching, np.arange(1))
    assert [names.tolist() for names in matching] == [np.argsort(order).tolist() for order in ORDERS]

    kept = circuits(4, seed=0)
    masks = Edges(SIZES).masks(kept)
    of_copy = rows_of(
        [mask[:, after][:, :, before] for mask, before, after in zip(masks, ORDERS, ORDERS[1:], strict=False)]
    )
    for one, two in zip(kept, of_copy, strict=True):  # the same circuit of the same function
        outputs = (outputs_of_circuits(network, own[None], x) for network, own in ((part, one), (copy, two)))
        assert torch.allclose(*outputs, atol=1e-5)
    own = tuple(np.arange(size) for size in SIZES)
    found = recurrence([kept, of_copy], [own, matching])
    assert found.n_networks == 2 and found.counts.tolist() == [2] * 4
    assert sorted(found.circuits.tolist()) == sorted(bits_of(kept).tolist())
    assert np.array_equal(found.edges, 2 * kept.any(0))
    assert recurrence([kept, of_copy], [own, own]).counts.max() == 1  # without the matching none recurs

    drawn = random_recurrence(
        [kept, of_copy],
        SIZES,
        [True, False, False, True],
        found.circuits,
        draws=300,
        generator=np.random.default_rng(0),
    )
    assert drawn.circuits.shape == (300, 4) and drawn.edges.shape == (300, 3 * 4 + 4 * 3 + 3)
    assert 1 <= drawn.circuits.mean() < 1.2 < found.counts.mean()


def test_counts_by_hand() -> None:
    sizes = (1, 2, 1)  # edges: 0→0, 0→1, then 0→0, 1→0
    upper, lower, both = [1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1]
    kept = [np.array([upper], dtype=bool), np.array([lower, both], dtype=bool), np.array([upper], dtype=bool)]
    own, swapped = (np.arange(1), np.arange(2), np.arange(1)), (np.arange(1), np.array([1, 0]), np.arange(1))
    assert edges_by_name(own).tolist() == [0, 1, 2, 3] and edges_by_name(swapped).tolist() == [1, 0, 3, 2]
    found = recurrence(kept, [own, swapped, own])
    assert found.edges.tolist() == [3, 1, 3, 1]
    assert dict(zip(found.circuits.tolist(), found.counts.tolist(), strict=True)) == {0b0101: 3, 0b1111: 1}
    assert found.count(np.array([0b0101, 0b1010, 0b1111], dtype=np.uint64)).tolist() == [3, 0, 1]
    # The second network has upper or lower, each with probability 1/2, and the third, too.
    drawn = random_recurrence(
        kept, sizes, [True, False, True], found.circuits, draws=4_000, generator=np.random.default_rng(1)
    )
    assert drawn.circuits.mean(0) == pytest.approx([2, 1], abs=0.05)
    assert drawn.edges.mean(0) == pytest.approx([1 + 1 + 0.5, 1 + 0.5, 1 + 1 + 0.5, 1 + 0.5], abs=0.05)
    assert drawn.largest.mean() == pytest.approx((3 + 2 + 2 + 2) / 4, abs=0.05)
    with pytest.raises(ValueError, match="without circuits"):
        recurrence([kept[0], kept[0][:0]], [own, own])


def test_random_matchings_are_permutations_and_leave_data_alone() -> None:
    generator = np.random.default_rng(0)
    for _ in range(5):
        inputs, hidden = random_matching([4, 6], [True, False], generator)
        assert inputs.tolist() == [0, 1, 2, 3] and sorted(hidden) == list(range(6))


# --- the comparison that a sweep ends with ---------------------------------------------------------------------------


def test_a_network_and_its_permuted_copy_have_the_same_circuits() -> None:
    one, copy, other = (searched(model) for model in networks())
    found = compare_networks([InMemory(one, 0), InMemory(copy, 1)])
    rows = pd.DataFrame(found.tables["circuits"])
    shared = rows[rows["kind"] != "edge"]
    assert set(shared["share"]) == {1.0} and set(rows["share"]) == {0.0, 1.0} and set(rows["n_networks"]) == {2}
    assert (shared["random_share"] < 0.9).all()
    intervals = rows[rows["kind"] == "edge"]
    assert (intervals["share_low"] <= intervals["share"]).all() and (intervals["share_high"] <= 1).all()
    assert shared[["share_low", "share_high"]].isna().to_numpy().all()  # each was chosen because a network has it
    table = one.tables["circuits"]
    sparsest = table[table["valid"] & (table["n_edges"] == table.loc[table["valid"], "n_edges"].min())]
    assert sorted(rows.loc[rows["kind"] == "circuit", "circuit"]) == sorted(sparsest["circuit"])
    edges = rows[rows["kind"] == "edge"]
    kept = Edges((3, 2, 2, 1)).rows(sparsest["circuit"].to_numpy()).any(0)
    assert (edges["share"] == kept).all() and edges["edges"].tolist()[:4] == ["0:0→0", "0:1→0", "0:2→0", "0:0→1"]
    matched = pd.DataFrame(found.tables["matching"])
    assert matched["matched_unit"].tolist() == [1, 2, 0, 1, 0, 1, 0]
    assert matched["correlation"].tolist() == pytest.approx([1] * 7)
    assert list(found.figures) == ["circuits_0"]

    # The other network has no valid circuit: it is left out of the counts, wherever it stands.
    assert other.metrics["n_valid"] == 0
    for runs in ([one, copy, other], [other, one, copy]):
        rows = pd.DataFrame(compare_networks([InMemory(run, seed) for seed, run in enumerate(runs)]).tables["circuits"])
        assert set(rows["n_networks"]) == {2} and rows["kind"].value_counts()["circuit"] >= len(sparsest)
    assert compare_networks([InMemory(one, 0), InMemory(other, 2)]).figures == {}


def test_networks_that_can_not_be_compared() -> None:
    one, copy, _ = networks()
    whole = InMemory(searched(one), 0)
    sample = searched(copy, table=CircuitTable["valid"], max_table_rows=3)
    found = compare_networks([whole, InMemory(sample, 1)])
    assert len(found.notes) == 1 and "job 7 lists 3 of its " in found.notes[0]
    assert "Type experiment.max_table_rows=" in found.notes[0] and list(found.tables) == ["shared"]
    with pytest.raises(ConfigError, match="job 7 has no circuits.parquet. Type experiment.table=auto"):
        compare_networks([InMemory(searched(copy, table=CircuitTable["none"]), 0), whole])
    elsewhere = searched(copy)
    elsewhere.tables["circuits"].attrs["test_examples"] = "others"
    with pytest.raises(ConfigError, match="the test examples differ from seed to seed"):
        compare_networks([whole, InMemory(elsewhere, 1)])


@pytest.mark.drawn
def test_a_sweep_over_the_seed_ends_with_the_comparison(mi_run: Callable[..., Ended]) -> None:
    options = ("dataset.limit=40", "training.epochs=1", "model.hidden_sizes=[3,2]", "experiment.last_layers=2")
    done = mi_run("-m", "experiment=circuits", *options, "experiment.accuracy_threshold=0.2,0.99", "seed=0,1")
    assert done.status == 0 and "not compared" not in done.err, done.err
    made = {name: pd.read_csv(done.folder / f"sweep_{name}.csv") for name in ("circuits", "matching")}
    assert (done.folder / "figures/sweep_circuits_0_0.png").exists()
    declared = declarations_of_sweep(["circuits"], ["experiment.accuracy_threshold", "seed"])
    assert [key for name, table in made.items() for key in table if not declared.column(f"sweep_{name}", key)] == [
        "experiment.accuracy_threshold"
    ] * 2
    assert all(declared.caption(f"sweep_{name}") for name in made) and declared.figure("sweep_circuits_0_1")
    for name in ("sweep", "sweep_summary"):
        own = pd.read_csv(done.folder / f"{name}.csv")
        assert [key for key in own if not declared.column(name, key)] == ["experiment.accuracy_threshold"]
    assert set(made["matching"]["experiment.accuracy_threshold"]) == {0.2, 0.99}
    assert set(made["matching"]["seed"]) == {1} and set(made["circuits"]["kind"]) == {"edge", "commonest", "circuit"}
    first = (done.folder / "sweep_circuits.csv").read_bytes()
    assert mi_run(f"sweep={done.folder}").status == 0 and (done.folder / "sweep_circuits.csv").read_bytes() == first


def test_a_sweep_says_why_its_networks_are_not_compared(mi_run: Callable[..., Ended]) -> None:
    options = ("dataset=ellipses", "dataset.train_size=20", "dataset.test_size=20", "training.epochs=1")
    small = ("model.hidden_sizes=[2]", "experiment.last_layers=1", "experiment.inputs=any", "report=false")
    done = mi_run("-m", "experiment=circuits", *options, *small, "seed=0,1")
    assert done.status == 0 and not (done.folder / "sweep_circuits.csv").exists()
    assert "the networks of jobs 0 to 1 are not compared: the test examples differ from seed to seed" in done.err
