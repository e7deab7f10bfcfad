"""Groundings, algorithms and alignments: a network planted by hand, published numbers, and lists by brute force."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mi_runner.datasets.algorithms import (
    Algorithm,
    algorithms,
    apply_gate,
    check_size,
    count_trees,
    depth_of,
    inner_nodes,
)
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.explanations import alignments, groundings, sampling
from mi_runner.methods.explanations.alignments import Alignment, Interchange, NeuronSet
from mi_runner.methods.explanations.boolean import BooleanNetwork, digits_of
from mi_runner.methods.explanations.explain import explain, own_table
from tests.boolean_networks import AND, NIMP, OR, PLANTED, XOR, chain, in_float32, random_network, well_formed

# --- the planted network -------------------------------------------------------------------------------------------


def test_the_planted_network_has_one_grounding() -> None:
    """Of the output's local tables OR and XOR both fit, because its parents are never both 1; XOR is not allowed."""
    assert PLANTED.answers() == XOR and PLANTED.outputs().tolist() == [0, 1, 1, 0]
    full = PLANTED.space.full
    assert groundings.count_groundings(PLANTED, np.array([full], dtype=np.uint64)) == [1]
    (grounding,) = groundings.list_groundings(PLANTED, full)
    assert [(node.layer, node.neuron, node.threshold, digits_of(node.table, 4)) for node in grounding.neurons] == [
        (1, 0, 0.5, "0010"),
        (1, 1, 0.5, "0100"),
        (2, 0, 0.5, "0110"),
    ]
    assert [node.local_digits for node in grounding.neurons] == ["0010", "0100", "0111"]
    assert groundings.grounding_holds(PLANTED, grounding)


def test_of_the_planted_network_one_of_two_algorithms_is_aligned() -> None:
    both = algorithms(XOR, 2, 2)
    assert [each.formula for each in both] == ["¬(A ∧ B) ∧ (A ∨ B)", "(A ∧ ¬B) ∨ (¬A ∧ B)"]
    interchange = Interchange(PLANTED)
    without, with_one = map(interchange.align, both)
    assert without.single == without.joint == ()
    expected = Alignment(both[1], (NeuronSet(1, (0,)), NeuronSet(1, (1,))))
    assert with_one.single == with_one.joint == (expected,)
    assert alignments.alignment_holds(PLANTED, expected, joint=True)
    assert not alignments.alignment_holds(PLANTED, Alignment(both[1], (NeuronSet(1, (1,)), NeuronSet(1, (0,)))))
    assert not alignments.alignment_holds(PLANTED, Alignment(both[1], (NeuronSet(1, (0,)), NeuronSet(1, (0,)))))


def test_a_neuron_of_one_value_leaves_its_circuit_without_groundings() -> None:
    dead = BooleanNetwork.of(chain(([[1.0, 0.0], [-1.0, -1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])))
    assert groundings.count_groundings(dead, np.array([dead.space.full], dtype=np.uint64)) == [0]
    assert groundings.list_groundings(dead, dead.space.full) == []


def test_an_output_of_exactly_a_half_is_an_error() -> None:
    half = BooleanNetwork.of(chain(([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), ([[0.5, 1.0]], [0.0])))
    with pytest.raises(ValueError, match="output is exactly 0.5 on input 10"):
        half.answers()
    with pytest.raises(ValueError, match=r"exactly 0\.5 on input number 2"):
        groundings.count_groundings(half, np.array([half.space.full], dtype=np.uint64))


def test_a_network_in_float32_says_how_to_make_it() -> None:
    """Its outputs would be rounded another way than the kernels' are."""
    with pytest.raises(ValueError, match=r"weights are float32 on cpu: make the network by BooleanNetwork\.of\(part\)"):
        BooleanNetwork(in_float32(PLANTED))
    assert BooleanNetwork.of(in_float32(PLANTED)).answers() == PLANTED.answers()


# --- groundings ----------------------------------------------------------------------------------------------------


def count_by_trying(network: BooleanNetwork, circuit: int) -> int:
    """Every combination of thresholds, and for each neuron every one of the 2^2^k local tables."""
    masks = network.space.masks(circuit)
    before = [[int(value) for value in row] for row in network.inputs.T.tolist()]
    options = []
    values = network.inputs
    for number, (layer, mask) in enumerate(zip(network.part.layers, masks, strict=True), start=1):
        kept = torch.as_tensor(mask)
        values = layer.activate(values @ (layer.weight * kept).T + layer.bias)
        values = values * kept.any(1) if number < len(masks) else values.round()
        for j in range(mask.shape[0]):
            if mask[j].any():
                column = values[:, j]
                tables = [(column > low).int().tolist() for low in sorted(set(column.tolist()))[:-1]]
                options.append([(number, j, table) for table in tables])
    total = 0
    for choice in itertools.product(*options):
        tables = {(0, i): row for i, row in enumerate(before)} | {(number, j): table for number, j, table in choice}
        ways = 1
        for number, j, table in choice:
            if number == 1:
                continue
            parents = [tables[number - 1, i] for i in np.flatnonzero(masks[number - 1][j])]
            fitting = 0
            for local in itertools.product((0, 1), repeat=2 ** len(parents)):
                if len(parents) == 2 and local in ((0, 1, 1, 0), (1, 0, 0, 1)):
                    continue
                combinations = [int("".join(map(str, bits)), 2) for bits in zip(*parents, strict=True)]
                fitting += [local[place] for place in combinations] == table
            ways *= fitting
        total += ways
    return total


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from([(2, 2, 1), (2, 2, 2, 1), (2, 3, 1), (2, 3, 2, 1), (3, 2, 2, 1), (2, 2, 2, 2, 1)]),
    st.integers(0, 99),
)
def test_groundings_counted_are_those_found_by_trying(sizes: tuple[int, ...], seed: int) -> None:
    network = random_network(sizes, seed)
    every = well_formed(network, 200, seed)
    of_all = groundings.count_groundings(network, np.array(every, dtype=np.uint64))
    # Two of any kind, and the two with the fewest groundings among those that have some.
    some = sorted((count, circuit) for count, circuit in zip(of_all, every, strict=True) if count)[:2]
    circuits = [*every[:2], *(circuit for _, circuit in some)]
    counts = [*of_all[:2], *(count for count, _ in some)]
    for circuit, count in zip(circuits, counts, strict=True):
        assert count == count_by_trying(network, circuit)
        listed = groundings.list_groundings(network, circuit, most=3000)
        assert len(listed) == len(set(listed)) == min(count, 3000)
        assert all(groundings.grounding_holds(network, grounding) for grounding in listed[:: max(1, len(listed) // 20)])


def test_the_networks_of_this_test_have_groundings() -> None:
    for seed in range(10):
        network = random_network((2, 3, 2, 1), seed)
        counts = groundings.count_groundings(network, np.array(well_formed(network, 200, 0), dtype=np.uint64))
        if sum(count > 0 for count in counts) > 5 and max(counts) > 5:
            return
    pytest.fail("none of ten networks has groundings")


def test_counts_of_any_size_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modulo primes and put together they are what they are computed directly; beyond 64 bits the primes remain."""
    network = random_network((2, 3, 3, 1), 5)
    circuits = np.array([network.space.full, *well_formed(network, 30, 1)], dtype=np.uint64)
    direct = groundings.count_groundings(network, circuits)
    monkeypatch.setattr(groundings, "PLAIN_BITS", 0)
    assert groundings.count_groundings(network, circuits) == direct and max(direct) > 1000
    primes = groundings.primes_for(200)
    assert math.prod(primes) > 2**200 and primes[0] == 2**31 - 1
    large = 3**120
    assert groundings.from_remainders([large % prime for prime in primes], primes) == large


def test_a_wide_layer_has_more_groundings_than_64_bits_hold() -> None:
    """Five copies of one neuron: their parents' combinations that never occur are 2⁵ − 2, for each of five readers."""
    copies = BooleanNetwork.of(
        chain(([[1.0, 2.0]] * 5, [0.0] * 5), ([[1.0] * 5] * 5, [0.0] * 5), ([[0.2] * 5], [0.0]), activation="relu")
    )
    # The values are 0, 2, 1, 3 times a factor: three thresholds each.
    (count,) = groundings.count_groundings(copies, np.array([copies.space.full], dtype=np.uint64))
    assert isinstance(count, int) and count > 2**100


def test_a_changed_grounding_does_not_hold() -> None:
    (grounding,) = groundings.list_groundings(PLANTED, PLANTED.space.full)
    *before, last = grounding.neurons
    for changed in (
        replace(last, local_table=XOR),
        replace(last, threshold=1.5),
        replace(last, table=AND),
        replace(last, parents=(0,)),
    ):
        assert not groundings.grounding_holds(PLANTED, replace(grounding, neurons=(*before, changed)))
    assert not groundings.grounding_holds(PLANTED, replace(grounding, neurons=tuple(before)))


WITH_MANY_VALID = 8
"""Seed of a random network 2-3-3-1 that has hundreds of valid circuits for its own function, which isn't constant."""


def test_a_total_is_estimated_where_not_all_circuits_are_listed() -> None:
    """By a census and samples of each number of edges, against the count of all; what is exact stays exact."""
    part = in_float32(random_network((2, 3, 3, 1), WITH_MANY_VALID))
    table = own_table(part)
    exact = explain(part, table, max_depth=1)
    assert exact.is_complete and exact.total.low == exact.total.value == exact.total.high == sum(exact.groundings)
    covered = 0
    for seed in range(8):
        sampled = explain(part, table, max_depth=1, max_table_rows=1000, sample=60, seed=seed)
        assert sampled.circuits.n_valid == exact.circuits.n_valid > len(sampled.groundings) == 60
        assert sampled.n_groundings_partial is None
        assert sampled.total.low is not None and sampled.total.high is not None
        assert sampled.total.low < sampled.total.value < sampled.total.high
        assert sampled.total.value == pytest.approx(exact.total.value, rel=0.5)
        covered += sampled.total.low <= exact.total.value <= sampled.total.high
    assert covered >= 6


def test_strata_are_all_valid_circuits_of_their_numbers_of_edges() -> None:
    part = in_float32(random_network((2, 3, 3, 1), WITH_MANY_VALID))
    table = own_table(part)
    exact = explain(part, table, max_depth=1)
    valid = set(exact.circuits.valid.tolist())
    sampled = explain(part, table, max_depth=1, max_table_rows=1000, sample=60)
    strata = sampling.strata_of(part, sampled.examples, sampled.circuits, least=20, generator=np.random.default_rng(0))
    assert len(strata) > 3 and sum(stratum.n_valid for stratum in strata) == len(valid)
    for stratum in strata:
        circuits = stratum.circuits.tolist()
        assert set(circuits) <= valid
        assert all(stratum.least_edges <= circuit.bit_count() <= stratum.most_edges for circuit in circuits)
        if stratum.is_complete:
            assert len(set(circuits)) == len(circuits) == stratum.n_valid
    # What is left after the larger numbers of edges has all listed circuits of at most so many.
    few = sampling.strata_of(part, sampled.examples, sampled.circuits, least=4, generator=np.random.default_rng(0))
    *single, rest = few
    numbers = [stratum.least_edges for stratum in single]
    assert numbers and numbers == [stratum.most_edges for stratum in single] == sorted(numbers, reverse=True)
    assert rest.least_edges == 0 and rest.most_edges < numbers[-1]
    for stratum in few:
        within = range(stratum.least_edges, stratum.most_edges + 1)
        assert stratum.n_valid == sum(circuit.bit_count() in within for circuit in valid)
    listed = sampled.circuits.valid.tolist()
    assert rest.circuits.tolist() == [circuit for circuit in listed if circuit.bit_count() <= rest.most_edges] != []


def test_valid_circuits_for_a_constant_function_have_no_groundings() -> None:
    """They are not even counted; counting them says the same."""
    part = in_float32(random_network((2, 2, 2, 1), 3))
    last = replace(part.layers[-1], weight=part.layers[-1].weight / 99, bias=0 * part.layers[-1].bias)
    part = Part((*part.layers[:-1], last))
    found = explain(part, 0, max_depth=1)
    assert len(found.groundings) > 10 and not any(found.groundings)
    assert groundings.count_groundings(found.network, found.circuits.valid) == found.groundings


# --- algorithms ----------------------------------------------------------------------------------------------------


def test_published_numbers_of_trees() -> None:
    assert count_trees(2, 3) == [2, 4, 56, 7504]
    expected = {XOR: [0, 0, 2, 248], AND: [0, 1, 7, 797], OR: [0, 1, 7, 797], NIMP: [0, 1, 7, 797]}
    for table, counts in expected.items():
        trees = algorithms(table, 2, 3)
        assert [sum(each.depth == depth for each in trees) for depth in range(4)] == counts
        assert all(each.table == table for each in trees)
    assert sum(any(each.is_constant) for each in algorithms(XOR, 2, 3)) == 56
    assert sum(each.is_inert for each in algorithms(XOR, 2, 3)) == 80


def test_every_tree_occurs_once_with_its_children_in_either_order() -> None:
    trees = [each.tree for table in range(0, 16, 2) for each in algorithms(table, 2, 3)]
    assert len(trees) == sum(count_trees(2, 3))

    mirrored = {0: 0, 1: 2, 2: 1, 3: 3}

    def canonical(tree):  # type: ignore[no-untyped-def]
        if isinstance(tree, int):
            return str(tree)
        gate, left, right = tree
        forms = [(gate, canonical(left), canonical(right)), (mirrored[gate], canonical(right), canonical(left))]
        return str(min(forms))

    assert len({canonical(tree) for tree in trees}) == len(trees)


@pytest.mark.parametrize("table", [XOR, AND, 0b1001, 0b0111])
def test_formulas_evaluate_to_the_function(table: int) -> None:
    for each in algorithms(table, 2, 3)[::17]:
        text = each.formula.replace("¬", " not ").replace("∧", "and").replace("∨", "or")
        for row, (a, b) in enumerate(itertools.product((False, True), repeat=2)):
            assert eval(text, {"A": a, "B": b}) == bool(table >> row & 1), each.formula
        assert len(inner_nodes(each.tree)) == each.n_gates and depth_of(each.tree) == each.depth


def test_three_variables() -> None:
    majority = sum(1 << row for row in range(8) if row.bit_count() >= 2)
    parity = sum(1 << row for row in range(8) if row.bit_count() % 2)
    assert len(algorithms(majority, 3, 3)) > 0 and all(each.table == majority for each in algorithms(majority, 3, 3))
    assert algorithms(parity, 3, 3) == ()  # it takes depth 4
    assert algorithms(0b10101010, 3, 0) == (Algorithm(2, 3),)


def test_too_many_algorithms_say_how_many_and_the_depth_that_fits() -> None:
    with pytest.raises(ValueError, match=r"max_depth=4: there are 114,473,582 algorithms of 2 variables.*max_depth=3"):
        check_size(2, 4)


def test_gates() -> None:
    left, right = 0b1100, 0b1010
    assert [apply_gate(gate, left, right) & 15 for gate in range(4)] == [0b1000, 0b0100, 0b0010, 0b1110]


# --- alignments ----------------------------------------------------------------------------------------------------


def by_trying(network: BooleanNetwork, algorithm: Algorithm, *, pairs: str, joint: bool) -> set[Alignment]:
    """Every choice of sets is run; those that hold and have no other below them remain."""
    sets = [
        NeuronSet(layer, chosen)
        for layer, size in enumerate(network.sizes[1:-1], start=1)
        for n in range(1, size + 1)
        for chosen in itertools.combinations(range(size), n)
    ]
    holding = [
        choice
        for choice in itertools.product(sets, repeat=len(algorithm.nodes))
        if alignments.alignment_holds(network, Alignment(algorithm, choice), pairs=pairs, joint=joint)
    ]

    def below(one: tuple[NeuronSet, ...], other: tuple[NeuronSet, ...]) -> bool:
        return one != other and all(
            a.layer == b.layer and set(a.neurons) <= set(b.neurons) for a, b in zip(one, other, strict=True)
        )

    return {Alignment(algorithm, one) for one in holding if not any(below(other, one) for other in holding)}


@pytest.mark.parametrize("pairs", ["all", "later"])
@settings(max_examples=10, deadline=None)
@given(st.sampled_from([(2, 2, 1), (2, 2, 2, 1), (2, 3, 1)]), st.integers(0, 99))
def test_alignments_are_those_found_by_trying(pairs: str, sizes: tuple[int, ...], seed: int) -> None:
    network = random_network(sizes, seed)
    interchange = Interchange(network, pairs)
    for algorithm in algorithms(network.answers(), 2, 2):
        aligned = interchange.align(algorithm)
        assert set(aligned.single) == by_trying(network, algorithm, pairs=pairs, joint=False)
        if pairs == "later":
            assert aligned.joint is None
        else:
            assert set(aligned.joint or ()) == by_trying(network, algorithm, pairs=pairs, joint=True)


def test_the_published_pairs_let_more_pass() -> None:
    n_all = n_later = 0
    for seed in range(30):
        network = random_network((2, 3, 2, 1), seed)
        for algorithm in algorithms(network.answers(), 2, 2):
            n_all += len(Interchange(network).align(algorithm).single)
            n_later += len(Interchange(network, "later").align(algorithm).single)
    assert 0 < n_all < n_later


def test_an_algorithm_of_another_function_has_no_alignment() -> None:
    (gate,) = (each for each in algorithms(AND, 2, 1))
    assert Interchange(PLANTED).align(gate).single == ()
    with pytest.raises(ValueError, match="use all or later"):
        Interchange(PLANTED, "earlier")


def test_what_is_no_boolean_network() -> None:
    two = Part((Layer(torch.ones(2, 2), torch.zeros(2)),))
    with pytest.raises(ValueError, match="2 outputs"):
        BooleanNetwork.of(two)
    wide = Part((Layer(torch.ones(1, 6), torch.zeros(1)),))
    with pytest.raises(ValueError, match="6 inputs"):
        BooleanNetwork.of(wide)


# --- what is refused -------------------------------------------------------------------------------------------------


def test_an_output_of_exactly_a_half_under_interchange_is_an_error() -> None:
    """Neurons A ∧ ¬B and ¬A ∧ B, a quarter each: ½ only where both are 1, which no input but an interchange does."""
    network = BooleanNetwork.of(chain(([[1.0, -1.0], [-1.0, 1.0]], [0.0, 0.0]), ([[0.25, 0.25]], [0.0])))
    assert network.answers() == 0
    with pytest.raises(ValueError, match="under interchange the network's output is exactly 0.5"):
        Interchange(network)


def test_a_set_of_neurons_by_its_bits_and_its_name() -> None:
    interchange = Interchange(random_network((2, 3, 2, 1), seed=0))
    assert interchange.neuron_set(0b00101) == NeuronSet(1, (0, 2)) and interchange.neuron_set(0b10000) == NeuronSet(
        2, (1,)
    )
    assert alignments.named(NeuronSet(1, (0, 2))) == "h1.0 h1.2"
    with pytest.raises(ValueError, match="an empty set has no layer"):
        interchange.neuron_set(0)


def test_too_many_sets_or_alignments_are_refused_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = BooleanNetwork.of(chain(([[1.0, 1.0]] * 17, [0.0] * 17), ([[1.0] * 17], [0.3])))
    with pytest.raises(ValueError, match=r"hidden layers of \[17\] neurons have 131,071 sets, more than 100,000"):
        Interchange(wide)
    with pytest.raises(ValueError, match="pairs=each: use all or later"):
        Interchange(PLANTED, "each")
    (_, with_one), interchange = algorithms(XOR, 2, 2), Interchange(PLANTED)
    monkeypatch.setattr(alignments, "MOST_CHOICES", 0)
    with pytest.raises(ValueError, match=r"has more than 0 alignments to test jointly"):
        interchange.align(with_one)
    monkeypatch.setattr(alignments, "MOST_CHOICES", 1)
    assert len(interchange.align(with_one).joint or ()) == 1


def test_an_alignment_with_too_few_sets_or_of_another_function_does_not_hold() -> None:
    (_, with_one) = algorithms(XOR, 2, 2)
    first, second = NeuronSet(1, (0,)), NeuronSet(1, (1,))
    assert alignments.alignment_holds(PLANTED, Alignment(with_one, (first, second)))
    assert not alignments.alignment_holds(PLANTED, Alignment(with_one, (first,)))
    assert not alignments.alignment_holds(PLANTED, Alignment(with_one, (first, NeuronSet(1, ()))))
    for other in algorithms(AND, 2, 2):
        assert not alignments.alignment_holds(PLANTED, Alignment(other, (first, second)[: len(other.nodes)]))


def test_an_estimated_total_by_hand() -> None:
    """7 groundings exactly, and 10 circuits of which two have 1 and 3: 10 · 2 ± 1.96 · 10 · √(2/2), on logarithms."""
    known = sampling.Stratum(5, 9, 2, np.array([1, 2], dtype=np.uint64), is_complete=True)
    drawn = sampling.Stratum(0, 4, 10, np.array([3, 4], dtype=np.uint64), is_complete=False)
    assert sampling.estimate_total([known, known], [[3, 4], [5, 0]]) == sampling.Total(12, 12, 12)
    found, factor = sampling.estimate_total([known, drawn], [[3, 4], [1, 3]]), math.exp(1.959963985 * 10 / 27)
    assert found == sampling.Total(27, int(27 / factor), int(27 * factor))
    # Of one circuit no variance is known, of none no mean; and a total of 0 has no interval.
    assert sampling.estimate_total([known, drawn], [[3, 4], [2]]) == sampling.Total(27, None, None)
    assert sampling.estimate_total([known, drawn], [[3, 4], []]) == sampling.Total(7, None, None)
    assert sampling.estimate_total([drawn], [[0, 0]]) == sampling.Total(0, None, None)
    # Two strata: variances add up.
    both, factor = (
        sampling.estimate_total([drawn, drawn], [[1, 3], [4, 8]]),
        math.exp(1.959963985 * math.sqrt(500) / 80),
    )
    assert both == sampling.Total(80, int(80 / factor), int(80 * factor))
