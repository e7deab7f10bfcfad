"""Circuits of exactly k edges, drawn uniformly, for chains of any size.

The method is a Boltzmann sampler (Duchon, Flajolet, Louchard and Schaeffer 2004). It draws a circuit with a probability
that depends only on its number of edges, x to this power, and keeps those with k edges; these are uniform, whatever x.
x is chosen so that k edges are expected, because then many are kept.

A matrix whose entries are 1 with probability p = x/(1 + x) has no empty row or column with a probability that follows
from going through its columns: the state is the number d of rows that are still empty. So no number in a sum is
negative, and nothing cancels. One after the other are drawn: the active neurons of each layer, how many edges enter
each of them and how many of these leave a neuron that had no edge so far, and which they are.

Letters: n_l neurons of layer l, a active ones that edges leave, b that they enter, K circuits, E edges.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, lgamma
from typing import Any

import numpy as np
import torch

from mi_runner.compiled import compiled
from mi_runner.methods.circuits.space import INPUTS

MOST_NEURONS = 256
"""Largest layer of a chain; tables with the cube of its size have 136 MB, and take some seconds for each k."""

TRIES_FOR_EACH = 200_000
"""Candidates that are drawn for a circuit of k edges, at most."""


def sample_of_size(
    sizes: Sequence[int], k: int, n: int, *, generator: torch.Generator | None = None, inputs: str = "any"
) -> np.ndarray:
    """Returns n well-formed circuits of exactly k edges, each drawn uniformly from all of them, `(n, E)` bool.

    Draws are independent, so a circuit may occur twice. With several outputs a circuit may leave outputs out, but not
    all of them.

    Args:
        sizes: neurons of each layer, inputs first.
        k: at least one edge for each layer, at most all.
        generator: draws them; None: torch's own.
        inputs: the family of circuits, one of `INPUTS`.

    Raises:
        ValueError: no circuit has k edges, none was found in many tries, a layer is too large, or there is no such
            family.
    """
    sizes = tuple(sizes)
    named = "-".join(map(str, sizes))
    n_edges = sum(n_in * n_out for n_in, n_out in itertools.pairwise(sizes))
    if inputs not in INPUTS:
        raise ValueError(f"inputs={inputs}: there are {' and '.join(INPUTS)}.")
    if len(sizes) < 2 or min(sizes) < 1 or max(sizes) > MOST_NEURONS:
        raise ValueError(f"sizes={sizes}: give at least two layers of 1 to {MOST_NEURONS} neurons.")
    if not len(sizes) - 1 <= k <= n_edges:
        raise ValueError(f"k={k}: circuits of layers of {named} neurons have {len(sizes) - 1} to {n_edges} edges.")
    rng = np.random.default_rng(int(torch.randint(2**63 - 1, (), generator=generator)))
    weights = _weights_for(sizes, k, inputs)
    offsets = np.cumsum([0, *(n_in * n_out for n_in, n_out in itertools.pairwise(sizes))]).astype(np.int64)
    kept = np.zeros((n, n_edges), dtype=np.bool_)
    n_drawn = _draw(
        rng,
        np.array(sizes, dtype=np.int64),
        offsets,
        k,
        weights.p,
        weights.first,
        weights.following,
        weights.binomials,
        weights.fills,
        TRIES_FOR_EACH,
        kept,
    )
    if n_drawn < n:
        raise ValueError(
            f"k={k}: no circuit of layers of {named} neurons with exactly {k} edges was found in {TRIES_FOR_EACH:,} "
            f"tries. Give another number of edges, k={k - 1} or k={k + 1}."
        )
    return kept


def n_of_each_size(sizes: Sequence[int], *, inputs: str = "any") -> list[int]:
    """Returns how many well-formed circuits have 0, 1, …, E edges, exactly, for chains with up to about 64 edges.

    By inclusion and exclusion over empty rows and columns of each layer's mask.
    """
    last = sizes[-1]
    ways = {active: [comb(last, active)] for active in range(1, last + 1)}  # active neurons → polynomial in edges
    for n_in, n_out in reversed(list(itertools.pairwise(sizes))):
        longest = max(map(len, ways.values())) + n_in * n_out
        before = {}
        for a in range(1, n_in + 1):
            total = [0] * longest
            for b in range(1, n_out + 1):
                for e, count in enumerate(_matrices_of_each_size(a, b)):
                    for more, n_ways in enumerate(ways[b]):
                        total[e + more] += count * n_ways
            before[a] = [comb(n_in, a) * count for count in total]
        ways = before
    used = [sizes[0]] if inputs == "all" else range(1, sizes[0] + 1)
    return [sum(column) for column in zip(*(ways[a] for a in used), strict=True)]


def _matrices_of_each_size(n_rows: int, n_columns: int) -> list[int]:
    """Returns how many 0/1 matrices without an empty row or column have 0, 1, … ones."""
    return [
        sum(
            (-1) ** (i + j) * comb(n_rows, i) * comb(n_columns, j) * comb((n_rows - i) * (n_columns - j), ones)
            for i in range(n_rows + 1)
            for j in range(n_columns + 1)
        )
        for ones in range(n_rows * n_columns + 1)
    ]


# --- weights ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Weights:
    """What a draw needs; N is the size of the largest layer.

    Attributes:
        p: the probability of an entry of a mask.
        log_total: the logarithm of the sum over all circuits of x to the power of their edges.
        first: `(N + 1,)`, the distribution function of the number of used inputs.
        following: `(L, N + 1, N + 1)`, for each layer and its number of active neurons, that of the next layer's.
        binomials: `(N + 1, N + 1)`, the probability that t of d entries are 1.
        fills: `(N + 1, N + 1, N + 1)`: [a, c, d], the probability that in c columns no column of a entries is empty,
            and no row of the d that have been empty so far.
    """

    p: float
    log_total: float
    first: np.ndarray
    following: np.ndarray
    binomials: np.ndarray
    fills: np.ndarray


def _weights_for(sizes: tuple[int, ...], k: int, inputs: str) -> _Weights:
    """Returns the weights with which about k edges are expected; found by bisection of log x."""

    def expected(log_x: float) -> float:
        step = 1e-3
        above, below = (_weights(sizes, log_x + side * step, inputs).log_total for side in (1, -1))
        return (above - below) / (2 * step)

    low, high = -40.0, 40.0
    while high - low > 1e-2:
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle) < k else (low, middle)
    return _weights(sizes, (low + high) / 2, inputs)


def _weights(sizes: tuple[int, ...], log_x: float, inputs: str) -> _Weights:
    largest = max(sizes)
    log_p, log_q = -np.logaddexp(0, -log_x), -np.logaddexp(0, log_x)
    count = np.arange(largest + 1)
    log_factorial = np.array([lgamma(number + 1) for number in count])
    left = count[:, None] - count[None]  # d − t
    log_choose = np.full((largest + 1, largest + 1), -np.inf)
    np.copyto(
        log_choose, log_factorial[:, None] - log_factorial[None] - log_factorial[np.maximum(left, 0)], where=left >= 0
    )
    binomials = np.exp(log_choose + count[None] * log_p + np.maximum(left, 0) * log_q)
    # fewer[d', d]: the probability that d' < d rows are still empty after the column
    fewer = np.where(left.T > 0, np.take_along_axis(binomials, np.maximum(left.T, 0).T, axis=1).T, 0)
    # [a, d]: the probability that a column has a 1, but none in the d rows that are still empty
    none_new = binomials[:, 0] * -np.expm1(np.maximum(left, 0) * log_q)
    fills = np.zeros((largest + 1, largest + 1, largest + 1))
    fills[:, 0, 0] = 1
    for c in range(1, largest + 1):
        fills[:, c] = fills[:, c - 1] @ fewer + none_new * fills[:, c - 1]
    with np.errstate(divide="ignore"):
        # log of the sum of x^ones over a×b matrices without an empty row or column
        log_matrices = np.log(fills[count, :, count]) - count[:, None] * count[None] * log_q
    following = np.zeros((len(sizes) - 1, largest + 1, largest + 1))
    behind = np.zeros(largest + 1)
    for layer in range(len(sizes) - 2, -1, -1):
        ways = log_choose[sizes[layer + 1]] + log_matrices + behind[None]
        ways[:, 0] = -np.inf
        behind = _log_sum(ways)
        reachable = np.where(np.isfinite(behind), behind, 0)  # others are never drawn
        following[layer, 1:] = np.cumsum(np.exp(ways[1:] - reachable[1:, None]), axis=1)
    ways = log_choose[sizes[0]] + behind
    ways[0] = -np.inf
    if inputs == "all":
        ways[: sizes[0]] = -np.inf
    log_total = float(_log_sum(ways[None])[0])
    first = np.cumsum(np.exp(ways - log_total))
    return _Weights(float(np.exp(log_p)), log_total, first, following, binomials, fills)


def _log_sum(logs: np.ndarray) -> np.ndarray:
    """Returns the logarithm of the sum of each row, whose logarithms are given; −infinity where all are."""
    highest = logs.max(1, keepdims=True)
    highest[~np.isfinite(highest)] = 0
    with np.errstate(divide="ignore"):
        return np.log(np.exp(logs - highest).sum(1)) + highest[:, 0]


# --- draws -----------------------------------------------------------------------------------------------------------


@compiled()
def _binomial(rng: Any, n: int, p: float) -> int:
    """Returns how many of n are 1, each with probability p, by going through their number from below."""
    flipped = p > 0.5
    chance = 1 - p if flipped else p
    mass = (1 - chance) ** n
    rest = rng.random() - mass
    ones = 0
    while rest >= 0 and ones < n:
        mass *= (n - ones) / (ones + 1) * chance / (1 - chance)
        ones += 1
        rest -= mass
    return n - ones if flipped else ones


@compiled()
def _binomial_above_0(rng: Any, n: int, p: float) -> int:
    """Returns the same, given that at least one is 1."""
    if p > 0.5:
        while True:
            ones = _binomial(rng, n, p)
            if ones:
                return ones
    none = (1 - p) ** n
    mass = n * p * (1 - p) ** (n - 1)
    rest = rng.random() * -np.expm1(n * np.log1p(-p)) - mass if none > 0.5 else rng.random() * (1 - none) - mass
    ones = 1
    while rest >= 0 and ones < n:
        mass *= (n - ones) / (ones + 1) * p / (1 - p)
        ones += 1
        rest -= mass
    return ones


@compiled()
def _shuffle_some(rng: Any, values: Any, n: int) -> None:
    """Puts n of the values, drawn uniformly, at their beginning."""
    for place in range(n):
        other = place + min(int(rng.random() * (len(values) - place)), len(values) - place - 1)
        values[place], values[other] = values[other], values[place]


@compiled()
def _draw(
    rng: Any,
    sizes: Any,
    offsets: Any,
    k: int,
    p: float,
    first: Any,
    following: Any,
    binomials: Any,
    fills: Any,
    tries_for_each: int,
    kept: Any,
) -> int:
    """Fills the rows of `kept` with circuits of k edges; returns how many.

    It stops where a row needs more than `tries_for_each` tries.
    """
    n_layers, largest = len(sizes) - 1, len(first) - 1
    new = np.zeros((n_layers, largest), dtype=np.int64)  # edges from neurons that had no edge before
    more = np.zeros((n_layers, largest), dtype=np.int64)  # other edges
    active = np.zeros(n_layers + 1, dtype=np.int64)
    for row in range(len(kept)):
        for tried in range(tries_for_each + 1):
            if tried == tries_for_each:
                return row
            active[0] = min(np.searchsorted(first, rng.random(), side="right"), sizes[0])
            n_edges = 0
            for layer in range(n_layers):
                a = active[layer]
                chance = rng.random()
                b = min(np.searchsorted(following[layer, a], chance, side="right"), sizes[layer + 1])
                active[layer + 1] = b
                d = a
                for c in range(b, 0, -1):
                    rest = rng.random() * fills[a, c, d]
                    t, last = -1, 0
                    while t < d and (t < 0 or rest >= 0):
                        t += 1
                        weight = binomials[d, t] * fills[a, c - 1, d - t]
                        if t == 0:
                            weight *= -np.expm1((a - d) * np.log1p(-p)) if p < 1 else 1.0 * (a > d)
                        if weight > 0:
                            last = t
                        rest -= weight
                    t = min(t, last)  # rounding may lead beyond the last possible one
                    new[layer, c - 1] = t
                    more[layer, c - 1] = _binomial(rng, a - d, p) if t else _binomial_above_0(rng, a - d, p)
                    n_edges += t + more[layer, c - 1]
                    d -= t
                if n_edges > k:
                    break
            if n_edges == k:
                break
        sources = np.arange(sizes[0])
        _shuffle_some(rng, sources, active[0])
        sources = sources[: active[0]].copy()
        for layer in range(n_layers):
            targets = np.arange(sizes[layer + 1])
            _shuffle_some(rng, targets, active[layer + 1])
            targets = targets[: active[layer + 1]].copy()
            n_with_edges = 0  # these sources come first
            for c in range(len(targets), 0, -1):
                start = offsets[layer] + targets[c - 1] * sizes[layer]
                _shuffle_some(rng, sources[:n_with_edges], more[layer, c - 1])
                for place in range(more[layer, c - 1]):
                    kept[row, start + sources[place]] = True
                _shuffle_some(rng, sources[n_with_edges:], new[layer, c - 1])
                for place in range(n_with_edges, n_with_edges + new[layer, c - 1]):
                    kept[row, start + sources[place]] = True
                n_with_edges += new[layer, c - 1]
            sources = targets
    return len(kept)
