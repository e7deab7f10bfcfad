"""Pictures of a network's clusters: rows and networks in, matplotlib figures out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mi_runner.experiments.clusters.network import Network
from mi_runner.experiments.common import drawing
from mi_runner.machine import layout
from mi_runner.methods.clusters import Top
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row
from mi_runner.tables.names import ALL, NONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = {"clustered": styles.style(0), "twin": styles.style(1)}
"""Of the networks."""

COLORS = {network: style.color for network, style in STYLES.items()}

CLUSTER_COLORS = (styles.ORANGE, styles.GREEN, styles.PINK, styles.SKY, styles.RED, styles.BLUE, "#f0e442", "#999999")
"""Colours of clusters, again from the first where there are more."""

MOST_NODES = 64
"""Nodes of a layer in the picture of the edges; of a wider layer each node is a bundle of neighbouring units."""

MOST_EDGES = 400
"""Edges drawn of a weight matrix, those with the largest weights: more would cover each other."""

MOST_UNITS = 128
"""Units of a layer whose images are drawn."""

MOST_BLOCKS = 4
"""Blocks of units beside each other, where there are no clusters; of clusters there may be twice as many."""

LEAST_BLOCK = 1.6
"""Inches that a block of units needs, so that the numbers of its units can be read."""

IMAGES_OF_UNIT = {1: 14, 2: 10, 3: 8, 4: 7}
"""Blocks beside each other → images of each unit; of more blocks 5."""


def weights(networks: Sequence[Network]) -> Figure:
    """Draws the size of each weight of the clustered layer, with framed clusters, a panel for each network."""
    from matplotlib.patches import Rectangle

    partition = networks[0].partition
    both = (partition.outputs, partition.inputs)
    outputs, inputs = (torch.bincount(units.cpu()).cumsum(0).tolist() for units in both)
    height = 2.2 if layout.is_narrow(6) else 3.1
    figure, panels = layout.panels(1, len(networks), (3.2, height), (0.8, 0.3), least=1.6)
    grid = panels[0]
    for axes, network in zip(grid, networks, strict=True):
        size = network.weight.detach().cpu().abs()
        # Each panel has its own scale: training changes the sizes by an order of magnitude.
        largest = float(np.quantile(size.numpy(), 0.99)) or 1.0
        shown = axes.imshow(size.numpy(), cmap="magma", vmin=0, vmax=largest, aspect="auto")
        figure.colorbar(shown, ax=axes, pad=0.02).ax.tick_params(labelsize=7)
        for top, bottom, left, right in zip([0, *outputs], outputs, [0, *inputs], inputs, strict=False):
            corner = (left - 0.5, top - 0.5)
            axes.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor="cyan", linewidth=1.2))
        axes.set_title(_title(network), fontsize=10)
        axes.set_xlabel("input unit")
        axes.tick_params(labelsize=7)
        for axis in (axes.xaxis, axes.yaxis):
            layout.whole_numbers(axis)
    grid[0].set_ylabel("output unit")
    of = f"{networks[0].layer}: size of each weight, the largest 1 % alike; the clusters framed"
    figure.suptitle(of, fontsize=9)
    return figure


def _title(network: Network) -> str:
    return "before training" if network.name == "untrained" else network.name


# --- nodes and edges ---------------------------------------------------------------------------------------------


def edges(networks: Sequence[Network]) -> Figure:
    """Draws the chain's layers as columns of nodes with every weight matrix as edges, a panel for each network.

    Red edges are positive, blue ones negative. Width and opacity show the weight relative to the matrix's largest, so
    that each matrix can be read. Of each matrix the `MOST_EDGES` largest are drawn. The units of a layer wider than
    `MOST_NODES` are bundled, and an edge of a bundle is the mean of its weights.
    """
    panel = max(3.5, 0.9 * len(networks[0].columns))
    is_narrow = layout.is_narrow(panel * len(networks) / 2)
    figure, panels = layout.panels(1, len(networks), (panel, 2.6 if is_narrow else 4.8), (0, 0.4), least=panel / 2)
    for axes, network in zip(panels[0], networks, strict=True):
        _network(axes, network)
    lines = (
        f"the {MOST_EDGES} largest weights of each matrix: solid red is positive, dashed blue negative; wider is larger"
    )
    if any(len(layer) < n for layer, n in zip(bundles(networks[0]), networks[0].chain.sizes, strict=True)):
        lines += "\na node of a wide layer is a bundle of neighbouring units, its edges their mean weights"
    figure.suptitle(lines, fontsize=9)
    return figure


def bundles(network: Network) -> list[list[Tensor]]:
    """Returns for each column of units, inputs first, the units of each node: one, or a bundle of a cluster's."""
    nodes = []
    for site, n_units in zip(network.columns, network.chain.sizes, strict=True):
        clusters = network.clusters_at(site)
        if n_units <= MOST_NODES:
            nodes.append(list(torch.arange(n_units).split(1)))
            continue
        of_units = torch.tensor(clusters or [0] * n_units)
        groups = [(of_units == cluster).nonzero().squeeze(1) for cluster in of_units.unique().tolist()]
        room = max(1, MOST_NODES // len(groups))
        nodes.append([bundle for units in groups for bundle in _bundled(units, room)])
    return nodes


def _bundled(units: Tensor, most: int) -> list[Tensor]:
    """Returns the units in at most so many bundles, of equal sizes if more than half as many bundles allow it."""
    counts = [n for n in range(min(most, len(units)), most // 2, -1) if len(units) % n == 0]
    return list(units.tensor_split(counts[0] if counts else min(most, len(units))))


def _network(axes: Axes, network: Network) -> None:
    from matplotlib.collections import LineCollection

    nodes = bundles(network)
    heights = [np.linspace(1, 0, len(column) + 2)[1:-1] for column in nodes]
    for position, layer in enumerate(network.chain.layers):
        weight = layer.weight.detach().cpu()
        weight = torch.stack([weight[:, units].mean(1) for units in nodes[position]], dim=1)
        weight = torch.stack([weight[units].mean(0) for units in nodes[position + 1]])
        order = weight.abs().flatten().argsort()[-MOST_EDGES:]  # the largest are drawn last, on top
        values = weight.flatten()[order].numpy()
        strength = np.abs(values) / (np.abs(values).max() or 1.0)
        outputs, inputs = (order // weight.shape[1]).numpy(), (order % weight.shape[1]).numpy()
        starts = np.stack([np.full(len(order), position), heights[position][inputs]], axis=1)
        ends = np.stack([np.full(len(order), position + 1), heights[position + 1][outputs]], axis=1)
        lines = LineCollection(
            list(np.stack([starts, ends], axis=1)),
            colors=[styles.POSITIVE if value > 0 else styles.NEGATIVE for value in values],
            linestyles=["-" if value > 0 else styles.NEGATIVE_DASHES for value in values],
            linewidths=0.2 + 1.1 * strength,
            zorder=1,
        )
        lines.set_alpha(0.05 + 0.75 * strength**2)
        axes.add_collection(lines)
    for column, (site, units) in enumerate(zip(network.columns, nodes, strict=True)):
        clusters = network.clusters_at(site)
        colors = [
            "#333333" if clusters is None else CLUSTER_COLORS[clusters[int(node[0])] % len(CLUSTER_COLORS)]
            for node in units
        ]
        area = min(60.0, 2000 / len(units))
        axes.scatter([column] * len(units), heights[column], s=area, c=colors, edgecolors="black", linewidths=0.3)
    names = []
    for site, units, n_units in zip(network.columns, nodes, network.chain.sizes, strict=True):
        bundle = f"\n{len(units)} bundles" if len(units) < n_units else ""
        names.append(f"{site}\n{n_units} units{bundle}")
    axes.set_xticks(range(len(names)), names, fontsize=7)
    axes.set_title(_title(network), fontsize=10)
    axes.set(yticks=[], ylim=(-0.01, 1.01), xlim=(-0.2, len(names) - 0.8))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


# --- clusters off and on -----------------------------------------------------------------------------------------


def off_on(rows: Sequence[Row], class_names: Sequence[str]) -> Figure:
    """Draws the accuracy per class (across) with each cluster off and on (down), a panel for each network.

    Args:
        rows: of metrics.csv.
    """
    networks = list(dict.fromkeys(row["network"] for row in rows))
    shown = [row for row in rows if row["partition"] == "trained"]
    states = list(dict.fromkeys((row["state"], row["cluster"]) for row in shown))
    columns = [ALL, *class_names]
    wide = max(2.1, 0.42 * len(columns))
    least = 1.45 if len(columns) <= 4 else 2.0
    high = 0.2 if layout.is_narrow(4) else 0.34
    figure, panels = layout.panels(
        1, len(networks), (wide, high * len(states) + 0.8), (1.8, 0.5), least=least, share="y"
    )
    grid = panels[0]
    for axes, network in zip(grid, networks, strict=True):
        values = torch.full((len(states), len(columns)), math.nan)
        for row in shown:
            if row["network"] == network:
                place = states.index((row["state"], row["cluster"])), columns.index(row["class"])
                values[place] = row["accuracy"]
        image = axes.imshow(values.numpy(), cmap="viridis", vmin=0, vmax=1, aspect="auto")
        if len(columns) <= drawing.MOST_CELL_TEXTS:
            texts = {at: f"{100 * values[at]:.0f}" for at in np.ndindex(len(states), len(columns))}
            layout.numbers(axes, texts, values < 0.6)
        axes.set_xticks(range(len(columns)), columns)
        names = ["full network" if cluster == NONE else f"cluster {cluster} {state}" for state, cluster in states]
        axes.set_yticks(range(len(states)), names)
        axes.tick_params(labelsize=8)
        axes.set(title=network, xlabel="class")
    figure.colorbar(image, ax=list(grid), label="accuracy")
    return figure


def training(history: Sequence[Row]) -> Figure:
    """Draws clusterability and test accuracy over the epochs, a line for each network.

    Args:
        history: rows of history.csv.
    """
    figure, panels = layout.panels(1, 2, (4, 2.2 if layout.is_narrow(4) else 3.2))
    for axes, column, label in zip(
        panels[0], ("clusterability", "test_accuracy"), ("clusterability", "test accuracy"), strict=True
    ):
        for network in dict.fromkeys(row["network"] for row in history):
            mine = [row for row in history if row["network"] == network]
            epochs, values = [row["epoch"] for row in mine], [row[column] for row in mine]
            axes.plot(epochs, values, **STYLES[network].line, markersize=4, label=network)
        axes.set(xlabel="epoch", ylabel=label, ylim=(0, 1.02))
        layout.whole_numbers(axes.xaxis)
        drawing.tidy(axes)
    layout.key(axes, beside=False)
    return figure


# --- the top images of each unit ---------------------------------------------------------------------------------


def distinct_classes(units: Sequence[Row], n_classes: int) -> Figure:
    """Draws how many units have how many classes among their top images, and below it the cumulative share.

    Args:
        units: rows of units.csv; a column of panels for each layer.
    """
    layers = list(dict.fromkeys(row["layer"] for row in units))
    networks = list(dict.fromkeys(row["network"] for row in units))
    height = 1.5 if layout.is_narrow(4) else 2.35
    figure, grid = layout.panels(2, len(layers), (3.4, height), (0.6, 0.3), share="x")
    numbers = np.arange(1, n_classes + 1)
    for column, layer in enumerate(layers):
        histogram, cumulative = grid[:, column]
        for place, network in enumerate(networks):
            distinct = [row["distinct"] for row in units if (row["layer"], row["network"]) == (layer, network)]
            counts = np.bincount(distinct, minlength=n_classes + 1)[1:]
            shift = (place - (len(networks) - 1) / 2) * 0.4
            histogram.bar(numbers + shift, counts, 0.4, label=network, **STYLES[network].bar)
            shares = counts.cumsum() / counts.sum()
            cumulative.plot(numbers, shares, **STYLES[network].line, markersize=4, label=network)
        histogram.set_title(layer, fontsize=10)
        cumulative.set(xlabel="distinct classes", ylim=(0, 1.03))
        layout.whole_numbers(cumulative.xaxis)
        layout.whole_numbers(histogram.yaxis)
        for axes in (histogram, cumulative):
            drawing.tidy(axes)
        if layout.is_first(column, len(layers), room=0.6):
            histogram.set_ylabel("units")
            cumulative.set_ylabel("cumulative fraction of units")
    layout.key(grid[0, -1], beside=False, size=8)
    figure.suptitle("distinct classes among a unit's top images", fontsize=9)
    return figure


def unit_images(
    network: Network, site: str, found: Top, x: Tensor, image_shape: tuple[int, ...], class_names: Sequence[str]
) -> Figure:
    """Draws the top images of a layer's units: a strip for each unit, the largest activation first, by cluster.

    Args:
        found: the top images of the layer's units.
        x: the test set.
        image_shape: `(C, H, W)` of an example.
    """
    blocks, left_out = shown_units(network, site, found.examples.shape[1])
    across = IMAGES_OF_UNIT.get(len(blocks), 5)
    height, width = image_shape[1:]
    gap, room, line = max(1, width // 14), 2 * width, max(1, height // 9)
    rows, columns = max(len(units) for _, units in blocks), len(blocks)
    if (given := layout.given_width()) is not None:
        columns = max(1, min(columns, int(given / LEAST_BLOCK)))
    block_width, block_height = room + across * (width + gap), rows * (height + line) + 2 * height
    is_of_classes = site == network.logits and not network.kind.are_of_one
    first = drawing.picture(x[0].reshape(image_shape))
    down = math.ceil(len(blocks) / columns)
    shape = (down * block_height - 2 * height, columns * block_width, *first.shape[2:])
    canvas = np.full(shape, math.nan, dtype=np.float32)
    inches = layout.given_width() or 1.9 * len(blocks) + 1.2 * across / 5
    figure = layout.blank(inches, 0.75 + inches * canvas.shape[0] / canvas.shape[1])
    axes = figure.subplots()
    for block, (title, units) in enumerate(blocks):
        left, top = block % columns * block_width + room, block // columns * block_height
        if title:
            axes.text(left, top - 0.25 * height, title, ha="left", va="bottom", fontsize=7, weight="bold")
        for row, unit in enumerate(units):
            upper = top + row * (height + line)
            name = class_names[unit] if is_of_classes else str(unit)
            axes.text(left - 0.2 * width, upper + height / 2, name, ha="right", va="center", fontsize=6)
            for place, example in enumerate(found.examples[:across, unit].tolist()):
                start = left + place * (width + gap)
                canvas[upper : upper + height, start : start + width] = drawing.picture(x[example].reshape(image_shape))
    shown = np.nan_to_num(canvas, nan=1.0) if canvas.ndim == 3 else canvas
    axes.imshow(shown, cmap="gray", interpolation="nearest")
    axes.set_axis_off()
    axes.set_ylim(canvas.shape[0], -0.6 * height if blocks[0][0] else 0)
    more = f"; {left_out} of its units left out" if left_out else ""
    what = "class" if is_of_classes else "unit"
    figure.suptitle(f"{site}, {network.name} network: the images with each {what}'s largest values{more}", fontsize=8)
    return figure


def shown_units(network: Network, site: str, n_units: int) -> tuple[list[tuple[str, list[int]]], int]:
    """Returns title → units of each block of a layer's picture, and how many units are left out.

    A block is a cluster where the layer has clusters. Of more units than `MOST_UNITS` some are chosen, at equal
    distances within each block.
    """
    clusters = network.clusters_at(site)
    if clusters is None:
        count = min(MOST_BLOCKS, math.ceil(n_units / 16))
        blocks = [("", units.tolist()) for units in torch.arange(n_units).tensor_split(count)]
    else:
        blocks = [
            (f"cluster {cluster}", [unit for unit in range(n_units) if clusters[unit] == cluster])
            for cluster in range(network.partition.n_clusters)
        ][: 2 * MOST_BLOCKS]
    most = MOST_UNITS // len(blocks)
    chosen = [
        (title, [units[at] for at in np.linspace(0, len(units) - 1, min(most, len(units))).round().astype(int)])
        for title, units in blocks
    ]
    return chosen, n_units - sum(len(units) for _, units in chosen)
