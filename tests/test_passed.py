"""With which files a test passed last: by hand, and git's own names."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.passed import Passed, Record, changed, content_name, state_at_main, state_now


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *names, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_new_gone_and_other_files_are_changes() -> None:
    assert changed({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}) == {"b", "c", "d"}
    assert changed({}, {}) == set()


def test_the_state_has_what_git_lists(tmp_path: Path) -> None:
    assert state_now(tmp_path) == {} and state_at_main(tmp_path) == ("", {})
    git(tmp_path, "init")
    for name, text in ((".gitignore", "ignored"), ("tracked", "x\n"), ("ignored", ""), ("gone", "")):
        (tmp_path / name).write_text(text)
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--message", "first")
    first = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "gone").unlink()
    (tmp_path / "untracked é").write_text("y")
    now = state_now(tmp_path)
    assert set(now) == {".gitignore", "tracked", "untracked é"}
    assert now["tracked"] == git(tmp_path, "rev-parse", "HEAD:tracked") == content_name(b"x\n")
    git(tmp_path, "switch", "--create", "branch")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--message", "second")
    commit, main = state_at_main(tmp_path)
    assert commit == first and changed(main, now) == {"gone", "untracked é"}
    git(tmp_path, "branch", "--delete", "--force", "main")
    assert changed(state_at_main(tmp_path)[1], now) == set()


def test_what_did_not_run_keeps_its_state() -> None:
    one, two, three = {"a": "1"}, {"a": "2"}, {"a": "2", "b": "1"}
    record = Record().with_run(one, {"t::x": 1.0, "t::y": 2.0, "t::z": 3.0}, {})
    assert record == Record((one,), {"t::x": Passed(0, 1.0), "t::y": Passed(0, 2.0), "t::z": Passed(0, 3.0)})
    record = record.with_run(two, {"t::x": 1.5}, {"t::z": 0.5})
    assert record.states == (two, one)
    assert record.tests == {"t::x": Passed(0, 1.5), "t::y": Passed(1, 2.0), "t::z": Passed(None, 0.5)}
    record = record.with_run(three, {"t::y": 2.0}, {}, gone=["t::z"])
    assert record.states == (three, two) and record.tests == {"t::x": Passed(1, 1.5), "t::y": Passed(0, 2.0)}


def test_files_that_are_again_as_they_were_are_one_state() -> None:
    record = Record().with_run({"a": "1"}, {"t::x": 1.0}, {}).with_run({"a": "1"}, {"t::y": 1.0}, {})
    assert record == Record(({"a": "1"},), {"t::x": Passed(0, 1.0), "t::y": Passed(0, 1.0)})


def test_a_record_is_read_as_it_was_written() -> None:
    tests = {"t::x": Passed(0, 0.5), "t::y": Passed(1, 1.0), "t::z": Passed(None, 2.0)}
    record = Record(({"a": "1", "b": "1"}, {"a": "2", "c": "1"}), tests)
    values = json.loads(json.dumps(record.as_json()))
    assert values["older"] == [{"a": "2", "b": None, "c": "1"}]
    assert Record.of_json(values) == record and Record.of_json(None) == Record()
