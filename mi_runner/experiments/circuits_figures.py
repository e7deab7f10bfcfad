"""Pictures of the circuits of a network: tables in, matplotlib figures out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from mi_runner.experiments import figures
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.space import CircuitSpace

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_CIRCUITS = 6


def of_output(
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
        figures.tidy(axes)
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
