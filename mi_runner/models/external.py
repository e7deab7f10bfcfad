"""The user's own network: a callable, named in the config, that returns an nn.Module.

`model.factory` is the one config value that runs code.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from mi_runner import models
from mi_runner.config.model_schemas import ExternalConfig
from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError, unknown


def build(config: ExternalConfig, dataset: Dataset) -> models.Built:
    """What the factory returns for this data set.

    The factory gets `config.arguments`, and `input_shape` (a tuple, without the batch) and `n_outputs` if it has
    parameters of these names.

    Raises:
        ConfigError: it can't be imported or called, or returns no nn.Module.
    """
    dataset = dataset.flattened() if config.flatten else dataset
    factory = _import(config.factory)
    if not isinstance(config.arguments, Mapping | None):
        raise ConfigError(f"model.arguments={config.arguments}: write names and values, '{{width: 64}}'.")
    arguments = dict(config.arguments or {})
    for name, value in (("input_shape", dataset.input_shape), ("n_outputs", dataset.n_outputs)):
        if name in _parameters(factory):
            arguments.setdefault(name, value)
    try:
        model = factory(**arguments)
    except (Exception, SystemExit) as error:
        raise _fault(config.factory, f"called with {arguments} it raises {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise _fault(config.factory, f"it returns {type(model).__name__}, not an nn.Module")
    names = [name for name, _ in model.named_modules() if name]
    for leaf in config.leaves:
        if leaf not in names:
            raise ConfigError(f"model.leaves: {unknown('submodule', leaf, names)}")
    return models.Built(model, dataset, source=_source(config, factory, model), leaves=tuple(config.leaves))


def _import(factory: str) -> Callable[..., Any]:
    module_name, colon, attribute = factory.partition(":")
    if not (module_name and colon and attribute):
        raise _fault(factory, "write package.module:callable")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that a file there hides no library
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        file = Path(module_name)
        if file.suffix == ".py" and not file.is_absolute() and file.is_file():
            name = ".".join(file.with_suffix("").parts)
            raise _fault(factory, f"name the module, not its file: model.factory={name}:{attribute}") from error
        raise _fault(factory, f"importing {module_name} raises {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            members = getattr(found, "__dict__", {})
            public = [name for name, value in members.items() if callable(value) and not name.startswith("_")]
            raise _fault(factory, unknown(f"callable of {module_name}", part, public).removesuffix("."))
        found = getattr(found, part)
    if not callable(found):
        raise _fault(factory, f"{attribute} can't be called")
    return found


def _parameters(factory: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(factory).parameters)
    except ValueError:  # some built-in callables have no signature
        return set()


def _source(config: ExternalConfig, factory: Callable[..., Any], model: nn.Module) -> str:
    """What tells one network from another: the factory, its arguments, and the files in which its modules are written.

    So a changed network is trained anew, wherever the factory took it from.
    """
    digests = set()
    parts: list[Callable[..., Any]] = [factory, *map(type, model.modules())]
    for part in parts:
        with suppress(TypeError, OSError):  # what is built in, or made by exec, has no file
            if file := inspect.getsourcefile(part):
                digests.add(hashlib.sha256(Path(file).read_bytes()).hexdigest())
    return repr((config.factory, sorted((config.arguments or {}).items()), sorted(digests)))


def _fault(factory: str, text: str) -> ConfigError:
    return ConfigError(f"model.factory={factory}: {text}.")
