"""What differs in colour differs in something else, too, and a method looks the same everywhere."""

from __future__ import annotations

import itertools

from matplotlib.colors import to_rgb

from mi_runner.methods.discovery.records import METHODS
from mi_runner.tables import styles


def test_every_method_has_a_style_of_its_own() -> None:
    names = [method.name for method in METHODS]
    assert list(styles.METHODS) == names
    looks = {(of.color, of.marker, str(of.dashes)) for of in map(styles.of_method, names)}
    assert len(looks) == len(names)
    assert styles.of_method("of_a_plugin") == styles.of_method("of_a_plugin") != styles.of_method("random")


def test_styles_differ_without_their_colours() -> None:
    first = [styles.style(number) for number in range(24)]
    assert len({(of.marker, str(of.dashes), of.color) for of in first}) == 24
    assert len({(of.marker, str(of.dashes)) for of in first[:12]}) == 12
    assert len({of.hatch for of in first[:6]}) == 6


def test_neighbours_differ_in_lightness() -> None:
    """Rec. 709 luma, as grey print has it."""
    light = [
        sum(part * of for part, of in zip((0.2126, 0.7152, 0.0722), to_rgb(one), strict=True)) for one in styles.COLORS
    ]
    assert min(abs(a - b) for a, b in itertools.pairwise(light)) > 0.08
