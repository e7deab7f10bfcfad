"""Figures of circuits in regions, drawn from the tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from mi_runner.experiments import Drawing
from mi_runner.experiments.common import drawing
from mi_runner.experiments.robustness.counterexamples import Counterexamples
from mi_runner.experiments.robustness.rows import HULL
from mi_runner.tables.declaration import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = {"zero": ("C0", "o-"), "mean": ("C1", "s-")}
"""Ablation → its colour and how its line is drawn."""

MOST_SHOWN = 12
"""Images of counterexamples."""


def certified(rows: Sequence[Row]) -> Drawing | None:
    """Returns a function that draws the share of certified circuits and the smallest one by ε; None without circuits.

    Args:
        rows: of metrics.csv, of one output.
    """
    own = [row for row in rows if row["region"] != HULL and row["n_judged"]]
    return partial(_certified, own) if own else None


def _certified(rows: Sequence[Row]) -> Figure:
    figure = drawing.blank(7.2, 3.4)
    left, right = figure.subplots(1, 2)
    for ablation in dict.fromkeys(row["ablation"] for row in rows):
        own = [row for row in rows if row["ablation"] == ablation]
        colour, style = STYLES[ablation]
        places = range(len(own))
        left.plot(
            places, [row["share_certified"] for row in own], style, color=colour, label=f"valid, {ablation} ablation"
        )
        possible = [1 - row["n_refuted"] / row["n_judged"] for row in own]
        left.fill_between(places, [row["share_certified"] for row in own], possible, color=colour, alpha=0.3, lw=0)
        if all(row.get("share_random") is not None for row in own):
            dashed = style.replace("-", ":")
            left.plot(
                places,
                [row["share_random"] for row in own],
                dashed,
                color=colour,
                mfc="white",
                label=f"random, {ablation}",
            )
        right.plot(
            places,
            [np.nan if row["fewest_certified"] is None else row["fewest_certified"] for row in own],
            style,
            color=colour,
            label=f"certified, {ablation}",
        )
        right.axhline(own[0]["fewest_valid"], color=colour, ls="--", lw=1, label=f"valid, {ablation}")
    names = list(dict.fromkeys(row["region"] for row in rows))
    for axes in (left, right):
        axes.set_xticks(range(len(names)), names)
        axes.set_xlabel("ε, in standard deviations")
        drawing.tidy(axes)
        axes.legend(frameon=False, fontsize=7)
    left.set(ylim=(-0.03, 1.03), ylabel="share certified")
    right.set(ylabel="kept edges of the smallest")
    right.set_ylim(bottom=0)
    output = rows[0]["output"]
    figure.suptitle("all outputs" if output == "all" else f"output {output}", fontsize=9)
    return figure


def images(found: Counterexamples, x_test: Tensor, title: str) -> Drawing | None:
    """Returns a function that draws the images nearest to counterexamples; None without any, or without images.

    Args:
        x_test: `(N, *input)`, the test inputs.
    """
    is_image = x_test.dim() == 4 or (x_test.dim() == 2 and x_test.shape[1] == 784)
    return partial(_images, found, x_test, title) if len(found) and is_image else None


def _images(found: Counterexamples, x_test: Tensor, title: str) -> Figure:
    _, first = np.unique(found.nearest, return_index=True)
    rows = np.sort(first)[:MOST_SHOWN]
    pictures, captions = [], []
    for row in rows.tolist():
        image = x_test[int(found.nearest[row])]
        pictures.append(drawing.picture(image.reshape(1, 28, 28) if image.dim() == 1 else image))
        epsilon = found.epsilon[row]
        where = "hull" if np.isnan(epsilon) else f"ε = {epsilon:g}"
        captions.append(f"{_named(found.network_answer[row])} → {_named(found.circuit_answer[row])}, {where}")
    return drawing.mosaic(pictures, captions, title)


def _named(answer: float) -> str:
    return f"{answer:g}".replace("-", "−")
