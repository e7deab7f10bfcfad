"""Writes files completely or not at all; digests of files, of tensors, and of the program's own sources."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mi_runner.machine.private import new_file

if TYPE_CHECKING:
    from torch import Tensor


def sha256(path: Path) -> str:
    """Returns the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Returns the sha256 of tensors, in hexadecimal: of their names, dtypes, shapes and values, not of their layout."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@cache
def code_version() -> str:
    """Returns twelve hexadecimal digits of the sha256 of this package's sources and configs."""
    conf = import_module("mi_runner.conf")

    digest = hashlib.sha256()
    for root, pattern in ((Path(__file__).parents[1], "**/*.py"), (Path(conf.__path__[0]), "**/*.yaml")):
        for file in sorted(root.glob(pattern)):
            name = file.relative_to(root)
            if name.parts[0] != "conf":  # conf/__init__.py is inside the package only after an installation
                digest.update(f"{name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


@cache
def package_digest(name: str) -> str:
    """Returns twelve hexadecimal digits of the sha256 of an installed package's sources and configs.

    Args:
        name: of a package, or of a module that is in none; it is imported already.
    """
    module = sys.modules[name]
    digest = hashlib.sha256()
    for root in map(Path, getattr(module, "__path__", ())):
        for file in sorted(file for file in root.rglob("*") if file.suffix in (".py", ".yaml")):
            digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    if not hasattr(module, "__path__") and module.__file__:
        digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()[:12]


def whole_characters(text: str, escape: str = "\\") -> str:
    """Returns a text that can be written as UTF-8.

    A name of a file that is no text in the system's encoding comes as halves of characters. What they mean in UTF-8 is
    taken, if it is that; otherwise each is written as its number.

    Args:
        escape: what begins a number; in JSON a backslash is two.
    """
    if text.isascii() or not _HALF.search(text):
        return text
    with suppress(UnicodeError):
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    return _HALF.sub(lambda found: f"{escape}u{ord(found[0]):04x}", text)


_HALF = re.compile("[\ud800-\udfff]")


@contextmanager
def written_whole(path: Path, *, lasting: bool = False, private: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `path`; it replaces `path` when the block ends, or is removed if that fails.

    Args:
        lasting: whether the file is on the disk, and not only on its way there, when the block has ended.
        private: whether only this user can read and write it; the block then finds it there, empty.
    """
    # A random name, because threads share a process id, and processes of two containers on one disk can.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp{path.suffix}")
    try:
        if private:
            new_file(beside)
        yield beside
        if lasting:
            sync(beside)
        os.replace(beside, path)
        if lasting:
            sync(path.parent)
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of files, is on the disk; a power cut then takes nothing away.

    Raises:
        OSError: the disk is full, or fails.
    """
    is_folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY if is_folder or os.name != "nt" else os.O_RDWR)
    except PermissionError:
        if is_folder:  # on Windows, or a folder whose list this user can't read
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that keeps nothing back
            raise
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Waits until a folder and all in it are on the disk.

    Many files at once take the disk as long as one: eleven files 8 ms, and 106 ms one after the other.

    Raises:
        OSError: the disk is full, or fails.
    """
    from concurrent.futures import ThreadPoolExecutor  # here, because the program's start takes no time for it

    paths = [folder.parent]
    for inside, _, names in os.walk(folder):
        files = (Path(inside, name) for name in names)
        paths += [Path(inside), *(file for file in files if file.is_file() and not file.is_symlink())]

    def synced(path: Path) -> None:
        with suppress(FileNotFoundError):  # another process's temporary file
            sync(path)

    with ThreadPoolExecutor(min(32, len(paths))) as pool:
        list(pool.map(synced, paths))
