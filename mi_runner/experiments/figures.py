"""Pictures of results: rows in, matplotlib figures out; the runner writes them.

Figures are made without pyplot, so that they need no screen and leave no state behind.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from mi_runner.datasets import Dataset
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.statistics import ALL, FEW, NONE, NOT_NEGATIVE, Spread, Summed

if TYPE_CHECKING:
    from pandas import DataFrame

    from mi_runner.graph.chain import Part
    from mi_runner.methods.circuits.space import CircuitSpace
    from mi_runner.training.clusterability import Partition

Row = Mapping[str, Any]

COLORS = {
    **{"zero": "#4c72b0", "mean": "#dd8452", "resample": "#55a868", "none": "#444444"},
    **{"clustered": "#c44e52", "twin": "#4c72b0"},
}
CIRCLE: dict[str, Any] = {"markersize": 5, "markerfacecolor": "none", "markeredgewidth": 0.7, "alpha": 0.8}
"""How one seed's value is drawn beside the mean."""

MOST_IMAGES = 100
MOST_MISTAKES = 25
MOST_CELL_TEXTS = 15
MOST_LABELS = 60
MOST_CIRCUITS = 6
MOST_IN_ROW = 14
MOST_EXAMPLES = 8
MOST_METRICS = 3
MOST_SERIES = 8


def history(rows: Sequence[Row]) -> Figure:
    """Loss and test accuracy over the epochs of training."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    left.plot(epochs, [row["loss"] for row in rows], marker=".", label="training")
    left.plot(epochs, [row["test_loss"] for row in rows], marker=".", label="test")
    left.set(xlabel="epoch", ylabel="loss")
    left.legend(frameon=False)
    right.plot(epochs, [row["test_accuracy"] for row in rows], marker=".", color="tab:orange")
    right.set(xlabel="epoch", ylabel="test accuracy")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        _tidy(axes)
    return figure


def confusion(rows: Sequence[Row], class_names: Sequence[str] | None) -> dict[str, Figure]:
    """Counts by label (down) and prediction (across), each row's colours by its shares.

    Nothing where there is no row, or more labels than a picture can show.
    """
    if not rows:
        return {}
    labels = sorted({row["label"] for row in rows})
    predicted = sorted({row["predicted"] for row in rows} | set(labels))
    if len(predicted) > MOST_LABELS:
        return {}
    counts = torch.zeros(len(labels), len(predicted))
    for row in rows:
        counts[labels.index(row["label"]), predicted.index(row["predicted"])] += row["count"]
    names = dict(enumerate(class_names)) if class_names is not None else {}
    figure = Figure(figsize=(1.8 + 0.45 * len(predicted), 1.4 + 0.42 * len(labels)), layout="constrained")
    axes = figure.subplots()
    shares = (counts / counts.sum(1, keepdim=True).clamp(min=1)).numpy()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    if max(len(labels), len(predicted)) <= MOST_CELL_TEXTS:
        for i in range(len(labels)):
            for j in range(len(predicted)):
                if counts[i, j]:
                    axes.text(
                        j, i, f"{int(counts[i, j])}", ha="center", va="center", fontsize=7,
                        color="white" if shares[i, j] > 0.5 else "black",
                    )  # fmt: skip
        axes.set_yticks(range(len(labels)), [names.get(label, str(label)) for label in labels])
        axes.set_xticks(range(len(predicted)), [names.get(guess, str(guess)) for guess in predicted])
    axes.set(xlabel="prediction", ylabel="label", title="intact network, test set")
    return {"confusion": figure}


def mistakes(dataset: Dataset, wrong: Tensor, answers: Tensor) -> dict[str, Figure]:
    """The first wrongly answered test images, with label and answer; nothing where there is no image or no mistake.

    Args:
        wrong: `(N,)` bool.
        answers: `(N,)` predicted classes.
    """
    index = wrong.nonzero().squeeze(1)[:MOST_MISTAKES].tolist()
    if dataset.image_shape is None or dataset.class_names is None or not index:
        return {}
    names = dataset.class_names
    pictures = [_picture(dataset.x_test[example].reshape(dataset.image_shape)) for example in index]
    captions = [f"{names[int(dataset.y_test[example])]}, read as {names[int(answers[example])]}" for example in index]
    title = f"{len(index)} of {int(wrong.sum())} mistakes on the test set"
    return {"mistakes": _mosaic(pictures, captions, title, cmap="gray")}


def ablation_accuracy(rows: Sequence[Row]) -> Figure:
    """Accuracy by target and method, with 95 % intervals; every repeat is a mark; the line is the intact network."""
    intact, ablated = rows[0], rows[1:]
    targets = list(dict.fromkeys(row["target"] for row in ablated))
    methods = list(dict.fromkeys(row["method"] for row in ablated))
    figure = Figure(figsize=(7.5, 1.3 + 0.24 * len(targets) * (len(methods) + 1)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(methods)
    for number, method in enumerate(methods):
        for position, target in enumerate(targets):
            marks = [row for row in ablated if (row["target"], row["method"]) == (target, method)]
            middle = position + (number - (len(methods) - 1) / 2) * height
            mean = sum(row["accuracy"] for row in marks) / len(marks)
            label = f"{method} (mean of {len(marks)})" if len(marks) > 1 else method
            axes.barh(middle, mean, height * 0.92, color=COLORS[method], label=label if position == 0 else None)
            spread = (torch.arange(len(marks)) - (len(marks) - 1) / 2) * height * 0.2
            axes.errorbar(
                [row["accuracy"] for row in marks],
                [middle + float(offset) for offset in spread],
                xerr=[
                    [row["accuracy"] - row["accuracy_low"] for row in marks],
                    [row["accuracy_high"] - row["accuracy"] for row in marks],
                ],
                fmt=".", color="black", markersize=3, elinewidth=0.8,
            )  # fmt: skip
    axes.axvline(intact["accuracy"], color=COLORS["none"], linestyle="--", linewidth=1, label="intact")
    axes.set_yticks(range(len(targets)), targets)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.02), xlabel="test accuracy", ylabel="ablated")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    _tidy(axes)
    return figure


def unit_drops(rows: Sequence[Row]) -> dict[str, Figure]:
    """Accuracy lost by each unit of each target, sorted; a figure with one panel a target."""
    targets = list(dict.fromkeys(row["target"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(7.5, 2.2 * len(targets)), layout="constrained")
    for axes, target in zip(figure.subplots(len(targets), 1, squeeze=False)[:, 0], targets, strict=True):
        for method in methods:
            drops = [row["accuracy_drop"] for row in rows if (row["target"], row["method"]) == (target, method)]
            axes.plot(sorted(drops, reverse=True), color=COLORS[method], label=method)
        axes.axhline(0, color="black", linewidth=0.5)
        axes.set(ylabel="accuracy lost", title=target)
        _tidy(axes)
    axes.set_xlabel("units, by accuracy lost")
    axes.legend(frameon=False, fontsize=8)
    return {"units": figure}


def weight_images(graph: ModelGraph, dataset: Dataset) -> dict[str, Figure]:
    """For each Linear layer with a weight a pixel: the weights of its units (the largest, if many) as images."""
    if dataset.image_shape is None:
        return {}
    drawn = {}
    for name in graph.sites:
        layer = graph.submodule(name)
        if not isinstance(layer, nn.Linear) or layer.in_features != math.prod(dataset.image_shape):
            continue
        weight = layer.weight.detach().cpu()
        units = weight.norm(dim=1).topk(min(MOST_IMAGES, len(weight))).indices.sort().values.tolist()
        limit = float(weight[units].abs().quantile(0.995)) or 1.0
        pictures = [weight[unit].reshape(dataset.image_shape).mean(0) for unit in units]
        of = "all units" if len(units) == len(weight) else f"the {len(units)} of {len(weight)} units of largest norm"
        title = f"{name}.weight, {of}: blue negative, red positive"
        figure = _mosaic(pictures, [str(unit) for unit in units], title, cmap="RdBu_r", vmin=-limit, vmax=limit)
        drawn[f"weights_{name}"] = figure
    return drawn


def circuits(
    part: Part, space: CircuitSpace, number: int, shares: np.ndarray, n_valid: int, table: DataFrame
) -> dict[str, Figure]:
    """Of one output: how often each edge occurs in valid circuits; the sparsest of them; accuracy against sparsity.

    Args:
        shares: `(n_edges,)`, the share of the valid circuits that keep each edge.
        table: the rows of circuits.parquet for this output; of too many valid circuits they are a random sample.
    """
    drawn = {}
    valid = table.loc[table["valid"], ["circuit", "n_edges"]]
    drawn_from = "" if len(valid) == n_valid else f" of {n_valid:,} valid ones, drawn at random"
    if len(table):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        shown = axes.hexbin(table["sparsity"], table["accuracy"], gridsize=40, bins="log", mincnt=1, cmap="viridis")
        axes.set(xlabel="share of neurons and edges left out", ylabel="accuracy")
        axes.set_title(f"{len(table):,} circuits{drawn_from}", fontsize=9)
        figure.colorbar(shown, label="circuits")
        _tidy(axes)
        drawn[f"sparsity_{number}"] = figure
    if n_valid:
        drawn[f"edges_{number}"] = _edge_heat_map(part, space, shares, n_valid)
    if len(valid):
        sparsest = valid.nsmallest(MOST_CIRCUITS, ["n_edges", "circuit"])["circuit"].to_numpy()
        among = f"the sparsest of {len(valid):,} circuits{drawn_from}" if drawn_from else "the sparsest valid circuits"
        drawn[f"sparsest_{number}"] = _wirings(part, space, sparsest, among)
    return drawn


def _edge_heat_map(part: Part, space: CircuitSpace, shares: np.ndarray, n_valid: int) -> Figure:
    shapes = [layer.weight.shape for layer in part.layers]
    figure = Figure(figsize=(2.4 * len(shapes) + 1.2, 2.8), layout="constrained")
    for index, (axes, start, (n_out, n_in)) in enumerate(
        zip(figure.subplots(1, len(shapes), squeeze=False)[0], space.offsets, shapes, strict=True)
    ):
        block = shares[start : start + n_out * n_in].reshape(n_out, n_in)
        shown = axes.imshow(block, cmap="magma", vmin=0, vmax=1)
        for to in range(n_out):
            for source in range(n_in):
                colour = "white" if block[to, source] < 0.6 else "black"
                axes.text(source, to, f"{block[to, source]:.2f}", ha="center", va="center", fontsize=8, color=colour)
        axes.set(xticks=range(n_in), yticks=range(n_out), xlabel="from", title=f"layer {index}")
        if index == 0:
            axes.set_ylabel("to")
    figure.colorbar(shown, ax=axes, label="share of valid circuits")
    figure.suptitle(f"edges of {n_valid:,} valid circuits", fontsize=9)
    return figure


def _wirings(part: Part, space: CircuitSpace, circuits: np.ndarray, among: str) -> Figure:
    """Circuits as drawings: neurons in columns, kept edges by the sign (colour) and size (width) of their weights."""
    across = min(3, len(circuits))
    down = math.ceil(len(circuits) / across)
    figure = Figure(figsize=(2.6 * across, 2.1 * down + 0.3), layout="constrained")
    grid = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, circuit in zip(grid, circuits.tolist(), strict=False):
        masks = space.masks(circuit)
        alive: list[np.ndarray] = [np.ones(space.sizes[0], dtype=bool), *(np.any(mask, 1) for mask in masks)]
        height = [np.linspace(1, 0, size + 2)[1:-1] for size in space.sizes]
        for column, (mask, layer) in enumerate(zip(masks, part.layers, strict=True)):
            weight = layer.weight.cpu().numpy()
            largest = float(np.abs(weight).max()) or 1.0
            for to, source in zip(*np.nonzero(mask), strict=True):
                axes.plot(
                    [column, column + 1],
                    [height[column][source], height[column + 1][to]],
                    color="tab:red" if weight[to, source] > 0 else "tab:blue",
                    linewidth=0.5 + 2.5 * abs(weight[to, source]) / largest,
                    zorder=1,
                )
        for column, (positions, active) in enumerate(zip(height, alive, strict=True)):
            face = ["black" if on else "white" for on in active]
            axes.scatter([column] * len(positions), positions, s=40, c=face, edgecolors="black", zorder=2)
        axes.set_title(f"{circuit}: {circuit.bit_count()} of {space.n_edges} edges", fontsize=8)
    figure.suptitle(f"{among}\n(red: positive weight, blue: negative)", fontsize=9)
    return figure


def clusters(
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
            _tidy(axes)
        axes.legend(frameon=False)
        drawn["training"] = figure
    return drawn


def top_images(rows: Sequence[tuple[str, Sequence[Tensor]]], title: str) -> dict[str, Figure]:
    """A row of images `(C, H, W)` for each caption, at most `MOST_IN_ROW` of them."""
    if not rows:
        return {}
    strips = [torch.cat([_picture(image) for image in images[:MOST_IN_ROW]], dim=1) for _, images in rows]
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
        if len(columns) <= MOST_CELL_TEXTS:
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
        _tidy(axes)
    axes.legend(frameon=False)
    return figure


def kernels(weight: Tensor) -> Figure:
    """A decoder's kernels `(K, k, k)`, with their weights."""
    weight = weight.cpu()
    limit = float(weight.abs().max()) or 1.0
    figure = Figure(figsize=(1.2 + 1.7 * len(weight), 2.2), layout="constrained")
    every = figure.subplots(1, len(weight), squeeze=False)[0]
    for number, (axes, kernel) in enumerate(zip(every, weight.tolist(), strict=True)):
        shown = axes.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
        if len(kernel) <= MOST_CELL_TEXTS // 3:
            for row, values in enumerate(kernel):
                for column, value in enumerate(values):
                    colour = "white" if abs(value) > 0.6 * limit else "black"
                    axes.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=8, color=colour)
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"kernel {number}", fontsize=9)
    figure.colorbar(shown, ax=list(every), label="weight")
    return figure


def filtered_images(
    images: Tensor, responses: Tensor, filtered: Tensor, captions: Sequence[str], sites: Sequence[str]
) -> Figure:
    """A row for each input: its activation image `(H, W)`, what each kernel sees, and what goes on to the decoder.

    Args:
        images: `(B, H, W)`.
        responses: `(B, K, H', W')`, of each kernel.
        filtered: `(B, H', W')`, the tanh of the largest response.
        captions: of the inputs.
        sites: the names of an image's rows.
    """
    images, responses, filtered = images.cpu(), responses.cpu(), filtered.cpu()
    titles = ["activations", *(f"kernel {number}" for number in range(responses.shape[1])), "tanh of the largest"]
    figure = Figure(figsize=(1.6 + 1.6 * len(titles), 0.6 + 1.3 * len(images)), layout="constrained")
    grid = figure.subplots(len(images), len(titles), squeeze=False)
    limits = [float(images.abs().max()) or 1.0, *[float(responses.abs().max()) or 1.0] * responses.shape[1], 1.0]
    for line, image, seen, largest, caption in zip(grid, images, responses, filtered, captions, strict=True):
        for axes, picture, limit in zip(line, [image, *seen, largest], limits, strict=True):
            axes.imshow(picture.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(caption.replace(", ", "\n"), rotation=0, ha="right", va="center", fontsize=9)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    if len(sites) <= MOST_CELL_TEXTS:
        grid[-1][0].yaxis.tick_right()
        grid[-1][0].set_yticks(range(len(sites)), sites, fontsize=5)
    for columns, label in ((grid[:, :1], "activation"), (grid[:, 1:-1], "response"), (grid[:, -1:], "tanh")):
        figure.colorbar(columns[0][0].images[0], ax=list(columns.flat), label=label, location="bottom", fraction=0.05)
    return figure


def decoding_by_layer(rows: Sequence[Row]) -> Figure:
    """Accuracy of the linear probes by layer, with 95 % intervals; at the right of one on all, and of the decoder."""
    probes = [row for row in rows if row["control"] == "linear"]
    sites = list(dict.fromkeys(row["site"] for row in probes))
    names = list(dict.fromkeys(row["decoded"] for row in probes))
    figure = Figure(figsize=(2.5 + 0.8 * (len(sites) + 1), 3.6), layout="constrained")
    axes = figure.subplots()
    places = [*sites[:-1], "all sites", "decoder"]
    for number, name in enumerate(names):
        of_name = [row for row in probes if row["decoded"] == name]
        of_name += [row for row in rows if row["control"] == NONE and row["decoded"] == name]
        x = [place + 0.08 * (number - (len(names) - 1) / 2) for place in range(len(of_name))]
        accuracy = [row["accuracy"] for row in of_name]
        below = [row["accuracy"] - row["accuracy_low"] for row in of_name]
        above = [row["accuracy_high"] - row["accuracy"] for row in of_name]
        colour = f"C{number}"
        axes.errorbar(x, accuracy, yerr=[below, above], fmt="o", color=colour, markersize=4, elinewidth=0.8, label=name)
        axes.plot(x[: len(sites) - 1], accuracy[: len(sites) - 1], color=colour, linewidth=1)
        axes.axhline(of_name[0]["chance"], color=colour, linestyle=":", linewidth=0.8)
    axes.axvline(len(sites) - 1.5, color="#cccccc", linewidth=0.8)
    axes.set_xticks(range(len(places)), places, rotation=30, ha="right")
    axes.set(ylim=(-0.02, 1.05), ylabel="decoding accuracy", title="linear probes (dotted: chance)")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    _tidy(axes)
    return figure


def iia_history(rows: Sequence[Row]) -> Figure:
    """IIA and task accuracy over the epochs of training by interchange interventions, and the loss."""
    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    lines = {
        "iia": ("IIA", "o-", "tab:blue"),
        "iia_changed": ("IIA, label changed", "^--", "tab:blue"),
        "iia_unchanged": ("IIA, label unchanged", "v:", "tab:blue"),
        "task_accuracy": ("task accuracy", "s-", "tab:orange"),
        "train_iia": ("IIA, training pairs", "-", "tab:gray"),
    }
    for column, (label, style, color) in lines.items():
        points = [(row["epoch"], row[column]) for row in rows if row.get(column) is not None]
        left.plot(*zip(*points, strict=True) if points else ((), ()), style, color=color, label=label, markersize=4)
    left.set(xlabel="epoch", ylabel="share of right answers", ylim=(0, 1.02))
    left.legend(frameon=False, fontsize=7)
    points = [(row["epoch"], row["loss"]) for row in rows if row.get("loss") is not None]
    right.plot(*zip(*points, strict=True) if points else ((), ()), color="tab:gray")
    right.set(xlabel="epoch", ylabel="loss on counterfactual labels")
    for axes in (left, right):
        _tidy(axes)
    return figure


def iia_controls(rows: Sequence[Row]) -> Figure:
    """IIA before, after and of each control, on the pairs whose label changes and on the others; 95 % intervals."""
    names = list(dict.fromkeys((row["phase"], row["control"]) for row in rows))
    figure = Figure(figsize=(7.5, 1.2 + 0.5 * len(names)), layout="constrained")
    axes = figure.subplots()
    colors = {"changed": "#dd8452", "unchanged": "#4c72b0"}
    for number, (subset, color) in enumerate(colors.items()):
        for position, name in enumerate(names):
            (row,) = [row for row in rows if (row["phase"], row["control"], row["subset"]) == (*name, subset)]
            middle = position + (number - 0.5) * 0.36
            label = f"label {subset} ({row['n_pairs']:,} pairs)" if position == 0 else None
            axes.barh(middle, row["iia"], 0.33, color=color, label=label)
            if row["n_pairs"]:
                error = [[row["iia"] - row["iia_low"]], [row["iia_high"] - row["iia"]]]
                axes.errorbar(row["iia"], middle, xerr=error, fmt="none", ecolor="black", elinewidth=0.8)
    for position, name in enumerate(names):
        row = next(row for row in rows if (row["phase"], row["control"], row["subset"]) == (*name, "all"))
        label = "IIA, all pairs" if position == 0 else None
        axes.plot([row["iia"]] * 2, [position - 0.4, position + 0.4], color="black", label=label)
    titles = [phase if control == NONE else control.replace("_", " ") for phase, control in names]
    axes.set_yticks(range(len(names)), titles)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.02), xlabel="IIA", title=f"{rows[0]['variables']} at {rows[0]['site']}")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    _tidy(axes)
    return figure


def iia_heat_map(rows: Sequence[Row]) -> Figure:
    """IIA by set of variables (down) and site (across), of all pairs and of those whose label changes.

    Args:
        rows: of metrics.csv, one run's or several's; each set and site once for each subset.
    """
    variables = list(dict.fromkeys(row["variables"] for row in rows))
    sites = list(dict.fromkeys(row["site"] for row in rows))
    figure = Figure(figsize=(3 + 1.5 * len(sites), 1.8 + 0.5 * len(variables)), layout="constrained")
    for axes, subset in zip(figure.subplots(1, 2), ("all", "changed"), strict=True):
        grid = np.full((len(variables), len(sites)), np.nan)
        for row in rows:
            if row["subset"] == subset:
                grid[variables.index(row["variables"]), sites.index(row["site"])] = row["iia"]
        shown = axes.imshow(grid, cmap="magma", vmin=0, vmax=1, aspect="auto")
        for (down, across), value in np.ndenumerate(grid):
            if not np.isnan(value):
                color = "white" if value < 0.6 else "black"
                axes.text(across, down, f"{value:.2f}", ha="center", va="center", fontsize=8, color=color)
        axes.set_xticks(range(len(sites)), sites, rotation=30, ha="right")
        axes.set_yticks(range(len(variables)), variables if subset == "all" else [""] * len(variables))
        axes.set_title("all pairs" if subset == "all" else f"pairs whose label is {subset}", fontsize=9)
    figure.colorbar(shown, ax=axes, label="IIA")
    return figure


def interchange_examples(
    dataset: Dataset,
    places: Sequence[Sequence[str]],
    base: Tensor,
    sources: Tensor,
    nearest: Tensor,
    labels: Tensor,
    answers: Tensor,
) -> dict[str, Figure]:
    """Test pairs, one a row: base, sources, and the test image whose variables are nearest to the counterfactual ones.

    Nothing where there are no images.

    Args:
        places: for each source the variables that are taken from it.
        base, nearest: `(P,)` indices of test examples.
        sources: `(P, S)`.
        labels, answers: `(P,)` counterfactual labels, and what the network answers under intervention.
    """
    if dataset.image_shape is None:
        return {}
    columns = [base, *sources.unbind(1), nearest]
    height = 1.15 * len(base) + 0.4
    figure = Figure(figsize=(1.4 * len(columns), height), layout="constrained")
    grid = figure.subplots(len(base), len(columns), squeeze=False)
    of_places = [f"source of\n{', '.join(place)}" for place in places]
    titles = ["base", *of_places, "test image nearest to\nthe counterfactual"]
    low, high = (float(f(dataset.x_test)) for f in (torch.min, torch.max))
    for number, (axes_of_row, *indices) in enumerate(zip(grid, *columns, strict=True)):
        for axes, index, title in zip(axes_of_row, indices, titles, strict=True):
            picture = _picture(dataset.x_test[index].reshape(dataset.image_shape))
            axes.imshow(picture.numpy(), cmap="gray", vmin=low, vmax=high)
            axes.set(xticks=[], yticks=[])
            axes.set_title(title if number == 0 else "", fontsize=8)
            axes.set_ylabel(f"label {_label(dataset, dataset.y_test[index])}", fontsize=7)
        text = f"should be {_label(dataset, labels[number])}\nanswered {_label(dataset, answers[number])}"
        axes_of_row[-1].set_ylabel(text, fontsize=7)
    return {"examples": figure}


def _label(dataset: Dataset, label: Tensor) -> str:
    return dataset.class_names[int(label)] if dataset.class_names is not None else f"{float(label):g}"


def many_seeds(rows: Sequence[Row], summary: Sequence[Row], history: Sequence[Row]) -> dict[str, Figure]:
    """Test accuracy of each seed's network with its interval, and their training; the band is the mean's interval.

    Args:
        rows, summary, history: as in metrics.csv, seeds_summary.csv, history.csv of a run with many seeds.
    """
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    tested = [row for row in rows if (row["split"], row["class"]) == ("test", ALL)]
    seeds, accuracies = [row["seed"] for row in tested], [row["accuracy"] for row in tested]
    bounds = [
        [row["accuracy"] - row["accuracy_low"] for row in tested],
        [row["accuracy_high"] - row["accuracy"] for row in tested],
    ]
    left.errorbar(seeds, accuracies, bounds, fmt="o", markersize=3, color="tab:blue", elinewidth=0.8)
    (whole,) = [row for row in summary if (row["split"], row["class"], row["measure"]) == ("test", ALL, "accuracy")]
    left.axhline(whole["mean"], color=COLORS["none"], linestyle="--", linewidth=1)
    if whole["low"] is not None:
        left.axhspan(whole["low"], whole["high"], color=COLORS["none"], alpha=0.15, linewidth=0)
    left.set_title(f"each network with its 95 % interval; dashed: the mean of {whole['n']}, with its own", fontsize=9)
    left.set(xlabel="seed", ylabel="test accuracy")
    left.xaxis.get_major_locator().set_params(integer=True)
    for seed in seeds:
        mine = [row for row in history if row["seed"] == seed]
        right.plot([row["epoch"] for row in mine], [row["test_accuracy"] for row in mine], linewidth=0.8, alpha=0.6)
    right.set(xlabel="epoch", ylabel="test accuracy")
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes in (left, right):
        _tidy(axes)
    return {"seeds": figure}


def sweep(found: Sequence[tuple[Row, Mapping[str, Spread]]]) -> Figure:
    """Mean and interval of each summary metric by swept value; a panel a metric; few seeds have a circle each.

    Args:
        found: for each combination, the swept values without the seed, and the spread of each metric.
    """
    keys = list(found[0][0])
    along = max(keys, key=lambda key: len({swept[key] for swept, _ in found}), default=None)
    names = list(dict.fromkeys(name for _, metrics in found for name in metrics))[:MOST_METRICS]
    figure = Figure(figsize=(1.2 + 3.6 * len(names), 3.4), layout="constrained")
    values: list[Any] = list(dict.fromkeys(swept[along] for swept, _ in found)) if along else [""]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    position = {value: value if numeric else index for index, value in enumerate(values)}
    series: dict[str, list[tuple[Any, Mapping[str, Spread]]]] = {}
    for swept, metrics in found:
        label = " ".join(f"{key}={value}" for key, value in swept.items() if key != along)
        series.setdefault(label, []).append((position[swept[along] if along else ""], metrics))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for index, (label, points) in enumerate(list(series.items())[:MOST_SERIES]):
            here = sorted(((x, metrics[name]) for x, metrics in points if name in metrics), key=lambda point: point[0])
            mean = np.array([spread.mean for _, spread in here])
            low, high = np.array([_ends(spread) for _, spread in here], dtype=float).T if here else (mean, mean)
            axes.errorbar(
                [x for x, _ in here],
                mean,
                yerr=[mean - low, high - mean],
                marker=".",
                linestyle="-" if numeric else "none",
                capsize=3,
                elinewidth=1,
                color=f"C{index % 10}",
                label=label,
            )
            for x, spread in here:
                axes.plot([x] * len(_seeds(spread)), _seeds(spread), "o", color=f"C{index % 10}", **CIRCLE)
        if numeric and min(values) > 0 and max(values) >= 100 * min(values):
            axes.set_xscale("log")
        elif numeric:
            axes.locator_params(axis="x", nbins=5)  # of more, long numbers run into each other
        else:
            axes.set_xticks(range(len(values)), [str(value) for value in values], rotation=30, ha="right")
            axes.set_xlim(-0.5, len(values) - 0.5)
        ends = [end for _, metrics in found if name in metrics for end in _ends(metrics[name])]
        # Of a loss the interval of two seeds is so long that nothing else could be seen beside it.
        if any(metrics[name].within == NOT_NEGATIVE for _, metrics in found if name in metrics) and min(ends) > 0:
            axes.set_yscale("log" if max(ends) >= 100 * min(ends) else "linear")
        axes.set(xlabel=along or "", ylabel=name)
        _tidy(axes)
    if len(series) > 1:
        left_out = f"{len(series) - MOST_SERIES} more are not shown" if len(series) > MOST_SERIES else None
        axes.legend(frameon=False, fontsize=7, title=left_out, title_fontsize=7)
    spreads = [spread for _, metrics in found for spread in metrics.values()]
    if max(spread.n for spread in spreads) > 1:
        figure.suptitle(_over_seeds(spreads), fontsize=9)
    return figure


def sweep_rows(summed: Sequence[Summed], combination: Sequence[str]) -> Figure | None:
    """One measure's mean and interval for every row of the jobs' tables, a colour a combination of swept values.

    Few seeds have a circle each. None where that would be one row, or too many.
    """
    series: dict[str, list[tuple[str, Spread]]] = {}
    for one in summed:
        of_job = " ".join(f"{key}={one.name[key]}" for key in combination if key in one.name)
        label = " ".join(str(value) for key, value in one.name.items() if key not in combination)
        series.setdefault(of_job, []).append((label, one.spread))
    labels = list(dict.fromkeys(label for rows in series.values() for label, _ in rows))
    if not 1 < len(labels) <= MOST_LABELS or len(series) > MOST_SERIES:
        return None
    figure = Figure(figsize=(8, 1.2 + 0.24 * len(labels)), layout="constrained")
    axes = figure.subplots()
    for index, (of_job, rows) in enumerate(series.items()):
        color = f"C{index % 10}"
        for label, spread in rows:
            height = labels.index(label) + (index - (len(series) - 1) / 2) * 0.6 / len(series)
            axes.plot(spread.mean, height, marker="o", markersize=4, color=color, linestyle="none")
            axes.plot(_ends(spread), [height, height], color=color, linewidth=1.2)
            axes.plot(_seeds(spread), [height] * len(_seeds(spread)), "o", color=color, **CIRCLE)
        axes.plot([], [], marker="o", markersize=4, color=color, label=of_job or "all jobs")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set(xlabel=f"{summed[0].measure}: {_over_seeds([one.spread for one in summed])}")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    _tidy(axes)
    return figure


def _ends(spread: Spread) -> tuple[float, float]:
    """The ends of the interval that is drawn; where there is none, the mean twice."""
    return (spread.mean, spread.mean) if spread.low is None or spread.high is None else (spread.low, spread.high)


def _seeds(spread: Spread) -> tuple[float, ...]:
    """The values that are drawn themselves."""
    return spread.values if 1 < spread.n <= FEW else ()


def _over_seeds(spreads: Sequence[Spread]) -> str:
    """What is drawn, in words."""
    circles = "; a circle: one seed" if any(map(_seeds, spreads)) else ""
    counts = sorted({spread.n for spread in spreads})
    return f"mean over {'–'.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seeds, 95 % interval{circles}"


def _mosaic(pictures: Sequence[Tensor], captions: Sequence[str], title: str, **colours: Any) -> Figure:
    """Pictures `(H, W)` or `(H, W, 3)` in a grid, captions above them.

    They are one image on one pair of axes: a hundred pairs of axes would take matplotlib seconds.
    """
    across = math.ceil(math.sqrt(len(pictures)))
    down = math.ceil(len(pictures) / across)
    height, width = pictures[0].shape[:2]
    gap, room = max(1, width // 14), max(2, height // 5)
    shape = (down * (height + room), across * (width + gap), *pictures[0].shape[2:])
    canvas = torch.full(shape, math.nan)
    size = 0.75 if len(pictures) > MOST_MISTAKES else 1.1
    figure = Figure(figsize=(size * across, size * down * 1.12 + 0.4), layout="constrained")
    axes = figure.subplots()
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        top, left = (number // across) * (height + room) + room, (number % across) * (width + gap)
        canvas[top : top + height, left : left + width] = picture
        axes.text(left + width / 2, top - room * 0.25, caption, ha="center", va="bottom", fontsize=5.5)
    axes.imshow((canvas.nan_to_num(1.0) if canvas.dim() == 3 else canvas).numpy(), interpolation="nearest", **colours)
    axes.set_axis_off()
    figure.suptitle(title, fontsize=9)
    return figure


def _picture(image: Tensor) -> Tensor:
    """An image `(C, H, W)` as one can draw it: three channels as `(H, W, 3)` in 0..1, else their mean `(H, W)`."""
    image = image.detach().cpu()
    if image.shape[0] != 3:
        return image.mean(0)
    return ((image - image.min()) / (image.max() - image.min()).clamp(min=1e-9)).permute(1, 2, 0)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
