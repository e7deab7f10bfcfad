"""A figure of a given width: every text can be read, stays inside and covers no other label."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from mi_runner.experiments.common.drawing import mosaic
from mi_runner.machine import drawing, layout
from tests.readable import faults


def labelled(n: int = 12) -> Figure:
    """Two panels of long names, a long title, a key beside, and numbers in cells."""
    figure, panels = layout.panels(1, 2, (4.0, 3.0))
    for axes in panels[0]:
        axes.imshow(np.eye(n))
        layout.numbers(axes, {(i, i): "12,345" for i in range(n)}, np.eye(n) < 0.5)
        axes.set_xticks(range(n), [f"a name {place}" for place in range(n)])
        axes.set_title("a title that is much longer than its panel is wide")
    panels[0, 0].plot([0, 1], [0, 1], label="a line that has a name of many words")
    layout.key(panels[0, 0])
    figure.suptitle("what all this is about, in a sentence that needs more than one line of a column")
    return figure


def test_text_is_readable_and_inside_at_the_width_of_a_column() -> None:
    figure = drawing.laid_out(labelled, 3.3)()
    assert figure.get_figwidth() == 3.3 and faults(figure) == []
    first, second = figure.axes[:2]
    assert not first.texts  # the numbers are larger than their cells
    assert first.get_xticklabels()[0].get_rotation() == 90
    assert "\n" in first.get_title() and "\n" in figure.get_suptitle()
    (key,) = figure.legends
    assert key.get_window_extent().y1 < min(first.get_window_extent().y0, second.get_window_extent().y0)


def test_what_is_wrong_without_a_layout_is_found() -> None:
    """The measurement itself: the same figure, drawn small without a layout, has every fault."""

    def small() -> Figure:
        figure = labelled()
        figure.set_size_inches(3.3, 3.0)
        figure.set_layout_engine("none")
        figure.suptitle("small", fontsize=4)
        return figure

    found = " ".join(faults(drawing.drawn(small)))
    assert "4.0 pt" in found and "outside" in found and "overlaps" in found


@pytest.mark.parametrize(("width", "columns"), [(None, 4), (20.0, 4), (3.3, 2), (2.0, 1)])
def test_panels_go_below_one_another(width: float | None, columns: int) -> None:
    def four() -> Figure:
        figure, panels = layout.panels(2, 4, (2.0, 1.0), share="xy")
        for (row, column), axes in np.ndenumerate(panels):
            axes.set_title(f"{row}{column}")
        return figure

    figure = drawing.laid_out(four, width)()
    places = {axes.get_title(): axes.get_subplotspec().get_topmost_subplotspec() for axes in figure.axes}
    at = {title: (place.rowspan.start, place.colspan.start) for title, place in places.items()}
    assert at == {
        f"{row}{column}": (2 * (column // columns) + row, column % columns) for row in (0, 1) for column in range(4)
    }
    first = figure.axes[0]
    assert all(axes.get_shared_x_axes().joined(axes, first) for axes in figure.axes)


def test_the_numbers_of_cells_stay_where_they_fit() -> None:
    figure = drawing.laid_out(lambda: _matrix(3), 3.3)()
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.50"] * 9
    assert not drawing.laid_out(lambda: _matrix(30), 3.3)().axes[0].texts
    assert len(drawing.drawn(lambda: _matrix(30)).axes[0].texts) == 900  # without a width, all of them


def _matrix(n: int) -> Figure:
    figure = layout.blank(4, 3)
    axes = figure.subplots()
    axes.imshow(np.full((n, n), 0.5))
    layout.numbers(axes, {at: "0.50" for at in np.ndindex(n, n)}, np.zeros((n, n), dtype=bool))
    return figure


def test_many_names_leave_some_out_and_numbers_become_fewer() -> None:
    def many() -> Figure:
        figure = layout.blank(6, 2)
        axes = figure.subplots()
        axes.set_xticks(range(90), [f"name {place}" for place in range(90)])
        return figure

    figure = drawing.laid_out(many, 3.3)()
    kept = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert faults(figure) == [] and kept[0] == "name 0" and 10 < len(kept) < 90

    def numbers() -> Figure:
        figure = layout.blank(6, 2)
        figure.subplots().set_xlim(123_456_000, 123_456_789)
        figure.axes[0].ticklabel_format(useOffset=False, style="plain")
        return figure

    assert faults(drawing.laid_out(numbers, 2.0)()) == []


def test_a_figure_without_a_width_is_as_large_as_it_needs() -> None:
    assert drawing.laid_out(labelled, None) is labelled
    assert labelled().get_figwidth() == 8 and not layout.is_fitted(labelled())


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
@pytest.mark.parametrize("width", [None, 3.3])
def test_two_draws_have_equal_bytes(kind: str, width: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for time in ("0", "1700000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", time)  # matplotlib takes it for the current time
        made.append(drawing.content(drawing.laid_out(labelled, width), kind))
    first, second = made
    assert first == second and first[:4] in (b"\x89PNG", b"<?xm", b"%PDF")


def test_text_stays_text_in_svg_and_pdf() -> None:
    def plain() -> Figure:
        figure = layout.blank(3, 2)
        figure.subplots().set_title("costs $5 and $6")
        return figure

    svg = drawing.content(plain, "svg").decode()
    assert "costs $5 and $6" in svg and "<dc:date>" not in svg
    pdf = drawing.content(plain, "pdf")
    assert b"/Type0" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf


def test_keys_have_each_label_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice() -> Figure:
        figure, panels = layout.panels(1, 1, (4, 3))
        for _ in range(2):
            panels[0, 0].plot([0, 1], [0, 1], label="same")
        layout.key(panels[0, 0])
        return figure

    beside, below = drawing.drawn(twice), drawing.laid_out(twice, 3.3)()
    assert [text.get_text() for text in beside.axes[0].get_legend().get_texts()] == ["same"]
    assert [text.get_text() for text in below.legends[0].get_texts()] == ["same"]


def test_a_width_counts_only_within_its_block() -> None:
    inside: list[float | None] = []
    seen: Callable[[], Figure] = lambda: (inside.append(layout.given_width()), layout.blank(4, 3))[1]  # noqa: E731
    drawing.laid_out(seen, 5.0)()
    assert inside == [5.0] and layout.given_width() is None


def test_a_colour_scale_makes_no_figure_taller() -> None:
    """It is lower than a panel may be."""
    with layout.of_width(3.3):
        pictures = [np.full((8, 8), 0.1 * number) for number in range(12)]
        figure = mosaic(pictures, [str(number) for number in range(12)], "", vmin=0, vmax=1)
        before = figure.get_figheight()
        assert layout.fitted(figure, 3.3).get_figheight() == before
        panel, scale = figure.axes
        assert scale.get_window_extent().height < 0.25 * figure.dpi < 0.5 * figure.bbox.height
        assert panel.get_window_extent().height > 0.6 * figure.bbox.height
