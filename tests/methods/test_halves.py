"""Counts by halves: against every circuit evaluated, and what they are made of against its definition."""

from __future__ import annotations

import functools
import itertools
import operator
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits import halves
from mi_runner.methods.circuits.ablation import ABLATIONS
from mi_runner.methods.circuits.census import take_census
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.halves import NotByHalves, count_by_halves, fits_halves, seconds_of_halves
from mi_runner.methods.circuits.kernels import matches
from mi_runner.methods.circuits.kernels.ordering import bring_together, sort_numbers
from mi_runner.methods.circuits.search import search_circuits
from mi_runner.methods.circuits.space import INPUTS, CircuitSpace
from tests.networks import Counting
from tests.small_parts import halves_part, random_part

X = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
KINDS = {"values": "identity", "logit": "identity", "probability": "sigmoid"}


def all_right(part: Part, x: torch.Tensor, kind: str = "values") -> CircuitExamples:
    """Examples with the full network's answers as their targets."""
    full = part(x).squeeze(1)
    if kind == "values":
        return CircuitExamples(x, full.round(), full)
    answered = CircuitExamples(x, torch.zeros(len(x), dtype=torch.int64), full, Outputs[kind])
    return replace(answered, target=answered.full_answers)


def assert_equal(part: Part, examples: CircuitExamples, **choices: str) -> int:
    """Halves count as an evaluation of every circuit does; returns how many are valid."""
    found = count_by_halves(part, examples, **choices)
    every = search_circuits(part, examples, accuracy_threshold=1 - 0.5 / len(examples), **choices)
    assert every.least_correct == len(examples)
    assert np.array_equal(found.counts, every.counts[:, :, len(examples)])
    assert np.array_equal(found.edge_counts, every.edge_counts)
    assert (found.n_valid, found.n_valid_partial) == (every.n_valid, every.n_valid_partial)
    assert (found.fewest_edges, found.n_cardinal) == (every.fewest_edges, every.n_cardinal)
    return found.n_valid


# --- the counts ------------------------------------------------------------------------------------------------------


def test_a_network_counted_by_hand() -> None:
    """All weights are 1, so the output of (0, 1) is the number of neurons that keep the second input: both must.

    Of these four circuits one leaves the first input out.
    """
    part = Part((Layer(torch.ones(2, 2), torch.zeros(2), "relu"), Layer(torch.ones(1, 2), torch.zeros(1))))
    found = count_by_halves(part, CircuitExamples(X[:2], torch.tensor([0.0, 2.0]), torch.tensor([0.0, 2.0])))
    assert found.n_valid == 3 and found.n_valid_partial == 0
    assert found.edge_counts.tolist() == [2, 3, 2, 3, 3, 3]
    assert found.counts[2].tolist() == [0, 0, 0, 0, 0, 2, 1]
    assert (found.fewest_edges, found.n_cardinal) == (5, 2)


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid", "identity"])
def test_every_circuit_of_random_networks(activation: str, ablation: str, inputs: str) -> None:
    n_valid = 0
    for seed, sizes in enumerate([(2, 3, 3, 1), (2, 2, 2, 2, 1), (3, 4, 1), (1, 1, 1), (1, 2, 1, 1)]):
        part = random_part(sizes, [activation] * (len(sizes) - 2) + ["identity"], seed)
        x = X if sizes[0] == 2 else torch.randn(3, sizes[0], generator=torch.Generator().manual_seed(seed))
        n_valid += assert_equal(part, all_right(part, x), ablation=ablation, inputs=inputs)
    assert n_valid > 20


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_examples=st.integers(1, 6),
    kind=st.sampled_from(list(KINDS)),
    activation=st.sampled_from(["relu", "tanh"]),
    ablation=st.sampled_from(ABLATIONS),
)
def test_any_outputs_and_numbers_of_examples(
    seed: int, n_examples: int, kind: str, activation: str, ablation: str
) -> None:
    """Some examples occur twice; more than two distinct ones need more than four rows of bits."""
    part = random_part((2, 3, 3, 1), [activation] * 2 + [KINDS[kind]], seed)
    x = torch.randn(n_examples, 2, generator=torch.Generator().manual_seed(seed))
    assert assert_equal(part, all_right(part, torch.cat([x, x[:2]]), kind), ablation=ablation) >= 1


def test_a_census_of_a_larger_space() -> None:
    part = random_part((2, 4, 4, 1), ["tanh", "tanh", "identity"], seed=3)
    examples = all_right(part, X)
    census, _ = take_census(part, examples, len(X), 0)
    found = count_by_halves(part, examples)
    assert np.array_equal(found.counts, census.counts[:, :, len(X)]) and found.n_valid > 1000
    assert np.array_equal(found.edge_counts, census.edge_counts)


@pytest.mark.parametrize("valid_by", ["agreement", "relative"])
def test_the_rule_of_validity(valid_by: str) -> None:
    part = random_part((2, 3, 2, 1), ["tanh"] * 2 + ["identity"], seed=1)
    examples = replace(all_right(part, X), valid_by=valid_by)
    if valid_by == "agreement":
        examples = replace(examples, target=examples.target + 1)  # plays no role
    found, every = count_by_halves(part, examples), search_circuits(part, examples, accuracy_threshold=0.99)
    assert found.n_valid == every.n_valid > 0


def test_an_answer_that_no_output_gives_has_no_circuit() -> None:
    part = random_part((2, 2, 1), ["relu", "sigmoid"])
    assert count_by_halves(part, CircuitExamples(X, torch.full((4,), 2.0), part(X)[:, 0])).n_valid == 0


# --- ties and rounding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_sums_that_lie_exactly_at_a_bound(seed: int) -> None:
    """Whole and half numbers are never rounded: no pair is looked at, though many outputs are half-integers."""
    part = halves_part((2, 3, 3, 1), seed)
    assert assert_equal(part, all_right(part, X)) > 0
    assert count_by_halves(part, all_right(part, X)).n_looked_at == 0


@pytest.mark.parametrize("kind", ["logit", "probability"])
@pytest.mark.parametrize("seed", range(3))
def test_outputs_of_exactly_0_at_the_bound_of_two_classes(seed: int, kind: str) -> None:
    """Without biases many circuits of relu neurons output 0, which is the first class."""
    part = random_part((2, 3, 3, 1), ["relu", "relu", KINDS[kind]], seed)
    part = replace(part, layers=tuple(replace(layer, bias=torch.zeros_like(layer.bias)) for layer in part.layers))
    assert assert_equal(part, all_right(part, X, kind), inputs="any") > 0


def decimals(seed: int) -> tuple[Part, CircuitExamples]:
    """Tenths, which float32 rounds: sums that are 1/2 in decimals lie at a bound, on either side of it."""
    draw = torch.Generator().manual_seed(seed)

    def tenths(*shape: int) -> torch.Tensor:
        return torch.randint(-3, 6, shape, generator=draw) / 10

    part = Part((Layer(tenths(5, 3), tenths(5), "relu"), Layer(torch.ones(1, 5), tenths(1))))
    x = torch.ones(1, 3)
    return part, CircuitExamples(x, torch.zeros(1), part(x)[:, 0])


def real_sums(part: Part) -> int:
    """The valid circuits if the terms of float32 were added up as real numbers."""
    hidden, output = part.layers
    terms = [[Fraction(0)] * 8 for _ in range(5)]
    for j, mask in itertools.product(range(5), range(1, 8)):
        term = hidden.bias[j].clone()
        for i in reversed(range(3)):
            term += hidden.weight[j, i] if mask >> i & 1 else 0
        terms[j][mask] = Fraction(float(term.relu()))
    n_valid = 0
    for masks in itertools.product(range(8), repeat=5):
        z = Fraction(float(output.bias)) + sum(own[mask] for own, mask in zip(terms, masks, strict=True))
        used = functools.reduce(operator.or_, masks)
        n_valid += used == 7 and abs(z) <= Fraction(1, 2)
    return n_valid


def test_rounding_decides_as_in_an_evaluation() -> None:
    differ = 0
    for seed in range(4):
        part, examples = decimals(seed)
        n_valid = assert_equal(part, examples)
        differ += n_valid != real_sums(part)
    assert differ > 0  # so rounding did decide


def test_too_many_close_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    part, examples = decimals(0)
    assert count_by_halves(part, examples).n_looked_at > 100
    monkeypatch.setattr(halves, "MOST_LOOKED_AT", 100)
    with pytest.raises(NotByHalves, match="rounding may decide more than 100 pairs of choices"):
        count_by_halves(part, examples)


@pytest.mark.parametrize("weight", [3e38, torch.inf, torch.nan])
def test_outputs_that_are_not_finite(weight: float) -> None:
    part = Part((Layer(torch.full((2, 2), weight), torch.zeros(2)), Layer(torch.ones(1, 2), torch.zeros(1))))
    with pytest.raises(NotByHalves, match="may be infinite, or are no numbers"):
        count_by_halves(part, CircuitExamples(X, torch.zeros(4), torch.zeros(4)))


# --- how the work is divided -----------------------------------------------------------------------------------------


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(n)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def test_parts_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    part = random_part((2, 3, 3, 1), ["tanh", "relu", "identity"], seed=5)
    with threads(1):
        found = count_by_halves(part, all_right(part, X))
    monkeypatch.setattr(halves, "COUNTED_AT_ONCE", 7)
    monkeypatch.setattr(halves, "PREFIXES_READ", 5)
    progress = Counting()
    again = count_by_halves(part, all_right(part, X), progress=progress)
    assert np.array_equal(found.counts, again.counts) and np.array_equal(found.edge_counts, again.edge_counts)
    # Three neurons have 27 values together; two of these leave an input out.
    assert progress.done == progress.total == 25 * 8**3 + 27 * 8**2 + 9 * 8 + 1


def test_the_seconds_are_those_of_sets_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a set of two neurons takes 1 s, one of one neuron takes ½: 9 + 6 · ½ + 1 · ¼."""
    part = random_part((2, 2, 2, 1), ["relu", "relu", "identity"])
    ticks = itertools.count()
    monkeypatch.setattr(halves.time, "thread_time", lambda: float(next(ticks)))
    with threads(1):
        assert seconds_of_halves(part, all_right(part, X)) == 12.25
    assert next(ticks) == 2 * halves.SECONDS_TIMED


@pytest.mark.parametrize(
    ("sizes", "bound"),
    [((3, 2, 1), {0: 1, 1: 3, 2: 3, 3: 1}), ((2, 2, 2, 1), {0: 1, 1: 6, 2: 9}), ((1, 2, 1, 1, 1), {0: 3, 1: 3})],
)
def test_the_number_of_sets(sizes: tuple[int, ...], bound: dict[int, int]) -> None:
    """In 1-2-1-1-1 a path leads to the neuron behind the last hidden layer through one neuron, the other, or both."""
    assert halves._sets_by_size(CircuitSpace(sizes)) == bound


def test_the_ways_to_a_layer() -> None:
    """3·1, 3·7 and 25: so many 0/1 matrices of one, two and three rows and two columns have no empty row or column."""
    space = CircuitSpace((2, 3, 3, 1))
    assert space.ways_to(0) == {2: 1} and space.ways_to(1) == {1: 3, 2: 21, 3: 25}


# --- what can't be counted so ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "n_examples", "least_correct", "problem"),
    [
        ((2, 2, 2), 4, 4, "there are several outputs"),
        ((2, 1), 4, 4, "there is no hidden layer"),
        ((8, 8, 1), 4, 4, "there are 72 edges, more than 64"),
        ((2, 2, 1), 4, 3, "a circuit with 3 of 4 right answers is valid, so not all must be right"),
        ((2, 2, 1), 33, 33, "there are 33 distinct examples, more than 32"),
        ((7, 7, 1), 4, 4, "they need .* GiB of memory, more than 4"),
    ],
)
def test_why_halves_do_not_fit(sizes: tuple[int, ...], n_examples: int, least_correct: int, problem: str) -> None:
    part = random_part(sizes, ["relu"] * (len(sizes) - 1))
    x = torch.randn(n_examples, sizes[0])
    target = torch.zeros(n_examples, dtype=torch.int64 if sizes[-1] > 1 else torch.float32)
    examples = CircuitExamples(x, target, part(x) if sizes[-1] > 1 else part(x)[:, 0])
    assert re.fullmatch(problem, fits_halves(part, examples, least_correct) or "")


def test_all_distinct_examples_must_be_right() -> None:
    """Of 3 + 2 equal examples 4 right answers are enough only if all are: without the rarer ones 3 are left."""
    part = random_part((2, 2, 1), ["relu", "identity"])
    x = X[[0, 0, 0, 1, 1]]
    examples = CircuitExamples(x, torch.zeros(5), part(x)[:, 0])
    reasons = [fits_halves(part, examples, least) for least in range(2, 7)]
    assert [reason is None for reason in reasons] == [False, False, True, True, False]
    assert fits_halves(random_part((2, 6, 6, 1), ["relu"] * 3), examples, 5) is None


def test_a_count_refuses_what_does_not_fit() -> None:
    part = random_part((2, 1), ["identity"])
    with pytest.raises(ArgumentError, match="circuits can't be counted by halves: there is no hidden layer"):
        count_by_halves(part, all_right(part, X))


# --- boxes and orders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_numbers", [1, 2, 3, 5])
@pytest.mark.parametrize("n_points", [1, matches.BLOCK, matches.BLOCK + 70])
def test_points_in_boxes(n_numbers: int, n_points: int) -> None:
    """Blocks of all points, and then of some, each counted eightfold."""
    draw = np.random.default_rng(n_numbers)
    places = np.stack([draw.permutation(n_points) for _ in range(n_numbers)], axis=1).astype(np.int32)
    sides = draw.integers(0, n_points + 1, (150, n_numbers, 2))
    sides[:50, :, 0], sides[:50, :, 1] = n_points, 0  # these contain all points, the last ones none
    sides[-1:, :, 0] = 0
    boxes = sides.reshape(150, -1).astype(np.int32)
    inside = ((places[None] < boxes[:, None, 0::2]) & (places[None] >= boxes[:, None, 1::2])).all(2)
    points = np.arange(n_points).astype(np.int32)
    bring_together(places, points, matches.BLOCK)
    counts, block = np.zeros(150, dtype=np.int64), matches.empty_block(n_points, n_numbers)
    for first in range(0, n_points, matches.BLOCK):
        chosen = points[first : first + matches.BLOCK]
        matches.fill_block(block, places, chosen)
        matches.add_block(block, len(chosen), 3, boxes, matches.ranges_of(boxes), counts)
    assert counts.tolist() == (8 * inside.sum(1)).tolist()
    assert counts[0] == 8 * n_points and counts[-1] == 0


def test_numbers_in_order() -> None:
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=5000).astype(np.float32) * 10.0 ** draw.integers(-40, 30, 5000)
    numbers = np.concatenate([numbers, [0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45]]).astype(np.float32)
    order = np.empty(len(numbers), dtype=np.int32)
    sort_numbers(numbers, order)
    assert sorted(order.tolist()) == list(range(len(numbers)))
    assert np.array_equal(numbers[order], np.sort(numbers))


def test_points_together() -> None:
    """On a line the runs of seven are those of its order; on a grid of 8 × 8, runs of 16 are its quarters."""
    line = np.random.default_rng(0).permutation(40).astype(np.int32)[:, None]
    points = np.arange(40).astype(np.int32)
    bring_together(line, points, 7)
    runs = [sorted(line[points[first : first + 7], 0].tolist()) for first in range(0, 40, 7)]
    assert runs == [list(range(first, min(first + 7, 40))) for first in range(0, 40, 7)]
    grid = np.indices((8, 8)).reshape(2, -1).T.astype(np.int32)
    points = np.arange(64).astype(np.int32)
    bring_together(grid, points, 16)
    for first in range(0, 64, 16):
        assert np.ptp(grid[points[first : first + 16]], axis=0).tolist() == [3, 3]
