"""A `$` in a name of the user's is drawn as a dollar; matplotlib would take what stands between two for mathematics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mi_runner.machine import drawing

BAD = r"a$\frac$b"
"""What matplotlib can't read as mathematics."""

PLACES: dict[str, Callable[[Figure, Any, str], object]] = {
    "title": lambda figure, axes, text: axes.set_title(text),
    "figure's title": lambda figure, axes, text: figure.suptitle(text),
    "axis": lambda figure, axes, text: axes.set_xlabel(text),
    "ticks": lambda figure, axes, text: axes.set_yticks([0, 1], [text, "b"]),
    "labels of ticks": lambda figure, axes, text: (axes.set_xticks([0, 1]), axes.set_xticklabels([text, "b"])),
    "categories": lambda figure, axes, text: axes.barh([text, "b"], [1, 2]),
    "text": lambda figure, axes, text: axes.text(0.5, 0.5, text),
    "annotation": lambda figure, axes, text: axes.annotate(text, (0, 0)),
    "legend": lambda figure, axes, text: (axes.plot([0, 1], label=text), axes.legend()),
    "colour bar": lambda figure, axes, text: figure.colorbar(axes.imshow(np.eye(2)), label=text),
    "figure's text": lambda figure, axes, text: figure.text(0.1, 0.1, text),
}


def drawn(place: str, text: str) -> Figure:
    figure = Figure(layout="constrained")
    PLACES[place](figure, figure.subplots(), text)
    return figure


@pytest.mark.drawn
@pytest.mark.parametrize("place", PLACES)
def test_a_text_that_is_no_mathematics_is_drawn_in_every_place(place: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frac"):
        FigureCanvasAgg(drawn(place, BAD)).draw()
    drawing.save_figure(lambda: drawn(place, BAD), tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        assert image.size[0] > 1


def pixels(figure: Figure) -> Any:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


@pytest.mark.parametrize("place", PLACES)
def test_a_dollar_looks_like_a_dollar(place: str) -> None:
    """The same pixels as of the text whose dollars are escaped by hand; mathematics, `$x$`, has others."""
    wanted = pixels(drawn(place, r"\$x\$"))
    assert np.array_equal(pixels(drawing.as_written(drawn(place, "$x$"))), wanted)
    assert not np.array_equal(pixels(drawn(place, "$x$")), wanted)


@pytest.mark.parametrize("place", PLACES)
def test_a_text_without_dollars_has_the_pixels_that_it_had(place: str) -> None:
    assert np.array_equal(pixels(drawing.as_written(drawn(place, "layers.0"))), pixels(drawn(place, "layers.0")))


def test_the_powers_of_ten_at_an_axis_stay() -> None:
    figures = []
    for _ in range(2):
        figure = Figure()
        figure.subplots().loglog([1, 1000], [0.01, 100])
        figures.append(figure)
    assert np.array_equal(pixels(drawing.as_written(figures[0])), pixels(figures[1]))


@pytest.mark.drawn
def test_classes_and_values_with_dollars_are_drawn_by_runs_and_sweeps(mi_run: Callable[..., Any]) -> None:
    x = np.linspace(0, 1, 160).reshape(40, 4)
    y = np.array([BAD, "$y$"])[np.arange(40) % 2]
    small = ("dataset=arrays", "training.epochs=1", "report=true", "model.hidden_sizes=[3]")
    for name in ("$a$", BAD.replace("\\", "")):
        np.savez(f"{name}.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    ended = mi_run("dataset.path=$a$.npz", *small)
    assert ended.status == 0 and (ended.folder / "figures" / "confusion.png").stat().st_size > 1000, ended.err
    assert "can't" not in ended.err
    ended = mi_run("-m", "dataset.path=$a$.npz,a$frac$b.npz", "seed=0,1", *small)
    assert ended.status == 0 and list(ended.folder.glob("**/*.png")), ended.err
