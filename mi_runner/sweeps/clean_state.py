"""Every job of a sweep begins in the state in which the process's first one began.

What a network's own code, or a job that was interrupted, leaves behind (a default dtype, a seed, fewer threads, another
working directory) changes no later job.
"""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Callable

_restore: list[Callable[[], object]] = []
"""What brings the state back; empty until it was recorded."""


def begin() -> None:
    """Records the state of this process the first time, and restores it each later time."""
    if _restore:
        for restore in _restore:
            restore()
    else:
        _restore.extend(_recorded())


def forget() -> None:
    """Makes the next `begin` record the state again, because another sweep begins in this process."""
    _restore.clear()


def _recorded() -> list[Callable[[], object]]:
    """Returns what brings the state of this process back: Python's, numpy's, torch's, and that of the kernels."""
    return [*_of_python(), *_of_numbers(), _kernels]


def _of_python() -> list[Callable[[], object]]:
    """Returns what brings back the environment, the working directory, the import path and the warnings."""
    environment, folder, path, filters = dict(os.environ), os.getcwd(), list(sys.path), list(warnings.filters)

    def variables() -> None:
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)

    def warned() -> None:
        assert isinstance(warnings.filters, list)
        warnings.filters[:] = filters

    return [variables, lambda: os.chdir(folder), lambda: sys.path.__setitem__(slice(None), path), warned]


def _of_numbers() -> list[Callable[[], object]]:
    """Returns what brings back the random numbers, and how torch computes."""
    import numpy as np
    import torch

    own, of_numpy, of_torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    dtype, threads, gradients = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    device, precision = torch.get_default_device(), torch.get_float32_matmul_precision()
    deterministic = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark

    def cuda_seed() -> None:
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(torch.initial_seed())

    def determinism() -> None:
        found = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        if found != (deterministic, only_warned):  # because the call imports torch's compiler
            torch.use_deterministic_algorithms(deterministic, warn_only=only_warned)

    def devices() -> None:
        if device.type == "cpu":  # where it was set, each of torch's calls goes through Python code
            torch.set_default_device(None)
        elif torch.get_default_device() != device:
            torch.set_default_device(device)
        torch.backends.cudnn.benchmark = benchmark

    return [
        lambda: random.setstate(own),
        lambda: np.random.set_state(of_numpy),
        lambda: torch.set_rng_state(of_torch),
        cuda_seed,
        lambda: torch.set_default_dtype(dtype),
        lambda: torch.set_num_threads(threads),
        lambda: torch.set_grad_enabled(gradients),
        lambda: torch.set_float32_matmul_precision(precision),
        determinism,
        devices,
    ]


def _kernels() -> None:
    """Gives the compiled kernels as many threads as they had at the beginning."""
    if (numba := sys.modules.get("numba")) is not None:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
