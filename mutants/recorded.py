"""Which tests run which lines of the rooms: the tests of a fault are those that run its statement."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from mutants.places import ROOMS, Fault, sources


def test_files(checkout: Path) -> list[str]:
    """The files of tests that import something of the rooms, and so test it in their own process."""
    names = {f"mi_runner.{room}" for room in ROOMS}
    return sorted(
        str(path.relative_to(checkout))
        for path in (checkout / "tests").rglob("test_*.py")
        if names & {".".join(name.split(".")[:2]) for name in _imports(path)}
    )


def digest(checkout: Path, test_file: str) -> str:
    """Of the sources and of what the test file can read: a recording of the same digest needs no repetition."""
    shared = [path for path in (checkout / "tests").glob("*.py") if not path.name.startswith("test_")]
    read = [
        checkout / test_file,
        *shared,
        *(checkout / "mi_runner").rglob("*.py"),
        *(checkout / "conf").rglob("*.yaml"),
    ]
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in sorted(read))).hexdigest()


class Recorder:
    """A plugin of pytest that keeps the lines that each test runs, those of its shared fixtures included.

    Args:
        checkout: the copy of the sources.
        file: where the recording is written, as JSON: `lines` (file → line → tests), `seconds` (test → its duration).
    """

    def __init__(self, checkout: Path, file: Path) -> None:
        import coverage

        self._checkout, self._file = checkout, file
        self._coverage = coverage.Coverage(
            data_file=None, include=[str(checkout / source) for source in sources(checkout)], config_file=False
        )
        self._coverage.start()
        self._fixtures: dict[str, list[str]] = {}
        self._seconds: dict[str, float] = {}
        self._failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(item.nodeid)
        begin = time.process_time()
        try:
            return (yield)
        finally:
            self._seconds[item.nodeid] = time.process_time() - begin
            self._coverage.switch_context("")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[Any]:
        if fixturedef.scope == "function":
            return (yield)
        name = f"fixture {fixturedef.argname}"
        before = request._pyfuncitem.nodeid
        self._coverage.switch_context(name)
        try:
            return (yield)
        finally:
            self._coverage.switch_context(before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.add(report.nodeid)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for name in getattr(item, "fixturenames", ()):
                self._fixtures.setdefault(f"fixture {name}", []).append(item.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        lines: dict[str, dict[int, list[str]]] = {}
        for file in data.measured_files():
            of_file = lines.setdefault(str(Path(file).relative_to(self._checkout)), {})
            for line, contexts in data.contexts_by_lineno(file).items():
                tests = {test for context in contexts for test in self._fixtures.get(context, [context])}
                of_file[line] = sorted(tests - self._failed - {""})
        passed = {test: seconds for test, seconds in self._seconds.items() if test not in self._failed}
        self._file.write_text(json.dumps({"lines": lines, "seconds": passed, "failed": sorted(self._failed)}))


@dataclass(frozen=True)
class Recording:
    """What all recorded files say together.

    Attributes:
        checkout: the copy of the sources.
        lines: file → line → tests that run it.
        seconds: test → seconds of a processor.
    """

    checkout: Path
    lines: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]

    @classmethod
    def read(cls, checkout: Path, files: Iterable[Path]) -> Recording:
        lines: dict[str, dict[int, list[str]]] = {}
        seconds: dict[str, float] = {}
        for file in files:
            recording = json.loads(file.read_text())
            seconds.update(recording["seconds"])
            for source, of_file in recording["lines"].items():
                for line, tests in of_file.items():
                    lines.setdefault(source, {}).setdefault(int(line), []).extend(tests)
        return cls(checkout, lines, seconds)

    def tests(self, fault: Fault, most: float = math.inf) -> list[str]:
        """The tests that run the fault's statement, those files first that take least.

        If they take more than so many seconds, these are the ones that take least.

        Where nothing says who runs it, because it is compiled or runs when its module is imported: those that run
        any function of the file, or of a file that imports it. A default is also what tests of files see that import
        its module and don't run the function.
        """
        first, last, traced = self.statement(fault)
        of_file = self.lines.get(fault.file, {})
        if traced:
            found = {test for line in range(first, last + 1) for test in of_file.get(line, ())}
        else:
            found = {
                test for file in self._users(fault.file) for of in self.lines.get(file, {}).values() for test in of
            }
        if not traced or self._is_default(fault):
            module = fault.file.removesuffix(".py").replace("/", ".")
            files = {test.partition("::")[0] for test in self.seconds}
            importing = {file for file in files if module in _imports(self.checkout / file)}
            found |= {test for test in self.seconds if test.partition("::")[0] in importing}
        chosen: list[str] = []
        for test in sorted(found, key=lambda test: (self.seconds[test], test)):
            most -= self.seconds[test]
            if most >= 0 or not chosen:
                chosen.append(test)
        cost: dict[str, float] = {}
        for test in chosen:
            file = test.partition("::")[0]
            cost[file] = cost.get(file, 0) + self.seconds[test]
        return sorted(chosen, key=lambda test: (cost[test.partition("::")[0]], test))

    def statement(self, fault: Fault) -> tuple[int, int, bool]:
        """First and last line of the fault's statement, and whether it is seen when they run.

        Of a loop or a branch these are the lines of its head; of a function's head they are the whole function.
        """
        tree = ast.parse((self.checkout / fault.file).read_text())
        around = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.stmt | ast.ExceptHandler) and node.lineno <= fault.line <= (node.end_lineno or 0)
        ]
        if not around:
            return fault.line, fault.line, False
        inner = min(around, key=lambda node: (node.end_lineno or 0) - node.lineno)
        functions = [node for node in around if isinstance(node, ast.FunctionDef)]
        seen = bool(functions) and not any(map(_is_compiled, functions))
        body = [] if isinstance(inner, ast.FunctionDef) else getattr(inner, "body", [])
        return inner.lineno, max(inner.lineno, body[0].lineno - 1) if body else inner.end_lineno or 0, seen

    def _is_default(self, fault: Fault) -> bool:
        """Whether it is in the head of a function."""
        functions = (
            node
            for node in ast.walk(ast.parse((self.checkout / fault.file).read_text()))
            if isinstance(node, ast.FunctionDef)
        )
        return any(node.lineno <= fault.line < node.body[0].lineno for node in functions)

    def is_compiled(self, fault: Fault) -> bool:
        """Whether kernels are compiled anew with this fault: it is in one, or outside of all functions."""
        return not self.statement(fault)[2]

    def changed_kernels(self, fault: Fault) -> set[str]:
        """The compiled functions that a fault changes: its own, or those that read its constant; and their callers."""
        names: set[str] = set()
        tree = ast.parse((self.checkout / fault.file).read_text())
        if not any(isinstance(node, ast.FunctionDef) and _is_compiled(node) for node in tree.body):
            return names
        for node in tree.body:
            if node.lineno <= fault.line <= (node.end_lineno or 0):
                targets = ast.walk(node) if not isinstance(node, ast.FunctionDef) else ()
                names = {t.id for t in targets if isinstance(t, ast.Name)} | {getattr(node, "name", "")}
        found: set[str] = set()
        while names:
            found |= names
            names = {name for name, read in self._read_by_kernels.items() if read & found} - found
        return found

    @cached_property
    def _read_by_kernels(self) -> dict[str, set[str]]:
        """Compiled function → the names that it reads."""
        return {
            function.name: {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
            for source in sources(self.checkout)
            for function in ast.parse((self.checkout / source).read_text()).body
            if isinstance(function, ast.FunctionDef) and _is_compiled(function)
        }

    def _users(self, file: str) -> list[str]:
        return [file, *self._importers.get(file, ())]

    @cached_property
    def _importers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for source in sources(self.checkout):
            for name in _imports(self.checkout / source):
                found.setdefault(name.replace(".", "/") + ".py", []).append(source)
        return found


def _is_compiled(function: ast.FunctionDef) -> bool:
    calls = [decorator.func for decorator in function.decorator_list if isinstance(decorator, ast.Call)]
    return any(isinstance(called, ast.Name) and called.id == "compiled" for called in calls)


def _imports(path: Path) -> set[str]:
    """Names that the file imports, of modules and of what is in them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found
