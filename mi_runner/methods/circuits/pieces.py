"""Which circuits does a piece of a census count? Pieces take equally long, and none enumerates what others count.

The circuits are the leaves of a tree: first come the choices of kept edges into each hidden layer but the last, then
those of each neuron of the last hidden layer. All nodes of one depth are *tasks*. The tasks of one kind have equally
many circuits; they are dealt in rows, one task of a row to each piece, beginning with another piece in each row. So a
piece has of each kind as many tasks as any other, up to one, from all over the tree.

Letters: T tasks, S nodes of one depth, Q choices of a neuron of the last hidden layer, H heads: choices of its first
neurons.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TypeAlias

import numpy as np

from mi_runner.errors import ArgumentError
from mi_runner.methods.circuits.choices import choices_of
from mi_runner.methods.circuits.prefixes import completions, rows_of_prefix
from mi_runner.methods.circuits.space import CircuitSpace, ways_into_layer

Piece: TypeAlias = tuple[int, int]
"""(3, 64) is the third of 64 pieces."""

WHOLE: Piece = (1, 1)
"""The only piece: all circuits."""

TASKS_OF_PIECE = 256
"""A piece has at least so many tasks, where the space has enough."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴ divided by the golden ratio; products with it are spread evenly."""


def check_piece(piece: Piece) -> None:
    """Checks that there is such a piece.

    Raises:
        ArgumentError: there isn't.
    """
    number, of = piece
    if of < 1:
        raise ArgumentError("piece", piece, "there is at least one piece:", "give (1, 1).")
    if not 1 <= number <= of:
        raise ArgumentError("piece", piece, f"there are {of} pieces:", f"give (1, {of}) to ({of}, {of}).")


@dataclass(frozen=True)
class Heads:
    """Choices of the first neurons of the last hidden layer, in lexicographic order.

    Attributes:
        chosen: `(H, neurons)` int64, rows of `choices_of`.
        kind: `(H,)` int64; heads of one kind have equally many circuits.
        circuits: how many circuits of one prefix have a head of each kind.
    """

    chosen: np.ndarray
    kind: np.ndarray
    circuits: tuple[int, ...]


@lru_cache(maxsize=256)
def heads_of(space: CircuitSpace, active: int, n_neurons: int) -> Heads:
    """Returns the heads of a prefix with these active neurons, as bits, behind the last hidden layer."""
    masks = choices_of(space)
    allowed = np.flatnonzero((masks[:, 0] & ~active) == 0)
    places = np.indices((len(allowed),) * n_neurons).reshape(n_neurons, len(allowed) ** n_neurons).T
    chosen = allowed[places]
    inputs, outputs = (np.bitwise_or.reduce(masks[chosen, side], axis=1, initial=0) for side in range(2))
    unread = active.bit_count() - _n_bits(inputs)
    unused = space.sizes[-1] - _n_bits(outputs) if space.inputs == "all" else np.zeros_like(unread)
    kinds, kind = np.unique(np.column_stack([unread, unused]), axis=0, return_inverse=True)
    left = space.sizes[-2] - n_neurons
    circuits = (completions(space, left, active.bit_count(), *needed) for needed in kinds.tolist())
    return Heads(chosen, kind.reshape(-1), tuple(circuits))


def _n_bits(masks: np.ndarray) -> np.ndarray:
    return np.bitwise_count(masks.astype(np.uint64)).astype(np.int64)


@cache
def n_heads(space: CircuitSpace, n_active: int, n_neurons: int) -> int:
    """Returns how many heads a prefix with so many active neurons has."""
    return (1 + (2**n_active - 1) * (2 ** space.sizes[-1] - 1)) ** n_neurons


@cache
def circuits_below(space: CircuitSpace, depth: int, n_active: int) -> int:
    """Returns how many circuits lie below a node behind `depth` hidden layers with so many active neurons."""
    if depth == len(space.sizes) - 3:
        return rows_of_prefix(space, n_active)
    below = ways_into_layer({n_active: 1}, space.sizes[depth + 1])
    return sum(ways * circuits_below(space, depth + 1, active) for active, ways in below.items())


@dataclass(frozen=True)
class _Kind:
    """Tasks with equally many circuits.

    Attributes:
        number: how many tasks there are.
        circuits: of each of them.
        first: how many tasks of other kinds are dealt before.
    """

    number: int
    circuits: int
    first: int


@dataclass(frozen=True)
class Dealing:
    """The tasks of a space, and which of them belong to a piece.

    Attributes:
        space: with a hidden layer.
        piece: which piece.
    """

    space: CircuitSpace
    piece: Piece = WHOLE

    @property
    def n_before(self) -> int:
        """The number of hidden layers before the last one."""
        return len(self.space.sizes) - 3

    @cached_property
    def level(self) -> tuple[int, int]:
        """The depth of the tasks: behind how many layers, and with choices of how many neurons of the last layer."""
        wanted, last = TASKS_OF_PIECE * self.piece[1], self.space.sizes[-2] - 1
        if self.piece == WHOLE:
            return 0, 0
        for depth in range(self.n_before + 1):
            if sum(self.space.ways_to(depth).values()) >= wanted:
                return depth, 0
        enough = (k for k in range(1, last) if self.n_tasks_with(k) >= wanted)
        return self.n_before, next(enough, last)

    def n_tasks_with(self, n_neurons: int) -> int:
        """Returns how many nodes there are with choices of so many neurons of the last hidden layer."""
        prefixes = self.space.ways_to(self.n_before)
        return sum(number * n_heads(self.space, active, n_neurons) for active, number in prefixes.items())

    def n_head_neurons(self, n_items: int) -> int:
        """Returns of how many neurons the heads are with which the piece has about so many items, or the most."""
        last = self.space.sizes[-2] - 1
        enough = (k for k in range(self.level[1], last) if self.n_tasks_with(k) >= n_items * self.piece[1])
        return next(enough, last)

    @cached_property
    def _kinds(self) -> dict[tuple[int, ...], _Kind]:
        """The kinds of tasks: (active neurons,), or with heads (active neurons, kind of head); the largest first."""
        depth, n_neurons = self.level
        found: list[tuple[tuple[int, ...], int, int]] = []
        for active, number in self.space.ways_to(depth).items():
            if not n_neurons:
                found.append(((active,), number, circuits_below(self.space, depth, active)))
                continue
            heads = heads_of(self.space, (1 << active) - 1, n_neurons)
            for kind, (n, circuits) in enumerate(zip(np.bincount(heads.kind).tolist(), heads.circuits, strict=True)):
                found.append(((active, kind), number * n, circuits))
        kinds: dict[tuple[int, ...], _Kind] = {}
        first = 0
        for name, number, circuits in sorted(found, key=lambda kind: -kind[2]):
            kinds[name] = _Kind(number, circuits, first)
            first += number
        return kinds

    def n_circuits(self) -> int:
        """Returns how many circuits the piece has."""
        return sum(
            kind.circuits * (self._n_own(kind.first + kind.number) - self._n_own(kind.first))
            for kind in self._kinds.values()
        )

    def _n_own(self, end: int) -> int:
        """Returns how many of the first `end` tasks belong to the piece."""
        rows, rest = divmod(end, self.piece[1])
        return rows + int(self._own_place(np.array([rows]))[0] < rest)

    def _own_place(self, rows: np.ndarray) -> np.ndarray:
        """Returns the place of the piece in rows of tasks."""
        number, of = self.piece
        turn = (rows.astype(np.uint64) * _GOLDEN >> np.uint64(32)).astype(np.int64)
        return (number - 1 + turn) % of

    def own(self, kind: tuple[int, ...], places: np.ndarray) -> np.ndarray:
        """Returns which tasks of a kind belong to the piece, from their places among those of the kind, `(T,)` bool."""
        rows, at = np.divmod(self._kinds[kind].first + places, self.piece[1])
        return np.asarray(self._own_place(rows) == at)


class Dealer:
    """Chooses the tasks of a piece while a search goes through the tree; it counts how many tasks it has seen."""

    def __init__(self, dealing: Dealing) -> None:
        self.dealing = dealing
        self._seen: dict[tuple[int, ...], int] = {}

    def chosen(self, depth: int, n_active: np.ndarray) -> np.ndarray:
        """Returns which of the next nodes of this depth are of the piece, or above its tasks, `(S,)` bool."""
        found = np.ones(len(n_active), dtype=bool)
        if self.dealing.piece != WHOLE and self.dealing.level == (depth, 0):
            for active in np.unique(n_active).tolist():
                (nodes,) = np.nonzero(n_active == active)
                found[nodes] = self._own((active,), len(nodes))
        return found

    def heads(self, active: int, n_neurons: int) -> Heads:
        """Returns the heads of the piece, of the next prefix.

        Args:
            active: active neurons behind the last hidden layer, as bits.
            n_neurons: of how many neurons; at least as many as the tasks have.
        """
        space, level = self.dealing.space, self.dealing.level[1]
        heads = heads_of(space, active, n_neurons)
        if not level:
            return heads
        tasks = heads_of(space, active, level).kind
        own = np.empty(len(tasks), dtype=bool)
        for kind in np.unique(tasks).tolist():
            own[tasks == kind] = self._own((active.bit_count(), kind), int((tasks == kind).sum()))
        rows = np.repeat(own, len(heads.chosen) // len(tasks))
        return Heads(heads.chosen[rows], heads.kind[rows], heads.circuits)

    def _own(self, kind: tuple[int, ...], n: int) -> np.ndarray:
        """Returns which of the next n tasks of a kind belong to the piece."""
        first = self._seen.get(kind, 0)
        self._seen[kind] = first + n
        return self.dealing.own(kind, first + np.arange(n))
