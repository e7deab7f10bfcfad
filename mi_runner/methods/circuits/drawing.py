"""Pictures of circuits: neurons in columns, kept edges by the sign (colour, dashes) and size (width) of weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mi_runner.graph.chain import Part
from mi_runner.machine import layout
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.tables.styles import NEGATIVE, NEGATIVE_DASHES, POSITIVE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LETTERS = 16
"""Letters of an input's or output's name that are drawn."""

ACROSS = 3
"""Circuits in a row of a picture."""

MOST_NUMBERED = 12
"""Neurons of a layer in which their numbers are written."""

SIGNS = "solid red: positive weight, dashed blue: negative"


def draw_circuits(part: Part, circuits: Sequence[int], title: str = "", titles: Sequence[str] = ()) -> Figure:
    """Returns a figure with one drawing for each circuit.

    Solid red edges have positive weights, dashed blue ones negative weights. Active neurons and used inputs are black,
    the others white; each has its number, from 0.

    Args:
        part: with the circuits' outputs.
        circuits: the kept edges of each circuit, as bits.
        title: the first line of the figure's title.
        titles: of each circuit; none: its number of edges.
    """
    across = min(ACROSS, len(circuits))
    least = 1.0 + 0.09 * max(_letters(part, 0), _letters(part, len(part.sizes) - 1))
    if (width := layout.given_width()) is not None:
        across = max(1, min(across, int(width / least)))
    down = math.ceil(len(circuits) / across)
    figure = layout.blank(2.6 * across, (0.55 + max(1.2, 0.22 * max(part.sizes))) * down + 0.4)
    grid = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    space = CircuitSpace(part.sizes)
    names = titles or [f"{circuit.bit_count()} of {space.n_edges} edges" for circuit in circuits]
    for axes, circuit, name in zip(grid, circuits, names, strict=False):
        _draw(axes, part, circuit)
        axes.set_title(name, fontsize=8)
    figure.suptitle(f"{title}\n({SIGNS})" if title else SIGNS, fontsize=9)
    return figure


def _letters(part: Part, column: int) -> int:
    """Returns how many letters the longest name of a column has that is drawn."""
    names = (part.name(column, neuron) for neuron in range(part.sizes[column]))
    return max((min(MOST_LETTERS, len(name)) for name in names if name is not None), default=0)


def _draw(axes: Axes, part: Part, circuit: int) -> None:
    space = CircuitSpace(part.sizes)
    masks = space.masks(circuit)
    active: list[np.ndarray] = [np.any(masks[0], 0), *(np.any(mask, 1) for mask in masks)]
    height = [np.linspace(1, 0, size + 2)[1:-1] for size in space.sizes]
    for column, (mask, layer) in enumerate(zip(masks, part.layers, strict=True)):
        weight = layer.weight.cpu().numpy()
        largest = float(np.abs(weight).max()) or 1.0
        for to, source in zip(*np.nonzero(mask), strict=True):
            is_positive = weight[to, source] > 0
            axes.plot(
                [column, column + 1],
                [height[column][source], height[column + 1][to]],
                color=POSITIVE if is_positive else NEGATIVE,
                linestyle="-" if is_positive else NEGATIVE_DASHES,
                linewidth=0.5 + 2.5 * abs(weight[to, source]) / largest,
                zorder=1,
            )
    for column, (positions, is_active) in enumerate(zip(height, active, strict=True)):
        is_numbered = len(positions) <= MOST_NUMBERED
        face = ["black" if on else "white" for on in is_active]
        places = [column] * len(positions)
        axes.scatter(places, positions, s=110 if is_numbered else 40, c=face, edgecolors="black", zorder=2)
        for neuron, (position, on) in enumerate(zip(positions, is_active, strict=True) if is_numbered else ()):
            colour = "white" if on else "black"
            axes.text(column, position, str(neuron), ha="center", va="center_baseline", fontsize=7, color=colour)
    for column, side, place in ((0, "right", -0.2), (len(space.sizes) - 1, "left", len(space.sizes) - 0.8)):
        for neuron, level in enumerate(height[column]):
            if (name := part.name(column, neuron)) is not None:
                axes.text(place, level, name[:MOST_LETTERS], ha=side, va="center", fontsize=7)
    axes.set(xlim=(-0.3, len(space.sizes) - 0.7), ylim=(0, 1))
