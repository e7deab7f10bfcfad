"""Small runs of every experiment and a sweep, whose pages the tests read; made once for all processes of pytest."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mi_runner.cli import command as cli
from mi_runner.config.registry import EXPERIMENTS
from mi_runner.experiments.ablation.pictures import network_picture
from mi_runner.machine import drawing
from mi_runner.runs.report import REPORT, write_run_report
from mi_runner.runs.run_folder import PICTURES
from tests.undrawn import one_pixel

DATA = ("dataset.train_size=60", "dataset.test_size=60", "training.epochs=1")
DIVERGES = ("training.optimizer=sgd", "training.learning_rate=1e30", "training.epochs=2")
UNITS = ("model=mlp", "model.hidden_sizes=[8,3,2]", "experiment.granularity=unit")
SMALL = {
    **{schema.name: (f"experiment={schema.name}", *schema.small) for schema in EXPERIMENTS},
    "many seeds": ("experiment=train", "dataset=mod_add", *DATA, "seeds=2"),
    "units": ("experiment=ablation", "dataset=mod_add", *DATA, *UNITS),
}
"""Small runs: one of each experiment, and two more."""


def commanded(folder: Path, *options: str, status: int = 0) -> Path:
    """The only run.json or sweep.json that a command leaves below `folder`, unless another process has made it."""
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(drawing, "save_figure", one_pixel)
                assert cli.main([*options, f"output_dir={folder}"]) == status
    (record,) = folder.rglob("v001/sweep.json" if "-m" in options else "v001/run.json")
    return record.parent


def shared_folder(temporary: pytest.TempPathFactory) -> Path:
    """A folder that all of pytest's processes have in common."""
    own = temporary.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "small"
    folder.mkdir(exist_ok=True)
    return folder


class SmallRuns(Mapping[str, Path]):
    """Name → the folder of a small run, made when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> Path:
        return commanded(self.folder / name, *SMALL[name])

    def __iter__(self) -> Iterator[str]:
        return iter(SMALL)

    def __len__(self) -> int:
        return len(SMALL)


def small_sweep(folder: Path) -> Path:
    """The folder of a sweep of four jobs that are done and two that fail."""
    swept = ("seed=0,1", "training.learning_rate=1e-3,1e-2,1e30")
    options = ("dataset=ellipses", *DATA[:2], "dataset.target=class", *DIVERGES[::2])
    return commanded(folder / "sweep", "-m", *options, *swept, status=1)


class Parsed(HTMLParser):
    """The elements of a page, the text of each table's rows, and all text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self._section, self._open, self._cell = "", "", False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        self.elements.append((tag, of))
        self._open = tag
        if tag == "section" and of.get("class") == "table":
            self._section = str(of["aria-label"]).removeprefix("table ")
            self.tables[self._section] = []
        if self._section and tag == "tr":
            self.tables[self._section].append([])
        if self._section and tag in ("td", "th"):
            self.tables[self._section][-1].append(of.get("data-value") or "")
            self._cell = "data-value" not in of

    def handle_endtag(self, tag: str) -> None:
        self._open = ""
        if tag in ("td", "th"):
            self._cell = False
        if tag == "table":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            return
        self.text += data
        if self._section and self._cell:
            self.tables[self._section][-1][-1] += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def parsed(folder: Path) -> Parsed:
    return Parsed((folder / REPORT).read_text(encoding="utf-8"))


BAD = "</script><script>hacked=1</script><img src=x onerror=hacked=1>\"'><b onclick=hacked=1>"


def pictures(folder: Path) -> Any:
    """The data of a run's interactive pictures."""
    return json.loads((folder / PICTURES).read_text())


def hostile_folder(folder: Path) -> Path:
    """The folder, with a run whose every text is an attack: names of columns, sites, files, options, the error."""
    name = BAD.replace("/", "∕")
    with (folder / "metrics.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["target", "kind", "method", "accuracy_drop", BAD])
        lines.writerows([[BAD, "site", BAD, 0.5, BAD], ["x", "site", "zero", 0.1, BAD]])
    costs = [
        {"target": BAD, "method": BAD, "accuracy_drop": 0.5},
        {"target": "x", "method": "zero", "accuracy_drop": 0.1},
    ]
    drawn = network_picture([{"target": BAD, "of": BAD, "shape": BAD, "reads": "none"}], costs)
    (folder / PICTURES).write_text(json.dumps({"network": drawn, BAD: {BAD: BAD}}))
    (folder / f"{name}.csv").write_text("a\n1\n")
    (folder / "javascript:hacked=1").write_text("")
    (folder / "config.yaml").write_text(json.dumps({"dataset": {BAD: BAD}, "seed": 1}))
    (folder / "run.log").write_text(f"2026-01-01 00:00:00,000 ERROR {BAD}\n")
    texts = dict.fromkeys(("experiment", "dataset", "model", "command", "error", "host", "device", "answer"), BAD)
    more = {"status": "failed", "files": {}, "versions": {BAD: BAD}, "timings": {BAD: 1}}
    metrics = {BAD: 1.0, f"accuracy/{BAD}": 0.5}
    (folder / "run.json").write_text(json.dumps({**texts, **more, "metrics": metrics}))
    write_run_report(folder)
    return folder
