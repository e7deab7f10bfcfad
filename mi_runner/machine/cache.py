"""The folder that keeps files between runs: trained models, unpacked data sets, compiled kernels, digests of sources.

It is used only if this user alone can write it; `private` says what that means. A cache that others own or can write
is a mistake, which `check` finds before a run begins. Without a cache, as where the disk is read-only or there is no
home, everything works in memory and nothing is kept.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from platformdirs import user_cache_path

from mi_runner.errors import ConfigError, reason
from mi_runner.machine import private
from mi_runner.machine.private import NotPrivate
from mi_runner.progress import log

VARIABLE, SHARED = "MI_RUN_CACHE", "MI_RUN_SHARED_CACHE"
"""The environment variables that name the cache, and the cache of somebody else whose trained models are taken."""

MODELS, MNIST, KERNELS, SOURCES = "models", "MNIST", "kernels", "sources"
"""The folders in the cache."""


_unusable: set[Path] = set()
"""The caches of which a line has said that they can't be used."""


def cache_folder() -> Path:
    """Returns the folder in the environment variable MI_RUN_CACHE, or the user's cache folder for mi-run.

    Raises:
        ConfigError: MI_RUN_CACHE names a user's home, and there is none.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return user_cache_path("mi-run", appauthor=False)
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{VARIABLE}={named}: there is no such home folder. Write the whole path.") from error


def usable(name: str) -> Path | None:
    """Returns a private folder in the cache, which is made if it is missing; None if there can be none.

    The first time that there can be none, a line says so.

    Args:
        name: of the folder, such as `models` or `kernels/0123456789ab`.
    """
    root = cache_folder()
    try:
        if not os.environ.get(VARIABLE) and not root.is_absolute():
            raise OSError("there is no home folder")
        private.make_folder(root / name)
    except OSError as error:
        say_unusable(error)
        return None
    return root / name


def shared(name: str) -> Path | None:
    """Returns a folder in the cache that MI_RUN_SHARED_CACHE names; None if it names none, or there is no such folder.

    It is only read, and code is never taken from it.

    Raises:
        ConfigError: more than one user can write it.
    """
    named = os.environ.get(SHARED)
    if not named:
        return None
    folder = Path(named) / name
    try:
        owner = folder.stat().st_uid
        private.check_above(folder, owner)
        private.check_shared(folder.resolve(), owner)
    except NotPrivate as error:
        raise ConfigError(
            f"{SHARED}={named}: {error}. Its owner types chmod -R go-w {shlex.quote(named)}, or leave {SHARED} out."
        ) from error
    except OSError:
        return None
    return folder


def say_unusable(error: Exception | str) -> None:
    """Says why nothing is kept in the cache, once for a folder."""
    folder = cache_folder()
    if folder not in _unusable:
        _unusable.add(folder)
        why = error if isinstance(error, str) else reason(error)
        log.warning(
            f"the cache {folder} can't be used ({why}): nothing is kept for the next run. "
            f"{VARIABLE}=FOLDER names another folder."
        )


def check() -> None:
    """Checks that the cache is this user's own, if it exists.

    Raises:
        ConfigError: others own or can write the cache, or a folder of it, or its kernels; the text says what to type.
    """
    root = cache_folder()
    if os.environ.get(SHARED) and shared(MODELS) is None:
        raise ConfigError(
            f"{SHARED}={os.environ[SHARED]}: it has no folder {MODELS}. Name a folder as {VARIABLE} does."
        )
    try:
        private.check_above(root / MODELS)
        versions = [folder for folder in (root / KERNELS).glob("*") if folder.is_dir()]
        for folder in (*(root / name for name in (MODELS, MNIST, KERNELS, SOURCES)), *versions):
            if folder.is_dir():
                private.check_folder(folder)
        for folder in versions:
            private.check_entries(folder)
    except NotPrivate as error:
        if os.environ.get(VARIABLE) or root in (error.path, *error.path.parents):
            raise ConfigError(_refusal(root, error)) from error
        # Otherwise the home isn't this user's, as in some containers: `usable` says so, and nothing is kept.
    except OSError:
        return  # it can't be looked at: `usable` says so


def _refusal(root: Path, error: NotPrivate) -> str:
    path = shlex.quote(str(error.path))
    if error.is_own and root in (error.path, *error.path.parents):
        remedy = f"Type rm -r {path}, or chmod -R go-w {path} if nobody else has written there."
    elif error.is_own:
        remedy = f"Type chmod go-w {path}, or {VARIABLE}=FOLDER for another folder."
    else:
        remedy = f"Type {VARIABLE}=FOLDER for a folder of your own."
    return f"the cache {root} isn't yours alone: {error}; what is kept there can be code. {remedy}"
