"""Figures of the discovery experiment, drawn from its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_runner.experiments import Drawing
from mi_runner.experiments.common import drawing
from mi_runner.graph.chain import Part
from mi_runner.machine import layout
from mi_runner.methods.circuits.edges import Edges
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_DRAWN_EDGES = 400
"""A part with more edges has no heat maps."""

MOST_NUMBERED = 16
"""Neurons of a layer whose numbers are at the axes of its heat map."""

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
    least, height = 3.0, 1.8 if layout.is_narrow(6) else 3.5
    figure, grid = layout.panels(2, len(by_ablation), (5.2, height), (1.6, 0), least=least, share="y")
    for column, (ablation, curves) in enumerate(by_ablation.items()):
        for axes, measure in zip(grid[:, column], ("accuracy", "mse"), strict=True):
            _curve(axes, curves, measure)
            axes.set_ylabel(measure if layout.is_first(column, len(by_ablation), least=least, room=1.6) else "")
        grid[0, column].set_title(f"{ablation} ablation", fontsize=10)
        grid[1, column].set(yscale="log", xlabel="kept edges")
    labels = layout.labelled(grid[0, 0])
    if layout.is_narrow(6):
        layout.key_below(figure, labels)
    else:
        figure.legend(labels.values(), labels.keys(), loc="outside right center", fontsize=8)
    return figure


def _curve(axes: Axes, curves: Curves, measure: str) -> None:
    lowest = SMALLEST if measure == "mse" else 0.0
    if curves.sizes:
        edges = [row["n_edges"] for row in curves.sizes]
        low, high = ([max(lowest, row[f"{measure}_{quantile}"]) for row in curves.sizes] for quantile in (10, 90))
        axes.fill_between(edges, low, high, color="0.93", label="all circuits, 10 to 90 %")
    by_method: dict[str, dict[int, list[float]]] = {}
    for row in curves.metrics:
        by_method.setdefault(row["method"], {}).setdefault(row["k"], []).append(row[measure])
    for index, (method, values) in enumerate(by_method.items()):
        means = [max(lowest, fmean(values[k])) for k in values]
        every = max(len(means) // 8, len(by_method)) if len(means) > 2 * len(by_method) else 1
        axes.plot(
            list(values), means, drawstyle="steps-post", linewidth=1.2, label=method, **styles.of_method(method).line,
            markersize=4, markevery=(index % every, every), markerfacecolor="none" if index % 2 else None,
        )  # fmt: skip
    best = {row["k"]: row[f"best_{measure}"] for row in curves.metrics if row[f"best_{measure}"] is not None}
    if best:
        bound = [max(lowest, value) for value in best.values()]
        axes.plot(list(best), bound, drawstyle="steps-post", color="#aaaaaa", linewidth=3, zorder=1, label="best")
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
    if layout.is_narrow(1.9 * len(columns)):
        return _matrix_of_scores(ablation, part, columns)
    figure, grid = layout.panels(n_layers, len(columns), (1.9, 1.9), (1, 0.4))
    kinds: dict[bool, Any] = {}
    for place, (name, values) in enumerate(columns.items()):
        for layer, block in enumerate(edges.masks(values)):
            axes, (n_out, n_in) = grid[layer, place], block.shape
            signed = bool(np.nanmin(values) < 0)
            shown = axes.imshow(
                block, cmap="RdBu_r" if signed else "magma", vmin=-1 if signed else 0, vmax=1, aspect="auto"
            )
            if max(n_out, n_in) <= 6:
                texts = {at: f"{block[at]:.2f}" for at in np.ndindex(n_out, n_in) if not np.isnan(block[at])}
                layout.numbers(axes, texts, np.abs(block) > 0.6 if signed else block < 0.6, size=6.5)
            is_left = layout.is_first(place, len(columns), room=1)
            _number_ends(axes, n_in, n_out, down=is_left)
            drawing.name_ends(axes, part, layer, down=is_left)
            if layer == 0:
                axes.set_title(name, fontsize=8)
            if is_left:
                axes.set_ylabel(f"layer {layer}\nto", fontsize=8)
            if layer == n_layers - 1:
                axes.set_xlabel("from", fontsize=8)
            kinds[signed] = shown
    for signed, shown in kinds.items():
        label = "score ÷ the method's largest" if signed else "score ÷ the largest, or fraction"
        figure.colorbar(shown, ax=list(grid.flat), label=label, location="bottom", fraction=0.04, aspect=40)
    figure.suptitle(f"{ablation} ablation", fontsize=10)
    return figure


def _matrix_of_scores(ablation: str, part: Part, columns: Mapping[str, np.ndarray]) -> Figure:
    """Draws the same as one heat map, a row for each edge and a column for each method, which needs less room."""
    edges = Edges(part.sizes)
    names = list(zip(*(of.tolist() for of in edges.names), strict=True))
    is_named = len(names) <= drawing.MOST_LABELS
    figure = layout.blank(4, 1.3 + (0.13 * len(names) if is_named else min(6.0, 0.04 * len(names))))
    axes = figure.subplots()
    values = np.stack(list(columns.values()), axis=1)
    signed = bool(np.nanmin(values) < 0)
    shown = axes.imshow(values, cmap="RdBu_r" if signed else "magma", vmin=-1 if signed else 0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), list(columns), rotation=90)
    if is_named:
        ends = [
            [part.name(layer + side, neuron) or str(neuron) for side, neuron in enumerate(of)] for layer, *of in names
        ]
        texts = [f"{layer}: {'→'.join(map(drawing.short, of))}" for (layer, *_), of in zip(names, ends, strict=True)]
        axes.set_yticks(range(len(names)), texts)
    for layer in range(1, len(part.layers)):
        axes.axhline([of[0] for of in names].index(layer) - 0.5, color="black", linewidth=0.8)
    axes.set_ylabel("edge, layer: from→to" if is_named else "edges, layer by layer")
    axes.set_title(f"{ablation} ablation", fontsize=10)
    label = "score ÷ the method's largest, or fraction of circuits"
    figure.colorbar(shown, ax=axes, label=label, location="bottom", fraction=0.03, aspect=40)
    return figure


def _number_ends(axes: Axes, n_in: int, n_out: int, *, down: bool) -> None:
    """Writes the numbers of the neurons at a heat map of edges `(out, in)`, where they are few."""
    axes.set_xticks(range(n_in) if n_in <= MOST_NUMBERED else [])
    axes.set_yticks(range(n_out) if n_out <= MOST_NUMBERED else [])
    axes.tick_params(labelsize=7, labelleft=down)
