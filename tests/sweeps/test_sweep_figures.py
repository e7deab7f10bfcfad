"""What the figures of sweeps draw, of hand-made rows."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from mi_runner.experiments.common import drawing
from mi_runner.sweeps import sweep_figures
from mi_runner.tables import styles
from mi_runner.tables.intervals import Spread
from mi_runner.tables.over_seeds import Summed
from mi_runner.tables.ranges import NOT_NEGATIVE, SHARE, Range
from tests.drawn import legend, near, segments, ticks, words


def spread(mean: float, number: int, n: int = 5, within: Range = SHARE) -> Spread:
    """A spread whose interval is longer upwards, and of other lengths for each number."""
    low, high = (None, None) if n == 1 else (mean - 0.01 * (number + 1), mean + 0.03 * (number + 2))
    return Spread(tuple(mean + 0.001 * seed for seed in range(n)), mean, 0.1, low, high, within)


def test_metrics_by_swept_value() -> None:
    found = [
        (
            {"width": width, "model": model},
            {"accuracy": spread(0.3 + 0.01 * n, n), "loss": spread(1.0 + 0.1 * n, n + 4, within=NOT_NEGATIVE)},
        )
        for n, (width, model) in enumerate((width, model) for width in (8, 2, 4) for model in ("mlp", "cnn"))
    ]
    figure = sweep_figures.by_value(found)
    assert words(figure) == [("width", "accuracy", ""), ("width", "loss", "")]
    assert figure.get_suptitle() == "mean over 5 seeds, 95 % interval"
    for axes, name in zip(figure.axes, ("accuracy", "loss"), strict=True):
        assert list(legend(axes)) == ["model=mlp", "model=cnn"]
        for model, container in zip(("mlp", "cnn"), axes.containers, strict=True):
            own = sorted(
                ((swept["width"], metrics[name]) for swept, metrics in found if swept["model"] == model),
                key=lambda point: point[0],
            )
            points, _, (bars,) = container.lines
            assert list(points.get_xdata()) == [2, 4, 8] and points.get_ydata() == near([one.mean for _, one in own])
            assert [tuple(segment.ravel()) for segment in np.array(bars.get_segments())] == [
                near((x, one.low, x, one.high)) for x, one in own
            ]
    few = sweep_figures.by_value(
        [({"model": "mlp"}, {"accuracy": spread(0.5, 0, n=2)}), ({"model": "cnn"}, {"accuracy": spread(0.7, 1, n=1)})]
    )
    (axes,) = few.axes
    assert ticks(axes, "x") == {0: "mlp", 1: "cnn"} and words(few) == [("model", "accuracy", "")]
    assert few.get_suptitle() == "mean over 1–2 seeds, 95 % interval; a circle: one seed"
    circles = [
        (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.lines
        if line.get_markerfacecolor() == "none" and len(line.get_xdata())
    ]
    assert circles == [([0, 0], [0.5, 0.501])]
    assert segments(axes) == near([(0, 0.49, 0, 0.56), (1, 0.7, 1, 0.7)])


def test_rows_of_a_sweep() -> None:
    summed = [
        Summed({"model": model, "target": target, "role": role}, "accuracy", spread(0.2 + 0.05 * n, n, n=5))
        for n, (model, target, role) in enumerate(
            (("mlp", "layers.1", "h1"), ("mlp", "layers.3", "h2"), ("skip", "relu", "h1"), ("skip", "add", "h2"))
        )
    ]
    drawing = sweep_figures.by_row(summed, ["model"], {"target": "role"})
    assert drawing is not None
    (axes,) = drawing().axes
    assert words(axes.figure) == [("accuracy: mean over 5 seeds, 95 % interval", "", "")]
    assert ticks(axes, "y") == {0: "h1", 1: "h2"} and axes.yaxis_inverted()
    assert legend(axes) == {
        "model=mlp": to_rgba(styles.style(0).color), "model=skip": to_rgba(styles.style(1).color),
    }  # fmt: skip
    dots = {
        (line.get_color(), round(line.get_ydata()[0])): line.get_xdata()[0]
        for line in axes.lines
        if line.get_marker() in "os" and line.get_linestyle() == "None" and len(line.get_xdata()) == 1
    }
    spans = {
        (line.get_color(), round(line.get_ydata()[0])): tuple(line.get_xdata())
        for line in axes.lines
        if len(line.get_xdata()) == 2
    }
    first, second = styles.style(0).color, styles.style(1).color
    keys = [(first, 0), (first, 1), (second, 0), (second, 1)]
    assert dots == {key: one.spread.mean for key, one in zip(keys, summed, strict=True)}
    assert spans == {key: (one.spread.low, one.spread.high) for key, one in zip(keys, summed, strict=True)}
    assert sweep_figures.by_row(summed[:1], ["model"]) is None


@pytest.mark.parametrize(
    ("values", "scale"), [((1, 100), "log"), ((1, 99), "linear"), ((0, 100), "linear"), ((-1, 100), "linear")]
)
def test_wide_ranges_have_a_logarithmic_scale(values: tuple[int, int], scale: str) -> None:
    """Of swept values from a factor of 100 on; of a measure that is never negative likewise, of its ends."""
    figure = sweep_figures.by_value([({"width": value}, {"accuracy": spread(0.5, 0)}) for value in values])
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == (scale, "linear")
    lowest, highest = (Spread((float(value),), float(value), None, None, None, NOT_NEGATIVE) for value in values)
    figure = sweep_figures.by_value([({"width": 1}, {"loss": lowest}), ({"width": 2}, {"loss": highest})])
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("linear", scale)


def test_up_to_three_seeds_have_a_circle_each_and_rows_have_an_end() -> None:
    for n, circles in ((1, 0), (2, 2), (3, 3), (4, 0)):
        (axes,) = sweep_figures.by_value([({"width": 1}, {"accuracy": spread(0.5, 0, n=n)})]).axes
        assert sum(len(line.get_xdata()) for line in axes.lines if line.get_markerfacecolor() == "none") == circles
    rows = [Summed({"target": str(n)}, "accuracy", spread(0.5, 0)) for n in range(drawing.MOST_LABELS + 1)]
    assert sweep_figures.by_row(rows, []) is None and sweep_figures.by_row(rows[1:], []) is not None


def test_series_at_values_that_are_no_numbers_stand_beside_each_other() -> None:
    found = [
        ({"function": function, "width": width}, {"accuracy": spread(0.5, 0)})  # the same numbers everywhere
        for function in ("AND", "XOR")
        for width in ("two", "four", "eight")
    ]
    (axes,) = sweep_figures.by_value(found).axes
    places = sorted(float(x) for container in axes.containers for x in container[0].get_xdata())
    assert len(places) == 6 and min(np.diff(places)) > 0.2
    assert [round(x) for x in places] == [0, 0, 1, 1, 2, 2] and list(ticks(axes, "x").values()) == [
        "two",
        "four",
        "eight",
    ]
