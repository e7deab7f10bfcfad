"""Every figure of every experiment and of a sweep can be read in a column of a paper, and has a caption."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from mi_runner.machine import drawing
from mi_runner.runs import captions
from tests.conftest import Ended
from tests.pages import SMALL
from tests.readable import faults

pytestmark = pytest.mark.drawn

COLUMN = 3.3

Drawn = Callable[..., tuple[Ended, dict[str, Figure]]]


@pytest.fixture
def drawn_by(mi_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """A command once it has run, and the figures that it wrote, by name."""
    found: dict[str, Figure] = {}

    def keep(function: Callable[[], Figure], path: Path) -> None:
        found[path.name.removeprefix(".").partition(".svg")[0]] = function()
        path.write_bytes(b"<svg/>")

    monkeypatch.setattr(drawing, "save_figure", keep)

    def run(*arguments: str) -> tuple[Ended, dict[str, Figure]]:
        found.clear()
        ended = mi_run(*arguments, f"figures.width={COLUMN}", "figures.formats=[svg]")
        assert ended.status == 0, ended.err
        return ended, dict(found)

    return run


@pytest.mark.parametrize("name", sorted(SMALL))
def test_figures_of_a_run(name: str, drawn_by: Drawn) -> None:
    ended, figures = drawn_by(*SMALL[name])
    assert {name: found for name, figure in figures.items() if (found := faults(figure))} == {}
    assert {figure.get_figwidth() for figure in figures.values()} <= {COLUMN}
    said = captions.read(ended.folder)
    assert list(said) == [name for name in said if name in figures] and set(said) == set(figures)
    dataset, model = (ended.record[key] for key in ("dataset", "model"))
    for text in said.values():
        assert f"Data set {dataset} (" in text and f"network {model}, seed" in text, text
    assert {path.stem for path in ended.folder.glob("figures/*.svg")} == set(figures)


def test_figures_of_a_sweep(drawn_by: Drawn) -> None:
    small = ("dataset=mod_add", "dataset.train_size=60", "dataset.test_size=60", "training.epochs=1")
    ended, figures = drawn_by("-m", *small, "model.hidden_sizes=[2],[3],[4]", "seed=0,1")
    own = {path.stem for path in ended.folder.glob("figures/*.svg")}
    assert own == {"sweep", "sweep_rows"} == set(captions.read(ended.folder))
    assert {name: found for name in own if (found := faults(figures[name]))} == {}
    assert "model.hidden_sizes" in captions.read(ended.folder)["sweep"]
    plan = json.loads((ended.folder / "sweep.json").read_text())
    assert "figures.width=3.3" in plan["overrides"]
