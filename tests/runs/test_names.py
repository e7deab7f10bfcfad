"""Names that lead out of a folder, and names that a terminal would obey."""

from __future__ import annotations

import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mi_runner.errors import ConfigError, escaped
from mi_runner.machine.reading import files_below, is_own_file
from mi_runner.runs import run_folder
from mi_runner.runs.report import run_report
from mi_runner.tables import console
from tests.conftest import Ended

MiRun = Callable[..., Ended]
TINY = ("dataset=mod_add", "dataset.train_size=32", "dataset.test_size=16", "training.epochs=1")

HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b31m \u202egpj.exe \u2066x [red]a[/red] :bug: \r\x7f \udce9"


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_a_report_writes_into_no_other_folder(mi_run: MiRun) -> None:
    victim = mi_run(*TINY, "report=false").folder
    before = snapshot(victim)
    sweep = mi_run("-m", *TINY, "report=false", "seed=0,1").folder
    plan = json.loads((sweep / "sweep.json").read_text())
    for number in ("../../../../" + str(victim), str(victim.absolute()), -1, 1.5, "1", True, 10**30):
        plan["jobs"][1]["number"] = number
        (sweep / "sweep.json").write_text(json.dumps(plan))
        ended = mi_run("report", str(sweep))
        assert ended.status == 2 and "sweep.json: the field jobs[1].number is" in ended.err, ended.err
        assert snapshot(victim) == before
    plan["jobs"][1]["number"] = 2
    (sweep / "sweep.json").write_text(json.dumps(plan))
    (sweep / "2").symlink_to(victim.absolute())
    ended = mi_run("report", str(sweep))
    assert ended.status == 0 and "2 is a link, and no folder of this sweep" in ended.err, ended.err
    assert snapshot(victim) == before


def test_a_report_shows_nothing_that_a_folder_links_from_elsewhere(mi_run: MiRun, tmp_path: Path) -> None:
    folder = mi_run(*TINY, "report=false").folder
    figure = next((folder / "figures").glob("*.png"))
    secret = tmp_path / "private"
    (secret / "figures").mkdir(parents=True)
    (secret / "secret.csv").write_text("secret\nS3CRET-ROW\n")
    (secret / "secret.log").write_text("2026-01-01 00:00:00,000 WARNING S3CRET-LINE\n")
    (secret / "figures/secret-figure.png").write_bytes(figure.read_bytes())
    (folder / "stolen.csv").symlink_to(secret / "secret.csv")
    (folder / "figures/stolen-figure.png").symlink_to(secret / "figures/secret-figure.png")
    (folder / "run.log").unlink()
    (folder / "run.log").symlink_to(secret / "secret.log")
    (folder / "report.html").symlink_to(secret / "secret.csv")
    before = snapshot(secret)
    assert mi_run("report", str(folder)).status == 0
    page = (folder / "report.html").read_text()
    assert "S3CRET" not in page and "stolen" not in page and snapshot(secret) == before
    assert not (folder / "report.html").is_symlink() and figure.stem in page
    figures = folder / "figures"
    figures.rename(folder / "mine")
    figures.symlink_to(secret / "figures")
    assert mi_run("report", str(folder)).status == 0
    assert "secret-figure" not in (folder / "report.html").read_text()
    assert [path.name for path in run_report.figure_files(folder)] == []
    with pytest.raises(OSError, match="is a link to another folder"):
        run_folder.RunFolder(folder).write_figure("x", lambda: pytest.fail("nothing is drawn"))


def test_latest_leads_to_a_version_beside_it_alone(mi_run: MiRun, tmp_path: Path) -> None:
    folder = mi_run(*TINY, "report=false").folder
    (tmp_path / "other").mkdir()
    for target in (folder.absolute(), Path("../") / folder, Path(".."), Path("../x/v001")):
        link = tmp_path / "other/latest"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        ended = mi_run("report", str(link))
        assert ended.status == 2 and "this link leads to" in ended.err
        with pytest.raises(ConfigError, match="out of its folder"):
            run_folder.linked(link)
    assert mi_run("report", str(folder.parent / "latest")).out.strip() == str(folder / "report.html")


def test_what_is_a_folders_own(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/a").touch()
    (tmp_path / "outside").touch()
    (folder / "link").symlink_to("inner/a")
    (folder / "out").symlink_to("../outside")
    (folder / "circle").symlink_to("circle")
    assert is_own_file(folder / "link", folder) and is_own_file(folder / "inner/a", folder)
    for name in ("out", "circle", "inner", "none", "../outside", "a\0b"):
        assert not is_own_file(folder / name, folder), name
    assert files_below(folder) == [folder / "inner/a"]
    deep = folder / "/".join("d" * 30)
    for parent in (*reversed(deep.relative_to(folder).parents), deep.relative_to(folder)):
        (folder / parent).mkdir(exist_ok=True)
    assert files_below(folder) == [folder / "inner/a"]


def test_a_folder_a_thousand_levels_deep_is_listed(mi_run: MiRun, tmp_path: Path) -> None:
    at = tmp_path / "outputs"
    try:
        at.mkdir()
        for _ in range(1200):
            at = at / "d"
            at.mkdir()
        (at / "run.json").write_text('{"status": "done"}')
        ended = mi_run("ls", "--columns", "status", "--format", "csv")
        assert ended.status == 0 and ended.out.split() == ["status", "done"]
    finally:  # pytest itself can't: its function for it calls itself for each level
        subprocess.run(["rm", "-rf", tmp_path / "outputs"], check=True)


# --- what a terminal obeys -----------------------------------------------------------------------------------------


def test_characters_that_a_terminal_obeys_are_shown_as_their_numbers() -> None:
    assert escaped("a\tb\nc é ∑ 🐛 x") == "a\tb\nc é ∑ 🐛 x"
    assert escaped("\x1b[31m") == r"\u001b[31m" and escaped("a\nb", keep="") == r"a\u000ab"
    for number in (*range(32), *range(0x7F, 0xA0), 0x202A, 0x202E, 0x2066, 0x2069, 0x200F, 0x2028, 0xD800, 0xE0001):
        character = chr(number)
        if character in "\n\t":
            continue
        shown = escaped(f"a{character}b")
        assert shown.isprintable() and character not in shown
        assert json.loads(f'"{shown}"') == f"a{character}b"  # JSON with it is JSON still, and means the same


def test_no_name_and_no_text_of_a_file_reaches_the_terminal_as_it_is(mi_run: MiRun) -> None:
    runs = [mi_run(*TINY, "report=false", f"seed={seed}").folder for seed in (0, 1)]
    hostile = HOSTILE.replace("\udce9", "")
    for number, folder in enumerate(runs):
        record = json.loads((folder / "run.json").read_text())
        record |= {"command": hostile, "host": hostile, "answer": hostile, "experiment": hostile, "device": hostile}
        record["config"] |= {hostile: f"{number}{hostile}"}
        record["metrics"] |= {hostile: number / 3}
        (folder / "run.json").write_text(json.dumps(record))
    new = [
        folder.rename(folder.parent / f"v00{number}{hostile.replace('/', '')}") for number, folder in enumerate(runs, 1)
    ]
    (new[0].parent / "v009\udce9").mkdir()
    (new[0].parent / "v009\udce9/run.json").write_text("{}")
    commands = [
        ("ls",),
        ("ls", "--columns", "path,command,host", "--format", "csv"),
        ("ls", "--format", "json"),
        ("diff", *map(str, new)),
        ("diff", *map(str, new), "--format", "markdown"),
        ("diff", *map(str, new), "--format", "json"),
        ("report", *map(str, new)),
        ("report", str(new[0]) + "x"),
    ]
    for arguments in commands:
        ended = mi_run(*arguments)
        assert "Traceback" not in ended.err and ended.status in (0, 1, 2), ended.err
        text = ended.err + ended.out
        if arguments[0] == "report" and ended.status == 0:
            text = ended.err  # the paths for scripts are what they are
        assert escaped(text) == text, arguments
        if "json" in arguments:
            json.loads(ended.out)
        if arguments == ("ls",):
            assert "[red]a[/red]" in ended.out and ":bug:" in ended.out
    page = (new[0] / "report.html").read_text()
    assert not re.search("[\x1b\x9b\u202e\u2066\x07]", page) and r"\u202egpj.exe" in page


def test_a_bar_has_no_markup(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with console.Bars().bar("[red]a[/red]\x1b]0;x\x07 :bug:", 2) as advance:
        advance(1, "[b]note[/b]\x9b31m")
    text = terminal.getvalue()
    assert "[red]a[/red]" in text and ":bug:" in text and "\x9b" not in text and "\x1b]0" not in text
