"""Networks: plain nn.Modules that know nothing about interventions.

Each file has a `build(dataset, ...)` for one network; input and output sizes come from the data set, further arguments
are the network's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """A new network, and the data set in the form that it takes.

    Attributes:
        model: the initialised network, in evaluation mode.
        dataset: the given one, with flattened images if the network takes vectors.
        source: identifies the user's own network, for the model store; otherwise empty.
        code: twelve digits of the digest of the user's own code; otherwise empty.
        leaves: submodules that the graph takes as one site each.
        identify: returns source and code after the first forward pass, which may import modules.
    """

    model: nn.Module
    dataset: Dataset
    source: str = ""
    leaves: tuple[str, ...] = ()
    code: str = ""
    identify: Callable[[], tuple[str, str]] | None = None

    def to(self, device: torch.device) -> Built:
        """Returns the network and the data set on a device."""
        return replace(self, model=self.model.to(device), dataset=self.dataset.to(device))


def build(make: Callable[..., Built], dataset: Dataset, *, seed: int, **arguments: Any) -> Built:
    """Returns a network for this data set, initialised from `seed`.

    Args:
        make: the `build` of a network's file.
        arguments: further arguments for `make`.

    Raises:
        ArgumentError: network and data set don't fit; the text says what does.
    """
    with chance.global_seed(seed, "initialisation"):
        built = make(dataset, **arguments)
        built.model.eval()
        check_output(built)  # inside the block, because lazy modules are initialised by their first input
    if built.identify is not None:
        source, code = built.identify()
        built = replace(built, source=source, code=code, identify=None)
    return built


def check_output(built: Built) -> None:
    """Checks by a forward pass of two examples that the network has the outputs that the data set needs.

    Raises:
        ArgumentError: the forward pass fails, or the output has another shape.
    """
    name = type(built.model).__name__
    n_outputs = built.dataset.n_outputs
    example = built.dataset.x_train[:2].clone()
    version = example._version
    try:
        with torch.no_grad():
            output = built.model(example)
    except ArgumentError:
        raise
    except Exception as error:
        taken = tuple(example.shape[1:])
        reason = f"{type(error).__name__}: {error}"
        raise ArgumentError(f"{name} can't run on inputs of the shape {taken}: {reason}") from error
    if example._version != version:
        raise ArgumentError(f"{name} changes its input in place. Begin its forward with x = x.clone().")
    if not isinstance(output, torch.Tensor) and (parts := several(output)):
        shapes = ", ".join(f"{name} {shape}" for name, shape in parts.items())
        fitting = next((name for name, shape in parts.items() if shape == (len(example), n_outputs)), next(iter(parts)))
        raise ArgumentError(
            f"{name} returns {type(output).__name__} of several: {shapes}. Say which is the network's output: "
            f"output={fitting}."
        )
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (len(example), n_outputs):
        wanted = (len(example), n_outputs)
        raise ArgumentError(f"{name} returns {shape} for {len(example)} examples; the data set needs {wanted}.")


def several(output: Any) -> dict[str, tuple[int, ...]]:
    """Returns the tensors of an output that is a dict, tuple or list: key or position → shape.

    Empty where it is none of these.
    """
    named = (
        output.items() if isinstance(output, Mapping) else enumerate(output) if isinstance(output, tuple | list) else ()
    )
    return {str(name): tuple(value.shape) for name, value in named if isinstance(value, torch.Tensor)}


def activation(name: str) -> nn.Module:
    """Returns a new module of the activation function with this name.

    Raises:
        ArgumentError: no activation has this name; the text lists the names.
    """
    if name not in ACTIVATIONS:
        raise ArgumentError(f"activation={name}: {unknown('activation', name, ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def output_activation(name: str, dataset: Dataset) -> nn.Module | None:
    """Returns the module after the last layer: None for `none`; for `auto` a sigmoid if the target is 0 or 1."""
    if name == "auto":
        name = "sigmoid" if dataset.is_binary else "none"
    return None if name == "none" else activation(name)


def n_features(dataset: Dataset) -> int:
    """Returns how many values a flattened input has."""
    return int(torch.Size(dataset.input_shape).numel())
