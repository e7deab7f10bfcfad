"""Networks: plain nn.Modules that know nothing about interventions.

Each file has a `build(dataset, ...)` for one network; input and output sizes come from the data set, further arguments
are the network's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError, unknown
from mi_runner.machine import hardware
from mi_runner.models import adapted, checks, output_kind
from mi_runner.models.one_output import with_rows
from mi_runner.models.truth import Truth

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
        dataset: the given one, with flattened images if the network takes vectors, int64 inputs if it takes integers.
        source: identifies the user's own network, for the model store; otherwise empty.
        code: twelve digits of the digest of the user's own code; otherwise empty.
        leaves: submodules that the graph takes as one site each.
        notes, warnings: lines about how the user's own network was taken, for the log.
        identified: returns the same with `source`, `code` and `warnings`, after the first forward pass, which may
            import modules; None where there is nothing to add.
        stored: whether the model store may keep and give its trained weights.
        truth: what is known about a network whose weights are planted, so that nothing is trained; otherwise None.
    """

    model: nn.Module
    dataset: Dataset
    source: str = ""
    leaves: tuple[str, ...] = ()
    code: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    identified: Callable[[Built], Built] | None = None
    stored: bool = True
    truth: Truth | None = None

    def to(self, device: torch.device) -> Built:
        """Returns the network and the data set on a device."""
        return replace(self, model=self.model.to(device), dataset=self.dataset.to(device))


def build(
    make: Callable[..., Built], dataset: Dataset, *, seed: int, outputs: Outputs | None = None, **arguments: Any
) -> Built:
    """Returns a network for this data set, initialised from `seed`.

    Args:
        make: the `build` of a network's file.
        outputs: what its outputs are; None: what the data and the network say. Probabilities are one for each class,
            or that of the second of two classes alone.
        arguments: further arguments for `make`.

    Raises:
        ArgumentError: network and data set don't fit; the text says what does.
    """
    if outputs is not None:
        dataset = dataset.answered(outputs)
    with chance.global_seed(seed, "initialisation"):
        built = make(dataset, **arguments)
        built.model.eval()
        checks.check_tensors(built.model)
        # Inside the block, because lazy modules are initialised by their first input.
        dataset, of_inputs = adapted.inputs_that_fit(built.model, built.dataset)
        output = checks.first_outputs(built.model, dataset)
        n_outputs, of_output = adapted.rows_of(output, dataset)
        if n_outputs:
            built, output = replace(built, model=with_rows(built.model, n_outputs)), output.reshape(-1, n_outputs)
        lines = (f"{type(built.model).__name__} {line}" for line in (of_inputs, of_output) if line)
        built = replace(built, dataset=dataset, notes=(*built.notes, *lines))
        output = checks.check_output(built.model, output, dataset, outputs)
    answered = output_kind.answered_as(built.model, built.dataset, output, outputs)
    notes = built.notes
    if outputs is not None or answered is not built.dataset:
        notes = (*notes, output_kind.sentence(answered.outputs, said=outputs is not None))
    built = replace(built, dataset=answered, notes=notes)
    return built if built.identified is None else built.identified(built)


def activation(name: str) -> nn.Module:
    """Returns a new module of the activation function with this name.

    Raises:
        ArgumentError: no activation has this name; the text lists the names.
    """
    if name not in ACTIVATIONS:
        raise ArgumentError("activation", name, unknown("activation", name, ACTIVATIONS))
    return ACTIVATIONS[name]()


def output_activation(name: str, dataset: Dataset) -> nn.Module | None:
    """Returns the module after the last layer: None for `none`.

    For `auto` it is a sigmoid if the target is one value that is 0 or 1, or the outputs are a probability; a softmax if
    they are probabilities.
    """
    if name == "auto":
        kinds = {Outputs.probability: "sigmoid", Outputs.probabilities: "softmax"}
        name = kinds.get(dataset.outputs, "sigmoid" if dataset.is_binary else "none")
    if name == "softmax":
        return nn.Softmax(dim=-1)
    return None if name == "none" else activation(name)


def n_outputs(dataset: Dataset, output_activation: str) -> int:
    """Returns how many outputs a network has: one, where a sigmoid gives the probability of the second of two classes.

    Args:
        output_activation: as `output_activation` takes it.
    """
    is_one = dataset.outputs is Outputs.probabilities and output_activation == "sigmoid" and dataset.n_outputs == 2
    return 1 if is_one else dataset.n_outputs


def check_room(sizes: Sequence[int], argument: str, what: str) -> None:
    """Checks that Linear layers of these sizes, their gradient and an optimizer's state fit into the free memory.

    Args:
        sizes: units of the input, of each hidden layer, and of the output.
        argument: the one that decides them.
        what: how the error names them, as "{hidden_sizes}=[512]".

    Raises:
        ArgumentError: they don't fit; the text says how much they take.
    """
    n_weights = sum(n_in * n_out for n_in, n_out in itertools.pairwise(sizes))
    if lacking := hardware.lacking_memory(16 * n_weights):
        problem = f"{what}: training {n_weights:,} weights takes {lacking}."
        raise ArgumentError(argument, None, problem, "Take fewer units or inputs.")


def n_features(dataset: Dataset) -> int:
    """Returns how many values a flattened input has."""
    return int(torch.Size(dataset.input_shape).numel())
