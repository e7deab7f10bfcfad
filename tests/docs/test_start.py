"""What docs/start.md shows can be typed, one command after the other, with few epochs; what it shows, comes out so."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Ended

PAGE = (REPOSITORY / "docs" / "start.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(mi-run (?:.*\\\n)*.*)", PAGE, re.MULTILINE)
MAKING, NETWORK = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SMALL = {"ablation": ["dataset.limit=60"], "circuits": ["experiment.accuracy_threshold=0.3"]}


def typed(command: str) -> list[str]:
    return shlex.split(command.replace("\\\n", " "))[1:]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the two files of the page; what is imported from there is forgotten afterwards."""
    (tmp_path / "make_points.py").write_text(MAKING)
    subprocess.run([sys.executable, "make_points.py"], cwd=tmp_path, check=True)
    (tmp_path / "my_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_network", None)


def shown(text: str) -> list[list[list[str]]]:
    """The tables in Markdown and with frames: their rows, the head first, and the cells of these."""
    tables: list[list[list[str]]] = []
    before = ""
    for line in text.splitlines():
        if line[:1] in ("|", "┃", "│") and not line.startswith("|---"):
            if before[:1] not in ("|", "┃", "│", "┡"):
                tables.append([])
            tables[-1].append([cell.strip() for cell in re.split("[|┃│]", line)[1:-1]])
        before = line
    return tables


NAMING = {0: 4, 2: 3, 4: 1, 5: 4}
"""The command, by its number, with a table on the page → the first columns, which name its rows."""


def test_every_command_of_the_page_runs_in_its_order(folder: Path, mi_run: Callable[..., Ended]) -> None:
    assert (folder / "points.csv").read_text().count("\n") == 2001
    assert [typed(command)[0].partition("=")[2] for command in COMMANDS] == ["ablation"] * 2 + ["", "circuits", "", ""]
    of_page = {tuple(head): rows for head, *rows in shown(PAGE)}
    for number, command in enumerate(COMMANDS):
        arguments = typed(command)
        kind = arguments[0].partition("=")[2]
        small = [*SMALL[kind], "training.epochs=2"] if kind else []
        replaced = {part.partition("=")[0] for part in small}
        ended = mi_run(*(one for one in arguments if one.partition("=")[0] not in replaced), *small)
        assert ended.status == 0, ended.err
        if number in NAMING:
            (head, *rows), n = shown(ended.out)[0], NAMING[number]
            assert tuple(head) in of_page, command
            assert [row[:n] for row in rows] == [row[:n] for row in of_page[tuple(head)]] and rows, command


def test_the_answer_of_the_page_agrees_with_its_tables() -> None:
    (said,) = re.findall(r"^(\d+) of (124,999) circuits are valid: their accuracy is above 0.95", PAGE, re.MULTILINE)
    head, row = next(table for table in shown(PAGE) if table[0][0] == "n_circuits")
    of_run = dict(zip(head, row, strict=True))
    assert (of_run["n_valid"], f"{int(of_run['n_circuits']):,}") == said
    assert f"All valid circuits keep {of_run['n_backbone']} edges" in PAGE
    assert f"and {of_run['n_backbone']} edges are in every one of them" in PAGE
    assert f"{said[0]} of {said[1]} circuits are valid, and" in PAGE and f"these {said[0]} circuits apart" in PAGE
    for name in ("overlap", "overlap_chance"):
        assert f" share {round(100 * float(of_run[name]))} %" in PAGE
