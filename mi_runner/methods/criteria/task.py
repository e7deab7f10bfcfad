"""What does a criterion see? A part in float64, the test examples that enter it, and what left-out edges carry.

Letters: E edges, K circuits, N test examples, S examples of other data, P pairs, R resamples, sizes n_0 (inputs), …,
n_L (outputs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.datasets.distinct import first_of_equal, is_every_boolean_input
from mi_runner.datasets.outputs import Outputs
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import carried, means_of
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.criteria.records import NOISE

PAIRS = 2_000
"""Pairs of examples that interventions are tried on; all ordered pairs where no more qualify."""

NOISY = 10_000
"""Noisy inputs, at least: each test example is used so often that there are so many."""


Made = TypeVar("Made")


@dataclass(frozen=True)
class Weights:
    """How often each example is in each resample; of all examples 1 is the plain mean.

    Attributes:
        examples: `(N, R)`, of the test examples.
        shifted: `(S, R)`, of the examples of other data; None where there are none.
    """

    examples: np.ndarray
    shifted: np.ndarray | None = None

    @property
    def n(self) -> int:
        """How many resamples there are."""
        return self.examples.shape[1]


Resampled = Callable[[np.ndarray, Weights], np.ndarray]
"""`(rows (K',), weights) → (K', R)`, the numbers of the circuits in these rows of a `Scores` on resampled examples."""


@dataclass(frozen=True)
class Scores:
    """The numbers that a criterion gives to circuits.

    Attributes:
        values: `(K,)` float64 in 0..1, 1 the best; NaN where nothing can be said.
        resampled: the numbers on resampled examples; None: they don't depend on the examples, or it isn't known how.
        are_fixed: whether they don't depend on the examples. Of other numbers without `resampled` it isn't known how
            they do, so nothing is compared with them on resamples.
    """

    values: np.ndarray
    resampled: Resampled | None = field(default=None, repr=False)
    are_fixed: bool = False

    @classmethod
    def empty(cls, n: int) -> Scores:
        """Returns the scores of n circuits of which nothing can be said, whatever the examples are."""
        return cls(np.full(n, np.nan), are_fixed=True)


@dataclass(frozen=True, eq=False)
class Task:
    """What a criterion sees.

    Attributes:
        part: the analysed layers of one output, or of all that answer a class together; float64, on the CPU.
        x: `(N, n_0)` float64, the test examples as they enter the part.
        kind: what the outputs are, and so what an answer is.
        ablation: what a left-out edge carries, zero or mean; means are those over x.
        inputs: the family of circuits, all or any.
        pairs: how many pairs interventions are tried on.
        noise: standard deviations of noise.
        shift: `(S, n_0)` float64, other data as they enter the part; None: there are none.
        family: `(M,)` uint64, every well-formed circuit of the family; None: they are enumerated where they are few.
        allowed: `(E,)` bool, closed: the edges that circuits of the family may keep; None: every edge.
        every_input: whether the test examples are all Boolean inputs, so that none is sampled; None: x says it.
        seed: every random draw derives from it.
        device: where circuits run by tensor operations; None: on the CPU by the kernel.
        made: what `once` keeps.
    """

    part: Part
    x: Tensor
    kind: Outputs = Outputs.values
    ablation: str = "zero"
    inputs: str = "all"
    pairs: int = PAIRS
    noise: tuple[float, ...] = NOISE
    shift: Tensor | None = None
    family: np.ndarray | None = field(default=None, repr=False)
    allowed: np.ndarray | None = field(default=None, repr=False)
    every_input: bool | None = None
    seed: int = 0
    device: torch.device | None = None
    made: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def edges(self) -> Edges:
        """The edges of the part and their order."""
        return Edges(self.part.sizes)

    @property
    def largest(self) -> np.ndarray:
        """The largest circuit of the family, `(1, E)` bool."""
        return self.edges.full if self.allowed is None else self.allowed[None]

    @cached_property
    def means(self) -> tuple[Tensor, ...]:
        """What the source of a left-out edge carries, `(n_l,)` for each layer that edges leave: means, or zeros."""
        return carried(self.part, means_of(self.part, self.x, self.ablation))

    @cached_property
    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """The first of equal examples with equal answers `(D,)`, and the place of each example's own there, `(N,)`."""
        answers = torch.from_numpy(self.answers).to(self.x.dtype)
        place, first = first_of_equal(torch.cat([self.x, answers[:, None]], 1))
        return first.numpy(), place.numpy()

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """Returns what `make` returns; it is called once for each name, and all circuits share what it returns."""
        if name not in self.made:
            self.made[name] = make()
        found: Made = self.made[name]
        return found

    @cached_property
    def answers(self) -> np.ndarray:
        """The full network's answers on the test examples, `(N,)`."""
        return self.answered(self.part.without_softmax(self.x))

    def answered(self, outputs: Tensor) -> np.ndarray:
        """Returns the answers `(…)` of outputs `(…, n_L)`; where a softmax ends the part, of outputs before it."""
        return np.asarray(self.kind.answers(outputs).numpy())

    @cached_property
    def has_every_input(self) -> bool:
        """Whether the test examples are all Boolean inputs, each once, so that no example is sampled."""
        return is_every_boolean_input(self.x) if self.every_input is None else self.every_input

    @cached_property
    def differing_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Base and source `(P,)` int64 of ordered pairs whose answers differ; empty where none does.

        All such pairs if they are Boolean inputs or no more than `pairs`; otherwise drawn with replacement.
        """
        return self._pairs(self.answers, "differing pairs")

    @cached_property
    def any_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Base and source `(P,)` int64 of ordered pairs of two examples, chosen as `differing_pairs` are."""
        return self._pairs(np.arange(len(self.x)), "pairs")

    def _pairs(self, labels: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns ordered pairs of examples whose labels differ."""
        _, group = np.unique(labels, return_inverse=True)
        n, sizes = len(group), np.bincount(group)
        n_qualify = n * n - int((sizes.astype(np.int64) ** 2).sum())
        if self.has_every_input or n_qualify <= self.pairs:
            base, source = np.divmod(np.arange(n * n), n)
            differ = group[base] != group[source]
            return base[differ], source[differ]
        generator = chance.generator(self.seed, "criteria", name)
        found = np.empty((0, 2), dtype=np.int64)
        while len(found) < self.pairs:  # those that qualify, of pairs drawn uniformly, are uniform among these
            drawn = torch.randint(n, (4 * self.pairs, 2), generator=generator).numpy()
            found = np.concatenate([found, drawn[group[drawn[:, 0]] != group[drawn[:, 1]]]])
        return found[: self.pairs, 0], found[: self.pairs, 1]

    @cached_property
    def draws(self) -> tuple[np.ndarray, Tensor]:
        """The test example of each noisy input `(B,)`, and its standard normal noise `(B, n_0)`, the same for all σ.

        Each example is used ⌈10,000/N⌉ times. The noise is scaled by the standard deviation of each input unit over the
        test examples (divisor N).
        """
        n = len(self.x)
        example = np.tile(np.arange(n), -(-NOISY // n))
        generator = chance.generator(self.seed, "criteria", "noise")
        normal = torch.randn(len(example), self.x.shape[1], generator=generator, dtype=torch.float64)
        return example, normal * self.x.std(0, correction=0)
