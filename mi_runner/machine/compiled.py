"""Functions that numba compiles, and the folder in which the compiled code is kept between runs.

By default numba keeps the code beside the sources in the installed package, and an uninstall leaves it there. These
functions keep it in mi-run's cache folder, in `kernels/<version>`. The version depends on everything that decides the
code; inside the folder numba separates processors. You may remove the folder at any time; the next run compiles again.

numba's global settings don't change, so a program's own compiled functions behave as before.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import llvmlite
import numba
import numpy as np
from filelock import BaseFileLock, FileLock, Timeout
from numba.core import event
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    NullCache,
    _CacheLocator,
)

from mi_runner.errors import one_line
from mi_runner.machine import private, sources
from mi_runner.machine.cache import KERNELS, cache_folder, say_unusable, usable
from mi_runner.machine.compilation import SPENT
from mi_runner.machine.files import written_whole
from mi_runner.machine.kept_digests import kept_digest
from mi_runner.machine.private import NotPrivate
from mi_runner.progress import log

SECONDS_FOR_LOCK = 10.0
"""How long a process waits in all for others that write compiled code; it has the code anyway, and keeps none then."""

UNUSED_DAYS = 30
"""After this many days without use, a process of another version removes a version's folder."""


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Returns a decorator: numba's `njit` with these options, which keeps the code in `kernels_folder()`."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        dispatcher._cache = _OpenedAtFirstUse(dispatcher)
        return dispatcher

    return decorate


_preparing = event.TimingListener()
"""How long kernels were compiled, or read from the cache: what holds numba's lock."""

event.register("numba:compiler_lock", _preparing)


class _Compiling(event.Listener):
    """Adds up how long kernels of this decorator are compiled, each with those that it calls."""

    def __init__(self) -> None:
        self._began: list[float] = []

    def on_start(self, event: Any) -> None:
        if _is_ours(event):
            self._began.append(time.perf_counter())

    def on_end(self, event: Any) -> None:
        if _is_ours(event):
            began = self._began.pop()
            if not self._began:
                SPENT.seconds += time.perf_counter() - began


def _is_ours(event: Any) -> bool:
    return isinstance(getattr(event.data["dispatcher"], "_cache", None), _OpenedAtFirstUse | _KernelCache)


event.register("numba:compile", _Compiling())


def clock() -> float:
    """Returns the seconds of a clock that stands still while kernels are compiled or read from the cache.

    Of two calls the difference is the time of the work itself, whether it is the first of its kind or not.
    """
    return time.perf_counter() - (_preparing.duration if _preparing.done else 0.0)


def kernels_folder() -> Path:
    """Returns the folder of this version's compiled code."""
    return cache_folder() / KERNELS / _version()


@cache
def _version() -> str:
    """Returns twelve hexadecimal digits of what decides the code; numba itself looks only at a function's own file."""
    package = Path(__file__).parents[1]
    libraries = (numba.__version__, llvmlite.__version__, np.__version__, platform.python_version())
    of_sources = kept_digest("kernels", package, lambda: sources.digest(sources.kernel_sources(package), package))
    decided = "\n".join([*libraries, of_sources])
    return hashlib.sha256(decided.encode()).hexdigest()[:12]


def _digest_of_others(file: Path) -> str:
    """Returns a digest of the package that a source is in, if it is another one than this; otherwise an empty text.

    Of another package all sources count: they are few, and only its author edits them. A module without a package
    counts alone.
    """
    if Path(__file__).parents[1] in file.parents:
        return ""
    package = file.parent
    while (package.parent / "__init__.py").exists():
        package = package.parent
    files = sorted(package.rglob("*.py")) if (package / "__init__.py").exists() else [file]
    return sources.digest(files, package)


@cache
def _use(folder: Path) -> None:
    """Marks the folder as used now, once per process, and removes unused folders of other versions.

    If another process starts to use a folder during its removal, that process compiles again and stores the result.
    """
    with suppress(OSError):  # a read-only cache can still be used
        os.utime(folder)
    with suppress(OSError):
        for other in folder.parent.iterdir():
            is_version = re.fullmatch("[0-9a-f]{12}", other.name) and other != folder
            if is_version and time.time() - other.stat().st_mtime > UNUSED_DAYS * 24 * 3600:
                log.debug(f"removes compiled kernels of another version, unused for {UNUSED_DAYS} days: {other}")
                shutil.rmtree(other, ignore_errors=True)


class _Patience:
    """How long this process still waits for others that keep their compiled code: for all kernels together."""

    def __init__(self) -> None:
        self.seconds = SECONDS_FOR_LOCK

    @contextmanager
    def locked(self, folder: Path) -> Iterator[bool]:
        """Yields whether no other process writes into the folder meanwhile; a line says that this one waits."""
        lock = FileLock(folder / "lock", mode=private.FILE)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if self.seconds <= 0 or not self._waited(lock):
                yield False
                return
        try:
            yield True
        finally:
            lock.release()

    def _waited(self, lock: BaseFileLock) -> bool:
        """Returns whether the lock was free in time."""
        began = time.monotonic()
        log.info(f"another process keeps compiled kernels: waits up to {self.seconds:.0f} s for {lock.lock_file}")
        try:
            lock.acquire(timeout=self.seconds)
        except Timeout:
            self.seconds = 0.0
            log.warning(f"{lock.lock_file} is still held: this process keeps no compiled kernels, the next run does")
            return False
        self.seconds -= time.monotonic() - began
        return True


_patience = _Patience()


# --- numba's cache, in another folder --------------------------------------------------------------------------------


class _Locator(_CacheLocator):
    """Tells numba where to keep the code of one function."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._module, self._lineno, self._file = function.__module__, function.__code__.co_firstlineno, Path(file)
        self._folder = kernels_folder()

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func, py_file)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return f"{self._folder.name} {_digest_of_others(self._file)}".rstrip()

    def get_disambiguator(self) -> str:
        return f"{self._module}-{self._lineno}"


class _InOurFolder(CompileResultCacheImpl):
    """numba's own, without the classes that a file `.numba_config.yaml` of the current folder names."""

    def __init__(self, function: Callable[..., Any]) -> None:
        file = inspect.getfile(function)
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator(function, file)
        self._filename_base = self.get_filename_base(f"{Path(file).stem}.{function.__qualname__}", sys.abiflags)


class _PrivateFiles(IndexDataCacheFile):
    """The files of one function. They are pickles, which can run code: only those that this user alone can write are
    read, and those that are written are the user's alone."""

    def _load_index(self) -> Any:
        with suppress(FileNotFoundError):
            _check(self._index_path)
        return super()._load_index()

    def _load_data(self, name: str) -> Any:
        if Path(name).name != name:
            raise ValueError(f"{self._index_path} names a file outside of its folder: {name}")
        _check(self._data_path(name))
        return super()._load_data(name)

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[BinaryIO]:
        with written_whole(Path(filepath), private=True) as beside, beside.open("wb") as file:
            yield file


class _NotRead(Exception):
    """A file is not private. Not an OSError, for which numba only compiles again, without a word."""


def _check(file: str) -> None:
    try:
        private.check(Path(file))
    except NotPrivate as error:
        raise _NotRead(f"{error}, so it is not read") from error


class _KernelCache(FunctionCache):
    """The compiled code of one function. A file that can't be read or written only costs another compilation."""

    _impl_class = _InOurFolder

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _PrivateFiles(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a damaged file can raise any exception
            level = logging.WARNING if isinstance(error, _NotRead) else logging.DEBUG
            log.log(level, f"{self.cache_path}: {one_line(error)}; compiles again")
            with suppress(OSError):
                self.flush()  # otherwise the damaged index rejects the new code
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            # numba reads the index, adds a file and writes the index. Without the lock, two processes could overwrite
            # each other's entries, and an entry could name the other process's file.
            with _patience.locked(Path(self.cache_path)) as is_ours:
                if is_ours:
                    super().save_overload(sig, data)
                SPENT.folder = Path(self.cache_path) if is_ours else None
        except (OSError, NotImplementedError) as error:  # NotImplementedError: a file system without locks
            SPENT.folder = None
            say_unusable(error)


class _OpenedAtFirstUse(NullCache):
    """Opens a function's cache when the function first runs, because MI_RUN_CACHE may be set after the import."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        folder = usable(f"{KERNELS}/{_version()}")
        if folder is None:
            return None  # the code is compiled, and not kept
        _use(folder)
        self._dispatcher._cache = _KernelCache(self._dispatcher.py_func)
        return self._dispatcher._cache.load_overload(sig, target_context)
