"""What are a network's outputs: values, logits or probabilities? What the data and the network's last function say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mi_runner.datasets import Dataset
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError

IN_0_TO_1 = ("sigmoid", "sigmoid_", "expit", "special_expit", "hardsigmoid", "softmax", "softmax_", "special_softmax")
"""Functions whose values lie in 0..1."""

KEEPING = (
    *("__get__", "__getitem__", "select", "index_select", "narrow", "gather", "take", "chunk", "split", "cat", "stack"),
    *("squeeze", "unsqueeze", "view", "view_as", "reshape", "flatten", "unflatten", "ravel", "transpose", "t"),
    *("permute", "contiguous", "clone", "to", "float", "double", "expand", "dropout", "mean", "clamp", "clip"),
    *("__rsub__", "rsub"),
)
"""Functions whose values lie in 0..1 if those of the tensors that they get do; `rsub` is 1 minus them."""

CLAMPS = ("clamp", "clip")

QUOTIENTS = ("div", "__truediv__", "true_divide", "divide")
RECIPROCALS = ("reciprocal", "__rtruediv__", "__rdiv__")
EXPONENTIALS = ("exp", "exp_", "exp2")
"""A sigmoid or softmax that is written by hand is a quotient with an exponential below the line."""

MOST_STEPS = 12
"""Functions behind each other that are looked through."""

LOOKED_AT = 1000
"""Training examples whose outputs are looked at where the last function doesn't say what they are."""

SUMS_TO_ONE = 1e-4
"""Largest distance from 1 of the sum of probabilities."""


class _Functions(TorchFunctionMode):
    """Keeps which function made each tensor, and from which tensors."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[str, tuple[Tensor, ...], Any]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        name, sources = getattr(func, "__name__", ""), tuple(_tensors(args))
        if name.rstrip("_") in CLAMPS and _clamps_to_0_to_1(args, kwargs or {}):
            name = IN_0_TO_1[0]
        for tensor in _tensors(made if isinstance(made, tuple | list) else (made,)):
            in_place = any(tensor is source for source in sources)
            if not (in_place and name.rstrip("_") in KEEPING):
                self._made[id(tensor)] = name, sources, tensor  # the tensor is kept, so that its id stays its own
        return made

    def are_in_0_to_1(self, tensor: Tensor, steps: int = MOST_STEPS) -> bool:
        """Returns whether a tensor's values lie in 0..1 whatever the weights are."""
        name, sources, _ = self._made.get(id(tensor), ("", (), None))
        if name in IN_0_TO_1:
            return True
        if not steps or not sources:
            return False
        if name in QUOTIENTS:
            return len(sources) > 1 and self._has_exponential(sources[1], steps)
        if name in RECIPROCALS:
            return self._has_exponential(sources[0], steps)
        return name in KEEPING and all(self.are_in_0_to_1(source, steps - 1) for source in sources)

    def _has_exponential(self, tensor: Tensor, steps: int) -> bool:
        name, sources, _ = self._made.get(id(tensor), ("", (), None))
        return name in EXPONENTIALS or (steps > 0 and any(self._has_exponential(one, steps - 1) for one in sources))


def _clamps_to_0_to_1(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Returns whether the arguments of a clamp are numbers of which the least is 0 or more, the largest 1 or less."""
    low, high = (
        kwargs.get(name, args[place] if len(args) > place else None) for place, name in ((1, "min"), (2, "max"))
    )
    return isinstance(low, int | float) and isinstance(high, int | float) and low >= 0 and high <= 1


def _tensors(values: Any) -> Iterator[Tensor]:
    """Yields the tensors among values and in lists of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


@torch.no_grad()
def ends_in_0_to_1(model: Callable[[Tensor], Tensor], dataset: Dataset) -> bool:
    """Returns whether a network's last functions keep its outputs in 0..1, as a sigmoid does, whatever its weights are.

    What only takes some of the values, or changes their shape, doesn't count.
    """
    with _Functions() as functions:
        output = model(dataset.x_train[:2].clone())
    return functions.are_in_0_to_1(output)


def kind_of(model: Callable[[Tensor], Tensor], dataset: Dataset, n_outputs: int) -> Outputs:
    """Returns what a network's outputs of classes are: probabilities after a sigmoid or softmax, otherwise logits.

    Args:
        model: in evaluation mode, returns `(N, n_outputs)`.
        n_outputs: 1 for two classes, or the number of classes.
    """
    are_bounded = ends_in_0_to_1(model, dataset)
    if n_outputs == 1:
        return Outputs.probability if are_bounded else Outputs.logit
    # Sigmoids of each class don't sum to 1, and are judged by the largest as logits are.
    return Outputs.probabilities if are_bounded and _are_in_0_to_1(model, dataset) else Outputs.logits


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
