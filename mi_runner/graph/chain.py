"""The analysed part of a network: the Linear layers at its end, taken from its graph.

A part is a chain of Linear layers, each followed by an elementwise activation or none; the last may be followed by a
softmax over the outputs. What only changes the shape of values, such as a flatten at the network's end, doesn't count.
The part's inputs are the recorded activations that enter it. Letters: B examples; n_0, …, n_L neurons of each layer,
inputs first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.errors import ArgumentError
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.tables.names import ALL

ACTIVATIONS = ("identity", "relu", "leaky_relu", "tanh", "sigmoid")
"""Elementwise activations; the kernels number them in this order."""

OVER_OUTPUTS = ("softmax", "log_softmax")
"""What may follow the last layer besides these: functions of all outputs of an example."""

RESHAPING = ("contiguous", "flatten", "reshape", "squeeze", "unflatten", "unsqueeze", "view")
"""Functions and methods that keep an example's numbers and their order."""

_FUNCTIONS = {
    "relu": (torch.relu, functional.relu, "relu"),
    "tanh": (torch.tanh, functional.tanh, "tanh"),
    "sigmoid": (torch.sigmoid, functional.sigmoid, "sigmoid"),
    "leaky_relu": (functional.leaky_relu,),
}
_FUNCTIONS_OVER_OUTPUTS = {
    "softmax": (torch.softmax, functional.softmax, "softmax"),
    "log_softmax": (torch.log_softmax, functional.log_softmax, "log_softmax"),
}
_MODULES = {
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.Identity: "identity",
}


@dataclass(frozen=True)
class Layer:
    """A Linear layer and the activation after it.

    Attributes:
        weight: `(out, in)` float32.
        bias: `(out,)` float32, zeros where the layer has none.
        activation: one of `ACTIVATIONS`, or of a last layer one of `OVER_OUTPUTS`.
        slope: leaky_relu's for negative values.
        module: the Linear module's path in the network.
    """

    weight: Tensor
    bias: Tensor
    activation: str = "identity"
    slope: float = 0.0
    module: str = ""

    @property
    def is_elementwise(self) -> bool:
        """Whether each output depends on its own sum alone."""
        return self.activation not in OVER_OUTPUTS

    def activate(self, values: Tensor, dim: int = -1) -> Tensor:
        """Returns the activation of values of any shape.

        Args:
            dim: where the layer's outputs lie; a softmax is over these.
        """
        if self.activation == "softmax":
            return torch.softmax(values, dim)
        if self.activation == "log_softmax":
            return torch.log_softmax(values, dim)
        if self.activation == "leaky_relu":
            return functional.leaky_relu(values, self.slope)
        if self.activation == "identity":
            return values
        return {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}[self.activation](values)

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the layer's outputs `(B, out)` of inputs `(B, in)`."""
        return self.activate(functional.linear(x, self.weight, self.bias))

    def to(self, like: Tensor | torch.device) -> Layer:
        """Returns the layer in the dtype and on the device of a tensor, or on a device."""
        return replace(self, weight=self.weight.to(like), bias=self.bias.to(like))


@dataclass(frozen=True)
class Part:
    """A chain of Linear layers, the analysed part of a network.

    Attributes:
        layers: from the inputs to the outputs.
        site: the site of the network whose value enters the first layer.
        input_names: of the neurons that enter the first layer, where these are inputs with names; otherwise None.
        output_names: of the outputs, where they have names, as classes have; otherwise None.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2))
        >>> part = find_part(ModelGraph.trace(net, torch.zeros(1, 3)), None)
        >>> [layer.activation for layer in part.layers]
        ['tanh', 'identity']
        >>> part.output(1).sizes
        (3, 2, 1)
    """

    layers: tuple[Layer, ...]
    site: str = "x"
    input_names: tuple[str, ...] | None = None
    output_names: tuple[str, ...] | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each layer, inputs first."""
        return (self.layers[0].weight.shape[1], *(layer.weight.shape[0] for layer in self.layers))

    def output(self, index: int | str) -> Part:
        """Returns the part that computes output `index` alone, counted from 0; of `all` the part itself.

        Raises:
            ArgumentError: there is no such output, or the part ends in a softmax, which mixes several outputs.
        """
        if index == ALL:
            return self
        if isinstance(index, str) or not 0 <= index < self.sizes[-1]:
            raise ArgumentError("index", index, f"the part has {self.sizes[-1]} outputs:", "count from 0.")
        last = self.layers[-1]
        if not last.is_elementwise:
            problem = f"a {last.activation} mixes the outputs, so none of them can be analysed alone."
            raise ArgumentError("index", None, problem)
        rows = slice(index, index + 1)
        layers = (*self.layers[:-1], replace(last, weight=last.weight[rows], bias=last.bias[rows]))
        return replace(self, layers=layers, output_names=self.output_names and self.output_names[rows])

    @property
    def has_names(self) -> bool:
        """Whether the neurons that enter it, or its outputs, have names."""
        return self.input_names is not None or self.output_names is not None

    def name(self, layer: int, neuron: int) -> str | None:
        """Returns the name of a neuron, an input or an output; None where it has none.

        Args:
            layer: of neurons, from 0: the inputs.
            neuron: its number in the layer, from 0.
        """
        if layer == 0 and self.input_names is not None:
            return self.input_names[neuron]
        return self.output_names[neuron] if layer == len(self.layers) and self.output_names is not None else None

    @property
    def without_softmax(self) -> Part:
        """The part without a softmax at its end, which changes the outputs, but not which of them is the largest."""
        last = self.layers[-1]
        if last.is_elementwise:
            return self
        return replace(self, layers=(*self.layers[:-1], replace(last, activation="identity")))

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the outputs `(B, n_L)` of inputs `(B, n_0)`."""
        for layer in self.layers:
            x = layer(x)
        return x

    def to(self, like: Tensor | torch.device) -> Part:
        """Returns the part in the dtype and on the device of a tensor, or on a device."""
        return replace(self, layers=tuple(layer.to(like) for layer in self.layers))

    @torch.no_grad()
    def activations(self, x: Tensor) -> tuple[Tensor, ...]:
        """Returns the values of the neurons that edges leave, `(B, n_l)` for each such layer, inputs first.

        Args:
            x: `(B, n_0)`.
        """
        values = [x]
        for layer in self.layers[:-1]:
            values.append(layer(values[-1]))
        return tuple(values)

    @torch.no_grad()
    def means(self, x: Tensor) -> tuple[Tensor, ...]:
        """Returns the mean of each neuron that edges leave, `(n_l,)` for each such layer, inputs first.

        Args:
            x: `(B, n_0)`; the means are over these examples in the whole part.
        """
        return mean_values(self.activations(x))


def mean_values(activations: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Returns the mean over the examples `(n,)` of each layer's values `(B, n)`, added up in float64."""
    return tuple(values.double().mean(0).to(values.dtype) for values in activations)


def find_part(graph: ModelGraph, last_layers: int | None) -> Part:
    """Returns the last Linear layers of a network with the activations after them.

    Args:
        last_layers: how many Linear layers; None for the whole network.

    Raises:
        ArgumentError: there is another operation between them, or the network has fewer; the text names the site.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> graph = ModelGraph.trace(net, torch.zeros(1, 5))
        >>> find_part(graph, last_layers=2).sizes
        (4, 3, 1)
        >>> find_part(graph, None).sizes
        (5, 4, 3, 1)
    """
    layers: list[Layer] = []
    activation: tuple[str, float] = ("identity", 0.0)
    name = graph.output
    while name not in graph.inputs and (last_layers is None or len(layers) < last_layers):
        module = graph.submodule(name)
        if isinstance(module, nn.Linear):
            if len(graph.sites[name].shape) != 1:
                raise _not_a_chain(name)
            bias = torch.zeros(module.out_features) if module.bias is None else module.bias.detach()
            layers.append(Layer(module.weight.detach(), bias.to(module.weight.device), *activation, module=name))
            activation = ("identity", 0.0)
        elif not _is_reshaped(graph, name):
            this = activation_at(graph, name) or (None if layers else _over_outputs(graph, name))
            if this is None or (activation[0] != "identity" and this[0] != "identity"):
                raise _not_a_chain(name)
            activation = this if this[0] != "identity" else activation
        sources = graph.sources(name)
        if len(sources) != 1:
            raise _not_a_chain(name)
        (name,) = sources
    if last_layers is not None and len(layers) < last_layers:
        raise ArgumentError("last_layers", None, f"the network has only {len(layers)} Linear layers.")
    if not layers or activation[0] != "identity" or len(graph.sites[name].shape) != 1:
        raise _not_a_chain(name)
    return Part(tuple(reversed(layers)), name)


def longest_part(graph: ModelGraph) -> Part | None:
    """Returns the longest chain of Linear layers at a network's end; None if it doesn't end in a Linear layer.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.graph import ModelGraph, longest_part
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(2, 3))
        >>> part = longest_part(ModelGraph.trace(net, torch.zeros(1, 1, 2, 2)))
        >>> part.site, part.sizes
        ('1', (2, 3))
    """
    longest: Part | None = None
    while True:
        try:
            longest = find_part(graph, len(longest.layers) + 1 if longest else 1)
        except ArgumentError:
            return longest


def activation_at(graph: ModelGraph, name: str) -> tuple[str, float] | None:
    """Returns the kind and the slope of the activation at a site; None if it is no activation."""
    module = graph.submodule(name)
    if module is not None:
        kind = _MODULES.get(type(module))
        if isinstance(module, nn.Dropout):
            kind = "identity"  # in evaluation it is
        return None if kind is None else (kind, getattr(module, "negative_slope", 0.0))
    called, _, keywords = graph.function(name)
    for kind, functions in _FUNCTIONS.items():
        if called in functions:
            return kind, float(keywords.get("negative_slope", 0.01)) if kind == "leaky_relu" else 0.0
    return None


def _is_reshaped(graph: ModelGraph, name: str) -> bool:
    """Returns whether a site has the numbers of the one site that it reads, in their order, in another shape."""
    module, sources = graph.submodule(name), graph.sources(name)
    if len(sources) != 1 or graph.sites[sources[0]].n_units != graph.sites[name].n_units:
        return False
    if module is not None:
        return isinstance(module, nn.Flatten | nn.Unflatten)
    called, _, _ = graph.function(name)
    return getattr(called, "__name__", called) in RESHAPING


def _over_outputs(graph: ModelGraph, name: str) -> tuple[str, float] | None:
    """Returns the kind of a softmax over the outputs `(B, n)`, n at least 2, at a site, and 0; None if it is none."""
    module, kind, dim = graph.submodule(name), None, None
    if isinstance(module, nn.Softmax | nn.LogSoftmax):
        kind, dim = "softmax" if isinstance(module, nn.Softmax) else "log_softmax", module.dim
    elif module is None:
        called, positional, keywords = graph.function(name)
        kind = next((kind for kind, functions in _FUNCTIONS_OVER_OUTPUTS.items() if called in functions), None)
        dim = keywords.get("dim", positional[0] if positional else None)
    shape = graph.sites[name].shape
    is_over_outputs = len(shape) == 1 and shape[0] > 1 and dim in (None, -1, 1)
    return (kind, 0.0) if kind is not None and is_over_outputs else None


def _not_a_chain(name: str) -> ArgumentError:
    return ArgumentError(
        ("last_layers", "graph"),
        None,
        f"'{name}' ends the chain of last layers: it may have only Linear layers, each followed by at most one "
        f"elementwise activation ({', '.join(ACTIVATIONS)}); the last may be followed by "
        f"{' or '.join(OVER_OUTPUTS)} over several outputs.",
    )
