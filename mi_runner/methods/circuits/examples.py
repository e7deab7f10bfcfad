"""The examples that circuits are evaluated on, and their distinct rows in the order that the kernels need.

Letters: B examples, D distinct ones, G groups of them, K outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mi_runner.datasets.distinct import first_of_equal
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.rounding import rounding_interval

VALID_BY = ("task", "agreement", "relative")
"""What makes a circuit valid: its accuracy is above the threshold; its agreement with the full network is; its accuracy
is at least the threshold's share of the full network's."""

EXACT = 1e-9
"""Shares of whole numbers are exact up to this rounding."""


@dataclass(frozen=True)
class CircuitExamples:
    """The examples that circuits are evaluated on.

    Attributes:
        x: `(B, n_0)` float32, the recorded activations that enter the part.
        target: `(B,)`: float32 values, which the output, rounded half to even, equals where an answer is correct; or
            int64 classes.
        full: `(B,)` float32, the full network's outputs; of several outputs that answer a class `(B, K)`.
        kind: what the outputs are. Without one they are logits if the targets are integers, otherwise values.
        valid_by: what makes a circuit valid, one of `VALID_BY`.

    Raises:
        ArgumentError: the lengths differ, or outputs and targets are not of this kind.

    Example:
        >>> import torch
        >>> from mi_runner.circuits import CircuitExamples
        >>> examples = CircuitExamples(torch.rand(10, 3), target=torch.arange(10.0), full=torch.arange(10.0) + 0.1)
        >>> len(examples), examples.kind
        (10, <Outputs.values: 'values'>)
        >>> CircuitExamples(torch.rand(2, 3), target=torch.tensor([0, 1]), full=torch.eye(2)).kind
        <Outputs.logits: 'logits'>
    """

    x: Tensor
    target: Tensor
    full: Tensor
    kind: Outputs = None  # type: ignore[assignment]
    valid_by: str = "task"

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.target) == len(self.full):
            problem = f"{len(self.x)} inputs, {len(self.target)} targets, {len(self.full)} outputs."
            raise ArgumentError(("x", "target", "full"), None, problem)
        if self.kind is None:
            object.__setattr__(self, "kind", Outputs.values if self.target.is_floating_point() else Outputs.logits)
        if self.valid_by not in VALID_BY:
            raise ArgumentError("valid_by", self.valid_by, f"use {', '.join(VALID_BY)}.")
        if self.target.dim() != 1 or self.full.dim() != 1 + self.has_several:
            of_full, of_target = tuple(self.full.shape), tuple(self.target.shape)
            wanted = "(B, K), K at least 2" if self.has_several else "(B,)"
            problem = f"{self.kind.value} with outputs of shape {of_full} and targets of shape {of_target}:"
            remedy = f"give outputs {wanted} and targets (B,); of one output that answers two classes say the kind, "
            raise ArgumentError(("kind", "target", "full"), None, problem, f"{remedy}logit or probability.")
        n_classes = self.full.shape[1] if self.has_several else 2
        if self.kind.are_of_classes and len(self) and not 0 <= self.target.min() <= self.target.max() < n_classes:
            problem = f"a target is no class: there are {n_classes}."
            raise ArgumentError("target", None, problem, f"Give 0 to {n_classes - 1}.")

    @property
    def has_several(self) -> bool:
        """Whether several outputs answer a class together."""
        return self.kind.are_of_classes and not self.kind.are_of_one

    @property
    def targets(self) -> Tensor:
        """The targets `(B,)` as answers are: values rounded half to even, or classes."""
        return self.target if self.kind.are_of_classes else self.target.round()

    @property
    def full_answers(self) -> Tensor:
        """The full network's answers, `(B,)`."""
        return self.kind.answers(self.full if self.has_several else self.full[:, None])

    @property
    def goal(self) -> Tensor:
        """The answers `(B,)` that are right by the rule of validity: the targets, or the full network's."""
        return self.full_answers if self.valid_by == "agreement" else self.targets

    def fewest_right(self, threshold: float) -> int:
        """Returns the fewest right answers of a valid circuit; B + 1 if there are never enough.

        Args:
            threshold: the fraction of right answers is above it; with `relative` it is at least this share of the full
                network's, and above 0.
        """
        if self.valid_by == "relative":
            full = int((self.full_answers == self.targets).sum())
            return max(1, math.ceil(threshold * full - EXACT))
        return fewest_above(len(self), threshold)

    def __len__(self) -> int:
        return len(self.x)


def fewest_above(n_examples: int, threshold: float) -> int:
    """Returns the fewest of n examples whose fraction is above the threshold; n + 1 if no fraction is."""
    numbers = range(n_examples + 1)
    return next((right for right in numbers if right / n_examples > threshold), n_examples + 1)


def n_distinct(examples: CircuitExamples) -> int:
    """Returns how many of the examples differ in what enters the part, or in their target."""
    return len(first_of_equal(torch.column_stack([examples.x, examples.target]))[1])


def check_outputs(part: Part, examples: CircuitExamples) -> None:
    """Checks that examples have as many outputs as a part.

    Raises:
        ArgumentError: they have another number.
    """
    n_outputs = examples.full.shape[1] if examples.has_several else 1
    if part.sizes[-1] != n_outputs:
        problem = f"a part with {part.sizes[-1]} outputs, examples of {n_outputs}."
        remedy = "Values are analysed one output at a time: part.output(0); outputs of classes take full (B, K)."
        raise ArgumentError(("part", "examples"), None, problem, remedy)


def check_search(n_inputs: int, examples: CircuitExamples, accuracy_threshold: float) -> None:
    """Checks that examples enter a part of so many inputs, and a threshold.

    Raises:
        ArgumentError: there is no example, they have other inputs, or the threshold is not a number from 0 to 1.
    """
    if not len(examples) or examples.x.shape[1:] != (n_inputs,):
        given = f"examples.x of shape {tuple(examples.x.shape)}"
        remedy = f"give at least one row, of the {n_inputs} activations that enter the part."
        raise ArgumentError("examples", None, f"{given}:", remedy)
    check_share("accuracy_threshold", accuracy_threshold)


def check_share(name: str, share: float) -> None:
    """Raises an ArgumentError that names an option if its value is not a number from 0 to 1."""
    if not 0 <= share <= 1:
        raise ArgumentError(name, f"{share:g}", "give a number between 0 and 1.")


@dataclass(frozen=True)
class GroupedExamples:
    """Distinct examples, sorted by their correct answers and by how often they occur.

    See `kernels.evaluation` and `kernels.class_evaluation`. Examples are equal if they have the same inputs and the
    same targets; the full network's output is then that of the first, for it may differ in the last digit.

    Attributes:
        x: `(D, n_0)`.
        full: `(D,)`; of several outputs `(K, D)`.
        groups: `(G + 1,)`, where each group begins, and the end.
        wanted: `(G, 4)` float32, the intervals of the correct answer and of the full network's answer; of several
            outputs `(G, 2)` int64, these answers.
        sizes: `(G,)`, how often each example of a group occurs.
    """

    x: np.ndarray
    full: np.ndarray
    groups: np.ndarray
    wanted: np.ndarray
    sizes: np.ndarray


def group_examples(output: Layer, examples: CircuitExamples) -> GroupedExamples:
    """Returns the distinct examples, grouped by their answers; `output` is the part's last layer."""
    x, full, kind = examples.x.cpu().numpy(), examples.full.cpu().numpy(), examples.kind
    answers = torch.stack([examples.target, examples.full_answers], dim=1).float().cpu().numpy()
    rows = np.concatenate([x, answers], axis=1)
    index, occurrences = (indices.numpy() for indices in first_of_equal(torch.from_numpy(rows)))
    ascending = np.lexsort(rows[occurrences].T[::-1])  # by the first column, then by the second, ...
    first, counts = occurrences[ascending], np.bincount(index)[ascending]
    kinds, group = np.unique(np.column_stack([answers[first], counts]), axis=0, return_inverse=True)
    order = first[np.argsort(group.reshape(-1), kind="stable")]
    if examples.has_several:
        wanted: np.ndarray = kinds[:, :2].astype(np.int64)
    else:
        intervals = [[rounding_interval(output, answer, kind) for answer in pair] for pair in kinds[:, :2].tolist()]
        wanted = np.array(intervals, dtype=np.float32).reshape(-1, 4)
    return GroupedExamples(
        x=x[order],
        full=np.ascontiguousarray(full[order].T),
        groups=np.concatenate([[0], np.cumsum(np.bincount(group.reshape(-1), minlength=len(kinds)))]).astype(np.int64),
        wanted=wanted,
        sizes=kinds[:, 2].astype(np.float32),
    )
