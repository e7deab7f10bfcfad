"""0/1 matrices without an empty row or column: their exact numbers by the ones they have, and uniform draws.

With x to the power of the ones as the weight of a matrix, a row of c places that isn't empty weighs (1 + x)^c − 1, and
the matrices of r such rows and b columns that leave none of u given columns empty weigh, by inclusion and exclusion,

    G(r, u) = Σ_j (−1)^j C(u, j) ((1 + x)^(b − j) − 1)^r,    so that    G_b(r, u) = G_b(r, u − 1) − G_(b−1)(r, u − 1).

A polynomial in x with whole coefficients is stored as one integer, its value at x = 2^width (Kronecker): width exceeds
the bits of every coefficient, so these stand in it one beside the other, and Python multiplies all of them at once. At
x = 1 the same formulas count matrices with any number of ones.

A matrix is drawn row by row: of the state (rows left, columns not yet covered, ones left) the next row takes a number
of columns that are not covered, and one of columns that are, by the exact numbers of ways to go on; which columns is
then a uniform subset.

Letters: K draws, r rows left, u columns not yet covered, b columns, k ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np

from mi_runner.methods.circuits.kernels.subsets import draw_rows
from mi_runner.methods.circuits.sampling.choices import Choice, distinct_states, draw_grouped

BYTE = 8


@dataclass(frozen=True)
class Shape:
    """The shape of matrices without an empty row.

    Attributes:
        n_rows, n_columns: at least 1.
        covers: whether no column is empty, either.
    """

    n_rows: int
    n_columns: int
    covers: bool = True


class Matrices:
    """The numbers of matrices, with ones counted or not.

    Attributes:
        width: bits of a coefficient, a multiple of 8; 0 where ones are not counted.
    """

    def __init__(self, most_ones: int | None) -> None:
        """
        Args:
            most_ones: no matrix, nor a chain of them that is counted together, has more; None: ones are not counted.
        """
        self.width = 0 if most_ones is None else (most_ones + 2 + BYTE - 1) // BYTE * BYTE
        self.counts = lru_cache(maxsize=1024)(self._counts)
        self.covering = lru_cache(maxsize=1024)(self._covering)
        self.coefficients = lru_cache(maxsize=65536)(self._coefficients)

    def count(self, shape: Shape) -> int:
        """Returns the number of matrices of a shape, a polynomial in their ones."""
        if not shape.covers:
            return ((1 + (1 << self.width)) ** shape.n_columns - 1) ** shape.n_rows
        return self.counts(shape.n_rows, shape.n_columns)[-1]

    def _counts(self, n_rows: int, most: int) -> list[int]:
        """Returns the numbers of matrices without an empty row or column of 0 to `most` columns, as polynomials."""
        differences = [((1 + (1 << self.width)) ** c - 1) ** n_rows for c in range(most + 1)]
        for u in range(1, most + 1):
            for at in range(most, u - 1, -1):
                differences[at] -= differences[at - 1]
        return differences

    def _covering(self, r: int, b: int, most: int) -> list[int]:
        """Returns G(r, u) for u = 0 to `most`, at most b, polynomials in the ones."""
        differences = [((1 + (1 << self.width)) ** c - 1) ** r for c in range(b - most, b + 1)]
        found = [differences[-1]]
        for u in range(1, most + 1):
            for at in range(most, u - 1, -1):
                differences[at] -= differences[at - 1]
            found.append(differences[-1])
        return found

    def unpacked(self, polynomial: int) -> list[int]:
        """Returns the coefficients of a polynomial, without zeros at the end; the number itself if ones don't count."""
        if not self.width:
            return [polynomial]
        size = self.width // BYTE
        packed = polynomial.to_bytes((polynomial.bit_length() + BYTE - 1) // BYTE, "little")
        return [int.from_bytes(packed[at : at + size], "little") for at in range(0, len(packed), size)]

    def _coefficients(self, r: int, u: int, b: int) -> list[int]:
        """Returns the numbers of matrices by their ones, G(r, u) for b columns; see the module."""
        return self.unpacked(self.covering(r, b, b)[u])


class MatrixDraws:
    """Draws matrices of one shape, uniformly.

    Attributes:
        shape: of each.
    """

    def __init__(self, shape: Shape, matrices: Matrices) -> None:
        """
        Args:
            shape: of each.
            matrices: whether it counts ones decides whether draws have given numbers of ones.
        """
        self.shape, self._matrices = shape, matrices
        self._choices: dict[tuple[int, int, int], tuple[Choice, np.ndarray]] = {}

    def draw(self, n_ones: np.ndarray | None, n: int, random: np.random.Generator) -> np.ndarray:
        """Returns n independent matrices `(K, rows, columns)` bool.

        Args:
            n_ones: `(K,)` the ones of each; None where ones are not counted.
        """
        n_rows, b = self.shape.n_rows, self.shape.n_columns
        drawn = np.zeros((n_rows, n, b), dtype=bool)
        uncovered, left = np.full((n, b), self.shape.covers), n_ones
        for row in range(n_rows):
            r, u = n_rows - row, uncovered.sum(1)
            if left is None:
                self._draw_free(r, u, uncovered, drawn[row], random)
                continue
            n_new, n_old = self._numbers(r, u, left, random)
            words = random.integers(0, 2**64, n, dtype=np.uint64)
            draw_rows(words, uncovered, n_new, n_old, drawn[row])
            left = left - n_new - n_old
        return drawn.transpose(1, 0, 2)

    def _numbers(
        self, r: int, u: np.ndarray, left: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns how many uncovered and how many covered columns the next row of each matrix takes, `(K,)` each."""
        stride = self.shape.n_rows * self.shape.n_columns + 1
        states, place = distinct_states(u * stride + left)
        found = [self._choice(r, *divmod(state, stride)) for state in states.tolist()]
        option = draw_grouped(place, [choice for choice, _ in found], random)
        starts = np.cumsum([0, *(len(options) for _, options in found)])[:-1]
        chosen = np.concatenate([options for _, options in found])[starts[place] + option]
        return chosen[:, 0], chosen[:, 1]

    def _choice(self, r: int, u: int, left: int) -> tuple[Choice, np.ndarray]:
        """Returns the choice of the next row's numbers in a state, and these numbers `(options, 2)`."""
        if (r, u, left) not in self._choices:
            b = self.shape.n_columns
            options, weights = [], []
            for new in range(u + 1):
                after = self._matrices.coefficients(r - 1, u - new, b) if r > 1 else [int(u == new)]
                ways = comb(u, new)
                for old in range(max(int(new == 0), left - new - len(after) + 1), min(b - u, left - new) + 1):
                    weight = after[left - new - old]
                    if weight:
                        options.append((new, old))
                        weights.append(ways * comb(b - u, old) * weight)
            self._choices[r, u, left] = Choice(weights), np.array(options, dtype=np.int64)
        return self._choices[r, u, left]

    def _draw_free(
        self, r: int, u: np.ndarray, uncovered: np.ndarray, row: np.ndarray, random: np.random.Generator
    ) -> None:
        """Draws the next row of each matrix, `row` `(K, b)`, where ones are not counted."""
        if not u.any():
            row[:] = _not_empty(row.shape, random)
            return
        b = self.shape.n_columns
        numbers, place = distinct_states(u)
        # The numbers of ways to go on take as long for the largest u as for all.
        after = self._matrices.covering(r - 1, b, int(numbers[-1])) if r > 1 else [1, *[0] * int(numbers[-1])]
        ways = (
            [comb(u, new) * (2 ** (b - u) - (new == 0)) * after[u - new] for new in range(u + 1)]
            for u in numbers.tolist()
        )
        n_new = draw_grouped(place, [Choice(weights) for weights in ways], random)
        words = random.integers(0, 2**64, len(u), dtype=np.uint64)
        covered = ~uncovered
        draw_rows(words, uncovered, n_new, np.zeros_like(n_new), row)
        row |= covered & _half(row.shape, random)
        (empty,) = np.nonzero(~row.any(1))
        while len(empty):  # a row without new columns has at least one of the covered ones
            row[empty] = covered[empty] & _half((len(empty), b), random)
            empty = empty[~row[empty].any(1)]


def _half(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Returns independent booleans, each true with probability ½."""
    n = math.prod(shape)
    words = random.integers(0, 256, (n + BYTE - 1) // BYTE, dtype=np.uint8)
    return np.unpackbits(words, count=n).view(bool).reshape(shape)


def _not_empty(shape: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Returns uniform rows `(K, b)` of booleans that have a true one."""
    rows = _half(shape, random)
    (empty,) = np.nonzero(~rows.any(1))
    while len(empty):
        rows[empty] = _half((len(empty), shape[1]), random)
        empty = empty[~rows[empty].any(1)]
    return rows
