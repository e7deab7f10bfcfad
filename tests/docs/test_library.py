"""What docs/library.md and docs/maps.md show can be run, block after block; type checkers know the pages' names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mi_runner
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "library.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("page", "n_blocks"), [(PAGE, 9), (PAGE.parent / "maps.md", 2)], ids=["library", "maps"])
def test_every_block_runs(page: Path, n_blocks: int) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) >= n_blocks and len(blocks) == text.count("\n```python\n")
    names: dict[str, Any] = {"__name__": "library"}
    for block in blocks:
        first_line = text[: block.start(1)].count("\n")
        # The empty lines make a traceback name the page's own line.
        exec(compile("\n" * first_line + block[1], str(page), "exec"), names)


WRONG = """
import mi_runner
from mi_runner.circuits import search
from mi_runner.graph import ModelGraph

search(accuracy_threshold="high")
ModelGraph.trace(3)
mi_runner.ablate(methods=3)
mi_runner.circuits.no_such_name
mi_runner.no_such_name
"""


def test_a_type_checker_knows_the_examples(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Each page's as a file of a user, who has mi_runner among the libraries; a wrong file is noticed there, too."""
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    for page in PAGE.parent.glob("*.md"):
        blocks = [block[1] for block in BLOCK.finditer(page.read_text(encoding="utf-8"))]
        if blocks and page.name != "plugins.md":  # which shows the files of a package; a test installs it
            (tmp_path / f"page_{page.stem}.py").write_text("\n".join(blocks), encoding="utf-8")
    files = sorted(path.name for path in tmp_path.iterdir())
    assert "page_library.py" in files and len(files) > 8
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file=", "--check-untyped-defs", "--allow-redefinition"),
            *("--disable-error-code=import-untyped", "--no-error-summary"),
            *("--cache-dir", str(request.config.cache.mkdir("mypy")), *files),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = [line for line in done.stdout.splitlines() if ": note: " not in line]
    assert done.stderr == "" and not [line for line in lines if not line.startswith("wrong.py:")], done.stdout
    wrong = {int(line.split(":")[1]): line for line in lines}
    assert sorted(wrong) == [6, 7, 8, 9, 10], done.stdout
    assert all("attr-defined" in wrong[line] for line in (9, 10)) and "arg-type" in wrong[7]


def test_each_name_that_a_type_checker_knows_is_there() -> None:
    """The names are in `mi_runner/__init__.py` twice: as imports for type checkers, and where they are loaded from."""
    source = (REPOSITORY / "mi_runner/__init__.py").read_text(encoding="utf-8").partition("else:\n")[0]
    found = re.findall(r"^    from ([\w.]+) import (\w+) as (\w+)$", source, re.MULTILINE)
    assert len(found) == source.count("\n    from ") > 80
    # `open` is no part of `from mi_runner import *`, which would hide Python's own.
    assert sorted(name for _, _, name in found) == sorted({*mi_runner.__all__, "open"} - {"__version__"})
    for module, name, alias in found:
        value = getattr(__import__(module, fromlist=[name]), name)
        assert value is getattr(mi_runner, alias), alias


def test_a_namespace_has_what_it_lists() -> None:
    for name in mi_runner._NAMESPACES:
        namespace = getattr(mi_runner, name)
        assert namespace.__doc__ and namespace.__name__ == f"mi_runner.{name}"
        for each in getattr(namespace, "__all__", ()):
            assert getattr(namespace, each) is not None
    with pytest.raises(AttributeError, match="module 'mi_runner' has no attribute 'no_such_name'"):
        _ = mi_runner.no_such_name


def test_the_page_names_each_namespace() -> None:
    listed = re.findall(r"^\| `mi_runner\.(\w+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(listed) == set(mi_runner._NAMESPACES) - {"errors", "experiments", "models"}


def test_importing_the_package_loads_none_of_it() -> None:
    program = (
        "import sys, mi_runner; print(sorted(name for name in sys.modules if 'mi_runner' in name or name == 'torch'))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert [name for name in eval(done.stdout) if not name.startswith("__editable__")] == ["mi_runner"]
