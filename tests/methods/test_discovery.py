"""Methods of discovery: edge pruning against a plain program, costs, rank correlations, mistaken arguments."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.edges import Edges, distinct
from mi_runner.methods.circuits.measures import CircuitMeasures
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.discovery import scores
from mi_runner.methods.discovery.agreement import rank_correlations
from mi_runner.methods.discovery.edge_pruning import edge_pruning
from mi_runner.methods.discovery.find import Resampled, Task, find
from mi_runner.methods.discovery.masked import MaskedPart, task_loss
from mi_runner.methods.discovery.optimum import EveryCircuit, SampledCircuits
from mi_runner.methods.discovery.records import Method, method_of, own_method
from mi_runner.methods.discovery.sampling import CircuitSampler
from mi_runner.methods.discovery.search import Search
from mi_runner.tables.intervals import clopper_pearson
from tests.masked_parts import ABLATIONS, examples, random_part

# --- edge pruning ----------------------------------------------------------------------------------------------------


def gated_by_edge(part: Part, gates: list[Tensor], x: Tensor, means: list[Tensor]) -> Tensor:
    """The outputs `(B, n_L)` where each edge carries gate · its source + (1 − gate) · what its ablation carries."""
    value = x
    for layer, gate, mean in zip(part.layers, gates, means, strict=True):
        carried = gate * value[:, None, :] + (1 - gate) * mean  # (B, out, in)
        value = layer.activate((layer.weight.double() * carried).sum(2) + layer.bias.double())
    return value


def trained_gates(
    part: Part, x: Tensor, y: Tensor, ablation: str, objective: str, penalty: float, place: int, steps: int, of: int
) -> tuple[list[Tensor], float]:
    """log α of each gate after some steps, by the formulas; and the least distance of a gate to ½, on the logit scale.

    Args:
        place, of: of the penalties that are trained together, because they share the draws.
    """
    clean = [x]
    for layer in part.layers:
        clean.append(layer.activate(clean[-1] @ layer.weight.double().T + layer.bias.double()))
    means = [value.mean(0) if ablation == "mean" else torch.zeros_like(value[0]) for value in clean[:-1]]

    def value_of(outputs: Tensor, rows: Tensor) -> Tensor:
        if objective == "distance":
            return (outputs - clean[-1][rows]).square().mean()
        return functional.cross_entropy(outputs, y[rows])

    shapes = [layer.weight.shape for layer in part.layers]
    everything = torch.arange(len(x))
    empty = value_of(gated_by_edge(part, [torch.zeros(shape).double() for shape in shapes], x, means), everything)
    alphas = [torch.ones(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    n_edges = sum(alpha.numel() for alpha in alphas)
    adam, draw = torch.optim.Adam(alphas, lr=0.05), torch.Generator().manual_seed(5)
    for _ in range(steps):
        rows = torch.randint(len(x), (min(256, len(x)),), generator=draw)
        u = torch.rand((of, n_edges), generator=draw, dtype=torch.float64)[place].clamp(1e-6, 1 - 1e-6)
        gates, is_open = [], torch.zeros((), dtype=torch.float64)
        for alpha, own in zip(alphas, u.split([alpha.numel() for alpha in alphas]), strict=True):
            noise = (own / (1 - own)).log().view_as(alpha)
            concrete = 1 / (1 + torch.exp(-(noise + alpha) / (2 / 3)))
            gates.append((concrete * 1.2 - 0.1).clamp(0, 1))
            # The probability that a gate is not 0: that the stretched variable is above 0 (Louizos et al., eq. 12).
            is_open = is_open + torch.sigmoid(alpha - 2 / 3 * math.log(0.1 / 1.1)).sum()
        loss = value_of(gated_by_edge(part, gates, x[rows], means), rows) + penalty * empty * is_open / n_edges
        adam.zero_grad()
        loss.backward()
        adam.step()
    return [alpha.detach() for alpha in alphas], float(min(alpha.detach().abs().min() for alpha in alphas))


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("objective", ["distance", "loss"])
def test_edge_pruning_is_that_of_the_formulas(objective: str, ablation: str) -> None:
    part = random_part((3, 3, 2), "tanh")
    x, _ = examples(part)
    y = torch.randint(2, (len(x),), generator=torch.Generator().manual_seed(2))
    penalties, steps = (0.01, 0.1, 2.0), 70
    found = edge_pruning(
        part, x, y, ablation, objective=objective, penalties=penalties, steps=steps,
        generator=torch.Generator().manual_seed(5),
    )  # fmt: skip
    edges = Edges(part.sizes)
    for place, (penalty, circuit) in enumerate(zip(penalties, found, strict=True)):
        alphas, nearest = trained_gates(part, x, y, ablation, objective, penalty, place, steps, len(penalties))
        assert nearest > 1e-6, "rounding could decide an edge: take another seed"
        kept = np.concatenate([(alpha > 0).flatten().numpy() for alpha in alphas])
        assert np.array_equal(circuit, edges.closed(kept[None])[0])
    n_kept = found.sum(1).tolist()
    assert n_kept == sorted(n_kept, reverse=True) and n_kept[0] > 0 and n_kept[1] < edges.n


def test_a_part_that_is_too_large_is_pruned_with_one_penalty_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    part = random_part((2, 2, 1))
    x, y = examples(part)
    together = edge_pruning(part, x, y, "zero", penalties=(0.01, 5.0), steps=60)
    monkeypatch.setattr("mi_runner.methods.discovery.gates.GATED_AT_ONCE", 6)
    alone = edge_pruning(part, x, y, "zero", penalties=(0.01, 5.0), steps=60)
    assert alone.shape == together.shape == (2, 6) and alone[0].sum() > alone[1].sum()


# --- what a method costs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n_forward"),
    [("random", 0), ("magnitude", 0), ("activation", 1), ("edge_patching", 10), ("eap", 1), ("eap_ig", 10)],
)
def test_forward_passes_that_a_ranking_takes(name: str, n_forward: int) -> None:
    part = random_part((2, 2, 2, 1))
    x, y = examples(part)
    found = find(name, Task(part, x, y, "zero"), np.arange(11), generator=torch.Generator().manual_seed(0))
    assert found.n_forward == n_forward  # of 4 + 4 + 2 edges


def test_forward_passes_of_edge_pruning_count_a_batch_as_its_share_of_the_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = random_part((2, 2, 1))
    x, y = examples(part)
    x, y = x.repeat(-(-400 // len(x)), 1)[:400], y.repeat(-(-400 // len(y)))[:400]
    # The search itself plays no role here: 600 steps for each of 9 penalties, on 256 of 400 examples.
    monkeypatch.setattr("mi_runner.methods.discovery.gates.gated_circuits", lambda *_, **__: [np.ones((9, 6), bool)])
    found = find("edge_pruning", Task(part, x, y, "zero"), np.arange(7))
    assert found.n_forward == 3456
    few = find("edge_pruning", Task(part, x[:50], y[:50], "zero"), np.arange(7))
    assert few.n_forward == 5400


def test_the_cost_of_a_method_of_ones_own_is_not_known() -> None:
    part = random_part((2, 2, 1))
    x, y = examples(part)
    given = lambda part, x, target, ablation: scores.magnitude(part, x, target, ablation)  # noqa: E731
    found = find(own_method("mine", given), Task(part, x, y, "zero"), np.arange(7))
    assert found.n_forward is None
    assert np.array_equal(found.scores, find("magnitude", Task(part, x, y, "zero"), np.arange(7)).scores)


def test_circuits_that_a_search_evaluates_at_most() -> None:
    names = ("edge_patching", "greedy", "magnitude", "eap")
    assert [method_of(name).evaluations(10) for name in names] == [10, 55, 0, 0]
    assert method_of("acdc").evaluations(10) == 10 * method_of("acdc").evaluations(1) > 100


# --- rank correlations -----------------------------------------------------------------------------------------------


def test_rank_correlations_by_hand() -> None:
    """One pair of neighbours is swapped: Σd² = 2, so ρ = 1 − 6·2/(4·15); of 6 pairs 5 agree, so τ = 4/6."""
    own, other = np.array([1.0, 2.0, 3.0, 40.0]), np.array([1.0, 3.0, 2.0, 4.0])
    found = list(rank_correlations({"a": own, "b": other, "c": -own}))
    assert [row[:2] for row in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [row[2] for row in found] == pytest.approx([0.8, -1, -0.8])
    assert [row[3] for row in found] == pytest.approx([4 / 6, -1, -4 / 6])


@pytest.mark.parametrize("constant", ["first", "second", "single"])
def test_scores_that_are_all_equal_have_no_rank_correlation(constant: str) -> None:
    flat, rising = np.ones(3), np.arange(3.0)
    pair = {"first": (flat, rising), "second": (rising, flat), "single": (rising[:1], rising[:1])}[constant]
    ((_, _, spearman, kendall),) = rank_correlations(dict(zip("ab", pair, strict=True)))
    assert math.isnan(spearman) and math.isnan(kendall)


# --- circuits of a chain without hidden neurons ----------------------------------------------------------------------


def test_of_a_single_layer_every_set_of_edges_is_drawn_alike() -> None:
    sampler = CircuitSampler((3, 2), torch.Generator().manual_seed(0))
    for k, n_sets in ((1, 6), (2, 15), (5, 6)):
        drawn = sampler.draw(k, 100 * n_sets)
        assert (drawn.sum(1) == k).all()
        counts = Counter(row.tobytes() for row in drawn)
        assert len(counts) == n_sets and sum((n - 100) ** 2 / 100 for n in counts.values()) < n_sets + 4 * math.sqrt(
            2 * n_sets
        )
    assert sampler.draw(6, 3).all()
    with pytest.raises(ValueError, match="k=7: give a number of edges from 1 to 6"):
        sampler.draw(7, 1)


# --- all circuits, and samples of them, by hand -----------------------------------------------------------------------


def test_edges_are_named_layer_by_layer_by_target_then_by_source() -> None:
    layers, sources, targets = Edges((3, 2, 1)).names
    assert layers.tolist() == [0] * 6 + [1] * 2
    assert targets.tolist() == [0, 0, 0, 1, 1, 1, 0, 0] and sources.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


def of_two_inputs() -> EveryCircuit:
    """The circuits of three edges into one output that keep at least one of them, not in the order of their bits."""
    measures = CircuitMeasures(
        np.array([7, 1, 2, 4, 6, 3, 5], dtype=np.uint64),
        np.array([9, 4, 4, 6, 6, 8, 7]),
        np.array([10, 1, 2, 3, 4, 5, 6]),
        np.array([0.0, 3.0, 1.0, 1.0, 0.5, 0.5, 0.25], dtype=np.float32),
    )
    return EveryCircuit(CircuitSpace((3, 1), "any"), measures)


def bits(*circuits: int) -> np.ndarray:
    return (np.array(circuits)[:, None] >> np.arange(3) & 1).astype(bool)


def test_rows_sizes_shares_and_percentiles_of_every_circuit() -> None:
    every = of_two_inputs()
    assert every.measures.circuit.tolist() == [1, 2, 3, 4, 5, 6, 7] and every.n_edges.tolist() == [1, 1, 2, 1, 2, 2, 3]
    assert [every.of_size(size).tolist() for size in range(4)] == [[], [0, 1, 3], [2, 4, 5], [6]]
    assert every.rows(bits(0, 5, 7, 1)).tolist() == [-1, 4, 6, 0]
    # Circuits 1, 2 and 4 have the squares 3, 1 and 1: half of the tie counts. 3, 5 and 6 have 0.5, 0.25 and 0.5.
    percentiles = every.percentiles(bits(1, 2, 4, 3, 5, 6))
    assert percentiles.tolist() == [1.0, 0.25, 0.25, 0.75, 0.0, 0.75]
    assert np.isnan(every.percentiles(bits(0, 7))).all()  # no other circuit has as many edges
    valid = every.measures.n_correct >= 7
    assert every.shares(valid).tolist() == [1.0, 2 / 3, 2 / 3]  # 3, 5 and 7
    assert np.isnan(every.shares(valid & False)).all()


class Judged:
    """Circuits whose distance is planted; the samples that were asked for."""

    def __init__(self, distances: dict[int, float]) -> None:
        self.distances, self.asked = distances, 0

    def objective(self, circuits: np.ndarray) -> np.ndarray:
        self.asked += 1
        return np.array([self.distances[int((row << np.arange(3)).sum())] for row in circuits])


def test_percentiles_among_samples_by_hand() -> None:
    """Of size 2 the sample is 3, 5, 6, 6: the circuit itself is left out, and an equal one counts half."""
    judged = Judged({3: 0.5, 5: 0.25, 6: 0.5, 1: 0.0, 2: 1.0, 4: 1.0})
    samples = {2: bits(3, 5, 6, 6), 1: bits(1, 1, 1, 1)}
    sampled = SampledCircuits(judged, lambda k, n: samples[k][:n], 4)  # type: ignore[arg-type]
    found, low, high = sampled.percentiles(bits(3, 6, 5, 0, 7, 1, 2), np.array([0.5, 0.5, 0.25, 9.0, 0.0, 0.0, 1.0]))
    # 3: of 5, 6, 6 one is smaller and two are equal. 6: of 3, 5 one each. 5: none of three. 2: all four are smaller.
    assert found[[0, 1, 2, 6]].tolist() == [2 / 3, 0.75, 0.0, 1.0]
    assert np.isnan(found[3:6]).all()  # the empty circuit, the full one, and one that the sample alone has
    assert (low[0], high[0]) == (clopper_pearson(1, 3)[0], 1.0) and high[1] == 1.0 and low[2] == 0.0
    assert high[2] == clopper_pearson(0, 3)[1] < 1 and low[6] == clopper_pearson(4, 4)[0] > 0
    assert judged.asked == 2  # a sample is drawn and judged once


def test_distinct_rows_with_further_columns() -> None:
    rows = bits(5, 3, 5, 5, 3)
    first, index = distinct(rows, np.array([0, 1, 0, 1, 1]))
    groups = [set(np.flatnonzero(index == number).tolist()) for number in range(len(first))]
    assert sorted(map(sorted, groups)) == [[0, 2], [1, 4], [3]] and all(
        f in g for f, g in zip(first, groups, strict=True)
    )
    assert distinct(rows[:0])[1].tolist() == [] and distinct(rows)[1].max() == 1


# --- arguments that don't fit ----------------------------------------------------------------------------------------


def test_arguments_that_do_not_fit_are_named() -> None:
    part = random_part((3, 2, 1))
    x, y = examples(part)
    task, edges = Task(part, x, y, "zero"), Edges(part.sizes)
    masked = MaskedPart(part, x, y, "zero")
    ones = [np.ones(shape) for shape in edges.shapes]
    single = Method(
        "single", "one edge, on no path", searches=lambda masked: Search([edges.rows(np.ones(1))], np.ones(1))
    )
    of_resamples = Resampled(task, torch.arange(40)[None], torch.ones(1, 40))
    no_path = "the method single returns circuits with edges on no path of kept edges: return masked"
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: find("magnitudes", task, np.arange(9)), "no method is named 'magnitudes'. Use one of random,"),
        (lambda: find(single, task, np.arange(9)), no_path),
        (lambda: of_resamples.find(single, np.arange(9)), no_path),
        (lambda: MaskedPart(part, x, y, "resample"), "ablation=resample: use zero or mean"),
        (lambda: MaskedPart(part, x[:, :2], y, "zero"), r"x of shape \(40, 2\): give at least one row, of the 3 act"),
        (lambda: MaskedPart(part, x[:0], y[:0], "zero"), r"x of shape \(0, 3\): give at least one row"),
        (lambda: MaskedPart(part, x[0], y, "zero"), r"x of shape \(3,\): give at least one row"),
        (lambda: scores.eap(part, x[:, :2], y, "zero"), r"x of shape \(40, 2\): give at least one row, of the 3 act"),
        (lambda: scores.eap_ig(part, x, y[:5], "zero"), "40 examples, 5 targets: give one for each"),
        (lambda: MaskedPart(part, x, y[:5], "zero"), "40 examples, 5 targets: give one for each"),
        (lambda: masked.objective(edges.full, "mse"), "objective=mse: use distance or loss"),
        (lambda: edges.flat([ones[0] * math.nan, ones[1]]), "a score is not finite. Give a finite number"),
        (lambda: edges.flat(ones[::-1]), r"scores of shapes \[\(1, 2\), \(2, 3\)\]: give an array \(out, in\)"),
    ]
    for call, text in cases:
        with pytest.raises(ArgumentError, match=text):
            call()
    assert MaskedPart(part, x[:1], y[:1], "mean").objective(edges.full)[0] == 0  # one example is enough
    assert task_loss(y)(torch.zeros(40, 1), y[:, None]) == pytest.approx(float(y.square().mean()))
