"""Circuits of layers of any width: their exact numbers, and uniform draws."""

from __future__ import annotations

import itertools
from collections import Counter
from math import comb

import numpy as np
import pytest

from mi_runner.methods.circuits.edges import Edges, bits_of
from mi_runner.methods.circuits.sampling import strata as strata_module
from mi_runner.methods.circuits.sampling.choices import Choice, distinct_states, draw_grouped
from mi_runner.methods.circuits.sampling.drawing import CircuitDraws
from mi_runner.methods.circuits.sampling.matrices import Matrices, MatrixDraws, Shape
from mi_runner.methods.circuits.sampling.strata import Strata, strata_of
from mi_runner.methods.circuits.space import CircuitSpace, ways_into_layer

SIZES = ((2, 2, 2, 1), (3, 2), (3, 1), (1, 1, 1), (2, 1, 3, 2), (2, 2, 2, 2))


def full_matrices(n_rows: int, n_columns: int) -> int:
    """Returns the number of 0/1 matrices of this shape without an empty row or column."""
    return ways_into_layer({n_columns: 1}, n_rows)[n_rows]


def by_edges(
    sizes: tuple[int, ...], inputs: str, *, edges_are_counted: bool, monkeypatch: pytest.MonkeyPatch
) -> Strata:
    if not edges_are_counted:
        monkeypatch.setattr(strata_module, "MOST_EDGES", 0)
    return strata_of(sizes, inputs)


def well_formed(sizes: tuple[int, ...], inputs: str) -> np.ndarray:
    """All circuits of a small space, as rows, by looking at every set of edges."""
    space = CircuitSpace(sizes, inputs)
    every = np.arange(2**space.n_edges, dtype=np.uint64)
    return space.edges.rows(every[space.are_well_formed(every)])


def deviation(counts: np.ndarray, expected: float) -> float:
    """χ² of counts that are expected to be equal, in standard deviations from its mean."""
    freedom = len(counts) - 1
    return float(((counts - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5


class Words:
    """Random integers that are given."""

    def __init__(self, *words: int) -> None:
        self.words = list(words)

    def integers(self, low: int, high: int, size: int | None = None, dtype: type = np.uint64) -> np.ndarray | int:
        assert (low, high) == (0, 2**64)
        if size is None:
            return self.words.pop(0)
        return np.array([self.words.pop(0) for _ in range(size)], dtype=dtype)


def test_more_bits_decide_where_64_do_not() -> None:
    third = (2**64 - 1) // 3  # 0.0101…01 in binary; ⅓ goes on with 0101…
    choice = Choice([1, 0, 2])
    assert choice.draw(2, Words(third - 1, third + 1)).tolist() == [0, 2]
    assert choice.draw(1, Words(third, third - 1)).tolist() == [0]
    assert choice.draw(1, Words(third, third, third + 1)).tolist() == [2]
    # The end of a share that 64 bits write exactly belongs to the next option.
    assert Choice([1, 1]).draw(2, Words(2**63 - 1, 2**63)).tolist() == [0, 1]


def test_a_choice_has_the_shares_of_its_weights_of_any_size() -> None:
    weights = [3 * 10**300, 0, 10**300, 1]
    drawn = Choice(weights).draw(40_000, np.random.default_rng(0))
    assert np.bincount(drawn, minlength=4).tolist() == pytest.approx([30_000, 0, 10_000, 0], abs=300)
    assert Choice([0, 5]).draw(3, np.random.default_rng(0)).tolist() == [1, 1, 1]


def test_states_are_drawn_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.array([7, 3, 7, 900])
    for most in (10_000, 10):
        monkeypatch.setattr("mi_runner.methods.circuits.sampling.choices.MOST_CODES", most)
        found, place = distinct_states(codes)
        assert found.tolist() == [3, 7, 900] and place.tolist() == [1, 0, 1, 2]
    options = draw_grouped(place, [Choice([1]), Choice([0, 1]), Choice([0, 0, 1])], np.random.default_rng(0))
    assert options.tolist() == [1, 0, 1, 2]


@pytest.mark.parametrize("n_rows, n_columns", [(1, 1), (2, 3), (3, 2), (3, 3)])
def test_matrices_are_counted_as_by_enumeration(n_rows: int, n_columns: int) -> None:
    n = n_rows * n_columns
    every = np.array(list(itertools.product([False, True], repeat=n))).reshape(-1, n_rows, n_columns)
    not_empty = every[every.any(2).all(1)]
    covering = not_empty[not_empty.any(1).all(1)]
    for kept, shape in ((covering, Shape(n_rows, n_columns)), (not_empty, Shape(n_rows, n_columns, covers=False))):
        matrices = Matrices(n)
        counts = np.bincount(kept.sum((1, 2)), minlength=n + 1).tolist()
        assert matrices.unpacked(matrices.count(shape)) == counts
        assert Matrices(None).count(shape) == len(kept)


@pytest.mark.parametrize("most_ones", [16, None])
@pytest.mark.parametrize("shape", [Shape(3, 2), Shape(2, 2), Shape(2, 3, covers=False), Shape(1, 1)])
def test_matrices_are_drawn_uniformly(shape: Shape, most_ones: int | None) -> None:
    random = np.random.default_rng(3)
    ones = None if most_ones is None else np.full(20_000, min(3, shape.n_rows * shape.n_columns))
    drawn = MatrixDraws(shape, Matrices(most_ones)).draw(ones, 20_000, random)
    assert drawn.any(2).all() and (not shape.covers or drawn.any(1).all())
    assert ones is None or (drawn.sum((1, 2)) == ones).all()
    matrices = Matrices(16)
    numbers = matrices.unpacked(matrices.count(shape))
    counts = np.array(list(Counter(map(bytes, drawn)).values()))
    assert len(counts) == (sum(numbers) if ones is None else numbers[ones[0]])
    assert len(counts) == 1 or abs(deviation(counts, len(drawn) / len(counts))) < 3


@pytest.mark.parametrize("edges_are_counted", [True, False])
@pytest.mark.parametrize("inputs", ["all", "any"])
@pytest.mark.parametrize("sizes", [*SIZES, (3, 3, 3, 1), (4, 4, 4, 1)])
def test_circuits_are_counted_as_their_space_counts_them(
    sizes: tuple[int, ...], inputs: str, edges_are_counted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    strata = by_edges(sizes, inputs, edges_are_counted=edges_are_counted, monkeypatch=monkeypatch)
    space = CircuitSpace(sizes, inputs)
    assert strata.total == space.count() == sum(strata.sizes) + 1 == sum(strata.of_groups)
    assert strata.total - strata.n_partial == space.count_all_active()


@pytest.mark.parametrize("inputs", ["all", "any"])
@pytest.mark.parametrize("sizes", SIZES)
def test_cells_are_counted_as_by_enumeration(sizes: tuple[int, ...], inputs: str) -> None:
    strata, circuits = strata_of(sizes, inputs), well_formed(sizes, inputs)
    masks = Edges(sizes).masks(circuits)
    active = (
        np.stack([mask.any(2).sum(1) for mask in masks[:-1]], axis=1) if masks[1:] else np.empty((len(circuits), 0))
    )
    cells = Counter((*numbers, k) for *numbers, k in np.column_stack([active, circuits.sum(1)]).astype(int).tolist())
    cells[(*sizes[1:-1], circuits.shape[1])] -= 1  # the full circuit is counted apart
    found = {(*a, k): n for a, k, n in zip(strata.active.tolist(), strata.n_edges, strata.numbers, strict=True)}
    assert found == +cells
    assert strata.of_groups == np.bincount(circuits.sum(1), minlength=circuits.shape[1] + 1).tolist()


def test_strata_of_wide_layers_are_few_and_complete() -> None:
    heads = strata_of((16, 16, 10), "all")
    count = sum(comb(16, a) * full_matrices(a, 16) * full_matrices(10, a) for a in range(1, 17))
    assert heads.total == count == sum(heads.of_groups) and heads.counts_edges
    assert 100 < len(heads.sizes) < 2000 and len(heads.of_groups) <= 64
    assert heads.groups[0] == 0 and heads.groups[-1] == 417
    # A stratum is in one group of edges.
    groups = np.searchsorted(heads.groups, heads.n_edges, side="right")
    assert all(len(set(groups[start:end])) == 1 for start, end in itertools.pairwise(heads.begins))
    wide = strata_of((40, 40, 30, 3), "any")
    into_first = [comb(40, a) * (2**40 - 1) ** a for a in range(41)]
    assert not wide.counts_edges
    assert wide.total == sum(
        into_first[a] * comb(30, b) * full_matrices(b, a) * 7**b for a in range(1, 41) for b in range(1, 31)
    )


@pytest.mark.parametrize("edges_are_counted", [True, False])
@pytest.mark.parametrize("inputs", ["all", "any"])
@pytest.mark.parametrize("sizes", [(2, 2, 2, 1), (3, 2), (2, 1, 3, 2), (1, 2, 1)])
def test_circuits_are_drawn_uniformly(
    sizes: tuple[int, ...], inputs: str, edges_are_counted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    strata = by_edges(sizes, inputs, edges_are_counted=edges_are_counted, monkeypatch=monkeypatch)
    circuits = set(bits_of(well_formed(sizes, inputs)).tolist())
    drawn = CircuitDraws(strata).draw_any(100 * len(circuits), np.random.default_rng(5))
    counts = Counter(bits_of(drawn).tolist())
    assert set(counts) == circuits
    assert abs(deviation(np.array(list(counts.values())), 100)) < 3


def test_a_stratum_is_drawn_from_alone() -> None:
    strata = strata_of((3, 3, 3, 1), "all")
    for stratum in (0, 7, len(strata.sizes) - 1):
        drawn = CircuitDraws(strata).draw(np.full(2000, stratum), np.random.default_rng(stratum))
        assert set(drawn.sum(1)) <= set(strata.n_edges[strata.begins[stratum] : strata.begins[stratum + 1]])
        counts = np.array(list(Counter(bits_of(drawn).tolist()).values()))
        assert len(counts) <= strata.sizes[stratum]
        assert not drawn.all(1).any()


@pytest.mark.parametrize("sizes, inputs", [((130, 40, 10), "all"), ((30, 130, 3), "any"), ((40, 40, 40, 2), "all")])
def test_circuits_of_wide_layers_are_well_formed(sizes: tuple[int, ...], inputs: str) -> None:
    draws = CircuitDraws(strata_of(sizes, inputs))
    drawn = draws.draw_any(60, np.random.default_rng(1))
    edges = Edges(sizes)
    assert (edges.closed(drawn) == drawn).all()
    masks = edges.masks(drawn)
    assert inputs == "any" or (masks[0].any(1).all() and masks[-1].any(2).all())
    # Nearly all sets of edges are circuits in which each neuron of the last hidden layer has an edge to an output.
    *before, last = edges.masks(drawn.mean(0))
    expected = [0.5 * sum(mask.size for mask in before), 0.5 * last.size / (1 - 0.5 ** sizes[-1])]
    assert [sum(mask.sum() for mask in before), last.sum()] == pytest.approx(expected, rel=0.02)
