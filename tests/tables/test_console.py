"""What a terminal shows, and what a pipe gets."""

from __future__ import annotations

import logging
import math
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mi_runner.tables import console


def test_counts_are_whole_and_small_numbers_are_not_zero(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"n": 23.0, "mean": 23.0, "p": 6.716e-06, "z": 0.0}, {"n": 5.5, "mean": 0.001, "p": -0.00042, "z": -0.0}]
    console.table("title", rows, counts=["n"])
    cells = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines() if "│" in line
    ]
    assert cells == [["23", "23.0000", "6.716e-06", "0.0000"], ["5.5", "0.0010", "-0.00042", "-0.0000"]]


def test_cells(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("title", [{"a": 1, "b": 0.123456, "c": None, "d": math.nan, "e": "text", "f": 123456.0}])
    out = capsys.readouterr().out
    (row,) = [line for line in out.splitlines() if line.startswith("│")]
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["1", "0.1235", "", "", "text", "1.235e+05"]
    assert out.startswith("title") and not capsys.readouterr().err


def test_a_long_table_is_cut_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("title", [{"row": number} for number in range(console.MOST_ROWS + 5)])
    assert "(5 more rows in the file)" in capsys.readouterr().out


WIDE = [{"target": f"layers.{n}", "kind": "site", "n": n, "text": f"{n} b " * 20, "accuracy": n / 7} for n in range(3)]


@pytest.mark.parametrize(
    ("width", "columns", "left_out"),
    [
        (200, "target kind n text accuracy", ""),
        (77, "target kind n text accuracy", ""),  # the text is folded
        (76, "target n text accuracy", "kind"),  # it says the same in each row
        (69, "target n accuracy", "kind, text"),
        (26, "target accuracy", "kind, n, text"),
        (8, "target", "kind, n, text, accuracy"),
    ],
)
def test_a_narrow_terminal_leaves_out_columns_and_names_them(
    width: int, columns: str, left_out: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    console.table("title", WIDE, keep=["accuracy"])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    (said,) = [line for line in lines if line.startswith("(left out")] or [""]
    assert said == (f"(left out, as the terminal has {width} columns: {left_out})" if left_out else "")
    assert all(len(line) <= width for line in lines if line != said)
    if width > 8:  # narrower than its only column, the table is folded
        (header,) = [line for line in lines if line.startswith("┃")]
        assert header.replace("┃", " ").split() == columns.split()
        assert len([line for line in lines if line.startswith("│ layers.")]) == 3


def test_an_interval_of_exact_counts_is_left_out_before_other_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    rows = [{"control": name, "count": n, "count_low": n, "of_them": n // 2} for name, n in (("none", 8), ("other", 6))]
    console.table("title", rows)
    assert "columns: count_low)" in capsys.readouterr().out
    console.table("title", [{**row, "count_low": row["count_low"] - 1} for row in rows])
    assert "columns: of_them)" in capsys.readouterr().out


def test_a_pipe_gets_whole_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    console.table("title", [{"path": "p" * 300, "b": 1}])
    assert f"│ {'p' * 300} │ 1 │" in capsys.readouterr().out


def test_a_bar_on_a_pipe_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 0.0)
    with console.Bars().bar("work", 10) as advance:
        advance(0)
        advance(4, "note")
        advance(7)
    lines = r"work: 0 of 10\nwork: 4 of 10, \d+ s left note\nwork: 11 of 10, 0 s left note\n"
    assert re.fullmatch(lines, capsys.readouterr().err)
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 1e9)
    with console.Bars().bar("work", 10) as advance:
        advance(4, "note")
    assert capsys.readouterr().err == ""


def test_log_lines_go_to_standard_error_as_it_is_then(capsys: pytest.CaptureFixture[str]) -> None:
    handler = console.LogHandler()
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "a line", None, None))
    assert capsys.readouterr().err == "a line\n"


def test_a_terminal_sees_a_bar_and_log_lines_above_it(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    program = (
        "import time\n"
        "from mi_runner.tables import console\n"
        "import logging\n"
        "log = logging.getLogger('x'); log.addHandler(console.LogHandler()); log.setLevel(logging.INFO)\n"
        "with console.Bars().bar('work', 10) as advance:\n"
        "    advance(4, 'loss 0.5'); time.sleep(0.3); log.info('a line'); time.sleep(0.3); advance(6)\n"
    )
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen([sys.executable, "-c", program], stderr=slave, cwd=tmp_path, env=environment) as process:
        os.close(slave)
        seen = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            seen += part
        assert process.wait(timeout=30) == 0
    os.close(master)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    lines = [line.strip() for line in re.split(r"[\r\n]+", text)]
    assert any(re.match(r"work .*4/10 loss 0\.5", line) for line in lines)
    assert "a line" in lines
