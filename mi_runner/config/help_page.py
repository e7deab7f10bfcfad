"""The page of `mi-run --help`: example commands, the groups, a line for each option."""

from __future__ import annotations

import copy
import re
import textwrap
from collections.abc import Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, fields
from enum import Enum
from importlib import resources
from typing import Any

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf

from mi_runner.config.composition import compose_untyped
from mi_runner.config.hydra_composition import CONFIG_MODULE, chosen
from mi_runner.config.registry import ENGINES, SCHEMAS
from mi_runner.config.run_schema import SWEEP_KEYS, RunConfig
from mi_runner.config.training_schema import TrainingConfig

CHOSEN_BY_EXPERIMENTS = ("dataset", "model")
"""Groups that an experiment's file may choose."""

EXAMPLES = (
    ("mi-run experiment=ablation model=skip", "what does each part of a trained network contribute?"),
    ("mi-run dataset=mod_add training.epochs=2", "train on modular addition"),
    ("mi-run -m experiment=ablation dataset=mnist01 seed=0,1", "a sweep"),
)


def help_page(overrides: Sequence[str]) -> str:
    """Returns the page of `mi-run --help`: example commands, the groups, a line for each option.

    It shows the defaults of the command with these overrides.
    """
    alone = compose_untyped(())
    config = compose_untyped(overrides) if overrides else alone
    lines = [
        "mi-run: what does a small neural network really compute?",
        "",
        "usage: mi-run [-m] [GROUP=NAME ...] [KEY=VALUE ...]",
        "       a config picks a data set, a model and an experiment; the tables are written to a new folder",
        "       mi-run report FOLDER: makes the page report.html of a run or a sweep again",
        "",
        "Commands to begin with",
    ]
    lines += [f"  {command:<56} {meaning}" for command, meaning in EXAMPLES]
    lines += ["", "Groups"]
    for group, choices in SCHEMAS.items():
        taken = chosen(config, group)
        for position, schema in enumerate(choices):
            mark = "*" if schema is taken else " "
            lines.append(f"  {group if position == 0 else '':<11}{mark} {schema.name:<10} {first_line(schema)}")
            if group == "experiment" and (words := settings_of(schema.name, alone)):
                indent = " " * 26
                lines += textwrap.wrap(f"sets {' '.join(words)}", 120, initial_indent=indent, subsequent_indent=indent)
    lines += ["  (*: the choice of this command; the command line can change what an experiment sets)"]
    top = [item for item in fields(RunConfig) if item.metadata]
    lines += ["", "Options of every run"]
    lines += [_option_line("", item, config[item.name]) for item in top if item.name not in SWEEP_KEYS]
    lines += [_option_line("training.", item, config.training[item.name]) for item in fields(TrainingConfig)]
    for group, choices in SCHEMAS.items():
        for schema in choices:
            if not fields(schema):
                continue
            lines += ["", f"With {group}={schema.name}"]
            is_chosen = schema is chosen(config, group)
            for item in fields(schema):
                value = _value(config[group], item) if is_chosen else default_of(item)
                lines.append(_option_line(f"{group}.", item, value))
    lines += ["", "Options of sweeps (-m)"]
    lines += [_option_line("", item, config[item.name]) for item in top if item.name in SWEEP_KEYS]
    for group, engines in ENGINES.items():
        for engine in engines:
            lines += ["", f"With hydra/{group}={engine.name}: {first_line(engine)}"]
            lines += [_option_line(f"hydra.{group}.", item, default_of(item)) for item in fields(engine)]
    lines += [
        "",
        "Flags",
        "  -m, --multirun        a sweep: every combination of the values that are separated by commas",
        "  --cfg job             print the config and stop",
        "  --help, --version     this page, with the defaults of the command; the version",
        "  --hydra-help          Hydra's own flags, shell completion among them",
        "",
        "Exit status: 0 done, 1 the run failed, 2 a mistake in the command, 3 an expectation not met,",
        "             130 Ctrl-C, 143 SIGTERM",
    ]
    return "\n".join(lines)


def settings_of(experiment: str, alone: DictConfig) -> list[str]:
    """Returns the settings that an experiment changes from those of `mi-run` alone, as typed: `seed=42`.

    Args:
        alone: the config of `mi-run` alone.
    """
    if experiment == chosen(alone, "experiment").name:
        return []
    config = _with_experiment(experiment, alone)
    settings = [(item.name, config[item.name], alone[item.name]) for item in fields(RunConfig) if item.metadata]
    for group in CHOSEN_BY_EXPERIMENTS:
        schema = chosen(config, group)
        settings.append((group, schema.name, chosen(alone, group).name))
        settings += [(f"{group}.{item.name}", _value(config[group], item), default_of(item)) for item in fields(schema)]
    for item in fields(TrainingConfig):
        settings.append((f"training.{item.name}", config.training[item.name], alone.training[item.name]))
    return [f"{key}={show(value)}" for key, value, default in settings if value != default]


def choices_of(experiment: str) -> dict[str, str]:
    """Returns group → the name of its choice in `mi-run experiment=NAME`, or in `mi-run` alone for an unknown name."""
    names = _listed("config.yaml")
    if own := _listed(f"experiment/{experiment}.yaml"):
        names |= own | {"experiment": experiment}
    return {group: names[group] for group in SCHEMAS}


def _listed(path: str) -> dict[str, str]:
    """Returns group → choice of the defaults list of a file in conf/; empty if the file doesn't exist."""
    text = _text(path)
    content = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if text else {}
    listed = {
        key: name for entry in content.get("defaults", ()) if isinstance(entry, dict) for key, name in entry.items()
    }
    return {key.removeprefix("override /"): name for key, name in listed.items()}


def _with_experiment(experiment: str, alone: DictConfig) -> DictConfig:
    """Returns the config of `experiment=NAME`, composed from the few files that decide it.

    Hydra would read all files again for each experiment, which doubles the time for the page.
    """
    names = choices_of(experiment)
    own = _file(f"experiment/{experiment}.yaml")
    own.pop("defaults")
    config = copy.deepcopy(alone)
    for group in ("experiment", *CHOSEN_BY_EXPERIMENTS):
        config[group] = next(schema for schema in SCHEMAS[group] if schema.name == names[group])
    config.merge_with(own)
    top = OmegaConf.merge(_file("config.yaml"), names)  # so that the names in its defaults list have values
    for entry in top.defaults:
        for key, name in entry.items() if isinstance(entry, DictConfig) else ():
            if preset := re.fullmatch(r"optional (preset/\w+)@(\w+)", str(key)):
                config[preset[2]].merge_with(_file(f"{preset[1]}/{name}.yaml"))
    return config


def _file(path: str) -> DictConfig:
    """Returns the content of a file in conf/; empty if it doesn't exist."""
    config = OmegaConf.create(_text(path))
    assert isinstance(config, DictConfig)
    return config


def _text(path: str) -> str:
    """Returns the text of a file in conf/; empty if it doesn't exist."""
    file = resources.files(CONFIG_MODULE) / path
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def first_line(schema: type) -> str:
    """Returns the first line of a choice's docstring: what it is."""
    return textwrap.dedent(schema.__doc__ or "").strip().splitlines()[0]


def default_of(item: Field[Any]) -> Any:
    """Returns the default of an option."""
    return item.default_factory() if item.default_factory is not NO_DEFAULT else item.default


def _value(config: DictConfig, item: Field[Any]) -> Any:
    """Returns an option's value in a composed config."""
    return MISSING if OmegaConf.is_missing(config, item.name) else config[item.name]


def _option_line(prefix: str, item: Field[Any], value: Any) -> str:
    return f"  {prefix + item.name + '=' + show(value):<40} {item.metadata['doc']}"


def show(value: Any) -> str:
    """Returns a value as it is typed on the command line."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value)
    if value is None:
        return "null"
    if value == MISSING:
        return "..."
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list):
        return "[" + ",".join(show(element) for element in value) + "]"
    return str(value)
