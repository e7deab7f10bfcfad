"""Pictures of a sweep: what is measured by swept value, and by row of the jobs' tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mi_runner.experiments import Drawing
from mi_runner.experiments.common import drawing
from mi_runner.machine import layout
from mi_runner.sweeps.drawn_metrics import MOST_PANELS, ByValues, Panel
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row
from mi_runner.tables.intervals import FEW, Spread
from mi_runner.tables.names import NONE
from mi_runner.tables.over_seeds import Summed
from mi_runner.tables.ranges import NOT_NEGATIVE

CIRCLE: dict[str, Any] = {"markersize": 5, "markerfacecolor": "none", "markeredgewidth": 0.7, "alpha": 0.8}
"""How one seed's value is drawn beside the mean."""

MOST_SERIES = 8

SPREAD = 0.7
"""How far the series at a value that is no number lie apart; the next value is at 1."""

MOST_LETTERS = 34
"""Letters of the name of a row."""


def by_value(found: ByValues, panels: Sequence[Panel] = ()) -> Figure:
    """Returns a figure of the mean and interval of numbers of the summary by swept value.

    Args:
        found: for each combination, the swept values without the seed, and the spread of each metric.
        panels: what each panel draws; none: the first numbers that there are.
    """
    names = list(dict.fromkeys(name for _, metrics in found for name in metrics))[:MOST_PANELS]
    panels = panels or [Panel(name, {"": name}) for name in names]
    keys = list(found[0][0])
    along = max(keys, key=lambda key: len({swept[key] for swept, _ in found}), default=None)
    values: list[Any] = list(dict.fromkeys(swept[along] for swept, _ in found)) if along else [""]
    letters = max(len(str(value)) for value in values)
    height = 2.6 if layout.is_narrow(3.6) else 3.4
    figure, grid = layout.panels(
        1, len(panels), (3.6, height), (1.2, 0), least=2.4 if letters * len(values) > 12 else 1.5
    )
    for axes, panel in zip(grid[0], panels, strict=True):
        _draw_panel(axes, found, panel, along, values)
    labels = layout.labelled(*grid[0])
    if len(labels) > 1:
        n_series = len({_others(swept, along) for swept, _ in found})
        left_out = f"{n_series - MOST_SERIES} more are not shown" if n_series > MOST_SERIES else None
        if layout.given_width() is None and len(labels) <= MOST_SERIES:
            axes.legend(labels.values(), labels.keys(), frameon=False, fontsize=7, title=left_out, title_fontsize=7)
        else:
            layout.key_below(figure, labels, title=left_out, columns=4)
    spreads = [
        metrics[name] for _, metrics in found for panel in panels for name in panel.metrics.values() if name in metrics
    ]
    if max(spread.n for spread in spreads) > 1:
        figure.suptitle(_over_seeds(spreads), fontsize=9)
    return figure


def _others(swept: Row, along: str | None) -> str:
    """Returns the swept values of a combination besides that along the axis."""
    return " ".join(f"{key}={value}" for key, value in swept.items() if key != along)


def _draw_panel(axes: Axes, found: ByValues, panel: Panel, along: str | None, values: Sequence[Any]) -> None:
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    position = {value: value if numeric else index for index, value in enumerate(values)}
    series: dict[str, list[tuple[Any, Spread]]] = {}
    combinations = list(dict.fromkeys(_others(swept, along) for swept, _ in found))[:MOST_SERIES]
    for part, name in panel.metrics.items():
        for swept, metrics in found:
            others = _others(swept, along)
            if name in metrics and others in combinations:
                label = " ".join(filter(None, (part, others)))
                series.setdefault(label, []).append((position[swept[along] if along else ""], metrics[name]))
    for index, (label, points) in enumerate(series.items()):
        part = next((part for part in panel.metrics if part and label.startswith(part)), "")
        look = styles.of_method(part) if part and len(combinations) == 1 else styles.style(index)
        here = sorted(points, key=lambda point: point[0])
        beside = 0.0 if numeric else (index - (len(series) - 1) / 2) * SPREAD / len(series)
        places = [x + beside for x, _ in here]
        mean = np.array([spread.mean for _, spread in here])
        low, high = np.array([_ends(spread) for _, spread in here], dtype=float).T
        axes.errorbar(
            places, mean, yerr=[mean - low, high - mean], fmt=look.marker, markersize=4, capsize=3,
            elinewidth=1, linewidth=1.2, linestyle=look.dashes if numeric else "none", color=look.color, label=label,
        )  # fmt: skip
        for x, (_, spread) in zip(places, here, strict=True):
            axes.plot([x] * len(_seeds(spread)), _seeds(spread), "o", color=look.color, **CIRCLE)
    if numeric and min(values) > 0 and max(values) >= 100 * min(values):
        axes.set_xscale("log")
    elif numeric:
        axes.locator_params(axis="x", nbins=5)  # with more, long numbers overlap
    else:
        axes.set_xticks(range(len(values)), [drawing.short(str(value)) for value in values], rotation=30, ha="right")
        axes.set_xlim(-0.5, len(values) - 0.5)
    drawn = [spread for points in series.values() for _, spread in points]
    ends = [end for spread in drawn for end in _ends(spread)]
    # A loss's interval over two seeds is so long that nothing else could be seen beside it.
    if any(spread.within == NOT_NEGATIVE for spread in drawn) and min(ends) > 0:
        axes.set_yscale("log" if max(ends) >= 100 * min(ends) else "linear")
    axes.set(xlabel=along or "", ylabel=panel.label)
    drawing.tidy(axes)


def by_row(
    summed: Sequence[Summed], combination: Sequence[str], common_names: Mapping[str, str] | None = None
) -> Drawing | None:
    """Returns a drawing of a measure's mean and interval for every row of the jobs' tables, in colours by swept values.

    Few seeds have a circle each. None where that would be one row, or too many. Where combinations differ in the names
    of their rows, as networks of two architectures do, rows have the names that these share.

    Args:
        common_names: a column that names rows → the column that has the same in shared names.
    """
    common_names = common_names or {}
    series: dict[str, list[Summed]] = {}
    for one in summed:
        of_job = " ".join(f"{key}={one.name[key]}" for key in combination if key in one.name)
        series.setdefault(of_job, []).append(one)

    def label(one: Summed, *, shared: bool) -> str:
        columns = [key for key in one.name if key not in (*combination, *common_names.values())]
        found = [
            str(one.name.get(common_names.get(key, key) if shared else key, one.name[key]))
            for key in columns
            if key in telling
        ]
        return " ".join(text for text in found if text != NONE) or (f"no {columns[0]}" if columns else "")

    names = [one.name for one in summed]
    telling = {key for name in names for key in name if len({other.get(key) for other in names}) > 1}
    own = [{label(one, shared=False) for one in members} for members in series.values()]
    shared = any(names != own[0] for names in own)
    named = {of_job: [(label(one, shared=shared), one.spread) for one in members] for of_job, members in series.items()}
    labels = list(dict.fromkeys(label for rows in named.values() for label, _ in rows))
    if not 1 < len(labels) <= drawing.MOST_LABELS or len(series) > MOST_SERIES:
        return None
    title = f"{summed[0].measure}: {_over_seeds([one.spread for one in summed])}"
    return partial(_rows, named, labels, title)


def _rows(named: Mapping[str, Sequence[tuple[str, Spread]]], labels: Sequence[str], title: str) -> Figure:
    rooms = max(0.24, 0.09 * len(named)) if layout.given_width() is not None else 0.24
    figure = layout.blank(8, 1.2 + rooms * len(labels))
    axes = figure.subplots()
    for index, (of_job, rows) in enumerate(named.items()):
        look = styles.style(index)
        color = look.color
        for name, spread in rows:
            height = labels.index(name) + (index - (len(named) - 1) / 2) * 0.6 / len(named)
            axes.plot(spread.mean, height, marker=look.marker, markersize=4, color=color, linestyle="none")
            axes.plot(_ends(spread), [height, height], color=color, linewidth=1.2)
            axes.plot(_seeds(spread), [height] * len(_seeds(spread)), look.marker, color=color, **CIRCLE)
        axes.plot([], [], marker=look.marker, markersize=4, color=color, label=of_job or "all jobs")
    axes.set_yticks(
        range(len(labels)),
        [label if len(label) <= MOST_LETTERS else f"{label[: MOST_LETTERS - 1]}…" for label in labels],
    )
    axes.invert_yaxis()
    axes.set(xlabel=title)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    drawing.tidy(axes)
    if list(named) != [""]:
        layout.key(axes, size=8)
    return figure


def _ends(spread: Spread) -> tuple[float, float]:
    """Returns the ends of the interval that is drawn; if there is none, the mean twice."""
    return (spread.mean, spread.mean) if spread.low is None or spread.high is None else (spread.low, spread.high)


def _seeds(spread: Spread) -> tuple[float, ...]:
    """Returns the values that are drawn one by one."""
    return spread.values if 1 < spread.n <= FEW else ()


def _over_seeds(spreads: Sequence[Spread]) -> str:
    """Returns in words what is drawn."""
    circles = "; a circle: one seed" if any(map(_seeds, spreads)) else ""
    counts = sorted({spread.n for spread in spreads})
    interval = ", 95 % interval" if any(spread.low is not None for spread in spreads) else ""
    return f"mean over {'–'.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seeds{interval}{circles}"
