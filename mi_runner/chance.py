"""Each use of randomness has its own generator, derived from the run's seed and the use's name.

So a draw doesn't depend on which other draws a run makes: ablating one more site changes no other row.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derived_seed(seed: int, *use: object) -> int:
    """Returns an integer in 0..2⁶³−1 that depends only on `seed` and on the names of the use."""
    text = "/".join(map(str, (seed, *use)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def generator(seed: int, *use: object) -> torch.Generator:
    """Returns a CPU generator for one use, e.g. `generator(seed, "batch order")`."""
    return torch.Generator().manual_seed(derived_seed(seed, *use))


@contextmanager
def global_seed(seed: int, *use: object) -> Iterator[None]:
    """Sets the seed of torch's global generator for this use within the block, and restores it afterwards.

    For code that takes no generator: the default initialisation of modules, dropout. Without a GPU only the CPU's
    generator is seeded: `torch.manual_seed` also asks for the stack of calls, for a GPU that may come later, and that
    takes as long as a small network's training.
    """
    devices = _cuda_devices()
    seed_generators = torch.manual_seed if devices else torch.default_generator.manual_seed
    with torch.random.fork_rng(devices):
        seed_generators(derived_seed(seed, *use))
        yield


@contextmanager
def kept(*, of_cuda: bool = False) -> Iterator[None]:
    """Restores the global generators after the block: torch's of the CPU, numpy's, Python's.

    Args:
        of_cuda: whether also those of all CUDA devices.
    """
    with _others_kept(), torch.random.fork_rng(_cuda_devices() if of_cuda else []):
        yield


@contextmanager
def others_seeded(seed: int) -> Iterator[None]:
    """Sets the seeds of numpy's and Python's global generators within the block, and restores them afterwards.

    For a user's code that draws weights with them.
    """
    import numpy as np

    with _others_kept():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        yield


@contextmanager
def _others_kept() -> Iterator[None]:
    """Restores numpy's and Python's global generators after the block."""
    import numpy as np

    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
