"""Every choice of every config group.

A choice is a schema in a module of `config/experiments`, `config/datasets` or `config/models`, or in an installed
package. They are looked up, so no list names them.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
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
from mi_runner.config.plugins import Plugins
from mi_runner.errors import ConfigError, RunFailed, one_line

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


PLUGINS = Plugins()
"""What installed packages add."""


def _choices(group: str, package: ModuleType, kind: type[C]) -> tuple[type[C], ...]:
    """Returns the choices of a group, in the order of the help page."""
    own = schemas_of(package, kind)
    added = PLUGINS.schemas(group, kind, [schema.name for schema in own])
    return tuple(sorted([*own, *added], key=lambda schema: (schema.place, schema.name)))


EXPERIMENTS = _choices("experiment", experiments, ExperimentConfig)

DATASETS = _choices("dataset", datasets, DatasetConfig)

SCHEMAS: dict[str, tuple[type[Choice], ...]] = {
    "experiment": EXPERIMENTS,
    "dataset": DATASETS,
    "model": _choices("model", models, ModelConfig),
}
"""Config group → its choices, in the order of the help page."""

CONFIG_MODULES = ("mi_runner.conf", *PLUGINS.config_modules)
"""The packages whose config files are known, mi-run's first."""

ENGINES: dict[str, tuple[type[EngineConfig], ...]] = {
    "launcher": (JoblibLauncher, SubmititLocalLauncher, SubmititSlurmLauncher, RayLauncher),
    "sweeper": (OptunaSweeper,),
}
"""Hydra's groups hydra/launcher and hydra/sweeper → their choices besides Hydra's own `basic`."""


def origin_of(schema: type[Choice]) -> str:
    """Returns the package and version that a choice comes from; empty for mi-run's own."""
    point = PLUGINS.origins.get(schema)
    return point.origin if point else ""


def fault_of(group: str, name: str) -> str:
    """Returns why an installed package's choice can't be used; empty if there is none of this name that can't."""
    return next((fault.text for fault in PLUGINS.faults if fault.what == f"{group}={name}"), "")


def check_usable(group: str, name: str) -> None:
    """Checks that no installed package makes a choice unusable.

    Raises:
        ConfigError: one does: it can't be imported, or has a name that is taken.
    """
    if fault := fault_of(group, name):
        raise ConfigError(fault)


def code_of(schema: Choice | type[Choice]) -> ModuleType:
    """Imports the module with the code of a choice, and returns it.

    Raises:
        RunFailed: it is an installed package's, and can't be imported.
    """
    kind = schema if isinstance(schema, type) else type(schema)
    with said_of(kind):
        return import_module(kind.module)


@contextmanager
def said_of(schema: type[Choice]) -> Iterator[None]:
    """Turns an error of an installed package's code, within the block, into one line that names the package.

    Raises:
        RunFailed: in place of the package's error.
    """
    try:
        yield
    except RunFailed:
        raise
    except Exception as error:
        if not (origin := origin_of(schema)):
            raise
        raise RunFailed(f"{schema.module} of {origin} can't be imported ({one_line(error)}). Repair it.") from error
