"""Figures of a run as data in a page: as they are if they are small, otherwise with fewer colours and pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mi_runner.machine.drawing import DPI, FORMATS
from mi_runner.machine.reading import Unreadable, read_bytes
from mi_runner.runs.captions import read as captions_of
from mi_runner.tables.declaration import Declarations, FigureType

MOST_BYTES = 450_000
"""Bytes of all figures of a run's page; base64 makes them a third longer."""

WIDE = 480
"""Pixels of a figure that a narrow screen shows whole; of a wider one it shows a part at a time."""

HEADERS = 1024
"""Bytes at the beginning of a PNG that have its dots per inch."""

METRES_OF_AN_INCH = 0.0254

STEPS = ((64, 1, 0.2), (64, 2, 0.08), (32, 3, 0.0))
"""Colours, divisor of the size, and the least share of the bytes that is left; tried in this order."""

LEVEL = 5
"""Of zlib: 6 takes half as long again for 5 % fewer bytes."""


@dataclass(frozen=True)
class Image:
    """A figure in a page.

    Attributes:
        name: of its file, without ending.
        caption: what it shows; the name if nothing says that.
        table: the table that it draws; empty for none.
        file: path in the folder.
        data: its content as a data URL; empty if it is too large, or no PNG.
        width, height: in pixels of the page; 0 of a file that is no PNG.
        others: paths of the same figure in other formats.
    """

    name: str
    caption: str
    table: str
    file: str
    data: str
    width: int
    height: int
    others: tuple[str, ...] = ()

    @property
    def is_wide(self) -> bool:
        """Whether a narrow screen would make its text too small."""
        return self.width > WIDE


def images(paths: Sequence[Path], folder: Path, declared: Declarations, most: int = MOST_BYTES) -> list[Image]:
    """Returns the figures, together at most `most` bytes before base64; what doesn't fit has no data.

    Args:
        paths: files of figures below `folder`; a PNG that can't be read is left out, and another format is named.
        declared: what the figures show.
    """
    contents = {
        path: content for path in paths if (content := content_of(path) if path.suffix == ".png" else b"") is not None
    }
    paths, originals = list(contents), dict(contents)
    sizes = {path: _size(content) for path, content in contents.items()}
    whole = total = sum(map(len, contents.values()))
    for colours, divisor, least in STEPS:
        if least * whole > most:
            continue  # it is not enough
        for path in sorted(paths, key=lambda path: -len(contents[path])):
            if total <= most:
                break
            smaller = _compressed(contents[path], colours, divisor)
            if len(smaller) < len(contents[path]):
                total += len(smaller) - len(contents[path])
                contents[path] = smaller
    left, captions = most, captions_of(folder)
    made = []
    for path in paths:
        content = contents[path]
        fits = 0 < len(content) <= left
        left -= len(content) if fits else 0
        width, height = (round(side * _scale(originals[path])) for side in sizes[path])
        figure = declared.figure(path.stem)
        made.append(
            Image(
                name=path.stem,
                caption=captions.get(path.stem) or _caption(path.stem, figure),
                table="" if figure is None else figure.table,
                file=path.relative_to(folder).as_posix(),
                data="data:image/png;base64," + base64.b64encode(content).decode() if fits else "",
                width=width,
                height=height,
                others=_others(path, folder),
            )
        )
    return made


def _caption(name: str, figure: FigureType | None) -> str:
    """Returns what a figure shows where the folder has no caption of it."""
    return name.replace("_", " ") if figure is None else figure.caption


def _others(path: Path, folder: Path) -> tuple[str, ...]:
    """Returns the paths of a figure's files in other formats than that of the page."""
    others = (path.with_suffix(f".{kind}") for kind in FORMATS)
    return tuple(other.relative_to(folder).as_posix() for other in others if other != path and other.is_file())


SIGNATURE = b"\x89PNG\r\n\x1a\n"

MOST_BYTES_OF_FILE = 2**26
"""Of a figure that is read: 64 MB."""

MOST_PIXELS = 2**26


def content_of(path: Path) -> bytes | None:
    """Returns the bytes of a figure; None if it is none."""
    try:
        content = read_bytes(path, MOST_BYTES_OF_FILE)
    except (OSError, Unreadable):
        return None
    width, height = _size(content)
    return content if content.startswith(SIGNATURE) and 0 < width * height <= MOST_PIXELS else None


def _size(content: bytes) -> tuple[int, int]:
    """Returns width and height, from the header of a PNG file: signature, length, IHDR, width, height."""
    return int.from_bytes(content[16:20]), int.from_bytes(content[20:24])


def _scale(content: bytes) -> float:
    """Returns how many pixels of the page a PNG's pixel has: less than one if it has more dots an inch than `DPI`."""
    place = content.find(b"pHYs", 0, HEADERS)
    dots = int.from_bytes(content[place + 4 : place + 8]) * METRES_OF_AN_INCH if place >= 0 else 0
    return min(1.0, DPI / dots) if dots else 1.0


def _compressed(content: bytes, colours: int, divisor: int) -> bytes:
    """Returns the figure with fewer colours and pixels; as it is, if it is damaged."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(io.BytesIO(content), formats=["PNG"]) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError):  # what Pillow raises at a damaged PNG file
        return content
    if divisor > 1:
        picture = picture.reduce(divisor)
    method, dither = Pillow.Quantize.FASTOCTREE, Pillow.Dither.NONE
    written = io.BytesIO()
    picture.quantize(colours, method=method, dither=dither).save(written, "PNG", compress_level=LEVEL)
    return written.getvalue()
