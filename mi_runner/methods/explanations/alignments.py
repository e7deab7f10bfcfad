"""What, then where: which neurons carry the nodes of an algorithm? All alignments, by interchange.

An alignment gives every inner node but the root a non-empty set of hidden neurons of one layer, no neuron twice. It
holds if for source s and base b the network, run on b with the set's values from its run on s, answers (output above ½;
of a logit above 0) what the algorithm answers on b with the node at its value on s: for each node alone, over all
ordered pairs s ≠ b. It holds jointly if it also does with every node taken from a source of its own at the same time,
over all choices of a source for each node, the base itself included. A source's value comes from a run without
interventions, and a node that is set overrides what its descendants say.

Minimal alignments are counted: those of which no other alignment of the same algorithm that holds has a subset at every
node. An algorithm of one gate has no node to align: its alignment is empty, and holds if the network computes it.

Letters: B = 2ⁿ inputs, H hidden neurons, S sets of neurons.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mi_runner.datasets.algorithms import Algorithm, Tree, apply_gate, variable_table
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import ACTIVATIONS, Part
from mi_runner.methods.explanations import interchange_kernel
from mi_runner.methods.explanations.boolean import BooleanNetwork

PAIRS = ("all", "later")
"""all: every ordered pair of source and base; later: those whose source comes before the base, as published."""

MOST_SETS = 100_000
"""Sets of neurons whose interchange is run."""

MOST_CHOICES = 1_000_000
"""Alignments of one algorithm that are tested jointly."""


@dataclass(frozen=True)
class NeuronSet:
    """Hidden neurons of one layer.

    Attributes:
        layer: from 1, the first hidden layer.
        neurons: their numbers in the layer, ascending.
    """

    layer: int
    neurons: tuple[int, ...]


@dataclass(frozen=True)
class Alignment:
    """A set of neurons for each of an algorithm's `nodes`.

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
        >>> ((algorithm, aligned),) = explanations.explain(part, 0b1000, max_depth=1).aligned
        >>> algorithm.formula, aligned.joint[0].sets
        ('A ∧ B', ())
    """

    algorithm: Algorithm
    sets: tuple[NeuronSet, ...]


@dataclass(frozen=True)
class Alignments:
    """The minimal alignments of one algorithm.

    Attributes:
        single: minimal among those that hold for each node alone.
        joint: minimal among those that hold jointly; None where that was not asked.
    """

    single: tuple[Alignment, ...]
    joint: tuple[Alignment, ...] | None


class Interchange:
    """What a network answers where sets of its neurons take their values from a source.

    Args:
        network: with at most 100,000 non-empty sets of neurons of one layer.
        pairs: one of `PAIRS`.

    Raises:
        ValueError: it has more sets, an output is exactly at the border of the answers, or there is no such choice of
            pairs.
    """

    def __init__(self, network: BooleanNetwork, pairs: str = "all") -> None:
        if pairs not in PAIRS:
            raise ArgumentError("pairs", pairs, f"use {' or '.join(PAIRS)}.")
        hidden = network.sizes[1:-1]
        n_sets = sum(2**size - 1 for size in hidden)
        if n_sets > MOST_SETS:
            problem = f"hidden layers of {list(hidden)} neurons have {n_sets:,} sets, more than {MOST_SETS:,}."
            raise ArgumentError("network", None, problem)
        self.network = network
        self.pairs = pairs
        self.table = network.answers()
        n_rows = 2 ** network.sizes[0]
        chosen = [s < b if pairs == "later" else s != b for s in range(n_rows) for b in range(n_rows)]
        self.mask = sum(1 << place for place, is_chosen in enumerate(chosen) if is_chosen)
        self.sets: list[NeuronSet] = []
        self.by_answers: dict[int, list[int]] = {}  # answers on the chosen pairs → sets, as bits of hidden neurons
        first = 0
        for layer, size in enumerate(hidden, start=1):
            masks = torch.tensor(list(range(1, 2**size)))[:, None] >> torch.arange(size) & 1
            for number, answers in enumerate(self._answers(layer, masks.bool()), start=1):
                self.by_answers.setdefault(answers & self.mask, []).append(number << first)
            first += size

    def _answers(self, layer: int, masks: Tensor) -> Iterator[int]:
        """Yields for each set `(S, n_l)` the answers, bit s·B + b for source s and base b."""
        layers = self.network.part.layers
        values = Part(layers[:layer])(self.network.inputs)
        for chosen in masks.split(1_000):
            mixed = torch.where(chosen[:, None, None, :], values[:, None, :], values[None, :, :])
            outputs = Part(layers[layer:])(mixed)[..., 0].flatten(1)
            if bool((outputs == self.network.border).any()):
                raise _tie(self.network)
            for row in (outputs > self.network.border).numpy():
                yield int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little")

    @cached_property
    def _kernel_arguments(self) -> tuple[np.ndarray, ...]:
        layers, sizes = self.network.part.layers, self.network.sizes
        widest = max(sizes)
        weights = np.zeros((len(layers), widest, widest))
        biases = np.zeros((len(layers), widest))
        for number, layer in enumerate(layers):
            n_out, n_in = layer.weight.shape
            weights[number, :n_out, :n_in], biases[number, :n_out] = layer.weight.numpy(), layer.bias.numpy()
        kinds = np.array([ACTIVATIONS.index(layer.activation) for layer in layers])
        slopes = np.array([layer.slope for layer in layers])
        values = [Part(layers[:end])(self.network.inputs).numpy() for end in range(1, len(layers))]
        n_rows = 2 ** sizes[0]
        hidden = np.concatenate([*values, np.zeros((n_rows, 0))], axis=1)
        return np.array(sizes), weights, biases, kinds, slopes, self.network.inputs.numpy(), hidden

    @cached_property
    def n_hidden(self) -> int:
        """Hidden neurons."""
        return sum(self.network.sizes[1:-1])

    def neuron_set(self, bits: int) -> NeuronSet:
        """Returns the set of hidden neurons of these bits, all of one layer."""
        first = 0
        for layer, size in enumerate(self.network.sizes[1:-1], start=1):
            if inside := bits >> first & ((1 << size) - 1):
                return NeuronSet(layer, tuple(neuron for neuron in range(size) if inside >> neuron & 1))
            first += size
        raise ValueError("an empty set has no layer.")

    def sets_of_nodes(self, algorithm: Algorithm) -> list[list[int]]:
        """Returns for each of the algorithm's nodes the sets that carry it alone, as bits of hidden neurons."""
        return [self.by_answers.get(answers & self.mask, []) for answers in algorithm.interchanged]

    def align(self, algorithm: Algorithm) -> Alignments:
        """Returns the minimal alignments of an algorithm that computes the network's answers; none of any other.

        Raises:
            ValueError: an output is exactly at the border, or there are too many alignments to test jointly.
        """
        is_asked_jointly = self.pairs == "all"
        if algorithm.table != self.table:
            return Alignments((), () if is_asked_jointly else None)
        of_nodes = self.sets_of_nodes(algorithm)
        if not all(of_nodes):
            return Alignments((), () if is_asked_jointly else None)
        minimal = [[one for one in sets if not any(_is_inside(other, one) for other in sets)] for sets in of_nodes]
        single = tuple(self._alignment(algorithm, choice) for choice in _disjoint(minimal))
        joint = tuple(self._alignment(algorithm, choice) for choice in self._joint(algorithm, of_nodes))
        return Alignments(single, joint if is_asked_jointly else None)

    def _alignment(self, algorithm: Algorithm, choice: Sequence[int]) -> Alignment:
        return Alignment(algorithm, tuple(self.neuron_set(bits) for bits in choice))

    def _joint(self, algorithm: Algorithm, of_nodes: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
        if self.pairs != "all":
            return []
        choices = list(itertools.islice(_disjoint(of_nodes), MOST_CHOICES + 1))
        if len(choices) > MOST_CHOICES:
            raise ValueError(f"{algorithm.formula} has more than {MOST_CHOICES:,} alignments to test jointly.")
        choices.sort(key=lambda choice: sum(bits.bit_count() for bits in choice))
        minimal: list[tuple[int, ...]] = []
        for choice in choices:  # the small ones first, so that what is not minimal need not be run
            inside = any(all(a & ~b == 0 for a, b in zip(other, choice, strict=True)) for other in minimal)
            if not inside and self._holds_jointly(algorithm, choice):
                minimal.append(choice)
        return minimal

    def _holds_jointly(self, algorithm: Algorithm, choice: Sequence[int]) -> bool:
        owner = np.full(self.n_hidden, -1, dtype=np.int64)
        for node, bits in enumerate(choice):
            for neuron in range(self.n_hidden):
                if bits >> neuron & 1:
                    owner[neuron] = node
        tables = np.array(algorithm.node_tables, dtype=np.int64)
        border = self.network.border
        found = interchange_kernel.holds_jointly(*self._kernel_arguments, owner, tables, *_root(algorithm), border)
        if found == interchange_kernel.TIES:
            raise _tie(self.network)
        return bool(found == interchange_kernel.HOLDS)


def _tie(network: BooleanNetwork) -> ValueError:
    return ValueError(f"under interchange the network's output is exactly {network.border:g}.")


def _is_inside(subset: int, bits: int) -> bool:
    """Returns whether it is a proper subset."""
    return subset != bits and subset & ~bits == 0


def _disjoint(of_nodes: Sequence[Sequence[int]]) -> Iterator[tuple[int, ...]]:
    """Yields every choice of a set for each node in which no neuron occurs twice."""
    if not of_nodes:
        yield ()
        return
    # From the last node back, so that the used neurons are known.
    *before, last = of_nodes
    for choice in _disjoint(before):
        used = sum(choice)
        for bits in last:
            if not bits & used:
                yield (*choice, bits)


def _root(algorithm: Algorithm) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the root's children and gate, as the kernel takes them."""
    if isinstance(algorithm.tree, int):  # the answer is the variable itself: OR of it with itself
        children: tuple[Tree, Tree] = (algorithm.tree, algorithm.tree)
        gate = 3
    else:
        gate, *sides = algorithm.tree
        children = (sides[0], sides[1])
    n_left = 0 if isinstance(children[0], int) else 1 + len(Algorithm(children[0], algorithm.n).nodes)
    ends = []
    for child, place in zip(children, (0, n_left), strict=True):
        is_leaf = isinstance(child, int)
        ends.append(np.array([-1 if is_leaf else place, variable_table(child, algorithm.n) if is_leaf else 0]))
    return ends[0], ends[1], np.array([apply_gate(gate, 0b1100, 0b1010) & 0b1111, int(algorithm.complemented)])


# --- one alignment, by running the network ---------------------------------------------------------------------------


@torch.no_grad()
def alignment_holds(network: BooleanNetwork, alignment: Alignment, *, pairs: str = "all", joint: bool = False) -> bool:
    """Returns whether an alignment holds, by running the network for each source and base.

    Args:
        pairs: one of `PAIRS`, for each node alone.
        joint: whether it must also hold with every node taken from a source of its own.

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
        >>> found = explanations.explain(part, 0b1000, max_depth=1)
        >>> ((algorithm, aligned),) = found.aligned
        >>> explanations.alignment_holds(found.network, aligned.joint[0], joint=True)
        True
    """
    algorithm, rows = alignment.algorithm, range(2**alignment.algorithm.n)
    used = [(group.layer, neuron) for group in alignment.sets for neuron in group.neurons]
    if len(set(used)) < len(used) or not all(group.neurons for group in alignment.sets):
        return False
    if network.answers() != algorithm.table or len(alignment.sets) != len(algorithm.nodes):
        return False
    for node in range(len(alignment.sets)):
        for source, base in itertools.product(rows, rows):
            is_asked = source < base if pairs == "later" else source != base
            if is_asked and not _agree(network, alignment, base, {node: source}):
                return False
    if joint:
        for sources in itertools.product(rows, repeat=len(alignment.sets)):
            if not all(_agree(network, alignment, base, dict(enumerate(sources))) for base in rows):
                return False
    return True


def _agree(network: BooleanNetwork, alignment: Alignment, base: int, sources: dict[int, int]) -> bool:
    """Returns whether network and algorithm answer alike on the base with these nodes set to their sources' values."""
    layers, x = network.part.layers, network.inputs
    value = x[base]
    for number, layer in enumerate(layers, start=1):
        value = Part((layer,))(value).clone()
        for node, source in sources.items():
            if alignment.sets[node].layer == number:
                neurons = list(alignment.sets[node].neurons)
                value[neurons] = Part(layers[:number])(x[source])[neurons]
    if float(value[0]) == network.border:
        raise _tie(network)
    return bool(value[0] > network.border) == _answer(alignment.algorithm, base, sources)


def _answer(algorithm: Algorithm, base: int, sources: dict[int, int]) -> bool:
    """Returns the algorithm's answer on the base with these nodes set to their sources' values."""
    tables = algorithm.node_tables
    numbers = itertools.count(-1)  # the root, then the nodes

    def value(tree: Tree) -> int:
        if isinstance(tree, int):
            return variable_table(tree, algorithm.n) >> base & 1
        node = next(numbers)
        gate, left, right = tree
        own = apply_gate(gate, value(left), value(right)) & 1
        return tables[node] >> sources[node] & 1 if node in sources else own

    return bool(value(algorithm.tree)) != algorithm.complemented


def named(group: NeuronSet) -> str:
    """Returns a name such as `h1.0 h1.2`: neurons 0 and 2 of the first hidden layer."""
    return " ".join(f"h{group.layer}.{neuron}" for neuron in group.neurons)
