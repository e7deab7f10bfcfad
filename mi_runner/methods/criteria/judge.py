"""All criteria of circuits of one part, behind one door.

Letters: K circuits, N test examples, R resamples, S examples of other data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.criteria.records import CRITERIA, NOISE, Criterion, criterion_of
from mi_runner.methods.criteria.task import PAIRS, Scores, Task, Weights
from mi_runner.progress import Progress


@dataclass(frozen=True, eq=False)
class Criteria:
    """The criteria of circuits.

    Attributes:
        circuits: `(K,)` uint64.
        scores: name → the numbers of the circuits; in the order of the criteria.
        task: what the criteria saw.
    """

    circuits: np.ndarray
    scores: Mapping[str, Scores]
    task: Task = field(repr=False)

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Name → `(K,)` float64 in 0..1, 1 the best; NaN where nothing can be said."""
        return {name: scores.values for name, scores in self.scores.items()}

    def resampled(self, rows: np.ndarray, n: int, *, seed: int = 0) -> dict[str, np.ndarray]:
        """Returns the criteria of some circuits on n resamples of the examples, name → `(K', n)`.

        Of a criterion that doesn't depend on the examples, or can't be resampled, `(K', 1)`.

        Args:
            rows: `(K',)`, of the circuits.
            n: resamples; each draws as many examples as there are, with replacement. A pair counts as often as both of
                its examples are drawn, multiplied.
            seed: of the draws.
        """
        weights = Weights(
            _counts(len(self.task.x), n, chance.generator(seed, "criteria", "resamples")),
            None
            if self.task.shift is None
            else _counts(len(self.task.shift), n, chance.generator(seed, "criteria", "resamples of shift")),
        )
        return {
            name: scores.values[rows, None] if scores.resampled is None else scores.resampled(rows, weights)
            for name, scores in self.scores.items()
        }


def _counts(n_examples: int, n: int, generator: torch.Generator) -> np.ndarray:
    """Returns how often each example is drawn in each resample, `(n_examples, n)` int64."""
    drawn = torch.randint(n_examples, (n, n_examples), generator=generator)
    return torch.stack([row.bincount(minlength=n_examples) for row in drawn], dim=1).numpy()


def criteria(
    part: Part,
    x: Tensor,
    circuits: np.ndarray | Sequence[int],
    *,
    names: Sequence[str | Criterion] | None = None,
    kind: Outputs = Outputs.values,
    ablation: str = "zero",
    inputs: str = "all",
    pairs: int = PAIRS,
    noise: Sequence[float] = NOISE,
    shift: Tensor | None = None,
    seed: int = 0,
) -> Criteria:
    """Returns what criteria say of circuits of a part.

    Args:
        part: of one output, or of several that answer a class together; `part.output(0)` is that of the first output.
        x: `(N, n_0)`, the test examples as they enter the part.
        circuits: `(K,)` uint64, well-formed circuits; those of a search are `search.valid`.
        names: of criteria, or records; None: all of the package.
        kind: what the outputs are.
        ablation: what a left-out edge carries, zero or mean.
        inputs: the family in which `rank` is, all or any.
        pairs: how many pairs of examples interventions are tried on; all where no more qualify.
        noise: standard deviations of noise, in those of each input unit.
        shift: `(S, n_0)`, other data as they enter the part; None: `shift` is empty.
        seed: every random draw derives from it.

    Raises:
        ArgumentError: a circuit isn't well formed, the examples aren't the part's, or an option is out of its range.
    """
    # TODO(kernel helper): doctest example, checks
    double = torch.zeros((), dtype=torch.float64)
    given = (None if shift is None else shift.to(double), None)
    task = Task(part.to(double), x.to(double), kind, ablation, inputs, pairs, tuple(noise), *given, seed=seed)
    return judge(task, np.asarray(circuits, dtype=np.uint64), names=names)


def judge(
    task: Task,
    circuits: np.ndarray,
    *,
    names: Sequence[str | Criterion] | None = None,
    progress: Progress | None = None,
) -> Criteria:
    """Returns what criteria say of circuits.

    Args:
        circuits: `(K,)` uint64, well-formed circuits.
        names: of criteria, or records; None: all of the package.
    """
    records = [one if isinstance(one, Criterion) else criterion_of(one) for one in names or CRITERIA]
    space = CircuitSpace(task.part.sizes, "any")
    if not space.are_well_formed(circuits).all():
        raise ArgumentError("circuits", None, "a circuit is not well formed.")
    scores: dict[str, Scores] = {}
    for record in records:
        function = record.load()
        for place, column in enumerate(record.columns(task.noise)):
            found = function(task, circuits, task.noise[place]) if record.by_noise else function(task, circuits)
            scores[column] = found if isinstance(found, Scores) else Scores(np.asarray(found, dtype=float))
    return Criteria(circuits, scores, task)
