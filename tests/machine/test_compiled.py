"""The compiled code of kernels is kept in mi-run's cache folder, and nothing there can make a run fail."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numba
import pytest
from filelock import FileLock

from mi_runner.machine import compilation, compiled

SOURCE = """
from numba import njit
from mi_runner.machine.compiled import compiled

@compiled()
def double(number):
    return 2 * number

@compiled(fastmath=True)
def four_times(number):
    return double(double(number))

@njit(cache=True)
def of_the_program_itself(number):
    return double(number) + 1
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where compiled code is kept, in a cache of the test's own."""
    monkeypatch.setenv("MI_RUN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    # An edit of the same second and size would find the module's old bytecode.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return compiled.kernels_folder()


def loaded(tmp_path: Path, source: str = SOURCE) -> Any:
    """The module above as a new process would see it: nothing is compiled yet."""
    file = tmp_path / "program" / "kernels.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("kernels", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hits(function: Any) -> int:
    return sum(function.stats.cache_hits.values())


def test_code_is_kept_in_the_cache_folder_and_found_again(tmp_path: Path, folder: Path) -> None:
    first = loaded(tmp_path)
    assert (first.four_times(3), hits(first.double), hits(first.four_times)) == (12, 0, 0)
    assert folder.parent == tmp_path / "cache/kernels"
    assert {file.name.split("-")[0] for file in folder.glob("*.nbc")} == {"kernels.double", "kernels.four_times"}
    assert not list((tmp_path / "program").rglob("*.nb?"))
    second = loaded(tmp_path)
    assert (second.four_times(3), second.double(2), hits(second.double), hits(second.four_times)) == (12, 4, 1, 1)


def test_an_edit_of_another_package_s_function_is_compiled_again(tmp_path: Path, folder: Path) -> None:
    """The folder's version covers this package alone; a package that is installed beside it has kernels of its own."""
    first = loaded(tmp_path)
    assert (first.four_times(3), hits(first.four_times)) == (12, 0)
    edited = SOURCE.replace("return 2 * number", "return 3 * number")
    second = loaded(tmp_path, edited)
    assert (second.double(3), second.four_times(3), hits(second.double), hits(second.four_times)) == (9, 27, 0, 0)
    third = loaded(tmp_path, edited)
    assert (third.four_times(3), hits(third.four_times)) == (27, 1)
    for name in ("__init__.py", "others/__init__.py"):  # a package: all of its sources count
        (tmp_path / "program" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "program" / name).touch()
    counts = []
    for text in ("A = 1", "A = 1", "A = 2"):
        (tmp_path / "program/others/values.py").write_text(text)
        module = loaded(tmp_path, edited)
        counts.append((module.double(3), hits(module.double)))
    assert counts == [(9, 0), (9, 1), (9, 0)]


def test_a_program_s_own_functions_are_kept_where_it_says(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = str(tmp_path / "its own")
    monkeypatch.setattr(numba.config, "CACHE_DIR", own)
    assert loaded(tmp_path).of_the_program_itself(3) == 7
    assert own == numba.config.CACHE_DIR
    assert [file.name.split("-")[0] for file in folder.glob("*.nbc")] == ["kernels.double"]
    assert [file.name.split("-")[0] for file in Path(own).rglob("*.nbc")] == ["kernels.of_the_program_itself"]


PACKAGE = {
    "machine/compiled.py": "def compiled(): ...",
    "kernels.py": "from mi_runner.machine.compiled import compiled\nfrom mi_runner.sizes import SIZE\n"
    "from mi_runner.errors import unknown\n@compiled()\ndef kernel(): return SIZE",
    "sizes.py": "SIZE = 1",
    "errors.py": "",
}


@pytest.mark.parametrize("edited", PACKAGE)
def test_an_edit_of_a_source_that_decides_a_kernel_is_another_version(
    edited: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "mi_runner/machine/compiled.py"))
    versions = []
    for addition in ("", "\n# an edit", ""):
        for name, source in PACKAGE.items():
            (tmp_path / "mi_runner" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "mi_runner" / name).write_text(source + addition * (name == edited))
        versions.append(compiled._version.__wrapped__())
    assert versions[0] == versions[2]
    assert (versions[0] == versions[1]) is (edited == "errors.py")


def test_another_version_s_code_goes_when_nobody_uses_it(tmp_path: Path, folder: Path) -> None:
    limit = time.time() - compiled.UNUSED_DAYS * 24 * 3600
    names = {"0123456789ab": limit - 60, "ba9876543210": limit + 3600, folder.name: limit - 60, "linux": limit - 60}
    for name, used in names.items():
        (folder.parent / name).mkdir(parents=True)
        (folder.parent / name / "code").write_text("code")
        os.utime(folder.parent / name, (used, used))
    assert loaded(tmp_path).double(3) == 6
    assert {path.name for path in folder.parent.iterdir()} == set(names) - {"0123456789ab"}
    assert (folder / "code").exists()
    assert folder.stat().st_mtime > time.time() - 3600


@pytest.mark.parametrize("blocked", ["cache", "cache/kernels"])
def test_a_folder_that_can_not_be_made_costs_one_warning(
    blocked: str, tmp_path: Path, folder: Path, warnings_in_log: list[str]
) -> None:
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).write_text("no folder")
    assert loaded(tmp_path).four_times(3) == 12
    [line] = warnings_in_log
    assert line.startswith(f"the cache {tmp_path / 'cache'} can't be used (")
    assert line.endswith("): nothing is kept for the next run. MI_RUN_CACHE=FOLDER names another folder.")
    assert not list(tmp_path.rglob("*.nb?"))


@pytest.mark.parametrize("damaged", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_damaged_files_are_compiled_anew(damaged: str, content: bytes, tmp_path: Path, folder: Path) -> None:
    loaded(tmp_path).double(3)
    (file,) = folder.glob(damaged)
    file.write_bytes(content)
    second, third = loaded(tmp_path), loaded(tmp_path)
    assert (second.double(3), hits(second.double)) == (6, 0)
    assert (third.double(3), hits(third.double)) == (6, 1)


def test_processes_write_one_after_the_other(tmp_path: Path, folder: Path) -> None:
    """Or one's index would name the other's code."""
    folder.mkdir(parents=True)
    module = loaded(tmp_path)
    thread = threading.Thread(target=module.double, args=(3,))
    with FileLock(folder / "lock"):
        thread.start()
        thread.join(timeout=1)
        assert thread.is_alive() and not list(folder.glob("*.nb?"))
    thread.join(timeout=60)
    assert not thread.is_alive() and len(list(folder.glob("*.nb?"))) == 2


def test_the_clock_stands_still_while_code_is_compiled_or_read_from_the_cache(tmp_path: Path) -> None:
    loaded(tmp_path).double(0.5)  # what numba does once in a process
    for _ in range(2):  # compiled, and then read
        module = loaded(tmp_path)
        began, own = time.perf_counter(), compiled.clock()
        module.four_times(3)
        took, counted = time.perf_counter() - began, compiled.clock() - own
        assert 0 < counted < took / 2
    own = compiled.clock()
    time.sleep(0.05)
    assert compiled.clock() - own >= 0.05  # otherwise it goes on


def test_how_long_kernels_were_compiled_is_said_with_their_folder(tmp_path: Path, folder: Path) -> None:
    """Of this decorator's alone, each with those that it calls; nothing is said where all came from the cache."""
    began = compilation.SPENT.seconds
    first = loaded(tmp_path)
    assert numba.njit(lambda number: number + 1)(1) == 2 and compilation.sentence_since(began) == ""
    took = time.perf_counter()
    assert first.four_times(3) == 12
    took = time.perf_counter() - took
    assert 0 < compilation.SPENT.seconds - began < took
    said = compilation.sentence_since(began)
    assert re.fullmatch(rf"compiled kernels in \d+\.\d s; the next run finds them in {folder}", said)
    began = compilation.SPENT.seconds
    assert loaded(tmp_path).four_times(3) == 12 and compilation.sentence_since(began) == ""


def test_without_a_cache_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MI_RUN_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(compilation.SPENT, "folder", None)
    began = compilation.SPENT.seconds
    assert loaded(tmp_path).double(3) == 6
    assert re.fullmatch(r"compiled kernels in \d+\.\d s", compilation.sentence_since(began))
