"""The examples that circuits are evaluated on, and their distinct rows in the order that the kernels need.

Letters: B examples, D distinct ones, G groups of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mi_runner.datasets.distinct import first_of_equal
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Layer
from mi_runner.methods.circuits.rounding import rounding_interval


@dataclass(frozen=True)
class CircuitExamples:
    """The examples that circuits are evaluated on.

    Attributes:
        x: `(B, n_0)` float32, the recorded activations that enter the part.
        target: `(B,)` float32; an answer is correct if the output, rounded half to even, equals it.
        full: `(B,)` float32, the full network's outputs.

    Example:
        >>> import torch
        >>> from mi_runner.circuits import CircuitExamples
        >>> examples = CircuitExamples(torch.rand(10, 3), target=torch.arange(10.0), full=torch.arange(10.0) + 0.1)
        >>> len(examples.x)
        10
    """

    x: Tensor
    target: Tensor
    full: Tensor

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.target) == len(self.full):
            problem = f"{len(self.x)} inputs, {len(self.target)} targets, {len(self.full)} outputs."
            raise ArgumentError(("x", "target", "full"), None, problem)

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class GroupedExamples:
    """Distinct examples, sorted by their correct answers and by how often they occur.

    See `kernels.evaluation`. Examples are equal if they have the same inputs and the same targets; the full network's
    output is then that of the first, for it may differ in the last digit.
    """

    x: np.ndarray
    full: np.ndarray
    groups: np.ndarray
    bounds: np.ndarray
    sizes: np.ndarray


def group_examples(output: Layer, examples: CircuitExamples) -> GroupedExamples:
    """Returns the distinct examples, grouped by their answers; `output` is the part's last layer."""
    x, full = examples.x.cpu().numpy(), examples.full.cpu().numpy()
    answers = torch.stack([examples.target, examples.full.round()], dim=1).cpu().numpy()
    rows = np.concatenate([x, answers], axis=1)
    index, occurrences = (indices.numpy() for indices in first_of_equal(torch.from_numpy(rows)))
    ascending = np.lexsort(rows[occurrences].T[::-1])  # by the first column, then by the second, ...
    first, counts = occurrences[ascending], np.bincount(index)[ascending]
    kinds, group = np.unique(np.column_stack([answers[first], counts]), axis=0, return_inverse=True)
    order = first[np.argsort(group.reshape(-1), kind="stable")]
    bounds = [
        [*rounding_interval(output, target), *rounding_interval(output, answer)] for target, answer, _ in kinds.tolist()
    ]
    return GroupedExamples(
        x=x[order],
        full=full[order],
        groups=np.concatenate([[0], np.cumsum(np.bincount(group.reshape(-1), minlength=len(kinds)))]).astype(np.int64),
        bounds=np.array(bounds, dtype=np.float32).reshape(-1, 4),
        sizes=kinds[:, 2].astype(np.float32),
    )
