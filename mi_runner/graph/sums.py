"""Which values add up to a step's value, whatever way the sum is written?"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mi_runner.graph.evaluator import Ref, Step

ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
SUBTRACTIONS = (operator.sub, operator.isub, torch.sub, torch.subtract, "sub", "sub_", "subtract")
NEGATIONS = (operator.neg, torch.neg, torch.negative, "neg", "negative")
SUMS = (torch.sum, "sum")


def is_linear(module: nn.Module | None) -> bool:
    """Returns whether a module computes `x @ weight.T + bias` and nothing else: no subclass of Linear, and no hooks."""
    return type(module) is nn.Linear and not module._forward_hooks and not module._forward_pre_hooks


def terms(steps: Mapping[str, Step], name: str, whole: Collection[str] = ()) -> dict[str, float]:
    """Returns the values that a step's value is the sum of, with how often each counts; itself where it is no sum.

    They are in the order in which the sum names them, each once. All have the shape of the sum. Those of `whole` are
    not looked into.
    """
    counts: dict[str, float] = {}
    ahead = [(name, 1.0)]
    while ahead:
        name, times = ahead.pop()
        parts = [] if name in whole else _parts(steps, steps[name])
        if parts:
            ahead += [(part, times * sign) for part, sign in reversed(parts)]
        else:
            counts[name] = counts.get(name, 0.0) + times
    return counts


def _parts(steps: Mapping[str, Step], step: Step) -> list[tuple[str, float]]:
    """Returns what a single operation adds up, with its sign; empty where it is no sum of values of its own shape."""
    found: list[tuple[Any, float]] = []
    arguments, options = list(step.args), dict(step.kwargs)
    arguments += [options.pop(name) for name in ("input", "other") if name in options]
    if step.operation not in ("function", "method"):
        return []
    if step.target in (*ADDITIONS, *SUBTRACTIONS) and len(arguments) == 2:
        times = options.pop("alpha", 1)
        found = [(arguments[0], 1.0), (arguments[1], times if step.target in ADDITIONS else -times)]
    elif step.target in NEGATIONS and len(arguments) == 1:
        found = [(arguments[0], -1.0)]
    elif step.target in SUMS and arguments and isinstance(arguments[0], Ref):
        over = [*arguments[1:], *(options.pop(name) for name in ("dim", "axis") if name in options)]
        found = [(argument, 1.0) for argument in _stacked(steps[arguments[0].name], over)]
    found = [(argument, times) for argument, times in found if not (type(argument) in (int, float) and argument == 0)]
    if options or not all(isinstance(argument, Ref) and _alike(steps[argument.name], step) for argument, _ in found):
        return []
    return [(argument.name, float(times)) for argument, times in found]


def _stacked(stack: Step, over: Sequence[Any]) -> Sequence[Any]:
    """Returns the values that are stacked along the dimension that is summed over; empty for any other operation."""
    if stack.operation != "function" or stack.target is not torch.stack or not stack.args:
        return ()
    along = stack.args[1] if len(stack.args) > 1 else stack.kwargs.get("dim", 0)
    return tuple(stack.args[0]) if list(over) == [along] else ()


def _alike(step: Step, other: Step) -> bool:
    """Returns whether both values have the same shape, apart from the batch, and the same dtype."""
    if step.value is None or other.value is None:
        return False
    return (step.value.shape, step.value.dtype) == (other.value.shape, other.value.dtype)
