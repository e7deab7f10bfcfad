"""What a program has set for torch and numpy changes no figure of a run, and is back after it.

A notebook may have set a default dtype, a device, a seed, or be inside of `torch.no_grad()`. A run computes as the
command line does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

from mi_runner import chance

_one_run = threading.RLock()
"""Runs of several threads come one after the other: torch's number of threads, and seeds, belong to the process."""


@contextmanager
def set_aside() -> Iterator[None]:
    """Gives the block torch and numpy as they are when a program starts, and then the caller's state back.

    The generators of random numbers are those of torch, numpy and Python.
    """
    with _one_run, ExitStack() as stack:
        # To ask an idle GPU for its seed would begin to use it.
        stack.enter_context(chance.kept(of_cuda=torch.cuda.is_initialized()))
        stack.enter_context(_dtype())
        stack.enter_context(_precision())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        yield


@contextmanager
def _dtype() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
