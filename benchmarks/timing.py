"""Timing in turn: ours, the other, ours, the other, …"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(
    name: str, ours: Callable[[], object], other: Callable[[], object], *, wanted: str, rounds: int = 5
) -> None:
    """Print how many times as long as `ours` the `other` takes: the median over rounds, after one that isn't counted.

    Args:
        wanted: what the ratio should be, in words.
    """
    ours(), other()
    pairs = [(seconds(ours), seconds(other)) for _ in range(rounds)]
    ratios = sorted(theirs / mine for mine, theirs in pairs)
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"{name}: ours {mine:.4g} s, the other {theirs:.4g} s, ratio {statistics.median(ratios):.3g} "
        f"({ratios[0]:.3g} to {ratios[-1]:.3g}); wanted {wanted}",
        flush=True,
    )
