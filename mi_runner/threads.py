"""How many CPU threads torch computes with.

Threads that wait for each other by spinning take the processor from other programs, and from each other: two small
trainings at once on two cores were seventy times slower than one alone. So waiting threads sleep, and work that is too
small to divide is done by one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def let_waiting_threads_sleep() -> None:
    """To be called before torch is imported; a setting of the user's own stays."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def at_most(threads: int | None) -> Iterator[None]:
    """Within the block torch uses no more threads than this; None changes nothing."""
    import torch

    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(min(threads, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
