"""What a network of the decoder experiment computes on the inputs, and how far apart its activation images are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.experiments import Drawing
from mi_runner.experiments.decoder import figures as decoder_figures
from mi_runner.experiments.decoder import rows as decoder_rows
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.activation_distances import distance_matrix
from mi_runner.methods.activation_images import activation_images
from mi_runner.methods.decoding import DecodingSplit, Examples, class_numbers
from mi_runner.models.activation_decoder import ActivationDecoder
from mi_runner.models.batches import outputs_of
from mi_runner.tables.declaration import Row
from mi_runner.tables.names import ALL

MOST_SHOWN = 8
"""Inputs whose activation images are drawn."""

MOST_COMPARED = 500
"""Inputs whose activation images are compared with each other."""

PREDICTED = "predicted"
"""The variable that is the network's own answer, beside the label."""


@dataclass(frozen=True)
class Read:
    """What a network computes on the distinct examples.

    Attributes:
        images: `(D, H, W)`.
        predicted: `predicted` → `(D,)` int64, the position of the network's own answer among its values.
        predicted_values: `predicted` → these values.
        accuracy: the network's, on all test examples.
    """

    images: Tensor
    predicted: dict[str, Tensor]
    predicted_values: dict[str, tuple[int, ...]]
    accuracy: float

    @classmethod
    def of(cls, graph: ModelGraph, dataset: Dataset, examples: Examples, sites: Sequence[str], **options: Any) -> Read:
        """Reads the activations of the examples as images, and the network's predicted labels.

        Args:
            options: of `activation_images`.
        """
        images = activation_images(graph, examples.x, sites, **options)
        predicted = dataset.outputs.answers(outputs_of(graph, examples.x)).long()
        if dataset.class_names is not None:
            predicted = torch.tensor(class_numbers(dataset.class_names), device=predicted.device)[predicted]
        possible, label = predicted.unique(return_inverse=True)
        is_correct = dataset.outputs.correct(outputs_of(graph, dataset.x_test), dataset.y_test)
        return cls(images, {PREDICTED: label}, {PREDICTED: tuple(possible.tolist())}, float(is_correct.double().mean()))


@dataclass(frozen=True)
class Distances:
    """Rows of the tables of these names, and figures by name."""

    separation: list[dict[str, Any]]
    distances: list[dict[str, Any]]
    layer_similarity: list[dict[str, Any]]
    figures: dict[str, Drawing]


def distances_between_images(
    examples: Examples, sites: Sequence[str], networks: Mapping[str, Read], *, label_name: str, seed: int
) -> Distances:
    """Returns tables and figures of the distances between activation images, of at most `MOST_COMPARED` inputs.

    Args:
        examples: the distinct examples.
        sites: the rows of the images.
        networks: name → what the network computes on the examples.
        label_name: the variable that orders the figure, unless it is no variable of the examples.
        seed: which inputs are compared, where there are more, follows from it.
    """
    n = min(len(examples), MOST_COMPARED)
    drawn = torch.randperm(len(examples), generator=chance.generator(seed, "compared inputs"))[:n]
    compared = drawn.sort().values.to(examples.index.device)
    numbers = compared.tolist()
    distances, separations = [], []
    by_layer: dict[tuple[str, str], Tensor] = {}
    matrices: dict[str, dict[str, Tensor]] = {}
    for name, read in networks.items():
        images = read.images[compared]
        matrices[name] = {site: distance_matrix(images[:, row]) for row, site in enumerate(sites)}
        by_layer |= {(name, site): matrix for site, matrix in matrices[name].items()}
        matrices[name][ALL] = distance_matrix(images)
        labels = {key: label[compared].cpu() for key, label in {**examples.labels, **read.predicted}.items()}
        new_distances, new_separations = decoder_rows.distance_rows(
            name, matrices[name], numbers, labels, {**examples.values, **read.predicted_values}
        )
        distances += new_distances
        separations += new_separations
    similarity = decoder_rows.similarity_rows(by_layer)
    by = label_name if label_name in examples.labels else next(iter(examples.labels))
    figures: dict[str, Drawing] = {
        "distances": partial(
            decoder_figures.distances,
            matrices,
            examples.labels[by][compared].cpu(),
            [examples.caption(example) for example in numbers],
            [str(value) for value in examples.values[by]],
            by,
        )
    }
    if similarity:
        figures["layer_similarity"] = partial(decoder_figures.layer_similarity, similarity)
    return Distances(separations, distances, similarity, figures)


def decoder_pictures(
    decoder: ActivationDecoder,
    images: Tensor,
    examples: Examples,
    split: DecodingSplit,
    sites: Sequence[str],
    rows: Sequence[Row],
) -> dict[str, Drawing]:
    """Returns a decoder's figures by name: its kernels, what they see of held-out images, the accuracies of `rows`."""
    labels = list(examples.labels.values())
    by_values = sorted(split.held_out.tolist(), key=lambda example: [int(label[example]) for label in labels])
    chosen = by_values[:: math.ceil(len(by_values) / MOST_SHOWN)]
    with torch.no_grad():
        responses, filtered = decoder.responses(images[chosen]), decoder.filtered(images[chosen])
    return {
        "kernels": partial(decoder_figures.kernels, decoder.kernels.weight.detach().squeeze(1)),
        "filtered": partial(
            decoder_figures.filtered_images,
            images[chosen],
            responses,
            filtered,
            [examples.caption(example) for example in chosen],
            sites,
        ),
        "layers": partial(decoder_figures.accuracy_by_layer, rows),
    }
