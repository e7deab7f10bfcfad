"""Estimates how many circuits are valid, from circuits that are drawn uniformly within strata.

A pilot, a tenth of the draws, is dealt in proportion to the circuits of the strata. The others are dealt by what it
found: half in proportion again, so that no circuit stands for more than twice as many as without strata, the rest by
the variance of the strata (Neyman 1934), and a little to all numbers of edges for the distribution of the accuracy. The
pilot's draws decide how the others are dealt, and count for nothing else, so the estimate has no bias.

Where fewer than one in 100,000 circuits seems valid by the pilot, the others are not drawn. Multilevel splitting takes
their place; see `splitting`. What a sample says of the accuracy is then the pilot's.

Letters: S strata, K circuits, E edges.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from mi_runner.graph.chain import Part
from mi_runner.machine.compiled import clock
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.examples import CircuitExamples, check_outputs, check_search, n_distinct
from mi_runner.methods.circuits.sampling.drawing import CircuitDraws, batches, draws_of
from mi_runner.methods.circuits.sampling.estimates import (
    Full,
    accuracy_bins,
    counted,
    edges_of,
    masses,
    smoothed,
)
from mi_runner.methods.circuits.sampling.measured import Answers
from mi_runner.methods.circuits.sampling.populations import (
    count_of,
    edges_of_populations,
    of_populations,
    part_of_populations,
)
from mi_runner.methods.circuits.sampling.result import SampledCircuits
from mi_runner.methods.circuits.sampling.splitting import Populations, Splitting
from mi_runner.methods.circuits.sampling.strata import Strata
from mi_runner.methods.circuits.sampling.tally import Tally, ValidList, accuracy_of, is_partial
from mi_runner.progress import Advance, Progress, log

SAMPLES = 1_000_000
"""Default of the number of circuits that are drawn."""

MOST_LISTED = 100_000
"""Default of the largest number of valid circuits that are listed."""

PILOT = 0.1
"""The pilot's share of the draws."""

PROPORTIONAL, BY_EDGES = 0.5, 0.05
"""Shares of the other draws: in proportion to the strata's circuits; equal for all groups of numbers of edges."""

LEAST = 2
"""Draws of a stratum, at least: one has no variance."""

RARE = 1e-5
"""Below this share of valid circuits in the pilot, multilevel splitting takes the place of drawing."""

POPULATIONS = 16
"""Populations of multilevel splitting."""

MOVES_OF_SAMPLE = 4
"""A move takes about this part of the time of a drawn circuit: it computes only what changes, and stops early."""

FEWEST_OF_POPULATION, MOST_OF_PILOT, MOVES_OF_PILOT = 100, 500, 4000
"""Circuits of a population, at least; of the pilot population, at most; moves of each of these for which a tenth of the
time is meant."""

SECONDS_OF_EXAMPLE = 0.5e-10, 1.5e-10
"""A distinct example takes a circuit about so long for each edge of the full circuit, and for each neuron."""

SECONDS_OF_DRAW = 35e-9, 0.7e-6
"""A draw takes about so long for each edge of the full circuit, and for each row of its matrices, on two cores."""

EDGES_AT_ONCE = 50_000_000
"""Edges of the circuits that are drawn together, a byte each."""


def sample_circuits(
    part: Part,
    examples: CircuitExamples,
    *,
    accuracy_threshold: float,
    ablation: str = "zero",
    inputs: str = "all",
    samples: int = SAMPLES,
    most_listed: int = MOST_LISTED,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> SampledCircuits:
    """Returns estimates, with 95 % intervals, of how many circuits of a part are valid and what they are like.

    Args:
        part: with one output, or several that answer a class; layers of any width.
        examples: their `x` are the activations that enter the part.
        accuracy_threshold: 0 to 1, as for `search.search_circuits`.
        ablation: what a left-out edge carries, one of `ABLATIONS`.
        inputs: the family of circuits, one of `space.INPUTS`.
        samples: how many circuits are drawn, about.
        most_listed: the largest number of valid circuits that are listed.
        generator: of the draws; None: always the same.
        device: the device that evaluates drawn circuits.

    Raises:
        ArgumentError: the part has other outputs than the examples, its inputs are not the examples', there is no
            example, an option is out of its range, or the last activation falls.
    """
    check_outputs(part, examples)
    check_search(part.sizes[0], examples, accuracy_threshold)
    seed = 0 if generator is None else int(torch.randint(2**63 - 1, (), generator=generator))
    draws = draws_of(part.sizes, inputs)
    strata = draws.strata
    answers = Answers.of(part, examples, ablation, torch.device(device))
    survey = Survey.of(draws, answers, examples.fewest_right(accuracy_threshold), most_listed, seed)
    n_pilot = round(samples * PILOT)
    with (progress or Progress()).bar("drawn circuits", samples) as advance:
        pilot = survey.drawn(dealt(masses(strata), n_pilot), advance, listed=False)
        if survey.is_rare(pilot):
            split = survey.split(samples - n_pilot, advance)
            if split is not None:
                return split_result(survey, pilot, split)
        tally = survey.drawn(allocation(strata, pilot, samples - n_pilot), advance, listed=True)
    return survey.result(tally, n_sampled=int(pilot.drawn.sum() + tally.drawn.sum()) + 1)


@dataclass(frozen=True, eq=False)
class Survey:
    """What circuits are drawn from, evaluated on and listed in.

    Attributes:
        draws: of all circuits but the full one, in strata.
        answers: what circuits are evaluated on.
        least_right: the fewest right answers of a valid circuit.
        random: of the draws.
        listed: the valid circuits that were seen.
        full: what is known of the full circuit.
    """

    draws: CircuitDraws
    answers: Answers
    least_right: int
    random: np.random.Generator
    listed: ValidList
    full: Full

    @classmethod
    def of(cls, draws: CircuitDraws, answers: Answers, least_right: int, most_listed: int, seed: int) -> Survey:
        """Returns a survey in which the full circuit alone was looked at."""
        strata, random = draws.strata, np.random.default_rng(seed)
        edges = strata.chain.edges
        listed = ValidList(edges.n, most_listed, random)
        right = answers.right_of_full
        full = Full(right >= least_right, int(accuracy_of(np.array(right), len(answers.examples))))
        if full.is_valid:
            listed.add(edges.full, np.zeros(1, dtype=bool), None if strata.sizes else np.ones(1))
        return cls(draws, answers, least_right, random, listed, full)

    @property
    def strata(self) -> Strata:
        """All circuits but the full one."""
        return self.draws.strata

    def drawn(self, n_draws: np.ndarray, advance: Advance, *, listed: bool) -> Tally:
        """Returns the counts of so many draws `(S,)` of each stratum.

        Args:
            listed: whether valid ones are listed, or only noted as seen.
        """
        edges, n_examples = self.strata.chain.edges, len(self.answers.examples)
        tally = Tally.empty(len(n_draws), edges.n)
        weight = masses(self.strata) / np.maximum(1, n_draws)
        weight = weight / weight.max(initial=0.0)
        for stratum in batches(n_draws, max(1, EDGES_AT_ONCE // edges.n)):
            circuits = self.draws.draw(stratum, self.random)
            right = self.answers.right(circuits)
            tally.add(stratum, accuracy_of(right, n_examples))
            found = right >= self.least_right
            valid, of_valid = circuits[found], stratum[found]
            partial = is_partial(edges, valid)
            tally.add_valid(of_valid, valid, partial)
            self.listed.add(valid, partial, weight[of_valid] if listed else None)
            advance(len(stratum))
        return tally

    @property
    def most(self) -> int:
        """How many circuits can be valid: all, or none if the threshold can't be reached."""
        return self.strata.total if self.least_right <= len(self.answers.examples) else 0

    def is_rare(self, pilot: Tally) -> bool:
        """Returns whether the pilot says that valid circuits are rare, but possible."""
        mass = masses(self.strata)
        return bool(self.most and len(mass) and (mass * pilot.valid / pilot.drawn).sum() < RARE)

    def split(self, samples: int, advance: Advance) -> Populations | None:
        """Returns populations of multilevel splitting; None if their pilot doesn't reach valid circuits.

        Args:
            samples: the time is about that of so many draws.
        """
        splitting = Splitting(self.draws, self.answers, self.least_right, self.random)
        budget = MOVES_OF_SAMPLE * samples
        n = min(MOST_OF_PILOT, max(FEWEST_OF_POPULATION, budget // MOVES_OF_PILOT))
        began = clock()
        levels = splitting.pilot(n)
        if levels is None:
            log.warning(
                f"fewer than 1 in {1 / RARE:,.0f} circuits seems valid, and multilevel splitting reaches none: "
                "their number has only an upper bound"
            )
            return None
        of_pilot = (clock() - began) / n
        n = max(FEWEST_OF_POPULATION, budget // (sum(level.n_moves for level in levels) * POPULATIONS))
        log.info(
            f"fewer than 1 in {1 / RARE:,.0f} circuits seems valid: multilevel splitting, {len(levels)} levels, "
            f"{POPULATIONS} populations of {n:,} circuits, about {POPULATIONS * n * of_pilot:,.0f} s"
        )
        done = 0

        def report(number: int, note: str = "", /) -> None:
            """Reports finished populations as the draws that take about as long."""
            nonlocal done
            before, done = done * samples // POPULATIONS, done + number
            advance(done * samples // POPULATIONS - before, note)

        return splitting.populations(levels, POPULATIONS, n, report)

    def result(self, tally: Tally, n_sampled: int) -> SampledCircuits:
        """Returns the estimates of a stratified sample."""
        strata, full, most = self.strata, self.full, self.most
        return SampledCircuits(
            strata.chain.sizes,
            strata.chain.inputs,
            strata.total,
            strata.n_partial,
            n_sampled,
            counted(strata, tally, tally.valid, int(full.is_valid), self.listed.n_seen, most),
            counted(strata, tally, tally.valid_partial, 0, self.listed.n_seen_partial, min(most, strata.n_partial)),
            edges_of(strata, tally, full),
            accuracy_bins(strata, tally, full),
            self.listed.rows(),
            0,
            0,
            self.least_right,
        )


def split_result(survey: Survey, pilot: Tally, split: Populations) -> SampledCircuits:
    """Returns the estimates of multilevel splitting, and what the pilot says of the accuracy."""
    strata, edges = survey.strata, survey.strata.chain.edges
    partial = [is_partial(edges, circuits) for circuits in split.circuits]
    largest = split.log_shares.max()
    for log_share, circuits, leaves_out in zip(split.log_shares.tolist(), split.circuits, partial, strict=True):
        if len(circuits):
            weight = np.full(len(circuits), math.exp(log_share - largest))
            survey.listed.add(circuits, leaves_out, weight)
    plain = survey.result(pilot, int(pilot.drawn.sum()) + 1 + split.n_measured)
    valid = of_populations(split.log_shares, split.log_variance)
    if valid is None:
        return replace(plain, n_levels=split.n_levels, n_populations=len(split.circuits))
    some = part_of_populations(split.log_shares, split.log_variance, partial)
    n_valid = count_of(valid, strata.total, survey.listed.n_seen, survey.most)
    n_partial = (
        plain.n_valid_partial
        if some is None
        else count_of(some, strata.total, survey.listed.n_seen_partial, min(survey.most, strata.n_partial))
    )
    return replace(
        plain,
        n_valid=n_valid,
        n_valid_partial=n_partial,
        edges=edges_of_populations(split.log_shares, split.circuits),
        n_levels=split.n_levels,
        n_populations=len(split.circuits),
    )


def dealt(shares: np.ndarray, n: int) -> np.ndarray:
    """Returns n draws dealt in proportion to shares `(S,)`, at least `LEAST` each, `(S,)` int64."""
    total = shares.sum()
    return np.maximum(LEAST, np.round(shares * (n / total if total else 0.0))).astype(np.int64)


def allocation(strata: Strata, pilot: Tally, n: int) -> np.ndarray:
    """Returns how many circuits are drawn of each stratum after the pilot, about n in all, `(S,)` int64."""
    mass = masses(strata)
    share = smoothed(pilot.valid, np.maximum(1, pilot.drawn), mass) if len(mass) else mass
    by_variance = mass * np.sqrt(share * (1 - share))
    of_group = np.bincount(strata.group, weights=mass)
    by_edges = mass / np.maximum(of_group, 1e-300)[strata.group] / max(1, np.count_nonzero(of_group))
    parts = ((PROPORTIONAL, mass), (BY_EDGES, by_edges), (1 - PROPORTIONAL - BY_EDGES, by_variance))
    return dealt(sum((part * shares / max(shares.sum(), 1e-300) for part, shares in parts), np.zeros_like(mass)), n)


def seconds_of_sample(part: Part, examples: CircuitExamples, samples: int) -> float:
    """Returns about how many seconds `sample_circuits` takes on two cores; the same on every machine."""
    n_edges, n_neurons = Edges(part.sizes).n, sum(part.sizes[1:])
    of_example = SECONDS_OF_EXAMPLE[0] * n_edges + SECONDS_OF_EXAMPLE[1] * n_neurons
    rows = sum(max(pair) for pair in itertools.pairwise(part.sizes))
    of_draw = SECONDS_OF_DRAW[0] * n_edges + SECONDS_OF_DRAW[1] * rows
    return samples * (n_distinct(examples) * of_example + of_draw)
