"""Words for the answer of a run, `Result.answer`: its numbers, with their 95 % intervals in brackets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def figure(value: float | None) -> str:
    """Returns a number with four significant digits; `unknown` if there is none."""
    if value is None or math.isnan(value):
        return "unknown"
    if value == int(value) and abs(value) >= 1e4:
        return f"{int(value):,}"
    return f"{value:.4g}" if value >= 0 else f"−{-value:.4g}"


def measured(row: Mapping[str, Any], measure: str) -> str:
    """Returns a measure of a row with its interval, 0.9726 (0.9692 to 0.9756); without it if the row has none."""
    low, high = row.get(f"{measure}_low"), row.get(f"{measure}_high")
    return between(row.get(measure), low, high)


def between(value: float | None, low: float | None, high: float | None) -> str:
    """Returns a number with its interval; alone if an end is None or both are the same."""
    if low is None or high is None or low == high:
        return figure(value)
    return f"{figure(value)} ({figure(low)} to {figure(high)})"


def counted(n: int, one: str, more: str = "") -> str:
    """Returns a number with its noun: 1 circuit, 19,162 circuits."""
    return f"{n:,} {one if n == 1 else more or f'{one}s'}"
