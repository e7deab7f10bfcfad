"""What a figure shows, read from its artists, and hand-made rows whose intervals are uneven.

Every interval reaches further up than down, each by another length, so that an end that is drawn with another one's
length, in another place, or of another row is seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

Row = dict[str, Any]


def uneven(value: float, number: int, name: str = "accuracy") -> Row:
    """A value whose interval is longer upwards, and of other lengths for each number."""
    return {name: value, f"{name}_low": value - 0.01 * (number + 1), f"{name}_high": value + 0.03 * (number + 2)}


def words(figure: Figure) -> list[tuple[str, str, str]]:
    """Of each pair of axes the labels below, on the left, and above."""
    return [(axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) for axes in figure.axes]


def ticks(axes: Axes, side: str) -> dict[float, str]:
    """Place → text of the ticks below (`x`) or on the left (`y`)."""
    axis = getattr(axes, f"{side}axis")
    texts = (label.get_text() for label in axis.get_ticklabels())
    return dict(zip((float(place) for place in axis.get_ticklocs()), texts, strict=True))


def legend(axes: Axes) -> dict[str, Any]:
    """Text → the colour of what it names."""
    handles, labels = axes.get_legend_handles_labels()

    def colour(handle: Any) -> tuple[float, ...]:
        if hasattr(handle, "patches"):
            return to_rgba(handle.patches[0].get_facecolor())
        return to_rgba(handle.get_color() if hasattr(handle, "get_color") else handle.lines[0].get_color())

    return {label: colour(handle) for handle, label in zip(handles, labels, strict=True)}


def segments(axes: Axes) -> list[tuple[float, float, float, float]]:
    """x0, y0, x1, y1 of every error bar, in the order in which they were drawn."""
    found = []
    for lines in axes.collections:
        if isinstance(lines, LineCollection):
            found += [tuple(np.asarray(segment, dtype=float).ravel()) for segment in lines.get_segments()]
    return found


def near(values: Any) -> Any:
    return pytest.approx(np.asarray(values, dtype=float), abs=1e-9)


def network_edges(axes: Axes) -> set[tuple[int, int, int, str]]:
    """Layer, source, target and colour of each drawn edge, by the places of the neurons that stand in the axes."""
    lines = [line for line in axes.lines if len(line.get_xdata()) == 2]
    points = [tuple(text.get_position()) for text in axes.texts]
    points += [tuple(place) for group in axes.collections for place in np.asarray(group.get_offsets()).tolist()]
    columns: dict[int, list[float]] = {}
    for x, y in points:
        if float(x) == round(x):
            columns.setdefault(round(x), []).append(round(float(y), 6))
    heights = {layer: sorted(set(of), reverse=True) for layer, of in columns.items()}
    found = set()
    for line in lines:
        (x0, x1), (y0, y1) = (np.asarray(data, dtype=float).round(6).tolist() for data in line.get_data())
        assert x1 == x0 + 1
        found.add((int(x0), heights[int(x0)].index(y0), heights[int(x1)].index(y1), str(line.get_color())))
    return found
