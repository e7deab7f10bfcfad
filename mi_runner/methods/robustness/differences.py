"""The largest difference of two networks' outputs in a box, by splitting it, compiled.

Letters: N the widest layer, n_0 inputs, n_L outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mi_runner.machine.compiled import compiled
from mi_runner.methods.robustness.answers import run
from mi_runner.methods.robustness.boxes import DEEPEST, halve, take
from mi_runner.methods.robustness.lines import bound_outputs, copy, fill_lines


@compiled()
def _difference_at(nets: Any, output: int, point: Any, rows: Any) -> float:
    """Returns how much larger the first network's output is than the second's at a point."""
    run(nets[0], point, rows[4], rows[5])
    one = rows[4, output]
    run(nets[1], point, rows[4], rows[5])
    return one - rows[4, output]


@compiled()
def largest_difference(nets: Any, output: int, box: Any, slack: float, gap: float, most: int, work: Any) -> Any:
    """Returns by how much the first network's output exceeds the second's in a box: reached, bound, and the point.

    Args:
        nets: two networks, whose last activation is none; see `networks.Arrays`.
        output: which one.
        box: low and high, `(n_0,)` each.
        slack: a bound on rounding errors of ranges.
        gap: boxes whose bound exceeds what is reached by no more are not cut.
        most: boxes that are looked at.
        work: see `boxes.scratch`.
    """
    lines, rows, waiting, points, _ = work
    n = nets[0][2][0]
    bounds = np.full(DEEPEST, np.inf)
    wanted = np.zeros(rows.shape[1])
    wanted[output] = 1.0
    copy(box[0], waiting[0, 0], n)
    copy(box[1], waiting[1, 0], n)
    best = np.empty(n)
    for i in range(n):
        best[i] = 0.5 * (box[0][i] + box[1][i])
    reached = _difference_at(nets, output, best, rows)
    top, n_boxes, left = 1, 0, -np.inf
    while top:
        if n_boxes >= most or top + 1 >= DEEPEST:
            break
        top, n_boxes = top - 1, n_boxes + 1
        if bounds[top] <= reached + gap:
            continue
        take(waiting, top, n, points)
        fill_lines(nets[0], points[0], points[1], slack, lines[0], rows)
        fill_lines(nets[1], points[0], points[1], slack, lines[1], rows)
        above, below = rows[3], rows[7]
        bound = bound_outputs(nets[0], wanted, True, lines[0], above, rows[5]) + slack
        bound -= bound_outputs(nets[1], wanted, False, lines[1], below, rows[5])
        for i in range(n):
            above[i] -= below[i]
            is_rising = above[i] > 0
            points[3, i] = points[1, i] if is_rising else points[0, i]
            bound += above[i] * points[3, i]
        for tried in (points[3], points[2]):
            here = _difference_at(nets, output, tried, rows)
            if here > reached:
                reached = here
                copy(tried, best, n)
        bound = min(bound, bounds[top])
        if bound <= reached + gap:
            continue
        grown = halve(nets, 2, work, top)
        if grown == top:
            left = max(left, bound)
            continue
        bounds[top], bounds[top + 1] = bound, bound
        top = grown
    for at in range(top):
        left = max(left, bounds[at])
    return reached, max(left, reached + gap), best
