"""Pictures of maps: rows of metrics in, matplotlib figures out."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from mi_runner.experiments.common import drawing
from mi_runner.machine import layout
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS = {
    "iia": ("trained network", "o-", styles.RED),
    "untrained": ("untrained network", "s--", styles.BLUE),
    "random_labels": ("trained on random labels", "^:", styles.ORANGE),
}
"""Column → what it is of, and how it is drawn."""


def _means(rows: Sequence[Row], *names: str) -> list[float]:
    return [fmean(row[name] for row in rows) for name in names]


def maps(rows: Sequence[Row]) -> Figure:
    """Draws IIA by the number of a map's parameters: a column for each site, a row for each set of variables."""
    sites, sets = (list(dict.fromkeys(row[key] for row in rows)) for key in ("site", "variables"))
    figure, panels = layout.panels(len(sets), len(sites), (2.6, 2.5), (1.2, 0.8), least=2.4, share="y")
    # The panels share an axis, so that the lowest number of all decides.
    lowest = min(0.5, *(row[name] for row in rows for name in (*NETWORKS, "floor") if name in row))
    right = 4 * max(10, *(row["parameters"] for row in rows))
    for down, variables in enumerate(sets):
        for across, site in enumerate(sites):
            axes = panels[down, across]
            own = [row for row in rows if (row["variables"], row["site"]) == (variables, site)]
            by_map: dict[tuple[str, int], list[Row]] = {}
            for row in own:
                by_map.setdefault((row["map"], row["size"]), []).append(row)
            cells = sorted(by_map.values(), key=lambda of_cell: of_cell[0]["parameters"])
            for column, (label, style, color) in NETWORKS.items():
                if column in own[0]:
                    points = [(of_cell[0]["parameters"], *_means(of_cell, column)) for of_cell in cells]
                    axes.plot(*zip(*points, strict=True), style, color=color, label=label, markersize=4)
            floor, ceiling = _means(own, "floor", "ceiling")
            axes.axhline(floor, linestyle=":", color=drawing.REFERENCE, linewidth=1, label="floor")
            axes.axhline(ceiling, linestyle="--", color=drawing.REFERENCE, linewidth=1, label="ceiling")
            for of_cell in cells:
                row, (iia,) = of_cell[0], _means(of_cell, "iia")
                name = f"{row['map']}, {row['size']}"
                axes.annotate(
                    name, (row["parameters"], iia), fontsize=6, rotation=30, xytext=(2, 3), textcoords="offset points",
                    gid=layout.NEAR_POINT,
                )  # fmt: skip
            axes.set_xscale("symlog", linthresh=10)
            axes.set(xlim=(-3, right), ylim=(lowest - 0.1, 1.06), title=f"{variables} at {site}")
            axes.set_xlabel("parameters of the map" if down == len(sets) - 1 else "")
            axes.set_ylabel("IIA" if layout.is_first(across, len(sites), least=2.4, room=1.2) else "")
            drawing.tidy(axes)
    layout.key(panels[0, -1])
    return figure


def selectivity(rows: Sequence[Row]) -> Figure:
    """Draws IIA minus that in the untrained network by site, of each map and size, with 95 % intervals of one start."""
    sites = list(dict.fromkeys((row["variables"], row["site"]) for row in rows))
    cells = list(dict.fromkeys((row["map"], row["size"]) for row in rows))
    figure = layout.blank(2.6 + 0.5 * len(sites) * max(2, len(cells) / 2), 3.2)
    axes = figure.subplots()
    for number, (name, size) in enumerate(cells):
        shift = (number - (len(cells) - 1) / 2) * 0.7 / len(cells)
        for place, (variables, site) in enumerate(sites):
            own = [
                row
                for row in rows
                if (row["map"], row["size"], row["variables"], row["site"]) == (name, size, variables, site)
            ]
            if not own:
                continue
            (value,) = _means(own, "selectivity")
            error = None
            if len(own) == 1:
                error = [[value - own[0]["selectivity_low"]], [own[0]["selectivity_high"] - value]]
            label = f"{name}, {size}" if place == 0 else None
            style = styles.style(number)
            axes.errorbar(
                place + shift, value, yerr=error, fmt=style.marker, color=style.color, label=label, elinewidth=0.8,
                markersize=5,
            )  # fmt: skip
    axes.axhline(0, color=drawing.REFERENCE, linewidth=0.8, label="as in the untrained network")
    axes.set_xticks(range(len(sites)), [f"{variables}\n{site}" for variables, site in sites])
    axes.set(ylabel="selectivity", xlim=(-0.6, len(sites) - 0.4))
    drawing.tidy(axes)
    layout.key(axes)
    return figure
