"""Explains a mistake in a command in one line: what was given, the nearest correct name, what is allowed.

The functions here turn exceptions of Hydra and OmegaConf into `ConfigError`s.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mi_runner.config import environment
from mi_runner.config.hydra_composition import COMPOSITION_ERRORS, chosen, composed
from mi_runner.config.options import Choice
from mi_runner.config.registry import ENGINES, SCHEMAS
from mi_runner.errors import ConfigError, unknown


@contextmanager
def plain_errors_explained() -> Iterator[None]:
    """Turns Hydra's exceptions of Python's and YAML's classes into ConfigErrors; only Hydra may run in the block.

    Hydra raises ValueError for an unknown kind of search path, for an invalid defaults list and for flags that exclude
    each other. A config file that can't be read raises an exception of its reader.

    Raises:
        ConfigError: in place of these.
    """
    try:
        yield
    except COMPOSITION_ERRORS:
        raise
    except (ValueError, YAMLError) as error:
        if (refused := environment.refusal(error)) is not None:
            raise refused from error
        raise ConfigError(" ".join(str(error).split())) from error


@environment.refused()
def explain(error: Exception, overrides: Sequence[str]) -> ConfigError:
    """Returns an error of Hydra or OmegaConf in one line: the cause, the nearest correct name, what is allowed."""
    if (refused := environment.refusal(error) or environment.refused_in(overrides)) is not None:
        return refused
    if isinstance(error, OverrideParseException):
        return ConfigError(
            f"can't read '{error.override}': write key=value; put values with spaces, commas, < or > in quotes."
        )
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        return ConfigError(f"{group}={choice}: {unknown(group, choice, error.options)}")
    text = str(error)
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    for key in re.findall(r"Could not override '([^']+)'", text) + re.findall(r"Error merging override (\S+)", text):
        return _explain_key(key, cause, overrides)
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return _explain_key(cause.full_key, cause, overrides)
    return ConfigError(" ".join(text.split()))


def not_a_command(word: str, commands: Sequence[str]) -> str:
    """Returns what to type instead of a first word that is neither a command nor key=value."""
    for group, choices in SCHEMAS.items():
        if word in [schema.name for schema in choices]:
            return f"can't read '{word}': type mi-run {group}={word}."
    near = difflib.get_close_matches(word, commands, n=1, cutoff=0.5)
    guess = f"Did you mean mi-run {near[0]}? " if near else ""
    allowed = f"{', '.join(commands)}, or options as key=value"
    return f"can't read '{word}': no command has this name. {guess}Allowed: {allowed}."


def _explain_key(override: str, cause: BaseException | None, overrides: Sequence[str]) -> ConfigError:
    key = override.lstrip("+~").partition("=")[0]
    named = [other for other in overrides if other.lstrip("+~").partition("=")[0] == key]
    given = named[-1] if named else override
    parent = key.rpartition(".")[0]
    config = _choices_alone(overrides)
    keys = dict(_keys(config))
    if key.startswith("hydra"):
        keys = dict(_engine_keys(overrides))
    if key not in keys and not any(name.startswith(f"{key}.") for name in keys) and parent not in keys:
        return ConfigError(f"{given}: no key is named '{key}'.{_nearest(key, list(keys), config)}")
    reason = " ".join(str(cause).split("\n")[0].split()) if cause else "is not allowed"
    meaning = f"; {key} is: {keys[key]}" if keys.get(key) else ""
    return ConfigError(f"{given}: {reason}{meaning}.")


def _choices_alone(overrides: Sequence[str]) -> DictConfig:
    """Returns the config of a command without its values, because one of them is the mistake."""
    choices = [override for override in overrides if override.partition("=")[0] in SCHEMAS]
    try:
        return composed(choices)
    except COMPOSITION_ERRORS:  # a choice that only the user's own folder has
        return composed()


def _nearest(key: str, keys: Sequence[str], config: DictConfig) -> str:
    """Returns sentences for an unknown key: the key that may be meant, and the keys that are allowed there."""
    parent, _, last = key.rpartition(".")
    known = [*SCHEMAS, *keys]
    siblings = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == parent}
    allowed = list(siblings.values())
    near = (
        [siblings[name] for name in difflib.get_close_matches(last, siblings, n=1, cutoff=0.8)]
        or [name for name in keys if name.rpartition(".")[2] == last]
        or [siblings[name] for name in difflib.get_close_matches(last, siblings, n=1, cutoff=0.6)]
    )
    if not siblings and parent not in SCHEMAS:  # the mistake is before the dot
        near = near or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        allowed = [*dict.fromkeys(f"{name.rpartition('.')[0]}.*" for name in keys if "." in name)]
    guess = f" Did you mean {near[0]}?" if near else ""
    if parent in SCHEMAS and any(last in _names(schema) for schema in SCHEMAS[parent]):
        guess = f" {where_option(parent, SCHEMAS[parent], last)}"
    nothing = "(none)"
    if parent in SCHEMAS:
        nothing = f"(none: {parent}={chosen(config, parent).name} has no options)"
    return f"{guess} Allowed here: {', '.join(allowed) or nothing}."


def _names(schema: type[Choice]) -> list[str]:
    return [item.name for item in fields(schema)]


def where_option(group: str, choices: Sequence[type[Choice]], option: str) -> str:
    """Returns a sentence that names the choices of a group with this option; if none has it, all options."""
    able = [f"{group}={schema.name}" for schema in choices if option in _names(schema)]
    if not able:
        return unknown(f"option of {group}", option, dict.fromkeys(name for s in choices for name in _names(s)))
    return f"{' or '.join(able)} has it: add {'that' if len(able) == 1 else 'one of them'} to the command."


def _keys(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields every key of a composed config with its one-line meaning."""
    schema = OmegaConf.get_type(config)
    if not is_dataclass(schema):
        return
    for item in fields(schema):
        if is_dataclass(OmegaConf.get_type(config, item.name)):
            yield from _keys(config[item.name], f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", item.metadata.get("doc", "")


def _engine_keys(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields the keys of the launcher and sweeper that the overrides name, with their meanings."""
    for group, engines in ENGINES.items():
        for engine in engines:
            if f"hydra/{group}={engine.name}" in overrides:
                yield from ((f"hydra.{group}.{item.name}", item.metadata["doc"]) for item in fields(engine))
