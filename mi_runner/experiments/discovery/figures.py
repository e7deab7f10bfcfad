"""Figures of the discovery experiment, drawn from its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from mi_runner.experiments import Drawing
from mi_runner.experiments.common import drawing
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.edges import Edges
from mi_runner.tables.declaration import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("0.5", *(f"tab:{name}" for name in ("brown", "olive", "cyan", "blue", "purple", "orange", "red", "green")))
"""Of the methods, in their order."""

MOST_DRAWN_EDGES = 400
"""A part with more edges has no heat maps."""

SMALLEST = 1e-9
"""The lowest error of the logarithmic scale; smaller ones are drawn there."""


@dataclass(frozen=True)
class Curves:
    """What figures show of one output with one ablation.

    Attributes:
        metrics, sizes, scores: rows of these tables.
        shares: `(E,)`, the fraction of valid circuits that keep each edge; None if they aren't known.
    """

    metrics: Sequence[Row]
    sizes: Sequence[Row]
    scores: Sequence[Row]
    shares: np.ndarray | None


def of_output(output: str | int, part: Part, by_ablation: Mapping[str, Curves]) -> dict[str, Drawing]:
    """Returns the figures of one output by name: accuracy and mse against size, and for each ablation the scores.

    Args:
        output: its number, or `all`.
        part: the analysed layers.
        by_ablation: what is drawn of each ablation.
    """
    drawn: dict[str, Drawing] = {f"curves_{output}": partial(_curves, by_ablation)}
    edges = Edges(part.sizes)
    for ablation, curves in by_ablation.items():
        if curves.scores and edges.n <= MOST_DRAWN_EDGES:
            drawn[f"scores_{ablation}_{output}"] = partial(_scores, ablation, part, curves)
    return drawn


def _curves(by_ablation: Mapping[str, Curves]) -> Figure:
    figure = drawing.blank(5.2 * len(by_ablation) + 1.6, 7)
    grid = figure.subplots(2, len(by_ablation), squeeze=False, sharey="row")
    for column, (ablation, curves) in enumerate(by_ablation.items()):
        for axes, measure in zip(grid[:, column], ("accuracy", "mse"), strict=True):
            _curve(axes, curves, measure)
            axes.set_ylabel(measure if column == 0 else "")
        grid[0, column].set_title(f"{ablation} ablation", fontsize=10)
        grid[1, column].set(yscale="log", xlabel="kept edges")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8)
    return figure


def _curve(axes: Axes, curves: Curves, measure: str) -> None:
    lowest = SMALLEST if measure == "mse" else 0.0
    if curves.sizes:
        edges = [row["n_edges"] for row in curves.sizes]
        low, high = ([max(lowest, row[f"{measure}_{quantile}"]) for row in curves.sizes] for quantile in (10, 90))
        axes.fill_between(edges, low, high, color="0.9", label="all circuits, 10 to 90 %")
    by_method: dict[str, dict[int, list[float]]] = {}
    for row in curves.metrics:
        by_method.setdefault(row["method"], {}).setdefault(row["k"], []).append(row[measure])
    for index, (method, values) in enumerate(by_method.items()):
        means = [max(lowest, fmean(values[k])) for k in values]
        axes.plot(list(values), means, drawstyle="steps-post", linewidth=1.3, label=method, color=COLOURS[index % 9])
    best = {row["k"]: row[f"best_{measure}"] for row in curves.metrics if row[f"best_{measure}"] is not None}
    if best:
        bound = [max(lowest, value) for value in best.values()]
        axes.plot(list(best), bound, drawstyle="steps-post", color="black", linewidth=2, linestyle="--", label="best")
    drawing.tidy(axes)


def _scores(ablation: str, part: Part, curves: Curves) -> Figure:
    """Draws each edge's score by each method, divided by the method's largest, and its share among valid circuits."""
    edges, n_layers = Edges(part.sizes), len(part.layers)
    places = {end: place for place, end in enumerate(zip(*(of.tolist() for of in edges.names), strict=True))}
    columns: dict[str, np.ndarray] = {}
    for row in curves.scores:
        scores = columns.setdefault(row["method"], np.full(edges.n, np.nan))  # an edge of weight 0 may have none
        scores[places[row["layer"], row["source"], row["target"]]] = row["score"]
    columns = {name: scores / (np.nanmax(np.abs(scores)) or 1.0) for name, scores in columns.items()}
    if curves.shares is not None and np.isfinite(curves.shares).all():
        columns["fraction of valid circuits"] = curves.shares
    figure = drawing.blank(1.9 * len(columns) + 1, 1.9 * n_layers + 0.4)
    grid = figure.subplots(n_layers, len(columns), squeeze=False)
    for place, (name, values) in enumerate(columns.items()):
        for layer, block in enumerate(edges.masks(values)):
            axes, (n_out, n_in) = grid[layer, place], block.shape
            signed = bool(np.nanmin(values) < 0)
            shown = axes.imshow(
                block, cmap="RdBu_r" if signed else "magma", vmin=-1 if signed else 0, vmax=1, aspect="auto"
            )
            if max(n_out, n_in) <= 6:
                for to in range(n_out):
                    for source in range(n_in):
                        if np.isnan(value := block[to, source]):
                            continue
                        dark = value < 0.6 and not signed
                        colour = "white" if dark else "black"
                        axes.text(source, to, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color=colour)
            axes.set(xticks=[], yticks=[])
            drawing.name_ends(axes, part, layer, across=layer == 0, down=place == 0)
            if layer == 0:
                axes.set_title(name, fontsize=8)
            if place == 0:
                axes.set_ylabel(f"layer {layer}\nto", fontsize=8)
            if layer == n_layers - 1:
                axes.set_xlabel("from", fontsize=8)
    figure.colorbar(shown, ax=grid, label="score, divided by the method's largest")
    figure.suptitle(f"{ablation} ablation", fontsize=10)
    return figure
