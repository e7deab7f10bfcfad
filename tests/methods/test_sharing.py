"""What circuits share: backbone, packing, blocking, overlaps against brute force; identities; chance against draws."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mi_runner.methods import chance_overlap as chance_module
from mi_runner.methods.chance_overlap import chance_overlap
from mi_runner.methods.circuits import random_overlap, sharing
from mi_runner.methods.circuits.kernels.pairs import mean_overlaps
from mi_runner.methods.circuits.overlaps import overlap, overlaps
from mi_runner.methods.circuits.random_overlap import random_distribution, random_pairs, well_formed
from mi_runner.methods.circuits.sharing import Blocking, Packing, backbone, blocking, minimal_members, packing
from mi_runner.methods.circuits.space import CircuitSpace

FAMILIES = st.lists(st.integers(1, 2**9 - 1), min_size=1, max_size=9)


def jaccard(one: int, other: int) -> Fraction:
    return Fraction((one & other).bit_count(), (one | other).bit_count())


def are_disjoint(circuits: tuple[int, ...]) -> bool:
    return all(not one & other for one, other in itertools.combinations(circuits, 2))


def most_disjoint(circuits: list[int]) -> int:
    """The packing number, by every set of circuits."""
    sizes = range(len(circuits), 0, -1)
    return next(n for n in sizes if any(map(are_disjoint, itertools.combinations(circuits, n))))


def fewest_hitting(circuits: list[int], n_edges: int) -> int:
    """The blocking number, by every set of edges."""
    sets = sorted(range(1, 2**n_edges), key=int.bit_count)
    return next(found for found in sets if all(circuit & found for circuit in circuits)).bit_count()


@settings(max_examples=60, deadline=None)
@given(FAMILIES)
def test_packing_and_blocking_against_brute_force(circuits: list[int]) -> None:
    packed, blocked = packing(circuits), blocking(circuits)
    assert packed.low == packed.high == most_disjoint(circuits) == len(packed.circuits)
    assert are_disjoint(packed.circuits) and set(packed.circuits) <= set(circuits)
    assert blocked.low == blocked.high == fewest_hitting(circuits, 9) == blocked.edges.bit_count()
    assert all(circuit & blocked.edges for circuit in circuits)


@settings(max_examples=60, deadline=None)
@given(FAMILIES)
def test_identities_of_what_circuits_share(circuits: list[int]) -> None:
    members = minimal_members(circuits).tolist()
    assert sorted(members) == sorted(
        one for one in set(circuits) if not any(other & ~one == 0 for other in set(circuits) - {one})
    )
    assert backbone(members) == backbone(circuits)
    assert packing(circuits) == packing(members, are_minimal=True)
    assert blocking(circuits).high == blocking(members, are_minimal=True).high
    assert packing(circuits).high <= blocking(circuits).low
    assert (blocking(circuits).high == 1) == (backbone(circuits) != 0)


def test_minimal_members_are_the_same_of_many_edges_as_of_few() -> None:
    random = np.random.default_rng(0)
    few = random.integers(1, 2**12, 300, dtype=np.uint64)
    spread = np.zeros_like(few)  # the same circuits on every fifth edge of 60
    for edge in range(12):
        spread |= (few >> np.uint64(edge) & np.uint64(1)) << np.uint64(5 * edge)
    of_few, of_many = minimal_members(few), minimal_members(spread)
    assert sorted(np.searchsorted(np.unique(few), of_few)) == sorted(np.searchsorted(np.unique(spread), of_many))


def test_numbers_by_hand() -> None:
    """Of a square's four corners each two neighbours: two disjoint pairs, two corners hit all. Triangle: one, two."""
    square, triangle = [0b0011, 0b0110, 0b1100, 0b1001], [0b011, 0b110, 0b101]
    assert packing(square).low == 2 and blocking(square) in (Blocking(2, 2, 0b0101), Blocking(2, 2, 0b1010))
    assert packing(triangle).low == packing(triangle).high == 1 and blocking(triangle).low == 2
    assert backbone(square) == 0 and backbone([0b0111, 0b1101]) == 0b0101
    assert packing([0b0111, 0b1101]).low == 1 and blocking([0b0111, 0b1101]).edges in (0b0001, 0b0100)


def test_the_fano_plane_needs_the_program() -> None:
    """Seven lines of three points, each two meet in one: packing 1, blocking 3, and the greedy choice may miss it."""
    lines = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]
    circuits = [sum(1 << point for point in line) for line in lines]
    assert packing(circuits).low == packing(circuits).high == 1
    assert blocking(circuits).low == blocking(circuits).high == 3


def test_without_time_there_are_intervals_that_hold() -> None:
    random = np.random.default_rng(1)
    circuits = [sum(1 << int(edge) for edge in random.choice(18, 4, replace=False)) for _ in range(60)]
    packed, blocked = packing(circuits, 0), blocking(circuits, 0)
    exact = packing(circuits), blocking(circuits)
    assert exact[0].low == exact[0].high and exact[1].low == exact[1].high
    assert packed.low <= exact[0].low <= packed.high and blocked.low <= exact[1].low <= blocked.high
    assert packed.low < packed.high and blocked.low < blocked.high
    assert are_disjoint(packed.circuits) and all(circuit & blocked.edges for circuit in circuits)


def test_the_solvers_bound_is_rounded_to_the_safe_side(monkeypatch: pytest.MonkeyPatch) -> None:
    triangles = [0b000011, 0b000110, 0b000101, 0b011000, 0b110000, 0b101000]

    def halves(cost: np.ndarray, rows: np.ndarray, **options: float) -> tuple[None, float]:
        return None, -3.0 + 1e-9 if cost[0] < 0 else 3.0 + 1e-9  # the linear program's value, with rounding

    monkeypatch.setattr(sharing, "_solved", halves)
    assert packing(triangles) == Packing(2, 3, (0b000011, 0b011000)) and blocking(triangles).low == 3


def test_without_circuits_and_with_one() -> None:
    assert backbone([]) == 0 and packing([]) == Packing(0, 0, ()) and blocking([]) == Blocking(0, 0, 0)
    assert packing([6]) == Packing(1, 1, (6,)) and blocking([6]) == Blocking(1, 1, 2)
    assert overlap([]) is None and overlap([6]) is None and overlaps([], [6]).n_pairs == 0
    assert overlaps([6]).contained is None and overlaps([6]).histogram(4).tolist() == [0] * 4
    assert packing([2**63, 2**63 + 1]).circuits == (2**63,) and overlap([2**63, 2**64 - 1]) == 1 / 64


def test_what_is_refused() -> None:
    for function in (packing, blocking):
        with pytest.raises(ValueError, match="Leave the empty circuit out"):
            function([0, 3])
        with pytest.raises(ValueError, match="seconds=-1"):
            function([3], -1)
        with pytest.raises(ValueError, match="give a number of seconds"):
            function([3], math.nan)


# --- overlaps --------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 2**64 - 1), min_size=2, max_size=20), st.integers(1, 9))
def test_all_pairs_one_by_one(circuits: list[int], n_bins: int) -> None:
    pairs = list(itertools.combinations(circuits, 2))
    exact = [jaccard(*pair) for pair in pairs]
    found = overlaps(circuits)
    assert found.n_pairs == len(pairs)
    assert found.mean == pytest.approx(float(sum(exact) / len(exact)), rel=1e-12)
    assert found.contained == pytest.approx(sum(one & other in (one, other) for one, other in pairs) / len(pairs))
    expected = np.bincount([min(math.floor(value * n_bins), n_bins - 1) for value in exact], minlength=n_bins)
    assert found.histogram(n_bins).tolist() == expected.tolist()


def test_pairs_of_two_sets_one_by_one() -> None:
    random = np.random.default_rng(2)
    one, other = random.integers(1, 2**11, 70), random.integers(1, 2**40, 90)
    expected = [float(jaccard(int(a), int(b))) for a in one for b in other]
    found = overlaps(one, other)
    assert found.n_pairs == len(expected) and found.mean == pytest.approx(np.mean(expected), rel=1e-12)


@pytest.mark.parametrize("inputs", ["all", "any"])
@pytest.mark.parametrize("sizes", [(2, 2, 1), (2, 2, 2), (3, 2)])
def test_random_pairs_against_every_pair_of_the_family(sizes: tuple[int, ...], inputs: str) -> None:
    space = CircuitSpace(sizes, inputs)
    circuits = well_formed(space).tolist()
    random = random_pairs(space)
    assert random is not None and random.numbers.sum() == len(circuits) == space.count()
    counts = np.zeros_like(random.shares)
    places = {int(size): place for place, size in enumerate(random.sizes)}
    for one, other in itertools.product(circuits, repeat=2):
        counts[places[one.bit_count()], places[other.bit_count()], (one & other).bit_count()] += 1
    assert np.allclose(random.shares, counts / np.outer(random.numbers, random.numbers)[:, :, None], rtol=0, atol=1e-15)


def test_the_expected_distribution_of_given_sizes_by_hand() -> None:
    """Of 2-1: both edges (2 edges), or one (inputs any). Two circuits of one edge are the same with ½."""
    found = random_distribution(CircuitSpace((2, 1), "any"), np.array([0, 2, 1]))
    assert found is not None and found.n_pairs == 3
    assert found.mean == pytest.approx((1 / 2 + 2 * 1 / 2) / 3)
    assert found.histogram(2).tolist() == [0.5, 2.5]
    assert random_distribution(CircuitSpace((2, 1), "any"), np.array([0, 1, 0])) is None


SIZES = np.bincount([5, 5, 6, 6, 7, 7, 8], minlength=11)


def test_chance_and_its_interval_against_plain_draws() -> None:
    space = CircuitSpace((3, 2, 2), "all")
    assert space.n_edges == 10
    found = chance_overlap(space, SIZES, seed=0)
    assert found is not None and found.is_exact
    circuits = well_formed(space)
    random = np.random.default_rng(5)
    drawn = [
        [random.choice(circuits[np.bitwise_count(circuits) == size]) for size in np.repeat(np.arange(11), SIZES)]
        for _ in range(2000)
    ]
    means = [overlap(np.array(family)) for family in drawn]
    assert found.mean == pytest.approx(np.mean(means), abs=4 * np.std(means) / math.sqrt(2000))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(means, (2.5, 97.5))), abs=0.02)
    assert found.low < found.mean < found.high


@pytest.mark.parametrize("inputs", ["all", "any"])
def test_a_sampler_gives_the_chance_that_is_known_exactly(inputs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    space = CircuitSpace((3, 2, 2), inputs)
    exact = chance_overlap(space, 3 * SIZES, seed=0)
    monkeypatch.setattr(chance_module, "MOST_EDGES", 9)
    monkeypatch.setattr(random_overlap, "MOST_EDGES", 9)
    random_pairs.cache_clear()
    found = chance_overlap(space, 3 * SIZES, seed=1)
    random_pairs.cache_clear()
    assert exact is not None and found is not None and not found.is_exact
    assert found.mean == pytest.approx(exact.mean, abs=0.01)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.03)
    shares = [one.pairs.histogram(5) / one.pairs.n_pairs for one in (exact, found)]
    assert np.allclose(*shares, atol=0.05)


def test_the_interval_of_many_circuits_is_not_too_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The spread of families of 500, times √(500/K), beside that of families of all K: the same, or somewhat wider."""
    space = CircuitSpace((3, 3, 1), "any")
    sizes = np.zeros(13, dtype=np.int64)
    sizes[4:9] = 200, 300, 300, 200, 100
    monkeypatch.setattr(chance_module, "FAMILIES", 300)
    scaled = chance_overlap(space, sizes, seed=3)
    monkeypatch.setattr(chance_module, "MOST_MEMBERS", 1_100)
    whole = chance_overlap(space, sizes, seed=3)
    assert scaled is not None and whole is not None and scaled.mean == whole.mean
    assert 0.9 < (scaled.high - scaled.low) / (whole.high - whole.low) < 1.7


def test_chance_of_too_few_circuits_and_of_a_family_that_the_sampler_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chance_overlap(CircuitSpace((3, 2, 2)), np.bincount([5], minlength=11), seed=0) is None
    monkeypatch.setattr(chance_module, "MOST_REFUSED", 100)
    wide = CircuitSpace((12, 2, 1), "all")  # of 26 edges; few circuits of 13 edges use every input
    assert chance_overlap(wide, np.bincount([13, 13], minlength=27), seed=0) is None


def test_means_of_families_are_those_of_each() -> None:
    families = np.random.default_rng(0).integers(1, 2**30, (5, 8), dtype=np.uint64)
    expected = [overlap(family) for family in families]
    assert mean_overlaps(families[..., None]).tolist() == pytest.approx(expected)
    second_word = np.stack([families & np.uint64(2**10 - 1), families >> np.uint64(10)], axis=-1)
    assert mean_overlaps(second_word).tolist() == pytest.approx(expected)
