"""Does the search find all valid circuits, and none besides? Against plain Python that looks at all sets of edges.

Letters: n inputs.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from mi_runner.experiments.selftest.networks import (
    circuits_of,
    drawn_part,
    edges_of,
    full_circuit,
    inputs_of,
    means_of,
    planted,
    run_circuit,
)
from mi_runner.experiments.selftest.records import Check, Compared
from mi_runner.graph import Part
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.family import search_family
from mi_runner.methods.circuits.minimality import minimality
from mi_runner.methods.circuits.search import CircuitSearch, search_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.models.truth import bits_of

SIZES = (2, 2, 2, 1)


@cache
def _drawn() -> tuple[Part, Tensor, Tensor]:
    """Returns a chain with random weights, all its inputs, and targets: its own rounded outputs."""
    part, x = drawn_part(SIZES, seed=2), inputs_of(2)
    return (
        part,
        x,
        torch.tensor([float(round(run_circuit(part, full_circuit(part), one, None)[-1][0])) for one in x.tolist()]),
    )


def _examples(part: Part, x: Tensor, y: Tensor) -> CircuitExamples:
    return CircuitExamples(x, y, part(x)[:, 0])


def _searched(ablation: str, *, inputs: str = "all", rows: int = 5_000_000) -> CircuitSearch:
    part, x, y = _drawn()
    return search_circuits(
        part, _examples(part, x, y), accuracy_threshold=0.7, ablation=ablation, inputs=inputs, max_table_rows=rows
    )


@cache
def _outputs_by_hand(ablation: str) -> dict[int, list[float]]:
    """Returns circuit → its outputs on all inputs, in plain Python."""
    part, x, _ = _drawn()
    means = means_of(part, x) if ablation == "mean" else None
    return {
        bits: [run_circuit(part, bits, one, means)[-1][0] for one in x.tolist()] for bits in circuits_of(SIZES, "any")
    }


@cache
def _valid_by_hand(ablation: str) -> frozenset[int]:
    """Returns the circuits of the family that leaves no input out whose accuracy is above 0.7."""
    _, _, y = _drawn()
    valid = set()
    for bits in circuits_of(SIZES):
        n_right = sum(
            round(output) == target for output, target in zip(_outputs_by_hand(ablation)[bits], y.tolist(), strict=True)
        )
        if n_right / len(y) > 0.7:
            valid.add(bits)
    return frozenset(valid)


def _all_and_none_besides(expected: set[int] | frozenset[int], found: set[int]) -> Compared:
    """Returns the number of expected ones, and that of those found minus that of others that were found."""
    return Compared(len(expected), len(found & expected) - len(found - expected))


def counted(sizes: tuple[int, ...], expected: int) -> Compared:
    return Compared(expected, CircuitSpace(sizes).count())


def listed(inputs: str) -> Compared:
    found = set(_searched("zero", inputs=inputs).listed.circuit.tolist())
    return _all_and_none_besides(set(circuits_of(SIZES, inputs)), found)


def valid(ablation: str) -> Compared:
    return _all_and_none_besides(_valid_by_hand(ablation), set(_searched(ablation).valid.tolist()))


def outputs_of_all(ablation: str) -> Compared:
    """Compares each circuit's mean squared difference to the full network's output."""
    part, x, _ = _drawn()
    full = [run_circuit(part, full_circuit(part), one, None)[-1][0] for one in x.tolist()]
    measured = _searched(ablation, inputs="any").listed
    differences = [
        abs(mse - sum((a - b) ** 2 for a, b in zip(_outputs_by_hand(ablation)[bits], full, strict=True)) / len(full))
        for bits, mse in zip(measured.circuit.tolist(), (measured.squares / len(x)).tolist(), strict=True)
    ]
    return Compared(0.0, max(differences), 1e-4)


def minimal() -> Compared:
    """Compares the circuits without a valid sub-circuit, which plain Python finds by comparing all pairs."""
    valid_ones = _valid_by_hand("zero")
    expected = {one for one in valid_ones if not any(one != other and one & other == other for other in valid_ones)}
    ordered = np.array(sorted(valid_ones), dtype=np.uint64)
    levels = minimality(CircuitSpace(SIZES), ordered)
    return _all_and_none_besides(expected, set(ordered[levels >= 3].tolist()))


def of_planted(what: str) -> Compared:
    """Compares the circuits of a planted XOR with neurons leading nowhere: their number, or the smallest valid one."""
    part, truth, x, y = planted(distractors=2, distractor_kind="ignored")
    family = bits_of(truth.family)
    found = search_family(part, _examples(part, x, y), family, accuracy_threshold=0.99, inputs="any")
    if what == "number":
        return Compared(15, found.n_circuits)
    smallest = [bits for bits in found.valid.tolist() if bits.bit_count() == found.fewest_edges]
    return Compared(truth.circuit, smallest[0] if len(smallest) == 1 else -1)


def census_counts(ablation: str) -> Compared:
    """Compares the counts by active neurons, edges and right answers of a census with those of the list."""
    expected = _searched(ablation)
    found = _searched(ablation, rows=1)
    return Compared(0.0, float(np.abs(expected.counts - found.counts).sum()))


def census_valid(ablation: str) -> Compared:
    return Compared(len(_valid_by_hand(ablation)), _searched(ablation, rows=1).n_valid)


def census_edges() -> Compared:
    """Compares how many valid circuits keep each edge, summed with weights 1, 2, 3, … so that a swap shows."""
    valid_ones = _valid_by_hand("mean")
    numbers = range(len(edges_of(SIZES)))
    expected = sum((number + 1) * sum(bits >> number & 1 for bits in valid_ones) for number in numbers)
    found = _searched("mean", rows=1).edge_counts
    return Compared(expected, int(sum((number + 1) * int(found[number]) for number in numbers)))


CIRCUITS = (
    Check("count_2331", "circuits of layers 2-3-3-1, published", partial(counted, (2, 3, 3, 1), 9_625)),
    Check("count_3441", "circuits of layers 3-4-4-1, published", partial(counted, (3, 4, 4, 1), 113_011_935)),
    Check(
        "listed", "well-formed circuits of 2-2-2-1, by brute force: all listed, none besides", partial(listed, "all")
    ),
    Check("listed_any", "the same where a circuit may leave inputs out", partial(listed, "any")),
    Check(
        "valid_zero",
        "valid circuits with zero ablation, by brute force: all found, none besides",
        partial(valid, "zero"),
    ),
    Check("valid_mean", "the same with mean ablation", partial(valid, "mean")),
    Check("mse_zero", "largest difference of a circuit's mse to that by plain loops", partial(outputs_of_all, "zero")),
    Check("mse_mean", "the same with mean ablation", partial(outputs_of_all, "mean")),
    Check("minimal", "valid circuits without a valid sub-circuit, by comparing all pairs", minimal),
    Check(
        "planted_number",
        "circuits of a planted XOR that keep edges of non-zero weight alone, published",
        partial(of_planted, "number"),
    ),
    Check(
        "planted",
        "the smallest valid circuit of a planted XOR, as bits: the planted one",
        partial(of_planted, "smallest"),
    ),
)

CENSUS = (
    Check("counts_zero", "difference between the counts of the census and of the list", partial(census_counts, "zero")),
    Check("counts_mean", "the same with mean ablation", partial(census_counts, "mean")),
    Check("valid_zero", "valid circuits that the census counts, by brute force", partial(census_valid, "zero")),
    Check("valid_mean", "the same with mean ablation", partial(census_valid, "mean")),
    Check(
        "edges",
        "how often valid circuits keep each edge (sum of counts times 1, 2, 3, …), by brute force",
        census_edges,
    ),
)
