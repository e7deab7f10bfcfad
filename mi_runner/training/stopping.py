"""When does training end by the accuracy on held-out examples, and which weights are kept?

The last training examples are held out: no step uses them. After each step the network answers them. Training ends
after `stop_steps` steps without a better accuracy, where better is strictly better; with `keep_best` the network gets
the weights of the first step with the best accuracy.

Letters: N training examples, H held out.
"""

from __future__ import annotations

from mi_runner.errors import ArgumentError
from mi_runner.training.options import TrainingOptions


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
            ("keep_epochs", "stop_steps"),
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
        n_correct: correct answers after the latest step; None before the first.
        best: the most correct answers after any step.
        n_steps: steps so far.
        best_step: the first step, from 1, after which there were so many.
    """

    def __init__(self, stop_steps: int, n_examples: int) -> None:
        self.stop_steps, self.n_examples = stop_steps, n_examples
        self.n_correct: int | None = None
        self.best, self.n_steps, self.best_step = -1, 0, 0

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
            "held_out_accuracy": (self.n_correct or 0) / self.n_examples,
            "best_held_out_accuracy": self.best / self.n_examples,
            "stopped": self.stopped,
        }
