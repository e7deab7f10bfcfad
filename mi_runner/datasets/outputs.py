"""What do a network's outputs mean, and what is its answer? Decided here, for every experiment.

Letters: B batch, K outputs, C classes.
"""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor


class Outputs(Enum):
    """What the outputs of a network are.

    - *values*: numbers. The answer is each output rounded to the nearest integer, half to even.
    - *logit*: one output, the log-odds of the second of two classes. The answer is the second class if it is above 0,
      otherwise the first.
    - *logits*: an output for each class, which a softmax makes probabilities. The answer is the class of the largest
      output, and of the first one among equals.
    - *probability*: one output in 0..1, the probability of the second of two classes. The answer is the second class if
      it is above ½, otherwise the first.
    - *probabilities*: the probability of each class. The answer is as that of logits.

    Example:
        >>> import torch
        >>> from mi_runner.datasets.outputs import Outputs
        >>> Outputs.logit.answers(torch.tensor([[-0.2], [0.4]]))
        tensor([0, 1])
        >>> Outputs.values.answers(torch.tensor([[-0.2], [0.6]]))
        tensor([-0., 1.])
    """

    values = "values"
    logit = "logit"
    logits = "logits"
    probability = "probability"
    probabilities = "probabilities"

    @property
    def are_of_classes(self) -> bool:
        """Whether an answer is a class; otherwise it is a number."""
        return self is not Outputs.values

    @property
    def are_of_one(self) -> bool:
        """Whether one output answers which of two classes it is."""
        return self in (Outputs.logit, Outputs.probability)

    @property
    def border(self) -> float:
        """The output above which the second of two classes is the answer, of one output that answers two classes."""
        return 0.5 if self is Outputs.probability else 0.0

    def answers(self, outputs: Tensor) -> Tensor:
        """Returns the answers of outputs `(..., K)`.

        Classes are `(...)` int64. Values are `(...)` for one output and `(..., K)` for several.
        """
        if self.are_of_one:
            return (outputs.squeeze(-1) > self.border).long()
        if self.are_of_classes:
            return outputs.argmax(-1)
        rounded = outputs.round()
        return rounded.squeeze(-1) if rounded.shape[-1] == 1 else rounded

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns whether each example's answer is its target, `(..., N)` bool; with several values, whether all are.

        A value is correct if output and target round to the same integer, half to even.

        Args:
            outputs: `(..., N, K)`.
            targets: `(N,)`, or `(N, K)` values.
        """
        if targets.dim() == 2:
            return (outputs.round() == targets.round()).all(-1)
        return self.answers(outputs) == (targets if self.are_of_classes else targets.round())

    def class_logits(self, outputs: Tensor) -> Tensor:
        """Returns the logits `(..., C)` of outputs `(..., K)` of classes; their softmax is the probabilities.

        A probability below the smallest normal number of its dtype counts as that, so that its logarithm is finite. Of
        one probability the other is known up to the resolution of numbers near 1, and counts as at least half of that:
        3·10⁻⁸ for float32, where a sigmoid's input is 17.
        """
        info = torch.finfo(outputs.dtype)
        if self is Outputs.logits:
            return outputs
        if self is Outputs.logit:
            return torch.cat([torch.zeros_like(outputs), outputs], -1)
        if self is Outputs.probability:
            outputs = torch.cat([(1 - outputs).clamp_min(info.eps / 4), outputs], -1)
        return outputs.clamp_min(info.tiny).log()

    def column_names(self, n_outputs: int) -> list[str]:
        """Returns what tables call the outputs: `logit_0`, `logit_1`, … for logits, `logit` for one."""
        word = {Outputs.values: "output", Outputs.logits: "logit", Outputs.probabilities: "probability"}
        one = word.get(self, self.value)
        return [one] if n_outputs == 1 and self is not Outputs.logits else [f"{one}_{k}" for k in range(n_outputs)]
