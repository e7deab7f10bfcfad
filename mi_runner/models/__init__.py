"""Networks: plain nn.Modules that know nothing of interventions.

Each file has `build(dataset, ...)` for one network; sizes come from the data set, its other arguments are the
network's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, unknown

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


@dataclass(frozen=True)
class Built:
    """A new network with the data set in the form that it takes.

    Attributes:
        model: initialised, in evaluation mode.
        dataset: as given, with images flattened if the network takes vectors.
        source: identifies the code of a network that is not ours, for the model store; else empty.
        leaves: submodules that the graph takes as one site each.
    """

    model: nn.Module
    dataset: Dataset
    source: str = ""
    leaves: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Built:
        """The network and the data on a device."""
        return replace(self, model=self.model.to(device), dataset=self.dataset.to(device))


def build(make: Callable[..., Built], dataset: Dataset, *, seed: int, **arguments: Any) -> Built:
    """A network for this data set, initialised from `seed`.

    Args:
        make: the `build` of a network's file.
        arguments: for it.

    Raises:
        ArgumentError: network and data set don't fit; the text says what would.
    """
    with chance.global_seed(seed, "initialisation"):
        built = make(dataset, **arguments)
        built.model.eval()
        check_output(built)  # within, because lazy modules are initialised by their first input
    return built


def check_output(built: Built) -> None:
    """One forward pass of two examples has the outputs that the data set asks for.

    Raises:
        ArgumentError: it fails, or its shape is another.
    """
    name = type(built.model).__name__
    n_outputs = built.dataset.n_outputs
    example = built.dataset.x_train[:2].clone()
    version = example._version
    try:
        with torch.no_grad():
            output = built.model(example)
    except Exception as error:
        taken = tuple(example.shape[1:])
        reason = f"{type(error).__name__}: {error}"
        raise ArgumentError(f"{name} can't run on inputs of the shape {taken}: {reason}") from error
    if example._version != version:
        raise ArgumentError(f"{name} changes its input in place: begin its forward with x = x.clone().")
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (len(example), n_outputs):
        wanted = (len(example), n_outputs)
        raise ArgumentError(f"{name} gives {shape} for {len(example)} examples; the data set asks for {wanted}.")


def activation(name: str) -> nn.Module:
    """A module for one of `ACTIVATIONS`.

    Raises:
        ArgumentError: there is none of this name; the text lists them.
    """
    if name not in ACTIVATIONS:
        raise ArgumentError(f"activation={name}: {unknown('activation', name, ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def output_activation(name: str, dataset: Dataset) -> nn.Module | None:
    """The module after the last layer; None for `none`; for `auto` a sigmoid if the target is one value, 0 or 1."""
    if name == "auto":
        name = "sigmoid" if dataset.is_binary else "none"
    return None if name == "none" else activation(name)


def n_features(dataset: Dataset) -> int:
    """How many numbers one flattened input has."""
    return int(torch.Size(dataset.input_shape).numel())
