"""Figures of circuits in regions, drawn from the tables and the witnesses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_runner.experiments import Drawing
from mi_runner.experiments.common import drawing
from mi_runner.experiments.robustness.tables import EXAMPLES, HULL_REGION
from mi_runner.machine import layout
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor

STATES: dict[str, dict[str, Any]] = {
    "certified": styles.style(0).bar,
    "undecided": {**styles.style(0).bar, "color": "#dddddd"},
    "refuted": {**styles.style(1).bar, "color": styles.RED},
}
"""What is known of a circuit → how its bar is drawn."""

CONTROLS = {
    "share_random": ("circuits of as many edges, drawn at random: certified", drawing.REFERENCE, "s"),
    "share_untrained": ("valid circuits of the untrained network: certified", styles.ORANGE, "^"),
}
"""Column of metrics.csv → its words, its colour, and its marker."""

MOST_PICTURES = 16
"""Counterexamples of an output with an ablation that are drawn."""


def shares(rows: Sequence[Row]) -> Drawing | None:
    """Returns a function that draws which share of the valid circuits is certified, undecided and refuted.

    Args:
        rows: of metrics.csv, of one output.
    """
    known = [row for row in rows if row["n_decided"]]
    return partial(_shares, known) if known else None


def _shares(rows: Sequence[Row]) -> Figure:
    ablations = _by_ablation(rows)
    n_regions = max(len(own) for own in ablations.values())
    panel, height = 1.6 + 0.62 * n_regions, 2.4 if layout.is_narrow(4) else 4.2
    figure, panels = layout.panels(1, len(ablations), (panel, height), least=0.8 + 0.22 * n_regions)
    for axes, (ablation, own) in zip(panels[0], ablations.items(), strict=True):
        bottom = np.zeros(len(own))
        for state, look in STATES.items():
            heights = np.array([row[f"n_{state}"] / row["n_decided"] for row in own])
            axes.bar(range(len(own)), heights, 0.7, bottom=bottom, label=state, **look)
            bottom += heights
        for column, (words, colour, marker) in CONTROLS.items():
            values = [math.nan if row.get(column) is None else row[column] for row in own]
            if not all(map(math.isnan, values)):
                axes.plot(
                    range(len(own)), values, marker, color=colour, markersize=6, markeredgecolor="white", label=words
                )
        for place, row in enumerate(own):
            axes.text(place, 1.01, f"{row['n_certified']:,}", ha="center", va="bottom", fontsize=7)
        _name_regions(axes, own)
        axes.set(ylim=(0, 1.08), ylabel="share of the valid circuits")
        axes.set_title(f"{ablation} ablation: certified of {own[0]['n_decided']:,}", fontsize=9)
        drawing.tidy(axes)
    figure.suptitle(_of(rows), fontsize=9)
    labels = layout.labelled(*figure.axes)
    labels = {name: labels[name] for name in [*STATES, *(name for name in labels if name not in STATES)]}
    layout.key_below(figure, labels)
    return figure


def edges(rows: Sequence[Row]) -> Drawing | None:
    """Returns a function that draws the kept edges of the smallest valid and the smallest certified circuit.

    Args:
        rows: of metrics.csv, of one output.
    """
    known = [row for row in rows if row["fewest_valid"] is not None]
    return partial(_edges, known) if known else None


def _edges(rows: Sequence[Row]) -> Figure:
    from matplotlib.ticker import MaxNLocator

    ablations = _by_ablation(rows)
    figure = layout.blank(2.4 + 0.7 * max(len(own) for own in ablations.values()), 3.2 if layout.is_narrow(4) else 3.8)
    axes = figure.subplots()
    for number, (ablation, own) in enumerate(ablations.items()):
        places = np.arange(len(own)) + 0.08 * number  # so that equal numbers of both are seen
        fewest = [math.nan if row["fewest_certified"] is None else row["fewest_certified"] for row in own]
        possible = [math.nan if row["fewest_possible"] is None else row["fewest_possible"] for row in own]
        colour, marker = styles.style(number).color, styles.style(number).marker
        axes.axhline(
            own[0]["fewest_valid"],
            color=colour,
            linestyle=(number, (1, 1 + number)),
            label=f"{ablation} ablation: smallest valid",
        )
        axes.plot(
            places, fewest, f"{marker}-", color=colour, markersize=5, label=f"{ablation} ablation: smallest certified"
        )
        if possible != fewest:
            axes.vlines(places, possible, fewest, color=colour, alpha=0.4, linewidth=4, label="not decided between")
    longest = max(ablations.values(), key=len)
    _name_regions(axes, longest)
    axes.set(ylim=(0, None), ylabel="kept edges")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(_of(rows), fontsize=9)
    layout.key_below(figure, layout.labelled(axes))
    drawing.tidy(axes)
    return figure


def pictures(found: Mapping[str, NDArray[np.generic]], images: Tensor | None, title: str) -> Drawing | None:
    """Returns a function that draws the images nearest to counterexamples, with both answers at the point.

    Those of the smallest boxes come first, then those of the circuits with the fewest edges; one for each image.

    Args:
        found: arrays of `counterexamples.counterexamples`.
        images: `(N, C, H, W)`, the test images; None: the examples are none, and nothing is drawn.
    """
    if images is None or not len(found["circuit"]):
        return None
    order = np.lexsort((np.arange(len(found["epsilon"])), found["epsilon"]))  # NaN, the hull, comes last
    first = order[np.sort(np.unique(found["nearest"][order], return_index=True)[1])][:MOST_PICTURES]
    shown = [drawing.picture(images[int(found["nearest"][row])]) for row in first]
    return partial(drawing.mosaic, shown, [_caption(found, row) for row in first.tolist()], title, cmap="gray_r")


def _caption(found: Mapping[str, NDArray[np.generic]], row: int) -> str:
    epsilon = float(found["epsilon"][row])
    where = "hull" if math.isnan(epsilon) else f"ε = {epsilon:g}"
    lines = [f"{int(found['circuit'][row]).bit_count()} edges, {where}"]
    for name in ("network", "circuit"):
        outputs, answer = found[f"{name}_output"][row], float(found[f"{name}_answer"][row])
        said = f"{round(float(outputs[0]), 3) + 0:.3f} → {answer:g}" if len(outputs) == 1 else f"{answer:g}"
        lines.append(f"{name} {said}".replace("-", "−"))
    return "\n".join(lines)


def _by_ablation(rows: Sequence[Row]) -> dict[str, list[Row]]:
    return {
        name: [row for row in rows if row["ablation"] == name] for name in dict.fromkeys(r["ablation"] for r in rows)
    }


def _name_regions(axes: Axes, rows: Sequence[Row]) -> None:
    words = {EXAMPLES: "examples\nalone", HULL_REGION: "hull"}
    names = [words.get(row["region"]) or f"ε = {row['epsilon']:g}" for row in rows]
    axes.set_xticks(range(len(rows)), names, rotation=45, ha="right", fontsize=8)


def _of(rows: Sequence[Row]) -> str:
    output = rows[0]["output"]
    return "all outputs" if output == "all" else f"output {output}"
