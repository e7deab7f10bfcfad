"""Which weights compute a formula in a ReLU network?

Each gate has a neuron in the layer of its height; a value that is needed further up has one carrier `relu(v)` in each
layer between. What is no part of the formula comes afterwards: copies, distractors, dead neurons, noise, a rotation.

Letters: n variables, L hidden layers, sizes n_0 (inputs), …
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mi_runner import chance
from mi_runner.errors import ArgumentError
from mi_runner.models.formulas import GATES, Formula, Gate, Tree, gate_values, height, text_of, values_of
from mi_runner.models.truth import CARRIER, DEAD, DISTRACTOR, INPUT, OUTPUT, ROTATED, Direction, Neuron, Truth

MOST_DRAWS = 1_000
"""How often noise is drawn until the network answers as the formula."""

Key = tuple[Tree, int]
"""A value: a variable or a gate, and which occurrence of the gate it is; −1 for a variable."""


@dataclass(frozen=True)
class Options:
    """What is planted besides the formula; the names are those of `model=planted`."""

    distractors: int = 0
    distractor_kind: str = "cancelling"
    cancelling_weight: float = 1.0
    copies: int = 1
    noise: float = 0.0
    rotation: int | None = None
    width: int = 1
    shuffle: bool = True


@dataclass(frozen=True)
class Unit:
    """A neuron before it has a place.

    Attributes:
        gate, node, place, copy: as of a `Neuron`.
        reads: value of the layer below → its sign.
        bias: what is added.
        key: the planted value that it has; None for a distractor or a dead neuron.
        leads: a neuron of the next layer, by its place in the list, and the weight of the edge to it.
    """

    gate: str
    node: str = ""
    place: int | None = None
    copy: int = 0
    reads: tuple[tuple[Key, int], ...] = ()
    bias: float = 0.0
    key: Key | None = None
    leads: tuple[int, float] | None = None


@dataclass(frozen=True)
class Chain:
    """Linear layers and what is known about them.

    Attributes:
        weights, biases: `(out, in)` and `(out,)` of each Linear layer.
        relu: whether a ReLU follows each.
        planted: `(out, in)` bool, the edges of the planted circuit.
        sites: the neurons of each site, inputs first.
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    relu: list[bool]
    planted: list[np.ndarray]
    sites: list[list[Unit]] = field(default_factory=list)

    def values(self, x: np.ndarray, ablation: str | None = None) -> np.ndarray:
        """Returns the outputs `(B,)` for inputs `(B, n)`, of the network or of the planted circuit.

        Args:
            ablation: what an edge carries that the planted circuit leaves out, zero or mean; None: it leaves out none.
        """
        full = values = x.astype(np.float32)
        for weight, bias, relu, kept in zip(self.weights, self.biases, self.relu, self.planted, strict=True):
            left_out = weight * ~kept if ablation else np.zeros_like(weight)
            carried = left_out @ full.mean(0) if ablation == "mean" else np.zeros(len(weight), np.float32)
            values = values @ (weight - left_out).T + bias + carried
            full = full @ weight.T + bias
            values, full = (np.maximum(values, 0), np.maximum(full, 0)) if relu else (values, full)
        return values[:, 0]

    def answers_as(self, formula: Formula) -> bool:
        """Returns whether network and planted circuit, by both ablations, are on the formula's side of ½."""
        x = np.stack([values_of(variable, formula.n) for variable in range(formula.n)], axis=1)
        side = 2 * formula.values - 1
        return all(bool(((self.values(x, ablation) - 0.5) * side > 0).all()) for ablation in (None, "zero", "mean"))


def compiled(formula: Formula, options: Options, seed: int) -> tuple[Chain, Truth]:
    """Returns the layers that compute a formula, and the truth about them.

    Args:
        seed: the order of neurons, distractors, noise and rotation derive from it.

    Raises:
        ArgumentError: the options don't fit together or to the formula.
    """
    _check(formula, options)
    layers = list(_planted_units(formula))
    layers = [[replace(unit, copy=copy) for unit in layer for copy in range(options.copies)] for layer in layers]
    layers = _with_distractors(formula, layers, options, seed)
    layers = [layer + [Unit(DEAD)] * (options.width - len(layer)) for layer in layers]
    if options.shuffle:
        layers = _shuffled(layers, seed)
    chain = _with_noise(formula, _chain(formula, layers), options.noise, seed)
    directions = _directions(chain)
    if options.rotation is not None:
        chain, directions = _rotated(chain, directions, options.rotation, seed)
    weights = [weight.astype(np.float32) for weight in chain.weights]
    chain = replace(chain, weights=weights, biases=[bias.astype(np.float32) for bias in chain.biases])
    return chain, Truth(formula, tuple(weights), tuple(chain.planted), _neurons(formula, chain.sites), directions)


def _check(formula: Formula, options: Options) -> None:
    """Checks that the options fit together and to the formula."""
    n_hidden = max(1, height(formula.root.tree))
    if options.distractor_kind == "cancelling" and options.distractors % 2:
        problem = "cancelling distractors come in pairs:"
        raise ArgumentError(
            "distractors", options.distractors, problem, f"type {{distractors}}={options.distractors + 1}."
        )
    if options.rotation is not None and not 1 <= options.rotation <= n_hidden:
        layers = "one hidden layer" if n_hidden == 1 else f"{n_hidden} hidden layers"
        problem = f"the formula has {layers}:"
        raise ArgumentError("rotation", options.rotation, problem, f"type {{rotation}}={n_hidden}.")


# --- the formula -----------------------------------------------------------------------------------------------------


def _planted_units(formula: Formula) -> Iterator[list[Unit]]:
    """Yields the neurons that the formula needs of each hidden layer: gates, then carriers."""
    root = formula.root.tree
    n_layers = max(1, height(root))
    occurrences = {place: node for place, node in enumerate(formula.nodes)}
    children = {place: _children(formula, place) for place in occurrences}
    until: dict[Key, int] = {}  # value → the highest layer in which somebody reads it
    for place, node in occurrences.items():
        for key in children[place]:
            until[key] = max(until.get(key, 0), height(node) - 1)
    if isinstance(root, int):
        until[root, -1] = 1
    for layer in range(1, n_layers + 1):
        gates = [
            _gate_unit(node, place, children[place]) for place, node in occurrences.items() if height(node) == layer
        ]
        carried = [key for key, last in until.items() if height(key[0]) < layer <= last]
        carriers = [
            Unit(CARRIER, text_of(key[0]), None if key[1] < 0 else key[1], reads=((key, 1),), key=key)
            for key in sorted(carried, key=lambda key: (key[1], key[0] if isinstance(key[0], int) else 0))
        ]
        yield gates + carriers


def _children(formula: Formula, place: int) -> tuple[Key, Key]:
    """Returns the two values that the gate at a place of `formula.nodes` reads."""
    node = formula.nodes[place]
    left = (node.left, -1 if isinstance(node.left, int) else place + 1)
    n_left = _n_nodes(node.left)
    return left, (node.right, -1 if isinstance(node.right, int) else place + 1 + n_left)


def _n_nodes(tree: Tree) -> int:
    return 0 if isinstance(tree, int) else 1 + _n_nodes(tree.left) + _n_nodes(tree.right)


def _gate_unit(node: Gate, place: int, children: tuple[Key, Key]) -> Unit:
    reads, bias = _reads(node.true_on, children)
    return Unit(node.name, text_of(node), place, reads=reads, bias=bias, key=(node, place))


def _reads(true_on: tuple[int, int], keys: tuple[Key, Key]) -> tuple[tuple[tuple[Key, int], ...], float]:
    """Returns what a gate's neuron reads with which sign, and its bias: `relu(a + b − 1)` for AND."""
    signs = [1 if true else -1 for true in true_on]
    return tuple(zip(keys, signs, strict=True)), float(1 - sum(true_on))


# --- what is no part of the formula ----------------------------------------------------------------------------------


def _with_distractors(formula: Formula, layers: list[list[Unit]], options: Options, seed: int) -> list[list[Unit]]:
    """Returns the layers with neurons that the formula doesn't need.

    Raises:
        ArgumentError: there is no function for a distractor of a layer.
    """
    draw = np.random.default_rng(chance.derived_seed(seed, "planted", "distractors"))
    keys: list[Key] = [(variable, -1) for variable in range(formula.n)]
    result = []
    for number, layer in enumerate(layers):
        found = _functions(formula, keys, layer)
        if options.distractors and not found:
            problem = f"hidden layer {number + 1} has no function for them that no planted neuron has."
            raise ArgumentError("distractors", options.distractors, problem, "Type {distractors}=0 or another formula.")
        above = len(layers[number + 1]) if number + 1 < len(layers) else 1
        result.append(layer + _drawn(found, above, options, draw))
        keys = list(dict.fromkeys(unit.key for unit in layer if unit.key is not None))
    return result


def _functions(formula: Formula, keys: Sequence[Key], layer: Sequence[Unit]) -> list[Unit]:
    """Returns the distractors that a layer may have: gates of two values below it, neither constant nor planted."""
    values = {key: values_of(key[0], formula.n) for key in keys}
    planted = {values_of(unit.key[0], formula.n).tobytes() for unit in layer if unit.key is not None}
    found = []
    for pair in itertools.combinations(keys, 2):
        for true_on in GATES:
            table = gate_values(true_on, values[pair[0]], values[pair[1]])
            if (table == table[0]).all() or table.tobytes() in planted:
                continue
            reads, bias = _reads(true_on, pair)
            node = text_of(Gate(true_on, pair[0][0], pair[1][0]))
            found.append(Unit(DISTRACTOR, node, reads=reads, bias=bias))
    return found


def _drawn(found: Sequence[Unit], above: int, options: Options, draw: np.random.Generator) -> list[Unit]:
    """Returns the distractors of a layer.

    Args:
        above: planted neurons of the next layer, or 1 for the output.
    """
    if options.distractor_kind == "ignored":
        return [found[int(draw.integers(len(found)))] for _ in range(options.distractors)]
    drawn = []
    for _ in range(options.distractors // 2):
        unit, target = found[int(draw.integers(len(found)))], int(draw.integers(above))
        twins = (replace(unit, leads=(target, sign * options.cancelling_weight)) for sign in (1, -1))
        drawn += [replace(twin, copy=copy) for copy, twin in enumerate(twins)]
    return drawn


def _shuffled(layers: list[list[Unit]], seed: int) -> list[list[Unit]]:
    """Returns the layers with their neurons in a random order; distractors lead to the same ones."""
    orders = [
        np.random.default_rng(chance.derived_seed(seed, "planted", "order", number)).permutation(len(layer))
        for number, layer in enumerate(layers)
    ]
    shuffled = []
    for number, (layer, order) in enumerate(zip(layers, orders, strict=True)):
        places = np.argsort(orders[number + 1]) if number + 1 < len(layers) else np.zeros(1, dtype=int)
        moved = [layer[place] for place in order]
        shuffled.append(
            [
                unit if unit.leads is None else replace(unit, leads=(int(places[unit.leads[0]]), unit.leads[1]))
                for unit in moved
            ]
        )
    return shuffled


def _chain(formula: Formula, layers: list[list[Unit]]) -> Chain:
    """Returns the weights of layers of neurons, and of the output."""
    root = formula.root
    key: Key = (root.tree, -1 if isinstance(root.tree, int) else 0)
    sign = -1 if root.complemented else 1
    output = Unit(OUTPUT, formula.text, reads=((key, sign),), bias=float(root.complemented), key=key)
    inputs = [Unit(INPUT, text_of(variable), key=(variable, -1)) for variable in range(formula.n)]
    sites = [inputs, *layers, [output]]
    chain = Chain([], [], [], [], sites)
    for below, layer in itertools.pairwise(sites):
        weight = np.zeros((len(layer), len(below)))
        for target, unit in enumerate(layer):
            signs = dict(unit.reads)
            sources = [place for place, source in enumerate(below) if source.key in signs]
            for source in sources:
                one = below[source].key
                assert one is not None
                n_copies = sum(other.key == one for other in below)
                weight[target, source] = signs[one] / n_copies
        ends = np.array([unit.key is not None for unit in layer]), np.array([unit.key is not None for unit in below])
        for source, unit in enumerate(below):
            if unit.leads is not None:
                weight[unit.leads[0], source] = unit.leads[1]
        chain.weights.append(weight)
        chain.biases.append(np.array([unit.bias for unit in layer]))
        chain.relu.append(layer is not sites[-1])
        chain.planted.append((weight != 0) & np.outer(*ends))
    return chain


def _with_noise(formula: Formula, chain: Chain, noise: float, seed: int) -> Chain:
    """Returns the chain with Gaussian noise on its biases and on all weights that are not 0.

    It is drawn again until network and planted circuit answer as the formula.

    Raises:
        ArgumentError: they never do.
    """
    if not noise:
        return chain
    draw = np.random.default_rng(chance.derived_seed(seed, "planted", "noise"))
    for _ in range(MOST_DRAWS):
        weights = [weight + noise * draw.standard_normal(weight.shape) * (weight != 0) for weight in chain.weights]
        biases = [bias + noise * draw.standard_normal(bias.shape) for bias in chain.biases]
        noisy = replace(chain, weights=weights, biases=biases)
        if noisy.answers_as(formula):
            return noisy
    problem = f"none of {MOST_DRAWS:,} draws leaves a network that answers as the formula."
    raise ArgumentError("noise", f"{noise:g}", problem, f"Type {{noise}}={noise / 2:g}.")


def _rotated(
    chain: Chain, directions: tuple[Direction, ...], number: int, seed: int
) -> tuple[Chain, tuple[Direction, ...]]:
    """Returns the chain with a rotation behind hidden layer `number`, and the directions of the new sites.

    Raises:
        ArgumentError: the layer has one neuron.
    """
    layer = chain.sites[number]
    size = len(layer)
    if size < 2:
        problem = f"hidden layer {number} has one neuron, which no rotation turns:"
        raise ArgumentError(("rotation", "width"), number, problem, "type {width}=2.")
    draw = np.random.default_rng(chance.derived_seed(seed, "planted", "rotation"))
    q, r = np.linalg.qr(draw.standard_normal((size, size)))
    turn = q * np.sign(np.diag(r))  # so that all rotations are equally likely
    sources = np.array([unit.key is not None for unit in layer])
    targets = np.array([unit.key is not None for unit in chain.sites[number + 1]])
    behind = chain.weights[number] @ turn.T
    weights = [*chain.weights[:number], turn, behind, *chain.weights[number + 1 :]]
    kept = [(turn != 0) & sources[None, :], (behind != 0) & targets[:, None]]
    rotated = Chain(
        weights,
        [*chain.biases[:number], np.zeros(size), *chain.biases[number:]],
        [*chain.relu[:number], False, *chain.relu[number:]],
        [*chain.planted[:number], *kept, *chain.planted[number + 1 :]],
        [*chain.sites[: number + 1], [Unit(ROTATED)] * size, *chain.sites[number + 1 :]],
    )
    before = [one for one in directions if one.site <= number]
    turned = [
        replace(one, site=number + 1, vector=tuple((turn @ np.array(one.vector)).tolist()))
        for one in directions
        if one.site == number
    ]
    after = [replace(one, site=one.site + 1) for one in directions if one.site > number]
    return rotated, (*before, *turned, *after)


# --- the truth -------------------------------------------------------------------------------------------------------


def _directions(chain: Chain) -> tuple[Direction, ...]:
    """Returns along which direction each hidden site carries each planted value."""
    found = []
    for site, layer in enumerate(chain.sites[1:-1], start=1):
        for key in dict.fromkeys(unit.key for unit in layer if unit.key is not None):
            places = [place for place, unit in enumerate(layer) if unit.key == key]
            vector = np.zeros(len(layer))
            vector[places] = len(places) ** -0.5
            place = None if key[1] < 0 else key[1]
            found.append(Direction(site, text_of(key[0]), place, tuple(vector.tolist())))
    return tuple(found)


def _neurons(formula: Formula, sites: Sequence[Sequence[Unit]]) -> tuple[Neuron, ...]:
    """Returns what each neuron carries."""
    return tuple(
        Neuron(
            site,
            place,
            unit.gate,
            unit.node,
            unit.place,
            unit.copy,
            is_planted=unit.key is not None or unit.gate == ROTATED,
            is_inert=unit.place is not None and formula.is_inert[unit.place],
        )
        for site, layer in enumerate(sites)
        for place, unit in enumerate(layer)
    )
