"""How many CPU threads torch computes with. It is a part of the config, because figures depend on it.

A sum that is divided among threads is added in another order. Training carries the difference on: a network of test
accuracy 0.9754 with two threads had 0.9777 with one. So a run computes with exactly `threads` threads wherever it runs,
alone, in a sweep or on a cluster, however many cores it finds there.

Threads that wait for each other by spinning take the processor from other programs, and from each other: two small
trainings at once on two cores were seventy times slower than one alone. So waiting threads sleep, and a training step
that is too small to divide takes one thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mi_runner import machine

MOST = 4
"""Threads that `auto` takes at the most: small networks gain nothing from more."""


def let_waiting_threads_sleep() -> None:
    """Make waiting threads sleep. Call it before torch is imported; a setting of the user's own stays."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def automatic() -> int:
    """The number that `threads=auto` stands for here: the cores, or OMP_NUM_THREADS, but no more than `MOST`."""
    named = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(MOST, int(named) if named.isdecimal() and int(named) else machine.n_cores())


@contextmanager
def exactly(threads: int) -> Iterator[None]:
    """Within the block torch computes with so many threads, also where there are fewer cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
