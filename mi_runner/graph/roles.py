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

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.conv import _ConvNd

if TYPE_CHECKING:
    from mi_runner.graph.model_graph import ModelGraph

FUNCTIONS = frozenset(
    [
        *("celu", "elu", "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax"),
        *("logsigmoid", "mish", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softmax", "softplus"),
        *("softsign", "tanh", "tanhshrink", "threshold"),
    ]
)
"""Activation functions, by the names that they have in torch."""


def roles(graph: ModelGraph) -> dict[str, str]:
    """Returns site → the name that networks share, for the sites that have one, and for their layers' parameters."""
    layers = [name for name in graph.sites if isinstance(graph.submodule(name), nn.Linear | _ConvNd)]
    activations: dict[str, str] = {}
    for name in graph.sites:
        read = graph.sources(name)
        if len(read) == 1 and read[0] in layers and _is_activation(graph, name):
            activations.setdefault(read[0], name)
    several = len(graph.inputs) > 1
    found = {name: f"input_{number}" if several else "input" for number, name in enumerate(graph.inputs, 1)}
    for number, layer in enumerate(layers, 1):
        is_last = layer == layers[-1] and graph.output in (layer, activations.get(layer))
        found[layer] = "output" if is_last else f"hidden_{number}"
        if layer in activations:
            found[activations[layer]] = f"{found[layer]}_activation"
        for name in graph.module_sites:  # first.weight, first[product]
            if name.startswith((f"{layer}.", f"{layer}[")):
                found[name] = found[layer] + name[len(layer) :]
    # A name that is another site's own is no name for this one.
    steps, aliases = graph.program.steps, graph.aliases
    return {
        name: role
        for name, role in found.items()
        if role == name or (role not in steps and aliases.get(role, name) == name)
    }


def _is_activation(graph: ModelGraph, name: str) -> bool:
    module = graph.submodule(name)
    if module is not None:
        return type(module).__module__ == nn.ReLU.__module__
    function, _ = graph.function(name)
    return getattr(function, "__name__", str(function)).rstrip("_") in FUNCTIONS
