"""Pictures of a sweep: what is measured by swept value, and by row of the jobs' tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mi_runner.experiments import Drawing
from mi_runner.experiments.common import drawing
from mi_runner.tables.declaration import Row
from mi_runner.tables.intervals import FEW, Spread
from mi_runner.tables.over_seeds import Summed
from mi_runner.tables.ranges import NOT_NEGATIVE

CIRCLE: dict[str, Any] = {"markersize": 5, "markerfacecolor": "none", "markeredgewidth": 0.7, "alpha": 0.8}
"""How one seed's value is drawn beside the mean."""

MOST_METRICS = 3
MOST_SERIES = 8


def by_value(found: Sequence[tuple[Row, Mapping[str, Spread]]]) -> Figure:
    """Returns a figure of each summary metric's mean and interval by swept value, a panel a metric.

    Args:
        found: for each combination, the swept values without the seed, and the spread of each metric.
    """
    keys = list(found[0][0])
    along = max(keys, key=lambda key: len({swept[key] for swept, _ in found}), default=None)
    names = list(dict.fromkeys(name for _, metrics in found for name in metrics))[:MOST_METRICS]
    figure = Figure(figsize=(1.2 + 3.6 * len(names), 3.4), layout="constrained")
    values: list[Any] = list(dict.fromkeys(swept[along] for swept, _ in found)) if along else [""]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    position = {value: value if numeric else index for index, value in enumerate(values)}
    series: dict[str, list[tuple[Any, Mapping[str, Spread]]]] = {}
    for swept, metrics in found:
        label = " ".join(f"{key}={value}" for key, value in swept.items() if key != along)
        series.setdefault(label, []).append((position[swept[along] if along else ""], metrics))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for index, (label, points) in enumerate(list(series.items())[:MOST_SERIES]):
            here = sorted(((x, metrics[name]) for x, metrics in points if name in metrics), key=lambda point: point[0])
            mean = np.array([spread.mean for _, spread in here])
            low, high = np.array([_ends(spread) for _, spread in here], dtype=float).T if here else (mean, mean)
            axes.errorbar(
                [x for x, _ in here],
                mean,
                yerr=[mean - low, high - mean],
                marker=".",
                linestyle="-" if numeric else "none",
                capsize=3,
                elinewidth=1,
                color=f"C{index % 10}",
                label=label,
            )
            for x, spread in here:
                axes.plot([x] * len(_seeds(spread)), _seeds(spread), "o", color=f"C{index % 10}", **CIRCLE)
        if numeric and min(values) > 0 and max(values) >= 100 * min(values):
            axes.set_xscale("log")
        elif numeric:
            axes.locator_params(axis="x", nbins=5)  # with more, long numbers overlap
        else:
            axes.set_xticks(range(len(values)), [str(value) for value in values], rotation=30, ha="right")
            axes.set_xlim(-0.5, len(values) - 0.5)
        ends = [end for _, metrics in found if name in metrics for end in _ends(metrics[name])]
        # A loss's interval over two seeds is so long that nothing else could be seen beside it.
        if any(metrics[name].within == NOT_NEGATIVE for _, metrics in found if name in metrics) and min(ends) > 0:
            axes.set_yscale("log" if max(ends) >= 100 * min(ends) else "linear")
        axes.set(xlabel=along or "", ylabel=name)
        drawing.tidy(axes)
    if len(series) > 1:
        left_out = f"{len(series) - MOST_SERIES} more are not shown" if len(series) > MOST_SERIES else None
        axes.legend(frameon=False, fontsize=7, title=left_out, title_fontsize=7)
    spreads = [spread for _, metrics in found for spread in metrics.values()]
    if max(spread.n for spread in spreads) > 1:
        figure.suptitle(_over_seeds(spreads), fontsize=9)
    return figure


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
        return " ".join(
            str(one.name.get(common_names.get(key, key) if shared else key, one.name[key])) for key in columns
        )

    own = [{label(one, shared=False) for one in members} for members in series.values()]
    shared = any(names != own[0] for names in own)
    named = {of_job: [(label(one, shared=shared), one.spread) for one in members] for of_job, members in series.items()}
    labels = list(dict.fromkeys(label for rows in named.values() for label, _ in rows))
    if not 1 < len(labels) <= drawing.MOST_LABELS or len(series) > MOST_SERIES:
        return None
    title = f"{summed[0].measure}: {_over_seeds([one.spread for one in summed])}"
    return partial(_rows, named, labels, title)


def _rows(named: Mapping[str, Sequence[tuple[str, Spread]]], labels: Sequence[str], title: str) -> Figure:
    figure = Figure(figsize=(8, 1.2 + 0.24 * len(labels)), layout="constrained")
    axes = figure.subplots()
    for index, (of_job, rows) in enumerate(named.items()):
        color = f"C{index % 10}"
        for name, spread in rows:
            height = labels.index(name) + (index - (len(named) - 1) / 2) * 0.6 / len(named)
            axes.plot(spread.mean, height, marker="o", markersize=4, color=color, linestyle="none")
            axes.plot(_ends(spread), [height, height], color=color, linewidth=1.2)
            axes.plot(_seeds(spread), [height] * len(_seeds(spread)), "o", color=color, **CIRCLE)
        axes.plot([], [], marker="o", markersize=4, color=color, label=of_job or "all jobs")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set(xlabel=title)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    drawing.tidy(axes)
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
