"""An exact count of the valid circuits of a part with one output, where few distinct examples must all be right.

A census adds up every circuit. Here the last hidden layer's neurons are divided into two halves, and pairs of a choice
of masks for each half are counted without adding up each; see `kernels.halves`. What a pair's circuit answers depends
on the values of the neurons behind, so this is done once for each set of values that prefixes have.

A circuit's masks keep every active neuron behind the last hidden layer. The circuits with a prefix are therefore, by
inclusion and exclusion over the sets S of its active neurons,

    Σ_S (−1)^(active neurons that are not in S) · N(S),   N(S) the choices of masks within S.

N(S) depends only on the values of the neurons of S; prefixes that share these share N(S).

Letters: B examples, D distinct ones, J neurons of the last hidden layer, n neurons behind it, E edges, K sets S with
their neurons' values.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import comb

import numpy as np
from numba import get_num_threads

from mi_runner.errors import RunFailed
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import Means, means_of
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.examples import CircuitExamples, GroupedExamples, check_outputs, group_examples
from mi_runner.methods.circuits.kernels import halves as kernels
from mi_runner.methods.circuits.prefixes import PREFIXES_AT_ONCE, kernel_layers, prefixes_of
from mi_runner.methods.circuits.rounding import refuse_falling
from mi_runner.methods.circuits.space import MOST_EDGES, CircuitSpace
from mi_runner.progress import Progress


@dataclass(frozen=True)
class HalvesCount:
    """Exact counts of the valid circuits of a space.

    Attributes:
        space: the circuits.
        counts: `(n_hidden + 1, n_edges + 1)` int64: valid circuits by active neurons and kept edges.
        edge_counts: `(n_edges,)` int64: valid circuits that keep each edge.
        n_looked_up: pairs of choices that were decided one by one, because rounding may decide them.
    """

    space: CircuitSpace
    counts: np.ndarray
    edge_counts: np.ndarray
    n_looked_up: int

    @property
    def n_valid(self) -> int:
        """Number of valid circuits."""
        return int(self.counts.sum())

    @property
    def n_valid_partial(self) -> int:
        """Number of valid circuits that leave out at least one hidden neuron."""
        return int(self.counts[: self.space.n_hidden].sum())


def count_by_halves(
    part: Part,
    examples: CircuitExamples,
    *,
    ablation: str = "zero",
    inputs: str = "all",
    progress: Progress | None = None,
) -> HalvesCount:
    space, means = CircuitSpace(part.sizes, inputs), means_of(part, examples.x, ablation)
    goal = replace(examples, target=examples.goal.to(examples.target))
    grouped = group_examples(part.layers[-1], goal)
    sets = _sets_of(part, space, grouped.x, means)
    bounds = np.ascontiguousarray(np.repeat(grouped.wanted[:, :2].T, np.diff(grouped.groups), axis=1))
    layers = kernel_layers(part, means, has_several=False)
    n_neurons, n_inputs, n_threads = space.sizes[-2], space.sizes[-3], get_num_threads()
    n_last = n_neurons * (n_inputs + 1)
    k = len(sets.active)
    by_kind = np.zeros((k, n_neurons + 1, n_last + 1), dtype=np.int64)
    kept = np.zeros((k, n_neurons, n_inputs + 1), dtype=np.int64)
    n_looked = np.zeros(k, dtype=np.int64)
    order = np.argsort(-np.bitwise_count(sets.active.astype(np.uint64)).astype(np.int64), kind="stable")
    def work(place):
        i = order[place]
        n_looked[place] = kernels.count_within(
            sets.values[i], sets.active[i], *layers, bounds, 2**40, by_kind[place], kept[place]
        )

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, range(k)))
    weights = sets.weights[order]
    counts = np.zeros((space.n_hidden + 1, space.n_edges + 1), dtype=np.int64)
    start = space.offsets[-2]
    for nodes in range(sets.weights.shape[1]):
        for edges in range(start + 1):
            w = weights[:, nodes, edges]
            if w.any():
                counts[nodes : nodes + n_neurons + 1, edges : edges + n_last + 1] += np.tensordot(w, by_kind, 1)
    edge_counts = np.zeros(space.n_edges, dtype=np.int64)
    totals = by_kind.sum((1, 2))
    edge_counts[:start] = totals @ sets.edges[order]
    of_last = np.tensordot(weights.sum((1, 2)), kept, 1)
    edge_counts[start : start + n_neurons * n_inputs] = of_last[:, :n_inputs].reshape(-1)
    edge_counts[start + n_neurons * n_inputs :] = of_last[:, n_inputs]
    return HalvesCount(space, counts, edge_counts, int(n_looked.sum()))


@dataclass(frozen=True)
class _Sets:
    active: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    edges: np.ndarray


def _sets_of(part, space, x, means):
    n = space.sizes[-3]
    start = space.offsets[-2]
    n_before = space.n_hidden - space.sizes[-2]
    ids = [{} for _ in range(n)]
    found = {}
    active, values, weights, edges = [], [], [], []
    neuron_masks = [m for m in space.neuron_masks() if m < 1 << start]
    for prefixes in prefixes_of(part, space, x, PREFIXES_AT_ONCE, means):
        for bits, act, vals in zip(prefixes.bits.tolist(), prefixes.active.tolist(), prefixes.values + np.float32(0), strict=True):
            own = [ids[i].setdefault(vals[i].tobytes(), len(ids[i])) for i in range(n)]
            nodes = sum(bool(bits & m) for m in neuron_masks)
            n_edges = bits.bit_count()
            row = [(bits >> e) & 1 for e in range(start)]
            s = act
            while True:
                key = tuple(own[i] if s >> i & 1 else -1 for i in range(n))
                k = found.get(key)
                if k is None:
                    k = found[key] = len(active)
                    active.append(s)
                    values.append(vals)
                    weights.append(np.zeros((n_before + 1, start + 1), dtype=np.int64))
                    edges.append(np.zeros(start, dtype=np.int64))
                sign = (-1) ** (act & ~s).bit_count()
                weights[k][nodes, n_edges] += sign
                edges[k] += sign * np.array(row, dtype=np.int64)
                if not s:
                    break
                s = (s - 1) & act
    return _Sets(np.array(active), np.stack(values), np.stack(weights), np.stack(edges))
