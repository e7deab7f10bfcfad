"""Sixteen numbers at once: each intrinsic against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels import lanes

DRAW = np.random.default_rng(0)
NUMBERS = DRAW.integers(-3, 4, 64).astype(np.float32)
OTHERS = DRAW.integers(-3, 4, 64).astype(np.float32)
WHOLE = DRAW.integers(0, 16, 64)


def word(answers: Any) -> int:
    return sum(int(answer) << i for i, answer in enumerate(answers))


@compiled()
def sums(one: Any, at: int, other: Any, other_at: int, low: np.float32, high: np.float32) -> int:
    return lanes.sums_between(one, at, other, other_at, low, high)


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, np.inf), (-np.inf, -1), (np.inf, -np.inf), (2, 2)])
def test_sums_between(low: float, high: float) -> None:
    found = sums(NUMBERS, 3, OTHERS, 17, np.float32(low), np.float32(high))
    z = NUMBERS[3:19] + OTHERS[17:33]
    assert found == word((z >= low) & (z <= high))
    odd = NUMBERS.copy()
    odd[4] = np.nan
    assert sums(odd, 0, np.zeros(16, np.float32), 0, np.float32(-np.inf), np.float32(np.inf)) == 0xFFFF - (1 << 4)


@compiled()
def above(one: Any, at: int, other: Any, other_at: int, or_equal: bool) -> int:
    return lanes.are_above(one, at, other, other_at, or_equal)


def test_are_above() -> None:
    one, other = NUMBERS[5:21], OTHERS[8:24]
    assert (one == other).any()
    assert above(NUMBERS, 5, OTHERS, 8, False) == word(one > other)
    assert above(NUMBERS, 5, OTHERS, 8, True) == word(one >= other)


@compiled()
def decided(behind: Any, at: int, low: Any, high: Any, limits: Any, limits_at: int, width: int) -> int:
    return lanes.bounds_decide(behind, behind, at, low, high, 16, limits, limits_at, width)


@compiled()
def decided_by_lane(around: Any, limits: Any, at: int, width: int) -> int:
    return lanes.limits_decide(around, limits, at, width)


def test_bounds_decide() -> None:
    low, high = NUMBERS, NUMBERS + np.float32(2)
    limits = np.array([[0, 0, 5], [0, 3, 5], [0, 1, 5], [0, 2, 5]], dtype=np.float32)
    found = int(decided(np.array([9, 1], np.float32), 1, low, high, limits, 1, 3))
    lower, upper = low[16:32] + 1, high[16:32] + 1
    sure, possible = (lower >= 0) & (upper <= 3), (upper >= 1) & (lower <= 2)
    assert 0 < sure.sum() < possible.sum() < 16
    assert found == word(sure) + (word(possible) << 16)


def test_limits_decide() -> None:
    around = np.stack([NUMBERS[:16], NUMBERS[:16] + 2])
    limits = np.stack([OTHERS[:40] - 1, OTHERS[:40] + 3, OTHERS[:40] - 2, OTHERS[:40] + 4])
    here = limits[:, 7:23]
    sure = (around[0] >= here[0]) & (around[1] <= here[1])
    possible = (around[1] >= here[2]) & (around[0] <= here[3])
    assert 0 < sure.sum() < possible.sum() < 16
    assert int(decided_by_lane(around, limits, 7, 40)) == word(sure) + (word(possible) << 16)


@compiled()
def whole(numbers: Any, at: int, bits: np.uint64, number: int) -> tuple[int, int, int]:
    found = lanes.at_least(numbers, at, number), lanes.contain(numbers, at, number), lanes.sum_where(numbers, at, bits)
    lanes.add_where(numbers, at, bits, number)
    return found


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_whole_numbers(kind: type) -> None:
    numbers, bits = WHOLE.astype(kind), 0b1000_1100_0111_0001
    enough, contained, total = whole(numbers, 9, np.uint64(bits), kind(5))
    before, chosen = WHOLE[9:25], np.array([bits >> i & 1 for i in range(16)], dtype=bool)
    assert enough == word(before >= 5) and contained == word(before & 5 == 5) and total == before[chosen].sum()
    assert np.array_equal(numbers[9:25], before + 5 * chosen)
    assert np.array_equal(numbers[:9], WHOLE[:9]) and np.array_equal(numbers[25:], WHOLE[25:])


@compiled()
def float_lanes(to: Any, one: Any, other: Any) -> tuple[np.float32, np.float32]:
    lanes.add_all(to, 2, one, 1, other, 0)
    return lanes.extremes_of(one, 5, 3)


def test_sums_and_extremes() -> None:
    to = np.zeros(20, dtype=np.float32)
    smallest, largest = float_lanes(to, NUMBERS * 1.5, OTHERS)
    assert np.array_equal(to, np.concatenate([[0, 0], NUMBERS[1:17] * np.float32(1.5) + OTHERS[:16], [0, 0]]))
    assert (smallest, largest) == (NUMBERS[5:53].min() * 1.5, NUMBERS[5:53].max() * 1.5)


@compiled()
def first(bits: np.uint64) -> int:
    return lanes.first_lane(bits)


def test_the_first_lane() -> None:
    assert [first(np.uint64(bits)) for bits in (1, 2, 0b1010000, 1 << 63)] == [0, 1, 4, 63]
