"""Pictures that experiments share: the confusion matrix, strips and mosaics."""

from __future__ import annotations

import numpy as np

from mi_runner.experiments.common import drawing
from tests.drawn import near, ticks, words


def test_confusion_has_labels_down_and_predictions_across() -> None:
    rows = [
        {"label": 0, "predicted": 1, "count": 3},
        {"label": 0, "predicted": 0, "count": 5},
        {"label": 1, "predicted": 1, "count": 7},
    ]
    (axes,) = drawing.confusion(rows, ("no", "yes"))["confusion"]().axes
    assert words(axes.figure) == [("prediction", "label", "intact network, test set")]
    assert ticks(axes, "y") == {0: "no", 1: "yes"} == ticks(axes, "x")
    assert {text.get_position(): text.get_text() for text in axes.texts} == {(0, 0): "5", (1, 0): "3", (1, 1): "7"}


def test_strips_have_their_titles_captions_and_scales() -> None:
    rows = [
        ("upper", [np.zeros((2, 2)), np.ones((2, 2))], "gray"),
        ("lower", [np.ones((2, 2)), np.full((2, 2), 3.0)], "viridis"),
    ]
    figure = drawing.strips(rows, ["left", "right"], "both")
    assert [title for _, _, title in words(figure)[:2]] == ["upper", "lower"] and figure.get_suptitle() == "both"
    for axes, (_, pictures, cmap) in zip(figure.axes, rows, strict=False):
        assert list(ticks(axes, "x").values()) == ["left", "right"] and list(ticks(axes, "x")) == [0.5, 2.5]
        assert np.asarray(axes.images[0].get_array()) == near(np.concatenate(pictures, 1))
        assert axes.images[0].get_cmap().name == cmap


def test_a_mosaic_has_each_picture_below_its_caption() -> None:
    pictures = [np.full((10, 10), float(number)) for number in range(3)]
    figure = drawing.mosaic(pictures, ["a", "b", "c"], "three", cmap="gray")
    (axes,) = figure.axes
    assert figure.get_suptitle() == "three"
    canvas = np.asarray(axes.images[0].get_array(), dtype=float)
    for number, text in enumerate(axes.texts):
        middle, above = text.get_position()
        assert text.get_text() == "abc"[number]
        assert (
            canvas[int(np.ceil(above)) + 2 : int(np.ceil(above)) + 8, int(middle) - 3 : int(middle) + 3] == number
        ).all()
