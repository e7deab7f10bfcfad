"""A picture of one pixel, in place of those of runs: to draw is a quarter of a small run's time."""

from __future__ import annotations

import base64
from pathlib import Path

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def one_pixel(drawing: object, path: Path) -> None:
    """In place of `drawing.save_figure`: calls no function that draws."""
    path.write_bytes(PIXEL)
