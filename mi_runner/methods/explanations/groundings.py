"""Where, then what: which logic gates can the neurons of a circuit be? All groundings of a circuit, counted and listed.

Each active neuron gets a threshold between two neighbouring values that it has in the circuit, and so a truth table
over the inputs: value above the threshold. A neuron of the first hidden layer may have any. A neuron behind it reads
the tables of the neurons whose edges it keeps, and its own must be a function of these, its local table. Combinations
of its parents' values that never occur may be completed in every way. With exactly two parents the local table must not
be XOR or XNOR, the output's neither. The output's values are rounded before; a logit's or probability's values are its
answers.

A neuron that has one value on all inputs has no threshold, and a circuit with one in it has no grounding. Where the
output is in the first layer, it reads the inputs and may have any table.

Letters: B = 2ⁿ inputs, K circuits, N neurons behind the inputs, T thresholds of a neuron at most.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.edges import rows_of
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.explanations import grounding_kernel
from mi_runner.methods.explanations.boolean import BooleanNetwork, digits_of, values_in_circuits

XOR, XNOR = 0b0110, 0b1001

AT_ONCE = 20_000
"""Circuits whose thresholds are in memory at one time."""

MOST_STATES = 10_000_000
"""Combinations of the thresholds of one layer's neurons; a circuit with more is refused."""

PLAIN_BITS = 62
"""Counts below 2 to this power are computed as they are; larger ones modulo primes, and put together exactly."""


@dataclass(frozen=True)
class GroundedNeuron:
    """What a grounding says of one neuron.

    Attributes:
        layer: from 1, the first hidden layer.
        neuron: its number in the layer.
        threshold: its value is above it where the table is 1.
        table: the truth table over the inputs; bit b is input b.
        parents: numbers of the neurons of the layer before whose edges it keeps.
        local_table: the truth table over its parents, the first the most significant bit; bit p is combination p. In
            the first layer, where a parent is an input, combinations that the inputs fix.
    """

    layer: int
    neuron: int
    threshold: float
    table: int
    parents: tuple[int, ...]
    local_table: int

    @property
    def local_digits(self) -> str:
        """The local table as a string, combination 0 first."""
        return digits_of(self.local_table, 2 ** len(self.parents))


@dataclass(frozen=True)
class Grounding:
    """A logic gate for each active neuron of a circuit.

    Attributes:
        circuit: the kept edges.
        neurons: those behind the inputs that are active, in the order of the layers.

    Example:
        >>> import torch
        >>> from mi_runner import explanations
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> from mi_runner.models.mlp import MLP
        >>> model = MLP([2, 1, 1])
        >>> with torch.no_grad():
        ...     for parameter, value in zip(model.parameters(), (1.0, -1.0, 1.0, 0.0)):
        ...         _ = parameter.fill_(value)  # A and B by hand
        >>> part = find_part(ModelGraph.trace(model, torch.zeros(1, 2)), None)
        >>> network = explanations.BooleanNetwork.of(part)
        >>> (grounding,) = explanations.list_groundings(network, network.space.full)
        >>> grounding.circuit == network.space.full, len(grounding.neurons)
        (True, 2)
    """

    circuit: int
    neurons: tuple[GroundedNeuron, ...]


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of the neurons of circuits.

    Attributes:
        kept: `(K, N)` int64: bit i says whether the neuron keeps the edge from neuron i of the layer before.
        tables: `(K, N, T)` int64, the truth table of each threshold, from the lowest threshold on.
        between: `(K, N, T, 2)` float64, the values below and above the threshold.
        n_tables: `(K, N)` int64, the thresholds of each neuron.
    """

    kept: np.ndarray
    tables: np.ndarray
    between: np.ndarray
    n_tables: np.ndarray


def thresholds(network: BooleanNetwork, circuits: np.ndarray) -> Thresholds:
    """Returns the thresholds of all neurons behind the inputs in the circuits `(K,)` uint64.

    Raises:
        ValueError: an output lies exactly between two integers, or of a logit or probability at the border of the two
            classes, so that its answer would be a choice.
    """
    values = values_in_circuits(network, circuits)
    values[:, -1] = _answers(network, values[:, -1], circuits)
    n_rows = values.shape[2]
    ascending = np.sort(values, axis=2)
    is_gap = ascending[:, :, 1:] > ascending[:, :, :-1]
    above = values[:, :, None, :] > ascending[:, :, :-1, None]
    tables = (above.astype(np.int64) << np.arange(n_rows)).sum(3)
    order = np.argsort(~is_gap, axis=2, kind="stable")  # the gaps first, the lowest before
    between = np.stack([ascending[:, :, :-1], ascending[:, :, 1:]], 3)
    return Thresholds(
        kept=_kept(network, circuits),
        tables=np.take_along_axis(tables, order, 2),
        between=np.take_along_axis(between, order[..., None], 2),
        n_tables=is_gap.sum(2),
    )


def _answers(network: BooleanNetwork, outputs: np.ndarray, circuits: np.ndarray) -> np.ndarray:
    if network.half_is_0:
        return (outputs > network.border).astype(float)
    has_classes = network.kind.are_of_classes
    ties = np.argwhere(outputs == network.border if has_classes else outputs - np.floor(outputs) == network.border)
    if len(ties):
        circuit, row = ties[0]
        raise ValueError(
            f"the output of circuit {circuits[circuit]} is exactly {outputs[circuit, row]:g} on input number {row}: "
            "its answer would be a choice."
        )
    return (outputs > network.border).astype(float) if has_classes else np.round(outputs)


def _kept(network: BooleanNetwork, circuits: np.ndarray) -> np.ndarray:
    """Returns the edges into each neuron behind the inputs, `(K, N)` int64, bit i from neuron i of the layer before."""
    space = network.space
    columns = []
    for start, (n_out, n_in) in zip(space.offsets, space.edges.shapes, strict=True):
        for neuron in range(n_out):
            bits = circuits >> np.uint64(start + neuron * n_in) & np.uint64((1 << n_in) - 1)
            columns.append(bits.astype(np.int64))
    return np.stack(columns, 1)


def count_groundings(network: BooleanNetwork, circuits: np.ndarray) -> list[int]:
    """Returns the number of groundings of each circuit, exactly, of any size.

    Args:
        circuits: `(K,)` uint64, well-formed circuits of the network.

    Raises:
        ValueError: an output lies exactly between two integers, or a layer has too many combinations of thresholds.

    Example:
        >>> import torch
        >>> from mi_runner import explanations
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> from mi_runner.models.mlp import MLP
        >>> model = MLP([2, 1, 1])
        >>> with torch.no_grad():
        ...     for parameter, value in zip(model.parameters(), (1.0, -1.0, 1.0, 0.0)):
        ...         _ = parameter.fill_(value)  # A and B by hand
        >>> part = find_part(ModelGraph.trace(model, torch.zeros(1, 2)), None)
        >>> import numpy as np
        >>> network = explanations.BooleanNetwork.of(part)
        >>> explanations.count_groundings(network, np.array([network.space.full], dtype=np.uint64))
        [1]
    """
    counts: list[int] = []
    for start in range(0, len(circuits), AT_ONCE):
        counts += _count(network, thresholds(network, circuits[start : start + AT_ONCE]))
    return counts


def _count(network: BooleanNetwork, found: Thresholds) -> list[int]:
    sizes = np.array(network.sizes, dtype=np.int64)
    first = np.concatenate([[0, 0], np.cumsum(sizes[1:])[:-1]]).astype(np.int64)
    active = np.maximum(np.where(found.kept != 0, found.n_tables, 1), 1)
    per_layer = np.add.reduceat(np.log2(active), first[1:], axis=1)
    if per_layer.max(initial=0) > math.log2(MOST_STATES):
        raise ValueError(
            f"a layer has 2^{per_layer.max():.0f} combinations of thresholds, more than {MOST_STATES:,}: take narrower "
            "layers or fewer inputs."
        )
    # An upper bound: every combination of thresholds, and every local table of each neuron behind the first layer.
    n_parents = np.bitwise_count(found.kept[:, sizes[1] :].astype(np.uint64)).astype(np.float64)
    bits = per_layer.sum(1) + np.where(n_parents > 0, 2**n_parents, 0).sum(1)

    n_rows = 2 ** network.sizes[0]
    counts = np.zeros(len(found.kept), dtype=object)
    small = bits < PLAIN_BITS
    for chosen, moduli in ((small, [0]), (~small, primes_for(float(bits.max(initial=0))))):
        places = np.flatnonzero(chosen)
        if len(places):
            remainders = grounding_kernel.count(
                sizes, first, found.kept[places], found.tables[places], found.n_tables[places], n_rows,
                np.array(moduli, dtype=np.int64),
            )  # fmt: skip
            for place, row in zip(places.tolist(), remainders.tolist(), strict=True):
                counts[place] = row[0] if moduli == [0] else from_remainders(row, moduli)
    return counts.tolist()


def primes_for(bits: float) -> list[int]:
    """Returns the largest primes below 2³¹, as many as are needed for a product above 2 to the power `bits`."""
    primes: list[int] = []
    candidate = 2**31 - 1
    while len(primes) * 30.9 <= bits:
        if all(candidate % divisor for divisor in range(3, math.isqrt(candidate) + 1, 2)):
            primes.append(candidate)
        candidate -= 2
    return primes


def from_remainders(remainders: list[int], primes: list[int]) -> int:
    """Returns the number below the product of the primes that has these remainders (Chinese remainder theorem)."""
    number, product = 0, 1
    for remainder, prime in zip(remainders, primes, strict=True):
        number += product * ((remainder - number) * pow(product, -1, prime) % prime)
        product *= prime
    return number


def list_groundings(network: BooleanNetwork, circuit: int, *, most: int | None = None) -> list[Grounding]:
    """Returns the groundings of a circuit, the lowest thresholds first; at most so many.

    Raises:
        ValueError: an output lies exactly between two integers.

    Example:
        >>> import torch
        >>> from mi_runner import explanations
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> from mi_runner.models.mlp import MLP
        >>> model = MLP([2, 1, 1])
        >>> with torch.no_grad():
        ...     for parameter, value in zip(model.parameters(), (1.0, -1.0, 1.0, 0.0)):
        ...         _ = parameter.fill_(value)  # A and B by hand
        >>> part = find_part(ModelGraph.trace(model, torch.zeros(1, 2)), None)
        >>> network = explanations.BooleanNetwork.of(part)
        >>> (grounding,) = explanations.list_groundings(network, network.space.full)
        >>> [neuron.local_table for neuron in grounding.neurons]  # the conjunction, then its copy
        [8, 2]
    """
    found = thresholds(network, np.array([circuit], dtype=np.uint64))
    rows = range(2 ** network.sizes[0])
    inputs = [sum(1 << row for row in rows if network.inputs[row, i]) for i in range(network.sizes[0])]
    places = list(enumerate(zip(network.layer_numbers(), _numbers_in_layer(network), strict=True)))
    active = [place for place in places if found.kept[0, place[0]]]

    def extended(done: tuple[GroundedNeuron, ...]) -> Iterator[tuple[GroundedNeuron, ...]]:
        if len(done) == len(active):
            yield done
            return
        index, (layer, neuron) = active[len(done)]
        before = {node.neuron: node.table for node in done if node.layer == layer - 1} or dict(enumerate(inputs))
        parents = tuple(i for i in range(network.sizes[layer - 1]) if int(found.kept[0, index]) >> i & 1)
        for place in range(int(found.n_tables[0, index])):
            table, threshold = int(found.tables[0, index, place]), _middle(*found.between[0, index, place].tolist())
            for local in _local_tables(table, [before[i] for i in parents], len(rows)):
                if layer == 1 or is_allowed(local, len(parents)):
                    yield from extended((*done, GroundedNeuron(layer, neuron, threshold, table, parents, local)))

    return [Grounding(circuit, neurons) for neurons in itertools.islice(extended(()), most)]


def is_allowed(local_table: int, n_parents: int) -> bool:
    """Returns whether a neuron behind the first layer may have this table: not XOR or XNOR of exactly two parents."""
    return n_parents != 2 or local_table not in (XOR, XNOR)


def grounding_holds(network: BooleanNetwork, grounding: Grounding) -> bool:
    """Returns whether a grounding is one of its circuit, by running the circuit and looking at each neuron.

    Each neuron's value is above its threshold where its table is 1, some value lies on each side, and its local table
    gives its table from its parents' tables. Neurons of the grounding are the active ones.

    Example:
        >>> import torch
        >>> from mi_runner import explanations
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> from mi_runner.models.mlp import MLP
        >>> model = MLP([2, 1, 1])
        >>> with torch.no_grad():
        ...     for parameter, value in zip(model.parameters(), (1.0, -1.0, 1.0, 0.0)):
        ...         _ = parameter.fill_(value)  # A and B by hand
        >>> part = find_part(ModelGraph.trace(model, torch.zeros(1, 2)), None)
        >>> network = explanations.explain(part, 0b1000, max_depth=1).network
        >>> (grounding,) = explanations.list_groundings(network, network.space.full)
        >>> explanations.grounding_holds(network, grounding)
        True
    """
    masks = network.space.masks(grounding.circuit)
    x = network.inputs
    rows = range(len(x))
    tables = {(0, i): sum(1 << row for row in rows if x[row, i]) for i in range(network.sizes[0])}
    expected = {(layer, j) for layer, mask in enumerate(masks, 1) for j in np.flatnonzero(mask.any(1)).tolist()}
    if {(node.layer, node.neuron) for node in grounding.neurons} != expected:
        return False
    for node in grounding.neurons:
        layers = network.part.layers[: node.layer]
        kept = rows_of([mask[None] for mask in masks[: node.layer]])
        values = outputs_of_circuits(Part(layers), kept, x)[0, :, node.neuron]
        if node.layer == len(masks):
            values = values.round()
        above = (values > node.threshold).tolist()
        if above != [bool(node.table >> row & 1) for row in rows] or not 0 < sum(above) < len(above):
            return False
        if list(node.parents) != np.flatnonzero(masks[node.layer - 1][node.neuron]).tolist():
            return False
        if node.layer > 1 and not is_allowed(node.local_table, len(node.parents)):
            return False
        for row in rows:
            pattern = 0
            for parent in node.parents:
                pattern = 2 * pattern + (tables[node.layer - 1, parent] >> row & 1)
            if node.local_table >> pattern & 1 != node.table >> row & 1:
                return False
        tables[node.layer, node.neuron] = node.table
    return True


def _numbers_in_layer(network: BooleanNetwork) -> list[int]:
    return [neuron for size in network.sizes[1:] for neuron in range(size)]


def _middle(below: float, above: float) -> float:
    """Returns a threshold between two values; the lower one if no number is between them."""
    middle = below + (above - below) / 2
    return middle if below <= middle < above else below


def _local_tables(table: int, parents: list[int], n_rows: int) -> Iterator[int]:
    """Yields every local table by which parents with these tables give the table."""
    fixed: dict[int, int] = {}
    for row in range(n_rows):
        pattern = 0
        for parent in parents:
            pattern = 2 * pattern + (parent >> row & 1)
        if fixed.setdefault(pattern, table >> row & 1) != table >> row & 1:
            return
    free = [pattern for pattern in range(2 ** len(parents)) if pattern not in fixed]
    known = sum(value << pattern for pattern, value in fixed.items())
    for values in itertools.product((0, 1), repeat=len(free)):
        yield known + sum(value << pattern for value, pattern in zip(values, free, strict=True))
