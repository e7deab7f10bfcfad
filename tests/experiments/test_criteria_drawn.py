"""What the figures of criteria draw, of hand-made rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mi_runner.experiments.common import drawing
from mi_runner.experiments.criteria import figures
from tests.drawn import Row, near, ticks, words

OF = {"ablation": "mean", "output": "all"}


def pair(one: str, other: str, tau: float | None, overlap: float | None) -> Row:
    return {**OF, "criterion": one, "other": other, "tau": tau, "overlap": overlap}


PAIRS = [pair("a", "b", 0.75, 0.5), pair("a", "c", -0.25, None), pair("b", "c", None, 0.125)]


@pytest.mark.parametrize(
    ("draw", "column", "scale"), [(figures.taus, "tau", (-1, 1)), (figures.overlaps, "overlap", (0, 1))]
)
def test_a_matrix_of_pairs(draw: object, column: str, scale: tuple[float, float]) -> None:
    drawn = draw(PAIRS)  # type: ignore[operator]
    figure = drawn()
    axes = figure.axes[0]
    assert words(figure)[0] == ("", "", "mean ablation, all outputs\ngrey: none")
    assert ticks(axes, "x") == ticks(axes, "y") == {0: "a", 1: "b", 2: "c"}
    (image,) = axes.images
    assert image.get_clim() == scale
    expected = np.full((3, 3), math.nan)
    for row in PAIRS:
        one, other = "abc".index(row["criterion"]), "abc".index(row["other"])
        if row[column] is not None:
            expected[one, other] = expected[other, one] = row[column]
    assert np.array_equal(np.ma.filled(image.get_array().astype(float), math.nan), expected, equal_nan=True)
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    shown = {(j, i): f"{expected[i, j]:.2f}".replace("-", "−") for i, j in np.argwhere(~np.isnan(expected)).tolist()}
    assert texts == shown


def test_survivors_step_by_step() -> None:
    rows = [
        {**OF, "criterion": "a", "n_survivors": 40, "share": 0.4, "chance": 0.3, "untrained": 1.0},
        {**OF, "criterion": "b", "n_survivors": 5, "share": 0.05, "chance": 0.0, "untrained": None},
    ]
    drawn = figures.steps(rows, 100)
    assert drawn is not None
    figure = drawn()
    (axes,) = figure.axes
    assert words(figure) == [("", "share that survives", "mean ablation, all outputs: survivors of 100 valid circuits")]
    assert ticks(axes, "x") == {0: "a", 1: "+ b"} and axes.get_yscale() == "symlog"
    lines = {line.get_label(): line for line in axes.lines}
    for column, (label, colour, _) in figures.POPULATIONS.items():
        heights = [math.nan if row[column] is None else row[column] for row in rows]
        assert np.array_equal(lines[label].get_ydata(), heights, equal_nan=True) and lines[label].get_color() == colour
    assert figures.POPULATIONS["chance"][1] == drawing.REFERENCE
    assert [text.get_text() for text in axes.texts] == ["40", "5"]
    assert [text.get_position()[0] for text in axes.texts] == near([0, 1])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [label for label, _, _ in figures.POPULATIONS.values()]


def test_without_controls_only_valid_circuits_are_drawn() -> None:
    drawn = figures.steps([{**OF, "criterion": "a", "n_survivors": 0, "share": 0.0}], 3)
    assert drawn is not None
    (axes,) = drawn().axes
    assert [line.get_label() for line in axes.lines] == ["valid circuits"]


def test_nothing_is_drawn_of_nothing() -> None:
    assert figures.taus([]) is None and figures.overlaps([]) is None and figures.steps([], 0) is None
