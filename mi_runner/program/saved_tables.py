"""The tables and figures of a folder, by their names: each is read when it is asked for, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mi_runner.errors import unknown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")


class Named(Mapping[str, T]):
    """Name → a value, which is made when it is asked for.

    Args:
        what: what the values are, for errors.
        made: name → the function that makes the value.
    """

    def __init__(self, what: str, made: Mapping[str, Callable[[], T]]) -> None:
        self._what, self._made = what, made
        self._kept: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._made:
            raise KeyError(unknown(self._what, str(name), self._made))
        if name not in self._kept:
            self._kept[name] = self._made[name]()
        return self._kept[name]

    def __contains__(self, name: object) -> bool:
        return name in self._made

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __repr__(self) -> str:
        return f"{self._what}s: {', '.join(self._made) or 'none'}"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._made)


def figures(paths: Mapping[str, Path], drawings: Mapping[str, Callable[[], Figure]]) -> Named[Figure]:
    """Returns the figures of a folder.

    Args:
        paths: name → its file; of a name without a drawing, only a PNG file can be shown.
        drawings: name → a function that draws it; a figure without one is the picture of its file.
    """
    made: dict[str, Callable[[], Any]] = {name: partial(_of_file, path) for name, path in paths.items()}
    made |= {name: partial(_drawn, drawings[name]) for name in paths if name in drawings}
    return Named("figure", made)


def _drawn(drawing: Callable[[], Figure]) -> Figure:
    from mi_runner.machine import drawing as figure_files

    return _shown_in_notebooks(figure_files.drawn(drawing))


def _of_file(path: Path) -> Figure:
    """Returns a figure with the pixels of a PNG file.

    Raises:
        Unreadable: it is no picture.
    """
    import io

    import numpy as np
    from matplotlib.figure import Figure
    from PIL import Image

    from mi_runner.machine.drawing import DPI
    from mi_runner.machine.reading import Unreadable
    from mi_runner.runs.report.images import content_of

    content = content_of(path)
    try:
        if content is None:
            raise ValueError("no PNG file")
        with Image.open(io.BytesIO(content), formats=["PNG"]) as opened:
            pixels = np.asarray(opened.convert("RGBA"))
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises at a damaged PNG file
        problem = "it can't be read as a picture" if path.suffix == ".png" else "only a PNG file can be shown here"
        raise Unreadable(f"{path}: {problem}") from error
    height, width, _ = pixels.shape
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(pixels, interpolation="none", aspect="auto")
    axes.set_axis_off()
    return _shown_in_notebooks(figure)


def _shown_in_notebooks(figure: Figure) -> Figure:
    """Returns the figure, which a notebook shows as a picture also where nothing has imported pyplot."""
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]
    return figure


def _png(figure: Figure) -> bytes:
    import io

    written = io.BytesIO()
    figure.savefig(written, format="png")
    return written.getvalue()
