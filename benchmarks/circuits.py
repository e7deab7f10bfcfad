"""Every circuit of a small network: the kernel against a loop that runs the masked network once a circuit.

The network is made, not trained: random weights on 2,115 random examples, so that nothing has to be decided but speed.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch

from benchmarks.timing import seconds
from mi_runner.circuits.evaluation import Examples, measure, measure_one, take_census
from mi_runner.circuits.part import Layer, Part
from mi_runner.circuits.space import CircuitSpace

N_EXAMPLES = 2115
LOOPED = 2000
"""Circuits that the loop does; it would do the others at the same speed."""


def made(sizes: tuple[int, ...]) -> tuple[Part, Examples]:
    """A part with leaky_relu after every layer, and examples in two bunches, as a trained network sees two digits."""
    draw = torch.Generator().manual_seed(0)
    part = Part(
        tuple(
            Layer(torch.randn(n_out, n_in, generator=draw), torch.randn(n_out, generator=draw), "leaky_relu", 0.01)
            for n_in, n_out in itertools.pairwise(sizes)
        )
    )
    target = torch.randint(0, 2, (N_EXAMPLES,), generator=draw).float()
    x = 2 * target[:, None] + 0.2 * torch.randn(N_EXAMPLES, sizes[0], generator=draw)
    return part, Examples(x, target, part(x).squeeze(1))


@torch.no_grad()
def run() -> None:
    """Print circuits a second."""
    part, examples = made((3, 3, 3, 1))
    space = CircuitSpace(part.sizes)

    def table() -> None:
        for _ in measure(part, examples):
            pass

    table()  # compiles
    circuits = np.concatenate([found.circuit for found in measure(part, examples)])
    some = np.random.default_rng(0).choice(circuits, LOOPED, replace=False).tolist()
    ratios = []
    for _ in range(5):
        ours = seconds(table) / space.count()
        loop = seconds(lambda: [measure_one(part, examples, circuit) for circuit in some]) / LOOPED
        ratios.append(loop / ours)
    print(
        f"circuits, table of 3-3-3-1: {1 / ours:,.0f} circuits/s, the loop {1 / loop:,.0f}, "
        f"ratio {sorted(ratios)[2]:,.0f} ({min(ratios):,.0f} to {max(ratios):,.0f}); wanted at least 300",
        flush=True,
    )
    take_census(*made((2, 2, 2, 1)), least_right=2094, most_listed=0)  # compiles
    part, examples = made((3, 4, 4, 1))
    count = CircuitSpace(part.sizes).count()
    took = seconds(lambda: take_census(part, examples, least_right=2094, most_listed=0))
    print(
        f"circuits, census of 3-4-4-1: {count:,} circuits in {took:.1f} s, {count / took:,.0f} circuits/s; "
        f"ratio to the loop {loop * count / took:,.0f}",
        flush=True,
    )
