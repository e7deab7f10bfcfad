"""The leaderboard of a bench as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mi_runner.bench.networks import PLANTED, TRAINED
from mi_runner.experiments.common import drawing
from mi_runner.machine import layout
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row
from mi_runner.tables.names import ALL

KINDS = {TRAINED: (styles.BLUE, "o"), PLANTED: (styles.ORANGE, "s")}
"""The colour and the marker of each kind of networks."""


def leaderboard(rows: Sequence[Row]) -> Figure:
    """Returns a figure of each method's mean cpr by kind of networks, and of its mean rank in each family.

    Args:
        rows: of LEADERBOARD, at least one. Methods stand in the order of the first rows, those of all networks.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    families = [name for name in dict.fromkeys(row["networks"] for row in rows) if name not in (ALL, *KINDS)]
    n_methods, n_families = len(methods), len(families)
    needed = 5.4 + 0.42 * n_families
    row = 0.2 if layout.is_narrow(needed) else 0.3
    least, ratios = needed / 2, [3, max(1.2, 0.42 * n_families)]
    figure, panels = layout.panels(1, 2, (needed / 2, 1.6 + row * n_methods), (0, 0.7), least=least, ratios=ratios)
    left, right = panels[0]
    _draw_means(left, rows, methods)
    _draw_ranks(figure, right, rows, methods, families)
    for place, axes in enumerate((left, right)):
        axes.set_yticks(range(n_methods), [drawing.short(method) for method in methods])
        axes.set_ylim(n_methods - 0.5, -0.5)
        axes.tick_params(labelleft=layout.is_first(place, 2, least=least))
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
    drawing.tidy(axes)
    layout.key(axes, beside=False, size=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)


def _draw_ranks(
    figure: Figure, axes: Axes, rows: Sequence[Row], methods: Sequence[str], families: Sequence[str]
) -> None:
    ranks = np.full((len(methods), len(families)), np.nan)
    for row in rows:
        if row["networks"] in families:
            ranks[methods.index(row["method"]), families.index(row["networks"])] = row["mean_rank"]
    image = axes.imshow(ranks, cmap="viridis", vmin=1, vmax=max(2, len(methods)), aspect="auto")
    axes.set_xticks(range(len(families)), [drawing.short(family) for family in families], rotation=45, ha="right")
    texts = {(i, j): f"{rank:.1f}" for (i, j), rank in np.ndenumerate(ranks) if np.isfinite(rank)}
    layout.numbers(axes, texts, ranks < (1 + len(methods)) / 2)
    axes.set_title("mean rank by cpr, 1 the best", fontsize=9)
    axes.tick_params(labelsize=8, length=0)
    figure.colorbar(image, ax=axes, pad=0.01).ax.tick_params(labelsize=7)
