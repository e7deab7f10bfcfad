"""Pictures of a decoder of hidden activations: tensors and rows in, matplotlib figures out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mi_runner.experiments.common import drawing
from mi_runner.machine import layout
from mi_runner.methods.activation_distances import mean_distances
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row
from mi_runner.tables.names import ALL, NONE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 8
"""Matrices of a network in a row of a picture."""


def kernels(weight: Tensor) -> Figure:
    """Draws a decoder's kernels `(K, k, k)`, with their weights."""
    weight = weight.cpu()
    limit = float(weight.abs().max()) or 1.0
    figure, panels = layout.panels(1, len(weight), (1.7, 1.3 if layout.is_narrow(5) else 1.7), (1.2, 0.5), least=1.3)
    every = panels[0]
    for number, (axes, kernel) in enumerate(zip(every, weight.tolist(), strict=True)):
        shown = axes.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
        if len(kernel) <= drawing.MOST_CELL_TEXTS // 3:
            values = torch.tensor(kernel)
            texts = {at: f"{values[at].item():.3g}" for at in np.ndindex(*values.shape)}
            layout.numbers(axes, texts, values.abs() > 0.6 * limit, size=8)
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"kernel {number}", fontsize=9)
    figure.colorbar(shown, ax=list(every), label="weight")
    return figure


def filtered_images(
    images: Tensor, responses: Tensor, filtered: Tensor, captions: Sequence[str], sites: Sequence[str]
) -> Figure:
    """Draws a row for each input: its activation image `(H, W)`, what each kernel sees, and what the decoder reads.

    Args:
        images: `(B, H, W)`.
        responses: `(B, K, H', W')`, of each kernel.
        filtered: `(B, H', W')`, the tanh of the largest response.
        captions: of the inputs.
        sites: the names of an image's rows.
    """
    images, responses, filtered = images.cpu(), responses.cpu(), filtered.cpu()
    titles = ["activations", *(f"kernel {number}" for number in range(responses.shape[1])), "tanh of the largest"]
    is_narrow = layout.is_narrow(1.6 + 1.0 * len(titles))
    figure = layout.blank(1.6 + 1.6 * len(titles), 0.9 + (0.7 if is_narrow else 1.3) * len(images))
    grid = figure.subplots(len(images), len(titles), squeeze=False)
    limits = [float(images.abs().max()) or 1.0, *[float(responses.abs().max()) or 1.0] * responses.shape[1], 1.0]
    for line, image, seen, largest, caption in zip(grid, images, responses, filtered, captions, strict=True):
        for axes, picture, limit in zip(line, [image, *seen, largest], limits, strict=True):
            axes.imshow(picture.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(caption.replace(", ", "\n"), rotation=0, ha="right", va="center", fontsize=9)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    if len(sites) <= drawing.MOST_CELL_TEXTS and not is_narrow:
        grid[-1][0].yaxis.tick_right()
        grid[-1][0].set_yticks(range(len(sites)), [drawing.short(site) for site in sites], fontsize=5)
    for columns, label in ((grid[:, :1], "activation"), (grid[:, 1:-1], "response"), (grid[:, -1:], "tanh")):
        figure.colorbar(columns[0][0].images[0], ax=list(columns.flat), label=label, location="bottom", fraction=0.05)
    return figure


def accuracy_by_layer(rows: Sequence[Row]) -> Figure:
    """Draws the accuracy of the linear probes by layer with 95 % intervals, of all layers, and of the decoder."""
    probes = [row for row in rows if row["control"] == "linear"]
    sites = list(dict.fromkeys(row["site"] for row in probes))
    names = list(dict.fromkeys(row["decoded"] for row in probes))
    figure = layout.blank(2.5 + 0.8 * (len(sites) + 1), 3.6)
    axes = figure.subplots()
    places = [*sites[:-1], "all sites", "decoder"]
    for number, name in enumerate(names):
        of_name = [row for row in probes if row["decoded"] == name]
        of_name += [row for row in rows if row["control"] == NONE and row["decoded"] == name]
        x = [place + 0.08 * (number - (len(names) - 1) / 2) for place in range(len(of_name))]
        accuracy = [row["accuracy"] for row in of_name]
        below = [row["accuracy"] - row["accuracy_low"] for row in of_name]
        above = [row["accuracy_high"] - row["accuracy"] for row in of_name]
        style = styles.style(number)
        axes.errorbar(
            x, accuracy, yerr=[below, above], fmt=style.marker, color=style.color, markersize=4, elinewidth=0.8,
            label=name,
        )  # fmt: skip
        axes.plot(
            x[: len(sites) - 1], accuracy[: len(sites) - 1], color=style.color, linestyle=style.dashes, linewidth=1
        )
        axes.axhline(of_name[0]["chance"], color=style.color, linestyle=":", linewidth=0.8)
    axes.axvline(len(sites) - 1.5, color="#cccccc", linewidth=0.8)
    axes.set_xticks(range(len(places)), places, rotation=30, ha="right")
    axes.set(ylim=(-0.02, 1.05), ylabel="decoding accuracy", title="linear probes (dotted: chance)")
    drawing.tidy(axes)
    layout.key(axes, size=8)
    return figure


def distances(
    matrices: Mapping[str, Mapping[str, Tensor]],
    label: Tensor,
    captions: Sequence[str],
    values: Sequence[str],
    by: str,
) -> Figure:
    """Draws a row for each network: a matrix of distances for each site, divided by its mean.

    Few inputs are shown one by one, in the order of their labels; of many the mean distances of each two labels.

    Args:
        matrices: network → site → `(D, D)`; a network's last is that of all sites.
        label: `(D,)`, the position of each input's label in `values`.
        captions: of the inputs.
        values: of the label.
        by: the label's name.
    """
    each = len(captions) <= drawing.MOST_LABELS
    order = torch.argsort(label, stable=True)
    ticks = [captions[example] for example in order.tolist()] if each else list(values)
    sites = list(next(iter(matrices.values())))
    most = MOST_PANELS if (given := layout.given_width()) is None else max(2, min(MOST_PANELS, int(given / 1.1)))
    shown = [*sites[: -1 : math.ceil(len(sites) / most)], ALL]
    side = max(1.6, 0.11 * len(ticks))
    down = side + 0.3 if given is None else min(side + 0.3, max(1.2, given / len(shown)))
    figure = layout.blank(1.6 + (side + 0.1) * len(shown), 0.7 + down * len(matrices))
    grid = figure.subplots(len(matrices), len(shown), squeeze=False)
    for line, (network, by_site) in zip(grid, matrices.items(), strict=True):
        for axes, site in zip(line, shown, strict=True):
            matrix = by_site[site]
            picture = matrix[order][:, order] if each else mean_distances(matrix, label)[0]
            mean = float(matrix.sum()) / (len(matrix) * (len(matrix) - 1)) or 1.0
            drawn = axes.imshow((picture / mean).numpy(), cmap="viridis", vmin=0, vmax=2)
            axes.set(xticks=[], yticks=[])
            axes.set_title("all sites" if site == ALL else site, fontsize=8)
        line[0].set_ylabel(network, fontsize=9)
        if len(ticks) <= drawing.MOST_LABELS:
            line[0].set_yticks(range(len(ticks)), ticks, fontsize=5)
    figure.suptitle(f"distances of {'inputs, ordered' if each else 'inputs, averaged'} by {by}", fontsize=9)
    figure.colorbar(drawn, ax=list(grid.flat), label="distance ÷ mean distance")
    return figure


def layer_similarity(rows: Sequence[Row]) -> Figure:
    """Draws the similarity of each two layers, of the trained and the untrained network."""
    names = list(dict.fromkeys((row["network"], row["site"]) for row in rows))
    values = torch.tensor([math.nan if row["similarity"] is None else row["similarity"] for row in rows])
    matrix = values.view(len(names), len(names))
    needed = 2.8 + 0.38 * len(names)
    figure = layout.blank(needed, 1.8 + (0.18 if layout.is_narrow(needed) else 0.36) * len(names))
    axes = figure.subplots()
    drawn = axes.imshow(matrix.numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
    labels = [f"{network} {site}" for network, site in names]
    axes.set_yticks(range(len(names)), labels, fontsize=7)
    axes.set_xticks(range(len(names)), labels, fontsize=7, rotation=60, ha="right")
    if len(names) <= drawing.MOST_CELL_TEXTS:
        texts = {at: f"{matrix[at].item():.2f}" for at in np.ndindex(*matrix.shape)}
        layout.numbers(axes, texts, matrix.abs() > 0.6, size=6)
    axes.set_title("correlation of the distances between inputs", fontsize=9)
    figure.colorbar(drawn, ax=axes, label="Pearson correlation")
    return figure
