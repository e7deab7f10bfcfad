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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mi_runner import models
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, unknown
from mi_runner.progress import log


def build(
    dataset: Dataset,
    *,
    factory: str,
    arguments: Mapping[str, Any] | None = None,
    flatten: bool = False,
    leaves: Sequence[str] = (),
) -> models.Built:
    """Returns the factory's network for this data set.

    The factory gets `arguments`, and `input_shape` (a tuple, without the batch) and `n_outputs` if it has
    parameters of these names.

    Args:
        factory: `package.module:callable`.
        arguments: the callable's keyword arguments.
        flatten: whether the network takes vectors instead of images.
        leaves: submodules that the graph takes as one site each.

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
        with _defaults_of_torch(factory):
            model = make(**given)
    except (Exception, SystemExit) as error:
        raise _fault(factory, f"the call with {given} raises {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise _fault(factory, f"it returns {type(model).__name__}; it must return an nn.Module")
    names = [name for name, _ in model.named_modules() if name]
    for leaf in leaves:
        if leaf not in names:
            raise ArgumentError(f"leaves=[{','.join(leaves)}]: {unknown('submodule', leaf, names)}")
    source = _source(factory, arguments, make, model)
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
        with _defaults_of_torch(module_name):
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


@contextmanager
def _defaults_of_torch(code: str) -> Iterator[None]:
    """Puts back, after the user's code, what torch computes with by default; a line says what was changed.

    Args:
        code: whose names the line has.
    """
    dtype, gradients, threads = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    device = torch.get_default_device()
    try:
        yield
    finally:
        # A device that was set, even the CPU, lets each of torch's calls go through Python code.
        restored_device = None if device.type == "cpu" else device
        changed: list[tuple[str, Any, Any, Callable[[], Any]]] = [
            ("default dtype", dtype, torch.get_default_dtype(), lambda: torch.set_default_dtype(dtype)),
            ("gradients", gradients, torch.is_grad_enabled(), lambda: torch.set_grad_enabled(gradients)),
            ("number of threads", threads, torch.get_num_threads(), lambda: torch.set_num_threads(threads)),
            ("default device", device, torch.get_default_device(), lambda: torch.set_default_device(restored_device)),
        ]
        for name, before, after, restore in changed:
            if after != before:
                restore()
                log.warning(f"{code} sets torch's {name} to {after}; it is {before} again")


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
