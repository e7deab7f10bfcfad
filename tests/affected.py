"""Which files of tests does a change reach, and over how many steps?

A step leads from a file to one that reads it: by an import (grimp's graph), by the name of a module in a string
(`"mi_runner.models.mlp"`), by the choice of a command (`experiment=das`), by the name of a page or of another file.
Tests that mirror a changed file are as near as the changed file itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

PACKAGES = ("mi_runner", "tests")
MODULE = re.compile(r"""["'](mi_runner(?:\.\w+)+)\b""")
CHOICE = re.compile(r"\b(experiment|dataset|model)(?:=|: )(\w+)")
NAMED = re.compile(r"[\w*.-]+\.[a-z]\w*\b|(?<=[\"'])[A-Z]\w+(?=[\"'])")
EVERYWHERE = ("tests/conftest.py", "tests/forked.py", "pyproject.toml", "constraints.txt", "mi_runner/__init__.py")
"""What bears on all tests, though few import it."""
FARTHEST = 99
"""The steps to what only a file of `EVERYWHERE` reaches."""


def is_tests(path: str) -> bool:
    """Whether a file has tests."""
    return path.startswith("tests/") and PurePosixPath(path).name.startswith("test_") and path.endswith(".py")


def mirrors(path: str, tests: Iterable[str]) -> set[str]:
    """The files of tests that mirror a file, by their names.

    `mi_runner/methods/circuits/kernels/census.py` has tests/methods/test_census.py and test_census_pieces.py;
    `mi_runner/experiments/decoder/tables.py` has tests/experiments/test_decoder.py.
    """
    top, *folders = PurePosixPath(path).with_suffix("").parts
    if top != "mi_runner" or not path.endswith(".py"):
        return set()
    *rooms, name = folders
    own = f"test_{name}" if name != "__init__" else f"test_{rooms[-1]}" if rooms else ""
    of_room = {f"test_{room}" for room in rooms[1:]} if rooms[:1] == ["experiments"] else set()
    below = f"tests/{rooms[0]}/" if rooms else "tests/test_"
    stems = {own, *of_room} - {"", "test_common"}
    return {
        test
        for test in tests
        if test.startswith(below) and any(f"{PurePosixPath(test).stem}_".startswith(f"{stem}_") for stem in stems)
    }


def readers_of(paths: Collection[str], root: Path) -> dict[str, set[str]]:
    """File → the files that read it.

    Args:
        paths: all files of the project, relative to `root`.
        root: the folder of the project, which Python's path has.
    """
    readers = defaultdict(set, imported(paths))
    choices, names = defaultdict(set), defaultdict(set)
    for path in map(PurePosixPath, paths):
        if path.is_relative_to("conf") or path.is_relative_to("mi_runner/config"):
            choices[path.parent.name.removesuffix("s"), path.stem].add(str(path))
        if path.suffix != ".py":
            names[path.name].add(str(path))
            names[f"*{path.suffix}"].add(str(path))
    for reader in paths:
        if not (reader.startswith("conf/") or (reader.startswith(PACKAGES) and reader.endswith(".py"))):
            continue
        text = (root / reader).read_text(encoding="utf-8")
        modules = {file for name in MODULE.findall(text) for file in files_of(name, paths)}
        chosen = {file for choice in CHOICE.findall(text) for file in choices.get(choice, ())}
        named = {file for name in NAMED.findall(text) for file in names.get(name, ())}
        for read in (modules | chosen | named) - {reader}:
            readers[read].add(reader)
    return readers


def files_of(module: str, paths: Collection[str]) -> list[str]:
    """The file of a module or package, if there is one."""
    path = module.replace(".", "/")
    return [file for file in (f"{path}.py", f"{path}/__init__.py") if file in paths]


def imported(paths: Collection[str]) -> dict[str, set[str]]:
    """File → the files that import it."""
    import grimp

    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    file_of = {module: file for module in graph.modules for file in files_of(module, paths)}
    return {
        file: {file_of[importer] for importer in graph.find_modules_that_directly_import(module) if importer in file_of}
        for module, file in file_of.items()
    }


def steps_to_tests(changed: Collection[str], paths: Collection[str], readers: Mapping[str, set[str]]) -> dict[str, int]:
    """Files of tests that a change reaches → the steps of the shortest way; 0: changed, or mirrors what changed.

    Args:
        changed: the files that changed; those that are gone count.
        paths: the files that there are.
        readers: of `readers_of`.
    """
    tests = [path for path in paths if is_tests(path)]
    mirror = {test for path in changed for test in mirrors(path, tests)}
    steps = dict.fromkeys([*changed, *mirror], 0)
    front, step = sorted(steps), 0
    while front:
        step += 1
        front = sorted({reader for path in front for reader in readers.get(path, ())} - set(steps))
        steps.update(dict.fromkeys(front, step))
    if not set(changed).isdisjoint(EVERYWHERE):
        steps = {**dict.fromkeys(tests, FARTHEST), **steps}
    return {path: steps[path] for path in tests if path in steps}
