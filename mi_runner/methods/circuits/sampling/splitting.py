"""Multilevel splitting: how many circuits are valid where hardly any drawn one is? (Kahn and Harris 1951)

A population of circuits is drawn uniformly, exactly. Of these the ones that reach a level of right answers are kept,
copied until the population is full again, and each is moved many times among the circuits that reach the level, by
moves that keep the uniform law; see `kernels.walks`. The level is raised until it is that of valid circuits. The
product of the shares that reached the levels is an estimate of the share of valid circuits without bias, whatever the
moves are, as long as the levels don't depend on the population (Del Moral 2004). So a pilot population, which counts
for nothing else, sets the levels so that about a third reaches each. Independent populations then give as many
estimates; their mean is the estimate, and their spread gives the interval.

Letters: N circuits of a population, R populations, E edges.
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
from mi_runner.progress import Advance

REACHING = 1 / 3
"""The share of the pilot population that reaches the next level."""

MOVES = (ONE_EDGE, ONE_EDGE, ONE_EDGE, FEW_EDGES, FEW_EDGES, EXCHANGE, EXCHANGE, INTO_NEURON, OF_NEURON, OF_NEURON)
"""Of these one is drawn for each move."""

MOST_STUCK = 5
"""So often the pilot population moves on, each time twice as far, where none of its circuits is above the level."""

EDGES_AT_ONCE = 50_000_000
"""Edges of the populations that move together, a byte each."""


@dataclass(frozen=True, eq=False)
class Populations:
    """Independent populations after the last level.

    Attributes:
        log_shares: `(R,)`, the logarithm of each one's estimate of the share of valid circuits; −infinity if it died
            out.
        circuits: of each a `(N, E)` bool array of valid circuits, about uniform among them; `(0, E)` if it died out.
        n_levels: how many levels there were.
        log_variance: the variance that the logarithm of an estimate has where moves forget where they began.
        n_measured: circuits that were measured: drawn ones, and those that moves led to or were refused.
    """

    log_shares: np.ndarray
    circuits: list[np.ndarray]
    n_levels: int
    log_variance: float
    n_measured: int


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

    def _moved(self, circuits: np.ndarray, level: float, n_moves: int) -> np.ndarray:
        """Moves the circuits `(N, E)`, which change; returns their scores `(N,)`."""
        scores = np.empty(len(circuits))
        words = self._random.integers(0, 2**64, len(circuits), dtype=np.uint64)
        walk(circuits, scores, *self._arrays, level, n_moves, self._draws.strata.chain.inputs == "all", words)
        return scores

    def _drawn(self, n: int) -> np.ndarray:
        """Returns n uniform circuits of all, `(N, E)`."""
        return self._draws.draw_any(n, self._random)

    def pilot(self, n: int, n_moves: int) -> list[float] | None:
        """Returns the levels, the last one that of valid circuits; None if the pilot population never reached it.

        Args:
            n: circuits of the pilot population.
            n_moves: moves of each circuit at each level.
        """
        circuits = self._drawn(n)
        scores = self._moved(circuits, 0.0, 0)
        levels: list[float] = []
        n_stuck = 0
        while not levels or levels[-1] < self._least:
            level = next_level(scores, levels[-1] if levels else -1.0, self._least)
            if level is None:
                n_stuck += 1
                if n_stuck > MOST_STUCK:
                    return None
                scores = self._moved(circuits, levels[-1], n_moves * 2**n_stuck)
                continue
            levels.append(level)
            circuits = circuits[copies(np.flatnonzero(scores >= level), n, self._random)]
            scores = self._moved(circuits, level, n_moves)
        return levels

    def populations(
        self, levels: Sequence[float], n_populations: int, n: int, n_moves: int, advance: Advance
    ) -> Populations:
        """Returns independent populations of n circuits each, after these levels.

        Args:
            levels: in ascending order, the last one that of valid circuits.
            n_moves: moves of each circuit at each level.
            advance: is called with the share of the work, in thousandths.
        """
        n_edges = self._draws.strata.chain.edges.n
        at_once = max(1, EDGES_AT_ONCE // (n * n_edges))
        log_shares: list[float] = []
        survivors: list[np.ndarray] = []
        reached = np.zeros(len(levels))
        for start in range(0, n_populations, at_once):
            number = min(at_once, n_populations - start)
            shares, circuits, of_levels = self._together(levels, number, n, n_moves)
            log_shares += shares
            survivors += circuits
            reached += of_levels
            advance(number)
        shares_reached = np.maximum(reached, 1) / (n * n_populations)
        return Populations(
            np.array(log_shares),
            survivors,
            len(levels),
            float(((1 - shares_reached) / (shares_reached * n)).sum()),
            n_populations * n * (1 + n_moves * len(levels)),
        )

    def _together(
        self, levels: Sequence[float], number: int, n: int, n_moves: int
    ) -> tuple[list[float], list[np.ndarray], np.ndarray]:
        """Returns the logarithms of the shares, the circuits, and how many circuits of all reached each level."""
        circuits = self._drawn(number * n)
        scores = self._moved(circuits, 0.0, 0)
        alive, log_shares = np.arange(number), np.zeros(number)
        reached = np.zeros(len(levels))
        for place, level in enumerate(levels):
            reaching = (scores >= level).reshape(len(alive), n)
            counts = reaching.sum(1)
            reached[place] = counts.sum()
            log_shares[alive[counts == 0]] = -math.inf
            kept = [row * n + copies(np.flatnonzero(reaching[row]), n, self._random) for row in np.flatnonzero(counts)]
            alive, counts = alive[counts > 0], counts[counts > 0]
            log_shares[alive] += np.log(counts / n)
            circuits = circuits[np.concatenate([np.empty(0, dtype=np.int64), *kept])]
            scores = self._moved(circuits, level, n_moves)
        of_each = {one: circuits[place * n : (place + 1) * n] for place, one in enumerate(alive.tolist())}
        return log_shares.tolist(), [of_each.get(one, circuits[:0]) for one in range(number)], reached


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


def copies(reaching: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    """Returns n of the circuits that reach a level `(S,)`, each equally often, up to one copy that chance decides."""
    times, left = divmod(n, len(reaching))
    return np.concatenate([np.tile(reaching, times), random.permutation(reaching)[:left]])
