"""Writes matplotlib figures as PNG, SVG or PDF: as wide as they are, or laid out for a given width.

Equal figures give equal files: no file has a date, and the names within an SVG follow from the picture.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mi_runner.machine import layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 130
"""Dots per inch of a picture that is as wide as it needs."""

PRINT_DPI = 300
"""Dots per inch of a picture with a given width, and of the images within an SVG or PDF: what print needs."""

PNG, SVG, PDF = FORMATS = ("png", "svg", "pdf")
"""What a picture can be written as; a page shows the first that there is, if it is PNG."""

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text, which can be searched and changed
    "svg.hashsalt": "mi-run",
    "pdf.fonttype": 42,  # TrueType, which journals take
}
"""matplotlib's settings for files."""

UNDATED: dict[str, dict[str, None]] = {SVG: {"Date": None}, PDF: {"CreationDate": None}}
"""Format → what is left out of its metadata."""


@dataclass(frozen=True)
class FigureFiles:
    """Which files a picture has.

    Attributes:
        formats: png, svg, pdf, or several.
        width: in inches; None: as wide as the picture needs.
    """

    formats: tuple[str, ...] = (PNG,)
    width: float | None = None


def save_figure(drawing: Callable[[], Figure], path: Path) -> None:
    """Calls the function and writes its figure in the format that the path ends with; see `content`."""
    path.write_bytes(content(drawing, path.suffix.removeprefix(".")))


def content(drawing: Callable[[], Figure], kind: str) -> bytes:
    """Calls the function and returns its figure as a file; `$` is a dollar.

    matplotlib's own settings hold, and not those of a `matplotlibrc` in the current folder: they could name programs.

    Args:
        kind: png, svg or pdf.
    """
    with _own_style():
        figure = as_written(drawing())
        if kind == PNG:
            return _png(figure)
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=PRINT_DPI, metadata=UNDATED[kind])
        return file.getvalue()


def _png(figure: Figure) -> bytes:
    """Returns a figure as PNG, with the pixels of its `savefig`.

    `savefig` draws twice, first without pixels for the layout; this draws once and takes two thirds of the time.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    before = figure.dpi
    figure.dpi = dpi = PRINT_DPI if layout.is_fitted(figure) else DPI
    try:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        file = io.BytesIO()
        Image.fromarray(np.asarray(canvas.buffer_rgba())).save(file, format="png", dpi=(dpi, dpi))
        return file.getvalue()
    finally:
        figure.dpi = before


def prepare_to_draw() -> None:
    """Imports what `content` needs for PNG, which takes half a second."""
    from matplotlib.backends import backend_agg  # noqa: F401
    from PIL import PngImagePlugin  # noqa: F401


def drawn(drawing: Callable[[], Figure]) -> Figure:
    """Calls the function and returns its figure, as `save_figure` writes it."""
    with _own_style():
        return as_written(drawing())


def laid_out(drawing: Callable[[], Figure], width: float | None) -> Callable[[], Figure]:
    """Returns a function that draws the same for this width in inches; None: the function itself.

    The function is called where `layout` knows the width, so that it can put panels below one another; what it returns
    is then made readable at this width.
    """
    return drawing if width is None else partial(_laid_out, drawing, width)


def _laid_out(drawing: Callable[[], Figure], width: float) -> Figure:
    with _own_style(), layout.of_width(width):
        return layout.fitted(as_written(drawing()), width)


@contextmanager
def _own_style() -> Iterator[None]:
    """Lets matplotlib's own settings hold within the block, and those for files."""
    import matplotlib

    # Not `rcdefaults`, which first reads all styles, for 0.1 s.
    own: dict[Any, Any] = {
        name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")
    }
    with matplotlib.rc_context(own | STYLE):
        yield


def as_written(figure: Figure) -> Figure:
    """Returns the figure, in which every text that it was given is drawn as it is written.

    Names of sites, classes, files and values of a sweep are texts of the user's; matplotlib takes what stands between
    two `$` for mathematics, and fails where it is none. Numbers at the axes are matplotlib's own, and stay. A figure
    that comes a second time stays as it is.
    """
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter, LogFormatter, NullFormatter, ScalarFormatter

    for text in figure.findobj(Text):
        if isinstance(text, Text) and "$" in text.get_text():
            text.set_text(_escaped(text.get_text()))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()  # makes the labels again when the figure is drawn
            if not isinstance(formatter, ScalarFormatter | LogFormatter | NullFormatter):
                axis.set_major_formatter(FuncFormatter(partial(_escaped_label, formatter)))
    return figure


def _escaped_label(formatter: Callable[[float, int | None], str], x: float, position: int | None = None) -> str:
    return _escaped(formatter(x, position))


def _escaped(text: str) -> str:
    return re.sub(r"(?<!\\)\$", r"\\$", text)
