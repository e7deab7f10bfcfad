"""Turns the choices of a config into a data set, a network, training options, an experiment.

Modules below this one know no config: here options become arguments, and errors about arguments become errors about
options.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from enum import Enum
from functools import partial
from typing import Any

from mi_runner import models
from mi_runner.config.datasets import DatasetConfig
from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.models import ModelConfig
from mi_runner.config.options import Choice, options_of
from mi_runner.config.registry import code_of, origin_of
from mi_runner.config.run_schema import RunConfig
from mi_runner.config.training_schema import TrainingConfig
from mi_runner.datasets import Dataset
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ConfigError, RunFailed, as_options
from mi_runner.experiments import Experiment
from mi_runner.models import Built, external
from mi_runner.runs.given import NOTHING, Given
from mi_runner.training.options import TrainingOptions


def arguments(config: Choice | TrainingConfig) -> dict[str, Any]:
    """Returns a config's options as plain values; a member of an enumeration becomes its name."""
    values = {item.name: getattr(config, item.name) for item in fields(config)}
    return {name: value.name if isinstance(value, Enum) else value for name, value in values.items()}


def load_dataset(config: DatasetConfig, *, seed: int, given: Given = NOTHING) -> Dataset:
    """Returns the data set that a program gave, or that the config names.

    Raises:
        ConfigError: the data are missing or don't fit; the text says what to type.
        RunFailed: the data can't be unpacked or downloaded.
    """
    if given.dataset is not None:
        dataset = given.dataset.limited(config.limit)
    else:
        options, load = arguments(config), _function(config, "load")
        with as_options(dataset=options):
            dataset = replace(load(seed=seed, **options), name=config.name)
    if min(len(dataset.x_train), len(dataset.x_test)) < 2:
        raise ConfigError(f"dataset={config.name}: training and test set need at least 2 examples each.")
    return dataset


def build_network(
    config: ModelConfig,
    dataset: Dataset,
    *,
    seed: int,
    outputs: Outputs | None = None,
    given: Given = NOTHING,
    before_training: bool = False,
) -> Built:
    """Returns the network that a program gave, or that the config names, for this data set, initialised from `seed`.

    Args:
        outputs: what its outputs are; None: what the config says.
        before_training: whether it is the network before any training, also where a program gave trained weights.

    Raises:
        ConfigError: network and data set don't fit; the text says what to type.
    """
    options = arguments(config)
    said = options["outputs"]
    asked = outputs or (None if said == "auto" else Outputs[said])
    if given.network is not None:
        taken = {name: value for name, value in options.items() if name not in ("factory", "outputs")}
        live = partial(given.network.build, before_training=before_training)
        with as_options({"factory": "model"}, model=options):
            return models.build(live, dataset, seed=seed, outputs=asked, **taken)
    make = _function(config, "build")
    with as_options(model=options):
        taken = {name: value for name, value in options.items() if name != "outputs"}
        built = models.build(make, dataset, seed=seed, outputs=asked, **taken)
    origin = origin_of(type(config))
    return external.with_source(built, make, origin) if origin and not built.source else built


def _function(config: Choice, name: str) -> Callable[..., Any]:
    """Returns a function of the module with the code of a choice.

    Raises:
        RunFailed: the module, of an installed package, can't be imported or has no such function.
    """
    module = code_of(config)
    if not callable(function := getattr(module, name, None)):
        raise RunFailed(f"{module.__name__} of {origin_of(type(config)) or 'mi-run'} has no function '{name}'.")
    return function


def factory_of(config: ModelConfig) -> str | None:
    """Returns the user's factory; None for a network of mi-run's own."""
    return getattr(config, "factory", None)


def import_choices(config: RunConfig) -> None:
    """Imports the modules of the data set and the model, so that the time that it takes is no other stage's."""
    code_of(config.dataset)
    code_of(config.model)


def training_options(config: TrainingConfig) -> TrainingOptions:
    """Returns the training options of a config."""
    return options_of(TrainingOptions, config)


def experiment_of(config: ExperimentConfig) -> Experiment[Any]:
    """Returns the experiment that the config names."""
    experiment = getattr(code_of(config), "EXPERIMENT", None)
    if not isinstance(experiment, Experiment):
        origin = origin_of(type(config)) or "mi-run"
        raise RunFailed(f"{config.module} of {origin} has no EXPERIMENT, which must be an Experiment.")
    return experiment
