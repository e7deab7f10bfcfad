"""Do circuits hold where it is proved, and fail where it is refuted? In closed form, and by plain Python on a grid."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import torch
from torch import Tensor

from mi_runner.experiments.selftest.networks import circuits_of, drawn_part, full_circuit, inputs_of, run_circuit
from mi_runner.experiments.selftest.records import Check, Compared
from mi_runner.graph import Part
from mi_runner.graph.chain import Layer
from mi_runner.methods.robustness.certify import certify, certify_circuits
from mi_runner.methods.robustness.difference import largest_differences

SIZES, EPSILON = (2, 2, 2, 1), 0.7

FIRST = 0b01_0001
"""The circuit of the first input alone."""

STEPS = 30
"""Halvings in which the largest ε is sought."""


def _sum() -> Part:
    """Returns relu(a) + relu(b) / 5."""
    return Part((Layer(torch.eye(2), torch.zeros(2), "relu"), Layer(torch.tensor([[1.0, 0.2]]), torch.zeros(1))))


def largest_epsilon() -> Compared:
    """Compares the largest ε at which a circuit holds around (0, 0): there 1.2 times half of a box's width is ½."""
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    low, high = 0.1, 5.0
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        is_proved = certify(_sum(), FIRST, x, middle, examples=x[:1]).is_certified
        low, high = (middle, high) if is_proved else (low, middle)
    return Compared(0.5 / (1.2 * 0.5), low, 1e-6)


def difference() -> Compared:
    """Compares the largest difference of that circuit over a box in which b reaches 3."""
    x = torch.tensor([[0.0, -1.0], [2.0, 3.0]])
    found = largest_differences(_sum(), np.array([FIRST], dtype=np.uint64), x)
    return Compared(0.6, float(found.low[0, 0] + found.high[0, 0]) / 2, 1e-6)


@cache
def _on_a_grid() -> tuple[Part, Tensor, dict[int, set[int]]]:
    """Returns a chain, its inputs, and circuit → the inputs in whose box a point of a grid parts the two networks."""
    part, x = drawn_part(SIZES, seed=2), inputs_of(2)
    spread = x.double().std(0, correction=0).tolist()
    parted: dict[int, set[int]] = {bits: set() for bits in circuits_of(SIZES, "any")}
    steps = [-1.0, -0.5, 0.0, 0.5, 1.0]
    for place, one in enumerate(x.tolist()):
        for shares in itertools.product(steps, repeat=2):
            point = [a + EPSILON * s * share for a, s, share in zip(one, spread, shares, strict=True)]
            wanted = round(run_circuit(part, full_circuit(part), point, None)[-1][0])
            for bits, places in parted.items():
                if round(run_circuit(part, bits, point, None)[-1][0]) != wanted:
                    places.add(place)
    return part, x, parted


def on_a_grid(status: str) -> Compared:
    """Compares boxes that a grid parts: how many are refuted, or how many are proved anyway."""
    part, x, parted = _on_a_grid()
    circuits = np.array(sorted(parted), dtype=np.uint64)
    found = certify_circuits(part, circuits, x, [EPSILON], lists_all=True)
    assert found.status is not None
    wanted = {"proved": 1, "refuted": 2}[status]
    n = sum(
        int(found.status[row, 0, place] == wanted)
        for row, bits in enumerate(circuits.tolist())
        for place in parted[bits]
    )
    return Compared(0 if status == "proved" else sum(map(len, parted.values())), n)


def n_proved() -> Compared:
    """Compares the boxes that are proved with those that a grid doesn't part."""
    part, x, parted = _on_a_grid()
    found = certify_circuits(part, np.array(sorted(parted), dtype=np.uint64), x, [EPSILON])
    expected = sum(len(x) - len(places) for places in parted.values())
    return Compared(expected, int(found.n_proved.sum()), 0.02 * expected)


REGIONS = (
    Check("largest", "the largest ε at which a circuit is certified, in closed form", largest_epsilon),
    Check("difference", "the largest difference of a circuit's output, in closed form", difference),
    Check(
        "refuted",
        "boxes in which a grid of points parts circuit and network: all are refuted",
        lambda: on_a_grid("refuted"),
    ),
    Check("contradicted", "of these, boxes that are proved anyway: none", lambda: on_a_grid("proved")),
    Check("proved", "boxes that no point of the grid parts: all but 2 % are proved", n_proved),
)
