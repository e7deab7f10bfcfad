"""What are a network's outputs: values, logits or probabilities? What the data and the network's last function say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mi_runner.datasets import Dataset
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError

SIGMOIDS = ("sigmoid", "sigmoid_", "expit", "hardsigmoid")
SOFTMAXES = ("softmax",)
CLAMPS = ("clamp", "clip", "clamp_", "clip_")

QUOTIENTS = ("div", "__truediv__", "true_divide", "divide", "reciprocal", "__rtruediv__", "__rdiv__", "mul", "exp")
"""What a sigmoid or a softmax that is written by hand may end with; then the outputs themselves decide."""

SAME_NUMBERS = ("squeeze", "unsqueeze", "unflatten", "view", "reshape", "flatten", "contiguous", "clone", "to", "float")
"""Functions that return the numbers that they get, in another shape."""

LOOKED_AT = 1000
"""Training examples whose outputs are looked at where the last function doesn't say what they are."""

SUMS_TO_ONE = 1e-4
"""Largest distance from 1 of the sum of probabilities."""


class _LastFunction(TorchFunctionMode):
    """Keeps which function made each tensor, and from which one."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[str, Tensor, Any]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self._made[id(made)] = getattr(func, "__name__", ""), made, args[0] if args else None
        return made

    def of(self, output: Tensor) -> str:
        """Returns the name of the function that made the numbers of a tensor; empty where none did."""
        name = ""
        while id(output) in self._made:
            name, _, source = self._made[id(output)]
            if name not in SAME_NUMBERS or not isinstance(source, Tensor):
                break
            output = source
        return name


@torch.no_grad()
def last_function(model: Callable[[Tensor], Tensor], x: Tensor) -> str:
    """Returns the name of the last of torch's functions that computes a network's outputs, such as `sigmoid`.

    What only changes a shape doesn't count.
    """
    with _LastFunction() as functions:
        output = model(x)
    return functions.of(output)


def kind_of(model: Callable[[Tensor], Tensor], dataset: Dataset, n_outputs: int) -> Outputs:
    """Returns what a network's outputs of classes are: probabilities after a sigmoid or softmax, otherwise logits.

    Args:
        model: in evaluation mode, returns `(N, n_outputs)`.
        n_outputs: 1 for two classes, or the number of classes.
    """
    name = last_function(model, dataset.x_train[:2].clone())
    one = n_outputs == 1
    are_probabilities = name in (SIGMOIDS if one else SOFTMAXES)
    if name in QUOTIENTS:
        are_probabilities = _are_in_0_to_1(model, dataset)
    if one:
        return Outputs.probability if are_probabilities else Outputs.logit
    return Outputs.probabilities if are_probabilities else Outputs.logits


def ends_in_0_to_1(model: Callable[[Tensor], Tensor], dataset: Dataset) -> bool:
    """Returns whether a network's last function keeps its outputs in 0..1, as a sigmoid does."""
    name = last_function(model, dataset.x_train[:2].clone())
    return name in (*SIGMOIDS, *CLAMPS) or (name in QUOTIENTS and _are_in_0_to_1(model, dataset))


def is_maybe_a_logit(model: Callable[[Tensor], Tensor], dataset: Dataset) -> bool:
    """Returns whether one output for a target that is the value 0 or 1 may be a logit: it isn't always in 0..1."""
    return dataset.is_binary and not ends_in_0_to_1(model, dataset) and not _are_in_0_to_1(model, dataset)


def _are_in_0_to_1(model: Callable[[Tensor], Tensor], dataset: Dataset) -> bool:
    with torch.no_grad():
        return fault_of_probabilities(model(dataset.x_train[:LOOKED_AT].clone())) is None


def fault_of_probabilities(outputs: Tensor) -> str | None:
    """Returns why outputs `(N, K)` are no probabilities; None if they are."""
    low, high = float(outputs.min()), float(outputs.max())
    if not (low >= 0 and high <= 1):
        return f"outputs go from {low:.3g} to {high:.3g}"
    sums = outputs.double().sum(1)
    if outputs.shape[1] > 1 and float((sums - 1).abs().max()) > SUMS_TO_ONE:
        return f"outputs of an example sum to {float(sums.min()):.3g} to {float(sums.max()):.3g}, not 1"
    return None


def answered_as(model: Callable[[Tensor], Tensor], dataset: Dataset, output: Tensor, asked: Outputs | None) -> Dataset:
    """Returns the data set for a network with this output: the targets in the form that its outputs answer.

    Args:
        output: `(n, K)`, of some examples; K is 1 for two classes, or as many as classes or values.
        asked: what the outputs are said to be; None: what the data and the network say.

    Raises:
        ArgumentError: the outputs aren't what they are said to be.
    """
    n_outputs = output.shape[1]
    if asked is Outputs.probabilities and n_outputs == 1:
        asked = Outputs.probability
    if asked is None:
        return dataset.answered(kind_of(model, dataset, n_outputs)) if dataset.has_classes else dataset
    if asked in (Outputs.probability, Outputs.probabilities):
        with torch.no_grad():
            fault = fault_of_probabilities(model(dataset.x_train[:LOOKED_AT].clone()))
        if fault is not None:
            other = "logit" if n_outputs == 1 else "logits"
            remedy = f"End it with a {'sigmoid' if n_outputs == 1 else 'softmax'}, or use {{outputs}}={other}."
            raise ArgumentError("outputs", asked.name, f"{{outputs}}=probabilities: the network's {fault}.", remedy)
    return dataset.answered(asked)


def sentence(outputs: Outputs, *, said: bool) -> str:
    """Returns a line that says what a network's outputs are taken for.

    Args:
        said: whether the option says so; otherwise it was found.
    """
    meaning = {
        Outputs.values: "values, each rounded to an integer",
        Outputs.logit: "a logit: above 0 the answer is the second class",
        Outputs.logits: "logits: the largest is the answer",
        Outputs.probability: "a probability: above ½ the answer is the second class",
        Outputs.probabilities: "probabilities: the largest is the answer",
    }[outputs]
    return f"the network's outputs are {meaning}" + ("" if said else " (if not, type model.outputs)")
