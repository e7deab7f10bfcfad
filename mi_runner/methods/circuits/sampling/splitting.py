"""Multilevel splitting: how many circuits are valid where hardly any drawn one is? (Kahn and Harris 1951)

A population of circuits is drawn uniformly, exactly. Of these the ones that reach a level of right answers are kept,
copied until the population is full again, and each is moved many times among the circuits that reach the level, by
moves that keep the uniform law; see `kernels.walks`. The level is raised until it is that of valid circuits. The
product of the shares that reached the levels is an estimate of the share of valid circuits without bias, whatever the
moves are, as long as the levels don't depend on the population (Del Moral 2004). So a pilot population, which counts
for nothing else, sets the levels so that about a third reaches each. Independent populations then give as many
estimates; their mean is the estimate, and their spread gives the interval.

The same goes for a law that prefers circuits with many edges, from which steps lead to the uniform law among valid
circuits: where the full circuit is valid, circuits near to it are valid, too, and few steps are needed. Each step then
also multiplies by the mean ratio of the laws' weights.

Letters: N circuits of a population, R populations, T steps, E edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.kernels.sampling import BLOCK
from mi_runner.methods.circuits.kernels.walks import EXCHANGE, FEW_EDGES, INTO_NEURON, OF_NEURON, ONE_EDGE, walk
from mi_runner.methods.circuits.sampling.drawing import CircuitDraws
from mi_runner.methods.circuits.sampling.measured import Answers

REACHING = 1 / 3
"""The share of the pilot population that reaches the next level."""

MOVES = (ONE_EDGE, ONE_EDGE, ONE_EDGE, FEW_EDGES, FEW_EDGES, EXCHANGE, EXCHANGE, INTO_NEURON, OF_NEURON, OF_NEURON)
"""Of these one is drawn for each move."""

MOST_STEPS = 1000
"""More steps than these are not tried."""


@dataclass(frozen=True, eq=False)
class Step:
    """A law of circuits: those that reach a level, weighted by their numbers of edges.

    Attributes:
        level: the least score; see `kernels.walks`.
        slope: the weight of a circuit is e to the power of this times its edges.
    """

    level: float
    slope: float = 0.0


@dataclass(frozen=True, eq=False)
class Population:
    """Circuits, about distributed by a law.

    Attributes:
        circuits: `(N, E)` bool.
        scores: `(N,)` float64.
        log_share: the logarithm of the estimated share of all circuits; −infinity if the population died out.
        n_moves: moves that were tried.
    """

    circuits: np.ndarray
    scores: np.ndarray
    log_share: float
    n_moves: int


class Splitting:
    """Populations of circuits of a part."""

    def __init__(self, draws: CircuitDraws, answers: Answers, least_right: int, random: np.random.Generator) -> None:
        """
        Args:
            draws: of the circuits.
            answers: what they are evaluated on.
            least_right: the fewest right answers of a valid circuit.
            random: of all that is drawn.
        """
        self._draws, self._answers, self._random = draws, answers, random
        self._least = float(least_right)
        sizes = draws.strata.chain.sizes
        layers, sources, targets = Edges(sizes).names
        firsts = np.concatenate([[0], np.cumsum(sizes)])
        places = (sources + firsts[layers], targets + firsts[layers + 1])
        x, _, goals = answers.arrays
        groups, _, _, occurrences = goals
        after = np.repeat(occurrences, np.diff(groups)).astype(np.float64)
        starts = np.arange(BLOCK, x.shape[1] + BLOCK, BLOCK)
        weights_after = np.array([after[start:].sum() for start in starts.tolist()])
        self._arrays: tuple[Any, ...] = (*answers.arrays, weights_after, places, np.array(MOVES, dtype=np.int64))

    def _moved(self, circuits: np.ndarray, step: Step, n_moves: int) -> tuple[np.ndarray, int]:
        """Moves the circuits, which change; returns their scores and how many moves were accepted."""
        scores, accepted = np.empty(len(circuits)), np.zeros(len(circuits), dtype=np.int64)
        words = self._random.integers(0, 2**64, len(circuits), dtype=np.uint64)
        log_weights = step.slope * np.arange(circuits.shape[1] + 1)
        is_all = self._draws.strata.chain.inputs == "all"
        walk(circuits, scores, *self._arrays, log_weights, step.level, n_moves, is_all, words, accepted)
        return scores, int(accepted.sum())

    def _drawn(self, n: int) -> np.ndarray:
        """Returns n uniform circuits of all, `(N, E)`."""
        return self._draws.draw_any(n, self._random)

    def pilot(self, n: int, n_moves: int) -> tuple[list[Step], bool]:
        """Returns the steps, and whether the last one's level is that of valid circuits.

        Args:
            n: circuits of the pilot population.
            n_moves: moves of each circuit at each level.
        """
        circuits = self._drawn(n)
        step = Step(-1.0)
        steps: list[Step] = []
        scores, _ = self._moved(circuits, step, n_moves)
        while len(steps) < MOST_STEPS:
            level = next_level(scores, step.level, self._least)
            if level is None:
                return steps, False
            step = Step(level)
            steps.append(step)
            reach = np.flatnonzero(scores >= level)
            circuits = np.ascontiguousarray(circuits[copies(len(reach), reach, n, self._random)])
            scores, _ = self._moved(circuits, step, n_moves)
            if level >= self._least:
                return steps, True
        return steps, False

    def population(self, steps: Sequence[Step], n: int, n_moves: int) -> Population:
        """Returns a population of n circuits after these steps."""
        circuits = self._drawn(n)
        scores, _ = self._moved(circuits, Step(-1.0), 0)
        log_share, tried = 0.0, n
        for step in steps:
            reach = np.flatnonzero(scores >= step.level)
            if not len(reach):
                return Population(circuits[:0], scores[:0], -math.inf, tried)
            log_share += math.log(len(reach) / n)
            circuits = np.ascontiguousarray(circuits[copies(len(reach), reach, n, self._random)])
            scores, _ = self._moved(circuits, step, n_moves)
            tried += n * n_moves
        return Population(circuits, scores, log_share, tried)


def next_level(scores: np.ndarray, level: float, least: float) -> float | None:
    """Returns the level that about `REACHING` of the scores reach, at most `least`; None if none is above `level`."""
    ordered = np.sort(scores)[::-1]
    wanted = float(ordered[max(0, math.ceil(len(ordered) * REACHING) - 1)])
    if wanted <= level:
        above = ordered[ordered > level]
        if not len(above):
            return None
        wanted = float(above[-1])
    return min(wanted, least)


def copies(n_reaching: int, reach: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    """Returns n of the survivors, each equally often, up to one copy that chance decides."""
    times, left = divmod(n, n_reaching)
    more = random.permutation(n_reaching)[:left]
    return reach[np.concatenate([np.tile(np.arange(n_reaching), times), more])]
