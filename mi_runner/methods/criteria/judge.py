"""All criteria of circuits of one part, behind one door.

Letters: K circuits, N test examples, R resamples, S examples of other data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import check_ablation
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

        Of a criterion that doesn't depend on the examples `(K', 1)`. Where it isn't known how one depends on them, it
        is left out: `rank` in a family of more than 200,000 circuits, and a function that returns an array.

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
            if scores.resampled is not None or scores.are_fixed
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
        x: `(N, n_0)`, the test examples as they enter the part; circuits run on their device.
        circuits: `(K,)` uint64, well-formed circuits; those of a search are `search.valid`.
        names: of criteria, or records; None: those that a run has by default.
        kind: what the outputs are.
        ablation: what a left-out edge carries, zero or mean.
        inputs: the family in which `rank` is, all or any.
        pairs: how many pairs of examples interventions are tried on; all where no more qualify.
        noise: standard deviations of noise, in those of each input unit.
        shift: `(S, n_0)`, other data as they enter the part; None: `shift` is empty.
        seed: every random draw derives from it.

    Raises:
        ArgumentError: a circuit isn't well formed, the part has more than 64 edges, the examples aren't the part's, or
            an option is out of its range.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.circuits import criteria
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> weights = [[1, 1], [1, 1]], [0, -1], [[1, -2]], [0]
        >>> for parameter, values in zip(net.parameters(), weights):
        ...     parameter.data = torch.tensor(values).float()
        >>> part = find_part(ModelGraph.trace(net, torch.zeros(1, 2)), None)
        >>> x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> part(x).squeeze(1)  # exclusive or
        tensor([0., 1., 1., 0.])
        >>> found = criteria(part, x, [0b111111, 0b010011], names=["agreement", "sufficiency", "parsimony"])
        >>> found.values["agreement"]  # the full circuit, and that of the first hidden neuron alone
        array([1.  , 0.75])
        >>> found.values["parsimony"].round(2)
        array([0. , 0.5])
    """
    part, x = part.to(_DOUBLE), _checked_examples("x", x, part)
    check_ablation(ablation)
    _check_kind(kind, part)
    _check_numbers(pairs, noise)
    given = None if shift is None else _checked_examples("shift", shift, part).cpu()
    CircuitSpace(part.sizes, inputs).in_a_word()
    device = None if x.device.type == "cpu" else x.device
    part, x = part.to(torch.device("cpu")), x.cpu()
    task = Task(part, x, kind, ablation, inputs, pairs, tuple(noise), given, seed=seed, device=device)
    return judge(task, _checked_circuits(circuits), names=names)


_DOUBLE = torch.zeros((), dtype=torch.float64)


def _checked_examples(name: str, x: Tensor, part: Part) -> Tensor:
    """Returns the examples `(N, n_0)` in float64.

    Raises:
        ArgumentError: they are of another shape, none, or not finite.
    """
    if x.dim() != 2 or x.shape[1] != part.sizes[0] or not len(x):
        problem = f"examples of shape {tuple(x.shape)}:"
        raise ArgumentError(name, None, problem, f"give (N, {part.sizes[0]}), N at least 1: what enters the part.")
    if not x.isfinite().all():
        raise ArgumentError(name, None, f"a value of {name} is not finite.")
    return x.detach().to(_DOUBLE)


def _checked_circuits(circuits: np.ndarray | Sequence[int]) -> np.ndarray:
    """Returns the circuits `(K,)` uint64.

    Raises:
        ArgumentError: they are no whole numbers from 0 to 2⁶⁴ − 1.
    """
    given = np.asarray(circuits, dtype=np.uint64 if not len(circuits) else None)
    if given.ndim != 1 or given.dtype.kind not in "iu" or (given < 0).any():
        problem = f"circuits of shape {given.shape} and type {given.dtype}:"
        raise ArgumentError("circuits", None, problem, "give (K,) whole numbers: bit e says if edge e is kept.")
    return given.astype(np.uint64)


def _check_kind(kind: Outputs, part: Part) -> None:
    """Raises an ArgumentError if the part's outputs can't be of a kind."""
    n_outputs = part.sizes[-1]
    has_several = kind.are_of_classes and not kind.are_of_one
    if has_several != (n_outputs > 1):
        of_one, of_several = "values, logit or probability", "logits or probabilities"
        problem = f"the part has {n_outputs} output{'s' * (n_outputs > 1)}:"
        remedy = f"of one use {of_one}, and of several that answer a class together {of_several}; "
        raise ArgumentError("kind", kind.value, problem, f"{remedy}part.output(0) has the first output alone.")


def _check_numbers(pairs: int, noise: Sequence[float]) -> None:
    """Raises an ArgumentError if a number is out of its range."""
    if pairs < 1:
        raise ArgumentError("pairs", pairs, "give at least 1.")
    for sigma in noise:
        if not (math.isfinite(sigma) and sigma >= 0):
            raise ArgumentError("noise", sigma, "a standard deviation is finite and not below 0.")
    columns = [f"{sigma:g}" for sigma in noise]
    if len(set(columns)) < len(columns):
        raise ArgumentError("noise", list(noise), "two standard deviations are equal; each names a column.")


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
        names: of criteria, or records; None: those that a run has by default.
        progress: a step is a criterion, or one of its standard deviations.

    Raises:
        ArgumentError: a circuit isn't well formed, or a criterion doesn't give one number in 0..1 for each circuit.
    """
    if names is None:
        names = [criterion for criterion in CRITERIA if criterion.is_default]
    records = [one if isinstance(one, Criterion) else criterion_of(one) for one in names]
    is_formed = CircuitSpace(task.part.sizes, "any").in_a_word().are_well_formed(circuits)
    if not is_formed.all():
        remedy = "Each hidden neuron has an incoming edge exactly if it has an outgoing one, and an edge is kept."
        raise ArgumentError("circuits", int(circuits[~is_formed][0]), "it is not well formed.", remedy)
    scores: dict[str, Scores] = {}
    n_columns = sum(len(record.columns(task.noise)) for record in records)
    with (progress or Progress()).bar("criteria", n_columns) as advance:
        for record in records:
            for place, column in enumerate(record.columns(task.noise)):
                given = (task.noise[place],) if record.by_noise else ()
                scores[column] = _checked_scores(record, record.load()(task, circuits, *given), len(circuits))
                advance(1, column)
    return Criteria(circuits, scores, task)


def _checked_scores(record: Criterion, found: Any, n: int) -> Scores:
    """Returns the scores that a criterion's function returned.

    Raises:
        ArgumentError: they are not one number for each circuit, or one is outside 0..1.
    """
    scores = found if isinstance(found, Scores) else Scores(np.asarray(found, dtype=float))
    if scores.values.shape != (n,):
        problem = f"the criterion {record.name} gives numbers of shape {scores.values.shape}, not ({n},)."
        raise ArgumentError("names", None, problem)
    if ((scores.values < 0) | (scores.values > 1)).any():
        raise ArgumentError("names", None, f"the criterion {record.name} gives a number outside 0 to 1.")
    return scores
