"""How much would circuits overlap by chance? The same numbers of edges, drawn from all well-formed circuits.

For each pair of circuits two others are drawn, of the same two numbers of edges, uniformly and independently from all
circuits of the family; they may coincide. The mean over all pairs is exact for families of at most 21 edges
(`mi_runner.methods.circuits.random_overlap`), and otherwise the mean over drawn families.

The interval is that of chance itself: in 95 % of families of as many circuits, of the same numbers of edges, the mean
overlap lies in it. Families of more than 500 circuits are too large to be drawn so often. For these the drawn families
have 500, evenly spaced among the circuits sorted by their numbers of edges, and the spread is multiplied by √(500/K): a
mean over pairs varies as one over √K, or less, so the interval may be somewhat too wide. Where the mean is that of
drawn families, each pair of numbers of edges has its own share in it, and the interval also has the draws' error.

Letters: K circuits, E edges, F families of n circuits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from mi_runner.errors import ArgumentError
from mi_runner.methods.circuits.edges import WORD, bits_of, words_of
from mi_runner.methods.circuits.kernels.pairs import mean_overlaps
from mi_runner.methods.circuits.overlaps import PairCounts, overlaps
from mi_runner.methods.circuits.random_overlap import MOST_EDGES, random_distribution, well_formed
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.discovery.sampling import CircuitSampler
from mi_runner.tables.intervals import Z_95

FAMILIES, FEWER_FAMILIES = 1_000, 200
"""Families that are drawn; fewer where circuits are drawn by a sampler, which takes longer."""

MOST_MEMBERS = 500
"""Circuits of a drawn family."""

MOST_REFUSED = 1_000_000
"""So many circuits of one number of edges are drawn in vain, because they leave an input or an output out."""

PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, eq=False)
class ChanceOverlap:
    """The overlap of random circuits.

    Attributes:
        mean: over all pairs, 0 to 1.
        low, high: 95 % of families of as many circuits have a mean overlap between these.
        pairs: the distribution, as expected numbers of pairs; those of drawn families where it isn't exact.
        is_exact: whether mean and distribution are exact.
    """

    mean: float
    low: float
    high: float
    pairs: PairCounts
    is_exact: bool


def chance_overlap(space: CircuitSpace, sizes: np.ndarray, seed: int) -> ChanceOverlap | None:
    """Returns the overlap of random circuits of these numbers of edges.

    Args:
        space: the family that they are drawn from.
        sizes: `(E + 1,)`, the circuits of each number of edges.
        seed: of the draws.

    Returns None if there are fewer than two circuits, or if too few are found among those drawn.
    """
    n = int(sizes.sum())
    if n < 2:
        return None
    is_exact = space.n_edges <= MOST_EDGES
    random = np.random.default_rng(seed)
    n_families = FAMILIES if is_exact else FEWER_FAMILIES
    of_families = np.tile(_sizes_of_family(np.asarray(sizes)), (n_families, 1))
    families = _drawn_exactly(space, of_families, random) if is_exact else _sampled(space, of_families, seed)
    if families is None:
        return None
    means = mean_overlaps(words_of(families.reshape(-1), -(-space.n_edges // WORD)).reshape(*families.shape, -1))
    pairs = random_distribution(space, sizes)
    error = 0.0
    if pairs is None:
        pairs, error = _of_drawn(families, sizes), Z_95 * float(means.std()) / math.sqrt(len(means))
    mean = pairs.mean
    assert mean is not None
    narrower = math.sqrt(min(1.0, families.shape[1] / n))
    below, above = (float(end) * narrower for end in np.percentile(means, PERCENTILES) - means.mean())
    low, high = mean - math.hypot(below, error), mean + math.hypot(above, error)
    return ChanceOverlap(mean, max(0.0, low), min(1.0, high), pairs, is_exact)


def _sizes_of_family(sizes: np.ndarray) -> np.ndarray:
    """Returns the numbers of edges of a family's circuits, `(n,)`: the same in all, so that they add no spread."""
    total = int(sizes.sum())
    n = min(total, MOST_MEMBERS)
    places = ((np.arange(n) + 0.5) * (total / n)).astype(np.int64)
    return np.searchsorted(np.cumsum(sizes), places, side="right")


def _drawn_exactly(space: CircuitSpace, of_families: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns circuits `(F, n)`, bits, of these numbers of edges, from the list of all."""
    circuits = well_formed(space)
    begins = np.searchsorted(np.bitwise_count(circuits), np.arange(space.n_edges + 2))
    begin, end = begins[of_families], begins[of_families + 1]
    places = begin + (random.random(of_families.shape) * (end - begin)).astype(np.int64)
    return circuits[places]


def _sampled(space: CircuitSpace, of_families: np.ndarray, seed: int) -> np.ndarray | None:
    """Returns circuits `(F, n)`, bits, of these numbers of edges by a sampler; None if too few of them are found."""
    sampler = CircuitSampler(space.sizes, torch.Generator().manual_seed(seed))
    families = np.empty(of_families.shape, dtype=space.edges.bits([]).dtype)
    for size in np.unique(of_families).tolist():
        of_size = of_families == size
        found = of_family(space, sampler, size, int(of_size.sum()))
        if found is None:
            return None
        families[of_size] = found
    return families


def of_family(space: CircuitSpace, sampler: CircuitSampler, size: int, n: int) -> np.ndarray | None:
    """Returns n circuits of the family `(n,)`, bits, drawn uniformly among those with so many edges.

    The sampler's circuits may leave inputs and outputs out. Those that the family lacks are dropped. None where
    too few of many draws are left.
    """
    found: list[np.ndarray] = []
    n_found, n_refused = 0, 0
    while n_found < n:
        try:
            drawn = bits_of(sampler.draw(size, max(1_000, n - n_found)))
        except ArgumentError:
            return None
        kept = drawn[space.are_well_formed(drawn)]
        found.append(kept)
        n_found, n_refused = n_found + len(kept), n_refused + len(drawn) - len(kept)
        if n_refused > MOST_REFUSED and n_found < n / 2:
            return None
    return np.concatenate(found)[:n]


def _of_drawn(families: np.ndarray, sizes: np.ndarray) -> PairCounts:
    """Returns the pairs within each drawn family; each pair of numbers of edges weighs as in the circuits asked for."""
    counted = [overlaps(family) for family in families]
    columns = ([getattr(one, name) for one in counted] for name in ("first", "second", "common", "n"))
    first, second, common, n = (np.concatenate(column) for column in columns)
    drawn = np.zeros((len(sizes), len(sizes)))
    np.add.at(drawn, (first, second), n)
    wanted = np.outer(sizes, sizes) - np.diag(
        sizes * (sizes + 1.0) / 2
    )  # one of each unordered pair, as first > second
    return PairCounts(first, second, common, n * (wanted / np.maximum(1, drawn))[first, second])
