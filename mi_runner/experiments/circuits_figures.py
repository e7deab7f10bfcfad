"""Figures of the circuits experiment, drawn from its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from mi_runner.experiments import figures
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.drawing import draw_circuits
from mi_runner.methods.circuits.space import CircuitSpace

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_CIRCUITS = 6
"""Circuits in the figure of the sparsest ones."""


def of_output(
    part: Part, space: CircuitSpace, index: int, shares: np.ndarray, n_valid: int, table: DataFrame
) -> dict[str, Figure]:
    """Returns the figures of one output by name.

    They show how often each edge occurs in valid circuits, the sparsest valid circuits, and accuracy against sparsity.

    Args:
        part: with this output only.
        space: its circuits.
        index: the output, counted from 0.
        shares: `(n_edges,)`, the fraction of valid circuits that keep each edge.
        n_valid: number of valid circuits.
        table: the rows of circuits.parquet for this output.
    """
    drawn = {}
    valid = table.loc[table["valid"], ["circuit", "n_edges"]]
    drawn_from = "" if len(valid) == n_valid else f" of {n_valid:,} valid ones, drawn at random"
    if len(table):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        shown = axes.hexbin(table["sparsity"], table["accuracy"], gridsize=40, bins="log", mincnt=1, cmap="viridis")
        axes.set(xlabel="fraction of neurons and edges left out", ylabel="accuracy")
        axes.set_title(f"{len(table):,} circuits{drawn_from}", fontsize=9)
        figure.colorbar(shown, label="circuits")
        figures.tidy(axes)
        drawn[f"sparsity_{index}"] = figure
    if n_valid:
        drawn[f"edges_{index}"] = _edge_heat_map(part, space, shares, n_valid)
    if len(valid):
        sparsest = valid.nsmallest(MOST_CIRCUITS, ["n_edges", "circuit"])["circuit"].tolist()
        among = f"the sparsest of {len(valid):,} circuits{drawn_from}" if drawn_from else "the sparsest valid circuits"
        drawn[f"sparsest_{index}"] = draw_circuits(part, sparsest, among)
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
    figure.colorbar(shown, ax=axes, label="fraction of valid circuits")
    figure.suptitle(f"edges of {n_valid:,} valid circuits", fontsize=9)
    return figure
