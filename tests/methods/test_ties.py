"""Ties and boundaries of circuits, searches and groundings: values that are exactly equal, and counts at their limits.

Weights and inputs here are whole numbers, halves or quarters, so that sums are exact and ties are ties.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.experiments import Setting
from mi_runner.experiments.circuits import exact
from mi_runner.experiments.circuits import experiment as circuits
from mi_runner.experiments.discovery import judgement as discovery_judgement
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits import blocks
from mi_runner.methods.circuits import census as census_module
from mi_runner.methods.circuits.census import take_census
from mi_runner.methods.circuits.edges import Edges, bits_of
from mi_runner.methods.circuits.examples import CircuitExamples, fewest_above
from mi_runner.methods.circuits.measures import CircuitMeasures
from mi_runner.methods.circuits.minimality import LEVELS, minimality_by_search, validity
from mi_runner.methods.circuits.search import search_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.discovery import curves, edge_pruning, gates
from mi_runner.methods.discovery.find import Task, find
from mi_runner.methods.discovery.masked import MaskedPart
from mi_runner.methods.discovery.optimum import EveryCircuit, SampledCircuits
from mi_runner.methods.discovery.search import acdc
from mi_runner.methods.explanations import groundings
from mi_runner.methods.explanations.boolean import BooleanNetwork
from mi_runner.methods.pruning import prune
from mi_runner.models.mlp import MLP
from mi_runner.training.options import TrainingOptions
from tests.small_data import values
from tests.small_parts import halves_part, random_part


def chain(*weights: list[list[float]], activation: str = "relu", biases: list[list[float]] | None = None) -> Part:
    """Layers of these weights; the last has no activation, and biases are 0 unless they are given."""
    given = biases or [[0.0] * len(weight) for weight in weights]
    kinds = [activation] * (len(weights) - 1) + ["identity"]
    layers = zip(weights, given, kinds, strict=True)
    return Part(tuple(Layer(torch.tensor(weight), torch.tensor(bias), kind) for weight, bias, kind in layers))


def every_edge_set(sizes: tuple[int, ...]) -> np.ndarray:
    """Every closed circuit but the empty one, by trying all sets of edges."""
    edges = Edges(sizes)
    every = (np.arange(2**edges.n)[:, None] >> np.arange(edges.n) & 1).astype(bool)
    return every[(edges.closed(every) == every).all(1) & every.any(1)]


# --- valid: an accuracy that is exactly the threshold ----------------------------------------------------------------


def test_an_accuracy_equal_to_the_threshold_is_not_valid() -> None:
    """Three of four answers are correct: 0.75 is not above 0.75."""
    part = chain([[1.0]], [[1.0]])
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    examples = CircuitExamples(x, torch.tensor([0.0, 1.0, 2.0, 9.0]), x[:, 0])
    full = np.ones((1, 2), dtype=bool)
    for threshold, valid in ((0.75, False), (0.7499999, True), (0.5, True)):
        assert search_circuits(part, examples, accuracy_threshold=threshold).n_valid == valid
        assert validity(part, examples, threshold)(full).tolist() == [valid]
        counted = search_circuits(part, examples, accuracy_threshold=threshold, max_table_rows=0, most_listed=1)
        assert counted.n_valid == valid


def test_the_fewest_correct_answers_by_fractions() -> None:
    """As the threshold is typed: with two decimals, on any number of examples."""
    for n in (1, 3, 7, 50, 100, 300, 2115):
        for hundredths in range(101):
            wanted = next((c for c in range(n + 1) if Fraction(c, n) > Fraction(hundredths, 100)), n + 1)
            assert fewest_above(n, float(f"0.{hundredths:02}") if hundredths < 100 else 1.0) == wanted


# --- minimality at its limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "is_exact"), [(14, True), (13, False)])
def test_as_many_sub_circuits_as_the_limit_are_searched(most: int, is_exact: bool) -> None:
    """Four edges into one output have 14 sub-circuits, those without an edge not counted: 4 + 6 + 4."""
    asked = []

    def is_valid(kept: np.ndarray) -> np.ndarray:
        asked.extend(bits_of(kept).tolist())
        return kept.all(1)

    levels, exact = minimality_by_search((4, 1), np.ones((1, 4), dtype=bool), is_valid, fewest=4, most=most)
    assert exact.tolist() == [is_exact]
    assert LEVELS[levels[0]] == ("cardinal" if is_exact else "local")
    assert (len(set(asked)) == 14) == is_exact


@pytest.mark.parametrize(("more", "is_known"), [(0, True), (-1, False)])
def test_a_sample_as_large_as_the_limit_has_levels(more: int, is_known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    model = MLP([6, 4, 2, 2, 1], torch.nn.LeakyReLU, torch.nn.LeakyReLU())
    config = CircuitsConfig(accuracy_threshold=0.5, max_table_rows=30)
    monkeypatch.setattr(exact, "MOST_LEVELLED", 30 + more)
    table = circuits.run(Setting(config, TrainingOptions(), model.eval(), values(70))).tables["circuits"]
    assert len(table) == 30 and bool(table["minimality"].notna().any()) == is_known


# --- a census --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 3, 1000])
@pytest.mark.parametrize(
    ("seed", "sizes"), [(0, (2, 2, 2, 1)), (1, (2, 2, 2, 1)), (16, (2, 2, 2, 1)), (1, (2, 2, 1, 1))]
)
def test_a_census_rounds_half_integers_to_even(
    block: int, seed: int, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each circuit by its definition, in Python's whole numbers of quarters."""
    monkeypatch.setattr(blocks, "BLOCK", block)
    part = halves_part(sizes, seed)
    grid = list(itertools.product(range(-2, 4), repeat=2))
    x = torch.tensor(grid, dtype=torch.float32)
    target = torch.tensor([float((3 * a + b) % 3) for a, b in grid])
    examples = CircuitExamples(x, target, part(x)[:, 0])
    space = CircuitSpace(part.sizes)
    family = [c for c in range(space.full + 1) if space.is_well_formed(c)]
    outputs = {circuit: [by_fractions(part, space.masks(circuit), row) for row in grid] for circuit in family}
    n_ties = sum(value.denominator == 2 for row in outputs.values() for value in row)
    assert n_ties > 20
    correct = [
        sum(round(value) == wanted for value, wanted in zip(outputs[c], target.tolist(), strict=True)) for c in family
    ]
    census, _ = take_census(part, examples, int(np.median(correct)), most_listed=0)
    expected = np.zeros_like(census.counts)
    bits = np.array(family, dtype=np.uint64)
    np.add.at(expected, (space.n_active(bits), np.bitwise_count(bits), correct), 1)
    assert np.array_equal(census.counts, expected)


def by_fractions(part: Part, masks: list[np.ndarray], row: tuple[int, ...]) -> Fraction:
    """The output of one circuit of ReLU layers, exactly; Python's round is half to even."""
    numbers = [Fraction(value) for value in row]
    for place, (layer, mask) in enumerate(zip(part.layers, masks, strict=True)):
        sums = []
        for weights, bias, kept in zip(layer.weight.tolist(), layer.bias.tolist(), mask.tolist(), strict=True):
            total = Fraction(bias) + sum(
                Fraction(weight) * value for weight, value, k in zip(weights, numbers, kept, strict=True) if k
            )
            is_last = place == len(masks) - 1
            sums.append((total if is_last else max(total, Fraction(0))) if any(kept) else Fraction(0))
        numbers = sums
    return numbers[0]


def order_of(circuit: int, salt: int) -> int:
    """SplitMix64's last step, in Python's integers."""
    z = circuit ^ salt
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


@pytest.mark.parametrize("most", [1, 7, 300, 2500])
def test_a_census_of_many_batches_lists_the_first_of_the_order(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch has one prefix; the sample, the counts and the edges are those of all batches together."""
    monkeypatch.setattr(census_module, "COUNTED_AT_ONCE", 1)
    n_batches = 0
    gather = census_module._Sample.gather

    def counted(sample: object, **options: bool) -> None:
        nonlocal n_batches
        n_batches += not options
        gather(sample, **options)

    monkeypatch.setattr(census_module._Sample, "gather", counted)
    part = random_part((2, 3, 3, 1), ["relu"] * 3, seed=4)
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(1))
    examples = CircuitExamples(x, (x[:, 0] > 0).float(), part(x)[:, 0])
    table = search_circuits(part, examples, accuracy_threshold=0.4)
    least = table.least_correct
    valid = sorted(table.valid.tolist(), key=lambda circuit: order_of(circuit, 99))
    assert len(valid) > 2500
    census, listed = take_census(part, examples, least, most, salt=99)
    assert n_batches > 20
    assert listed.tolist() == sorted(valid[:most])
    assert np.array_equal(census.counts, table.counts) and np.array_equal(census.edge_counts, table.edge_counts)


# --- methods ---------------------------------------------------------------------------------------------------------


def test_acdc_keeps_an_edge_that_costs_exactly_the_threshold() -> None:
    """Output 3a + 2b of a = b = x = ±1. The full output is 5x, L(∅) = 25; without b's edge L = 4, without a's L = 9."""
    part = chain([[1.0], [1.0]], [[3.0, 2.0]], activation="identity")
    x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    masked = MaskedPart(part, x, torch.zeros(2, dtype=torch.float64), "zero")
    thresholds = np.array([0.15, 0.16, 0.17])  # 25 · 0.16 is 4 exactly, also in float64
    assert 25 * 0.16 == 4
    found = acdc(masked, thresholds=thresholds).circuits[0].astype(int).tolist()
    assert found == [[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 1, 0]]


@pytest.mark.parametrize(("threshold", "is_kept"), [(0.0, True), (1e-12, False)])
def test_pruning_cuts_what_costs_less_than_the_threshold(threshold: float, is_kept: bool) -> None:
    """An edge of weight 0 costs nothing: not less than 0, but less than any threshold above."""
    part = chain([[0.0, 1.0], [2.0, 0.0]], [[1.0, -1.0], [-2.0, 1.0]])
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0], [-1.0, 0.5]])
    probability = part(x).softmax(1)[:, 0]
    kept = prune(part, x, probability, 0, threshold=threshold)
    assert [bool(kept[0][0, 0]), bool(kept[0][1, 1])] == [is_kept, is_kept]
    assert kept[0][0, 1] and kept[0][1, 0] and kept[1].all()


def test_edge_pruning_says_the_passes_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples that go through a gated copy of the part, counted as they go, over all examples."""
    part = halves_part((3, 2, 1), seed=1)
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    passed = []
    evaluator = gates.outputs_of_circuits

    def counted(part: Part, values: torch.Tensor, x: torch.Tensor, means: object) -> object:
        passed.append(len(values) * x.shape[1])
        return evaluator(part, values, x, means)

    monkeypatch.setattr(gates, "outputs_of_circuits", counted)
    monkeypatch.setattr(edge_pruning, "STEPS", 7)
    monkeypatch.setattr(gates, "BATCH", 30)
    draw = torch.Generator().manual_seed(0)
    found = find("edge_pruning", Task(part, x, (x[:, 0] > 0).double(), "zero"), np.arange(9), generator=draw)
    of_empty, *steps = passed  # the empty circuit, which scales the penalties
    assert of_empty == 100 and len(steps) == 7 and set(steps) == {9 * 30}
    assert found.n_forward == round(sum(steps) / 100) == 19


# --- percentiles and the optimum -------------------------------------------------------------------------------------


def with_ties() -> tuple[Part, torch.Tensor, torch.Tensor]:
    """The second hidden neuron is always 0, so each circuit has twins that differ in its edges alone."""
    part = chain([[1.0, -1.0], [-1.0, -1.0]], [[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.5]])
    x = torch.tensor(list(itertools.product((0.0, 1.0, 2.0), repeat=2)), dtype=torch.float64)
    return part, x, (x[:, 0] > 0).double()


def exact_squares(part: Part, circuits_: np.ndarray, x: torch.Tensor) -> list[Fraction]:
    """The sum of squared differences to the full network's outputs, by fractions."""
    space = CircuitSpace(part.sizes)
    rows = [tuple(map(int, row)) for row in x.tolist()]
    full = [by_fractions(part, space.masks(space.full), row) for row in rows]
    return [
        sum(
            ((by_fractions(part, space.masks(bits), row) - own) ** 2 for row, own in zip(rows, full, strict=True)),
            Fraction(0),
        )
        for bits in bits_of(circuits_).tolist()
    ]


def test_a_percentile_by_hand() -> None:
    """2 smaller and 3 equal of 10 others: 3.5 of 10; alone there is none."""
    found = curves.percentile(np.array([2, 0, 0]), np.array([3, 0, 9]), np.array([11, 1, 10]))
    assert found[0] == 0.35 and np.isnan(found[1]) and found[2] == 0.5


def test_equal_circuits_count_half_in_a_percentile() -> None:
    part, x, y = with_ties()
    full = part(x.float())[:, 0]
    examples = CircuitExamples(x.float(), y.float(), full)
    every_listed = search_circuits(part, examples, accuracy_threshold=0.5, inputs="any")
    every = EveryCircuit(every_listed.space, every_listed.listed)
    family = every_edge_set(part.sizes)
    squares, n_edges = exact_squares(part, family, x), family.sum(1)
    expected, n_tied = [], 0
    for place, own in enumerate(squares):
        others = [s for i, s in enumerate(squares) if n_edges[i] == n_edges[place] and i != place]
        smaller, equal = sum(s < own for s in others), sum(s == own for s in others)
        n_tied += equal > 0
        expected.append((smaller + equal / 2) / len(others) if others else np.nan)
    assert n_tied > 50
    assert np.allclose(every.percentiles(family), expected, atol=1e-12, equal_nan=True)
    masked = MaskedPart(part, x, y, "zero")

    def all_of_size(k: int, n: int) -> np.ndarray:
        return family[n_edges == k]

    sampled = SampledCircuits(masked, all_of_size, 1)
    found, low, high = sampled.percentiles(family, masked.objective(family))
    inner = n_edges < masked.edges.n
    assert np.allclose(found[inner], np.array(expected)[inner], atol=1e-12)
    assert (low[inner] <= found[inner]).all() and (found[inner] <= high[inner]).all()


def test_the_empty_circuit_has_a_place_among_circuits_of_each_size() -> None:
    """Equal ones count half; at a size that no circuit has, those of the next smaller size count."""
    part, x, y = with_ties()
    masked = MaskedPart(part, x, y, "zero")
    listed = search_circuits(
        part, CircuitExamples(x.float(), y.float(), part(x.float())[:, 0]), accuracy_threshold=0.5, inputs="any"
    )
    every = EveryCircuit(listed.space, listed.listed)
    family = every_edge_set(part.sizes)
    squares, n_edges = exact_squares(part, family, x), family.sum(1)
    own = exact_squares(part, np.zeros((1, 10), dtype=bool), x)[0]
    sampled = SampledCircuits(masked, lambda k, n: family[n_edges == k], 1)
    n_tied = 0
    for k in range(3, 10):
        others = [s for s, n in zip(squares, n_edges, strict=True) if n == k]
        n_tied += sum(s == own for s in others)
        expected = (sum(s < own for s in others) + sum(s == own for s in others) / 2) / len(others)
        assert every.percentile_of_empty(float(own), k) == expected
        found, low, high = sampled.percentile_of_empty(k)
        assert found == expected and low <= found <= high
    assert n_tied > 10
    one_path = np.array([[True, True]])

    def of_two_edges(k: int, n: int) -> np.ndarray:
        if k != 2:
            raise ValueError(f"k={k}: there is no such circuit.")
        return one_path

    small = MaskedPart(chain([[1.0]], [[1.0]]), x[:, :1], y, "zero")
    assert SampledCircuits(small, of_two_edges, 1).percentile_of_empty(5)[0] == 1.0


def test_the_optimum_is_the_lowest_in_float64_where_float32_says_another() -> None:
    """The table's sums of squares are in float32, where the two best circuits of a size have changed places."""
    part = random_part((2, 2, 2, 1), ["leaky_relu"] * 3, seed=11)
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = (x[:, 0] > 0).double()
    masked = MaskedPart(part, x, y, "zero")
    listed = search_circuits(
        part, CircuitExamples(x.float(), y.float(), part(x.float())[:, 0]), accuracy_threshold=0.5, inputs="any"
    ).listed.sorted()
    kept = Edges(part.sizes).rows(listed.circuit)
    exact, n_edges = masked.objective(kept), kept.sum(1)
    rows = np.flatnonzero(n_edges == 7)
    assert len(np.unique(exact[rows])) > 2
    first, second = rows[np.argsort(exact[rows])][:2]
    squares = listed.squares.copy()
    squares[first], squares[second] = squares[second], squares[first]
    wrong = CircuitMeasures(listed.circuit, listed.n_correct, listed.n_agreeing, squares)
    every = EveryCircuit(CircuitSpace(part.sizes, "any"), wrong)
    best = every.best(masked, np.zeros((0, masked.edges.n), dtype=bool))
    for k in range(masked.edges.n + 1):
        of_at_most = [*exact[n_edges <= k], float(masked.objective(masked.edges.empty)[0])]
        assert best.mse[k] == pytest.approx(min(of_at_most), rel=1e-12, abs=1e-15)


def test_the_best_accuracy_is_never_below_the_tables() -> None:
    """An output on a rounding boundary: float32 answers one example more. Regret may not be negative then."""
    part = halves_part((2, 2, 2, 1), seed=3)
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = (x[:, 1] > 0).double()
    listed = search_circuits(
        part, CircuitExamples(x.float(), y.float(), part(x.float())[:, 0]), accuracy_threshold=0.5, inputs="any"
    ).listed.sorted()
    n_edges = np.bitwise_count(listed.circuit)
    most = int(listed.n_correct.max())
    row = int(np.flatnonzero(listed.n_correct == most)[0])
    n_correct = listed.n_correct.copy()
    n_correct[row] = most + 1
    raised = CircuitMeasures(listed.circuit, n_correct, listed.n_agreeing, listed.squares)
    masked = MaskedPart(part, x, y, "zero")
    space = CircuitSpace(part.sizes, "any")
    best = EveryCircuit(space, raised).best(masked, space.edges.rows(listed.circuit[:0]))
    for k in range(int(n_edges[row]), masked.edges.n + 1):
        assert best.accuracy[k] == (most + 1) / 30


def test_a_circuit_with_as_much_work_as_the_limit_has_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of the search below sampled circuits: edges of the circuit times all edges times examples."""
    part, x, y = with_ties()
    task = Task(part, x, y, "zero")
    judged = object.__new__(discovery_judgement.Judged)
    judged.masked, judged.edges, judged.n_examples, judged.least_right = task.masked(), Edges(part.sizes), 9, 1
    judged.valid_by = "task"
    judged.every = judged.space = None
    full = judged.edges.full
    for more, is_known in ((0, True), (-1, False)):
        monkeypatch.setattr(discovery_judgement, "MOST_WORK_OF_MINIMALITY", 10 * 10 * 9 + more)
        levels, _ = judged._levels(full, np.array([True]))
        assert (levels[0] != "") == is_known


# --- groundings ------------------------------------------------------------------------------------------------------


def test_a_grounding_with_a_neuron_of_one_value_does_not_hold() -> None:
    """Below its lowest value or above its highest a threshold reads the neuron as always 1 or always 0."""
    network = BooleanNetwork.of(chain([[1.0, -1.0], [-1.0, 1.0]], [[1.0, 1.0]]))
    (grounding,) = groundings.list_groundings(network, network.space.full)
    *before, last = grounding.neurons
    for threshold, table, local in ((-1.0, 0b1111, 0b1111), (1.5, 0, 0)):
        changed = replace(last, threshold=threshold, table=table, local_table=local)
        assert not groundings.grounding_holds(network, replace(grounding, neurons=(*before, changed)))
    assert groundings.grounding_holds(network, grounding)


def test_a_hidden_neuron_of_one_value_has_no_threshold() -> None:
    """The second hidden neuron is 0 on all inputs: no circuit with it has a grounding, those without it do."""
    network = BooleanNetwork.of(chain([[1.0, 2.0], [-1.0, -1.0]], [[1.0, 1.0]]))
    space = network.space
    both, alone = space.full, 0b010011  # alone: both inputs to the first neuron, and it to the output
    found = groundings.thresholds(network, np.array([both, alone], dtype=np.uint64))
    assert found.n_tables.tolist() == [[3, 0, 3], [3, 0, 3]]
    assert groundings.count_groundings(network, np.array([both, alone], dtype=np.uint64)) == [0, 3]


def test_groundings_in_many_bits_are_exact() -> None:
    """Five copies of a neuron with the values 0, 1, 2, 3, twice: counted by a sum over all thresholds in Python."""
    copies = BooleanNetwork.of(chain([[1.0, 2.0]] * 5, [[1.0] * 5] * 5, [[0.2] * 5]))
    (count,) = groundings.count_groundings(copies, np.array([copies.space.full], dtype=np.uint64))
    values_of = [a + 2 * b for a, b in itertools.product((0, 1), repeat=2)]
    tables = [tuple(value > threshold for value in values_of) for threshold in (0, 1, 2)]
    choices = list(itertools.product(tables, repeat=5))

    def ways(parents: tuple[tuple[bool, ...], ...]) -> dict[tuple[bool, ...], int]:
        """For each table, the local tables of five parents that give it."""
        patterns = list(zip(*parents, strict=True))
        n_free = 2**5 - len(set(patterns))
        return {
            table: 2**n_free if len(set(zip(patterns, table, strict=True))) == len(set(patterns)) else 0
            for table in tables
        }

    of_output = {chosen: sum(ways(chosen).values()) for chosen in choices}
    expected = 0
    for first in choices:
        each = ways(first)
        if not any(each.values()):
            continue
        possible = [table for table in tables if each[table]]
        for second in itertools.product(possible, repeat=5):
            product = of_output[second]
            for table in second:
                product *= each[table]
            expected += product
    assert count == expected > 2**150
