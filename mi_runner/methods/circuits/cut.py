"""The cut: the activations that enter the last layers of a network, and a check that these layers give its outputs.

Letters: N examples, n_0 neurons that enter the part, n_L outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mi_runner.errors import RunFailed
from mi_runner.graph.chain import Layer, Part
from mi_runner.graph.interventions import read_sites
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.models.batches import batches, refuse_not_finite

CUT_TOLERANCE = 1e-6
"""Largest allowed difference of an output from the whole network's; times the largest output, if that is above 1."""


MOST = torch.finfo(torch.float32).max


@torch.no_grad()
def entering_activations(graph: ModelGraph, part: Part, x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the activations that enter the part `(N, n_0)` and the whole network's outputs `(N, n_L)`, on the CPU.

    Args:
        part: of this graph, as `find_part` returns it.
        x: `(N, *input)`, on the network's device.

    Raises:
        RunFailed: a value isn't finite, or a circuit's could be too large for float32.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner import circuits
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> with torch.no_grad():
        ...     for parameter in net.parameters():
        ...         _ = parameter.fill_(1.0) if parameter.ndim == 2 else parameter.zero_()
        >>> x = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
        >>> graph = ModelGraph.trace(net, x)
        >>> part = find_part(graph, None)
        >>> entering, outputs = circuits.entering_activations(graph, find_part(graph, 1), x)
        >>> entering, outputs
        (tensor([[0., 0.],
                [1., 1.]]), tensor([[0.],
                [2.]]))
    """
    values = [read_sites(graph, batch, [part.site, graph.output]) for batch in batches(x)]
    entering, outputs = (torch.cat([value[site] for value in values]).cpu() for site in (part.site, graph.output))
    refuse_not_finite(entering, f"the values of {part.site}")
    refuse_not_finite(outputs, "the network's outputs")
    largest = largest_value(part, entering)
    if not largest <= MOST:
        raise RunFailed(
            f"a circuit's values could reach {largest:.3g}, more than float32 holds ({MOST:.3g}), so no circuit is "
            "evaluated: the weights of the last layers are too large. Bring other weights."
        )
    return entering, outputs


def largest_value(part: Part, entering: Tensor) -> float:
    """Returns a bound on the absolute values that any circuit of the part computes from activations `(N, n_0)`.

    Each neuron adds up no more than all its edges with the largest absolute values that enter, and no activation
    function makes a value larger, a sigmoid above 1, a steep leaky_relu and a log_softmax excepted.
    """
    bound = entering.double().abs().amax(0)
    largest = float(bound.max())
    for layer in part.layers:
        bound = layer.weight.to(bound).abs() @ bound + layer.bias.to(bound).abs()
        is_share = layer.activation in ("sigmoid", "softmax")
        bound = (bound * max(1.0, abs(layer.slope))).clamp(min=1.0 if is_share else 0.0)
        if layer.activation == "log_softmax":  # the difference to the largest, and at most log(n) more
            bound = 2 * bound.max() + math.log(len(bound)) + torch.zeros_like(bound)
        largest = max(largest, float(bound.max()))
    return largest


@torch.no_grad()
def check_cut(part: Part, entering: Tensor, outputs: Tensor) -> Tensor:
    """Returns the outputs of the part alone `(N, n_L)`, if they are the whole network's.

    Args:
        entering: `(N, n_0)`, on the part's device.
        outputs: `(N, n_L)`, the whole network's.

    Raises:
        ValueError: an output differs by more than `CUT_TOLERANCE` (times the largest output, if that is above 1).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner import circuits
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> with torch.no_grad():
        ...     for parameter in net.parameters():
        ...         _ = parameter.fill_(1.0) if parameter.ndim == 2 else parameter.zero_()
        >>> x = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
        >>> graph = ModelGraph.trace(net, x)
        >>> part = find_part(graph, None)
        >>> entering, outputs = circuits.entering_activations(graph, part, x)
        >>> circuits.check_cut(part, entering, outputs)
        tensor([[0.],
                [2.]])
    """
    alone = part(entering)
    difference = float((alone - outputs).abs().max())
    if not difference <= CUT_TOLERANCE * max(1.0, float(outputs.abs().max())):
        raise ValueError(f"the last layers alone miss the whole network's outputs by {difference:.3g}.")
    return alone


def saved_part(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Part:
    """Returns the part that a run of the circuits experiment saved.

    Args:
        description: `site`, and of each of the `layers` its `module`, `activation` and `slope`.
        tensors: `MODULE.weight` and `MODULE.bias` of each layer.
    """
    layers = tuple(
        Layer(
            tensors[f"{layer['module']}.weight"],
            tensors[f"{layer['module']}.bias"],
            layer["activation"],
            layer["slope"],
            layer["module"],
        )
        for layer in description["layers"]
    )
    return Part(layers, description["site"])
