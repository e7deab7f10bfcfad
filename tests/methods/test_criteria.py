"""Criteria of circuits: by hand, against plain loops over circuits, examples and edges, and against the graph.

The loops follow the definitions word by word, in Python's own numbers. An edge of layer l from s to t is (l, t, s).
"""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph import Intervention, ModelGraph, read_sites, run_with
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.edges import Edges, bits_of
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.criteria import bounds, device_runs, judge, kernel, rank, runs
from mi_runner.methods.criteria.family import every_circuit
from mi_runner.methods.criteria.judge import Criteria, criteria
from mi_runner.methods.criteria.records import Criterion
from mi_runner.methods.criteria.task import Scores, Task, Weights
from mi_runner.progress import Progress
from tests.masked_parts import all_circuits, random_part

ABLATIONS, FAMILIES = ("zero", "mean"), ("all", "any")
DOUBLE = torch.zeros((), dtype=torch.float64)

XOR = Part(
    (
        Layer(torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor([0.0, -1.0]), "relu"),
        Layer(torch.tensor([[1.0, -2.0]]), torch.tensor([0.0])),
    )
)
"""relu(a + b) − 2 · relu(a + b − 1)."""

SQUARE = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
OR, AND = 0b010011, 0b101100  # the circuit of the first hidden neuron, and that of the second


def values_by_name(found: Criteria, row: int) -> dict[str, float]:
    return {name: float(values[row]) for name, values in found.values.items()}


def test_every_number_of_a_network_of_whole_numbers_by_hand() -> None:
    shift = torch.tensor([[2.0, 0.0], [0.0, 0.4]])
    found = criteria(XOR, SQUARE, [OR, AND], noise=[0.0], shift=shift)
    # OR answers 0 1 1 2 instead of 0 1 1 0. Eight pairs differ: with the second neuron from the source it answers
    # relu(a + b) − 2 · and(s), which is right unless b is (1, 1), or s is.
    assert values_by_name(found, 0) == {
        "agreement": 3 / 4,
        "noise_0": 3 / 4,
        "shift": 1 / 2,  # 2 instead of 0; 0.4 as the network
        "sufficiency": 4 / 8,
        "necessity": 4 / 8,  # the first neuron of s − 2 · and(b)
        "interchange": 9 / 12,  # the first neuron of s − 2 · and(b), against that neuron alone: b is not (1, 1)
        "complement": 1.0,  # AND answers as the network for (0, 0) alone, less often than the commonest answer
        "rank": 1.0,  # L is 1; of AND it is 6/4, and no other circuit has three edges
        "parsimony": 1 / 2,
    }
    of_and = values_by_name(found, 1)
    assert (of_and["agreement"], of_and["rank"]) == (1 / 4, 0.0)
    assert of_and["complement"] == pytest.approx(1 - (3 / 4 - 1 / 2) / (1 - 1 / 2))


def test_ties_and_means_by_hand() -> None:
    found = values_by_name(criteria(XOR, SQUARE, [OR], ablation="mean", noise=[]), 0)
    # The second neuron's mean is ¼, so OR is relu(a + b) − ½: −½ ½ ½ 1½, which round to 0 0 0 2.
    assert found["agreement"] == 1 / 4
    assert found["complement"] == 1.0  # 1 − 2 · and: two of four answers are right, as often as the commonest
    assert found["rank"] == 0.0  # L is ¾, of AND ½
    assert found["interchange"] == pytest.approx(5 / 12)  # (·)(s) is −½ → 0, ½ → 0, 1½ → 2, against · − 2 · and(b)


# --- plain loops -----------------------------------------------------------------------------------------------------


Carried = Callable[[int, int, int, float], float]
"""What an edge (l, t, s) carries, before its weight, where its source has a value in this run."""


class Plain:
    """A part, one example and one edge at a time."""

    def __init__(self, part: Part, kind: Outputs) -> None:
        self.layers, self.kind = [(one.weight.tolist(), one.bias.tolist(), one) for one in part.layers], kind

    def run(
        self, x: Sequence[float], carried: Carried, fixed: tuple[int, int, float] | None = None
    ) -> list[list[float]]:
        """The values of all layers, with neuron (layer, number) fixed to a value."""
        values = [list(x)]
        for index, (weights, biases, layer) in enumerate(self.layers):
            sums = [
                bias + sum(w * carried(index, t, s, values[-1][s]) for s, w in enumerate(row))
                for t, (row, bias) in enumerate(zip(weights, biases, strict=True))
            ]
            if layer.is_elementwise:
                values.append([self.activate(z, layer) for z in sums])
            else:
                total = sum(math.exp(z - max(sums)) for z in sums)
                values.append([math.exp(z - max(sums)) / total for z in sums])
            if fixed is not None and fixed[0] == index + 1:
                values[-1][fixed[1]] = fixed[2]
        return values

    @staticmethod
    def activate(z: float, layer: Layer) -> float:
        if layer.activation == "tanh":
            return math.tanh(z)
        if layer.activation == "sigmoid":
            return 1 / (1 + math.exp(-z))
        slope = {"identity": 1.0, "relu": 0.0, "leaky_relu": layer.slope}[layer.activation]
        return z if z > 0 else slope * z

    def answer(self, outputs: Sequence[float]) -> float:
        if self.kind is Outputs.values:
            return round(outputs[0])
        if len(outputs) > 1:
            return list(outputs).index(max(outputs))
        return float(outputs[0] > (0.5 if self.kind is Outputs.probability else 0))

    def full(self, x: Sequence[float], fixed: tuple[int, int, float] | None = None) -> list[list[float]]:
        return self.run(x, lambda layer, t, s, value: value, fixed)


Masks = list[list[list[bool]]]


class Loops:
    """The criteria of one circuit, from their definitions."""

    def __init__(self, task: Task) -> None:
        self.task, self.plain = task, Plain(task.part, task.kind)
        self.x = task.x.tolist()
        self.values = [self.plain.full(x) for x in self.x]
        self.answers = [self.plain.answer(values[-1]) for values in self.values]
        n = len(self.x)
        self.means = [
            [sum(row[layer][s] for row in self.values) / n if task.ablation == "mean" else 0.0 for s in range(size)]
            for layer, size in enumerate(task.part.sizes[:-1])
        ]

    def masks(self, circuit: int) -> Masks:
        rows = Edges(self.task.part.sizes).rows(np.array([circuit], dtype=np.uint64))
        return [mask[0].tolist() for mask in Edges(self.task.part.sizes).masks(rows)]

    def of(self, masks: Masks) -> Carried:
        return lambda layer, t, s, value: value if masks[layer][t][s] else self.means[layer][s]

    def agreement(self, masks: Masks, x: list[list[float]]) -> float:
        hits = [
            self.plain.answer(self.plain.run(one, self.of(masks))[-1]) == self.plain.answer(self.plain.full(one)[-1])
            for one in x
        ]
        return sum(hits) / len(hits)

    def closed(self, masks: Masks) -> Masks:
        """Leaves out edges that lie on no path, one after the other, until none is left."""
        sizes, masks = self.task.part.sizes, [[list(row) for row in mask] for mask in masks]
        while True:
            dead = [
                (layer, t, s)
                for layer, mask in enumerate(masks)
                for t, s in itertools.product(range(sizes[layer + 1]), range(sizes[layer]))
                if mask[t][s]
                and (
                    (layer > 0 and not any(masks[layer - 1][s]))
                    or (layer < len(masks) - 1 and not any(row[t] for row in masks[layer + 1]))
                )
            ]
            if not dead:
                return masks
            for layer, t, s in dead:
                masks[layer][t][s] = False

    def complement(self, circuit: int) -> float:
        others = [[[not kept for kept in row] for row in mask] for mask in self.masks(circuit)]
        q = self.agreement(self.closed(others), self.x)
        p = max(self.answers.count(one) for one in self.answers) / len(self.x)
        return 1.0 if p == 1 else 1 - max(0.0, (q - p) / (1 - p))

    def pairs(self, of_same: bool) -> list[tuple[int, int]]:
        ordered = itertools.permutations(range(len(self.x)), 2)
        return [(b, s) for b, s in ordered if of_same or self.answers[b] != self.answers[s]]

    def patched(self, circuit: int, is_necessity: bool) -> float:
        masks, hits = self.masks(circuit), []
        for b, source in self.pairs(of_same=False):

            def carried(layer: int, t: int, s: int, value: float) -> float:
                return value if masks[layer][t][s] != is_necessity else self.values[source][layer][s]  # noqa: B023

            answer = self.plain.answer(self.plain.run(self.x[b], carried)[-1])
            hits.append(answer == self.answers[source if is_necessity else b])
        return sum(hits) / len(hits) if hits else math.nan

    def interchange(self, circuit: int) -> float:
        masks = self.masks(circuit)
        own = [self.plain.run(x, self.of(masks)) for x in self.x]
        hits = []
        for layer, size in enumerate(self.task.part.sizes[1:-1], 1):
            for u in range(size):
                if not any(masks[layer - 1][u]):
                    continue
                for b, s in self.pairs(of_same=True):
                    mine = self.plain.run(self.x[b], self.of(masks), (layer, u, own[s][layer][u]))
                    full = self.plain.full(self.x[b], (layer, u, self.values[s][layer][u]))
                    hits.append(self.plain.answer(mine[-1]) == self.plain.answer(full[-1]))
        return sum(hits) / len(hits) if hits else math.nan

    def loss(self, circuit: int) -> float:
        masks = self.masks(circuit)
        outputs = [self.plain.run(x, self.of(masks))[-1] for x in self.x]
        squares = [
            (mine - full) ** 2
            for out, values in zip(outputs, self.values, strict=True)
            for mine, full in zip(out, values[-1], strict=True)
        ]
        return sum(squares) / len(squares)

    def rank(self, circuit: int, family: list[int]) -> float:
        same = [self.loss(one) for one in family if one.bit_count() == circuit.bit_count()]
        own, others = self.loss(circuit), len(same) - 1
        if circuit not in family:
            return math.nan
        equal = sum(abs(one - own) < 1e-9 for one in same) - 1
        return 1 - (sum(one < own - 1e-9 for one in same) + equal / 2) / others if others else 1.0

    def all(self, circuit: int, family: list[int]) -> dict[str, float]:
        """Every criterion, with one standard deviation of noise."""
        task, masks = self.task, self.masks(circuit)
        example, noise = task.draws
        noisy = [
            [value + task.noise[0] * extra for value, extra in zip(self.x[e], row, strict=True)]
            for e, row in zip(example.tolist(), noise.tolist(), strict=True)
        ]
        assert task.shift is not None
        kept = sum(sum(row) for mask in masks for row in mask)
        return {
            "agreement": self.agreement(masks, self.x),
            f"noise_{task.noise[0]:g}": self.agreement(masks, noisy),
            "shift": self.agreement(masks, task.shift.tolist()),
            "sufficiency": self.patched(circuit, is_necessity=False),
            "necessity": self.patched(circuit, is_necessity=True),
            "interchange": self.interchange(circuit),
            "complement": self.complement(circuit),
            "rank": self.rank(circuit, family),
            "parsimony": 1 - kept / task.edges.n,
        }


def made(sizes: tuple[int, ...], activation: str, last: str, seed: int) -> Part:
    part = random_part(sizes, activation, seed)
    return replace(part, layers=(*part.layers[:-1], replace(part.layers[-1], activation=last))).to(DOUBLE)


def task_of(part: Part, kind: Outputs, ablation: str = "zero", inputs: str = "all", n: int = 7) -> Task:
    draw = torch.Generator().manual_seed(3)
    x, shift = (torch.randn(size, part.sizes[0], generator=draw, dtype=torch.float64) for size in (n, 5))
    return Task(part, 1.5 * x, kind, ablation, inputs, pairs=1000, noise=(0.3,), shift=3 * shift)


CASES = {
    "values, leaky_relu": (made((2, 2, 1), "leaky_relu", "leaky_relu", 13), Outputs.values),
    "values, no hidden layer": (made((3, 1), "identity", "identity", 2), Outputs.values),
    "values, tanh": (made((2, 2, 2, 1), "tanh", "tanh", 3), Outputs.values),
    "values, four layers": (made((2, 2, 1, 2, 1), "relu", "identity", 4), Outputs.values),
    "logit, sigmoid": (made((3, 2, 1), "sigmoid", "identity", 3), Outputs.logit),
    "probability, relu": (made((2, 3, 1), "relu", "sigmoid", 6), Outputs.probability),
    "logits, tanh": (made((2, 2, 3), "tanh", "identity", 7), Outputs.logits),
    "logits, relu behind them": (made((2, 2, 2), "leaky_relu", "relu", 8), Outputs.logits),
    "probabilities": (made((2, 2, 3), "sigmoid", "softmax", 4), Outputs.probabilities),
}


@pytest.mark.parametrize("device", [None, torch.device("cpu")])  # the tensors of a device on the processor, too
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("inputs", FAMILIES)
def test_all_criteria_are_those_of_a_plain_loop(
    case: str, ablation: str, inputs: str, device: torch.device | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mi_runner.methods.criteria.task.NOISY", 9)  # each example twice
    part, kind = CASES[case]
    task = replace(task_of(part, kind, ablation, inputs), device=device)
    family = every_circuit(CircuitSpace(part.sizes, inputs))
    some = family[np.linspace(0, len(family) - 1, min(4, len(family)), dtype=int)]
    found, loops = judge.judge(task, some), Loops(task)
    for row, circuit in enumerate(some.tolist()):
        expected = loops.all(circuit, family.tolist())
        assert values_by_name(found, row) == pytest.approx(expected, abs=1e-12, nan_ok=True)


# --- the graph's own interventions -----------------------------------------------------------------------------------


class Neurons(nn.Module):
    """A chain whose neurons are a module each, so that each of its edges is one of the graph."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.activations = part.layers
        self.layers = nn.ModuleList()
        for layer in part.layers:
            self.layers.append(nn.ModuleList())
            for weight, bias in zip(layer.weight, layer.bias, strict=True):
                neuron = nn.Linear(len(weight), 1).double()
                neuron.weight.data, neuron.bias.data = weight[None], bias[None]
                self.layers[-1].append(neuron)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        values = (a, b)
        for layer, neurons in zip(self.activations, self.layers, strict=True):
            values = tuple(layer.activate(neuron(torch.cat(values, 1))) for neuron in neurons)
        return values[0]


@pytest.mark.parametrize("name", ["sufficiency", "necessity"])
def test_sufficiency_and_necessity_are_interventions_on_the_edges_of_the_whole_network(name: str) -> None:
    part = made((2, 2, 2, 1), "tanh", "tanh", 3)
    task = task_of(part, Outputs.values, n=12)
    inputs = tuple(task.x[:, [column]] for column in range(2))
    graph = ModelGraph.trace(Neurons(part), tuple(one[:1] for one in inputs))
    readers = [site for site in graph.sites if site.startswith("cat")]  # one for each neuron, layer by layer
    edges = [(source, reader) for reader in readers for source in graph.sources(reader)]
    assert len(edges) == task.edges.n
    base, source = task.differing_pairs
    values = read_sites(graph, inputs, sorted({one for one, _ in edges}))
    circuits = every_circuit(CircuitSpace(part.sizes))[::9]
    found = judge.judge(task, circuits, names=[name]).values[name]
    for circuit, share in zip(task.edges.rows(circuits), found, strict=True):
        replaced = circuit if name == "necessity" else ~circuit
        interventions = [
            Intervention(f"{one}/{reader}", values[one][source])
            for (one, reader), is_replaced in zip(edges, replaced, strict=True)
            if is_replaced
        ]
        outputs = run_with(graph, tuple(one[base] for one in inputs), interventions)
        wanted = task.answers[source if name == "necessity" else base]
        assert share == pytest.approx((outputs.detach().round().squeeze(1).numpy() == wanted).mean())


# --- identities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_the_full_circuit_is_the_network(case: str, ablation: str) -> None:
    part, kind = CASES[case]
    task = replace(task_of(part, kind, ablation, n=150), noise=(0.0, 0.5), pairs=300)
    circuits = np.array([2**task.edges.n - 1], dtype=np.uint64)
    found = values_by_name(judge.judge(task, circuits), 0)
    ones = {"agreement", "noise_0", "noise_0.5", "shift", "sufficiency", "necessity", "interchange"}
    ones -= {"interchange"} if len(part.layers) == 1 else set()
    assert {found[name] for name in ones} == {1.0}
    assert (found["rank"], found["parsimony"]) == (1.0, 0.0)
    empty = runs.counts(task, task.edges.empty, runs.clean(task))[0] / 150
    _, sizes = np.unique(task.answers, return_counts=True)
    most = sizes.max() / 150
    assert found["complement"] == pytest.approx(1 - max(0.0, (empty - most) / (1 - most)) if most < 1 else 1.0)


def test_noise_0_is_agreement_and_no_circuits_have_no_numbers() -> None:
    part, kind = CASES["values, tanh"]
    task = replace(task_of(part, kind, "mean", n=40), noise=(0.0,))
    found = judge.judge(task, every_circuit(CircuitSpace(part.sizes)), names=["agreement", "noise"])
    assert (found.values["noise_0"] == found.values["agreement"]).all()
    assert {len(values) for values in judge.judge(task, np.empty(0, dtype=np.uint64)).values.values()} == {0}


def test_nothing_can_be_said_without_other_data_a_pair_or_a_neuron() -> None:
    alike = criteria(XOR, torch.tensor([[0.0, 1.0], [0.0, 1.0]]), [OR], noise=[]).values
    assert np.isnan([alike[name][0] for name in ("shift", "sufficiency", "necessity")]).all()
    assert alike["complement"][0] == 1.0  # there is one answer
    one = criteria(XOR, torch.tensor([[0.0, 1.0]]), [OR], names=["interchange"])
    assert np.isnan(one.values["interchange"]).all() and np.isnan(one.resampled(np.array([0]), 3)["interchange"]).all()


def test_a_circuit_outside_the_family_has_no_rank_and_a_large_family_gives_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = criteria(XOR, SQUARE, [0b010001, OR], names=["rank"])
    assert np.isnan(found.values["rank"]).tolist() == [True, False]
    inside = criteria(XOR, SQUARE, [0b010001, OR], names=["rank"], inputs="any")
    assert not np.isnan(inside.values["rank"]).any()
    assert found.resampled(np.array([1]), 3)["rank"].shape == (1, 3)
    monkeypatch.setattr(rank, "MOST_RESAMPLED", 3)
    assert not criteria(XOR, SQUARE, [OR], names=["rank"]).resampled(np.array([0]), 3)
    monkeypatch.setattr(rank, "MOST", 3)
    assert np.isnan(criteria(XOR, SQUARE, [OR], names=["rank"]).values["rank"]).all()


def peak_of(function: Callable[[], object]) -> int:
    """The most bytes that are allocated at once."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_complement_of_many_distinct_answers_takes_little_memory() -> None:
    x = torch.arange(6_000.0)[:, None].repeat(1, 2)
    criteria(XOR, SQUARE, [OR], names=["complement"])  # compiles
    found: list[Criteria] = []
    assert peak_of(lambda: found.append(criteria(XOR, x, [OR], names=["complement"]))) < 20e6
    assert peak_of(lambda: found[0].resampled(np.array([0]), 20)) < 20e6
    assert len(np.unique(found[0].task.answers)) > 5_000


def test_circuits_as_rows_and_as_bits_take_a_byte_for_each_edge() -> None:
    edges = Edges((4, 8, 1))
    bits = np.random.default_rng(0).integers(0, 2**edges.n, 100_000, dtype=np.uint64)
    rows = edges.rows(bits)
    assert (rows[:50] == [[bool(one >> place & 1) for place in range(edges.n)] for one in bits[:50].tolist()]).all()
    assert (bits_of(rows) == bits).all() and rows.flags.writeable and not len(edges.rows(bits[:0]))
    assert peak_of(lambda: edges.rows(bits)) < 2 * rows.size and peak_of(lambda: bits_of(rows)) < 2 * rows.size


def test_the_losses_of_the_family_are_computed_once_for_all_circuits(monkeypatch: pytest.MonkeyPatch) -> None:
    part, kind = CASES["values, tanh"]
    task, family, of_kernel, n = task_of(part, kind), every_circuit(CircuitSpace(part.sizes)), rank.squares, []

    def noted(task: Task, kept: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        n.append(len(kept))
        return of_kernel(task, kept, weights)

    expected = judge.judge(replace(task), family, names=["rank"]).values["rank"]
    monkeypatch.setattr(rank, "squares", noted)
    sizes = np.bitwise_count(family)
    for of_size in (sizes == 6, sizes <= 6, sizes > 0, sizes > 0):
        found = judge.judge(task, family[of_size], names=["rank"]).values["rank"]
        assert (found == expected[of_size]).all()
    assert sum(n) == len(family) and n[-1] == 0


@pytest.mark.parametrize("sizes", [(3, 3, 1), (2, 2, 2, 1), (2, 3, 2), (4, 1), (2, 3)])
def test_the_family_has_every_circuit_once(sizes: tuple[int, ...]) -> None:
    rows = all_circuits(sizes)
    for inputs in FAMILIES:
        space = CircuitSpace(sizes, inputs)
        every = every_circuit(space)
        assert len(every) == space.count() and (np.diff(every.astype(np.int64)) > 0).all()
        assert space.are_well_formed(every).all()
    assert len(every) == len(rows)


# --- the kernel ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [None, torch.device("cpu")])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_the_outputs_are_those_of_masked_tensors(
    case: str, ablation: str, device: torch.device | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "AT_ONCE", 17)  # several chunks
    monkeypatch.setattr(device_runs, "NUMBERS_AT_ONCE", 50_000)
    part, kind = CASES[case]
    task = replace(task_of(part, kind, ablation, n=300), device=device)  # no whole number of blocks
    circuits = every_circuit(CircuitSpace(part.sizes, "any"))[:300]
    kept, full = task.edges.rows(circuits), part(task.x)
    hits = runs.hits(task, kept, runs.clean(task))
    assert (hits.sum(1) == runs.counts(task, kept, runs.clean(task))).all()
    squares, weights = runs.squares(task, kept), np.arange(600).reshape(300, 2)
    weighted = runs.squares(task, kept, weights)
    for row, circuit in enumerate(kept):
        x = task.x
        for layer, mask, mean in zip(part.layers, task.edges.masks(circuit), task.means, strict=True):
            kept_edges = torch.from_numpy(mask)
            bias = layer.bias + (layer.weight * ~kept_edges) @ mean
            x = layer.activate(x @ (layer.weight * kept_edges).T + bias)
        assert (hits[row] == (kind.answers(x) == torch.from_numpy(task.answers)).numpy()).all()
        by_row = (x - full).square().mean(1).numpy()
        assert squares[row] == pytest.approx(by_row.sum(), rel=1e-9, abs=1e-12)
        assert weighted[row] == pytest.approx(by_row @ weights, rel=1e-9, abs=1e-12)


def test_a_sum_of_many_terms_and_states_of_many_numbers() -> None:
    part = made((8, 3, 4, 1), "relu", "identity", 11)  # 40 edges: sums of up to eight terms
    task = task_of(part, Outputs.values, "mean", n=130)
    draw = np.random.default_rng(0)
    kept = task.edges.closed(draw.random((200, task.edges.n)) < 0.7)
    found = runs.squares(task, kept)
    for circuit, square in zip(kept, found, strict=True):
        x = task.x
        for layer, mask, mean in zip(part.layers, task.edges.masks(circuit), task.means, strict=True):
            kept_edges = torch.from_numpy(mask)
            x = layer.activate(x @ (layer.weight * kept_edges).T + layer.bias + (layer.weight * ~kept_edges) @ mean)
        assert square == pytest.approx((x - part(task.x)).square().sum().item(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("kind", [Outputs.values, Outputs.logit, Outputs.probability])
def test_bounds_are_where_the_answer_changes(activation: str, kind: Outputs) -> None:
    layer = Layer(torch.ones(1, 1), torch.zeros(1), activation, 0.1)
    z = torch.linspace(-7, 7, 57, dtype=torch.float64)  # has every multiple of ½ in it
    answers = kind.answers(layer.activate(z)[:, None]).numpy()
    low, high = bounds.bounds_of(layer, kind, answers)
    assert ((low <= z.numpy()) & (z.numpy() <= high)).all()
    for edge, beyond in ((low, -np.inf), (high, np.inf)):
        inside = np.isfinite(edge) & (low <= high)
        outside = torch.from_numpy(np.nextafter(edge[inside], beyond))
        assert (kind.answers(layer.activate(torch.from_numpy(edge[inside]))[:, None]).numpy() == answers[inside]).all()
        assert (kind.answers(layer.activate(outside)[:, None]).numpy() != answers[inside]).all()


def test_an_output_that_falls_is_compared_after_its_activation() -> None:
    falling = replace(XOR.layers[-1], activation="leaky_relu", slope=-1.0)
    part = replace(XOR, layers=(XOR.layers[0], falling))
    found = criteria(part, SQUARE, [AND], names=["agreement"])  # |0 0 0 −2| against 0 1 1 0
    assert found.values["agreement"] == [1 / 4]


# --- resamples -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_resampled_values_are_those_of_the_drawn_examples(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mi_runner.methods.criteria.task.NOISY", 50)
    monkeypatch.setattr(runs, "NUMBERS", 50)  # many blocks
    part, kind = CASES[case]
    task = replace(task_of(part, kind, "mean", "any", n=20), pairs=10_000)
    circuits = every_circuit(CircuitSpace(part.sizes, "any"))[::7][:12]
    found, draw = judge.judge(task, circuits), np.random.default_rng(0)
    n, n_shift = len(task.x), len(task.shift)
    counts = np.stack([np.ones(n, dtype=int), np.bincount(draw.integers(0, n, n), minlength=n)], 1)
    shifted = np.stack([np.ones(n_shift, dtype=int), np.array([0, 3, 1, 0, 1])], 1)
    rows = np.arange(len(circuits))[::2]
    drawn = np.repeat(np.arange(n), counts[:, 1])
    # With means and the scale of noise from all examples, the same as judging the drawn ones one by one.
    for name, scores in found.scores.items():
        if name == "parsimony":
            assert scores.resampled is None
            continue
        if scores.resampled is None:
            assert np.isnan(scores.values).all()
            continue
        values = scores.resampled(rows, Weights(counts, shifted))
        assert values[:, 0] == pytest.approx(scores.values[rows], nan_ok=True, abs=1e-12)
        expected = _drawn(task, circuits[rows], name, drawn, np.repeat(np.arange(n_shift), shifted[:, 1]))
        assert values[:, 1] == pytest.approx(expected, nan_ok=True, abs=1e-12)


def _drawn(task: Task, circuits: np.ndarray, name: str, drawn: np.ndarray, shifted: np.ndarray) -> np.ndarray:
    """A criterion on the drawn examples, with the means and the noise of all of them.

    Pairs are all of two drawn examples that are not the same original one.
    """
    other = replace(task, x=task.x[drawn], shift=task.shift[shifted])
    vars(other)["means"] = task.means
    example, noise = task.draws
    place = np.concatenate([np.arange(len(task.x)) * 0 + copy for copy in range(len(example) // len(task.x))])
    rows = np.concatenate([drawn + copy * len(task.x) for copy in range(place.max() + 1)])
    vars(other)["draws"] = np.tile(np.arange(len(drawn)), place.max() + 1), noise[rows]
    base, source = (one.reshape(-1) for one in np.indices((len(drawn), len(drawn))))
    is_other = drawn[base] != drawn[source]
    vars(other)["any_pairs"] = base[is_other], source[is_other]
    return judge.judge(other, circuits, names=[name.partition("_")[0]]).values[name]


@pytest.mark.parametrize("case", ["values, leaky_relu", "values, tanh", "logits, tanh"])
@pytest.mark.parametrize("n_at_once", [10, 10_000])
def test_equal_examples_are_run_once_and_count_as_often_as_they_are(
    case: str, n_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mi_runner.methods.criteria.task.NOISY", 7)
    part, kind = CASES[case]
    few = task_of(part, kind, "mean", n=3)
    task = replace(few, x=few.x[[0, 1, 0, 2, 0, 1, 0]])
    family = every_circuit(CircuitSpace(part.sizes))
    some, rows = family[np.linspace(0, len(family) - 1, 4, dtype=int)], np.array([0, 3])
    weights = Weights(np.array([[1, 2, 0, 3, 0, 1, 0], [1] * 7, [0, 2, 2, 1, 1, 0, 1]]).T, np.ones((5, 3), dtype=int))
    each = {name: of.resampled(rows, weights) for name, of in judge.judge(task, some).scores.items() if of.resampled}
    monkeypatch.setattr(runs, "is_quicker", lambda n_groups, n: n_groups < n)
    monkeypatch.setattr(runs, "NUMBERS", n_at_once)
    monkeypatch.setattr("mi_runner.methods.criteria.interchange.NUMBERS", n_at_once)
    monkeypatch.setattr("mi_runner.methods.criteria.interchange.PAIRS_AT_ONCE", n_at_once)
    grouped = replace(task)
    assert len(runs.clean(grouped)) == 3
    found, loops = judge.judge(grouped, some), Loops(task)
    for row, circuit in enumerate(some.tolist()):
        expected = loops.all(circuit, family.tolist())
        assert values_by_name(found, row) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert len(each) > 5
    for name, values in each.items():
        assert found.scores[name].resampled(rows, weights) == pytest.approx(values, abs=1e-12, nan_ok=True)


def test_the_kernel_runs_each_of_equal_examples_once(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    of_kernel = kernel.ask

    def noted(*given: Any) -> None:
        widths.append(len(given[1]))
        of_kernel(*given)

    monkeypatch.setattr(kernel, "ask", noted)
    x, names = SQUARE.repeat(1_000, 1), ["agreement", "sufficiency", "necessity", "interchange", "complement", "rank"]
    found = criteria(XOR, x, [OR, AND], names=names)
    found.resampled(np.array([0, 1]), 3)
    assert len(widths) >= 12 and set(widths) == {1}  # blocks of rows
    few = criteria(XOR, SQUARE, [OR, AND], names=["agreement", "complement", "rank"]).values
    for name, values in few.items():
        assert found.values[name] == pytest.approx(values)


def test_resamples_are_drawn_alike_for_all_criteria_and_by_the_seed() -> None:
    x = torch.cat([SQUARE, torch.tensor([[2.0, 1.0]])])
    found = criteria(XOR, x, [OR, AND, 0b111111], noise=[0.0], shift=x[:2])
    rows = np.array([2, 0])
    one, same, other = (found.resampled(rows, 40, seed=seed) for seed in (0, 0, 1))
    for name, values in one.items():
        assert np.array_equal(values, same[name], equal_nan=True)
        assert values.shape == (2, 1 if name == "parsimony" else 40)
    assert (one["agreement"] == one["noise_0"]).all() and (one["agreement"] != other["agreement"]).any()
    assert (one["agreement"][0] == 1).all() and np.unique(one["agreement"][1]).size > 2


def test_a_resample_without_a_pair_says_nothing() -> None:
    found = criteria(XOR, SQUARE, [OR], names=["sufficiency", "interchange"])
    weights = Weights(np.array([[4, 2], [0, 2], [0, 0], [0, 0]]))
    again = {name: scores.resampled(np.array([0]), weights) for name, scores in found.scores.items()}
    assert np.isnan(again["sufficiency"][0]).tolist() == [True, False]
    # Pairs of (0, 0) and (0, 1), both ways: with the second neuron's part, 0 in both, nothing changes.
    assert again["sufficiency"][0, 1] == again["interchange"][0, 1] == 1.0


# --- the task, records and errors ------------------------------------------------------------------------------------


def test_pairs_qualify_and_are_all_where_they_are_few() -> None:
    task = task_of(CASES["values, tanh"][0], Outputs.values, n=30)
    base, source = replace(task, pairs=2000).any_pairs
    assert len(base) == 30 * 29 and len(set(zip(base.tolist(), source.tolist(), strict=True))) == 30 * 29
    few = replace(task, pairs=100)
    for (base, source), labels in ((few.any_pairs, np.arange(30)), (few.differing_pairs, task.answers)):
        assert len(base) == 100 and (labels[base] != labels[source]).all()
    assert len(Task(XOR.to(DOUBLE), SQUARE.to(DOUBLE), pairs=2).any_pairs[0]) == 12  # all Boolean inputs, all pairs


def test_records_and_functions_of_one_s_own() -> None:
    def n_edges(task: Task, circuits: np.ndarray) -> np.ndarray:
        return np.bitwise_count(circuits) / task.edges.n

    steps: list[str] = []

    class Noted(Progress):
        def bar(self, description: str, total: int):
            bar = super().bar(description, total)
            steps.append(f"{description} {total}")
            return bar

    task = Task(XOR.to(DOUBLE), SQUARE.to(DOUBLE), noise=(0.1, 1.0))
    own = Criterion("edges", "share of edges", n_edges)
    found = judge.judge(task, np.array([OR], dtype=np.uint64), names=[own, "noise"], progress=Noted())
    assert list(found.values) == ["edges", "noise_0.1", "noise_1"] and steps == ["criteria 3"]
    assert list(found.resampled(np.array([0]), 2)) == ["noise_0.1", "noise_1"]  # of "edges" it isn't known how
    fixed = judge.judge(task, np.array([OR], dtype=np.uint64), names=["parsimony", "shift"])
    assert fixed.resampled(np.array([0]), 2)["parsimony"].tolist() == [[0.5]]
    assert np.isnan(fixed.resampled(np.array([0]), 2)["shift"]).all()
    for function, text in (
        (lambda task, circuits: np.ones(3), r"the criterion edges gives numbers of shape \(3,\), not \(1,\)"),
        (lambda task, circuits: Scores(np.array([2.0])), "the criterion edges gives a number outside 0 to 1"),
    ):
        with pytest.raises(ArgumentError, match=text):
            judge.judge(task, np.array([OR], dtype=np.uint64), names=[Criterion("edges", "", function)])


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"x": torch.zeros(2, 3)}, r"examples of shape \(2, 3\): give \(N, 2\), N at least 1"),
        ({"x": torch.zeros(0, 2)}, r"examples of shape \(0, 2\)"),
        ({"x": torch.full((2, 2), torch.nan)}, "a value of x is not finite"),
        ({"shift": torch.zeros(2)}, r"examples of shape \(2,\): give \(N, 2\)"),
        ({"circuits": [OR, 0b000001]}, "circuits=1: it is not well formed. Each hidden neuron has an incoming edge"),
        ({"circuits": [0]}, "circuits=0: it is not well formed"),
        ({"circuits": [0.5]}, r"circuits of shape \(1,\) and type float64: give \(K,\) whole numbers"),
        ({"circuits": [-1]}, "give .K,. whole numbers"),
        ({"pairs": 0}, "pairs=0: give at least 1"),
        ({"noise": [-0.1]}, "noise=-0.1: a standard deviation is finite and not below 0"),
        ({"noise": [math.inf]}, "noise=inf: a standard deviation is finite"),
        ({"noise": [0.1, 0.1]}, "two standard deviations are equal"),
        ({"names": ["agrement"]}, "no criterion is named 'agrement'. Use one of agreement, noise, shift, .*or give a"),
        ({"ablation": "median"}, "ablation=median: use zero or mean"),
        ({"inputs": "some"}, "inputs=some: there are all and any"),
        ({"kind": Outputs.logits}, "kind=logits: the part has 1 output: of one use values, logit or probability"),
    ],
)
def test_what_does_not_fit_is_said(changed: dict, text: str) -> None:
    given = {"x": SQUARE, "circuits": [OR], **changed}
    with pytest.raises(ArgumentError, match=text):
        criteria(XOR, given.pop("x"), given.pop("circuits"), **given)


def test_the_kernel_s_blocks_are_whole() -> None:
    values = np.arange(2.0 * (kernel.BLOCK + 1)).reshape(2, -1)
    found = runs.in_blocks(values, -1.0)
    assert found.shape == (2, 2, kernel.BLOCK) and (found[0] == values[:, : kernel.BLOCK]).all()
    assert (found[1, :, 0] == values[:, -1]).all() and (found[1, :, 1:] == -1).all()
    assert runs.in_blocks(np.ones((2, kernel.BLOCK)), 0.0).shape == (1, 2, kernel.BLOCK)
