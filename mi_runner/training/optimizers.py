"""Torch's optimizers, without torch's compiler, whose import takes longer than all else of a short training."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from mi_runner.config.training_schema import TrainingConfig
from mi_runner.errors import unknown

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
"""The update rules by name."""


def make_optimizer(parameters: Sequence[Tensor], config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimizer that the config names."""
    return optimizer_named(
        config.optimizer.name,
        parameters,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
    )


def optimizer_named(
    name: str,
    parameters: Sequence[Tensor],
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
) -> torch.optim.Optimizer:
    """The optimizer of this name; fused, because small networks spend their time between kernels.

    Args:
        name: one of `OPTIMIZERS`.
        momentum: of sgd; the others have their own.

    Raises:
        ValueError: there is no optimizer of this name; the text lists them.
    """
    if name not in OPTIMIZERS:
        raise ValueError(unknown("optimizer", name, OPTIMIZERS))
    options: dict[str, object] = {"lr": learning_rate, "weight_decay": weight_decay, "fused": True}
    if name == "sgd":
        options["momentum"] = momentum
    return uncompiled(OPTIMIZERS[name], parameters, **options)


def uncompiled(
    kind: type[torch.optim.Optimizer], parameters: Sequence[Tensor], **options: Any
) -> torch.optim.Optimizer:
    """An optimizer for eager mode only: step by step the same numbers, and torch._dynamo is not imported for it.

    Torch wraps methods of every optimizer to hide them from its compiler, and imports the compiler when such a method
    is first called. Where the wrappers look different in a version of torch, all works the same, a slower start aside.
    """
    for wrapper in (torch.optim.Optimizer.add_param_group, torch.optim.Optimizer.zero_grad):
        inner = getattr(wrapper, "__wrapped__", None)
        if inner is not None and not hasattr(inner, "__dynamo_disable"):
            inner.__dynamo_disable = inner  # where the wrapper keeps "this method, hidden from the compiler"
    optimizer = kind(parameters, **options)
    # Below the wrappers nothing turns gradients off any more. To mypy a method can't be assigned; here it is the point.
    optimizer.step = MethodType(torch.no_grad()(inspect.unwrap(kind.step)), optimizer)  # type: ignore[method-assign]
    return optimizer
