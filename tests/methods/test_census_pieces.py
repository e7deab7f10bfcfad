"""A census in pieces: the pieces together have each circuit once, and each takes its share of the work."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits import pieces
from mi_runner.methods.circuits.census import first_in_order, take_census
from mi_runner.methods.circuits.choices import choices_of
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.pieces import Dealer, Dealing, circuits_below, heads_of
from mi_runner.methods.circuits.prefixes import completions, prefixes_of
from mi_runner.methods.circuits.search import count_circuits, salt_of, search_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from tests.small_parts import examples_of, random_part

SIZES = [(2, 2, 2, 1), (3, 3, 3, 1), (2, 2, 1, 2, 1), (3, 4, 1), (2, 1, 1), (1, 2, 2, 1), (3, 2, 3), (2, 2, 2, 2)]


def part_and_examples(sizes: tuple[int, ...], n: int = 40) -> tuple[Part, CircuitExamples]:
    part = random_part(sizes, ["leaky_relu"] * (len(sizes) - 1), seed=len(sizes))
    if sizes[-1] == 1:
        return part, examples_of(part, n)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(n, sizes[0], generator=draw)
    return part, CircuitExamples(x, torch.randint(0, sizes[-1], (n,), generator=draw), part(x))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("inputs", ["all", "any"])
@pytest.mark.parametrize("of", [2, 5])
def test_pieces_add_up_to_the_whole(
    sizes: tuple[int, ...], inputs: str, of: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, examples = part_and_examples(sizes)
    right = search_circuits(part, examples, accuracy_threshold=0, inputs=inputs).right
    options = {"accuracy_threshold": (np.median(right) - 0.5) / len(examples), "inputs": inputs}
    table = search_circuits(part, examples, **options)
    assert table.n_valid > 0
    for tasks in (1, 10, 10**9):
        monkeypatch.setattr(pieces, "TASKS_OF_PIECE", tasks)
        found = [
            count_circuits(part, examples, **options, most_listed=30, piece=(number, of)) for number in range(1, of + 1)
        ]
        assert [one.n_circuits for one in found] == [
            Dealing(table.space, (number, of)).n_circuits() for number in range(1, of + 1)
        ]
        assert np.array_equal(sum(one.counts for one in found), table.counts)
        assert np.array_equal(sum(one.edge_counts for one in found), table.edge_counts)
        whole = search_circuits(part, examples, **options, max_table_rows=0, most_listed=30)
        assert np.array_equal(
            first_in_order(table.space, np.concatenate([one.valid for one in found]), 0, 30), whole.valid
        )


def test_pieces_that_get_the_same_draw_list_circuits_of_one_order() -> None:
    part, examples = part_and_examples((2, 3, 3, 1))
    options = {"accuracy_threshold": 0.5, "most_listed": 9}

    def drawn() -> torch.Generator:
        return torch.Generator().manual_seed(3)

    whole = count_circuits(part, examples, **options, generator=drawn())
    lists = [count_circuits(part, examples, **options, generator=drawn(), piece=(i, 2)).valid for i in (1, 2)]
    assert len(whole.valid) == 9 and not np.array_equal(whole.valid, count_circuits(part, examples, **options).valid)
    assert np.array_equal(first_in_order(whole.space, np.concatenate(lists), salt_of(drawn()), 9), whole.valid)


def test_the_sample_of_the_pieces_is_that_of_the_whole() -> None:
    part, examples = part_and_examples((2, 3, 3, 1))
    for salt, most in itertools.product((0, 2**64 - 1, 77), (1, 10, 10_000)):
        census, whole = take_census(part, examples, 20, most, salt=salt)
        lists = [take_census(part, examples, 20, most, salt=salt, piece=(number, 3))[1] for number in (1, 2, 3)]
        together, n_valid = np.concatenate(lists), census.counts[:, :, 20:].sum()
        assert 100 < n_valid < 10_000 and len(whole) == min(most, n_valid)
        assert len(np.unique(together)) == len(together)
        assert np.array_equal(first_in_order(CircuitSpace(part.sizes), together, salt, most), whole)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("inputs", ["all", "any"])
def test_nodes_and_their_circuits_by_counting_them(sizes: tuple[int, ...], inputs: str) -> None:
    space = CircuitSpace(sizes, inputs)
    part, examples = part_and_examples(sizes, n=5)
    nodes: Counter[tuple[int, int]] = Counter()

    def seen(depth: int, n_active: np.ndarray) -> np.ndarray:
        nodes.update((depth, active) for active in n_active.tolist())
        return np.ones(len(n_active), dtype=bool)

    n_prefixes = sum(len(batch) for batch in prefixes_of(part, space, examples.x.numpy(), 7, None, seen))
    depths = range(len(sizes) - 2)
    assert {(d, a): n for d in depths for a, n in space.ways_to(d).items()} == dict(nodes)
    assert n_prefixes == sum(space.ways_to(depths[-1]).values())
    for depth in depths:
        below = sum(n * circuits_below(space, depth, active) for active, n in space.ways_to(depth).items())
        assert below == space.count()


@pytest.mark.parametrize("sizes", [(3, 3, 1), (2, 3, 2), (2, 2, 3)])
@pytest.mark.parametrize("inputs", ["all", "any"])
def test_the_circuits_of_a_head_by_trying_all(sizes: tuple[int, ...], inputs: str) -> None:
    space, masks = CircuitSpace(sizes, inputs), choices_of(CircuitSpace(sizes))
    for active in range(1, 1 << sizes[0]):
        fits = [q for q, (m, _) in enumerate(masks.tolist()) if not m & ~active]
        complete: Counter[tuple[int, ...]] = Counter()
        for rows in itertools.product(fits, repeat=sizes[1]):
            used = np.bitwise_or.reduce(masks[list(rows)])
            if used[0] == active and (used[1] == (1 << sizes[2]) - 1 or inputs == "any"):
                for n_neurons in range(sizes[1]):
                    complete[rows[:n_neurons]] += 1
        for n_neurons in range(sizes[1]):
            heads = heads_of(space, active, n_neurons)
            assert [tuple(head) for head in heads.chosen.tolist()] == list(itertools.product(fits, repeat=n_neurons))
            circuits = [heads.circuits[kind] for kind in heads.kind]
            assert circuits == [complete[tuple(head)] for head in heads.chosen.tolist()]


def test_the_choices_of_one_neuron_by_hand() -> None:
    """One neuron reads a, b or both, and leads to the output: three choices, with nothing kept four. All must be read:
    by one neuron only (a and b); by two neurons (ab, any): 4 + 4 − 1, (a, b), (b, a)."""
    space = CircuitSpace((2, 2, 1))
    assert completions(space, 1, 2, 0, 0) == 4 and completions(space, 1, 2, 2, 1) == 1
    assert completions(space, 2, 2, 2, 1) == 9


@pytest.mark.parametrize(
    ("sizes", "of", "level"),
    [((4, 4, 4, 1), 64, (1, 0)), ((4, 8, 1), 16, (0, 3)), ((4, 4, 3), 8, (0, 2)), ((3, 3, 3, 1), 16, (1, 2))],
)
def test_each_piece_has_its_share(sizes: tuple[int, ...], of: int, level: tuple[int, int]) -> None:
    """Also of each kind of task, so of circuits with few and with many active neurons."""
    space = CircuitSpace(sizes)
    shares = np.array([Dealing(space, (number, of)).n_circuits() for number in range(1, of + 1)], dtype=float)
    assert Dealing(space, (1, of)).level == level
    assert shares.sum() == space.count()
    assert np.ptp(shares) / shares.mean() < 0.02


def test_a_piece_has_tasks_from_all_over_the_tree() -> None:
    """With 16 masks of the first neuron and 16 pieces, a piece doesn't get one mask alone."""
    dealing = Dealing(CircuitSpace((4, 8, 1)), (5, 16))
    heads = Dealer(dealing).heads(15, 3)
    assert 200 < len(heads.chosen) < 312
    for neuron in range(3):
        assert (np.bincount(heads.chosen[:, neuron], minlength=16) > 5).all()


def test_what_is_no_piece() -> None:
    part, examples = part_and_examples((2, 2, 1))
    for piece, text in (
        ((0, 3), r"piece=\(0, 3\): there are 3 pieces: give \(1, 3\) to \(3, 3\)."),
        ((4, 3), r"piece=\(4, 3\): there are 3 pieces"),
        ((1, 0), r"piece=\(1, 0\): there is at least one piece: give \(1, 1\)."),
    ):
        with pytest.raises(ArgumentError, match=text):
            count_circuits(part, examples, accuracy_threshold=0.5, piece=piece)
        with pytest.raises(ArgumentError, match=text):
            take_census(part, examples, 1, 1, piece=piece)


def test_a_census_takes_a_hidden_layer_and_what_a_search_takes() -> None:
    layer, on = part_and_examples((3, 1))
    with pytest.raises(ArgumentError, match="a census takes a hidden layer: give a part of more layers."):
        count_circuits(layer, on, accuracy_threshold=0.5)
    with pytest.raises(ArgumentError, match="accuracy_threshold=1.5: give a number between 0 and 1."):
        count_circuits(layer, on, accuracy_threshold=1.5)
