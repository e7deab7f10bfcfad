"""The user's own network: the config names a callable that returns an nn.Module.

A callable that a config names is imported here, and nowhere else: a network's `factory`, a method of your own. No
other option of mi-run runs code.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mi_runner import chance, models
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, unknown
from mi_runner.models.one_output import with_one_output
from mi_runner.models.own_code import DIGITS, Code, attributes_digest, code_of, defining_modules
from mi_runner.progress import log


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
    parameters of these names. Compiled networks and those of DataParallel are taken without their wrapper.

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
    before = set(sys.modules)
    with chance.kept():  # what the import draws must not change the network, which a later one in this process has, too
        make = import_callable("factory", factory)
    return of_callable(
        dataset,
        factory,
        make,
        arguments=arguments,
        flatten=flatten,
        leaves=leaves,
        output=output,
        before=before,
    )


def of_callable(
    dataset: Dataset,
    factory: str,
    make: Callable[..., Any],
    *,
    arguments: Mapping[str, Any] | None,
    flatten: bool,
    leaves: Sequence[str],
    output: str | None,
    before: set[str] | None = None,
) -> models.Built:
    """Returns the network that a callable makes, as `build` does.

    Args:
        factory: its module and name.
        before: the modules that were imported before its own; None: it is imported already.

    Raises:
        ArgumentError: it can't be called, or doesn't return an nn.Module.
    """
    before = set(sys.modules) if before is None else before
    dataset = dataset.flattened() if flatten else dataset
    if not isinstance(arguments, Mapping | None):
        raise ArgumentError("arguments", arguments, "write names and values, e.g. '{width: 64}'.")
    given = dict(arguments or {})
    for name, value in (("input_shape", dataset.input_shape), ("n_outputs", dataset.n_outputs)):
        if name in _parameters(make):
            given.setdefault(name, value)
    try:
        with chance.others_seeded(torch.initial_seed()), _defaults_of_torch(factory):
            model = make(**given)
    except (Exception, SystemExit) as error:
        if asked := re.search(r"you tried to allocate (\d+) bytes", str(error)):  # torch's words for too large a tensor
            what = f"asks for {int(asked[1]):,} bytes at once, more than the machine has free"
        else:
            what = f"raises {type(error).__name__}: {error}"
        raise _fault(factory, f"the call with {given} {what}") from error
    if not isinstance(model, nn.Module):
        raise _fault(factory, f"it returns {type(model).__name__}; it must return an nn.Module")
    own, notes = unwrapped(factory, model)
    check_leaves(own, leaves)

    def identified(built: models.Built) -> models.Built:
        code = factory_code(factory, make, own, before)
        return with_code(built, code, (factory, sorted((arguments or {}).items())), own, output)

    model = own if output is None else with_one_output(own, output)
    return models.Built(model, dataset, leaves=tuple(leaves), notes=notes, identified=identified)


def with_code(
    built: models.Built, code: Code, recipe: tuple[Any, ...], own: nn.Module, output: str | None = None
) -> models.Built:
    """Returns a network with what identifies its code.

    Args:
        recipe: what it was made from, besides its code.
        own: the network with all its outputs.
        output: the one that is taken; None: it has one.
    """
    source = repr((*recipe, code.digest, attributes_digest(own.named_modules())))
    source = source if output is None else f"{source} output={output}"
    return replace(built, source=source, code=code.digest[:DIGITS], warnings=code.warnings, identified=None)


def check_leaves(model: nn.Module, leaves: Sequence[str]) -> None:
    """Checks that each leaf is a submodule.

    Raises:
        ArgumentError: one is not; the text lists the submodules.
    """
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    for leaf in leaves:
        if leaf not in names:
            raise ArgumentError("leaves", f"[{','.join(leaves)}]", unknown("submodule", leaf, names))


def unwrapped(factory: str, model: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Returns a network without wrappers, as `_without_wrappers`, whose state has tensors alone.

    Raises:
        ArgumentError: it is TorchScript, or its state has something else.
    """
    model, notes = _without_wrappers(factory, model)
    for name, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise _fault(factory, f"its state_dict has {name}, which is no tensor: leave out get_extra_state")
    return model, notes


def _without_wrappers(factory: str, model: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Returns a network without the wrappers of torch.compile and DataParallel around it or its submodules.

    And a line that says so, if there were any.

    Raises:
        ArgumentError: it or a submodule is TorchScript, which hides its code.
    """
    removed: dict[str, None] = {}

    def inner(module: nn.Module) -> nn.Module:
        module, names = without_wrapper(module)
        removed.update(dict.fromkeys(names))
        return module

    model = inner(model)
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            if child is not None and (plain := inner(child)) is not child:
                module._modules[name] = plain
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            what = f"its submodule {name}" if name else "it"
            raise _fault(
                factory,
                f"{what} is a TorchScript module, whose values can't be read: return the plain network, without "
                "torch.jit.script and torch.jit.trace",
            )
        if getattr(module, "_compiled_call_impl", None) is not None:
            removed["torch.compile"] = None
            module._compiled_call_impl = None
    without = f"model.factory={factory}: the plain network is taken, without {' and '.join(removed)}"
    return model, (without,) if removed else ()


def without_wrapper(module: Any) -> tuple[nn.Module, list[str]]:
    """Returns a module without torch.compile's or DataParallel's wrapper, and the names of those that it had."""
    # Without the import of torch.compile, which takes a second, nothing is compiled.
    compiled = getattr(sys.modules.get("torch._dynamo.eval_frame"), "OptimizedModule", ())
    parallel = nn.DataParallel, nn.parallel.DistributedDataParallel
    names = []
    while isinstance(module, (compiled, parallel)):
        names.append(type(module).__name__ if isinstance(module, parallel) else "torch.compile")
        module = module.module if isinstance(module, parallel) else module._orig_mod
    return module, names


def factory_code(factory: str, make: Callable[..., Any], model: nn.Module, before: set[str]) -> Code:
    """Returns the own code of a network.

    Args:
        before: the modules that were imported before the factory was.
    """
    named = factory.partition(":")[0]
    _brought.setdefault(named, {}).update(dict.fromkeys(name for name in sys.modules if name not in before))
    kinds = {kind for module in model.modules() for kind in type(module).__mro__}
    classes = {kind.__module__ for kind in kinds}
    return code_of([named, *defining_modules(make)], classes=classes, besides=_brought[named])


def with_source(built: models.Built, make: Callable[..., models.Built], origin: str) -> models.Built:
    """Returns a network that an installed package's `build` made, with what identifies it for the model store.

    Args:
        origin: the package and its version.
    """
    code = factory_code(make.__module__, make, built.model, set(sys.modules))
    source = repr((origin, make.__module__, code.digest, attributes_digest(built.model.named_modules())))
    return replace(built, source=source, code=code.digest[:DIGITS], warnings=(*built.warnings, *code.warnings))


_brought: dict[str, dict[str, None]] = {}
"""Module of a factory → the modules that were imported first in this process when it was imported, called or run."""


def callable_code(path: str) -> str:
    """Returns twelve digits of the digest of a callable's own code, for a callable that is imported already.

    A line says which files were edited since.
    """
    value = import_callable("callable", path)
    code = code_of([path.partition(":")[0], *defining_modules(value)])
    for warning in code.warnings:
        log.warning(warning)
    return code.digest[:DIGITS]


def import_callable(argument: str, path: str) -> Callable[..., Any]:
    """Returns the callable that an option names. This runs the code of its module.

    Args:
        argument: the option's name, for errors.
        path: `package.module:callable`.

    Raises:
        ArgumentError: the module can't be imported, or has no such callable.
    """

    def fault(problem: str, remedy: str = "") -> ArgumentError:
        return ArgumentError(argument, path, problem, remedy)

    module_name, colon, attribute = path.partition(":")
    if not (module_name and colon and attribute):
        raise fault("write package.module:callable.")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # at the end, so that a file there can't hide a library
    try:
        with _defaults_of_torch(module_name):
            value: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        file = Path(module_name)
        if file.suffix == ".py" and not file.is_absolute() and file.is_file():
            module = ".".join(file.with_suffix("").parts)
            raise fault("name the module, not its file:", f"{{{argument}}}={module}:{attribute}.") from error
        package = module_name.partition(".")[0]
        in_src = Path("src", package).is_dir() or Path("src", f"{package}.py").is_file()
        if isinstance(error, ModuleNotFoundError) and error.name == package and in_src:
            raise fault(f"{package} is in the folder src:", "begin the command with PYTHONPATH=src.") from error
        if module_name.startswith("."):
            raise fault("write package.module:callable, without a dot or a folder before it.") from error
        raise fault(f"importing {module_name} raises {type(error).__name__}: {error}.") from error
    for name in attribute.split("."):
        if not hasattr(value, name):
            members = getattr(value, "__dict__", {})
            public = [member for member, called in members.items() if callable(called) and not member.startswith("_")]
            raise fault(unknown(f"callable of {module_name}", name, public))
        value = getattr(value, name)
    if not callable(value):
        raise fault(f"{attribute} is not callable.")
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


def _fault(factory: str, text: str) -> ArgumentError:
    return ArgumentError("factory", factory, f"{text}.")
