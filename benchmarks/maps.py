"""A step of a reversible network's training: by the compiled kernels, and by torch's own operations.

The published setting: 16 units, ten blocks of 16 hidden units, 6,400 pairs, each of which swaps one of two variables or
both.
"""

from __future__ import annotations

from unittest import mock

import torch
from torch import nn

from benchmarks.timing import compare
from mi_runner.methods.alignment import Mapped
from mi_runner.methods.maps import bijections, coupling

UNITS, PAIRS, STEPS = 16, 6_400, 5


def run() -> None:
    """Compare steps with one map."""
    draw = torch.Generator().manual_seed(0)
    revnet = bijections.RevNet(UNITS, generator=draw)
    places = Mapped((UNITS,), revnet, [UNITS // 2] * 2)
    base, left, right = torch.relu(torch.randn(3, PAIRS, UNITS, generator=draw))
    third = PAIRS // 3
    left[:third], right[third : 2 * third] = base[:third], base[third : 2 * third]
    behind = nn.Sequential(nn.Linear(UNITS, UNITS), nn.ReLU(), nn.Linear(UNITS, 2)).requires_grad_(False)
    labels = torch.randint(2, (PAIRS,), generator=draw)
    optimizer = torch.optim.Adam(revnet.parameters())

    def steps() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            nn.functional.cross_entropy(behind(places(base, [left, right])), labels).backward()
            optimizer.step()

    def by_torch() -> None:
        with mock.patch.object(bijections, "coupled", coupling.by_torch):
            steps()

    compare(f"maps: {STEPS} steps of a revnet, torch's operations", steps, by_torch, wanted="above 1.3")
