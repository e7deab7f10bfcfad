"""Colours, markers and dashes that all figures share: what differs in colour differs in something else, too.

The colours are those of Okabe and Ito (2008), which people with any kind of colour blindness tell apart, in an order in
which neighbours differ in lightness, so that grey print tells them apart. Yellow, which white paper hides, is left out.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

BLUE, ORANGE, GREEN, PINK, RED, SKY = "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"
BLACK, GREY = "#000000", "#aaaaaa"

COLORS = (BLUE, ORANGE, RED, SKY, BLACK, GREY, PINK, GREEN)
MARKERS = "osD^vPX*<>dp"
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2)))
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "----")

POSITIVE, NEGATIVE = RED, BLUE
"""Colours of weights; lines of negative ones are dashed, too."""

NEGATIVE_DASHES: Any = (0, (3, 1.2))

REFERENCE = "#444444"
"""The colour of the reference that a figure compares with."""

METHODS = (
    *("random", "magnitude", "activation", "edge_patching", "eap", "eap_ig", "eap_signed", "eap_ig_signed", "acdc"),
    *("greedy", "edge_pruning", "subnetwork_probing", "information_flow"),
)
"""Methods that find circuits, in the order of their styles, so that a method looks the same in every figure."""


@dataclass(frozen=True)
class Style:
    """How a line, its points or a bar are drawn.

    Attributes:
        color: of all three.
        marker: of points.
        dashes: matplotlib's `linestyle`.
        hatch: of a bar.
    """

    color: str
    marker: str
    dashes: Any
    hatch: str

    @property
    def line(self) -> dict[str, Any]:
        """matplotlib's arguments of a line with points."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.dashes}

    @property
    def bar(self) -> dict[str, Any]:
        """matplotlib's arguments of a bar."""
        return {"color": self.color, "hatch": self.hatch, "edgecolor": "white", "linewidth": 0}


def style(number: int) -> Style:
    """Returns the style of the number-th thing of a figure, from 0; no two of the first 120 are the same."""
    return Style(
        COLORS[number % len(COLORS)],
        MARKERS[number % len(MARKERS)],
        DASHES[number % len(DASHES)],
        HATCHES[number % len(HATCHES)],
    )


def of_method(name: str) -> Style:
    """Returns the style of a method that finds circuits: by its name, the same in every figure."""
    if name in METHODS:
        return style(METHODS.index(name))
    return style(len(METHODS) + zlib.crc32(name.encode("utf-8", "surrogatepass")) % 100)
