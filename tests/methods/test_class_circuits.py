"""Circuits of several outputs that answer a class: against all sets of edges evaluated by plain torch, and by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import ACTIVATIONS, OVER_OUTPUTS, Layer, Part
from mi_runner.methods.circuits.ablation import ABLATIONS
from mi_runner.methods.circuits.census import take_census
from mi_runner.methods.circuits.circuit import Circuit
from mi_runner.methods.circuits.edges import bits_of
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.measures import CircuitMeasures, measure_one, measure_some
from mi_runner.methods.circuits.minimality import LEVELS, minimality, minimality_by_search, validity
from mi_runner.methods.circuits.rounding import rounding_interval
from mi_runner.methods.circuits.search import CircuitSearch, search_circuits
from mi_runner.methods.circuits.space import INPUTS, CircuitSpace
from mi_runner.methods.discovery.masked import MaskedPart
from tests.small_parts import all_of, random_part

SIZES = (4, 3, 2)
N = 32
SHARES = {"zero": 0.7, "mean": 0.8}
"""Thresholds that some circuits pass and others don't."""


def on_a_grid(sizes: tuple[int, ...], last: str = "identity", seed: int = 0) -> tuple[Part, Tensor]:
    """A part and `N` examples whose sums are exact in float32, in any order: multiples of small powers of two.

    So equal outputs occur, and any two ways to add up agree on them.
    """
    draw = torch.Generator().manual_seed(seed)

    def grid(*shape: int, step: float, most: float) -> Tensor:
        return torch.randint(-round(most / step), round(most / step) + 1, shape, generator=draw) * step

    layers = [
        Layer(grid(n_out, n_in, step=0.25, most=1), grid(n_out, step=0.25, most=0.5), "leaky_relu", 0.125)
        for n_in, n_out in itertools.pairwise(sizes)
    ]
    return Part((*layers[:-1], replace(layers[-1], activation=last))), grid(N, sizes[0], step=0.5, most=2)


def examples_on(part: Part, x: Tensor, seed: int = 1) -> CircuitExamples:
    """Classes that are mostly the part's own answers; inputs that repeat."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.cat([x[: N - 4], x[:4]])
    target = part(x).argmax(1)
    target = torch.where(torch.rand(N, generator=draw) < 0.2, (target + 1) % part.sizes[-1], target)
    target[N - 4 :] = target[:4]
    return CircuitExamples(x, target, part(x))


def every_closed(sizes: tuple[int, ...]) -> np.ndarray:
    """Every set of edges whose edges lie on a path from an input to an output, by reachability of each edge alone."""
    layers = list(itertools.pairwise(sizes))
    n_edges = sum(n_in * n_out for n_in, n_out in layers)
    every = (np.arange(1, 2**n_edges)[:, None] >> np.arange(n_edges) & 1).astype(bool)
    start, forward, masks = 0, [np.ones((len(every), sizes[0]), dtype=bool)], []
    for n_in, n_out in layers:
        mask = every[:, start : start + n_in * n_out].reshape(-1, n_out, n_in)
        masks.append(mask)
        forward.append((mask & forward[-1][:, None]).any(2))
        start += n_in * n_out
    backward = [np.ones((len(every), sizes[-1]), dtype=bool)]
    for mask in masks[::-1]:
        backward.append((mask & backward[-1][:, :, None]).any(1))
    inside = np.ones(len(every), dtype=bool)
    for mask, before, behind in zip(masks, forward, backward[-2::-1], strict=False):
        on_a_path = before[:, None, :] & behind[:, :, None]
        inside &= (on_a_path | ~mask).all((1, 2))
    return every[inside]


@cache
def brute_force(last: str, ablation: str) -> tuple[np.ndarray, Tensor, Tensor]:
    """All closed circuits of 4-3-2, their outputs before the last activation and behind it, in float64."""
    part, x = on_a_grid(SIZES, last)
    examples = examples_on(part, x)
    kept = every_closed(SIZES)
    first, second = (torch.from_numpy(m) for m in (kept[:, :12].reshape(-1, 3, 4), kept[:, 12:].reshape(-1, 2, 3)))
    hidden, output = part.layers
    x = examples.x.double()
    clean = torch.nn.functional.leaky_relu(x @ hidden.weight.double().T + hidden.bias.double(), 0.125)
    means = (x.mean(0), clean.mean(0)) if ablation == "mean" else (torch.zeros(4).double(), torch.zeros(3).double())

    def layer(values: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, mean: Tensor) -> Tensor:
        return (
            torch.einsum("koi,kbi->kbo", mask * weight.double(), values)
            + bias.double()
            + (~mask * weight.double() @ mean)[:, None]
        )

    values = layer(x.expand(len(kept), -1, -1), first, hidden.weight, hidden.bias, means[0])
    values = torch.nn.functional.leaky_relu(values, 0.125)
    before = layer(values, second, output.weight, output.bias, means[1])
    if last == "softmax":
        return kept, before, before.exp() / before.exp().sum(2, keepdim=True)
    return kept, before, before


def family(kept: np.ndarray, inputs: str) -> np.ndarray:
    if inputs == "any":
        return np.ones(len(kept), dtype=bool)
    return kept[:, :12].reshape(-1, 3, 4).any(1).all(1) & kept[:, 12:].reshape(-1, 2, 3).any(2).all(1)


def searched(last: str, ablation: str, inputs: str, **options: int) -> tuple[Part, CircuitExamples, CircuitSearch]:
    part, x = on_a_grid(SIZES, last)
    examples = examples_on(part, x)
    choices = {"ablation": ablation, "inputs": inputs, "accuracy_threshold": SHARES[ablation]}
    return part, examples, search_circuits(part, examples, **choices, **options)


# --- the space -------------------------------------------------------------------------------------------------------


def test_the_counts_of_two_outputs_are_those_of_all_sets_of_edges() -> None:
    kept = every_closed(SIZES)
    assert CircuitSpace(SIZES, "any").count() == len(kept) == 97_335
    assert CircuitSpace(SIZES).count() == family(kept, "all").sum() == 55_687
    for inputs in INPUTS:
        space = CircuitSpace(SIZES, inputs)
        formed = space.are_well_formed(np.arange(2**18, dtype=np.uint64))
        assert np.array_equal(np.flatnonzero(formed), np.sort(bits_of(kept[family(kept, inputs)]).astype(np.int64)))
        n_active = space.n_active(np.flatnonzero(formed).astype(np.uint64))
        assert space.count_all_active() == (n_active == 3).sum()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=2, max_size=4), st.sampled_from(INPUTS))
def test_the_counts_of_random_sizes(sizes: list[int], inputs: str) -> None:
    space = CircuitSpace(tuple(sizes), inputs)
    assume(space.n_edges <= 14)
    rows = every_closed(tuple(sizes))
    if inputs == "all":
        masks = space.edges.masks(rows)
        rows = rows[masks[0].any(1).all(1) & masks[-1].any(2).all(1)]
    assert space.count() == len(rows) == int(space.are_well_formed(np.arange(space.full + 1, dtype=np.uint64)).sum())


# --- every circuit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("last", ["identity", "softmax"])
def test_every_circuit_answers_what_plain_torch_says(last: str, ablation: str, inputs: str) -> None:
    kept, before, after = brute_force(last, ablation)
    inside = family(kept, inputs)
    part, examples, found = searched(last, ablation, inputs)
    order = np.argsort(bits_of(kept[inside]))
    answers = before[torch.from_numpy(inside)].argmax(2)[order]
    assert np.array_equal(found.listed.circuit, bits_of(kept[inside])[order])
    assert np.array_equal(found.listed.n_correct, (answers == examples.target).sum(1).numpy())
    assert np.array_equal(found.listed.n_agreeing, (answers == examples.full.argmax(1)).sum(1).numpy())
    mse = (after[torch.from_numpy(inside)][order] - part(examples.x).double()).square().mean((1, 2)).numpy()
    assert found.listed.squares / N == pytest.approx(mse, rel=1e-5, abs=1e-9)
    is_valid = found.listed.n_correct / N > SHARES[ablation]
    assert found.n_valid == is_valid.sum() and 100 < found.n_valid < found.n_circuits - 100
    assert found.fewest_edges == kept[inside][order][is_valid].sum(1).min()
    assert (before[..., 0] == before[..., 1]).sum() > 100, "ties occur"


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_a_census_of_classes_counts_what_the_table_has(ablation: str, inputs: str) -> None:
    part, examples, table = searched("identity", ablation, inputs)
    census = searched("identity", ablation, inputs, max_table_rows=table.n_circuits - 1)[2]
    assert np.array_equal(census.counts, table.counts) and np.array_equal(census.edge_counts, table.edge_counts)
    assert np.array_equal(census.listed.circuit, table.valid)
    assert np.array_equal(census.listed.n_correct, table.listed.n_correct[table.is_valid])
    few = search_circuits(
        part, examples, ablation=ablation, inputs=inputs, accuracy_threshold=SHARES[ablation], max_table_rows=50
    )
    assert len(few.listed) == 50 and set(few.valid.tolist()) <= set(table.valid.tolist())
    assert np.array_equal(few.counts, table.counts)


@pytest.mark.parametrize("inputs", INPUTS)
def test_minimality_by_definition(inputs: str) -> None:
    """A set of edges contains a valid circuit if one of its sub-sets is one: by all 2^18 sets at once."""
    part, examples, found = searched("identity", "mean", inputs)
    valid = found.valid.astype(np.int64)
    is_valid = np.zeros(2**18, dtype=bool)
    is_valid[valid] = True
    contains = is_valid.copy()  # the set itself, then one edge less after the other
    for edge in range(18):
        with_edge = np.flatnonzero(np.arange(2**18) >> edge & 1)
        contains[with_edge] |= contains[with_edge ^ (1 << edge)]
    levels, closed = [], {}
    kept = every_closed(SIZES)
    members = np.sort(bits_of(kept[family(kept, "any")]).astype(np.int64))
    for circuit in valid.tolist():
        edges = [1 << edge for edge in range(18) if circuit >> edge & 1]
        without = [is_valid[largest_closed(circuit ^ edge, members, closed)] for edge in edges]
        level = int(not all(without)) if any(without) else 2
        if level == 2 and not any(contains[circuit ^ edge] for edge in edges):
            level = 4 if len(edges) == found.fewest_edges else 3
        levels.append(level)
    assert minimality(found.space, found.valid).tolist() == levels
    assert {0, 1, 2, 3, 4} - {2} <= set(levels) and LEVELS[4] == "cardinal"
    some = np.unique(np.concatenate([np.flatnonzero(np.array(levels) >= 2), np.arange(0, len(valid), 400)]))
    by_search, exact = minimality_by_search(
        SIZES,
        found.space.edges.rows(found.valid[some]),
        validity(part, examples, SHARES["mean"], ablation="mean"),
        inputs=inputs,
        fewest=found.fewest_edges,
    )
    assert exact.all() and by_search.tolist() == [levels[place] for place in some]


def largest_closed(bits: int, members: np.ndarray, known: dict[int, int]) -> int:
    """The largest circuit within a set of edges: the union of all that are."""
    if bits not in known:
        known[bits] = int(np.bitwise_or.reduce(members[members & ~bits == 0], initial=0))
    return known[bits]


def test_a_softmax_changes_no_answer() -> None:
    logits, shares = (searched(last, "zero", "any")[2] for last in ("identity", "softmax"))
    assert np.array_equal(logits.counts, shares.counts) and logits.n_valid == shares.n_valid
    assert not np.allclose(logits.listed.squares, shares.listed.squares)


@pytest.mark.parametrize("last", [*ACTIVATIONS, *OVER_OUTPUTS])
@pytest.mark.parametrize("sizes", [(2, 2, 3), (2, 2, 1, 2), (3, 2), (2, 1, 4)])
def test_every_activation_and_number_of_outputs_against_one_circuit_alone(sizes: tuple[int, ...], last: str) -> None:
    part = random_part(sizes, ["tanh"] * (len(sizes) - 2) + [last], seed=3)
    draw = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(40, sizes[0], generator=draw)
    examples = CircuitExamples(x, torch.randint(0, sizes[-1], (40,), generator=draw), part(x))
    for inputs, ablation in zip(INPUTS, ABLATIONS, strict=True):
        found = all_of(part, examples, inputs=inputs, ablation=ablation)
        assert len(np.unique(found.circuit)) == CircuitSpace(sizes, inputs).count()
        each = [measure_one(part, examples, int(bits), ablation=ablation) for bits in found.circuit]
        one_by_one = CircuitMeasures.joined(each)
        assert np.array_equal(found.n_correct, one_by_one.n_correct)
        assert np.array_equal(found.n_agreeing, one_by_one.n_agreeing)
        assert found.squares == pytest.approx(one_by_one.squares, rel=1e-4, abs=1e-5)
        if len(sizes) > 2:
            some = measure_some(part, examples, found.circuit[::3], inputs=inputs, ablation=ablation)
            rows = np.searchsorted(np.sort(found.circuit), np.sort(some.circuit))
            assert np.array_equal(found.sorted().n_correct[rows], some.sorted().n_correct)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(1, 3), min_size=2, max_size=3),
    st.integers(2, 4),
    st.sampled_from([*ACTIVATIONS, *OVER_OUTPUTS]),
    st.sampled_from(INPUTS),
    st.sampled_from(ABLATIONS),
    st.integers(0, 1000),
)
def test_tables_and_censuses_of_random_layers(
    front: list[int], n_outputs: int, last: str, inputs: str, ablation: str, seed: int
) -> None:
    sizes = (*front, n_outputs)
    space = CircuitSpace(sizes, inputs)
    assume(space.n_edges <= 14)
    part, x = on_a_grid(sizes, last, seed)
    examples = examples_on(part, x, seed)
    choices = {"inputs": inputs, "ablation": ablation, "accuracy_threshold": 0.6}
    table = search_circuits(part, examples, **choices)
    assert table.n_circuits == space.count() and space.full == int(table.listed.circuit[-1])
    assert table.listed.n_agreeing[-1] == N and table.listed.squares[-1] == pytest.approx(0, abs=1e-6)
    row = seed % len(table.listed)
    alone = measure_one(part, examples, int(table.listed.circuit[row]), ablation=ablation)
    if last not in ("tanh", "sigmoid"):  # whose values torch computes up to the last digit, and so their ties
        assert (table.listed.n_correct[row], table.listed.n_agreeing[row]) == (alone.n_correct, alone.n_agreeing)
    census, circuits = take_census(
        part, examples, table.least_correct, space.count(), ablation=ablation, inputs=inputs, salt=seed
    )
    assert np.array_equal(census.counts, table.counts) and np.array_equal(census.edge_counts, table.edge_counts)
    assert np.array_equal(circuits, table.valid)


def test_many_examples_of_far_apart_groups_are_decided_in_blocks() -> None:
    """Answers that are sure in whole blocks, as those of a trained network are, and a few that aren't."""
    part = random_part((2, 3, 3), ["relu", "identity"], seed=5)
    draw = torch.Generator().manual_seed(0)
    centres = torch.tensor([[8.0, 0.0], [0.0, 8.0], [-8.0, -8.0], [0.1, 0.1]])
    x = (centres[:, None] + 0.3 * torch.randn(4, 400, 2, generator=draw)).reshape(-1, 2)
    examples = CircuitExamples(x, part(x).argmax(1), part(x))
    choices = {"inputs": "any", "accuracy_threshold": 0.7}
    table = search_circuits(part, examples, **choices)
    census = search_circuits(part, examples, **choices, max_table_rows=table.n_circuits - 1)
    assert np.array_equal(census.counts, table.counts) and 0 < table.n_valid < table.n_circuits
    assert np.array_equal(census.edge_counts, table.edge_counts)


# --- by hand ---------------------------------------------------------------------------------------------------------


def by_hand() -> tuple[Part, CircuitExamples]:
    """h = relu(x0 − x1); outputs (h, 1, 2·h) of biases (0, 1, 0) and weights (1, 0, 2).

    | x      | h | outputs   | answer | without output 2: (h, 1, 0) | only output 2: (0, 1, 2·h) |
    |--------|---|-----------|--------|-----------------------------|----------------------------|
    | (2, 0) | 2 | (2, 1, 4) | 2      | 0                           | 2                          |
    | (1, 0) | 1 | (1, 1, 2) | 2      | 0: first among equals       | 2                          |
    | (0, 0) | 0 | (0, 1, 0) | 1      | 1                           | 1                          |
    | (3, 2) | 1 | (1, 1, 2) | 2      | 0                           | 2                          |
    """
    hidden = Layer(torch.tensor([[1.0, -1.0]]), torch.zeros(1), "relu")
    output = Layer(torch.tensor([[1.0], [0.0], [2.0]]), torch.tensor([0.0, 1.0, 0.0]))
    part = Part((hidden, output))
    x = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 0.0], [3.0, 2.0]])
    return part, CircuitExamples(x, torch.tensor([2, 2, 1, 0]), part(x))


def test_a_network_by_hand_with_ties() -> None:
    part, examples = by_hand()
    assert examples.full.argmax(1).tolist() == [2, 2, 1, 2] == examples.full_answers.tolist()
    found = all_of(part, examples, inputs="any").sorted()
    rows = dict(zip(found.circuit.tolist(), range(len(found)), strict=True))
    both, first, second, third = 0b11, 1 << 2, 1 << 3, 1 << 4
    # kept edges → correct answers, answers of the full network, sum of squared differences (mean of three outputs)
    for circuit, correct, agreeing, squares in (
        (both | first | second | third, 3, 4, 0.0),
        (both | third, 3, 4, (4 + 1 + 0 + 1) / 3),  # output 0 is its bias 0
        (both | first | second, 2, 1, (16 + 4 + 0 + 4) / 3),  # output 2 is its bias 0
        (both | second, 1, 1, (4 + 1 + 0 + 1 + 16 + 4 + 0 + 4) / 3),  # always output 1
        # without x1 the fourth example has h = 3: outputs (0, 1, 6) instead of (1, 1, 2)
        (0b01 | third, 3, 4, (4 + 1 + 0 + 1 + 16) / 3),
    ):
        row = rows[circuit]
        assert (found.n_correct[row], found.n_agreeing[row]) == (correct, agreeing), bin(circuit)
        assert found.squares[row] == pytest.approx(squares)


def test_a_tie_behind_a_flat_activation_is_the_first_outputs() -> None:
    """Both sums are below 0, so both outputs are 0: the answer is class 0, though the second sum is larger."""
    layers = Layer(torch.ones(1, 1), torch.zeros(1)), Layer(torch.tensor([[-2.0], [-1.0]]), torch.zeros(2), "relu")
    part, x = Part(layers), torch.tensor([[1.0], [2.0]])
    examples = CircuitExamples(x, torch.tensor([0, 0]), part(x))
    for rows in (100, 1):  # by table and by census
        found = search_circuits(part, examples, accuracy_threshold=0.9, inputs="any", max_table_rows=rows)
        assert found.n_valid == found.n_circuits == 3
    saturated = replace(layers[1], weight=torch.tensor([[30.0], [60.0]]), activation="sigmoid")
    part = Part((layers[0], saturated))
    examples = CircuitExamples(x, torch.tensor([0, 0]), part(x))
    assert examples.full_answers.tolist() == [0, 0]
    found = search_circuits(part, examples, accuracy_threshold=0.9, max_table_rows=1)
    assert found.n_valid == 1 and search_circuits(part, examples, accuracy_threshold=0.9).n_valid == 1


def test_a_circuit_of_several_outputs_is_applied_saved_and_drawn(tmp_path) -> None:  # type: ignore[no-untyped-def]
    part, examples = by_hand()
    circuit = Circuit(part, 0b10111)
    assert circuit.output == "all" and circuit.n_edges == 4
    assert circuit.apply(examples.x).tolist() == [[2, 1, 4], [1, 1, 2], [0, 1, 0], [1, 1, 2]]
    circuit.save(tmp_path / "circuit.json")
    loaded = Circuit.load(tmp_path / "circuit.json")
    assert loaded == circuit and torch.equal(loaded.apply(examples.x), circuit.apply(examples.x))
    assert circuit.draw().axes
    with pytest.raises(ArgumentError, match="not a well-formed circuit"):
        Circuit(part, 0b00111 ^ 0b00100)


# --- one output that answers two classes -----------------------------------------------------------------------------


def test_the_interval_of_a_logit_and_of_a_probability() -> None:
    plain, sigmoid = (Layer(torch.ones(1, 1), torch.zeros(1), name) for name in ("identity", "sigmoid"))
    tiny = float(np.finfo(np.float32).smallest_subnormal)
    assert rounding_interval(plain, 1, Outputs.logit) == (tiny, np.inf)
    assert rounding_interval(plain, 0, Outputs.logit) == (-np.inf, 0.0)
    low, high = rounding_interval(sigmoid, 1, Outputs.probability)
    assert 0 < low < 1e-6 and high == np.inf and float(torch.sigmoid(torch.tensor(low))) > 0.5
    below = float(np.nextafter(np.float32(low), np.float32(-1)))
    assert float(torch.sigmoid(torch.tensor(below))) == 0.5
    assert rounding_interval(sigmoid, 0, Outputs.probability) == (-np.inf, below)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_a_logit_and_a_probability_have_the_same_valid_circuits(ablation: str) -> None:
    logit, x = on_a_grid((3, 3, 1), seed=2)
    probability = Part((logit.layers[0], replace(logit.layers[1], activation="sigmoid")))
    target = (logit(x)[:, 0] + 0.3 > 0).long()
    found = []
    for part, kind in ((logit, Outputs.logit), (probability, Outputs.probability)):
        examples = CircuitExamples(x, target, part(x)[:, 0], kind)
        for rows in (5_000_000, 100):
            choices = {"inputs": "any", "ablation": ablation, "accuracy_threshold": 0.75, "max_table_rows": rows}
            found.append(search_circuits(part, examples, **choices))
        alone = measure_one(part, examples, found[-2].space.full)
        assert alone.n_agreeing.tolist() == [N]
    first = found[0]
    assert all(np.array_equal(other.counts, first.counts) for other in found)
    # by definition, in float64: above 0 is class 1
    masked = MaskedPart(logit, x.double(), target, ablation, kind=Outputs.logit)
    rows = first.space.edges.rows(first.listed.circuit)
    correct = ((masked.outputs(rows)[..., 0] > 0).long() == target).sum(1)
    assert np.array_equal(first.listed.n_correct, correct.numpy())
    assert np.array_equal(masked.measures(rows).n_correct, correct.numpy())
    assert 0 < first.n_valid < first.n_circuits


def test_examples_that_do_not_fit_say_what_does() -> None:
    x = torch.zeros(3, 2)
    for target, full, kind, text in (
        (torch.tensor([0, 1, 1]), torch.zeros(3), None, "say the kind, logit or probability"),
        (torch.tensor([0, 1, 2]), torch.zeros(3, 2), None, "there are 2. Give 0 to 1."),
        (torch.tensor([0, 1, 2]), torch.zeros(3), Outputs.logit, "there are 2. Give 0 to 1."),
        (torch.zeros(3), torch.zeros(3, 2), None, r"give outputs \(B,\) and targets \(B,\)"),
    ):
        with pytest.raises(ArgumentError, match=text):
            CircuitExamples(x, target, full, kind)  # type: ignore[arg-type]
    part = random_part((2, 2, 3), ["relu", "relu"])
    with pytest.raises(ArgumentError, match="a part with 3 outputs, examples of 2"):
        search_circuits(part, CircuitExamples(x, torch.tensor([0, 1, 1]), torch.zeros(3, 2)), accuracy_threshold=0.5)


def test_a_single_layer_of_classes_must_fit_into_a_table() -> None:
    part = random_part((3, 3), ["identity"])
    x = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    examples = CircuitExamples(x, part(x).argmax(1), part(x))
    found = search_circuits(part, examples, accuracy_threshold=0.5)
    assert found.n_circuits == 265
    with pytest.raises(ArgumentError, match="has 265 circuits, more than 264, .* Type 265 or analyse more layers"):
        search_circuits(part, examples, accuracy_threshold=0.5, max_table_rows=264)
