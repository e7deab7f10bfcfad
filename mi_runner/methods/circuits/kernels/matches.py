"""For each of some queries, how many points lie in its box? Each side of a box is a range of places in an order.

Points that lie close together form blocks. A group of queries that lie close together takes or leaves a whole block
where its boxes contain it or miss it. Otherwise each box takes, side by side, the points up to a place: these are a row
of bits, one for each point of the block, and the box's points are the ones of the rows' conjunction.

Letters: D numbers of a point, M points, K queries, W words of a row. Side 2d of a box says before which place number d
lies, side 2d + 1 from which place on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.bits import lowest_one, n_bits

WORDS = 16
BLOCK = 64 * WORDS
"""Points of a block; a row of bits has one for each."""

GROUP = 64
"""Queries that are decided together where they can be."""

ONE, ALL_ONES = np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)


class Block(NamedTuple):
    """The points of a block.

    Attributes:
        rows: `(D, BLOCK + 1, W)` uint64: row k has the k points that come first in the order of number d.
        before: `(D, V, 2)` uint64: the places of the block's points as bits, and how many lie before each word.
        spots: `(D, M)` int16, the bit of the point at each place; only the block's points have one.
        lowest, highest: `(D,)` int64, the first and the last place.
    """

    rows: Any
    before: Any
    spots: Any
    lowest: Any
    highest: Any


@compiled()
def empty_block(n_points: int, n_numbers: int) -> Any:
    """Returns a block of M points in all, without any of them yet."""
    return Block(
        np.zeros((n_numbers, BLOCK + 1, WORDS), dtype=np.uint64),
        np.zeros((n_numbers, n_points // 64 + 1, 2), dtype=np.uint64),
        np.zeros((n_numbers, n_points), dtype=np.int16),
        np.zeros(n_numbers, dtype=np.int64),
        np.zeros(n_numbers, dtype=np.int64),
    )


@compiled()
def fill_block(block: Any, places: Any, points: Any) -> None:
    """Makes the block that of these points `(at most BLOCK,)`; `places` `(M, D)` int32."""
    rows, before, spots, lowest, highest = block
    for d in range(places.shape[1]):
        before[d] = 0
        for spot in range(len(points)):
            place = places[points[spot], d]
            spots[d, place] = spot
            before[d, place >> 6, 0] |= ONE << np.uint64(place & 63)
        k = 0
        for word in range(before.shape[1]):
            before[d, word, 1] = k
            left = before[d, word, 0]
            while left:
                place = word * 64 + lowest_one(left)
                left &= left - ONE
                if k == 0:
                    lowest[d] = place
                highest[d] = place
                for w in range(WORDS):
                    rows[d, k + 1, w] = rows[d, k, w]
                rows[d, k + 1, spots[d, place] >> 6] |= ONE << np.uint64(spots[d, place] & 63)
                k += 1


@compiled()
def _find_rows(before: Any, boxes: Any, begin: int, end: int, sides: Any, n_sides: int, taken: Any) -> None:
    """Fills `taken[i]` with how many points of the block lie before the place of side i of each box of a group."""
    for i in range(n_sides):
        side = sides[i]
        d = side >> 1
        for query in range(begin, end):
            place = boxes[query, side]
            within = before[d, place >> 6, 0] & ((ONE << np.uint64(place & 63)) - ONE)
            taken[i, query - begin] = before[d, place >> 6, 1] + n_bits(within)


@compiled()
def _count_common(
    rows: Any, number: Any, taken: Any, turn: Any, n_rows: int, power: int, begin: int, end: int, counts: Any
) -> None:
    """Adds to the counts of a group the points that are in all rows of each box, times 2^power.

    Args:
        number: `(R,)`, of which number of a point each row has the order.
        taken: `(R, Q)`, which row of that order it is, for each box.
        turn: `(R,)` uint64: where this is all ones, a row has the points that aren't in it.
        n_rows: a multiple of 4.
    """
    common, n_words = np.empty(WORDS, dtype=np.uint64), rows.shape[2]  # a constant would undo the vector instructions
    for query in range(end - begin):
        n = np.uint64(0)
        for i in range(0, n_rows, 4):
            d0, k0, t0 = number[i], taken[i, query], turn[i]
            d1, k1, t1 = number[i + 1], taken[i + 1, query], turn[i + 1]
            d2, k2, t2 = number[i + 2], taken[i + 2, query], turn[i + 2]
            d3, k3, t3 = number[i + 3], taken[i + 3, query], turn[i + 3]
            if n_rows == 4:
                for w in range(n_words):
                    two = (rows[d0, k0, w] ^ t0) & (rows[d1, k1, w] ^ t1)
                    n += n_bits(two & (rows[d2, k2, w] ^ t2) & (rows[d3, k3, w] ^ t3))
            elif i == 0:
                for w in range(n_words):
                    two = (rows[d0, k0, w] ^ t0) & (rows[d1, k1, w] ^ t1)
                    common[w] = two & (rows[d2, k2, w] ^ t2) & (rows[d3, k3, w] ^ t3)
            elif i + 4 < n_rows:
                for w in range(n_words):
                    two = (rows[d0, k0, w] ^ t0) & (rows[d1, k1, w] ^ t1)
                    common[w] &= two & (rows[d2, k2, w] ^ t2) & (rows[d3, k3, w] ^ t3)
            else:
                for w in range(n_words):
                    two = (rows[d0, k0, w] ^ t0) & (rows[d1, k1, w] ^ t1)
                    n += n_bits(common[w] & two & (rows[d2, k2, w] ^ t2) & (rows[d3, k3, w] ^ t3))
        counts[begin + query] += np.int64(n) << power


@compiled()
def add_block(block: Any, n_points: int, power: int, boxes: Any, ranges: Any, counts: Any) -> None:
    """Adds to `counts` `(K,)` int64 how many points of the block lie in each box, times 2^power.

    Loops are written out here and above, because a call with an array counts its references, which takes longer than
    what is done for a box.

    Args:
        n_points: of the block.
        boxes: `(K, 2D)` int32; those that follow each other lie close together.
        ranges: `(G, 2, 2D)` int32, the smallest and the largest place of each side in each group of boxes.
    """
    rows, before, _, lowest, highest = block
    n_numbers = len(lowest)
    most = 2 * n_numbers + 4
    sides, number = np.zeros(most, dtype=np.int64), np.zeros(most, dtype=np.int64)
    taken, turn = np.zeros((most, GROUP), dtype=np.int64), np.zeros(most, dtype=np.uint64)
    for group in range(len(ranges)):
        n_sides = d = 0
        while d < n_numbers:
            if ranges[group, 1, 2 * d] <= lowest[d] or ranges[group, 0, 2 * d + 1] > highest[d]:
                n_sides = -1  # all boxes miss the block
                break
            for side in (2 * d, 2 * d + 1):
                cuts = ranges[group, 1, side] > lowest[d] if side & 1 else ranges[group, 0, side] <= highest[d]
                if cuts:
                    sides[n_sides], number[n_sides] = side, d
                    turn[n_sides] = ALL_ONES if side & 1 else np.uint64(0)
                    n_sides += 1
            d += 1
        begin, end = group * GROUP, min((group + 1) * GROUP, len(boxes))
        if n_sides == 0:
            for query in range(begin, end):
                counts[query] += n_points << power
        elif n_sides > 0:
            # A row that is turned round also has the bits of no point, so that of all points goes with it.
            n_rows = (n_sides + (n_points < BLOCK) + 3) // 4 * 4
            for i in range(n_sides, n_rows):
                number[i], turn[i] = 0, np.uint64(0)
                taken[i] = n_points
            _find_rows(before, boxes, begin, end, sides, n_sides, taken)
            _count_common(rows, number, taken, turn, n_rows, power, begin, end, counts)


@compiled()
def ranges_of(boxes: Any) -> Any:
    """Returns the smallest and the largest place of each side in each group of boxes, `(G, 2, 2D)` int32."""
    n_groups = (len(boxes) + GROUP - 1) // GROUP
    ranges = np.empty((n_groups, 2, boxes.shape[1]), dtype=np.int32)
    for query in range(len(boxes)):
        group = query // GROUP
        for side in range(boxes.shape[1]):
            place = boxes[query, side]
            if query % GROUP == 0:
                ranges[group, 0, side] = ranges[group, 1, side] = place
            else:
                ranges[group, 0, side] = min(ranges[group, 0, side], place)
                ranges[group, 1, side] = max(ranges[group, 1, side], place)
    return ranges
