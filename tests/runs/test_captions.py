"""Captions of figures: what is drawn, n, the intervals, the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from mi_runner.config.composition import compose
from mi_runner.runs import captions
from mi_runner.runs.choices import load_dataset
from mi_runner.runs.run_folder import RunFolder
from mi_runner.tables.declaration import OF_TEST_SET, Declarations, FigureType, Key, Note, TableType

ROWS = TableType("metrics", "Rows", (Key("site", "a site"), Note("n_pairs", "pairs")))
DECLARED = Declarations(
    (ROWS,),
    figures=(
        FigureType("iia", "Pairs by site.", "metrics", n="n_pairs", n_of="test pairs", intervals="95 %, Wilson's"),
        FigureType("edges_*", "Edges", of="ablation and output", n=OF_TEST_SET),
        FigureType("plain", "Nothing is counted."),
    ),
)


@pytest.mark.parametrize(
    ("name", "counts", "text"),
    [
        ("iia", (1200, 1200), "Pairs by site. n = 1,200 test pairs. Intervals: 95 %, Wilson's. Here."),
        ("iia", (30, 1200), "Pairs by site. n = 30 to 1,200 test pairs. Intervals: 95 %, Wilson's. Here."),
        ("iia", (), "Pairs by site. Intervals: 95 %, Wilson's. Here."),
        ("edges_zero_0", (5,), "Edges. Ablation and output: zero, 0. n = 7 test examples. Here."),
        ("plain", (5,), "Nothing is counted. Here."),
        ("of_a_plugin", (5,), "of a plugin. Here."),
    ],
)
def test_a_caption(name: str, counts: tuple[int, ...], text: str) -> None:
    rows = [{"site": str(place), "n_pairs": count} for place, count in enumerate(counts)]
    assert captions.of_figures([name], DECLARED, {"metrics": rows}, "Here.", 7) == {name: text}


def test_the_setting_has_what_differs_from_the_defaults() -> None:
    small = ["dataset=mod_add", "dataset.train_size=60", "dataset.test_size=40", "seed=3"]
    config = compose([*small, "training.epochs=2", "output_dir=x", "figures=false", "figures.width=5", "report=false"])
    said, n_test = captions.setting(config, load_dataset(config.dataset, seed=3))
    assert n_test == 40 and said == (
        "Data set mod_add (60 training and 40 test examples), network mlp, seed 3; dataset.train_size=60, "
        "dataset.test_size=40, training.epochs=2."
    )
    several = compose([*small, "seeds=4"])
    assert "network mlp, seeds 3 to 6;" in captions.setting(several, load_dataset(several.dataset, seed=3))[0]


def test_the_setting_of_a_sweep() -> None:
    common = {"experiment": "train", "dataset": "mnist", "model": None, "training.epochs": 3}
    said = captions.of_sweep(common, {"seed": [0, 1], "training.optimizer": ["adam", "sgd"]})
    assert said == "Experiment train; data set mnist; seed 0, 1; training.optimizer adam, sgd."


def test_captions_are_read_as_they_were_written(tmp_path: Path) -> None:
    said = {"iia": "Pairs: 5 %. Here.", "weights_layers.0": "Weights of `layers.0`."}
    RunFolder(tmp_path).write_captions(captions.page(said, ("pdf", "png")))
    text = (tmp_path / "figures" / "captions.md").read_text(encoding="utf-8")
    assert "## iia\n\nFiles: iia.pdf, iia.png\n\nPairs" in text
    assert captions.read(tmp_path) == said
    (tmp_path / "figures" / "captions.md").write_bytes(b"\xff")
    assert captions.read(tmp_path) == {} == captions.read(tmp_path / "nothing")
