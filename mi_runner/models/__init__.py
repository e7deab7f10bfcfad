"""Networks: plain nn.Modules that know nothing of interventions.

Each file has `build(config, dataset)`; sizes come from the data set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module

import torch
from torch import nn

from mi_runner import chance
from mi_runner.config.model_schemas import Activation, ModelConfig, OutputActivation
from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError

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


def build(config: ModelConfig, dataset: Dataset, *, seed: int) -> Built:
    """A network for this data set, initialised from `seed`.

    Raises:
        ConfigError: model and data set don't fit; the text says what to type.
    """
    with chance.global_seed(seed, "initialisation"):
        built = import_module(config.module).build(config, dataset)
        built.model.eval()
        check_output(built, config.name)  # within, because lazy modules are initialised by their first input
    return built


def check_output(built: Built, name: str) -> None:
    """One forward pass of two examples has the outputs that the data set asks for.

    Raises:
        ConfigError: it fails, or its shape is another.
    """
    n_outputs = built.dataset.n_outputs
    example = built.dataset.x_train[:2].clone()
    version = example._version
    try:
        with torch.no_grad():
            output = built.model(example)
    except Exception as error:
        taken = tuple(example.shape[1:])
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"model={name} can't run on inputs of the shape {taken}: {reason}") from error
    if example._version != version:
        raise ConfigError(f"model={name} changes its input in place: begin its forward with x = x.clone().")
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (len(example), n_outputs):
        wanted = (len(example), n_outputs)
        raise ConfigError(f"model={name} gives {shape} for {len(example)} examples; the data set asks for {wanted}.")


def activation(kind: Activation) -> nn.Module:
    """A module for one of the activations of hidden layers."""
    return ACTIVATIONS[kind.name]()


def output_activation(kind: OutputActivation, dataset: Dataset) -> nn.Module | None:
    """The module after the last layer, or None; auto: a sigmoid if the target is one value that is 0 or 1."""
    if kind is OutputActivation.auto:
        kind = OutputActivation.sigmoid if dataset.is_binary else OutputActivation.none
    return None if kind is OutputActivation.none else ACTIVATIONS[kind.name]()


def n_features(dataset: Dataset) -> int:
    """How many numbers one flattened input has."""
    return int(torch.Size(dataset.input_shape).numel())
