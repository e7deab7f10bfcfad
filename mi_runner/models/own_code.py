"""Which code is a user's own, and what is its digest?

A network's own code is its factory's module and all that its import brings in, directly or through others: every
module below the factory's folder, and modules elsewhere that are neither Python's nor installed in a site-packages
folder. Imports count wherever they stand, in a function too, so that the digest doesn't depend on what ran before. They
are read from the sources; what a module holds of others, and the classes of a network's modules, count besides. Of a
library that has the factory itself, the modules that hold each other count, as far as they are in its package.

The digest is of the code that runs. Python keeps a module once it is imported, so a file that is edited later counts as
it was, and `Code` says that the process runs the earlier code.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from mi_runner.machine.files import tensors_sha256

INSTALLED = ("site-packages", "dist-packages")

DIGITS = 12

MOST_PARSED = 300
"""Modules whose imports are read, which takes some hundredths of a second each. Of a library that is worked on in
place, further ones count if those that are imported hold them."""


@dataclass(frozen=True)
class _Found:
    """A module, imported or not.

    Attributes:
        file: of its source; None for a package without one, and for code that was typed.
        path: where its submodules are; empty for a module that is no package.
        module: None if it is not imported.
        loader: what read it.
    """

    name: str
    file: str | None
    path: tuple[str, ...]
    module: ModuleType | None
    loader: Any


_sources: dict[str, tuple[object, bytes]] = {}
"""Module → its specification and its source as it was imported. This is the state of a process, as sys.modules is."""


@dataclass(frozen=True)
class Code:
    """The code that runs.

    Attributes:
        digest: in hexadecimal.
        edited: the files that were edited after their import.
    """

    digest: str
    edited: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """A line, if files were edited."""
        what = "edited after the import; this process runs the earlier code. Start it again to run the new."
        return (f"{', '.join(self.edited)}: {what}",) if self.edited else ()


def code_of(modules: Iterable[str], *, classes: Iterable[str] = (), besides: Iterable[str] = ()) -> Code:
    """Returns a digest of the own code of these modules and of what they import.

    Args:
        modules: names of imported modules, the factory's first. Code of a site-packages folder counts if it is in the
            package of one of them.
        classes: names of modules that define classes of the network; these files count wherever they are.
        besides: names of further modules, of which those of a site-packages folder don't count.
    """
    names, everywhere = list(dict.fromkeys(modules)), set(classes)
    homes = {name.partition(".")[0] for name in names} - {"torch"}
    parts: dict[str, str] = {}
    functions: list[FunctionType] = []
    current: dict[str, set[str]] = {}
    changed: list[str] = []
    queue = [*besides, *sorted(everywhere), *names]
    seen: set[str] = set()
    n_parsed = 0
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        found = _find(name)
        if found is None or not _is_own(found, homes, name in everywhere):
            continue
        queue += [name.rpartition(".")[0]] if "." in name else []
        source = _source(found)
        is_library = found.file is not None and _is_installed(Path(found.file))
        imports: Sequence[str] = ()
        parsed = source is not None and n_parsed < MOST_PARSED and (not is_library or bool(found.path))
        if source is not None and parsed:
            n_parsed += 1
            imports = _imports(source, name, bool(found.path))
        queue += imports
        if found.module is not None:
            functions += _functions(found.module)
            queue += _held(found.module, submodules=DYNAMIC in imports)
        if source is None:
            if found.module is not None and not found.path:
                parts[name] = _typed(found.module)
            continue
        parts[name] = hashlib.sha256(source).hexdigest()
        text = _read(found)
        if found.module is not None and text is not None and text != source:
            changed.append(str(found.file))
        plain = type(found.loader).__name__ == "SourceFileLoader"  # others, as pytest's, may change the code
        if found.file is not None and found.module is not None and plain and parsed and not is_library:
            current[found.file] = _fingerprints(source, found.file)
    # A function that isn't in its file's text: the module was edited after its import and before this first look.
    earlier: set[str] = set()
    for function in functions:
        file = function.__code__.co_filename
        if file in current and (fingerprint := _fingerprint(function.__code__)) not in current[file]:
            earlier.add(fingerprint)
            changed.append(file)
    content = repr((sorted(parts.items()), sorted(earlier)))
    return Code(hashlib.sha256(content.encode()).hexdigest(), tuple(dict.fromkeys(changed)))


def defining_modules(make: Any) -> list[str]:
    """Returns the names of the modules that define a callable: also of what a partial or a wrapper calls."""
    names: list[str] = []
    while make is not None:
        kind = make if isinstance(make, type) else type(make)
        names += [str(name) for one in (make, kind) if (name := getattr(one, "__module__", None))]
        make = make.func if isinstance(make, partial) else getattr(make, "__wrapped__", None)
    return names


# --- modules -------------------------------------------------------------------------------------------------------


def _find(name: str) -> _Found | None:
    """Returns a module by its name without importing it; None if it is built in, or there is none."""
    module = sys.modules.get(name)
    if isinstance(module, ModuleType):
        path = tuple(getattr(module, "__path__", ()))
        file, loader = getattr(module, "__file__", None), getattr(module, "__loader__", None)
        if file is None and not path and getattr(module, "__spec__", None) is not None:  # built in
            return None
        return _Found(name, file, path, module, loader)
    parent, _, _ = name.rpartition(".")
    if not parent and name in sys.stdlib_module_names:
        return None
    found = _find(parent) if parent else None
    if parent and (found is None or not found.path):
        return None
    for finder in sys.meta_path:
        with suppress(Exception):  # a finder of someone's own
            spec = finder.find_spec(name, list(found.path) if found else None)
            if spec is not None:
                file = spec.origin if spec.has_location else None
                return _Found(name, file, tuple(spec.submodule_search_locations or ()), None, spec.loader)
    return None


def _is_own(found: _Found, homes: set[str], installed_too: bool) -> bool:
    """Returns whether a module is neither Python's, nor ours, nor torch's, nor installed outside of `homes`."""
    top = found.name.partition(".")[0]
    places = [Path(place) for place in ([found.file] if found.file else found.path)]
    if found.name in sys.builtin_module_names or top == "torch" or any(map(_is_pythons, places)):
        return False
    return installed_too or top in homes or not any(map(_is_installed, places))


def _is_installed(place: Path) -> bool:
    return not set(INSTALLED).isdisjoint(place.parts)


@lru_cache(maxsize=100_000)
def _is_pythons(place: Path) -> bool:
    """Returns whether a file is of Python's library, or of this package."""
    libraries = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    ours = Path(__file__).parents[1] in place.parents
    return ours or (not _is_installed(place) and not libraries.isdisjoint(place.parents))


def _source(found: _Found) -> bytes | None:
    """Returns a module's source, of an imported one as it was imported; None if it has none that can be read."""
    if found.module is None:
        return _read(found)
    mark = getattr(found.module, "__spec__", None) or found.module
    if found.name in _sources and _sources[found.name][0] is mark:
        return _sources[found.name][1]
    source = _read(found)
    if source is not None:
        _sources[found.name] = mark, source
    return source


def _read(found: _Found) -> bytes | None:
    """Returns the bytes of a module's file, which may be inside a zip file; None if there are none."""
    if found.file is None:
        return None
    with suppress(OSError):
        return Path(found.file).read_bytes()
    with suppress(Exception):  # a loader of someone's own
        return found.loader.get_data(found.file)
    return None


def _held(module: ModuleType, *, submodules: bool) -> Iterator[str]:
    """Yields the names of modules that a module holds, or whose functions and classes it holds.

    Args:
        submodules: whether its own submodules count; a package holds those too that another module imported.
    """
    for key, value in list(vars(module).items()):
        if isinstance(value, ModuleType):
            if submodules or value.__name__ != f"{module.__name__}.{key}":
                yield value.__name__
        elif isinstance(value, FunctionType | type) and isinstance(value.__module__, str):
            yield value.__module__


DYNAMIC = ""
"""Stands for an import whose name the source doesn't say."""


@lru_cache(maxsize=1_000)
def _imports(source: bytes, name: str, is_package: bool) -> list[str]:
    """Returns the names that the import statements of a source may mean, those in functions too."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # compiled code; a module that can't be imported
        return []
    package = name if is_package else name.rpartition(".")[0]
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node.module or "", node.level, package)
            if base is not None:
                names += [base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            text = node.args[0].value
            if _called(node) in IMPORTS and isinstance(text, str):
                level = len(text) - len(text.lstrip("."))
                names += [base] if (base := _absolute(text[level:], level, package)) else []
        elif isinstance(node, ast.Call) and _called(node) in IMPORTS:
            names.append(DYNAMIC)
    return names


IMPORTS = ("import_module", "__import__")


def _called(call: ast.Call) -> str:
    """Returns the last name of what is called: `import_module` of `importlib.import_module(...)`."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _absolute(name: str, level: int, package: str) -> str | None:
    if not level:
        return name
    parts = package.split(".")
    if level > len(parts):
        return None
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])


# --- code objects --------------------------------------------------------------------------------------------------


def _functions(module: ModuleType) -> list[FunctionType]:
    """Returns the functions that a module holds, and those of the classes that it holds."""
    found: list[FunctionType] = []
    for value in list(vars(module).values()):
        if isinstance(value, FunctionType):
            found.append(value)
        elif isinstance(value, type):
            found += [inner for inner in vars(value).values() if isinstance(inner, FunctionType)]
    return found


@lru_cache(maxsize=1_000)
def _fingerprints(source: bytes, file: str) -> set[str]:
    """Returns the fingerprints of all functions of a source."""
    try:
        return {_fingerprint(code) for code in _inner(compile(source, file, "exec", dont_inherit=True))}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()


def _inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _inner(constant)


def _fingerprint(code: CodeType) -> str:
    """Returns a hash of what a function does, without its place in the file."""
    constants = [
        _fingerprint(constant)
        if isinstance(constant, CodeType)
        else sorted(map(repr, constant))
        if isinstance(constant, frozenset)
        else repr(constant)
        for constant in code.co_consts
    ]
    content = (code.co_name, code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants)
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _typed(module: ModuleType) -> str:
    """Returns a hash of a module that has no file, as a notebook's: of its functions, and of plain values they name."""
    functions = [function for function in _functions(module) if function.__module__ == module.__name__]
    named = {name for function in functions for code in _inner(function.__code__) for name in code.co_names}
    values = {name: vars(module)[name] for name in named if name in vars(module)}
    plain = sorted(
        (name, repr(value)) for name, value in values.items() if isinstance(value, str | int | float | tuple)
    )
    content = sorted((function.__qualname__, _fingerprint(function.__code__)) for function in functions), plain
    return hashlib.sha256(repr(content).encode()).hexdigest()


# --- what code leaves in a network ---------------------------------------------------------------------------------


def attributes_digest(modules: Iterable[tuple[str, Any]]) -> str:
    """Returns a digest of the plain attributes of a network's modules: numbers, texts, and lists and mappings of them.

    What code reads from files of its own counts by these, besides weights and buffers.

    Args:
        modules: names and modules.
    """
    found = [
        (name, key, value)
        for name, module in modules
        for key, held in sorted(vars(module).items())
        if not key.startswith("_") and key != "training" and (value := _plain(held)) is not None
    ]
    return hashlib.sha256(repr(found).encode()).hexdigest()


def _plain(value: Any) -> str | None:
    """Returns a text for a plain value; None for another object."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, torch.Tensor):
        try:
            return tensors_sha256({"": value})
        except (RuntimeError, TypeError, NotImplementedError):  # sparse, meta
            return None
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        array = np.ascontiguousarray(value)
        return f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
    if isinstance(value, list | tuple):
        return _joined(map(_plain, value), "[]")
    if isinstance(value, set | frozenset):
        return _joined(sorted(text for one in value if (text := _plain(one)) is not None), "{}")
    if isinstance(value, Mapping):
        pairs = [(_plain(key), _plain(held)) for key, held in value.items()]
        return _joined([f"{key}: {held}" for key, held in pairs if None not in (key, held)], "{}")
    return None


def _joined(texts: Iterable[str | None], ends: str) -> str:
    return ends[0] + ", ".join("?" if text is None else text for text in texts) + ends[1]
