"""The one training loop: batches indexed from a tensor, one generator for their order, a place for a regulariser."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mi_runner import chance, threads
from mi_runner.batches import outputs_of
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError
from mi_runner.progress import Progress, log
from mi_runner.training import regularizers
from mi_runner.training.evaluation import loss_function, score
from mi_runner.training.optimizers import make_optimizer
from mi_runner.training.options import TrainingOptions
from mi_runner.training.regularizers import Regularizer

STEPS_BETWEEN_NOTES = 25
"""Training steps between two readings of the loss for the progress bar, each of which waits for the device."""

SMALL_STEP = 8e7
"""Multiplications of a training step's forward pass below which one thread is as fast as two.

Measured: 4e7 take two threads 1.04 times as long as one, 8e7 as long, 1.2e8 0.81 times and 5e8 0.67 times.
"""

REHEARSED = 2
"""Examples on which a network is run to count its multiplications."""

CHECKED = 1000
"""Examples whose outputs are looked at before training."""


def train(
    model: nn.Module,
    dataset: Dataset,
    options: TrainingOptions,
    *,
    seed: int,
    regularizer: Regularizer | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Train `model` in place and leave it in evaluation mode; returns the history, a row per epoch.

    Rows have `epoch`, `loss` (mean over the epoch's examples, without the regulariser), if there is a regulariser
    `penalty` (what it added to the loss, mean over the steps) and its value after the epoch under its own name,
    `test_loss`, `test_accuracy`; and with a `stop_loss` whether it was `reached`, after which training ends.

    Args:
        dataset: on the model's device.
        seed: the order of the batches derives from it.
        regularizer: a share in the loss of every step; None: the one that the options name, if any.

    Raises:
        ArgumentError: what `check` finds.
        FloatingPointError: the loss, the regulariser or a weight is no longer finite; the text names the epoch.
    """
    progress = progress or Progress()
    check(model, dataset, options)
    loss_of = loss_function(options, dataset)
    regularizer = regularizer or regularizers.regularizer(model, options)
    if not options.epochs:
        model.eval()
        return []
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(parameters, options)
    order = chance.generator(seed, "batch order")
    x, y = dataset.x_train, dataset.y_train
    history: list[dict[str, Any]] = []

    # Dropout and its like draw from torch's global generator.
    with (
        chance.global_seed(seed, "training"),
        threads.exactly(threads_for(model, x, options.batch_size)),
        progress.bar("training", options.epochs * len(x)) as advance,
    ):
        for epoch in range(1, options.epochs + 1):
            began = time.perf_counter()
            model.train()
            total_loss = torch.zeros((), device=x.device)
            total_penalty = torch.zeros((), device=x.device)
            shuffled = torch.randperm(len(x), generator=order).to(x.device).split(options.batch_size)
            done = reported = 0
            for step, index in enumerate(shuffled, start=1):
                batch_loss = loss_of(model(x[index]), y[index])
                objective = batch_loss
                if regularizer is not None and regularizer.factor:
                    penalty = regularizer.factor * regularizer.measure(model)
                    objective = batch_loss + penalty
                    total_penalty += penalty.detach()
                optimizer.zero_grad()
                objective.backward()
                optimizer.step()
                total_loss += batch_loss.detach() * len(index)
                done += len(index)
                if step % STEPS_BETWEEN_NOTES == 0 or done == len(x):
                    speed = done / (time.perf_counter() - began)
                    note = f"epoch {epoch}/{options.epochs}  loss {float(batch_loss.detach()):.4f}  {speed:,.0f}/s"
                    advance(done - reported, note)
                    reported = done
            model.eval()
            row: dict[str, Any] = {"epoch": epoch, "loss": float(total_loss) / len(x)}
            if regularizer is not None:
                row["penalty"] = float(total_penalty) / len(shuffled)
                with torch.no_grad():
                    row[regularizer.name] = float(regularizer.measure(model))
            check_finite(row, all(bool(parameter.isfinite().all()) for parameter in parameters))
            tested = score(outputs_of(model, dataset.x_test), dataset.y_test, loss_of, classes=dataset.has_classes)
            row |= {"test_loss": tested.loss, "test_accuracy": tested.accuracy, **reached(row, options)}
            history.append(row)
            progress.rows("history", [row])
            speed = len(x) / (time.perf_counter() - began)
            log.info(
                f"epoch {epoch}/{options.epochs}  loss {row['loss']:.4f}  test loss {tested.loss:.4f}  "
                f"test accuracy {tested.accuracy:.4f}  {speed:,.0f} examples/s"
            )
            if row.get("reached"):
                log.info(f"stop_loss={options.stop_loss:g} is reached in epoch {epoch}")
                break
    return history


def reached(row: Mapping[str, Any], options: TrainingOptions) -> dict[str, bool]:
    """What a history's row says of `stop_loss`: whether the loss is at or below it; nothing where there is none."""
    return {} if options.stop_loss is None else {"reached": row["loss"] <= options.stop_loss}


def stop_epoch(history: Sequence[Mapping[str, Any]]) -> int | None:
    """The epoch in which `stop_loss` was reached; None where it wasn't, or there was none."""
    return int(history[-1]["epoch"]) if history and history[-1].get("reached") else None


def check_finite(row: dict[str, Any], weights_are_finite: bool) -> None:
    """Training goes on: the loss and penalty of a history's row, and the weights after it, are finite.

    Raises:
        FloatingPointError: one isn't; the text names it and the epoch.
    """
    broken = [name for name in ("loss", "penalty") if not math.isfinite(row.get(name, 0.0))]
    if not broken and weights_are_finite:
        return
    what = f"the {broken[0]} is {row[broken[0]]}" if broken else "a weight is not finite"
    raise FloatingPointError(f"training diverged in epoch {row['epoch']}: {what}.")


def check(model: nn.Module, dataset: Dataset, options: TrainingOptions) -> None:
    """Training can begin: loss, data set, outputs and optimizer fit.

    Raises:
        ArgumentError: they don't; the text says what fits.
    """
    loss_function(options, dataset)
    regularizers.regularizer(model, options)
    if options.momentum and options.optimizer != "sgd":
        raise ArgumentError(f"momentum={options.momentum:g} is for optimizer=sgd; {options.optimizer} has none.")
    if options.epochs and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ArgumentError("the model has no parameters to train: use epochs=0.")
    if options.loss == "bce":
        outputs = outputs_of(model, dataset.x_train[:CHECKED])
        if not bool(((outputs >= 0) & (outputs <= 1)).all()):
            raise ArgumentError(
                "loss=bce takes outputs in 0..1: end the network with a sigmoid (output_activation=sigmoid), "
                "or use loss=mse."
            )


def threads_for(model: nn.Module, x: Tensor, batch_size: int) -> int:
    """The CPU threads of a training step: one where it is too small to divide, otherwise torch's present number.

    Args:
        x: `(N, *input)` examples; the network is run once on the first ones.
        batch_size: the examples of a step.
    """
    threads = torch.get_num_threads()
    return threads if threads == 1 or multiplications(model, x) * batch_size >= SMALL_STEP else 1


@torch.no_grad()
def multiplications(model: nn.Module, x: Tensor) -> int:
    """About how many multiplications a forward pass takes for one example of `x` `(N, *input)`.

    Each weight of a layer counts once for each use: that of a Linear layer for each vector that the layer is applied
    to, that of a convolution for each place. A parameter that is no layer's `weight` counts once.
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
