"""What do a network's hidden activations look like on an input? An image, a row a layer.

Letters: D examples, H rows and W columns of an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mi_runner.errors import ArgumentError
from mi_runner.graph.interventions import read_sites
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.models.batches import BATCH, batches, refuse_not_finite

NORMALIZATIONS = {"Softmin", "Softmax", "Softmax2d", "LogSoftmax", "MultiheadAttention"}
"""What torch.nn.modules.activation has besides activation functions."""

ACTIVATION_FUNCTIONS = frozenset(
    name.lower() for name in torch.nn.modules.activation.__all__ if name not in NORMALIZATIONS
)
"""`relu`, `leakyrelu`, `tanh`, …: the modules' names, and without underscores the functions'."""


def hidden_sites(graph: ModelGraph) -> list[str]:
    """Returns the sites that are hidden activations, in the order of computation; there may be none.

    A hidden activation is what an activation function of torch gives (`nn.ReLU`, `torch.relu`, `functional.gelu`, …;
    not a softmax), except where it is the network's output.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.decoding import hidden_sites
        >>> from mi_runner.graph import ModelGraph
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
        >>> hidden_sites(ModelGraph.trace(net, torch.zeros(1, 2)))
        ['1']
    """
    return [name for name in graph.usable_sites if name != graph.output and _is_activation(graph, name)]


def _is_activation(graph: ModelGraph, name: str) -> bool:
    function, *_ = graph.function(name)
    called = graph.site(name).module or (function if isinstance(function, str) else getattr(function, "__name__", ""))
    return called.replace("_", "").lower() in ACTIVATION_FUNCTIONS


def named_sites(graph: ModelGraph, sites: Sequence[str]) -> list[str]:
    """Returns the names by which the graph lists these sites.

    Raises:
        ArgumentError: the graph has no such site, it has no numbers for each example, one is named twice, or none is.
    """
    for name in sites:
        if obstacle := graph.site(name).obstacle:
            able = ", ".join(graph.usable_sites) or "(none)"
            problem = f"{{sites}}: {name} can't be read, because it {obstacle}."
            raise ArgumentError("sites", None, problem, f"Sites that can: {able}.")
    found = [graph.site(name).name for name in sites]
    if not found or len(set(found)) < len(found):
        raise ArgumentError("sites", list(sites), "name at least one site, each once.")
    return found


def image_shape(graph: ModelGraph, sites: Sequence[str], *, at_least: int = 1) -> tuple[int, int]:
    """Returns `(H, W)`: a row for each site, as wide as the widest site; neither is smaller than `at_least`."""
    widest = max(graph.site(name).n_units for name in sites)
    return max(len(sites), at_least), max(widest, at_least)


@torch.no_grad()
def activation_images(
    graph: ModelGraph, x: Tensor, sites: Sequence[str], *, decimals: int | None = None, at_least: int = 1
) -> Tensor:
    """Returns the values of the sites as images `(D, H, W)` of inputs `(D, *input)`.

    A site of several dimensions is flattened. A row that is narrower than the image has zeros at its end; where there
    are fewer sites than `at_least`, there are rows of zeros at the bottom.

    Args:
        sites: a row each, from top to bottom; `hidden_sites(graph)` names all hidden activations.
        decimals: the values are rounded to so many; None: not at all.
        at_least: the smallest height and width of an image, e.g. the size of the kernels that read it.

    Raises:
        ArgumentError: a site can't be read, one is named twice, or none is named.
        RunFailed: a value isn't finite.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.decoding import activation_images
        >>> from mi_runner.graph import ModelGraph
        >>> graph = ModelGraph.trace(nn.Sequential(nn.ReLU(), nn.Hardtanh()), torch.zeros(1, 2))
        >>> activation_images(graph, torch.tensor([[0.25, 3.0]]), ["0", "1"], decimals=1)
        tensor([[[0.2000, 3.0000],
                 [0.2000, 1.0000]]])
    """
    sites = named_sites(graph, sites)
    height, width = image_shape(graph, sites, at_least=at_least)
    images = torch.zeros(len(x), height, width, device=x.device)
    for start, part in zip(range(0, len(x), BATCH), batches(x), strict=True):
        for row, value in enumerate(read_sites(graph, part, sites).values()):
            units = value.reshape(len(part), -1)
            refuse_not_finite(units, f"the values of {sites[row]}")
            images[start : start + len(part), row, : units.shape[1]] = units
    return images if decimals is None else images.round(decimals=decimals)
