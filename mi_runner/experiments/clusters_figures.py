"""Pictures of a network's clusters: rows in, matplotlib figures out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mi_runner.experiments import Row, figures
from mi_runner.statistics import ALL, NONE
from mi_runner.training.clusterability import Partition

COLORS = {"clustered": "#c44e52", "twin": "#4c72b0"}
"""Of the networks."""

MOST_IN_ROW = 14


def of_networks(
    weights: Mapping[str, Tensor],
    partition: Partition,
    rows: Sequence[Row],
    units: Sequence[Row],
    history: Sequence[Row],
    class_names: Sequence[str],
) -> dict[str, Figure]:
    """Of the clusters experiment: weights with the clusters framed, accuracy by class, training, top images' classes.

    Args:
        weights: title → the clustered layer's weights `(O, I)`.
        partition: of its units, in contiguous blocks.
        rows, units, history: as in metrics.csv, units.csv, history.csv.
    """
    drawn = {"weights": _framed_weights(weights, partition), "off_on": _off_on(rows, class_names)}
    if units:
        drawn["distinct_classes"] = _distinct_classes(units, len(class_names))
    if history:
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        for axes, column, label in zip(
            figure.subplots(1, 2), ("clusterability", "test_accuracy"), ("clusterability", "test accuracy"), strict=True
        ):
            for network in dict.fromkeys(row["network"] for row in history):
                mine = [row for row in history if row["network"] == network]
                epochs, values = [row["epoch"] for row in mine], [row[column] for row in mine]
                axes.plot(epochs, values, marker=".", color=COLORS[network], label=network)
            axes.set(xlabel="epoch", ylabel=label, ylim=(0, 1.02))
            axes.xaxis.get_major_locator().set_params(integer=True)
            figures.tidy(axes)
        axes.legend(frameon=False)
        drawn["training"] = figure
    return drawn


def top_images(rows: Sequence[tuple[str, Sequence[Tensor]]], title: str) -> dict[str, Figure]:
    """A row of images `(C, H, W)` for each caption, at most `MOST_IN_ROW` of them."""
    if not rows:
        return {}
    strips = [torch.cat([figures.picture(image) for image in images[:MOST_IN_ROW]], dim=1) for _, images in rows]
    height, width = strips[0].shape[:2]
    figure = Figure(figsize=(7, 0.45 + 7 * len(strips) * height / width), layout="constrained")
    axes = figure.subplots()
    axes.imshow(torch.cat(strips).numpy(), cmap="gray", interpolation="nearest")
    axes.set_yticks([(number + 0.5) * height for number in range(len(rows))], [caption for caption, _ in rows])
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=7)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=9)
    return {"top_images": figure}


def _framed_weights(weights: Mapping[str, Tensor], partition: Partition) -> Figure:
    both = (partition.outputs, partition.inputs)
    outputs, inputs = (torch.bincount(units.cpu()).cumsum(0).tolist() for units in both)
    figure = Figure(figsize=(3.2 * len(weights) + 0.8, 3.4), layout="constrained")
    grid = figure.subplots(1, len(weights), squeeze=False)[0]
    for axes, (title, weight) in zip(grid, weights.items(), strict=True):
        size = weight.detach().cpu().abs()
        # Each picture has its own scale: training changes the sizes by an order of magnitude.
        axes.imshow(size.numpy(), cmap="magma", vmin=0, vmax=float(size.quantile(0.99)) or 1.0, aspect="auto")
        for top, bottom, left, right in zip([0, *outputs], outputs, [0, *inputs], inputs, strict=False):
            corner = (left - 0.5, top - 0.5)
            axes.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor="cyan", linewidth=1.2))
        axes.set(title=title, xlabel="input unit")
        axes.tick_params(labelsize=7)
    grid[0].set_ylabel("output unit")
    figure.suptitle("size of each weight (lighter is larger); the clusters framed", fontsize=9)
    return figure


def _off_on(rows: Sequence[Row], class_names: Sequence[str]) -> Figure:
    """Accuracy by class (across) with each cluster off and on (down), a panel a network."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    shown = [row for row in rows if row["partition"] == "trained"]
    states = list(dict.fromkeys((row["state"], row["cluster"]) for row in shown))
    columns = [ALL, *class_names]
    size = (0.42 * len(columns) * len(networks) + 1.8, 0.34 * len(states) + 1.3)
    figure = Figure(figsize=(max(6.0, size[0]), size[1]), layout="constrained")
    grid = figure.subplots(1, len(networks), squeeze=False, sharey=True)[0]
    for axes, network in zip(grid, networks, strict=True):
        values = torch.full((len(states), len(columns)), math.nan)
        for row in shown:
            if row["network"] == network:
                place = states.index((row["state"], row["cluster"])), columns.index(row["class"])
                values[place] = row["accuracy"]
        image = axes.imshow(values.numpy(), cmap="viridis", vmin=0, vmax=1, aspect="auto")
        if len(columns) <= figures.MOST_CELL_TEXTS:
            for i, j in torch.cartesian_prod(torch.arange(len(states)), torch.arange(len(columns))).tolist():
                dark = "white" if values[i, j] < 0.6 else "black"
                axes.text(j, i, f"{100 * values[i, j]:.0f}", ha="center", va="center", fontsize=6.5, color=dark)
        axes.set_xticks(range(len(columns)), columns)
        names = ["full network" if cluster == NONE else f"cluster {cluster} {state}" for state, cluster in states]
        axes.set_yticks(range(len(states)), names)
        axes.tick_params(labelsize=8)
        axes.set(title=network, xlabel="class")
    figure.colorbar(image, ax=list(grid), label="accuracy")
    return figure


def _distinct_classes(units: Sequence[Row], n_classes: int) -> Figure:
    """How many units have how many classes among their top images, a panel a hidden layer."""
    layers = list(dict.fromkeys(row["layer"] for row in units))
    figure = Figure(figsize=(3.6 * len(layers) + 0.6, 3), layout="constrained")
    for axes, layer in zip(figure.subplots(1, len(layers), squeeze=False)[0], layers, strict=True):
        networks = list(dict.fromkeys(row["network"] for row in units))
        for number, network in enumerate(networks):
            distinct = [row["distinct"] for row in units if (row["layer"], row["network"]) == (layer, network)]
            counts = np.bincount(distinct, minlength=n_classes + 1)[1:]
            places = np.arange(1, n_classes + 1) + (number - (len(networks) - 1) / 2) * 0.4
            axes.bar(places, counts, 0.4, color=COLORS[network], label=network)
        axes.set(title=layer, xlabel="distinct classes among a unit's top images", ylabel="units")
        axes.xaxis.get_major_locator().set_params(integer=True)
        figures.tidy(axes)
    axes.legend(frameon=False)
    return figure
