"""Records a module's forward pass by `torch.fx`, with what plain fx forgets, and says what to do where it can't.

Plain fx forgets three things that decide a network's gradients or its later calls, and knows no sizes:

- `torch.no_grad()` and its relatives: each node says whether it stood in such a block (`NO_GRAD` in its `meta`).
- a custom `autograd.Function` is one node, so that its own backward is used. fx would trace through its forward.
- `torch.zeros(n, x.size(0), 8)` and other makers of tensors, given a recorded size, become nodes.
"""

from __future__ import annotations

import inspect
import site
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import fx, nn
from torch.autograd import Function
from torch.utils.checkpoint import CheckpointFunction

from mi_runner.errors import ArgumentError

NO_GRAD = "no_grad"
"""In a node's `meta` where it stood in a block without gradients."""

MAKERS = ("arange", "empty", "eye", "full", "linspace", "ones", "rand", "randint", "randn", "tensor", "zeros")
"""Functions of torch that make a tensor from sizes, which fx doesn't record by itself."""

NEEDS_SIZE = "it needs a size as a number, which is known only when it runs"

MOST_LEAVES = 100
"""Submodules that are tried as one site each, to name in an error those that make a network traceable."""

TORCH = Path(torch.__file__).resolve().parent

HERE = Path(__file__).resolve().parents[1]

LIBRARIES = tuple(
    Path(path).resolve()
    for path in (
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
        *site.getsitepackages(),
    )
)
"""Folders whose code is not the user's."""


class Tracer(fx.Tracer):
    """fx's tracer with further leaves, that notes what the submodules it traces through return.

    Args:
        leaves: submodules that are one site each.

    Attributes:
        returned: path of a submodule → what its calls return, in their order.
        failed_in: path of the innermost submodule that raised an error, or empty.
    """

    def __init__(self, leaves: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.leaves = {id(leaf) for leaf in leaves}
        self.returned: dict[str, list[fx.Node]] = {}
        self.failed_in = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return id(m) in self.leaves or super().is_leaf_module(m, module_qualified_name)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node: fx.Node = super().create_node(*args, **kwargs)
        if not torch.is_grad_enabled():
            node.meta[NO_GRAD] = True
        return node

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        path = self.path_of_module(m)
        try:
            result = super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed_in = self.failed_in or path
            raise
        if isinstance(result, fx.Proxy) and path and not self.is_leaf_module(m, path):
            self.returned.setdefault(path, []).append(result.node)
        return result


def traced(module: nn.Module, n_inputs: int, leaves: Iterable[str]) -> tuple[fx.Graph, Tracer]:
    """Returns a module's graph, and the tracer that recorded it.

    Args:
        n_inputs: how many of forward's parameters are inputs; further ones keep their defaults.
        leaves: paths of submodules that are one site each.

    Raises:
        ArgumentError: it can't be traced; the text names the line, and what to type.
    """
    _refuse_open_parameters(module)
    own = [module.get_submodule(path) for path in leaves]
    try:
        return _trace(module, n_inputs, own)
    except _Untraceable as error:
        raise _explained(module, n_inputs, tuple(leaves), error) from error.cause


class _Untraceable(Exception):
    """Tracing failed because of `cause`, in the submodule of this path."""

    def __init__(self, cause: Exception, failed_in: str) -> None:
        super().__init__(str(cause))
        self.cause, self.failed_in = cause, failed_in


def _trace(module: nn.Module, n_inputs: int, leaves: Iterable[nn.Module]) -> tuple[fx.Graph, Tracer]:
    tracer = Tracer(leaves)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            _recording_calls(tracer),
            warnings.catch_warnings(),
        ):
            # What hooks on gradients lack while recording, `gradients` compares afterwards.
            warnings.filterwarnings("ignore", message="For backward hooks to be called")
            return tracer.trace(module, concrete_args=_defaults(module, n_inputs)), tracer
    except Exception as error:
        raise _Untraceable(error, tracer.failed_in) from error


# --- what fx doesn't record by itself ----------------------------------------------------------------------------


@contextmanager
def _recording_calls(tracer: Tracer) -> Iterator[None]:
    """Records, within the block, the calls that make tensors or apply custom autograd functions to recorded values."""
    undo: list[tuple[Any, str, Any]] = []  # None: the attribute was inherited

    def patch(owner: Any, name: str, value: Any) -> None:
        undo.append((owner, name, vars(owner).get(name)))
        setattr(owner, name, value)

    for name in MAKERS:
        patch(torch, name, _recorded(tracer, getattr(torch, name)))
    patch(Function, "apply", classmethod(_recorded_apply(tracer, vars(Function)["apply"])))
    # `step = Step.apply` keeps the method as it was, which calls these.
    for kind in _subclasses(Function):
        if "forward" in vars(kind):
            patch(kind, "forward", staticmethod(_recorded_forward(tracer, kind)))
    try:
        yield
    finally:
        for owner, name, before in reversed(undo):
            if before is None:
                delattr(owner, name)
            else:
                setattr(owner, name, before)


def _recorded(tracer: Tracer, function: Callable[..., Any]) -> Callable[..., Any]:
    def recorded(*args: Any, **kwargs: Any) -> Any:
        if _has_proxy((args, kwargs)):
            return tracer.create_proxy("call_function", function, args, kwargs)
        return function(*args, **kwargs)

    return recorded


def _recorded_apply(tracer: Tracer, plain: Any) -> Callable[..., Any]:
    def apply(kind: type[Function], *args: Any, **kwargs: Any) -> Any:
        if _has_proxy((args, kwargs)):
            return _call_of(tracer, kind, args, kwargs)
        return plain.__get__(None, kind)(*args, **kwargs)

    return apply


def _recorded_forward(tracer: Tracer, kind: type[Function]) -> Callable[..., Any]:
    forward = kind.forward
    has_context = kind.setup_context is Function.setup_context

    def recorded(*args: Any, **kwargs: Any) -> Any:
        given = args[1:] if has_context else args
        if not _has_proxy((given, kwargs)):
            return forward(*args, **kwargs)
        with torch.enable_grad():  # autograd turns gradients off in here, not the user
            return _call_of(tracer, kind, given, kwargs)

    return recorded


def _call_of(tracer: Tracer, kind: type[Function], args: Any, kwargs: Any) -> Any:
    """Returns the recorded call of a custom autograd function."""
    if kind is CheckpointFunction:  # it computes again in the backward pass: the gradients are those of the function
        return args[0](*args[2:])
    return tracer.create_proxy("call_function", _applied(kind), args, kwargs)


def _applied(kind: type[Function]) -> Callable[..., Any]:
    """Returns a function with the class's name that applies it."""

    def applied(*args: Any, **kwargs: Any) -> Any:
        return kind.apply(*args, **kwargs)

    applied.__name__ = applied.__qualname__ = kind.__name__
    return applied


def _has_proxy(arguments: Any) -> bool:
    if isinstance(arguments, fx.Proxy):
        return True
    if isinstance(arguments, Mapping):
        arguments = arguments.values()
    elif isinstance(arguments, slice):
        arguments = (arguments.start, arguments.stop, arguments.step)
    elif not isinstance(arguments, list | tuple):
        return False
    return any(map(_has_proxy, arguments))


def _subclasses(kind: type[Function]) -> list[type[Function]]:
    found: dict[type[Function], None] = {}
    ahead = list(kind.__subclasses__())
    while ahead:
        one = ahead.pop()
        if one not in found:
            found[one] = None
            ahead += one.__subclasses__()
    return list(found)


# --- forward's parameters ----------------------------------------------------------------------------------------


def _defaults(module: nn.Module, n_inputs: int) -> dict[str, Any]:
    """Returns the defaults of forward's optional parameters behind the first `n_inputs`, which are no inputs."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    return {p.name: p.default for p in parameters[n_inputs:] if p.default is not p.empty}


def _refuse_open_parameters(module: nn.Module) -> None:
    """Raises an ArgumentError if forward takes `*args` or `**kwargs`: a graph's inputs have names, and their number."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    for p in inspect.signature(module.forward).parameters.values():
        if p.kind in stars:
            problem = f"{type(module).__name__}.forward takes {stars[p.kind]}{p.name}:"
            raise ArgumentError("module", None, problem, "write the parameters out, e.g. forward(self, x).")


# --- errors ------------------------------------------------------------------------------------------------------


def _explained(module: nn.Module, n_inputs: int, leaves: tuple[str, ...], error: _Untraceable) -> ArgumentError:
    """Returns an error: where tracing stopped in the user's code, and which submodules have to be one site each."""
    name = type(module).__name__
    frames = list(traceback.walk_tb(error.cause.__traceback__))
    lines = _users(frames, module)
    where = ""
    if lines:
        frame, number = lines[-1]
        text = traceback.FrameSummary(frame.f_code.co_filename, number, frame.f_code.co_name).line
        where = f" at {frame.f_code.co_filename}:{number} ({text})"
    library_function = _library_function([frame for frame, _ in frames], lines[-1][0]) if lines else None
    if library_function is not None:
        function, how = library_function
        refused = f"{name} can't be traced{where}: {function} doesn't take values that are being recorded. {how},"
        own = "move that line"
    else:
        own = "where forward needs them, move it"
        refused = (
            f"{name} can't be traced{where}: {_reason(error.cause)}. Keep decisions about values and assignments into "
            "tensors out of forward (torch.where does both in the graph),"
        )
    all_leaves, last = _leaves_that_work(module, n_inputs, leaves, error)
    if last is None:
        several = "the submodule one site" if len(all_leaves) == 1 else "the submodules one site each"
        remedy = f"or make {several}: {{leaves}}=[{','.join(all_leaves)}]."
    else:
        remedy = f"or {own} into a submodule and name that, {{leaves}}=[{','.join((*all_leaves, 'NAME'))}]."
    return ArgumentError(("module", "leaves"), None, refused, remedy)


def _leaves_that_work(
    module: nn.Module, n_inputs: int, leaves: tuple[str, ...], error: _Untraceable
) -> tuple[tuple[str, ...], _Untraceable | None]:
    """Returns the submodules that have to be one site each, first those of `leaves`, and what fails even then.

    What lies in a submodule of these is left out.
    """
    found = dict.fromkeys(leaves)
    failed: _Untraceable | None = error
    while failed is not None and failed.failed_in not in ("", *found) and len(found) < MOST_LEAVES:
        found[failed.failed_in] = None
        try:
            _trace(module, n_inputs, [module.get_submodule(path) for path in found])
            failed = None
        except _Untraceable as another:
            failed = another
    outer = tuple(path for path in found if not any(path.startswith(f"{other}.") for other in found))
    return outer, failed


def _reason(error: Exception) -> str:
    """Returns in a few words why fx stopped."""
    text = " ".join(str(error).split()) or type(error).__name__
    if "cannot be iterated" in text:
        return (
            "it loops over a value, or unpacks one (*), whose length is known only when it runs (over an axis, write "
            "its length, for t in range(5): x[:, t]; to flatten, write x.flatten(1), which needs no sizes)"
        )
    if "control flow" in text:
        return "it decides by a value (if, assert, while), which is known only when it runs"
    if "Proxy" in text and ("integer" in text or "must be int" in text or "tuple of ints" in text):
        return f"{NEEDS_SIZE} (write the number, as in range(5))"
    if "slice indices must be" in text:
        return f"{NEEDS_SIZE} (write the number, or leave the slice out where it takes all)"
    if text.startswith("Proxy("):
        return "it looks up a size, which is known only when it runs"
    if "argument of type" in text and "function" in text:
        return "it gives a function to a value that is being recorded, as register_hook does"
    if "len" in text and "Proxy" in text:
        return "it asks for len(): use .size(0) or .shape[0]"
    return text.rstrip(". \n")


def _users(frames: list[tuple[FrameType, int]], module: nn.Module) -> list[tuple[FrameType, int]]:
    """Returns the frames of the user's own code: beside the network's class, or of no library, or not torch's."""
    try:
        file = Path(inspect.getfile(type(module))).resolve()
    except (TypeError, OSError):  # code made by exec has no file
        file = TORCH
    own = file.parents[type(module).__module__.count(".")]
    beside = [pair for pair in frames if _is_of(pair[0], [own]) and not _is_of(pair[0], (TORCH, HERE, *LIBRARIES))]
    of_users = [pair for pair in frames if not _is_of(pair[0], (TORCH, HERE, *LIBRARIES))]
    return beside or of_users or [pair for pair in frames if not _is_of(pair[0], (TORCH, HERE))]


def _is_of(frame: FrameType, folders: Iterable[Path]) -> bool:
    """Returns whether a frame's code is in one of the folders, or in no file."""
    file = frame.f_code.co_filename
    return file.startswith("<") or any(Path(file).resolve().is_relative_to(folder) for folder in folders)


def _library_function(frames: list[FrameType], users: FrameType) -> tuple[str, str] | None:
    """Returns the library's function in which tracing stopped, and how it becomes one site; None for any other."""
    after = frames[frames.index(users) + 1 :]
    if not after or _is_of(after[0], (TORCH, HERE)):
        return None
    name, file = after[0].f_code.co_name, users.f_code.co_filename
    if inspect.isfunction(users.f_globals.get(name)):
        return name, f'Make it one site: write torch.fx.wrap("{name}") below the imports of {file}'
    if inspect.isfunction(after[0].f_globals.get(name)):
        imported = f"from {after[0].f_globals.get('__name__')} import {name}"
        return (
            name,
            f'Make it one site: write {imported} and below it torch.fx.wrap("{name}") in {file}, and call {name}',
        )
    return None
