"""Memory is taken in large pages, and freed memory stays with the process: each page that the system gives takes time.

A step of training frees and takes the same megabytes again. By default, glibc returns free memory at the end of its
heap to the operating system from 64 MB on, and takes blocks of some megabytes from there. Measured with directions
behind a convolution of 12,544 units, on an Intel Xeon: 26 CPU seconds with the default, 22 with these bounds, and equal
tables.
"""

from __future__ import annotations

import ctypes
import os
import sys

LARGEST_BLOCK = 32 * 2**20
"""Bytes of the largest block that is taken from the heap (the C library allows no more); larger ones come and go."""

KEPT = 2**30
"""Bytes at the end of the heap that are kept though nothing uses them."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""The options' numbers in `malloc.h`."""


def take_large_pages() -> None:
    """Lets torch's tensors lie in pages of 2 MB, unless the user has set it otherwise.

    Call it before torch is imported. The system gives a page at a time, when it is first written: the main job's data
    have 54,000 pages of 4 kB.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def keep_freed() -> None:
    """Makes glibc keep freed memory, unless the user has set bounds; does nothing with another C library."""
    if {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} & os.environ.keys():
        return
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Where the first is refused, glibc goes on to adapt both by itself.
    if mallopt is not None and mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK):
        mallopt(M_TRIM_THRESHOLD, KEPT)
