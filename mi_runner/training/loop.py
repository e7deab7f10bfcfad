"""The training loop: batches indexed from a tensor, their order from its own generator, an optional regulariser."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, one_line
from mi_runner.machine import threads
from mi_runner.models.batches import outputs_of
from mi_runner.progress import Progress, log
from mi_runner.training import regularizers
from mi_runner.training.epochs import EpochProgress, merges_last, shuffled_batches
from mi_runner.training.evaluation import LossFunction, loss_function, score
from mi_runner.training.optimizers import make_optimizer
from mi_runner.training.options import TrainingOptions
from mi_runner.training.random_labels import trained_on
from mi_runner.training.regularizers import Regularizer
from mi_runner.training.stopping import Watched, n_held_out, watched

STEPS_BETWEEN_NOTES = 25
"""Training steps between two updates of the progress bar. Each update reads the loss, and so waits for the device."""

SMALL_STEP = 8e7
"""Multiplications of a training step's forward pass; below this number one thread is as fast as two.

Measured time with two threads, relative to one: 1.04 for 4e7, 1 for 8e7, 0.81 for 1.2e8, 0.67 for 5e8.
"""

REHEARSED = 2
"""Examples for the run that counts a network's multiplications."""

CHECKED = 1000
"""Examples whose outputs are checked before training."""


@dataclass(frozen=True)
class Progressed:
    """A training after some epochs: with the weights of then, what is needed to continue as if it had never stopped.

    Attributes:
        history: a row per epoch.
        optimizer: the optimizer's state.
        generators: the states of the generators of random numbers, by name.
    """

    history: Sequence[Mapping[str, Any]]
    optimizer: dict[str, Any]
    generators: Mapping[str, Tensor]


def train(
    model: nn.Module,
    dataset: Dataset,
    options: TrainingOptions,
    *,
    seed: int,
    regularizer: Regularizer | None = None,
    progress: Progress | None = None,
    begun: Progressed | None = None,
    keep: Callable[[Progressed], None] | None = None,
) -> list[dict[str, Any]]:
    """Trains `model` in place, leaves it in evaluation mode, and returns the history, a row per epoch.

    A row has `epoch`, `loss` (mean over the epoch's examples, without the regulariser), `test_loss` and
    `test_accuracy`. With a regulariser it also has `penalty` (its addition to the loss, mean over the steps) and the
    regulariser's value after the epoch, under the regulariser's name. With a `stop_loss` it has
    `reached`: whether the loss reached it, after which training ends. With `stop_steps` it has
    `steps` of the epoch, which may end before its examples do, `held_out_accuracy` after the last of them,
    `best_held_out_accuracy` of all steps so far, and `stopped`: whether training ends by it.

    Args:
        dataset: on the model's device.
        seed: the order of the batches derives from it.
        regularizer: adds a penalty to the loss of every step; None: the one that the options name, if any.
        begun: continues a training of the same options but for the epochs, whose weights the model has; None: begins.
        keep: is called after each epoch, with the model in evaluation mode.

    Raises:
        ArgumentError: as `check`.
        FloatingPointError: the loss, the penalty or a weight is not finite; the text names the epoch.
    """
    progress = progress or Progress()
    check(model, dataset, options)
    dataset = trained_on(dataset, options, seed)
    loss_of = loss_function(options, dataset)
    regularizer = regularizer or regularizers.regularizer(model, options)
    if not options.epochs:
        model.eval()
        return []
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(parameters, options)
    order = chance.generator(seed, "batch order")
    x, n = dataset.x_train, len(dataset.x_train) - n_held_out(len(dataset.x_train), options)
    watch = watched(model, dataset, options)
    steps = _Steps(model, dataset, loss_of, regularizer, optimizer, watch)
    merges_one = merges_last(model, x, n, options.batch_size, says=True)
    history: list[dict[str, Any]] = []
    if begun is not None:
        history = [dict(row) for row in begun.history]
        optimizer.load_state_dict(begun.optimizer)
        order.set_state(begun.generators["order"])

    # Dropout and similar modules draw from torch's global generator.
    with (
        chance.global_seed(seed, "training"),
        threads.exactly(threads_for(model, x, options.batch_size)),
        progress.bar("training", options.epochs * n) as advance,
    ):
        if begun is not None:
            _set_global_generators(begun.generators)
            advance(len(history) * n)
        for epoch in range(len(history) + 1, options.epochs + 1):
            epoch_progress = EpochProgress(advance, f"epoch {epoch}/{options.epochs}")
            batches = shuffled_batches(n, options.batch_size, generator=order, device=x.device, merges_one=merges_one)
            row: dict[str, Any] = {"epoch": epoch, **steps.take(batches, epoch_progress)}
            check_finite(row, all(bool(parameter.isfinite().all()) for parameter in parameters))
            row |= {**steps.tested(), **reached(row, options)}
            history.append(row)
            progress.rows("history", [row])
            _log_epoch(row, options, epoch_progress.speed)
            if keep is not None:
                generators = {"order": order.get_state(), **_global_generators(x.device)}
                keep(Progressed(tuple(history), optimizer.state_dict(), generators))
            if has_ended(row):
                break
    if watch is not None:
        watch.load_best()
    return history


def _log_epoch(row: Mapping[str, Any], options: TrainingOptions, speed: float) -> None:
    """Logs a row of the history, and why the training ends with it."""
    log.info(
        f"epoch {row['epoch']}/{options.epochs}  loss {row['loss']:.4f}  test loss {row['test_loss']:.4f}  "
        f"test accuracy {row['test_accuracy']:.4f}  {speed:,.0f} examples/s"
    )
    if row.get("reached"):
        log.info(f"stop_loss={options.stop_loss:g} is reached in epoch {row['epoch']}")
    if row.get("stopped"):
        log.info(f"{options.stop_steps} steps without a better accuracy on held-out examples in epoch {row['epoch']}")


@dataclass(frozen=True)
class _Steps:
    """The steps of a training of one network."""

    model: nn.Module
    dataset: Dataset
    loss_of: LossFunction
    regularizer: Regularizer | None
    optimizer: torch.optim.Optimizer
    watch: Watched | None

    def take(self, batches: Sequence[Tensor], progress: EpochProgress) -> dict[str, float]:
        """Takes a step for each of the batches, and returns what the history says of an epoch before it is tested.

        Where held-out examples are watched, no more steps are taken than these allow.
        """
        x, y, regularizer = self.dataset.x_train, self.dataset.y_train, self.regularizer
        self.model.train()
        total_loss = torch.zeros((), device=x.device)
        total_penalty = torch.zeros((), device=x.device)
        n_unreported, n_taken, step = 0, 0, 0
        for step, index in enumerate(batches, start=1):
            batch_loss = self.loss_of(self.model(x[index]), y[index])
            objective = batch_loss
            if regularizer is not None and regularizer.factor:
                penalty = regularizer.factor * regularizer.measure(self.model)
                objective = batch_loss + penalty
                total_penalty += penalty.detach()
            self.optimizer.zero_grad()
            objective.backward()
            self.optimizer.step()
            total_loss += batch_loss.detach() * len(index)
            n_unreported += len(index)
            n_taken += len(index)
            if self.watch is not None:
                self.watch.test_step()
            has_stopped = self.watch is not None and self.watch.stopped
            if step % STEPS_BETWEEN_NOTES == 0 or step == len(batches) or has_stopped:
                progress.report(n_unreported, float(batch_loss.detach()))
                n_unreported = 0
            if has_stopped:
                break
        self.model.eval()
        row: dict[str, float] = {} if self.watch is None else {"steps": step}
        row["loss"] = float(total_loss) / n_taken
        if regularizer is not None:
            row["penalty"] = float(total_penalty) / step
            with torch.no_grad():
                row[regularizer.name] = float(regularizer.measure(self.model))
        return row

    def tested(self) -> dict[str, float]:
        """Returns the loss and accuracy on the test set, and what is known of held-out examples."""
        dataset = self.dataset
        outputs = outputs_of(self.model, dataset.x_test, must_be_finite=False)
        found = score(outputs, dataset.y_test, self.loss_of, kind=dataset.outputs)
        held_out = {} if self.watch is None else self.watch.columns()
        return {"test_loss": found.loss, "test_accuracy": found.accuracy, **held_out}


def _global_generators(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return {**states, "cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def _set_global_generators(states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])


def reached(row: Mapping[str, Any], options: TrainingOptions) -> dict[str, bool]:
    """Returns what a history's row says of `stop_loss`: whether the loss is at or below it; empty without one."""
    return {} if options.stop_loss is None else {"reached": row["loss"] <= options.stop_loss}


def has_ended(row: Mapping[str, Any]) -> bool:
    """Returns whether training ends with this row of a history, by `stop_loss` or `stop_steps`."""
    return bool(row.get("reached") or row.get("stopped"))


def stop_epoch(history: Sequence[Mapping[str, Any]]) -> int | None:
    """Returns the epoch in which `stop_loss` or `stop_steps` ended the training; None if neither did."""
    return int(history[-1]["epoch"]) if history and has_ended(history[-1]) else None


def check_finite(row: dict[str, Any], weights_are_finite: bool) -> None:
    """Checks that the loss and penalty of a history's row and the weights are finite.

    Raises:
        FloatingPointError: a value isn't finite; the text names it and the epoch.
    """
    broken = [name for name in ("loss", "penalty") if not math.isfinite(row.get(name, 0.0))]
    if not broken and weights_are_finite:
        return
    what = f"the {broken[0]} is {row[broken[0]]}" if broken else "a weight is not finite"
    raise FloatingPointError(f"training diverged in epoch {row['epoch']}: {what}.")


def check(model: nn.Module, dataset: Dataset, options: TrainingOptions, *, sigmoid: str = "torch.nn.Sigmoid()") -> None:
    """Checks that model, data set, loss and optimizer fit each other, before training.

    Args:
        sigmoid: how an error says to give the network a sigmoid.

    Raises:
        ArgumentError: they don't fit; the text says what does.
    """
    loss_function(options, dataset)
    regularizers.regularizer(model, options)
    if options.momentum and options.optimizer != "sgd":
        raise ArgumentError(
            ("momentum", "optimizer"),
            options.momentum,
            f"{{momentum}}={options.momentum:g} is for {{optimizer}}=sgd; {{optimizer}}={options.optimizer} has none.",
        )
    if options.epochs and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ArgumentError(("model", "epochs"), None, "the model has no parameters to train:", "use {epochs}=0.")
    if options.epochs:
        held_out = n_held_out(len(dataset.x_train), options)
        _check_output_in_training(model, dataset)
        merges_last(model, dataset.x_train, len(dataset.x_train) - held_out, options.batch_size)
    if options.loss == "bce" and not dataset.outputs.are_of_classes:  # of a logit it is cross-entropy
        outputs = outputs_of(model, dataset.x_train[:CHECKED])
        if not bool(((outputs >= 0) & (outputs <= 1)).all()):
            remedy = f"end the network with a sigmoid ({sigmoid}), or use {{loss}}=mse."
            raise ArgumentError("loss", "bce", "{loss}=bce takes outputs in 0..1:", remedy)


def _check_output_in_training(model: nn.Module, dataset: Dataset) -> None:
    """Checks that the model returns one tensor with a gradient in training mode, too: some add inner outputs."""
    trained = copy.deepcopy(model).train()  # a forward pass may change a network's buffers
    with torch.random.fork_rng(), torch.enable_grad():
        try:
            output = trained(dataset.x_train[:2].clone())
        except Exception as error:
            problem = f"the model can't run on two examples in training mode: {one_line(error)}"
            raise ArgumentError("model", None, problem) from error
    if not isinstance(output, Tensor):
        raise ArgumentError(
            ("model", "arguments", "output", "epochs"),
            None,
            f"the model returns {type(output).__name__} in training mode, and training needs one tensor:",
            "turn the further outputs off, as {arguments}='{aux_logits: false}' does for some networks, take one of "
            "them ({output}=0), or bring trained weights and use {epochs}=0.",
        )
    if not output.requires_grad:
        raise ArgumentError(
            ("model", "epochs"),
            None,
            "no parameter gets a gradient from the model's output: its forward runs under torch.no_grad(), or detaches "
            "what it returns.",
            "Take that out, or bring trained weights and use {epochs}=0.",
        )


def threads_for(model: nn.Module, x: Tensor, batch_size: int) -> int:
    """Returns the number of CPU threads for a training step: 1 if the step is too small to divide, otherwise torch's.

    Args:
        x: `(N, *input)` examples; the network runs once on the first ones.
        batch_size: examples per step.
    """
    threads = torch.get_num_threads()
    return threads if threads == 1 or multiplications(model, x) * batch_size >= SMALL_STEP else 1


@torch.no_grad()
def multiplications(model: nn.Module, x: Tensor) -> int:
    """Returns the approximate number of multiplications of a forward pass per example of `x` `(N, *input)`.

    A layer's weight counts once per use: a Linear layer's for each vector that the layer takes, a convolution's for
    each position. Any other parameter counts once.
    """
    model = copy.deepcopy(model).eval()  # a forward pass may change a network's buffers
    layers = [layer for layer in model.modules() if isinstance(getattr(layer, "weight", None), Tensor)]
    of_layers = {id(layer.weight) for layer in layers}
    total = 0

    def count(layer: nn.Module, _: object, output: object) -> None:
        nonlocal total
        weight = layer.weight
        if isinstance(output, Tensor) and isinstance(weight, Tensor) and weight.dim() > 1:
            total += weight.numel() // len(weight) * output.numel()

    for layer in layers:
        layer.register_forward_hook(count)
    with torch.random.fork_rng(devices=[]):
        model(x[:REHEARSED])
    others = sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in of_layers)
    return total // len(x[:REHEARSED]) + others
