"""Are algorithms, groundings and alignments counted right? Against published counts and by trying all in plain Python.

Letters: n inputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cache, partial

import numpy as np

from mi_runner.datasets.algorithms import Algorithm, algorithms
from mi_runner.experiments.selftest.networks import (
    circuits_of,
    drawn_part,
    full_circuit,
    inputs_of,
    planted,
    run_circuit,
)
from mi_runner.experiments.selftest.records import Check, Compared
from mi_runner.graph import Part
from mi_runner.methods.explanations.boolean import BooleanNetwork
from mi_runner.methods.explanations.explain import explain
from mi_runner.methods.explanations.groundings import count_groundings

SIZES = (2, 2, 2, 1)
XOR, XNOR, AND, OR, NIMP = 0b0110, 0b1001, 0b1000, 0b1110, 0b0100
"""Truth tables of two inputs; bit b is the value on input b, the first input being the higher digit."""


def trees(depth: int, expected: int) -> Compared:
    """Compares the trees of this depth over two variables: each computes one function that is 0 on the input 00."""
    return Compared(expected, sum(_n_algorithms(table, depth) for table in range(0, 16, 2)))


def _n_algorithms(table: int, depth: int) -> int:
    return sum(algorithm.depth == depth for algorithm in algorithms(table, 2, depth))


def of_function(table: int, expected: int) -> Compared:
    """Compares the trees of depth up to 3 that compute a function."""
    return Compared(expected, len(algorithms(table, 2, 3)))


# --- groundings ------------------------------------------------------------------------------------------------------


def groundings() -> Compared:
    """Compares the groundings of all circuits of a chain, counted by trying every threshold and every local table."""
    part = _without_ties()
    circuits = list(circuits_of(SIZES))
    expected = sum(_n_groundings(part, bits) for bits in circuits)
    found = count_groundings(BooleanNetwork.of(part), np.array(circuits, dtype=np.uint64))
    return Compared(expected, sum(found))


@cache
def _without_ties() -> Part:
    """Returns the first random chain of which no circuit has an output halfway between two integers."""
    for seed in itertools.count():
        part = drawn_part(SIZES, seed)
        outputs = [
            run_circuit(part, bits, x, None)[-1][0] for bits in circuits_of(SIZES) for x in inputs_of(2).tolist()
        ]
        if all(output % 1 != 0.5 for output in outputs) and len({round(output) for output in outputs}) > 3:
            return part
    raise AssertionError


def _n_groundings(part: Part, bits: int) -> int:
    runs = [run_circuit(part, bits, x, None) for x in inputs_of(2).tolist()]
    parents, number = [], 0
    for layer in part.layers:
        n_out, n_in = layer.weight.shape
        rows = [[source for source in range(n_in) if bits >> (number + t * n_in + source) & 1] for t in range(n_out)]
        parents.append(rows)
        number += n_out * n_in
    before = [tuple(int(x) for x in column) for column in zip(*[run[0] for run in runs], strict=True)]
    return _extended(runs, parents, 1, before)


def _extended(
    runs: list[list[list[float]]], parents: list[list[list[int]]], layer: int, before: list[tuple[int, ...]]
) -> int:
    """Returns the groundings of a layer's neurons and those above, where the layer before has these truth tables."""
    if layer > len(parents):
        return 1
    is_last = layer == len(parents)
    choices: list[list[tuple[tuple[int, ...], int]]] = []
    for neuron, read in enumerate(parents[layer - 1]):
        if not read:
            choices.append([((), 1)])
            continue
        values = [run[layer][neuron] for run in runs]
        values = [float(round(value)) for value in values] if is_last else values
        of_neuron = []
        for low in sorted(set(values))[:-1]:
            table = tuple(int(value > low) for value in values)
            n_local = _n_local(table, [before[source] for source in read], is_first=layer == 1)
            if n_local:
                of_neuron.append((table, n_local))
        choices.append(of_neuron)
    total = 0
    for choice in itertools.product(*choices):
        ways = 1
        for _, n_local in choice:
            ways *= n_local
        total += ways * _extended(runs, parents, layer + 1, [table for table, _ in choice])
    return total


def _n_local(table: tuple[int, ...], read: list[tuple[int, ...]], *, is_first: bool) -> int:
    """Returns how many local tables of the parents give a table, by trying each of them."""
    if is_first:
        return 1
    combinations = list(itertools.product((0, 1), repeat=len(read)))
    count = 0
    for local in itertools.product((0, 1), repeat=len(combinations)):
        gives = dict(zip(combinations, local, strict=True))
        is_xor = len(read) == 2 and local in ((0, 1, 1, 0), (1, 0, 0, 1))
        count += not is_xor and all(
            gives[row] == value for row, value in zip(zip(*read, strict=True), table, strict=True)
        )
    return count


# --- alignments ------------------------------------------------------------------------------------------------------


def alignments(*, joint: bool) -> Compared:
    """Compares the minimal alignments of a planted XOR with those that plain Python finds among all sets of neurons."""
    part, *_ = planted()
    expected = sum(_n_alignments(part, algorithm, joint=joint) for algorithm in algorithms(XOR, 2, 2))
    found = explain(part, XOR, max_depth=2)
    return Compared(expected, (found.n_alignments_joint or 0) if joint else found.n_alignments)


def _n_alignments(part: Part, algorithm: Algorithm, *, joint: bool) -> int:
    sets = [
        {(layer, neuron) for neuron in chosen}
        for layer, size in enumerate(part.sizes[1:-1], start=1)
        for n in range(1, size + 1)
        for chosen in itertools.combinations(range(size), n)
    ]
    holding = [
        choice
        for choice in itertools.product(sets, repeat=len(algorithm.nodes))
        if not any(one & other for one, other in itertools.combinations(choice, 2))
        and all(_agrees(part, algorithm, choice, *pair) for pair in _pairs(len(choice), joint=joint))
    ]
    return sum(
        not any(one != other and all(a >= b for a, b in zip(one, other, strict=True)) for other in holding)
        for one in holding
    )


def _pairs(n_nodes: int, *, joint: bool) -> Iterator[tuple[int, dict[int, int]]]:
    """Yields base and node → source."""
    for base in range(4):
        if joint:
            for sources in itertools.product(range(4), repeat=n_nodes):
                yield base, dict(enumerate(sources))
        else:
            for node, source in itertools.product(range(n_nodes), range(4)):
                if source != base:
                    yield base, {node: source}


def _agrees(
    part: Part, algorithm: Algorithm, sets: Sequence[set[tuple[int, int]]], base: int, sources: dict[int, int]
) -> bool:
    """Returns whether network and algorithm answer alike on a base with some nodes from their sources."""
    x = inputs_of(2).tolist()
    values: dict[tuple[int, int], float] = {}
    for node, source in sources.items():
        run = run_circuit(part, full_circuit(part), x[source], None)
        values |= {(layer, neuron): run[layer][neuron] for layer, neuron in sets[node]}
    now = list(x[base])
    for layer, of_part in enumerate(part.layers, start=1):
        sums = [
            sum(w * v for w, v in zip(row, now, strict=True)) + b
            for row, b in zip(of_part.weight.tolist(), of_part.bias.tolist(), strict=True)
        ]
        is_last = layer == len(part.layers)
        now = [values.get((layer, neuron), value if is_last else max(value, 0.0)) for neuron, value in enumerate(sums)]
    return (now[0] > 0.5) == _answer(algorithm, base, sources)


def _answer(algorithm: Algorithm, base: int, sources: dict[int, int]) -> bool:
    """Returns the algorithm's answer on a base with some nodes at their values on their sources."""
    numbers = itertools.count(-1)

    def value(tree: object, row: int, forced: bool) -> bool:
        if isinstance(tree, int):
            return bool(row >> (1 - tree) & 1)
        number = next(numbers) if forced else None
        assert isinstance(tree, tuple)
        gate, left, right = tree
        sides = value(left, row, forced), value(right, row, forced)
        if number in sources:
            return value(tree, sources[number], False)
        return GATES[gate](*sides)

    return value(algorithm.tree, base, True) != algorithm.complemented


GATES = (
    lambda a, b: a and b,
    lambda a, b: a and not b,
    lambda a, b: b and not a,
    lambda a, b: a or b,
)
"""The gates by their numbers in an algorithm's tree."""

EXPLANATIONS = (
    *(
        Check(f"trees_{depth}", f"algorithms of depth {depth} over two variables, published", partial(trees, depth, n))
        for depth, n in enumerate((2, 4, 56, 7_504))
    ),
    Check("xor", "algorithms for XOR of depth up to 3, published", partial(of_function, XOR, 250)),
    Check("and", "algorithms for AND, published", partial(of_function, AND, 805)),
    Check("or", "algorithms for OR, published", partial(of_function, OR, 805)),
    Check("nimp", "algorithms for A and not B, published", partial(of_function, NIMP, 805)),
    Check("groundings", "groundings of all circuits of 2-2-2-1, by trying every threshold and local table", groundings),
    Check(
        "alignments",
        "minimal alignments of a planted XOR, by trying all sets of neurons",
        partial(alignments, joint=False),
    ),
    Check(
        "joint",
        "minimal joint alignments of a planted XOR, by trying all sets of neurons",
        partial(alignments, joint=True),
    ),
)
