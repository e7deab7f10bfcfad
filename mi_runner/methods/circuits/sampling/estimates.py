"""Estimates from the counts of a stratified sample.

The share of valid circuits is a sum over the strata of the stratum's share of all circuits times the share of its draws
that is valid; its variance comes from the binomials within the strata. `intervals` makes intervals of both. The full
circuit is a stratum of its own, which is known.

Letters: S strata, E edges, A intervals of accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mi_runner.methods.circuits.sampling.intervals import interval_of_share
from mi_runner.methods.circuits.sampling.result import AccuracyBin, EdgeEstimate, Estimate
from mi_runner.methods.circuits.sampling.strata import Strata
from mi_runner.methods.circuits.sampling.tally import ACCURACIES, Tally
from mi_runner.tables.intervals import UNSEEN, Z_95

PRIOR = 2.0
"""Draws of the overall share that are added to each stratum's where its share must not be 0."""


@dataclass(frozen=True)
class Full:
    """What is known of the full circuit.

    Attributes:
        is_valid: whether it is valid.
        accuracy: its interval of accuracy.
    """

    is_valid: bool
    accuracy: int


def masses(strata: Strata) -> np.ndarray:
    """Returns each stratum's share of all circuits, `(S,)` float64."""
    return np.array([size / strata.total for size in strata.sizes])


def scaled(total: int, share: float) -> int:
    """Returns a share of a whole number of any size, rounded."""
    return round(total * Fraction(share))


def smoothed(valid: np.ndarray, drawn: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Returns estimated shares of valid circuits in the strata, none of them 0 or 1."""
    overall = float((mass * valid / np.maximum(1, drawn)).sum() / mass.sum())
    n = float(drawn.sum())
    overall = min(max(overall, 1 / (n + 1)), 1 - 1 / (n + 1))
    return (valid + PRIOR * overall) / (drawn + PRIOR)


def counted(strata: Strata, tally: Tally, valid: np.ndarray, known: int, seen: int, most: int) -> Estimate:
    """Returns how many circuits have a property.

    Args:
        valid: `(S,)` drawn circuits that have it.
        known: 1 if the full circuit has it, too, otherwise 0.
        seen: distinct circuits that are known to have it.
        most: the circuits that can have it, exact.
    """
    if not strata.sizes:
        return Estimate.exact(known)
    mass, drawn = masses(strata), np.maximum(1, tally.drawn)
    share = float((mass * valid / drawn).sum())
    low, high = interval_of_share(np.array(share), _variance(mass, drawn, valid), _weight(mass, drawn, valid))
    ends = (scaled(strata.total, float(end)) + known for end in (low, high))
    low_end, high_end = (min(most, max(seen, end)) for end in ends)
    if not valid.any():
        return Estimate(None, seen, high_end)
    value = min(most, max(seen, scaled(strata.total, share) + known))
    return Estimate(value, min(low_end, value), max(high_end, value))


def _variance(mass: np.ndarray, drawn: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the variance of the sum of mass · counts / drawn over the first axis."""
    shares = counts / drawn
    return np.asarray((mass**2 * shares * (1 - shares) / np.maximum(1, drawn - 1)).sum(0))


def _weight(mass: np.ndarray, drawn: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Returns the weight of one more event: the mean weight of the events that the estimated shares expect."""
    expected = smoothed(valid, drawn, mass) * mass
    if valid.sum() > drawn.sum() / 2:  # then the events are the others
        expected = mass - expected
    return np.asarray((expected * mass / drawn).sum() / expected.sum())


def edges_of(strata: Strata, tally: Tally, full: Full) -> tuple[EdgeEstimate, ...]:
    """Returns how many of the valid circuits keep each edge."""
    if not tally.valid.any():
        share = Estimate(None, 0.0, 1.0)
        alone = EdgeEstimate(Estimate.exact(1.0), None)
        only_full = full.is_valid and not strata.sizes
        return tuple(alone if only_full else EdgeEstimate(share, 1.0) for _ in range(tally.with_edge.shape[1]))
    mass, drawn = masses(strata), np.maximum(1, tally.drawn)
    known = full.is_valid / strata.total
    weight = mass / drawn
    total = float((weight * tally.valid).sum() + known)
    shares = ((weight[:, None] * tally.with_edge).sum(0) + known) / total
    # The ratio's variance is that of the sum of (edge − share) over the valid circuits, divided by their total squared.
    valid, with_edge = tally.valid[:, None], tally.with_edge
    sums = with_edge - shares * valid
    squares = with_edge * (1 - shares) ** 2 + (valid - with_edge) * shares**2
    within = squares / drawn[:, None] - (sums / drawn[:, None]) ** 2
    variances = (mass[:, None] ** 2 * within / np.maximum(1, drawn - 1)[:, None]).sum(0) / total**2
    n = float((weight * tally.valid).sum() ** 2 / (weight**2 * tally.valid).sum())
    are_in_all = (with_edge == valid).all(0)
    return tuple(
        edge_estimate(share, variance, n, is_in_all)
        for share, variance, is_in_all in zip(shares.tolist(), variances.tolist(), are_in_all.tolist(), strict=True)
    )


def edge_estimate(share: float, variance: float, n: float, is_in_all: bool) -> EdgeEstimate:
    """Returns the share of valid circuits that keep an edge, with Wilson's interval for as many as are worth the draws.

    Args:
        share: the estimate.
        variance: its variance.
        n: how many independent valid circuits the draws are worth where none or all keep the edge.
        is_in_all: whether no valid circuit without the edge was drawn.
    """
    unseen = 1 - UNSEEN ** (1 / n)
    if is_in_all:
        return EdgeEstimate(Estimate(1.0, 1 - unseen, 1.0), unseen)
    if share <= 0:
        return EdgeEstimate(Estimate(0.0, 0.0, unseen), None)
    worth = share * (1 - share) / variance if variance > 0 else n
    spread = Z_95**2 / worth
    centre = (share + spread / 2) / (1 + spread)
    half = (share * (1 - share) * spread + spread**2 / 4) ** 0.5 / (1 + spread)
    return EdgeEstimate(Estimate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))), None)


def accuracy_bins(strata: Strata, tally: Tally, full: Full) -> tuple[AccuracyBin, ...]:
    """Returns the distribution of the accuracy by kept edges."""
    group_of_stratum = (
        strata.group_of(strata.n_edges[strata.begins[:-1]])
        if strata.counts_edges
        else np.zeros(len(strata.sizes), dtype=np.int64)
    )
    found = []
    for group, n_circuits in enumerate(strata.of_groups):
        if n_circuits:
            some = np.flatnonzero(group_of_stratum == group)
            has_full = group == len(strata.of_groups) - 1
            found += _bins_of_group(strata, tally, group, some, full if has_full else None)
    return tuple(found)


def _bins_of_group(strata: Strata, tally: Tally, group: int, some: np.ndarray, full: Full | None) -> list[AccuracyBin]:
    """Returns the distribution of the accuracy of the circuits of one group of edges.

    Args:
        some: the strata of the group.
        full: the full circuit if it is in the group.
    """
    n_circuits = strata.of_groups[group]
    mass = np.array([strata.sizes[one] / n_circuits for one in some.tolist()])
    drawn, counts = tally.drawn[some], tally.accuracy[some]
    known: np.ndarray = np.zeros(ACCURACIES)
    if full is not None:
        known[full.accuracy] = 1 / n_circuits
    n_sampled = int(drawn.sum()) + (full is not None)
    at_least_one = np.maximum(1, drawn)[:, None]
    shares = (mass[:, None] * counts / at_least_one).sum(0)
    if len(some):
        variances = _variance(mass[:, None], at_least_one, counts)
        # A stratum without a draw may be anything.
        weight = float((mass**2 / at_least_one[:, 0]).sum() / mass.sum())
        lows, highs = interval_of_share(shares, variances, np.array(weight))
    else:
        lows = highs = shares
    bins = []
    for place in range(ACCURACIES):
        is_drawn = bool(counts[:, place].any()) or known[place] > 0 or not len(some)
        value = float(shares[place] + known[place]) if is_drawn else None
        low, high = (min(1.0, float(ends[place] + known[place])) for ends in (lows, highs))
        bins.append(
            AccuracyBin(
                int(strata.groups[group]),
                int(strata.groups[group + 1]) - 1,
                place / ACCURACIES,
                (place + 1) / ACCURACIES,
                n_circuits,
                Estimate(None if value is None else min(1.0, value), low, high),
                n_sampled,
            )
        )
    return bins
