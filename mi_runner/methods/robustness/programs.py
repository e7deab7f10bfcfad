"""What splitting boxes leaves undecided, by linear programs: cases are the signs of neurons, for piecewise linear ones.

Variables are the inputs in their box, the value of each hidden neuron whose sign isn't settled, and t, which is made as
large as possible below all goals. An unsettled neuron lies in the triangle between its two pieces and its chord. The
answer of a program bounds t from above; at its solution the networks are run, which bounds it from below. While a
neuron lies off its pieces there, both of its signs are tried.

A bound is not the solver's: it is computed from the solver's multipliers, and holds for whatever multipliers (weak
duality; Neumaier and Shcherbina 2004), up to the rounding of one sum. That a case is empty is taken from the solver.

Letters: n_0 inputs, n_L outputs, N the widest layer, V variables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from mi_runner.machine.compiled import clock
from mi_runner.methods.circuits.kernels.activations import IDENTITY, LEAKY_RELU
from mi_runner.methods.robustness.answers import run
from mi_runner.methods.robustness.lines import backwards, highest, lines_of, lowest, value
from mi_runner.methods.robustness.networks import Arrays

WIDE = 1.0
"""By how much the ranges of variables exceed what they can take, so that a program never stands at such a bound."""


Neuron = tuple[int, int, int]
"""Which network, which of its hidden layers, and which neuron of that."""


@dataclass(frozen=True, eq=False)
class Goal:
    """A sum of outputs of networks, and a number: all goals are to be large at one point.

    Attributes:
        weights: of each network's outputs before the last activation, `(n_L,)` each.
        start: what is added.
    """

    weights: tuple[np.ndarray, ...]
    start: float


@dataclass(frozen=True, eq=False)
class Largest:
    """The largest value, over a box, of the smallest of some goals.

    Attributes:
        low: a value that is reached at the point.
        high: a bound from above.
        point: `(n_0,)`; None: no point was tried.
    """

    low: float
    high: float
    point: np.ndarray | None


def is_piecewise(net: Arrays) -> bool:
    """Returns whether every hidden activation is piecewise linear."""
    return bool((net[3][:-1] <= LEAKY_RELU).all())


def ranges_of(net: Arrays, low: np.ndarray, high: np.ndarray, slack: float) -> np.ndarray:
    """Returns the range of each sum in a box, `(L, N, 2)`; of neurons that aren't read it is 0, 0."""
    weights, biases, sizes, kinds, slopes, used = net
    lines, ranges = np.zeros((*biases.shape, 4)), np.zeros((*biases.shape, 2))
    row, work = (np.empty(biases.shape[1]) for _ in range(2))
    for k in range(1, len(sizes)):
        for j in range(sizes[k]):
            if k < len(sizes) - 1 and not used[k - 1, j]:
                continue
            for side, far in ((0, lowest), (1, highest)):
                row[:] = weights[k - 1, j]
                start = backwards(net, k - 1, row, biases[k - 1, j], side == 1, lines, work)
                ranges[k - 1, j, side] = far(row, start, low, high, sizes[0]) + (slack if side else -slack)
            lines[k - 1, j] = lines_of(kinds[k - 1], slopes[k - 1], *ranges[k - 1, j])
    return ranges


class _Program:
    """A program of one case: some signs are settled.

    Affine expressions of the variables are vectors `(V + 1,)`, the constant last; t is the variable before it.
    """

    def __init__(self, n_variables: int, low: np.ndarray, high: np.ndarray, furthest: float) -> None:
        self.n = n_variables
        self.rows: list[np.ndarray] = []  # expressions that are at most 0
        self.bounds = [*zip(low.tolist(), high.tolist(), strict=True)]
        self.furthest = furthest

    def variable(self, at: int) -> np.ndarray:
        """Returns the expression of a variable."""
        expression = np.zeros(self.n + 1)
        expression[at] = 1.0
        return expression

    def at_most(self, expression: np.ndarray) -> None:
        """Adds the demand that an expression is at most 0, scaled to a largest number of 1."""
        self.rows.append(expression / max(np.abs(expression[:-1]).max(), 1e-300))

    def solve(self) -> tuple[float, np.ndarray] | None:
        """Returns a bound on t from above that holds whatever the solver did, and the solution; None: no point fits."""
        self.bounds.append((-self.furthest, self.furthest))
        table = np.array(self.rows)
        matrix, right = table[:, :-1], -table[:, -1]
        costs = np.zeros(self.n)
        costs[-1] = -1.0
        found = linprog(costs, A_ub=matrix, b_ub=right, bounds=self.bounds, method="highs")
        if found.status == 2:
            return None
        if found.status != 0:
            return self.furthest, np.array([0.5 * (a + b) for a, b in self.bounds])
        multipliers = np.maximum(-found.ineqlin.marginals, 0.0)
        reduced = costs + multipliers @ matrix
        ends = np.array(self.bounds)
        least = np.minimum(reduced * ends[:, 0], reduced * ends[:, 1]).sum() - multipliers @ right
        return -float(least), found.x


def _case(
    nets: Sequence[Arrays],
    ranges: Sequence[np.ndarray],
    goals: Sequence[Goal],
    box: tuple[np.ndarray, np.ndarray],
    signs: dict[Neuron, bool],
    furthest: float,
) -> tuple[_Program, dict[Neuron, tuple[int, np.ndarray]]]:
    """Returns the program of a case, and the variable and the sum of each neuron that isn't settled."""
    unsettled = [
        (which, k, j)
        for which, (net, of) in enumerate(zip(nets, ranges, strict=True))
        for k in range(len(net[2]) - 2)
        for j in range(net[2][k + 1])
        if net[5][k, j] and net[3][k] != IDENTITY and of[k, j, 0] < 0 < of[k, j, 1] and (which, k, j) not in signs
    ]
    n_inputs = len(box[0])
    program = _Program(n_inputs + len(unsettled) + 1, *box, furthest)
    places = {neuron: n_inputs + at for at, neuron in enumerate(unsettled)}
    sums: dict[Neuron, tuple[int, np.ndarray]] = {}
    outputs = []
    for which, (net, of) in enumerate(zip(nets, ranges, strict=True)):
        values = [program.variable(i) for i in range(n_inputs)]
        for k in range(len(net[2]) - 2):
            totals = _sums(net, k, values, program.n)
            neurons = [(which, k, j) for j in range(len(totals))]
            pairs = list(zip(neurons, totals, strict=True))
            sums |= {neuron: (places[neuron], total) for neuron, total in pairs if neuron in places}
            values = [_activated(program, net, of, neuron, total, places, signs) for neuron, total in pairs]
        outputs.append(_sums(net, len(net[2]) - 2, values, program.n))
    for goal in goals:
        expression = program.variable(program.n - 1)
        for weight, totals in zip(goal.weights, outputs, strict=True):
            for w, total in zip(weight, totals, strict=True):
                expression -= w * total
        expression[-1] -= goal.start
        program.at_most(expression)
    return program, sums


def _sums(net: Arrays, layer: int, values: Sequence[np.ndarray], n_variables: int) -> list[np.ndarray]:
    """Returns the expressions of a layer's sums, of those of the values that enter it."""
    weights, biases, sizes = net[0], net[1], net[2]
    totals = []
    for j in range(sizes[layer + 1]):
        total = np.zeros(n_variables + 1)
        total[-1] = biases[layer, j]
        for i in np.flatnonzero(weights[layer, j, : sizes[layer]]).tolist():
            total += weights[layer, j, i] * values[i]
        totals.append(total)
    return totals


def _activated(
    program: _Program,
    net: Arrays,
    ranges: np.ndarray,
    neuron: Neuron,
    total: np.ndarray,
    places: dict[Neuron, int],
    signs: dict[Neuron, bool],
) -> np.ndarray:
    """Returns the expression of a neuron's value, and adds to the program what holds of it."""
    _, k, j = neuron
    slope, (low, high) = net[4][k], ranges[k, j]
    if not net[5][k, j]:  # nobody reads it
        return np.zeros_like(total)
    if net[3][k] == IDENTITY:
        return total
    if neuron not in places:
        is_above = signs.get(neuron, low >= 0)
        if neuron in signs:
            program.at_most(-total if is_above else total)
        return total if is_above else slope * total
    own = program.variable(places[neuron])
    ends = sorted((high, slope * low, 0.0))
    program.bounds.append((ends[0] - WIDE, ends[-1] + WIDE))
    steep = (high - slope * low) / (high - low)
    chord = steep * total
    chord[-1] += high - steep * high
    side = 1.0 if slope <= 1 else -1.0  # a convex function lies above its pieces and below its chord
    for bound, sign in ((total, side), (slope * total, side), (chord, -side)):
        program.at_most(sign * (bound - own))
    return own


def value_at(nets: Sequence[Arrays], goals: Sequence[Goal], point: np.ndarray) -> float:
    """Returns the smallest goal at a point `(n_0,)`."""
    outputs = []
    for net in nets:
        values, work = (np.empty(net[0].shape[1]) for _ in range(2))
        run(net, point, values, work)
        outputs.append(values[: net[2][-1]].copy())
    return min(goal.start + sum(float(w @ out) for w, out in zip(goal.weights, outputs, strict=True)) for goal in goals)


def largest(
    nets: Sequence[Arrays],
    goals: Sequence[Goal],
    box: tuple[np.ndarray, np.ndarray],
    *,
    slack: float,
    gap: float,
    enough: float = -np.inf,
    until: float = np.inf,
    seconds: float = np.inf,
) -> Largest:
    """Returns the largest value over a box of the smallest goal, as an interval.

    Args:
        nets: networks of piecewise linear activations.
        box: low and high, `(n_0,)` each.
        slack: a bound on rounding errors of ranges.
        gap: stop when the interval is no wider.
        enough: cases that stay below this needn't be split: it is enough to know that.
        until: stop when more than this is reached.
        seconds: stop after so long.
    """
    began = clock()
    low, high = box
    ranges = [ranges_of(net, low, high, slack) for net in nets]
    furthest = WIDE + sum(_reach(nets, goal, low, high) for goal in goals)
    middle = 0.5 * (low + high)
    reached, at = value_at(nets, goals, middle), middle
    waiting: list[tuple[float, dict[Neuron, bool]]] = [(furthest, {})]
    done = -np.inf
    while waiting:
        bound, signs = waiting.pop(max(range(len(waiting)), key=lambda i: waiting[i][0]))
        if bound <= max(reached + gap, enough) or reached > until or clock() - began > seconds:
            return Largest(reached, max(bound, done, reached), at)
        program, sums = _case(nets, ranges, goals, box, signs, furthest)
        solved = program.solve()
        if solved is None:
            continue
        bound = min(bound, solved[0] + slack)
        point = np.clip(solved[1][: len(low)], low, high)
        if (here := value_at(nets, goals, point)) > reached:
            reached, at = here, point
        solution = np.zeros(program.n + 1)
        solution[: len(solved[1]) - 1], solution[-1] = solved[1][:-1], 1.0
        off = {}
        for neuron, (place, one) in sums.items():
            net = nets[neuron[0]]
            own = value(net[3][neuron[1]], net[4][neuron[1]], float(one @ solution))
            off[neuron] = abs(solution[place] - own)
        if bound <= max(reached + gap, enough) or not off:
            done = max(done, bound)
            continue
        split = max(off, key=off.__getitem__)
        waiting += [(bound, {**signs, split: sign}) for sign in (True, False)]
    return Largest(reached, max(done, reached), at)


def _reach(nets: Sequence[Arrays], goal: Goal, low: np.ndarray, high: np.ndarray) -> float:
    """Returns a bound on how far a goal can be from 0 in a box."""
    reach = abs(goal.start)
    for net, weight in zip(nets, goal.weights, strict=True):
        weights, biases, sizes, _, slopes, _ = net
        into = np.maximum(abs(low), abs(high))
        for k in range(len(sizes) - 1):
            total = abs(weights[k, : sizes[k + 1], : sizes[k]]) @ into[: sizes[k]] + abs(biases[k, : sizes[k + 1]])
            into = total * max(1.0, abs(slopes[k]))
        reach += float(abs(weight) @ into[: len(weight)])
    return reach
