"""Orders points: by one of their numbers, or so that points that follow each other lie near each other.

Letters: D numbers of a point, M points.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mi_runner.machine.compiled import compiled

DIGIT = 11
"""Bits of a digit by which numbers are sorted; three digits have 33 bits."""

LOOKED_AT = 64
"""Points that say along which number a set of points is longest."""


@compiled()
def sort_numbers(numbers: Any, order: Any) -> None:
    """Fills `order` `(M,)` int32 with the places of `numbers` `(M,)` float32, without NaN, from the smallest on.

    The bits of a float32, those of a negative number inverted, have the order of the numbers. They are sorted digit by
    digit, the least digit first.
    """
    m = len(numbers)
    keys, turned = numbers.view(np.uint32).copy(), np.empty(m, dtype=np.uint32)
    here, there = np.arange(m).astype(np.int32), np.empty(m, dtype=np.int32)
    for i in range(m):
        keys[i] ^= np.uint32(0xFFFFFFFF) if keys[i] >> np.uint32(31) else np.uint32(0x80000000)
    starts = np.empty((1 << DIGIT) + 1, dtype=np.int64)
    for shift in (0, DIGIT, 2 * DIGIT):
        starts[:] = 0
        for i in range(m):
            starts[((keys[i] >> np.uint32(shift)) & np.uint32((1 << DIGIT) - 1)) + 1] += 1
        for digit in range(1 << DIGIT):
            starts[digit + 1] += starts[digit]
        for i in range(m):
            digit = (keys[i] >> np.uint32(shift)) & np.uint32((1 << DIGIT) - 1)
            to = starts[digit]
            starts[digit] += 1
            turned[to], there[to] = keys[i], here[i]
        keys, turned = turned, keys
        here, there = there, here
    for i in range(m):
        order[i] = here[i]


@compiled()
def _widest(places: Any, points: Any, begin: int, end: int) -> int:
    """Returns the number of these points that differs most among them, as far as `LOOKED_AT` of them show."""
    step = (end - begin - 1) // LOOKED_AT + 1
    widest, most = 0, -1
    for d in range(places.shape[1]):
        low = high = places[points[begin], d]
        for i in range(begin + step, end, step):
            place = places[points[i], d]
            low, high = min(low, place), max(high, place)
        if high - low > most:
            widest, most = d, high - low
    return widest


@compiled()
def _divide(places: Any, d: int, points: Any, begin: int, end: int, middle: int) -> None:
    """Moves points, so that those before `middle` have no larger number d than those from there on."""
    first, last = begin, end - 1
    while first < last:
        pivot = places[points[(first + last) // 2], d]
        i, j = first, last
        while i <= j:
            while places[points[i], d] < pivot:
                i += 1
            while places[points[j], d] > pivot:
                j -= 1
            if i <= j:
                points[i], points[j] = points[j], points[i]
                i += 1
                j -= 1
        if middle <= j:
            last = j
        elif middle >= i:
            first = i
        else:
            return


@compiled()
def bring_together(places: Any, points: Any, n_together: int) -> None:
    """Moves `points`, so that each run of `n_together`, counted from the first, lies close together.

    They are halved, again and again, along the number that differs most.

    Args:
        places: `(M, D)` int32, the places of each point in the order of each number.
        points: `(K,)` int32, some of the M points.
    """
    waiting = np.empty((128, 2), dtype=np.int64)
    waiting[0, 0], waiting[0, 1] = 0, len(points)
    n_waiting = 1
    while n_waiting:
        n_waiting -= 1
        begin, end = waiting[n_waiting]
        if end - begin <= n_together:
            continue
        middle = begin + ((end - begin - 1) // n_together + 1) // 2 * n_together
        _divide(places, _widest(places, points, begin, end), points, begin, end, middle)
        waiting[n_waiting, 0], waiting[n_waiting, 1] = begin, middle
        waiting[n_waiting + 1, 0], waiting[n_waiting + 1, 1] = middle, end
        n_waiting += 2
