"""Names of sites that networks of different architectures share: what does a site do, whatever it is called?

| name                  | site                                                                                       |
|-----------------------|--------------------------------------------------------------------------------------------|
| `input`               | the network's input; `input_1`, `input_2`, … of several                                    |
| `hidden_1`            | the first Linear or convolution layer; `hidden_2` the second, …                            |
| `hidden_1_activation` | the activation function that reads it                                                      |
| `output`              | the last such layer, if it or its activation function is the network's output              |
| `output_activation`   | the activation function behind it                                                          |

So `hidden_1_activation` is `layers.1` of an MLP and `relu` of a network that names it so. Other sites have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.nn.modules.conv import _ConvNd

from mi_runner.graph.evaluator import Program, Step

FUNCTIONS = frozenset(
    [
        *("celu", "elu", "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax"),
        *("logsigmoid", "mish", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softmax", "softplus"),
        *("softsign", "tanh", "tanhshrink", "threshold"),
    ]
)
"""Activation functions, by the names that they have in torch."""


def roles(program: Program, inputs: Sequence[str], output: str, aliases: Mapping[str, str]) -> dict[str, str]:
    """Returns site → the name that networks share, for the sites that have one, and for their layers' parameters.

    Args:
        inputs, output, aliases: as `ModelGraph` has them.
    """
    values = [step for step in program.steps.values() if step.value is not None]
    sites = {step.name: step for step in values if step.shown}
    layers = [name for name, step in sites.items() if isinstance(_submodule(program, step), nn.Linear | _ConvNd)]
    activations: dict[str, str] = {}
    for name, step in sites.items():
        read = [source for source in step.inputs if source in sites]
        if len(read) == 1 and read[0] in layers and _is_activation(program, step):
            activations.setdefault(read[0], name)
    several = len(inputs) > 1
    found = {name: f"input_{number}" if several else "input" for number, name in enumerate(inputs, 1)}
    for number, layer in enumerate(layers, 1):
        is_last = layer == layers[-1] and output in (layer, activations.get(layer))
        found[layer] = "output" if is_last else f"hidden_{number}"
        if layer in activations:
            found[activations[layer]] = f"{found[layer]}_activation"
        for step in values:  # first.weight, first[product]
            if not step.shown and step.name.startswith((f"{layer}.", f"{layer}[")):
                found[step.name] = found[layer] + step.name[len(layer) :]
    # A name that is another site's own is no name for this one.
    return {
        name: role
        for name, role in found.items()
        if role == name or (role not in program.steps and aliases.get(role, name) == name)
    }


def _submodule(program: Program, step: Step) -> nn.Module | None:
    return program.module.get_submodule(step.target) if step.operation == "module" else None


def _is_activation(program: Program, step: Step) -> bool:
    module = _submodule(program, step)
    if module is not None:
        return type(module).__module__ == nn.ReLU.__module__
    return getattr(step.target, "__name__", str(step.target)).rstrip("_") in FUNCTIONS
