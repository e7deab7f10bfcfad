"""Pictures of training by interchange interventions: rows in, matplotlib figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mi_runner.datasets import Dataset
from mi_runner.experiments.common import drawing
from mi_runner.machine import layout
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row
from mi_runner.tables.names import NONE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_EXAMPLES = 8

OWN, FRESH = "own", "fresh"
"""The rotation that a row of a training against an adversary is of: that of the training or the control, or one that is
trained from scratch."""

NO_ADVERSARY = "no_adversary"
"""The control: the same training without the adversary."""


def history(rows: Sequence[Row]) -> Figure:
    """Draws IIA and task accuracy over the epochs of training by interchange interventions, and the loss."""
    figure, panels = layout.panels(
        1, 2, (4.25, 2.2 if layout.is_narrow(4) else 3.4), least=2.5, ratios=(3, 2)
    )  # fmt: skip
    left, right = panels[0]
    lines = {
        "iia": ("IIA", "o-", styles.BLUE),
        "iia_changed": ("IIA, label changed", "^--", styles.SKY),
        "iia_unchanged": ("IIA, label unchanged", "v:", styles.PINK),
        "task_accuracy": ("task accuracy", "s-", styles.ORANGE),
        "train_iia": ("IIA, training pairs", ".-", styles.BLACK),
    }
    for column, (label, style, color) in lines.items():
        points = [(row["epoch"], row[column]) for row in rows if row.get(column) is not None]
        left.plot(*zip(*points, strict=True) if points else ((), ()), style, color=color, label=label, markersize=4)
    left.set(xlabel="epoch", ylabel="fraction of correct predictions", ylim=(0, 1.02))
    points = [(row["epoch"], row["loss"]) for row in rows if row.get("loss") is not None]
    right.plot(*zip(*points, strict=True) if points else ((), ()), ".-", color=styles.BLACK, markersize=4)
    points = [(row["epoch"], row["adversary_loss"]) for row in rows if row.get("adversary_loss") is not None]
    if points:
        right.lines[0].set_label("chosen variables")
        right.plot(*zip(*points, strict=True), ".--", color=styles.RED, markersize=4, label="adversary")
        right.legend(frameon=False, fontsize=7)
    if layout.given_width() is None:
        left.legend(frameon=False, fontsize=7)
    else:
        layout.key(left)
    right.set(xlabel="epoch", ylabel="loss on counterfactual labels")
    for axes in (left, right):
        drawing.tidy(axes)
    return figure


def controls(rows: Sequence[Row]) -> Figure:
    """Draws IIA before, after and of each control, for pairs whose label changes and the others; 95 % intervals."""
    names = list(dict.fromkeys((row["phase"], row["control"]) for row in rows))
    figure = layout.blank(7.5, 1.2 + (0.34 if layout.is_narrow(7.5) else 0.5) * len(names))
    axes = figure.subplots()
    looks = {"changed": styles.style(1).bar, "unchanged": styles.style(0).bar}
    for number, (subset, look) in enumerate(looks.items()):
        for position, name in enumerate(names):
            (row,) = [row for row in rows if (row["phase"], row["control"], row["subset"]) == (*name, subset)]
            middle = position + (number - 0.5) * 0.36
            label = f"label {subset} ({row['n_pairs']:,} pairs)" if position == 0 else None
            axes.barh(middle, row["iia"], 0.33, label=label, **look)
            if row["n_pairs"]:
                error = [[row["iia"] - row["iia_low"]], [row["iia_high"] - row["iia"]]]
                axes.errorbar(row["iia"], middle, xerr=error, fmt="none", ecolor="black", elinewidth=0.8)
    for position, name in enumerate(names):
        row = next(row for row in rows if (row["phase"], row["control"], row["subset"]) == (*name, "all"))
        label = "IIA, all pairs" if position == 0 else None
        axes.plot([row["iia"]] * 2, [position - 0.4, position + 0.4], color="black", label=label)
    titles = [phase if control == NONE else control.replace("_", " ") for phase, control in names]
    axes.set_yticks(range(len(names)), titles)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.02), xlabel="IIA", title=f"{rows[0]['variables']} at {rows[0]['site']}")
    drawing.tidy(axes)
    layout.key(axes, size=8)
    return figure


def adversary(rows: Sequence[Row], sources: Mapping[str, str]) -> Figure:
    """Draws IIA of the chosen and the adversary's variables in each network, by the training's and a fresh rotation.

    Bars have 95 % intervals. A black line is the floor, a dotted one what the network's answers without a swap give.

    Args:
        rows: of metrics.csv of one cell and start.
        sources: swapped variables → the kind of pairs that is drawn.
    """
    networks = {
        ("before", NONE): ("before", {**styles.style(3).bar, "hatch": ""}),
        ("after", NONE): ("after", styles.style(0).bar),
        ("control", NO_ADVERSARY): ("after, no adversary", styles.style(1).bar),
    }
    kinds = {OWN: "training's rotation", FRESH: "fresh rotation"}
    shown = [row for row in rows if row["subset"] == "all" and sources[row["swapped"]] == row["sources"]]
    groups = [(swapped, rotation) for swapped in sources for rotation in kinds]
    figure = layout.blank(9.5, 3.8)
    axes = figure.subplots()
    for number, (network, (title, look)) in enumerate(networks.items()):
        for position, group in enumerate(groups):
            middle = position + (number - 1) * 0.27
            for row in shown:
                if (row["phase"], row["control"], row["swapped"], row["rotation"]) != (*network, *group):
                    continue
                accuracy = f"{title} (task {row['task_accuracy']:.3f})"
                axes.bar(middle, row["iia"], 0.25, label=accuracy if group == groups[1] else None, **look)
                error = [[row["iia"] - row["iia_low"]], [row["iia_high"] - row["iia"]]]
                axes.errorbar(middle, row["iia"], yerr=error, fmt="none", ecolor="black", elinewidth=0.8)
                ends = [middle - 0.125, middle + 0.125]
                axes.plot(ends, [row["iia_unswapped"]] * 2, ":", color="black", linewidth=1)
    for position, (swapped, _) in enumerate(groups):
        (floor,) = {row["floor"] for row in shown if row["swapped"] == swapped}
        label = "floor" if position == 0 else None
        axes.plot([position - 0.45, position + 0.45], [floor] * 2, color="black", linewidth=1, label=label)
    names = list(sources)
    roles = {names[0]: "chosen", names[1]: "adversary"}
    texts = [f"{roles[swapped]}:\n{swapped}\n{kinds[rotation]}" for swapped, rotation in groups]
    axes.set_xticks(range(len(groups)), texts)
    axes.set(ylim=(0, 1.02), ylabel="IIA", title=f"at {rows[0]['site']}")
    drawing.tidy(axes)
    layout.key(axes)
    return figure


def heat_map(rows: Sequence[Row]) -> Figure:
    """Draws IIA by set of variables (down) and site (across), of all pairs and of those whose label changes.

    Args:
        rows: of metrics.csv, one run's or several's; of several starts or runs the mean is shown.
    """
    variables = list(dict.fromkeys(row["variables"] for row in rows))
    sites = list(dict.fromkeys(row["site"] for row in rows))
    needed = 3 + 1.5 * len(sites)
    row = 0.3 if layout.is_narrow(needed) else 0.5
    letters = max(map(len, variables))
    least = 0.5 + 0.32 * len(sites) + letters * layout.LETTER / 2
    figure, panels = layout.panels(1, 2, (needed / 2, 1.4 + row * len(variables)), (0, 0.4), least=least)
    for axes, subset in zip(panels[0], ("all", "changed"), strict=True):
        grid = np.full((len(variables), len(sites)), np.nan)
        for down, across in np.ndindex(grid.shape):
            own = [
                row["iia"]
                for row in rows
                if (row["subset"], row["variables"], row["site"]) == (subset, variables[down], sites[across])
            ]
            grid[down, across] = np.mean(own) if own else np.nan
        shown = axes.imshow(grid, cmap="magma", vmin=0, vmax=1, aspect="auto")
        texts = {at: f"{value:.2f}" for at, value in np.ndenumerate(grid) if not np.isnan(value)}
        layout.numbers(axes, texts, grid < 0.6, size=8)
        axes.set_xticks(range(len(sites)), sites, rotation=30, ha="right")
        is_left = layout.is_first(int(subset != "all"), 2, least=least)
        axes.set_yticks(range(len(variables)), variables if is_left else [""] * len(variables))
        axes.set_title("all pairs" if subset == "all" else f"pairs whose label is {subset}", fontsize=9)
    figure.colorbar(shown, ax=list(panels[0]), label="IIA")
    return figure


def examples(
    dataset: Dataset,
    places: Sequence[Sequence[str]],
    base: Tensor,
    sources: Tensor,
    nearest: Tensor,
    labels: Tensor,
    answers: Tensor,
) -> Figure:
    """Draws test pairs, one a row: base, sources, and the test image nearest to the counterfactual variables.

    Args:
        places: for each source the variables that are taken from it.
        base, nearest: `(P,)` indices of test examples.
        sources: `(P, S)`.
        labels, answers: `(P,)` counterfactual labels, and what the network answers under intervention.
    """
    assert dataset.image_shape is not None
    columns = [base, *sources.unbind(1), nearest]
    figure = layout.blank(1.4 * len(columns), (0.8 if layout.is_narrow(1.4 * len(columns)) else 1.15) * len(base) + 0.4)
    grid = figure.subplots(len(base), len(columns), squeeze=False)
    of_places = [f"source of\n{', '.join(place)}" for place in places]
    titles = ["base", *of_places, "test image nearest to\nthe counterfactual"]
    low, high = (float(f(dataset.x_test)) for f in (torch.min, torch.max))
    for number, (axes_of_row, *indices) in enumerate(zip(grid, *columns, strict=True)):
        for axes, index, title in zip(axes_of_row, indices, titles, strict=True):
            picture = drawing.picture(dataset.x_test[index].reshape(dataset.image_shape))
            axes.imshow(picture, cmap="gray", vmin=low, vmax=high)
            axes.set(xticks=[], yticks=[])
            axes.set_title(title if number == 0 else "", fontsize=8)
            axes.set_ylabel(f"label {_label(dataset, dataset.y_test[index])}", fontsize=7)
        text = f"should be {_label(dataset, labels[number])}\nanswered {_label(dataset, answers[number])}"
        axes_of_row[-1].set_ylabel(text, fontsize=7)
    return figure


def _label(dataset: Dataset, label: Tensor) -> str:
    return dataset.class_names[int(label)] if dataset.class_names is not None else f"{float(label):g}"
