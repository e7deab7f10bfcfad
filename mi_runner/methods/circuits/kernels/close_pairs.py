"""Where rounding may decide whether a sum lies in an interval, and what the evaluation of circuits decides there.

The output of a circuit is added up in float32: the bias first, then neuron by neuron. Here a pair is a choice for the
first neurons with the sum p as it is added up so, and a choice for the r others with their own sum q. The pair is
counted where q ≤ high − p, which is computed in float64. That decision and the one of the evaluation can differ only
where |q − (high − p)| is at most

    2⁻²⁴ · (r · |p| + (2r − 1) · T),   T the sum of the absolute terms of the r other neurons,

because each addition is off by at most 2⁻²⁴ of its result: r additions to p, and r − 1 for q. They don't differ at all
where p or T is 0, or where all numbers are multiples of a step whose 2²⁴-fold no sum exceeds. The pairs within that
margin are close. They are decided one by one.

Letters: D examples, M choices of a half; see `halves`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mi_runner.machine.compiled import compiled

ROUNDING = 1.001 * 2.0**-24
"""Largest relative error of an addition in float32, with what products of such errors and the sums T add to it."""

ROUNDING_64 = 2.0**-51
"""The same in float64, generously."""


@compiled()
def margin_of(bound: float, p: float, size: float, n_others: int) -> float:
    """Returns the margin of a bound: the largest |q − (bound − p)| of a close pair; 0 if there is none.

    Args:
        size: T.
        n_others: r.
    """
    if p == 0 or size == 0:
        return 0.0
    return ROUNDING * (n_others * abs(p) + (2 * n_others - 1) * size) + ROUNDING_64 * (abs(bound) + abs(p))


@compiled()
def is_close(bound: float, p: float, q: float, size: float, n_others: int) -> bool:
    """Returns whether a pair is so close to a bound that the two decisions can differ; never to an infinite one."""
    p, q, size = np.float64(p), np.float64(q), np.float64(size)
    margin = margin_of(bound, p, size, n_others)
    return margin > 0 and abs(q - (bound - p)) <= margin < np.inf


@compiled()
def _at_side(
    near: Any, far: Any, terms: Any, bounds: Any, boxes: Any, side: int, most: int, totals: Any, by_kind: Any
) -> int:
    """Does `correct_counts` for the pairs that are close to this side and to none before it.

    Loops are written out, because a call with an array counts its references.
    """
    (of_near, of_far), (sides, exact, _) = totals, bounds
    n_others, largest, bound, e = far.n_neurons, np.float64(far.sizes[side >> 1].max()), sides[side], side >> 1
    p_sums, p_order, p_ordered, p_times, p_kinds = near.sums, near.order, near.ordered, near.times, near.kinds
    q_sums, q_order, q_ordered, q_times, q_kinds = far.sums, far.order, far.ordered, far.times, far.kinds
    sizes, places, chosen, first_other = far.sizes, far.places, far.chosen, far.first
    n_looked, begin = 0, len(q_times)
    for i in range(len(p_times)):
        p, a = np.float64(p_ordered[e, i]), p_order[e, i]
        margin, middle = margin_of(bound, p, largest, n_others), bound - p
        while begin > 0 and np.float64(q_ordered[e, begin - 1]) >= middle - margin:
            begin -= 1  # p rises, so the window falls
        k = begin
        while k < len(q_times) and np.float64(q_ordered[e, k]) <= middle + margin:
            b = q_order[e, k]
            k += 1
            n_looked += 1
            closest = -1  # the first side that the pair is close to
            for other in range(side + 1):
                d = other >> 1
                if not exact[d] and is_close(sides[other], p_sums[d, a], q_sums[d, b], sizes[d, b], n_others):
                    closest = other
                    break
            if closest != side:
                continue
            is_counted = is_inside = True
            for d in range(len(exact)):
                is_counted &= boxes[a, 2 * d + 1] <= places[b, d] and places[b, d] < boxes[a, 2 * d]
                z = p_sums[d, a]
                for j in range(n_others):
                    z = z + terms[first_other + j, chosen[b, j], d]
                is_inside &= sides[2 * d + 1] <= np.float64(z) and np.float64(z) <= sides[2 * d]
            error = np.int64(is_inside) - np.int64(is_counted)
            of_near[a] += error * q_times[b]
            of_far[b] += error * p_times[a]
            by_kind[p_kinds[a] + q_kinds[b]] += error * p_times[a] * q_times[b]
        if n_looked > most:
            break
    return n_looked


@compiled()
def correct_counts(
    near: Any, far: Any, terms: Any, bounds: Any, boxes: Any, most: int, totals: Any, by_kind: Any
) -> int:
    """Makes the counts of close pairs those that the evaluation of circuits gives.

    Args:
        near, far, bounds: as in `halves`; `near` begins with the bias.
        terms: `(J, Q, D)`, those of each neuron's choices.
        boxes: `(M, 2D)`, those of `near`.
        most: the largest number of pairs to look at.
        totals: two arrays `(M,)` int64, the partners of each choice of `near` and of `far`.
        by_kind: `(S,)` int64, the pairs of masks by their kinds.

    Returns:
        How many pairs it looked at. If there are more than `most`, it gives up.
    """
    n_looked = 0
    for side in range(len(bounds.sides)):
        if n_looked <= most and np.isfinite(bounds.sides[side]) and not bounds.exact[side >> 1]:
            n_looked += _at_side(near, far, terms, bounds, boxes, side, most - n_looked, totals, by_kind)
    return n_looked
