"""Which command has this config? Values as an override has them, and the command line that composes a config again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from os import PathLike, fspath
from typing import Any

from omegaconf import MISSING

from mi_runner.config.composition import compose, flattened
from mi_runner.config.registry import SCHEMAS
from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import ConfigError

PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
"""Texts that Hydra reads as themselves, unless they are one of `WORDS`."""

WORDS = ("null", "true", "false", "nan", "inf")


def override(key: str, value: Any) -> str:
    """Returns `key=value` in Hydra's grammar, for a plain value of Python.

    Raises:
        ConfigError: the value is none that an option has; the text says which values are.

    Example:
        >>> override("experiment.targets", ["relu", "x/add"]), override("seed", None)
        ('experiment.targets=[relu,x/add]', 'seed=null')
    """
    try:
        return f"{key}={_written(value)}"
    except TypeError as error:
        raise ConfigError(
            f"{key}={value!r}: {error} is no value of an option. Give a text, a number, True, False, None, or a list "
            "or dict of these."
        ) from None


def command_line(overrides: Sequence[str]) -> str:
    """Returns the command with these overrides, as it is typed in a shell."""
    return "mi-run " + shlex.join(overrides) if overrides else "mi-run"


def overrides_of(config: RunConfig) -> list[str] | None:
    """Returns overrides that compose a config: its choices, and each value that differs from theirs.

    None where there are none, because a program has changed the config to one that can't be typed.
    """
    choices = [f"{group}={getattr(config, group).name}" for group in SCHEMAS]
    wanted = flattened(config)
    for group in SCHEMAS:
        required = [item.name for item in fields(getattr(config, group)) if item.default is MISSING]
        choices += [override(key, wanted[key]) for name in required if (key := f"{group}.{name}") in wanted]
    try:
        usual = flattened(compose(choices))
        differing = [override(key, value) for key, value in wanted.items() if usual.get(key, MISSING) != value]
        found = [*choices, *differing]
        return found if flattened(compose(found)) == wanted else None
    except ConfigError:
        return None


def _written(value: Any) -> str:
    """Returns a value as Hydra reads it.

    Raises:
        TypeError: it has a part of another type, which the error names.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | PathLike):
        return _text(fspath(value))
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_written(name)}:{_written(held)}" for name, held in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return "[" + ",".join(map(_written, value)) + "]"
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return _written(value.item())
    raise TypeError(type(value).__name__)


def _text(text: str | bytes) -> str:
    if isinstance(text, bytes):
        raise TypeError("bytes")
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    # In quotes, a backslash means itself unless a quote follows, and ${ begins a reference to another option.
    escaped = re.sub(r"(\\*)'", lambda found: found[1] * 2 + "\\'", text)
    escaped = re.sub(r"(\\+)$", lambda found: found[1] * 2, escaped)
    return "'" + escaped.replace("${", "\\${") + "'"
