"""The errors of mi-run and their exit statuses.

| exception          | exit status | meaning                                                      |
|--------------------|-------------|--------------------------------------------------------------|
| `ConfigError`      | 2           | a mistake in the command, the config or a file that it names |
| `ArgumentError`    | 1           | a function's argument doesn't fit, and no option names it    |
| `RunFailed`        | 1           | the run began but could not finish                           |
| `Terminated`       | 143         | SIGTERM, SIGHUP (Ctrl-C is `KeyboardInterrupt`, 130)         |

If an expectation is not met, no exception is raised: the run is done, and its exit status is 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """A mistake in the user's input; its text names the cause and the remedy in one line."""


class ArgumentError(ValueError):
    """An argument of a function that doesn't fit, or several that don't fit together.

    In `problem` and `remedy`, `{name}` stands for the name of an argument, as in "Use {loss}=mse."; on a command line
    it becomes the option's name. The text begins with `argument=given: `, unless nothing is given or the problem is a
    sentence that names the argument itself.

    Args:
        argument: its name, or the names of all that the text has, first the one that doesn't fit.
        given: its value as the text shows it; None: the problem is a whole sentence.
        problem: what is wrong, or the rule that is broken, with its full stop or colon.
        remedy: what to give instead; empty if the problem says so.

    Attributes:
        argument, given, problem, remedy: as above, the argument's name alone.
        arguments: all names, the argument's first.
    """

    def __init__(self, argument: str | Sequence[str], given: object, problem: str, remedy: str = "") -> None:
        super().__init__(argument, given, problem, remedy)
        self.arguments = (argument,) if isinstance(argument, str) else tuple(argument)
        self.argument, self.given, self.problem, self.remedy = self.arguments[0], given, problem, remedy
        self._text = self._with_names({})

    def __str__(self) -> str:
        return self._text

    def renamed(self, names: Mapping[str, str]) -> ArgumentError:
        """Returns the same error about the arguments of the caller.

        Args:
            names: argument → what the caller calls it.
        """
        slots = {name: f"{{{names.get(name, name)}}}" for name in self.arguments}
        arguments = [names.get(name, name) for name in self.arguments]
        return ArgumentError(arguments, self.given, _filled(self.problem, slots), _filled(self.remedy, slots))

    def as_options(self, names: Mapping[str, str]) -> ConfigError:
        """Returns the error about options: `digits=[]` becomes `dataset.digits=[]`.

        Args:
            names: argument → its option; other arguments keep their names.
        """
        return ConfigError(self._with_names(names))

    def _with_names(self, names: Mapping[str, str]) -> str:
        shown = {name: names.get(name, name) for name in self.arguments}
        is_sentence = self.given is None or f"{{{self.argument}}}" in self.problem
        begin = "" if is_sentence else f"{shown[self.argument]}={self.given}: "
        return begin + " ".join(_filled(part, shown) for part in (self.problem, self.remedy) if part)


class RunFailed(RuntimeError):
    """The run could not finish; its text names the cause and the remedy in one line.

    Args:
        text: the cause and the remedy; `{name}` stands for the name of an argument.
        arguments: the names of those arguments.
    """

    def __init__(self, text: str, *arguments: str) -> None:
        super().__init__(text, *arguments)
        self.arguments = arguments

    def __str__(self) -> str:
        return _filled(self.args[0], {name: name for name in self.arguments})

    def as_options(self, names: Mapping[str, str]) -> RunFailed:
        """Returns the error with the names of options; see `ArgumentError.as_options`."""
        return RunFailed(_filled(self.args[0], {name: names.get(name, name) for name in self.arguments}))


def _filled(text: str, names: Mapping[str, str]) -> str:
    """Returns a text with names in the place of `{name}`; other braces stay, since a text may have the user's words."""
    for name, shown in names.items():
        text = text.replace(f"{{{name}}}", shown)
    return text


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived, which its text names; without a text it is SIGTERM.

    Like `KeyboardInterrupt`, it isn't an `Exception`, so `except Exception` doesn't catch it.
    """


@contextmanager
def as_options(names: Mapping[str, str] | None = None, /, **groups: Iterable[str]) -> Iterator[None]:
    """Turns errors about arguments into errors about options, within the block.

    Args:
        names: argument → option, where the names differ.
        groups: group of options → the arguments that are options of this group, `dataset=["digits"]`.

    Raises:
        ConfigError, RunFailed: the block's ArgumentError or RunFailed, with the options' names.
    """
    try:
        yield
    except (ArgumentError, RunFailed) as error:
        of_groups = {name: f"{group}.{name}" for group, members in groups.items() for name in members}
        raise error.as_options({**of_groups, **(names or {})}) from error


@contextmanager
def of_option(option: str) -> Iterator[None]:
    """Turns errors about a part of an option's value, within the block, into errors that begin with the option.

    Raises:
        ConfigError: the block's ArgumentError, behind the option's name.
    """
    try:
        yield
    except ArgumentError as error:
        raise ConfigError(f"{option}: {error}") from error


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
    if isinstance(error, ConfigError | ArgumentError | RunFailed):
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
