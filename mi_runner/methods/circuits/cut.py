"""The cut: the activations that enter the last layers of a network, and whether these layers alone give its outputs.

Letters: N examples, n_0 neurons that enter the part, n_L outputs.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mi_runner.batches import batches
from mi_runner.graph.chain import Part
from mi_runner.graph.interventions import read_sites
from mi_runner.graph.model_graph import ModelGraph

CUT_TOLERANCE = 1e-6
"""The analysed part must give the whole network's outputs within this (and a millionth of the largest)."""


@torch.no_grad()
def entering_activations(graph: ModelGraph, part: Part, x: Tensor) -> tuple[Tensor, Tensor]:
    """The activations that enter the part, `(N, n_0)`, and the whole network's outputs, `(N, n_L)`, on the CPU.

    Args:
        part: of this graph, as `find_part` returns it.
        x: `(N, *input)`, on the network's device.
    """
    values = [read_sites(graph, batch, [part.site, graph.output]) for batch in batches(x)]
    entering, outputs = (torch.cat([value[site] for value in values]).cpu() for site in (part.site, graph.output))
    return entering, outputs


@torch.no_grad()
def check_cut(part: Part, entering: Tensor, outputs: Tensor) -> None:
    """The part alone gives what the whole network gives.

    Args:
        entering: `(N, n_0)`, on the part's device.
        outputs: `(N, n_L)`, the whole network's.

    Raises:
        ValueError: an output differs by more than `CUT_TOLERANCE` (times the largest output, if that is above 1).
    """
    difference = float((part(entering) - outputs).abs().max())
    if not difference <= CUT_TOLERANCE * max(1.0, float(outputs.abs().max())):
        raise ValueError(f"the last layers alone miss the whole network's outputs by {difference:.3g}.")


def on_cpu(part: Part) -> Part:
    """The part with its weights on the CPU."""
    layers = tuple(replace(layer, weight=layer.weight.cpu(), bias=layer.bias.cpu()) for layer in part.layers)
    return replace(part, layers=layers)
