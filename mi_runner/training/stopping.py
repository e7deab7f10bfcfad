"""When does training end by the accuracy on held-out examples, and which weights are kept?

The last training examples are held out: no step uses them. After each step the network answers them. Training ends
after `stop_steps` steps without a better accuracy, where better is strictly better; with `keep_best` the network gets
the weights of the first step with the best accuracy.

Letters: N training examples, H held out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError
from mi_runner.models.batches import BATCH, batches
from mi_runner.training.options import TrainingOptions

HELD_OUT_NUMBERS = 2**20
"""Numbers of the inputs of a forward pass on held-out examples: one of 10,000 small ones takes 0.6 times as long as
ten of 1,000."""


def n_held_out(n: int, options: TrainingOptions) -> int:
    """Returns how many of n training examples are held out: H, the last ones; 0 without `stop_steps`.

    Raises:
        ArgumentError: the options don't fit each other, or fewer than two examples are left to train on.
    """
    if options.stop_steps is None:
        if options.keep_best:
            problem = "{keep_best}=true keeps the weights that are best on held-out examples, and {stop_steps} is null:"
            raise ArgumentError(
                ("keep_best", "stop_steps"), "true", problem, "Type {stop_steps}=1024, or another number."
            )
        return 0
    if options.keep_epochs:
        raise ArgumentError(
            ("keep_epochs", "stop_steps", "keep_best"),
            "true",
            f"{{keep_epochs}}=true continues a training, which {{stop_steps}}={options.stop_steps} may have ended:",
            "use {stop_steps}=null and {keep_best}=false with it.",
        )
    if options.stop_examples > n - 2:
        raise ArgumentError(
            ("stop_examples", "stop_steps"),
            options.stop_examples,
            f"{{stop_examples}}={options.stop_examples} of {n} training examples are held out, and at least two must "
            "be left to train on.",
            "Type a smaller {stop_examples}, or {stop_steps}=null, which holds none out.",
        )
    return options.stop_examples


class Watch:
    """Counts the steps of one network's training since its accuracy on the held-out examples was better than before.

    Args:
        stop_steps: training ends after so many steps without a better accuracy.
        n_examples: H.

    Attributes:
        n_correct: correct answers after the latest step.
        best: the most correct answers after any step.
        n_steps: steps so far.
        best_step: the first step, from 1, after which there were so many.
    """

    def __init__(self, stop_steps: int, n_examples: int) -> None:
        self.stop_steps, self.n_examples = stop_steps, n_examples
        self.n_correct, self.best, self.n_steps, self.best_step = 0, -1, 0, 0

    def after_step(self, n_correct: int) -> bool:
        """Takes the number of correct answers after a step; returns whether no step before had as many."""
        self.n_correct = n_correct
        self.n_steps += 1
        if n_correct <= self.best:
            return False
        self.best, self.best_step = n_correct, self.n_steps
        return True

    @property
    def stopped(self) -> bool:
        """Whether training ends."""
        return self.n_steps - self.best_step >= self.stop_steps

    def columns(self) -> dict[str, float | bool]:
        """Returns what the history says of an epoch's end."""
        return {
            "held_out_accuracy": self.n_correct / self.n_examples,
            "best_held_out_accuracy": self.best / self.n_examples,
            "stopped": self.stopped,
        }


class Watched(Watch):
    """A network whose answers to held-out examples are watched; it keeps the best weights if the options say so."""

    def __init__(
        self, model: nn.Module, dataset: Dataset, *, stop_steps: int, n_examples: int, keeps_best: bool
    ) -> None:
        super().__init__(stop_steps, n_examples)
        self.model, self.kind = model, dataset.outputs
        self.x, self.y = dataset.x_train[-n_examples:], dataset.y_train[-n_examples:]
        self.at_once = most_at_once(dataset.input_shape)
        self.keeps_best = keeps_best
        self.best_state: list[Tensor] = []

    @torch.no_grad()
    def test_step(self) -> None:
        """Takes a step into account: answers the held-out examples in evaluation mode, and returns to training mode."""
        self.model.eval()
        targets = batches(self.y, self.at_once)
        answers = (self.model(x) for x in batches(self.x, self.at_once))
        if self.after_step(sum(int(self.kind.correct(*pair).sum()) for pair in zip(answers, targets, strict=True))):
            self.best_state = [tensor.clone() for tensor in self._state()]
        self.model.train()

    @torch.no_grad()
    def load_best(self) -> None:
        """Gives the network its best weights, if they are kept."""
        for kept, tensor in zip(self.best_state, self._state(), strict=True):
            tensor.copy_(kept)

    def _state(self) -> list[Tensor]:
        return [*self.model.parameters(), *self.model.buffers()] if self.keeps_best else []


def watched(model: nn.Module, dataset: Dataset, options: TrainingOptions) -> Watched | None:
    """Returns the network with the examples that the options hold out; None if they hold none out."""
    if options.stop_steps is None:
        return None
    n = n_held_out(len(dataset.x_train), options)
    return Watched(model, dataset, stop_steps=options.stop_steps, n_examples=n, keeps_best=options.keep_best)


def most_at_once(input_shape: Sequence[int]) -> int:
    """Returns how many held-out examples a forward pass takes."""
    return max(BATCH, HELD_OUT_NUMBERS // max(1, math.prod(input_shape)))
