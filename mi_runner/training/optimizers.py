"""Torch's optimizers without torch's compiler, because its import takes longer than a short training."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from mi_runner.errors import ArgumentError, unknown
from mi_runner.training.options import TrainingOptions

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
"""The update rules by name."""


def make_optimizer(parameters: Sequence[Tensor], options: TrainingOptions) -> torch.optim.Optimizer:
    """Returns the optimizer that the options name."""
    return optimizer_named(
        options.optimizer,
        parameters,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        momentum=options.momentum,
    )


def optimizer_named(
    name: str,
    parameters: Sequence[Tensor],
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
) -> torch.optim.Optimizer:
    """Returns the optimizer of this name; fused, because small networks spend their time between kernels.

    Args:
        name: one of `OPTIMIZERS`.
        momentum: for sgd; the other optimizers don't take it.

    Raises:
        ArgumentError: no optimizer has this name; the text lists the names.
    """
    if name not in OPTIMIZERS:
        raise ArgumentError("optimizer", name, unknown("optimizer", name, OPTIMIZERS))
    options: dict[str, object] = {"lr": learning_rate, "weight_decay": weight_decay, "fused": True}
    if name == "sgd":
        options["momentum"] = momentum
    return uncompiled(OPTIMIZERS[name], parameters, **options)


def uncompiled(
    kind: type[torch.optim.Optimizer], parameters: Sequence[Tensor], **options: Any
) -> torch.optim.Optimizer:
    """Returns an optimizer for eager mode: its steps are the same, but it doesn't import torch._dynamo.

    Torch wraps methods of every optimizer to hide them from its compiler, and imports the compiler at the first call of
    such a method. If the wrappers differ in a version of torch, the optimizer works too, after a slower start.

    Torch's own optimizer instead, measured with torch 2.15 on an AMD EPYC: `Adam(fused=True)` takes 160 times the
    processor time of this one until its first step is done (0.95 s and 0.006 s; `import torch` takes 1.6 s). This one's
    later steps take 0.4 to 0.9 times as long as torch's, and both give equal weights.
    """
    for wrapper in (torch.optim.Optimizer.add_param_group, torch.optim.Optimizer.zero_grad):
        inner = getattr(wrapper, "__wrapped__", None)
        if inner is not None and not hasattr(inner, "__dynamo_disable"):
            inner.__dynamo_disable = inner  # the wrapper keeps here the method that it hides from the compiler
    optimizer = kind(parameters, **options)
    # Without the wrappers, gradients must be turned off here. mypy allows no assignment of a method; here it is needed.
    optimizer.step = MethodType(torch.no_grad()(inspect.unwrap(kind.step)), optimizer)  # type: ignore[method-assign]
    return optimizer
