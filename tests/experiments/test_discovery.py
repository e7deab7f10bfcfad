"""Discovery: methods, optimum and curves against autograd, edited weights, brute force and networks worked by hand."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mi_runner.experiments.discovery import experiment as discovery
from mi_runner.graph.chain import Layer, Part, find_part
from mi_runner.graph.interventions import Intervention, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.circuits.edges import Edges, bits_of, distinct
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.search import search_circuits
from mi_runner.methods.discovery import curves, scores, stability
from mi_runner.methods.discovery.edge_pruning import edge_pruning
from mi_runner.methods.discovery.find import Resampled, Task, find
from mi_runner.methods.discovery.masked import MaskedPart
from mi_runner.methods.discovery.optimum import EveryCircuit, SampledCircuits
from mi_runner.methods.discovery.rankings import carried_forward, ranked_circuits
from mi_runner.methods.discovery.records import METHODS, Method
from mi_runner.methods.discovery.sampling import CircuitSampler
from mi_runner.methods.discovery.search import acdc, greedy
from mi_runner.tables.intervals import clopper_pearson
from tests.conftest import Ended
from tests.masked_parts import ABLATIONS, all_circuits, by_definition, examples, random_part

# --- circuits of a part ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize(
    ("sizes", "activation"),
    [((3, 2, 2, 1), "leaky_relu"), ((2, 3, 2), "tanh"), ((2, 2, 2, 2, 1), "sigmoid"), ((3, 1), "identity")],
)
def test_outputs_and_distances_are_those_of_the_definition(
    sizes: tuple[int, ...], activation: str, ablation: str
) -> None:
    part = random_part(sizes, activation)
    x, _ = examples(part)
    target = torch.zeros(len(x), sizes[-1], dtype=torch.float64)
    masked = MaskedPart(part, x, target, ablation)
    circuits = np.concatenate([masked.edges.empty, all_circuits(sizes)[:: max(1, 2 ** (masked.edges.n - 7))]])
    outputs = masked.outputs(circuits)
    expected = torch.stack(
        [by_definition(part, [mask[0] for mask in masked.edges.masks(row[None])], x, ablation) for row in circuits]
    )
    assert torch.allclose(outputs, expected, atol=1e-12)
    distances = (expected - masked.full).square().mean((1, 2)).numpy()
    assert np.allclose(masked.objective(circuits), distances, atol=1e-12)  # the kernel
    twice = np.concatenate([circuits, circuits[:2]])  # a circuit that occurs twice counts twice
    by_example = (expected[[*range(len(circuits)), 0, 1]] - masked.full).square().mean((0, 2)).numpy()
    assert np.allclose(masked.distance_by_example(twice), by_example, atol=1e-12)
    assert np.allclose(masked.measures(circuits).mse, distances, atol=1e-12)  # tensors
    assert np.allclose(masked.objective(circuits, "loss"), expected.square().mean((1, 2)).numpy(), atol=1e-12)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_the_full_circuit_is_the_full_network_bit_for_bit(ablation: str) -> None:
    part = random_part((3, 3, 3, 1))
    x, y = examples(part)
    full = part(x.float())
    masked = MaskedPart(part, x, y, ablation, full=full)
    assert torch.equal(masked.outputs(masked.edges.full)[0], full.double())
    measures = masked.measures(masked.edges.full)
    assert measures.mse[0] == 0 == masked.objective(masked.edges.full)[0]
    assert measures.n_agreeing[0] == len(x) and measures.n_correct[0] == int((full[:, 0].round() == y).sum())


def test_mean_ablation_of_a_neuron_is_an_intervention_on_the_whole_network() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)).double().eval()
    x = torch.randn(30, 5, dtype=torch.float64)
    graph = ModelGraph.trace(model, x[:2])
    part = find_part(graph, 2)
    entering = model[:2](x)
    masked = MaskedPart(part, entering, torch.zeros(30, dtype=torch.float64), "mean")
    hidden = model[:4](x)
    for neuron in range(3):
        unit = torch.arange(3) == neuron
        intervened = run_with(graph, x, [Intervention("3", hidden.mean(0), unit)])
        first = np.ones((1, 3, 3), dtype=bool)
        first[:, neuron] = False
        last = ~unit.numpy()[None, None]
        circuit = np.concatenate([first.reshape(1, -1), last.reshape(1, -1)], axis=1)
        assert np.array_equal(masked.edges.closed(circuit), circuit)
        assert torch.allclose(masked.outputs(circuit)[0], intervened, atol=1e-12)


def test_resamples_have_their_own_means_and_weights() -> None:
    part = random_part((3, 2, 2, 1))
    x, y = examples(part, n=25)
    rows = stability.resamples(25, 4, torch.Generator().manual_seed(3))
    circuits = all_circuits(part.sizes)[::17]
    for ablation, objective in itertools.product(ABLATIONS, ("distance", "loss")):
        masked = MaskedPart(part, x, y, ablation, counts=stability.counts_of(rows))
        for index, row in enumerate(rows):
            alone = MaskedPart(part, x[row], y[row], ablation)
            given = np.full(len(circuits), index)
            assert np.allclose(masked.objective(circuits, objective, given), alone.objective(circuits, objective))


def test_distinct_rows_are_found_with_more_than_64_edges() -> None:
    draw = np.random.default_rng(0)
    rows = draw.random((30, 70)) < 0.5
    many = rows[draw.integers(30, size=100)]
    first, index = distinct(many)
    assert np.array_equal(many[first][index], many) and len(first) == len({row.tobytes() for row in many})


# --- methods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("classes", [False, True])
def test_eap_is_the_gradient_by_explicit_masks(ablation: str, classes: bool) -> None:
    part = random_part((3, 3, 2, 3), "tanh")
    x, _ = examples(part)
    draw = torch.Generator().manual_seed(2)
    y = torch.randint(3, (len(x),), generator=draw) if classes else torch.randn(len(x), 3, generator=draw).double()
    weights = [layer.weight.double() for layer in part.layers]
    clean = [x]
    for layer, weight in zip(part.layers, weights, strict=True):
        clean.append(torch.tanh(clean[-1] @ weight.T + layer.bias.double()))
    means = [value.mean(0) if ablation == "mean" else torch.zeros_like(value[0]) for value in clean[:-1]]

    def gradients(x: torch.Tensor) -> list[torch.Tensor]:
        """Of the loss by a mask for each example and edge; 1 carries the source's value, 0 the ablated one."""
        masks = [torch.ones(len(x), *weight.shape, dtype=torch.float64, requires_grad=True) for weight in weights]
        value = x
        for layer, weight, mask, fixed, own in zip(part.layers, weights, masks, means, clean[:-1], strict=True):
            # The derivative by the mask takes the clean value, wherever the rest of the network is evaluated.
            carried = weight * value[:, None, :] + (mask - 1) * weight * (own[:, None, :] - fixed)
            value = torch.tanh(carried.sum(2) + layer.bias.double())
        loss = nn.functional.cross_entropy(value, y) if classes else (value - y).square().mean()
        return [-gradient.sum(0) for gradient in torch.autograd.grad(loss, masks)]

    expected = gradients(x)
    for found, wanted in zip(scores.eap(part, x, y, ablation, signed=True), expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-12)
    for found, wanted in zip(scores.eap(part, x, y, ablation), expected, strict=True):
        assert torch.allclose(found, wanted.abs(), atol=1e-12)
    steps = [gradients(means[0] + k / 10 * (x - means[0])) for k in range(1, 11)]
    for layer, found in enumerate(scores.eap_ig(part, x, y, ablation)):
        assert torch.allclose(found, torch.stack([step[layer] for step in steps]).mean(0).abs(), atol=1e-12)


def test_the_activation_score_by_hand() -> None:
    """The mean of absolute values: those of a source that is as often below as above 0 don't cancel."""
    part = Part(
        (
            Layer(torch.tensor([[2.0, -1.0], [1.0, 3.0]]), torch.zeros(2)),
            Layer(torch.tensor([[-1.0, 2.0]]), torch.zeros(1)),
        )
    )
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [3.0, 2.0], [-3.0, -2.0]], dtype=torch.float64)
    first, second = scores.activation(part, x, torch.zeros(4), "zero")
    # Mean |x| = (2, 1). Hidden values (2, 1), (−2, −1), (4, 9), (−4, −9): mean |·| = (3, 5).
    assert first.tolist() == [[4.0, 1.0], [2.0, 3.0]] and second.tolist() == [[3.0, 10.0]]


def test_edge_patching_and_greedy_are_runs_of_edited_networks() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(), nn.Linear(2, 2), nn.LeakyReLU(), nn.Linear(2, 1)).double()
    x = torch.randn(30, 2, dtype=torch.float64)
    part = find_part(ModelGraph.trace(model.eval(), x[:2]), None)
    y = torch.zeros(30, dtype=torch.float64)
    edges, full = Edges(part.sizes), model(x)

    def edited(circuit: np.ndarray) -> float:
        """The loss of the whole network with weights at zero; inactive neurons have no edges out."""
        with torch.no_grad():
            kept = [linear.weight.clone() for linear in model[::2]]
            for linear, mask in zip(model[::2], edges.masks(edges.closed(circuit[None])), strict=True):
                linear.weight *= torch.from_numpy(mask[0])
            loss = (model(x) - full).square().mean().item()
            for linear, weight in zip(model[::2], kept, strict=True):
                linear.weight.copy_(weight)
        return loss

    without = np.repeat(edges.full, edges.n, axis=0) & ~np.eye(edges.n, dtype=bool)
    patched = edges.flat(scores.edge_patching(part, x, y, "zero"))
    assert np.allclose(patched, [edited(circuit) for circuit in without], atol=1e-14)

    circuit, path = edges.full[0], [edges.full[0]]
    while circuit.any():
        candidates = []
        for edge in np.flatnonzero(circuit):
            candidate = circuit.copy()
            candidate[edge] = False
            candidates.append(edges.closed(candidate[None])[0])
        circuit = candidates[int(np.argmin([edited(candidate) for candidate in candidates]))]
        path.append(circuit)
    found = greedy(MaskedPart(part, x, y, "zero"))
    assert np.array_equal(found.circuits[0], np.array(path))
    assert found.n_forward[0] == 1 + sum(int(circuit.sum()) for circuit in path)


def test_acdc_on_a_network_by_hand() -> None:
    """Output 3a + 1b of a = x, b = 2x with x = ±1, no biases: L without an edge is the square of what it carried."""
    layers = (
        Layer(torch.tensor([[1.0], [2.0]]), torch.zeros(2)),
        Layer(torch.tensor([[3.0, 1.0]]), torch.zeros(1)),
    )
    x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    masked = MaskedPart(Part(layers), x, torch.zeros(2, dtype=torch.float64), "zero")
    # The full output is 5x, so L(∅) = 25. The output's edges come first: a (L = 9), then b (L = 4).
    # τ 0.1: neither. τ 0.2 (5): a stays, b goes and takes its first edge; leaving out more would empty the circuit.
    # τ 0.4 (10): a goes; b would empty the circuit. τ 1: the same.
    found = acdc(masked, thresholds=np.array([0.1, 0.2, 0.4, 1.0]))
    assert found.circuits[0].astype(int).tolist() == [[1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1], [0, 1, 0, 1]]
    # L(full) once, and each edge that is tried: 4, 2 and no more than would empty it, 1, 1
    assert found.n_forward.tolist() == [4 * 1 + 4 + 2 + 1 + 1]


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_acdc_is_one_edge_after_the_other(ablation: str) -> None:
    part = random_part((2, 3, 2, 1))
    x, y = examples(part)
    masked = MaskedPart(part, x, y, ablation)
    edges = masked.edges
    order = [e for layer in (2, 1, 0) for e in range(edges.offsets[layer], edges.offsets[layer + 1])]
    taus = np.logspace(-4, 0, 6)
    expected = []
    for tau in taus:
        circuit, loss = edges.full[0], 0.0
        for edge in order:
            if circuit[edge]:
                candidate = circuit.copy()
                candidate[edge] = False
                candidate = edges.closed(candidate[None])[0]
                new = masked.measures(candidate[None]).mse[0]
                if candidate.any() and new - loss < tau * masked.measures(edges.empty).mse[0]:
                    circuit, loss = candidate, new
        expected.append(circuit)
    assert np.array_equal(acdc(masked, thresholds=taus).circuits[0], np.array(expected))


def planted() -> tuple[Part, torch.Tensor, torch.Tensor, np.ndarray]:
    """The first hidden neuron alone computes the target; the others have large weights that reach no output."""
    first = torch.tensor([[2.0, 0.0, 0.0], [0.0, 5.0, 4.0], [0.0, 6.0, 5.0]])
    second = torch.tensor([[1.0, 0.0, 0.0], [0.0, 5.0, 5.0], [0.0, 4.0, 6.0]])
    last = torch.tensor([[0.5, 0.0, 0.0]])
    part = Part(tuple(Layer(weight, torch.zeros(len(weight)), "relu") for weight in (first, second, last)))
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(50, 3, generator=draw, dtype=torch.float64).round()
    return part, x, x[:, 0] + 0.25, np.isin(np.arange(21), [0, 9, 18])


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", ["edge_patching", "eap", "eap_ig"])
def test_a_planted_circuit_is_ranked_first(name: str, ablation: str) -> None:
    part, x, y, truth = planted()
    found = find(name, Task(part, x, y, ablation), np.arange(22))
    assert set(np.argsort(-found.scores)[:3]) == set(np.flatnonzero(truth))
    assert np.array_equal(found.circuits[3], truth)
    magnitude = find("magnitude", Task(part, x, y, ablation), np.arange(22))
    assert not set(np.argsort(-magnitude.scores)[:3]) & set(np.flatnonzero(truth))  # the distractors' are larger


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_a_planted_circuit_is_what_searches_keep(ablation: str) -> None:
    part, x, y, truth = planted()
    masked = MaskedPart(part, x, y, ablation)
    assert np.array_equal(acdc(masked).circuits[0][0], truth)
    assert any(np.array_equal(circuit, truth) for circuit in greedy(masked).circuits[0])
    draw = torch.Generator().manual_seed(0)
    pruned = edge_pruning(part, x, y, ablation, generator=draw, steps=300)
    assert any(np.array_equal(circuit, truth) for circuit in pruned)


@pytest.mark.parametrize("name", ["magnitude", "activation", "edge_patching", "eap", "eap_ig", "acdc", "greedy"])
def test_resampled_methods_are_those_on_the_rows_themselves(name: str) -> None:
    part = random_part((3, 2, 2, 1), seed=4)
    x, y = examples(part)
    rows = stability.resamples(len(x), 3, torch.Generator().manual_seed(5))
    sizes = np.arange(Edges(part.sizes).n + 1)
    for ablation in ABLATIONS:
        together = Resampled(Task(part, x, y, ablation), rows, stability.counts_of(rows)).find(name, sizes)
        for index, row in enumerate(rows):
            alone = find(name, Task(part, x[row], y[row], ablation), sizes)
            assert np.array_equal(together[index], alone.circuits)


def test_every_method_has_closed_circuits_that_fit_each_size() -> None:
    part = random_part((2, 2, 2, 1))
    x, y = examples(part)
    sizes = np.arange(11)
    assert {method.name for method in METHODS} > {"random", "eap_signed", "edge_pruning"}
    for name in METHODS:
        found = find(name, Task(part, x, y, "mean"), sizes, generator=torch.Generator().manual_seed(0))
        assert (found.circuits.sum(1) <= sizes).all() and (np.diff(found.circuits.sum(1)) >= 0).all()
        assert np.array_equal(Edges(part.sizes).closed(found.circuits), found.circuits)


# --- sizes, curves, stability ----------------------------------------------------------------------------------------


def test_a_ranking_stands_with_its_largest_circuit_that_fits() -> None:
    edges = Edges((2, 3, 2, 1))
    values = np.random.default_rng(0).random((4, edges.n))
    sizes = np.arange(edges.n + 1)
    found = ranked_circuits(edges, values, sizes)
    for row, circuits in zip(values, found, strict=True):
        order = np.argsort(-row, kind="stable")
        every = [edges.closed(np.isin(np.arange(edges.n), order[:j])[None])[0] for j in range(edges.n + 1)]
        expected = carried_forward(np.array(every), np.zeros(len(every)), sizes)
        assert np.array_equal(circuits, expected)
        for k, circuit in zip(sizes, circuits, strict=True):
            assert circuit.sum() == max(each.sum() for each in every if each.sum() <= k)


def test_circuits_are_carried_forward_and_the_lowest_of_a_size_counts() -> None:
    circuits = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]], dtype=bool)
    found = carried_forward(circuits, np.array([0.5, 0.2, 0.0]), np.arange(5))
    assert found.astype(int).tolist() == [[0] * 4, [0] * 4, [0, 0, 1, 1], [0, 0, 1, 1], [1] * 4]


def test_areas_by_hand() -> None:
    f = curves.recovered(np.array([0.5, 0.5, 0.9, 1.0]), empty=0.5, full=1.0)
    assert np.allclose(f, [0, 0, 0.8, 1])
    sizes = np.arange(4)
    assert curves.cpr(f, sizes) == pytest.approx((0 + 0.4 + 0.9) / 3)
    assert curves.cmd(f, sizes) == pytest.approx(1 - curves.cpr(f, sizes))
    assert curves.cmd(np.array([0, 2.0, 1.0]), np.arange(3)) == pytest.approx((1 + 0.5) / 2)
    assert np.isnan(curves.recovered(np.ones(2), 1.0, 1.0)).all()


def test_stability_by_hand() -> None:
    circuits = np.array([[[1, 1, 0], [0, 0, 0]], [[1, 0, 1], [0, 0, 0]], [[1, 1, 0], [0, 0, 0]]], dtype=bool)
    found = stability.stability(circuits)
    assert found.jaccard[0] == pytest.approx((1 / 3 + 1 + 1 / 3) / 3) and np.isnan(found.jaccard[1])
    assert found.n_always.tolist() == [1, 0] and found.n_ever.tolist() == [3, 0] and found.n_edges.tolist() == [2, 0]
    with pytest.raises(ValueError, match="at least two"):
        stability.stability(circuits[:1])


# --- optimum and percentiles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_the_optimum_and_percentiles_by_brute_force(ablation: str) -> None:
    part = random_part((2, 2, 2, 1), seed=7)
    x, y = examples(part)
    full = part(x.float())[:, 0]
    searched = search_circuits(
        part, CircuitExamples(x.float(), y.float(), full), accuracy_threshold=0.5, ablation=ablation, inputs="any"
    )
    every = EveryCircuit(searched.space, searched.listed)
    masked = MaskedPart(part, x, y, ablation, full=full[:, None])
    circuits = all_circuits(part.sizes)
    assert np.array_equal(np.sort(bits_of(circuits)), every.measures.circuit)
    measures = masked.measures(circuits)
    empty = masked.measures(masked.edges.empty)
    best = every.best(masked, circuits[:5])
    n_edges = circuits.sum(1)
    for k in range(masked.edges.n + 1):
        fit = n_edges <= k
        assert best.mse[k] == min([empty.mse[0], *measures.mse[fit]])
        assert best.accuracy[k] == max([empty.n_correct[0], *measures.n_correct[fit]]) / len(x)
        assert best.by_mse[k].sum() <= k and best.by_accuracy[k].sum() <= k
    assert best.mse[-1] == 0
    expected = []
    for own, n in zip(measures.mse, n_edges, strict=True):
        others = np.delete(measures.mse[n_edges == n], np.flatnonzero(measures.mse[n_edges == n] == own)[0])
        expected.append(((others < own).sum() + (others == own).sum() / 2) / len(others) if len(others) else np.nan)
    assert np.allclose(every.percentiles(circuits), expected, atol=1e-9, equal_nan=True)
    means = [np.mean([p for p, n in zip(expected, n_edges, strict=True) if n == size]) for size in range(3, 10)]
    assert np.allclose(means, 0.5)
    assert np.isnan(every.percentiles(masked.edges.empty)[0])


@pytest.mark.parametrize("sizes", [(2, 3, 2, 1), (2, 2, 3), (2, 2, 2, 2, 1)])
def test_circuits_of_a_size_are_drawn_uniformly(sizes: tuple[int, ...]) -> None:
    circuits = all_circuits(sizes)
    sampler = CircuitSampler(sizes, torch.Generator().manual_seed(0))
    for k in (len(sizes) - 1, len(sizes) + 1, Edges(sizes).n - 1):
        family = {row.tobytes() for row in circuits[circuits.sum(1) == k]}
        drawn = Counter(row.tobytes() for row in sampler.draw(k, 30 * len(family)))
        assert set(drawn) <= family
        squares = sum((drawn[row] - 30) ** 2 / 30 for row in family)
        freedom = len(family) - 1
        assert squares < freedom + 5 * np.sqrt(2 * freedom) + 1e-9


def test_a_large_chain_has_circuits_of_every_size() -> None:
    sampler = CircuitSampler((30, 20, 12, 4), torch.Generator().manual_seed(0))
    for k in (3, 17, 100, 700, sampler.edges.n):
        drawn = sampler.draw(k, 5)
        assert (drawn.sum(1) == k).all() and np.array_equal(sampler.edges.closed(drawn), drawn)
    with pytest.raises(ValueError, match="k=0"):
        sampler.draw(0, 1)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_sampled_percentiles_have_the_exact_ones_in_their_intervals(ablation: str) -> None:
    part = random_part((2, 3, 2, 1), seed=9)
    x, y = examples(part)
    masked = MaskedPart(part, x, y, ablation)
    circuits = all_circuits(part.sizes)
    mse, n_edges = masked.objective(circuits), circuits.sum(1)
    sampled = SampledCircuits(masked, CircuitSampler(part.sizes, torch.Generator().manual_seed(1)).draw, 400)
    some = np.random.default_rng(0).choice(len(circuits), 60, replace=False)
    found, low, high = sampled.percentiles(circuits[some], mse[some])
    inside = 0
    for place, row in enumerate(some.tolist()):
        same = n_edges == n_edges[row]
        exact = ((mse[same] < mse[row]).sum() + ((mse[same] == mse[row]).sum() - 1) / 2) / (same.sum() - 1)
        inside += low[place] - 1e-9 <= exact <= high[place] + 1e-9
        assert low[place] <= found[place] <= high[place]
    assert inside >= 48  # of 60 intervals of 95 %; circuits of a size share a sample


def test_clopper_pearson_by_the_binomial_distribution() -> None:
    from scipy.stats import binom

    low, high = clopper_pearson(3, 20)
    assert binom.sf(2, 20, low) == pytest.approx(0.025) and binom.cdf(3, 20, high) == pytest.approx(0.025)
    assert clopper_pearson(0, 5)[0] == 0 and clopper_pearson(5, 5)[1] == 1


def test_a_circuit_that_is_alone_of_its_size_is_at_one_half_whichever_methods_there_are(
    mi_run: Callable[..., Ended],
) -> None:
    n_alone = []
    for methods, n_rows in (("[magnitude]", 14), ("[magnitude,random]", 14 + 5 * 14)):
        ended = mi_run(
            *("experiment=discovery", "dataset=logic", "model=planted", "dataset.functions=['01010111']"),
            *("model.formula='(A & B) | C'", "experiment.last_layers=null", "experiment.bootstrap=0"),
            f"experiment.methods={methods}",
        )
        metrics, sizes, summary = (
            pd.read_csv(ended.folder / f"{name}.csv") for name in ("metrics", "sizes", "summary")
        )
        alone = set(sizes.loc[sizes["n_circuits"] == 1, "n_edges"]) - {6}
        own = metrics[metrics["n_edges"].isin(alone) & metrics["k"].between(3, 5)]
        n_alone.append(len(own))
        assert len(metrics) == n_rows and (own["percentile"] == 0.5).all()
        assert (metrics["percentile"].notna() == metrics["k"].between(3, 5)).all()  # from one path to all edges but one
        assert set(summary["n_sizes_percentile"]) == {3}
    assert n_alone[0] == 0 < n_alone[1]


def test_random_circuits_have_a_mean_percentile_of_one_half() -> None:
    """The k highest of a random ranking that lose nothing by closing are uniform among circuits of k edges."""
    part = random_part((2, 3, 2, 1), seed=2)
    x, y = examples(part)
    masked = MaskedPart(part, x, y, "zero")
    circuits = all_circuits(part.sizes)
    mse, n_edges = masked.objective(circuits), circuits.sum(1)
    draw = torch.Generator().manual_seed(0)
    means = []
    for _ in range(150):
        flat = masked.edges.flat(scores.random(part, x, y, "zero", generator=draw))
        ranks = np.argsort(np.argsort(-flat))
        highest = ranks[None, :] < np.arange(5, masked.edges.n)[:, None]
        own = highest[(masked.edges.closed(highest) == highest).all(1)]
        percentiles = []
        for circuit, value in zip(own, masked.objective(own) if len(own) else (), strict=True):
            others = mse[n_edges == circuit.sum()]
            percentiles.append(((others < value).sum() + ((others == value).sum() - 1) / 2) / (len(others) - 1))
        means += [np.mean(percentiles)] if percentiles else []
    half = 2.6 * np.std(means, ddof=1) / np.sqrt(len(means))
    assert len(means) > 50 and abs(np.mean(means) - 0.5) < half


# --- the experiment --------------------------------------------------------------------------------------------------

SMALL = ["experiment=discovery", "dataset=logic", "model.hidden_sizes=[2,2]", "model.activation=leaky_relu"]
SMALL += ["training.epochs=2", "experiment.repeats=2", "experiment.bootstrap=5", "experiment.accuracy_threshold=0.4"]
COLUMNS = (
    "method ablation output repeat k n_edges accuracy agreement mse loss best_accuracy best_mse regret_accuracy "
    "regret_mse percentile minimality valid n_forward"
)


@pytest.fixture
def own_method(tmp_path: Path) -> None:
    """A module beside the run with a method of one's own, and with functions that are none."""
    (tmp_path / "own_scores.py").write_text(
        "def score(part, x, target, ablation):\n"
        "    return [layer.weight.abs() for layer in part.layers]\n"
        "def too_few(part, x, target, ablation):\n"
        "    return [part.layers[0].weight]\n"
    )


@pytest.mark.drawn
def test_the_tables_of_a_run_agree(mi_run: Callable[..., Ended], own_method: None, tmp_path: Path) -> None:
    methods = "experiment.methods=[random,magnitude,eap,acdc,greedy,own_scores:score]"
    ended = mi_run(*SMALL, methods, "expect={percentile/greedy/zero: '<=1'}")
    assert ended.status == 0, ended.err
    assert "the code of own_scores:score is run" in ended.err
    metrics = pd.read_csv(ended.folder / "metrics.csv", keep_default_na=False, na_values=[""])
    assert list(metrics)[:18] == COLUMNS.split()
    assert len(metrics) == 2 * 7 * 11  # ablations, methods with two repeats of random, sizes
    assert (metrics["n_edges"] <= metrics["k"]).all() and (metrics["regret_mse"] >= 0).all()
    assert (metrics["regret_accuracy"] >= 0).all() and metrics["percentile"].dropna().between(0, 1).all()
    assert (metrics["valid"] == (metrics["minimality"].isin(["quasi", "local", "subset", "cardinal"]))).mean() > 0.5
    full = metrics[(metrics["method"] == "greedy") & (metrics["k"] == 10)]
    assert (full["regret_mse"] == 0).all() and (full["mse"] == 0).all() and (full["agreement"] == 1).all()
    assert (full["accuracy"] == ended.record["metrics"]["accuracy"]).all()
    own, magnitude = (metrics[metrics["method"] == name] for name in ("own_scores:score", "magnitude"))
    assert np.array_equal(own["circuit"], magnitude["circuit"]) and own["n_forward"].isna().all()

    summary = pd.read_csv(ended.folder / "summary.csv")
    greedy_row = summary[(summary["method"] == "greedy") & (summary["ablation"] == "mean")].iloc[0]
    rows = metrics[(metrics["method"] == "greedy") & (metrics["ablation"] == "mean")]
    assert greedy_row["regret_mse"] == pytest.approx(rows["regret_mse"].mean())
    assert ended.record["metrics"]["regret_mse/greedy/mean"] == pytest.approx(greedy_row["regret_mse"])
    assert rows[rows["valid"]]["n_edges"].min() == greedy_row["smallest_valid"] >= greedy_row["fewest_valid"]
    assert greedy_row["best_cpr"] >= greedy_row["cpr"]
    table = pd.read_csv(ended.folder / "scores.csv")
    assert set(table["method"]) == {"random", "magnitude", "eap", "own_scores:score"} and len(table) == 2 * 4 * 10
    correlations = pd.read_csv(ended.folder / "correlations.csv")
    same = correlations[(correlations["method"] == "magnitude") & (correlations["other"] == "own_scores:score")]
    assert np.allclose(same[["spearman", "kendall"]], 1) and len(correlations) == 2 * 6
    kept = pd.read_csv(ended.folder / "edges.csv").groupby(["ablation", "best", "k"]).size()
    assert (kept <= kept.index.get_level_values("k")).all() and kept["zero", "mse", 10] == 10
    spread = pd.read_csv(ended.folder / "stability.csv")
    assert spread["jaccard"].dropna().between(0, 1).all() and len(spread) == 2 * 6 * 11
    assert (spread[spread["method"] == "magnitude"]["jaccard"].dropna() == 1).all()
    sizes = pd.read_csv(ended.folder / "sizes.csv")
    assert sizes.groupby("ablation")["n_circuits"].sum().tolist() == [len(all_circuits((2, 2, 2, 1)))] * 2
    names = {path.stem for path in (ended.folder / "figures").glob("*.png")}
    assert {"curves_0", "scores_zero_0", "scores_mean_0"} <= names


@pytest.mark.drawn
def test_classes_are_analysed_together_among_sampled_circuits(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(
        "experiment=discovery",
        "dataset=mod_add",
        "dataset.target=class",
        "dataset.train_size=60",
        "dataset.test_size=40",
        "model.hidden_sizes=[8,8]",
        "training.epochs=1",
        "experiment.methods=[random,eap,edge_patching]",
        "experiment.bootstrap=2",
        "experiment.repeats=1",
        "experiment.samples=30",
        "experiment.max_sizes=8",
        "experiment.accuracy_threshold=0.3",
    )
    assert ended.status == 0, ended.err
    metrics = pd.read_csv(ended.folder / "metrics.csv", keep_default_na=False, na_values=[""])
    assert set(metrics["output"]) == {"all"} and metrics["best_mse"].isna().all() and metrics["k"].max() == 112
    judged = metrics.dropna(subset="percentile")
    assert len(judged) and (judged["percentile_low"] <= judged["percentile"]).all()
    assert (judged["percentile"] <= judged["percentile_high"]).all()
    assert not (ended.folder / "sizes.csv").exists() and metrics["minimality"].notna().any()


def test_a_sweep_over_seeds_summarises_each_method(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("-m", *SMALL, "seed=0,1", "experiment.methods=[eap,greedy]", "experiment.ablation=zero")
    assert ended.status == 0, ended.err
    summary = pd.read_csv(ended.folder / "sweep_summary.csv")
    row = summary[summary["k"].isna() & (summary["method"] == "greedy") & (summary["measure"] == "regret_mse")].iloc[0]
    jobs = [pd.read_csv(ended.folder / job / "summary.csv").set_index("method")["regret_mse"] for job in "01"]
    assert row["n"] == 2 and row["mean"] == pytest.approx(np.mean([job["greedy"] for job in jobs]))
    sizes = summary[(summary["method"] == "eap") & (summary["measure"] == "mse")]["k"].dropna()
    assert sorted(sizes) == list(range(11))
    compared = pd.read_csv(ended.folder / "sweep_methods.csv").set_index("method")
    assert compared.loc["greedy", "regret_mse"] == pytest.approx(row["mean"]) and compared["n_networks"].tolist() == [
        2,
        2,
    ]
    assert compared["lowest"].all() and compared["highest"].all()  # two networks tell nothing apart
    said = (ended.folder / "answer.txt").read_text().strip()
    assert said.startswith("With zero ablation no two of 2 methods") and "over 2 networks" in said
    assert said in ended.err and said.replace("'", "&#39;") in (ended.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["experiment.methods=[epa]"], "Did you mean eap?"),
        (["experiment.methods=[]"], "name at least one"),
        (["experiment.methods=[eap,eap]"], "eap twice"),
        (["experiment.methods=[own_scores:none]"], "experiment.methods=own_scores:none: no callable of own_scores"),
        (["experiment.last_layers=9"], "Type experiment.last_layers=3"),
        (["experiment.judge_on=half"], "Type experiment.judge_on=train or experiment.judge_on=test"),
        (["model.hidden_sizes=[300,300]", "experiment.methods=[eap,greedy]"], "Type experiment.methods=[eap]"),
    ],
)
def test_mistakes_are_found_before_training(
    arguments: list[str], said: str, mi_run: Callable[..., Ended], own_method: None
) -> None:
    ended = mi_run(*SMALL, *arguments)
    assert ended.status == 2 and said in ended.err
    assert not list(Path().rglob("run.json"))


def test_a_method_that_is_not_the_package_s_says_what_is_wrong_with_it(
    mi_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the run if its code can't be imported, in the run if it raises."""

    def raises(part: Part, x: torch.Tensor, target: torch.Tensor, ablation: str) -> None:
        raise KeyError("edges")

    added = Method("gone", "is gone", scores="own_package:score"), Method("raising", "raises", scores=raises)
    monkeypatch.setattr(discovery, "all_methods", lambda: (*METHODS, *added))
    ended = mi_run(*SMALL, "experiment.methods=[eap,gone]")
    cause = "its code can't be imported (ModuleNotFoundError: No module named 'own_package')"
    assert ended.status == 2 and f"experiment.methods has gone: {cause}" in ended.err
    ended = mi_run(*SMALL, "experiment.methods=[eap,raising]")
    assert ended.status == 1 and "the method raising raises KeyError: 'edges'" in ended.err


def test_scores_of_another_shape_fail_the_run(mi_run: Callable[..., Ended], own_method: None) -> None:
    ended = mi_run(*SMALL, "experiment.methods=[own_scores:too_few]")
    assert ended.status == 1 and "give an array (out, in) for each layer" in ended.err
