"""The files that decide compiled kernels and trained weights, of packages of a few lines and of this one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mi_runner.machine.sources import digest, imported_sources, kernel_sources
from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "mi_runner"
Write = Callable[[dict[str, str]], Path]


@pytest.fixture
def package(tmp_path: Path) -> Write:
    """Writes a package of modules: name → source."""

    def write(modules: dict[str, str]) -> Path:
        for name, source in modules.items():
            file = tmp_path / "small" / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        return tmp_path / "small"

    return write


def names(files: list[Path], package: Path) -> list[str]:
    return [str(file.relative_to(package).with_suffix("")) for file in files]


# --- what is imported ------------------------------------------------------------------------------------------------

IMPORTS = {
    "import small.b": ["a", "b"],
    "import small.b as other, sys": ["a", "b"],
    "from small import b": ["a", "b"],
    "from small.b import B": ["a", "b"],
    "from small.room import inner": ["a", "room/inner"],
    "from small.room import NAME": ["a", "room/__init__"],
    "from small import NAME": ["__init__", "a"],
    "from . import b": ["a", "b"],
    "from .room import (\n    inner,\n)": ["a", "room/inner"],
    "def f():\n    from small import b": ["a", "b"],
    "try:\n    import numpy\nexcept ImportError:\n    import small.b": ["a", "b"],
    "match 1:\n    case 1:\n        import small.b": ["a", "b"],
    "if TYPE_CHECKING:\n    import small.b\nelse:\n    import small.c": ["a", "c"],
    "if typing.TYPE_CHECKING:\n    import small.b": ["a"],
    "import smaller.b, numpy": ["a"],
    "'import small.b'": ["a"],
}


@pytest.mark.parametrize("statement", IMPORTS)
def test_each_way_to_import_is_seen(statement: str, package: Write) -> None:
    rooms = {"__init__": "NAME = 1", "room/__init__": "NAME = 1", "room/inner": "", "b": "B = 1", "c": ""}
    folder = package({**rooms, "a": statement})
    assert names(imported_sources(["small.a"], folder), folder) == IMPORTS[statement]


def test_imports_are_followed_and_folders_are_whole(package: Write) -> None:
    folder = package({"a": "import small.b", "b": "import small.c", "c": "import small.a", "d": "", "__init__": ""})
    assert names(imported_sources(["small.a"], folder), folder) == ["a", "b", "c"]
    folder = package({"room/__init__": "", "room/one": "from . import two", "room/two": "", "room/in/three": ""})
    assert names(imported_sources(["small.room.*"], folder), folder) == [
        *("room/__init__", "room/in/three", "room/one", "room/two")
    ]
    with pytest.raises(FileNotFoundError, match=r"small has no module small\.e\."):
        imported_sources(["small.e"], folder)


# --- what kernels are made of ----------------------------------------------------------------------------------------

KERNELS = {
    "a name that is not mentioned": ("from small.b import B", "number", ["kernel", "numba"]),
    "a constant": ("from small.b import B", "B", ["b", "kernel", "numba"]),
    "a constant by its module": ("from small import b", "b.B", ["b", "c", "kernel", "numba", "unused"]),
    "a function": ("from small.b import double", "double(1)", ["b", "kernel", "numba"]),
    "a function that calls another": ("from small.b import calls", "calls(1)", ["b", "c", "kernel", "numba"]),
    "its own function": ("from small.b import B\ndef f(): return B", "f()", ["b", "kernel", "numba"]),
    "its own constant": ("from small.b import B\nif B:\n    SIZE = 1", "SIZE", ["b", "kernel", "numba"]),
    "a table that is filled": (
        "from small.b import B\nTABLE = [0]\nTABLE[0] = B",
        "TABLE[0]",
        ["b", "kernel", "numba"],
    ),
    "a name that is handed on": ("from small.room import B", "B", ["b", "kernel", "numba", "room/__init__"]),
    "a local variable of that name": ("from small.b import B", "(lambda B: B)(1)", ["kernel", "numba"]),
}


@pytest.mark.parametrize("case", KERNELS)
@pytest.mark.parametrize(
    ("how", "decorator"),
    [
        ("from small.numba import compiled", "@compiled()"),
        ("from small.numba import (\n    other,\n    compiled,\n)", "@compiled()"),
        ("from .numba import compiled as numbas", "@numbas()"),
    ],
)
def test_what_a_kernel_mentions_decides_it(case: str, how: str, decorator: str, package: Write) -> None:
    head, body, expected = KERNELS[case]
    folder = package(
        {
            "numba": "import small.unused\nother = 1\ndef compiled(): ...",
            "unused": "",
            "b": "import small.unused\nfrom small.c import triple\nB = 1\ndef double(x): return 2 * x\n"
            "def calls(x): return triple(x)",
            "c": "import small.unused\ndef triple(x): return 3 * x",
            "room/__init__": "from small.b import B",
            "kernel": f"{how}\nimport small.unused\n{head}\n{decorator}\ndef kernel(number):\n    return {body}",
        }
    )
    assert names(kernel_sources(folder, ("small.numba", "compiled")), folder) == expected


def test_a_package_without_kernels_has_no_sources(package: Write) -> None:
    folder = package({"numba": "def compiled(): ...", "a": "from small.numba import compiled"})
    assert kernel_sources(folder, ("small.numba", "compiled")) == []


def test_the_digest_is_of_names_and_contents(package: Write) -> None:
    folder = package({"a": "x", "b": "yz", "c": "xy", "d": "z"})
    a, b, c, d = (folder / f"{name}.py" for name in "abcd")
    assert len({digest(files, folder) for files in ([a, b], [b, a], [c, d], [a], [b])}) == 5
    before = digest([a], folder)
    package({"a": "y"})
    assert digest([a], folder) != before
    package({"a": "x"})
    assert digest([a], folder) == before


# --- this package ----------------------------------------------------------------------------------------------------


def test_every_file_with_a_kernel_is_found() -> None:
    found = set(kernel_sources(PACKAGE))
    texts = {file: file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")}
    compiled = {file for file, text in texts.items() if re.search(r"^@compiled\(", text, re.MULTILINE)}
    assert len(compiled) >= 5 and compiled | {PACKAGE / "machine/compiled.py"} <= found
    assert not [file for file, text in texts.items() if re.search("@njit|numba.jit|compiled.compiled", text)]


def test_what_a_kernel_calls_is_found_as_numba_finds_it() -> None:
    """Python knows the global names of each compiled function; what they stand for is defined in the found files."""
    program = """
import importlib, inspect, sys
from pathlib import Path
from mi_runner.machine.sources import kernel_sources
package = Path(sys.argv[1])
found = {str(file) for file in kernel_sources(package)}
n_kernels = 0
for file in sorted(found - {str(package / "machine/compiled.py")}):
    module = importlib.import_module(".".join(Path(file).relative_to(package.parent).with_suffix("").parts))
    for function in vars(module).values():
        python = getattr(function, "py_func", None)
        if python is None:
            continue
        n_kernels += 1
        for value in inspect.getclosurevars(python).globals.values():
            value = getattr(value, "py_func", value)
            place = inspect.getfile(value) if inspect.isfunction(value) or inspect.ismodule(value) else ""
            assert not place.startswith(str(package)) or place in found, (python, value)
assert n_kernels > 20, n_kernels
"""
    done = subprocess.run([sys.executable, "-c", program, str(PACKAGE)], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
