"""A network and a data set whose forms differ in a way that has one remedy: the form is changed, and a line says so.

    what differs                                                   what is done
    the network takes integers, such as tokens; x holds such       x is int64, not float32
    it returns `(N,)`, and one output is needed                    `(N, 1)`
    it returns images, or more axes, with as many numbers          flattened, `(N, outputs)`, as targets are

Letters: N examples.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, fx, nn

from mi_runner.datasets import Dataset


def inputs_that_fit(model: nn.Module, dataset: Dataset) -> tuple[Dataset, str]:
    """Returns the data set with inputs that the network takes, and a line that says what was changed, or none.

    Inputs that are integers are int64 for a network that can't run on float32, and float32 for one that can't run on
    int64. Others stay as they are.
    """
    failed = _failure(model, dataset.x_train)
    if failed is None or not dataset.has_integers:
        return dataset, ""
    floating = dataset.x_train.is_floating_point()
    other = dataset.with_inputs(torch.int64 if floating else torch.float32)
    asks = floating and "indices" in failed and "Long" in failed  # an Embedding, whatever else is wrong
    if not asks and _failure(model, other.x_train) is not None:
        return dataset, ""
    taken = (
        "integers (int64), because it can't run on float32" if floating else "float32, because it can't run on int64"
    )
    return other, f"{type(model).__name__} gets its inputs as {taken}"


def _failure(model: nn.Module, x: Tensor) -> str | None:
    """Returns the text of the error in a forward pass of two examples; None where there is none."""
    try:
        with torch.no_grad():
            model(x[:2].clone())
    except Exception as error:
        return str(error)
    return None


def output_that_fits(model: nn.Module, dataset: Dataset) -> tuple[nn.Module, str]:
    """Returns the network with an output of one row for each example, and a line that says what was changed, or none.

    An output that has as many numbers as are needed, in other axes, is changed: `(N,)` to `(N, 1)`, and `(N, C, H, W)`
    to `(N, C·H·W)`. The network's class is then one of its own, with the same name, submodules and weights.
    """
    try:
        with torch.no_grad():
            output = model(dataset.x_train[:2].clone())
    except Exception:
        return model, ""
    n = len(dataset.x_train[:2])
    if not isinstance(output, Tensor) or output.shape[:1] != (n,) or output.dim() == 2:
        return model, ""
    counts = {dataset.n_outputs} | ({1} if len(dataset.class_names or ()) == 2 else set())
    n_outputs, shape, name = output[0].numel(), tuple(output.shape[1:]), type(model).__name__
    if n_outputs not in counts:
        return model, ""
    line = f"{name} returns {shape} for each example; it is flattened to {n_outputs} outputs"
    if not shape:
        line = f"{name} returns one number for each example, (N,); it is taken as (N, 1)"
    return _with_rows(model, "flatten" if shape else "unsqueeze"), line


def _with_rows(model: nn.Module, method: str) -> nn.Module:
    """Returns the network, whose forward now ends with a method of tensors, `flatten(1)` or `unsqueeze(1)`."""
    kind = type(model)
    forward = kind.forward

    @functools.wraps(forward)
    def of_rows(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        returned = forward(self, *args, **kwargs)
        # In training mode some networks return several.
        return getattr(returned, method)(1) if isinstance(returned, Tensor | fx.Proxy) else returned

    # A class of its own, because a copy of the network, and torch.fx, take forward from there.
    model.__class__ = type(kind.__name__, (kind,), {"forward": of_rows, "__module__": kind.__module__})
    return model
