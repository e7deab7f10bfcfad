"""Timing in turn: ours, the other, ours, the other, …

Other programs on the machine lengthen wall-clock seconds, and those of work on several threads most. They hardly change
CPU seconds, which are those of all threads together, and of processes that were started and have ended.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Took(NamedTuple):
    """Seconds of one call."""

    wall: float
    cpu: float


def took(work: Callable[[], object]) -> Took:
    """Both kinds of seconds of one call."""
    wall, cpu = time.perf_counter(), _cpu()
    work()
    return Took(time.perf_counter() - wall, _cpu() - cpu)


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    return took(work).wall


def spread(ratios: Sequence[float]) -> str:
    """The median, and from the smallest to the largest."""
    return f"{statistics.median(ratios):.3g} ({min(ratios):.3g} to {max(ratios):.3g})"


def compare(
    name: str, ours: Callable[[], object], other: Callable[[], object], *, wanted: str, rounds: int = 5
) -> None:
    """Print how many times as long as `ours` the `other` takes: the median over rounds, after one that isn't counted.

    Args:
        wanted: what the ratio should be, in words.
    """
    ours(), other()
    pairs = [(took(ours), took(other)) for _ in range(rounds)]
    mine, theirs = (statistics.median(call.wall for call in calls) for calls in zip(*pairs, strict=True))
    wall = spread([theirs.wall / mine.wall for mine, theirs in pairs])
    cpu = spread([theirs.cpu / mine.cpu for mine, theirs in pairs])
    print(
        f"{name}: ours {mine:.4g} s, the other {theirs:.4g} s, ratio {wall}, of CPU seconds {cpu}; wanted {wanted}",
        flush=True,
    )
