"""What does a call of `mi_runner.run` ask for? Overrides, and a network and data in place of those of the config."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from mi_runner.config import commands
from mi_runner.config.composition import compose
from mi_runner.config.datasets.arrays import ArraysConfig, Target
from mi_runner.config.hydra_composition import COMPOSITION_ERRORS, parse_overrides
from mi_runner.config.models.external import ExternalConfig
from mi_runner.config.run_schema import RunConfig
from mi_runner.datasets import Dataset, in_memory
from mi_runner.errors import ConfigError, as_options
from mi_runner.models.live import LiveNetwork
from mi_runner.runs.given import Given

Overrides = str | Sequence[str] | Mapping[str, Any]
"""Options as they are typed in a shell, a list of them, or key → value."""

OF_LOSS = ("training.loss", "training.label_smoothing")
"""Options of the training that tables depend on though nothing is trained."""

IN_MEMORY = "(in memory)"
"""The value of options that name what is in memory, until its digest is known."""


@dataclass(frozen=True)
class Asked:
    """What a call asks for.

    Attributes:
        config: of the run.
        given: the network and data in memory.
        command: what makes the run again.
    """

    config: RunConfig
    given: Given
    command: str | None


def asked_for(
    overrides: Overrides | RunConfig,
    *,
    model: nn.Module | Callable[..., nn.Module] | None,
    data: Any,
    feature_names: Sequence[str] | None,
    class_names: Sequence[str] | None,
    train: bool | None,
) -> Asked:
    """Returns what a call asks for; `mi_runner.run` explains the arguments.

    Raises:
        ConfigError: they don't fit; the text says what to give.
    """
    if isinstance(overrides, RunConfig):
        if model is not None or data is not None:
            raise ConfigError(
                "a config has its own model and dataset. With model= or data= give the overrides instead: "
                "mi_runner.run(['experiment=circuits'], model=..., data=...)."
            )
        return Asked(overrides, Given(), None)
    typed = as_list(overrides)
    values = _values(typed)
    _check_names(data, feature_names=feature_names, class_names=class_names)
    network = _network(model, values, train)
    config = compose([*_placeholders(data, model, values), *typed])
    dataset = None if data is None else _dataset(data, config, values, feature_names, class_names)
    given = Given(network, dataset, "" if data is None else _kind(data))
    if dataset is not None:
        config.dataset = replace(
            config.dataset, path=given.path, target=Target["class" if dataset.has_classes else "value"]
        )
    if network is not None:
        config.model = replace(config.model, factory=given.factory)
    named = {"model": model, "data": data, "feature_names": feature_names, "class_names": class_names, "train": train}
    return Asked(config, given, _command(typed, {name: value for name, value in named.items() if value is not None}))


def as_list(overrides: Overrides) -> list[str]:
    """Returns overrides as a list; a text is split as a shell splits it.

    Raises:
        ConfigError: they are none.
    """
    if isinstance(overrides, str):
        try:
            words = shlex.split(overrides)
        except ValueError as error:
            raise ConfigError(f"{overrides!r}: {error}. Close the quotes, or give a list of overrides.") from error
        words = words[1:] if words[:1] == ["mi-run"] else words
    elif isinstance(overrides, Mapping):
        words = [commands.override(str(key), value) for key, value in overrides.items()]
    elif isinstance(overrides, Sequence) and all(isinstance(one, str) for one in overrides):
        words = list(overrides)
    else:
        raise ConfigError(
            f"{type(overrides).__name__} has no overrides: give a text such as 'experiment=circuits seed=1', a list of "
            "such texts, or a dict such as {'experiment': 'circuits', 'seed': 1}."
        )
    if flags := [word for word in words if word.startswith("-")]:
        what = "Sweeps run by the command mi-run -m; mi_runner.open_sweep(FOLDER) then reads the sweep."
        raise ConfigError(f"{flags[0]} is no option of a run in a program. {what}")
    return words


def _values(overrides: Sequence[str]) -> dict[str, Any]:
    """Returns key → value of what the overrides set.

    Raises:
        ConfigError: one can't be read, or has several values, as those of a sweep.
    """
    try:
        parsed = parse_overrides(overrides)
    except COMPOSITION_ERRORS:
        return {}  # composing says what is wrong
    if swept := [override.input_line for override in parsed if override.is_sweep_override()]:
        raise ConfigError(
            f"{swept[0]} has several values, and this is one run. A sweep is typed: mi-run -m {swept[0]}; "
            "mi_runner.open_sweep(FOLDER) then reads it."
        )
    return {override.key_or_group: override.value() for override in parsed}


def _network(
    model: nn.Module | Callable[..., nn.Module] | None, values: Mapping[str, Any], train: bool | None
) -> LiveNetwork | None:
    """Returns the network that a program gives.

    Raises:
        ConfigError: it is none, or options don't fit it.
    """
    if model is None:
        if train is not None:
            raise ConfigError(f"train={train} is about a network that is given: give model=, too, or leave it out.")
        return None
    _check_not_both("model", "model.factory", values)
    is_module = isinstance(model, nn.Module)
    if not (is_module or callable(model)):
        raise ConfigError(
            f"model={type(model).__name__}: give an nn.Module, or a class or function that returns one. For a network "
            "that mi-run makes type the override model=mlp."
        )
    if not is_module:
        if train is False:
            raise ConfigError(
                "train=False: model= makes a new network, which is trained. Give a network, model=Net(), to have it "
                "analysed as it is."
            )
        return LiveNetwork(model)
    if values.get("seeds") is not None:
        raise ConfigError(
            f"seeds={values['seeds']} trains many networks, and model= is one. Give its class or a function that makes "
            "one, model=Net."
        )
    if train and values.get("checkpoint") is not None:
        raise ConfigError(f"train=True: checkpoint={values['checkpoint']} has the weights. Leave one of the two out.")
    unused = [key for key in values if key.startswith("training.") and key not in OF_LOSS]
    warnings = () if train or not unused else (f"{unused[0]} doesn't train the network that is given. {TRAIN}",)
    return LiveNetwork(model, trained=bool(train), warnings=warnings)


TRAIN = "It is analysed as it is; train=True trains a copy of it"


def _check_not_both(group: str, option: str, values: Mapping[str, Any]) -> None:
    """Checks that overrides don't name what is given.

    Raises:
        ConfigError: one does.
    """
    own = {"model": "external", "data": "arrays"}[group]
    chosen = "dataset" if group == "data" else group
    for key in (chosen, option):
        if key in values and not (key == chosen and values[key] == own):
            raise ConfigError(
                f"{key}={values[key]} and {group}= both name the {'data' if group == 'data' else 'network'}. Leave one "
                "of the two out."
            )


def _check_names(data: Any, **names: Sequence[str] | None) -> None:
    for argument, value in names.items():
        if isinstance(value, str):
            raise ConfigError(f"{argument}={value!r}: give a list of names.")
        if value is not None and data is None:
            raise ConfigError(f"{argument}= names what is in data=, which is missing.")


def _placeholders(data: Any, model: Any, values: Mapping[str, Any]) -> list[str]:
    """Returns the overrides that choose what takes data and a network of one's own."""
    chosen = []
    if data is not None:
        _check_not_both("data", "dataset.path", values)
        chosen += [f"dataset={ArraysConfig.name}", commands.override("dataset.path", IN_MEMORY)]
    if model is not None:
        chosen += [f"model={ExternalConfig.name}", commands.override("model.factory", IN_MEMORY)]
    return chosen


def _dataset(
    data: Any,
    config: RunConfig,
    values: Mapping[str, Any],
    feature_names: Sequence[str] | None,
    class_names: Sequence[str] | None,
) -> Dataset:
    """Returns the data set of what a program gives.

    Raises:
        ConfigError: an array is not as it must be.
    """
    target = config.dataset.target.name
    with as_options({"target": "dataset.target"}):
        dataset = in_memory.load(data, target=target, feature_names=feature_names, class_names=class_names)
    if "dataset.target" in values and (target == "class") != dataset.has_classes:
        has = "classes" if dataset.has_classes else "values"
        raise ConfigError(f"dataset.target={target}: the Dataset that is given has {has}. Leave the option out.")
    return dataset


def _kind(data: Any) -> str:
    """Returns the class of the data, and of what is in them."""
    if isinstance(data, Mapping):
        inner: list[Any] = list(data.values())
    else:
        inner = list(data) if isinstance(data, tuple | list) else []
    kinds = dict.fromkeys(type(one).__name__ for one in inner)
    return type(data).__name__ + (f" of {', '.join(kinds)}" if kinds else "")


def _command(overrides: Sequence[str], given: Mapping[str, Any]) -> str:
    """Returns the command that makes the run again, or the call in Python if something is given."""
    if not given:
        return commands.command_line(overrides)
    options = repr(overrides[0] if len(overrides) == 1 and shlex.split(overrides[0]) == overrides else list(overrides))
    shown = {
        "model": "model",
        "data": "data",
        **{name: repr(list(map(str, given[name]))) for name in ("feature_names", "class_names") if name in given},
        "train": str(given.get("train")),
    }
    return f"mi_runner.run({', '.join([options, *(f'{name}={shown[name]}' for name in given)])})"
