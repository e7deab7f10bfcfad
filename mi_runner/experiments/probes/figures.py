"""The picture of probes: what can be read from each site, with controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mi_runner.experiments.common import drawing
from mi_runner.machine import layout
from mi_runner.tables import styles
from mi_runner.tables.names import NONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES: dict[str, dict[str, Any]] = {
    NONE: {"linestyle": "-"},
    "untrained": {"linestyle": "--", "markerfacecolor": "none", "linewidth": 1},
    "shuffled": {"linestyle": ":", "markersize": 2.5, "linewidth": 1},
    "input": {"linestyle": "none", "markerfacecolor": "none"},
}
"""How each control is drawn; the network itself is solid. A set of variables has a colour and a marker."""

LABELS = {"r2": "R² on held-out examples", "accuracy": "accuracy on held-out examples"}
LOWEST = -0.25
"""The lower end of the axis: how far an R² is below 0 says little."""


def by_site(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws the score by site, a color for each set of variables, a panel for values and one for classes.

    Args:
        rows: of metrics.csv.
    """
    measures = [measure for measure in LABELS if any(row.get(measure) is not None for row in rows)]
    sites = list(dict.fromkeys(row["site"] for row in rows if row["control"] == NONE))
    names = list(dict.fromkeys(row["variables"] for row in rows))
    panel = 2 + 0.8 * len(sites)
    figure, panels = layout.panels(
        1, len(measures), (panel, 2.6 if layout.is_narrow(panel) else 3.8), (1.8, 0), least=2.6
    )
    for axes, measure in zip(panels[0], measures, strict=True):
        for number, name in enumerate(names):
            of_name = {"color": styles.style(number).color, "marker": styles.style(number).marker, "markersize": 4}
            for control, style in STYLES.items():
                own = [row for row in rows if (row["variables"], row["control"]) == (name, control)]
                points = [
                    (-1 if control == "input" else sites.index(row["site"]), max(LOWEST, row[measure]))
                    for row in own
                    if row.get(measure) is not None
                ]
                if points:
                    label = name if control == NONE else None
                    axes.plot(*zip(*points, strict=True), label=label, **{**of_name, **style})
        has_input = any(row["control"] == "input" for row in rows)
        ticks = ([-1] if has_input else []) + list(range(len(sites)))
        axes.set_xticks(ticks, (["raw input"] if has_input else []) + sites, rotation=30, ha="right")
        axes.set(ylabel=LABELS[measure], ylim=(LOWEST - 0.03 if measure == "r2" else -0.02, 1.03))
        _draw_floor(axes, rows, measure)
        drawing.tidy(axes)
    for control in STYLES:
        if control != NONE and any(row["control"] == control for row in rows):
            axes.plot([], [], label=control, **{"color": "gray", "marker": "o", "markersize": 4, **STYLES[control]})
    layout.key(axes)
    return figure


def _draw_floor(axes: Axes, rows: Sequence[Mapping[str, Any]], measure: str) -> None:
    """Draws what is read without looking at the site: the mean, or the commonest class; of several the highest."""
    chances = [row["chance"] for row in rows if row.get("chance") is not None and row["control"] == NONE]
    floor = 0.0 if measure == "r2" else max(chances, default=None)
    if floor is not None:
        label = "the mean alone" if measure == "r2" else "commonest class alone"
        axes.axhline(floor, color=styles.REFERENCE, linewidth=0.8, linestyle=(0, (6, 3)), label=label)
