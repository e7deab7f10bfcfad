"""The leaderboard of a bench as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mi_runner.bench.networks import PLANTED, TRAINED
from mi_runner.experiments.common import drawing
from mi_runner.tables.declaration import Row
from mi_runner.tables.names import ALL

KINDS = {TRAINED: ("C0", "o"), PLANTED: ("C1", "s")}
"""The colour and the marker of each kind of networks."""


def leaderboard(rows: Sequence[Row]) -> Figure:
    """Returns a figure of each method's mean cpr by kind of networks, and of its mean rank in each family.

    Args:
        rows: of LEADERBOARD, at least one. Methods stand in the order of the first rows, those of all networks.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    families = [name for name in dict.fromkeys(row["networks"] for row in rows) if name not in (ALL, *KINDS)]
    n_methods, n_families = len(methods), len(families)
    figure = Figure(figsize=(5.4 + 0.42 * n_families, 2.3 + 0.3 * n_methods), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, max(1.2, 0.42 * n_families)])
    _draw_means(left, rows, methods)
    _draw_ranks(figure, right, rows, methods, families)
    left.set_yticks(range(n_methods), [drawing.short(method) for method in methods])
    left.set_ylim(n_methods - 0.5, -0.5)
    return figure


def _draw_means(axes: Axes, rows: Sequence[Row], methods: Sequence[str]) -> None:
    kinds = [kind for kind in KINDS if any(row["networks"] == kind for row in rows)]
    for number, kind in enumerate(kinds):
        color, marker = KINDS[kind]
        own = [row for row in rows if row["networks"] == kind]
        for row in own:
            height = methods.index(row["method"]) + (number - (len(kinds) - 1) / 2) * 0.35
            axes.plot(row["cpr"], height, marker=marker, markersize=4, color=color, linestyle="none")
            if row["cpr_low"] is not None and row["cpr_high"] is not None:
                axes.plot([row["cpr_low"], row["cpr_high"]], [height, height], color=color, linewidth=1.2)
        unit = f"{own[0]['n_units']} {own[0]['unit']}{'' if own[0]['n_units'] == 1 else 's'}"
        axes.plot([], [], marker=marker, markersize=4, color=color, linestyle="none", label=f"{kind}, {unit}")
    axes.set_xlabel("mean cpr, 95 % interval", fontsize=9)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    drawing.tidy(axes)


def _draw_ranks(
    figure: Figure, axes: Axes, rows: Sequence[Row], methods: Sequence[str], families: Sequence[str]
) -> None:
    ranks = np.full((len(methods), len(families)), np.nan)
    for row in rows:
        if row["networks"] in families:
            ranks[methods.index(row["method"]), families.index(row["networks"])] = row["mean_rank"]
    image = axes.imshow(ranks, cmap="viridis", vmin=1, vmax=max(2, len(methods)), aspect="auto")
    axes.set_xticks(range(len(families)), [drawing.short(family) for family in families], rotation=45, ha="right")
    for (i, j), rank in np.ndenumerate(ranks):
        if np.isfinite(rank):
            color = "white" if rank < (1 + len(methods)) / 2 else "black"
            axes.text(j, i, f"{rank:.1f}", ha="center", va="center", fontsize=7, color=color)
    axes.set_title("mean rank by cpr, 1 the best", fontsize=9)
    axes.tick_params(labelsize=8, length=0)
    figure.colorbar(image, ax=axes, pad=0.01).ax.tick_params(labelsize=7)
