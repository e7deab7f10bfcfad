"""Pictures of the network that is ablated: its weights, and what enters its output layer. No ablation changes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mi_runner.datasets import Dataset
from mi_runner.experiments import Drawing
from mi_runner.experiments.ablation.tables import MOST_IMAGES
from mi_runner.experiments.common import drawing
from mi_runner.graph.chain import Layer, Part
from mi_runner.graph.interventions import read_sites
from mi_runner.graph.model_graph import ModelGraph, evaluating
from mi_runner.machine import layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_EXAMPLES = 20
"""Test examples whose value that enters the output layer is drawn."""


def weight_pictures(graph: ModelGraph, dataset: Dataset) -> dict[str, Drawing]:
    """Returns pictures of the weights of Linear layers: as images, or by feature where the input's numbers have names.

    Of images each layer with a weight a pixel is drawn: its units' weights (the largest). Otherwise each that reads the
    input, with at most `drawing.MOST_LABELS` features, and of the units those of largest norm.
    """
    if dataset.image_shape is None:
        return _weights_by_feature(graph, dataset)
    drawn: dict[str, Drawing] = {}
    for name in graph.sites:
        layer = graph.submodule(name)
        if not isinstance(layer, nn.Linear) or layer.in_features != math.prod(dataset.image_shape):
            continue
        weight = layer.weight.detach().cpu()
        units = weight.norm(dim=1).topk(min(MOST_IMAGES, len(weight))).indices.sort().values.tolist()
        limit = float(weight[units].abs().quantile(0.995)) or 1.0
        pictures = [weight[unit].reshape(dataset.image_shape).mean(0).numpy() for unit in units]
        of = "all units" if len(units) == len(weight) else f"the {len(units)} of {len(weight)} units of largest norm"
        title = f"{name}.weight, {of}: blue negative, red positive"
        captions, colours = [str(unit) for unit in units], {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        drawn[f"weights_{name}"] = partial(drawing.mosaic, pictures, captions, title, **colours)
    return drawn


def _weights_by_feature(graph: ModelGraph, dataset: Dataset) -> dict[str, Drawing]:
    """Returns pictures of the layers that read the input: a row for each unit, a column for each named number."""
    names = dataset.feature_names
    if names is None or len(names) > drawing.MOST_LABELS:
        return {}
    drawn: dict[str, Drawing] = {}
    for edge in graph.uses(graph.inputs[0]):
        name = edge.rpartition("/")[2]
        layer = graph.submodule(name) if name in graph.sites else None
        if isinstance(layer, nn.Linear) and layer.in_features == len(names):
            weight = layer.weight.detach().cpu()
            units = weight.norm(dim=1).topk(min(drawing.MOST_LABELS, len(weight))).indices.sort().values.tolist()
            drawn[f"weights_{name}"] = partial(_weights_of_features, name, weight[units], units, names)
    return drawn


def _weights_of_features(name: str, weight: Tensor, units: Sequence[int], names: Sequence[str]) -> Figure:
    """Draws weights `(units, features)`: blue negative, red positive."""
    row = 0.2 if layout.given_width() is None else 0.12
    figure = layout.blank(2.2 + 0.3 * len(names), 1.8 + row * len(units))
    axes = figure.subplots()
    largest = float(weight.abs().max()) or 1.0
    shown = axes.imshow(weight.numpy(), cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto")
    layer = Layer(weight, torch.zeros(len(weight)), module=name)
    drawing.name_ends(axes, Part((layer,), input_names=tuple(names)), 0)
    axes.set_yticks(range(len(units)), [str(unit) for unit in units], fontsize=7)
    axes.set_ylabel("unit")
    axes.set_title(f"{name}.weight", fontsize=9)
    axes.set_xlabel("input")
    figure.colorbar(shown, ax=axes, label="weight: blue negative, red positive")
    return figure


@torch.no_grad()
def entering_images(graph: ModelGraph, dataset: Dataset, examples: Sequence[int] | None) -> dict[str, Drawing]:
    """Returns pictures of test examples: the image, and what enters the output layer, with label and answer.

    No figure unless the data are images with classes, the network ends with a Linear layer that reads a site behind the
    input, and this site has as many numbers as an image, or a square number of them.

    Args:
        examples: their positions in the test set; None for the first example of each class.
    """
    (layer,) = [name for name, role in graph.roles.items() if role == "output"] or [graph.output]
    read = graph.sources(layer)
    if dataset.image_shape is None or dataset.class_names is None or len(read) != 1 or read[0] in graph.inputs:
        return {}
    n_units, side = graph.site(read[0]).n_units, math.isqrt(graph.site(read[0]).n_units)
    shape = dataset.image_shape if n_units == math.prod(dataset.image_shape) else (1, side, side)
    if math.prod(shape) != n_units or not isinstance(graph.submodule(layer), nn.Linear):
        return {}
    if examples is None:
        labels = dataset.y_test.unique().tolist()[:MOST_EXAMPLES]
        examples = [int((dataset.y_test == label).nonzero()[0]) for label in labels]
    x = dataset.x_test[examples]
    with evaluating(graph.module):
        values, outputs = read_sites(graph, x, [read[0], graph.output]).values()
    labels = [dataset.class_names[label] for label in dataset.y_test[examples].tolist()]
    answers = [dataset.class_names[answer] for answer in dataset.outputs.answers(outputs).tolist()]
    strips = [
        ("image", [drawing.picture(image.reshape(dataset.image_shape)) for image in x], "gray"),
        (
            f"{read[0]}, which {layer} reads",
            [value.reshape(shape).cpu().mean(0).numpy() for value in values],
            "viridis",
        ),
    ]
    captions = [
        f"{example}: {label}\nread as {answer}"
        for example, label, answer in zip(examples, labels, answers, strict=True)
    ]
    return {"entering": partial(drawing.strips, strips, captions, "test examples: position, label, predicted label")}
