"""Which source files decide what is kept for later runs: compiled kernels, and trained weights?

Rules find the files, so that a new module can't be forgotten. They read the sources and import nothing. They can't see
a module that is imported by a text, nor a value that another module changes; there is neither in what they read.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType

Taken = tuple[str, str | None]
"""What is imported: a module's name, and the name that is taken from it; None where the module itself is."""

DECORATOR: Taken = ("mi_runner.machine.compiled", "compiled")
"""Of compiled functions."""


def imported_sources(modules: Iterable[str], package: Path) -> list[Path]:
    """Returns the files of some modules, and of every module of the package that they import, directly or not.

    A folder's `__init__.py` is among them only if a name is imported from it. Imports for type checkers don't count.

    Args:
        modules: their names, as `mi_runner.training.loop`; `mi_runner.models.*` for all modules in a folder.
        package: the package's folder.
    """
    sources = _Sources(package)
    waiting = [name for pattern in modules for name in sources.named(pattern)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [module for taken in sources.module(name).imports.values() for module, _ in taken]
    return sorted(sources.module(name).file for name in found)


def kernel_sources(package: Path, decorator: Taken = DECORATOR) -> list[Path]:
    """Returns the files that decide the code of a package's compiled functions.

    numba compiles into a function its own source, the functions that it calls, and the values of the global names that
    it reads. So these files are those with a compiled function, and those in which something is defined that its source
    mentions, directly or through other definitions. A module's other imports decide nothing: if they counted, most
    edits of the package would compile every kernel again. For the same reason only the decorator's own file counts.

    Args:
        package: the package's folder.
        decorator: that of compiled functions, which a module imports by its name.
    """
    sources = _Sources(package)
    reached: set[Taken] = {decorator}
    waiting: list[Taken] = []
    name = str(decorator[1]).encode()
    imports_it = re.compile(rb"^\s*(from|import)\b.*\b%b\b|^\s+%b\b.*,$" % (name, name), re.MULTILINE)
    for file in sorted(package.rglob("*.py")):
        content = file.read_bytes()
        if name in content and imports_it.search(content):
            module = sources.module(sources.name(file))
            waiting += [taken for local in module.local_names(decorator) for taken in module.users(local)]
    files = {sources.find(decorator[0])} if waiting else set()
    while waiting:
        taken = waiting.pop()
        if taken not in reached:
            reached.add(taken)
            module = sources.module(taken[0])
            files.add(module.file)
            waiting += module.definition(taken[1])
    return sorted(files)


def digest(files: Iterable[Path], package: Path) -> str:
    """Returns a SHA-256, in hexadecimal, of the names and the contents of files of a package."""
    total = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        total.update(f"{file.relative_to(package)}\n{len(content)}\n".encode() + content)
    return total.hexdigest()


class _Sources:
    """The modules of a package, each of which is parsed when it is first asked for."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self._modules: dict[str, _Module] = {}

    def file(self, name: str) -> Path | None:
        """Returns the file of a module; None if the package has none of this name."""
        if name.partition(".")[0] != self.package.name:
            return None
        path = self.package.parent.joinpath(*name.split("."))
        return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)

    def name(self, file: Path) -> str:
        """Returns the name of a file's module."""
        parts = file.relative_to(self.package.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def named(self, pattern: str) -> Sequence[str]:
        """Returns the name itself, or those of all modules in a folder if it ends with `.*`."""
        folder = self.package.parent.joinpath(*pattern.split(".")[:-1])
        return [self.name(file) for file in folder.rglob("*.py")] if pattern.endswith(".*") else [pattern]

    def module(self, name: str) -> _Module:
        """Returns a module.

        Raises:
            FileNotFoundError: the package has no module of this name.
        """
        if name not in self._modules:
            self._modules[name] = _Module(name, self.find(name), self)
        return self._modules[name]

    def find(self, name: str) -> Path:
        """Returns the file of a module.

        Raises:
            FileNotFoundError: the package has no module of this name.
        """
        file = self.file(name)
        if file is None:
            raise FileNotFoundError(f"{self.package} has no module {name}.")
        return file


class _Module:
    """The statements of a module."""

    def __init__(self, name: str, file: Path, sources: _Sources) -> None:
        self.name, self.file, self._sources = name, file, sources
        self._text = file.read_text(encoding="utf-8")
        self._statements = ast.parse(self._text).body
        self._mentioned: dict[ast.stmt, frozenset[str]] = {}

    @cached_property
    def imports(self) -> dict[str, list[Taken]]:
        """Each name that is imported from the package, and what it stands for."""
        found: dict[str, list[Taken]] = {}
        for statement in _running(self._statements):
            for local, module, name in self._imported_by(statement):
                submodule = f"{module}.{name}"
                taken = (submodule, None) if self._sources.file(submodule) else (module, name)
                if self._sources.file(taken[0]):
                    found.setdefault(local, []).append(taken)
        return found

    def _imported_by(self, statement: ast.stmt) -> Iterator[tuple[str, str, str | None]]:
        """Yields the name that a statement gives, the module, and the name in the module."""
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield alias.asname or alias.name.partition(".")[0], alias.name, None
        elif isinstance(statement, ast.ImportFrom):
            package = self.name if self.file.name == "__init__.py" else self.name.rpartition(".")[0]
            module = resolve_name("." * statement.level + (statement.module or ""), package)
            for alias in statement.names:
                yield alias.asname or alias.name, module, alias.name

    def local_names(self, wanted: Taken) -> list[str]:
        """Returns the names by which the module knows a name of another module."""
        return [local for local, taken in self.imports.items() if wanted in taken]

    def users(self, local: str) -> list[Taken]:
        """Returns what the outer statements that use a name mention, too."""
        using = [one for one in self._statements_with(local) if not isinstance(one, ast.Import | ast.ImportFrom)]
        mentioned = [self._names(statement) for statement in using]
        return [taken for names in mentioned if local in names for taken in self._meaning(names)]

    def definition(self, name: str | None) -> list[Taken]:
        """Returns what the outer statements mention that may define a name; None: all statements.

        A function and a class define their own name. Any other statement may change each value that it mentions.
        """
        statements = self._statements if name is None else self._statements_with(name)
        functions = (ast.FunctionDef, ast.ClassDef)
        chosen = [
            one for one in statements if name in (None, getattr(one, "name", name)) or not isinstance(one, functions)
        ]
        mentioned = [self._names(statement) for statement in chosen]
        handed_on = self.imports.get(name or "", [])
        return [*handed_on, *(taken for names in mentioned for taken in self._meaning(names))]

    def _meaning(self, names: Iterable[str]) -> Iterator[Taken]:
        for name in names:
            yield from self.imports.get(name) or [(self.name, name)]

    @cached_property
    def _texts(self) -> list[tuple[ast.stmt, str]]:
        """Each outer statement with its text, and with what stands before it: comments, decorators."""
        lines, ends = self._text.split("\n"), [statement.end_lineno for statement in self._statements]
        texts = ["\n".join(lines[start:end]) for start, end in itertools.pairwise([0, *ends])]
        return list(zip(self._statements, texts, strict=True))

    def _statements_with(self, name: str) -> list[ast.stmt]:
        """Returns the outer statements in whose text a name stands; only these can mention it."""
        return [statement for statement, text in self._texts if name in text]

    def _names(self, statement: ast.stmt) -> frozenset[str]:
        """Returns the names that a statement mentions, but for local variables."""
        if statement not in self._mentioned:
            code = compile(ast.Module([statement], []), str(self.file), "exec", dont_inherit=True)
            self._mentioned[statement] = frozenset(_names(code))
        return self._mentioned[statement]


def _names(code: CodeType) -> Iterator[str]:
    """Yields the global names of a piece of code, and of the functions in it; attributes are among them."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _running(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yields statements and those inside of them, but for what only type checkers see."""
    for statement in statements:
        yield statement
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            is_for_types = part == "body" and isinstance(statement, ast.If) and _is_type_checking(statement.test)
            if not is_for_types:
                yield from _running(getattr(statement, part, ()))


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"
