"""Uniform circuits of k edges, of a chain of layers of any size.

A circuit is drawn with a probability that is proportional to λ to the power of its number of edges; those of k edges
are then uniform. λ is chosen so that the expected number is k, and circuits of another number are dropped. A hidden
neuron has kept edges in and out or none; inputs, and outputs if there are several, may have none.

The weights are sums over the numbers of active neurons: of an input layer (1 + λ)ⁿ − 1 for each active neuron behind
it, and alike of an output layer; between hidden layers W(a, b), the sum of λ to the power of the ones over all 0/1
matrices without an empty row or column. All terms are positive, so nothing cancels.

Letters: E edges, P proposals, a, b active neurons of two neighbouring layers, r sources that are covered so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from mi_runner.errors import ArgumentError
from mi_runner.methods.circuits.edges import Edges, rows_of

NUMBERS_AT_ONCE = 4_000_000
"""Edges of the proposals that are drawn together."""

MOST_PROPOSALS = 2_000_000
"""So many proposals without a circuit of k edges are an error."""


class CircuitSampler:
    """Draws circuits uniformly among those of a given number of edges.

    Attributes:
        edges: of the chain.

    Example:
        >>> from mi_runner.discovery import CircuitSampler
        >>> circuits = CircuitSampler((3, 2, 1)).draw(5, 10)
        >>> circuits.shape, set(circuits.sum(1).tolist())
        ((10, 8), {5})
    """

    def __init__(self, sizes: tuple[int, ...], generator: torch.Generator | None = None) -> None:
        """
        Args:
            sizes: neurons of each layer, inputs first.
            generator: seeds the draws; None: torch's own.
        """
        self.edges = Edges(sizes)
        self._random = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))

    def draw(self, k: int, n: int) -> np.ndarray:
        """Returns n circuits of k edges `(n, E)` bool, drawn uniformly and independently.

        Raises:
            ArgumentError: there is no circuit of k edges, or none is drawn.
        """
        total = self.edges.n
        if not 0 < k <= total:
            raise ArgumentError("k", k, f"give a number of edges from 1 to {total}.")
        if k == total:
            return np.repeat(self.edges.full, n, axis=0)
        if len(self.edges.sizes) == 2:  # every set of edges is a circuit
            keys = self._random.random((n, total))
            return np.argsort(np.argsort(keys, axis=1), axis=1) < k
        weights = self._weights(k)
        found: list[np.ndarray] = []
        n_found = n_proposals = 0
        at_once = max(1, min(2048, NUMBERS_AT_ONCE // total))
        while n_found < n:
            proposals = self._proposals(weights, at_once)
            found.append(proposals[proposals.sum(1) == k])
            n_found += len(found[-1])
            n_proposals += at_once
            if not n_found and n_proposals > MOST_PROPOSALS:
                raise ArgumentError("k", k, "there seems to be no circuit of so many edges.")
        return np.concatenate(found)[:n]

    def _weights(self, k: int) -> _Weights:
        """Returns the weights for the λ with k expected edges, found by bisection of log λ."""
        sizes, low, high = self.edges.sizes, -20.0, 20.0
        for _ in range(40):
            middle = (low + high) / 2
            step = 1e-3
            slope = (_Weights.of(sizes, middle + step).total - _Weights.of(sizes, middle - step).total) / (2 * step)
            low, high = (middle, high) if slope < k else (low, middle)
            if abs(slope - k) < 0.05:
                break
        return _Weights.of(sizes, middle)

    def _proposals(self, weights: _Weights, n: int) -> np.ndarray:
        """Returns n circuits `(n, E)` with probabilities proportional to λ to the power of their edges."""
        random, sizes = self._random, self.edges.sizes
        share = weights.share
        n_active = self._active_numbers(weights, n)
        # The active neurons of each hidden layer, the first of a random order.
        orders = [np.argsort(random.random((n, size)), axis=1) for size in sizes[1:-1]]
        masks = []
        active = np.zeros((n, sizes[1]), dtype=bool)
        np.put_along_axis(active, orders[0], np.arange(sizes[1]) < n_active[0][:, None], axis=1)
        masks.append(self._not_empty((n, sizes[1], sizes[0]), share) & active[:, :, None])
        for layer in range(len(sizes) - 3):
            masks.append(
                self._covering(weights, layer, n_active[layer], n_active[layer + 1], orders[layer], orders[layer + 1])
            )
        last = np.zeros((n, sizes[-2]), dtype=bool)
        np.put_along_axis(last, orders[-1], np.arange(sizes[-2]) < n_active[-1][:, None], axis=1)
        masks.append((self._not_empty((n, sizes[-2], sizes[-1]), share) & last[:, :, None]).transpose(0, 2, 1))
        return rows_of(masks)

    def _active_numbers(self, weights: _Weights, n: int) -> list[np.ndarray]:
        """Returns the number of active neurons of each hidden layer, `(n,)` each."""
        chosen = [self._of_log(np.repeat(weights.behind[None], n, axis=0))]
        for layer in range(len(weights.before) - 2, -1, -1):
            logs = weights.before[layer][None, :] + weights.between[layer].logs[chosen[0]]  # by b, then a
            chosen.insert(0, self._of_log(logs))
        return chosen

    def _of_log(self, logs: np.ndarray) -> np.ndarray:
        """Returns an index for each row of logarithms of weights `(n, m)`."""
        cumulated = np.cumsum(np.exp(logs - logs.max(1, keepdims=True)), axis=1)
        at = self._random.random((len(logs), 1)) * cumulated[:, -1:]
        return (cumulated <= at).sum(1)

    def _not_empty(self, shape: tuple[int, int, int], share: float) -> np.ndarray:
        """Returns rows of independent booleans, each true with probability `share`, given that a row has a true one."""
        n_columns = shape[2]
        kept = self._random.random(shape, dtype=np.float32) < share
        # The first true one of a row is at i with probability ∝ (1 − share)^i.
        empty = -np.expm1(n_columns * np.log1p(-share)) if share < 1 else 1.0
        u = self._random.random(shape[:2])
        first = np.zeros(shape[:2], dtype=np.int64)
        if share < 1:
            first = np.minimum(np.log1p(-u * empty) // np.log1p(-share), n_columns - 1).astype(np.int64)
        columns = np.arange(n_columns)
        return (kept & (columns > first[..., None])) | (columns == first[..., None])

    def _covering(
        self,
        weights: _Weights,
        layer: int,
        n_sources: np.ndarray,
        n_targets: np.ndarray,
        sources: np.ndarray,
        targets: np.ndarray,
    ) -> np.ndarray:
        """Returns masks `(n, out, in)` between two hidden layers in which each active neuron has an edge.

        The active targets take sources one after the other, from the last to the first: after the first j of them, the
        first r of the active sources are covered. So r is followed backwards.
        """
        random, table = self._random, weights.between[layer]
        n, n_out, n_in = len(sources), targets.shape[1], sources.shape[1]
        ordered = np.zeros((n, n_out, n_in), dtype=bool)  # rows and columns in the random orders
        covered = n_sources.copy()
        columns = np.arange(n_in)
        for j in range(n_out, 0, -1):
            (taking,) = np.nonzero(n_targets >= j)
            if not len(taking):
                continue
            r = covered[taking]
            before = self._of_log(table.steps(j)[r])
            subset = random.random((len(taking), n_in), dtype=np.float32) < weights.share
            same = before == r  # the subset of covered sources may then not be empty
            if same.any():
                subset[same] = self._not_empty_first(r[same], n_in, weights.share)
            new = (columns >= before[:, None]) & (columns < r[:, None])
            ordered[taking, j - 1] = (subset & (columns < before[:, None])) | new
            covered[taking] = before
        masks = np.zeros_like(ordered)
        rows = np.arange(n)[:, None, None]
        masks[rows, targets[:, :, None], sources[:, None, :]] = ordered
        return masks

    def _not_empty_first(self, r: np.ndarray, n_columns: int, share: float) -> np.ndarray:
        """Returns rows with a true one among the first r columns, `(n, n_columns)`."""
        kept = self._random.random((len(r), n_columns), dtype=np.float32) < share
        empty = -np.expm1(r * np.log1p(-share))
        first = np.log1p(-self._random.random(len(r)) * empty) // np.log1p(-share)
        first = np.minimum(first, r - 1).astype(np.int64)
        columns = np.arange(n_columns)
        return (kept & (columns > first[:, None])) | (columns == first[:, None])


@dataclass(frozen=True)
class _Covers:
    """W(a, b) between two hidden layers, and its parts.

    Attributes:
        logs: `(n_out + 1, n_in + 1)`, log W(a, b) at [b, a].
        grown: `(n_in + 1, n_in + 1)`: log of C(r, r')·λ^(r − r')·((1 + λ)^r' − [r = r']) at [r, r']: the ways in which
            a target takes the covered sources from r' to r.
    """

    logs: np.ndarray
    grown: np.ndarray

    def steps(self, j: int) -> np.ndarray:
        """Returns the logarithms of the weights of r' before target j, at [r, r']."""
        return self.grown + self.logs[j - 1]


@dataclass(frozen=True)
class _Weights:
    """The weights of all circuits for one λ, as logarithms.

    Attributes:
        share: λ/(1 + λ), the probability of an edge that nothing else decides.
        before: for each hidden layer, the weight of what lies before it, by its active neurons.
        between: W of each two neighbouring hidden layers.
        behind: of all circuits, by the active neurons of the last hidden layer.
        total: of all circuits.
    """

    share: float
    before: list[np.ndarray]
    between: list[_Covers]
    behind: np.ndarray
    total: float

    @staticmethod
    def of(sizes: tuple[int, ...], log_lambda: float) -> _Weights:
        """Returns the weights of a chain with at least one hidden layer."""
        log_one_more = np.logaddexp(0.0, log_lambda)  # log(1 + λ)
        numbers = [np.arange(size + 1) for size in sizes]
        before = [_log_choose(sizes[1])[-1] + numbers[1] * _log_expm1(sizes[0] * log_one_more)]
        between = []
        for layer in range(1, len(sizes) - 2):
            covers = _covers(sizes[layer], sizes[layer + 1], log_lambda)
            between.append(covers)
            ways = _log_sum(before[-1][None, :] + covers.logs, axis=1)
            before.append(ways + _log_choose(sizes[layer + 1])[-1])
        before = [np.where(number == 0, -np.inf, logs) for number, logs in zip(numbers[1:-1], before, strict=True)]
        behind = before[-1] + numbers[-2] * _log_expm1(sizes[-1] * log_one_more)
        total = float(_log_sum(behind, axis=0))
        return _Weights(float(np.exp(log_lambda - log_one_more)), before, between, behind, total)


def _covers(n_in: int, n_out: int, log_lambda: float) -> _Covers:
    one_more = np.logaddexp(0.0, log_lambda)
    r, before = np.arange(n_in + 1)[:, None], np.arange(n_in + 1)[None, :]
    subsets = before * one_more + np.zeros_like(r)
    with np.errstate(divide="ignore"):
        not_empty = np.where(before > 0, _log_expm1(np.maximum(before, 1) * one_more), -np.inf)
    grown = np.where(r == before, not_empty, subsets) + np.where(r >= before, (r - before) * log_lambda, -np.inf)
    grown = grown + _log_choose(n_in)
    logs = [np.where(np.arange(n_in + 1) == 0, 0.0, -np.inf)]
    for _ in range(n_out):
        logs.append(_log_sum(grown + logs[-1][None, :], axis=1))
    return _Covers(np.stack(logs), grown)


@lru_cache(maxsize=64)
def _log_choose(n: int) -> np.ndarray:
    """Returns log C(a, b) at [a, b], a and b from 0 to n; −infinity where b is above a."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    a, b = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
    return np.where(a >= b, logs[a] - logs[b] - logs[np.maximum(a - b, 0)], -np.inf)


def _log_expm1(x: np.ndarray | float) -> np.ndarray:
    """Returns log(exp(x) − 1) of positive x."""
    return np.asarray(x) + np.log(-np.expm1(-np.asarray(x)))


def _log_sum(logs: np.ndarray, axis: int) -> np.ndarray:
    largest = logs.max(axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(logs - largest).sum(axis=axis)) + np.squeeze(largest, axis=axis)
