"""The rows of the decoder's tables, which `tables` declares: splits, logits and distances in, rows out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mi_runner.experiments.common.sentences import counted, measured
from mi_runner.experiments.decoder.tables import DECODED, EXAMPLE, EXAMPLE_NUMBER, FOLD
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.activation_distances import layer_similarity, mean_distances, separation
from mi_runner.methods.decoding import DecodingSplit, Examples, Logits, folds_accuracy, folds_loss
from mi_runner.models.activation_decoder import ActivationDecoder
from mi_runner.progress import log
from mi_runner.tables.names import ALL, NONE

INPUT = "input"
"""In the column `by`: the distances of each two inputs, and not of groups of them."""

CONTROLS = {"untrained": "from the untrained network's", "shuffled": "after training on shuffled labels"}
"""Control → how the answer calls it."""

MOST_GROUPS = 60
"""Values of a variable, or inputs, whose distances are listed one by one."""


def accuracy_rows(
    control: str,
    site: str,
    splits: Sequence[DecodingSplit],
    labels: Mapping[str, Tensor],
    logits: Sequence[Logits],
    target_accuracy: float,
) -> list[dict[str, Any]]:
    """Returns a row for each variable and, of several, one for all of them.

    Args:
        control, site, target_accuracy: the columns of this name.
        splits: one, or the folds.
        labels: variable → `(D,)`, the true values.
        logits: of each split what its decoder computes on all examples.
    """
    answers = [[values.argmax(1) for values in own] for own in logits]
    test_loss = folds_loss(logits, labels, splits)
    return [
        {
            "control": control,
            "site": site,
            "decoded": name,
            "accuracy": of_name.accuracy,
            "accuracy_low": of_name.low,
            "accuracy_high": of_name.high,
            "chance": of_name.chance,
            "n": of_name.n,
            "shared_images": sum(split.n_shared for split in splits),
            "test_loss": test_loss[name],
            "train_accuracy": of_name.train_accuracy,
            "target_accuracy": target_accuracy,
        }
        for name, of_name in folds_accuracy(answers, labels, splits).items()
    ]


def site_rows(graph: ModelGraph, sites: Sequence[str], height: int, width: int) -> list[dict[str, Any]]:
    """Returns the rows of an activation image from top to bottom; a log line says what is padded with zeros."""
    units = [graph.site(name).n_units for name in sites]
    padded = [f"{name} by {width - count}" for name, count in zip(sites, units, strict=True) if count < width]
    padded += [f"{height - len(sites)} empty rows at the bottom"] if height > len(sites) else []
    if padded:
        log.info(f"activation images of {height}×{width} are padded with zeros: {', '.join(padded)}")
    rows = enumerate(zip(sites, units, strict=True))
    return [{"row": row, "site": name, "units": count, "padding": width - count} for row, (name, count) in rows]


def kernel_rows(decoders: Sequence[ActivationDecoder]) -> list[dict[str, Any]]:
    """Returns the weights of the kernels of each fold's decoder."""
    return [
        {FOLD: fold, "kernel": kernel, "row": row, "column": column, "weight": weight}
        for fold, decoder in enumerate(decoders)
        for kernel, rows in enumerate(decoder.kernels.weight.detach().squeeze(1).tolist())
        for row, weights in enumerate(rows)
        for column, weight in enumerate(weights)
    ]


def answer_rows(
    examples: Examples,
    splits: Sequence[DecodingSplit],
    labels: Mapping[str, Tensor],
    values: Mapping[str, Sequence[int]],
    logits: Sequence[Logits],
) -> list[dict[str, Any]]:
    """Returns a row for each held-out example: the true values, and those that the decoder of its fold reads.

    Args:
        labels: variable → `(D,)`, the position of the true value in `values`.
        values: variable → the integers that it can be.
        logits: of each fold and variable, `(D, values)`.
    """
    rows = []
    for fold, (split, own) in enumerate(zip(splits, logits, strict=True)):
        decoded = {name: one.argmax(1).tolist() for name, one in zip(labels, own, strict=True)}
        for example in split.held_out.tolist():
            row: dict[str, Any] = {EXAMPLE_NUMBER: example, EXAMPLE: examples.caption(example), FOLD: fold}
            for name, label in labels.items():
                row[name] = values[name][int(label[example])]
                row[DECODED.format(name)] = values[name][decoded[name][example]]
            rows.append(row)
    return sorted(rows, key=lambda row: row[EXAMPLE_NUMBER])


def distance_rows(
    network: str,
    matrices: Mapping[str, Tensor],
    numbers: Sequence[int],
    labels: Mapping[str, Tensor],
    values: Mapping[str, Sequence[int]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns rows of the tables `distances` and `separation` of a network.

    Args:
        network: the column of this name.
        matrices: site → the distances `(D, D)` between the images of the compared examples.
        numbers: the numbers of these examples.
        labels: variable → `(D,)`, the position of an example's value in `values`.
        values: variable → the integers that it can be.
    """
    distances, separations = [], []
    for site, matrix in matrices.items():
        names = {"network": network, "site": site}
        groups: list[tuple[str, Tensor, Sequence[int]]] = [(INPUT, torch.arange(len(numbers)), numbers)]
        groups += [(name, label, values[name]) for name, label in labels.items()]
        for by, label, of_group in groups:
            if by != INPUT:
                apart = separation(matrix, label)
                separations.append(
                    {**names, "by": by, "within": apart.within, "between": apart.between, "ratio": apart.ratio}
                )
            if len(of_group) > MOST_GROUPS:
                continue
            means, pairs = mean_distances(matrix, label)
            distances += [
                {
                    **names,
                    "by": by,
                    "first": of_group[first],
                    "second": of_group[second],
                    "distance": float(means[first, second]),
                    "pairs": int(pairs[first, second]),
                }
                for first in range(len(means))
                for second in range(first, len(means))
                if pairs[first, second]
            ]
    return distances, separations


def similarity_rows(matrices: Mapping[tuple[str, str], Tensor]) -> list[dict[str, Any]]:
    """Returns how alike each two layers are, by their distances; none if there are fewer than three examples.

    Args:
        matrices: (network, site) → distances `(D, D)` between the same examples.
    """
    if len(next(iter(matrices.values()))) < 3:
        return []
    similarity = layer_similarity(list(matrices.values())).tolist()
    return [
        {
            "network": network,
            "site": site,
            "other_network": other_network,
            "other_site": other_site,
            "similarity": None if math.isnan(value) else value,
        }
        for (network, site), row in zip(matrices, similarity, strict=True)
        for (other_network, other_site), value in zip(matrices, row, strict=True)
    ]


def activation_arrays(
    images: Tensor, labels: Mapping[str, Tensor], values: Mapping[str, Sequence[int]], splits: Sequence[DecodingSplit]
) -> dict[str, NDArray[Any]]:
    """Returns the activation images with their labels.

    These are `images` `(D, H, W)`; `names` `(V,)` of the variables; `labels` `(V, D)`, their integers; and `fold`
    `(D,)`, the fold that held out the image, −1 for none.
    """
    fold = torch.full((len(images),), -1)
    for number, split in enumerate(splits):
        fold[split.held_out.cpu()] = number
    return {
        "images": images.cpu().numpy(),
        "names": np.array(list(labels)),
        "labels": np.stack([np.array(values[name])[label.cpu().numpy()] for name, label in labels.items()]),
        "fold": fold.numpy(),
    }


def answer(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns how well all variables, or the only one, and the network's answer are read, beside the controls."""
    own = [row for row in rows if row["control"] == NONE]
    variables, predicted = own[-2], own[-1]
    beside = {row["control"]: row for row in rows if row["decoded"] == variables["decoded"] and row["site"] == ALL}
    name = "all variables together" if variables["decoded"] == ALL else variables["decoded"]
    controls = [f"{measured(beside[control], 'accuracy')} {words}" for control, words in CONTROLS.items()]
    return (
        f"On {counted(variables['n'], 'held-out input')} the decoder reads {name} from the activations with an "
        f"accuracy of {measured(variables, 'accuracy')}, beside {' and '.join(controls)}. It reads the network's own "
        f"answer with an accuracy of {measured(predicted, 'accuracy')}."
    )
