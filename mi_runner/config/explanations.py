"""Explains a mistake in a command in one line: what was given, the nearest correct name, what is allowed.

The functions here turn exceptions of Hydra and OmegaConf into `ConfigError`s.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import Field, fields, is_dataclass
from importlib import resources
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mi_runner.config import environment
from mi_runner.config.hydra_composition import CODE, COMPOSITION_ERRORS, chosen, composed, no_schema
from mi_runner.config.options import Choice
from mi_runner.config.registry import CONFIG_MODULES, ENGINES, SCHEMAS, fault_of
from mi_runner.errors import ConfigError, shortened, unknown


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
    except RecursionError as error:
        raise ConfigError(TOO_DEEP) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"a config file is no text in UTF-8 ({error.reason}): save it again as UTF-8.") from error
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
        override = str(error.override)
        return ConfigError(
            f"can't read '{shortened(_printable(override), MOST_SHOWN)}': {_how_to_type(override, overrides)}"
        )
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        return ConfigError(f"{group}={choice}: {unknown(group, choice, error.options)}")
    text = str(error)
    if plain := _of_file(text, overrides) or _of_hydra(text, overrides):
        return ConfigError(plain)
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    for key in re.findall(r"Could not override '([^']+)'", text) + re.findall(r"Error merging override (\S+)", text):
        return _explain_key(key, cause, overrides)
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return _explain_key(cause.full_key, cause, overrides)
    return ConfigError(" ".join(text.split()))


def _how_to_type(override: str, overrides: Sequence[str]) -> str:
    """Returns what to type instead of an override that can't be read."""
    if not override.isprintable():
        return "it has characters that can't be printed; leave them out."
    key, equals, value = override.partition("=")
    general = "write key=value; put values with spaces, commas, < or > in quotes."
    if not equals or not value:
        return general
    if re.match(r"-|\s", key) or re.search(r"\s$", key):
        plain = f"{key.strip().lstrip('-')}={value.strip()}"
        return f"type {shlex.quote(plain)}."
    if value[0] in "{[" and value.count("{") + value.count("[") > value.count("}") + value.count("]"):
        words = [*overrides]
        rest = words[words.index(override) + 1 :] if override in words else []
        for end in range(1, len(rest) + 1):
            whole = " ".join([override, *rest[:end]])
            if _is_read(whole):
                return f"a shell ends a word at a space. Type {shlex.quote(whole)}."
        return general
    if (value[0] == "{" and value[-1] == "}") or (value[0] == "[" and value[-1] == "]"):
        return general
    quoted = as_text(key, value)
    return f"type {shlex.quote(quoted)}." if quoted else general


def as_text(key: str, value: str) -> str:
    """Returns the override that gives a key this text, whatever its characters, as Hydra reads it; empty: none does."""
    for quote in ('"', "'"):
        override = f"{key}={quote}{value}{quote}"
        if quote not in value and _is_read(override, value):
            return override
    escaped = value.replace('"', '\\"')
    override = f'{key}="{escaped}"'
    return override if _is_read(override, value) else ""


def _is_read(override: str, value: str | None = None) -> bool:
    try:
        parsed = OverridesParser.create().parse_override(override)
        return value is None or parsed.value() == value
    except (HydraException, ValueError):
        return False


def _of_hydra(text: str, overrides: Sequence[str]) -> str:
    """Returns what to type where Hydra itself says that a value, or a +, is one too many; empty for other errors."""
    for override in re.findall(r"Ambiguous value for argument '(.*)'\n", text):
        key, _, value = override.partition("=")
        kind = str(_fields(overrides)[key].type) if key in _fields(overrides) else ""
        quoted = as_text(key, value)
        one = f"one list: {shlex.quote(f'{key}=[{value}]')}" if "list" in kind else f"one text: {shlex.quote(quoted)}"
        other = f", or {one}" if "list" in kind or "str" in kind else ""
        several = f"{shortened(override, MOST_SHOWN)}: several values are a sweep"
        return f"{several}: type mi-run -m {shlex.quote(override)}{other}."
    for override in re.findall(r"Sweep parameters '(.*)' requires --multirun", text):
        return f"{shortened(override, MOST_SHOWN)}: several values are a sweep: type mi-run -m {shlex.quote(override)}."
    for key in re.findall(r"Multiple values for (\S+?)\.|An item is already at '([^']+)'", text):
        name = "".join(key)
        for override in overrides:
            if override.startswith("+") and override.lstrip("+").partition("=")[0] == name:
                shown = shortened(override, MOST_SHOWN)
                return f"{shown}: {name} has a value already, so leave the + out: {override.lstrip('+')}."
    if "Error resolving interpolation" in text:
        for override in overrides:
            key, _, value = override.partition("=")
            if key in SCHEMAS and value[:1] in ("[", "{"):
                names = value.strip("[]{} ").replace(" ", "")
                each = f"mi-run -m {key}={names}" if "," in names else f"{key}={names}"
                return f"{shortened(override, MOST_SHOWN)}: {key} is one name: type {each}."
    return ""


def _of_file(text: str, overrides: Sequence[str]) -> str:
    """Returns what to type where a config file names code, options or choices that there are not."""
    for file, group, name in re.findall(r"In '([^']+)': Could not (?:find|load) '/?schema/(\w+)/([^'@]+)'", text):
        if fault := fault_of(group, name):
            return fault
        choices = SCHEMAS.get(group, ())
        first = f"/{group}/{choices[0].name}" if choices else "the name of a file that there is"
        return f"{file}.yaml: no schema of {group} is named '{name}'. Begin it with defaults: [{first}, _self_]. {CODE}"
    found = re.search(r"In '([^']+)': ConfigKeyError raised while composing config:\s*Key '([^']+)' not in", text)
    if found and (key := re.search(r"full_key: (\S+)", text)):
        if any((resources.files(module) / f"{found[1]}.yaml").is_file() for module in CONFIG_MODULES):
            group = key[1].partition(".")[0]
            named = [override for override in overrides if override.partition("=")[0] == group]
            what = f"{found[1].replace('/', '=')} sets {key[1]}"
            return f"{what}, an option that {named[-1] if named else f'this {group}'} doesn't have. Choose another."
        return f"{found[1]}.yaml: {key[1]} is no option, and a file of a folder has values of options alone. {CODE}"
    for file, group, name in re.findall(r"In '([^']+)': Could not (?:find|load) '/?(\w+)/([^'@]+)'", text):
        if group in SCHEMAS:
            return f"{file}.yaml: {unknown(group, name, [schema.name for schema in SCHEMAS[group]])}"
    return ""


MOST_SHOWN = 200
"""Largest number of characters of an override that an error repeats."""

TOO_DEEP = (
    "the command, or a config file that it names, nests too deeply, or includes itself: take the file out of its own "
    "defaults list, or write fewer brackets in brackets."
)


def _printable(override: str) -> str:
    return override if override.isprintable() else ascii(override)[1:-1]


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
    given = shortened(named[-1] if named else override, MOST_SHOWN)
    parent = key.rpartition(".")[0]
    keys = _fields(overrides, of_engines=key.startswith("hydra"))
    if key not in keys and not any(name.startswith(f"{key}.") for name in keys) and parent not in keys:
        return ConfigError(f"{given}: no key is named '{key}'.{_nearest(key, list(keys), _choices_alone(overrides))}")
    if key in keys and parent in SCHEMAS and "is not in struct" in str(cause):
        return no_schema(parent)
    value = named[-1].partition("=")[2] if named else ""
    reason = wanted(key, value, str(keys[key].type)) if key in keys else ""
    if not reason:
        reason = " ".join(str(cause).split("\n")[0].split()).removesuffix(".") if cause else "is not allowed"
    meaning = f"; {key} is: {keys[key].metadata['doc']}" if key in keys and keys[key].metadata.get("doc") else ""
    return ConfigError(f"{given}: {reason}{meaning}.")


WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
"""What a value of this type is called."""


def wanted(key: str, value: str, kind: str) -> str:
    """Returns what a value of an option of this type must be, and what to type; empty for choices and text."""
    element = re.search(r"\b(int|float|bool|str)\b", kind)
    if element is None or "Any" in kind:
        return ""
    word = WORDS.get(element[1], "")
    if value in ("None", "none") and "None" in kind:
        return f"must be {word or 'text'}, or null for none: write {key}=null"
    if kind.startswith("list"):
        words = {"int": "whole numbers", "float": "numbers", "bool": "true and false", "str": "names"}[element[1]]
        alone = f": type {shlex.quote(f'{key}=[{value}]')}" if value and value[0] not in "[{" else ""
        return f"must be a list of {words}{alone}"
    if not word:
        return ""
    if value[:1] == "[":
        listed = value.strip("[] ").replace(" ", "")
        return f"must be {word}: for several runs type mi-run -m {key}={listed}"
    if element[1] == "int":
        with suppress(ValueError, OverflowError):
            number = float(value)
            if number == int(number) and abs(number) < 2**53:
                return f"must be a whole number: write {key}={int(number)}"
    return f"must be {word}"


def _fields(overrides: Sequence[str], *, of_engines: bool = False) -> dict[str, Field[Any]]:
    """Returns every key that the choices of a command have, or its launcher and sweeper, with its field."""
    return dict(_engine_keys(overrides)) if of_engines else dict(_keys(_choices_alone(overrides)))


def _choices_alone(overrides: Sequence[str]) -> DictConfig:
    """Returns the config of a command without its values, because one of them is the mistake."""
    choices = [override for override in overrides if override.partition("=")[0] in SCHEMAS]
    try:
        return composed(choices)
    except COMPOSITION_ERRORS:  # a choice that only the user's own folder has
        return composed()


ALIASES = {
    **dict.fromkeys(("lr", "learningrate", "learning_rates"), "learning_rate"),
    **dict.fromkeys(("bs", "batchsize", "batch", "train_batch_size"), "batch_size"),
    **dict.fromkeys(("max_epochs", "n_epochs", "num_epochs", "num_train_epochs", "epoch"), "epochs"),
    **dict.fromkeys(("wd", "l2"), "weight_decay"),
    **dict.fromkeys(("optim", "opt"), "optimizer"),
    **dict.fromkeys(("criterion", "loss_fn"), "loss"),
    **dict.fromkeys(("hidden", "hidden_size", "hidden_dims", "layers"), "hidden_sizes"),
    **dict.fromkeys(("random_seed", "random_state"), "seed"),
    **dict.fromkeys(("out", "output", "out_dir", "outdir", "save_dir"), "output_dir"),
    **dict.fromkeys(("ckpt", "weights", "checkpoint_path", "resume_from_checkpoint"), "checkpoint"),
}
"""What other programs call an option → what it is called here."""


def _nearest(key: str, keys: Sequence[str], config: DictConfig) -> str:
    """Returns sentences for an unknown key: the key that may be meant, and the keys that are allowed there."""
    parent, _, last = key.rpartition(".")
    known = [*SCHEMAS, *keys]
    siblings = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == parent}
    allowed = list(siblings.values())
    alias = ALIASES.get(last, last)
    near = (
        [name for name in [siblings.get(alias, "")] if name]
        or [name for name in keys if name.rpartition(".")[2] == alias and alias != last]
        or [siblings[name] for name in difflib.get_close_matches(last, siblings, n=1, cutoff=0.8)]
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


def _keys(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, Field[Any]]]:
    """Yields every key of a composed config with its field."""
    schema = OmegaConf.get_type(config)
    if not is_dataclass(schema):
        return
    for item in fields(schema):
        if is_dataclass(OmegaConf.get_type(config, item.name)):
            yield from _keys(config[item.name], f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", item


def _engine_keys(overrides: Sequence[str]) -> Iterator[tuple[str, Field[Any]]]:
    """Yields the keys of the launcher and sweeper that the overrides name, with their fields."""
    for group, engines in ENGINES.items():
        for engine in engines:
            if f"hydra/{group}={engine.name}" in overrides:
                yield from ((f"hydra.{group}.{item.name}", item) for item in fields(engine))
