"""Functions that numba compiles, and the folder in which the compiled code is kept between runs.

By default numba keeps the code beside the sources in the installed package, and an uninstall leaves it there. These
functions keep it in mi-run's cache folder, in `kernels/<version>`. The version depends on everything that decides the
code; inside the folder numba separates processors. You may remove the folder at any time; the next run compiles again.

numba's global settings don't change, so a program's own compiled functions behave as before.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from filelock import FileLock
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache, _CacheLocator

from mi_runner.cache import cache_folder
from mi_runner.progress import log

SOURCES = (
    "compiled.py",
    "methods/circuits/*.py",
    "methods/discovery/kernel.py",
    "methods/explanations/*.py",
    "methods/pruning.py",
)
"""The sources that decide the compiled code. numba itself looks only at a function's own file, not at what it calls."""

UNUSED_DAYS = 30
"""After this many days without use, a process of another version removes a version's folder."""


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Returns a decorator: numba's `njit` with these options, which keeps the code in `kernels_folder()`."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        dispatcher._cache = _OpenedAtFirstUse(dispatcher)
        return dispatcher

    return decorate


def kernels_folder() -> Path:
    """Returns the folder of this version's compiled code."""
    return cache_folder() / "kernels" / _version()


@cache
def _version() -> str:
    digest = hashlib.sha256()
    for version in (numba.__version__, llvmlite.__version__, np.__version__, platform.python_version()):
        digest.update(f"{version}\n".encode())
    package = Path(__file__).parent
    for file in sorted(file for pattern in SOURCES for file in package.glob(pattern)):
        digest.update(f"{file.relative_to(package)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


@cache
def _use(folder: Path) -> None:
    """Marks the folder as used now, once per process, and removes unused folders of other versions.

    If another process starts to use a folder during its removal, that process compiles again and stores the result.
    """
    with suppress(OSError):  # a read-only cache can still be used
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
    with suppress(OSError):
        for other in folder.parent.iterdir():
            is_version = re.fullmatch("[0-9a-f]{12}", other.name) and other != folder
            if is_version and time.time() - other.stat().st_mtime > UNUSED_DAYS * 24 * 3600:
                log.debug(f"removes compiled kernels of another version, unused for {UNUSED_DAYS} days: {other}")
                shutil.rmtree(other, ignore_errors=True)


@cache
def _warn_once(folder: Path, error: str) -> None:
    log.warning(f"compiled kernels can't be kept in {folder} ({error}): the next run compiles them again")


# --- numba's cache, in another folder --------------------------------------------------------------------------------


class _Locator(_CacheLocator):
    """Tells numba where to keep the code of one function."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._module, self._lineno, self._py_file = function.__module__, function.__code__.co_firstlineno, file
        self._folder = kernels_folder()

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func, py_file)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._folder.name  # the version

    def get_disambiguator(self) -> str:
        return f"{self._module}-{self._lineno}"


class _InOurFolder(CompileResultCacheImpl):
    _locator_classes: list[type[object]] = [_Locator]  # noqa: RUF012, numba's attribute


class _KernelCache(FunctionCache):
    """The compiled code of one function. A file that can't be read or written only costs another compilation."""

    _impl_class = _InOurFolder

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a damaged file can raise any exception
            log.debug(f"{self.cache_path}: {error!r}; compiles again")
            with suppress(OSError):
                self.flush()  # otherwise the damaged index rejects the new code
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        folder = Path(self.cache_path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # numba reads the index, adds a file and writes the index. Without the lock, two processes could overwrite
            # each other's entries, and an entry could name the other process's file.
            with FileLock(folder / "lock", timeout=60):
                super().save_overload(sig, data)
        except (OSError, NotImplementedError) as error:  # NotImplementedError: a file system without locks
            _warn_once(folder, getattr(error, "strerror", None) or str(error))


class _OpenedAtFirstUse(NullCache):
    """Opens a function's cache when the function first runs, because MI_RUN_CACHE may be set after the import."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        _use(kernels_folder())
        self._dispatcher._cache = _KernelCache(self._dispatcher.py_func)
        return self._dispatcher._cache.load_overload(sig, target_context)
