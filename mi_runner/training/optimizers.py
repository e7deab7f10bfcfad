"""Torch's optimizers, without torch's compiler, whose import takes longer than all else of a short training."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from mi_runner.config.schemas import Optimizer, TrainingConfig


def make_optimizer(parameters: Sequence[Tensor], config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimizer that the config names; fused, because small networks spend their time between kernels."""
    common = {"lr": config.learning_rate, "weight_decay": config.weight_decay, "fused": True}
    if config.optimizer is Optimizer.sgd:
        return uncompiled(torch.optim.SGD, parameters, momentum=config.momentum, **common)
    kind = torch.optim.Adam if config.optimizer is Optimizer.adam else torch.optim.AdamW
    return uncompiled(kind, parameters, **common)


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
