"""Multilevel splitting: how many circuits are valid where hardly any drawn one is? (Kahn and Harris 1951)

A population of circuits is drawn uniformly, exactly. Of these the ones that reach a level of right answers are kept,
copied until the population is full again, and each is moved many times among the circuits that reach the level, by
moves that keep the uniform law; see `kernels.walks`. The level is raised until it is that of valid circuits. The
product of the shares that reached the levels is an estimate of the share of valid circuits without bias, whatever the
moves are, as long as the levels don't depend on the population (Del Moral 2004). So a pilot population, which counts
for nothing else, sets the levels so that about a third reaches each. Independent populations then give as many
estimates; their mean is the estimate, and their spread gives the interval.

Most circuits of the last levels give few wrong answers, and these to examples for which the network's own answer is
nearly another one. So the examples are ordered by that, and the first levels are of the right answers to the first
sixteenth, then to the first quarter of them. A valid circuit gives no more wrong answers to these than to all, which is
the last level of each such stage: all levels are passed by every valid circuit, and most cost a part of the time.

Letters: N circuits of a population, R populations, E edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.kernels.sampling import BLOCK
from mi_runner.methods.circuits.kernels.walks import N_KINDS, walk
from mi_runner.methods.circuits.sampling.drawing import CircuitDraws
from mi_runner.methods.circuits.sampling.measured import Answers
from mi_runner.progress import Advance

REACHING = 1 / 3
"""The share of the pilot population that reaches the next level."""

AT_ONCE, MOST_MOVES = 10, 500
"""The pilot population moves so often at a time, and at most so often at a level."""

SHARE_FLIPPED, FEWEST_FLIPS = 1 / 16, 3.0
"""The pilot population moves until this share of the edges is another than before, and at least so many edges are."""

LEAST_FREQUENT = 0.05
"""No kind of move is drawn less often than this."""

SHARES_OF_STAGES = (16, 4, 1)
"""The first levels are of the first sixteenth of the examples, then of the first quarter, then of all."""

MOST_STUCK = 5
"""So often the pilot population moves on, each time twice as far, where none of its circuits is above the level."""

EDGES_AT_ONCE = 50_000_000
"""Edges of the populations that move together, a byte each."""


@dataclass(frozen=True)
class Level:
    """The circuits that have at least a score on the examples of a stage, and passed the stages before.

    Attributes:
        stage: from 0.
        score: right answers and a closeness; see `kernels.walks`.
        n_moves: moves of each circuit at this level.
        kinds: of moves, of which one is drawn for each.
    """

    stage: int
    score: float
    n_moves: int = 0
    kinds: tuple[int, ...] = tuple(range(N_KINDS))


@dataclass(frozen=True, eq=False)
class Stage:
    """Some of the examples, the hardest ones.

    Attributes:
        x, goals: of these examples, as the kernels take them.
        after: `(blocks,)`, how many examples come after each block, each as often as it occurs.
        passed: `(blocks,)`, the right answers up to each block's end that the stages before ask for.
        last: the score of the last level: a valid circuit has at least so many right answers.
    """

    x: np.ndarray
    goals: tuple[np.ndarray, ...]
    after: np.ndarray
    passed: np.ndarray
    last: float


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
        sizes = draws.strata.chain.sizes
        layers, sources, targets = Edges(sizes).names
        firsts = np.concatenate([[0], np.cumsum(sizes)])
        places = (sources + firsts[layers], targets + firsts[layers + 1])
        self._layers, self._places = answers.arrays[1], places
        self._stages = stages_of(*hardest_first(answers), least_right)

    def moved(self, circuits: np.ndarray, level: Level) -> tuple[np.ndarray, np.ndarray]:
        """Moves the circuits `(N, E)` of a level, which change.

        Returns their scores `(N,)` in its stage, and how many edges moves of each kind flipped, `(N_KINDS,)`.
        """
        flipped = np.zeros((len(circuits), N_KINDS), dtype=np.int64)
        scores, stage = np.empty(len(circuits)), self._stages[level.stage]
        words = self._random.integers(0, 2**64, len(circuits), dtype=np.uint64)
        walk(
            circuits,
            scores,
            stage.x,
            self._layers,
            stage.goals,
            np.maximum(math.floor(level.score) - stage.after, stage.passed),
            self._places,
            np.array(level.kinds, dtype=np.int64),
            level.score,
            level.n_moves,
            self._draws.strata.chain.inputs == "all",
            words,
            flipped,
        )
        return scores, flipped.sum(0)

    def _drawn(self, n: int) -> np.ndarray:
        """Returns n uniform circuits of all, `(N, E)`."""
        return self._draws.draw_any(n, self._random)

    def pilot(self, n: int) -> list[Level] | None:
        """Returns the levels, the last one that of valid circuits; None if the pilot population never reached it.

        At each level circuits move until on average a share of their edges differs from before, and moves that flip
        more edges become more frequent.

        Args:
            n: circuits of the pilot population.
        """
        circuits = self._drawn(n)
        levels: list[Level] = []
        kinds = Level(0, 0.0).kinds
        for place, stage in enumerate(self._stages):
            level = Level(place, 0.0, AT_ONCE, kinds)
            scores, _ = self.moved(circuits, replace(level, n_moves=0))
            n_stuck, score = 0, -1.0
            while score < stage.last:
                following = next_score(scores, score, stage.last)
                if following is None:
                    n_stuck += 1
                    if n_stuck > MOST_STUCK:
                        return None
                    scores, _ = self.moved(circuits, replace(level, n_moves=MOST_MOVES))
                    continue
                score = following
                circuits = circuits[copies(np.flatnonzero(scores >= score), n, self._random)]
                level, scores = self._moved_enough(circuits, Level(place, score, AT_ONCE, level.kinds))
                levels.append(level)
            kinds = level.kinds
        return levels

    def _moved_enough(self, circuits: np.ndarray, level: Level) -> tuple[Level, np.ndarray]:
        """Moves the circuits, which change; returns the level with its moves, and the scores.

        The level's kinds of moves are those that the next level takes, too; see `better_kinds`.
        """
        start, wanted = circuits.copy(), max(FEWEST_FLIPS, SHARE_FLIPPED * circuits.shape[1])
        n_moves, total = 0, np.zeros(N_KINDS)
        while True:
            scores, flipped = self.moved(circuits, level)
            n_moves, total = n_moves + AT_ONCE, total + flipped
            if n_moves >= MOST_MOVES or (circuits != start).sum(1).mean() >= wanted:
                break
        kinds = better_kinds(total, level.kinds)
        return Level(level.stage, level.score, n_moves, kinds), scores

    def populations(self, levels: Sequence[Level], n_populations: int, n: int, advance: Advance) -> Populations:
        """Returns independent populations of n circuits each, after these levels.

        Args:
            levels: in ascending order, the last one that of valid circuits.
            n: circuits of each.
            advance: is called with the number of populations that are done.
        """
        n_edges = self._draws.strata.chain.edges.n
        at_once = max(1, EDGES_AT_ONCE // (n * n_edges))
        log_shares: list[float] = []
        survivors: list[np.ndarray] = []
        reached = np.zeros(len(levels))
        for start in range(0, n_populations, at_once):
            number = min(at_once, n_populations - start)
            shares, circuits, of_levels = self._together(levels, number, n)
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
            n_populations * n * (1 + sum(level.n_moves for level in levels)),
        )

    def _together(
        self, levels: Sequence[Level], number: int, n: int
    ) -> tuple[list[float], list[np.ndarray], np.ndarray]:
        """Returns the logarithms of the shares, the circuits, and how many circuits of all reached each level."""
        circuits = self._drawn(number * n)
        scores, stage = np.empty(0), -1
        alive, log_shares = np.arange(number), np.zeros(number)
        reached = np.zeros(len(levels))
        for place, level in enumerate(levels):
            if level.stage != stage:
                stage = level.stage
                scores, _ = self.moved(circuits, Level(stage, 0.0))
            reaching = (scores >= level.score).reshape(len(alive), n)
            counts = reaching.sum(1)
            reached[place] = counts.sum()
            log_shares[alive[counts == 0]] = -math.inf
            kept = [row * n + copies(np.flatnonzero(reaching[row]), n, self._random) for row in np.flatnonzero(counts)]
            alive, counts = alive[counts > 0], counts[counts > 0]
            log_shares[alive] += np.log(counts / n)
            circuits = circuits[np.concatenate([np.empty(0, dtype=np.int64), *kept])]
            scores, _ = self.moved(circuits, level)
        of_each = {one: circuits[place * n : (place + 1) * n] for place, one in enumerate(alive.tolist())}
        return log_shares.tolist(), [of_each.get(one, circuits[:0]) for one in range(number)], reached


def hardest_first(answers: Answers) -> tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray]:
    """Returns the examples and goals as the kernels take them, in blocks of which the first are hardest, and the ends.

    The ends are those of the first sixteenth, the first quarter and all of the examples, in whole blocks. Hard is an
    example for which the full circuit's answer is wrong, or nearly so.
    """
    x, _, (groups, bounds, classes, sizes) = answers.arrays
    group = np.repeat(np.arange(len(sizes)), np.diff(groups))
    n = x.shape[1]
    order = np.argsort(answers.margins, kind="stable")
    n_blocks = -(-n // BLOCK)
    ends = sorted({min(n, -(-n_blocks // share) * BLOCK) for share in SHARES_OF_STAGES})
    stage = np.empty(n, dtype=np.int64)
    stage[order] = np.searchsorted(ends, np.arange(n), side="right")
    order = np.lexsort((group, stage))
    begins = np.flatnonzero(np.diff(stage[order] * len(sizes) + group[order], prepend=-1))
    of_groups = group[order][begins]
    goals = (
        np.array([*begins, n], dtype=np.int64),
        bounds[of_groups] if len(bounds) else bounds,
        classes[of_groups] if len(classes) else classes,
        sizes[of_groups],
    )
    return np.ascontiguousarray(x[:, order]), goals, np.array(ends)


def stages_of(x: np.ndarray, goals: tuple[np.ndarray, ...], ends: np.ndarray, least_right: int) -> list[Stage]:
    """Returns the stages of examples in the order of `hardest_first`; one that asks for nothing is left out."""
    groups, bounds, classes, sizes = goals
    upto = np.cumsum(np.repeat(sizes, np.diff(groups)).astype(np.float64))
    most_wrong = upto[-1] - least_right
    blocks = np.minimum(np.arange(BLOCK, x.shape[1] + BLOCK, BLOCK), x.shape[1])
    passed = np.zeros(len(blocks))
    stages = []
    for end in ends.tolist():
        last = float(upto[end - 1] - most_wrong)
        if last <= 0:
            continue
        n_groups, n_blocks = int(np.searchsorted(groups, end)), int(np.searchsorted(blocks, end)) + 1
        some = (groups[: n_groups + 1], bounds[:n_groups], classes[:n_groups], sizes[:n_groups])
        after = upto[end - 1] - upto[blocks[:n_blocks] - 1]
        stages.append(Stage(np.ascontiguousarray(x[:, :end]), some, after, passed[:n_blocks].copy(), last))
        passed[n_blocks - 1] = last
    return stages


def better_kinds(flipped: np.ndarray, kinds: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the kinds of moves for the next level, as often as they flipped edges where they were tried.

    Args:
        flipped: `(N_KINDS,)`, edges that moves of each kind flipped.
        kinds: of which one was drawn for each of these moves.
    """
    rates = flipped / np.bincount(kinds, minlength=N_KINDS)
    shares = LEAST_FREQUENT + (1 - N_KINDS * LEAST_FREQUENT) * rates / max(rates.sum(), 1e-300)
    times = np.maximum(1, np.round(shares / LEAST_FREQUENT * 2)).astype(int)
    return tuple(np.repeat(np.arange(N_KINDS), times).tolist())


def next_score(scores: np.ndarray, level: float, least: float) -> float | None:
    """Returns the score that about `REACHING` of the scores reach, at most `least`; None if none is above `level`."""
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
