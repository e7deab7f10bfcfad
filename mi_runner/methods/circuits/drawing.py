"""Pictures of circuits: neurons in columns, kept edges by the sign (colour) and the size (width) of their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.space import CircuitSpace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LETTERS = 16
"""Letters of an input's or output's name that are drawn."""

ACROSS = 3
"""Circuits in a row of a picture."""


def draw_circuits(part: Part, circuits: Sequence[int], title: str = "") -> Figure:
    """Returns a figure with one drawing for each circuit.

    Red edges have positive weights, blue ones negative weights. Active neurons and used inputs are black, the
    others white.

    Args:
        part: with the circuits' outputs.
        circuits: the kept edges of each circuit, as bits.
        title: the first line of the figure's title.
    """
    from matplotlib.figure import Figure

    across = min(ACROSS, len(circuits))
    down = math.ceil(len(circuits) / across)
    figure = Figure(figsize=(2.6 * across, 2.1 * down + 0.3), layout="constrained")
    grid = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, circuit in zip(grid, circuits, strict=False):
        _draw(axes, part, circuit)
    colours = "red: positive weight, blue: negative"
    figure.suptitle(f"{title}\n({colours})" if title else colours, fontsize=9)
    return figure


def _draw(axes: Axes, part: Part, circuit: int) -> None:
    space = CircuitSpace(part.sizes)
    masks = space.masks(circuit)
    active: list[np.ndarray] = [np.any(masks[0], 0), *(np.any(mask, 1) for mask in masks)]
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
    for column, (positions, is_active) in enumerate(zip(height, active, strict=True)):
        face = ["black" if on else "white" for on in is_active]
        axes.scatter([column] * len(positions), positions, s=40, c=face, edgecolors="black", zorder=2)
    for column, side, place in ((0, "right", -0.12), (len(space.sizes) - 1, "left", len(space.sizes) - 0.88)):
        for neuron, level in enumerate(height[column]):
            if (name := part.name(column, neuron)) is not None:
                axes.text(place, level, name[:MOST_LETTERS], ha=side, va="center", fontsize=5.5)
    axes.set_title(f"{circuit}: {circuit.bit_count()} of {space.n_edges} edges", fontsize=8)
