"""What can go wrong, as the exit status that tells a script which it was.

| exception          | exit status | meaning                                                      |
|--------------------|-------------|--------------------------------------------------------------|
| `ConfigError`      | 2           | a mistake in the command, the config or a file that it names |
| `ArgumentError`    | 2           | the same, said of a function's argument                      |
| `RunFailed`        | 1           | the run began and could not end                              |
| `Terminated`       | 143         | SIGTERM (Ctrl-C is `KeyboardInterrupt`, 130)                 |

An expectation that is not met is no exception: the run is done, its exit status is 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit statuses of `mi-run`."""

    DONE = 0
    FAILED = 1
    MISTAKE = 2
    EXPECTATION_NOT_MET = 3
    INTERRUPTED = 130
    TERMINATED = 143


class ConfigError(ValueError):
    """A mistake in what the user gave; its text names the cause and the remedy in one line."""


class ArgumentError(ConfigError):
    """An argument that doesn't fit; its text names arguments as `digits=[]`, for programs that know no options."""


class RunFailed(RuntimeError):
    """The run could not be finished; its text names the cause and the remedy in one line."""


class Terminated(BaseException):
    """SIGTERM arrived. Like `KeyboardInterrupt` it is no `Exception`, so nothing swallows it."""


@contextmanager
def as_options(group: str, names: Iterable[str]) -> Iterator[None]:
    """Within the block errors about arguments become errors about options: `digits=[]` becomes `dataset.digits=[]`.

    Args:
        group: what stands before the names on the command line.
        names: the arguments that are options of this group.

    Raises:
        ArgumentError, RunFailed: in place of another of this kind.
    """
    argument = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, names))})(?==)")
    try:
        yield
    except (ArgumentError, RunFailed) as error:
        raise type(error)(argument.sub(rf"{group}.\1", str(error))) from error


def exit_status(error: BaseException) -> ExitStatus:
    """The exit status that `error` stands for."""
    if isinstance(error, KeyboardInterrupt):
        return ExitStatus.INTERRUPTED
    if isinstance(error, Terminated):
        return ExitStatus.TERMINATED
    if isinstance(error, ConfigError):
        return ExitStatus.MISTAKE
    return ExitStatus.FAILED


def one_line(error: BaseException) -> str:
    """What `error` says, on one line."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted (Ctrl-C)"
    if isinstance(error, Terminated):
        return "terminated (SIGTERM)"
    text = " ".join(str(error).split())
    if isinstance(error, ConfigError | RunFailed):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


MOST_LISTED = 100
"""Names that an error lists; of more it says how many."""


def unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """A sentence that says that `given` is no `what`, with the nearest right name and those that are allowed."""
    import difflib  # here, because a program that has just started hears Ctrl-C only once this module is imported

    allowed = list(allowed)
    more = f" and {len(allowed) - MOST_LISTED} more" if len(allowed) > MOST_LISTED else ""
    near = difflib.get_close_matches(given, allowed, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]}?" if near else ""
    return f"no {what} is named '{given}'.{guess} Allowed: {', '.join(allowed[:MOST_LISTED]) or '(none)'}{more}."
