"""Pictures of an ablation: rows in, matplotlib figures out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mi_runner.experiments.common import drawing
from mi_runner.tables.declaration import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {"zero": "#4c72b0", "mean": "#dd8452", "resample": "#55a868", "none": drawing.REFERENCE}
"""Of the methods of ablation."""


def accuracy(rows: Sequence[Row]) -> Figure:
    """Draws accuracy by target and method, with 95 % intervals; a mark a repeat; the line is the intact network."""
    intact, ablated = rows[0], rows[1:]
    targets = list(dict.fromkeys(row["target"] for row in ablated))
    methods = list(dict.fromkeys(row["method"] for row in ablated))
    figure = drawing.blank(7.5, 1.3 + 0.24 * len(targets) * (len(methods) + 1))
    axes = figure.subplots()
    height = 0.8 / len(methods)
    for number, method in enumerate(methods):
        middles = [position + (number - (len(methods) - 1) / 2) * height for position in range(len(targets))]
        marks = [[row for row in ablated if (row["target"], row["method"]) == (target, method)] for target in targets]
        means = [sum(row["accuracy"] for row in of) / len(of) for of in marks]
        label = f"{method} (mean of {len(marks[0])})" if len(marks[0]) > 1 else method
        axes.barh(middles, means, height * 0.92, color=COLORS[method], label=label)
        drawn = [row for of in marks for row in of]
        places = [
            middle + (repeat - (len(of) - 1) / 2) * height * 0.2
            for middle, of in zip(middles, marks, strict=True)
            for repeat in range(len(of))
        ]
        axes.errorbar(
            [row["accuracy"] for row in drawn],
            places,
            xerr=[
                [row["accuracy"] - row["accuracy_low"] for row in drawn],
                [row["accuracy_high"] - row["accuracy"] for row in drawn],
            ],
            fmt=".", color="black", markersize=3, elinewidth=0.8,
        )  # fmt: skip
    axes.axvline(intact["accuracy"], color=COLORS["none"], linestyle="--", linewidth=1, label="intact")
    axes.set_yticks(range(len(targets)), targets)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.02), xlabel="test accuracy", ylabel="ablated")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    drawing.tidy(axes)
    return figure


def unit_drops(rows: Sequence[Row]) -> Figure:
    """Draws the accuracy lost by each unit of each target, sorted, with a panel for each target."""
    targets = list(dict.fromkeys(row["target"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = drawing.blank(7.5, 2.2 * len(targets))
    for axes, target in zip(figure.subplots(len(targets), 1, squeeze=False)[:, 0], targets, strict=True):
        for method in methods:
            drops = [row["accuracy_drop"] for row in rows if (row["target"], row["method"]) == (target, method)]
            axes.plot(sorted(drops, reverse=True), color=COLORS[method], label=method)
        axes.axhline(0, color="black", linewidth=0.5)
        axes.set(ylabel="accuracy lost", title=target)
        drawing.tidy(axes)
    axes.set_xlabel("units, by accuracy lost")
    axes.legend(frameon=False, fontsize=8)
    return figure
