"""Which circuits keep only edges of a given set? They are listed from the outputs back to the inputs.

Of a network with many weights that are 0 only the others matter. A circuit of the family keeps some of the given edges,
and is well formed: each active neuron has edges in and out.

Letters: K circuits.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.edges import as_bits
from mi_runner.methods.circuits.examples import CircuitExamples, check_outputs
from mi_runner.methods.circuits.measures import CircuitMeasures, measure_by_tensors
from mi_runner.methods.circuits.search import MOST_ROWS, CircuitSearch, in_a_table
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import Progress
from mi_runner.tables.whole_numbers import large

MOST_SOURCES = 20
"""Edges of a family into one neuron, at most: their sets are listed."""


def nonzero_edges(part: Part) -> int:
    """Returns the edges of a part whose weight is not 0, as bits."""
    space = CircuitSpace(part.sizes, "any")
    return space.circuit([layer.weight.cpu().numpy() != 0 for layer in part.layers])


def count_family(space: CircuitSpace, family: int) -> int:
    """Returns the number of well-formed circuits of a space that keep only edges of a family.

    Args:
        family: edges as bits.

    Raises:
        ArgumentError: a neuron has too many of these edges.
    """
    ways: Counter[int] = Counter(_used_outputs(space))
    for sources in reversed(_sources(space, family)):
        before: Counter[int] = Counter()
        for needed, n in ways.items():
            for used, m in _ways_to_feed(sources, needed).items():
                before[used] += n * m
        ways = before
    return sum(n for used, n in ways.items() if _uses_enough(space, used))


def circuits_of_family(space: CircuitSpace, family: int) -> np.ndarray:
    """Returns the well-formed circuits of a space that keep only edges of a family, `(K,)`, bits, ascending.

    Raises:
        ArgumentError: a neuron has too many of these edges.
    """
    bits = space.edges.bits([0] * len(_used_outputs(space)))
    needed = as_bits(_used_outputs(space), space.sizes[-1])
    for layer, sources in reversed(list(enumerate(_sources(space, family)))):
        found = [(space.edges.bits([]), as_bits([], space.sizes[layer]))]
        for one in np.unique(needed).tolist():
            added, used = _fed(space, layer, sources, one)
            kept = bits[needed == one]
            found.append(((kept[:, None] | added).reshape(-1), np.tile(used, len(kept))))
        bits = np.concatenate([of[0] for of in found])
        needed = np.concatenate([of[1] for of in found])
    enough = np.array([_uses_enough(space, used) for used in needed.tolist()], dtype=bool)
    return np.sort(bits[enough])


def search_family(
    part: Part,
    examples: CircuitExamples,
    family: int,
    *,
    accuracy_threshold: float,
    ablation: str = "zero",
    inputs: str = "all",
    min_node_sparsity: float = 0.0,
    max_table_rows: int = MOST_ROWS,
    progress: Progress | None = None,
) -> CircuitSearch:
    """Returns the counts and the list of the circuits of a part that keep only edges of a family.

    Args:
        family: edges as bits.
        accuracy_threshold, ablation, inputs, min_node_sparsity: as for `search_circuits`.
        max_table_rows: the largest number of circuits that are listed.

    Raises:
        ArgumentError: there are more circuits, or an argument doesn't fit.
    """
    check_outputs(part, examples)
    space = CircuitSpace(part.sizes, inputs)
    if (count := count_family(space, family)) > max_table_rows:
        problem = f"there are {large(count)} circuits of these edges, more than {{max_table_rows}}={max_table_rows}."
        raise ArgumentError("max_table_rows", max_table_rows, problem, f"Type {{max_table_rows}}={count}.")
    measured = measure_family(part, examples, circuits_of_family(space, family), ablation=ablation, progress=progress)
    least_correct = examples.fewest_right(accuracy_threshold)
    result = in_a_table(measured, examples, space, least_correct, min_node_sparsity)
    return replace(result, of_family=True)


def measure_family(
    part: Part, examples: CircuitExamples, circuits: np.ndarray, *, ablation: str, progress: Progress | None = None
) -> CircuitMeasures:
    """Returns the measures of circuits `(K,)`, bits, in their order, by forward passes with masked weights."""
    batches = list(measure_by_tensors(part, examples, circuits, ablation=ablation, progress=progress))
    return CircuitMeasures.joined(batches)


def _used_outputs(space: CircuitSpace) -> list[int]:
    """Returns the sets of outputs that a circuit may use, as bits."""
    every = 2 ** space.sizes[-1] - 1
    return [every] if space.inputs == "all" else list(range(1, every + 1))


def _uses_enough(space: CircuitSpace, used: int) -> bool:
    """Returns whether a circuit may use these inputs alone."""
    return space.inputs == "any" or used == 2 ** space.sizes[0] - 1


def _sources(space: CircuitSpace, family: int) -> list[list[int]]:
    """Returns, for each layer and target, the sources of the edges that a circuit may keep, as bits.

    Edges that lie on no path from an input to an output are left out.
    """
    rows = space.edges.rows(space.edges.bits([family]))
    masks = space.edges.masks(space.edges.closed(rows)[0])
    if (most := max(int(mask.sum(1).max()) for mask in masks)) > MOST_SOURCES:
        problem = f"a neuron has {most} edges that circuits may keep, more than {MOST_SOURCES}."
        raise ArgumentError("family", None, problem)
    return [[sum(1 << int(source) for source in np.flatnonzero(row)) for row in mask] for mask in masks]


def _subsets(sources: int) -> Iterator[int]:
    """Yields the non-empty subsets of a set of bits."""
    subset = sources
    while subset:
        yield subset
        subset = subset - 1 & sources


def _ways_to_feed(sources: list[int], needed: int) -> Counter[int]:
    """Returns, for each set of used sources, in how many ways the needed targets choose edges from exactly these."""
    ways: Counter[int] = Counter({0: 1})
    for target, own in enumerate(sources):
        if needed >> target & 1:
            before: Counter[int] = Counter()
            for used, n in ways.items():
                for subset in _subsets(own):
                    before[used | subset] += n
            ways = before
    return ways


def _fed(space: CircuitSpace, layer: int, sources: list[int], needed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns each choice of edges of a layer into the needed targets, and the sources that it uses, both as bits."""
    n_in, start = space.sizes[layer], space.offsets[layer]
    bits, used = space.edges.bits([0]), as_bits([0], n_in)
    for target, own in itertools.compress(enumerate(sources), [needed >> t & 1 for t in range(len(sources))]):
        subsets = list(_subsets(own))
        shifted = space.edges.bits(subset << (start + target * n_in) for subset in subsets)
        bits = (bits[:, None] | shifted).reshape(-1)
        used = (used[:, None] | as_bits(subsets, n_in)).reshape(-1)
    return bits, used
