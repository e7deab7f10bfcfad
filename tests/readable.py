"""What can't be read of a figure: text that is too small, reaches out of the canvas, or labels that overlap."""

from __future__ import annotations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from mi_runner.machine import layout

SMALLEST = 6.5
"""Points of the smallest text."""

MARGIN = 1.5
"""Pixels by which a text may reach out: letters' boxes are larger than their ink."""


def faults(figure: Figure) -> list[str]:
    """A line for each fault of a figure, as it is drawn."""
    FigureCanvasAgg(figure).draw()
    found = []
    for text in figure.findobj(Text):
        if not isinstance(text, Text) or not text.get_text().strip() or not _is_drawn(figure, text):
            continue
        if text.get_fontsize() < SMALLEST:
            found.append(f"{text.get_text()!r} has {text.get_fontsize()} pt")
        box = text.get_window_extent()
        if (
            box.x0 < -MARGIN or box.y0 < -MARGIN
            or box.x1 > figure.bbox.width + MARGIN or box.y1 > figure.bbox.height + MARGIN
        ):  # fmt: skip
            found.append(f"{text.get_text()!r} is outside: {box.extents.round(1).tolist()}")
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            found += [f"{one!r} overlaps {other!r}" for one, other in layout.overlapping(axis)]
    return found


def _is_drawn(figure: Figure, text: Text) -> bool:
    """Whether a text is seen: labels of ticks outside of their axis's limits aren't."""
    if not text.get_visible():
        return False
    for axes in figure.axes:
        for axis, place in ((axes.xaxis, 0), (axes.yaxis, 1)):
            if any(text in (tick.label1, tick.label2) for tick in axis.get_major_ticks() + axis.get_minor_ticks()):
                low, high = sorted(axis.get_view_interval())
                span = high - low
                is_inside = low - 1e-6 * span <= text.get_position()[place] <= high + 1e-6 * span
                return is_inside and axis.get_visible() and axes.axison
    return True
