"""How many CPU threads torch computes with. The number belongs to the config, because figures depend on it.

Threads that share a sum add it in another order, and training enlarges the difference: a network with a test accuracy
of 0.9754 with two threads had 0.9777 with one. So a run uses exactly `threads` threads everywhere: alone, in a sweep or
on a cluster, on any number of cores.

Threads that spin while they wait slow down other programs and each other: on two cores, two small trainings at once
were seventy times slower than one alone. So waiting threads sleep, and a training step that is too small to divide
takes one thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mi_runner.machine import hardware

MOST = 4
"""The largest number of threads that `auto` takes: small networks gain nothing from more."""


def let_waiting_threads_sleep() -> None:
    """Makes waiting threads sleep, unless the user has set it otherwise. Call it before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def automatic() -> int:
    """Returns the number of threads for `threads=auto`: OMP_NUM_THREADS or the cores, but at most `MOST`."""
    named = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(MOST, int(named) if named.isdecimal() and int(named) else hardware.n_cores())


@contextmanager
def exactly(threads: int) -> Iterator[None]:
    """Makes torch compute with exactly this many threads within the block, even on fewer cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
