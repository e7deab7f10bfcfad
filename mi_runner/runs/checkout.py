"""Which commit is checked out in the current folder, and has it changes? git says so, and runs none of its programs.

A repository's config and its .gitattributes may name programs: a file system monitor, hooks, filters, a pager, a
transport of missing objects. Whoever made the folder wrote them, so git gets settings here that name none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from mi_runner.runs.record import GitRecord

SECONDS = 5
"""How long each call of git may take."""

SETTINGS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.quotePath": "true",
    "core.pager": "cat",
    "core.attributesFile": os.devnull,
    "safe.bareRepository": "explicit",
    "protocol.allow": "never",
}

ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}

KEPT = (
    *("GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM"),
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
)
"""git's environment variables that say where to look; each other one is left out, because it may name a program."""


def state() -> GitRecord | None:
    """Returns the commit that is checked out, and whether tracked files differ from it; None outside of a checkout.

    Without filters, a file that git keeps in another form than it lies
    in the folder, as Git LFS does, differs once its time has changed. Of a submodule only its commit is compared.
    """
    program = shutil.which("git")
    if program is None or not os.path.isabs(program):  # a relative one lies in the current folder
        return None
    try:
        commit = _asked(program, ["rev-parse", "--verify", "HEAD"], SETTINGS).decode("ascii").strip()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    try:
        changes = _asked(
            program,
            ["status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=dirty", "--no-renames"],
            SETTINGS | _no_filters(program),
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return GitRecord(commit, dirty=None)
    return GitRecord(commit, dirty=bool(changes))


def _no_filters(program: str) -> dict[str, str]:
    """Returns settings that empty each filter that the repository's or the user's config has."""
    try:
        listed = _asked(program, ["config", "-z", "--name-only", "--get-regexp", r"^filter\."], SETTINGS)
    except subprocess.CalledProcessError as error:
        if error.returncode == 1:  # none
            return {}
        raise
    settings: dict[str, str] = {}
    for key in filter(None, listed.split(b"\0")):
        driver = os.fsdecode(key).rpartition(".")[0]
        if "=" in driver:  # `-c` takes the first = for the end of the name
            raise ValueError(f"{driver} can't be set on a command line")
        settings |= {f"{driver}.{option}": "" for option in ("clean", "smudge", "process")}
        settings[f"{driver}.required"] = "false"
    return settings


def _asked(program: str, words: Sequence[str], settings: Mapping[str, str]) -> bytes:
    """Returns what git answers, as bytes: names of files have any.

    Raises:
        OSError, subprocess.SubprocessError: git can't be run, says that it failed, or takes too long.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in KEPT}
    environment |= ENVIRONMENT
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    command = [program, "--no-pager", "--no-optional-locks", *options, *words]
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=SECONDS,
    ).stdout
