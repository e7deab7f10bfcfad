"""How many groundings have all valid circuits together, where these are too many to ground? An estimate by strata.

A circuit with more edges has far more groundings, and few circuits have many edges: of a uniform sample of valid
circuits hardly any is among those that decide the total. So circuits are drawn for each number of kept edges, of which
the census says exactly how many valid ones there are. From the most edges down: all circuits where these are few,
otherwise random sets of so many edges, of which the well-formed and valid ones are kept. Once the uniform sample has
enough circuits of a number of edges, it serves for that and all smaller numbers.

Letters: K circuits, E edges of the full circuit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.measures import measure_some
from mi_runner.methods.circuits.search import CircuitSearch
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.tables.intervals import Z_95

ENUMERATED = 20_000
"""Sets of so many edges are all tried where there are no more."""

TRIED_AT_ONCE, MOST_TRIED = 20_000, 200_000
"""Random sets of edges that are tried for one number of edges."""


@dataclass(frozen=True)
class Stratum:
    """Valid circuits whose numbers of kept edges lie in a range, and some of them.

    Attributes:
        least_edges, most_edges: the range, inclusive.
        n_valid: how many there are, exactly.
        circuits: `(K,)` uint64, all of them, or a uniform sample that may have repeats.
        is_complete: whether these are all.
    """

    least_edges: int
    most_edges: int
    n_valid: int
    circuits: np.ndarray
    is_complete: bool


@dataclass(frozen=True)
class Total:
    """A total number of groundings.

    Attributes:
        value: exact, or an estimate.
        low, high: its 95 % interval; the value itself where it is exact. None: the sample gives no interval.
    """

    value: int
    low: int | None
    high: int | None


def strata_of(
    part: Part, examples: CircuitExamples, search: CircuitSearch, *, least: int, generator: np.random.Generator
) -> list[Stratum]:
    """Returns the valid circuits of a search by their number of kept edges, with so many of each if possible.

    Args:
        search: whose valid listed circuits are all, or a uniform sample of them.
        least: circuits that are drawn of a number of edges.
        generator: of the random sets of edges.
    """
    space = search.space
    per_edges = search.counts[:, :, search.least_correct :].sum((0, 2))
    listed_edges = np.bitwise_count(search.valid)
    if len(search.valid) == search.n_valid:
        return [Stratum(0, space.n_edges, search.n_valid, search.valid, is_complete=True)]
    strata = []
    edges = space.n_edges
    while edges and (listed_edges == edges).sum() < least:
        n_valid = int(per_edges[edges])
        is_enumerated = math.comb(space.n_edges, edges) <= ENUMERATED
        if n_valid:
            sets = _sets_of(space, edges) if is_enumerated else _random_sets(space, edges, generator)
            drawn = _valid_among(part, examples, search, sets, n_valid if is_enumerated else least)
            if not is_enumerated and len(drawn) < 2:
                break  # too few sets of so many edges are valid circuits
            strata.append(Stratum(edges, edges, n_valid, drawn, is_complete=is_enumerated))
        edges -= 1
    rest = int(per_edges[: edges + 1].sum())
    if rest:
        listed = search.valid[listed_edges <= edges]
        strata.append(Stratum(0, edges, rest, listed, is_complete=len(listed) == rest))
    return strata


def _sets_of(space: CircuitSpace, edges: int) -> Iterator[np.ndarray]:
    """Yields all sets of so many edges, in one batch `(K,)` uint64."""
    left_out = itertools.combinations(range(space.n_edges), space.n_edges - edges)
    yield np.array([space.full - sum(1 << bit for bit in left) for left in left_out], dtype=np.uint64)


def _random_sets(space: CircuitSpace, edges: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields random sets of so many edges, in batches `(K,)` uint64."""
    for _ in range(MOST_TRIED // TRIED_AT_ONCE):
        order = generator.random((TRIED_AT_ONCE, space.n_edges)).argsort(1)[:, :edges]
        yield np.bitwise_or.reduce(np.uint64(1) << order.astype(np.uint64), axis=1)


def _valid_among(
    part: Part, examples: CircuitExamples, search: CircuitSearch, batches: Iterator[np.ndarray], most: int
) -> np.ndarray:
    """Returns the first circuits `(K,)` uint64 of the batches that are valid, at most so many."""
    drawn: list[np.ndarray] = []
    for sets in batches:
        drawn.append(_valid(part, examples, search, sets))
        if sum(map(len, drawn)) >= most:
            break
    return np.concatenate(drawn)[:most]


def _valid(part: Part, examples: CircuitExamples, search: CircuitSearch, sets: np.ndarray) -> np.ndarray:
    """Returns those sets of edges `(K,)` uint64 that are well-formed and valid circuits, in their order."""
    formed = sets[search.space.are_well_formed(sets)]
    if not len(formed):
        return formed
    unique, inverse = np.unique(formed, return_inverse=True)
    measures = measure_some(part, examples, unique).sorted()
    return formed[(measures.right(examples.valid_by) >= search.least_correct)[inverse]]


def estimate_total(strata: Sequence[Stratum], counts: Sequence[Sequence[int]]) -> Total:
    """Returns the number of groundings of all valid circuits, exact if each stratum is complete, or else estimated.

    The estimate is the sum over strata of their size times the mean of their sample. Its standard error gives the
    interval on a logarithmic scale, because the number is not negative.

    Args:
        counts: of each stratum the groundings of its circuits.
    """
    exact, estimate, variance = 0, 0.0, 0.0
    for stratum, values in zip(strata, counts, strict=True):
        if stratum.is_complete:
            exact += sum(values)
            continue
        floats = np.array([float(value) for value in values])
        if len(floats):
            estimate += stratum.n_valid * float(floats.mean())
        variance += stratum.n_valid**2 * (float(floats.var(ddof=1)) / len(floats) if len(floats) > 1 else math.inf)
    if all(stratum.is_complete for stratum in strata):
        return Total(exact, exact, exact)
    total = exact + estimate
    if not total or not math.isfinite(variance):
        return Total(int(total), None, None)
    factor = math.exp(min(700.0, Z_95 * math.sqrt(variance) / total))
    return Total(int(total), int(total / factor), int(total * factor))
