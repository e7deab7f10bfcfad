"""Composes overrides such as `experiment=ablation model=cnn` into a config, not yet converted to dataclasses.

Errors are those of Hydra and OmegaConf; `explanations` turns them into one line. Nothing here imports torch.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra._internal.config_loader_impl import get_overrides_dirname  # it has no public name
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException, HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from mi_runner.config import environment
from mi_runner.config.options import Choice
from mi_runner.config.registry import CONFIG_MODULES, ENGINES, SCHEMAS, check_usable
from mi_runner.config.run_schema import LabelsConfig, RunConfig
from mi_runner.config.text_values import with_quotes, yaml_text_kept
from mi_runner.config.training_schema import TrainingConfig
from mi_runner.errors import ConfigError

GROUPS = (*SCHEMAS, "training")
"""The groups of a run's config."""

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException)


@cache
def register_schemas() -> None:
    """Registers the schemas in Hydra, for the files of conf/ that refer to them."""
    store = ConfigStore.instance()
    store.store(group="schema", name="run", node=RunConfig, package="_global_")
    store.store(group="schema", name="training", node=TrainingConfig)
    for group, choices in {**SCHEMAS, **ENGINES}.items():
        for schema in choices:
            store.store(group=f"schema/{group}", name=schema.name, node=schema)
    Plugins.instance().register(ConfigsOfPackages)


class ConfigsOfPackages(SearchPathPlugin):
    """Lets Hydra find the config files of installed packages."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Adds their folders behind mi-run's own."""
        for module in CONFIG_MODULES[1:]:
            search_path.append(provider=module, path=f"pkg://{module}")


@environment.refused()
def composed(overrides: Sequence[str] = (), *, with_hydra: bool = False) -> DictConfig:
    """Returns the config of `mi-run` with these overrides.

    Hydra takes 0.1 s to compose a config. So it composes once in a process for each combination of groups, and of keys
    that are added or removed; the values of the other overrides are then set in a copy, with the calls that Hydra
    itself makes at its end. A choice from mi-run's own groups that an experiment makes is the same as one that is
    typed. The user's own folders are read at each call; within `files_read_once`, once.

    Args:
        overrides: `KEY=VALUE`, in Hydra's grammar.
        with_hydra: adds Hydra's own options as the key `hydra`.

    Raises:
        HydraException, OmegaConfBaseException: an override is a mistake.
        ValueError, YAMLError: see `explanations.plain_errors_explained`.
    """
    parsed = parse_overrides(overrides)
    overrides = with_quotes(overrides)
    folders = _own_folders(parsed)
    values = [override for override in parsed if _sets_a_value(override, folders)]
    others = [override for override in parsed if override not in values]
    kept = _read_once.get() if folders else _of_process
    if kept is None or _depends_on_order(others, values):
        return composed_by_hydra(overrides, with_hydra=with_hydra)
    has_hydra = with_hydra or any(override.is_hydra_override() for override in values)
    config = _kept_or_composed(others, kept).config(with_hydra=has_hydra)
    for group in SCHEMAS if folders else ():
        chosen(config, group)
    for override in values:
        try:
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except (ConfigAttributeError, ConfigKeyError) as error:
            raise ConfigCompositionException(f"Could not override '{override.key_or_group}'.") from error
        except (OmegaConfBaseException, OverflowError) as error:
            raise ConfigCompositionException(f"Error merging override {override.input_line}") from error
    if with_hydra:
        _tell_hydra(config, parsed)
    elif has_hydra:
        with open_dict(config):
            del config["hydra"]
    return config


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Returns overrides as Hydra reads them; names stay text.

    Raises:
        HydraException: one can't be read.
        ConfigError: one has no key, a number of thousands of digits, or hundreds of brackets in brackets.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(with_quotes(overrides))
    except ConfigError:
        raise
    except ValueError as error:  # of Python, which reads no number of more digits
        raise ConfigError("a number has thousands of digits: write a smaller one.") from error
    except RecursionError as error:
        raise ConfigError("an option has too many brackets in brackets: write fewer.") from error
    for override in parsed:
        if not override.key_or_group:
            raise ConfigError(f"can't read '{override.input_line}': it has no key. Write key=value.")
        if override.key_or_group in SCHEMAS and isinstance(override.value(), str):
            check_usable(override.key_or_group, str(override.value()))
    return parsed


def name_what_there_is(overrides: Sequence[str]) -> bool:
    """Returns whether overrides name choices and options that there are, at a glance: it takes no time.

    What is unusual is taken for a mistake, and values are not looked at. Composing the config finds out.
    """
    pairs = [override.partition("=")[::2] for override in overrides]
    chosen: dict[str, type[Any]] = {"training": TrainingConfig, "run": LabelsConfig}
    for group, name in pairs:
        for schema in SCHEMAS.get(group, ()):
            if schema.name == name:
                chosen[group] = schema
    known = {item.name for item in fields(RunConfig)}
    for key, value in pairs:
        group, _, name = key.partition(".")
        options = {item.name for item in fields(chosen[group])} if group in chosen else {name.partition(".")[0]}
        is_there = name.partition(".")[0] in options if name else key not in SCHEMAS or key in chosen
        if group not in known or not value or not is_there:
            return False
    return True


@environment.refused()
def composed_by_hydra(overrides: Sequence[str], *, with_hydra: bool = False) -> DictConfig:
    """Returns the same as `composed`, of which Hydra does all."""
    check_folders(overrides)
    register_schemas()
    with _without_others(), initialize_config_module(CONFIG_MODULES[0], version_base="1.3"), yaml_text_kept():
        return compose("config", overrides=with_quotes(overrides), return_hydra_config=with_hydra)


@contextmanager
def _without_others() -> Iterator[None]:
    """Sets the Hydra of the process aside within the block: that of a program that is itself made with Hydra."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = before  # another instance by now


def names_a_value(key: str) -> bool:
    """Returns whether a key names a value: not a group's choice, and not added or removed."""
    return (
        re.fullmatch(r"\w+(\.\w+)*", key) is not None
        and key not in GROUPS
        and key.partition(".")[0] in [item.name for item in fields(RunConfig)]
    )


def _is_plain(override: Override) -> bool:
    return override.type == OverrideType.CHANGE and override.package is None and not override.is_sweep_override()


def _sets_a_value(override: Override, folders: Sequence[Path]) -> bool:
    """Returns whether an override sets a value; it may choose from a group that only the user's own folders have."""
    key = override.key_or_group
    of_engine = re.fullmatch(rf"hydra\.({'|'.join(ENGINES)})\.\w+", key) is not None
    return (
        _is_plain(override)
        and (of_engine or names_a_value(key))
        and not any((folder / key).is_dir() for folder in folders)
    )


def _chooses(override: Override) -> bool:
    """Returns whether an override chooses from a group of mi-run."""
    groups = (*GROUPS, *(f"hydra/{group}" for group in ENGINES))
    return _is_plain(override) and override.key_or_group in groups and isinstance(override.value(), str)


def _depends_on_order(others: Sequence[Override], values: Sequence[Override]) -> bool:
    """Returns whether the values can't be set after all other overrides; choices from groups come first in any case."""
    of_others = [
        override.key_or_group
        for override in others
        if not (_chooses(override) or (_is_plain(override) and _names_folders(override)))
    ]
    return any(override.is_sweep_override() for override in others) or any(
        f"{value.key_or_group}.".startswith(f"{key}.") or f"{key}.".startswith(f"{value.key_or_group}.")
        for key in of_others
        for value in values
    )


def _names_folders(override: Override) -> bool:
    return override.key_or_group == "hydra.searchpath"


def _own_folders(overrides: Sequence[Override]) -> list[Path]:
    """Returns the user's own folders of configs.

    Raises:
        ConfigError: one is a Python package, which Hydra would import, or doesn't exist, which Hydra would pass over.
    """
    values = [override.value() for override in overrides if _names_folders(override)]
    named = [str(folder) for value in values for folder in (value if isinstance(value, list) else [value])]
    for folder in named:
        if re.match(r"\s*['\"]?\s*pkg:", folder, re.IGNORECASE):
            raise ConfigError(
                f"hydra.searchpath=[{folder}]: to look into a package runs its code. "
                "Type the folder with its configs: hydra.searchpath=[file://FOLDER]."
            )
        scheme, _, path = folder.rpartition("://")
        if scheme in ("", "file") and not Path(path).is_dir():
            raise ConfigError(
                f"no folder of configs is named {path!a}: --config-dir and hydra.searchpath name folders."
            )
    return [Path(folder.removeprefix("file://")) for folder in named]


def check_folders(overrides: Sequence[str]) -> None:
    """Checks that the places where configs are looked for are folders.

    Raises:
        ConfigError: one is a Python package, or doesn't exist.
        HydraException: an override can't be read.
    """
    _own_folders(parse_overrides(overrides))


@dataclass(frozen=True)
class _Composed:
    """A composed config, pickled: to unpickle it takes a third of the time of a deep copy."""

    with_hydra: bytes
    without_hydra: bytes

    def config(self, *, with_hydra: bool) -> DictConfig:
        """Returns a copy."""
        config: DictConfig = pickle.loads(self.with_hydra if with_hydra else self.without_hydra)
        return config


Kept = dict[tuple[str, ...], _Composed]
"""Overrides → their config."""

_of_process: Kept = {}

MOST_KEPT = 1000
"""How many overrides `_of_process` has at most; a config takes 20 kB."""

_read_once: ContextVar[Kept | None] = ContextVar("read_once", default=None)


@contextmanager
def files_read_once(kept: Kept | None = None) -> Iterator[None]:
    """Reads each of the user's own config files once within the block, because a sweep composes many configs.

    Args:
        kept: what earlier blocks have read, and what this one adds; None: nothing.
    """
    before = _read_once.set({} if kept is None else kept)
    try:
        yield
    finally:
        _read_once.reset(before)


def _kept_or_composed(overrides: Sequence[Override], kept: Kept) -> _Composed:
    """Returns the config of overrides that set no value. It is kept, also for the choices that an experiment made."""
    lines = [str(override.input_line) for override in overrides]
    are_choices = all(map(_chooses, overrides)) and len({override.key_or_group for override in overrides}) == len(lines)
    key = tuple(sorted(lines) if are_choices else lines)
    if key not in kept:
        config = composed_by_hydra(key, with_hydra=True)
        keys = [key]
        if are_choices:
            made = [f"{group}={config.hydra.runtime.choices[group]}" for group in GROUPS]
            of_engines = [line for line in lines if line.startswith("hydra/")]
            keys.append(tuple(sorted([*made, *of_engines])))
        with_hydra = pickle.dumps(config)
        with open_dict(config):
            del config["hydra"]
        kept |= dict.fromkeys(keys, _Composed(with_hydra, pickle.dumps(config)))
        while kept is _of_process and len(kept) > MOST_KEPT:
            kept.pop(next(iter(kept)))
    return kept[key]


def _tell_hydra(config: DictConfig, parsed: Sequence[Override]) -> None:
    """Writes the command line into Hydra's own options, where `${hydra:...}` finds it."""
    ours = [override for override in parsed if not override.is_hydra_override()]
    config.hydra.overrides.task = [override.input_line for override in ours]
    config.hydra.overrides.hydra = [override.input_line for override in parsed if override.is_hydra_override()]
    config.hydra.runtime.cwd = os.getcwd()
    config.hydra.job.override_dirname = get_overrides_dirname(ours, **config.hydra.job.config.override_dirname)


def chosen(config: DictConfig, group: str) -> type[Choice]:
    """Returns the schema of a group's choice in a composed config.

    Raises:
        ConfigError: it has none, because a file of the user's own folder names none.
    """
    return check_schema(group, OmegaConf.get_type(config[group]))


def check_schema(group: str, kind: type[Any] | None) -> type[Choice]:
    """Returns the type of a group's choice, which is a schema.

    Raises:
        ConfigError: it is none.
    """
    if kind is None or not issubclass(kind, Choice):
        raise no_schema(group)
    return kind


def no_schema(group: str) -> ConfigError:
    """Returns the error of a file that names no schema of its group."""
    begin = "# @package _global_, and then " if group == "experiment" else ""
    return ConfigError(
        f"{group}: the file that {group}=NAME chooses is made from no {group} of mi-run: begin it with "
        f"{begin}defaults: [/{group}/{SCHEMAS[group][0].name}, _self_]. {CODE}"
    )


CODE = (
    "Code and options of your own are a package that is installed, as docs/plugins.md shows; for a network alone type "
    "model=external model.factory=module:callable."
)
"""What to do where a file of the user's own folder names code."""
