"""The edges of a chain of layers: their order, and circuits as rows of booleans, as masks and as bits.

Edges are ordered by layer, first layer first, then by target, then by source: the masks `(out, in)` of the layers, read
row by row. A circuit is a row `(E,)` bool, the kept edges in this order, or an integer in which edge e is bit e, the
least significant being bit 0. Arrays of such integers, *bits*, are uint64 up to 64 edges. Of more edges they are arrays
of Python's integers, dtype object, to which numpy's operators apply as they do to uint64.

Letters: E edges, K circuits, W words of 64 bits, sizes n_0 (inputs), …, n_L (outputs).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from torch import Tensor

from mi_runner.errors import ArgumentError

Values = TypeVar("Values", np.ndarray, Tensor)

WORD = 64
"""Edges of a circuit that is one unsigned integer of numpy; a circuit of more edges is one of Python's."""


@dataclass(frozen=True)
class Edges:
    """The edges between neighbouring layers of these sizes.

    Attributes:
        sizes: neurons of each layer, inputs first.
    """

    sizes: tuple[int, ...]

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The shape `(out, in)` of each layer's masks."""
        return tuple((n_out, n_in) for n_in, n_out in itertools.pairwise(self.sizes))

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The first edge of each layer, and at the end the number of edges."""
        return (0, *itertools.accumulate(n_out * n_in for n_out, n_in in self.shapes))

    @property
    def n(self) -> int:
        """The number of edges."""
        return self.offsets[-1]

    @cached_property
    def names(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The layer, the source and the target of each edge, three arrays `(E,)` int64."""
        places = [np.indices(shape).reshape(2, -1) for shape in self.shapes]
        layers = np.repeat(np.arange(len(self.shapes)), np.diff(self.offsets))
        targets, sources = np.concatenate(places, axis=1)
        return layers, sources, targets

    @property
    def full(self) -> np.ndarray:
        """The full circuit, `(1, E)`."""
        return np.ones((1, self.n), dtype=bool)

    @property
    def empty(self) -> np.ndarray:
        """The empty circuit, `(1, E)`."""
        return np.zeros((1, self.n), dtype=bool)

    def masks(self, values: Values) -> list[Values]:
        """Returns the values `(..., out, in)` of each layer's edges, of values `(..., E)` of all edges."""
        return [
            values[..., start : start + n_out * n_in].reshape(*values.shape[:-1], n_out, n_in)
            for start, (n_out, n_in) in zip(self.offsets, self.shapes, strict=False)
        ]

    @property
    def fit_in_a_word(self) -> bool:
        """Whether a circuit is one unsigned integer of numpy."""
        return self.n <= WORD

    def bits(self, circuits: Iterable[int | str]) -> np.ndarray:
        """Returns circuits as bits `(K,)`, from any integers: of another array, or decimal texts of a table."""
        return as_bits(circuits, self.n)

    def rows(self, bits: np.ndarray) -> np.ndarray:
        """Returns the kept edges `(K, E)` bool of circuits `(K,)`, bits."""
        places = words_of(bits, -(-self.n // WORD)).astype("<u8", copy=False).view(np.uint8)
        return np.unpackbits(places, axis=1, count=self.n, bitorder="little").view(bool)

    def closed(self, circuits: np.ndarray) -> np.ndarray:
        """Returns the circuits without the edges that lie on no path of kept edges from an input to an output.

        The result is the largest well-formed circuit within each set of edges; it is empty if no path is left.

        Args:
            circuits: `(K, E)` bool, any sets of edges.
        """
        if not len(circuits):
            return circuits
        masks = self.masks(circuits)
        reached: np.ndarray = np.ones((len(circuits), self.sizes[0]), dtype=bool)
        before = []
        for mask in masks:
            before.append(mask & reached[:, None, :])
            reached = before[-1].any(2)
        needed: np.ndarray = np.ones((len(circuits), self.sizes[-1]), dtype=bool)
        behind = []
        for mask in reversed(before):
            behind.append(mask & needed[:, :, None])
            needed = behind[-1].any(1)
        return rows_of(behind[::-1])

    def flat(self, layers: Sequence[Tensor | np.ndarray]) -> np.ndarray:
        """Returns one number for each edge `(E,)` float64 from an array `(out, in)` for each layer.

        Raises:
            ArgumentError: the shapes are not the layers', or a number is not finite.
        """
        arrays = [
            np.asarray(layer.detach().cpu() if isinstance(layer, Tensor) else layer, dtype=float) for layer in layers
        ]
        given = [array.shape for array in arrays]
        if given != list(self.shapes):
            remedy = f"give an array (out, in) for each layer, of shapes {list(self.shapes)}."
            raise ArgumentError("layers", None, f"scores of shapes {given}:", remedy)
        numbers = np.concatenate([array.reshape(-1) for array in arrays])
        if not np.isfinite(numbers).all():
            raise ArgumentError("layers", None, "a score is not finite.", "Give a finite number for each edge.")
        return numbers


def rows_of(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the kept edges `(K, E)` bool of masks `(K, out, in)` for each layer; the inverse of `Edges.masks`."""
    return np.concatenate([mask.reshape(len(mask), -1) for mask in masks], axis=1).astype(bool)


def bits_of(circuits: np.ndarray) -> np.ndarray:
    """Returns circuits `(K, E)` bool as bits `(K,)`; the inverse of `Edges.rows`."""
    packed = np.packbits(circuits, axis=1, bitorder="little")
    if circuits.shape[1] > WORD:
        return as_bits((int.from_bytes(row.tobytes(), "little") for row in packed), circuits.shape[1])
    places = np.zeros((len(circuits), 8), dtype=np.uint8)
    places[:, : packed.shape[1]] = packed
    return places.view("<u8")[:, 0].astype(np.uint64)


def as_bits(circuits: Iterable[int | str], n_edges: int | None = None) -> np.ndarray:
    """Returns circuits of so many edges as bits `(K,)`, from any integers or their decimal texts.

    Args:
        n_edges: None: as many as the largest circuit needs.

    Raises:
        OverflowError: a circuit is below 0, or has an edge beyond the first 64 where there are no more.
    """
    if isinstance(circuits, np.ndarray) and circuits.dtype.kind in "iu" and (n_edges is None or n_edges <= WORD):
        return circuits.astype(np.uint64, copy=False)
    numbers = [int(circuit) for circuit in circuits]
    if n_edges is None:
        n_edges = max((number.bit_length() for number in numbers), default=0)
    if n_edges <= WORD:
        return np.array(numbers, dtype=np.uint64)
    found = np.empty(len(numbers), dtype=object)
    found[:] = numbers
    return found


def words_of(bits: np.ndarray, n_words: int | None = None) -> np.ndarray:
    """Returns circuits `(K,)`, bits, as words `(K, W)` uint64, the lowest edges first.

    Args:
        n_words: W; None: as many as the largest circuit needs, at least one.
    """
    if bits.dtype != object and n_words in (None, 1):
        return np.ascontiguousarray(bits, dtype=np.uint64).reshape(-1, 1)
    if n_words is None:
        n_words = max(1, -(-max((int(circuit).bit_length() for circuit in bits), default=0) // WORD))
    together = b"".join(int(circuit).to_bytes(8 * n_words, "little") for circuit in bits)
    return np.frombuffer(together, dtype="<u8").astype(np.uint64).reshape(-1, n_words)


def among(circuits: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns whether each circuit `(K,)`, bits, is one of the others, bits, too, `(K,)` bool."""
    if circuits.dtype != object and others.dtype != object:
        return np.isin(circuits, others)
    found = set(others.tolist())  # numpy compares each object with each
    return np.fromiter((circuit in found for circuit in circuits.tolist()), dtype=bool, count=len(circuits))


def n_kept(bits: np.ndarray) -> np.ndarray:
    """Returns how many edges each circuit `(K,)`, bits, keeps, `(K,)` int64."""
    return np.bitwise_count(bits).astype(np.int64)


def distinct(circuits: np.ndarray, *more: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first position of each distinct row `(D,)`, and for each row the index of its distinct one `(K,)`.

    Args:
        circuits: `(K, E)` bool.
        more: further columns `(K,)` of whole numbers from 0 that belong to a row.
    """
    words = np.packbits(circuits, axis=1)
    padded = np.zeros((len(words), -(-words.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : words.shape[1]] = words
    columns = [*padded.view(np.uint64).T, *(column.astype(np.uint64) for column in more)]
    order = np.lexsort(columns)
    changes = np.zeros(len(order), dtype=bool)
    changes[:1] = True
    for column in columns:
        ordered = column[order]
        changes[1:] |= ordered[1:] != ordered[:-1]
    index = np.empty(len(order), dtype=np.int64)
    index[order] = np.cumsum(changes) - 1
    return order[changes], index
