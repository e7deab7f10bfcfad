"""What concerns the network alone: in which boxes it keeps its answer, and points on both sides of where it doesn't.

Letters: R sizes of boxes, D examples, n_0 inputs, M tried places of a box, P points, L Linear layers, N the widest.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from mi_runner.machine.compiled import compiled
from mi_runner.methods.robustness.answers import answer_of, is_clear, run
from mi_runner.methods.robustness.boxes import PROVED, REFUTED, decide_constant, scratch
from mi_runner.methods.robustness.decide import CHANGES, CONSTANT
from mi_runner.methods.robustness.lines import copy
from mi_runner.methods.robustness.networks import Compared
from mi_runner.methods.robustness.regions import Regions

MOST_CORNERS = 64
"""Corners of a box that are tried; of more a sample."""

INSIDE = 32
"""Places inside a box that are tried."""

CROSSINGS = 12
"""Pairs of points, one on each side of a change of the answer, that are kept for a box."""

NEAR = 1e-7
"""How close two such points lie, as a share of the way between the points that they were found from."""

STEPS_BACK = (0.0, 1e-6, 1e-5, 1e-4, 1e-3)
"""How far a point is moved away from the change, as a share of that way, until it is clear on which side it lies."""

MOST_BOXES = 20_000
"""Boxes that are looked at until it is undecided whether the network keeps its answer in one."""


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of the network's answer in boxes.

    Attributes:
        status: `(R, D)` int64: `CONSTANT`, `CHANGES`, or 0 where it is undecided.
        answers: `(R, D)` int64, the answer at the example.
        points: `(P, n_0)`, of all boxes in which the answer isn't known to be constant.
        first: `(R · D + 1,)` int64, where the points of each box begin.
    """

    status: np.ndarray
    answers: np.ndarray
    points: np.ndarray
    first: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """As kernels take it."""
        return self.status, self.answers, self.points, self.first


def known_answers(network: Compared, regions: Regions) -> Known:
    """Returns in which boxes the network keeps its answer, and points where it doesn't."""
    centers, lows, highs = regions.centers, regions.lows, regions.highs
    n_sizes, n_examples, n_inputs = lows.shape
    status, answers = (np.zeros((n_sizes, n_examples), dtype=np.int64) for _ in range(2))
    found = np.empty((n_sizes, n_examples, n_inputs))
    limits = (network.slack, network.tolerance, MOST_BOXES)
    _keep_answer(network.task, network.full, centers, (lows, highs), limits, status, answers, found)
    places = _places(n_inputs)
    points = np.empty((n_sizes, n_examples, 2 * CROSSINGS, n_inputs))
    n_points = np.zeros((n_sizes, n_examples), dtype=np.int64)
    _cross(network.task, network.full, centers, (lows, highs), (status, found), places, points, n_points)
    first = np.concatenate([[0], np.cumsum(n_points.reshape(-1))]).astype(np.int64)
    kept = np.arange(2 * CROSSINGS) < n_points.reshape(-1, 1)
    return Known(status, answers, np.ascontiguousarray(points.reshape(-1, 2 * CROSSINGS, n_inputs)[kept]), first)


def _places(n_inputs: int) -> np.ndarray:
    """Returns places in a box `(M, n_0)`, each a share of its width from its low end: corners, and others inside."""
    draw = np.random.default_rng(0)  # the places are part of the method, whatever the seed of a run
    if 2**n_inputs <= MOST_CORNERS:
        corners = np.array(list(itertools.product((0.0, 1.0), repeat=n_inputs)))
    else:
        corners = draw.integers(0, 2, (MOST_CORNERS, n_inputs)).astype(float)
    return np.concatenate([corners, draw.random((INSIDE, n_inputs))])


@compiled()
def _keep_answer(
    task: Any, full: Any, centers: Any, boxes: Any, limits: Any, status: Any, answers: Any, found: Any
) -> None:
    """Fills what is known of the network in each box, and a point with another answer `(R, D, n_0)` where there is one.

    Args:
        limits: slack, tolerance, and most boxes that are looked at.
    """
    lows, highs = boxes
    n_sizes, n_examples = status.shape
    sizes = full[2]
    n_layers, n_widest, n_inputs = sizes.shape[0] - 1, full[0].shape[1], sizes[0]
    for d in range(n_examples):
        values, work = np.empty((2, n_widest)), scratch(n_layers, n_widest, n_inputs)
        run(full, centers[d], values[0], values[1])
        answer = answer_of(task, values[0], sizes[n_layers])
        is_constant = False
        for e in range(n_sizes):
            answers[e, d] = answer
            if not is_constant:
                box = (lows[e, d], highs[e, d])
                what = decide_constant(task, (full, full), True, answer, box, limits, work, found[e, d])
                is_constant = what == PROVED
                status[e, d] = CHANGES if what == REFUTED else 0
            if is_constant:
                status[e, d] = CONSTANT


@compiled()
def _mix(one: Any, other: Any, share: float, point: Any) -> None:
    """Fills `point` with the point between two at a share of the way."""
    for i in range(point.shape[0]):
        point[i] = one[i] + share * (other[i] - one[i])


@compiled()
def _answer_at(task: Any, full: Any, point: Any, values: Any) -> int:
    """Returns the network's answer at a point; −1 where it is too near to another one."""
    n_outputs = full[2][full[2].shape[0] - 1]
    run(full, point, values[0], values[1])
    answer = answer_of(task, values[0], n_outputs)
    return answer if is_clear(task[0], task[1], values[0], n_outputs, answer) else -1


@compiled()
def _between(task: Any, full: Any, one: Any, other: Any, values: Any, pair: Any, middle: Any) -> int:
    """Fills `pair` `(2, n_0)` with points on the way between two, close to each other, whose answers differ.

    Returns how many of the two are further from the change than a witness has to be.
    """
    run(full, one, values[0], values[1])
    n_outputs = full[2][full[2].shape[0] - 1]
    answer = answer_of(task, values[0], n_outputs)
    from_, to = 0.0, 1.0
    while to - from_ > NEAR:
        share = 0.5 * (from_ + to)
        _mix(one, other, share, middle)
        run(full, middle, values[0], values[1])
        if answer_of(task, values[0], n_outputs) == answer:
            from_ = share
        else:
            to = share
    n = 0
    for side in range(2):
        for step in STEPS_BACK:
            share = max(0.0, from_ - step) if side == 0 else min(1.0, to + step)
            _mix(one, other, share, pair[n])
            if _answer_at(task, full, pair[n], values) >= 0:
                n += 1
                break
    return n


@compiled()
def _cross(
    task: Any, full: Any, centers: Any, boxes: Any, of_network: Any, places: Any, points: Any, n_points: Any
) -> None:
    """Fills the points of each box whose answer isn't constant, and how many there are.

    Args:
        of_network: status `(R, D)`, and a point with another answer `(R, D, n_0)` where it changes.
        places: `(M, n_0)`, see `_places`.
        points: `(R, D, 2 · CROSSINGS, n_0)`.
        n_points: `(R, D)`.
    """
    status, others = of_network
    n_sizes, n_examples = status.shape
    n_places, n_inputs = places.shape
    for d in range(n_examples):
        values, pair = np.empty((2, full[0].shape[1])), np.empty((2, n_inputs))
        tried, answers = np.empty((n_places + 2, n_inputs)), np.empty(n_places + 2, dtype=np.int64)
        middle = np.empty(n_inputs)
        for e in range(n_sizes):
            if status[e, d] == CONSTANT:
                continue
            low, high = boxes[0][e, d], boxes[1][e, d]
            copy(centers[d], tried[0], n_inputs)
            n = 1
            if status[e, d] == CHANGES:
                copy(others[e, d], tried[1], n_inputs)
                n = 2
            for m in range(n_places):
                for i in range(n_inputs):
                    tried[n + m, i] = low[i] + places[m, i] * (high[i] - low[i])
            for m in range(n + n_places):
                answers[m] = _answer_at(task, full, tried[m], values)
            n_pairs = 0
            for m in range(1, n + n_places):
                # each point with the one before it: pairs lie all over the box, not on rays from its middle alone
                if n_pairs == CROSSINGS:
                    break
                before = 0 if m == 1 else m - 1
                if answers[m] < 0 or answers[before] < 0 or answers[m] == answers[before]:
                    continue
                n_near = _between(task, full, tried[before], tried[m], values, pair, middle)
                for side in range(n_near):
                    for i in range(n_inputs):  # rounding must not lead out of the box
                        points[e, d, n_points[e, d], i] = min(max(pair[side, i], low[i]), high[i])
                    n_points[e, d] += 1
                n_pairs += 1
