"""What the figures of ablations draw, of hand-made rows."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_rgba

from mi_runner.experiments.ablation import figures as ablation_figures
from tests.drawn import Row, legend, near, segments, ticks, uneven, words


def ablated() -> list[Row]:
    rows: list[Row] = [{"target": "none", "method": "none", "repeat": 1, **uneven(0.9, 0)}]
    number = 0
    for target, base in (("relu", 0.2), ("x/add", 0.5)):
        for method, draws in (("zero", 1), ("resample", 2)):
            for repeat in range(1, draws + 1):
                number += 1
                value = base + 0.02 * number
                rows.append({"target": target, "method": method, "repeat": repeat, **uneven(value, number)})
    return rows


def test_accuracy_after_each_ablation() -> None:
    rows = ablated()
    (axes,) = ablation_figures.accuracy(rows).axes
    assert words(axes.figure) == [("test accuracy", "ablated", "")]
    assert ticks(axes, "y") == {0: "relu", 1: "x/add"} and axes.yaxis_inverted()
    assert list(legend(axes)) == ["intact", "zero", "resample (mean of 2)"]
    colours = {method: to_rgba(ablation_figures.COLORS[method]) for method in ("zero", "resample")}
    assert legend(axes)["zero"] == colours["zero"] and legend(axes)["resample (mean of 2)"] == colours["resample"]
    order = [row for method in ("zero", "resample") for row in rows[1:] if row["method"] == method]
    found = segments(axes)
    assert [(x0, x1) for x0, _, x1, _ in found] == near([(row["accuracy_low"], row["accuracy_high"]) for row in order])
    for (_, y0, _, y1), row in zip(found, order, strict=True):
        assert y0 == y1 and abs(y0 - ("relu", "x/add").index(row["target"])) < 0.5
        assert bool(y0 < round(y0)) is (row["method"] == "zero")
    bars = {
        (round(bar.get_y() + bar.get_height() / 2), to_rgba(bar.get_facecolor())): bar.get_width()
        for bar in axes.patches
    }
    for target, place in (("relu", 0), ("x/add", 1)):
        for method in ("zero", "resample"):
            values = [row["accuracy"] for row in rows if (row["target"], row["method"]) == (target, method)]
            assert bars[place, colours[method]] == pytest.approx(sum(values) / len(values))
    (line,) = (line for line in axes.lines if line.get_label() == "intact")
    assert list(line.get_xdata()) == [0.9, 0.9]


def test_drops_of_units() -> None:
    rows = [
        {"target": target, "method": method, "accuracy_drop": drop}
        for target, by_method in {
            "relu": {"zero": (0.1, 0.3, 0.2), "mean": (0.0, -0.1, 0.05)}, "add": {"zero": (0.4,), "mean": (0.6,)},
        }.items()
        for method, drops in by_method.items()
        for drop in drops
    ]  # fmt: skip
    figure = ablation_figures.unit_drops(rows)
    assert words(figure) == [("", "accuracy lost", "relu"), ("units, by accuracy lost", "accuracy lost", "add")]
    first, last = figure.axes
    assert {line.get_label(): list(line.get_ydata()) for line in first.lines[:2]} == {
        "zero": [0.3, 0.2, 0.1], "mean": [0.05, 0.0, -0.1],
    }  # fmt: skip
    assert legend(last) == {method: to_rgba(ablation_figures.COLORS[method]) for method in ("zero", "mean")}
