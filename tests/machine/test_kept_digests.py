"""Digests of sources that are kept: found again while nothing changes, and computed again after any edit."""

from __future__ import annotations

from pathlib import Path

import pytest

from mi_runner.machine.cache import SOURCES
from mi_runner.machine.kept_digests import kept_digest


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MI_RUN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "one.py").write_text("1")
    return tmp_path / "package"


def test_it_is_computed_once_until_a_source_changes_or_is_added_or_renamed(package: Path) -> None:
    digests = iter("abcdef")

    def found() -> str:
        return kept_digest("training", package, lambda: next(digests))

    assert [found(), found()] == ["a", "a"]
    (package / "one.py").write_text("2")
    assert [found(), found()] == ["b", "b"]
    (package / "two.py").write_text("")
    assert [found(), found()] == ["c", "c"]
    (package / "two.py").rename(package / "three.py")
    assert [found(), found()] == ["d", "d"]


@pytest.mark.parametrize("damage", ["others can write it", "it is empty", "it has no digest"])
def test_a_file_that_cant_be_believed_is_written_again(package: Path, tmp_path: Path, damage: str) -> None:
    kept_digest("training", package, lambda: "a")
    file = tmp_path / "cache" / SOURCES / "training"
    if damage == "others can write it":
        file.chmod(0o666)
    else:
        file.write_text("" if damage == "it is empty" else file.read_text().replace(" a", " *"))
    assert kept_digest("training", package, lambda: "b") == "b"
    assert kept_digest("training", package, lambda: "c") == "b"


def test_without_a_cache_it_is_computed_each_time(package: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, and no folder")
    digests = iter("ab")
    assert [kept_digest("training", package, lambda: next(digests)) for _ in range(2)] == ["a", "b"]
