"""`figures.OPTION=VALUE`, and `figures=false` in short."""

from __future__ import annotations

import pytest

from mi_runner.config.composition import compose, config_hash, figures_of
from mi_runner.config.figure_options import figure_files
from mi_runner.errors import ConfigError
from mi_runner.machine.drawing import FigureFiles


@pytest.mark.parametrize(
    ("given", "draw"),
    [((), True), (("figures=false",), False), (("figures=False",), False), (("figures=true",), True),
     (("figures.draw=false", "figures=true"), True), (("figures=false", "figures.width=3"), False),
     (("figures={draw: false}",), False)],
)  # fmt: skip
def test_whether_figures_are_drawn(given: tuple[str, ...], draw: bool) -> None:
    assert compose(given).figures.draw is draw


def test_files_and_width_change_no_hash() -> None:
    config = compose(["figures.formats=[pdf,svg,pdf]", "figures.width=3.3", "figures=false"])
    assert figure_files(config.figures) == FigureFiles(("pdf", "svg"), 3.3)
    assert figure_files(compose([]).figures) == FigureFiles(("png",), None)
    assert config_hash(config) == config_hash(compose([]))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("figures=maybe", "figures=maybe: must be true or false. figures.formats=\\[png,pdf\\]"),
        ("figures=[pdf]", "figures=\\[pdf\\]: must be true or false"),
        ("figures=", "figures=: must be true or false"),
        ("figures.formats=[]", "figures.formats=\\[\\]: name png, svg or pdf, or type figures=false"),
        ("figures.formats=[gif]", "expected one of \\[png, svg, pdf\\]"),
        ("figures.width=1", "figures.width=1.0: must be at least 2"),
        ("figures.width=wide", "figures.width=wide"),
        ("figures.heigth=3", "heigth"),
    ],
)
def test_nonsense_is_explained(given: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        compose([given])


def test_the_pictures_of_a_sweep_follow_its_command() -> None:
    assert figures_of(["seed=0,1", "figures.formats=[svg]", "figures.width=7"]) == FigureFiles(("svg",), 7.0)
    assert figures_of(["figures.width=3,4", "experiment=ablation"]) == FigureFiles()  # jobs have several, it has none
    assert figures_of(["seed=0,1", "figures=false", "figures.formats=[svg]"]) == FigureFiles(())
