"""Memory that is freed and taken again costs no new pages."""

from __future__ import annotations

import resource
import sys

import pytest
import torch

from mi_runner.machine import memory


def faults_of_a_step() -> int:
    """Pages that the operating system gives for five blocks of 24 MB, which are freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.zeros(6 * 2**20) for _ in range(5)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has these bounds")
def test_a_step_takes_the_memory_of_the_step_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    memory.keep_freed()
    # Of 30,720 pages of 4 kB. The least, because something small may come to lie between two blocks.
    assert min(faults_of_a_step() for _ in range(4)) < 2_000
