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
    wanted = flattened(config)
    choices = choices_of(wanted)
    try:
        usual = defaults_of(choices)
        differing = [override(key, value) for key, value in wanted.items() if usual.get(key, MISSING) != value]
        found = [*choices, *differing]
        return found if flattened(compose(found)) == wanted else None
    except ConfigError:
        return None


def choices_of(flat: Mapping[str, Any]) -> list[str]:
    """Returns the overrides without which a config has no defaults: its choices, and options that have none.

    Args:
        flat: a config's values by their whole keys, as `flattened` gives them.
    """
    named = [f"{group}={flat[group]}" for group in SCHEMAS if flat.get(group) is not None]
    return [*named, *(override(key, flat[key]) for key in required(flat))]


def required(flat: Mapping[str, Any]) -> list[str]:
    """Returns the keys of a config's options that have no default."""
    chosen = [(group, schema) for group in SCHEMAS for schema in SCHEMAS[group] if schema.name == flat.get(group)]
    keys = [f"{group}.{item.name}" for group, schema in chosen for item in fields(schema) if item.default is MISSING]
    return [key for key in keys if key in flat]


def defaults_of(choices: Sequence[str]) -> dict[str, Any]:
    """Returns the values of the config that these choices compose, by their whole keys.

    Raises:
        ConfigError: a choice is not installed.
    """
    return flattened(compose(choices))


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
