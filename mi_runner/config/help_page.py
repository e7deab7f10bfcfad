"""The pages of `--help`.

mi-run --help                  a screen: first commands, the groups, where more is
mi-run experiment=iit --help   the options of this command's experiment, data set and model
mi-run --help all              every option of everything
"""

from __future__ import annotations

import copy
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, fields
from enum import Enum
from importlib import resources
from typing import Any

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf

from mi_runner.config import environment
from mi_runner.config.composition import compose_untyped
from mi_runner.config.figure_options import FigureOptions
from mi_runner.config.hydra_composition import chosen
from mi_runner.config.options import Choice, records_of
from mi_runner.config.registry import CONFIG_MODULES, ENGINES, PLUGINS, SCHEMAS, origin_of
from mi_runner.config.run_schema import SWEEP_KEYS, LabelsConfig, RunConfig
from mi_runner.config.training_schema import TrainingConfig

CHOSEN_BY_EXPERIMENTS = ("dataset", "model")
"""Groups that an experiment's file may choose."""

EXAMPLES = (
    ("mi-run experiment=ablation model=skip", "what does each part of a network do?"),
    ("mi-run dataset=mod_add training.epochs=2", "train on modular addition"),
    ("mi-run -m dataset=mnist01 seed=0,1", "a sweep: a job for each value"),
)

ABOUT_RUNS = (
    ("mi-run ls", "the runs and sweeps below outputs"),
    ("mi-run diff FOLDER FOLDER", "what differs, and is it real?"),
    ("mi-run report FOLDER", "writes report.html of a run again"),
    ("mi-run table FOLDER metrics", "a table for a paper: LaTeX, Markdown"),
    ("mi-run cite FOLDER", "whose work a run uses, as BibTeX"),
    ("mi-run rm --where tag=draft", "removes runs, after a list"),
    ("mi-run bench bench.part=small", "which method finds good circuits?"),
)

TITLE = (
    "mi-run: what does a small neural network really compute?",
    "",
    "usage: mi-run [-m] [GROUP=NAME ...] [KEY=VALUE ...]",
    "       a config picks a data set, a model and an experiment; the tables are",
    "       written to a new folder",
)

END = (
    "Flags",
    "  -m, --multirun        a sweep: every combination of values between commas",
    "  --print WHAT          standard output has folder, metrics or json alone",
    "  --folder-file FILE    a file that gets the folder's path",
    "  --cfg job             print the config and stop",
    "  --help, --version     a page about the command; the version",
    "  --help all            every option of everything",
    "  --completion SHELL    a script that lets bash, zsh or fish complete commands",
    "  --hydra-help          Hydra's own flags",
    "",
    "Exit status: 0 done, 1 the run failed, 2 a mistake in the command,",
    "             3 an expectation not met, 130 Ctrl-C, 143 SIGTERM",
)

WIDTH = 80
"""Largest number of characters in a line about an option."""

NAME_WIDTH = max(len(schema.name) for choices in SCHEMAS.values() for schema in choices)
"""Characters of the longest name of a choice."""

MEANING_AT = 34
"""Where the meaning of an option begins."""


@environment.refused()
def help_page(overrides: Sequence[str], *, is_sweep: bool = False) -> str:
    """Returns the page of `mi-run ... --help`: a screen; with a command, its options and their values in it.

    Args:
        overrides: of the command.
        is_sweep: whether it has `-m`.
    """
    if not overrides and not is_sweep:
        return "\n".join(_screen())
    config = compose_untyped(overrides)
    experiment = chosen(config, "experiment")
    lines = [f"mi-run {' '.join(overrides)}".rstrip(), f"  {first_line(experiment)}"]
    for group in SCHEMAS:
        if origin := origin_of(schema := chosen(config, group)):
            lines.append(f"  {group}={schema.name} is of the package {origin}")
    if words := settings_of(experiment.name, compose_untyped(())):
        lines += _wrapped(f"experiment={experiment.name} sets {' '.join(words)}", 2)
    lines += _options_of_every_run(config)
    for group in SCHEMAS:
        lines += _options_of(group, chosen(config, group), config)
    if is_sweep:
        named = {override.partition("=")[0]: override.partition("=")[2] for override in overrides}
        lines += _options_of_sweeps(config, named)
    lines += ["", "mi-run --help lists the groups, mi-run --help all every option."]
    return "\n".join(lines)


@environment.refused()
def whole_page(overrides: Sequence[str]) -> str:
    """Returns the page of `mi-run --help all`: every option, with its value in the command with these overrides."""
    alone = compose_untyped(())
    config = compose_untyped(overrides) if overrides else alone
    lines = [*TITLE, "", *_commands(), *_groups(config, alone)]
    lines += _wrapped("(*: the choice of this command; the command line can change what an experiment sets)", 2)
    lines += _options_of_every_run(config)
    for group, choices in SCHEMAS.items():
        for schema in choices:
            lines += _options_of(group, schema, config)
    lines += [*_options_of_sweeps(config), "", *END]
    return "\n".join(lines)


def _screen() -> list[str]:
    return [
        *(*TITLE, "", *_commands(), *_groups(None, None), ""),
        "More",
        "  mi-run experiment=iit --help     its options, its data set's and its model's",
        "  mi-run -m --help                 the options of sweeps",
        *("", *END),
    ]


def _commands() -> list[str]:
    return ["Commands to begin with", *(f"  {typed:<41} {meaning}" for typed, meaning in (*EXAMPLES, *ABOUT_RUNS))]


def _groups(config: DictConfig | None, alone: DictConfig | None) -> list[str]:
    """Returns the lines with the choices of each group.

    Args:
        config: marks its choices; None: no marks, and one line for each choice.
        alone: the config of `mi-run` alone, for what experiments set; None: leaves that out.
    """
    lines = ["", "Groups"]
    for group, choices in SCHEMAS.items():
        lines.append(f"  {group}=")
        for schema in choices:
            mark = "*" if config is not None and schema is chosen(config, group) else " "
            begin = f"  {mark} {schema.name:<{NAME_WIDTH}} "
            origin = f" [{origin}]" if (origin := origin_of(schema)) else ""
            if config is None:
                most = WIDTH - len(begin) - len(origin)
                lines.append(begin + textwrap.shorten(first_line(schema), most, placeholder=" …") + origin)
            else:
                first, *rest = _wrapped(first_line(schema) + origin, len(begin))
                lines += [begin + first.lstrip(), *rest]
            if alone is not None and group == "experiment" and (words := settings_of(schema.name, alone)):
                lines += _wrapped(f"sets {' '.join(words)}", len(begin))
    if PLUGINS.origins:
        lines.append("  [package version]: a choice of an installed package; the others are mi-run's own")
    return lines


def _wrapped(text: str, indent: int, *, less: int = 0) -> list[str]:
    """Returns a text in indented lines; the first is shorter by `less` characters, longer where it is below 0."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * (indent + less),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _options_of_every_run(config: DictConfig) -> list[str]:
    lines = ["", "Options of every run"]
    for item in fields(RunConfig):
        if item.metadata and item.name not in SWEEP_KEYS:
            lines += _option_lines("", item, config[item.name])
    for group, schema in (("figures", FigureOptions), ("run", LabelsConfig), ("training", TrainingConfig)):
        for item in fields(schema):
            lines += _option_lines(f"{group}.", item, config[group][item.name])
    return lines


def _options_of(group: str, schema: type[Choice], config: DictConfig) -> list[str]:
    """Returns the options of a choice, with their values in the config if it has this choice, or the defaults."""
    lines = ["", f"With {group}={schema.name}"] if fields(schema) else []
    is_chosen = schema is chosen(config, group)
    for item in fields(schema):
        lines += _option_lines(f"{group}.", item, _value(config[group], item) if is_chosen else default_of(item))
    return lines


def _options_of_sweeps(config: DictConfig, named: Mapping[str, str] | None = None) -> list[str]:
    """Returns the options of sweeps, and of each launcher and sweeper, or only of those that are named."""
    lines = ["", "Options of sweeps (-m)"]
    for item in fields(RunConfig):
        if item.name in SWEEP_KEYS:
            lines += _option_lines("", item, config[item.name])
    for group, engines in ENGINES.items():
        names = ",".join(engine.name for engine in engines)
        if named is not None and f"hydra/{group}" not in named:
            first, *rest = _wrapped(f"or {names}; --help behind one has its options", MEANING_AT)
            lines += [f"  hydra/{group}=basic".ljust(MEANING_AT) + first.lstrip(), *rest]
        for engine in engines:
            if named is None or named.get(f"hydra/{group}") == engine.name:
                lines += ["", *_wrapped(f"With hydra/{group}={engine.name}: {first_line(engine)}", 0)]
                for item in fields(engine):
                    lines += _option_lines(f"hydra.{group}.", item, default_of(item))
    return lines


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
    """Returns the text of a file in conf/, of mi-run or an installed package; empty if it doesn't exist."""
    for module in CONFIG_MODULES:
        file = resources.files(module) / path
        if file.is_file():
            return file.read_text(encoding="utf-8")
    return ""


def first_line(schema: type) -> str:
    """Returns the first line of a choice's docstring: what it is."""
    return textwrap.dedent(schema.__doc__ or "").strip().splitlines()[0]


def default_of(item: Field[Any]) -> Any:
    """Returns the default of an option."""
    return item.default_factory() if item.default_factory is not NO_DEFAULT else item.default


def _value(config: DictConfig, item: Field[Any]) -> Any:
    """Returns an option's value in a composed config."""
    return MISSING if OmegaConf.is_missing(config, item.name) else config[item.name]


def lines_of_options(prefix: str, schema: type[Any]) -> list[str]:
    """Returns the lines of a page about the options of a dataclass: each with its default and its meaning.

    Args:
        prefix: with which the keys begin.
    """
    return [line for item in fields(schema) for line in _option_lines(prefix, item, default_of(item))]


def _option_lines(prefix: str, item: Field[Any], value: Any) -> list[str]:
    typed = f"  {prefix}{item.name}={show(value)}"
    meaning = _wrapped(item.metadata["doc"], MEANING_AT)
    for record in records_of(item.metadata):
        origin = f" [{record.origin.origin}]" if record.origin else ""
        meaning += _wrapped(f"{record.name}: {record.sentence}{origin}", MEANING_AT + 2, less=-2)
    if len(typed) >= MEANING_AT:
        return [typed, *meaning]
    return [typed.ljust(MEANING_AT) + meaning[0].lstrip(), *meaning[1:]]


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
