"""Lays a figure out for its width: panels in rows, one key, text that can be read and stays inside.

Functions that draw call `blank`, `panels`, `key` and `numbers`. Without a given width these make the figure as large as
it needs. With one, as for a column of a paper, panels that don't fit beside each other go below one another, keys go
below the panels, and `fitted` then breaks lines, turns labels and leaves out the numbers in cells that are too small.
"""

from __future__ import annotations

import itertools
import math
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

READABLE, LARGEST = 7.0, 8.0
"""The smallest and the largest text in a figure of a given width, in points."""

SIZES: dict[Any, Any] = {
    "font.size": LARGEST, "axes.titlesize": LARGEST, "axes.labelsize": LARGEST, "figure.titlesize": LARGEST,
    "xtick.labelsize": READABLE, "ytick.labelsize": READABLE, "legend.fontsize": READABLE,
}  # fmt: skip
"""matplotlib's sizes of text in such a figure."""

LEAST_PANEL = 1.45
"""Inches that a panel needs for its picture and the labels on its left."""

LEAST_HEIGHT = 0.25
"""Inches of the lowest panel."""

COLOUR_SCALE = "<colorbar>"
"""matplotlib's label of the axes of a colour scale, which may be as low as they like."""

LETTER = 0.58 * READABLE / 72
"""About how many inches a letter of the smallest text is wide."""

CELL = "cell"
"""Marks the numbers in the cells of a heat map."""

NEAR_POINT = "near point"
"""Marks the names of points; a figure with a given width has those that cover no other one."""

_WIDTH: ContextVar[float | None] = ContextVar("width", default=None)


@contextmanager
def of_width(width: float) -> Iterator[None]:
    """Lets figures that are made within the block have this width in inches."""
    import matplotlib

    before = _WIDTH.set(width)
    try:
        with matplotlib.rc_context(SIZES):
            yield
    finally:
        _WIDTH.reset(before)


def given_width() -> float | None:
    """Returns the width in inches that figures are to have; None: as wide as they need."""
    return _WIDTH.get()


def is_narrow(needed: float) -> bool:
    """Returns whether figures have a given width, and it is less than what is needed, in inches."""
    width = _WIDTH.get()
    return width is not None and width < needed


def blank(width: float, height: float) -> Figure:
    """Returns an empty figure, which finds room for its labels.

    Args:
        width: in inches that it needs; a given width counts instead.
        height: in inches.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH.get() or width, height), layout="constrained")


def panels(
    down: int,
    across: int,
    panel: tuple[float, float],
    room: tuple[float, float] = (0.0, 0.0),
    *,
    least: float = LEAST_PANEL,
    ratios: Sequence[float] | None = None,
    share: str = "",
) -> tuple[Figure, Any]:
    """Returns a figure and its panels `(down, across)`.

    Where a given width has no room for all columns, further columns go below the first ones.

    Args:
        panel: width and height of a panel in inches, with its labels.
        room: width and height besides.
        least: inches that a panel needs in a given width.
        ratios: of the columns' widths, where all have room.
        share: `x` where all panels have one axis across, `y` where those of a row have one axis up, or `xy`.
    """
    import numpy as np

    width = _WIDTH.get()
    columns = across if width is None else max(1, min(across, int((width - room[0] / 2) / least)))
    blocks = math.ceil(across / columns)
    figure = blank(panel[0] * across + room[0], panel[1] * down * blocks + room[1])
    ratio: dict[str, Any] = {"width_ratios": ratios} if ratios is not None and columns == across else {}
    grid: Any = figure.subplots(down * blocks, columns, squeeze=False, **ratio)
    found: Any = np.empty((down, across), dtype=object)
    for row, column in np.ndindex(down * blocks, columns):
        place = row // down * columns + column
        if place < across:
            found[row % down, place] = grid[row, column]
        else:
            grid[row, column].remove()
    for row, column in np.ndindex(down, across):
        if "x" in share and (row, column) != (0, 0):
            found[row, column].sharex(found[0, 0])
        if "y" in share and column:
            found[row, column].sharey(found[row, 0])
            if columns > 1 and column % columns:
                found[row, column].tick_params(labelleft=False)
        if "x" in share and row < down - 1:
            found[row, column].tick_params(labelbottom=False)
    return figure, found


def is_first(place: int, across: int, *, least: float = LEAST_PANEL, room: float = 0.0) -> bool:
    """Returns whether a panel of a row stands on the left, where `panels` puts it."""
    width = _WIDTH.get()
    columns = across if width is None else max(1, min(across, int((width - room / 2) / least)))
    return place % columns == 0


def key(axes: Axes, *, beside: bool = True, title: str | None = None, size: float = 7, **options: Any) -> None:
    """Draws the key of what has a label in the axes, each label once; none without a label.

    Args:
        beside: right of the axes, where the figure is as wide as it needs; otherwise in the axes.
        size: of the text in points.
        options: of matplotlib's legend, for a figure that is as wide as it needs.
    """
    labels = labelled(axes)
    if not labels:
        return
    if _WIDTH.get() is not None:
        key_below(axes.figure, labels, title=title)
        return
    place = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if beside else {}
    axes.legend(
        labels.values(), labels.keys(), frameon=False, fontsize=size, title=title, title_fontsize=size,
        **{**place, **options},
    )  # fmt: skip


def labelled(*axes: Axes) -> dict[str, Any]:
    """Returns text → what it names, of all that has a label in axes, each label once."""
    return {
        label: handle for one in axes for handle, label in zip(*one.get_legend_handles_labels(), strict=True)
    }  # fmt: skip


def key_below(
    figure: Any, labels: Mapping[str, Any], *, title: str | None = None, size: float = 7, columns: int = 2
) -> None:
    """Draws a key below all panels.

    Args:
        labels: text → what it names.
        columns: of the key, where the figure is as wide as it needs.
    """
    width = _WIDTH.get()
    texts = list(labels)
    if width is not None:
        letters = int((width - 0.6) / LETTER)
        texts = ["\n".join(textwrap.wrap(text, letters)) or text for text in texts]
        fitting = (n for n in range(min(len(texts), 4), 1, -1) if _width_of_key(texts, n) < width - 0.1)
        columns = next(fitting, 1)
        lines = sum(1 + text.count("\n") for text in texts) / columns + (title is not None)
        figure.set_figheight(figure.get_figheight() + 0.15 * math.ceil(lines))
    figure.legend(
        labels.values(), texts, frameon=False, fontsize=size, title=title, title_fontsize=size,
        loc="outside lower center", ncols=columns, columnspacing=1.2,
    )  # fmt: skip


def _width_of_key(texts: Sequence[str], columns: int) -> float:
    """Returns about how many inches wide a key is, whose columns are filled one after the other."""
    short, longer = divmod(len(texts), columns)
    ends = list(itertools.accumulate(short + (column < longer) for column in range(columns)))
    parts = [texts[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    letters = [max(len(line) for text in part for line in text.split("\n")) for part in parts if part]
    return sum(number * LETTER + 0.45 for number in letters)


def broken(text: str, width: float) -> str:
    """Returns a text in lines of at most so many inches, of the smallest text."""
    letters = max(4, int(width / LETTER))
    return "\n".join(piece for line in text.split("\n") for piece in textwrap.wrap(line, letters) or [""])


def numbers(axes: Axes, texts: Mapping[tuple[int, int], str], white: Any, *, size: float = 7) -> None:
    """Writes a text into each cell of a heat map; a figure with a given width has them only where they fit.

    Args:
        texts: row and column of the cell → its text.
        white: `(rows, columns)` bool, which cells are so dark that their text is white.
    """
    for (row, column), text in texts.items():
        colour = "white" if white[row, column] else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour, gid=CELL)


def whole_numbers(axis: Axis) -> None:
    """Gives an axis of counts or epochs ticks at whole numbers alone, also where there is only one."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins="auto", integer=True, min_n_ticks=1))


# --- a figure of a given width ---------------------------------------------------------------------------------------


def is_fitted(figure: Figure) -> bool:
    """Returns whether a figure was laid out for a given width."""
    return figure.get_gid() == FITTED


FITTED = "fitted"


def fitted(figure: Figure, width: float) -> Figure:
    """Returns the figure at this width in inches, with text that can be read, stays inside and doesn't overlap.

    Text is at least `READABLE` points. Long titles and labels of axes are broken into lines, tick labels turned or left
    out where they would overlap, a key that is too wide goes below, and numbers that are larger than their cells go.
    """
    figure.set_gid(FITTED)
    if figure.get_figwidth() != width:
        figure.set_size_inches(width, figure.get_figheight())
    _set_sizes(figure)
    for _ in range(2):  # what the first change moves can make another one necessary
        _draw(figure)
        _remove_large_numbers(figure)
        _remove_covered_names(figure)
        _move_wide_keys(figure, width)
        for axes in figure.axes:
            _break_lines_of(axes)
            for axis in (axes.xaxis, axes.yaxis):
                _make_room(axis)
        if figure._suptitle is not None:  # type: ignore[attr-defined]  # it has no public name
            _break_lines(figure._suptitle, figure.bbox.width * 0.98)  # type: ignore[attr-defined]
    _make_taller(figure)
    return figure


def _draw(figure: Figure) -> bool:
    """Returns whether the figure has room for all its panels, once they are laid out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        figure.draw_without_rendering()
    return not any("constrained_layout not applied" in str(one.message) for one in said)


def _set_sizes(figure: Figure) -> None:
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_fontsize(min(LARGEST, max(READABLE, text.get_fontsize())))
    for axes in figure.axes:
        axes.tick_params(labelsize=READABLE, which="both")
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_offset_text().set_fontsize(READABLE)


def _remove_large_numbers(figure: Figure) -> None:
    """Removes the numbers in the cells of a heat map if one is larger than its cell."""
    for axes in figure.axes:
        texts = [text for text in axes.texts if text.get_gid() == CELL]
        if not texts:
            continue
        (x0, y0), (x1, y1) = axes.transData.transform([(0, 0), (1, 1)])
        width, height = abs(x1 - x0), abs(y1 - y0)
        boxes = [text.get_window_extent() for text in texts]
        if any(box.width > 0.98 * width or box.height > 1.1 * height for box in boxes):
            for text in texts:
                text.remove()


def _remove_covered_names(figure: Figure) -> None:
    """Removes the names of points that cover an earlier one, or reach out of the figure."""
    for axes in figure.axes:
        kept: list[Bbox] = []
        for text in [text for text in axes.texts if text.get_gid() == NEAR_POINT]:
            text.set_rotation(0)
            box = text.get_window_extent()
            if any(box.overlaps(other) for other in kept) or box.x1 > figure.bbox.x1:
                text.remove()
            else:
                kept.append(box)


def _move_wide_keys(figure: Figure, width: float) -> None:
    """Moves the keys of axes that are wider than these below all panels."""
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is None:
            continue
        box, room = legend.get_window_extent(), axes.get_window_extent()
        if box.x0 >= room.x0 - 1 and box.x1 <= room.x1 + 1:
            continue
        handles, labels = axes.get_legend_handles_labels()
        legend.remove()
        with of_width(width):
            key_below(figure, dict(zip(labels, handles, strict=True)))


def _break_lines_of(axes: Axes) -> None:
    """Splits the title and the labels of axes into lines that fit between the neighbours."""
    left, right = _limits(axes, "x")
    low, high = _limits(axes, "y")
    box = axes.get_window_extent()
    across = 2 * min((box.x0 + box.x1) / 2 - left, right - (box.x0 + box.x1) / 2)
    up = 2 * min((box.y0 + box.y1) / 2 - low, high - (box.y0 + box.y1) / 2)
    for text in (axes.title, axes.xaxis.label):
        _break_lines(text, across)
    _break_lines(axes.yaxis.label, up, is_upright=axes.yaxis.label.get_rotation() != 0)


def _limits(axes: Axes, side: str) -> tuple[float, float]:
    """Returns the least and the largest place of the text of axes: half way to the neighbours, or the figure's end."""
    other = "y" if side == "x" else "x"
    box, figure = axes.get_window_extent(), axes.figure
    low, high = (0.0, float(figure.bbox.width if side == "x" else figure.bbox.height))
    for neighbour in figure.axes:
        near = neighbour.get_window_extent()
        overlaps = min(_end(box, other, 1), _end(near, other, 1)) > max(_end(box, other, 0), _end(near, other, 0))
        if neighbour is axes or not overlaps:
            continue
        if _end(near, side, 1) <= _end(box, side, 0):
            low = max(low, (_end(near, side, 1) + _end(box, side, 0)) / 2)
        elif _end(near, side, 0) >= _end(box, side, 1):
            high = min(high, (_end(near, side, 0) + _end(box, side, 1)) / 2)
    return low, high


def _end(box: Bbox, side: str, number: int) -> float:
    return float(getattr(box, f"{side}{number}"))


def _break_lines(text: Text, room: float, *, is_upright: bool = False) -> None:
    """Splits a text into lines that fit into so many pixels."""
    if not text.get_text() or not text.get_visible():
        return
    box = text.get_window_extent()
    long = box.height if is_upright else box.width
    if long <= room or room <= 0:
        return
    text.set_fontsize(READABLE)
    lines = text.get_text().split("\n")
    letters = max(8, int(max(map(len, lines)) * room / long * LARGEST / READABLE) - 1)
    longest = max(map(len, text.get_text().split()), default=0)
    letters = longest if letters < longest <= 1.5 * letters else letters  # a word that nearly fits stays whole
    text.set_text("\n".join(piece for line in lines for piece in textwrap.wrap(line, letters) or [""]))


def _make_room(axis: Axis) -> None:
    """Turns the labels of an axis, leaves some out, or takes fewer numbers, until none overlaps the next."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    if not _overlap(axis):
        return
    locator = axis.get_major_locator()
    if not isinstance(locator, FixedLocator):
        for bins in (4, 3, 2, 1) if isinstance(locator, MaxNLocator) else ():
            axis.set_major_locator(MaxNLocator(nbins=bins, integer=_is_whole(locator)))
            if not _overlap(axis):
                return
        if _is_across(axis) and isinstance(locator, MaxNLocator):
            axis.set_major_locator(FixedLocator(list(axis.get_view_interval())))
        return
    if _is_across(axis):
        axis.set_tick_params(labelrotation=90)
        for label in axis.get_ticklabels():
            label.set(rotation=90, ha="center", va="top")
        if not _overlap(axis):
            return
    places = list(axis.get_majorticklocs())
    texts = [label.get_text() for label in axis.get_ticklabels()]
    for each in range(2, len(places) + 1):
        if not _overlap(axis, each):
            kept = {place: text for place, text in list(zip(places, texts, strict=True))[::each]}
            axis.set_major_locator(FixedLocator(list(kept)))
            axis.set_major_formatter(FuncFormatter(partial(_label_at, kept)))
            return


def _is_whole(locator: Any) -> bool:
    """Returns whether a locator has ticks at whole numbers alone."""
    return bool(getattr(locator, "_integer", False))  # it has no public name


def _label_at(labels: Mapping[float, str], x: float, position: int | None = None) -> str:
    return labels.get(x, "")


def _is_across(axis: Axis) -> bool:
    return axis is axis.axes.xaxis


def _overlap(axis: Axis, each: int = 1) -> bool:
    """Returns whether a label of an axis reaches into the next one; of every so many."""
    return bool(overlapping(axis, each))


def overlapping(axis: Axis, each: int = 1) -> list[tuple[str, str]]:
    """Returns the labels of an axis that reach into the next one.

    Args:
        each: looks at every so many.
    """
    shown = [
        label for label in axis.get_ticklabels() if label.get_visible() and label.get_text() and _inside(axis, label)
    ][::each]
    found = []
    for one, other in itertools.pairwise(shown):
        first, second = one.get_window_extent(), other.get_window_extent()
        if first.width == 0 or second.width == 0:
            continue
        angle = math.radians(float(one.get_rotation()))
        if _is_across(axis) and 0 < angle < math.pi / 2:  # turned labels lie side by side, as lines of text
            (x0, _), (x1, _) = (label.get_transform().transform(label.get_position()) for label in (one, other))
            height = float(one.get_fontsize()) * axis.figure.dpi / 72 * (1 + one.get_text().count("\n"))
            if abs(x1 - x0) * math.sin(angle) < 0.9 * height:
                found.append((one.get_text(), other.get_text()))
        elif first.shrunk(0.98, 0.86).overlaps(second.shrunk(0.98, 0.86)):
            found.append((one.get_text(), other.get_text()))
    return found


def _inside(axis: Axis, label: Text) -> bool:
    """Returns whether a label's tick lies within the limits of its axis."""
    place = label.get_position()[0 if _is_across(axis) else 1]
    low, high = sorted(axis.get_view_interval())
    return bool(low - 1e-9 <= place <= high + 1e-9)


def _make_taller(figure: Figure) -> None:
    """Makes a figure taller until its panels have some height, where many lines of text leave them little room."""
    for _ in range(5):
        has_room = _draw(figure)
        panels = [axes for axes in figure.axes if axes.get_label() != COLOUR_SCALE]
        boxes = [axes.get_window_extent() for axes in panels]
        if has_room and min((box.height for box in boxes), default=math.inf) > LEAST_HEIGHT * figure.dpi:
            return
        figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() * 1.3)
