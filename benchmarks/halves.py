"""Valid circuits counted by halves, against a census of the same circuits: ratios of CPU seconds, in one run.

The networks are made, not trained: random weights, four distinct examples, and circuits that must answer each of them
as the full network does. A relu has many equal terms, which are one choice; a tanh has none.

The census of 2-5-5-1 takes a minute, so it is done once. There is none of 2-6-6-1, which has 4.69·10¹³ circuits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.timing import Took, took
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.census import take_census
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.halves import count_by_halves, seconds_of_halves
from mi_runner.methods.circuits.space import CircuitSpace

SIZES, LARGEST = ((2, 4, 4, 1), (2, 5, 5, 1)), (2, 6, 6, 1)


def made(sizes: tuple[int, ...], activation: str) -> tuple[Part, CircuitExamples]:
    """A part of random weights with an activation after every layer but the last, and the four inputs of two bits."""
    draw = torch.Generator().manual_seed(1)
    kinds = [activation] * (len(sizes) - 2) + ["identity"]
    part = Part(
        tuple(
            Layer(torch.randn(n_out, n_in, generator=draw), torch.randn(n_out, generator=draw), kind)
            for (n_in, n_out), kind in zip(itertools.pairwise(sizes), kinds, strict=True)
        )
    )
    x = torch.tensor(list(itertools.product((0.0, 1.0), repeat=2)))
    full = part(x).squeeze(1)
    return part, CircuitExamples(x, full.round(), full)


def run() -> None:
    """Print the seconds of both, and those of 2-6-6-1."""
    for activation in ("relu", "tanh"):
        count_by_halves(*made((2, 2, 2, 1), activation))  # compiles
        take_census(*made((2, 2, 2, 1), activation), 4, 0)
        for sizes in SIZES:
            _compare(sizes, activation)
        part, examples = made(LARGEST, activation)
        ours, found = _timed(lambda: count_by_halves(part, examples))  # noqa: B023
        print(
            f"halves, {_named(LARGEST, activation, found.n_valid)}, {ours.wall:.0f} s, {ours.cpu:.0f} CPU seconds; "
            f"estimate {seconds_of_halves(part, examples):.0f} s; wanted at most 900 s on two cores",
            flush=True,
        )


def _compare(sizes: tuple[int, ...], activation: str) -> None:
    part, examples = made(sizes, activation)
    ours, found = _timed(lambda: count_by_halves(part, examples))
    other, (census, _) = _timed(lambda: take_census(part, examples, 4, 0))
    assert np.array_equal(found.counts, census.counts[:, :, 4])
    assert np.array_equal(found.edge_counts, census.edge_counts)
    print(
        f"halves, {_named(sizes, activation, found.n_valid)}, as a census says; ours {ours.wall:.2f} s, the census "
        f"{other.wall:.2f} s, ratio of CPU seconds {other.cpu / ours.cpu:.3g}; wanted above 1",
        flush=True,
    )


def _timed(work: Callable[[], Any]) -> tuple[Took, Any]:
    """The seconds of one call, and what it returns."""
    results: list[Any] = []
    seconds = took(lambda: results.append(work()))
    return seconds, results[0]


def _named(sizes: tuple[int, ...], activation: str, n_valid: int) -> str:
    every = CircuitSpace(sizes).count()
    return f"{'-'.join(map(str, sizes))}, {activation}: {n_valid:,} of {every:,} circuits are valid"
