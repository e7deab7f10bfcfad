"""Turns overrides such as `experiment=ablation model=cnn` into a typed `RunConfig`, or an error that says what to type.

Hydra composes the config, OmegaConf converts it to dataclasses, and ranges are checked. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mi_runner.config import environment
from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.explanations import explain, plain_errors_explained
from mi_runner.config.figure_options import FIGURE_KEYS, figure_files
from mi_runner.config.hydra_composition import COMPOSITION_ERRORS, check_schema, composed, parse_overrides
from mi_runner.config.options import check_ranges
from mi_runner.config.registry import EXPERIMENTS, SCHEMAS
from mi_runner.config.run_schema import LABELS, SWEEP_KEYS, RunConfig, check_seeds
from mi_runner.errors import ConfigError, unknown
from mi_runner.machine import threads
from mi_runner.machine.drawing import FigureFiles

UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
"""Categories of characters that a folder's line can't have: controls, halves of pairs, ends of lines and paragraphs."""

NOT_IN_HASH = ("output_dir", "expect", "report", "figures", *LABELS, *SWEEP_KEYS)
"""Top-level keys that don't change a run's figures."""


def compose(overrides: Sequence[str] = ()) -> RunConfig:
    """Returns the config that `mi-run` runs with these overrides.

    Raises:
        ConfigError: a name, type or range is wrong; the text says what is allowed.

    Example:
        >>> from mi_runner import compose
        >>> compose(["dataset=mod_add", "model.hidden_sizes=[3]"]).model.hidden_sizes
        [3]
    """
    return typed(compose_untyped(overrides))


def figures_of(overrides: Sequence[str]) -> FigureFiles:
    """Returns which files the pictures of a sweep have, by the overrides of its command; none with figures=false."""
    own = [
        str(override.input_line)
        for override in parse_overrides(overrides)
        if override.get_key_element().lstrip("+") in FIGURE_KEYS and not override.is_sweep_override()
    ]
    options = compose(own).figures
    return figure_files(options) if options.draw else FigureFiles(())


def compose_untyped(overrides: Sequence[str], *, with_hydra: bool = False) -> DictConfig:
    """Returns the config before its conversion to dataclasses; `with_hydra` adds Hydra's options as the key `hydra`."""
    try:
        with plain_errors_explained():
            return composed(overrides, with_hydra=with_hydra)
    except COMPOSITION_ERRORS as error:
        raise explain(error, overrides) from error


@environment.refused()
def typed(config: DictConfig) -> RunConfig:
    """Returns the composed config as dataclasses, and checks their ranges.

    Raises:
        ConfigError: a value is missing or out of range.
    """
    try:
        if missing := sorted(OmegaConf.missing_keys(config)):
            raise ConfigError(f"{missing[0]} has no value: type {missing[0]}=...")
        _check_keys(config)
        run_config = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise explain(error, ()) from error
    assert isinstance(run_config, RunConfig)
    for group in SCHEMAS:
        check_schema(group, type(getattr(run_config, group, None)))
    if run_config.threads is None or run_config.threads == "auto":
        run_config.threads = threads.automatic()
    if not isinstance(run_config.threads, int):
        raise ConfigError(f"threads={run_config.threads}: must be a number of CPU threads, or auto.")
    check_ranges(run_config.experiment, "experiment.")  # first, because options of training may be copies of its own
    check_ranges(run_config)
    check_seeds(run_config)
    figure_files(run_config.figures)
    if not run_config.output_dir:
        raise ConfigError("output_dir= is empty: name a folder, for example output_dir=outputs.")
    if any(unicodedata.category(character) in UNPRINTABLE for character in run_config.output_dir):
        raise ConfigError(
            f"output_dir={run_config.output_dir!a}: has a character that ends a line or can't be printed, and the "
            "folder is the last line of a run's output. Name another folder."
        )
    if not re.fullmatch(r"auto|cpu|cuda|cuda:\d+", run_config.device):
        raise ConfigError(f"device={run_config.device}: must be auto, cpu, cuda or cuda:N.")
    return run_config


def config_hash(config: RunConfig) -> str:
    """Returns the sha256 of everything in the config that decides a run's figures."""
    kept = {key: value for key, value in contents(config).items() if key not in NOT_IN_HASH}
    kept["choices"] = [config.experiment.name, config.dataset.name, config.model.name]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def contents(config: Any) -> dict[str, Any]:
    """Returns a config as nested dicts, a member of an enumeration as its name.

    The same as OmegaConf's `to_container(structured(config))`, which takes 17 ms: an option of floats that a program
    set to 1 has 1.0.
    """
    return {item.name: _content(getattr(config, item.name), str(item.type)) for item in fields(config)}


def _content(value: Any, kind: str) -> Any:
    """Returns a value of an option; `kind` is the option's type, as the schema has it."""
    if is_dataclass(value):
        return contents(value)
    if isinstance(value, list | tuple):
        return [_content(element, kind) for element in value]
    if isinstance(value, Mapping):
        return {key: _content(element, kind) for key, element in value.items()}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_whole and "float" in kind and "int" not in kind else value


def flattened(config: Any, prefix: str = "") -> dict[str, Any]:
    """Returns a config's values by their whole keys, as JSON has them; a group's key has the name of the choice."""
    flat: dict[str, Any] = {}
    for item in fields(config):
        value, key = getattr(config, item.name), f"{prefix}{item.name}"
        if is_dataclass(value):
            if not prefix and item.name in SCHEMAS:
                flat[key] = getattr(value, "name", None)
            flat |= flattened(value, f"{key}.")
        else:
            flat[key] = _jsonable(value)
    return flat


def experiment_options(flat: Mapping[str, Any]) -> ExperimentConfig:
    """Returns the options of an experiment from a config's values by their whole keys, as `flattened` gives them.

    Raises:
        ConfigError: there is no such experiment, or a key or value that its schema doesn't have.
    """
    schema = next((one for one in EXPERIMENTS if one.name == flat.get("experiment")), None)
    if schema is None:
        raise ConfigError(f"there is no experiment={flat.get('experiment')}.")
    options, prefix = OmegaConf.structured(schema), "experiment."
    try:
        for key, value in flat.items():
            if key.startswith(prefix):
                OmegaConf.update(options, key.removeprefix(prefix), value)
        found = OmegaConf.to_object(options)
    except OmegaConfBaseException as error:
        raise explain(error, ()) from error
    assert isinstance(found, ExperimentConfig)
    return found


def _jsonable(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list | tuple):
        return [_jsonable(element) for element in value]
    if isinstance(value, Mapping):
        return {str(key): _jsonable(element) for key, element in value.items()}
    return value


def _check_keys(config: DictConfig, prefix: str = "") -> None:
    """Checks that no unknown key was added (`+key=value`) and no key of the schema removed (`~key`)."""
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
        if is_dataclass(OmegaConf.get_type(config, key)):
            _check_keys(config[key], f"{prefix}{key}.")
