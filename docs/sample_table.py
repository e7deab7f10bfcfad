"""Prints the tables of docs/circuits.md of estimates beside exact counts, in Markdown: `python docs/sample_table.py`.

The networks are made, not trained: random weights, relu, examples from a normal distribution. A circuit is valid if it
answers enough of them as the full network does. One exact search counts the circuits of all thresholds.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.sampling.drawing import draws_of
from mi_runner.methods.circuits.sampling.intervals import interval_of_share
from mi_runner.methods.circuits.sampling.measured import Answers
from mi_runner.methods.circuits.sampling.populations import of_populations
from mi_runner.methods.circuits.sampling.result import Estimate
from mi_runner.methods.circuits.sampling.sample import POPULATIONS, sample_circuits
from mi_runner.methods.circuits.sampling.splitting import Splitting
from mi_runner.methods.circuits.search import search_circuits
from mi_runner.tables.intervals import wilson_interval

NETWORKS = (((3, 3, 3, 1), 60), ((2, 4, 4, 1), 60), ((4, 4, 4, 1), 24))
"""Sizes of the layers, and how many examples there are: so few that a census of the last one takes a minute."""

SHARES = (0.5, 0.05, 1e-3, 1e-5, 1e-7)
"""About so large a share of the circuits is valid in a row."""

REPEATS = 200

POPULATION = 50
"""Circuits of a population of splitting, for the intervals."""


def made(sizes: tuple[int, ...], n: int) -> tuple[Part, CircuitExamples]:
    """Returns a part of random weights and biases, and n examples that a circuit has to answer as it does."""
    draw = torch.Generator().manual_seed(4)
    kinds = ["relu"] * (len(sizes) - 2) + ["identity"]
    part = Part(
        tuple(
            Layer(torch.randn(n_out, n_in, generator=draw), torch.randn(n_out, generator=draw), kind)
            for (n_in, n_out), kind in zip(itertools.pairwise(sizes), kinds, strict=True)
        )
    )
    x = torch.randn(n, sizes[0], generator=draw)
    full = part(x).squeeze(1)
    return part, CircuitExamples(x, full.round(), full, valid_by="agreement")


def exact_counts(part: Part, examples: CircuitExamples) -> np.ndarray:
    """Returns how many circuits give at least so many right answers, `(B + 1,)` int64, from 0 to all B."""
    found = search_circuits(part, examples, accuracy_threshold=1.0, max_table_rows=100_000)
    return found.counts.sum((0, 1))[::-1].cumsum()[::-1]


def fewest_right(counts: np.ndarray, share: float) -> int:
    """Returns the right answers that the share of circuits reaches which is nearest to a share."""
    found = np.where(counts > 0, counts / counts[0], np.inf)
    return int(np.abs(np.log(found / share)).argmin())


def threshold_of(right: int, examples: CircuitExamples) -> float:
    """Returns a threshold that so many right answers pass, and one less doesn't."""
    return (right - 0.5) / len(examples)


def beside_exact() -> None:
    """Prints the estimate of the default number of draws beside the exact count, for networks and thresholds."""
    _head("network", "right answers, at least", "valid, exactly", "share", "estimate", "95 % interval", "by")
    for sizes, n in NETWORKS:
        part, examples = made(sizes, n)
        counts = exact_counts(part, examples)
        for right in dict.fromkeys(fewest_right(counts, share) for share in (*SHARES, 1 / counts[0])):
            found = sample_circuits(part, examples, accuracy_threshold=threshold_of(right, examples))
            valid = found.n_valid
            _row(
                "-".join(map(str, sizes)),
                f"{right} of {n}",
                f"{counts[right]:,}",
                f"{counts[right] / counts[0]:.2g}",
                "" if valid.value is None else f"{valid.value:,}",
                f"{valid.low:,} to {valid.high:,}",
                f"splitting, {found.n_levels} levels" if found.n_levels else "draws",
            )


def coverage() -> None:
    """Prints how often intervals have the exact count, of 3-3-3-1, with other seeds."""
    sizes, n = NETWORKS[0]
    part, examples = made(sizes, n)
    counts = exact_counts(part, examples)
    _head("how", "share of valid circuits", f"intervals with the truth, of {REPEATS}", "95 % interval")
    for name, wanted, way in (
        ("2,000 plain draws", 0.3, plainly),
        ("2,000 draws in strata", 0.3, in_strata),
        ("2,000 draws in strata, few of them valid", 3e-3, in_strata),
    ):
        right = fewest_right(counts, wanted)
        found = [way(part, examples, threshold_of(right, examples), seed) for seed in range(REPEATS)]
        _covered(name, counts, right, [(one.low, one.high) for one in found])
    right = fewest_right(counts, 1 / counts[0])
    name = f"splitting, {POPULATIONS} populations of {POPULATION} circuits"
    _covered(name, counts, right, by_splitting(part, examples, right))


def _covered(name: str, counts: np.ndarray, right: int, intervals: list[tuple[float, float]]) -> None:
    """Prints a row of the intervals of the number of circuits with so many right answers."""
    n = sum(low <= counts[right] <= high for low, high in intervals)
    low, high = wilson_interval(n, len(intervals))
    _row(name, f"{counts[right] / counts[0]:.2g}", f"{n / len(intervals):.3f}", f"{low:.3f} to {high:.3f}")


def _head(*names: str) -> None:
    print()
    _row(*names)
    print("|---" * len(names) + "|", flush=True)


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def plainly(part: Part, examples: CircuitExamples, threshold: float, seed: int, samples: int = 2000) -> Estimate:
    """Returns the estimate from draws of all circuits, without strata."""
    draws = draws_of(part.sizes, "all")
    answers = Answers.of(part, examples, "zero", torch.device("cpu"))
    right = answers.right(draws.draw_any(samples, np.random.default_rng(seed)))
    share = np.array((right >= examples.fewest_right(threshold)).mean())
    low, high = interval_of_share(share, share * (1 - share) / (samples - 1), np.array(1 / samples))
    total = draws.strata.total
    return Estimate(round(total * float(share)), math.floor(total * float(low)), math.ceil(total * float(high)))


def in_strata(part: Part, examples: CircuitExamples, threshold: float, seed: int) -> Estimate:
    """Returns the estimate of a sample."""
    generator = torch.Generator().manual_seed(seed)
    found = sample_circuits(part, examples, accuracy_threshold=threshold, samples=2000, generator=generator)
    return found.n_valid


def by_splitting(part: Part, examples: CircuitExamples, right: int) -> list[tuple[float, float]]:
    """Returns the intervals of splitting, as numbers of circuits, of `REPEATS` times 16 populations of one pilot."""
    answers, draws = Answers.of(part, examples, "zero", torch.device("cpu")), draws_of(part.sizes, "all")
    splitting = Splitting(draws, answers, right, np.random.default_rng(0))
    levels = splitting.pilot(POPULATION)
    if levels is None:
        raise ValueError("the pilot of splitting reaches no valid circuit")
    found = splitting.populations(levels, POPULATIONS * REPEATS, POPULATION, _silent)
    ends = []
    for log_shares in found.log_shares.reshape(REPEATS, POPULATIONS):
        estimate = of_populations(log_shares, found.log_variance)
        ends.append((0.0, math.inf) if estimate is None else (estimate.low, estimate.high))
    return [(draws.strata.total * math.exp(low), draws.strata.total * math.exp(high)) for low, high in ends]


def _silent(steps: int, note: str = "", /) -> None:
    """Reports nothing."""


if __name__ == "__main__":
    beside_exact()
    coverage()
