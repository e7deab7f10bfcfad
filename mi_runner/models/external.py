"""The user's own network: the config names a callable that returns an nn.Module.

A callable that a config names is imported here, and nowhere else: a network's `factory`, a method of your own. No
other option of mi-run runs code.
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
from mi_runner.models.one_output import with_one_output


def build(
    dataset: Dataset,
    *,
    factory: str,
    arguments: Mapping[str, Any] | None = None,
    flatten: bool = False,
    leaves: Sequence[str] = (),
    output: str | None = None,
) -> models.Built:
    """Returns the factory's network for this data set.

    The factory gets `arguments`, and `input_shape` (a tuple, without the batch) and `n_outputs` if it has
    parameters of these names.

    Args:
        factory: `package.module:callable`.
        arguments: the callable's keyword arguments.
        flatten: whether the network takes vectors instead of images.
        leaves: submodules that the graph takes as one site each.
        output: which of several outputs is the network's: a position in a tuple or list, a key of a dict, or the name
            of an attribute; None: it returns one tensor.

    Raises:
        ArgumentError: the callable can't be imported or called, or doesn't return an nn.Module.
    """
    dataset = dataset.flattened() if flatten else dataset
    make = import_callable("factory", factory)
    if not isinstance(arguments, Mapping | None):
        raise ArgumentError(f"arguments={arguments}: write names and values, e.g. '{{width: 64}}'.")
    given = dict(arguments or {})
    for name, value in (("input_shape", dataset.input_shape), ("n_outputs", dataset.n_outputs)):
        if name in _parameters(make):
            given.setdefault(name, value)
    try:
        model = make(**given)
    except (Exception, SystemExit) as error:
        raise _fault(factory, f"the call with {given} raises {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise _fault(factory, f"it returns {type(model).__name__}; it must return an nn.Module")
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    for leaf in leaves:
        if leaf not in names:
            raise ArgumentError(f"leaves=[{','.join(leaves)}]: {unknown('submodule', leaf, names)}")
    source = _source(factory, arguments, make, model)
    if output is not None:
        model = with_one_output(model, output)
        source = f"{source} output={output}"
    return models.Built(model, dataset, source=source, leaves=tuple(leaves))


def import_callable(argument: str, path: str) -> Callable[..., Any]:
    """Returns the callable that an option names. This runs the code of its module.

    Args:
        argument: the option's name, for errors.
        path: `package.module:callable`.

    Raises:
        ArgumentError: the module can't be imported, or has no such callable.
    """

    def fault(text: str) -> ArgumentError:
        return ArgumentError(f"{argument}={path}: {text}.")

    module_name, colon, attribute = path.partition(":")
    if not (module_name and colon and attribute):
        raise fault("write package.module:callable")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # at the end, so that a file there can't hide a library
    try:
        value: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        file = Path(module_name)
        if file.suffix == ".py" and not file.is_absolute() and file.is_file():
            module = ".".join(file.with_suffix("").parts)
            raise fault(f"name the module, not its file: {argument}={module}:{attribute}") from error
        raise fault(f"importing {module_name} raises {type(error).__name__}: {error}") from error
    for name in attribute.split("."):
        if not hasattr(value, name):
            members = getattr(value, "__dict__", {})
            public = [member for member, called in members.items() if callable(called) and not member.startswith("_")]
            raise fault(unknown(f"callable of {module_name}", name, public).removesuffix("."))
        value = getattr(value, name)
    if not callable(value):
        raise fault(f"{attribute} is not callable")
    return value


def _parameters(factory: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(factory).parameters)
    except ValueError:  # some built-in callables have no signature
        return set()


def _source(factory: str, arguments: Mapping[str, Any] | None, make: Callable[..., Any], model: nn.Module) -> str:
    """Returns a text that identifies the network: the factory, its arguments, and a hash of its modules' source files.

    So a network with changed code is trained again.
    """
    digests = set()
    definitions: list[Callable[..., Any]] = [make, *map(type, model.modules())]
    for definition in definitions:
        with suppress(TypeError, OSError):  # built-in code and code made by exec have no file
            if file := inspect.getsourcefile(definition):
                digests.add(hashlib.sha256(Path(file).read_bytes()).hexdigest())
    return repr((factory, sorted((arguments or {}).items()), sorted(digests)))


def _fault(factory: str, text: str) -> ArgumentError:
    return ArgumentError(f"factory={factory}: {text}.")
