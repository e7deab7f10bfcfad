"""Every choice of every config group.

A choice is a schema in a module of `config/experiments`, `config/datasets` or `config/models`: the modules are looked
up, so no list names them.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType
from typing import TypeVar

from mi_runner.config import datasets, experiments, models
from mi_runner.config.datasets import DatasetConfig
from mi_runner.config.engine_schemas import (
    EngineConfig,
    JoblibLauncher,
    OptunaSweeper,
    RayLauncher,
    SubmititLocalLauncher,
    SubmititSlurmLauncher,
)
from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.models import ModelConfig
from mi_runner.config.options import Choice

C = TypeVar("C", bound=Choice)


def schemas_of(package: ModuleType, kind: type[C]) -> list[type[C]]:
    """Returns the schemas that the modules of a package define: the classes of this kind that have a name."""
    modules = [import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, kind)
        and value.__module__ == module.__name__
        and "name" in vars(value)
    ]


def in_order(schemas: list[type[C]]) -> tuple[type[C], ...]:
    """Returns schemas in the order of the help page."""
    return tuple(sorted(schemas, key=lambda schema: (schema.place, schema.name)))


EXPERIMENTS: tuple[type[ExperimentConfig], ...] = in_order(schemas_of(experiments, ExperimentConfig))

DATASETS: tuple[type[DatasetConfig], ...] = in_order(schemas_of(datasets, DatasetConfig))

SCHEMAS: dict[str, tuple[type[Choice], ...]] = {
    "experiment": EXPERIMENTS,
    "dataset": DATASETS,
    "model": in_order(schemas_of(models, ModelConfig)),
}
"""Config group → its choices, in the order of the help page."""

ENGINES: dict[str, tuple[type[EngineConfig], ...]] = {
    "launcher": (JoblibLauncher, SubmititLocalLauncher, SubmititSlurmLauncher, RayLauncher),
    "sweeper": (OptunaSweeper,),
}
"""Hydra's groups hydra/launcher and hydra/sweeper → their choices besides Hydra's own `basic`."""
