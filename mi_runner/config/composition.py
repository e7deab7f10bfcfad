"""From overrides such as `experiment=ablation model=cnn` to a typed `RunConfig`, or to one line that says what to type.

Hydra composes; this module registers the schemas, turns Hydra's objections into `ConfigError`s and writes the help
page. It imports no torch.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, fields, is_dataclass
from enum import Enum
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mi_runner import threads
from mi_runner.config.schemas import (
    LAUNCHERS,
    SCHEMAS,
    SWEEP_KEYS,
    SWEEPERS,
    Choice,
    RunConfig,
    TrainingConfig,
    check_ranges,
    check_seeds,
)
from mi_runner.errors import ConfigError, unknown

CONFIG_MODULE = "mi_runner.conf"
NOT_IN_HASH = ("output_dir", "expect", *SWEEP_KEYS)
"""Top-level keys that change no figure of a run."""

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException)

EXAMPLES = (
    ("mi-run experiment=ablation model=skip", "what does each part of a trained network contribute?"),
    ("mi-run dataset=mod_add training.epochs=2", "train on modular addition"),
    ("mi-run -m experiment=ablation dataset=mnist01 seed=0,1", "a sweep"),
)


def register_schemas() -> None:
    """Give Hydra the schemas that the files of conf/ refer to."""
    store = ConfigStore.instance()
    store.store(group="schema", name="run", node=RunConfig, package="_global_")
    store.store(group="schema", name="training", node=TrainingConfig)
    for group, choices in SCHEMAS.items():
        for schema in choices:
            store.store(group=f"schema/{group}", name=schema.name, node=schema)
    for group, engines in (("launcher", LAUNCHERS), ("sweeper", SWEEPERS)):
        for engine in engines:
            store.store(group=f"schema/{group}", name=engine.name, node=engine)


def compose(overrides: Sequence[str] = ()) -> RunConfig:
    """The config that `mi-run` would run with these overrides.

    Raises:
        ConfigError: a name, type or range is wrong; the text says what is allowed.
    """
    return typed(compose_untyped(overrides))


def compose_untyped(overrides: Sequence[str], *, with_hydra: bool = False) -> DictConfig:
    """As `compose`, before the conversion to dataclasses; `with_hydra` adds Hydra's own options as the key `hydra`."""
    register_schemas()
    state = GlobalHydra.instance()
    if state.is_initialized():
        state.clear()
    try:
        with plain_errors_explained(), initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            return hydra_compose("config", overrides=list(overrides), return_hydra_config=with_hydra)
    except COMPOSITION_ERRORS as error:
        raise explain(error, overrides) from error


@contextmanager
def plain_errors_explained() -> Iterator[None]:
    """Within the block nothing but Hydra works: what it raises that is of no class of its own is a mistake, too.

    It raises ValueError for a search path of no known kind, for a defaults list that is none and for flags that don't
    go together; a config file that can't be read raises what its reader raises.

    Raises:
        ConfigError: in place of these.
    """
    try:
        yield
    except COMPOSITION_ERRORS:
        raise
    except (ValueError, YAMLError) as error:
        raise ConfigError(" ".join(str(error).split())) from error


def typed(config: DictConfig) -> RunConfig:
    """The composed config as dataclasses, its ranges checked.

    Raises:
        ConfigError: a value is missing or out of range.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(f"{missing[0]} has no value: type {missing[0]}=...")
    _check_keys(config)
    try:
        run_config = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise explain(error, ()) from error
    assert isinstance(run_config, RunConfig)
    if run_config.threads is None or run_config.threads == "auto":
        run_config.threads = threads.automatic()
    if not isinstance(run_config.threads, int):
        raise ConfigError(f"threads={run_config.threads}: must be a number of CPU threads, or auto.")
    check_ranges(run_config)
    check_seeds(run_config)
    if not run_config.output_dir:
        raise ConfigError("output_dir= is empty: name a folder, for example output_dir=outputs.")
    if not re.fullmatch(r"auto|cpu|cuda|cuda:\d+", run_config.device):
        raise ConfigError(f"device={run_config.device}: must be auto, cpu, cuda or cuda:N.")
    return run_config


def config_hash(config: RunConfig) -> str:
    """The sha256 of all that decides a run's figures; the same for two runs that must agree."""
    content = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(content, dict)
    kept = {key: value for key, value in content.items() if key not in NOT_IN_HASH}
    kept["choices"] = [config.experiment.name, config.dataset.name, config.model.name]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


class Composer:
    """Composes the configs of many jobs that differ in a few values.

    Hydra composes once for each combination of the other overrides; the values are then merged by OmegaConf, as Hydra
    itself does it last of all.
    """

    def __init__(self) -> None:
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: Sequence[str], swept: Sequence[str]) -> RunConfig:
        """As `compose(overrides)`.

        Args:
            overrides: `KEY=VALUE`, all of a job.
            swept: keys whose values differ from job to job.

        Raises:
            ConfigError: as `compose`.
        """
        keys = [override.partition("=")[0] for override in overrides]
        merged = [override for override, key in zip(overrides, keys, strict=True) if key in swept and _plain(key, keys)]
        if not merged:
            return compose(overrides)
        base = tuple(override for override in overrides if override not in merged)
        if base not in self._bases:
            self._bases[base] = compose_untyped(base)
        config = copy.deepcopy(self._bases[base])
        try:
            for override in OverridesParser.create().parse_overrides(list(merged)):
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:
            return compose(overrides)  # finds the same mistake, and knows how to say it
        return typed(config)


def names_a_value(key: str) -> bool:
    """Whether a key names a value, and not a choice of a group, nor one that is added or removed."""
    return key not in (*SCHEMAS, "training") and re.fullmatch(r"\w+(\.\w+)*", key) is not None


def _plain(key: str, keys: Sequence[str]) -> bool:
    """Whether the key names a value, not a choice, and no other override touches the same value."""
    return (
        names_a_value(key)
        and not any(other.startswith(f"{key}.") or key.startswith(f"{other}.") for other in keys)
        and (keys.count(key) == 1)
    )


def _check_keys(config: DictConfig, prefix: str = "") -> None:
    """No key was added (`+key=value`) that the schema doesn't have, and none removed (`~key`) that it has."""
    schema = OmegaConf.get_type(config)
    if not is_dataclass(schema):
        return
    allowed = [item.name for item in fields(schema)]
    for name in allowed:
        if name not in config:
            raise ConfigError(f"~{prefix}{name}: the key can't be removed; give it a value.")
    for key in map(str, config):
        if key not in allowed:
            raise ConfigError(f"{prefix}{key}: {unknown('key', key, allowed)}")
        child = config._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            _check_keys(child, f"{prefix}{key}.")


# --- errors ----------------------------------------------------------------------------------------------------


def explain(error: Exception, overrides: Sequence[str]) -> ConfigError:
    """Hydra's or OmegaConf's objection as one line: the cause, the nearest right name, what is allowed."""
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


def _explain_key(override: str, cause: BaseException | None, overrides: Sequence[str]) -> ConfigError:
    key = override.lstrip("+~").partition("=")[0]
    named = [part for part in overrides if part.lstrip("+~").partition("=")[0] == key]
    given = named[-1] if named else override
    parent = key.rpartition(".")[0]
    groups = [part for part in overrides if part.partition("=")[0] in SCHEMAS]
    config = compose_untyped(groups if groups != list(overrides) else ())
    keys = dict(_keys(config))
    if key.startswith("hydra"):
        keys = dict(_engine_keys(overrides))
    if key not in keys and not any(name.startswith(f"{key}.") for name in keys) and parent not in keys:
        return ConfigError(f"{given}: no key is named '{key}'.{_nearest(key, list(keys), config)}")
    reason = " ".join(str(cause).split("\n")[0].split()) if cause else "is not allowed"
    meaning = f"; {key} is: {keys[key]}" if keys.get(key) else ""
    return ConfigError(f"{given}: {reason}{meaning}.")


def _nearest(key: str, keys: Sequence[str], config: DictConfig) -> str:
    """What may be meant by a key that there is not, and what its place allows; a few sentences."""
    parent, _, last = key.rpartition(".")
    known = [*SCHEMAS, *keys]
    siblings = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == parent}
    allowed = list(siblings.values())
    near = (
        [siblings[name] for name in difflib.get_close_matches(last, siblings, n=1, cutoff=0.8)]
        or [name for name in keys if name.rpartition(".")[2] == last]
        or [siblings[name] for name in difflib.get_close_matches(last, siblings, n=1, cutoff=0.6)]
    )
    if not siblings and parent not in SCHEMAS:  # what stands before the dot is wrong
        near = near or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        allowed = [*dict.fromkeys(f"{name.rpartition('.')[0]}.*" for name in keys if "." in name)]
    guess = f" Did you mean {near[0]}?" if near else ""
    if parent in SCHEMAS and any(last in _names(schema) for schema in SCHEMAS[parent]):
        guess = f" {where_option(parent, SCHEMAS[parent], last)}"
    nothing = "(none)"
    if parent in SCHEMAS:
        nothing = f"(none: {parent}={_chosen(config, parent).name} has no options)"
    return f"{guess} Allowed here: {', '.join(allowed) or nothing}."


def _chosen(config: DictConfig, group: str) -> type[Choice]:
    """The schema of a group's choice in a composed config."""
    schema = OmegaConf.get_type(config[group])
    assert schema is not None and issubclass(schema, Choice)
    return schema


def _names(schema: type[Choice]) -> list[str]:
    return [item.name for item in fields(schema)]


def where_option(group: str, choices: Sequence[type[Choice]], option: str) -> str:
    """Which choices of a group have an option; where none has, all that any has."""
    able = [f"{group}={schema.name}" for schema in choices if option in _names(schema)]
    if not able:
        return unknown(f"option of {group}", option, dict.fromkeys(name for s in choices for name in _names(s)))
    return f"{' or '.join(able)} has it: add {'that' if len(able) == 1 else 'one of them'} to the command."


def _keys(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a composed config with its one-line meaning."""
    schema = OmegaConf.get_type(config)
    if not is_dataclass(schema):
        return
    for item in fields(schema):
        node = config._get_node(item.name)
        if isinstance(node, DictConfig) and is_dataclass(OmegaConf.get_type(node)):
            yield from _keys(node, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", item.metadata.get("doc", "")


def _engine_keys(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The keys of the launcher and sweeper that the overrides name."""
    for group, engines in (("launcher", LAUNCHERS), ("sweeper", SWEEPERS)):
        for engine in engines:
            if f"hydra/{group}={engine.name}" in overrides:
                yield from ((f"hydra.{group}.{item.name}", item.metadata["doc"]) for item in fields(engine))


# --- help ------------------------------------------------------------------------------------------------------


def help_page(overrides: Sequence[str]) -> str:
    """What `mi-run --help` prints: the groups, every option with one line, commands that work.

    The defaults shown are those of the command that the help was asked for.
    """
    alone = compose_untyped(())
    config = compose_untyped(overrides) if overrides else alone
    lines = [
        "mi-run: what does a small neural network really compute?",
        "",
        "usage: mi-run [-m] [GROUP=NAME ...] [KEY=VALUE ...]",
        "       a config picks a data set, a model and an experiment; the tables are written to a new folder",
        "",
        "Commands to begin with",
    ]
    lines += [f"  {command:<56} {meaning}" for command, meaning in EXAMPLES]
    lines += ["", "Groups"]
    for group, choices in SCHEMAS.items():
        chosen = OmegaConf.get_type(config[group])
        for number, schema in enumerate(choices):
            mark = "*" if schema is chosen else " "
            lines.append(f"  {group if number == 0 else '':<11}{mark} {schema.name:<10} {_first_line(schema)}")
            if group == "experiment" and (words := settings_of(schema.name, alone)):
                indent = " " * 26
                lines += textwrap.wrap(f"sets {' '.join(words)}", 120, initial_indent=indent, subsequent_indent=indent)
    lines += ["  (* is what this command takes; what an experiment sets, the command line can set otherwise)"]
    top = [item for item in fields(RunConfig) if item.metadata]
    lines += ["", "Options of every run"]
    lines += [_option_line("", item, config[item.name]) for item in top if item.name not in SWEEP_KEYS]
    lines += [_option_line("training.", item, config.training[item.name]) for item in fields(TrainingConfig)]
    for group, choices in SCHEMAS.items():
        for schema in choices:
            if not fields(schema):
                continue
            lines += ["", f"With {group}={schema.name}"]
            is_chosen = schema is OmegaConf.get_type(config[group])
            for item in fields(schema):
                value = config[group]._get_node(item.name) if is_chosen else _default(item)
                lines.append(_option_line(f"{group}.", item, value))
    lines += ["", "Options of sweeps (-m)"]
    lines += [_option_line("", item, config[item.name]) for item in top if item.name in SWEEP_KEYS]
    for group, engines in (("launcher", LAUNCHERS), ("sweeper", SWEEPERS)):
        for engine in engines:
            lines += ["", f"With hydra/{group}={engine.name}: {_first_line(engine)}"]
            lines += [_option_line(f"hydra.{group}.", item, _default(item)) for item in fields(engine)]
    lines += [
        "",
        "Flags",
        "  -m, --multirun        a sweep: every combination of the values that are separated by commas",
        "  --cfg job             print the config and stop",
        "  --help, --version     this page (with the defaults of the command it stands in); the version",
        "  --hydra-help          Hydra's own flags, shell completion among them",
        "",
        "Exit status: 0 done, 1 the run failed, 2 a mistake in the command, 3 an expectation not met,",
        "             130 Ctrl-C, 143 SIGTERM",
    ]
    return "\n".join(lines)


def settings_of(experiment: str, alone: DictConfig) -> list[str]:
    """What choosing an experiment, and no more, sets otherwise than `mi-run` alone, as one would type it.

    Args:
        alone: the config of `mi-run` alone.
    """
    if experiment == _chosen(alone, "experiment").name:
        return []
    config = compose_untyped([f"experiment={experiment}"])
    found = [(item.name, config[item.name], alone[item.name]) for item in fields(RunConfig) if item.metadata]
    for group in ("dataset", "model"):
        schema = _chosen(config, group)
        found.append((group, schema.name, _chosen(alone, group).name))
        found += [(f"{group}.{item.name}", config[group][item.name], _default(item)) for item in fields(schema)]
    for item in fields(TrainingConfig):
        found.append((f"training.{item.name}", config.training[item.name], alone.training[item.name]))
    return [f"{key}={_show(value)}" for key, value, default in found if value != default]


def _first_line(schema: type) -> str:
    return textwrap.dedent(schema.__doc__ or "").strip().splitlines()[0]


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not NO_DEFAULT else item.default


def _option_line(prefix: str, item: Field[Any], value: Any) -> str:
    return f"  {prefix + item.name + '=' + _show(value):<40} {item.metadata['doc']}"


def _show(value: Any) -> str:
    """A value as one would type it."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value)
    elif hasattr(value, "_value"):
        value = value._value()
    if value is None:
        return "null"
    if value == "???":
        return "..."
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list):
        return "[" + ",".join(_show(element) for element in value) + "]"
    return str(value)
