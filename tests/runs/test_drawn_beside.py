"""The figures and the page of a run that a second process made, beside those that one process makes alone."""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mi_runner.machine import hardware

SMALL = ("model=skip", "dataset.limit=400", "training.epochs=1", "seed=41")

PROGRAM = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{cores}])
sys.argv = ["mi-run", *sys.argv[1:]]
from mi_runner.__main__ import main
status = main()
print([name for name in ("matplotlib", "jinja2") if name in sys.modules], file=sys.stderr)
sys.exit(status)
"""


def run(folder: Path, *arguments: str, cores: int) -> tuple[Path, list[str]]:
    """The folder of a run on so many cores, and which libraries for figures and pages its process has imported."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(cores=cores), *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # else the number of threads follows the cores
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1], eval(done.stderr.splitlines()[-1])


@pytest.mark.skipif(hardware.n_cores() < 2 or sys.platform != "linux", reason="needs Linux and a second core")
def test_a_second_process_makes_what_one_alone_makes(tmp_path: Path) -> None:
    """Bit for bit; and the process that computes imports nothing for it."""
    alone, imported = run(tmp_path / "alone", "experiment=ablation", *SMALL, cores=1)
    assert imported == ["matplotlib", "jinja2"]
    beside, imported = run(tmp_path / "beside", "experiment=ablation", *SMALL, cores=2)
    assert imported == []
    names = {path.name for path in alone.glob("figures/*")} - {"captions.md"}
    assert {"accuracy.png", "confusion.png", "entering.png", "weights_first.png"} <= names
    assert {*names, "captions.md"} == {path.name for path in beside.glob("figures/*")}
    for name in (*names, "captions.md"):
        assert (alone / "figures" / name).read_bytes() == (beside / "figures" / name).read_bytes()
    page, record = (beside / "report.html").read_text(), json.loads((beside / "run.json").read_text())
    assert html.escape(record["answer"]).replace("&#x27;", "&#39;") in page
    assert page.count("data:image/png") == len(names)


@pytest.mark.skipif(hardware.n_cores() < 2 or sys.platform != "linux", reason="needs Linux and a second core")
def test_what_the_second_process_cant_draw_is_drawn_here(tmp_path: Path) -> None:
    """The figures of explanations need torch, which the second process hasn't; the page can be made there."""
    folder, imported = run(tmp_path / "beside", "experiment=explanations", "seed=0", cores=2)
    assert imported == ["matplotlib"] and list(folder.glob("figures/*.png"))
