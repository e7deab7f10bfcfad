"""The arguments of the commands that are no runs: their parser, its mistakes and its help page."""

from __future__ import annotations

import argparse
import difflib
import itertools
import re
import textwrap
from collections.abc import Sequence
from typing import NoReturn

from mi_runner.config.help_page import WIDTH
from mi_runner.errors import ConfigError
from mi_runner.tables import console


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are `ConfigError`s, and whose help the console prints."""

    def __init__(self, command: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=f"mi-run {command}",
            description=description,
            epilog=fitted(epilog),
            add_help=False,
            allow_abbrev=False,
            formatter_class=_EightyColumns,
        )
        self.add_argument("--help", action="store_true", help="this page")

    def parsed(self, arguments: Sequence[str]) -> argparse.Namespace | None:
        """Returns the arguments; None if they ask for help, which is printed.

        Raises:
            ConfigError: they are a mistake.
        """
        if "--help" in arguments or "-h" in arguments:
            console.page(self.format_help().rstrip())
            return None
        return self.parse_intermixed_args(arguments)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {near_flag(message, self) or f'{message}.'} Type {self.prog} --help.")


def near_flag(message: str, parser: argparse.ArgumentParser) -> str:
    """Returns what is said of a flag that a parser doesn't know; empty for another mistake.

    Args:
        message: of the parser.
    """
    found = re.match(r"unrecognized arguments: (-\S+)", message)
    if found is None:
        return ""
    typed = found[1].partition("=")[0]
    flags = [flag for action in parser._actions for flag in action.option_strings]  # no public list
    near = difflib.get_close_matches(typed, flags, n=1, cutoff=0.75)
    return f"there is no flag {typed}{f': did you mean {near[0]}?' if near else '.'}"


def fitted(text: str) -> str:
    """Returns a text whose lines are at most `WIDTH` long: long paragraphs are filled again, long commands continued.

    A paragraph is lines with the same indent, one after the other; what fits stays as it is.
    """
    filled = []
    for indent, group in itertools.groupby(
        text.splitlines(), lambda line: (_indent(line), _is_command(line), not line)
    ):
        lines = list(group)
        if all(len(line) <= WIDTH for line in lines):
            filled += lines
        elif indent[1]:
            filled += [part for line in lines for part in _continued(line)]
        else:
            filled += textwrap.wrap(
                " ".join(line.strip() for line in lines),
                WIDTH,
                initial_indent=indent[0],
                subsequent_indent=indent[0],
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(filled)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _is_command(line: str) -> bool:
    return line.lstrip().startswith("mi-run ")


def _continued(line: str) -> list[str]:
    """Returns a command in lines, all but the last with a backslash behind them, as a shell takes them."""
    if len(line) <= WIDTH:
        return [line]
    indent = _indent(line)
    parts = textwrap.wrap(
        line.strip(),
        WIDTH - 2,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [*(f"{part} \\" for part in parts[:-1]), parts[-1]]


class _EightyColumns(argparse.RawDescriptionHelpFormatter):
    """Pages as wide as those of `mi-run --help`, on every terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=WIDTH)
