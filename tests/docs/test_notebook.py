"""docs/notebook.md is a notebook: it is executed from top to bottom, in a Jupyter kernel where there is one."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "notebook.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

KERNEL = """
import json, sys
import nbformat
from nbclient import NotebookClient

cells = [nbformat.v4.new_code_cell(source) for source in json.load(sys.stdin)]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""


def in_kernel(blocks: list[str], folder: Path) -> list[list[dict[str, Any]]]:
    """The outputs of each cell, from a kernel in this folder; a process of its own, whose warnings are its own."""
    done = subprocess.run(
        [sys.executable, "-c", KERNEL],
        input=json.dumps(blocks),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "JUPYTER_PLATFORM_DIRS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def of_kind(outputs: list[dict[str, Any]], kind: str) -> str:
    """What a cell shows of this kind; `stdout` and `stderr` for what it prints."""
    if kind.startswith("std"):
        return "".join(one["text"] for one in outputs if one.get("name") == kind)
    return "".join(one["data"].get(kind, "") for one in outputs if "data" in one)


def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(BLOCKS) >= 8
    if any(find_spec(name) is None for name in ("nbclient", "ipykernel", "nbformat")):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
        names: dict[str, Any] = {"__name__": "__main__"}
        for block in BLOCKS:
            exec(compile(block, str(PAGE), "exec"), names)
        return
    cells = in_kernel(BLOCKS, tmp_path)
    assert [of_kind(outputs, "stderr") for outputs in cells] == [""] * len(BLOCKS)
    shown = {source.splitlines()[-1]: outputs for source, outputs in zip(BLOCKS, cells, strict=True)}
    for name, picture in (("run", "network"), ("circuits", "circuits"), ("sweep", "sweep")):
        page = of_kind(shown[name], "text/html")
        assert f'<iframe title="{picture}" sandbox="allow-scripts" srcdoc="' in page and "<table>" in page, name
        assert page.count("data:image/png;base64,") >= 1 and "<script" not in page, name
        assert "done" in of_kind(shown[name], "text/plain"), name
    for name in ("figure", 'sweep.figures["sweep"]'):
        assert base64.b64decode(of_kind(shown[name], "image/png")).startswith(b"\x89PNG"), name
    assert (tmp_path / "outputs/ablation/arrays-external/latest/report.html").is_file()
    assert (tmp_path / "circuit.png").is_file() and (tmp_path / "accuracy.pdf").is_file()


@pytest.mark.skipif(find_spec("nbclient") is None or find_spec("ipykernel") is None, reason="no Jupyter kernel here")
def test_a_run_in_a_kernel_prints_as_it_is_asked(tmp_path: Path) -> None:
    """Nothing by default; with `show=True` what the command prints. A loop that runs is no hindrance."""
    small = "dataset=mod_add dataset.train_size=60 training.epochs=1"
    first = f"import mi_runner\nquiet = mi_runner.run('{small}')"
    loud = f"import asyncio\nassert asyncio.get_running_loop()\nrun = mi_runner.run('{small} seed=1', show=True)"
    quiet, shown = in_kernel([first, loud], tmp_path)
    assert quiet == []
    assert {one["output_type"] for one in shown} == {"stream"}
    lines = re.sub(r"\x1b\[[\d;]*m", "", of_kind(shown, "stdout")).splitlines()  # a kernel asks for colours
    assert lines[0].rstrip() == "metrics: train · mod_add · mlp" and lines[-1] == "outputs/train/mod_add-mlp/v002"
    assert "mi-run " in of_kind(shown, "stderr") and "ipykernel" not in of_kind(shown, "stderr")
