"""The user's own network: a callable, named in the config, that returns an nn.Module.

`factory` is the one option of mi-run that runs code.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from mi_runner import models
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, unknown


def build(
    dataset: Dataset,
    *,
    factory: str,
    arguments: Mapping[str, Any] | None = None,
    flatten: bool = False,
    leaves: Sequence[str] = (),
) -> models.Built:
    """What the factory returns for this data set.

    The factory gets `arguments`, and `input_shape` (a tuple, without the batch) and `n_outputs` if it has
    parameters of these names.

    Args:
        factory: `package.module:callable`.
        arguments: its keyword arguments.
        flatten: whether the network takes vectors instead of images.
        leaves: submodules that the graph takes as one site each.

    Raises:
        ArgumentError: it can't be imported or called, or returns no nn.Module.
    """
    dataset = dataset.flattened() if flatten else dataset
    make = _import(factory)
    if not isinstance(arguments, Mapping | None):
        raise ArgumentError(f"arguments={arguments}: write names and values, '{{width: 64}}'.")
    given = dict(arguments or {})
    for name, value in (("input_shape", dataset.input_shape), ("n_outputs", dataset.n_outputs)):
        if name in _parameters(make):
            given.setdefault(name, value)
    try:
        model = make(**given)
    except (Exception, SystemExit) as error:
        raise _fault(factory, f"called with {given} it raises {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise _fault(factory, f"it returns {type(model).__name__}, not an nn.Module")
    names = [name for name, _ in model.named_modules() if name]
    for leaf in leaves:
        if leaf not in names:
            raise ArgumentError(f"leaves=[{','.join(leaves)}]: {unknown('submodule', leaf, names)}")
    source = _source(factory, arguments, make, model)
    return models.Built(model, dataset, source=source, leaves=tuple(leaves))


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
            raise _fault(factory, f"name the module, not its file: factory={name}:{attribute}") from error
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


def _source(factory: str, arguments: Mapping[str, Any] | None, make: Callable[..., Any], model: nn.Module) -> str:
    """What tells one network from another: the factory, its arguments, and the files in which its modules are written.

    So a changed network is trained anew, wherever the factory took it from.
    """
    digests = set()
    parts: list[Callable[..., Any]] = [make, *map(type, model.modules())]
    for part in parts:
        with suppress(TypeError, OSError):  # what is built in, or made by exec, has no file
            if file := inspect.getsourcefile(part):
                digests.add(hashlib.sha256(Path(file).read_bytes()).hexdigest())
    return repr((factory, sorted((arguments or {}).items()), sorted(digests)))


def _fault(factory: str, text: str) -> ArgumentError:
    return ArgumentError(f"factory={factory}: {text}.")
