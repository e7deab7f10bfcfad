"""Which neurons of the analysed layers have names: inputs by their features, outputs by their classes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from mi_runner.datasets import Dataset

if TYPE_CHECKING:
    from mi_runner.graph.chain import Part
    from mi_runner.graph.model_graph import ModelGraph

FLATTENING = ("flatten", "reshape", "view")
"""Functions and methods that keep the order of an input's numbers."""


def named(part: Part, graph: ModelGraph, dataset: Dataset) -> Part:
    """Returns the analysed layers with the names of what enters them, if it is the input, and of their outputs.

    Outputs are named by classes if there is one for each; a single output by the target, where that has a name.
    """
    n_in, n_out = part.sizes[0], part.sizes[-1]
    inputs = dataset.feature_names if _is_input(part, graph) and n_in == math.prod(dataset.input_shape) else None
    outputs: tuple[str, ...] | None = None
    if dataset.class_names is not None and len(dataset.class_names) == n_out:
        outputs = dataset.class_names
    elif n_out == 1 and dataset.label_name != Dataset.label_name:
        outputs = (dataset.label_name,)
    return replace(part, input_names=inputs, output_names=outputs)


def _is_input(part: Part, graph: ModelGraph) -> bool:
    """Returns whether the value that enters the layers is the input, flattened or not."""
    if part.site in graph.inputs:
        return True
    if graph.sources(part.site) != graph.inputs[:1]:
        return False
    called = graph.function(part.site)[0]
    is_module = isinstance(graph.submodule(part.site), nn.Flatten | nn.Identity)
    return is_module or (called if isinstance(called, str) else getattr(called, "__name__", "")) in FLATTENING
