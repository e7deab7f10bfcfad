"""A network and a data set whose forms differ in a way that has one remedy: the form is changed, and a line says so.

    what differs                                                   what is done
    the network takes integers, such as tokens; x holds such       x is int64, not float32
    it returns `(N,)`, and one output is needed                    `(N, 1)`
    it returns images, or more axes, with as many numbers          `(N, outputs)`, flattened as targets are

Letters: N examples.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

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
    return other, f"gets its inputs as {taken}"


def _failure(model: nn.Module, x: Tensor) -> str | None:
    """Returns the text of the error in a forward pass of two examples; None where there is none."""
    try:
        with torch.no_grad():
            model(x[:2].clone())
    except Exception as error:
        return str(error)
    return None


def rows_of(output: Any, dataset: Dataset) -> tuple[int, str]:
    """Returns how many outputs each example has in an output that has other axes, and a line; 0 where it needs nothing.

    Args:
        output: what the network returns for two examples; with as many numbers for each as are needed it becomes a row.
    """
    n = len(dataset.x_train[:2])
    if not isinstance(output, Tensor) or output.shape[:1] != (n,) or output.dim() == 2:
        return 0, ""
    n_outputs, shape = output[0].numel(), tuple(output.shape[1:])
    if n_outputs != dataset.n_outputs and not (n_outputs == 1 and len(dataset.class_names or ()) == 2):
        return 0, ""
    if not shape:
        return 1, "returns one number for each example, (N,); it is taken as (N, 1)"
    return n_outputs, f"returns {shape} for each example; it is flattened to {n_outputs} outputs"
