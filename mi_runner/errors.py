"""The errors of mi-run and their exit statuses.

| exception          | exit status | meaning                                                      |
|--------------------|-------------|--------------------------------------------------------------|
| `ConfigError`      | 2           | a mistake in the command, the config or a file that it names |
| `ArgumentError`    | 2           | a mistake in a function's argument                           |
| `RunFailed`        | 1           | the run began but could not finish                           |
| `Terminated`       | 143         | SIGTERM, SIGHUP (Ctrl-C is `KeyboardInterrupt`, 130)         |

If an expectation is not met, no exception is raised: the run is done, and its exit status is 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
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
    """A mistake in the user's input; its text names the cause and the remedy in one line."""


class ArgumentError(ConfigError):
    """An argument that doesn't fit; its text names the argument as `digits=[]`, not as an option."""


class RunFailed(RuntimeError):
    """The run could not finish; its text names the cause and the remedy in one line."""


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived, which its text names; without a text it is SIGTERM.

    Like `KeyboardInterrupt`, it isn't an `Exception`, so `except Exception` doesn't catch it.
    """


def as_options(group: str, names: Iterable[str]) -> AbstractContextManager[None]:
    """Turns errors about arguments into errors about options: `digits=[]` becomes `dataset.digits=[]`.

    Args:
        group: the prefix of the names on the command line.
        names: the arguments that are options of this group.

    Raises:
        ArgumentError, RunFailed: the block's error with the options' names.
    """
    return arguments_named({name: f"{group}.{name}" for name in names})


@contextmanager
def arguments_named(names: Mapping[str, str]) -> Iterator[None]:
    """Names arguments in errors as the caller does, within the block.

    A name is an argument before `=`, and before `:` at the beginning of the text.

    Args:
        names: argument → what the caller calls it.

    Raises:
        ArgumentError, RunFailed: the block's error with the caller's names.
    """
    if not names:
        yield
        return
    known = "|".join(map(re.escape, names))
    argument = re.compile(rf"(?<![\w.])({known})(?==)|\A({known})(?=:)")
    try:
        yield
    except (ArgumentError, RunFailed) as error:
        raise type(error)(argument.sub(lambda found: names[found[0]], str(error))) from error


def exit_status(error: BaseException) -> ExitStatus:
    """Returns the exit status of a program that ends with `error`."""
    if isinstance(error, KeyboardInterrupt):
        return ExitStatus.INTERRUPTED
    if isinstance(error, Terminated):
        return ExitStatus.TERMINATED
    if isinstance(error, ConfigError):
        return ExitStatus.MISTAKE
    return ExitStatus.FAILED


HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of characters that a terminal obeys instead of showing them: control, format, half a pair."""


def escaped(text: str, keep: str = "\n\t") -> str:
    """Returns a text whose characters are all visible: `\\u001b` for the one that begins a terminal's commands.

    Names of files and what is in them may be anybody's. Their control characters could colour, hide or overwrite lines,
    set the window's title, or turn the direction of the text.

    Args:
        keep: characters that stay as they are.
    """
    import unicodedata  # here, because at the program's start Ctrl-C is handled only after the import of this module

    if text.isprintable():
        return text
    return "".join(
        character if character in keep or unicodedata.category(character) not in HIDDEN else _escape(ord(character))
        for character in text
    )


def _escape(number: int) -> str:
    """Returns a character as JSON writes it, so that JSON with it stays JSON."""
    if number < 2**16:
        return f"\\u{number:04x}"
    return "".join(f"\\u{half:04x}" for half in (0xD7C0 + (number >> 10), 0xDC00 + (number & 0x3FF)))


def shortened(text: str, most: int) -> str:
    """Returns a text of at most so many characters, and … for what is left out."""
    return text if len(text) <= most else f"{text[:most]}…"


def one_line(error: BaseException) -> str:
    """Returns the text of `error` on one line."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted (Ctrl-C)"
    if isinstance(error, Terminated):
        return f"terminated ({str(error) or 'SIGTERM'})"
    text = " ".join(str(error).split())
    if isinstance(error, ConfigError | RunFailed):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def reason(error: BaseException) -> str:
    """Returns why something failed, on one line: of the system its words and the file, without Python's number."""
    if not isinstance(error, OSError):
        return one_line(error)
    file = f": {error.filename}" if error.filename else ""
    return " ".join(f"{error.strerror}{file}".split()) if error.strerror else " ".join(str(error).split())


MOST_LISTED = 100
"""Largest number of names that an error lists; it counts the others."""


def listed(names: Sequence[object], most: int) -> str:
    """Returns the first `most` names, with commas between them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """Returns a sentence: no `what` is named `given`, the nearest correct name, and the allowed names."""
    import difflib  # here, because at the program's start Ctrl-C is handled only after the import of this module

    allowed = list(allowed)
    near = difflib.get_close_matches(given, allowed, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]}?" if near else ""
    return f"no {what} is named '{given}'.{guess} Allowed: {listed(allowed, MOST_LISTED) or '(none)'}."
