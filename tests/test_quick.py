"""`--quick`: what fits, by hand; and runs of a small project with its own tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.passed import Passed, Record
from tests.quick import Plan, Test, fitting, reached, report_lines


def names(fit: dict[str, str]) -> list[str]:
    return [f"{name}:{part.partition('#')[2]}" for name, part in fit.items()]


def test_what_fits_is_spread_over_processes() -> None:
    """6 seconds each: a's tests are two parts of at most 3 seconds, b's second test is too long for what is left."""
    tests = [Test(f"a::{x}", 0, 2.0) for x in "xyz"] + [
        Test("b::x", 1, 1.0),
        Test("b::y", 1, 4.0),
        Test("c::x", 2, 1.0),
    ]
    # loads: a#0 → (2, 0), a#1 → (2, 2), a#2 → (4, 2), b#0 → (4, 3), b#1: 3 + 4 > 6, c#0 → (4, 4)
    assert names(fitting(tests, 2, 6.0)) == ["a::x:0", "a::y:1", "a::z:2", "b::x:0", "c::x:0"]
    assert names(fitting(tests, 1, 6.0)) == ["a::x:0", "a::y:1", "a::z:2"]
    assert names(fitting(tests[:2], 2, 8.0)) == ["a::x:0", "a::y:0"]


def test_a_file_that_never_ran_takes_half_of_a_process_at_most() -> None:
    fit = fitting([Test("a.py", 0, 100.0), Test("b.py", 0, 100.0), Test("c.py", 0, 0.5)], 1, 10.0)
    assert names(fit) == ["a.py:0", "b.py:0"]


def test_each_test_is_compared_with_its_own_state(tmp_path: Path) -> None:
    """mi_runner/m changed after a passed and before b did; c failed, d never ran, e reads nothing."""
    old, now = {"mi_runner/m.py": "1"}, {"mi_runner/m.py": "2"}
    files = {f"tests/test_{x}.py": "1" for x in "abcde"}
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_d.py").write_text("def test_1(): 0\ndef test_2(): 0\n")
    (tmp_path / "tests/test_e.py").write_text("def test_1(): 0\n")
    passed = {"a": Passed(1, 3.0), "b": Passed(0, 1.0), "c": Passed(None, 2.0)}
    record = Record(({**now, **files}, {**old, **files}), {f"tests/test_{x}.py::t": of for x, of in passed.items()})
    readers = {"mi_runner/m.py": {f"tests/test_{x}.py" for x in "abcd"}}
    tests, changes = reached(record, {**old, **files}, {**now, **files}, readers, tmp_path)
    assert tests == (
        Test("tests/test_c.py::t", 0, 2.0),
        Test("tests/test_d.py", 1, 1.0),
        Test("tests/test_a.py::t", 1, 3.0),
    )
    assert changes == {"mi_runner/m.py"}


def test_the_lines_name_what_is_left_out() -> None:
    tests = (*(Test(f"tests/test_{x}.py::t", 1, 1.0) for x in "abcdefg"), Test("tests/test_h.py", 2, 1.0))
    parts = {test.name: "part" for test in tests[:2]}
    plan = Plan({}, ("m.py", "LICENSE"), "since", ("LICENSE",), tests, parts, frozenset(), 12)
    lines = report_lines(plan, [tests[0].name], [tests[1].name], 59.7)
    assert lines == [
        "--quick: 2 files changed since tests passed last: m.py, LICENSE",
        "--quick: since",
        "--quick: no test reads LICENSE",
        "--quick: ran 1 test of 1 file, the nearest first, in 60 s",
        "--quick: left out, because 60 s are over: 6 tests and 1 file that never ran, which changes reach too, of "
        "tests/test_b.py, tests/test_c.py, tests/test_d.py, tests/test_e.py and 3 more. The next --quick takes them "
        "after what is nearer; make test runs all",
        "--quick: left out, because they read nothing that changed: the tests of 12 files",
    ]


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Runs the tests of a project: near imports mi_runner/a, far imports near's reader, alone reads nothing."""
    files = {
        "mi_runner/__init__.py": "",
        "mi_runner/a.py": "VALUE = 1\n",
        "mi_runner/b.py": "from mi_runner import a\n",
        "tests/__init__.py": "",
        "tests/conftest.py": "pytest_plugins = ('tests.quick',)\n",
        "tests/test_a.py": "from mi_runner import a\ndef test_x(): assert a.VALUE\ndef test_y(): pass\n",
        "tests/test_far.py": "from mi_runner import b\ndef test_x(): assert b\n",
        "tests/test_alone.py": "def test_x(): pass\n",
        "pytest.ini": "[pytest]\ntestpaths = tests\n",
        ".gitignore": "__pycache__\n.pytest_cache\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("quick.py", "passed.py", "affected.py"):
        shutil.copy(REPOSITORY / "tests" / name, tmp_path / "tests")
    names = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main")
    for arguments in (["init"], ["add", "--all"], ["commit", "--message", "first"]):
        subprocess.run(["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def run(*arguments: str) -> tuple[int, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        xdist = ("-p", "xdist") if "--numprocesses" in arguments else ()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *xdist, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_quick_runs_what_changes_reach(project: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    status, out = project()
    assert (status, "4 passed" in out, "--quick" in out) == (0, True, False)
    status, out = project("--quick")
    assert status == 0 and "nothing to run" in out and "0 files changed since tests passed last" in out
    assert "they read nothing that changed: the tests of 3 files" in out
    (tmp_path / "mi_runner/b.py").write_text("from mi_runner import a as c\n")
    status, out = project("--quick")
    assert status == 0 and "1 passed" in out and "ran 1 test of 1 file" in out
    assert "1 file changed since tests passed last: mi_runner/b.py" in out and "the tests of 2 files" in out
    assert "nothing to run" in project("--quick")[1]
    (tmp_path / "mi_runner/a.py").write_text("VALUE = 0\n")
    status, out = project("--quick", "--numprocesses", "2", "--dist", "loadfile")
    assert status == 1 and "1 failed, 2 passed" in out
    status, out = project("--quick")  # what failed, and no other
    assert status == 1 and "1 failed" in out and "passed" not in out.replace("passed last", "")
    (tmp_path / "mi_runner/a.py").write_text("VALUE = 2\n")
    status, out = project("--quick")  # what failed comes first
    assert status == 0 and "3 passed" in out


def test_without_a_record_changes_count_from_main(project: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "tests/test_new.py").write_text("def test_x(): pass\n")
    status, out = project("--quick")
    assert status == 0 and "1 passed" in out and "4 files of tests never ran here: their changes count since" in out
    status, out = project("--quick", "tests/test_a.py")
    assert status == 4 and "--quick chooses the tests itself: name no file or test beside it." in out
    shutil.rmtree(tmp_path / ".git")
    status, out = project("--quick")
    assert status == 4 and "there is no git here" in out
    assert project()[0] == 0


@pytest.mark.parametrize("processes", [(), ("--numprocesses", "2", "--dist", "loadfile")])
def test_when_time_is_over_what_is_left_waits(
    project: Callable[..., tuple[int, str]], tmp_path: Path, processes: tuple[str, ...]
) -> None:
    assert project()[0] == 0
    quick = tmp_path / "tests/quick.py"
    whole = quick.read_text()
    (tmp_path / "mi_runner/a.py").write_text("VALUE = 2\n")
    subprocess.run(["git", "update-index", "--assume-unchanged", "tests/quick.py"], cwd=tmp_path, check=True)
    quick.write_text(whole.replace("STARTED + SECONDS}", "STARTED - 1}"))
    assert quick.read_text() != whole
    status, out = project("--quick", *processes)
    assert "ran 0 tests" in out and "3 tests, which changes reach too, of tests/test_a.py, tests/test_far.py" in out
    quick.write_text(whole)
    status, out = project("--quick", *processes)
    assert status == 0 and "ran 3 tests of 2 files" in out and "are over" not in out
