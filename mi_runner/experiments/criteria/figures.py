"""Figures of the criteria of circuits, drawn from the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mi_runner.experiments import Drawing
from mi_runner.experiments.common import drawing
from mi_runner.machine import layout
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POPULATIONS = {
    "share": ("valid circuits", styles.BLUE, "o-"),
    "chance": ("circuits of as many edges, drawn at random", drawing.REFERENCE, "s--"),
    "untrained": ("valid circuits of the untrained network", styles.ORANGE, "^:"),
}
"""Column of the table of steps → its words, its colour, and how it is drawn."""


def taus(rows: Sequence[Row]) -> Drawing | None:
    """Returns a function that draws τ-b of each two criteria of one output and ablation; None without a pair.

    Args:
        rows: of the table of pairs.
    """
    if not rows:
        return None
    return partial(_matrix, rows, "tau", -1.0, "RdBu_r", "Kendall's τ-b over the valid circuits")


def overlaps(rows: Sequence[Row]) -> Drawing | None:
    """Returns a function that draws which share of the survivors of either of two criteria survive both."""
    if not rows:
        return None
    return partial(_matrix, rows, "overlap", 0.0, "viridis", "survive both, of those that survive one")


def _matrix(rows: Sequence[Row], column: str, lowest: float, cmap: str, label: str) -> Figure:
    names = list(dict.fromkeys(name for row in rows for name in (row["criterion"], row["other"])))
    cells = np.full((len(names), len(names)), math.nan)
    for row in rows:
        if row[column] is not None:
            one, other = names.index(row["criterion"]), names.index(row["other"])
            cells[one, other] = cells[other, one] = row[column]
    size = 1.6 + 0.46 * len(names)
    figure = layout.blank(size + 1.0, min(size, layout.given_width() or size))
    axes = figure.subplots()
    axes.set_facecolor("#dddddd")  # where there is no number
    shown = axes.imshow(cells, cmap=cmap, vmin=lowest, vmax=1)
    if len(names) <= drawing.MOST_CELL_TEXTS:
        places = [(i, j) for i, j in np.argwhere(~np.isnan(cells)).tolist()]
        texts = {place: f"{cells[place]:.2f}".replace("-", "−") for place in places}
        layout.numbers(axes, texts, np.abs(cells) > 0.6 if lowest < 0 else cells < 0.6, size=6)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_title(f"{_of(rows)}\ngrey: none", fontsize=9)
    figure.colorbar(shown, ax=axes, shrink=0.8).set_label(label, fontsize=8)
    return figure


def steps(rows: Sequence[Row], n_circuits: int) -> Drawing | None:
    """Returns a function that draws the share of circuits that survive as criteria are added; None without a step.

    Args:
        rows: of the table of steps, of one output and ablation.
        n_circuits: valid circuits that are judged.
    """
    return partial(_steps, rows, n_circuits) if rows else None


def _steps(rows: Sequence[Row], n_circuits: int) -> Figure:
    needed = 1.8 + 0.5 * len(rows)
    figure = layout.blank(needed, 3.4 if layout.is_narrow(needed) else 4.4)
    axes = figure.subplots()
    for column, (words, colour, style) in POPULATIONS.items():
        shares = [math.nan if row.get(column) is None else row[column] for row in rows]
        if not all(math.isnan(share) for share in shares):
            axes.plot(range(len(rows)), shares, style, color=colour, markersize=4, label=words)
    lowest = min([row[column] for row in rows for column in POPULATIONS if row.get(column)], default=1.0)
    axes.set_yscale("symlog", linthresh=10 ** math.floor(math.log10(lowest)))  # few of many are seen, and none is 0
    for place, row in enumerate(rows):
        axes.text(place, 1.2 * row["share"], f"{row['n_survivors']:,}", ha="center", va="bottom", fontsize=7)
    names = [("" if place == 0 else "+ ") + row["criterion"] for place, row in enumerate(rows)]
    axes.set_xticks(range(len(rows)), names, rotation=45, ha="right", fontsize=8)
    axes.set(ylim=(0, 2.5), ylabel="share that survives")
    axes.set_title(f"{_of(rows)}: survivors of {n_circuits:,} valid circuits", fontsize=9)
    layout.key_below(figure, layout.labelled(axes))
    drawing.tidy(axes)
    return figure


def _of(rows: Sequence[Row]) -> str:
    """Returns which circuits the rows are of."""
    output = rows[0]["output"]
    return f"{rows[0]['ablation']} ablation, {'all outputs' if output == 'all' else f'output {output}'}"
