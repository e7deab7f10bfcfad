"""Folders and files that this user alone can write.

What mi-run keeps between runs is read again later, and some of it is code: compiled kernels, the jobs of a sweep.
Whoever can write it, or rename a folder above it, can run code as this user. So folders are made with mode 0700 and
files with 0600, whatever the umask is, and what is there is checked before it is read.

A folder or file is *private* if this user owns it and nobody else can write it. A folder above it is *safe* if it
belongs to this user or to the machine's owner, and nobody else can write it, or it is sticky, as /tmp is: there, others
can add files but not rename those of this user. Being root changes nothing: root trusts no file of another user.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FOLDER, FILE = 0o700, 0o600

MOST_LINKS = 40
"""As many symbolic links as Linux follows in a path."""


class NotPrivate(PermissionError):
    """Others own or can write a file or folder that must be private.

    Attributes:
        path: the file or folder.
        what: what is wrong, without the path.
        is_own: whether it is this user's, so that `chmod` helps.
    """

    def __init__(self, path: Path, what: str, *, is_own: bool) -> None:
        super().__init__(f"{path}: {what}")
        self.path, self.what, self.is_own = path, what, is_own


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it that are missing, private, and checks them.

    Raises:
        NotPrivate: see `check_folder`.
        OSError: it can't be made.
    """
    check_above(folder)
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    for path in reversed(missing):
        with suppress(FileExistsError):  # another process has just made it
            path.mkdir(FOLDER)
            if stat.S_IMODE(path.stat().st_mode) & 0o777 != FOLDER:  # an odd umask
                path.chmod(FOLDER)
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Checks that a folder is private and all above it are safe, along every symbolic link.

    Raises:
        NotPrivate: it isn't.
        OSError: it isn't a folder, or can't be looked at.
    """
    check_above(folder)
    check(folder.resolve())
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder")


def check_above(folder: Path, owner: int | None = None) -> None:
    """Checks that all folders above a folder are safe, along every symbolic link, as far as they exist.

    Args:
        owner: a further user who may own them; None: nobody.

    Raises:
        NotPrivate: one isn't.
        OSError: one can't be looked at.
    """
    if not _has_owners():
        return
    for path in _above(folder):
        try:
            state = os.lstat(path)
        except FileNotFoundError:
            continue
        if state.st_uid not in {*_trusted(), owner}:
            raise NotPrivate(path, f"{_user(state.st_uid)} owns it", is_own=False)
        if state.st_mode & 0o022 and not state.st_mode & stat.S_ISVTX and not stat.S_ISLNK(state.st_mode):
            raise NotPrivate(path, f"{_writers(state)} can write it", is_own=state.st_uid == os.geteuid())


def check_shared(path: Path, owner: int) -> None:
    """Checks that only one user can write a file or folder, who may be another than this one.

    Args:
        owner: the number of that user.

    Raises:
        NotPrivate: others own or can write it.
        OSError: it can't be looked at.
    """
    state = os.lstat(path)
    if not _has_owners():
        return
    if state.st_uid != owner:
        raise NotPrivate(path, f"{_user(state.st_uid)} owns it, and not {_user(owner)}", is_own=False)
    _check_alone(path, state)


def check(path: Path) -> None:
    """Checks that a file or folder is private, and no link; those above it aren't looked at.

    Raises:
        NotPrivate: it isn't.
        OSError: it can't be looked at.
    """
    _check_private(path, os.lstat(path))


def check_entries(folder: Path) -> None:
    """Checks that each file and folder in a folder is private, and no link; faster than `check` of each.

    Raises:
        NotPrivate: one isn't.
        OSError: the folder can't be read.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            state = entry.stat(follow_symlinks=False)
            if not _has_owners() or _is_private(state):  # a path for each of thousands takes longer than to look at it
                continue
            _check_private(Path(entry.path), state)


def read_bytes(path: Path) -> bytes:
    """Returns the content of a private file; the file that is checked is the one that is read.

    Raises:
        NotPrivate: it isn't private.
        OSError: it can't be read, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(f"{path} is no regular file")
        _check_private(path, state)
        return file.read()


def new_file(path: Path) -> None:
    """Makes an empty file with mode 0600.

    Raises:
        FileExistsError: there is one of this name.
        OSError: it can't be made.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE))


def _is_private(state: os.stat_result) -> bool:
    return state.st_uid == os.geteuid() and not state.st_mode & 0o022 and not stat.S_ISLNK(state.st_mode)


def _check_private(path: Path, state: os.stat_result) -> None:
    """Checks that a file or folder in this state is private, and no link."""
    if not _has_owners():
        return
    if state.st_uid != os.geteuid():
        raise NotPrivate(path, f"{_user(state.st_uid)} owns it", is_own=False)
    _check_alone(path, state)


def _check_alone(path: Path, state: os.stat_result) -> None:
    """Checks that nobody but the owner can write a file or folder in this state, and that it is no link."""
    is_own = state.st_uid == os.geteuid()
    if stat.S_ISLNK(state.st_mode):
        raise NotPrivate(path, "it is a symbolic link", is_own=is_own)
    if state.st_mode & 0o022:
        raise NotPrivate(path, f"{_writers(state)} can write it", is_own=is_own)


def _above(folder: Path) -> Iterator[Path]:
    """Yields every folder above a folder, and every symbolic link on the way to it, those of their targets, too."""
    path = Path(os.path.abspath(folder))
    for _ in range(MOST_LINKS):
        for step in [*reversed(path.parents), path]:
            is_link = step.is_symlink()
            if is_link or step != path:
                yield step
            if is_link:
                path = Path(os.path.normpath(step.parent / step.readlink() / path.relative_to(step)))
                break
        else:
            yield from folder.resolve().parents  # a `..` behind a link leads elsewhere than in the text
            return
    raise OSError(f"{folder}: too many symbolic links")


def _has_owners() -> bool:
    """Returns whether files have owners and modes here: not on Windows."""
    return hasattr(os, "geteuid")


def _trusted() -> set[int]:
    """Returns who may own the folders above: this user, root, and who owns the root folder, as in some containers."""
    return {os.geteuid(), 0, os.stat("/").st_uid}


def _writers(state: os.stat_result) -> str:
    return "everybody" if state.st_mode & 0o002 else "its group"


def _user(number: int) -> str:
    """Returns the name of a user, for a person."""
    try:
        import pwd

        return f"user {pwd.getpwuid(number).pw_name}"
    except (ImportError, KeyError):
        return f"user {number}"
