"""Exact random choices by integer weights of any size: random integers are compared, never floats.

A choice needs a uniform point of [0, 1), and the first option of which the cumulated share of the weights is beyond it.
The first 64 bits of the point decide, unless they are the first 64 bits of a cumulated share, too; then more bits are
drawn until they decide.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

WORD = 64
"""Bits that are drawn at once."""

MOST_CODES = 10_000_000
"""Up to this code a table of all codes takes less time than a sort."""


class Choice:
    """Options with integer weights.

    Attributes:
        total: the sum of the weights.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        """
        Args:
            weights: whole numbers, none negative, not all 0.
        """
        self._cumulated = list(itertools.accumulate(weights))
        self.total = self._cumulated[-1]
        # An end of a share is at or beyond these words of 64 bits; the last one is 1.0, which no point reaches.
        ends = [(end << WORD) // self.total for end in self._cumulated if end < self.total]
        self._ends = np.array(ends, dtype=np.uint64)

    def draw(self, n: int, random: np.random.Generator) -> np.ndarray:
        """Returns n independent options, `(n,)` int64, each with the probability weight / total."""
        if not len(self._ends):  # one option has all the weight
            return np.full(n, bisect_right(self._cumulated, 0), dtype=np.int64)
        words = random.integers(0, 2**WORD, n, dtype=np.uint64)
        places = np.searchsorted(self._ends, words, side="right")
        for at in np.flatnonzero((places > 0) & (self._ends[places - 1] == words)):
            places[at] = self._decided(int(words[at]), random)
        return places.astype(np.int64)

    def _decided(self, point: int, random: np.random.Generator) -> int:
        """Returns the option of a point of [0, 1) of which the first bits are those of the end of a share."""
        bits = WORD
        while True:
            # Scaled by the total, the point lies between these two, without the second.
            low, high = point * self.total, (point + 1) * self.total
            first = next(i for i, end in enumerate(self._cumulated) if end << bits > low)
            if self._cumulated[first] << bits >= high:
                return first
            point = point << WORD | int(random.integers(0, 2**WORD, dtype=np.uint64))
            bits += WORD


def distinct_states(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct ones of `codes` `(K,)`, whole numbers from 0, in order, and each code's place `(K,)`."""
    if not len(codes) or codes.max() > MOST_CODES:
        return np.unique(codes, return_inverse=True)
    found = np.flatnonzero(np.bincount(codes))
    places = np.empty(int(codes.max()) + 1, dtype=np.int64)
    places[found] = np.arange(len(found))
    return found, places[codes]


def draw_grouped(states: np.ndarray, choices: Sequence[Choice], random: np.random.Generator) -> np.ndarray:
    """Returns one option `(n,)` int64 for each of `states` `(n,)`, the places of their choices."""
    found = np.empty(len(states), dtype=np.int64)
    narrow = states.astype(np.uint16) if len(choices) <= 2**16 else states  # numpy sorts these by radix
    order = np.argsort(narrow, kind="stable")
    ends = np.cumsum(np.bincount(states, minlength=len(choices)))
    for start, end, choice in zip([0, *ends[:-1]], ends, choices, strict=True):
        if end > start:
            found[order[start:end]] = choice.draw(int(end - start), random)
    return found
