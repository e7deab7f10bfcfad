"""Circuits of one output, or of all that answer a class, with one ablation, judged by all circuits or uniform draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from torch import Tensor

from mi_runner import chance
from mi_runner.config.experiments.discovery import DiscoveryConfig
from mi_runner.experiments import Setting
from mi_runner.experiments.common.circuit_search import n_circuits
from mi_runner.experiments.discovery import figures
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.edges import Edges, bits_of, distinct, rows_of
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.family import search_family
from mi_runner.methods.circuits.minimality import LEVELS, minimality, minimality_by_search
from mi_runner.methods.circuits.search import CircuitSearch, search_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.discovery.find import Task
from mi_runner.methods.discovery.optimum import EveryCircuit, SampledCircuits
from mi_runner.methods.discovery.sampling import CircuitSampler
from mi_runner.tables.names import NONE

MOST_WORK_OF_MINIMALITY = 2e9
"""A circuit whose sub-circuits with one edge less take more multiplications has no level of minimality."""


def space_of(setting: Setting[DiscoveryConfig], part: Part) -> CircuitSpace | None:
    """Returns the space of all circuits, if it can be evaluated whole; where weights are planted it always is.

    That of more than 64 edges isn't, unless weights are planted: almost always it is far too large.
    """
    is_planted = setting.truth is not None
    if not (is_planted or Edges(part.sizes).fit_in_a_word):
        return None
    fits = n_circuits(part, "any", is_planted) <= setting.config.max_table_rows
    return CircuitSpace(part.sizes, "any") if fits else None


def family_of(setting: Setting[DiscoveryConfig], part: Part) -> np.ndarray | None:
    """Returns the edges that circuits may keep, `(E,)` bool: those of non-zero weight where weights are planted."""
    if setting.truth is None:
        return None
    return rows_of([layer.weight.cpu().numpy()[None] != 0 for layer in part.layers])[0]


@dataclass(frozen=True)
class Judgements:
    """The judgement of M circuits; each attribute is an array or a list `(M,)`.

    Attributes:
        percentile, low, high: among the circuits of as many edges; NaN where there are no others.
        level: the highest level of minimality that is proven, `none` of a valid circuit without any; empty where
            nothing is proven, and of circuits that are not valid.
        is_exact: whether the circuit reaches no higher level.
        found_correct: correct answers on the examples that circuits are found on.
        found_valid: whether the circuit is valid on these.
    """

    n_edges: np.ndarray
    n_correct: np.ndarray
    n_agreeing: np.ndarray
    mse: np.ndarray
    loss: np.ndarray
    percentile: np.ndarray
    low: np.ndarray
    high: np.ndarray
    is_valid: np.ndarray
    level: list[str]
    is_exact: list[bool]
    found_correct: np.ndarray
    found_valid: np.ndarray


class Judged:
    """An output with one ablation: its circuits, and what methods are compared with.

    Attributes:
        task, masked: on the examples that circuits are judged on. Their means are those that left-out edges carry.
        finding, finding_masked: on the examples that methods see, with the means over these; the same objects where
            these are the same examples.
        every, samples: all circuits judged, or samples of each size; the other is None.
        sizes: the numbers of edges k at which methods are compared.
        truth: `(E,)` bool, the circuit that is known as the truth; None: none is known.
        in_family: `(E,)` bool, the edges that circuits may keep.
        n_edges: how many edges the largest circuit keeps.
    """

    def __init__(
        self,
        setting: Setting[DiscoveryConfig],
        output: str | int,
        task: Task,
        examples: CircuitExamples,
        finding: tuple[Task, CircuitExamples] | None = None,
        truth: np.ndarray | None = None,
    ) -> None:
        """
        Args:
            task: on the examples that circuits are judged on.
            examples: the same, for circuits; they say what makes a circuit valid.
            finding: the same for the examples that they are found on; None: on those that they are judged on.
            truth: `(E,)` bool, the circuit that is known as the truth; None: none is known.
        """
        config = setting.config
        self.setting, self.output, self.task = setting, output, task
        self.examples, self.found_examples = examples, examples
        self.masked = task.masked(full=_outputs(examples))
        self.finding, self.finding_masked = task, self.masked
        if finding is not None:
            self.finding, self.found_examples = finding
            self.finding_masked = self.finding.masked(full=_outputs(self.found_examples))
        self.edges: Edges = self.masked.edges
        self.n_examples = len(task.x)
        self.n_finding = len(self.finding.x)
        threshold = config.accuracy_threshold
        self.valid_by = examples.valid_by
        self.least_right = examples.fewest_right(threshold)
        self.space = space_of(setting, task.part)
        self.truth, self.n_edges = truth, int(self.masked.start.sum())
        self.in_family = np.ones(self.edges.n, dtype=bool) if task.family is None else task.family
        self.sizes = _sizes(self.n_edges, self.n_edges + 1 if self.space else config.max_sizes)
        if truth is not None:
            self.sizes = np.union1d(self.sizes, [truth.sum()])
        self._of_empty: dict[int, tuple[float, float, float]] = {}
        self.every: EveryCircuit | None = None
        self.samples: SampledCircuits | None = None
        if self.space is not None:
            self.every = EveryCircuit(self.space, self._search().listed)
        else:
            sampler = CircuitSampler(
                task.part.sizes, chance.generator(setting.seed, "sampled circuits", output, task.ablation)
            )
            self.samples = SampledCircuits(self.masked, sampler.draw, config.samples)

    def _search(self) -> CircuitSearch:
        """Returns all circuits, measured."""
        config, task = self.setting.config, self.task
        search = search_circuits
        if task.family is not None:
            search = partial(search_family, family=int(bits_of(task.family[None])[0]))
        return search(
            task.part,
            self.examples,
            accuracy_threshold=config.accuracy_threshold,
            ablation=task.ablation,
            inputs="any",
            max_table_rows=config.max_table_rows,
            progress=self.setting.progress,
        )

    @property
    def description(self) -> str:
        """What is compared, for the log."""
        sizes = "-".join(map(str, self.task.part.sizes))
        drawn = f"{self.setting.config.samples:,} of each size, drawn"
        among = f"all {len(self.every.n_edges):,}" if self.every else drawn
        found = f", found on {self.n_finding:,} others" if self.is_found_elsewhere else ""
        return (
            f"output {self.output}, {self.task.ablation} ablation: circuits of layers of {sizes} neurons, {among}, "
            f"on {self.n_examples:,} examples{found}"
        )

    @property
    def is_found_elsewhere(self) -> bool:
        """Whether circuits are found on other examples than those that they are judged on."""
        return self.finding is not self.task

    @cached_property
    def is_valid(self) -> np.ndarray:
        """Which of all circuits are valid."""
        assert self.every is not None
        return self.every.measures.right(self.valid_by) >= self.least_right

    @cached_property
    def fewest_valid(self) -> int | None:
        """The number of edges of the smallest valid circuit; None if there is none, or if it is not known."""
        if self.every is None or not self.is_valid.any():
            return None
        return int(self.every.n_edges[self.is_valid].min())

    def judge(self, circuits: np.ndarray) -> Judgements:
        """Returns the judgement of closed circuits `(M, E)`."""
        first, index = distinct(circuits)
        some = circuits[first]
        measures = self.masked.measures(some)
        n_correct, n_agreeing = measures.n_correct, measures.n_agreeing
        if self.every is not None:  # the table's own counts, so that they are those of experiment=circuits
            rows = self.every.rows(some)
            listed = self.every.measures
            n_correct = np.where(rows < 0, n_correct, listed.n_correct[rows])
            n_agreeing = np.where(rows < 0, n_agreeing, listed.n_agreeing[rows])
            low = high = percentiles = self.every.percentiles(some)
        else:
            assert self.samples is not None
            percentiles, low, high = self.samples.percentiles(some, self.masked.objective(some))
        n_right = n_agreeing if self.valid_by == "agreement" else n_correct
        is_valid = (n_right >= self.least_right) & some.any(1)
        found_correct, found_valid = n_correct, is_valid
        if self.is_found_elsewhere:
            found = self.finding_masked.measures(some)
            least = self.found_examples.fewest_right(self.setting.config.accuracy_threshold)
            found_correct, found_valid = found.n_correct, (found.right(self.valid_by) >= least) & some.any(1)
        levels, is_exact = self._levels(some, is_valid)
        return Judgements(
            n_edges=some.sum(1)[index],
            n_correct=n_correct[index],
            n_agreeing=n_agreeing[index],
            mse=measures.mse[index],
            loss=measures.loss[index],
            percentile=percentiles[index],
            low=low[index],
            high=high[index],
            is_valid=is_valid[index],
            level=levels[index].tolist(),
            is_exact=is_exact[index].tolist(),
            found_correct=found_correct[index],
            found_valid=found_valid[index],
        )

    @cached_property
    def compared_sizes(self) -> frozenset[int]:
        """The sizes at which circuits have a percentile: one path to all edges but one, where circuits have others.

        Below no circuit has so many edges, and the full circuit is the only one of its size.
        """
        fewest = len(self.task.part.layers)
        return frozenset(k for k in self.sizes.tolist() if fewest <= k < self.n_edges)

    def percentile_at(self, k: int, rows: Judgements, place: int) -> tuple[float, float, float]:
        """Returns the percentile of the circuit that a method stands with at size k, and the ends of its interval.

        That of the empty circuit, which has no other of its size, is its place among the circuits of k edges; where
        there are none, of the next smaller number that has some. A circuit that is the only one of its size is at ½.
        So each method has one at the same sizes, whichever methods there are. NaN at the others.

        Args:
            place: of the circuit in `rows`.
        """
        if k not in self.compared_sizes:
            return math.nan, math.nan, math.nan
        if rows.n_edges[place] and math.isnan(rows.percentile[place]):
            return (0.5,) * 3
        if rows.n_edges[place]:
            return float(rows.percentile[place]), float(rows.low[place]), float(rows.high[place])
        return self._percentile_of_empty(k)

    def _percentile_of_empty(self, k: int) -> tuple[float, float, float]:
        if k not in self._of_empty:
            if self.every is not None:
                squares = float(self.masked.measures(self.edges.empty).mse[0]) * self.n_examples
                self._of_empty[k] = (self.every.percentile_of_empty(squares, k),) * 3
            else:
                assert self.samples is not None
                self._of_empty[k] = self.samples.percentile_of_empty(k)
        return self._of_empty[k]

    def _levels(self, circuits: np.ndarray, is_valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the highest proven level of minimality of each circuit, and whether it reaches no higher one.

        The level is `none` where a valid circuit reaches none, and empty where nothing is proven or it isn't valid.
        Where circuits are sampled, nobody knows the fewest edges of a valid one.
        """
        levels = np.full(len(circuits), "", dtype=object)
        is_exact = np.ones(len(circuits), dtype=bool)
        if self.every is not None and self.space is not None:
            valid = self.every.measures.circuit[self.is_valid]
            places = minimality(self.space, valid, bits_of(circuits[is_valid]))
            levels[is_valid] = [LEVELS[place] or NONE for place in places.tolist()]
            return levels, is_exact
        per_circuit = self.edges.n * self.n_examples
        small = is_valid & (circuits.sum(1) * per_circuit <= MOST_WORK_OF_MINIMALITY)
        is_exact[is_valid] = False
        places, is_exact[small] = minimality_by_search(
            self.edges.sizes,
            circuits[small],
            lambda kept: self.masked.measures(kept).right(self.valid_by) >= self.least_right,
            most=max(100, int(MOST_WORK_OF_MINIMALITY / per_circuit)),
        )
        proven = zip(places.tolist(), is_exact[small].tolist(), strict=True)
        levels[small] = [LEVELS[place] or (NONE if exact else "") for place, exact in proven]
        return levels, is_exact

    def curves(self, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> figures.Curves:
        """Returns what the figures of this ablation show."""

        def own(name: str) -> list[Mapping[str, Any]]:
            return [
                row
                for row in tables.get(name, ())
                if row["ablation"] == self.task.ablation and row["output"] == self.output
            ]

        shares = None if self.every is None else self.every.shares(self.is_valid)
        return figures.Curves(own("metrics"), own("sizes"), own("scores"), shares)


def _outputs(examples: CircuitExamples) -> Tensor:
    """Returns the whole network's outputs `(B, n_L)`."""
    return examples.full.reshape(len(examples), -1)


def _sizes(n_edges: int, most: int) -> np.ndarray:
    """Returns the sizes at which methods are judged, from 0 to all edges: all, or so many, in equal ratios."""
    if n_edges < most:
        return np.arange(n_edges + 1)
    spaced = np.geomspace(1, n_edges, most - 1).round().astype(int)
    return np.unique(np.concatenate([[0], spaced, [n_edges]]))
