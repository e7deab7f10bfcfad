"""The options of a run's pictures: `figures.OPTION=VALUE`, and `figures=false` in short."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING

from mi_runner.config.options import option
from mi_runner.errors import ConfigError
from mi_runner.machine.drawing import FigureFiles

FIGURES = "figures"
"""The top-level key."""

FIGURE_KEYS = (FIGURES, "figures.draw", "figures.formats", "figures.width")
"""The keys of pictures, with that of configs of earlier versions; they change no number of a run."""


class FigureFormat(Enum):
    """What a picture is written as."""

    png = "png"
    svg = "svg"
    pdf = "pdf"


@dataclass
class FigureOptions:
    """Whether and how pictures are drawn. The values are in conf/config.yaml."""

    draw: bool = option(
        MISSING,
        "draw the pictures of figures/; figures=false is short for figures.draw=false, and saves 2 to 5 s a run",
    )
    formats: list[FigureFormat] = option(MISSING, "the files of each picture: png, svg, pdf, or several")
    width: float | None = option(
        MISSING,
        "inches that each picture is wide, e.g. 3.3 for a column of a paper, with text that can be read at this width; "
        "null: as wide as it needs",
        at_least=2,
        at_most=40,
    )


def figure_files(options: FigureOptions) -> FigureFiles:
    """Returns which files a picture has.

    Raises:
        ConfigError: it has none.
    """
    formats = tuple(dict.fromkeys(kind.value for kind in options.formats))
    if not formats:
        raise ConfigError("figures.formats=[]: name png, svg or pdf, or type figures=false for no pictures.")
    return FigureFiles(formats, options.width)


def in_full(override: str) -> str:
    """Returns `figures=false` as `figures.draw=false`, and any other override as it is.

    Raises:
        ConfigError: it sets `figures` to something else than true or false.
    """
    key, equals, value = override.partition("=")
    if key.lstrip("+") != FIGURES or not equals or value.lstrip().startswith("{"):
        return override
    if value.strip().lower() not in ("true", "false"):
        raise ConfigError(
            f"{override}: must be true or false. figures.formats=[png,pdf] chooses the files of each picture, and "
            "figures.width=3.3 its width in inches."
        )
    return f"{key}.draw={value.strip().lower()}"
