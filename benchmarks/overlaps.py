"""Overlaps of all pairs of circuits: the kernel against numpy, a row of pairs at a time; packing and blocking.

The circuits are random sets of edges. numpy's loop does a part of the rows; it would do the others at the same speed.
Ratios are those of CPU seconds.
"""

from __future__ import annotations

import numba
import numpy as np

from benchmarks.timing import spread, took
from mi_runner.methods.chance_overlap import chance_overlap
from mi_runner.methods.circuits.overlaps import overlaps
from mi_runner.methods.circuits.random_overlap import random_pairs
from mi_runner.methods.circuits.sharing import blocking, packing
from mi_runner.methods.circuits.space import CircuitSpace

N = 100_000
"""Circuits, 5·10⁹ pairs."""

LOOPED = 200
"""Rows that numpy's loop does."""


def drawn(n_edges: int, n: int, seed: int = 0) -> np.ndarray:
    """Circuits `(n,)` uint64 that keep about half of the edges."""
    return np.random.default_rng(seed).integers(1, 2**n_edges, n, dtype=np.uint64)


def numpy_mean(circuits: np.ndarray, rows: int) -> float:
    """The mean overlap of the last rows with all before them."""
    total, n_pairs = 0.0, 0
    for row in range(len(circuits) - rows, len(circuits)):
        before = circuits[:row]
        total += float((np.bitwise_count(circuits[row] & before) / np.bitwise_count(circuits[row] | before)).sum())
        n_pairs += row
    return total / n_pairs


def run() -> None:
    """Print pairs a second, and the seconds of chance, packing and blocking."""
    for n_edges in (21, 32, 64):
        circuits = drawn(n_edges, N)
        overlaps(circuits[:100])  # compiles
        n_pairs, looped = N * (N - 1) / 2, sum(range(N - LOOPED, N))
        times, ratios = [], []
        for _ in range(3):
            ours = took(lambda: overlaps(circuits))  # noqa: B023
            loop = took(lambda: numpy_mean(circuits, LOOPED))  # noqa: B023
            times.append(ours.wall)
            ratios.append(loop.cpu / looped / (ours.cpu / n_pairs))
        print(
            f"overlaps of {N:,} circuits of {n_edges} edges, all {n_pairs:,.0f} pairs exactly: {spread(times)} s on "
            f"{numba.get_num_threads()} threads, wanted at most 20; ratio to numpy {spread(ratios)}, wanted at least 2",
            flush=True,
        )
    _chance()
    _programs()


def _chance() -> None:
    sizes = np.bincount(np.bitwise_count(drawn(21, 30_000)), minlength=22)
    sizes[:6] = 0
    space = CircuitSpace((3, 3, 3, 1))

    def chance() -> None:
        random_pairs.cache_clear()
        chance_overlap(space, sizes, seed=0)

    chance()  # compiles
    print(
        f"chance of 3-3-3-1, exact, with 1,000 families: {spread([took(chance).wall for _ in range(3)])} s; "
        "wanted at most 1",
        flush=True,
    )


def _programs() -> None:
    random = np.random.default_rng(0)
    for n_edges, size, n in ((21, 5, 1_000), (40, 6, 3_000)):
        circuits = [sum(1 << int(edge) for edge in random.choice(n_edges, size, replace=False)) for _ in range(n)]
        packed, blocked = took(lambda: packing(circuits, 10)), took(lambda: blocking(circuits, 10))  # noqa: B023
        print(
            f"packing and blocking of {n:,} circuits of {size} of {n_edges} edges, at most 10 s each: "
            f"{packed.wall:.2f} and {blocked.wall:.2f} s",
            flush=True,
        )
