"""Pictures of an ablation: rows in, matplotlib figures out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mi_runner.experiments.common import drawing
from mi_runner.machine import layout
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("zero", "mean", "resample")
"""Methods of ablation, in the order of their styles."""

COLORS = {**{method: styles.style(number).color for number, method in enumerate(METHODS)}, "none": styles.REFERENCE}
"""Of the methods of ablation."""


def accuracy(rows: Sequence[Row], floor: float | None = None) -> Figure:
    """Draws accuracy by target and method, with 95 % intervals; a mark a repeat; the line is the intact network.

    Args:
        rows: of metrics.csv, the intact network's first.
        floor: the accuracy of always predicting the commonest class, which is drawn, too; None: there is none.
    """
    intact, ablated = rows[0], rows[1:]
    targets = list(dict.fromkeys(row["target"] for row in ablated))
    methods = list(dict.fromkeys(row["method"] for row in ablated))
    figure = layout.blank(7.5, 1.3 + (0.17 if layout.is_narrow(7.5) else 0.24) * len(targets) * (len(methods) + 1))
    axes = figure.subplots()
    height = 0.8 / len(methods)
    for number, method in enumerate(methods):
        middles = [position + (number - (len(methods) - 1) / 2) * height for position in range(len(targets))]
        marks = [[row for row in ablated if (row["target"], row["method"]) == (target, method)] for target in targets]
        means = [sum(row["accuracy"] for row in of) / len(of) for of in marks]
        label = f"{method} (mean of {len(marks[0])})" if len(marks[0]) > 1 else method
        axes.barh(middles, means, height * 0.92, label=label, **styles.style(METHODS.index(method)).bar)
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
    if floor is not None:
        axes.axvline(floor, color=COLORS["none"], linestyle=":", linewidth=1, label="commonest class alone")
    axes.axvline(intact["accuracy"], color=COLORS["none"], linestyle="--", linewidth=1, label="intact")
    axes.set_yticks(range(len(targets)), [drawing.short(target) for target in targets])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.02), xlabel="test accuracy", ylabel="ablated")
    drawing.tidy(axes)
    layout.key(axes, size=8)
    return figure


def unit_drops(rows: Sequence[Row]) -> Figure:
    """Draws the accuracy lost by each unit of each target, sorted, with a panel for each target."""
    targets = list(dict.fromkeys(row["target"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure, panels = layout.panels(len(targets), 1, (7.5, 1.35 if layout.is_narrow(5) else 2.2))
    for axes, target in zip(panels[:, 0], targets, strict=True):
        for method in methods:
            drops = [row["accuracy_drop"] for row in rows if (row["target"], row["method"]) == (target, method)]
            line = styles.style(METHODS.index(method)).line
            axes.plot(
                sorted(drops, reverse=True), **line, markersize=4, markevery=max(1, len(drops) // 20), label=method
            )
        axes.axhline(0, color="black", linewidth=0.5)
        axes.set(ylabel="accuracy lost", title=target)
        layout.whole_numbers(axes.xaxis)
        drawing.tidy(axes)
    axes.set_xlabel("units, by accuracy lost")
    layout.key(axes, beside=False, size=8)
    return figure
